//! Scores never use what comes later.

mod support;

use engine::Options;
use engine::invariants::same_bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use support::streams::{BUSY, Step, messages, steps};
use support::{Message, Run, config, engine, run};

fn fresh(strict_ties: bool) -> engine::Engine {
    engine(&config(BUSY), None, Options { strict_ties, ..Options::default() })
}

/// Scores by event id; under strict ties an id stands once, too.
fn by_id(run: &Run) -> BTreeMap<String, String> {
    let lines = std::str::from_utf8(&run.output.scores).expect("UTF-8").lines();
    lines
        .map(|line| {
            let score: serde_json::Value = serde_json::from_str(line).expect("JSON");
            (score["event_id"].to_string(), score["score"].to_string())
        })
        .collect()
}

fn is_event(message: &Message) -> bool {
    matches!(message, Message::Event(_))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn e5_a_prefix_scores_as_in_the_whole_stream(steps in steps(80), strict_ties in any::<bool>(), at in 0.0f64..1.0) {
        let messages = messages(&steps);
        let at = (messages.len() as f64 * at) as usize;
        let whole = run(fresh(strict_ties), &messages, 16);
        // Under strict ties an open group waits for the rest of it.
        let mut prefix = Run::new(fresh(strict_ties));
        messages[..at].chunks(16).for_each(|part| prefix.step(part));
        let start = &whole.output.scores[..prefix.output.scores.len().min(whole.output.scores.len())];
        same_bytes("E5", &prefix.output.scores, start).map_err(|e| TestCaseError::fail(e.to_string()))?;
    }

    #[test]
    fn e5_labels_change_nothing_before_them(steps in steps(80), strict_ties in any::<bool>()) {
        // Whatever its labels say, a stream scores the same up to the first. A label ends a tie group, so that one
        // about nobody stands where they stood.
        let all = messages(&steps);
        let first = all.iter().position(|m| !is_event(m)).unwrap_or(all.len());
        let nobody = Message::Label(r#"{"account":"nobody","label":1,"ts":1}"#.into());
        let events: Vec<Message> = all.iter().map(|m| if is_event(m) { m } else { &nobody }).cloned().collect();
        let with = run(fresh(strict_ties), &all, 9);
        let without = run(fresh(strict_ties), &events, 9);
        let scored = run(fresh(strict_ties), &all[..first], 9).output.scores.len();
        let (with, without) = (&with.output.scores[..scored], &without.output.scores[..scored]);
        same_bytes("E5", with, without).map_err(|e| TestCaseError::fail(e.to_string()))?;
    }

    #[test]
    fn labels_without_feedback_never_change_a_score(steps in steps(80)) {
        let steps: Vec<Step> = steps.into_iter().filter(|s| !matches!(s, Step::Erase { .. })).collect();
        let all = messages(&steps);
        let events: Vec<Message> = all.iter().filter(|m| is_event(m)).cloned().collect();
        let fresh = || engine(&config(BUSY), None, Options { no_feedback: true, ..Options::default() });
        let (with, without) = (run(fresh(), &all, 9), run(fresh(), &events, 9));
        prop_assert_eq!(by_id(&with), by_id(&without));
    }

    #[test]
    fn e8_the_order_within_a_tie_group_changes_no_score(
        before in steps(60),
        group in proptest::collection::vec(
            (0u8..8, proptest::option::of(0u8..8), proptest::collection::vec(0u8..4, 0..3),
             proptest::collection::vec(0u8..8, 0..3)),
            2..12,
        ),
        gap_ms in prop_oneof![Just(1i64), Just(60_000), Just(30_000_000), Just(-1_000_000)],
        order in any::<u64>(),
    ) {
        let before = messages(&before);
        // A stream's newest time is at most a few days behind its start; `gap_ms` moves the group around it.
        let newest = before.iter().filter_map(|m| match m {
            Message::Event(text) => serde_json::from_str::<serde_json::Value>(text).expect("JSON")["ts"].as_i64(),
            Message::Label(_) => None,
        }).filter(|ts| *ts < support::streams::START_MS + 30 * 86_400_000).max().unwrap_or(support::streams::START_MS);
        let ts_ms = newest + gap_ms;
        let mut group: Vec<Message> = group.iter().enumerate().map(|(n, (account, target, devices, peers))| {
            let target = target.map(|t| format!(",\"target\":\"a{t}\"")).unwrap_or_default();
            let list = |letter: char, ids: &[u8]| {
                ids.iter().map(|i| format!("\"{letter}{i}\"")).collect::<Vec<_>>().join(",")
            };
            Message::Event(format!(
                "{{\"event_id\":\"g{n}\",\"ts\":{ts_ms},\"type\":\"message\",\"account\":\"a{account}\"{target},\"entities\":{{\"device\":[{}],\"peer\":[{}]}}}}",
                list('d', devices), list('a', peers)
            ))
        }).collect();
        let play = |group: &[Message]| {
            let mut run = Run::new(fresh(true));
            run.step(&before);
            // An event of its own time closes whatever is open.
            run.step(&[Message::Event(format!(
                "{{\"event_id\":\"closing\",\"ts\":{},\"type\":\"x\",\"account\":\"nobody\"}}", ts_ms - 1
            ))]);
            run.step(group);
            run.finish();
            by_id(&run)
        };
        let one = play(&group);
        let mut draw = order;
        for at in (1..group.len()).rev() {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            group.swap(at, (draw >> 33) as usize % (at + 1));
        }
        prop_assert_eq!(one, play(&group), "E8 does not hold");
    }
}
