//! Against a small stand-in for a registry's HTTP interface.

use super::*;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use engine::config::Config;
use engine::wire::Decoder;
use engine::{Engine, Options};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

/// Answers by path; the first `refusals` answers are 503.
struct StandIn {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    fn start(answers: &[(&str, serde_json::Value)], refusals: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: HashMap<String, String> =
            answers.iter().map(|(path, answer)| ((*path).to_owned(), answer.to_string())).collect();
        let (seen, mut refusals) = (asked.clone(), refusals);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
                let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
                seen.lock().unwrap().push(head);
                let (status, body) = match answers.get(&path) {
                    _ if refusals > 0 => ("503 Busy", "{}"),
                    Some(body) => ("200 OK", body.as_str()),
                    None => ("404 No", "{\"error_code\":40403}"),
                };
                refusals = refusals.saturating_sub(1);
                let length = body.len();
                let _ = write!(
                    reader.get_mut(),
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
            }
        });
        Self { url, asked }
    }

    fn registry(&self) -> Registry {
        let section = RegistrySection {
            urls: vec![self.url.clone()],
            username: Some("me".into()),
            password: Some("hunter2".into()),
            ..RegistrySection::default()
        };
        Registry::new(&section).unwrap().unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn never() -> bool {
    false
}

/// A message as producers write it.
fn framed(number: u32, body: &[u8]) -> Vec<u8> {
    [&[0][..], &number.to_be_bytes(), body].concat()
}

fn decoder() -> Decoder {
    let config: Config = toml::from_str(
        "[events]\ntypes = [\"payment\"]\n[kinds.device]\n[attributes.amount]\ntype = \"number\"\n[attributes.verified]\ntype = \"boolean\"\n",
    )
    .unwrap();
    Engine::new(config, None, Options::default()).unwrap().decoder()
}

const EVENT: &[u8] =
    br#"{"event_id":"e-81","ts":1522540831000,"type":"payment","account":"u42","target":"u77",
 "entities":{"device":["d9","d1"]},"attributes":{"amount":57.2,"verified":true}}"#;

fn avro_event() -> serde_json::Value {
    json!({"type": "record", "name": "Event", "namespace": "shop", "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "type", "type": {"type": "enum", "name": "Kind", "symbols": ["login", "payment"]}},
        {"name": "account", "type": "string"},
        {"name": "target", "type": ["null", "string"]},
        {"name": "entities", "type": {"type": "map", "values": {"type": "array", "items": "string"}}},
        {"name": "attributes", "type": "shop.Attributes"}]})
}

fn avro_attributes() -> serde_json::Value {
    json!({"type": "record", "name": "Attributes", "namespace": "shop", "fields": [
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "verified", "type": "boolean"}]})
}

fn avro_message() -> Vec<u8> {
    let (schema, others) = apache_avro::Schema::parse_str_with_list(
        &avro_event().to_string(),
        [avro_attributes().to_string()],
    )
    .unwrap();
    let texts = ["d9", "d1"].map(|d| Value::String(d.into())).to_vec();
    let value = Value::Record(vec![
        ("event_id".into(), Value::String("e-81".into())),
        ("ts".into(), Value::TimestampMicros(1_522_540_831_000_999)),
        ("type".into(), Value::Enum(1, "payment".into())),
        ("account".into(), Value::String("u42".into())),
        ("target".into(), Value::Union(1, Box::new(Value::String("u77".into())))),
        ("entities".into(), Value::Map([("device".to_owned(), Value::Array(texts))].into())),
        (
            "attributes".into(),
            Value::Record(vec![
                ("amount".into(), Value::Decimal(5720i16.to_be_bytes().into())),
                ("verified".into(), Value::Boolean(true)),
            ]),
        ),
    ]);
    let all = others.iter().chain([&schema]).collect();
    let writer = GenericDatumWriter::builder(&schema).schemata(all).unwrap().build().unwrap();
    writer.write_value_to_vec(value).unwrap()
}

fn avro_stand_in(refusals: usize) -> StandIn {
    let reference =
        json!([{"name": "shop.Attributes", "subject": "shop/attributes", "version": 3}]);
    StandIn::start(
        &[
            ("/schemas/types", json!(["AVRO"])),
            (
                "/schemas/ids/7",
                json!({"schema": avro_event().to_string(), "references": reference}),
            ),
            (
                "/subjects/shop%2Fattributes/versions/3",
                json!({"schema": avro_attributes().to_string()}),
            ),
        ],
        refusals,
    )
}

