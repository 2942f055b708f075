//! `init` on streams of several shapes: what it writes runs at once, and knows nothing of later times.

use crate::support::{Chance, Scratch};
use serde_json::json;
use std::fmt::Write;

const EVENTS: u64 = 3000;
const START: u64 = 1_767_225_600_000;

/// Events and labels of one shape.
struct Shape {
    name: &'static str,
    events: String,
    labels: String,
}

/// Cards at terminals; single payments are labelled a week later.
fn payments() -> Shape {
    let (mut events, mut labels, mut chance) = (String::new(), String::new(), Chance(1));
    for i in 0..EVENTS {
        let ts = START + i * 900_000;
        let customer = chance.below(150);
        let bad = customer < 6 && i > EVENTS / 3;
        let amount = (chance.below(9000) as f64 + if bad { 40_000.0 } else { 500.0 }) / 100.0;
        let terminal = chance.below(if bad { 4 } else { 60 });
        let event = json!({"event_id": format!("p{i}"), "ts": ts, "type": "payment", "account": format!("c{customer}"),
            "entities": {"terminal": format!("t{terminal}")}, "attributes": {"amount": amount}});
        let _ = writeln!(events, "{event}");
        if i % 2 == 0 || bad {
            let label = json!({"event_id": format!("p{i}"), "label": u8::from(bad), "ts": ts + 604_800_000});
            let _ = writeln!(labels, "{label}");
        }
    }
    Shape { name: "payments", events, labels }
}

/// Accounts rating accounts, day by day; no entities at all.
fn ratings() -> Shape {
    let (mut events, mut labels, mut chance) = (String::new(), String::new(), Chance(2));
    for i in 0..EVENTS {
        let ts = START + i / 10 * 86_400_000;
        let (from, to) = (chance.below(200), chance.below(200));
        let rating = if to < 8 { -10 } else { chance.below(4) as i64 };
        let event = json!({"ts": ts, "type": "rate", "account": from, "target": to, "attributes": {"rating": rating}});
        let _ = writeln!(events, "{event}");
    }
    for account in 0..20 {
        let label = json!({"account": account, "label": u8::from(account < 8), "ts": START + 20_000_000_000_u64});
        let _ = writeln!(labels, "{label}");
    }
    Shape { name: "ratings", events, labels }
}

/// Logins from devices and addresses, several a second; no labels.
fn logins() -> Shape {
    let (mut events, mut chance) = (String::new(), Chance(3));
    for i in 0..EVENTS {
        let account = chance.below(400);
        let device = if account < 20 { account / 10 } else { account };
        let country = ["NL", "DE", "FR"][chance.below(3) as usize];
        let event = json!({"event_id": i, "ts": START + i * 700, "type": "login", "account": format!("u{account}"),
            "entities": {"device": format!("d{device}"), "ip": format!("10.0.{}.{}", account % 7, chance.below(20))},
            "attributes": {"success": chance.below(10) > 0, "country": country}});
        let _ = writeln!(events, "{event}");
    }
    Shape { name: "logins", events, labels: String::new() }
}

#[test]
fn what_init_writes_for_any_shape_runs_at_once() {
    for shape in [payments(), ratings(), logins()] {
        let s = Scratch::new();
        s.write("events", &shape.events);
        let mut labels = "";
        if !shape.labels.is_empty() {
            s.write("labels", &shape.labels);
            labels = "--labels labels";
        }
        s.run(&format!("init --events events {labels} --out conf")).good();
        s.run(&format!("init --events events {labels} --out again")).good();
        assert!(
            s.read("conf/detector.toml") == s.read("again/detector.toml"),
            "{}: not the same twice",
            shape.name
        );
        s.run("check --config conf").good();
        s.run(&format!("run --config conf --input events {labels} --output a --scores-out s"))
            .good();
        let scores = s.lines("s");
        assert_eq!(scores.len() as u64, EVENTS, "{}", shape.name);
        assert!(
            scores.iter().all(|s| s["score"].as_f64().is_some_and(|p| (0.0..=1.0).contains(&p)))
        );
        let first = &scores[0]["score"];
        assert!(
            scores.iter().any(|s| s["score"] != *first),
            "{}: all scores are the same",
            shape.name
        );
        s.run("init --events events --out conf").bad(1, &["exists already", "hint: ", "--force"]);
        s.run("init --events events --out conf --force").good();
    }
}

/// Everything but the comments at the top.
fn body(text: &[u8]) -> String {
    let text = std::str::from_utf8(text).expect("a configuration is text");
    text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_after_until_has_any_influence() {
    for shape in [payments(), ratings(), logins()] {
        let s = Scratch::new();
        let last = |text: &str| {
            let line = text.lines().last()?;
            serde_json::from_str::<serde_json::Value>(line).ok()?["ts"].as_u64()
        };
        let until = last(&shape.events).max(last(&shape.labels)).expect("a time");
        s.write("events", &shape.events);
        s.write("labels", &shape.labels);
        // Later: other types, kinds, attributes, accounts; and labels that turn everything round.
        let (mut events, mut labels) = (shape.events.clone(), shape.labels.clone());
        for i in 0..2000 {
            let event = json!({"ts": until + 1 + i * 1000, "type": format!("new{}", i % 9), "account": format!("n{}", i % 50),
                "entities": {"planet": format!("p{}", i % 3), "terminal": "t0", "device": "d0"},
                "attributes": {"amount": 1e6, "rating": i, "mass": i}});
            let label = json!({"account": format!("n{}", i % 50), "label": i % 2, "ts": until + 1 + i * 1000});
            let _ = (writeln!(events, "{event}"), writeln!(labels, "{label}"));
        }
        s.write("events2", events);
        s.write("labels2", labels);
        let labels = |n: &str| {
            if shape.labels.is_empty() { String::new() } else { format!("--labels labels{n}") }
        };
        s.run(&format!("init --events events {} --out all", labels(""))).good();
        s.run(&format!("init --events events {} --out before --until {until}", labels(""))).good();
        s.run(&format!("init --events events2 {} --out cut --until {until}", labels("2"))).good();
        s.run(&format!("init --events events2 {} --out later", labels("2"))).good();
        let read = |name: &str| s.read(&format!("{name}/detector.toml"));
        assert!(read("before") == read("cut"), "{}: what came later shows", shape.name);
        assert_eq!(body(&read("all")), body(&read("cut")), "{}", shape.name);
        assert_ne!(
            body(&read("all")),
            body(&read("later")),
            "{}: what came later would have shown",
            shape.name
        );
    }
}
