//! What the service measures and counts while it works, and where its actions and dead letters say that their events lay.

use crate::conservation::{configured, lines};
use crate::instance::{Instance, PATIENCE, Setup};
use crate::stack::{Record, Stack};
use crate::support::{Scratch, stream};
use crate::watch::counted;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

const TOPICS: [&str; 2] = ["w-events", "w-more"];
const BOTH: &str = "[\"w-events\",\"w-more\"]";

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Every second line to each topic.
fn produce(stack: &Stack, events: &[String]) {
    for (of, topic) in TOPICS.iter().enumerate() {
        let part: Vec<String> = events.iter().skip(of).step_by(2).cloned().collect();
        stack.produce(topic, &part);
    }
}

fn start(stack: &Stack, s: &Scratch) -> Instance {
    let setup = Setup { stack, scratch: s, prefix: "w-", delivery: "exactly_once" };
    let settings = [("DETECTOR__KAFKA__EVENTS", BOTH)];
    setup.start_as(&[], &settings)
}

/// Ids of the events by where they lie.
fn ids(stack: &Stack) -> BTreeMap<(String, i64, i64), String> {
    let of = |topic: &'static str| {
        let at = move |r: &Record| (topic.to_owned(), i64::from(r.partition), r.offset);
        let id = |r: &Record| json_of(&r.value)["event_id"].as_str().unwrap_or("none").to_owned();
        stack.consume(topic).into_iter().map(move |r| (at(&r), id(&r)))
    };
    TOPICS.into_iter().flat_map(of).collect()
}

/// A metric's count and sum: together they make sense.
fn measured(service: &Instance, name: &str, labels: &str, longest_s: f64) -> f64 {
    let of = |part: &str| {
        let name = format!("{name}_{part}{labels}");
        service.metric(&name).unwrap_or_else(|| panic!("there is no {name}"))
    };
    let (count, sum) = (of("count"), of("sum"));
    assert!(count > 0.0, "{name}{labels} was never measured");
    assert!(sum > 0.0 && sum <= count * longest_s, "{name}{labels}: {sum} s in {count} times");
    count
}

#[test]
fn what_is_done_is_measured_and_says_where_its_event_lay() {
    let stack = Stack::up();
    let s = configured();
    stack.topics("w-", 1);
    stack.topic("w-more", 1);
    let mut events = lines(&stream().events);
    // So few that they come in one batch. At each offset one topic has an event whose time cannot be read, the other a good one.
    let mut refused = BTreeMap::new();
    for (of, topic) in TOPICS.iter().enumerate() {
        let mut first: Vec<String> = events.drain(..12).collect();
        for (offset, line) in first.iter_mut().enumerate().skip(2).filter(|(n, _)| n % 2 == of) {
            let mut event = json_of(line);
            event["ts"] = json!("tomorrow");
            *line = event.to_string();
            refused.insert(((*topic).to_owned(), offset.to_string()), line.clone());
        }
        stack.produce(topic, &first);
    }
    let mut service = start(&stack, &s);
    service.idle();
    let letters: BTreeMap<(String, String), String> = stack
        .consume("w-dead-letters")
        .into_iter()
        .inspect(|r| assert_eq!(r.headers["reason"], "bad_ts"))
        .map(|r| ((r.headers["topic"].clone(), r.headers["offset"].clone()), r.value))
        .collect();
    assert_eq!(letters, refused);

    // Through a kill: what is replayed says nothing, and what comes then lies where it lies.
    let part = events.len() / 3;
    produce(&stack, &events[..part]);
    service.idle();
    service.kill();
    let before = stack.consume("w-actions").len();
    let begun = Instant::now();
    produce(&stack, &events[part..2 * part]);
    let mut service = start(&stack, &s);
    service.idle();
    let after = stack.consume("w-actions").len() - before;
    assert!(before > 0 && after > 0, "{before} and {after} actions");

    service.wait_for_metric("detector_end_to_end_seconds_count", after as f64);
    service.wait_for_metric("detector_queue_depth", 0.0);
    let longest_s = begun.elapsed().as_secs_f64();
    measured(&service, "detector_end_to_end_seconds", "", longest_s);
    let stage = |name| {
        measured(&service, "detector_stage_seconds", &format!("{{stage=\"{name}\"}}"), longest_s)
    };
    let (step, commits) = (stage("step"), stage("publish"));
    assert_eq!((stage("decode"), stage("finish")), (step, step), "each batch goes through each");
    assert!(commits <= step + 2.0, "{commits} commits of {step} batches");
    assert_eq!(service.metric("detector_kafka_transaction_failures_total"), Some(0.0));
    assert_eq!(service.metric("detector_start_overs_total"), Some(0.0));

    // Somebody else takes the transactional id: the next commit fails, and the service starts over.
    let rival: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", stack.bootstrap())
        .set("transactional.id", "w-detector")
        .create()
        .expect("a producer can be made");
    rival.init_transactions(PATIENCE).expect("the broker answers");
    produce(&stack, &events[2 * part..]);
    counted(&service, "detector_kafka_transaction_failures_total", |n| n >= 1.0);
    counted(&service, "detector_start_overs_total", |n| n >= 1.0);
    service.idle();
    service.stop();

    let (ids, mut seen, mut by_topic) = (ids(&stack), BTreeSet::new(), BTreeMap::new());
    for record in stack.consume("w-actions") {
        let action = json_of(&record.value);
        let event = &action["event"];
        let text = |v: &Value| v.as_str().unwrap_or_else(|| panic!("{action}")).to_owned();
        let number = |v: &Value| v.as_i64().unwrap_or_else(|| panic!("{action}"));
        let at = (text(&event["topic"]), number(&event["partition"]), number(&event["offset"]));
        assert_eq!(ids.get(&at), Some(&text(&event["id"])), "{action}");
        assert!(seen.insert(text(&action["action_id"])), "twice: {action}");
        *by_topic.entry(at.0).or_insert(0) += 1;
    }
    assert_eq!(by_topic.len(), 2, "{by_topic:?}");
    assert_eq!(stack.consume("w-dead-letters").len(), refused.len());
}
