//! A start that has much to replay.

use crate::conservation::{configured, lines};
use crate::instance::Setup;
use crate::stack::Stack;
use crate::support::stream;

/// More of one partition waits than is read ahead, when another one is met for the first time.
#[test]
fn a_long_replay_goes_through_every_partition() {
    let stack = Stack::up();
    let s = configured();
    stack.topics("r-", 1);
    stack.topic("r-more", 1);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "r-", delivery: "exactly_once" };
    let settings = [
        ("DETECTOR__KAFKA__EVENTS", r#"["r-events", "r-more"]"#),
        ("DETECTOR__STATE__CHECKPOINT_EVERY", "1h"),
    ];
    let events = lines(&stream().events);
    let labels = lines(&stream().labels);
    let parts: [(&str, &[String]); 4] = [
        ("r-more", &events[..1]),
        ("r-events", &events),
        ("r-labels", &labels[..1]),
        ("r-more", &events),
    ];
    let mut service = setup.start_as(&[], &settings);
    for (topic, part) in parts {
        stack.produce(topic, part);
        service.idle();
    }
    service.kill();

    let mut service = setup.start_as(&[], &settings);
    service.idle();
    let messages: usize = parts.iter().map(|(_, part)| part.len()).sum();
    assert!(service.has_said(&format!("replayed={messages}")), "{}", service.log());
    service.stop();
}
