//! A state that follows comes to the records of the one that decided, whatever it sees first: messages, or what they led to.

use super::*;
use engine::effects::{Effects, SourceRef};
use engine::{Input, Name, Options, Wanted};
use std::collections::BTreeSet;

const CONFIG: &str = r#"
[time]
half_lives = ["1m", "10m", "1h", "1d"]
lateness_max = "1h"
jump_max = "30d"
account_ttl = "6h"
session_gap = "5m"
[events]
types = ["message"]
[[counters]]
name = "events"
windows = ["10m"]
[policy]
cooldown = "20m"
warm_up = "1m"
caps_per_hour = { suspend = 2 }
[[rules]]
name = "watch"
when = "account.events.in_10m >= 2"
action = "review"
shadow = true
[[rules]]
name = "burst"
when = "account.events.in_10m >= 3"
action = "suspend"
expires = "30m"
[[rules]]
name = "any"
when = "account.events.in_10m >= 1"
action = "challenge"
cooldown = "1m"
"#;
const EVENTS: [&str; 2] = ["events", "more"];
const LABELS: &str = "labels";
const MINUTE: i64 = 60_000;

type Records = BTreeMap<Name, Vec<u8>>;

fn topics() -> Vec<String> {
    EVENTS.map(str::to_owned).to_vec()
}

fn engine() -> Engine {
    let config = toml::from_str(CONFIG).expect("a configuration");
    let mut engine = Engine::new(config, None, Options::default()).expect("a good one");
    engine.name_forgotten();
    engine.reads_from(&topics());
    engine
}

fn save(engine: &mut Engine, records: &mut Records) {
    engine.save_named(&mut |name, value| {
        match value {
            Some(value) => records.insert(name, value),
            None => records.remove(&name),
        };
    });
}

#[derive(Clone)]
struct Message {
    tp: Tp,
    offset: i64,
    input: Input,
}

/// An action in its topic, and the transaction that it was published in.
struct Sent {
    transaction: usize,
    partition: i32,
    offset: i64,
    payload: Vec<u8>,
    cap_hour: Option<String>,
}

impl Sent {
    fn read(&self) -> Published {
        let hour = self.cap_hour.as_ref().map(|hour| hour.as_bytes());
        Published::read(&self.payload, hour).expect("an action")
    }
}

/// What an instance took and published: transaction after transaction, and its records behind each.
#[derive(Default)]
struct World {
    transactions: Vec<Vec<Message>>,
    actions: Vec<Sent>,
    records: Vec<Records>,
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Where each transaction's messages are made.
struct Maker {
    engine: Engine,
    next: Offsets,
    now: i64,
    number: u32,
}

impl Maker {
    fn place(&mut self, topic: &str, partition: i32) -> (Tp, i64) {
        let tp = Tp { topic: topic.into(), partition };
        let next = self.next.entry(tp.clone()).or_insert(0);
        *next += 1;
        (tp, *next - 1)
    }

    fn event(&mut self, account: u64, (topic, partition): (usize, i32), ts: i64) -> Message {
        self.number += 1;
        let line = format!(
            r#"{{"event_id":"e{}","ts":{ts},"type":"message","account":"a{account}"}}"#,
            self.number
        );
        let event = self.engine.decoder().event(line.as_bytes(), || "none".into());
        let (tp, offset) = self.place(EVENTS[topic], partition);
        let source = SourceRef { topic: topic as u16 + 1, partition, offset, produced_ms: 0 };
        Message { tp, offset, input: Input::Event(event.expect("an event"), source) }
    }

