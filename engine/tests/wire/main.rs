//! Good and bad messages: what they are read as, and the code they are refused with.

mod events;
mod keys;
mod labels;
mod shapes;
#[path = "../support/mod.rs"]
mod support;

use events::PLAIN;

use engine::wire::{DeadLetterV1, Decoder, Fault, Faults, Field, MappingConfig, Vocabulary};
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

/// What was counted: `field reason`.
fn faults_of(decoder: &Decoder, faults: &Faults) -> Vec<String> {
    let name =
        |field: Field, fault: Fault| format!("{} {}", field.name(decoder.words()), fault.as_str());
    faults.iter().map(|(field, fault, _)| name(field, fault)).collect()
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
fn messages_have_a_greatest_size() {
    let decoder = decoder("");
    let mut large = br#"{"ts":5,"type":"message","account":"u"}"#.to_vec();
    large.resize(engine::limits::MESSAGE_BYTES_MAX, b' ');
    assert_eq!(read_event(&decoder, &large), PLAIN);
    large.push(b' ');
    assert_eq!(read_event(&decoder, &large), "too_large");
    let not_utf8 = |message: &[u8]| read_event(&decoder, message);
    assert_eq!(not_utf8(b"{\"ts\":5,\"type\":\"message\",\"account\":\"\xff\"}"), "bad_text");
    assert_eq!(
        not_utf8(b"{\"ts\":5,\"type\":\"message\",\"account\":\"u\",\"bio\":\"\xff\"}"),
        PLAIN
    );
    assert_eq!(not_utf8(b"\xfe\xff{}"), "not_utf8");
}

#[test]
fn deep_nesting_neither_panics_nor_recurses() {
    for mapping in ["", "account = [\"/data/user\", \"/account\"]"] {
        let decoder = decoder(mapping);
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for depth in [100, 200_000] {
                let inner = if open == "[" { "" } else { "1" };
                let deep = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
                let message = format!(
                    "{{\"ts\":5,\"type\":\"message\",\"account\":\"u\",\"unknown\":{deep}}}"
                );
                let read = read_event(&decoder, message.as_bytes());
                // What nobody reads may be as deep as it likes.
                let short = message.len() <= engine::limits::MESSAGE_BYTES_MAX;
                assert_eq!(read, if short { PLAIN } else { "too_large" });
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
