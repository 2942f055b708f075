//! The service under faults, and whether anything was lost, came twice, or came out different.
//!
//! Two detectors of one group work on a simulated platform's stream, while one fault after the other is done to them, to Kafka, to
//! Redis, to the network between and to the clocks. At the end everything that a read-committed subscriber sees, and everything
//! that Redis holds, is compared with what an undisturbed line makes of the same messages in the order of the journal.

pub mod judge;
pub mod load;
pub mod pair;
pub mod plan;
pub mod proxy;
pub mod reference;
pub mod topics;
pub mod watch;
pub mod world;

use crate::support::{Scratch, stream};
use detector::config;
use detector::store::redis::RedisSection;
use load::Load;
use plan::{Fault, Kind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use watch::Watch;
use world::{PATIENCE, World};

const PREFIX: &str = "chaos-";
const PARTITIONS: u32 = 4;
/// Partitions of the topics of scores and of actions.
const OUT_PARTITIONS: i32 = 2;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many faults.
    pub faults: u32,
    /// The same seed gives the same stream and the same faults; what they hit differs by moments.
    pub seed: u64,
    /// Messages per second.
    pub rate: u32,
    /// Faults end after so many minutes, even if there are more.
    pub minutes: Option<u64>,
    /// Only these kinds; empty: all.
    pub kinds: Vec<Kind>,
    /// `exactly_once`; or `at_least_once`, where an output may come again, and is the same then.
    pub delivery: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            faults: 20,
            seed: 1,
            rate: 300,
            minutes: None,
            kinds: Vec::new(),
            delivery: "exactly_once",
        }
    }
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Of the options.
    pub seed: u64,
    /// Of the options.
    pub delivery: &'static str,
    /// Messages in the topics of events.
    pub events: u64,
    /// Messages in the topics of labels.
    pub labels: u64,
    /// How many faults were done.
    pub faults: u32,
    /// The same by kind.
    pub faults_by_kind: BTreeMap<&'static str, u32>,
    /// Events, actions and dead letters that are missing.
    pub lost: u64,
    /// Those that came twice, and were the same.
    pub duplicated: u64,
    /// Scores, actions and dead letters that an undisturbed run does not give.
    pub outputs_differing: u64,
    /// Records of the state in Redis that an undisturbed run does not give.
    pub profiles_differing: u64,
    /// Records compared.
    pub profiles: u64,
    /// Actions published.
    pub actions: u64,
    /// Dead letters published.
    pub dead_letters: u64,
    /// How often the state was made anew on a person's word.
    pub rebuilt: usize,
    /// The longest time between two scores that came one after the other.
    pub longest_outage_ms: u64,
    /// The same by what was being done.
    pub outage_ms_by_kind: BTreeMap<&'static str, u64>,
    /// Why processes ended that nobody had ended, to be started again by whoever keeps them running.
    pub exits: BTreeMap<String, u32>,
    /// How long it took, without the comparison.
    pub seconds: u64,
    /// What was wrong.
    pub wrong: Vec<String>,
}

impl Summary {
    /// Whether all is as it must be.
    pub fn is_good(&self) -> bool {
        let twice = match self.delivery {
            "exactly_once" => self.duplicated,
            _ => 0,
        };
        let bad = self.lost + twice + self.outputs_differing + self.profiles_differing;
        bad == 0 && self.wrong.is_empty() && self.events > 0 && self.profiles > 0
    }
}

