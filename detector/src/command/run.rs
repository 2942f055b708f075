//! `detector run`: the stream through the line; from files, or as the service.

use super::Failure;
use super::progress::{Progress, cpu_time, grouped, megabytes, memory_peak_bytes};
use super::setup::{EngineArgs, engine, moment};
use crate::config;
use crate::kafka::skip::Skip;
use crate::pipeline::{self, Places, Plan};
use crate::service::{self, Begin, Settings, Stop};
use crate::sink::files::{OutputPaths, Used};
use crate::source::files::Lines;
use crate::source::labels::LabelFile;
use crate::store::embedded::Embedded;
use crate::telemetry::export::{self, Export};
use crate::telemetry::{self, Telemetry};
use engine::{Engine, Wanted};
use std::path::PathBuf;
use std::time::Duration;

/// Run a stream of events through the line: actions out, state kept. With --input over files; without it as the service:
/// from Kafka to Kafka, with the state in Redis ([kafka] and [redis] of the configuration).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  detector run --config detector.toml                                           (the service, until SIGTERM)
  detector run --config conf/ --input events.ndjson.gz --labels labels.ndjson --output actions.ndjson
  cat events.ndjson | detector run --config conf/ --input - --output -
  detector run --config conf/ --input events.ndjson --output actions.ndjson --state state/   (goes on where it was stopped)")]
pub struct Args {
    #[command(flatten)]
    engine: EngineArgs,
    /// Events: JSON lines, a JSON array, CSV with a header, or Parquet; plain, gzip or zstd; `-` reads standard input (no Parquet).
    /// Without it the service runs.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Labels, in the same form.
    #[arg(long, requires = "input")]
    labels: Option<PathBuf>,
    /// Where actions go; `-` is standard output.
    #[arg(long, requires = "input")]
    output: Option<PathBuf>,
    /// Where messages go that cannot be read, each with its reason.
    #[arg(long, requires = "input")]
    dead_letters: Option<PathBuf>,
    /// A line with the score of every event, in input order.
    #[arg(long, requires = "input")]
    scores_out: Option<PathBuf>,
    /// Folder of the embedded state: a run that was stopped goes on from its last checkpoint.
    #[arg(long, requires = "input")]
    state: Option<PathBuf>,
    /// Nothing after this moment exists.
    #[arg(long, value_parser = moment, requires = "input")]
    until: Option<i64>,
    /// Print the summary as JSON.
    #[arg(long, requires = "input")]
    json: bool,
    /// The service: remove the state in Redis and make it anew from what the topics still hold; nothing is published a second time.
    #[arg(long, value_parser = ["earliest"], conflicts_with_all = ["input", "cold"])]
    rebuild_from: Option<String>,
    /// The service: remove the state in Redis and go on with an empty one, where outputs were committed last.
    #[arg(long, conflicts_with = "input")]
    cold: bool,
    /// The service: if this partition is stopped at this offset, write a dead letter and continue behind what cannot be read there.
    /// May be repeated; has no effect anywhere else.
    #[arg(long, value_name = "TOPIC/PARTITION@OFFSET", conflicts_with = "input")]
    skip: Vec<Skip>,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let Some(input) = args.input.clone() else {
        let begin = match (args.cold, &args.rebuild_from) {
            (true, _) => Begin::Cold,
            (_, Some(_)) => Begin::Rebuild,
            _ => Begin::Checkpoint,
        };
        return serve(&args.engine, begin, args.skip);
    };
    let (mut engine, loaded) = engine(&args.engine)?;
    engine.want(Wanted { scores: args.scores_out.is_some(), ..Wanted::default() });
    let outputs = OutputPaths {
        actions: args.output,
        scores: args.scores_out,
        dead_letters: args.dead_letters,
    };
    let mut used = Used::files(std::iter::once(&input).chain(&args.labels))
        .and(&loaded, args.engine.model.as_deref());
    used.folders.extend(args.state.clone());
    outputs.check(&used).map_err(Failure::refused)?;
    let store = args.state.as_deref().map(Embedded::open).transpose()?;
    let (lines, position) = match &store {
        Some(store) => {
            let places = Places {
                input: &input,
                labels: args.labels.as_deref(),
                outputs: &outputs,
                until_ms: args.until,
                no_feedback: args.engine.no_feedback,
            };
            let (lines, position) = pipeline::resume(&mut engine, store, &places)?;
            (lines, Some(position))
        }
        None => (Lines::open(&input)?, None),
    };
    let labels = match &args.labels {
        Some(path) => LabelFile::load(path, &engine.decoder(), args.until)?,
        None => LabelFile::default(),
    };
    let resumed_at = position.as_ref().map_or(0, |p| p.place.line);
    let progress = Progress::bytes("run", lines.length());
    let checkpoint_events = engine.config().state.checkpoint_events;
    let before = engine.counts();
    let cpu = cpu_time().unwrap_or_default();
    let summary = pipeline::run(
        &mut engine,
        Plan {
            input: lines,
            labels,
            outputs,
            store: store.as_ref().zip(position),
            checkpoint_events,
            until_ms: args.until,
            on_action: None,
            on_effects: None,
            progress: &mut |done| progress.set(done),
        },
    );
    let took = progress.finish();
    let summary = summary?;
    if resumed_at > 0 {
        say(&format!("went on behind line {}", grouped(resumed_at)));
    }
    let cpu = cpu_time().unwrap_or_default().saturating_sub(cpu);
    report(&engine, before.events, &summary, took, cpu, args.json);
    Ok(())
}

