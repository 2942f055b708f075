//! Good and bad messages: what they are read as, and the code they are refused with.

mod support;

use engine::wire::{DeadLetterV1, Decoder, MappingConfig, Vocabulary};
use features::event::{Event, Label, TypeId, Verdict};
use proptest::prelude::*;
use support::config;

const NAMES: &str = r#"
[events]
types = ["message", "payment"]
[kinds.device]
[kinds.ip]
[attributes.amount]
type = "number"
[attributes.country]
type = "category"
values = ["NL", "DE"]
[attributes.verified]
type = "boolean"
"#;

fn decoder(mapping: &str) -> Decoder {
    let mapping: MappingConfig = toml::from_str(mapping).expect("a mapping");
    assert_eq!(mapping.check(), Vec::<String>::new());
    Decoder::new(Vocabulary::new(&config(NAMES).features()), &mapping)
}

/// An event as one line: id, time, type, account, target, entities, attributes.
fn event_line(decoder: &Decoder, event: &Event) -> String {
    let words = decoder.words();
    let entities: Vec<String> = event
        .entities
        .iter()
        .map(|e| format!("{}:{}", words.kinds()[usize::from(e.kind.0)], e.key))
        .collect();
    let attributes: Vec<String> = (0..words.slots())
        .filter(|slot| !event.attributes[*slot].is_nan())
        .map(|slot| format!("{}={}", words.attribute(slot), event.attributes[slot]))
        .collect();
    format!(
        "{} {} {} {} {} [{}] [{}]",
        event.event_id,
        event.ts_ms,
        if event.type_id == TypeId::OTHER { "other" } else { words.type_name(event.type_id) },
        event.account,
        event.target.as_deref().unwrap_or("-"),
        entities.join(" "),
        attributes.join(" ")
    )
}

fn label_line(decoder: &Decoder, label: &Label) -> String {
    let words = decoder.words();
    let entities: Vec<String> = label
        .entities
        .iter()
        .map(|e| format!("{}:{}", words.kinds()[usize::from(e.kind.0)], e.key))
        .collect();
    let verdict = match label.verdict {
        Verdict::Bad => "bad",
        Verdict::Good => "good",
        Verdict::Erase => "erase",
    };
    format!(
        "{} {} {verdict} {} {} [{}]",
        label.account.as_deref().unwrap_or("-"),
        label.event_id.as_deref().unwrap_or("-"),
        label.ts_ms,
        label.confidence,
        entities.join(" ")
    )
}

fn read_event(decoder: &Decoder, message: &[u8]) -> String {
    match decoder.event(message, || "line-7".into()) {
        Ok(event) => event_line(decoder, &event),
        Err(reject) => reject.code.as_str().to_owned(),
    }
}

fn read_label(decoder: &Decoder, message: &[u8]) -> String {
    match decoder.label(message) {
        Ok(label) => label_line(decoder, &label),
        Err(reject) => reject.code.as_str().to_owned(),
    }
}

fn check(decoder: &Decoder, table: &[(&str, &str)], read: impl Fn(&Decoder, &[u8]) -> String) {
    let found: Vec<(&str, String)> =
        table.iter().map(|(m, _)| (*m, read(decoder, m.as_bytes()))).collect();
    for ((message, expected), (_, found)) in table.iter().zip(&found) {
        assert_eq!(found, expected, "{message}");
    }
}

