//! The state holds `state.memory_max` after every event, and what is not kept near it takes nothing from others.

mod support;

use engine::invariants::{all_accounted_for, same_bytes};
use engine::{Engine, Options};
use std::collections::BTreeMap;
use support::{Message, Run, config, engine, run};

const CONFIG: &str = r#"
[time]
lateness_max = "1h"
jump_max = "30d"
account_ttl = "6h"
[labels]
recent_events_max = 8000
recent_age_max = "1000d"
[kinds.device]
strong = true
ttl = "100d"
[kinds.ip]
[kinds.peer]
is_account = true
[state]
memory_max = "MAX"
[[rules]]
name = "any"
when = "score > 0.01"
action = "review"
cooldown = "1m"
"#;
/// The smallest bound that is allowed; about half of it is for remembered events.
const SMALL: &str = "4MiB";
const LARGE: &str = "1GiB";
const START_MS: u64 = 1_700_000_000_000;

fn fresh(max: &str, strict_ties: bool) -> Engine {
    let options = Options { strict_ties, ..Options::default() };
    engine(&config(&CONFIG.replace("MAX", max)), None, options)
}

/// A stream that is written event by event.
#[derive(Default)]
struct Stream {
    messages: Vec<Message>,
    ts: u64,
}

impl Stream {
    fn event(&mut self, account: &str, more: &str) {
        self.ts += 10;
        let (n, ts) = (self.messages.len(), START_MS + self.ts);
        self.messages.push(Message::Event(format!(
            r#"{{"event_id":"e{n}","ts":{ts},"type":"m","account":"{account}"{more}}}"#
        )));
    }