/// The service, until it is asked to stop.
fn serve(args: &EngineArgs, begin: Begin, skips: Vec<Skip>) -> Result<(), Failure> {
    let loaded = config::load(&args.config)?;
    if loaded.kafka.is_none() {
        return Err(Failure::refused(format!(
            "there is no --input, and {} has no [kafka]: nothing says where events come from\nhint: give --input FILE (or - for standard input), or add [kafka] and [redis] to run the service (docs/operations.md)",
            loaded.file.display()
        )));
    }
    let wanted = export::Wanted::of_process()?;
    // Ends last, when everything was said.
    let export = wanted.as_ref().map(Export::start).transpose()?.flatten();
    telemetry::logs::init(&loaded.config.log, export.as_ref()).map_err(Failure::failed)?;
    match (&wanted, &export) {
        (Some(wanted), Some(_)) => tracing::info!(
            metrics = wanted.metrics.is_some(),
            logs = wanted.logs.is_some(),
            traces = wanted.traces.is_some(),
            "exports to OpenTelemetry"
        ),
        (Some(_), None) => tracing::warn!(
            "the environment names an OpenTelemetry collector, and this program is built without the feature `otel`: nothing is exported"
        ),
        (None, _) => {}
    }
    let file = loaded.file.clone();
    let settings = Settings::new(loaded, args.model.clone(), args.strict_ties, begin, skips)
        .map_err(|problems| Failure::refused_file(&file, &problems))?;
    let stop = Stop::default();
    stop.on_signals()?;
    service::run(&settings, Telemetry::exporting(export.as_ref()), &stop)
}

#[expect(
    clippy::print_stderr,
    reason = "what a person reads goes to standard error; standard output is for data"
)]
pub(super) fn say(text: &str) {
    eprintln!("{}", engine::printable_lines(text));
}

/// What could not be read of messages that were taken.
fn field_faults(engine: &Engine, summary: &pipeline::Summary) -> Vec<serde_json::Value> {
    let each = ["events", "labels"].into_iter().zip(&summary.faults);
    let each = each.flat_map(|(of, faults)| faults.iter().map(move |found| (of, found)));
    each.map(|(of, (field, fault, faulty))| {
        serde_json::json!({
            "of": of, "field": field.name(engine.words()), "reason": fault.as_str(),
            "messages": faulty.messages, "first_line": faulty.first,
        })
    })
    .collect()
}

/// Says which fields could not be read of messages that were taken.
pub(super) fn say_field_faults(engine: &Engine, summary: &pipeline::Summary) {
    for (what, faults) in ["event", "label"].into_iter().zip(&summary.faults) {
        for (field, fault, faulty) in faults.iter() {
            say(&format!(
                "field not read as it is: {} ({}) in {} {what}{}, first in line {}",
                field.name(engine.words()),
                fault.as_str(),
                grouped(faulty.messages),
                if faulty.messages == 1 { "" } else { "s" },
                grouped(faulty.first),
            ));
        }
    }
}

