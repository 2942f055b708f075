//! Keys in their normal form: however a thing is spelled, it is one thing, to events, labels, allow lists and records.

mod support;

use engine::{Engine, Options};
use support::{Message, Run, config, engine};

const CONFIG: &str = r#"
[events]
types = ["message"]
[labels]
unit = "event"
[kinds.ip]
form = "ip"
[kinds.mail]
form = "email"
strong = true
[kinds.device]
form = "lower"
[kinds.content]
form = "nfc"
[kinds.raw]
[[counters]]
name = "events"
windows = ["10m"]
[policy]
cooldown = "1m"
allow_entities = ["ip:192.0.2.0/24", "mail:Office@Example.com"]
[[rules]]
name = "shared"
when = "graph.ip.degree >= 2 || graph.mail.degree >= 2 || graph.device.degree >= 2 || graph.content.degree >= 2"
action = "review"
[[rules]]
name = "second"
when = "ip.labels.bad.14d > 0.5"
action = "challenge"
"#;

/// Spellings of a key by kind, the normal form first; and one that has no form.
const SPELLINGS: [(&str, [&str; 3]); 5] = [
    ("ip", ["2001:db8::1", "2001:DB8:0:0:0:0:0:1", " 2001:db8::0001 "]),
    ("mail", ["ann@example.com", "Ann@Example.COM", " ann@EXAMPLE.com\t"]),
    ("device", ["d9-ä", "D9-Ä", "d9-Ä"]),
    ("content", ["\u{e9}t\u{e9}", "e\u{301}te\u{301}", "\u{e9}te\u{301}"]),
    ("raw", ["As-It-Is ", "As-It-Is ", "As-It-Is "]),
];

fn event(n: i64, account: &str, entities: serde_json::Value) -> Message {
    let ts = 1_000_000_000 + n * 60_000;
    let event = serde_json::json!({
        "event_id": format!("e{n}"), "ts": ts, "type": "message", "account": account, "entities": entities,
    });
    Message::Event(event.to_string())
}

/// Two accounts that share things, each event spelled in its own way, and labels that name things.
fn stream(spelled: impl Fn(usize, usize) -> usize) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut n = 0;
    for round in 0..6_usize {
        for (kind, (name, keys)) in SPELLINGS.iter().enumerate() {
            let account = if (round + kind) % 2 == 0 { "ann" } else { "bob" };
            let key = keys[spelled(n, kind) % 3];
            // Beside it another thing, so that not all is one.
            let entities = serde_json::json!({*name: [key, format!("other{account}@x.nl")]});
            messages.push(event(n as i64, account, entities));
            n += 1;
        }
        let ts = 1_000_000_000 + n as i64 * 60_000;
        let key = SPELLINGS[0].1[spelled(n, 0) % 3];
        let label = serde_json::json!({
            "event_id": format!("e{}", n - 5), "label": round % 2, "ts": ts, "entities": {"ip": key},
        });
        messages.push(Message::Label(label.to_string()));
    }
    messages
}

fn fresh(toml: &str, strict_ties: bool) -> Engine {
    engine(&config(toml), None, Options { strict_ties, ..Options::default() })
}