    fn label(&mut self, account: u64, erase: bool) -> Message {
        let what = if erase { r#""type":"erase""# } else { r#""label":0"# };
        let line = format!(r#"{{"account":"a{account}",{what},"ts":{}}}"#, self.now);
        let label = self.engine.decoder().label(line.as_bytes()).expect("a label");
        let (tp, offset) = self.place(LABELS, 0);
        Message { tp, offset, input: Input::Label(label) }
    }
}

/// Accounts of few partitions, and more of both as time goes by; bursts, pauses longer than an account's life, erasures, verdicts, and
/// events that are late.
fn world(random: &mut Random, late: bool) -> World {
    let now = 1_000_000_000_000;
    let mut maker = Maker { engine: engine(), next: Offsets::new(), now, number: 0 };
    let mut world = World::default();
    let mut records = Records::new();
    let (mut ends, mut effects) = ([0i64; 2], Effects::default());
    for transaction in 0..10 {
        let (accounts, partitions) = (2 + transaction, 1 + transaction / 4);
        let mut messages = Vec::new();
        for _ in 0..1 + random.below(8) {
            let account = random.below(accounts);
            let home = ((account % 2) as usize, (account % partitions) as i32);
            maker.now += match random.below(12) {
                0 => 7 * 60 * MINUTE,
                1 => 15 * MINUTE,
                _ => random.below(40_000) as i64,
            };
            let back = if late && random.below(4) == 0 { 3 * 60 * MINUTE } else { 0 };
            let message = match random.below(10) {
                0 => maker.label(account, false),
                1 => maker.label(account, true),
                _ => maker.event(account, home, maker.now - back),
            };
            messages.push(message);
        }
        let mut rest = &messages[..];
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(1 + random.below(rest.len() as u64) as usize);
            rest = behind;
            maker.engine.step(batch.iter().map(|m| m.input.clone()), &mut effects);
            let finisher = maker.engine.finisher();
            for draft in effects.actions.drain(..) {
                let action = finisher.finish(draft);
                let mut payload = Vec::new();
                action.write(&mut payload);
                let partition =
                    i32::from(action.account.as_bytes().last().is_some_and(|b| b % 2 == 1));
                let end = &mut ends[partition as usize];
                world.actions.push(Sent {
                    transaction: transaction as usize,
                    partition,
                    offset: *end,
                    payload,
                    cap_hour: action.cap_hour.map(|hour| hour.to_string()),
                });
                *end += 1;
            }
            effects.clear();
        }
        save(&mut maker.engine, &mut records);
        world.transactions.push(messages);
        world.records.push(records.clone());
    }
    world
}

/// Follows from behind transaction `base` to the end. What is seen of both topics grows by chance; actions are seen no later than what
/// led to them, unless `behind`.
fn follow(world: &World, base: usize, behind: bool, random: &mut Random) -> Records {
    let mut records = world.records[base].clone();
    let mut engine = engine();
    let mut loading = engine.loading();
    for (name, value) in &records {
        loading.named(name, value).expect("a record");
    }
    loading.finish().expect("whole records");
    engine.want(Wanted { state_only: true, ..Wanted::default() });
    let mut at = Offsets::new();
    for message in world.transactions[..=base].iter().flatten() {
        at.insert(message.tp.clone(), message.offset + 1);
    }
    let mut waiting = Waiting::new(&topics());
    let mut actions = world.actions.iter().filter(|sent| sent.transaction > base).peekable();
    let mut messages: VecDeque<(usize, &Message)> = VecDeque::new();
    for (number, transaction) in world.transactions.iter().enumerate().skip(base + 1) {
        messages.extend(transaction.iter().map(|message| (number, message)));
    }
    let last = world.transactions.len() - 1;
    let (mut seen, mut effects) = (base, Effects::default());
    while !messages.is_empty() {
        seen += random.below((last - seen) as u64 + 1) as usize;
        let actions_seen = match behind {
            true => base + random.below((last - base) as u64 + 1) as usize,
            false => seen + random.below((last - seen) as u64 + 1) as usize,
        };
        while let Some(sent) = actions.next_if(|sent| sent.transaction <= actions_seen) {
            waiting.push(sent.partition, sent.offset, sent.read());
        }
        let mut batch = Vec::new();
        let most = 1 + random.below(12) as usize;
        while let Some((_, message)) = messages.pop_front_if(|(number, _)| *number <= seen) {
            batch.push(message.input.clone());
            at.insert(message.tp.clone(), message.offset + 1);
            let waits = waiting.wait_for(&message.tp, message.offset);
            if batch.len() >= most || waits {
                break;
            }
        }
        engine.step(batch, &mut effects);
        waiting.restore(&mut engine, Due::Taken(&at));
    }
    for sent in actions {
        waiting.push(sent.partition, sent.offset, sent.read());
    }
    waiting.restore(&mut engine, Due::All);
    assert_eq!(waiting.room(), WAITING_MAX, "nothing waits any more");
    assert!(effects.actions.is_empty(), "nothing is decided in silence");
    save(&mut engine, &mut records);
    records
}

fn differing(found: &Records, expected: &Records) -> Vec<String> {
    let names: BTreeSet<&Name> = found.keys().chain(expected.keys()).collect();
    let other = names.into_iter().filter(|name| found.get(*name) != expected.get(*name));
    other.map(|name| format!("{name:?}")).collect()
}

#[test]
fn follower_seeing_actions_first_comes_to_the_same_records() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut actions, mut reversals, mut forgotten) = (0, 0, 0);
    for round in 0..400 {
        let world = world(&mut random, true);
        let expected = world.records.last().expect("there are some");
        let base = random.below(world.transactions.len() as u64) as usize;
        let found = follow(&world, base, false, &mut random);
        let differing = differing(&found, expected);
        assert!(differing.is_empty(), "round {round}, from {base}: {differing:?}");
        actions += world.actions.len();
        let of = |sent: &&Sent| sent.read().reverses.is_some();
        reversals += world.actions.iter().filter(of).count();
        forgotten += world.transactions.iter().flatten().filter(|m| m.tp.topic == LABELS).count();
    }
    assert!(
        actions > 2000 && reversals > 50 && forgotten > 1000,
        "{actions} {reversals} {forgotten}"
    );
}

