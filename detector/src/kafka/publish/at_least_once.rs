//! At least once, outputs go out behind the journal. The order of each batch is written to it as soon as the batch is there; while that
//! is on its way, actions get their reasons and later batches are written behind it. What a batch led to is sent once its order is there
//! for good.

use super::records::Finished;
use super::work::{SERVED_EVERY, Work};
use super::{BATCHES_MAX, Outputs, Task};
use crate::kafka::client::Trouble;
use crate::telemetry::Stage;
use crossbeam_channel::{Receiver, TryRecvError};
use engine::Finisher;
use rdkafka::consumer::CommitMode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A commit that finds no lull waits for one, for so many intervals; then no batch is taken until all before it is acknowledged.
const INTERVALS_MAX: u32 = 10;

/// What a batch led to, until it is sent.
pub(super) struct Waiting {
    /// Sent once so many records of the journal arrived.
    behind: u64,
    /// Those that are not finished yet are the effects', the last one first.
    actions: Vec<Finished>,
    outputs: Outputs,
    finisher: Arc<Finisher>,
    /// How long finishing took.
    took: Duration,
}

impl Work {
    pub(super) fn at_least_once(&mut self, queue: &Receiver<Task>) -> Result<(), Trouble> {
        self.begin()?;
        // Since when there is something to commit.
        let mut since: Option<Instant> = None;
        loop {
            self.send_what_may_go()?;
            let clear = self.is_clear();
            let waited = since.map(|since| since.elapsed());
            if let Some(waited) = waited.filter(|waited| *waited >= self.commit_interval)
                && (clear || waited >= self.commit_interval * INTERVALS_MAX)
            {
                // An answer is waited for only where somebody builds on it: the next commit says more.
                self.settle(CommitMode::Async)?;
                since = None;
                continue;
            }
            let task = match self.waiting.len() < BATCHES_MAX {
                true => queue.try_recv(),
                false => Err(TryRecvError::Empty),
            };
            match task {
                Ok(Task::Publish(outputs)) => self.take(*outputs)?,
                Ok(Task::DecideBy(finisher)) => self.decide_by(finisher)?,
                Ok(Task::Reached(at)) => {
                    self.pending.extend(at);
                    // What comes next says where the actions stand, and that is behind all of these.
                    self.settle(CommitMode::Async)?;
                    since = None;
                    continue;
                }
                Ok(Task::Cut(reply)) => {
                    self.settle(CommitMode::Sync)?;
                    since = None;
                    let _ = reply.send(self.committed());
                    continue;
                }
                Err(TryRecvError::Empty) => {
                    if !self.finish_one() {
                        let left = waited.map(|w| self.commit_interval.saturating_sub(w));
                        let left = left.filter(|left| !left.is_zero());
                        self.prepared.deliveries.bell.wait(left.unwrap_or(SERVED_EVERY));
                        if since.is_none() {
                            self.serve();
                        }
                    }
                    continue;
                }
                // Nobody commits behind one who may have taken over, unless there is something to commit.
                Err(TryRecvError::Disconnected) if since.is_none() => return Ok(()),
                Err(TryRecvError::Disconnected) => return self.settle(CommitMode::Async),
            }
            since.get_or_insert_with(Instant::now);
        }
    }

    /// Writes the order of a batch. What it led to waits for that; nothing does where it led to nothing.
    fn take(&mut self, mut outputs: Outputs) -> Result<(), Trouble> {
        let runs = std::mem::take(&mut outputs.runs);
        if !runs.is_empty() {
            self.took(runs)?;
        }
        if outputs.is_nothing() {
            return self.send_others(outputs.effects, &[]);
        }
        outputs.effects.actions.reverse();
        let behind = self.prepared.deliveries.journalled.load(Ordering::Relaxed);
        let (actions, took) = (Vec::new(), Duration::ZERO);
        let finisher = self.finisher.clone();
        self.waiting.push_back(Waiting { behind, actions, outputs, finisher, took });
        Ok(())
    }

    /// Finishes the next action. False: there was none.
    fn finish_one(&mut self) -> bool {
        let next = self.waiting.iter_mut().find(|waiting| waiting.is_unfinished());
        next.is_some_and(Waiting::finish_one)
    }

    /// Sends what is finished and whose order arrived, up to the first batch that has to wait.
    fn send_what_may_go(&mut self) -> Result<(), Trouble> {
        // In this order: a record that failed is noticed before one behind it counts in its place.
        let arrived = self.prepared.deliveries.arrived.load(Ordering::Acquire);
        self.prepared.checked("cannot publish", Ok(()))?;
        let may_go = |waiting: &mut Waiting| waiting.behind <= arrived && !waiting.is_unfinished();
        let mut checked = false;
        while let Some(waiting) = self.waiting.pop_front_if(may_go) {
            if !checked {
                self.is_ours()?;
                checked = true;
            }
            self.send(waiting)?;
        }
        Ok(())
    }

    fn send(&mut self, waiting: Waiting) -> Result<(), Trouble> {
        let Waiting { actions, outputs, took, .. } = waiting;
        let begun = Instant::now();
        for action in actions {
            let produced_ms = action.produced_ms;
            action.send(&self.prepared, produced_ms)?;
        }
        self.send_others(outputs.effects, &outputs.dead)?;
        self.telemetry.latency(Stage::Finish, took + begun.elapsed());
        Ok(())
    }

    /// Whether everything that was taken is sent, and has arrived.
    fn is_clear(&self) -> bool {
        self.waiting.is_empty() && self.prepared.deliveries.are_all_told()
    }

    /// Sends all that is left, waits until it has arrived, and commits how far it goes.
    fn settle(&mut self, mode: CommitMode) -> Result<(), Trouble> {
        if !self.waiting.is_empty() {
            self.waiting.iter_mut().for_each(|waiting| while waiting.finish_one() {});
            self.arrived()?;
            while let Some(waiting) = self.waiting.pop_front() {
                self.send(waiting)?;
            }
        }
        self.commit(mode)?;
        self.begin()
    }
}

impl Waiting {
    fn is_unfinished(&self) -> bool {
        !self.outputs.effects.actions.is_empty()
    }

    /// Finishes the next action. False: there was none.
    fn finish_one(&mut self) -> bool {
        let Some(draft) = self.outputs.effects.actions.pop() else { return false };
        let begun = Instant::now();
        self.actions.push(Finished::of(draft, &self.finisher));
        self.took += begun.elapsed();
        true
    }
}
