//! Events in Avro, with a stand-in for a schema registry: the same scores as from JSON, and what becomes of the rest.

use crate::instance::Setup;
use crate::poison::until;
use crate::stack::Stack;
use crate::stand_in;
use crate::support::{Scratch, json_lines, stream};
use crate::watch::{counted, said};
use apache_avro::Schema;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Answers for schemas 1 and, once it is let, 2: they say the same. It never has an answer for 5, and refuses 4.
struct Registry {
    url: String,
    second: Arc<AtomicBool>,
}

impl Registry {
    fn start(schema: &str) -> Self {
        let second = Arc::new(AtomicBool::new(false));
        let (let_in, answer) = (second.clone(), json!({ "schema": schema }).to_string());
        let url = stand_in::http(move |path| match path {
            "/schemas/types" => ("200 OK", "[\"AVRO\"]".into()),
            "/schemas/ids/1" => ("200 OK", answer.clone()),
            "/schemas/ids/2" if let_in.load(Ordering::Relaxed) => ("200 OK", answer.clone()),
            "/schemas/ids/2" | "/schemas/ids/5" => ("503 Later", "{}".into()),
            "/schemas/ids/4" => ("400 No", "{\"error_code\":400}".into()),
            _ => ("404 No", "{\"error_code\":40403}".into()),
        });
        Self { url, second }
    }
}

fn schema() -> Value {
    json!({"type": "record", "name": "Event", "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "type", "type": "string"},
        {"name": "account", "type": "string"},
        {"name": "target", "type": ["null", "string"]},
        {"name": "entities", "type": {"type": "map", "values": ["string", {"type": "array", "items": "string"}]}},
        {"name": "attributes", "type": {"type": "map", "values": ["boolean", "double", "string"]}}]})
}

fn text(value: &Value) -> Avro {
    Avro::String(value.as_str().expect("a text").to_owned())
}

fn one_of(at: u32, value: Avro) -> Avro {
    Avro::Union(at, Box::new(value))
}

fn avro(event: &Value) -> Avro {
    let members = |name: &str| event[name].as_object().cloned().unwrap_or_default().into_iter();
    let entities = members("entities").map(|(kind, key)| match &key {
        Value::Array(all) => (kind, one_of(1, Avro::Array(all.iter().map(text).collect()))),
        key => (kind, one_of(0, text(key))),
    });
    let attributes = members("attributes").map(|(name, value)| match &value {
        Value::Bool(v) => (name, one_of(0, Avro::Boolean(*v))),
        Value::Number(v) => (name, one_of(1, Avro::Double(v.as_f64().expect("a number")))),
        value => (name, one_of(2, text(value))),
    });
    let target = match &event["target"] {
        Value::Null => one_of(0, Avro::Null),
        target => one_of(1, text(target)),
    };
    Avro::Record(vec![
        ("event_id".into(), text(&event["event_id"])),
        ("ts".into(), Avro::TimestampMillis(event["ts"].as_i64().expect("a time"))),
        ("type".into(), text(&event["type"])),
        ("account".into(), text(&event["account"])),
        ("target".into(), target),
        ("entities".into(), Avro::Map(entities.collect())),
        ("attributes".into(), Avro::Map(attributes.collect())),
    ])
}

fn produce(stack: &Stack, topic: &str, messages: &[Vec<u8>]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", stack.bootstrap())
        .set("enable.idempotence", "true")
        .create()
        .expect("a producer can be made");
    for message in messages {
        producer.send(BaseRecord::<(), _>::to(topic).payload(message)).expect("there is room");
    }
    producer.flush(Duration::from_secs(60)).expect("all is delivered");
}

