//! What was really done about accounts, out of the topic of actions into the policy's records: a silent replay decides nothing.

use super::Settings;
use crate::kafka::client::Trouble;
use crate::kafka::journal::{Offsets, Tp};
use crate::kafka::tail::Tail;
use crate::kafka::topics::Topics;
use engine::{Engine, PublishedAction};
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Actions that may wait for the messages that led to them. Beyond, they are put back at once.
const WAITING_MAX: usize = 50_000;

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
}

/// The message that led to it.
#[derive(Deserialize)]
struct Of {
    partition: i32,
    offset: i64,
}

impl Published {
    fn apply(&self, engine: &mut Engine) {
        engine.apply_published(&PublishedAction {
            account: &self.account,
            action: &self.action,
            rule: &self.rule,
            at_ms: self.at,
            expires_at_ms: self.expires_at,
            action_id: &self.action_id,
            shadow: self.shadow,
            degraded: self.degraded_from.is_some(),
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

/// The actions, followed.
pub struct Actions {
    tail: Tail,
    waiting: BTreeMap<i32, VecDeque<Published>>,
    waiting_len: usize,
    events: Vec<String>,
    unknown: u64,
}

impl Actions {
    /// Begins behind those that a state knows; partitions that it does not know of, at their first one.
    ///
    /// # Errors
    /// When an offset does not exist any more.
    pub fn start(
        settings: &Settings,
        topics: &Topics,
        known: &BTreeMap<i32, i64>,
    ) -> Result<Self, Trouble> {
        let topic = &settings.kafka.actions;
        let tp = |partition| Tp { topic: topic.clone(), partition };
        let mut from: Offsets = known.iter().map(|(p, o)| (tp(*p), *o)).collect();
        for partition in 0..topics.partitions(topic)? {
            if !known.contains_key(&partition) {
                from.insert(tp(partition), topics.bounds(&tp(partition))?.0);
            }
        }
        Ok(Self {
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
        Self::start(settings, topics, &BTreeMap::new())
    }

    /// Puts back what is there and was led to by messages before `at`.
    ///
    /// # Errors
    /// As [`Tail::poll`].
    pub fn follow(&mut self, engine: &mut Engine, at: &Offsets) -> Result<(), Trouble> {
        let most = WAITING_MAX.saturating_sub(self.waiting_len);
        let (waiting, unknown, mut read) = (&mut self.waiting, &mut self.unknown, 0);
        self.tail.poll(Duration::ZERO, most, &mut |tp, _, bytes| {
            read += usize::from(queue(waiting, unknown, tp, bytes));
        })?;
        self.waiting_len += read;
        let force = self.waiting_len >= WAITING_MAX;
        for queue in self.waiting.values_mut() {
            while queue.front().is_some_and(|first| force || first.is_due(&self.events, at)) {
                if let Some(first) = queue.pop_front() {
                    first.apply(engine);
                    self.waiting_len -= 1;
                }
            }
        }
        Ok(())
    }

    /// Puts back all that there are.
    ///
    /// # Errors
    /// As [`Tail::to_end`].
    pub fn take_all(&mut self, engine: &mut Engine, topics: &Topics) -> Result<(), Trouble> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_len = 0;
        waiting.values().flatten().for_each(|first| first.apply(engine));
        let unknown = &mut self.unknown;
        self.tail.to_end(topics, &mut |_, _, bytes| match serde_json::from_slice::<Published>(
            bytes,
        ) {
            Ok(published) => published.apply(engine),
            Err(_) => *unknown += 1,
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
    waiting: &mut BTreeMap<i32, VecDeque<Published>>,
    unknown: &mut u64,
    tp: &Tp,
    bytes: &[u8],
) -> bool {
    match serde_json::from_slice::<Published>(bytes) {
        Ok(published) => {
            waiting.entry(tp.partition).or_default().push_back(published);
            true
        }
        Err(_) => {
            *unknown += 1;
            false
        }
    }
}
