//! The publisher's thread.

use super::producer::Prepared;
use super::records::{about, acknowledged, line, reasons, send};
use super::{BATCHES_MAX, Committed, Outputs, PATIENCE, Task};
use crate::kafka::client::Trouble;
use crate::kafka::config::Delivery;
use crate::kafka::fence;
use crate::kafka::journal::{Entry, Offsets, Run, Stood};
use crate::kafka::source::list;
use crate::telemetry::{Stage, Telemetry};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use engine::Finisher;
use engine::effects::Effects;
use engine::wire::write_score;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// With nothing to publish, the clients are served this often.
const SERVED_EVERY: Duration = Duration::from_secs(1);

/// What the thread has.
pub(super) struct Work {
    pub(super) prepared: Prepared,
    pub(super) finisher: Arc<Finisher>,
    /// Next offsets to commit: with transactions those that moved since the last commit; else all, so that one commit mends what a
    /// paused publisher set back.
    pub(super) pending: Offsets,
    pub(super) buffer: Vec<u8>,
    pub(super) give_back: Sender<Effects>,
    pub(super) commit_interval: Duration,
    pub(super) first: Option<Entry>,
    /// Where the actions stood when this commit began, until the journal has it.
    pub(super) stood: Stood,
    /// At least once: the journal has been written to, and it was not seen since that this arrived.
    pub(super) unseen: bool,
    /// When the events of the open transaction's actions were produced.
    pub(super) produced_ms: Vec<i64>,
    pub(super) telemetry: Telemetry,
}

impl Work {
    pub(super) fn run(&mut self, queue: &Receiver<Task>) -> Result<(), Trouble> {
        // The first transaction says where this instance begins, even if no message ever comes.
        self.begin()?;
        if let Some(live) = self.first.take() {
            if self.transactional() {
                self.journal(Entry::Begins { epoch: self.prepared.epoch }, Stood::new())?;
            }
            self.journal(live, Stood::new())?;
            self.decides()?;
        }
        self.commit(CommitMode::Sync)?;
        loop {
            let first = match queue.recv_timeout(SERVED_EVERY) {
                Err(RecvTimeoutError::Timeout) => {
                    self.serve();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(first) => first,
            };
            let mut message = match first {
                Task::Cut(reply) => {
                    if !self.transactional() {
                        // The last commit may not have been answered.
                        self.commit(CommitMode::Sync)?;
                    }
                    let _ = reply.send(self.committed());
                    continue;
                }
                publish => Some(publish),
            };
            self.begin()?;
            let until = Instant::now() + self.commit_interval;
            let mut cut = None;
            loop {
                let mut behind = None;
                match message.take() {
                    Some(Task::Publish(outputs)) if self.transactional() => {
                        self.produce(*outputs)?;
                    }
                    Some(Task::Publish(outputs)) => {
                        behind = self.produce_after_the_journal(*outputs, queue)?;
                    }
                    Some(Task::DecideBy(finisher)) => {
                        self.finisher = finisher;
                        self.decides()?;
                    }
                    Some(Task::Reached(at)) => {
                        // What comes next says where the actions stand, and that is behind all of these.
                        self.pending.extend(at);
                        break;
                    }
                    Some(Task::Cut(reply)) => {
                        cut = Some(reply);
                        break;
                    }
                    None => break,
                }
                if behind.is_some() {
                    message = behind;
                    continue;
                }
                // What waits is handed out after the deadline, too, and a backlog would have no end.
                if Instant::now() >= until {
                    break;
                }
                match queue.recv_deadline(until) {
                    Ok(next) => message = Some(next),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
                }
            }
            // At least once, an answer is waited for only where somebody builds on it: the next commit says more.
            self.commit(if cut.is_some() { CommitMode::Sync } else { CommitMode::Async })?;
            if let Some(reply) = cut {
                let _ = reply.send(self.committed());
            }
        }
    }

    /// Clients that only publish and commit are served here: errors told, tokens renewed.
    fn serve(&self) {
        self.prepared.producer.poll(Duration::ZERO);
        drop(self.prepared.group.poll(Duration::ZERO));
    }

    fn transactional(&self) -> bool {
        self.prepared.section.delivery == Delivery::ExactlyOnce
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        self.serve();
        if self.transactional() {
            let begun = self.prepared.producer.begin_transaction();
            begun.map_err(|e| Trouble::of("cannot begin a transaction", &e))?;
        } else {
            self.stood = self.committed().actions.into_iter().collect();
        }
        Ok(())
    }

    fn commit(&mut self, mode: CommitMode) -> Result<(), Trouble> {
        let begun = Instant::now();
        self.arrived()?;
        let Prepared { producer, group, .. } = &self.prepared;
        let trouble = |what: &'static str| move |e: KafkaError| Trouble::of(what, &e);
        let offsets = list(&self.pending).map_err(trouble("cannot name offsets"))?;
        if self.transactional() {
            if !self.pending.is_empty() {
                let group = group.group_metadata();
                let group = group
                    .ok_or_else(|| Trouble::Fatal("no consumer group is configured".into()))?;
                let sent = producer.send_offsets_to_transaction(&offsets, &group, PATIENCE);
                self.prepared.checked("cannot put offsets into the transaction", sent)?;
            }
            self.prepared.checked("cannot commit", producer.commit_transaction(PATIENCE))?;
            self.pending.clear();
        } else if !self.pending.is_empty() {
            group.commit(&offsets, mode).map_err(trouble("cannot commit offsets"))?;
        }
        self.telemetry.latency(Stage::Publish, begun.elapsed());
        if !self.produced_ms.is_empty() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            for produced_ms in self.produced_ms.drain(..) {
                let produced = Duration::from_millis(u64::try_from(produced_ms).unwrap_or(0));
                self.telemetry.end_to_end(now.saturating_sub(produced));
            }
        }
        Ok(())
    }

