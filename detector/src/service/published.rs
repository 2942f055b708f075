//! What was really done about accounts, out of the topic of actions into the policy's records: a silent replay decides nothing.

use super::Settings;
use crate::kafka::client::Trouble;
use crate::kafka::config::Delivery;
use crate::kafka::journal::{Offsets, Stood, Tp};
use crate::kafka::publish::CAP_HOUR;
use crate::kafka::tail::Tail;
use crate::kafka::topics::Topics;
use engine::{Engine, PublishedAction};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

/// Actions that may wait for the messages that led to them. Beyond, they are put back at once.
const WAITING_MAX: usize = 50_000;
/// Ids of actions that are remembered, to know one that comes again.
const IDS_MAX: usize = 200_000;

/// What an action did to its account's record: the fields of the contract that matter for it.
#[derive(Deserialize)]
struct Published {
    action_id: String,
    action: String,
    account: String,
    at: i64,
    expires_at: Option<i64>,
    rule: String,
    shadow: bool,
    degraded_from: Option<String>,
    reverses: Option<String>,
    event: Option<Of>,
    /// See [`CAP_HOUR`].
    #[serde(skip)]
    cap_hour: Option<i64>,
}

/// The message that led to it.
#[derive(Deserialize)]
struct Of {
    partition: i32,
    offset: i64,
}

impl Published {
    /// Reads an action; none: it is not one.
    fn read(message: &BorrowedMessage<'_>) -> Option<Self> {
        let action: Self = serde_json::from_slice(message.payload()?).ok()?;
        let headers = message.headers();
        let hour = headers.and_then(|all| all.iter().find(|header| header.key == CAP_HOUR)?.value);
        let hour = hour.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        Some(Self { cap_hour: hour, ..action })
    }

    fn apply(&self, engine: &mut Engine) {
        engine.apply_published(&PublishedAction {
            account: &self.account,
            action: &self.action,
            rule: &self.rule,
            at_ms: self.at,
            expires_at_ms: self.expires_at,
            action_id: &self.action_id,
            shadow: self.shadow,
            degraded_from: self.degraded_from.as_deref(),
            cap_hour: self.cap_hour,
            reverses: self.reverses.as_deref(),
        });
    }

    /// Whether the message that led to it was taken.
    fn is_due(&self, events: &[String], at: &Offsets) -> bool {
        let Some(of) = self.event.as_ref().filter(|_| self.reverses.is_none()) else { return true };
        events.iter().all(|topic| {
            let tp = Tp { topic: topic.clone(), partition: of.partition };
            at.get(&tp).is_none_or(|next| *next > of.offset)
        })
    }
}

/// Which actions are to be put back.
pub enum Due<'a> {
    /// Those that were led to by messages before these positions.
    Taken(&'a Offsets),
    /// Those before these places in their topic.
    Before(&'a Stood),
}

impl Due<'_> {
    fn has(&self, events: &[String], partition: i32, (offset, action): &(i64, Published)) -> bool {
        match self {
            Due::Taken(at) => action.is_due(events, at),
            Due::Before(stood) => is_before(stood, partition, *offset),
        }
    }
}

fn is_before(stood: &Stood, partition: i32, offset: i64) -> bool {
    stood.iter().any(|(p, end)| *p == partition && offset < *end)
}

