//! The publisher's thread.

use super::at_least_once::Waiting;
use super::producer::{Prepared, ProducedMs, since};
use super::records::{Finished, acknowledged, line, reasons, send};
use super::{Committed, Outputs, PATIENCE, Task};
use crate::kafka::bell;
use crate::kafka::client::Trouble;
use crate::kafka::config::Delivery;
use crate::kafka::fence;
use crate::kafka::journal::{Entry, Offsets, Run, Stood};
use crate::kafka::signature::Strangers;
use crate::kafka::source::{DeadMessage, list};
use crate::telemetry::{Stage, Telemetry};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use engine::Finisher;
use engine::effects::Effects;
use engine::wire::write_score;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// With nothing to publish, the clients are served this often.
pub(super) const SERVED_EVERY: Duration = Duration::from_secs(1);

/// Runs in a record of the journal, but for those of its last batch: of the longest names, that is half of what a broker takes by default.
const RUNS_MAX: usize = 1024;

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
    /// The order of what was taken, until the journal has it.
    pub(super) order: Vec<Run>,
    /// A transaction was begun, and no order was written in it yet.
    pub(super) is_transaction_new: bool,
    /// Where the actions stood when this commit began, until the journal has it.
    pub(super) stood: Stood,
    /// At least once: outputs that are not sent yet.
    pub(super) waiting: VecDeque<Waiting>,
    /// When the events of the open transaction's actions were produced.
    pub(super) produced_ms: Vec<ProducedMs>,
    pub(super) telemetry: Telemetry,
    /// What others wrote to the journal.
    pub(super) strangers: Strangers,
    /// What lies between this publisher's records is being looked at.
    pub(super) looking: Arc<AtomicBool>,
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
        if self.transactional() { self.exactly_once(queue) } else { self.at_least_once(queue) }
    }

    fn exactly_once(&mut self, queue: &Receiver<Task>) -> Result<(), Trouble> {
        loop {
            let first = match self.next(queue, Instant::now() + SERVED_EVERY) {
                Err(RecvTimeoutError::Timeout) => {
                    self.serve();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(first) => first,
            };
            let mut task = match first {
                Task::Cut(reply) => {
                    let _ = reply.send(self.committed());
                    continue;
                }
                publish => Some(publish),
            };
            self.begin()?;
            let until = Instant::now() + self.commit_interval;
            let mut cut = None;
            loop {
                match task.take() {
                    Some(Task::Publish(outputs)) => self.produce(*outputs)?,
                    Some(Task::DecideBy(finisher)) => self.decide_by(finisher)?,
                    Some(Task::Reached(at)) => {
                        self.pending.extend(at);
                        break;
                    }
                    Some(Task::Cut(reply)) => {
                        cut = Some(reply);
                        break;
                    }
                    None => break,
                }
                // What waits is handed out after the deadline, too, and a backlog would have no end.
                if Instant::now() >= until {
                    break;
                }
                match self.next(queue, until) {
                    Ok(next) => task = Some(next),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
                }
            }
            self.commit(CommitMode::Sync)?;
            if let Some(reply) = cut {
                let _ = reply.send(self.committed());
            }
        }
    }

    fn next(&self, queue: &Receiver<Task>, until: Instant) -> Result<Task, RecvTimeoutError> {
        bell::receive(queue, &self.prepared.deliveries.bell, until)
    }

    /// The client that only commits is served here: errors told, tokens renewed.
    pub(super) fn serve(&self) {
        drop(self.prepared.group.poll(Duration::ZERO));
    }

    fn transactional(&self) -> bool {
        self.prepared.section.delivery == Delivery::ExactlyOnce
    }

    pub(super) fn begin(&mut self) -> Result<(), Trouble> {
        self.serve();
        if self.transactional() {
            let begun = self.prepared.producer.begin_transaction();
            begun.map_err(|e| Trouble::of("cannot begin a transaction", &e))?;
            self.is_transaction_new = true;
        } else {
            self.stood = self.committed().actions.into_iter().collect();
        }
        Ok(())
    }

    pub(super) fn commit(&mut self, mode: CommitMode) -> Result<(), Trouble> {
        let begun = Instant::now();
        self.write_order()?;
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
            if let Ok(mut gaps) = self.prepared.deliveries.gaps.lock() {
                gaps.committed();
            }
            self.pending.clear();
        } else if !self.pending.is_empty() {
            group.commit(&offsets, mode).map_err(trouble("cannot commit offsets"))?;
        }
        self.telemetry.latency(Stage::Publish, begun.elapsed());
        self.look_between();
        for produced_ms in self.produced_ms.drain(..) {
            self.telemetry.end_to_end(since(produced_ms as u64));
        }
        if let Ok(mut end_to_end) = self.prepared.deliveries.end_to_end.lock() {
            end_to_end.drain(..).for_each(|took| self.telemetry.end_to_end(took));
        }
        Ok(())
    }

    /// Waits until everything that was sent has arrived; at least once it also sees to it that the journal is still this publisher's.
    pub(super) fn arrived(&mut self) -> Result<(), Trouble> {
        self.prepared.checked("cannot publish", acknowledged(&self.prepared))?;
        if self.transactional() { Ok(()) } else { self.is_ours() }
    }

    /// At least once: sees to it that the journal is still this publisher's, up to its last record that arrived.
    pub(super) fn is_ours(&mut self) -> Result<(), Trouble> {
        let Prepared { deliveries, section, writer, .. } = &self.prepared;
        let strange = deliveries.chain.lock().ok().and_then(|mut chain| chain.take_strange());
        let Some(from) = strange else { return Ok(()) };
        fence::look(section, from, (writer, self.prepared.signer()?), &mut self.strangers)
    }

    /// Records of others between those of this publisher are looked at beside it. What is found while that lasts is left to those who
    /// read the topic.
    fn look_between(&self) {
        let Prepared { deliveries, section, signer, .. } = &self.prepared;
        let mut between = deliveries.gaps.lock().map(|mut gaps| gaps.take()).unwrap_or_default();
        if !self.transactional() {
            // Looked at before anything is sent, see `is_ours`.
            between.retain(|(tp, ..)| tp.topic != section.journal);
        }
        let Some(signer) = signer.clone().filter(|_| !between.is_empty()) else { return };
        if self.looking.swap(true, Ordering::Relaxed) {
            return;
        }
        let (section, telemetry) = (section.clone(), self.telemetry.clone());
        let looking = self.looking.clone();
        let body = move || {
            if let Err(trouble) = fence::look_between(&section, between, &signer, &telemetry) {
                tracing::warn!(event = "foreign_record", error = %trouble, "records of other writers cannot be read now");
            }
            looking.store(false, Ordering::Relaxed);
        };
        // Without a thread, the next start finds them.
        if std::thread::Builder::new().name("strangers".into()).spawn(body).is_err() {
            self.looking.store(false, Ordering::Relaxed);
        }
    }

    /// Messages were taken in this order; the journal gets it with what follows, since a record costs as much as many runs. Only the first of
    /// a transaction goes at once: the client makes the partition known to the transaction before it sends anything there, and a
    /// commit would have to wait for that.
    pub(super) fn took(&mut self, runs: Vec<Run>) -> Result<(), Trouble> {
        for run in &runs {
            self.pending.insert(run.tp(), run.to + 1);
        }
        self.order.extend(runs);
        let is_first = std::mem::take(&mut self.is_transaction_new);
        if is_first || self.order.len() >= RUNS_MAX { self.write_order() } else { Ok(()) }
    }

    /// Writes the order of what was taken to the journal, if it does not have it.
    pub(super) fn write_order(&mut self) -> Result<(), Trouble> {
        if self.order.is_empty() {
            return Ok(());
        }
        let runs = std::mem::take(&mut self.order);
        let stood = std::mem::take(&mut self.stood);
        self.journal(Entry::Took(runs), stood)
    }

    /// Where outputs stand; right after a commit.
    pub(super) fn committed(&self) -> Committed {
        let number = self.prepared.signer.as_ref().map_or(0, |signer| signer.newest());
        let mut committed = Committed { number, ..Committed::default() };
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

    /// Sends what a batch led to, and the order in which it was taken.
    fn produce(&mut self, outputs: Outputs) -> Result<(), Trouble> {
        let begun = Instant::now();
        let Outputs { mut effects, dead, runs } = outputs;
        for draft in effects.actions.drain(..) {
            let action = Finished::of(draft, &self.finisher);
            self.produced_ms.extend((action.produced_ms > 0).then_some(action.produced_ms));
            action.send(&self.prepared, 0)?;
        }
        self.send_others(effects, &dead)?;
        if !runs.is_empty() {
            self.took(runs)?;
        }
        self.telemetry.latency(Stage::Finish, begun.elapsed());
        Ok(())
    }

    /// Sends what a batch led to beside actions.
    pub(super) fn send_others(
        &mut self,
        mut effects: Effects,
        dead: &[DeadMessage],
    ) -> Result<(), Trouble> {
        let Prepared { section, .. } = &self.prepared;
        if let Some(topic) = &section.scores {
            for s in &effects.scores {
                self.buffer.clear();
                write_score(&mut self.buffer, &s.event_id, &s.account, s.ts_ms, s.score);
                send(&self.prepared, topic, s.account.as_bytes(), line(&self.buffer), None, 0)?;
            }
        }
        for letter in dead {
            let topic = &section.dead_letters;
            let key = letter.key.as_deref().unwrap_or_default();
            send(&self.prepared, topic, key, &letter.original, Some(reasons(letter)), 0)?;
        }
        effects.clear();
        let _ = self.give_back.try_send(effects);
        Ok(())
    }

    /// From here on, another one decides.
    pub(super) fn decide_by(&mut self, finisher: Arc<Finisher>) -> Result<(), Trouble> {
        self.write_order()?;
        self.finisher = finisher;
        self.decides()
    }

    /// Says in the journal what decides.
    fn decides(&self) -> Result<(), Trouble> {
        let versions = self.finisher.versions();
        let (model, policy) = (versions.model.clone(), versions.policy.clone());
        self.journal(Entry::Decides { model, policy }, Stood::new())
    }

    fn journal(&self, entry: Entry, stood: Stood) -> Result<(), Trouble> {
        self.prepared.journal(entry, stood)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::journal::Record;
    use crate::kafka::source::BATCH_MESSAGES;

    /// `max.message.bytes` of a topic, by default.
    const BROKER_TAKES_BYTES: usize = 1_048_588;

    #[test]
    fn the_longest_record_of_the_journal_is_half_of_what_a_broker_takes() {
        let (t, last) = ("t".repeat(249), i64::MAX);
        let run = Run { t, p: i32::MAX, from: last, to: last, n: u32::MAX };
        let runs = vec![run; RUNS_MAX - 1 + BATCH_MESSAGES];
        let writer = Some(format!("{}-{:016x}", u32::MAX, u64::MAX));
        let record = Record { writer, actions: Stood::new(), entry: Entry::Took(runs) };
        let bytes = serde_json::to_vec(&record).expect("it is JSON").len();
        assert!((BROKER_TAKES_BYTES / 3..BROKER_TAKES_BYTES * 6 / 10).contains(&bytes), "{bytes}");
    }
}
