//! Batches that no client can read: each stops its partition and nothing else, over restarts, take-overs and other beginnings, until
//! somebody says to pass over them.

use crate::conservation::{configured, profiles};
use crate::instance::{Instance, Setup};
use crate::stack::Stack;
use crate::support::{json_lines, stream};
use e2e::raw::{self, Damage};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const PARTITIONS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(60);

/// What lies in the middle of a partition, between events that can be read.
struct Poison {
    what: &'static str,
    partition: i32,
    records: i64,
    batch: fn() -> Vec<u8>,
    /// What the disk does to it later.
    damage: Option<Damage>,
}

fn garbage(count: usize) -> Vec<u8> {
    let values = vec![&b"{\"nothing\":1}"[..]; count];
    raw::batch(&raw::records(&values), count as i32, 0)
}

/// The table: each stops its partition.
const POISON: [Poison; 5] = [
    Poison {
        what: "4.9 KB of zstd that are 150 MB",
        partition: 0,
        records: 1,
        batch: || raw::batch(&raw::zstd_bomb(150), 1, 4),
        damage: None,
    },
    Poison {
        what: "a wrong checksum",
        partition: 1,
        records: 5,
        batch: || garbage(5),
        damage: Some(Damage::Bit),
    },
    Poison {
        what: "an unknown format",
        partition: 2,
        records: 2,
        batch: || garbage(2),
        damage: Some(Damage::Magic(3)),
    },
    Poison {
        what: "an unknown codec",
        partition: 3,
        records: 1,
        batch: || garbage(1),
        damage: Some(Damage::Codec(5)),
    },
    Poison {
        what: "gzip that is none",
        partition: 4,
        records: 3,
        batch: || garbage(3),
        damage: Some(Damage::Codec(1)),
    },
];

/// Of transactions, one of them aborted; then, in the next one, a message that is too long. Neither stops anything.
const TRANSACTIONS: i32 = 5;
const TOO_LONG: i32 = 6;

fn send(producer: &BaseProducer, topic: &str, partition: i32, payload: &str) {
    let record = BaseRecord::<str, _>::to(topic).partition(partition).payload(payload);
    producer.send(record).map_err(|(error, _)| error).expect("there is room");
}

/// A topic with all of it; where each poison begins.
fn fill(stack: &Stack, topic: &str, events: &[Value]) -> Vec<i64> {
    let config = |more: &[(&str, &str)]| -> BaseProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", stack.bootstrap()).set("message.max.bytes", "4000000");
        for (name, value) in more {
            config.set(*name, *value);
        }
        config.create().expect("a producer can be made")
    };
    let producer = config(&[("enable.idempotence", "true")]);
    let part = |from: usize, to: usize| {
        for (number, event) in events.iter().enumerate().take(to).skip(from) {
            send(&producer, topic, (number % PARTITIONS) as i32, &event.to_string());
        }
        producer.flush(PATIENCE).expect("all is delivered");
    };
    part(0, events.len() / 2);
    let at = POISON.iter().map(|poison| {
        let (error, at) = raw::produce(stack, topic, poison.partition, (poison.batch)());
        assert_eq!(error, 0, "{}: the broker takes it", poison.what);
        at
    });
    let at = at.collect();
    let writer = config(&[("transactional.id", topic)]);
    writer.init_transactions(PATIENCE).expect("transactions");
    for commits in [false, true] {
        writer.begin_transaction().expect("it begins");
        send(&writer, topic, TRANSACTIONS, "never seen");
        // Reports of delivery are polled for by it; to abort with one of them unread fails.
        writer.flush(PATIENCE).expect("all is delivered");
        match commits {
            true => writer.commit_transaction(PATIENCE).expect("it commits"),
            false => writer.abort_transaction(PATIENCE).expect("it aborts"),
        }
    }
    send(&producer, topic, TOO_LONG, &format!("\"{}\"", "x".repeat(2 << 20)));
    part(events.len() / 2, events.len());
    at
}

