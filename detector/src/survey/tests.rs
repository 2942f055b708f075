//! Whole streams of many shapes: what is found in them, and that every proposal compiles.

use super::sketch::mix;
use super::*;
use features::config::AttributeKind;
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

#[test]
fn a_platform_is_understood() {
    let (events, labels) = platform();
    let proposal = propose(&events, &labels);
    let features = &proposal.features;
    assert!(features.kinds["device"].strong, "{:#?}", proposal.notes);
    assert!(!features.kinds["ip"].strong);
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
    assert_eq!((read.lines, read.taken, bytes), (7, 2, text.len() as u64));
    let unread: Vec<(Unread, (u64, u64))> = read.unread.into_iter().collect();
    assert_eq!(
        unread,
        [
            (Unread::NotJson, (2, 3)),
            (Unread::NoTs, (1, 4)),
            (Unread::NoType, (1, 5)),
            (Unread::NoAccount, (1, 6))
        ]
    );
    let long = format!(
        "{{\"a\":\"{}\"}}\n{{\"ts\":1,\"type\":\"x\",\"account\":\"a\"}}\n",
        "x".repeat(2 << 20)
    );
    let mut survey = Survey::new(SurveyLimits::default());
    let read = survey.survey_events(long.as_bytes(), &mut |_| {}).expect("memory can be read");
    assert_eq!((read.taken, read.unread.get(&Unread::TooLong)), (1, Some(&(1, 1))));
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
        small.observe_event(&serde_json::from_str(&line).expect("readable")).expect("an event");
    }
    for label in &labels {
        let line = label.to_string();
        small.observe_label(&serde_json::from_str(&line).expect("readable")).expect("a label");
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
