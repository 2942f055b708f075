//! `docs/configuration.md` against the code: every key with its type, default and choices, and every example.
//!
//! What the code knows is asked of the code: which keys a table has and which choices a key has, from what the
//! reader says of a wrong one; defaults, by writing out a table that was read empty.

use detector::kafka::config::KafkaSection;
use detector::store::redis::RedisSection;
use engine::config::Config;
use engine::{Engine, Options};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

const DOC: &str = include_str!("../../docs/configuration.md");
/// No key and no choice is called so.
const NOTHING: &str = "zzz_there_is_no_such_thing";

/// A documented table: its header as it stands in the file, and its rows.
struct Section {
    header: String,
    rows: Vec<Row>,
}

struct Row {
    key: String,
    kind: String,
    default: String,
}

/// The sections of the edges, which the engine knows nothing of.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Edges {
    kafka: KafkaSection,
    redis: RedisSection,
}

const EDGES: [&str; 2] = ["kafka", "redis"];

impl Section {
    /// The header with an entry's name in place of `NAME` or `ROLE`.
    fn opened(&self) -> String {
        self.header.replace("NAME", "some").replace("ROLE", "account")
    }

    /// The file's top-level key.
    fn root(&self) -> &str {
        self.header.trim_matches(['[', ']']).split('.').next().unwrap_or_default()
    }

    fn row(&self, key: &str) -> &Row {
        let found = self.rows.iter().find(|row| row.key == key);
        found.unwrap_or_else(|| panic!("{} {key} is not documented", self.header))
    }

    /// The reader's complaint about this section with `line` in it.
    fn complaint(&self, line: &str) -> String {
        let text = format!("{}\n{line}\n", self.opened());
        let read = if EDGES.contains(&self.root()) {
            toml::from_str::<Edges>(&text).map(drop)
        } else {
            toml::from_str::<Config>(&text).map(drop)
        };
        read.map_or_else(|error| error.message().to_owned(), |()| String::new())
    }

    /// The section as it is when nothing is set. Absent keys are those without a default.
    fn defaults(&self) -> Table {
        let written = if EDGES.contains(&self.root()) {
            Value::try_from(Edges::default())
        } else {
            let config: Config = toml::from_str(&self.opened()).expect("an empty section is read");
            Value::try_from(&config)
        };
        let mut value = written.expect("a configuration can be written");
        for key in self.header.trim_matches(['[', ']']).split('.') {
            let key = key.replace("NAME", "some").replace("ROLE", "account");
            value = value.get(&key).cloned().unwrap_or_else(|| Value::Table(Table::new()));
        }
        if let Value::Array(entries) = &value {
            value = entries.first().cloned().expect("the entry that was read");
        }
        value.as_table().cloned().expect("a section is a table")
    }
}

/// Everything in backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(|t| t.trim_matches('"').to_owned()).collect()
}

/// The sections of the page: headings that are a table's header, and the rows of the first table below.
fn sections() -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut in_section = false;
    for line in DOC.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            in_section = heading.starts_with("`[");
            if in_section {
                let header = heading.trim_matches('`').to_owned();
                sections.push(Section { header, rows: Vec::new() });
            }
        } else if in_section && line.starts_with("| `") {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            assert_eq!(cells.len(), 4, "key, type, default, meaning: {line}");
            assert!(cells[3].len() > 10, "a meaning: {line}");
            let row = Row {
                key: cells[0].trim_matches('`').to_owned(),
                kind: cells[1].to_owned(),
                default: cells[2].trim_matches('`').to_owned(),
            };
            sections.last_mut().expect("in a section").rows.push(row);
        }
    }
    // The table of presets names no keys.
    sections.retain_mut(|section| {
        section.rows.retain(|row| !row.key.starts_with('/'));
        true
    });
    assert!(sections.len() > 10, "the page was read");
    sections
}

/// The names that the reader would have taken.
fn expected(complaint: &str) -> BTreeSet<String> {
    let (_, list) = complaint.split_once("expected").unwrap_or_else(|| panic!("{complaint}"));
    quoted(list)
}

#[test]
fn every_section_is_documented() {
    let complaint = toml::from_str::<Config>(&format!("{NOTHING} = 1")).unwrap_err();
    let documented: BTreeSet<String> = sections().iter().map(|s| s.root().to_owned()).collect();
    let known: BTreeSet<String> =
        expected(complaint.message()).into_iter().chain(EDGES.map(str::to_owned)).collect();
    assert_eq!(documented, known);
}

#[test]
fn every_key_is_documented() {
    for section in sections() {
        let documented: BTreeSet<String> = section.rows.iter().map(|r| r.key.clone()).collect();
        let known = expected(&section.complaint(&format!("{NOTHING} = 1")));
        assert_eq!(documented, known, "{}: documented keys, and the code's", section.header);
        assert_eq!(documented.len(), section.rows.len(), "{}: a key twice", section.header);
    }
}

#[test]
fn every_default_is_the_codes() {
    for section in sections() {
        let defaults = section.defaults();
        for row in &section.rows {
            let place = format!("{} {}", section.header, row.key);
            let Some(real) = defaults.get(&row.key) else {
                assert_eq!(row.default, "none", "{place}: it has no default");
                continue;
            };
            let written: Table = format!("x = {}", row.default)
                .parse()
                .unwrap_or_else(|e| panic!("{place}: {} is no TOML: {e}", row.default));
            assert!(
                same(&written["x"], real),
                "{place}: documented {}, in the code {real}",
                row.default
            );
        }
        for key in defaults.keys() {
            section.row(key);
        }
    }
}

