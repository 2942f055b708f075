//! What an undisturbed line makes of the same messages in the same order: outputs and state, to the byte.

use super::topics::{self, Inputs};
use detector::config::Loaded;
use detector::kafka::config::KafkaSection;
use detector::kafka::journal::{Entry, Offsets, Reading, Record, Run, Tp};
use engine::effects::Effects;
use engine::{Engine, Input, Name, PublishedAction, Wanted};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A message of an input.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its offset.
    pub offset: i64,
    /// For the engine.
    pub inputs: Vec<Input>,
    /// It cannot be read.
    pub damaged: bool,
}

/// What should be there.
#[derive(Default)]
pub struct Expected {
    /// Scores, as lines.
    pub scores: Vec<String>,
    /// Actions, as lines.
    pub actions: Vec<String>,
    /// The hour whose cap each of them counts in.
    pub cap_hours: Vec<Option<i64>>,
    /// Dead letters: where they lay.
    pub dead_letters: Vec<(Tp, i64)>,
    /// Records of the state.
    pub records: BTreeMap<Name, Vec<u8>>,
}

/// Runs the line over `inputs` in the order of the journal. At each of `rebuilt` a person had the state made anew, of all messages
/// before these positions in the order of their times, and of the actions published until then.
///
/// # Errors
/// When the journal does not lead through every message of the inputs exactly once.
pub fn expected(
    section: &KafkaSection,
    loaded: &Loaded,
    inputs: &Inputs,
    rebuilt: &[Offsets],
    look_up_key: Option<[u8; 16]>,
) -> Result<Expected, String> {
    let runs = order(&topics::lines(section, &section.journal))?;

    let mut line = Line::new(loaded, &section.events, look_up_key);
    let mut queues = inputs.messages.clone();
    let mut rebuilt = rebuilt.iter();
    let mut next = rebuilt.next();
    for run in &runs {
        while let Some(at) = next.filter(|at| behind(run, at)) {
            line.rebuild(loaded, inputs, at);
            next = rebuilt.next();
        }
        let taken = take(&mut queues, run)?;
        line.step(run, taken);
    }
    if let Some(at) = next {
        line.rebuild(loaded, inputs, at);
    }
    if let Some((tp, queue)) = queues.iter().find(|(_, queue)| !queue.is_empty()) {
        return Err(format!("{} messages of {tp} are in no entry of the journal", queue.len()));
    }
    Ok(line.end())
}

/// The order that the journal has, without what does not count, and what was never committed: each mark of an instance that went live
/// says where it began.
fn order(journal: &[String]) -> Result<Vec<Run>, String> {
    let (mut runs, mut reading) = (Vec::<Run>::new(), Reading::default());
    for line in journal {
        let record = Record::read(line.as_bytes())?;
        if !reading.counts(&record) {
            continue;
        }
        match record.entry {
            Entry::Took(took) => runs.extend(took),
            Entry::Begins { .. } | Entry::Decides { .. } => {}
            Entry::Live { at, .. } => {
                let at: Offsets = at
                    .into_iter()
                    .map(|(topic, partition, o)| (Tp { topic, partition }, o))
                    .collect();
                runs.retain(|run| at.get(&run.tp()).is_none_or(|next| run.to < *next));
            }
        }
    }
    Ok(runs)
}

fn behind(run: &Run, at: &Offsets) -> bool {
    run.from >= at.get(&run.tp()).copied().unwrap_or(0)
}

fn take(queues: &mut BTreeMap<Tp, VecDeque<Message>>, run: &Run) -> Result<Vec<Message>, String> {
    let queue = queues.get_mut(&run.tp()).ok_or_else(|| format!("{} is no input", run.tp()))?;
    let n = queue.iter().take_while(|m| m.offset <= run.to).count();
    let taken: Vec<Message> = queue.drain(..n).collect();
    if n != run.n as usize || taken.first().is_none_or(|m| m.offset != run.from) {
        let found = taken.first().map(|m| m.offset);
        return Err(format!("the journal says {run:?}; there are {n} messages from {found:?} on"));
    }
    Ok(taken)
}

struct Line {
    topics: Vec<String>,
    engine: Engine,
    expected: Expected,
}

/// With the key of the state that it is compared with: records have the hashes of their names.
fn engine(loaded: &Loaded, topics: &[String], look_up_key: Option<[u8; 16]>) -> Engine {
    assert!(loaded.config.model.path.is_none(), "this run is without a model");
    let mut engine = Engine::new(loaded.config.clone(), None, engine::Options::default())
        .unwrap_or_else(|problems| panic!("the configuration is good: {problems:?}"));
    if let Some(key) = look_up_key {
        engine.look_up_by(key);
    }
    engine.name_forgotten();
    engine.reads_from(topics);
    engine.want(Wanted { scores: true, ..Wanted::default() });
    engine
}

impl Line {
    fn new(loaded: &Loaded, topics: &[String], look_up_key: Option<[u8; 16]>) -> Self {
        let (engine, topics) = (engine(loaded, topics, look_up_key), topics.to_vec());
        Self { topics, engine, expected: Expected::default() }
    }

