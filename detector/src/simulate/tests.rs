//! What must hold of every simulation.

use super::*;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn plan(accounts: u32, events: u64, seed: u64) -> Plan {
    Plan { accounts, events, seed, ..Plan::default() }
}

fn run(plan: &Plan) -> (Vec<SimEvent>, Simulator) {
    let mut simulator = Simulator::new(plan).expect("sound plan");
    (simulator.by_ref().collect(), simulator)
}

/// Events and labels as they are written.
fn bytes(plan: &Plan) -> Vec<u8> {
    let (mut events, mut labels, mut truth) = (Vec::new(), Vec::new(), Vec::new());
    write_stream(plan, &mut events, Some(&mut labels), Some(&mut truth), &mut |_| ())
        .expect("memory can be written");
    [events, labels, truth].concat()
}

#[test]
fn a_seed_stands_for_its_bytes() {
    let first = bytes(&plan(600, 6_000, 1));
    assert_eq!(first, bytes(&plan(600, 6_000, 1)));
    assert_ne!(first, bytes(&plan(600, 6_000, 2)));
    // The same on every machine: FNV-1a of all bytes. Changes whenever the simulation is changed.
    let hash = first.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    assert_eq!(hash, PINNED, "pinned hash is now {hash:#018X}");
}

const PINNED: u64 = 0x8248_9A42_F3D5_E731;

#[test]
fn events_come_in_order_as_many_as_asked_until_the_planned_end() {
    for (accounts, events, days) in [(2_000, 50_000, 60), (500, 20_000, 5), (300, 9_000, 200)] {
        let plan = Plan { days, ..plan(accounts, events, 4) };
        let (seen, simulator) = run(&plan);
        assert_eq!(seen.len() as u64, events);
        for (pair, serial) in seen.windows(2).zip(1..) {
            assert!(pair[0].ts_ms <= pair[1].ts_ms);
            assert_eq!(pair[0].serial, serial);
        }
        assert!(seen[0].ts_ms >= plan.start_ms);
        let planned = (plan.end_ms() - plan.start_ms) as f64;
        let lived = (seen[seen.len() - 1].ts_ms - plan.start_ms) as f64;
        assert!((lived / planned - 1.0).abs() < 0.15, "{days} days planned: {lived} / {planned}");
        assert!(seen.iter().all(|event| event.account < simulator.accounts()));
    }
}

#[test]
fn every_line_is_an_event_in_the_contracts_form() {
    let (events, simulator) = run(&plan(1_500, 30_000, 7));
    let mut line = Vec::new();
    let mut types = BTreeSet::new();
    for event in &events {
        line.clear();
        event.write_json(&mut line);
        let json: Value = serde_json::from_slice(&line).expect("valid JSON");
        assert_eq!(json["event_id"], event.event_id());
        assert_eq!(json["ts"].as_i64(), Some(event.ts_ms));
        assert_eq!(json["type"], event.event_type.name());
        assert_eq!(json["account"], event.account_id());
        assert_eq!(simulator.account_index(json["account"].as_str().unwrap()), Some(event.account));
        for kind in ["device", "ip"] {
            assert!(json["entities"][kind].is_string(), "{json}");
        }
        assert!(json["attributes"]["country"].is_string());
        assert_eq!(json.get("target").and_then(Value::as_str), event.target_id().as_deref());
        assert_ne!(event.target(), Some(event.account), "{json}");
        let needs: &[&str] = match event.event_type {
            EventType::Message | EventType::Reply => {
                &["/target", "/attributes/text_length", "/attributes/has_url"]
            }
            EventType::Payment | EventType::PaymentDeclined => {
                &["/target", "/attributes/amount", "/entities/card"]
            }
            EventType::Review => &["/target", "/attributes/stars"],
            EventType::Withdraw => &["/attributes/amount", "/entities/payout"],
            EventType::PayoutEdit => &["/entities/payout"],
            EventType::Listing => &["/attributes/amount", "/entities/content"],
            EventType::Login => &["/attributes/verified"],
            EventType::ProfileEdit => &["/attributes/field"],
            EventType::View | EventType::Like | EventType::Follow => &["/target"],
            EventType::Report | EventType::Block => &["/target"],
            EventType::Signup | EventType::LoginFailed => &[],
        };
        for pointer in needs {
            assert!(json.pointer(pointer).is_some(), "{pointer} of {json}");
        }
        assert!(!String::from_utf8_lossy(&line).contains("ring"), "the truth must not leak");
        types.insert(event.event_type);
    }
    assert_eq!(types.len(), EventType::ALL.len(), "every type occurs: {types:?}");
}

