//! `detector train`: from history to a model bundle, with the feature code of the service.

use super::Failure;
use super::progress::{Progress, grouped};
use super::run::{say, say_field_faults};
use super::setup::{EngineArgs, engine, moment};
use crate::pipeline::{self, Plan};
use crate::rows::{Collector, Owners, Targets};
use crate::sink::files::OutputPaths;
use crate::source::files::Lines;
use crate::source::labels::LabelFile;
use engine::effects::Effects;
use engine::{Engine, Wanted};
use features::config::AttributeKind;
use models::bundle::Bundle;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use training::labelfree::{LabelfreeOptions, labelfree};
use training::metrics::Summary;
use training::{Table, TrainOptions, TrainReport};

/// Train a model from history: the events are replayed with the feature code of the service, and what was known at
/// the time is what is learned from. Without labels a label-free model is made.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  detector train --config conf/ --events events.ndjson.gz --labels labels.ndjson.gz --model-out model/
  detector train --config conf/ --events events.ndjson --labels labels.ndjson --until 2026-03-01 --model-out model/
  detector train --config conf/ --events events.ndjson --model-out model/   (no labels: a label-free model)")]
pub struct Args {
    #[command(flatten)]
    engine: EngineArgs,
    /// Events, one JSON object a line, plain, gzip or zstd.
    #[arg(long)]
    events: PathBuf,
    /// Labels, in the same form.
    #[arg(long)]
    labels: Option<PathBuf>,
    /// Earlier events feed history, but are not learned from.
    #[arg(long, value_parser = moment)]
    from: Option<i64>,
    /// The moment of training: nothing later exists.
    #[arg(long, value_parser = moment)]
    until: Option<i64>,
    /// Folder for the bundle; made if need be.
    #[arg(long)]
    model_out: PathBuf,
    /// Seed of everything that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rows that are held in memory; beyond that, rows of what is not bad are thinned and weighted up.
    #[arg(long, default_value_t = 1_500_000)]
    rows_max: usize,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<(), Failure> {
    if args.events == Path::new("-") {
        return Err(Failure::refused(
            "training reads its events from a file\nhint: give --events FILE",
        ));
    }
    let (mut engine, loaded) = engine(&args.engine)?;
    let table = rows(&mut engine, &args)?;
    let versions = engine.versions().clone();
    let mut notes = BTreeMap::new();
    notes.insert("strict_ties".to_string(), engine.strict_ties().to_string());
    let feedback = loaded.config.labels.feedback && !args.engine.no_feedback;
    notes.insert("no_feedback".to_string(), (!feedback).to_string());
    let until = |ms: Option<i64>| ms.map_or("none".to_string(), |ms| ms.to_string());
    notes.insert("until_ms".to_string(), until(args.until));
    notes.insert("from_ms".to_string(), until(args.from));

    if args.labels.is_none() {
        let half_lives = &engine.config().time.half_lives;
        let families = engine::labelfree::families(engine.schema(), half_lives, engine.columns());
        let options = LabelfreeOptions {
            feature_set_hash: versions.features.clone(),
            families: families.into_iter().map(|f| (f.weight, f.columns)).collect(),
            evidence: Some(engine::labelfree::links_and_labels(
                engine.schema(),
                half_lives,
                engine.config().labels.unit,
                engine.columns(),
            )),
            seed: args.seed,
            ..LabelfreeOptions::default()
        };
        let trained = labelfree(&table, &options)?;
        write_bundle(&trained.bundle, &args.model_out)?;
        say(&format!(
            "a label-free model of {} rows and {} columns is in {}; its score is a rank: thresholds are alert budgets",
            grouped(table.len() as u64),
            trained.columns.kept.len(),
            args.model_out.display()
        ));
        for chosen in &trained.thresholds {
            say(&format!("  threshold.{} = {:.4}", chosen.name, chosen.threshold));
        }
        return Ok(());
    }
    let options = TrainOptions {
        feature_set_hash: versions.features.clone(),
        notes,
        seed: args.seed,
        ..TrainOptions::default()
    };
    let progress = Progress::count("train", 1);
    let bar = progress.handle();
    let mut watch = |p: training::Progress| {
        bar.set_message(p.stage);
        bar.set_length(p.total as u64);
        bar.set_position(p.done as u64);
        ControlFlow::Continue(())
    };
    let trained = training::train(&table, &options, &mut watch);
    let took = progress.finish();
    let trained = trained?;
    write_bundle(&trained.bundle, &args.model_out)?;
    if args.json {
        say(&serde_json::to_string(&trained.report)?);
        return Ok(());
    }
    tell(&trained.report);
    say(&format!(
        "trained in {:.1} s; the bundle {} is in {}",
        took.as_secs_f64(),
        trained.bundle.version_id(),
        args.model_out.display()
    ));
    Ok(())
}

/// What is worth knowing about a trained model; every measure is out of sample.
fn tell(report: &TrainReport) {
    say(&format!(
        "{} rows ({} bad), {} columns used, {} dropped; {} trees ({} rounds, {} seeds)",
        grouped(report.rows as u64),
        grouped(report.positives as u64),
        report.columns.kept.len(),
        report.columns.constant.len() + report.columns.duplicate.len(),
        report.trees,
        report.rounds,
        report.seeds
    ));
    let line = |name: &str, s: &Summary| {
        say(&format!(
            "  {name:<10} AUC {:.4}  AP {:.4}  recall at FPR 0.1 % {:.3}, 1 % {:.3}  Brier {:.5}  ECE {:.5}",
            s.auc, s.average_precision, s.recall_at_fpr_0_001, s.recall_at_fpr_0_01, s.brier, s.ece
        ));
    };
    say("out of sample, on later rows than those learned from:");
    line("score", &report.score);
    line("behaviour", &report.behaviour);
    if let Some(graph) = &report.graph {
        line("graph", graph);
    }
    for chosen in &report.thresholds {
        say(&format!("  threshold.{:<10} {:.4}", chosen.name, chosen.threshold));
    }
    let top: Vec<String> = report
        .importance
        .iter()
        .take(8)
        .map(|i| format!("{} {:.0} %", i.name, i.share * 100.0))
        .collect();
    say(&format!("leans on: {}", top.join(", ")));
    for warning in &report.warnings {
        say(&format!("warning: {warning}"));
    }
}

/// Replays history and collects the rows to learn from.
fn rows(engine: &mut Engine, args: &Args) -> Result<Table, Failure> {
    let decoder = engine.decoder();
    let labels = match &args.labels {
        Some(path) => LabelFile::load(path, &decoder, args.until)?,
        None => LabelFile::default(),
    };
    let config = engine.config().labels.clone();
    let owners = Owners::read(&args.events, &decoder, &labels)?;
    let targets = Targets::new(&config, labels.each(&decoder), |id| owners.of(id));
    if args.labels.is_some() {
        let (events, accounts) = targets.len();
        say(&format!(
            "{} labels: {} events and {} accounts have a verdict",
            grouped(labels.len() as u64),
            grouped(events as u64),
            grouped(accounts as u64)
        ));
    }
    let types: Vec<u16> = config.types.iter().map(|t| engine.schema().type_id(t).0).collect();
    let attributes = &engine.config().attributes;
    let categories: Vec<String> = attributes
        .iter()
        .filter(|(_, a)| a.kind == AttributeKind::Category)
        .map(|(name, _)| name.clone())
        .collect();
    let mut collector =
        Collector::new(engine.columns(), &categories, &config, types, args.from, args.rows_max);
    engine.want(Wanted { rows: true, state_only: true, scores: false });
    let labelled = args.labels.is_some();
    let (mut oldest_ms, mut newest_ms) = (i64::MAX, i64::MIN);
    let mut collect = |effects: &Effects| {
        for score in &effects.scores {
            oldest_ms = oldest_ms.min(score.ts_ms);
            newest_ms = newest_ms.max(score.ts_ms);
        }
        // Whether an event is old enough is known at the end.
        collector.take(effects, |s| {
            if !labelled {
                return Some(false);
            }
            targets.learned(&s.event_id, &s.account, s.ts_ms, i64::MAX, 0)
        });
    };
    let input = Lines::open(&args.events)?;
    let progress = Progress::bytes("replay", input.length());
    let summary = pipeline::run(
        engine,
        Plan {
            input,
            labels,
            outputs: OutputPaths::default(),
            store: None,
            checkpoint_events: u64::MAX,
            until_ms: args.until,
            on_action: None,
            on_effects: Some(&mut collect),
            progress: &mut |done| progress.set(done),
        },
    );
    let took = progress.finish();
    let summary = summary?;
    let now_ms = args.until.unwrap_or(newest_ms);
    let maturity_ms = targets.maturity_ms(now_ms.saturating_sub(oldest_ms));
    let table = collector.finish(|event_id, account, ts_ms| {
        if !labelled {
            return Some(false);
        }
        targets.learned(event_id, account, ts_ms, now_ms.saturating_sub(ts_ms), maturity_ms)
    });
    say(&format!(
        "{} rows of {} columns from {} lines in {:.1} s ({} rejects)",
        grouped(table.len() as u64),
        table.columns.len(),
        grouped(summary.lines),
        took.as_secs_f64(),
        grouped(summary.rejects)
    ));
    say_field_faults(engine, &summary);
    Ok(table)
}

/// Writes a bundle's files; the manifest last, so that a half-written folder is not taken for a bundle.
fn write_bundle(bundle: &Bundle, folder: &Path) -> Result<(), Failure> {
    let fail =
        |e: std::io::Error| Failure::failed(format!("cannot write {}: {e}", folder.display()));
    std::fs::create_dir_all(folder).map_err(fail)?;
    let manifest = folder.join(models::bundle::MANIFEST_FILE);
    if manifest.exists() {
        std::fs::remove_file(&manifest).map_err(fail)?;
    }
    for (name, bytes) in bundle.to_files() {
        if name != models::bundle::MANIFEST_FILE {
            std::fs::write(folder.join(name), bytes).map_err(fail)?;
        }
    }
    if let Some(bytes) = bundle.to_files().get(models::bundle::MANIFEST_FILE) {
        std::fs::write(manifest, bytes).map_err(fail)?;
    }
    Ok(())
}