#[test]
fn follower_seeing_messages_first_comes_to_the_same_records() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..400 {
        let world = world(&mut random, false);
        let expected = world.records.last().expect("there are some");
        let base = random.below(world.transactions.len() as u64) as usize;
        let found = follow(&world, base, true, &mut random);
        let differing = differing(&found, expected);
        assert!(differing.is_empty(), "round {round}, from {base}: {differing:?}");
    }
}

fn action(event: &str, account: &str) -> Published {
    let text = format!(
        r#"{{"action_id":"0123456789abcdef0123456789abcdef","action":"suspend","account":"{account}","at":7,
            "expires_at":null,"rule":"burst","shadow":false,"reverses":null,"event":{event}}}"#
    );
    Published::read(text.as_bytes(), Some(b"0")).expect("an action")
}

/// Which of two actions, of one partition, is restored at these positions.
#[test]
fn actions_wait_for_the_message_that_led_to_them() {
    let tp = |topic: &str, partition| Tp { topic: topic.into(), partition };
    let at: Offsets = [(tp("events", 0), 5), (tp("more", 0), 2), (tp("events", 1), 1)].into();
    let table = [
        (r#"{"topic":"events","partition":0,"offset":4}"#, true),
        (r#"{"topic":"events","partition":0,"offset":5}"#, false),
        (r#"{"topic":"more","partition":0,"offset":4}"#, false),
        (r#"{"topic":"more","partition":0,"offset":1}"#, true),
        // Of a partition that nothing was taken from yet.
        (r#"{"topic":"events","partition":2,"offset":0}"#, false),
        (r#"{"topic":"more","partition":1,"offset":0}"#, false),
        // Of a topic that is no input any more.
        (r#"{"topic":"gone","partition":0,"offset":9}"#, true),
        // Of an earlier version, which did not name the topic.
        (r#"{"partition":0,"offset":1}"#, true),
        (r#"{"partition":0,"offset":4}"#, false),
        (r#"{"partition":2,"offset":0}"#, false),
        ("null", true),
    ];
    for (event, expected) in table {
        assert_eq!(action(event, "a").is_due(&topics(), &at), expected, "{event}");
    }
    let mut waiting = Waiting::new(&topics());
    for (offset, (event, _)) in table.iter().enumerate().skip(1) {
        waiting.push(0, offset as i64, action(event, "a"));
    }
    let before = waiting.room();
    waiting.restore(&mut engine(), Due::Taken(&at));
    assert_eq!(waiting.room(), before, "those behind one that waits wait, too");
    assert!(waiting.wait_for(&tp("events", 0), 5) && !waiting.wait_for(&tp("more", 0), 5));
    waiting.restore(&mut engine(), Due::Before(&vec![(1, 9), (0, 3)]));
    assert_eq!(waiting.room(), before + 2);
}

/// However many wait, none is restored before its account is known.
#[test]
fn a_full_queue_takes_no_more_and_restores_nothing_early() {
    let mut waiting = Waiting::new(&topics());
    for offset in 0..WAITING_MAX as i64 {
        let event = format!(r#"{{"topic":"events","partition":0,"offset":{offset}}}"#);
        waiting.push(0, offset, action(&event, "a"));
    }
    assert_eq!(waiting.room(), 0);
    waiting.restore(&mut engine(), Due::Taken(&Offsets::new()));
    assert_eq!(waiting.room(), 0);
}
