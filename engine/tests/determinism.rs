//! The same consumed order gives the same bytes, however it was cut, stopped and delivered again.

mod support;

use engine::Options;
use engine::invariants::{all_accounted_for, nothing_of, same_bytes, within_caps};
use models::bundle::Bundle;
use proptest::prelude::*;
use std::sync::LazyLock;
use support::streams::{BUSY, messages, steps};
use support::{Message, Run, config, engine, run, without_redelivered};

/// A forest for either unit of labels: what a column means hangs on it.
static FORESTS: LazyLock<[Bundle; 2]> =
    LazyLock::new(|| [false, true].map(|by_event| support::forest(&configured(by_event), 9)));

#[derive(Clone, Copy, Debug)]
struct Way {
    strict_ties: bool,
    no_feedback: bool,
    forest: bool,
    by_event: bool,
}

fn way() -> impl Strategy<Value = Way> {
    (any::<bool>(), proptest::bool::weighted(0.2), any::<bool>(), any::<bool>()).prop_map(
        |(strict_ties, no_feedback, forest, by_event)| Way {
            strict_ties,
            no_feedback,
            forest,
            by_event,
        },
    )
}

fn configured(by_event: bool) -> engine::config::Config {
    let mut config = config(BUSY);
    if by_event {
        config.labels.unit = engine::config::LabelUnit::Event;
    }
    config
}

fn fresh(way: Way) -> engine::Engine {
    let config = configured(way.by_event);
    let options = Options { no_feedback: way.no_feedback, strict_ties: way.strict_ties };
    engine(&config, way.forest.then_some(&FORESTS[usize::from(way.by_event)]), options)
}

