//! A silent replay decides nothing: what was really published is put back, once, and the state is that of a run that was never silent.

mod support;

use engine::{Engine, Options, PublishedAction, Wanted};
use support::{Message, Run, config, engine};

const CONFIG: &str = r#"
[events]
types = ["message"]
[[counters]]
name = "events"
windows = ["10m"]
[[rules]]
name = "burst"
when = "account.events.in_10m >= 3"
action = "suspend"
"#;

/// Every message leads to a harder action.
const GRADED: &str = r#"
[events]
types = ["message"]
[[counters]]
name = "events"
windows = ["10m"]
[[rules]]
name = "ban"
when = "account.events.in_10m >= 4"
action = "ban"
[[rules]]
name = "suspend"
when = "account.events.in_10m >= 3"
action = "suspend"
expires = "7d"
[[rules]]
name = "review"
when = "account.events.in_10m >= 2"
action = "review"
[[rules]]
name = "limit"
when = "account.events.in_10m >= 1"
action = "rate_limit"
"#;

fn fresh() -> Engine {
    engine(&config(CONFIG), None, Options::default())
}

fn message(minute: i64) -> Message {
    let ts = 1_000_000_000 + minute * 60_000;
    Message::Event(format!(
        r#"{{"event_id":"e{minute}","ts":{ts},"type":"message","account":"ann"}}"#
    ))
}

fn cleared(minute: i64) -> Message {
    let ts = 1_000_000_000 + minute * 60_000;
    Message::Label(format!(r#"{{"account":"ann","label":0,"ts":{ts}}}"#))
}

/// Puts back what a run has published from its action number `from` on.
fn put_back(engine: &mut Engine, run: &Run, from: usize) {
    for action in run.output.actions().iter().skip(from) {
        let text = |name: &str| action[name].as_str();
        engine.apply_published(&PublishedAction {
            account: text("account").unwrap(),
            action: text("action").unwrap(),
            rule: text("rule").unwrap(),
            at_ms: action["at"].as_i64().unwrap(),
            expires_at_ms: action["expires_at"].as_i64(),
            action_id: text("action_id").unwrap(),
            event_id: action["event"]["id"].as_str().unwrap(),
            shadow: action["shadow"].as_bool().unwrap(),
            degraded_from: text("degraded_from"),
            cap_hour: None,
            reverses: text("reverses"),
        });
    }
}

#[test]
fn clearing_undoes_each_lasting_action_once_also_after_a_silent_replay() {
    let stream = [message(0), message(1), message(2), message(3), cleared(4), cleared(5)];
    let fresh = || engine(&config(GRADED), None, Options::default());
    for cut in 0..=stream.len() {
        let mut loud = Run::new(fresh());
        loud.step(&stream);
        let actions = loud.output.actions();
        let text = |of: &serde_json::Value, name: &str| of[name].as_str().unwrap_or("").to_owned();
        let id_of = |kind: &str| {
            let of_kind = actions.iter().find(|action| text(action, "action") == kind);
            text(of_kind.unwrap(), "action_id")
        };
        let undone: Vec<_> = actions.iter().filter(|a| text(a, "action") == "reverse").collect();
        let reverses: Vec<String> = undone.iter().map(|undo| text(undo, "reverses")).collect();
        assert_eq!(reverses, [id_of("ban"), id_of("suspend"), id_of("rate_limit")]);
        let ids: std::collections::BTreeSet<_> =
            actions.iter().map(|action| text(action, "action_id")).collect();
        assert_eq!(ids.len(), actions.len(), "every action has an id that no other has");
        assert_eq!(loud.engine.counts().reversals, 3);

        let mut other = Run::new(fresh());
        other.step(&stream[..cut]);
        let decided = other.output.actions().len();
        other.engine.want(Wanted { state_only: true, ..Wanted::default() });
        other.step(&stream[cut..]);
        put_back(&mut other.engine, &loud, decided);
        assert_eq!(other.engine.counts(), loud.engine.counts(), "cut at {cut}");
        loud.save();
        other.save();
        assert_eq!(other.records, loud.records, "cut at {cut}");

        // Nothing is left in force.
        let explained = other.engine.explain("ann").unwrap();
        assert!(explained.in_force.is_empty() && explained.last_action.is_none());
    }
    let mut half = Run::new(fresh());
    let mut loud = Run::new(fresh());
    loud.step(&stream[..4]);
    half.engine.want(Wanted { state_only: true, ..Wanted::default() });
    half.step(&stream[..4]);
    put_back(&mut half.engine, &loud, 0);
    half.engine.want(Wanted::default());
    let in_force = half.engine.explain("ann").unwrap().in_force;
    let kinds: Vec<&str> = in_force.iter().map(|taken| taken.action.as_ref()).collect();
    assert_eq!(kinds, ["ban", "suspend", "rate_limit"]);
    half.step(&stream[4..]);
    loud.step(&stream[4..]);
    let undone = loud.output.actions().split_off(4);
    assert_eq!((undone.len(), half.output.actions()), (3, undone));
}

#[test]
fn a_label_that_clears_is_no_decision_in_silence() {
    let stream = [message(0), message(1), message(2), cleared(6), message(7), cleared(9)];
    for cut in 0..=stream.len() {
        let mut loud = Run::new(fresh());
        loud.step(&stream);
        assert_eq!(loud.engine.counts().actions, 1);
        assert_eq!(loud.engine.counts().reversals, 1);

        let mut other = Run::new(fresh());
        other.step(&stream[..cut]);
        let decided = other.output.actions().len();
        other.engine.want(Wanted { state_only: true, ..Wanted::default() });
        other.step(&stream[cut..]);
        assert_eq!(other.output.actions().len(), decided, "cut at {cut}: nothing is decided");
        put_back(&mut other.engine, &loud, decided);

        assert_eq!(other.engine.counts(), loud.engine.counts(), "cut at {cut}");
        loud.save();
        other.save();
        assert_eq!(other.records, loud.records, "cut at {cut}");
    }
}
