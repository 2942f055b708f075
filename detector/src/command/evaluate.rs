//! `detector evaluate`: how good a model is on a stream, as it would have been live.

use super::Failure;
use super::progress::{Progress, grouped};
use super::run::say;
use super::setup::{EngineArgs, engine_of, moment, read_bundle};
use crate::config::{self, Loaded};
use crate::evaluate::collect::{Replayed, Slices, Window, replay};
use crate::evaluate::compare::{self, Compared};
use crate::evaluate::measure::{Measured, Measuring, ModelInfo, Report, Unit, measure};
use crate::evaluate::{html, report};
use crate::sink::files::{Used, all_differ};
use engine::Engine;
use models::bundle::{Bundle, Kind};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use training::metrics::Ranking;

/// Measure a model on a stream with labels: the stream is replayed, labels arrive when they became known, and every
/// score is the one that the event would have got live.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  detector evaluate --config conf/ --model model/ --events events.ndjson.gz --labels labels.ndjson.gz --from 2026-03-01
  detector evaluate --config conf/ --model model/ --events e.ndjson --labels l.ndjson --unit account --json | jq .average_precision
  detector evaluate --config conf/ --model model/ --events e.ndjson --labels l.ndjson --slices country,verified --report report.html
  detector evaluate --config conf/ --model old/ --compare new/ --events e.ndjson --labels l.ndjson --from 2026-03-01
The labels file is the truth: what is measured, and as what, follows [labels] in the configuration (unit, types, unlabelled,
lookback, maturity). Times are epoch milliseconds, dates or RFC 3339.")]
pub struct Args {
    #[command(flatten)]
    engine: EngineArgs,
    /// Events, one JSON object a line, plain, gzip or zstd.
    #[arg(long)]
    events: PathBuf,
    /// Labels, in the same form: fed to the engine as they became known, and the truth at the end.
    #[arg(long)]
    labels: PathBuf,
    /// Measure events from here on; earlier ones only feed history.
    #[arg(long, value_parser = moment)]
    from: Option<i64>,
    /// Measure events up to here.
    #[arg(long, value_parser = moment)]
    to: Option<i64>,
    /// Nothing after this moment exists, labels neither.
    #[arg(long, value_parser = moment)]
    until: Option<i64>,
    /// What a row is: each event, or each account once with its highest score.
    #[arg(long, value_enum, default_value_t = Unit::Event)]
    unit: Unit,
    /// Threshold of precision, recall, F1 and FPR; without it the best F1.
    #[arg(long)]
    threshold: Option<f64>,
    /// Attributes to slice by (`type` is the event type), comma-separated, or `auto` for all of them.
    #[arg(long, value_delimiter = ',')]
    slices: Vec<String>,
    /// Accounts that people can look at in a day, comma-separated.
    #[arg(long, value_delimiter = ',', default_values_t = [10usize, 50, 100])]
    per_day: Vec<usize>,
    /// Bootstrap draws for intervals and comparison; 0: none.
    #[arg(long, default_value_t = 200)]
    repeats: usize,
    /// Seed of the draws.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of a second model, to be compared on the same stream.
    #[arg(long, value_name = "MODEL")]
    compare: Option<PathBuf>,
    /// Where to write the report as one HTML file.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print everything as JSON on standard output.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<(), Failure> {
    check(&args)?;
    let report: Vec<&Path> = args.report.iter().map(PathBuf::as_path).collect();
    let loaded = config::load(&args.engine.config)?;
    let used = Used::files([&args.events, &args.labels]).and(&loaded, args.engine.model.as_deref());
    all_differ(&used, &report).map_err(Failure::refused)?;
    let first = one(&args, &loaded, args.engine.model.as_deref())?;
    let second =
        args.compare.as_deref().map(|model| one(&args, &loaded, Some(model))).transpose()?;
    let compared = match &second {
        Some(second) => Some(compare::compare(
            (&first.replayed.rows, &first.measured),
            (&second.replayed.rows, &second.measured, &second.report),
            args.repeats,
            args.seed,
        )?),
        None => None,
    };
    if let Some(path) = &args.report {
        let stream = args.events.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let page =
            html::html(&first.report, &first.measured, &first.ranking, &stream, compared.as_ref());
        std::fs::write(path, page)
            .map_err(|e| Failure::failed(format!("cannot write {}: {e}", path.display())))?;
        say(&format!("the report is in {}", path.display()));
    }
    print(&first.report, compared.as_ref(), args.json)
}

fn check(args: &Args) -> Result<(), Failure> {
    for path in [&args.events, &args.labels] {
        if path == Path::new("-") {
            return Err(Failure::refused(
                "evaluation reads its input more than once\nhint: give a file instead of `-`",
            ));
        }
    }
    if let (Some(from), Some(to)) = (args.from, args.to.or(args.until))
        && from > to
    {
        return Err(Failure::refused(format!(
            "--from ({from}) is later than the end ({to}): nothing lies between"
        )));
    }
    if let Some(threshold) = args.threshold.filter(|t| !t.is_finite()) {
        return Err(Failure::refused(format!(
            "--threshold ({threshold}) must be a number, such as 0.7"
        )));
    }
    if args.per_day.contains(&0) {
        return Err(Failure::refused("--per-day counts accounts: at least 1"));
    }
    if args.compare.is_some() && args.repeats == 0 {
        return Err(Failure::refused(
            "--compare needs draws\nhint: leave --repeats at its default",
        ));
    }
    Ok(())
}