/// Equal, in the 32 bits of the code's numbers.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => *a as f32 == *b as f32,
        (a, b) => a == b,
    }
}

#[test]
fn every_type_is_the_codes() {
    for section in sections() {
        let defaults = section.defaults();
        for row in &section.rows {
            let place = format!("{} {}: {}", section.header, row.key, row.kind);
            let complaint = section.complaint(&format!("{} = \"{NOTHING}\"", row.key));
            let is_choice = complaint.starts_with("unknown variant");
            assert_eq!(row.kind.starts_with("one of"), is_choice, "{place}: {complaint}");
            if is_choice {
                assert_eq!(quoted(&row.kind), expected(&complaint), "{place}");
            }
            let fits = match defaults.get(&row.key) {
                None => true,
                Some(Value::String(text)) => match row.kind.as_str() {
                    "duration" => features::duration::parse_ms(text).is_ok(),
                    "size" => features::byte_size::parse_bytes(text).is_ok(),
                    "offset" => features::duration::parse_offset_ms(text).is_ok(),
                    "text" | "condition" => true,
                    kind => kind.starts_with("one of"),
                },
                Some(Value::Integer(_)) => row.kind == "whole number",
                Some(Value::Float(_)) => row.kind == "number",
                Some(Value::Boolean(_)) => row.kind == "true or false",
                Some(Value::Array(_)) => row.kind.starts_with("list of"),
                Some(Value::Table(_)) => row.kind.starts_with("table of"),
                Some(Value::Datetime(_)) => false,
            };
            assert!(fits, "{place}, but the default is {:?}", defaults.get(&row.key));
        }
    }
}

/// Blocks of code: language and text.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let parts: Vec<&str> = DOC.split("```").collect();
    let blocks: Vec<_> =
        parts.iter().skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect();
    assert!(blocks.len() > 10, "the examples were read");
    blocks
}

#[test]
fn every_example_works() {
    let env: BTreeMap<String, String> = [
        ("DETECTOR_PRIVACY_KEY".to_owned(), "a secret of 16 bytes".to_owned()),
        ("DETECTOR_HTTP_TOKEN".to_owned(), "0123456789abcdef".to_owned()),
        ("DETECTOR_MODERATORS_TOKEN".to_owned(), "fedcba9876543210".to_owned()),
        ("KAFKA_PASSWORD".to_owned(), "secret".to_owned()),
        ("REDIS_PASSWORD".to_owned(), "secret".to_owned()),
    ]
    .into();
    let mut last: Option<Engine> = None;
    let mut mapped = 0;
    for (language, text) in blocks() {
        match language {
            "toml" => {
                let config = detector::config::parse(text, &env)
                    .unwrap_or_else(|problems| panic!("{text}\n{}", problems.join("\n")));
                let engine = Engine::new(config, None, Options::default());
                last = Some(engine.unwrap_or_else(|p| panic!("{text}\n{}", p.join("\n"))));
            }
            "json" => {
                let engine = last.as_ref().expect("a configuration stands before its message");
                let event = engine.decoder().event(text.trim().as_bytes(), || unreachable!());
                let event = event.unwrap_or_else(|reject| panic!("{text}\n{reject:?}"));
                let key = &event.entities[0].key;
                assert_eq!((&*event.event_id, &*event.account), ("e-81", "u42"), "{text}");
                assert_eq!(event.target.as_deref(), Some("u77"), "{text}");
                assert_eq!(event.ts_ms, 1_522_538_431_000, "{text}");
                assert_eq!(
                    engine.schema().type_name(event.type_id),
                    engine.schema().types().first().map(String::as_str)
                );
                assert!(key == "d9" || key == "203.0.113.7", "{text}");
                assert_eq!(&event.attributes[..], &[12.0], "{text}");
                mapped += 1;
            }
            other => panic!("a block of `{other}` is not checked"),
        }
    }
    assert_eq!(mapped, 3, "one by pointers, and one for each preset that is not our own form");
}

#[test]
fn built_in_thresholds_are_as_documented() {
    for (name, value) in engine::policy::THRESHOLDS_BUILT_IN {
        assert!(DOC.contains(&format!("`threshold.{name}` {value}")), "threshold.{name} {value}");
    }
    let engine = Engine::new(Config::default(), None, Options::default()).expect("defaults work");
    assert_eq!(engine.versions().model, "labelfree");
}

#[test]
fn the_environment_overrides_as_documented() {
    let env = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let documented = env(&[
        ("DETECTOR__GRAPH__LINKS_PER_ACCOUNT_MAX", "512"),
        ("DETECTOR__KINDS__IP__TTL", "3d"),
        ("DETECTOR__PRIVACY__KEY", "1234567890123456"),
        ("DETECTOR__RULES", "[]"),
    ]);
    for (name, value) in &documented {
        assert!(
            DOC.contains(&format!("{name}={value}")) || DOC.contains(&format!("{name}='{value}'")),
            "{name}={value} is on the page"
        );
    }
    let text =
        "[graph]\nlinks_per_account_max = 7\n[[rules]]\nname = \"x\"\nwhen = \"score > 1\"\n";
    let config = detector::config::parse(text, &documented).expect("all are taken");
    assert_eq!(config.graph.links_per_account_max, 512);
    assert_eq!(config.kinds["ip"].ttl, "3d");
    assert_eq!(config.privacy.key.as_deref(), Some("1234567890123456"));
    assert!(config.rules.is_empty());
}
