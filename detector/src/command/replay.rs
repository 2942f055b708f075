//! `detector replay`: history through the line, for scores and rows.

use super::Failure;
use super::progress::{Progress, cpu_time};
use super::run::report;
use super::setup::{EngineArgs, engine, moment, read_bundle};
use crate::config::Loaded;
use crate::evaluate::collect::newest_ms;
use crate::parquet::{RowFile, RowFileError};
use crate::pipeline::{self, Places, Plan};
use crate::rows::{Owners, Targets};
use crate::sink::files::{OutputPaths, Used, all_differ};
use crate::source::files::Lines;
use crate::source::labels::LabelFile;
use crate::store::embedded::Embedded;
use engine::effects::Effects;
use engine::{Engine, Wanted};
use std::path::{Path, PathBuf};

/// Replay history: the scores that it would have got live, and the state that it leaves.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  detector replay --config conf/ --events events.ndjson.gz --labels labels.ndjson --scores-out scores.ndjson
  detector replay --config conf/ --events events.ndjson.gz --labels labels.ndjson --rows-out rows.parquet
  detector replay --config conf/ --events events.ndjson.gz --state-out state/   (so that a run starts warm)")]
pub struct Args {
    #[command(flatten)]
    engine: EngineArgs,
    /// Events, one JSON object a line, plain, gzip or zstd; `-` reads standard input.
    #[arg(long)]
    events: PathBuf,
    /// Labels, in the same form.
    #[arg(long)]
    labels: Option<PathBuf>,
    /// A line with the score of every event, in input order.
    #[arg(long)]
    scores_out: Option<PathBuf>,
    /// The feature row of every event, with its label if there are labels, as Parquet: for training with other tools.
    #[arg(long)]
    rows_out: Option<PathBuf>,
    /// The actions that would have been published.
    #[arg(long)]
    actions_out: Option<PathBuf>,
    /// Where messages go that cannot be read.
    #[arg(long)]
    dead_letters: Option<PathBuf>,
    /// Folder in which the final state is kept.
    #[arg(long)]
    state_out: Option<PathBuf>,
    /// Nothing after this moment exists.
    #[arg(long, value_parser = moment)]
    until: Option<i64>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let (mut engine, loaded) = engine(&args.engine)?;
    let scored = args.scores_out.is_some() || args.actions_out.is_some();
    engine.want(Wanted {
        scores: args.scores_out.is_some(),
        rows: args.rows_out.is_some(),
        state_only: !scored,
    });
    let outputs = OutputPaths {
        actions: args.actions_out.clone(),
        scores: args.scores_out.clone(),
        dead_letters: args.dead_letters.clone(),
    };
    let mut used = Used::files(std::iter::once(&args.events).chain(&args.labels))
        .and(&loaded, args.engine.model.as_deref());
    let written = [&args.scores_out, &args.rows_out, &args.actions_out, &args.dead_letters];
    let written: Vec<&Path> = written.into_iter().flatten().map(PathBuf::as_path).collect();
    used.folders.extend(args.state_out.clone());
    all_differ(&used, &written).map_err(Failure::refused)?;
    let mut rows = args
        .rows_out
        .as_deref()
        .map(|path| Rows::create(path, &engine, &loaded, &args))
        .transpose()?;
    let input = Lines::open(&args.events)?;
    let labels = match &args.labels {
        Some(path) => LabelFile::load(path, &engine.decoder(), args.until)?,
        None => LabelFile::default(),
    };
    let store = args.state_out.as_deref().map(Embedded::open).transpose()?;
    let position = match &store {
        Some(store) if store.position()?.is_some() => {
            return Err(Failure::refused(format!(
                "{} holds a state already\nhint: give a new folder to --state-out",
                args.state_out.as_deref().unwrap_or(Path::new("")).display()
            )));
        }
        Some(_) => {
            let places = Places {
                input: &args.events,
                labels: args.labels.as_deref(),
                outputs: &outputs,
                until_ms: args.until,
                no_feedback: args.engine.no_feedback,
            };
            Some(pipeline::start(&engine, &places)?)
        }
        None => None,
    };
    let mut failed = None;
    let mut take = |effects: &Effects| {
        if let Some(rows) = &mut rows
            && failed.is_none()
        {
            failed = rows.push(effects).err();
        }
    };
    let progress = Progress::bytes("replay", input.length());
    let cpu = cpu_time().unwrap_or_default();
    let summary = pipeline::run(
        &mut engine,
        Plan {
            input,
            labels,
            outputs,
            store: store.as_ref().zip(position),
            checkpoint_events: u64::MAX,
            until_ms: args.until,
            on_action: None,
            on_effects: Some(&mut take),
            progress: &mut |done| progress.set(done),
        },
    );
    let took = progress.finish();
    let summary = summary?;
    if let Some(e) = failed {
        return Err(e.into());
    }
    if let Some(rows) = rows {
        rows.file.close()?;
    }
    let cpu = cpu_time().unwrap_or_default().saturating_sub(cpu);
    report(&engine, 0, &summary, took, cpu, args.json);
    Ok(())
}

/// A file of rows, and what their labels are.
struct Rows {
    file: RowFile,
    targets: Option<Targets>,
    now_ms: i64,
}

impl Rows {
    fn create(path: &Path, engine: &Engine, loaded: &Loaded, args: &Args) -> Result<Self, Failure> {
        let configured = loaded.config.model.path.as_ref().map(|path| loaded.resolve(path));
        // A model that was trained without feedback switches it off by itself.
        let model =
            args.engine.model.clone().or(configured).map(|path| read_bundle(&path)).transpose()?;
        let trained = model.is_some_and(|bundle| {
            bundle
                .manifest()
                .training
                .get("no_feedback")
                .is_some_and(|v| v.as_str() == Some("true"))
        });
        let no_feedback = args.engine.no_feedback || !loaded.config.labels.feedback || trained;
        let (mut targets, mut now_ms) = (None, 0);
        if let Some(labels) = &args.labels {
            if args.events == Path::new("-") {
                return Err(Failure::refused(
                    "--rows-out with --labels reads the events twice: whether an event without a label is old enough to be called good is known at the end\nhint: give --events FILE",
                ));
            }
            let decoder = engine.decoder();
            let labels = LabelFile::load(labels, &decoder, args.until)?;
            let owners = Owners::read(&args.events, &decoder, &labels)?;
            let config = &engine.config().labels;
            targets = Some(Targets::new(config, labels.each(&decoder), |id| owners.of(id)));
            now_ms = match args.until {
                Some(until) => until,
                None => newest_ms(&args.events, engine, None)?,
            };
        }
        Ok(Self { file: RowFile::create(path, engine, no_feedback)?, targets, now_ms })
    }

    fn push(&mut self, effects: &Effects) -> Result<(), RowFileError> {
        let (targets, now_ms) = (&self.targets, self.now_ms);
        self.file.push(effects, |s| {
            let targets = targets.as_ref()?;
            let age_ms = now_ms.saturating_sub(s.ts_ms);
            targets.learned(&s.event_id, &s.account, s.ts_ms, age_ms, targets.maturity_ms(i64::MAX))
        })
    }
}