/// A model's replay and its measures.
struct Measurement {
    replayed: Replayed,
    report: Report,
    measured: Measured,
    ranking: Ranking,
}

fn one(args: &Args, loaded: &Loaded, model: Option<&Path>) -> Result<Measurement, Failure> {
    let (mut engine, bundle) = engine_and_bundle(args, loaded, model)?;
    let info = model_info(&bundle, &engine);
    let slices = match args.slices.as_slice() {
        [] if args.report.is_some() => Slices::Auto,
        [] => Slices::None,
        [only] if only == "auto" => Slices::Auto,
        names => Slices::Named(names.to_vec()),
    };
    let window = Window { from_ms: args.from, to_ms: args.to, until_ms: args.until, slices };
    let length = std::fs::metadata(&args.events).map(|m| m.len()).ok();
    let progress = Progress::bytes("evaluate", length);
    let replayed =
        replay(&mut engine, &args.events, &args.labels, &window, &mut |done| progress.set(done));
    let took = progress.finish();
    let replayed = replayed?;
    say(&format!(
        "{} lines replayed in {:.1} s with model {}",
        grouped(replayed.lines),
        took.as_secs_f64(),
        info.id
    ));
    joins(&replayed, args)?;
    // What the policy says stands above what the model says, as in the line itself.
    let mut thresholds: BTreeMap<String, f64> = bundle.manifest().thresholds.clone();
    thresholds.extend(loaded.config.policy.thresholds.clone());
    let how = Measuring {
        unit: args.unit,
        threshold: args.threshold,
        thresholds,
        per_day: args.per_day.clone(),
        repeats: args.repeats,
        seed: args.seed,
    };
    let (report, measured, ranking) = measure(&replayed, &how, &info);
    for warning in report.warnings.iter().filter(|_| args.json) {
        say(&format!("warning: {warning}"));
    }
    Ok(Measurement { replayed, report, measured, ranking })
}

/// That there is something to measure, and a truth to measure it against.
fn joins(replayed: &Replayed, args: &Args) -> Result<(), Failure> {
    let rows = &replayed.rows;
    if replayed.labels == 0 {
        return Err(Failure::failed(format!(
            "{} holds no label that can be read\nhint: a label is {{\"account\":...,\"label\":1,\"ts\":...}} or names an event_id",
            args.labels.display()
        )));
    }
    if rows.is_empty() {
        return Err(Failure::failed(
            "no event was scored between --from and --to\nhint: both are in event time; `detector replay --scores-out` shows the times",
        ));
    }
    if replayed.joined == 0 {
        return Err(Failure::failed(format!(
            "none of the {} labels speaks of any of the {} events between --from and --to\nhint: labels join by `event_id` or `account` exactly as events spell them; [labels] in the configuration says what they speak of (unit, types, lookback)",
            grouped(replayed.labels as u64),
            grouped(rows.len() as u64)
        )));
    }
    Ok(())
}

fn engine_and_bundle(
    args: &Args,
    loaded: &Loaded,
    model: Option<&Path>,
) -> Result<(Engine, Bundle), Failure> {
    let engine = engine_of(loaded, model, args.engine.no_feedback, args.engine.strict_ties)?;
    let configured = loaded.config.model.path.as_ref().map(|path| loaded.resolve(path));
    let bundle = match model.map(Path::to_path_buf).or(configured) {
        Some(path) => read_bundle(&path)?,
        None => engine::labelfree::bundle(
            engine.schema(),
            &loaded.config.time.half_lives,
            loaded.config.labels.unit,
            engine.columns(),
            &engine.versions().features,
        )?,
    };
    Ok((engine, bundle))
}

fn model_info(bundle: &Bundle, engine: &Engine) -> ModelInfo {
    let manifest = bundle.manifest();
    let until = manifest.training.get("until_ms").and_then(|v| match v {
        toml::Value::Integer(ms) => Some(*ms),
        toml::Value::String(text) => text.parse().ok(),
        _ => None,
    });
    ModelInfo {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        id: engine.versions().model.clone(),
        is_probability: manifest.kind == Kind::Forest,
        trained_until_ms: until,
    }
}

#[expect(clippy::print_stdout, reason = "the measures are the command's output")]
fn print(first: &Report, compared: Option<&Compared>, json: bool) -> Result<(), Failure> {
    if json {
        let mut value = serde_json::to_value(first)?;
        if let (Some(compared), Some(fields)) = (compared, value.as_object_mut()) {
            fields.insert("compare".into(), serde_json::to_value(compared)?);
        }
        println!("{value}");
        return Ok(());
    }
    print!("{}", report::text(first));
    if let Some(compared) = compared {
        print!("\n{}", compare::text(first, compared));
    }
    Ok(())
}