/// Runs it. `say` gets a line for people now and then; logs are kept in `logs`, if given, when something is wrong.
pub fn run(options: &Options, say: &mut dyn FnMut(String)) -> (Summary, World) {
    let scratch = Scratch::new();
    stream().put_config(&scratch);
    let mut world = World::start(scratch, PREFIX, PARTITIONS, options.delivery);
    let bootstrap = world.stack.bootstrap().to_owned();
    let begun = Instant::now();
    let load = Load::start(&bootstrap, PREFIX, options.seed, options.rate, PARTITIONS, u64::MAX);
    let watch = Watch::start(&bootstrap, &format!("{PREFIX}scores"), OUT_PARTITIONS);
    let mut summary =
        Summary { seed: options.seed, delivery: options.delivery, ..Summary::default() };

    let done = disturb(options, &mut world, &load, &watch, &mut summary, say);
    load.stop();
    let (kept, last) = (load.acknowledged.clone(), load.ended());
    debug_assert!(std::sync::Arc::ptr_eq(&kept, &last));
    let settled = done.and_then(|()| caught_up(&world, &watch, &last));
    summary.seconds = begun.elapsed().as_secs();
    let ended = settled.and_then(|()| {
        // Damaged messages and labels at the very end have no score behind them to wait for.
        std::thread::sleep(Duration::from_secs(1));
        world.pair.end()
    });
    if let Err(why) = ended {
        summary.wrong.push(why);
    }
    for (kind, silence) in watch.silences() {
        let ms = silence.as_millis() as u64;
        summary.longest_outage_ms = summary.longest_outage_ms.max(ms);
        summary.outage_ms_by_kind.insert(kind, ms);
    }
    summary.exits = world.pair.exits();
    summary.wrong.extend(world.pair.panics());
    summary.rebuilt = world.rebuilt.len();
    say(format!("{} faults in {} s; comparing", summary.faults, summary.seconds));

    let loaded = config::load(&world.scratch().path("conf")).unwrap_or_else(|e| panic!("{e}"));
    let redis = RedisSection {
        url: world.stack.redis().to_owned(),
        prefix: format!("{PREFIX}det:"),
        ..RedisSection::default()
    };
    let verdict = judge::judge(&world.section, &redis, &loaded, &world.rebuilt);
    (summary.events, summary.labels) = (verdict.events, verdict.labels);
    (summary.lost, summary.duplicated) = (verdict.lost, verdict.duplicated);
    summary.outputs_differing = verdict.outputs_differing;
    (summary.profiles, summary.profiles_differing) = (verdict.profiles, verdict.profiles_differing);
    (summary.actions, summary.dead_letters) = (verdict.actions, verdict.dead_letters);
    let (wrong, notes): (Vec<_>, Vec<_>) = verdict
        .notes
        .into_iter()
        .partition(|(always, _)| *always || options.delivery == "exactly_once");
    summary.wrong.extend(wrong.into_iter().map(|(_, note)| note));
    notes.into_iter().for_each(|(_, note)| say(format!("as it may be: {note}")));
    (summary, world)
}

/// One fault after the other.
fn disturb(
    options: &Options,
    world: &mut World,
    load: &Load,
    watch: &Watch,
    summary: &mut Summary,
    say: &mut dyn FnMut(String),
) -> Result<(), String> {
    watch.cause("start");
    caught_up(world, watch, &load.acknowledged)?;
    let until = options.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    for fault in plan::plan(options.seed, options.faults, &options.kinds) {
        if until.is_some_and(|until| Instant::now() > until) {
            break;
        }
        let Fault { kind, after_ms, .. } = fault;
        std::thread::sleep(Duration::from_millis(after_ms));
        watch.cause(kind.name());
        world.pair.note(&format!("{}: {fault:?}", summary.faults));
        let begun = Instant::now();
        world.do_it(&fault, &load.partitions)?;
        summary.faults += 1;
        *summary.faults_by_kind.entry(kind.name()).or_default() += 1;
        if !fault.overlaps {
            caught_up(world, watch, &load.acknowledged)
                .map_err(|why| format!("{fault:?}: {why}"))?;
        }
        say(format!(
            "{:4} {:21} {:6.1} s{}",
            summary.faults,
            kind.name(),
            begun.elapsed().as_secs_f64(),
            if fault.overlaps { ", the next at once" } else { "" }
        ));
    }
    watch.cause("end");
    caught_up(world, watch, &load.acknowledged)
}

/// Waits until everything that Kafka has by now is scored, and something is: before that, Redis has no checkpoint, and detectors refuse
/// a copy of it.
fn caught_up(world: &World, watch: &Watch, load: &load::Acknowledged) -> Result<(), String> {
    let wanted = load.scored.load(SeqCst).max(1);
    let until = Instant::now() + PATIENCE;
    while watch.scores() < wanted {
        if Instant::now() > until {
            return Err(format!(
                "{} of {wanted} events are scored after {} s, and no more come; detectors: {:?}",
                watch.scores(),
                PATIENCE.as_secs(),
                world.pair.states()
            ));
        }
        if world.pair.both_refuse() {
            return Err("both detectors refuse to start, and nobody took their state away".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
