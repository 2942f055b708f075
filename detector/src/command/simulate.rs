//! `detector simulate`: a platform with honest crowds that look guilty, and several kinds of bad actors.

use super::Failure;
use super::progress::{Progress, grouped};
use super::run::say;
use crate::simulate::{Plan, write_stream};
use crate::sink::files::{Used, all_differ};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Simulate a platform: events on standard output, labels and the truth beside.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  detector simulate --accounts 8000 --events 200000 --seed 1 --labels-out labels.ndjson > events.ndjson
  detector simulate --accounts 50000 --events 2000000 --evasion 0.9 --labels-out labels.ndjson > events.ndjson")]
pub struct Args {
    #[command(flatten)]
    pub(super) platform: Platform,
    /// Where the labels go.
    #[arg(long)]
    labels_out: Option<PathBuf>,
    /// Where the truth about every account goes; no detector may read it.
    #[arg(long)]
    truth_out: Option<PathBuf>,
    /// Where events go instead of standard output.
    #[arg(long)]
    events_out: Option<PathBuf>,
}

/// What the platform is like.
#[derive(Clone, Debug, clap::Args)]
pub struct Platform {
    /// Accounts, good and bad.
    #[arg(long, default_value_t = Plan::default().accounts)]
    accounts: u32,
    /// Events.
    #[arg(long, default_value_t = Plan::default().events)]
    events: u64,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = Plan::default().seed)]
    seed: u64,
    /// Days that the events spread over.
    #[arg(long, default_value_t = Plan::default().days)]
    days: u32,
    /// Share of bad accounts, 0 to 1.
    #[arg(long, default_value_t = Plan::default().bad_share)]
    bad_share: f64,
    /// Rings altogether; 0: as many as their size implies.
    #[arg(long, default_value_t = Plan::default().rings)]
    rings: u32,
    /// How well rings hide, 0 to 1.
    #[arg(long, default_value_t = Plan::default().evasion)]
    evasion: f64,
}

impl Platform {
    /// As a plan.
    pub fn plan(&self) -> Plan {
        Plan {
            accounts: self.accounts,
            events: self.events,
            seed: self.seed,
            days: self.days,
            bad_share: self.bad_share,
            rings: self.rings,
            evasion: self.evasion,
            ..Plan::default()
        }
    }
}

pub fn run(args: Args) -> Result<(), Failure> {
    let plan = args.platform.plan();
    plan.check().map_err(Failure::refused)?;
    let written: Vec<&Path> = [&args.labels_out, &args.truth_out, &args.events_out]
        .into_iter()
        .flatten()
        .map(PathBuf::as_path)
        .collect();
    all_differ(&Used::default(), &written).map_err(Failure::refused)?;
    let create = |path: &PathBuf| {
        File::create(path)
            .map(|f| BufWriter::with_capacity(1 << 18, f))
            .map_err(|e| Failure::failed(format!("cannot create {}: {e}", path.display())))
    };
    let mut labels = args.labels_out.as_ref().map(create).transpose()?;
    let mut truth = args.truth_out.as_ref().map(create).transpose()?;
    let mut events: Box<dyn Write> = match &args.events_out {
        Some(path) => Box::new(create(path)?),
        None => Box::new(BufWriter::with_capacity(1 << 18, std::io::stdout().lock())),
    };
    let progress = Progress::count("simulate", plan.events);
    let summary = write_stream(
        &plan,
        &mut events,
        labels.as_mut().map(|l| l as &mut dyn Write),
        truth.as_mut().map(|t| t as &mut dyn Write),
        &mut |done| progress.set(done),
    );
    let took = progress.finish();
    let summary = match summary {
        Ok(summary) => summary,
        // The reader of the pipe has seen enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    for file in [labels, truth].iter_mut().flatten() {
        file.flush()?;
    }
    say(&format!(
        "{} events of {} accounts ({} bad) in {:.1} s; {} labels say bad ({} of them wrong), {} clear",
        grouped(summary.events),
        grouped(summary.accounts),
        grouped(summary.bad_accounts),
        took.as_secs_f64(),
        grouped(summary.bad_labels),
        grouped(summary.wrong_labels),
        grouped(summary.clearing_labels)
    ));
    Ok(())
}