#[test]
fn avro_is_scored_as_json_is_and_a_registry_that_is_down_is_waited_for() {
    let stack = Stack::up();
    let s = Scratch::new();
    stream().put(&s);
    // With the members of objects in the order that maps get.
    let events: Vec<Value> = json_lines(&stream().events).into_iter().take(3000).collect();
    let sorted: String = events.iter().map(|event| format!("{event}\n")).collect();
    s.write("sorted", sorted.as_bytes());
    s.run("run --config conf --input sorted --output actions --scores-out expected").good();

    let parsed = Schema::parse(&schema()).expect("a schema");
    let writer = GenericDatumWriter::builder(&parsed).build().expect("a writer");
    let message = |number: u8, event: &Value| {
        let body = writer.write_value_to_vec(avro(event)).expect("it fits the schema");
        [&[0, 0, 0, 0, number][..], &body].concat()
    };
    // A third in plain JSON, a third by the first schema, a third by the second.
    let plain: Vec<Vec<u8>> = events[..1000].iter().map(|e| e.to_string().into_bytes()).collect();
    let first: Vec<Vec<u8>> = events[1000..2000].iter().map(|e| message(1, e)).collect();
    let second: Vec<Vec<u8>> = events[2000..].iter().map(|e| message(2, e)).collect();
    let strange = [message(9, &events[0]), first[0][..20].to_vec()];

    stack.topics("", 1);
    for part in [&plain[..], &first, &strange, &second] {
        produce(&stack, "events", part);
    }
    let registry = Registry::start(&schema().to_string());
    let urls = format!("[\"{}\"]", registry.url);
    let env = [("DETECTOR__KAFKA__REGISTRY__URLS", urls.as_str())];
    let setup = Setup { stack: &stack, scratch: &s, prefix: "", delivery: "exactly_once" };
    let mut service = setup.start_as(&[], &env);
    said(&s, "", &["schema registry has no answer"]);
    counted(&service, "detector_events_total", |events| events >= 2000.0);
    registry.second.store(true, Ordering::Relaxed);
    said(&s, "", &["schema registry answers again"]);
    service.idle();

    let scores = stack.consume("scores");
    let found: Vec<&str> = scores.iter().map(|r| r.value.as_str()).collect();
    let mut found = found.clone();
    found.sort_unstable();
    let expected = String::from_utf8(s.read("expected")).expect("scores are text");
    let mut expected: Vec<&str> = expected.lines().collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let dead = stack.consume("dead-letters");
    let mut reasons: Vec<&str> = dead.iter().map(|d| d.headers["reason"].as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["undecodable", "unknown_schema"]);
}

#[test]
fn after_a_kill_the_same_bytes_are_the_same_events() {
    let stack = Stack::up();
    let s = Scratch::new();
    stream().put(&s);
    let parsed = Schema::parse(&schema()).expect("a schema");
    let writer = GenericDatumWriter::builder(&parsed).build().expect("a writer");
    let events: Vec<Value> = json_lines(&stream().events).into_iter().take(2000).collect();
    let messages: Vec<Vec<u8>> = events
        .iter()
        .map(|event| {
            let body = writer.write_value_to_vec(avro(event)).expect("it fits the schema");
            [&[0, 0, 0, 0, 1][..], &body].concat()
        })
        .collect();
    let registry = Registry::start(&schema().to_string());
    let urls = format!("[\"{}\"]", registry.url);
    // No checkpoint but the first: everything is replayed.
    let env = [
        ("DETECTOR__KAFKA__REGISTRY__URLS", urls.as_str()),
        ("DETECTOR__STATE__CHECKPOINT_EVERY", "1h"),
    ];
    let mut profiles = Vec::new();
    for prefix in ["calm-", "hit-"] {
        stack.topics(prefix, 1);
        produce(&stack, &format!("{prefix}events"), &messages);
        let setup = Setup { stack: &stack, scratch: &s, prefix, delivery: "exactly_once" };
        let mut service = setup.start_as(&[], &env);
        service.idle();
        if prefix == "hit-" {
            service.kill();
            service = setup.start_as(&[], &env);
            service.idle();
            // It reads again what the one before it took: as a standby while that one's lease lasts, or once it is live.
            let log = String::from_utf8_lossy(&s.read(&format!("{prefix}log"))).into_owned();
            let again = ["replaying in silence", "following the live instance"];
            assert!(again.iter().any(|words| log.contains(words)), "{log}");
        }
        let account = events[0]["account"].as_str().expect("a text");
        profiles.push(service.get(&format!("/v1/accounts/{account}")).expect("it answers").1);
        service.stop();
        assert_eq!(stack.consume(&format!("{prefix}scores")).len(), events.len());
    }
    assert_eq!(profiles[0]["profile"], profiles[1]["profile"]);
    assert!(profiles[0]["profile"].as_object().is_some_and(|p| p.len() > 5), "{}", profiles[0]);
}

