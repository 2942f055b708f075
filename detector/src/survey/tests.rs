//! Whole streams of many shapes: what is found in them, and that every proposal compiles.

use super::sketch::mix;
use super::*;
use engine::wire::RejectCode;
use features::config::{AttributeKind, TimeUnit};
use features::schema::Schema;
use proptest::prelude::*;
use serde_json::{Value, json};

fn survey(events: &[Value], labels: &[Value], until_ms: Option<i64>) -> (Report, LinesRead) {
    let mut survey = Survey::new(SurveyLimits { until_ms, ..SurveyLimits::default() });
    let lines =
        |values: &[Value]| values.iter().map(|value| format!("{value}\n")).collect::<String>();
    let read =
        survey.survey_events(lines(events).as_bytes(), &mut |_| {}).expect("memory can be read");
    survey.survey_labels(lines(labels).as_bytes(), &mut |_| {}).expect("memory can be read");
    (survey.finish(), read)
}

fn propose(events: &[Value], labels: &[Value]) -> Proposal {
    let proposal =
        Proposal::for_report(&survey(events, labels, None).0).expect("events were given");
    let compiled = Schema::compile(&proposal.features);
    assert!(compiled.is_ok(), "{:?}\n{:#?}", compiled.err(), proposal.features);
    proposal
}

const DAY_MS: u64 = 86_400_000;

/// Card payments: customers of a few terminals each, terminals of many customers; labels of all, late.
fn payments() -> (Vec<Value>, Vec<Value>) {
    let (mut events, mut labels) = (Vec::new(), Vec::new());
    for n in 0..6000_u64 {
        let noise = mix(n);
        let ts = 1_600_000_000_000 + n * 20 * 60_000 + noise % 1_000_000 / 1000 * 1000;
        let customer = noise % 200;
        let terminal = (customer * 7 + (noise >> 20) % 12) % 60;
        events.push(json!({"event_id": format!("t{n}"), "ts": ts, "type": "payment", "account": format!("c{customer}"),
            "entities": {"terminal": format!("m{terminal}")}, "attributes": {"amount": (noise >> 8) % 20_000, "currency": "EUR"}}));
        labels.push(json!({"event_id": format!("t{n}"), "ts": ts + 7 * DAY_MS, "label": u8::from(noise.is_multiple_of(97))}));
    }
    (events, labels)
}

/// Ratings: account and peer are both accounts; labels carry the moment of their event.
fn ratings() -> (Vec<Value>, Vec<Value>) {
    let (mut events, mut labels) = (Vec::new(), Vec::new());
    for n in 0..3000_u64 {
        let noise = mix(n);
        let ts = n * 3_600_000 + noise % 3600 * 1000;
        let (a, b) = (noise % 150, (noise >> 20) % 150);
        events.push(json!({"event_id": format!("e{n}"), "ts": ts, "type": "rated", "account": format!("n{a}"),
            "entities": {"peer": format!("n{b}")}, "attributes": {}}));
        labels.push(
            json!({"event_id": format!("e{n}"), "ts": ts, "label": u8::from(noise.is_multiple_of(20))}),
        );
    }
    (events, labels)
}

/// A platform: sign-ups, log-ins and messages over devices and carrier addresses; bad accounts are reported.
fn platform() -> (Vec<Value>, Vec<Value>) {
    let (mut events, mut labels) = (Vec::new(), Vec::new());
    for n in 0..8000_u64 {
        let noise = mix(n);
        let user = noise % 400;
        let day = n / 800;
        let ts = 1_600_000_000_000 / DAY_MS * DAY_MS
            + day * DAY_MS
            + 8 * 3_600_000
            + n % 800 * 54_000
            + noise % 900;
        let kind = ["login", "message", "message", "message", "like", "signup"]
            [(noise >> 12) as usize % 6];
        let mut event = json!({"event_id": n, "ts": ts, "type": kind, "account": format!("u{user}"),
            "entities": {"device": format!("d{}", user / 2), "ip": [format!("10.0.0.{}", (noise >> 30) % 8)]},
            "attributes": {"country": (["NL", "DE", "FR"][(user % 3) as usize]), "age": 18 + user % 60,
                "new_device": noise.is_multiple_of(50), "text": format!("{noise:x}"), "request": format!("r{n}")}});
        if kind == "message" {
            event["target"] = json!(format!("u{}", (noise >> 24) % 400));
        }
        events.push(event);
    }
    for user in (0..400).step_by(9) {
        labels.push(json!({"account": format!("u{user}"), "label": 1, "ts": 1_600_600_000_000_u64 + user * 1000, "source": "moderator"}));
    }
    (events, labels)
}