#[test]
fn an_avro_message_is_the_event_that_its_json_would_be() {
    let stand_in = avro_stand_in(0);
    let registry = stand_in.registry();
    registry.check().unwrap();
    let message = framed(7, &avro_message());
    let json = registry.json(&message, &never).unwrap();
    let decoder = decoder();
    let event = decoder.event(&json, || unreachable!()).unwrap();
    let expected = decoder.event(EVENT, || unreachable!()).unwrap();
    assert_eq!(format!("{event:?}"), format!("{expected:?}"));
    // The same once more: what is known is not asked for again.
    assert_eq!(registry.json(&message, &never).unwrap(), json);
    assert_eq!(stand_in.asked(), 3, "types, schema and reference");
    let basic = "basic bwu6ahvudgvymg==";
    assert!(stand_in.asked.lock().unwrap().iter().all(|head| head.to_lowercase().contains(basic)));
    // Plain JSON beside it needs no registry.
    assert_eq!(registry.json(EVENT, &never).unwrap(), EVENT);
    assert_eq!(stand_in.asked(), 3);
}

#[test]
fn a_message_that_is_cut_or_too_long_is_rejected_at_every_length() {
    let stand_in = avro_stand_in(0);
    let registry = stand_in.registry();
    let message = framed(7, &avro_message());
    for length in 1..message.len() {
        match registry.json(&message[..length], &never) {
            Err(NoJson::Reject(reject)) => assert_eq!(reject.code, RejectCode::Undecodable),
            other => panic!("{length} bytes: {other:?}"),
        }
    }
    let longer = [&message[..], &[0]].concat();
    let Err(NoJson::Reject(reject)) = registry.json(&longer, &never) else { panic!("taken") };
    assert_eq!(reject.code, RejectCode::Undecodable);
    let vast = vec![0; MESSAGE_BYTES_MAX + 1];
    let Err(NoJson::Reject(reject)) = registry.json(&vast, &never) else { panic!("taken") };
    assert_eq!(reject.code, RejectCode::TooLarge);
}

const PROTO: &str = r#"
syntax = "proto3";
package shop;
import "attributes.proto";
import "google/protobuf/timestamp.proto";
message Other { string x = 1; }
message Envelope {
  message Keys { repeated string keys = 1; }
  message Event {
    string event_id = 1;
    google.protobuf.Timestamp ts = 2;
    enum Kind { login = 0; payment = 1; }
    Kind type = 3;
    string account = 4;
    optional string target = 5;
    map<string, string> entities = 6;
    Attributes attributes = 7;
  }
}
"#;
const PROTO_ATTRIBUTES: &str = r#"
syntax = "proto3";
package shop;
message Attributes { double amount = 1; bool verified = 2; int64 many = 3; }
"#;

/// A field of text or of a message.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, body.len() as u8], body].concat()
}

fn proto_message() -> Vec<u8> {
    // 1522540831 as a varint, in field 1.
    let ts = [0x08, 0x9f, 0xc2, 0x80, 0xd6, 0x05];
    let mut amount = vec![0x09];
    amount.extend(57.2f64.to_le_bytes());
    amount.extend([0x10, 1]);
    let entry = |k: &str, v: &str| [field(1, k.as_bytes()), field(2, v.as_bytes())].concat();
    [
        // Two steps: the second message, and of its own the second.
        vec![4, 2, 2],
        field(1, b"e-81"),
        field(2, &ts),
        vec![0x18, 1],
        field(4, b"u42"),
        field(5, b"u77"),
        field(6, &entry("device", "d9")),
        field(6, &entry("ip", "i1")),
        field(6, &entry("card", "c1")),
        field(7, &amount),
    ]
    .concat()
}

fn proto_stand_in() -> StandIn {
    let reference = json!([{"name": "attributes.proto", "subject": "attributes", "version": 1}]);
    StandIn::start(
        &[
            (
                "/schemas/ids/8",
                json!({"schemaType": "PROTOBUF", "schema": PROTO, "references": reference}),
            ),
            (
                "/subjects/attributes/versions/1",
                json!({"schemaType": "PROTOBUF", "schema": PROTO_ATTRIBUTES}),
            ),
        ],
        0,
    )
}

#[test]
fn a_protobuf_message_is_the_event_that_its_json_would_be() {
    let registry = proto_stand_in().registry();
    let message = framed(8, &proto_message());
    let json = registry.json(&message, &never).unwrap();
    let found: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let expected = json!({"event_id": "e-81", "ts": "2018-04-01T00:00:31Z", "type": "payment",
        "account": "u42", "target": "u77", "entities": {"card": "c1", "device": "d9", "ip": "i1"},
        "attributes": {"amount": 57.2, "verified": true, "many": 0}});
    assert_eq!(found, expected);
    let event = decoder().event(&json, || unreachable!()).unwrap();
    assert_eq!((&*event.account, event.ts_ms), ("u42", 1_522_540_831_000));
    // A map has no order in memory; the same bytes have to be the same event all the same.
    for _ in 0..32 {
        let other = proto_stand_in().registry();
        assert_eq!(other.json(&message, &never).unwrap(), json);
    }
}