#[test]
fn every_kind_is_there_in_its_planned_share() {
    let plan = plan(20_000, 300_000, 3);
    let (_, simulator) = run(&plan);
    let mut active: BTreeMap<ActorKind, f64> = BTreeMap::new();
    for index in 0..simulator.accounts() {
        let truth = simulator.truth(index).unwrap();
        if truth.events > 0 {
            *active.entry(truth.kind).or_default() += 1.0;
        }
        let began = truth.started_ms.is_some();
        assert_eq!(began, truth.kind.is_bad() && truth.events > 0);
    }
    for (kind, share) in ActorKind::BAD.into_iter().zip(plan.mix.shares()) {
        let planned = share * plan.bad_share * f64::from(plan.accounts);
        let seen = active.get(&kind).copied().unwrap_or(0.0);
        assert!((0.8..=1.01).contains(&(seen / planned)), "{kind:?}: {seen} of {planned}");
    }
    for kind in ActorKind::ALL.into_iter().filter(|kind| !kind.is_bad()) {
        assert!(active.get(&kind).copied().unwrap_or(0.0) > 100.0, "{kind:?} of {active:?}");
    }
    let names: BTreeSet<&str> = ActorKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), ActorKind::ALL.len());
}

#[test]
fn rings_are_as_many_as_asked() {
    let plan = Plan { rings: 12, ..plan(5_000, 1_000, 3) };
    let simulator = Simulator::new(&plan).unwrap();
    assert!((10..=14).contains(&simulator.rings.len()), "{}", simulator.rings.len());
    let members: usize = simulator.rings.iter().map(|ring| ring.members.len()).sum();
    assert_eq!(members, 150);
}

#[test]
fn labels_come_late_are_sometimes_wrong_and_can_be_appealed() {
    let plan = Plan { label_wrong_share: 0.01, ..plan(20_000, 300_000, 5) };
    let (events, simulator) = run(&plan);
    let mut first = BTreeMap::new();
    let mut first_harm = BTreeMap::new();
    for event in &events {
        first.entry(event.account).or_insert(event.ts_ms);
        if event.harmful {
            first_harm.entry(event.account).or_insert(event.ts_ms);
        }
    }
    let mut bad_now = BTreeMap::new();
    let (mut right, mut wrong, mut waits) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let mut sources = BTreeSet::new();
    let mut nameless = 0;
    let mut line = Vec::new();
    for (k, label) in simulator.labels().iter().enumerate() {
        assert!(k == 0 || simulator.labels()[k - 1].ts_ms <= label.ts_ms);
        sources.insert(label.source);
        if let Some(event) = label.event {
            let known = &events[event.serial as usize - 1];
            assert_eq!((known.ts_ms, known.account), (event.ts_ms, label.account));
            assert!(label.ts_ms > event.ts_ms);
        }
        assert!(label.ts_ms > first[&label.account]);
        assert_eq!(label.bad, label.source != LabelSource::Appeal);
        match (label.bad, first_harm.get(&label.account)) {
            (true, Some(&harm)) => {
                assert!(label.ts_ms > harm, "a true label before the harm");
                if label.event.is_none() && right.insert(label.account) {
                    waits.push(label.ts_ms - harm);
                }
            }
            (true, None) => {
                wrong.insert(label.account);
            }
            (false, harm) => {
                assert!(harm.is_none_or(|&harm| harm > label.ts_ms));
                assert_eq!(bad_now.get(&label.account), Some(&true), "only the labelled appeal");
            }
        }
        bad_now.insert(label.account, label.bad);
        line.clear();
        label.write_json(&mut line);
        let json: Value = serde_json::from_slice(&line).expect("valid JSON");
        assert_eq!(json["label"], u8::from(label.bad));
        assert!(json["account"].is_string() || json["event_id"].is_string());
        nameless += u32::from(json["account"].is_null());
    }
    assert_eq!(sources.len(), 4);
    assert!(nameless > 0);
    let missed = 1.0 - right.len() as f64 / first_harm.len() as f64;
    assert!((0.1..0.2).contains(&missed), "{missed} missed");
    let honest = first.len() - first_harm.len();
    let share = wrong.len() as f64 / honest as f64;
    assert!((0.004..0.016).contains(&share), "{share} wrong");
    let cleared = wrong.iter().filter(|account| !bad_now[account]).count();
    assert!((0.4..0.8).contains(&(cleared as f64 / wrong.len() as f64)), "{cleared} cleared");
    waits.sort_unstable();
    let at = |share: f64| waits[(share * waits.len() as f64) as usize];
    assert!(at(0.1) > HOUR_MS && at(0.5) > 12 * HOUR_MS && at(0.9) > 14 * DAY_MS);
}