#[test]
fn payments_are_understood() {
    let (events, labels) = payments();
    let proposal = propose(&events, &labels);
    let features = &proposal.features;
    let terminal = &features.kinds["terminal"];
    assert!(!terminal.strong && !terminal.is_account, "{:?}", proposal.notes);
    assert_eq!(terminal.copyable, Some(false), "events are labelled: {:?}", proposal.notes);
    assert_eq!(
        features.attributes.keys().collect::<Vec<_>>(),
        ["amount"],
        "one currency tells nothing"
    );
    let sum = features.counters.iter().find(|counter| counter.sum.as_deref() == Some("amount"));
    assert!(
        sum.is_some_and(|counter| counter.on == ["account", "terminal"]),
        "{:#?}",
        features.counters
    );
    assert_eq!(features.profiles["account"].numeric, ["amount"]);
    assert_eq!(features.profiles["terminal"].distinct, ["account"]);
    assert!(features.profiles["account"].neighbours.is_empty());
    let label = &proposal.labels;
    assert_eq!((label.unit, label.covers_all, label.no_feedback), (LabelUnit::Event, true, false));
    assert_eq!(label.score_types, ["payment"]);
    assert_eq!((label.lag_p99_ms, label.maturity_ms), (7 * DAY_MS, 7 * DAY_MS));
    assert!(label.index_age_ms >= 7 * DAY_MS);
    assert!(features.profiles["account"].labels);
    assert!(proposal.strict_ties == (survey(&events, &labels, None).0.clock.tied_share > 0.0));
}

#[test]
fn ratings_are_understood() {
    let (events, labels) = ratings();
    let proposal = propose(&events, &labels);
    assert!(proposal.features.kinds["peer"].is_account && !proposal.features.kinds["peer"].strong);
    assert!(proposal.labels.no_feedback && !proposal.features.profiles["account"].labels);
    assert!(proposal.features.profiles["account"].neighbours.contains(&"account.age_s".to_owned()));
    assert!(proposal.features.profiles["target"].distinct.contains(&"account".to_owned()));
    assert!(proposal.notes.iter().any(|note| note.contains("which no platform can know")));
}

/// Which kinds anybody can use without having the thing: by name, and by who comes back to a key.
#[test]
fn copyable_kinds_are_proposed() {
    let mut events = Vec::new();
    for day in 0..12_i64 {
        for user in 0..60_i64 {
            let mut entities = json!({"device": format!("d{user}"), "ip": format!("10.0.0.{}", user % 5),
                "meme": format!("m{day}"), "message_hash": format!("h{user}"), "terminal": format!("t{}", user / 30)});
            if day == 0 {
                entities["phone"] = json!(format!("p{}", user / 2));
            }
            let ts = 1_600_000_000_000 + day * DAY_MS as i64 + user * 600_000;
            events.push(json!({"event_id": format!("{day}-{user}"), "ts": ts, "type": "message",
                "account": format!("u{user}"), "entities": entities}));
        }
    }
    let of_account = json!({"account": "u1", "label": 1, "ts": 1_600_600_000_000_i64});
    let of_event =
        json!({"event_id": "3-1", "account": "u1", "label": 1, "ts": 1_600_600_000_000_i64});
    for (label, shared) in [(of_account, true), (of_event, false)] {
        let proposal = propose(&events, &[label]);
        let kinds = &proposal.features.kinds;
        for (kind, copyable) in [
            ("device", false),
            ("phone", false),
            ("ip", shared),
            ("terminal", shared),
            ("meme", true),
            ("message_hash", true),
        ] {
            let notes = &proposal.notes;
            assert_eq!(kinds[kind].copyable, Some(copyable), "{kind}: {notes:#?}");
        }
    }
}

