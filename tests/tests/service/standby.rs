//! A second instance follows the first and takes over with the state that it has; nothing is lost and nothing comes twice.

use crate::conservation::{action, configured, lines, profiles};
use crate::instance::Setup;
use crate::stack::Stack;
use crate::support::{json_lines, stream};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Scores by event, with how often each came.
fn scores(stack: &Stack, topic: &str) -> BTreeMap<String, (String, usize)> {
    let mut all = BTreeMap::new();
    for record in stack.consume(topic) {
        let score: Value = serde_json::from_str(&record.value).expect("a score is JSON");
        let id = score["event_id"].as_str().expect("it has an id").to_owned();
        let entry = all.entry(id).or_insert((record.value, 0));
        entry.1 += 1;
    }
    all
}

#[test]
fn a_standby_follows_and_takes_over_with_its_own_state() {
    let stack = Stack::up();
    let s = configured();
    s.run("run --config conf --input events --output actions --scores-out scores").good();
    let expected: BTreeMap<String, Value> =
        lines(&s.read("actions")).iter().map(|l| action(l)).collect();
    let events = lines(&stream().events);
    let accounts: BTreeSet<String> = json_lines(&stream().events)
        .iter()
        .filter_map(|e| e["account"].as_str())
        .map(str::to_owned)
        .take(300)
        .collect();
    let part = events.len().div_ceil(4);

    for delivery in ["exactly_once", "at_least_once"] {
        let prefix = format!("{}-", &delivery[..2]);
        stack.topics(&prefix, 1);
        let topic = format!("{prefix}events");
        let setup = Setup { stack: &stack, scratch: &s, prefix: &prefix, delivery };
        let mut first = setup.start();
        stack.produce(&topic, &events[..part]);
        first.idle();
        if delivery == "exactly_once" {
            let refused = setup.start_with(&["--cold"]).ended();
            assert!(refused.contains("another instance is live"), "{refused}");
        }
        let mut second = setup.start();
        let at = |found: &Value| found["standby"]["journal"].as_i64();
        second.wait("a standby with a state", |f| f["state"] == "standby" && at(f) > Some(0));
        let (_, loaded) = second.get("/readyz").expect("it answers");

        // Lists of what changed come and go with the checkpoints of the first one.
        for round in 1..3 {
            stack.produce(&topic, &events[round * part..(round + 1) * part]);
            first.idle();
        }
        second.wait("where the first one is", |found| {
            at(found) > at(&loaded) && found["standby"]["behind"] == 0
        });
        stack.produce(&topic, &events[3 * part..]);
        first.kill();
        second.idle();
        assert!(
            second.has_said("taking over with the state that followed the last instance"),
            "it took over without the state that it had\n{}",
            second.log()
        );

        let file = String::from_utf8(s.read("scores")).expect("scores are text");
        let found = scores(&stack, &format!("{prefix}scores"));
        for line in file.lines() {
            let score: Value = serde_json::from_str(line).expect("a score is JSON");
            let id = score["event_id"].as_str().expect("it has an id");
            let (value, times) =
                found.get(id).unwrap_or_else(|| panic!("{delivery}: {id} is lost"));
            assert_eq!(value, line, "{delivery}: another score than without a take-over");
            assert!(*times == 1 || delivery == "at_least_once", "{id} came {times} times");
        }
        let records = stack.consume(&format!("{prefix}actions"));
        let actions: BTreeMap<String, Value> = records.iter().map(|r| action(&r.value)).collect();
        assert_eq!(actions, expected, "{delivery}: actions");
        assert!(records.len() == actions.len() || delivery == "at_least_once");

        // What it wrote over the first one's checkpoint is the whole state.
        let memory = profiles(&second, &accounts);
        second.idle();
        second.kill();
        let mut third = setup.start();
        third.idle();
        assert_eq!(profiles(&third, &accounts), memory, "{delivery}: what is in Redis");
        third.stop();
    }
}
