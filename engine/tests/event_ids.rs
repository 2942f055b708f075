//! An event is recognised by account, id and content: repeated ids hide nothing, and what is delivered again counts once.

mod support;

use compact_str::CompactString;
use engine::effects::{Effects, SourceRef};
use engine::{Engine, Input, Options};
use features::event::Event;
use std::collections::{BTreeMap, BTreeSet};
use support::{Message, Records, Run, config, engine};

/// Five messages in ten minutes are too many; a device of a bad event is bad.
const CONFIG: &str = r#"
[labels]
unit = "event"
[kinds.device]
[[counters]]
name = "events"
windows = ["10m"]
[policy]
cooldown = "10m"
[[rules]]
name = "burst"
when = "account.events.in_10m >= 5"
action = "suspend"
[[rules]]
name = "bad_things"
when = "device.labels.bad.14d > 0.5"
action = "review"
"#;

fn fresh(strict_ties: bool) -> Engine {
    engine(&config(CONFIG), None, Options { strict_ties, ..Options::default() })
}

/// The n-th message of a client that gives a session's id to all of its events.
fn of_session(n: i64) -> Message {
    let ts = 1_700_000_000_000 + n * 1000;
    Message::Event(format!(
        r#"{{"event_id":"s-81","ts":{ts},"type":"message","account":"u1","entities":{{"device":["d{n}","d"]}}}}"#
    ))
}

fn ids(run: &Run) -> Vec<String> {
    let lines = run.output.scores.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice::<serde_json::Value>(line).expect("JSON"))
        .map(|score| score["event_id"].as_str().expect("a text").to_owned())
        .collect()
}

#[test]
fn events_of_one_id_and_eight_contents_are_eight_events() {
    for strict_ties in [false, true] {
        let mut run = Run::new(fresh(strict_ties));
        let messages: Vec<Message> = (0..8).map(of_session).collect();
        run.step(&messages);
        run.finish();
        let counts = run.engine.counts();
        assert_eq!((counts.events, counts.event_id_conflicts, counts.redelivered), (8, 7, 0));
        let ids = ids(&run);
        assert_eq!(ids[0], "s-81");
        assert!(
            ids[1..].iter().all(|id| id.len() == "s-81#".len() + 16 && id.starts_with("s-81#"))
        );
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 8, "each has an id: {ids:?}");
        let actions = run.output.actions();
        assert_eq!(actions.len(), 1, "the fifth message is one too many: {actions:?}");
        assert_eq!(actions[0]["at"], 1_700_000_004_000i64);
    }
}

#[test]
fn events_of_one_id_delivered_again_in_any_order_count_once() {
    let messages: Vec<Message> = (0..8).map(of_session).collect();
    for strict_ties in [false, true] {
        let mut run = Run::new(fresh(strict_ties));
        run.step(&messages);
        for round in 0..3 {
            for at in [5, 0, 7, 2, 2, 6, 1, 3, 4] {
                run.step(std::slice::from_ref(&messages[at]));
            }
            run.restart(fresh(strict_ties), round);
        }
        run.finish();
        let counts = run.engine.counts();
        assert_eq!((counts.events, counts.event_id_conflicts, counts.redelivered), (8, 7, 27));
        assert_eq!(ids(&run).len(), 8);
        assert_eq!(run.output.actions().len(), 1);
    }
}