#[test]
fn a_platform_is_understood() {
    let (events, labels) = platform();
    let proposal = propose(&events, &labels);
    let features = &proposal.features;
    assert!(features.kinds["device"].strong, "{:#?}", proposal.notes);
    assert!(!features.kinds["ip"].strong);
    assert_eq!(features.kinds["device"].copyable, Some(false), "{:#?}", proposal.notes);
    assert_eq!(features.kinds["ip"].copyable, Some(true));
    assert_eq!(features.attributes["country"].kind, AttributeKind::Category);
    assert_eq!(features.attributes["country"].values.len(), 3);
    assert_eq!(features.attributes["new_device"].kind, AttributeKind::Boolean);
    assert!(
        !features.attributes.contains_key("text") && !features.attributes.contains_key("request")
    );
    let named = |name: &str| features.counters.iter().find(|counter| counter.name == name);
    assert!(named("message").is_some_and(|counter| counter.on.contains(&"target".to_owned())));
    assert!(named("login").is_some_and(|counter| !counter.on.contains(&"target".to_owned())));
    assert!(
        named("new_device")
            .is_some_and(|counter| counter.when.as_deref() == Some("new_device == true"))
    );
    assert!(named("age_sum").is_none(), "an age describes the account");
    assert!(
        features.profiles["account"].numeric.contains(&"age".to_owned()),
        "but those who meet it may know"
    );
    assert_eq!(proposal.labels.unit, LabelUnit::Account);
    assert!(!proposal.labels.covers_all && proposal.labels.lookback_ms > DAY_MS);
    assert!(
        features.profiles["account"].hours && features.time.utc_offset == "+1h",
        "{:#?}",
        proposal.notes
    );
}

const ZERO: &str = "00000000-0000-0000-0000-000000000000";
const SDK: &str = "sdk-default-7f";

/// 1,500 accounts, two to a device; some have another key in its place.
fn devices(other: fn(u64) -> Option<&'static str>) -> Vec<Value> {
    (0..9000_u64)
        .map(|n| {
            let account = mix(n) % 1500;
            let own = || format!("d{}", account / 2);
            let device = other(account).map_or_else(own, str::to_owned);
            json!({"event_id": n, "ts": 1_700_000_000_000 + n * 60_000, "type": "login", "account": format!("u{account}"),
                "entities": {"device": device}})
        })
        .collect()
}

#[test]
fn placeholders_are_ignored_and_the_kind_is_judged_without_them() {
    /// The key of an account, by its number, if it has a shared one; and which keys are to be found.
    type Case<'a> = (fn(u64) -> Option<&'static str>, &'a [&'a str]);
    let cases: [Case<'_>; 8] = [
        (|_| None, &[]),
        (|account| (account % 10 < 3).then_some(ZERO), &[ZERO]),
        (|account| (account % 25 < 2).then_some(SDK), &[SDK]),
        (
            |account| match account % 100 {
                0..30 => Some(ZERO),
                30..42 => Some(SDK),
                _ => None,
            },
            &[ZERO, SDK],
        ),
        (|account| (account < 3).then_some("Unknown"), &["Unknown"]),
        // One person's test; and a ring.
        (|account| (account < 2).then_some("test"), &[]),
        (|account| (account < 40).then_some("d-of-a-ring"), &[]),
        // The kind has hardly another key: it is no placeholder in a kind of devices, but a kind of few keys.
        (|account| (account % 100 < 98).then_some(SDK), &[]),
    ];
    for (at, (other, ignored)) in cases.into_iter().enumerate() {
        let proposal = propose(&devices(other), &[]);
        let device = &proposal.features.kinds["device"];
        assert_eq!(device.ignore, ignored, "case {at}: {:#?}", proposal.notes);
        assert!(device.strong || at > 5, "case {at}: {:#?}", proposal.notes);
        let said = proposal.notes.iter().any(|note| note.contains("look like placeholders"));
        assert_eq!(said, !ignored.is_empty(), "case {at}");
        for key in ignored {
            assert!(!proposal.notes.iter().any(|note| note.contains(key)), "notes are printed");
        }
    }
}

