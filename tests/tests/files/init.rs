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
        s.run("init --events events --out conf").bad(2, &["exists already", "hint: ", "--force"]);
        s.run("init --events events --out conf --force").good();
    }
}

#[test]
fn placeholders_are_written_and_ignored_and_never_printed() {
    const ZERO: &str = "00000000-0000-0000-0000-000000000000";
    let (s, mut events) = (Scratch::new(), String::new());
    for i in 0..EVENTS {
        let account = i % 500;
        let device = if account % 10 < 3 { ZERO.to_owned() } else { format!("d{}", account / 2) };
        let event = json!({"event_id": i, "ts": START + i * 60_000, "type": "login", "account": format!("u{account}"),
            "entities": {"device": device}});
        let _ = writeln!(events, "{event}");
    }
    s.write("events", events);
    let said = s.run("init --events events --out conf").good().stderr;
    assert!(said.contains("look like placeholders") && !said.contains(ZERO), "{said}");
    let written = String::from_utf8(s.read("conf/detector.toml")).expect("text");
    assert!(written.contains(&format!("ignore = [\"{ZERO}\"]")), "{written}");
    assert!(written.contains("strong = true"), "the kind is judged without it: {written}");
    let said = s.run("run --config conf --input events --output a --scores-out s").good().stderr;
    assert!(said.contains("900 keys were ignored") && !said.contains(ZERO), "{said}");
    let account = s.run("run --config conf --input events --json").good().stderr;
    assert!(account.contains("\"ignored_keys\":900"), "{account}");
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

#[test]
fn events_of_another_shape_are_surveyed_and_read_as_the_contracts_own() {
    let (own, mut tracked) = (logins().events, String::new());
    for (i, line) in own.lines().enumerate() {
        let mut event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let visitor = if i % 3 == 0 { "anonymousId" } else { "userId" };
        let mut other = json!({"messageId": event["event_id"], "originalTimestamp": event["ts"], "event": event["type"],
            "context": event["entities"].take(), "properties": event["attributes"].take()});
        other[visitor] = event["account"].take();
        let _ = writeln!(tracked, "{other}");
    }
    let s = Scratch::new();
    s.write("own", &own);
    s.write("tracked", &tracked);
    s.write(
        "shape.toml",
        "[mapping]\nevent_id = \"/messageId\"\nts = \"/originalTimestamp\"\ntype = \"/event\"\naccount = [\"/userId\", \"/anonymousId\"]\n\
         entities.device = \"/context/device\"\nentities.ip = \"/context/ip\"\nattributes.success = \"/properties/success\"\n\
         attributes.country = \"/properties/country\"\nattributes.nobody_has_it = \"/properties/nothing\"\n",
    );
    s.run("init --events own --out conf").good();
    s.run("init --events tracked --mapping shape.toml --out mapped").good();
    let sections = |folder: &str| {
        let text = body(&s.read(&format!("{folder}/detector.toml")));
        let mut table: toml::Table = text.parse().expect("TOML");
        table.remove("mapping");
        table
    };
    assert_eq!(sections("conf"), sections("mapped"), "what follows from the stream is the same");
    for (conf, input, scores) in [("conf", "own", "s1"), ("mapped", "tracked", "s2")] {
        s.run(&format!("run --config {conf} --input {input} --output a --scores-out {scores}"))
            .good();
    }
    assert_eq!(s.lines("s1").len() as u64, EVENTS);
    assert!(s.read("s1") == s.read("s2"), "the same scores");

    // A preset by its name.
    let mut events = String::new();
    for line in own.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let event = json!({"id": event["event_id"], "time": event["ts"], "type": event["type"], "subject": event["account"],
            "data": {"entities": event["entities"], "attributes": event["attributes"]}});
        let _ = writeln!(events, "{event}");
    }
    s.write("cloud", &events);
    s.run("init --events cloud --mapping cloudevents --out cloudy").good();
    s.run("run --config cloudy --input cloud --output a --scores-out s3").good();
    assert!(s.read("s1") == s.read("s3"), "the same scores");

    s.run("init --events tracked --out none").bad(1, &["not one of 3,000 lines", "--mapping"]);
    for (text, why) in [
        ("mapping = 1", "mapping"),
        ("[mapping]\nts = \"no pointer\"", "not a JSON pointer"),
        ("[mapping]\nnobody = \"/x\"", "nobody"),
        ("[kinds.device]", "it has no [mapping]"),
        ("[mapping]\nts = \"/t\"\n[time]\nassume_offset = \"soon\"", "time.assume_offset"),
    ] {
        s.write("wrong.toml", text);
        s.run("init --events tracked --mapping wrong.toml --out none").bad(2, &[why]);
    }
    s.run("init --events tracked --mapping nowhere.toml --out none")
        .bad(2, &["nowhere.toml", "cloudevents, osprey"]);
}
