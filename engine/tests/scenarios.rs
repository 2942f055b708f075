//! Scenarios as tables: events on the left, what is decided on the right.
//!
//! A file of `scenarios/` is a configuration, `---`, and a table. `BLESS=1 cargo test -p engine --test scenarios`
//! rewrites the right side for review. Each scenario also runs in one batch, stopped and loaded at every
//! line, and with every event delivered twice: the right side must stay the same.

// The tables are files, so that they can be rewritten.
#![allow(clippy::disallowed_methods)]

mod support;

use engine::Options;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use support::{Message, Run, config, engine};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// `12:30`, or `3d12:30`.
fn time_ms(text: &str) -> i64 {
    let (days, clock) = text.split_once('d').unwrap_or(("0", text));
    let (hours, minutes) = clock.split_once(':').expect("HH:MM");
    let number = |text: &str| text.parse::<i64>().expect("a number");
    number(days) * DAY_MS + number(hours) * HOUR_MS + number(minutes) * MINUTE_MS
}

/// The message of a line `at who does to via`: `-` is nothing; `via` is `device:d1,ip:i1`. What is done is a
/// type of event, `bad`, `good` or `erase`. `again` delivers the event of the line with the same time,
/// account and target once more; `to` of a label is the line (from 1) whose event it names.
fn message(line: &str, number: usize, ids: &mut BTreeMap<String, (usize, String)>) -> Message {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [at, who, does, to, via] = words[..] else { panic!("five words: {line}") };
    let ts_ms = time_ms(at);
    let mut entities: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pair in via.split(',').filter(|pair| *pair != "-") {
        let (kind, key) = pair.split_once(':').expect("kind:key");
        entities.entry(kind).or_default().push(key);
    }
    let mut message = serde_json::json!({"ts": ts_ms, "account": who, "entities": entities});
    let fields = message.as_object_mut().expect("an object");
    match does {
        "bad" | "good" | "erase" => {
            if does == "erase" {
                fields.insert("type".into(), "erase".into());
            } else {
                fields.insert("label".into(), i32::from(does == "bad").into());
            }
            if to != "-" {
                fields.insert("event_id".into(), format!("line-{to}").into());
                fields.remove("account").filter(|_| who == "-");
            }
            if who != "-" {
                fields.insert("account".into(), who.into());
            }
            return Message::Label(message.to_string());
        }
        _ => {}
    }
    let what = format!("{at} {who} {to}");
    let (id, does) = match does {
        "again" => ids[&what].clone(),
        _ => (number, does.to_owned()),
    };
    ids.insert(what, (id, does.clone()));
    fields.insert("event_id".into(), format!("line-{id}").into());
    fields.insert("type".into(), does.into());
    if to != "-" {
        fields.insert("target".into(), to.into());
    }
    Message::Event(message.to_string())
}

/// What was decided since `from` bytes of actions, as the right side of a line.
fn decided(run: &Run, from: usize) -> String {
    let lines = run.output.actions[from..].split(|b| *b == b'\n').filter(|l| !l.is_empty());
    let words: Vec<String> = lines
        .map(|line| {
            let action: serde_json::Value = serde_json::from_slice(line).expect("JSON");
            let text = |name: &str| action[name].as_str().unwrap_or_default().to_string();
            let shadow = if action["shadow"] == true { "(shadow) " } else { "" };
            let mut out = format!("{shadow}{} {}", text("action"), text("account"));
            if action["reverses"].is_null() {
                let _ = write!(out, " {}", text("rule"));
            }
            if let Some(from) = action["degraded_from"].as_str() {
                let _ = write!(out, " instead of {from}");
            }
            out
        })
        .collect();
    if words.is_empty() { "-".to_owned() } else { words.join("; ") }
}

fn check(name: &str) {
    let path = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scenarios")
        .join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (toml, table) = text.split_once("---\n").expect("configuration, `---`, table");
    let config = config(toml);
    let fresh = || engine(&config, None, Options::default());
    let (mut one, mut stopped, mut twice) =
        (Run::new(fresh()), Run::new(fresh()), Run::new(fresh()));
    let mut found = format!("{toml}---\n");
    let (mut number, mut ids, mut all) = (0, BTreeMap::new(), Vec::new());
    for line in table.lines() {
        let left = line.split_once('|').map_or(line, |(left, _)| left).trim_end();
        if left.starts_with("at ") {
            let _ = writeln!(found, "{left:<46} | decision");
            continue;
        }
        number += 1;
        let message = message(left, number, &mut ids);
        let from = [&one, &stopped, &twice].map(|run| run.output.actions.len());
        one.step(std::slice::from_ref(&message));
        stopped.restart(fresh(), number as u64);
        stopped.step(std::slice::from_ref(&message));
        twice.step(std::slice::from_ref(&message));
        if matches!(message, Message::Event(_)) {
            twice.step(std::slice::from_ref(&message));
        }
        let right = decided(&one, from[0]);
        assert_eq!(right, decided(&stopped, from[1]), "E3: {name}, line {number}: {left}");
        assert_eq!(right, decided(&twice, from[2]), "E4: {name}, line {number}: {left}");
        all.push(message);
        let _ = writeln!(found, "{left:<46} | {right}");
    }
    let whole = support::run(fresh(), &all, usize::MAX);
    assert_eq!(one.output.bytes(), whole.output.bytes(), "E2: {name}");
    if found == text {
        return;
    }
    if std::env::var("BLESS").is_ok() {
        std::fs::write(&path, &found).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        return;
    }
    panic!("{} differs; this was decided:\n{found}", path.display());
}

macro_rules! scenarios {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name));
        }
    )*};
}

scenarios! {
    burst device_ring cleared allow_lists warm_up caps kill_switch redelivery late_events erased expired
    label_by_event old_labels feedback reused_ids lasting lasting_by_event
}