#[test]
fn honest_crowds_look_guilty() {
    let (events, simulator) = run(&plan(8_000, 200_000, 6));
    let mut on_device: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    let mut on_ip: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    let mut countries: BTreeMap<u32, BTreeSet<u8>> = BTreeMap::new();
    let mut copies: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    let mut wrote: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    // Events in the night and altogether: of night workers, and of ordinary people.
    let mut nights = [[0.0; 2]; 2];
    let mut declined = 0;
    for event in events.iter().filter(|event| !event.truth.is_bad()) {
        on_device.entry(event.place.device).or_default().insert(event.account);
        on_ip.entry(event.place.ip).or_default().insert(event.account);
        countries.entry(event.account).or_default().insert(event.place.country);
        if event.content != NONE {
            *copies.entry((event.account, event.content)).or_default() += 1;
            wrote.entry(event.content).or_default().insert(event.account);
        }
        declined += u32::from(event.event_type == EventType::PaymentDeclined);
        let awake = match event.truth {
            ActorKind::NightWorker => 0,
            ActorKind::Ordinary => 1,
            _ => continue,
        };
        nights[awake][0] += f64::from(u8::from(event.ts_ms % DAY_MS < 6 * HOUR_MS));
        nights[awake][1] += 1.0;
    }
    let largest = |map: &BTreeMap<u32, BTreeSet<u32>>| map.values().map(BTreeSet::len).max();
    assert!(largest(&on_device) >= Some(15), "shared tablets: {:?}", largest(&on_device));
    assert!(largest(&on_ip) >= Some(150), "campus and carriers: {:?}", largest(&on_ip));
    assert!(largest(&wrote) >= Some(20), "what goes round: {:?}", largest(&wrote));
    assert!(copies.values().max() >= Some(&15), "announcements");
    assert!(declined > 100, "mistyped cards: {declined}");
    let [workers, others] = nights.map(|[night, all]| night / all);
    assert!(workers > 1.6 * others, "night workers: {workers}, others {others}");
    let shared = on_device.values().filter(|accounts| accounts.len() > 1).count();
    assert!(shared > 200, "family tablets and used phones: {shared}");
    let travelled = countries.values().filter(|seen| seen.len() > 1).count();
    assert!(travelled > 150, "travellers: {travelled}");
    // A ring's device in honest hands.
    let rings: BTreeSet<u32> =
        simulator.rings.iter().flat_map(|ring| ring.devices.clone()).collect();
    assert!(on_device.keys().any(|device| rings.contains(device)), "recycled devices");
}

