//! `detector demo`: a simulated platform with planted bad actors through the whole line; what was caught.

use super::Failure;
use super::progress::{Progress, cpu_time, grouped};
use super::run::{report, say};
use super::simulate::Platform;
use crate::config::Loaded;
use crate::pipeline::{self, Plan};
use crate::simulate::write_stream;
use crate::sink::files::OutputPaths;
use crate::source::files::Lines;
use crate::source::labels::LabelFile;
use engine::effects::Effects;
use engine::wire::ActionV1;
use engine::{Engine, Options, Wanted};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;

/// A simulated platform with planted bad actors, run through the whole line; prints what was caught.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  detector demo
  detector demo --events 1000000 --accounts 40000 --seed 7 --output actions.ndjson")]
pub struct Args {
    #[command(flatten)]
    platform: Platform,
    /// Actions that are printed as they happen.
    #[arg(long, default_value_t = 25)]
    show: usize,
    /// Where the actions go as well.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Use the built-in label-free score instead of the shipped model.
    #[arg(long)]
    label_free: bool,
    /// Print the table as JSON on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct TruthLine {
    account: String,
    kind: String,
    bad: bool,
    started: Option<i64>,
}

/// What became of an account.
#[derive(Clone, Debug, Default)]
struct Fate {
    /// Events since it began to be bad (or ever, for the honest).
    events: u64,
    /// Events up to the first action.
    until_action: Option<u64>,
    /// Some action was a review or harder: more than being asked who one is.
    hard: bool,
    reversed: bool,
}

/// One row of the table.
#[derive(Clone, Debug, Default, serde::Serialize)]
struct Row {
    kind: String,
    accounts: u64,
    actioned: u64,
    hard: u64,
    reversed: u64,
    median_events_until_action: Option<u64>,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let plan = args.platform.plan();
    plan.check().map_err(Failure::refused)?;
    let (mut events, mut labels, mut truth) = (Vec::new(), Vec::new(), Vec::new());
    let progress = Progress::count("simulate", plan.events);
    write_stream(&plan, &mut events, Some(&mut labels), Some(&mut truth), &mut |n| {
        progress.set(n)
    })?;
    progress.finish();
    let truth: BTreeMap<String, TruthLine> = truth
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice::<TruthLine>(line).map(|t| (t.account.clone(), t)))
        .collect::<Result<_, _>>()?;

    let mut engine = shipped_engine(args.label_free)?;
    engine.want(Wanted { scores: true, ..Wanted::default() });
    say(&format!(
        "{} events through the line: {} features, model {}, policy {}",
        grouped(plan.events),
        engine.columns().len(),
        engine.versions().model,
        engine.versions().policy
    ));
    let mut fates: BTreeMap<String, Fate> = BTreeMap::new();
    let mut watch = |effects: &Effects| follow(effects, &truth, &mut fates);
    let bytes = events.len() as u64;
    let progress = Progress::bytes("demo", Some(bytes));
    let bar = progress.handle();
    let mut left = args.show;
    let on_action = Box::new(move |action: &ActionV1| {
        if left > 0 && !action.shadow {
            left -= 1;
            bar.suspend(|| say(&line(action)));
            if left == 0 {
                bar.suspend(|| say("... (the rest is counted below; --show N prints more)"));
            }
        }
    });
    let decoder = engine.decoder();
    let label_lines = Lines::from_reader("labels", Box::new(Cursor::new(labels)));
    let labels = LabelFile::read(label_lines, &decoder, None)?;
    let cpu = cpu_time().unwrap_or_default();
    let summary = pipeline::run(
        &mut engine,
        Plan {
            input: Lines::from_reader("demo", Box::new(Cursor::new(events))),
            labels,
            outputs: OutputPaths { actions: args.output, ..OutputPaths::default() },
            store: None,
            checkpoint_events: u64::MAX,
            until_ms: None,
            on_action: Some(on_action),
            on_effects: Some(&mut watch),
            progress: &mut |_| {},
        },
    );
    let took = progress.finish();
    let summary = summary?;
    let cpu = cpu_time().unwrap_or_default().saturating_sub(cpu);
    report(&engine, 0, &summary, took, cpu, false);
    show(&truth, &fates, args.json)
}

/// The engine of the shipped configuration and model.
pub(super) fn shipped_engine(label_free: bool) -> Result<Engine, Failure> {
    let loaded = shipped_config()?;
    let bundle = if label_free { None } else { Some(crate::shipped::bundle()?) };
    Engine::new(loaded.config, bundle.as_ref(), Options::default())
        .map_err(|problems| Failure::failed(problems.join("\n  ")))
}

fn shipped_config() -> Result<Loaded, Failure> {
    let config = crate::config::parse(crate::shipped::CONFIG, &BTreeMap::new())
        .map_err(|problems| Failure::failed(problems.join("\n  ")))?;
    Ok(Loaded {
        config,
        file: "the shipped configuration".into(),
        folder: PathBuf::new(),
        seen: None,
        kafka: None,
        redis: None,
    })
}