/// Scores by event, and how often each came.
fn scores(stack: &Stack, topic: &str) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    for record in stack.consume(topic) {
        let score: Value = serde_json::from_str(&record.value).expect("a score is JSON");
        let id = score["event_id"].as_str().expect("it has an id").to_owned();
        *all.entry(id).or_default() += 1;
    }
    all
}

fn ids<'a>(events: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    events.into_iter().map(|e| e["event_id"].as_str().expect("it has an id").to_owned()).collect()
}

/// Waits until what was published is this: offsets are ahead of their commit.
#[track_caller]
pub fn until<T: PartialEq + std::fmt::Debug>(found: impl Fn() -> T, expected: &T) {
    let end = Instant::now() + PATIENCE;
    while found() != *expected && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(found(), *expected);
}

/// Waits until it is live, exactly the poisoned partitions are stopped, and all others are at their end.
#[track_caller]
fn stops(service: &mut Instance, topic: &str) {
    service.wait("live with stopped partitions", |found| found["state"] == "live");
    for partition in 0..PARTITIONS as i32 {
        let is_poisoned = POISON.iter().any(|poison| poison.partition == partition);
        let of = format!("{{topic=\"{topic}\",partition=\"{partition}\"}}");
        let stopped = format!("detector_partition_stopped{of}");
        service.wait_for_metric(&stopped, f64::from(u8::from(is_poisoned)));
        if !is_poisoned {
            service.wait_for_metric(&format!("detector_consumer_lag{of}"), 0.0);
        }
    }
    let (status, found) = service.get("/readyz").expect("it answers");
    let all = found["conditions"].as_array().expect("conditions");
    let partitions = all.iter().find(|c| c["name"] == "partitions").expect("it is one of them");
    let detail = partitions["detail"].as_str().unwrap_or_default();
    assert!(status == 503 && detail.starts_with("5 stopped"), "{detail}");
    for poison in &POISON {
        assert!(detail.contains(&format!("{topic}-{}", poison.partition)), "{detail}");
    }
}