#[test]
fn bad_kinds_do_what_they_are_named_for() {
    let (events, simulator) = run(&plan(8_000, 200_000, 8));
    let of = |kind: ActorKind, act: EventType| {
        events
            .iter()
            .filter(|event| event.truth == kind && event.harmful && event.event_type == act)
            .count()
    };
    assert!(of(ActorKind::SpamRing, EventType::Message) > 300);
    assert!(of(ActorKind::AccountFarm, EventType::Follow) > 30);
    let declined = of(ActorKind::CardTester, EventType::PaymentDeclined);
    assert!(declined > 2 * of(ActorKind::CardTester, EventType::Payment));
    assert!(of(ActorKind::ReviewRing, EventType::Review) > 20);
    assert!(of(ActorKind::RomanceScam, EventType::Reply) > 100);
    assert!(of(ActorKind::Takeover, EventType::Withdraw) > 5);
    // Rings mix harm with pretence, and share what they use.
    let pretended = events.iter().filter(|event| event.truth.is_bad() && !event.harmful).count();
    assert!(pretended > 500, "{pretended}");
    let mut users: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.truth == ActorKind::SpamRing) {
        users.entry(event.place.device).or_default().insert(event.account);
    }
    assert!(users.values().any(|accounts| accounts.len() >= 4));
    // A stolen account was honest before.
    let victim = (0..simulator.accounts())
        .filter(|&index| simulator.truth(index).unwrap().kind == ActorKind::Takeover)
        .filter(|&index| {
            let started = simulator.truth(index).unwrap().started_ms.unwrap();
            events.iter().any(|event| event.account == index && event.ts_ms < started)
        })
        .count();
    assert!(victim > 10, "{victim} stolen accounts with a history");
}

/// The crowd that must stay unharmed: what they have used for long is used by many who are then labelled.
#[test]
fn joe_jobs_use_what_honest_accounts_had_long_before() {
    let (events, simulator) = run(&plan(8_000, 200_000, 8));
    let labelled: BTreeSet<u32> =
        simulator.labels().iter().filter(|label| label.bad).map(|label| label.account).collect();
    let mut firsts: BTreeMap<(u32, u32), i64> = BTreeMap::new();
    for event in &events {
        for thing in [event.place.device, event.content].into_iter().filter(|t| *t != NONE) {
            firsts.entry((thing, event.account)).or_insert(event.ts_ms);
        }
    }
    let mut framed = 0;
    for victim in 0..simulator.accounts() {
        let truth = simulator.truth(victim).unwrap();
        if truth.kind != ActorKind::JoeJob {
            continue;
        }
        assert!(!truth.kind.is_bad() && !truth.harmed);
        let mine = firsts.iter().filter(|((_, who), _)| *who == victim);
        let long_before = |(thing, own_ms): (u32, i64)| {
            let others = firsts.range((thing, 0)..=(thing, u32::MAX));
            let late = others.filter(|((_, who), ms)| {
                labelled.contains(who) && *who != victim && **ms > own_ms + 7 * DAY_MS
            });
            late.count() >= 4
        };
        framed += u32::from(mine.map(|((thing, _), ms)| (*thing, *ms)).any(long_before));
    }
    assert!(framed >= 10, "{framed} accounts with four guilty newcomers on one thing");
    assert!(simulator.rings.iter().any(|ring| ring.frames.is_empty()), "and rings that do not");
}

#[test]
fn memory_is_bounded_by_accounts() {
    let mut simulator = Simulator::new(&plan(1_000, 60_000, 9)).unwrap();
    let mut most = 0;
    while simulator.next().is_some() {
        most = most.max(simulator.queue.len());
    }
    assert!(most < 4_000, "{most} tasks for 1,000 accounts");
}

#[test]
fn the_stream_tells_what_it_wrote() {
    let plan = plan(500, 5_500, 2);
    let (mut events, mut labels, mut truth) = (Vec::new(), Vec::new(), Vec::new());
    let mut told = Vec::new();
    let summary = write_stream(&plan, &mut events, Some(&mut labels), Some(&mut truth), &mut |n| {
        told.push(n)
    })
    .unwrap();
    let lines = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
    assert_eq!((lines(&events), summary.events), (5_500, 5_500));
    assert_eq!(lines(&labels), summary.bad_labels + summary.clearing_labels);
    assert_eq!(lines(&truth), summary.accounts);
    assert_eq!(told, [1_000, 2_000, 3_000, 4_000, 5_000, 5_500]);
    assert_eq!(summary.by_type.iter().map(|entry| entry.1).sum::<u64>(), 5_500);
    assert_eq!(summary.by_kind.iter().map(|entry| entry.1).sum::<u64>(), summary.accounts);
    for line in truth.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let json: Value = serde_json::from_slice(line).expect("valid JSON");
        assert!(json["account"].is_string() && json["kind"].is_string());
        assert_eq!(json["bad"].as_bool().unwrap(), json["started"].is_i64(), "{json}");
    }
    let mut expected = Vec::new();
    for event in Simulator::new(&plan).unwrap() {
        event.write_json(&mut expected);
        expected.push(b'\n');
    }
    assert!(events == expected);
}