/// Counts events until the first action that somebody would notice.
fn follow(
    effects: &Effects,
    truth: &BTreeMap<String, TruthLine>,
    fates: &mut BTreeMap<String, Fate>,
) {
    let mut drafts = effects.actions.iter().filter(|d| !d.is_shadow()).peekable();
    for score in &effects.scores {
        let started = truth.get(score.account.as_str()).and_then(|t| t.started);
        let fate = fates.entry(score.account.to_string()).or_default();
        if started.is_none_or(|started| score.ts_ms >= started) {
            fate.events += 1;
        }
        while let Some(draft) =
            drafts.peek().filter(|d| d.event_id() == score.event_id || d.is_reversal())
        {
            if draft.is_reversal() {
                fates.entry(draft.account().to_string()).or_default().reversed = true;
            } else if draft.action() != "observe" {
                let fate = fates.entry(score.account.to_string()).or_default();
                fate.until_action.get_or_insert(fate.events);
                fate.hard |= !matches!(draft.action(), "challenge" | "rate_limit");
            }
            drafts.next();
        }
    }
    for draft in drafts.filter(|d| d.is_reversal()) {
        fates.entry(draft.account().to_string()).or_default().reversed = true;
    }
}

fn line(action: &ActionV1) -> String {
    let reason = action.reasons.iter().find(|r| r.contribution > 0.0).or(action.reasons.first());
    let ring = match action.evidence.ring_size {
        0 | 1 => String::new(),
        n => format!(", ring of {n} ({} known bad)", action.evidence.known_bad),
    };
    format!(
        "{}  {:<10} {:<10} {:.3}  {}{ring}: {}",
        moment(action.at),
        action.action,
        action.account,
        action.score,
        action.rule,
        reason.map_or("", |r| r.text.as_str())
    )
}

fn moment(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(ts) => ts.strftime("%m-%d %H:%M").to_string(),
        Err(_) => ms.to_string(),
    }
}

fn show(
    truth: &BTreeMap<String, TruthLine>,
    fates: &BTreeMap<String, Fate>,
    json: bool,
) -> Result<(), Failure> {
    let mut rows: BTreeMap<(bool, String), (Row, Vec<u64>)> = BTreeMap::new();
    for t in truth.values().filter(|t| !t.bad || t.started.is_some()) {
        let (row, waits) = rows.entry((!t.bad, t.kind.clone())).or_default();
        row.kind = t.kind.clone();
        row.accounts += 1;
        if let Some(fate) = fates.get(&t.account) {
            if let Some(until) = fate.until_action {
                row.actioned += 1;
                waits.push(until);
            }
            row.hard += u64::from(fate.hard);
            row.reversed += u64::from(fate.reversed);
        }
    }
    for (row, waits) in rows.values_mut() {
        waits.sort_unstable();
        row.median_events_until_action = waits.get(waits.len() / 2).copied();
    }
    let (bad, honest): (Vec<_>, Vec<_>) = rows.into_iter().partition(|((honest, _), _)| !honest);
    let bad: Vec<Row> = bad.into_iter().map(|(_, (row, _))| row).collect();
    let honest: Vec<Row> = honest.into_iter().map(|(_, (row, _))| row).collect();
    if json {
        return super::print(&format!("{}\n", serde_json::json!({"bad": bad, "honest": honest})));
    }
    let mut text = format!(
        "\n{:<20} {:>9} {:>8} {:>8} {:>9}  median events until the first action\n",
        "bad actors", "accounts", "caught", "missed", "share"
    );
    let mut total = Row { kind: "all".into(), ..Row::default() };
    for row in &bad {
        total.accounts += row.accounts;
        total.actioned += row.actioned;
        text.push_str(&format!("{}\n", bad_line(row)));
    }
    text.push_str(&format!("{}\n", bad_line(&total)));
    text.push_str(&format!(
        "\n{:<20} {:>9} {:>16} {:>9} {:>16} {:>9} {:>9}\n",
        "honest crowds",
        "accounts",
        "wrongly actioned",
        "share",
        "review or harder",
        "share",
        "reversed"
    ));
    let mut total = Row { kind: "all".into(), ..Row::default() };
    for row in &honest {
        total.accounts += row.accounts;
        total.actioned += row.actioned;
        total.hard += row.hard;
        total.reversed += row.reversed;
        text.push_str(&format!("{}\n", honest_line(row)));
    }
    text.push_str(&format!("{}\n", honest_line(&total)));
    super::print(&text)
}

fn percent(part: u64, of: u64) -> String {
    format!("{:.2} %", part as f64 * 100.0 / of.max(1) as f64)
}

fn bad_line(row: &Row) -> String {
    let median = row.median_events_until_action.map_or(String::new(), |m| m.to_string());
    format!(
        "{:<20} {:>9} {:>8} {:>8} {:>9}  {median}",
        row.kind,
        grouped(row.accounts),
        grouped(row.actioned),
        grouped(row.accounts - row.actioned),
        percent(row.actioned, row.accounts)
    )
}

fn honest_line(row: &Row) -> String {
    format!(
        "{:<20} {:>9} {:>16} {:>9} {:>16} {:>9} {:>9}",
        row.kind,
        grouped(row.accounts),
        grouped(row.actioned),
        percent(row.actioned, row.accounts),
        grouped(row.hard),
        percent(row.hard, row.accounts),
        grouped(row.reversed)
    )
}
