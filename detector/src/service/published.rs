//! What was really done about accounts, out of the topic of actions into the policy's records: a silent replay decides nothing.

use super::Settings;
use super::restore::{Due, Published, Waiting};
use crate::kafka::client::Trouble;
use crate::kafka::config::Delivery;
use crate::kafka::fetcher::Fetched;
use crate::kafka::journal::{Offsets, Stood, Tp};
use crate::kafka::signature::{self, Foreign, Of, Signing, Strangers, Verifier};
use crate::kafka::tail::Tail;
use crate::kafka::topics::Topics;
use crate::telemetry::Telemetry;
use engine::Engine;
use std::collections::BTreeMap;
use std::time::Duration;

/// The actions, followed.
pub struct Actions {
    topic: String,
    tail: Tail,
    queue: Queue,
}

/// Actions that wait, and what is known of who writes them.
struct Queue {
    waiting: Waiting,
    verifier: Verifier,
    strangers: Strangers,
}

impl Actions {
    /// Begins behind those that a state knows, in which everything before `since` is; partitions of the actions that it does not know
    /// of, at their first one. `verifier` tells which of them are ours.
    ///
    /// # Errors
    /// When an offset does not exist any more.
    pub fn start(
        settings: &Settings,
        topics: &Topics,
        known: &BTreeMap<i32, i64>,
        since: Offsets,
        (verifier, telemetry): (Verifier, &Telemetry),
    ) -> Result<Self, Trouble> {
        let topic = settings.kafka.actions.clone();
        let from = known.iter().map(|(partition, offset)| {
            (Tp { topic: topic.clone(), partition: *partition }, *offset)
        });
        let events = &settings.kafka.events;
        let waiting = match settings.kafka.delivery {
            Delivery::ExactlyOnce => Waiting::new(events),
            Delivery::AtLeastOnce => Waiting::at_least_once(events, since),
        };
        let tail = Tail::start(&settings.kafka, topics, from.collect())?;
        let strangers = Strangers::new(&topic, telemetry.clone());
        let mut actions = Self { topic, tail, queue: Queue { waiting, verifier, strangers } };
        actions.look_for_partitions(topics)?;
        Ok(actions)
    }

    /// Begins at the first actions that there are.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn from_the_first(
        settings: &Settings,
        topics: &Topics,
        signing: Option<&Signing>,
        telemetry: &Telemetry,
    ) -> Result<Self, Trouble> {
        let verifier = Verifier::first(Of::Actions, signing);
        let (known, since) = (BTreeMap::new(), Offsets::new());
        Self::start(settings, topics, &known, since, (verifier, telemetry))
    }

    /// Which actions are ours.
    pub fn verifier(&mut self) -> &mut Verifier {
        &mut self.queue.verifier
    }

    /// Partitions of the topic that are not read yet are read from their first message.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn look_for_partitions(&mut self, topics: &Topics) -> Result<(), Trouble> {
        let mut new = Offsets::new();
        for partition in 0..topics.partitions(&self.topic)? {
            let tp = Tp { topic: self.topic.clone(), partition };
            if !self.tail.next().contains_key(&tp) {
                let (first, _) = topics.bounds(&tp)?;
                new.insert(tp, first);
            }
        }
        self.tail.add(new)
    }

    /// Reads what is there, as far as more may wait.
    ///
    /// # Errors
    /// As [`Tail::poll`].
    pub fn read(&mut self) -> Result<(), Trouble> {
        let Self { tail, queue, .. } = self;
        let room = queue.waiting.room();
        tail.poll(Duration::ZERO, room, &mut |tp, message| queue.push(tp, message)).map(drop)
    }

    /// Reads to the end as of now, as far as more may wait.
    ///
    /// # Errors
    /// As [`Tail::to_end`].
    pub fn read_to_end(&mut self, topics: &Topics) -> Result<(), Trouble> {
        self.look_for_partitions(topics)?;
        let Self { tail, queue, .. } = self;
        let room = queue.waiting.room();
        tail.towards_end(topics, room, &mut |tp, message| queue.push(tp, message))
    }

    /// See [`Waiting::wait_for`].
    pub fn wait_for(&self, tp: &Tp, offset: i64) -> bool {
        self.queue.waiting.wait_for(tp, offset)
    }

    /// Restores what was read and is due.
    pub fn restore(&mut self, engine: &mut Engine, due: Due<'_>) {
        self.queue.waiting.restore(engine, due);
    }

    /// Restores all that there are, or all before `stood`: what is behind is decided again.
    ///
    /// # Errors
    /// As [`Tail::to_end`].
    pub fn take_all(
        &mut self,
        engine: &mut Engine,
        topics: &Topics,
        stood: Option<&Stood>,
    ) -> Result<(), Trouble> {
        let due = stood.map_or(Due::All, Due::Before);
        self.look_for_partitions(topics)?;
        let Self { tail, queue, .. } = self;
        queue.waiting.restore(engine, due);
        tail.to_end(topics, &mut |tp, message| {
            queue.push(tp, message);
            queue.waiting.restore(engine, due);
        })
    }
}

impl Queue {
    /// An action of ours waits; what is none is passed over.
    fn push(&mut self, tp: &Tp, message: &Fetched<'_>) {
        let (content, signature) = signature::of(message);
        let (partition, offset) = (tp.partition, message.offset());
        let number = self.verifier.check(partition, offset, signature, &content);
        match number.map(|number| (number, Published::read(content.payload, content.cap_hour))) {
            Ok((number, Some(action))) => {
                self.verifier.accept(partition, number);
                self.waiting.push(partition, offset, action);
            }
            Ok((_, None)) => self.strangers.found(partition, offset, Foreign::Unreadable),
            Err(why) => self.strangers.found(partition, offset, why),
        }
    }
}
