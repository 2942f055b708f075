//! Kafka's log lies where it is told to, and goes with the stack.

use crate::stack::Stack;
use crate::support::Scratch;
use std::path::PathBuf;

#[test]
fn kafkas_log_lies_in_a_folder_of_its_own_and_is_removed_with_the_stack() {
    let scratch = Scratch::new();
    let place = scratch.path("logs");
    std::fs::create_dir(&place).expect("a folder can be made");
    let inside = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&place).expect("it is there");
        entries.map(|entry| entry.expect("it can be read").path()).collect()
    };

    let stack = Stack::up_where(vec![("STACK_KAFKA_LOG", place.clone())], &[]);
    stack.topics("", 2);
    let logs = inside();
    assert_eq!(logs.len(), 1, "{logs:?}");
    for name in ["meta.properties", "events-0", "events-1"] {
        assert!(logs[0].join(name).exists(), "{name}");
    }
    // The same log again, not another one.
    stack.run(&["restart-kafka"]);
    assert_eq!(inside(), logs);

    drop(stack);
    assert_eq!(inside(), Vec::<PathBuf>::new());
}