#[test]
fn placeholders_are_found_where_keys_are_a_sample() {
    let events = devices(|account| match account % 100 {
        0..30 => Some(ZERO),
        30..42 => Some(SDK),
        _ => None,
    });
    let limits = SurveyLimits { keys_max: 64, ..SurveyLimits::default() };
    let mut survey = Survey::new(limits);
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    survey.survey_events(lines.as_bytes(), &mut |_| {}).expect("memory can be read");
    let report = survey.finish();
    let kind = &report.kinds[0];
    assert!(!kind.complete && kind.accounts == report.accounts.distinct, "{kind:?}");
    let found: Vec<_> = kind.placeholders.iter().map(|p| (p.key.as_str(), p.known)).collect();
    assert_eq!(found, [(ZERO, true), (SDK, false)]);
}

#[test]
fn keys_that_are_shared_by_nature_are_not_ignored() {
    // Addresses of carriers: the largest has half of all accounts, the next a sixth, and so on.
    let addresses = |n: u64| 2000 / (1 + (mix(n) >> 20) % 2000);
    // Browsers: a few have nearly all accounts, and many have a handful.
    let browsers = |n: u64| if n.is_multiple_of(50) { 3 + mix(n) % 90 } else { mix(n) % 3 };
    // Members of a market: everybody buys from one seller, who is an account.
    let sellers = |n: u64| if n.is_multiple_of(3) { 7 } else { mix(n) >> 30 };
    let key = [&addresses as &dyn Fn(u64) -> u64, &browsers, &sellers];
    for (at, key) in key.into_iter().enumerate() {
        let events: Vec<Value> = (0..9000_u64)
            .map(|n| {
                let (named, of) = (key(n), if at == 2 { "u" } else { "10.0.0." });
                let named = if at == 2 { named % 1500 } else { named };
                json!({"event_id": n, "ts": 1_700_000_000_000 + n * 60_000, "type": "x", "account": format!("u{}", n % 1500),
                    "entities": {"peer": format!("{of}{named}")}})
            })
            .collect();
        let proposal = propose(&events, &[]);
        let kind = &proposal.features.kinds["peer"];
        assert_eq!(kind.ignore, Vec::<String>::new(), "case {at}: {:#?}", proposal.notes);
        assert_eq!(kind.is_account, at == 2, "case {at}");
    }
}