    /// Waits until everything that was sent has arrived; at least once it also sees to it that the journal is still this publisher's.
    fn arrived(&mut self) -> Result<(), Trouble> {
        let Prepared { producer, deliveries, section, writer, .. } = &self.prepared;
        self.prepared.checked("cannot publish", acknowledged(producer))?;
        if self.transactional() {
            return Ok(());
        }
        let strange = deliveries.chain.lock().ok().and_then(|mut chain| chain.take_strange());
        self.unseen = false;
        strange.map_or(Ok(()), |from| fence::look(section, from, writer))
    }

    /// At least once: writes the order of a batch, and of those that wait behind it, and publishes what they led to once the order of
    /// all so far is there for good. Whoever takes over publishes the same again, since it takes them in this order. Nothing is waited
    /// for where they led to nothing. Returns what came behind them.
    fn produce_after_the_journal(
        &mut self,
        first: Outputs,
        queue: &Receiver<Task>,
    ) -> Result<Option<Task>, Trouble> {
        let (mut group, mut behind) = (vec![first], None);
        while group.len() < BATCHES_MAX {
            match queue.try_recv() {
                Ok(Task::Publish(outputs)) => group.push(*outputs),
                Ok(other) => {
                    behind = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        for outputs in &mut group {
            let runs = std::mem::take(&mut outputs.runs);
            if !runs.is_empty() {
                self.took(runs)?;
            }
        }
        if self.unseen && !group.iter().all(Outputs::is_nothing) {
            self.arrived()?;
        }
        group.into_iter().try_for_each(|outputs| self.produce(outputs))?;
        Ok(behind)
    }

    fn took(&mut self, runs: Vec<Run>) -> Result<(), Trouble> {
        for run in &runs {
            self.pending.insert(run.tp(), run.to + 1);
        }
        let stood = std::mem::take(&mut self.stood);
        self.journal(Entry::Took(runs), stood)
    }

    /// Where outputs stand; right after a commit.
    fn committed(&self) -> Committed {
        let mut committed = Committed::default();
        if let Ok(next) = self.prepared.deliveries.next.lock() {
            for ((topic, partition), offset) in next.iter() {
                if *topic == self.prepared.section.journal {
                    committed.journal = *offset;
                } else if *topic == self.prepared.section.actions {
                    committed.actions.insert(*partition, *offset);
                }
            }
        }
        committed
    }

    fn produce(&mut self, outputs: Outputs) -> Result<(), Trouble> {
        let begun = Instant::now();
        let Outputs { mut effects, dead, runs } = outputs;
        for draft in effects.actions.drain(..) {
            let produced_ms = draft.source().produced_ms;
            if produced_ms > 0 {
                self.produced_ms.push(produced_ms);
            }
            let action = self.finisher.finish(draft);
            self.buffer.clear();
            action.write(&mut self.buffer);
            let headers = about(&action);
            let topic = &self.prepared.section.actions;
            send(
                &self.prepared.producer,
                topic,
                action.account.as_bytes(),
                line(&self.buffer),
                Some(headers),
            )?;
        }
        if let Some(topic) = &self.prepared.section.scores {
            for s in &effects.scores {
                self.buffer.clear();
                write_score(&mut self.buffer, &s.event_id, &s.account, s.ts_ms, s.score);
                send(
                    &self.prepared.producer,
                    topic,
                    s.account.as_bytes(),
                    line(&self.buffer),
                    None,
                )?;
            }
        }
        for letter in &dead {
            let topic = &self.prepared.section.dead_letters;
            let key = letter.key.as_deref().unwrap_or_default();
            send(&self.prepared.producer, topic, key, &letter.original, Some(reasons(letter)))?;
        }
        if !runs.is_empty() {
            self.took(runs)?;
        }
        self.telemetry.latency(Stage::Finish, begun.elapsed());
        effects.clear();
        let _ = self.give_back.try_send(effects);
        Ok(())
    }

    /// Says in the journal what decides.
    fn decides(&mut self) -> Result<(), Trouble> {
        let versions = self.finisher.versions();
        let (model, policy) = (versions.model.clone(), versions.policy.clone());
        self.journal(Entry::Decides { model, policy }, Stood::new())
    }

    fn journal(&mut self, entry: Entry, stood: Stood) -> Result<(), Trouble> {
        self.unseen = true;
        self.prepared.journal(entry, stood)
    }
}