/// At least once an action may come again, also long after; it is put back once.
struct Again {
    /// The state that this began with has what was led to by messages before these positions.
    since: Offsets,
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Again {
    /// Whether it came before; it is remembered.
    fn came(&mut self, action: &Published, events: &[String]) -> bool {
        let of = action.event.as_ref().filter(|_| action.reverses.is_none());
        let is_in_state = of.is_some_and(|of| {
            events.iter().all(|topic| {
                let tp = Tp { topic: topic.clone(), partition: of.partition };
                self.since.get(&tp).is_some_and(|next| of.offset < *next)
            })
        });
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

/// The actions, followed.
pub struct Actions {
    tail: Tail,
    waiting: BTreeMap<i32, VecDeque<(i64, Published)>>,
    waiting_len: usize,
    events: Vec<String>,
    unknown: u64,
    again: Option<Again>,
}

impl Actions {
    /// Begins behind those that a state knows, in which everything before `since` is; partitions of the actions that it does not know
    /// of, at their first one.
    ///
    /// # Errors
    /// When an offset does not exist any more.
    pub fn start(
        settings: &Settings,
        topics: &Topics,
        known: &BTreeMap<i32, i64>,
        since: Offsets,
    ) -> Result<Self, Trouble> {
        let topic = &settings.kafka.actions;
        let tp = |partition| Tp { topic: topic.clone(), partition };
        let mut from: Offsets = known.iter().map(|(p, o)| (tp(*p), *o)).collect();
        for partition in 0..topics.partitions(topic)? {
            if !known.contains_key(&partition) {
                from.insert(tp(partition), topics.bounds(&tp(partition))?.0);
            }
        }
        let again = match settings.kafka.delivery {
            Delivery::ExactlyOnce => None,
            Delivery::AtLeastOnce => {
                Some(Again { since, ids: HashSet::new(), order: VecDeque::new() })
            }
        };
        Ok(Self {
            again,
            tail: Tail::start(&settings.kafka, topics, from)?,
            waiting: BTreeMap::new(),
            waiting_len: 0,
            events: settings.kafka.events.clone(),
            unknown: 0,
        })
    }

    /// Begins at the first actions that there are.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn from_the_first(settings: &Settings, topics: &Topics) -> Result<Self, Trouble> {
        Self::start(settings, topics, &BTreeMap::new(), Offsets::new())
    }

    /// Puts back what is there and is due.
    ///
    /// # Errors
    /// As [`Tail::poll`].
    pub fn follow(&mut self, engine: &mut Engine, due: &Due<'_>) -> Result<(), Trouble> {
        let most = WAITING_MAX.saturating_sub(self.waiting_len);
        let (waiting, unknown, mut read) = (&mut self.waiting, &mut self.unknown, 0);
        self.tail.poll(Duration::ZERO, most, &mut |tp, message| {
            read += usize::from(queue(waiting, unknown, tp, message));
        })?;
        self.waiting_len += read;
        // What is not before a place may have to be decided again: it waits, and what is behind it stays in the topic.
        let force = self.waiting_len >= WAITING_MAX && matches!(due, Due::Taken(_));
        self.put_back(engine, |events, p, first| force || due.has(events, p, first));
        Ok(())
    }

    fn put_back(
        &mut self,
        engine: &mut Engine,
        due: impl Fn(&[String], i32, &(i64, Published)) -> bool,
    ) {
        for (partition, queue) in &mut self.waiting {
            while queue.front().is_some_and(|first| due(&self.events, *partition, first)) {
                if let Some((_, first)) = queue.pop_front() {
                    self.waiting_len -= 1;
                    if !self.again.as_mut().is_some_and(|again| again.came(&first, &self.events)) {
                        first.apply(engine);
                    }
                }
            }
        }
    }

    /// Puts back all that there are, or all before `stood`: what is behind is decided again.
    ///
    /// # Errors
    /// As [`Tail::to_end`].
    pub fn take_all(
        &mut self,
        engine: &mut Engine,
        topics: &Topics,
        stood: Option<&Stood>,
    ) -> Result<(), Trouble> {
        let before =
            |partition, offset| stood.is_none_or(|stood| is_before(stood, partition, offset));
        self.put_back(engine, |_, partition, (offset, _)| before(partition, *offset));
        let Self { tail, events, unknown, again, .. } = self;
        tail.to_end(topics, &mut |tp, message| {
            if !before(tp.partition, message.offset()) {
                return;
            }
            match Published::read(message) {
                Some(action) => {
                    if !again.as_mut().is_some_and(|again| again.came(&action, events)) {
                        action.apply(engine);
                    }
                }
                None => *unknown += 1,
            }
        })?;
        if self.unknown > 0 {
            tracing::warn!(
                unknown = self.unknown,
                "messages in the topic of actions are no actions; they were passed over"
            );
        }
        Ok(())
    }
}

/// Whether it is an action; then it waits.
fn queue(
    waiting: &mut BTreeMap<i32, VecDeque<(i64, Published)>>,
    unknown: &mut u64,
    tp: &Tp,
    message: &BorrowedMessage<'_>,
) -> bool {
    match Published::read(message) {
        Some(published) => {
            waiting.entry(tp.partition).or_default().push_back((message.offset(), published));
            true
        }
        None => {
            *unknown += 1;
            false
        }
    }
}
