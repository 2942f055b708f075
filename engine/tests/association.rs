//! Joe-jobs through the engine: what becomes known of newcomers is not held against earlier members, in the
//! graph's columns, in the label counts of profiles, and in what an action says.

mod support;

use engine::effects::Effects;
use engine::{Engine, Input, Options, Wanted};
use serde_json::json;
use std::collections::BTreeMap;
use support::{Message, Run, config, engine};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const NEWCOMERS: i64 = 8;

/// Every block and every mean that labels can feed.
const ALL: &str = r#"
[events]
types = ["message"]
[kinds.device]
strong = true
[kinds.ip]
[kinds.content]
strong = true
copyable = true
[profiles.account]
neighbours = ["account.labels.rate.14d", "target.labels.bad"]
[profiles.target]
neighbours = ["account.labels.rate.14d"]
[profiles.device]
neighbours = ["account.labels.bad"]
[profiles.content]
neighbours = ["account.labels.streak_s"]
[[rules]]
name = "any"
when = "account.events >= 1"
action = "review"
expires = "1h"
[policy]
cooldown = "1h"
"#;

fn event(id: &str, at_ms: i64, account: &str, target: &str) -> Message {
    let things = json!({"device": "d1", "ip": "i1", "content": "c1"});
    let event = json!({"event_id": id, "ts": at_ms, "type": "message", "account": account,
        "target": target, "entities": things});
    Message::Event(event.to_string())
}

/// Others who do something every two hours, so that the stream's time is what many say.
fn bystanders(from_ms: i64, to_ms: i64) -> Vec<(i64, Message)> {
    let of = |n: i64| {
        let at_ms = from_ms + n * 2 * HOUR_MS;
        let who = format!("by{}", n % 12);
        let event = json!({"event_id": format!("b{n}"), "ts": at_ms, "type": "message",
            "account": who, "entities": {"device": format!("d-{who}")}});
        (at_ms, Message::Event(event.to_string()))
    };
    (0..).map(of).take_while(|(at_ms, _)| *at_ms < to_ms).collect()
}

fn label(at_ms: i64, account: &str, event_id: &str, bad: bool) -> Message {
    let label =
        json!({"account": account, "event_id": event_id, "label": u8::from(bad), "ts": at_ms});
    Message::Label(label.to_string())
}

/// The victim uses its things from `victim` on, the newcomers from `newcomers` on, and are labelled one event each; they
/// also write to the victim and its friend. Ends with an event of the victim.
fn story(victim_ms: i64, newcomers_ms: i64, bad: bool) -> Vec<Message> {
    let after = newcomers_ms.max(victim_ms) + 5 * HOUR_MS;
    let mut messages = bystanders(victim_ms.min(newcomers_ms) - DAY_MS / 2 + 1, after);
    let uses = |messages: &mut Vec<(i64, Message)>, at: i64, n: usize| {
        messages.push((at, event(&format!("v{n}"), at, "victim", "friend")));
    };
    uses(&mut messages, victim_ms, 0);
    for n in 0..NEWCOMERS {
        let (at, who) = (newcomers_ms + n * 60_000, format!("new{n}"));
        for (m, to) in ["friend", "victim"].into_iter().enumerate() {
            let at = at + m as i64;
            messages.push((at, event(&format!("n{n}-{m}"), at, &who, to)));
        }
        messages.push((at + HOUR_MS, label(at + HOUR_MS, &who, &format!("n{n}-0"), bad)));
        messages.push((at + HOUR_MS + 1, label(at + HOUR_MS + 1, &who, &format!("n{n}-1"), bad)));
        // Afterwards they act once more, so that those they meet take note of their labels.
        let again = at + 2 * HOUR_MS;
        messages.push((again, event(&format!("n{n}-2"), again, &who, "friend")));
    }
    // The victim answers one of those who wrote to it.
    messages.push((after, event("answer", after, "victim", "new3")));
    uses(&mut messages, after + 60_000, 1);
    messages.sort_by_key(|(at, _)| *at);
    messages.into_iter().map(|(_, message)| message).collect()
}

fn inputs(engine: &Engine, messages: &[Message]) -> Vec<Input> {
    let decoder = engine.decoder();
    let read = |message: &Message| match message {
        Message::Event(text) => {
            let event = decoder.event(text.as_bytes(), Default::default).unwrap();
            Input::Event(event, engine::effects::SourceRef::default())
        }
        Message::Label(text) => Input::Label(decoder.label(text.as_bytes()).unwrap()),
    };
    messages.iter().map(read).collect()
}

/// The rows of the victim's last `n` events.
fn rows(
    toml: &str,
    options: Options,
    messages: &[Message],
    n: usize,
) -> Vec<BTreeMap<String, f32>> {
    let mut engine = Engine::new(config(toml), None, options).unwrap();
    engine.want(Wanted { rows: true, state_only: true, ..Wanted::default() });
    let mut effects = Effects::default();
    let inputs = inputs(&engine, messages);
    engine.step(inputs, &mut effects);
    engine.finish(&mut effects);
    let names = engine.columns();
    let rows: Vec<&[f32]> = effects.row_values.chunks_exact(names.len()).collect();
    let named = |row: &&[f32]| names.iter().cloned().zip(row.iter().copied()).collect();
    rows[rows.len() - n..].iter().map(named).collect()
}