/// Says what a run did and what it cost.
pub(super) fn report(
    engine: &Engine,
    events_before: u64,
    summary: &pipeline::Summary,
    took: Duration,
    cpu: Duration,
    json: bool,
) {
    let counts = engine.counts();
    let events = counts.events - events_before;
    let seconds = took.as_secs_f64().max(1e-9);
    let rate = events as f64 / seconds;
    let cpu_us = cpu.as_secs_f64() * 1e6 / events.max(1) as f64;
    let peak = memory_peak_bytes().unwrap_or(0);
    if json {
        let value = serde_json::json!({
            "events": events, "events_total": counts.events, "lines": summary.lines, "rejects": summary.rejects,
            "field_faults": field_faults(engine, summary),
            "redelivered": counts.redelivered, "event_id_conflicts": counts.event_id_conflicts, "too_late": counts.too_late, "ahead": counts.ahead, "labels": counts.labels,
            "labels_unjoined": counts.labels_unjoined, "labels_unknown": counts.labels_unknown,
            "actions": counts.actions, "shadow_actions": counts.shadow_actions, "degraded": counts.degraded,
            "reversals": counts.reversals, "malformed_keys": counts.malformed_keys, "ignored_keys": counts.ignored_keys,
            "suspected_placeholders": counts.suspected_placeholders, "keys_not_kept": counts.keys_not_kept,
            "accounts_not_kept": counts.accounts_not_kept, "accounts": engine.size().accounts, "entities": engine.size().entities,
            "links": engine.size().links, "seconds": took.as_secs_f64(), "events_per_second": rate,
            "cpu_us_per_event": cpu_us, "memory_peak_bytes": peak, "checkpoints": summary.checkpoints,
            "rejected": summary.reasons.iter().map(|(stream, code, reason)| serde_json::json!({
                "stream": stream, "code": code, "count": reason.count, "first_line": reason.line, "detail": reason.detail,
            })).collect::<Vec<_>>(),
            "unfinished_bytes": summary.unfinished,
            "versions": {"model": engine.versions().model, "policy": engine.versions().policy, "features": engine.versions().features},
        });
        say(&value.to_string());
        return;
    }
    let size = engine.size();
    say(&format!(
        "{} events in {seconds:.1} s: {} events per second, {cpu_us:.2} us CPU per event; peak memory {}",
        grouped(events),
        grouped(rate as u64),
        megabytes(peak)
    ));
    say(&format!(
        "{} accounts, {} entities, {} links; {} labels ({} without their event, {} about unknown accounts)",
        grouped(size.accounts),
        grouped(size.entities),
        grouped(size.links),
        grouped(counts.labels),
        grouped(counts.labels_unjoined),
        grouped(counts.labels_unknown),
    ));
    say(&format!(
        "{} live actions, {} shadow actions, {} made milder by caps, {} reversed",
        grouped(counts.actions),
        grouped(counts.shadow_actions),
        grouped(counts.degraded),
        grouped(counts.reversals),
    ));
    if summary.rejects + counts.redelivered + counts.too_late + counts.ahead > 0 {
        say(&format!(
            "{} rejects, {} redelivered, {} too late for more than lifetime counts, {} ahead of the stream's clock",
            grouped(summary.rejects),
            grouped(counts.redelivered),
            grouped(counts.too_late),
            grouped(counts.ahead)
        ));
    }
    for line in summary.reasons.lines() {
        say(&format!("  {line}"));
    }
    if summary.unfinished > 0 {
        say(&format!(
            "the last line has no end yet ({} bytes): it is left for the run that follows",
            grouped(summary.unfinished)
        ));
    }
    if counts.malformed_keys > 0 {
        say(&format!(
            "{} keys do not parse under the form of their kind and are known as they came",
            grouped(counts.malformed_keys)
        ));
    }
    if counts.keys_not_kept + counts.accounts_not_kept > 0 {
        say(&format!(
            "{} keys and the accounts of {} events were not kept: the state was near its bound of {} bytes\n  \
             hint: raise state.memory_max, or shorten time.account_ttl and the ttl of kinds",
            grouped(counts.keys_not_kept),
            grouped(counts.accounts_not_kept),
            grouped(engine.memory_use().max)
        ));
    }
    if counts.ignored_keys > 0 {
        say(&format!(
            "{} keys were ignored as [kinds.NAME] ignore says",
            grouped(counts.ignored_keys)
        ));
    }
    if counts.suspected_placeholders > 0 {
        say(&format!(
            "{} times one key was found on far more accounts than the rest of its kind, as a placeholder is\n  \
             hint: `detector init` lists such keys, for [kinds.NAME] ignore",
            grouped(counts.suspected_placeholders)
        ));
    }
    say_field_faults(engine, summary);
    if counts.event_id_conflicts > 0 {
        say(&format!(
            "{} events came with an event_id that their account had used for another event: each was taken under \
             its own id (event_id#hash of its content)\n  hint: an event_id must name one event; is a session's or a \
             request's id sent in its place? A client that repeats ids on purpose is worth a look",
            grouped(counts.event_id_conflicts)
        ));
    }
    if events == 0 && summary.lines == 0 {
        say("the input is empty: nothing was scored");
    }
}