#[test]
fn events_in_the_contracts_own_form() {
    let table = [
        (r#"{"ts":5,"type":"message","account":"u"}"#, "line-7 5 message u - [] []"),
        (
            r#"{"event_id":"e1","ts":5,"type":"sing","account":"u","target":"v"}"#,
            "e1 5 other u v [] []",
        ),
        (
            r#"{"event_id":"","ts":5,"type":"message","account":"u","target":""}"#,
            "line-7 5 message u - [] []",
        ),
        (
            r#"{"event_id":null,"ts":5,"type":"message","account":"u","target":null,"entities":null,"attributes":null}"#,
            "line-7 5 message u - [] []",
        ),
        // Time.
        (r#"{"ts":0,"type":"message","account":"u"}"#, "line-7 0 message u - [] []"),
        (
            r#"{"ts":1700000000000.9,"type":"message","account":"u"}"#,
            "line-7 1700000000000 message u - [] []",
        ),
        (
            r#"{"ts":"2024-02-29T12:00:00.25Z","type":"message","account":"u"}"#,
            "line-7 1709208000250 message u - [] []",
        ),
        (
            r#"{"ts":"2024-02-29T13:00:00+01:00","type":"message","account":"u"}"#,
            "line-7 1709208000000 message u - [] []",
        ),
        (r#"{"ts":-1,"type":"message","account":"u"}"#, "bad_ts"),
        (r#"{"ts":-0.5,"type":"message","account":"u"}"#, "bad_ts"),
        (r#"{"ts":253402300800000,"type":"message","account":"u"}"#, "bad_ts"),
        (r#"{"ts":18446744073709551615,"type":"message","account":"u"}"#, "bad_ts"),
        (r#"{"ts":1e300,"type":"message","account":"u"}"#, "bad_ts"),
        (r#"{"ts":"yesterday","type":"message","account":"u"}"#, "bad_ts"),
        (r#"{"ts":"1700000000000","type":"message","account":"u"}"#, "bad_ts"),
        (r#"{"ts":[5],"type":"message","account":"u"}"#, "wrong_type"),
        (r#"{"ts":null,"type":"message","account":"u"}"#, "missing_field"),
        // What is required.
        (r#"{"type":"message","account":"u"}"#, "missing_field"),
        (r#"{"ts":5,"account":"u"}"#, "missing_field"),
        (r#"{"ts":5,"type":"message"}"#, "missing_field"),
        (r#"{"ts":5,"type":"message","account":""}"#, "empty"),
        (r#"{"ts":5,"type":"message","account":{"id":1}}"#, "wrong_type"),
        (r#"{"ts":5,"type":"message","account":true}"#, "wrong_type"),
        (r#"{"ts":5,"type":["message"],"account":"u"}"#, "wrong_type"),
        // Numbers as keys keep every digit, or are refused.
        (r#"{"event_id":12,"ts":5,"type":3,"account":42,"target":-7}"#, "12 5 other 42 -7 [] []"),
        (
            r#"{"ts":5,"type":"message","account":18446744073709551615,"entities":{"device":[18446744073709551614,9223372036854775807],"ip":18446744073709551613}}"#,
            "line-7 5 message 18446744073709551615 - [device:18446744073709551614 device:9223372036854775807 ip:18446744073709551613] []",
        ),
        (
            r#"{"ts":5,"type":"message","account":42.0,"entities":{"device":1.5}}"#,
            "line-7 5 message 42 - [device:1.5] []",
        ),
        (r#"{"ts":5,"type":"message","account":184467440737095516160}"#, "wrong_type"),
        (r#"{"ts":5,"type":"message","account":"u","entities":{"device":1e200}}"#, "wrong_type"),
        (r#"{"ts":5,"type":"message","account":1e-290}"#, "text_too_long"),
        // Entities: one key or a list, each once, undeclared kinds and empty keys left out.
        (
            r#"{"ts":5,"type":"message","account":"u","entities":{"device":"d1","ip":["a","b","a",null,"",3],"shoe":{"size":[1]}}}"#,
            "line-7 5 message u - [device:d1 ip:a ip:b ip:3] []",
        ),
        (
            r#"{"ts":5,"type":"message","account":"u","entities":{"device":null}}"#,
            "line-7 5 message u - [] []",
        ),
        (r#"{"ts":5,"type":"message","account":"u","entities":{"device":true}}"#, "wrong_type"),
        (
            r#"{"ts":5,"type":"message","account":"u","entities":{"device":{"id":"d"}}}"#,
            "wrong_type",
        ),
        (
            r#"{"ts":5,"type":"message","account":"u","entities":{"device":["d",["e"]]}}"#,
            "wrong_type",
        ),
        (r#"{"ts":5,"type":"message","account":"u","entities":{"device":[false]}}"#, "wrong_type"),
        (r#"{"ts":5,"type":"message","account":"u","entities":["device","d"]}"#, "wrong_type"),
        (r#"{"ts":5,"type":"message","account":"u","entities":"d"}"#, "wrong_type"),
        (r#"{"ts":5,"type":"message","account":"u","entities":4}"#, "wrong_type"),
        // Attributes.
        (
            r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":"12.5","country":"DE","verified":"yes","other":{"a":[1]}}}"#,
            "line-7 5 message u - [] [amount=12.5 country=1 verified=1]",
        ),
        (
            r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":1e40,"country":"FR","verified":0}}"#,
            "line-7 5 message u - [] [amount=1000000000000 country=2 verified=0]",
        ),
        (
            r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":"nan","country":null,"verified":"perhaps"}}"#,
            "line-7 5 message u - [] []",
        ),
        (r#"{"ts":5,"type":"message","account":"u","attributes":{"amount":[1]}}"#, "wrong_type"),
        (r#"{"ts":5,"type":"message","account":"u","attributes":[]}"#, "wrong_type"),
        (r#"{"ts":5,"type":"message","account":"u","attributes":true}"#, "wrong_type"),
        // Fields of other forms are unknown ones: ignored, whatever they hold.
        (
            r#"{"ts":5,"type":"message","account":"u","label":"spam","confidence":"high","x":[{"y":null}]}"#,
            "line-7 5 message u - [] []",
        ),
        // The last of two, escapes, white space.
        (
            r#" {"ts":4,"type":"message","account":"u","ts":5,"account":"w"} "#,
            "line-7 5 message w - [] []",
        ),
        (
            r#"{"ts":5,"type":"mess\u0061ge","\u0061ccount":"\u00fc\n"}"#,
            "line-7 5 message \u{fc}\n - [] []",
        ),
        // Not messages.
        ("", "not_json"),
        ("{", "not_json"),
        (r#"{"ts":5,"type":"message","account":"u"} x"#, "not_json"),
        (r#"{"ts":5,"type":"message","account":"u",}"#, "not_json"),
        (r#"{"ts":NaN,"type":"message","account":"u"}"#, "not_json"),
        (r#"{"ts":5,"type":"message","account":"\ud800"}"#, "not_json"),
        ("[1]", "not_an_object"),
        ("7", "not_an_object"),
        ("null", "not_an_object"),
        ("\"text\"", "not_an_object"),
    ];
    check(&decoder(""), &table, read_event);
    check(&decoder("preset = \"detector\""), &table, read_event);
}

#[test]
fn caps_of_messages() {
    let decoder = decoder("");
    let event = |account: &str, entities: usize| {
        let keys: Vec<String> = (0..entities).map(|n| format!("\"k{n}\"")).collect();
        format!(
            "{{\"ts\":5,\"type\":\"message\",\"account\":\"{account}\",\"entities\":{{\"device\":[{}]}}}}",
            keys.join(",")
        )
    };
    assert!(read_event(&decoder, event("u", 32).as_bytes()).starts_with("line-7 5"));
    assert_eq!(read_event(&decoder, event("u", 33).as_bytes()), "too_many_entities");
    assert!(read_event(&decoder, event(&"u".repeat(256), 1).as_bytes()).starts_with("line-7 5"));
    assert_eq!(read_event(&decoder, event(&"u".repeat(257), 1).as_bytes()), "text_too_long");
    let mut large = event("u", 1).into_bytes();
    large.resize(engine::limits::MESSAGE_BYTES_MAX, b' ');
    assert!(read_event(&decoder, &large).starts_with("line-7 5"));
    large.push(b' ');
    assert_eq!(read_event(&decoder, &large), "too_large");
    assert_eq!(
        read_event(&decoder, b"{\"ts\":5,\"type\":\"message\",\"account\":\"\xff\"}"),
        "not_utf8"
    );
    assert_eq!(read_event(&decoder, b"\xfe\xff{}"), "not_utf8");
}

#[test]
fn deep_nesting_neither_panics_nor_recurses() {
    for mapping in ["", "account = \"/data/user\""] {
        let decoder = decoder(mapping);
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for depth in [100, 200_000] {
                let inner = if open == "[" { "" } else { "1" };
                let deep = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
                let message = format!(
                    "{{\"ts\":5,\"type\":\"message\",\"account\":\"u\",\"unknown\":{deep}}}"
                );
                let read = read_event(&decoder, message.as_bytes());
                let known =
                    ["line-7 5 message u - [] []", "missing_field", "not_json", "too_large"];
                assert!(known.contains(&read.as_str()), "{read}");
                if mapping.is_empty() && message.len() <= engine::limits::MESSAGE_BYTES_MAX {
                    assert_eq!(read, known[0], "what is ignored may be as deep as it likes");
                }
                for field in ["entities", "attributes", "account"] {
                    let message = format!(
                        "{{\"ts\":5,\"type\":\"message\",\"account\":\"u\",\"{field}\":{deep}}}"
                    );
                    assert!(!read_event(&decoder, message.as_bytes()).is_empty());
                }
                assert!(!read_event(&decoder, open.repeat(depth).as_bytes()).is_empty());
            }
        }
    }
}

#[test]
fn labels() {
    let table = [
        (r#"{"account":"u","label":1,"ts":5}"#, "u - bad 5 1 []"),
        (
            r#"{"account":"u","event_id":"e","label":0,"ts":5,"confidence":0.25,"source":"m","entities":{"device":["d","d"]}}"#,
            "u e good 5 0.25 [device:d]",
        ),
        (r#"{"event_id":81,"label":true,"ts":"1970-01-01T00:00:01Z"}"#, "- 81 bad 1000 1 []"),
        (r#"{"account":"","event_id":"e","label":0.0,"ts":5,"confidence":7}"#, "- e good 5 1 []"),
        (r#"{"account":"u","label":1,"ts":5,"confidence":null}"#, "u - bad 5 1 []"),
        (r#"{"account":"u","label":1,"ts":5,"confidence":-3}"#, "u - bad 5 0 []"),
        // Fields of events are unknown ones.
        (
            r#"{"account":"u","label":1,"ts":5,"target":{},"attributes":7,"type":"report"}"#,
            "u - bad 5 1 []",
        ),
        (r#"{"type":"erase","account":"u","ts":5}"#, "u - erase 5 1 []"),
        (r#"{"type":"erase","account":"u","ts":5,"label":1}"#, "u - erase 5 1 []"),
        (r#"{"type":"erase","event_id":"e","ts":5}"#, "missing_field"),
        (r#"{"account":"u","ts":5}"#, "missing_field"),
        (r#"{"account":"u","ts":5,"label":null}"#, "missing_field"),
        (r#"{"account":"u","label":1}"#, "missing_field"),
        (r#"{"label":1,"ts":5}"#, "missing_field"),
        (r#"{"account":"u","label":2,"ts":5}"#, "wrong_type"),
        (r#"{"account":"u","label":0.5,"ts":5}"#, "wrong_type"),
        (r#"{"account":"u","label":"bad","ts":5}"#, "wrong_type"),
        (r#"{"account":"u","label":18446744073709551615,"ts":5}"#, "wrong_type"),
        (r#"{"account":"u","label":1,"ts":5,"confidence":"high"}"#, "wrong_type"),
        (r#"{"account":"u","label":1,"ts":-5}"#, "bad_ts"),
        ("[]", "not_an_object"),
        ("{", "not_json"),
    ];
    // A mapping is about events.
    for mapping in ["", "account = \"/who\""] {
        check(&decoder(mapping), &table, read_label);
    }
}

#[test]
fn events_in_other_peoples_shapes() {
    let cloud_events = r#"{"specversion":"1.0","id":"c1","source":"/x","type":"message","time":"1970-01-01T00:00:05Z","subject":"u",
        "data":{"target":"v","entities":{"device":"d"},"attributes":{"amount":4},"country":"DE"}}"#;
    let osprey = r#"{"send_time":"2024-01-01T00:00:00Z","data":{"action_id":901,"action_name":"payment","timestamp":"1970-01-01T00:00:05Z",
        "data":{"user_id":18446744073709551615,"target_user_id":9,"ip":["1.1.1.1"],"amount":"4"}}}"#;
    let own = r#"{"meta":{"id":"o1","at":1.5},"what":"message","who":{"id":"u"},"to":{"id":"v"},"net":{"ips":["a","b"]},"sum":4,"flags":[true]}"#;
    let tables = [
        (
            "preset = \"cloudevents\"",
            vec![
                (cloud_events, "c1 5000 message u v [device:d] [amount=4 country=1]"),
                (r#"{"id":"c1","type":"message","time":"1970-01-01T00:00:05Z"}"#, "missing_field"),
                (
                    r#"{"id":"c1","type":"message","data":{"ts":7,"account":"w"}}"#,
                    "c1 7 message w - [] []",
                ),
                (r#"{"id":"c1","type":"message","subject":"u","time":{}}"#, "wrong_type"),
                ("[1]", "not_an_object"),
            ],
        ),
        (
            "preset = \"osprey\"",
            vec![
                (osprey, "901 5000 payment 18446744073709551615 9 [ip:1.1.1.1] [amount=4]"),
                (
                    r#"{"action_id":3,"action_name":"message","timestamp":5,"data":{"data":{"did":"did:x"}}}"#,
                    "3 5 message did:x - [] []",
                ),
            ],
        ),
        (
            "event_id = \"/meta/id\"\nts = \"/meta/at\"\nts_unit = \"s\"\ntype = \"/what\"\naccount = \"/who/id\"\n\
          target = \"/to/id\"\n[entities]\nip = \"/net/ips\"\n[attributes]\namount = \"/sum\"\nverified = \"/flags/0\"",
            vec![
                (own, "o1 1500 message u v [ip:a ip:b] [amount=4 verified=1]"),
                (
                    r#"{"meta":{"at":1},"what":"message","who":{"id":7.0},"net":{"ips":{"a":1}}}"#,
                    "wrong_type",
                ),
                (
                    r#"{"meta":{"at":1},"what":"message","who":{"id":7.0},"sum":[1]}"#,
                    "line-7 1000 message 7 - [] []",
                ),
                (r#"{"meta":{"at":1},"what":"message","who":{"id":1e17}}"#, "wrong_type"),
                (r#"{"meta":{"at":1},"what":"message","who":{"id":""}}"#, "empty"),
                (r#"{"meta":{"at":1},"what":"message","who":{"id":null}}"#, "missing_field"),
                (r#"{"meta":{"at":1},"what":["message"],"who":{"id":"u"}}"#, "wrong_type"),
            ],
        ),
        // A unit alone: the contract's own form otherwise.
        (
            "ts_unit = \"us\"",
            vec![(r#"{"ts":1999,"type":"message","account":"u"}"#, "line-7 1 message u - [] []")],
        ),
        (
            "ts_unit = \"ns\"",
            vec![(
                r#"{"ts":1999999,"type":"message","account":"u"}"#,
                "line-7 1 message u - [] []",
            )],
        ),
        // Single fields over a preset.
        (
            "preset = \"cloudevents\"\naccount = \"/data/user\"",
            vec![(
                r#"{"id":"c","type":"message","time":"1970-01-01T00:00:05Z","subject":"no","data":{"user":"yes"}}"#,
                "c 5000 message yes - [] []",
            )],
        ),
    ];
    for (mapping, table) in tables {
        check(&decoder(mapping), &table, read_event);
    }
    let bad: MappingConfig =
        toml::from_str("account = \"data.user\"\n[entities]\nip = \"ip\"").expect("TOML");
    assert_eq!(bad.check().len(), 2, "{:?}", bad.check());
    assert!(
        toml::from_str::<MappingConfig>("acount = \"/a\"").is_err(),
        "unknown keys are refused"
    );
}

/// JSON of any shape around the known names.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,8}".prop_map(Into::into),
        Just("2024-01-01T00:00:00Z".into()),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let name = prop_oneof![
            Just("ts".to_string()),
            Just("type".into()),
            Just("account".into()),
            Just("target".into()),
            Just("event_id".into()),
            Just("entities".into()),
            Just("attributes".into()),
            Just("label".into()),
            Just("confidence".into()),
            Just("device".into()),
            Just("ip".into()),
            Just("amount".into()),
            Just("country".into()),
            Just("data".into()),
            ".{0,3}",
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::vec((name, inner), 0..9)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), json in json(), cut in 0.0f64..1.5) {
        let text = json.to_string().into_bytes();
        let cut = ((text.len() as f64 * cut) as usize).min(text.len());
        for mapping in ["", "preset = \"cloudevents\"", "preset = \"osprey\""] {
            let decoder = decoder(mapping);
            for message in [bytes.as_slice(), &text, &text[..cut]] {
                let read = decoder.event(message, || "line-7".into());
                if let Ok(event) = &read {
                    prop_assert!(!event.account.is_empty() && event.account.len() <= 256);
                    prop_assert!((0..=engine::limits::TS_MS_MAX).contains(&event.ts_ms));
                    prop_assert!(event.entities.iter().all(|e| !e.key.is_empty() && e.key.len() <= 256));
                    prop_assert!(event.attributes.iter().all(|v| !v.is_infinite()));
                } else if let Err(reject) = &read {
                    let letter = DeadLetterV1::new(reject, "events", 1, message, message.len() as u64);
                    prop_assert!(serde_json::to_vec(&letter).is_ok());
                }
                if let Ok(label) = decoder.label(message) {
                    prop_assert!((0.0..=1.0).contains(&label.confidence));
                }
            }
        }
    }
}