#[test]
fn protobuf_that_names_no_message_or_is_cut_is_rejected() {
    let registry = proto_stand_in().registry();
    let message = proto_message();
    let wrong: [&[u8]; 6] = [
        &[],
        &[4, 2, 200],
        &[4, 20, 2],
        &[255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
        &message[..message.len() - 1],
        &[0, 10, 4, 255, 255, 255, 255],
    ];
    for body in wrong {
        match registry.json(&framed(8, body), &never) {
            Err(NoJson::Reject(reject)) => assert_eq!(reject.code, RejectCode::Undecodable),
            other => panic!("{body:?}: {other:?}"),
        }
    }
}

#[test]
fn json_with_a_schema_is_json() {
    let stand_in =
        StandIn::start(&[("/schemas/ids/9", json!({"schemaType": "JSON", "schema": "{}"}))], 0);
    let message = framed(9, EVENT);
    assert_eq!(stand_in.registry().json(&message, &never).unwrap(), EVENT);
}

#[test]
fn a_schema_that_nobody_knows_is_a_reject_and_asked_for_once() {
    let stand_in = StandIn::start(&[], 0);
    let registry = stand_in.registry();
    for _ in 0..3 {
        let Err(NoJson::Reject(reject)) = registry.json(&framed(5, b"x"), &never) else {
            panic!("taken")
        };
        assert_eq!(reject.code, RejectCode::UnknownSchema);
        assert!(reject.detail.contains("schema 5"), "{}", reject.detail);
    }
    assert_eq!(stand_in.asked(), 1);
    assert!(registry.check().unwrap_err().contains("no schema registry"));
}

#[test]
fn a_registry_that_is_down_is_waited_for() {
    let stand_in = avro_stand_in(3);
    let message = framed(7, &avro_message());
    assert!(stand_in.registry().json(&message, &never).is_ok());
    assert_eq!(stand_in.asked(), 3 + 2);
}

#[test]
fn a_wait_ends_when_it_is_asked_to() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let section =
        RegistrySection { urls: vec![format!("http://{nobody}")], ..RegistrySection::default() };
    let registry = Registry::new(&section).unwrap().unwrap();
    let why = registry.check().unwrap_err();
    assert!(why.contains(&nobody.to_string()) && why.contains("hint"), "{why}");
    let asked = AtomicBool::new(false);
    let stop = || asked.swap(true, Ordering::Relaxed);
    assert!(matches!(registry.json(&framed(1, b""), &stop), Err(NoJson::Stopped)));
}

#[test]
fn schemas_by_which_a_short_message_could_be_endless_are_refused() {
    let record = |fields: serde_json::Value| {
        json!({"type": "record", "name": "R", "fields": fields}).to_string()
    };
    let refused = [
        record(json!([{"name": "next", "type": ["null", "R"]}])),
        record(json!([{"name": "all", "type": {"type": "array", "items": "null"}}])),
        record(json!([{"name": "all", "type": {"type": "array", "items":
            {"type": "record", "name": "E", "fields": []}}}])),
    ];
    for text in refused {
        assert!(AvroSchema::new(&text, &[]).is_err(), "{text}");
    }
    let good = record(json!([{"name": "all", "type": {"type": "array", "items": "long"}}]));
    assert!(AvroSchema::new(&good, &[]).is_ok());
}

/// One registry for all cases: what is known is not asked for again.
fn both() -> &'static [Registry; 2] {
    static BOTH: std::sync::OnceLock<[Registry; 2]> = std::sync::OnceLock::new();
    BOTH.get_or_init(|| [avro_stand_in(0).registry(), proto_stand_in().registry()])
}

proptest::proptest! {
    #[test]
    fn no_message_is_a_panic(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        at in 0usize..80,
        flip in 1u8..,
    ) {
        let [avro, proto] = both();
        for (registry, number, good) in [(avro, 7, avro_message()), (proto, 8, proto_message())] {
            let _ = registry.json(&framed(number, &bytes), &never);
            let mut changed = good;
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= flip;
            }
            let (decoder, changed) = (decoder(), framed(number, &changed));
            if let Ok(json) = registry.json(&changed, &never) {
                let again = registry.json(&changed, &never).unwrap();
                proptest::prop_assert_eq!(&json, &again);
                let _ = decoder.event(&json, || "id".into());
                let _ = decoder.label(&json);
            }
        }
    }
}
