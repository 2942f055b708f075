//! At least once, outputs go out behind the journal. The order of a batch is written to it as soon as something waits for that; while it
//! is on its way, actions get their reasons. What a batch led to is sent once its order is there for good.

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

/// Records of the journal, and outputs, that may be on their way before what follows is held back to go together. librdkafka begins no
/// request to a partition while five messages of it or more are unacknowledged (`RD_KAFKA_IDEMP_MAX_INFLIGHT`), and while one waits for that,
/// its thread asks without a rest whether it may go: a core was lost to it whenever the brokers were slow. Outputs are counted over all
/// partitions: which one a key belongs to is the client's business.
const ON_THEIR_WAY_MAX: u64 = 5;

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
            let waited = since.map(|since| since.elapsed());
            let due = waited.filter(|waited| *waited >= self.commit_interval);
            self.write_what_is_waited_for(due.is_some())?;
            if let Some(waited) = due
                && (self.is_clear() || waited >= self.commit_interval * INTERVALS_MAX)
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

    /// Takes a batch up. What it led to waits for its order to be written; nothing does where it led to nothing.
    fn take(&mut self, mut outputs: Outputs) -> Result<(), Trouble> {
        let runs = std::mem::take(&mut outputs.runs);
        if !runs.is_empty() {
            self.took(runs)?;
        }
        if outputs.is_nothing() {
            return self.send_others(outputs.effects, &[]);
        }
        outputs.effects.actions.reverse();
        let behind = self.journalled() + u64::from(!self.order.is_empty());
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

    /// Records of the journal so far.
    fn journalled(&self) -> u64 {
        self.prepared.deliveries.journalled.load(Ordering::Relaxed)
    }

    /// Writes the order where something waits for it: outputs, or the next commit.
    fn write_what_is_waited_for(&mut self, commit: bool) -> Result<(), Trouble> {
        let arrived = self.prepared.deliveries.arrived.load(Ordering::Relaxed);
        let behind = self.waiting.back().map(|waiting| waiting.behind);
        let goes = is_to_be_written(commit, behind, self.journalled(), arrived);
        if goes { self.write_order() } else { Ok(()) }
    }

    /// Sends what is finished and whose order arrived, up to the first batch that has to wait.
    fn send_what_may_go(&mut self) -> Result<(), Trouble> {
        // In this order: a record that failed is noticed before one behind it counts in its place.
        let arrived = self.prepared.deliveries.arrived.load(Ordering::Acquire);
        self.prepared.checked("cannot publish", Ok(()))?;
        if self.prepared.deliveries.outputs_on_their_way() >= ON_THEIR_WAY_MAX {
            return Ok(());
        }
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

    /// Whether everything that was taken is written and sent, and has arrived.
    fn is_clear(&self) -> bool {
        let nothing_waits = self.order.is_empty() && self.waiting.is_empty();
        nothing_waits && self.prepared.deliveries.are_all_told()
    }

    /// Sends all that is left, waits until it has arrived, and commits how far it goes.
    fn settle(&mut self, mode: CommitMode) -> Result<(), Trouble> {
        if !self.waiting.is_empty() {
            self.waiting.iter_mut().for_each(|waiting| while waiting.finish_one() {});
            self.write_order()?;
            self.arrived()?;
            while let Some(waiting) = self.waiting.pop_front() {
                self.send(waiting)?;
            }
        }
        self.commit(mode)?;
        self.begin()
    }
}

/// Whether the order is to be written: for a commit, or for outputs that wait `behind` a record that is not written yet; not while as many
/// records are on their way as may be.
fn is_to_be_written(commit: bool, behind: Option<u64>, journalled: u64, arrived: u64) -> bool {
    let is_wanted = commit || behind.is_some_and(|behind| behind > journalled);
    is_wanted && journalled - arrived < ON_THEIR_WAY_MAX
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

#[cfg(test)]
mod tests {
    use super::is_to_be_written;

    #[test]
    fn the_order_is_written_when_something_waits_for_it_and_there_is_room() {
        let table = [
            // Nothing waits for it.
            (false, None, 7, 7, false),
            (false, Some(7), 7, 6, false),
            // Outputs wait for the record after the seventh; a commit for all.
            (false, Some(8), 7, 7, true),
            (true, None, 7, 7, true),
            // Four are on their way, then five.
            (false, Some(8), 7, 3, true),
            (false, Some(8), 7, 2, false),
            (true, None, 7, 2, false),
        ];
        for (commit, behind, journalled, arrived, expected) in table {
            let is = is_to_be_written(commit, behind, journalled, arrived);
            assert_eq!(is, expected, "{commit} {behind:?} {journalled} {arrived}");
        }
    }
}
