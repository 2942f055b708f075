//! `detector replay`: history through the line, for scores and rows.

use super::progress::{Progress, cpu_time};
use super::run::report;
use super::setup::{EngineArgs, engine, moment};
use super::Failure;
use crate::pipeline::{self, Plan};
use crate::sink::files::OutputPaths;
use crate::source::files::Lines;
use crate::source::labels::LabelFile;
use crate::store::embedded::{Embedded, Position};
use engine::Wanted;
use std::path::PathBuf;

/// Replay history: the scores that it would have got live, and the state that it leaves.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  detector replay --config conf/ --events events.ndjson.gz --labels labels.ndjson --scores-out scores.ndjson
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
    let (mut engine, _) = engine(&args.engine)?;
    let scored = args.scores_out.is_some() || args.actions_out.is_some();
    engine.want(Wanted { scores: args.scores_out.is_some(), state_only: !scored, ..Wanted::default() });
    let input = Lines::open(&args.events)?;
    let labels = match &args.labels {
        Some(path) => LabelFile::load(path, &engine.decoder(), args.until)?,
        None => LabelFile::default(),
    };
    let store = args.state_out.as_deref().map(Embedded::open).transpose()?;
    let position = match &store {
        Some(store) if store.position()?.is_some() => {
            return Err(Failure::failed(format!(
                "{} holds a state already\nhint: give a new folder to --state-out",
                args.state_out.as_deref().unwrap_or(std::path::Path::new("")).display()
            )));
        }
        Some(_) => {
            let versions = engine.versions();
            Some(Position {
                features: versions.features.clone(),
                policy: versions.policy.clone(),
                model: versions.model.clone(),
                input: Lines::identify(&args.events)?,
                ..Position::default()
            })
        }
        None => None,
    };
    let progress = Progress::bytes("replay", input.length());
    let cpu = cpu_time().unwrap_or_default();
    let summary = pipeline::run(
        &mut engine,
        Plan {
            input,
            labels,
            outputs: OutputPaths {
                actions: args.actions_out,
                scores: args.scores_out,
                dead_letters: args.dead_letters,
            },
            store: store.as_ref().zip(position),
            checkpoint_events: u64::MAX,
            until_ms: args.until,
            on_action: None,
            on_effects: None,
            progress: &mut |done| progress.set(done),
        },
    );
    let took = progress.finish();
    let summary = summary?;
    let cpu = cpu_time().unwrap_or_default().saturating_sub(cpu);
    report(&engine, 0, &summary, took, cpu, args.json);
    Ok(())
}