#[test]
fn a_schema_that_nobody_answers_for_stops_its_partition_and_no_other() {
    let stack = Stack::up();
    let s = Scratch::new();
    stream().put(&s);
    let events: Vec<Value> = json_lines(&stream().events).into_iter().take(900).collect();
    let parsed = Schema::parse(&schema()).expect("a schema");
    let writer = GenericDatumWriter::builder(&parsed).build().expect("a writer");
    let message = |number: u8, event: &Value| {
        let body = writer.write_value_to_vec(avro(event)).expect("it fits the schema");
        [&[0, 0, 0, 0, number][..], &body].concat()
    };
    let plain = |event: &Value| event.to_string().into_bytes();
    stack.topics("", 2);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", stack.bootstrap())
        .create()
        .expect("a producer can be made");
    let send = |partition: i32, messages: &[Vec<u8>]| {
        for message in messages {
            let record = BaseRecord::<(), _>::to("events").partition(partition).payload(message);
            producer.send(record).map_err(|(error, _)| error).expect("there is room");
        }
        producer.flush(Duration::from_secs(60)).expect("all is delivered");
    };
    let registry = Registry::start(&schema().to_string());
    let urls = format!("[\"{}\"]", registry.url);
    let env = [
        ("DETECTOR__KAFKA__REGISTRY__URLS", urls.as_str()),
        ("DETECTOR__STATE__CHECKPOINT_EVERY", "1h"),
    ];
    let setup = Setup { stack: &stack, scratch: &s, prefix: "", delivery: "exactly_once" };
    let of = |name: &str, partition: i32| {
        format!("{name}{{topic=\"events\",partition=\"{partition}\"}}")
    };
    let (stopped, lag) = ("detector_partition_stopped", "detector_consumer_lag");
    let scored = || {
        let id = |r: &crate::stack::Record| {
            let score: Value = serde_json::from_str(&r.value).expect("a score is JSON");
            score["event_id"].as_str().expect("it has an id").to_owned()
        };
        let mut all: Vec<String> = stack.consume("scores").iter().map(id).collect();
        all.sort_unstable();
        all
    };
    let expected = |of: &[&[Value]]| {
        let ids = of.concat();
        let ids = ids.iter().map(|e| e["event_id"].as_str().expect("it has an id").to_owned());
        let mut ids: Vec<String> = ids.collect();
        ids.sort_unstable();
        ids
    };

    // In one partition a number that is refused, in the other one that gets no answer: the first continues.
    let (zero, one) = (&events[..300], &events[300..600]);
    send(0, &zero[..100].iter().map(plain).collect::<Vec<_>>());
    send(0, &zero[100..200].iter().map(|e| message(2, e)).collect::<Vec<_>>());
    send(0, &zero[200..].iter().map(plain).collect::<Vec<_>>());
    send(1, &[message(4, &events[0])]);
    send(1, &one.iter().map(|e| message(1, e)).collect::<Vec<_>>());
    let mut service = setup.start_as(&[], &env);
    service.wait_for_metric(&of(stopped, 0), 1.0);
    service.wait_for_metric(&of(lag, 1), 0.0);
    assert_eq!(service.metric(&of(stopped, 1)), Some(0.0));
    until(scored, &expected(&[&zero[..100], one]));
    let (status, found) = service.get("/readyz").expect("it answers");
    assert!(status == 503 && found.to_string().contains("schema 2 is not known"), "{found}");

    // It continues by itself, in its order.
    registry.second.store(true, Ordering::Relaxed);
    service.wait_for_metric(&of(stopped, 0), 0.0);
    service.idle();
    assert_eq!(service.get("/readyz").expect("it answers").0, 200);
    until(scored, &expected(&[zero, one]));

    // A number that never gets an answer is passed over by the option, and by a replay without it.
    let rest = &events[600..];
    send(0, &[message(5, &events[0])]);
    send(0, &rest.iter().map(plain).collect::<Vec<_>>());
    service.wait_for_metric(&of(stopped, 0), 1.0);
    assert!(service.has_said("--skip events/0@300"), "{}", service.log());
    service.kill();
    let mut service = setup.start_as(&["--skip", "events/0@300"], &env);
    service.idle();
    service.kill();
    let mut service = setup.start_as(&[], &env);
    service.idle();
    assert_eq!(service.get("/readyz").expect("it answers").0, 200);
    service.stop();
    until(scored, &expected(&[zero, one, rest]));
    let dead = stack.consume("dead-letters");
    let mut dead: Vec<(&str, &str, &str)> = dead
        .iter()
        .map(|d| (&*d.headers["reason"], &*d.headers["partition"], &*d.headers["offset"]))
        .collect();
    dead.sort_unstable();
    assert_eq!(dead, [("skipped", "0", "300"), ("undecodable", "1", "0")]);
}