#[test]
fn writers_and_plans_that_fail_are_reported() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("disk full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = write_stream(&plan(100, 1_000, 1), &mut Full, None, None, &mut |_| ());
    assert_eq!(error.unwrap_err().to_string(), "disk full");
    let error = write_stream(&plan(3, 10, 1), &mut Vec::new(), None, None, &mut |_| ());
    assert_eq!(error.unwrap_err().to_string(), "accounts is 3; it must be 20 to 50000000");

    let sound = Plan::default();
    let zero = BadMix { spam: 0.0, farm: 0.0, card: 0.0, takeover: 0.0, romance: 0.0, review: 0.0 };
    for (wrong, field) in [
        (Plan { events: 0, ..sound.clone() }, "events"),
        (Plan { days: 0, ..sound.clone() }, "days"),
        (Plan { start_ms: -1, ..sound.clone() }, "start_ms"),
        (Plan { bad_share: f64::NAN, ..sound.clone() }, "bad_share"),
        (Plan { ring_size: [5, 4], ..sound.clone() }, "ring_size[1]"),
        (Plan { evasion: 1.1, ..sound.clone() }, "evasion"),
        (Plan { mix: BadMix { spam: -1.0, ..BadMix::default() }, ..sound.clone() }, "mix.spam"),
        (Plan { mix: zero.clone(), ..sound.clone() }, "all weights in mix"),
    ] {
        let error = wrong.check().unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    }
    assert!(Plan { mix: zero, bad_share: 0.0, ..sound }.check().is_ok());
}

#[test]
fn an_innocent_platform_has_only_wrong_labels() {
    let plan = Plan { bad_share: 0.0, label_wrong_share: 0.02, ..plan(2_000, 30_000, 1) };
    let (events, simulator) = run(&plan);
    assert!(events.iter().all(|event| !event.harmful && !event.truth.is_bad()));
    assert!((0..simulator.accounts()).all(|k| simulator.truth(k).unwrap().started_ms.is_none()));
    assert!(!simulator.labels().is_empty());
    assert_eq!(simulator.truth(2_000), None);
    assert_eq!(simulator.account_index("u1"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_plan_runs_in_order(
        accounts in 20_u32..400,
        events in 1_u64..3_000,
        seed: u64,
        days in 1_u32..400,
        shares in prop::array::uniform8(0.0_f64..1.0),
        rings in 0_u32..30,
        size in 1_u32..40,
        mix in prop::array::uniform6(0.0_f64..1.0),
    ) {
        let plan = Plan {
            accounts, events, seed, days, rings,
            start_ms: 0,
            bad_share: shares[0] * 0.5,
            ring_size: [size, size * 2],
            evasion: shares[1],
            signup_share: shares[2] * 0.95,
            label_wrong_share: shares[3] * 0.5,
            label_missed_share: shares[4],
            appeal_share: shares[5],
            suspend_share: shares[6],
            event_only_share: shares[7],
            mix: BadMix {
                spam: mix[0] + 0.01, farm: mix[1], card: mix[2],
                takeover: mix[3], romance: mix[4], review: mix[5],
            },
            ..Plan::default()
        };
        let (seen, simulator) = run(&plan);
        prop_assert!(seen.len() as u64 <= events);
        prop_assert!(seen.windows(2).all(|pair| pair[0].ts_ms <= pair[1].ts_ms));
        prop_assert!(seen.iter().all(|event| event.ts_ms >= 0 && event.target() != Some(event.account)));
        prop_assert!(simulator.labels().windows(2).all(|pair| pair[0].ts_ms <= pair[1].ts_ms));
    }
}
