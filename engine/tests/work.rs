//! What a message costs does not grow with what is remembered: counted in records that were moved or passed over, not in time.

mod support;

use engine::{Engine, Options, Work};
use support::{Message, Run, config, engine};

const CONFIG: &str = r#"
[labels]
recent_events_max = 30000
recent_age_max = "1000d"
[kinds.device]
strong = true
[kinds.ip]
"#;
const ACCOUNTS: u64 = 6_000;
const THINGS: u64 = 32;
/// Links of an account at most, by default.
const LINKS_MAX: u64 = 4096;

struct State {
    run: Run,
    ts: u64,
}

impl State {
    fn event(&mut self, account: &str, entities: &str) -> Work {
        self.ts += 10;
        let ts = self.ts;
        self.take(Message::Event(format!(
            r#"{{"event_id":"e{ts}","ts":{ts},"type":"m","account":"{account}","target":"t{}","entities":{{{entities}}}}}"#,
            ts % 977
        )))
    }

    fn take(&mut self, message: Message) -> Work {
        let before = self.run.engine.work();
        self.run.step(&[message]);
        let now = self.run.engine.work();
        Work { moved: now.moved - before.moved, visited: now.visited - before.visited }
    }
}

fn list(letter: char, n: u64, things: u64) -> String {
    let keys: Vec<String> = (0..things).map(|k| format!("\"{letter}{n}-{k}\"")).collect();
    format!("\"device\":[{}]", keys.join(","))
}

fn fresh() -> Engine {
    engine(&config(CONFIG), None, Options::default())
}

#[test]
fn every_kind_of_message_has_bounded_work_over_a_large_state() {
    let mut state = State { run: Run::new(fresh()), ts: 1_700_000_000_000 };
    let mut most = Work::default();
    let worst = |work: Work, most: &mut Work| {
        most.moved = most.moved.max(work.moved);
        most.visited = most.visited.max(work.visited);
    };
    // Seven events an account: more than the memory holds, tables grow past every step up to here.
    for n in 0..ACCOUNTS * 7 {
        let entities = format!(r#""device":"d{}","ip":"i{}""#, n % 4099, n % 907);
        worst(state.event(&format!("a{}", n % ACCOUNTS), &entities), &mut most);
    }
    assert!(most.moved <= 4096 && most.visited == 0, "a usual event: {most:?}");

    let mut most = Work::default();
    for n in 0..300 {
        worst(state.event("hub", &list('h', n, THINGS)), &mut most);
    }
    let links = state.run.engine.explain("hub").expect("it is known");
    assert!(most.moved <= 3 * LINKS_MAX, "32 new things at the cap: {most:?}, {links:?}");
    let begun = state.run.engine.work().moved;
    for n in 0..1000 {
        state.event("hub", &list('i', n, 1));
    }
    let mean = (state.run.engine.work().moved - begun) / 1000;
    assert!(mean <= 400, "a new thing at the cap moves {mean} records on average");

    let named = |state: &State, back: u64| format!("e{}", state.ts - back * 10);
    let mut most = Work::default();
    for n in 0..200 {
        let erase = format!(r#"{{"type":"erase","account":"a{}","ts":{}}}"#, n * 7, state.ts);
        worst(state.take(Message::Label(erase)), &mut most);
        let label =
            format!(r#"{{"event_id":"{}","label":1,"ts":{}}}"#, named(&state, n * 100), state.ts);
        let work = state.take(Message::Label(label));
        assert_eq!(work, Work::default(), "a label that names an event alone");
    }
    assert_eq!(state.run.engine.counts().erased, 200);
    // An account has about five events in the memory; a popular one is named by those of others, too.
    assert!(most.visited <= 40 && most.moved <= LINKS_MAX, "an erasure: {most:?}");
    state.run.engine.check_invariants().unwrap_or_else(|e| panic!("{e}"));
}

/// A thing whose only account floods itself with others goes with its link, and its id is used again.
#[test]
fn things_that_the_cap_of_links_evicts_go_unless_a_label_spoke_of_them() {
    let mut state = State { run: Run::new(fresh()), ts: 1_700_000_000_000 };
    // Of a kind that binds no rings: what binds one is not evicted.
    state.event("hub", r#""ip":["known-bad","labelled-with-it"]"#);
    let label = format!(r#"{{"event_id":"e{}","label":1,"ts":{}}}"#, state.ts, state.ts);
    state.take(Message::Label(label));
    state.event("hub", r#""ip":["shared","of-hub-alone-too"]"#);
    state.event("other", r#""ip":"shared""#);
    for n in 0..300 {
        state.event("hub", &list('h', n, THINGS));
    }
    let size = state.run.engine.size();
    assert!(size.entities <= LINKS_MAX + 3, "{} things of {}", size.entities, 300 * THINGS + 4);
    let counts = state.run.engine.counts();
    assert!(counts.unlinked_entities + LINKS_MAX + 3 >= 300 * THINGS + 4, "{counts:?}");
    state.run.engine.check_invariants().unwrap_or_else(|e| panic!("{e}"));
    // Those that a label or an account still speaks of are known.
    let before = size.entities;
    state.event("other", r#""ip":["known-bad","shared"]"#);
    assert_eq!(state.run.engine.size().entities, before);
    state.event("other", r#""ip":"of-hub-alone-too""#);
    assert_eq!(state.run.engine.size().entities, before + 1, "the other one is new");
}

/// What only an erased account used goes with it, in both forms in which a state is saved.
#[test]
fn things_of_an_erased_account_alone_go_with_it() {
    let mut engine = fresh();
    engine.name_forgotten();
    let mut state = State { run: Run::new(engine), ts: 1_700_000_000_000 };
    state.event("leaves", r#""device":["phone-of-one","shared"],"ip":"10.9.8.7""#);
    state.event("stays", r#""device":"shared""#);
    state.run.save();
    let erase = format!(r#"{{"type":"erase","account":"leaves","ts":{}}}"#, state.ts);
    state.take(Message::Label(erase));
    let mut gone = Vec::new();
    let mut kept = Vec::new();
    state.run.engine.save_named(&mut |name, value| {
        let list = if value.is_none() { &mut gone } else { &mut kept };
        list.push(format!("{name:?}"));
    });
    for key in ["leaves", "phone-of-one", "10.9.8.7"] {
        assert!(gone.iter().any(|name| name.contains(key)), "{key} in {gone:?}");
        assert!(!kept.iter().any(|name| name.contains(key)), "{key} in {kept:?}");
    }
    assert_eq!(state.run.engine.size().entities, 1, "what somebody else uses stays");
}