    fn label(&mut self, text: &str) {
        let ts = START_MS + self.ts;
        self.messages.push(Message::Label(format!(r#"{{{text},"ts":{ts}}}"#)));
    }

    /// An event of one of 40 accounts that always use the same things.
    fn honest(&mut self) {
        let n = self.messages.len() % 40;
        let more = format!(
            r#","target":"h{}","entities":{{"device":"hd{n}","ip":"hi{}"}}"#,
            (n + 1) % 40,
            n % 7
        );
        self.event(&format!("h{n}"), &more);
    }

    /// An event with 32 new devices.
    fn flood(&mut self, account: &str) {
        let n = self.messages.len();
        let keys: Vec<String> = (0..32).map(|k| format!(r#""x{n}-{k}""#)).collect();
        self.event(account, &format!(r#","entities":{{"device":[{}]}}"#, keys.join(",")));
    }
}

/// Takes messages one by one; the bound holds after each.
fn step_by_step(max: &str, messages: &[Message]) -> Run {
    let mut run = Run::new(fresh(max, false));
    for message in messages {
        run.step(std::slice::from_ref(message));
        let used = run.engine.memory_use();
        assert!(used.bytes <= used.max, "{used:?} after {message:?}");
    }
    run.finish();
    run.engine.check_invariants().unwrap_or_else(|e| panic!("{e}"));
    run
}

/// Lines of scores by account, for those whose names begin with `prefix`.
fn scores_of(run: &Run, prefix: &str) -> Vec<String> {
    let text = String::from_utf8(run.output.scores.clone()).expect("text");
    let account = format!("\"account\":\"{prefix}");
    text.lines().filter(|line| line.contains(&account)).map(String::from).collect()
}

#[test]
fn a_flood_of_things_by_a_few_accounts_takes_nothing_from_others() {
    let mut stream = Stream::default();
    (0..200).for_each(|_| stream.honest());
    for n in 0..400 {
        stream.flood(&format!("f{}", n % 8));
        stream.honest();
    }
    let bounded = step_by_step(SMALL, &stream.messages);
    let unbounded = step_by_step(LARGE, &stream.messages);
    let counts = bounded.engine.counts();
    assert!(bounded.engine.memory_use().is_near(), "{:?}", bounded.engine.memory_use());
    assert!(counts.keys_not_kept > 1000 && counts.accounts_not_kept == 0, "{counts:?}");
    assert_eq!((bounded.output.scored, bounded.output.rejects.len()), (1000, 0));
    let (bounded, unbounded) = (scores_of(&bounded, "h"), scores_of(&unbounded, "h"));
    assert_eq!(bounded.len(), 600);
    assert_eq!(bounded, unbounded, "scores of accounts that share nothing with the flood");
}

#[test]
fn accounts_within_their_share_bring_in_things_near_the_bound() {
    let mut stream = Stream::default();
    (0..400).for_each(|n| stream.flood(&format!("f{}", n % 8)));
    let mut run = step_by_step(SMALL, &stream.messages);
    assert!(run.engine.memory_use().is_near());
    let (before, not_kept) = (run.engine.size(), run.engine.counts().keys_not_kept);
    stream.messages.clear();
    stream.event("newcomer", r#","entities":{"device":"n1","ip":"n2"}"#);
    stream.event("f0", r#","entities":{"device":"n3"}"#);
    for message in &mut stream.messages {
        // Ids that were not used before.
        let Message::Event(text) = message else { continue };
        *text = text.replace("\"event_id\":\"e", "\"event_id\":\"again-");
    }
    run.step(&stream.messages);
    assert_eq!(run.engine.counts().keys_not_kept, not_kept + 1, "that of f0");
    assert_eq!(run.engine.size().accounts, before.accounts + 1);
    let known = run.engine.explain("newcomer");
    assert!(known.is_some(), "it is kept");
}

#[test]
fn a_flood_of_accounts_is_scored_as_if_kept_and_takes_nothing_from_others() {
    let mut stream = Stream::default();
    (0..200).for_each(|_| stream.honest());
    for n in 0..4000 {
        stream.event(&format!("n{n}"), &format!(r#","entities":{{"device":"nd{n}"}}"#));
        if n % 8 == 0 {
            stream.honest();
        }
    }
    let bounded = step_by_step(SMALL, &stream.messages);
    let unbounded = step_by_step(LARGE, &stream.messages);
    assert!(bounded.engine.memory_use().is_full(), "{:?}", bounded.engine.memory_use());
    let counts = bounded.engine.counts();
    assert!(counts.accounts_not_kept > 500, "{counts:?}");
    assert_eq!(bounded.output.scored as usize, stream.messages.len());
    assert!(bounded.output.rejects.is_empty());
    assert_eq!(scores_of(&bounded, "h"), scores_of(&unbounded, "h"));
    let (unkept, kept) = (scores_of(&bounded, "n"), scores_of(&unbounded, "n"));
    assert_eq!(unkept[3900..], kept[3900..], "an account that is not kept is scored as a new one");
}

#[test]
fn things_of_nobody_go_near_the_bound() {
    let mut stream = Stream::default();
    stream.flood("leaves");
    (0..40).for_each(|_| stream.honest());
    // Two days: the account expires, its things have 98 days left.
    stream.ts += 2 * 86_400_000;
    (0..400).for_each(|_| stream.honest());
    let mut run = step_by_step(SMALL, &stream.messages);
    let counts = run.engine.counts();
    assert!(run.engine.explain("leaves").is_none() && counts.expired_accounts > 0, "{counts:?}");
    let things = run.engine.size().entities;
    assert!(things >= 32, "{things} things stay while there is room");
    // Near the bound the next round of the sweep takes them.
    let mut accounts = 0;
    while run.engine.size().entities > things - 32 {
        assert!(accounts < 20_000, "{} of {things} things", run.engine.size().entities);
        stream.event(&format!("n{accounts}"), "");
        run.step(&stream.messages[stream.messages.len() - 1..]);
        accounts += 1;
    }
    assert!(run.engine.memory_use().is_near());
    assert_eq!(run.engine.size().entities, things - 32, "what others have stays");
    run.engine.check_invariants().unwrap_or_else(|e| panic!("{e}"));
}

/// Everything at random: floods, new accounts, known ones that meet one another, labels, erasures.
fn mixed(seed: u64) -> Stream {
    let mut stream = Stream::default();
    let mut draw = seed;
    let mut next = |n: u64| {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (draw >> 33) % n
    };
    for n in 0..3000 {
        match next(10) {
            0 => stream.flood(&format!("f{}", next(6))),
            1 => stream.honest(),
            2 => {
                let label = format!(r#""account":"n{}","label":{}"#, next(n + 1), next(2));
                stream.label(&label);
            }
            3 if next(8) == 0 => {
                stream.label(&format!(r#""type":"erase","account":"n{}""#, next(n + 1)));
            }
            3..=5 => {
                let (target, peer) = (next(n + 1), next(n + 1));
                let more = format!(
                    r#","target":"n{target}","entities":{{"device":"d{}","ip":"i{}","peer":["n{peer}","p{n}"]}}"#,
                    next(300),
                    next(300)
                );
                stream.event(&format!("n{}", next(n + 1)), &more);
            }
            _ => stream.event(&format!("n{n}"), &format!(r#","entities":{{"ip":"ni{n}"}}"#)),
        }
        // Some events have the same time as the one before.
        if next(3) == 0 {
            stream.ts = stream.ts.saturating_sub(10);
        }
    }
    stream
}

#[test]
fn near_the_bound_batches_and_restarts_change_nothing() {
    let mut reached = BTreeMap::new();
    for (seed, strict_ties) in [(1, false), (2, true), (3, false), (4, true)] {
        let stream = mixed(seed);
        let one = run(fresh(SMALL, strict_ties), &stream.messages, 1);
        let all = run(fresh(SMALL, strict_ties), &stream.messages, usize::MAX);
        let ok = |result: Result<(), engine::invariants::Broken>| {
            result.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        };
        ok(same_bytes("E2", &one.output.bytes(), &all.output.bytes()));
        let mut other = Run::new(fresh(SMALL, strict_ties));
        for (at, part) in stream.messages.chunks(211).enumerate() {
            other.step(part);
            let before = other.engine.memory_use();
            assert!(before.bytes <= before.max, "seed {seed}: {before:?}");
            other.restart(fresh(SMALL, strict_ties), at as u64);
            assert_eq!(other.engine.memory_use(), before, "seed {seed}: counted from the records");
            ok(other.engine.check_invariants());
        }
        other.finish();
        ok(same_bytes("E3", &one.output.bytes(), &other.output.bytes()));
        assert_eq!(one.engine.counts(), other.engine.counts(), "seed {seed}");
        let (mut one, mut other) = (one, other);
        one.save();
        other.save();
        assert!(one.records == other.records, "seed {seed}: records differ");
        let events = stream.messages.iter().filter(|m| matches!(m, Message::Event(_))).count();
        let counts = one.engine.counts();
        ok(all_accounted_for(events as u64, one.output.scored, 0, &counts));
        *reached.entry("keys").or_insert(0) += counts.keys_not_kept;
        *reached.entry("accounts").or_insert(0) += counts.accounts_not_kept;
    }
    assert!(reached.values().all(|n| *n > 0), "{reached:?}");
}

#[test]
fn a_preview_near_the_bound_is_what_step_says_next_and_leaves_no_trace() {
    use engine::Input;
    use engine::effects::{Effects, SourceRef};

    let stream = mixed(5);
    let (mut asked, mut plain) = (Run::new(fresh(SMALL, false)), Run::new(fresh(SMALL, false)));
    for message in &stream.messages {
        let Message::Event(text) = message else {
            asked.step(std::slice::from_ref(message));
            plain.step(std::slice::from_ref(message));
            continue;
        };
        let event = || asked.decoder.event(text.as_bytes(), || unreachable!("they have ids"));
        let (one, two) = (event().expect("it is read"), event().expect("it is read"));
        let source = SourceRef::default();
        let preview = asked.engine.preview(one.clone(), source).expect("a score");
        let mut effects = Effects::default();
        asked.engine.step([Input::Event(one, source)], &mut effects);
        assert_eq!(preview.score().to_bits(), effects.scores[0].score.to_bits(), "{text}");
        assert_eq!(preview.actions.len(), effects.actions.len(), "{text}");
        plain.engine.step([Input::Event(two, source)], &mut Effects::default());
        assert_eq!(asked.engine.counts(), plain.engine.counts(), "{text}");
    }
    asked.save();
    plain.save();
    assert!(asked.records == plain.records, "records differ");
    assert!(asked.engine.counts().accounts_not_kept > 0);
}

#[test]
fn a_bound_that_cannot_be_held_is_refused() {
    for (max, said) in [
        ("much", "state.memory_max: `much` is not a size"),
        ("8G", "no known unit"),
        ("1MiB", "less than 4194304"),
        ("4000kB", "less than 4194304"),
    ] {
        let config = config(&CONFIG.replace("MAX", max));
        let problems = Engine::new(config, None, Options::default()).err().unwrap_or_default();
        assert!(problems.iter().any(|p| p.contains(said)), "{max}: {problems:?}");
    }
}
