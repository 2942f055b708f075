//! Messages that are gone before they were taken: their partition stops and says so, the others go on. And topics that do not reach back
//! far enough are found at the start.

use crate::conservation::{configured, lines};
use crate::instance::Setup;
use crate::poison::until;
use crate::stack::Stack;
use crate::support::stream;
use serde_json::Value;
use std::collections::BTreeSet;

fn scored(stack: &Stack, topic: &str) -> BTreeSet<String> {
    let scores = stack.consume(topic);
    let id = |r: &crate::stack::Record| {
        let score: Value = serde_json::from_str(&r.value).expect("a score is JSON");
        score["event_id"].as_str().expect("it has an id").to_owned()
    };
    let ids: BTreeSet<String> = scores.iter().map(id).collect();
    assert_eq!(ids.len(), scores.len(), "scored twice");
    ids
}

#[test]
fn a_partition_that_lost_messages_stops_and_the_others_go_on() {
    let stack = Stack::up();
    let s = configured();
    stack.topics("l-", 2);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "l-", delivery: "exactly_once" };
    let events = lines(&stream().events);
    let part = events.len() / 3;
    let mut service = setup.start();
    stack.produce("l-events", &events[..part]);
    service.idle();
    service.stop();
    let before = scored(&stack, "l-scores");

    // While nobody reads, messages come, and those of one partition go.
    stack.produce("l-events", &events[part..2 * part]);
    stack.remove_records("l-events", 0);
    let mut service = setup.start();
    service.wait("live with one partition stopped", |found| {
        let stopped = |c: &Value| c["name"] == "partitions" && c["ok"] == false;
        found["state"] == "live"
            && found["conditions"].as_array().is_some_and(|all| all.iter().any(stopped))
    });
    service.wait_for_metric("detector_partition_stopped{topic=\"l-events\",partition=\"0\"}", 1.0);
    service.wait_for_metric("detector_partition_stopped{topic=\"l-events\",partition=\"1\"}", 0.0);
    assert!(service.has_said("partition stopped; the others continue"));
    assert_eq!(service.get("/readyz").expect("it answers").0, 503);
    stack.produce("l-events", &events[2 * part..]);
    // The lag is of before the first of these messages was heard of, and says nothing of commits.
    let of_one = stack.keys_of("l-events", 1);
    let lost = || of_one.difference(&scored(&stack, "l-scores")).cloned().collect::<Vec<_>>();
    until(lost, &Vec::new());
    let after = scored(&stack, "l-scores");
    assert!(after.len() > before.len() && after.is_superset(&before));
    service.stop();

    // It stays so until a person decides.
    let service = setup.start();
    service.wait_for_metric("detector_partition_stopped{topic=\"l-events\",partition=\"0\"}", 1.0);
    service.stop();
    let mut service = setup.start_with(&["--rebuild-from", "earliest"]);
    service.idle();
    assert_eq!(service.get("/readyz").expect("it answers").0, 200);
    service.stop();
    let (left, scored) = (stack.keys_of("l-events", 0), scored(&stack, "l-scores"));
    assert!(!left.is_empty() && left.iter().all(|id| scored.contains(id)));
}

#[test]
fn a_topic_that_does_not_reach_back_far_enough_is_refused() {
    let stack = Stack::up();
    let s = configured();
    stack.topics("t-", 1);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "t-", delivery: "exactly_once" };
    stack.configure("t-journal", &[("retention.ms", "60000")]);
    stack.configure("t-labels", &[("cleanup.policy", "compact")]);
    stack.configure("t-actions", &[("retention.ms", "3600000")]);
    let said = setup.start().ended();
    for part in [
        "topic `t-journal` keeps messages for 1m",
        "topic `t-labels` is compacted",
        "topic `t-actions` keeps messages for 1h",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    stack.configure("t-journal", &[("retention.ms", "86400000")]);
    stack.configure("t-labels", &[("cleanup.policy", "delete")]);
    let mut service = setup.start();
    service.idle();
    service.stop();
}
