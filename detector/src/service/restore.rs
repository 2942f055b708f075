//! Published actions on their way into the policy's records of a state that follows: each waits until the message that led to it was
//! taken. No input or output: the topic is read in [`super::published`].

use crate::kafka::journal::{Offsets, Stood, Tp};
use engine::{Engine, PublishedAction};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet, VecDeque};

/// Actions that may wait for the messages that led to them; the others stay in the topic meanwhile.
pub const WAITING_MAX: usize = 50_000;
/// Ids of actions that are remembered, to know one that comes again.
const IDS_MAX: usize = 200_000;

/// What an action did to its account's record: the fields of the contract that matter for it.
#[derive(Deserialize)]
pub struct Published {
    action_id: String,
    action: String,
    account: String,
    at: i64,
    /// Only where it is another time than `at`.
    decided_at: Option<i64>,
    expires_at: Option<i64>,
    rule: String,
    shadow: bool,
    degraded_from: Option<String>,
    reverses: Option<String>,
    event: Option<Cause>,
    /// The hour whose cap it counted in: a header, see [`crate::kafka::publish::CAP_HOUR`].
    #[serde(skip)]
    cap_hour: Option<i64>,
}

/// The message that led to an action.
#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    id: String,
    /// Earlier versions did not say.
    topic: Option<String>,
    partition: i32,
    offset: i64,
}

impl Published {
    /// Reads an action and the header with its hour; `None`: it is no action.
    pub fn read(payload: &[u8], cap_hour: Option<&[u8]>) -> Option<Self> {
        let action: Self = serde_json::from_slice(payload).ok()?;
        let cap_hour = cap_hour.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        Some(Self { cap_hour, ..action })
    }

    /// Lets it take effect on its account's record.
    pub fn apply(&self, engine: &mut Engine) {
        engine.apply_published(&PublishedAction {
            account: &self.account,
            action: &self.action,
            rule: &self.rule,
            at_ms: self.decided_at.unwrap_or(self.at),
            expires_at_ms: self.expires_at,
            action_id: &self.action_id,
            event_id: self.event.as_ref().map_or("", |of| &of.id),
            shadow: self.shadow,
            degraded_from: self.degraded_from.as_deref(),
            cap_hour: self.cap_hour,
            reverses: self.reverses.as_deref(),
        });
    }

    /// The message that led to it; none for a reversal, which is led to by a label and comes behind what it undoes.
    fn cause(&self) -> Option<&Cause> {
        self.event.as_ref().filter(|_| self.reverses.is_none())
    }

    /// Whether the message that led to it lies before these positions. A partition without one was not read yet: its accounts are not
    /// known, and an action restored now would find nobody.
    fn is_due(&self, events: &[String], at: &Offsets) -> bool {
        // Nothing more is taken from a topic that is no input any more.
        self.cause().is_none_or(|cause| !cause.is_of_one(events) || cause.is_before(events, at))
    }
}

impl Cause {
    fn is_before(&self, events: &[String], at: &Offsets) -> bool {
        let is_taken = |topic: &String| {
            let tp = Tp { topic: topic.clone(), partition: self.partition };
            at.get(&tp).is_some_and(|next| self.offset < *next)
        };
        match &self.topic {
            Some(topic) => is_taken(topic),
            None => events.iter().all(is_taken),
        }
    }

    /// Whether its topic is an input.
    fn is_of_one(&self, events: &[String]) -> bool {
        self.topic.as_ref().is_none_or(|topic| events.contains(topic))
    }

    fn is(&self, tp: &Tp, offset: i64) -> bool {
        (self.partition, self.offset) == (tp.partition, offset)
            && self.topic.as_ref().is_none_or(|topic| *topic == tp.topic)
    }
}

/// Which actions are to be restored.
#[derive(Clone, Copy)]
pub enum Due<'a> {
    /// Those that were led to by messages before these positions.
    Taken(&'a Offsets),
    /// Those before these offsets of their topic.
    Before(&'a Stood),
    /// All.
    All,
}

impl Due<'_> {
    fn has(&self, events: &[String], partition: i32, offset: i64, action: &Published) -> bool {
        match self {
            Due::Taken(at) => action.is_due(events, at),
            Due::Before(stood) => stood.iter().any(|(p, end)| *p == partition && offset < *end),
            Due::All => true,
        }
    }
}

/// At least once an action may come again, also long after; it is restored once.
struct Again {
    /// The state that this began with has what was led to by messages before these positions.
    since: Offsets,
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Again {
    /// Whether it came before; it is remembered.
    fn came(&mut self, action: &Published, events: &[String]) -> bool {
        let is_in_state = action.cause().is_some_and(|cause| cause.is_before(events, &self.since));
        if is_in_state || !self.ids.insert(action.action_id.clone()) {
            return true;
        }
        self.order.push_back(action.action_id.clone());
        if self.order.len() > IDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        false
    }
}

/// Actions that were read and are not restored yet, each partition of their topic in its order.
pub struct Waiting {
    queues: BTreeMap<i32, VecDeque<(i64, Published)>>,
    len: usize,
    events: Vec<String>,
    again: Option<Again>,
}

impl Waiting {
    /// None yet. `events` are the topics that messages are taken from.
    pub fn new(events: &[String]) -> Self {
        Self { queues: BTreeMap::new(), len: 0, events: events.to_vec(), again: None }
    }

    /// As [`Waiting::new`], and actions may come again: the state has what messages before `since` led to.
    pub fn at_least_once(events: &[String], since: Offsets) -> Self {
        let again = Again { since, ids: HashSet::new(), order: VecDeque::new() };
        Self { again: Some(again), ..Self::new(events) }
    }

    /// How many more may wait.
    pub fn room(&self) -> usize {
        WAITING_MAX.saturating_sub(self.len)
    }

    /// Adds the next action of a partition.
    pub fn push(&mut self, partition: i32, offset: i64, action: Published) {
        self.queues.entry(partition).or_default().push_back((offset, action));
        self.len += 1;
    }

    /// Whether an action waits for this very message: it is restored before the next one is taken, which may be about an account that
    /// was forgotten and is another one then.
    pub fn wait_for(&self, tp: &Tp, offset: i64) -> bool {
        let first = |queue: &VecDeque<(i64, Published)>| {
            let cause = queue.front().and_then(|(_, action)| action.cause());
            cause.is_some_and(|cause| cause.is(tp, offset))
        };
        self.len > 0 && self.queues.values().any(first)
    }

    /// Restores what is due, of each partition up to the first one that is not.
    pub fn restore(&mut self, engine: &mut Engine, due: Due<'_>) {
        let Self { queues, len, events, again } = self;
        for (partition, queue) in queues {
            while let Some((_, action)) =
                queue.pop_front_if(|(offset, action)| due.has(events, *partition, *offset, action))
            {
                *len -= 1;
                if !again.as_mut().is_some_and(|again| again.came(&action, events)) {
                    action.apply(engine);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