#[test]
fn what_nobody_can_read_stops_its_partition_only_and_is_passed_over_on_a_word() {
    let stack = Stack::up();
    let s = configured();
    let events: Vec<Value> = json_lines(&stream().events).into_iter().take(1600).collect();
    let accounts: BTreeSet<String> =
        events.iter().filter_map(|e| e["account"].as_str()).map(str::to_owned).take(200).collect();
    let deliveries = ["exactly_once", "at_least_once"];
    let prefix = |delivery: &str| format!("{}-", &delivery[..2]);
    let mut begins: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for delivery in deliveries {
        let p = prefix(delivery);
        stack.topics(&p, PARTITIONS as u32);
        let topic = format!("{p}events");
        stack.configure(&topic, &[("max.message.bytes", "4000000")]);
        begins.insert(delivery, fill(&stack, &topic, &events));
    }
    stack.run(&["down"]);
    for (delivery, begins) in &begins {
        for (poison, at) in POISON.iter().zip(begins) {
            if let Some(damage) = &poison.damage {
                let topic = format!("{}events", prefix(delivery));
                raw::damage(&stack, &topic, poison.partition, *at, damage);
            }
        }
    }
    stack.run(&["up"]);

    let all = ids(&events);
    let poisoned = |number: &usize| number % PARTITIONS < POISON.len();
    let readable = events
        .iter()
        .enumerate()
        .filter(|(number, _)| *number < events.len() / 2 || !poisoned(number));
    let readable = ids(readable.map(|(_, event)| event));

    for delivery in deliveries {
        let p = prefix(delivery);
        let topic = format!("{p}events");
        let setup = Setup { stack: &stack, scratch: &s, prefix: &p, delivery };
        let log = || String::from_utf8_lossy(&s.read(&format!("{p}log"))).into_owned();
        let scored =
            || -> BTreeSet<String> { scores(&stack, &format!("{p}scores")).into_keys().collect() };

        // Others are read on, after each kind of beginning.
        let mut first = setup.start();
        stops(&mut first, &topic);
        until(scored, &readable);
        let mut second = setup.start();
        second.wait("a standby with a state", |f| f["standby"]["journal"].as_i64() > Some(0));
        first.kill();
        stops(&mut second, &topic);
        second.stop();
        for options in [&["--cold"][..], &["--rebuild-from", "earliest"]] {
            let mut service = setup.start_with(options);
            stops(&mut service, &topic);
            service.stop();
        }
        assert!(!log().contains("starting over"), "{}", log());
        let skips: Vec<String> = POISON
            .iter()
            .zip(&begins[delivery])
            .map(|(poison, at)| format!("{topic}/{}@{at}", poison.partition))
            .collect();
        for skip in &skips {
            assert!(log().contains(&format!("--skip {skip}")), "no hint of {skip}\n{}", log());
        }

        // A place that is none is refused.
        for (wrong, why) in [
            (format!("{topic}/99@0"), "there is no partition 99"),
            (format!("{p}actions/0@0"), "among events and labels"),
            (format!("{topic}/7@1000000"), "ends at offset"),
        ] {
            let said = setup.start_with(&["--skip", &wrong]).ended();
            assert!(said.contains(why), "{wrong}: {said}");
        }

        // Passed over, in the middle of a long time without a checkpoint; and one where nothing is wrong.
        let mut options: Vec<&str> = skips.iter().flat_map(|skip| ["--skip", skip]).collect();
        let other = format!("{topic}/7@0");
        options.extend(["--skip", &other]);
        let mut service = setup.start_as(&options, &[("DETECTOR__STATE__CHECKPOINT_EVERY", "1h")]);
        service.idle();
        assert_eq!(service.get("/readyz").expect("it answers").0, 200, "{}", service.log());
        assert!(log().contains("--skip has no effect"), "{}", log());
        until(scored, &all);
        let memory = profiles(&service, &accounts);
        service.kill();

        // The next instances pass over the same, with and without the option.
        let mut third = setup.start_with(&options);
        third.idle();
        assert_eq!(profiles(&third, &accounts), memory, "{delivery}: replayed");
        let mut fourth = setup.start();
        fourth.wait("a standby with a state", |f| f["standby"]["journal"].as_i64() > Some(0));
        third.kill();
        fourth.idle();
        assert_eq!(profiles(&fourth, &accounts), memory, "{delivery}: taken over");
        fourth.stop();
        let mut fifth = setup.start_with(&["--rebuild-from", "earliest"]);
        fifth.idle();
        assert!(fifth.has_said("the rebuilt state lacks what cannot be read"), "{}", fifth.log());
        fifth.stop();

        let times = scores(&stack, &format!("{p}scores"));
        if delivery == "exactly_once" {
            let twice: Vec<_> = times.iter().filter(|(_, n)| **n != 1).collect();
            assert!(twice.is_empty(), "{twice:?}");
        }
        let mut letters: BTreeMap<(String, i64, i64), String> = BTreeMap::new();
        for letter in stack.consume(&format!("{p}dead-letters")) {
            let number = |name: &str| letter.headers[name].parse().expect("a number");
            let place = (letter.headers["reason"].clone(), number("partition"), number("offset"));
            let detail = letter.headers["detail"].clone();
            let before = letters.insert(place, detail.clone());
            assert!(
                before.is_none_or(|before| delivery == "at_least_once" && before == detail),
                "{delivery}: {detail} came twice"
            );
        }
        for (poison, at) in POISON.iter().zip(&begins[delivery]) {
            let place = ("skipped".to_owned(), i64::from(poison.partition), *at);
            let detail =
                letters.remove(&place).unwrap_or_else(|| panic!("no letter for {place:?}"));
            let expected = match poison.records {
                1 => format!("offset {at} was passed over"),
                n => format!("offsets {at} to {} ({n}) were passed over", at + n - 1),
            };
            assert!(detail.starts_with(&expected), "{}: {detail}", poison.what);
        }
        let mut rest: Vec<&str> = letters.keys().map(|(reason, ..)| reason.as_str()).collect();
        rest.sort_unstable();
        assert_eq!(rest, ["not_json", "too_large"], "{letters:?}");
    }
}