/// Things named in another order, fields in another order, and what is not declared: the content is the same.
#[test]
fn content_is_what_is_read_and_not_how_it_is_written() {
    let base = r#"{"event_id":"e","ts":1000,"type":"m","account":"a","entities":{"device":["x","y"]},"note":1}"#;
    let cases = [
        (
            r#"{"account":"a","entities":{"device":["y","x","y"]},"type":"m","ts":1000,"event_id":"e"}"#,
            true,
        ),
        (
            r#"{"event_id":"e","ts":"1970-01-01T00:00:01Z","type":"m","account":"a","entities":{"device":["x","y"]}}"#,
            true,
        ),
        (
            r#"{"event_id":"e","ts":1001,"type":"m","account":"a","entities":{"device":["x","y"]}}"#,
            false,
        ),
        (
            r#"{"event_id":"e","ts":1000,"type":"m","account":"a","entities":{"device":["x"]}}"#,
            false,
        ),
        (
            r#"{"event_id":"e","ts":1000,"type":"m","account":"a","target":"b","entities":{"device":["x","y"]}}"#,
            false,
        ),
        // Neither type is declared.
        (
            r#"{"event_id":"e","ts":1000,"type":"n","account":"a","entities":{"device":["x","y"]}}"#,
            false,
        ),
        (r#"{"event_id":"e","ts":1000,"account":"a","entities":{"device":["x","y"]}}"#, false),
        // Of another account it is another event, and no conflict.
        (
            r#"{"event_id":"e","ts":1000,"type":"m","account":"b","entities":{"device":["x","y"]}}"#,
            false,
        ),
    ];
    for (text, same) in cases {
        let mut run = Run::new(fresh(false));
        run.step(&[Message::Event(base.into()), Message::Event(text.into())]);
        let counts = run.engine.counts();
        assert_eq!(
            (counts.events, counts.redelivered),
            if same { (1, 1) } else { (2, 0) },
            "{text}"
        );
        let conflict = !same && !text.contains(r#""account":"b""#);
        assert_eq!(counts.event_id_conflicts, u64::from(conflict), "{text}");
    }
}

/// A clock that is ahead is corrected by when a message was taken, which is later for one that is delivered again.
#[test]
fn event_whose_time_was_corrected_is_recognised_when_it_comes_again() {
    let mut engine = fresh(false);
    let text = r#"{"event_id":"e","ts":9000000,"type":"m","account":"a"}"#;
    let said: Event =
        engine.decoder().event(text.as_bytes(), CompactString::default).expect("it is read");
    let mut effects = Effects::default();
    for taken_ms in [1_000_000, 1_000_500, 2_000_000, 9_500_000] {
        let event = Event { ts_ms: said.ts_ms.min(taken_ms), ..said.clone() };
        let source = SourceRef::default();
        let input = if event.ts_ms < said.ts_ms {
            Input::Ahead(event, source)
        } else {
            Input::Event(event, source)
        };
        engine.step([input], &mut effects);
    }
    let counts = engine.counts();
    assert_eq!((counts.events, counts.redelivered, counts.event_id_conflicts), (1, 3, 0));
}

/// Without a privacy key everybody can compute derived ids; taking them first hides nothing.
#[test]
fn event_whose_derived_id_was_taken_first_is_seen() {
    let mut run = Run::new(fresh(false));
    let messages: Vec<Message> = (0..4).map(of_session).collect();
    run.step(&messages);
    let derived = ids(&run)[1..].to_vec();
    let mut run = Run::new(fresh(false));
    for (n, id) in derived.iter().enumerate() {
        let decoy = of_session(100 + n as i64);
        let Message::Event(text) = decoy else { unreachable!() };
        run.step(&[Message::Event(text.replace("s-81", id))]);
    }
    run.step(&messages);
    run.step(&messages);
    let counts = run.engine.counts();
    assert_eq!((counts.events, counts.event_id_conflicts, counts.redelivered), (7, 3, 4));
    let ids = ids(&run);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 7, "{ids:?}");
}

/// The plain id is that of the event that was taken under it, the first; a derived one that of the derived event. Without an account, the
/// newest event of any account that has the id.
#[test]
fn label_joins_the_event_that_was_taken_under_the_id() {
    let other = |n: i64| {
        let Message::Event(text) = of_session(n) else { unreachable!() };
        Message::Event(text.replace("u1", "u2").replace("\"d\"", "\"d-of-2\""))
    };
    let bad = |device: &str, label: &str| {
        let mut run = Run::new(fresh(false));
        run.step(&[of_session(0), of_session(1), of_session(2), other(10), other(11)]);
        let second = ids(&run)[1].clone();
        let label = label.replace("SECOND", &second);
        run.step(&[Message::Label(label)]);
        run.restart(fresh(false), 1);
        assert_eq!(run.engine.counts().labels_unjoined, 0);
        run.step(&[Message::Event(format!(
            r#"{{"event_id":"q","ts":1700000060000,"type":"message","account":"u9","entities":{{"device":"{device}"}}}}"#
        ))]);
        run.output.actions().iter().any(|action| action["rule"] == "bad_things")
    };
    let at = r#""label":1,"ts":1700000050000"#;
    for (label, of) in [
        (format!(r#"{{"account":"u1","event_id":"s-81",{at}}}"#), ["d0", "d"].as_slice()),
        (format!(r#"{{"account":"u1","event_id":"SECOND",{at}}}"#), &["d1", "d"]),
        (format!(r#"{{"event_id":"SECOND",{at}}}"#), &["d1", "d"]),
        (format!(r#"{{"event_id":"s-81",{at}}}"#), &["d10", "d-of-2"]),
    ] {
        for device in ["d0", "d1", "d2", "d10", "d11", "d", "d-of-2"] {
            assert_eq!(bad(device, &label), of.contains(&device), "{label} and {device}");
        }
    }
}

/// A state of a program that recognised events by id alone: the same event by its time, another by another.
#[test]
fn state_without_contents_is_read_and_its_events_are_told_apart_by_time() {
    let mut run = Run::new(fresh(false));
    run.step(&[of_session(0)]);
    run.save();
    let mut older = Records::new();
    for (key, mut value) in run.records.clone() {
        match key[0] {
            b'g' => {
                let mut globals: serde_json::Value = serde_json::from_slice(&value).expect("JSON");
                globals["format"] = 1.into();
                let counts = globals["counts"].as_object_mut().expect("an object");
                counts.remove("event_id_conflicts");
                counts.remove("unlinked_entities");
                value = globals.to_string().into_bytes();
            }
            b'r' => {
                // Form 0: no form, and no hash of the content behind the two of id and account.
                value[7] = 0;
                value.drain(8 + 16..8 + 24);
            }
            _ => {}
        }
        older.insert(key, value);
    }
    let load = |records: &BTreeMap<Vec<u8>, Vec<u8>>| {
        let mut engine = fresh(false);
        let mut loading = engine.loading();
        let loaded = records.iter().try_for_each(|(key, value)| loading.record(key, value));
        loaded.and_then(|()| loading.finish()).map(|()| Run::new(engine))
    };
    let mut run = load(&older).expect("the older form is read");
    run.step(&[of_session(0), of_session(1), of_session(1)]);
    let counts = run.engine.counts();
    assert_eq!((counts.events, counts.redelivered, counts.event_id_conflicts), (2, 2, 1));
    for (key, value) in older.iter_mut().filter(|(key, _)| key[0] == b'g') {
        assert_eq!(key[0], b'g');
        *value =
            String::from_utf8_lossy(value).replace("\"format\":1", "\"format\":3").into_bytes();
    }
    let refused = load(&older).map(|_| ()).expect_err("a later form is refused").to_string();
    assert!(refused.contains("form 3, this version reads 1 to 2"), "{refused}");
}
