//! `detector bench`: CPU time per event and stage, and bytes per account, on a fixed workload.

mod messages;

use super::Failure;
use super::progress::{Progress, cpu_time, grouped, megabytes, memory_now_bytes};
use super::run::say;
use crate::workload::{Workload, random_bundle};
use engine::effects::{Effects, SourceRef};
use engine::wire::write_score;
use engine::{Engine, Input, Options, Wanted};
use std::collections::BTreeMap;
use std::time::Duration;

/// CPU time per event and stage, and bytes per account, on a fixed workload.
///
/// Accounts are drawn by Zipf 1.0 and name three entities per event; before that, every account gets five links
/// over three entities of its own or shared. One thread; times are process CPU time.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  detector bench\n  detector bench --accounts 100000 --events 500000 --json\n  detector bench --messages"
)]
pub struct Args {
    /// Accounts.
    #[arg(long, default_value_t = 1_000_000)]
    accounts: u32,
    /// Measured events, after every account was filled.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Trees of the forest.
    #[arg(long, default_value_t = 300)]
    trees: u32,
    /// Leaves of each tree.
    #[arg(long, default_value_t = 31)]
    leaves: u32,
    /// Events that are read, scored and written together.
    #[arg(long, default_value_t = 512)]
    batch: usize,
    /// Measure what single messages cost over a filled state (labels, erasures, an account at its cap of links), and the
    /// longest step while it was filled.
    #[arg(long)]
    messages: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// CPU microseconds per event.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
struct Stages {
    decode: f64,
    state: f64,
    score_and_decide: f64,
    encode: f64,
    whole_line: f64,
}

pub fn run(args: Args) -> Result<(), Failure> {
    if args.accounts < 1_000
        || args.events < 1_000
        || args.leaves < 2
        || args.trees < 1
        || args.batch < 1
    {
        return Err(Failure::refused(
            "bench needs at least 1000 accounts and events, 1 tree, 2 leaves, 1 event a batch",
        ));
    }
    let mut config = crate::config::parse(crate::shipped::BENCH_CONFIG, &BTreeMap::new())
        .map_err(|p| Failure::failed(p.join("\n  ")))?;
    // It measures a state of any size.
    config.state.memory_max = "1TiB".into();
    if args.messages {
        return super::print(&messages::run(&args, config)?);
    }
    let bare = Engine::new(config.clone(), None, Options::default())
        .map_err(|p| Failure::failed(p.join("\n  ")))?;
    let bundle = random_bundle(&bare, args.trees, args.leaves)?;
    drop(bare);
    let mut engine = Engine::new(config, Some(&bundle), Options::default())
        .map_err(|p| Failure::failed(p.join("\n  ")))?;
    let decoder = engine.decoder();
    let finisher = engine.finisher();
    let mut workload = Workload::new(args.accounts);

    // Fill: two events an account, five links over three entities of its own or shared.
    let before = memory_now_bytes().unwrap_or(0);
    let progress = Progress::count("fill", u64::from(args.accounts) * 2);
    engine.want(Wanted { state_only: true, ..Wanted::default() });
    let mut effects = Effects::default();
    let mut message = Vec::new();
    for n in 0..u64::from(args.accounts) * 2 {
        message.clear();
        workload.fill(n, &mut message);
        let event =
            decoder.event(&message, Default::default).map_err(|r| Failure::failed(r.detail))?;
        engine.step([Input::Event(event, SourceRef::default())], &mut effects);
        if n % 10_000 == 0 {
            progress.set(n);
            effects.clear();
        }
    }
    progress.finish();
    let size = engine.size();
    let resident = memory_now_bytes().unwrap_or(0).saturating_sub(before);

    // Half of the measured events only move the state, half go through the whole line; in turns, so that
    // whatever else the machine does meets both alike.
    let progress = Progress::count("measure", args.events);
    let mut spent = [Duration::ZERO; 4];
    let mut counted = [0u64; 2];
    let mut out = Vec::new();
    let mut messages: Vec<Vec<u8>> = vec![Vec::new(); args.batch];
    let mut done = 0;
    let mut actions = 0u64;
    let mut turn = 0;
    while done < args.events {
        for message in &mut messages {
            message.clear();
            workload.event(message);
        }
        let whole = turn % 2 == 1;
        turn += 1;
        let clock = Clock::start();
        let mut inputs = Vec::with_capacity(args.batch);
        for message in &messages {
            let event =
                decoder.event(message, Default::default).map_err(|r| Failure::failed(r.detail))?;
            inputs.push(Input::Event(event, SourceRef::default()));
        }
        spent[0] += clock.lap();
        let clock = Clock::start();
        engine.want(Wanted { state_only: !whole, scores: whole, rows: false });
        effects.clear();
        engine.step(inputs, &mut effects);
        spent[if whole { 2 } else { 1 }] += clock.lap();
        counted[usize::from(whole)] += args.batch as u64;
        if whole {
            let clock = Clock::start();
            out.clear();
            for s in &effects.scores {
                write_score(&mut out, &s.event_id, &s.account, s.ts_ms, s.score);
            }
            for draft in effects.actions.drain(..) {
                actions += 1;
                // Attributions run behind the line; what is measured here is what every action costs beside them.
                finisher.outline(draft).write(&mut out);
            }
            spent[3] += clock.lap();
        }
        done += args.batch as u64;
        progress.set(done);
    }
    progress.finish();
    let per = |time: Duration, events: u64| time.as_secs_f64() * 1e6 / events.max(1) as f64;
    let state = per(spent[1], counted[0]);
    let step = per(spent[2], counted[1]);
    let mut stages = Stages {
        decode: per(spent[0], counted[0] + counted[1]),
        state,
        score_and_decide: (step - state).max(0.0),
        encode: per(spent[3], counted[1]),
        whole_line: 0.0,
    };
    stages.whole_line = stages.decode + step + stages.encode;
    let bytes = size.bytes as f64 / size.accounts.max(1) as f64;
    let share = actions as f64 / counted[1].max(1) as f64;
    super::print(&shown(&args, &engine, stages, size, bytes, resident, share))?;
    if !args.json {
        say("the budget: whole line 8 us (goal 4), 2500 bytes per account (goal 1200)");
    }
    Ok(())
}

fn shown(
    args: &Args,
    engine: &Engine,
    stages: Stages,
    size: engine::Size,
    bytes_per_account: f64,
    resident: u64,
    action_share: f64,
) -> String {
    if args.json {
        let value = serde_json::json!({
            "accounts": size.accounts, "entities": size.entities, "links": size.links, "events": args.events,
            "features": engine.columns().len(), "trees": args.trees, "leaves": args.leaves,
            "cpu_us_per_event": stages, "bytes_per_account": bytes_per_account,
            "resident_bytes_per_account": resident as f64 / size.accounts.max(1) as f64,
            "action_share": action_share,
        });
        return format!("{value}\n");
    }
    let mut text = format!(
        "{} accounts, {} entities, {} links; {} features; forest of {} trees with {} leaves; batches of {}\n",
        grouped(size.accounts),
        grouped(size.entities),
        grouped(size.links),
        engine.columns().len(),
        args.trees,
        args.leaves,
        args.batch
    );
    text.push_str("\nCPU time per event, us\n");
    for (name, value) in [
        ("decode", stages.decode),
        ("state and features", stages.state),
        ("score and decide", stages.score_and_decide),
        ("encode", stages.encode),
        ("whole line", stages.whole_line),
    ] {
        text.push_str(&format!("  {name:<20} {value:>7.2}\n"));
    }
    text.push_str(&format!(
        "\nmemory: {bytes_per_account:.0} bytes per account ({} in all; {} resident)\n\
         {:.2} % of the scored events led to an action\n",
        megabytes(size.bytes),
        megabytes(resident),
        action_share * 100.0
    ));
    text
}

/// Process CPU time, as fine as the system tells.
struct Clock {
    at: Duration,
}

impl Clock {
    fn start() -> Self {
        Self { at: now() }
    }

    fn lap(&self) -> Duration {
        now().saturating_sub(self.at)
    }
}

/// CPU time of this thread, which does all of the work; from `/proc`, in nanoseconds.
fn now() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = text.and_then(|t| t.split_whitespace().next()?.parse().ok());
    nanos.map(Duration::from_nanos).or_else(cpu_time).unwrap_or_default()
}
