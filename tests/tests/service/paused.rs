//! Without transactions: what an instance that was paused still writes when it wakes up, an old commit, records of the journal, changes
//! nothing.

use crate::conservation::{configured, lines};
use crate::foreign::secret;
use crate::instance::{Instance, Setup, free_port};
use crate::stack::Stack;
use crate::support::stream;
use crate::watch::said;
use detector::kafka::signature::{Content, Of, SIGNATURE, Signer};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Commits the first offset of the events' partition, as an instance does that was paused since.
fn set_back(stack: &Stack, prefix: &str) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stack.bootstrap())
        .set("group.id", format!("{prefix}detector"))
        .create()
        .expect("a consumer can be made");
    let mut list = TopicPartitionList::new();
    let topic = format!("{prefix}events");
    list.add_partition_offset(&topic, 0, Offset::Offset(0)).expect("it is one");
    consumer.commit(&list, CommitMode::Sync).expect("it is committed");
}

/// Another instance of the same state takes the journal over: it knows the secret, and has read what lies there.
fn take_over(stack: &Stack, prefix: &str) {
    let journal = format!("{prefix}journal");
    let numbers = stack
        .consume(&journal)
        .into_iter()
        .filter_map(|record| record.headers.get(SIGNATURE)?.split('.').nth(1)?.parse::<u64>().ok());
    let signer = Signer::behind(secret(stack, prefix), numbers.max().expect("it is signed"));
    let begins = r#"{"writer":"9-0","begins":{"epoch":9}}"#;
    let content = Content { payload: begins.as_bytes(), ..Content::default() };
    let headers = [(SIGNATURE.to_owned(), signer.sign(Of::Journal, &content))].into();
    stack.put(&journal, 0, ("", begins), &headers);
}

#[test]
fn what_a_paused_instance_still_writes_changes_nothing() {
    let stack = Stack::up();
    let s = configured();
    s.run("run --config conf --input events --output actions --scores-out scores").good();
    let events = lines(&stream().events);
    let part = events.len() / 3;
    stack.topics("z-", 1);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "z-", delivery: "at_least_once" };
    let mut service = setup.start();
    stack.produce("z-events", &events[..part]);
    service.idle();

    // Records of one that is live no more, between those of the one that is.
    let took = r#"{"writer":"1-0","took":[{"t":"z-events","p":0,"from":0,"to":9,"n":10}]}"#;
    stack.produce("z-journal", &[took.into()]);
    stack.produce("z-events", &events[part..2 * part]);
    service.idle();
    assert!(!service.has_said("taken over"), "{}", service.log());
    // Somebody takes the journal over: nothing is published behind that before the lease is asked for anew.
    take_over(&stack, "z-");
    stack.produce("z-events", &events[2 * part..]);
    said(&s, "z-", &["the journal was taken over at"]);
    service.idle();
    stack.produce("z-journal", &[took.into()]);
    service.stop();

    // S is ahead of O, and what is in S was published.
    set_back(&stack, "z-");
    let mut service = setup.start();
    service.idle();
    service.stop();
    let found = stack.consume("z-scores");
    let mut found: Vec<&str> = found.iter().map(|r| r.value.as_str()).collect();
    let expected = String::from_utf8(s.read("scores")).expect("scores are text");
    let mut expected: Vec<&str> = expected.lines().collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "each event is scored once, as without all that");
}

#[test]
fn without_scores_actions_wait_for_the_journal_too() {
    let stack = Stack::up();
    let s = configured();
    s.run("run --config conf --input events --output expected").good();
    let events = lines(&stream().events);
    let (before, behind) = events.split_at(events.len() / 3);
    stack.topics("x-", 1);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "x-", delivery: "at_least_once" };
    let port = free_port();
    let mut command = setup.command(&[], port);
    command.env_remove("DETECTOR__KAFKA__SCORES");
    let mut service = Instance::start(command, port, s.path("x-log"));
    stack.produce("x-events", before);
    service.idle();
    // Behind this, a commit or a batch that led to an action is the first to find it.
    take_over(&stack, "x-");
    stack.produce("x-events", behind);
    said(&s, "x-", &["the journal was taken over at"]);
    service.idle();
    service.stop();
    let id = |action: &str| {
        let action: serde_json::Value = serde_json::from_str(action).expect("it is JSON");
        action["action_id"].as_str().expect("it has an id").to_owned()
    };
    let mut found: Vec<_> = stack.consume("x-actions").iter().map(|r| id(&r.value)).collect();
    let expected = String::from_utf8(s.read("expected")).expect("actions are text");
    let mut expected: Vec<_> = expected.lines().map(id).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert!(expected.len() > 20, "{} actions", expected.len());
    assert_eq!(found, expected, "each action once: who had lost the journal published nothing");
}

#[test]
fn with_transactions_a_state_ahead_of_the_outputs_is_refused() {
    let stack = Stack::up();
    let s = configured();
    stack.topics("y-", 1);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "y-", delivery: "exactly_once" };
    let mut service = setup.start();
    stack.produce("y-events", &lines(&stream().events)[..500]);
    service.idle();
    service.stop();
    set_back(&stack, "y-");
    let refused = setup.start().ended();
    assert!(refused.contains("is ahead of Kafka"), "{refused}");
}
