//! Nothing lost, nothing twice: against a run over files, and through kills.

use crate::instance::Setup;
use crate::stack::{Record, Stack};
use crate::support::{Chance, Scratch, json_lines, stream};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .filter(|l| !l.trim().is_empty())
        .map(str::to_owned)
        .collect()
}

fn sorted(records: &[Record]) -> Vec<&str> {
    let mut values: Vec<&str> = records.iter().map(|r| r.value.as_str()).collect();
    values.sort_unstable();
    values
}

pub fn configured() -> Scratch {
    let scratch = Scratch::new();
    stream().put(&scratch);
    scratch
}

/// An action without where its event lay: that differs between a file and a topic.
pub fn action(text: &str) -> (String, Value) {
    let mut value: Value = serde_json::from_str(text).expect("an action is JSON");
    let event = value["event"]["id"].clone();
    value["event"] = event;
    (value["action_id"].as_str().expect("it has an id").to_owned(), value)
}

#[test]
fn the_service_publishes_what_a_run_over_files_writes() {
    let stack = Stack::up();
    let s = configured();
    s.run("run --config conf --input events --output actions --scores-out scores").good();
    let expected: BTreeMap<String, Value> =
        lines(&s.read("actions")).iter().map(|l| action(l)).collect();
    assert!(!expected.is_empty());

    for delivery in ["exactly_once", "at_least_once"] {
        let prefix = format!("{}-", &delivery[..2]);
        stack.topics(&prefix, 1);
        stack.produce(&format!("{prefix}events"), &lines(&stream().events));
        let setup = Setup { stack: &stack, scratch: &s, prefix: &prefix, delivery };
        let mut service = setup.start();
        service.idle();
        service.stop();

        let scores = stack.consume(&format!("{prefix}scores"));
        let file = String::from_utf8(s.read("scores")).expect("scores are text");
        let mut of_file: Vec<&str> = file.lines().collect();
        of_file.sort_unstable();
        assert_eq!(sorted(&scores), of_file, "{delivery}: scores");
        let records = stack.consume(&format!("{prefix}actions"));
        let found: BTreeMap<String, Value> = records.iter().map(|r| action(&r.value)).collect();
        assert_eq!(records.len(), found.len(), "{delivery}: an action came twice");
        assert_eq!(found, expected, "{delivery}: actions");
        for record in &records {
            let (id, value) = action(&record.value);
            assert_eq!(record.key.as_deref(), value["account"].as_str());
            assert_eq!(record.headers["ce_id"], id);
            assert_eq!(record.headers["ce_specversion"], "1.0");
        }
        assert_eq!(stack.consume(&format!("{prefix}dead-letters")), []);
    }
}

/// What the accounts' own events made of them, by account.
pub fn profiles(
    service: &crate::instance::Instance,
    accounts: &BTreeSet<String>,
) -> BTreeMap<String, Value> {
    // Whom it met was in a state that depends on how partitions were interleaved; so do labels.
    let own = |name: &str| {
        name.starts_with("account.") && !name.contains("labels") && !name.contains(".met.")
    };
    let read = |account: &String| {
        let ask = || service.get(&format!("/v1/accounts/{account}")).expect("it answers");
        // Questions have a small share of the engine's time; on a busy machine some are turned away.
        let turned_away = |answer: &(u16, Value)| answer.0 == 503;
        let mut answers = (0..24).map(|_| ask()).skip_while(turned_away);
        let (status, mut found) = answers.next().unwrap_or_else(ask);
        assert_eq!(status, 200, "{account}: {found}");
        let profile = found["profile"].as_object_mut().expect("a profile").clone();
        let profile: serde_json::Map<String, Value> =
            profile.into_iter().filter(|(name, _)| own(name)).collect();
        assert!(profile.len() > 5, "{account}: {profile:?}");
        (account.clone(), Value::Object(profile))
    };
    accounts.iter().map(read).collect()
}

