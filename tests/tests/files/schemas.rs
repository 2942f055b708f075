//! What goes in and comes out has the published form.

use crate::support::{Scratch, json_lines, stream};
use serde_json::{Value, json};

fn validator(s: &Scratch, name: &str) -> jsonschema::Validator {
    let schema: Value = serde_json::from_slice(&s.run(&format!("schema {name}")).good().stdout)
        .expect("it is JSON");
    jsonschema::validator_for(&schema).expect("it is a schema")
}

#[track_caller]
fn all_valid(s: &Scratch, name: &str, values: &[Value]) {
    let validator = validator(s, name);
    assert!(!values.is_empty(), "{name}: nothing to check");
    for value in values {
        if let Err(error) = validator.validate(value) {
            panic!("{name}: {error} in {value}");
        }
    }
}

#[test]
fn outputs_and_inputs_have_the_form_of_their_schemas() {
    let s = Scratch::new();
    stream().put(&s);
    s.write("dirty", [&stream().dirty()[..], &[b'x'; 100_000][..]].concat());
    // Somebody who is acted on is cleared.
    s.run("run --config conf --input dirty --labels labels --output first").good();
    let first = s.lines("first");
    let live = |a: &&Value| a["shadow"] == false && a["action"] != "observe";
    let acted = first.iter().find(live).expect("somebody is acted on");
    let at = acted["at"].as_i64().expect("a time") + 1;
    let cleared = json!({"account": acted["account"], "label": 0, "ts": at});
    s.write("labels", [&stream().labels[..], cleared.to_string().as_bytes(), b"\n"].concat());
    s.run("run --config conf --input dirty --labels labels --output a --scores-out s --dead-letters d").good();
    let actions = s.lines("a");
    for kind in ["shadow", "reversal"] {
        let found = actions.iter().any(|a| match kind {
            "shadow" => a["shadow"] == true,
            _ => a["action"] == "reverse" && a["reverses"].is_string(),
        });
        assert!(found, "no {kind} among the actions");
    }
    all_valid(&s, "action", &actions);
    all_valid(&s, "score", &s.lines("s"));
    let dead = s.lines("d");
    assert!(
        dead.iter().any(|d| d["truncated"] == true)
            && dead.iter().any(|d| d["original_hex"].is_string())
    );
    all_valid(&s, "dead-letter", &dead);
    all_valid(&s, "event", &json_lines(&stream().events));
    all_valid(&s, "label", &json_lines(&stream().labels));
    let erase = json!({"type": "erase", "account": "u1", "ts": "2026-01-31T12:00:00Z"});
    all_valid(&s, "label", &[erase]);
}

#[test]
fn a_schema_refuses_what_has_another_form() {
    let s = Scratch::new();
    for (name, value) in [
        ("action", json!({"action_id": "x"})),
        ("score", json!({"event_id": "e", "account": "u", "ts": 1, "score": "high"})),
        ("dead-letter", json!({"code": "x"})),
        ("event", json!({"ts": 1, "type": "login"})),
        ("label", json!({"account": "u1", "label": 1})),
    ] {
        assert!(!validator(&s, name).is_valid(&value), "{name} takes {value}");
    }
}

#[test]
fn every_format_is_listed() {
    let s = Scratch::new();
    let names = s.run("schema --list").good();
    let names: Vec<&str> = names.text().lines().collect();
    for wanted in ["action", "dead-letter", "event", "label", "score"] {
        assert!(names.contains(&wanted), "{wanted}");
    }
    for name in names {
        let schema: Value = serde_json::from_str(s.run(&format!("schema {name}")).good().text())
            .expect("it is JSON");
        assert!(schema["title"].is_string() && schema["properties"].is_object(), "{name}");
    }
}