#[test]
fn odd_streams_have_a_proposal() {
    let event = |ts: u64, account: &str| json!({"ts": ts, "type": "x", "account": account});
    let cases: Vec<(&str, Vec<Value>)> = vec![
        ("one event", vec![event(5, "a")]),
        ("one moment", (0..500).map(|n| event(7, &format!("a{}", n % 9))).collect()),
        ("from zero", (0..500).map(|n| event(n, &format!("a{}", n % 9))).collect()),
        ("one account", (0..500).map(|n| event(n * 1000, "a")).collect()),
        ("accounts once", (0..500).map(|n| event(n * 1000, &format!("a{n}"))).collect()),
        ("odd names", (0..500).map(|n| {
            json!({"ts": n * 977, "type": "a\nb", "account": "x", "entities": {"k\u{0}\n": n % 9, "": n % 7},
                "attributes": {"q\"\n": n % 5, "c": (["\t\"", "\\"][n as usize % 2]), "long".repeat(100): 1}})
        }).collect()),
        ("backwards", (0..500).rev().map(|n| event(n * 60_000, &format!("a{}", n % 9))).collect()),
    ];
    for (name, events) in cases {
        let proposal = propose(&events, &[]);
        assert!(!proposal.strict_ties || name != "one moment", "{name}");
        assert!(!proposal.notes.iter().any(|note| note.contains(char::is_control)), "{name}");
        assert!(proposal.notes.iter().any(|note| note.contains("No labels")), "{name}");
    }
    let nothing = Proposal::for_report(&survey(&[], &[], None).0);
    assert_eq!(nothing, Err(ProposeError::NoEvents));
    let (payments, labels) = payments();
    assert_eq!(
        Proposal::for_report(&survey(&payments, &labels, Some(10)).0),
        Err(ProposeError::NoEvents)
    );
}

#[test]
fn wide_streams_stay_within_reason() {
    let events: Vec<Value> = (0..3000_u64)
        .map(|n| {
            let noise = mix(n);
            let entities: serde_json::Map<String, Value> =
                (0..40).map(|kind| (format!("k{kind}"), json!([format!("{}", noise % 97 + kind), null, "z"]))).collect();
            let attributes: serde_json::Map<String, Value> = (0..100_u64)
                .map(|at| {
                    let value = mix(noise + at);
                    (format!("a {at}").replace(' ', if at % 7 == 0 { " " } else { "_" }), match at % 4 {
                        0 => json!(value % 10_000),
                        1 => json!(value.is_multiple_of(3)),
                        2 => json!(["x", "y \"q\"", "z"][(value % 3) as usize]),
                        _ => json!(format!("{:.2}", (value % 1000) as f64 / 7.0)),
                    })
                })
                .collect();
            json!({"ts": n * 1700, "type": format!("type {}", n % 200), "account": n % 300, "target": (n + 1) % 300,
                "entities": entities, "attributes": attributes})
        })
        .collect();
    let proposal = propose(&events, &[]);
    let width = propose::columns(&proposal.features, true).expect("it compiles");
    let schema = Schema::compile(&proposal.features).expect("it compiles");
    let parts: Vec<(String, usize)> = features::vector::VectorPlan::new(&schema)
        .parts()
        .iter()
        .map(|part| (part.prefix.clone(), part.width))
        .collect();
    assert!(width <= propose::COLUMNS_MAX, "{width} columns {:#?}", parts);
    assert!(proposal.features.kinds.len() <= 30 && proposal.features.attributes.len() >= 10);
    assert!(
        proposal
            .notes
            .iter()
            .any(|note| note.contains("`k39`") || note.contains("most used kinds"))
    );
}

#[test]
fn lines_that_cannot_be_read_are_counted() {
    let text = "{\"ts\":1,\"type\":\"x\",\"account\":\"a\"}\n\nnot json\n{\"type\":\"x\",\"account\":\"a\"}\n\
        {\"ts\":2,\"account\":\"a\"}\n{\"ts\":3,\"type\":\"x\"}\n[1]\n{\"ts\":4,\"type\":\"x\",\"account\":\"a\",\"entities\":7}";
    let mut survey = Survey::new(SurveyLimits::default());
    let mut bytes = 0;
    let read = survey
        .survey_events(text.as_bytes(), &mut |told| bytes = told)
        .expect("memory can be read");
    // Only `ts` and `account` have to be readable, as everywhere.
    assert_eq!((read.lines, read.taken, bytes), (7, 3, text.len() as u64));
    let unread: Vec<_> = read.unread.iter().map(|(code, u)| (*code, u.lines, u.first)).collect();
    assert_eq!(
        unread,
        [
            (RejectCode::NotJson, 1, 3),
            (RejectCode::NotAnObject, 1, 7),
            (RejectCode::MissingField, 2, 4),
        ]
    );
    assert_eq!(read.unread[&RejectCode::MissingField].detail, "ts is required");
    let long = format!(
        "{{\"a\":\"{}\"}}\n{{\"ts\":1,\"type\":\"x\",\"account\":\"a\"}}\n",
        "x".repeat(2 << 20)
    );
    let mut survey = Survey::new(SurveyLimits::default());
    let read = survey.survey_events(long.as_bytes(), &mut |_| {}).expect("memory can be read");
    let unread = &read.unread[&RejectCode::TooLarge];
    assert_eq!((read.taken, unread.lines, unread.first), (1, 1, 1));
}