fn ok(result: Result<(), engine::invariants::Broken>) -> Result<(), TestCaseError> {
    result.map_err(|e| TestCaseError::fail(e.to_string()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn e1_e2_e3_one_at_a_time_in_batches_and_restarted_give_the_same_bytes(
        steps in steps(90),
        way in way(),
        cuts in proptest::collection::vec((1usize..40, 0u8..3, any::<u64>()), 1..12),
    ) {
        let messages = messages(&steps);
        let one = run(fresh(way), &messages, 1);
        ok(same_bytes("E1", &one.output.bytes(), &run(fresh(way), &messages, 1).output.bytes()))?;
        ok(same_bytes("E2", &one.output.bytes(), &run(fresh(way), &messages, usize::MAX).output.bytes()))?;
        ok(one.engine.check_invariants())?;

        // Cut here and there; at some cuts only saved, at some stopped and loaded.
        let mut other = Run::new(fresh(way));
        let (mut rest, mut turn) = (messages.as_slice(), 0);
        while !rest.is_empty() {
            let (size, then, seed) = cuts[turn % cuts.len()];
            turn += 1;
            let (batch, more) = rest.split_at(size.min(rest.len()));
            rest = more;
            other.step(batch);
            match then {
                0 => {}
                1 => other.save(),
                _ => {
                    other.restart(fresh(way), seed);
                    ok(other.engine.check_invariants())?;
                }
            }
        }
        other.finish();
        ok(same_bytes("E3", &one.output.bytes(), &other.output.bytes()))?;
        prop_assert_eq!(one.engine.counts(), other.engine.counts());

        // Not only what was told is the same, but all that is remembered.
        let mut one = one;
        one.save();
        other.save();
        prop_assert!(one.records == other.records, "E3 does not hold: records differ");

        let events = messages.iter().filter(|m| matches!(m, Message::Event(_))).count() as u64;
        let rejected = one.output.rejects.len() as u64;
        ok(all_accounted_for(events, one.output.scored, rejected, &one.engine.counts()))?;
        let live = one.output.live.iter().map(|(kind, at)| (kind.as_str(), *at));
        ok(within_caps(&one.engine.config().policy.caps_per_hour, live))?;
    }

    #[test]
    fn e4_redelivered_events_have_no_effect(steps in steps(80), way in way(), repeats in any::<u64>()) {
        // Within the memory: no caps, no labels that erase it.
        let mut config = config(BUSY);
        config.labels.recent_events_max = 10_000;
        config.labels.recent_age_max = "1000d".into();
        let fresh = || engine(&config, None, Options { strict_ties: way.strict_ties, ..Options::default() });
        let steps: Vec<_> = steps
            .into_iter()
            .filter(|s| !matches!(s, support::streams::Step::Again { .. } | support::streams::Step::Erase { .. }))
            .collect();
        let once = messages(&steps);
        let mut twice = Vec::new();
        let mut plain = run(fresh(), &once, 1);
        let rejected: Vec<usize> = {
            let offsets: Vec<i64> = plain.output.rejects.iter().map(|r| r.0).collect();
            let events = once.iter().enumerate().filter(|(_, m)| matches!(m, Message::Event(_)));
            events.enumerate().filter(|(n, _)| offsets.contains(&(*n as i64 + 1))).map(|(_, (at, _))| at).collect()
        };
        // Events of the open tie group, and any older one; rejected ones were never taken.
        let mut seen: Vec<&Message> = Vec::new();
        let mut draw = repeats | 1;
        let mut last_ts = None;
        for (at, message) in once.iter().enumerate() {
            if rejected.contains(&at) {
                continue;
            }
            twice.push(message.clone());
            if let Message::Event(text) = message {
                let ts = serde_json::from_str::<serde_json::Value>(text).expect("JSON")["ts"].clone();
                if way.strict_ties && last_ts.as_ref() != Some(&ts) {
                    // Under strict ties an event of another time closes the group.
                    seen.clear();
                }
                last_ts = Some(ts);
                seen.push(message);
            } else {
                continue;
            }
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if draw >> 62 == 0 {
                twice.push(seen[(draw >> 20) as usize % seen.len()].clone());
            }
        }
        let kept: Vec<Message> = once.iter().enumerate().filter(|(at, _)| !rejected.contains(at)).map(|(_, m)| m.clone()).collect();
        plain = run(fresh(), &kept, 1);
        let mut again = run(fresh(), &twice, 7);
        ok(same_bytes("E4", &plain.output.scores, &again.output.scores))?;
        prop_assert_eq!(again.output.rejects.len(), 0);
        plain.save();
        again.save();
        let (plain, again) = (without_redelivered(plain.records), without_redelivered(again.records));
        prop_assert!(plain == again, "E4 does not hold: records differ");
    }

    #[test]
    fn e6_erased_accounts_leave_no_trace(steps in steps(60), way in way(), saves in 1usize..9) {
        let mut messages = messages(&steps);
        // The one to be erased has a name of its own.
        for message in &mut messages {
            let (Message::Event(text) | Message::Label(text)) = message;
            *text = text.replace("\"a1\"", "\"somebody-who-leaves\"");
        }
        let mut run = Run::new(fresh(way));
        for part in messages.chunks(saves) {
            run.step(part);
            run.save();
        }
        run.step(&[Message::Label("{\"type\":\"erase\",\"account\":\"somebody-who-leaves\",\"ts\":1}".into())]);
        run.finish();
        run.save();
        let traces = run.engine.traces_of("somebody-who-leaves");
        ok(nothing_of("E6", &traces, &run.records))?;
        ok(run.engine.check_invariants())?;
        prop_assert!(run.engine.explain("somebody-who-leaves").is_none());
    }

    #[test]
    fn e10_with_a_privacy_key_no_entity_key_is_in_plain(steps in steps(60), way in way()) {
        let mut config = config(BUSY);
        config.privacy.key = Some("a secret of 16 bytes".into());
        let mut messages = messages(&steps);
        for message in &mut messages {
            let (Message::Event(text) | Message::Label(text)) = message;
            *text = text.replace("\"d", "\"device-plain-").replace("\"device-plain-evice\"", "\"device\"")
                .replace("\"i", "\"ip-plain-").replace("\"ip-plain-p\"", "\"ip\"");
        }
        let options = Options { strict_ties: way.strict_ties, ..Options::default() };
        let fresh = || engine(&config, None, options);
        let mut other = Run::new(fresh());
        let needles = [b"device-plain".to_vec(), b"ip-plain".to_vec()];
        for part in messages.chunks(5) {
            other.step(part);
            other.save();
            // An open tie group waits in the records, too.
            ok(nothing_of("E10", &needles, &other.records))?;
            other.restart(fresh(), 1);
        }
        other.finish();
        other.save();
        ok(nothing_of("E10", &needles, &other.records))?;
        let actions = [(Vec::new(), other.output.actions.clone())];
        ok(nothing_of("E10", &needles, actions.iter().map(|(k, v)| (k, v))))?;
        let mut plain = run(fresh(), &messages, 3);
        plain.save();
        ok(same_bytes("E3", &plain.output.bytes(), &other.output.bytes()))?;
        prop_assert!(plain.records == other.records, "E3 does not hold: records differ");
    }
}

#[test]
fn the_random_streams_reach_everything() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut sums = std::collections::BTreeMap::new();
    for n in 0..60 {
        let steps = steps(90).new_tree(&mut runner).expect("a stream").current();
        let way = Way {
            strict_ties: n % 2 == 0,
            no_feedback: false,
            forest: false,
            by_event: n % 3 == 0,
        };
        let counts = run(fresh(way), &messages(&steps), 8).engine.counts();
        let counts = serde_json::to_value(counts).expect("JSON");
        for (name, count) in counts.as_object().expect("an object") {
            *sums.entry(name.clone()).or_insert(0) += count.as_u64().expect("a count");
        }
    }
    // Groups of a hundred thousand events are not tried here, nor as many keys as there are ids.
    assert_eq!(sums.remove("rejects"), Some(0));
    assert_eq!(sums.remove("ties_cut"), Some(0));
    assert_eq!(sums.remove("forgotten_actions"), Some(0));
    // Nor forms of keys, which have their own tests.
    assert_eq!(sums.remove("malformed_keys"), Some(0));
    // Nor a full memory, which has its own, too.
    assert_eq!(sums.remove("keys_not_kept"), Some(0));
    assert_eq!(sums.remove("accounts_not_kept"), Some(0));
    assert_eq!(sums.remove("ignored_keys"), Some(0));
    // Nor as many accounts on one key as a placeholder has.
    assert!(sums.remove("suspected_placeholders").is_some());
    assert!(sums.values().all(|sum| *sum > 0), "{sums:?}");
}
