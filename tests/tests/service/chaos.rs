//! Twenty faults, every kind at least once; `scripts/chaos` is the long form.

use e2e::chaos::plan::Kind;
use e2e::chaos::{Options, run};

#[test]
#[expect(clippy::print_stderr, reason = "what was done is worth seeing")]
fn twenty_faults_lose_nothing_and_repeat_nothing() {
    let options = Options { faults: 20, seed: 1, rate: 300, minutes: None, kinds: Vec::new() };
    let (summary, world) = run(&options, &mut |line| eprintln!("{line}"));
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
    assert_eq!(summary.faults_by_kind.len(), Kind::ALL.len(), "every kind was done");
    assert!(summary.actions > 0 && summary.dead_letters > 0 && summary.rebuilt > 0);
}