#[test]
fn a_survey_reads_what_the_engine_reads() {
    let odd = [
        r#"{"ts":"1700000000000","type":"x","account":7,"entities":{"d":["a",["b"],"\ud800"],"e":false}}"#,
        "\u{feff}{\"ts\":1700000001000,\"account\":\"a\",\"attributes\":[],\"bio\":\"\\ud83d\"}",
        r#"{"ts":1700000002000,"type":"x","account":"a","attributes":{"n":NaN,"m":1e400}}"#,
    ];
    let mut survey = Survey::new(SurveyLimits::default());
    let read = survey.survey_events(odd.join("\n").as_bytes(), &mut |_| {}).expect("memory");
    assert_eq!((read.lines, read.taken), (3, 3));
    let report = survey.finish();
    assert_eq!((report.types.len(), report.accounts.distinct), (1, 2));
    assert_eq!(report.kinds.iter().map(|k| (&*k.name, k.uses)).collect::<Vec<_>>(), [("d", 1)]);

    let said = [
        (r#""1""#, Some(true)),
        ("true", Some(true)),
        (r#""Fraud""#, Some(true)),
        (r#""false""#, Some(false)),
        ("0.0", Some(false)),
        (r#""legit""#, Some(false)),
        (r#""maybe""#, None),
        ("2", None),
    ];
    for (label, bad) in said {
        let line = format!("{{\"account\":\"a\",\"ts\":1700000000000,\"label\":{label}}}");
        let mut survey = Survey::new(SurveyLimits::default());
        survey.survey_events(odd[1].as_bytes(), &mut |_| {}).expect("memory");
        let read = survey.survey_labels(line.as_bytes(), &mut |_| {}).expect("memory");
        let found = survey.finish().labels.map(|labels| labels.bad == 1);
        assert_eq!((found, read.unread.is_empty()), (bad, bad.is_some()), "{label}");
    }
}

#[test]
fn moments_are_proposed_as_ages() {
    let events: Vec<Value> = (0..200_u64)
        .map(|n| {
            let ts = 1_700_000_000_000 + n * 60_000;
            json!({"ts": ts, "type": "x", "account": format!("a{}", n % 9), "attributes": {
                "created_at": ts / 1000 - 86_400 * (n % 9), "seen": ts - 5000 * n, "amount": n % 40,
                "order": 9_007_199_254_740_993_u64 + n}})
        })
        .collect();
    let features = propose(&events, &[]).features;
    let age = |name: &str| (features.attributes[name].kind, features.attributes[name].unit);
    assert_eq!(age("created_at"), (AttributeKind::Age, Some(TimeUnit::S)));
    assert_eq!(age("seen"), (AttributeKind::Age, Some(TimeUnit::Ms)));
    assert_eq!(age("amount"), (AttributeKind::Number, None));
    assert!(!features.attributes.contains_key("order"), "keys are no quantities");
    assert!(!features.counters.iter().any(|c| c.sum.as_deref() == Some("seen")));
}

#[test]
fn samples_give_the_same_picture() {
    let (events, labels) = payments();
    let mut small = Survey::new(SurveyLimits {
        until_ms: None,
        accounts_max: 64,
        keys_max: 64,
        marks_max: 512,
    });
    for event in &events {
        let line = event.to_string();
        small.survey_events(line.as_bytes(), &mut |_| {}).expect("memory can be read");
    }
    for label in &labels {
        let line = label.to_string();
        small.survey_labels(line.as_bytes(), &mut |_| {}).expect("memory can be read");
    }
    let sampled = small.finish();
    let whole = survey(&events, &labels, None).0;
    assert!(
        !sampled.accounts.complete && sampled.accounts.distinct.abs_diff(200) < 90,
        "{}",
        sampled.accounts.distinct
    );
    assert_eq!(whole.accounts.distinct, 200);
    let (of_sample, of_whole) = (sampled.labels.expect("labels"), whole.labels.expect("labels"));
    assert_eq!(
        (of_sample.labels, of_sample.bad, of_sample.lag_ms[1]),
        (of_whole.labels, of_whole.bad, of_whole.lag_ms[1])
    );
    assert_eq!(of_sample.joined_share, 1.0);
}

/// Events of a few shapes from a seed.
fn random_events(seed: u64, count: u64) -> Vec<Value> {
    (0..count)
        .map(|n| {
            let noise = mix(seed.wrapping_mul(1_000_003) + n);
            let mut event = json!({"event_id": format!("e{n}"), "ts": n * (1 + seed % 5000) + noise % 3000,
                "type": format!("t{}", noise % (1 + seed % 4)), "account": format!("u{}", noise % (1 + seed % 50))});
            if seed.is_multiple_of(2) {
                event["target"] = json!(format!("u{}", (noise >> 8) % 40));
            }
            if seed.is_multiple_of(3) {
                event["entities"] = json!({"ip": (noise >> 16) % 30, "peer": [format!("u{}", (noise >> 9) % 40)]});
            }
            if seed.is_multiple_of(5) {
                event["attributes"] = json!({"amount": (noise >> 5) % 500, "ok": noise.is_multiple_of(3), "c": (["a", "b"][noise as usize % 2])});
            }
            event
        })
        .collect()
}

fn random_labels(seed: u64, count: u64) -> Vec<Value> {
    (0..count)
        .map(|n| {
            let noise = mix(seed + n * 7);
            json!({"event_id": format!("e{}", noise % 400), "label": noise % 2, "ts": noise % 2_000_000})
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_proposal_compiles_and_repeats(seed in 0_u64..100_000, count in 1_u64..400) {
        let (events, labels) = (random_events(seed, count), random_labels(seed, count / 4));
        let once = propose(&events, &labels);
        prop_assert_eq!(&once, &propose(&events, &labels));
        let width = propose::columns(&once.features, seed.is_multiple_of(2)).unwrap_or(usize::MAX);
        prop_assert!(width <= propose::COLUMNS_MAX * 5 / 4, "{} columns", width);
    }

    #[test]
    fn nothing_after_until_matters(seed in 0_u64..100_000, share in 1_u64..10, swap in 0_usize..400) {
        let (events, labels) = (random_events(seed, 400), random_labels(seed, 80));
        let until_ms = (400 * (1 + seed % 5000)) * share / 10;
        let before = |values: &[Value]| -> Vec<Value> {
            values.iter().filter(|value| value["ts"].as_u64().is_some_and(|ts| ts <= until_ms)).cloned().collect()
        };
        // The later ones come anywhere in the file, not only behind.
        let mut shuffled = events.clone();
        shuffled.insert(swap % events.len(), json!({"ts": until_ms + 1, "type": "later", "account": "later",
            "entities": {"later": "x"}, "attributes": {"later": 1.0}}));
        let until = Some(until_ms as i64);
        let (cut, _) = survey(&before(&events), &before(&labels), None);
        let (whole, _) = survey(&shuffled, &labels, until);
        prop_assert_eq!(&cut, &whole);
        prop_assert_eq!(Proposal::for_report(&cut), Proposal::for_report(&whole));
    }
}
