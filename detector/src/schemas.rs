//! JSON Schemas of the formats that leave and enter, made from the types that read and write them.

use engine::wire::{ActionV1, DeadLetterV1};
use schemars::{JsonSchema, Schema, schema_for};
use std::collections::BTreeMap;

/// A moment: epoch milliseconds, or RFC 3339.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum Moment {
    /// Milliseconds since 1970; 0 is a moment, not "never".
    Milliseconds(u64),
    /// As in 2026-01-31T12:00:00Z, or the milliseconds as text.
    Text(String),
}

/// What a label says.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum Says {
    /// 1 bad, 0 good.
    Number(u8),
    /// true bad, false good.
    Truth(bool),
    /// `1`, `true`, `yes`, `bad`, `fraud`; or `0`, `false`, `no`, `good`, `legit`.
    Text(String),
}

/// One key, or several.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum Keys {
    /// One key.
    One(String),
    /// Several keys.
    Several(Vec<String>),
}

/// The value of an attribute.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum Value {
    /// A number.
    Number(f64),
    /// true or false.
    Boolean(bool),
    /// Text: a category, or a number spelled out.
    Text(String),
    /// Absent.
    Null(()),
}

/// Something an account did. Unknown fields are ignored.
#[derive(JsonSchema)]
#[schemars(rename = "Event")]
#[allow(dead_code)]
struct EventForm {
    /// Id of the event; topic-partition-offset by default.
    event_id: Option<String>,
    /// When it happened.
    ts: Moment,
    /// What happened.
    r#type: String,
    /// Who did it.
    account: String,
    /// The other account acted upon.
    target: Option<String>,
    /// The things that link accounts: kind -> key or keys.
    #[serde(default)]
    entities: BTreeMap<String, Keys>,
    /// Numbers, booleans or texts about this event.
    #[serde(default)]
    attributes: BTreeMap<String, Value>,
}

/// What became known about an account or an event, or the order to erase an account. Unknown fields are ignored.
#[derive(JsonSchema)]
#[schemars(rename = "Label")]
#[allow(dead_code)]
struct LabelForm {
    /// The account; optional when `event_id` is given.
    account: Option<String>,
    /// The event; optional when `account` is given.
    event_id: Option<String>,
    /// Bad or good; absent for an erasure.
    label: Option<Says>,
    /// When it became known.
    ts: Moment,
    /// Who says so.
    source: Option<String>,
    /// How sure, 0 to 1; 1 by default.
    confidence: Option<f64>,
    /// What the label also speaks of.
    #[serde(default)]
    entities: BTreeMap<String, Keys>,
    /// `erase`: the account is to be erased.
    r#type: Option<String>,
}

/// The score of one event.
#[derive(JsonSchema)]
#[schemars(rename = "Score")]
#[allow(dead_code)]
struct ScoreForm {
    /// The event.
    event_id: String,
    /// Who did it.
    account: String,
    /// When, epoch milliseconds.
    ts: u64,
    /// The combined score, 0 to 1.
    score: f64,
}

/// All formats by name.
pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        ("action", schema_for!(ActionV1)),
        ("dead-letter", schema_for!(DeadLetterV1<'static>)),
        ("event", schema_for!(EventForm)),
        ("label", schema_for!(LabelForm)),
        ("score", schema_for!(ScoreForm)),
    ]
}

#[cfg(test)]
mod tests {
    /// `BLESS=1` rewrites the files.
    #[test]
    fn the_files_in_docs_are_what_the_types_say() {
        for (name, schema) in super::all() {
            let file = format!("{}/../docs/schemas/{name}.json", env!("CARGO_MANIFEST_DIR"));
            let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            if std::env::var_os("BLESS").is_some() {
                std::fs::create_dir_all(format!("{}/../docs/schemas", env!("CARGO_MANIFEST_DIR")))
                    .unwrap();
                std::fs::write(&file, &text).unwrap();
            }
            let found = std::fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(
                found, text,
                "docs/schemas/{name}.json is out of date: BLESS=1 cargo test -p detector schemas"
            );
        }
    }
}