    fn step(&mut self, run: &Run, messages: Vec<Message>) {
        let mut inputs = Vec::new();
        for message in messages {
            if message.damaged {
                self.expected.dead_letters.push((run.tp(), message.offset));
            }
            inputs.extend(message.inputs);
        }
        let mut effects = Effects::default();
        self.engine.step(inputs, &mut effects);
        let finisher = self.engine.finisher();
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).expect("outputs are text").trim_end().to_owned()
        };
        for draft in effects.actions.drain(..) {
            let mut bytes = Vec::new();
            let action = finisher.finish(draft);
            action.write(&mut bytes);
            self.expected.cap_hours.push(action.cap_hour);
            self.expected.actions.push(text(bytes));
        }
        for s in &effects.scores {
            let mut bytes = Vec::new();
            engine::wire::write_score(&mut bytes, &s.event_id, &s.account, s.ts_ms, s.score);
            self.expected.scores.push(text(bytes));
        }
        for (source, _) in &effects.rejects {
            let tp = Tp { topic: run.t.clone(), partition: source.partition };
            self.expected.dead_letters.push((tp, source.offset));
        }
    }

    /// As `--rebuild-from earliest` does it.
    fn rebuild(&mut self, loaded: &Loaded, inputs: &Inputs, at: &Offsets) {
        self.engine = engine(loaded, &self.topics, self.engine.look_up_key());
        self.engine.want(Wanted { state_only: true, ..Wanted::default() });
        let mut queues: BTreeMap<&Tp, VecDeque<&Message>> = BTreeMap::new();
        for (tp, queue) in &inputs.messages {
            let end = at.get(tp).copied().unwrap_or(0);
            queues.insert(tp, queue.iter().take_while(|m| m.offset < end).collect());
        }
        let time = |message: &Message| match message.inputs.first() {
            Some(Input::Event(event, _)) => event.ts_ms,
            Some(Input::Label(label)) => label.ts_ms,
            _ => i64::MIN,
        };
        // A message whose time is ahead does not hold back those behind it.
        let soonest = |queue: &VecDeque<&Message>| queue.iter().take(16).map(|m| time(m)).min();
        let mut effects = Effects::default();
        loop {
            let open = queues.values_mut().filter(|queue| !queue.is_empty());
            let Some(queue) = open.min_by_key(|queue| soonest(queue)) else {
                break;
            };
            let message = queue.pop_front().expect("it is not empty");
            self.engine.step(message.inputs.clone(), &mut effects);
            effects.clear();
        }
        for (action, cap_hour) in self.expected.actions.iter().zip(&self.expected.cap_hours) {
            let action: Value = serde_json::from_str(action).expect("an action is JSON");
            let text = |name: &str| action[name].as_str();
            self.engine.apply_published(&PublishedAction {
                account: text("account").expect("it has one"),
                action: text("action").expect("it has one"),
                rule: text("rule").expect("it has one"),
                at_ms: action["decided_at"].as_i64().or(action["at"].as_i64()).expect("it has one"),
                expires_at_ms: action["expires_at"].as_i64(),
                action_id: text("action_id").expect("it has one"),
                event_id: action["event"]["id"].as_str().expect("it has one"),
                shadow: action["shadow"].as_bool().expect("it says so"),
                degraded_from: text("degraded_from"),
                cap_hour: *cap_hour,
                reverses: text("reverses"),
            });
        }
        self.engine.want(Wanted { scores: true, ..Wanted::default() });
    }

    fn end(mut self) -> Expected {
        // Everything was touched since this engine began, and so is everything saved.
        let records = &mut self.expected.records;
        self.engine.save_named(&mut |name, value| {
            match value {
                Some(value) => records.insert(name, value),
                None => records.remove(&name),
            };
        });
        self.expected
    }
}

/// What is there twice, and what of two lists is only in one: missing, too much.
pub fn compare<T: Ord + Clone>(found: &[T], expected: &[T]) -> (Vec<T>, Vec<T>, Vec<T>) {
    let mut twice = Vec::new();
    let mut seen: BTreeSet<&T> = BTreeSet::new();
    for one in found {
        if !seen.insert(one) {
            twice.push(one.clone());
        }
    }
    let wanted: BTreeSet<&T> = expected.iter().collect();
    let missing = wanted.difference(&seen).map(|one| (*one).clone()).collect();
    let other = seen.difference(&wanted).map(|one| (*one).clone()).collect();
    (twice, missing, other)
}

/// Everything that the inputs hold, as the service reads it.
pub fn inputs(section: &KafkaSection, loaded: &Loaded) -> Inputs {
    let engine = engine(loaded, &section.events, None);
    let times = section.check().unwrap_or_else(|e| panic!("the section is good: {e:?}"));
    let reader = detector::kafka::source::Reader::new(
        std::sync::Arc::new(engine.decoder()),
        &section.events,
        &section.labels,
        times.clock_ahead_max_ms,
        None,
    );
    topics::inputs(section, &reader)
}
