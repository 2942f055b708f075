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
            shadow: action["shadow"].as_bool().unwrap(),
            degraded_from: text("degraded_from"),
            cap_hour: None,
            reverses: text("reverses"),
        });
    }
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
