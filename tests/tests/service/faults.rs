//! Twenty faults, every kind at least once, and some without transactions; `scripts/chaos` is the long form. And a burst before a slow sink.

#![expect(clippy::print_stderr, reason = "what was done is worth seeing")]

use e2e::burst;
use e2e::chaos::plan::Kind;
use e2e::chaos::{Options, Summary, run};
use std::time::Duration;

#[test]
fn twenty_faults_lose_nothing_and_repeat_nothing() {
    let summary = faults(&Options { faults: 20, seed: 1, ..Options::default() });
    assert_eq!(summary.faults_by_kind.len(), Kind::ALL.len(), "every kind was done");
    assert!(summary.rebuilt > 0);
}

#[test]
fn without_transactions_what_comes_again_is_the_same() {
    let kinds = vec![Kind::Zombie, Kind::KillLive, Kind::StallRedis, Kind::StallKafka];
    let options =
        Options { faults: 8, seed: 5, kinds, delivery: "at_least_once", ..Options::default() };
    assert_eq!(faults(&options).faults_by_kind.len(), options.kinds.len());
}

/// Does them; all must be as it must be.
fn faults(options: &Options) -> Summary {
    let (summary, world) = run(options, &mut |line| eprintln!("{line}"));
    eprintln!(
        "events {}, faults {}, lost {}, duplicated {}, outputs that differ {}, profiles that differ {} of {}, longest outage {} ms",
        summary.events,
        summary.faults,
        summary.lost,
        summary.duplicated,
        summary.outputs_differing,
        summary.profiles_differing,
        summary.profiles,
        summary.longest_outage_ms
    );
    if !summary.is_good() {
        for name in ["a", "b"] {
            let log = std::fs::read_to_string(world.scratch().path(name)).unwrap_or_default();
            eprintln!("== log {name}\n{log}");
        }
    }
    assert!(summary.is_good(), "{summary:#?}");
    assert!(summary.actions > 0 && summary.dead_letters > 0);
    summary
}

/// What the service may have, whatever the sink does: the client's queue (64 MB), the queues between its threads, the state of the
/// accounts of this test and its copy while a checkpoint is written, and the program itself.
const MEMORY_MAX: u64 = 512 << 20;

fn burst_before_a_slow_sink(events: u64, slow_for: Duration) {
    let burst = burst::run(events, slow_for, &mut |line| eprintln!("{line}"));
    eprintln!("{burst:?}");
    assert_eq!((burst.lost, burst.duplicated), (0, 0), "{burst:?}");
    assert!(burst.slow_events < events, "the sink was slower than the burst: {burst:?}");
    assert!(burst.peak_bytes < MEMORY_MAX, "{burst:?}");
}

#[test]
fn a_burst_before_a_slow_sink_stays_within_memory() {
    burst_before_a_slow_sink(150_000, Duration::from_secs(12));
}

#[test]
#[ignore = "takes several minutes: cargo test -p e2e --release --test service -- --ignored two_million"]
fn two_million_events_before_a_slow_sink_stay_within_memory() {
    burst_before_a_slow_sink(2_000_000, Duration::from_secs(60));
}
