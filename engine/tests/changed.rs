//! Lists of changes that are taken, put back or dropped: what is saved after them is everything since the last checkpoint.

mod support;

use compact_str::CompactString;
use engine::{Changed, Engine, Name, Options};
use proptest::prelude::*;
use std::collections::BTreeMap;
use support::streams::{BUSY, messages, steps};
use support::{Run, config, engine};

type Named = BTreeMap<Name, Vec<u8>>;

fn fresh() -> Engine {
    let mut engine = engine(&config(BUSY), None, Options::default());
    engine.name_forgotten();
    engine
}

fn save(engine: &mut Engine, records: &mut Named) {
    engine.save_named(&mut |name, value| {
        match value {
            Some(value) => records.insert(name, value),
            None => records.remove(&name),
        };
    });
}

/// What a list names as it is now, and what is in no list.
fn copy(engine: &Engine, mut changed: Changed, records: &mut Named) {
    let put = &mut |name, value: Option<&[u8]>| {
        match value {
            Some(value) => records.insert(name, value.to_vec()),
            None => records.remove(&name),
        };
    };
    engine.save_some(&mut changed, usize::MAX, put);
    engine.save_globals(put);
}

fn loaded(records: &Named) -> Engine {
    let mut engine = fresh();
    let mut loading = engine.loading();
    for (name, value) in records {
        loading.named(name, value).unwrap_or_else(|e| panic!("{e}"));
    }
    loading.finish().unwrap_or_else(|e| panic!("{e}"));
    engine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_follows_and_takes_over_saves_what_the_one_before_would_have(
        steps in steps(90),
        cuts in proptest::collection::vec((1usize..20, 0u8..4), 1..12),
    ) {
        let messages = messages(&steps);
        let (mut live, mut standby) = (Run::new(fresh()), Run::new(fresh()));
        let (mut durable, mut lists) = (Named::new(), Vec::<(usize, Changed)>::new());
        let (mut at, mut durable_at, mut turn) = (0, 0, 0);
        while at < messages.len() {
            let (size, then) = cuts[turn % cuts.len()];
            turn += 1;
            let end = (at + size).min(messages.len());
            live.step(&messages[at..end]);
            standby.step(&messages[at..end]);
            at = end;
            if then & 1 > 0 {
                lists.push((at, standby.engine.take_changed()));
            }
            if then & 2 > 0 {
                save(&mut live.engine, &mut durable);
                durable_at = at;
                lists.retain(|(end, _)| *end > durable_at);
            }
        }
        // The standby takes over with what it has kept, over the last checkpoint of the one before.
        for (_, changed) in lists {
            standby.engine.still_changed(changed);
        }
        let mut taken_over = durable.clone();
        save(&mut standby.engine, &mut taken_over);
        save(&mut live.engine, &mut durable);
        let names = |records: &Named| records.keys().cloned().collect::<Vec<_>>();
        prop_assert_eq!(names(&taken_over), names(&durable), "checkpoint at {} of {}", durable_at, at);
        prop_assert!(taken_over == durable, "values differ");
        prop_assert!(standby.engine.take_changed().is_empty());

        let again = loaded(&durable);
        prop_assert_eq!(again.size().accounts, live.engine.size().accounts);
        if let Err(e) = again.check_invariants() {
            return Err(TestCaseError::fail(format!("{e:?}")));
        }
    }

    #[test]
    fn what_is_copied_a_few_names_at_a_time_is_the_state_at_the_cut(
        steps in steps(90),
        turns in proptest::collection::vec((1usize..20, 0usize..40, 0u8..4), 1..12),
    ) {
        let messages = messages(&steps);
        let (mut whole, mut sliced) = (Run::new(fresh()), Run::new(fresh()));
        let (mut saved, mut copied) = (Named::new(), Named::new());
        let (mut at, mut turn) = (0, 0);
        while at < messages.len() {
            let (size, most, then) = turns[turn % turns.len()];
            turn += 1;
            let end = (at + size).min(messages.len());
            whole.step(&messages[at..end]);
            sliced.step(&messages[at..end]);
            at = end;
            sliced.engine.gather_changed();
            let mut listed = sliced.engine.listed();
            let all = listed.len();
            let mut some = sliced.engine.take_some_changed(&mut listed, most);
            prop_assert_eq!((some.len(), listed.len()), (most.min(all), all - most.min(all)));
            prop_assert_eq!(sliced.engine.listed().len(), listed.len());
            if then & 1 > 0 {
                some.add(sliced.engine.take_changed_beside());
            }
            copy(&sliced.engine, some, &mut copied);
            if then & 2 > 0 || at == messages.len() {
                let rest = sliced.engine.take_changed();
                copy(&sliced.engine, rest, &mut copied);
                save(&mut whole.engine, &mut saved);
                prop_assert!(saved == copied, "at {} of {}", at, messages.len());
                prop_assert!(sliced.engine.take_changed().is_empty());
            }
        }
    }
}

/// What came back under the name of one who was erased has nothing of what was done to that one.
#[test]
fn actions_against_one_who_was_erased_are_not_put_back() {
    let mut run = Run::new(fresh());
    let event = |id: &str, ts: i64| {
        support::Message::Event(format!(
            r#"{{"event_id":"{id}","ts":{ts},"type":"message","account":"a1"}}"#
        ))
    };
    let action = |at_ms: i64| engine::PublishedAction {
        account: "a1",
        action: "suspend",
        rule: "r",
        at_ms,
        expires_at_ms: None,
        action_id: "0123456789abcdef0123456789abcdef",
        event_id: "e1",
        shadow: false,
        degraded_from: None,
        cap_hour: None,
        reverses: None,
    };
    let last =
        |run: &mut Run| run.engine.explain("a1").and_then(|found| found.last_action).is_some();
    run.step(&[event("e1", 1_000_000)]);
    run.engine.apply_published(&action(1_000_000));
    assert!(last(&mut run), "it is put back while the account is there");
    let erase = r#"{"type":"erase","account":"a1","ts":1000001}"#.to_owned();
    run.step(&[support::Message::Label(erase), event("e2", 1_000_002)]);
    run.engine.apply_published(&action(1_000_000));
    assert!(!last(&mut run), "what was done before it was erased");
    let reverse = engine::PublishedAction {
        action: "reverse",
        reverses: Some("0123456789abcdef0123456789abcdef"),
        ..action(1_000_003)
    };
    run.engine.apply_published(&reverse);
    let mut records = Named::new();
    save(&mut run.engine, &mut records);
    let name = Name::Profile { kind: CompactString::const_new("account"), key: "a1".into() };
    let with_policy = records[&name].clone();
    let mut other = Run::new(fresh());
    other.step(&[event("e1", 1_000_000)]);
    let mut plain = Named::new();
    save(&mut other.engine, &mut plain);
    assert_eq!(with_policy.len(), plain[&name].len(), "no policy record is made");
    run.engine.apply_published(&action(1_000_002));
    assert!(last(&mut run), "what was done to the new one");
}