#[test]
fn a_thing_in_any_spelling_is_one_thing() {
    let with_key = format!("{CONFIG}\n[privacy]\nkey = \"a secret of 16 b.\"\n");
    for toml in [CONFIG, &with_key] {
        for strict_ties in [false, true] {
            let normal = stream(|_, _| 0);
            let spelled = stream(|n, kind| n * 7 + kind * 2 + n / 3);
            assert_ne!(normal, spelled);
            let mut one = support::run(fresh(toml, strict_ties), &normal, 4);
            assert!(one.output.actions().len() > 4, "things are shared");
            let mut other = Run::new(fresh(toml, strict_ties));
            for part in spelled.chunks(3) {
                other.step(part);
                other.restart(fresh(toml, strict_ties), 5);
            }
            other.finish();
            assert_eq!(one.output.bytes(), other.output.bytes(), "strict ties: {strict_ties}");
            one.save();
            other.save();
            assert_eq!(one.records, other.records, "strict ties: {strict_ties}");
            // All `other…` keys but those of mail, device, content and raw: in ip they are no addresses.
            assert_eq!(other.engine.counts().malformed_keys, 6);
            other.engine.check_invariants().unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

#[test]
fn two_spellings_in_one_event_are_one_key() {
    let twice = serde_json::json!({"ip": ["203.0.113.7", "::ffff:203.0.113.7", "1.1.1.1", " 203.0.113.7"],
        "mail": ["A@b.nl", "a@B.nl"]});
    let once = serde_json::json!({"ip": ["203.0.113.7", "1.1.1.1"], "mail": "a@b.nl"});
    let mut records = [twice, once].map(|entities| {
        let mut run = Run::new(fresh(CONFIG, false));
        run.step(&[event(0, "ann", entities)]);
        run.save();
        run.records
    });
    assert!(!records[0].is_empty());
    let second = std::mem::take(&mut records[1]);
    assert_eq!(records[0], second);
}

#[test]
fn a_key_without_the_form_is_known_as_it_came_and_counted_once() {
    let long = "İ".repeat(120);
    let messages = [
        event(
            0,
            "ann",
            serde_json::json!({"ip": ["1.2.3.4:80", "unknown"], "device": long.clone()}),
        ),
        event(1, "bob", serde_json::json!({"ip": "1.2.3.4:80"})),
        event(2, "cal", serde_json::json!({"ip": "Unknown", "device": long})),
    ];
    for strict_ties in [false, true] {
        let mut run = Run::new(fresh(CONFIG, strict_ties));
        for message in &messages {
            // Each is delivered again, across a stop.
            run.step(std::slice::from_ref(message));
            run.restart(fresh(CONFIG, strict_ties), 3);
            run.step(std::slice::from_ref(message));
        }
        run.finish();
        assert_eq!(run.engine.counts().malformed_keys, 6, "strict ties: {strict_ties}");
        let degree = |account: &str, key: &str| {
            let links = run.engine.explain(account).expect("known").links;
            links.iter().find(|link| link.key == key).map(|link| link.accounts)
        };
        assert_eq!(degree("ann", "1.2.3.4:80"), Some(2));
        assert_eq!(degree("cal", "Unknown"), Some(1), "case counts where the form does not");
        assert_eq!(degree("ann", "unknown"), Some(1));
    }
}

#[test]
fn allow_lists_hold_under_a_privacy_key_and_for_every_spelling() {
    let with_key = format!("{CONFIG}\n[privacy]\nkey = \"a secret of 16 b.\"\n");
    for toml in [CONFIG, &with_key] {
        for strict_ties in [false, true] {
            let mut run = Run::new(fresh(toml, strict_ties));
            run.step(&[event(0, "ann", serde_json::json!({"ip": "9.9.9.9", "device": "d"}))]);
            for (n, freed, entities) in [
                (1, true, serde_json::json!({"ip": "192.0.2.7", "device": "D"})),
                (
                    2,
                    true,
                    serde_json::json!({"ip": ["::ffff:192.0.2.8", "192.0.2.9"], "device": "d"}),
                ),
                (3, true, serde_json::json!({"mail": "OFFICE@example.com ", "device": "d"})),
                (4, false, serde_json::json!({"ip": ["192.0.2.7", "9.9.9.9"], "device": "d"})),
                (
                    6,
                    false,
                    serde_json::json!({"mail": ["office@example.com", "x@y.nl"], "device": "d"}),
                ),
            ] {
                let before = run.output.actions().len();
                run.step(&[event(n, "bob", entities.clone())]);
                // An open tie group waits with what was known on arrival.
                run.restart(fresh(toml, strict_ties), n as u64);
                run.finish();
                let acted = run.output.actions().len() > before;
                assert_eq!(!acted, freed, "{entities}, strict ties {strict_ties}");
            }
        }
    }
}

/// [`CONFIG`] with keys that are ignored, written in other spellings than in the events.
fn ignoring() -> String {
    let ip = "[kinds.ip]\nform = \"ip\"\n";
    let device = "[kinds.device]\nform = \"lower\"\n";
    assert!(CONFIG.contains(ip) && CONFIG.contains(device));
    CONFIG
        .replace(ip, &format!("{ip}ignore = [\"127.0.0.1\", \"unknown\"]\n"))
        .replace(device, &format!("{device}ignore = [\"NONE\"]\n"))
}

/// Accounts that share an address now and then, each event with the placeholders or without them.
fn with_placeholders(named: bool) -> Vec<Message> {
    let placeholders = |mut entities: serde_json::Value, more: serde_json::Value| {
        for (kind, keys) in more.as_object().filter(|_| named).into_iter().flatten() {
            let before = entities[kind].as_array().cloned().unwrap_or_default();
            let mut all = keys.as_array().cloned().expect("a list");
            all.extend(before);
            entities[kind] = all.into();
        }
        entities
    };
    let mut messages = Vec::new();
    for n in 0..30_i64 {
        let own = serde_json::json!({"ip": [format!("203.0.113.{}", n % 4)], "raw": [format!("r{}", n % 7)]});
        let more = serde_json::json!({"ip": ["::ffff:127.0.0.1", "unknown"], "device": ["None"]});
        messages.push(event(n, &format!("u{}", n % 9), placeholders(own, more)));
        if n % 5 == 4 {
            let nothing = serde_json::json!({});
            let more = serde_json::json!({"ip": [" 127.0.0.1"], "device": ["none"]});
            let ts = 1_000_000_000 + n * 60_000;
            let label = serde_json::json!({
                "event_id": format!("e{}", n - 3), "label": n % 2, "ts": ts, "entities": placeholders(nothing, more),
            });
            messages.push(Message::Label(label.to_string()));
        }
    }
    messages
}

#[test]
fn an_ignored_key_is_as_if_it_was_not_named() {
    let with_key = format!("{}\n[privacy]\nkey = \"a secret of 16 b.\"\n", ignoring());
    for toml in [&ignoring(), &with_key] {
        for strict_ties in [false, true] {
            let mut absent = support::run(fresh(toml, strict_ties), &with_placeholders(false), 4);
            assert!(!absent.output.actions().is_empty(), "addresses are shared");
            let mut named = Run::new(fresh(toml, strict_ties));
            for part in with_placeholders(true).chunks(3) {
                named.step(part);
                named.restart(fresh(toml, strict_ties), 5);
            }
            named.finish();
            assert_eq!(absent.output.bytes(), named.output.bytes(), "strict ties: {strict_ties}");
            absent.save();
            named.save();
            // Only the count of such keys is another.
            let apart = |run: &Run| {
                let records = run.records.iter().filter(|(key, _)| key.first() != Some(&b'g'));
                records.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
            };
            assert_eq!(apart(&absent), apart(&named), "strict ties: {strict_ties}");
            assert_eq!(absent.engine.counts().ignored_keys, 0);
            assert_eq!(named.engine.counts().ignored_keys, 90, "strict ties: {strict_ties}");
            assert_eq!(named.engine.counts().malformed_keys, 0, "what is ignored is not odd");
            let links = named.engine.explain("u0").expect("known").links;
            assert!(links.iter().all(|link| link.kind != "device"), "{links:?}");
            named.engine.check_invariants().unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

/// `count` allowed addresses, and another one.
fn allowed(count: usize, last: &str) -> serde_json::Value {
    let all = (0..count).map(|n| format!("192.0.2.{n}")).chain([last.to_owned()]);
    all.collect::<Vec<_>>().into()
}

#[test]
fn an_ignored_key_frees_nothing_and_does_not_keep_others_from_freeing() {
    let toml = ignoring();
    for strict_ties in [false, true] {
        let mut run = Run::new(fresh(&toml, strict_ties));
        run.step(&[event(0, "ann", serde_json::json!({"device": "d"}))]);
        for (n, freed, ip) in [
            (1, true, serde_json::json!(["192.0.2.7", "127.0.0.1"])),
            (2, true, serde_json::json!(["unknown", "192.0.2.8"])),
            (3, false, serde_json::json!(["127.0.0.1"])),
            // What cannot be read, or is beyond the cap, may be anything.
            (4, false, serde_json::json!(["192.0.2.7", {"an": "object"}])),
            (5, false, serde_json::json!([true, "192.0.2.7"])),
            (6, true, allowed(31, "192.0.2.30")),
            (7, false, allowed(31, "203.0.113.9")),
            (8, false, allowed(33, "192.0.2.200")),
        ] {
            let before = run.output.actions().len();
            run.step(&[event(n, "bob", serde_json::json!({"ip": ip, "device": "d"}))]);
            run.finish();
            let acted = run.output.actions().len() > before;
            assert_eq!(!acted, freed, "{n}, strict ties {strict_ties}");
        }
    }
    let both = toml.replace("\"ip:192.0.2.0/24\"", "\"ip:::ffff:127.0.0.1\"");
    let problems = Engine::new(config(&both), None, Options::default()).err().expect("refused");
    assert!(
        problems.len() == 1 && problems[0].contains("its key is ignored by [kinds.ip] ignore"),
        "{problems:?}"
    );
}

#[test]
fn a_key_that_is_ignored_later_leaves_model_and_state_as_they_are() {
    let name = |toml: &str| {
        let engine = fresh(toml, false);
        (engine.versions().features.clone(), engine.links_version())
    };
    assert_eq!(name(CONFIG), name(&ignoring()));
    let mut run = Run::new(fresh(CONFIG, false));
    let entities = serde_json::json!({"ip": "127.0.0.1"});
    run.step(&[event(0, "ann", entities.clone()), event(1, "bob", entities.clone())]);
    run.restart(fresh(&ignoring(), false), 1);
    run.step(&[event(2, "cal", entities)]);
    run.finish();
    assert_eq!(run.engine.counts().ignored_keys, 1);
    assert_eq!(run.engine.explain("ann").expect("known").links_total, 1, "it is idle from now on");
    assert_eq!(run.engine.explain("cal").expect("known").links_total, 0);
}

#[test]
fn a_key_that_outgrows_its_kind_is_reported_once_per_doubling() {
    let messages: Vec<Message> = (0..130)
        .map(|n| {
            let entities =
                serde_json::json!({"device": ["sdk-default", format!("d{n}")], "raw": "r"});
            event(n, &format!("u{n}"), entities)
        })
        .collect();
    for strict_ties in [false, true] {
        let mut run = Run::new(fresh(CONFIG, strict_ties));
        let mut reported = Vec::new();
        for part in messages.chunks(10) {
            run.step(part);
            reported.extend(run.engine.take_suspected_placeholders());
            run.restart(fresh(CONFIG, strict_ties), 3);
        }
        run.finish();
        reported.extend(run.engine.take_suspected_placeholders());
        let expected = [64_u32, 128].map(|accounts| ("device".to_owned(), accounts));
        assert_eq!(reported, expected, "strict ties: {strict_ties}");
        assert_eq!(run.engine.counts().suspected_placeholders, 2);
    }
}

#[test]
fn another_form_is_another_feature_set() {
    let name = |toml: &str| {
        let engine = fresh(toml, false);
        (engine.versions().features.clone(), engine.links_version())
    };
    let plain = name("[kinds.ip]\n");
    let lower = name("[kinds.ip]\nform = \"lower\"\n");
    let ip = name("[kinds.ip]\nform = \"ip\"\n");
    assert!(plain.0 != lower.0 && lower.0 != ip.0 && plain.0 != ip.0);
    assert!(plain.1 != lower.1 && lower.1 != ip.1, "no state is carried over");
    let wrong = Engine::new(
        config("[kinds.peer]\nis_account = true\nform = \"lower\"\n"),
        None,
        Options::default(),
    );
    let problems = wrong.err().expect("refused");
    assert_eq!(
        problems,
        ["kinds.peer.form: its keys are accounts, which are known as they come; remove it"]
    );
}
