//! Against a small stand-in for a registry's HTTP interface.

use super::*;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use engine::config::Config;
use engine::wire::Decoder;
use engine::{Engine, Options};
use serde_json::json;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Answers by path; the first `refusals` answers are 503.
struct StandIn {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    fn start(answers: &[(&str, serde_json::Value)], refusals: usize) -> Self {
        let answers = answers
            .iter()
            .map(|(path, answer)| ((*path).to_owned(), ("200 OK", answer.to_string())));
        Self::serve(answers.collect(), refusals)
    }

    fn raw(answers: impl IntoIterator<Item = (String, (&'static str, String))>) -> Self {
        Self::serve(answers.into_iter().collect(), 0)
    }

    fn serve(answers: HashMap<String, (&'static str, String)>, refusals: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
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
                    Some((status, body)) => (*status, body.as_str()),
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

/// A message as JSON, once its schema is answered for.
fn read<'a>(registry: &Registry, message: &'a [u8]) -> Result<Cow<'a, [u8]>, NoJson> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match registry.json(message) {
            Err(NoJson::Pending(pending)) => {
                assert!(Instant::now() < until, "there is no answer: {pending}");
                std::thread::sleep(Duration::from_millis(1));
            }
            found => return found,
        }
    }
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

#[test]
fn local_timestamps_are_moments_whatever_their_unit() {
    let units = [
        ("millis", Value::LocalTimestampMillis(1_522_540_831_123)),
        ("micros", Value::LocalTimestampMicros(1_522_540_831_123_000)),
        ("nanos", Value::LocalTimestampNanos(1_522_540_831_123_000_000)),
    ];
    for (unit, value) in units {
        let text = json!({"type": "record", "name": "Event", "fields": [
            {"name": "ts", "type": {"type": "long", "logicalType": format!("local-timestamp-{unit}")}},
            {"name": "account", "type": "string"}]})
        .to_string();
        let schema = apache_avro::Schema::parse_str(&text).unwrap();
        let record = Value::Record(vec![
            ("ts".into(), value),
            ("account".into(), Value::String("u42".into())),
        ]);
        let writer = GenericDatumWriter::builder(&schema).build().unwrap();
        let bytes = writer.write_value_to_vec(record).unwrap();
        for offset_ms in [0, 3_600_000] {
            let json = AvroSchema::new(&text, &[]).unwrap().json(&bytes, offset_ms).unwrap();
            let json = serde_json::to_vec(&json).unwrap();
            let event = decoder().event(&json, || "line-1".into()).unwrap();
            assert_eq!(event.ts_ms, 1_522_540_831_123 - offset_ms, "{unit}");
        }
    }
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
    let json = read(&registry, &message).unwrap();
    let decoder = decoder();
    let event = decoder.event(&json, || unreachable!()).unwrap();
    let expected = decoder.event(EVENT, || unreachable!()).unwrap();
    assert_eq!(format!("{event:?}"), format!("{expected:?}"));
    // The same once more: what is known is not asked for again.
    assert_eq!(read(&registry, &message).unwrap(), json);
    assert_eq!(stand_in.asked(), 3, "types, schema and reference");
    let basic = "basic bwu6ahvudgvymg==";
    assert!(stand_in.asked.lock().unwrap().iter().all(|head| head.to_lowercase().contains(basic)));
    // Plain JSON beside it needs no registry.
    assert_eq!(read(&registry, EVENT).unwrap(), EVENT);
    assert_eq!(stand_in.asked(), 3);
}

#[test]
fn a_message_that_is_cut_or_too_long_is_rejected_at_every_length() {
    let stand_in = avro_stand_in(0);
    let registry = stand_in.registry();
    let message = framed(7, &avro_message());
    for length in 1..message.len() {
        match read(&registry, &message[..length]) {
            Err(NoJson::Reject(reject)) => assert_eq!(reject.code, RejectCode::Undecodable),
            other => panic!("{length} bytes: {other:?}"),
        }
    }
    let longer = [&message[..], &[0]].concat();
    let Err(NoJson::Reject(reject)) = read(&registry, &longer) else { panic!("taken") };
    assert_eq!(reject.code, RejectCode::Undecodable);
    let vast = vec![0; MESSAGE_BYTES_MAX + 1];
    let Err(NoJson::Reject(reject)) = read(&registry, &vast) else { panic!("taken") };
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
    let json = read(&registry, &message).unwrap();
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
        assert_eq!(read(&other, &message).unwrap(), json);
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
        match read(&registry, &framed(8, body)) {
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
    assert_eq!(read(&stand_in.registry(), &message).unwrap(), EVENT);
}

#[test]
fn a_schema_that_nobody_knows_is_a_reject_and_asked_for_once() {
    let stand_in = StandIn::start(&[], 0);
    let registry = stand_in.registry();
    for _ in 0..3 {
        let Err(NoJson::Reject(reject)) = read(&registry, &framed(5, b"x")) else {
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
    assert!(read(&stand_in.registry(), &message).is_ok());
    assert_eq!(stand_in.asked(), 3 + 2);
}

#[test]
fn a_registry_that_nobody_reaches_holds_nobody_up() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let section =
        RegistrySection { urls: vec![format!("http://{nobody}")], ..RegistrySection::default() };
    let registry = Registry::new(&section).unwrap().unwrap();
    let why = registry.check().unwrap_err();
    assert!(why.contains(&nobody.to_string()) && why.contains("hint"), "{why}");
    let message = framed(1, b"");
    let since = loop {
        let Err(NoJson::Pending(pending)) = registry.json(&message) else { panic!("known") };
        if let Some(why) = pending.why {
            assert!(why.contains(&nobody.to_string()), "{why}");
            break pending.since;
        }
        std::thread::yield_now();
    };
    let Err(NoJson::Pending(pending)) = registry.json(&message) else { panic!("known") };
    assert_eq!(pending.since, since, "it waits since it was asked for first");
    assert_eq!(registry.answers(), 0);
}

#[test]
fn what_the_registry_says_of_a_number_is_about_its_messages_only() {
    let fixed = json!({"type": "record", "name": "F", "fields": [
        {"name": "x", "type": {"type": "fixed", "name": "fx", "size": 2_000_000_000u32}}]});
    let long = "x".repeat(6 << 20);
    let texts = [
        ("/schemas/ids/4", "400 No", "{\"error_code\":400}".to_owned()),
        ("/schemas/ids/5", "422 No", String::new()),
        ("/schemas/ids/6", "200 OK", format!("{{\"schema\":\"{long}\"}}")),
        ("/schemas/ids/7", "200 OK", json!({"schema": avro_attributes().to_string()}).to_string()),
        ("/schemas/ids/8", "200 OK", "<html>".to_owned()),
        ("/schemas/ids/9", "200 OK", "[]".to_owned()),
        ("/schemas/ids/10", "410 Gone", long.clone()),
        ("/schemas/ids/11", "200 OK", json!({"schema": fixed.to_string()}).to_string()),
        ("/schemas/ids/12", "503 Later", String::new()),
        ("/schemas/ids/13", "429 Later", String::new()),
        ("/schemas/ids/14", "403 No", String::new()),
    ];
    let stand_in =
        StandIn::raw(texts.map(|(path, status, body)| (path.to_owned(), (status, body))));
    let registry = stand_in.registry();
    let (unknown, undecodable) = (RejectCode::UnknownSchema, RejectCode::Undecodable);
    let table = [
        (3, Some((unknown, "the registry has no schema 3"))),
        (4, Some((undecodable, "status 400"))),
        (5, Some((undecodable, "status 422"))),
        (6, Some((undecodable, "longer than 4194304 bytes"))),
        (8, Some((undecodable, "no schema (line 1"))),
        (9, Some((undecodable, "no schema (line 1"))),
        (10, Some((undecodable, "status 410"))),
        (11, Some((undecodable, "less in it than its Avro schema says"))),
        (12, None),
        (13, None),
        (14, None),
    ];
    for (number, _) in table {
        registry.announce(&framed(number, b"x"));
    }
    for (number, expected) in table {
        let message = framed(number, b"twenty bytes of body");
        if let Some((code, detail)) = expected {
            let Err(NoJson::Reject(reject)) = read(&registry, &message) else { panic!("{number}") };
            assert_eq!(reject.code, code, "{number}");
            assert!(reject.detail.contains(detail), "{number}: {}", reject.detail);
        } else {
            let found = registry.json(&message);
            assert!(matches!(found, Err(NoJson::Pending(_))), "{number}: {found:?}");
        }
    }
    // Others are read meanwhile.
    assert!(read(&registry, &framed(7, &[4, 0x16, 0x58, 1])).is_ok());
}

#[test]
fn a_flood_of_unknown_numbers_is_asked_for_side_by_side_and_forgets_no_schema() {
    let stand_in = avro_stand_in(0);
    let registry = stand_in.registry();
    let good = framed(7, &avro_message());
    assert!(read(&registry, &good).is_ok());
    let before = stand_in.asked();
    for number in 1000..3000 {
        registry.announce(&framed(number, b"x"));
        assert!(registry.json(&good).is_ok(), "a good schema was forgotten");
    }
    for number in 1000..3000 {
        let Err(NoJson::Reject(reject)) = read(&registry, &framed(number, b"x")) else {
            panic!("{number}")
        };
        assert_eq!(reject.code, RejectCode::UnknownSchema);
    }
    assert_eq!(stand_in.asked(), before + 2000, "each once");
}

#[test]
fn a_short_message_takes_no_more_memory_than_its_schema_gives_it() {
    let field = |name: &str, of: serde_json::Value| json!({"name": name, "type": of});
    let record = |fields: Vec<serde_json::Value>| {
        json!({"type": "record", "name": "R", "fields": fields}).to_string()
    };
    let fixed = |size: u64| json!({"type": "fixed", "name": "fx", "size": size});
    let decimal = json!({"type": "fixed", "name": "d", "size": 60_000_000_000u64,
        "logicalType": "decimal", "precision": 9});
    let nulls: Vec<_> = (0..9000).map(|n| field(&format!("n{n}"), json!("null"))).collect();
    let wide = json!({"type": "record", "name": "W", "fields":
        nulls.into_iter().chain([field("b", json!("boolean"))]).collect::<Vec<_>>()});
    // A count of 2^60, as a varint.
    let vast = [&[0x80; 8][..], &[0x20]].concat();
    let less = "less in it";
    let table = [
        (record(vec![field("x", fixed(60_000_000_000))]), vec![0; 20], less),
        (record(vec![field("x", decimal)]), vec![0; 20], less),
        (record(vec![field("x", json!(["null", fixed(1 << 20)]))]), vec![2, 0, 0], less),
        (record(vec![field("x", json!("string"))]), vast.clone(), less),
        (record(vec![field("x", json!("bytes"))]), vast.clone(), less),
        (record(vec![field("x", json!({"type": "array", "items": "long"}))]), vast.clone(), less),
        (record(vec![field("x", json!({"type": "map", "values": "long"}))]), vast, less),
        (
            record(vec![field("x", json!({"type": "array", "items": wide}))]),
            [&[0x50][..], &[1; 40], &[0]].concat(),
            "more than 65536 values",
        ),
    ];
    for (schema, message, expected) in table {
        let found = AvroSchema::new(&schema, &[]).expect(&schema).json(&message, 0);
        let why = found.expect_err("it is refused");
        assert!(why.contains(expected), "{why} {:.100}", schema);
    }
    let long = "n".repeat(300);
    for schema in [
        record(vec![field(&long, json!("long"))]),
        record(vec![field("e", json!({"type": "enum", "name": "E", "symbols": [long.clone()]}))]),
    ] {
        assert!(AvroSchema::new(&schema, &[]).is_err(), "{schema:.100}");
    }
    // Protobuf has values that no byte of the message stands for: those of absent fields.
    let fields: String = (1..2000).map(|n| format!("int32 f{n} = {n};\n")).collect();
    let proto = format!(
        "syntax = \"proto3\";\nmessage Outer {{ repeated Inner all = 1; }}\nmessage Inner {{ {fields} }}\n"
    );
    let schema = ProtobufSchema::new(&proto, &[]).expect("a schema");
    let few = [&[0][..], &[10, 0].repeat(30)].concat();
    assert!(schema.json(&few).is_ok());
    let many = [&[0][..], &[10, 0].repeat(40)].concat();
    let why = schema.json(&many).expect_err("it is refused");
    assert!(why.contains("more than 65536 values"), "{why}");
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
            let _ = read(registry, &framed(number, &bytes));
            let mut changed = good;
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= flip;
            }
            let (decoder, changed) = (decoder(), framed(number, &changed));
            if let Ok(json) = read(registry, &changed) {
                let again = read(registry, &changed).unwrap();
                proptest::prop_assert_eq!(&json, &again);
                let _ = decoder.event(&json, || "id".into());
                let _ = decoder.label(&json);
            }
        }
    }
}