/// Columns about others' labels that say more when the newcomers are labelled bad than when they are labelled good.
fn raised(toml: &str, options: Options, victim_ms: i64, newcomers_ms: i64) -> Vec<String> {
    let of = |bad| rows(toml, options, &story(victim_ms, newcomers_ms, bad), 2);
    let mut raised = Vec::new();
    for (guilty, innocent) in of(true).iter().zip(of(false)) {
        for (name, value) in guilty {
            let known =
                value.is_finite() && (!innocent[name].is_finite() || *value > innocent[name]);
            if known && !raised.contains(name) {
                raised.push(name.clone());
            }
        }
    }
    raised.sort();
    raised
}

#[test]
fn labels_of_newcomers_raise_no_column_of_who_was_first() {
    for strict_ties in [false, true] {
        let options = Options { strict_ties, ..Options::default() };
        assert_eq!(raised(ALL, options, DAY_MS, 60 * DAY_MS), [""; 0], "strict ties {strict_ties}");
    }
}

#[test]
fn labels_of_those_who_were_there_before_raise_them() {
    let raised = raised(ALL, Options::default(), 62 * DAY_MS, 60 * DAY_MS);
    for name in [
        "device.labels.bad",
        "device.labels.bad.14d",
        "device.labels.rate.14d",
        "device.met.account.labels.bad.mean",
        "graph.device.bad_rate",
        "graph.content.bad_rate",
        "graph.bad_rate.max_strong",
        "graph.bad_rate.mean",
        "graph.component.bad_fraction",
        "graph.co_share.bad",
        "graph.suspicion",
    ] {
        assert!(raised.contains(&name.to_owned()), "{name} is not among {raised:#?}");
    }
    // What anybody can use, and what is done to an account unasked, is in none of them by itself.
    for part in ["ip.labels", "content.labels", "received.labels", "received.met", "content.met"] {
        assert!(!raised.iter().any(|name| name.starts_with(part)), "{part} in {raised:#?}");
    }
}

/// Where labels speak of events, a thing is judged by what happened through it, in any order of arrival.
#[test]
fn labels_of_events_raise_the_columns_of_things() {
    let toml = format!("{ALL}[labels]\nunit = \"event\"\n");
    let raised = raised(&toml, Options::default(), DAY_MS, 60 * DAY_MS);
    for name in ["device.labels.rate.14d", "ip.labels.bad", "received.labels.bad"] {
        assert!(raised.contains(&name.to_owned()), "{name} is not among {raised:#?}");
    }
    assert!(!raised.iter().any(|name| name.starts_with("graph.")), "{raised:#?}");
}

/// An event that is too late counts as no older than `time.lateness_max`, so it cannot claim to have been first.
#[test]
fn newcomers_that_claim_to_be_old_are_newcomers() {
    let claim = |at_ms: i64| {
        let mut messages = vec![event("v0", DAY_MS, "victim", "friend")];
        messages
            .extend(bystanders(DAY_MS + 1, 60 * DAY_MS).into_iter().map(|(_, message)| message));
        messages.push(event("clock", 60 * DAY_MS, "friend", "victim"));
        for n in 0..NEWCOMERS {
            let who = format!("new{n}");
            messages.push(event(&format!("n{n}"), at_ms + n, &who, "friend"));
            messages.push(label(60 * DAY_MS + n, &who, &format!("n{n}"), true));
        }
        messages.push(event("v1", 60 * DAY_MS + HOUR_MS, "victim", "friend"));
        rows(ALL, Options::default(), &messages, 1).remove(0)
    };
    let (honest, backdated) = (claim(60 * DAY_MS), claim(HOUR_MS));
    for name in ["graph.suspicion", "graph.device.bad_rate", "graph.component.bad_fraction"] {
        assert_eq!(honest[name], backdated[name], "{name}");
    }
    assert_eq!(backdated["graph.component.bad_fraction"], 0.0);
}

#[test]
fn an_action_says_who_joined_whom() {
    for (victim_day, first, joined_bad) in [(1, true, 0), (62, false, NEWCOMERS)] {
        let mut run = Run::new(engine(&config(ALL), None, Options::default()));
        run.step(&story(victim_day * DAY_MS, 60 * DAY_MS, true));
        run.finish();
        let actions = run.output.actions();
        let last = actions.iter().rfind(|action| action["account"] == "victim").unwrap();
        let evidence = &last["evidence"];
        assert_eq!(evidence["ring_size"], NEWCOMERS + 1, "{evidence:#}");
        assert_eq!(evidence["known_bad"], NEWCOMERS, "{evidence:#}");
        assert_eq!(evidence["joined_bad"], joined_bad, "{evidence:#}");
        let device = evidence["via"].as_array().unwrap().iter().find(|via| via["kind"] == "device");
        let device = device.unwrap();
        assert_eq!((&device["first"], &device["accounts"]), (&json!(first), &json!(NEWCOMERS + 1)));
        assert_eq!(device["since_h"].as_f64().unwrap() > 24.0, first, "{evidence:#}");
    }
}