#[test]
fn kills_lose_nothing_and_repeat_nothing() {
    let stack = Stack::up();
    let s = configured();
    // Among them times far ahead of all: each counts as of the newest time taken.
    let dirty = lines(&stream().dirty());
    let labels = lines(&stream().labels);
    for prefix in ["calm-", "hit-"] {
        stack.topics(prefix, 4);
    }
    let calm = Setup { stack: &stack, scratch: &s, prefix: "calm-", delivery: "exactly_once" };
    let hit = Setup { stack: &stack, scratch: &s, prefix: "hit-", delivery: "exactly_once" };
    stack.produce("calm-events", &dirty);
    stack.produce("calm-labels", &labels);
    let mut calm = calm.start();
    calm.idle();

    let mut chance = Chance(11);
    let (mut events, mut known) =
        (dirty.chunks(dirty.len().div_ceil(8)), labels.chunks(labels.len().div_ceil(8)));
    let mut kills = 0;
    for round in 0..8 {
        let service = hit.start();
        if let Some(part) = events.next() {
            stack.produce("hit-events", part);
        }
        if let Some(part) = known.next() {
            stack.produce("hit-labels", part);
        }
        // Before it is up, while it loads, while it works: the lease holds for two seconds after the last one.
        std::thread::sleep(Duration::from_millis(if round % 3 == 2 {
            chance.below(900)
        } else {
            2500 + chance.below(3500)
        }));
        service.kill();
        kills += 1;
    }
    assert_eq!(kills, 8);
    let mut hit = hit.start();
    hit.idle();

    let good: Vec<Value> = json_lines(&stream().events);
    let ids: BTreeSet<&str> = good.iter().filter_map(|e| e["event_id"].as_str()).collect();
    let (calm_scores, hit_scores) = (stack.consume("calm-scores"), stack.consume("hit-scores"));
    for scores in [&calm_scores, &hit_scores] {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for record in scores {
            let score: Value = serde_json::from_str(&record.value).expect("a score is JSON");
            *seen
                .entry(score["event_id"].as_str().expect("it has an id").to_owned())
                .or_default() += 1;
        }
        let twice: Vec<_> = seen.iter().filter(|(_, n)| **n > 1).collect();
        assert!(twice.is_empty(), "scored twice: {twice:?}");
        let lost: Vec<_> = ids.iter().filter(|id| !seen.contains_key(**id)).collect();
        assert!(
            lost.is_empty(),
            "{} of {} lost: {:?}",
            lost.len(),
            ids.len(),
            &lost[..lost.len().min(5)]
        );
    }
    assert_eq!(calm_scores.len(), hit_scores.len());
    let (calm_dead, hit_dead) =
        (stack.consume("calm-dead-letters"), stack.consume("hit-dead-letters"));
    assert!(!calm_dead.is_empty());
    assert_eq!(sorted(&calm_dead), sorted(&hit_dead));
    let actions = stack.consume("hit-actions");
    let distinct: BTreeSet<String> = actions.iter().map(|r| action(&r.value).0).collect();
    assert_eq!(actions.len(), distinct.len(), "an action was published twice");
    assert!(!actions.is_empty());

    let accounts: BTreeSet<String> =
        good.iter().filter_map(|e| e["account"].as_str()).map(str::to_owned).take(400).collect();
    let (one, other) = (profiles(&calm, &accounts), profiles(&hit, &accounts));
    for (account, profile) in &one {
        assert_eq!(
            profile, &other[account],
            "the profile of {account} is not what an undisturbed service makes"
        );
    }
    calm.stop();
    hit.stop();
}

#[test]
fn a_state_that_is_gone_is_refused_and_made_anew_when_asked_for() {
    let stack = Stack::up();
    let s = configured();
    let (events, labels) = (lines(&stream().events), lines(&stream().labels));
    stack.topics("g-", 3);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "g-", delivery: "exactly_once" };
    let half = events.len() / 2;
    stack.produce("g-events", &events[..half]);
    stack.produce("g-labels", &labels);
    let mut service = setup.start();
    service.idle();
    let accounts: BTreeSet<String> = json_lines(&stream().events)[..half]
        .iter()
        .filter_map(|e| e["account"].as_str())
        .map(str::to_owned)
        .take(60)
        .collect();
    let before = profiles(&service, &accounts);
    service.stop();

    stack.forget_everything();
    let refused = setup.start().ended();
    assert!(refused.contains("--rebuild-from earliest") && refused.contains("--cold"), "{refused}");

    let mut service = setup.start_with(&["--rebuild-from", "earliest"]);
    service.idle();
    assert_eq!(profiles(&service, &accounts), before, "made anew, the profiles are what they were");
    stack.produce("g-events", &events[half..]);
    service.idle();
    service.stop();
    let scores = stack.consume("g-scores");
    let ids: BTreeSet<String> = scores
        .iter()
        .map(|r| serde_json::from_str::<Value>(&r.value).expect("JSON")["event_id"].to_string())
        .collect();
    assert_eq!(
        (scores.len(), ids.len()),
        (events.len(), events.len()),
        "each event is scored once"
    );

    stack.forget_everything();
    let mut service = setup.start_with(&["--cold"]);
    service.idle();
    let (status, _) = service
        .get(&format!("/v1/accounts/{}", accounts.iter().next().expect("there are some")))
        .expect("it answers");
    assert_eq!(status, 404, "a cold start knows nobody");
    service.stop();
    let mut again = setup.start();
    again.idle();
    again.stop();
    assert_eq!(stack.consume("g-scores").len(), events.len(), "nothing is published a second time");
}
