//! Outputs into Kafka, behind the engine, by a thread of their own: actions, scores, dead letters, the journal, and how far all of
//! it goes, in one transaction per commit interval. At least once: the journal first, then what it led to, then how far that goes
//! (`fence`).

mod at_least_once;
mod producer;
mod records;
mod work;

use super::bell::Bell;
use super::client::Trouble;
use super::journal::{Entry, Offsets, Run, Stood, Tp};
use super::signature::Strangers;
use super::source::DeadMessage;
use crate::telemetry::Telemetry;
use crossbeam_channel::{Receiver, Sender, bounded};
use engine::Finisher;
use engine::effects::Effects;
pub use producer::{Context, Prepared};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::CStr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use work::Work;

/// Batches that may wait to be published; beyond that the engine waits.
const BATCHES_MAX: usize = 64;
/// Longest wait for the brokers; a transaction of unknown outcome is one that was not committed in this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Header of an action: the hour since the epoch, in event time, whose cap it counts in. Whoever puts actions back needs it, since the
/// topic has no order between its partitions.
pub const CAP_HOUR: &CStr = c"ce_caphour";

/// A batch's outputs.
#[derive(Debug)]
pub struct Outputs {
    /// What the engine asked for.
    pub effects: Effects,
    /// What could not be read.
    pub dead: Vec<DeadMessage>,
    /// The order in which its messages were taken. None: the journal has it, and how far they go is said by
    /// [`Publisher::reached`].
    pub runs: Vec<Run>,
}

impl Outputs {
    /// Whether there is nothing to be sent to anybody.
    fn is_nothing(&self) -> bool {
        let Effects { actions, scores, .. } = &self.effects;
        actions.is_empty() && scores.is_empty() && self.dead.is_empty()
    }
}

/// What is durable once a cut was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Next offset of the journal.
    pub journal: i64,
    /// Next offset of the actions, by partition.
    pub actions: BTreeMap<i32, i64>,
    /// The number of the newest record of both.
    pub number: u64,
}

/// What the thread is asked for.
enum Task {
    Publish(Box<Outputs>),
    /// Others decide from here on.
    DecideBy(Arc<Finisher>),
    /// What was handed over so far goes to here.
    Reached(Offsets),
    /// Commit what was handed over so far, and say where outputs stand.
    Cut(Sender<Committed>),
}

/// The running publisher.
pub struct Publisher {
    to: Option<Sender<Task>>,
    bell: Arc<Bell>,
    spare: Receiver<Effects>,
    failed: Receiver<Trouble>,
    thread: Option<JoinHandle<()>>,
}

/// Where a publisher begins.
pub struct Beginning<'a> {
    /// The state does not come from what was taken before.
    pub anew: bool,
    /// What is committed with the mark.
    pub start: Offsets,
    /// What the journal has up to here is to be published again.
    pub at: &'a Offsets,
    /// Where outputs stand.
    pub committed: &'a Committed,
}

impl Prepared {
    /// Begins to publish; a mark goes to the journal first.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(
        self,
        finisher: Arc<Finisher>,
        beginning: Beginning<'_>,
        commit_interval: Duration,
        telemetry: Telemetry,
    ) -> Result<Publisher, Trouble> {
        let Beginning { anew, start, at, committed } = beginning;
        let actions = committed.actions.iter();
        let actions = actions.map(|(p, o)| ((self.section.actions.clone(), *p), *o));
        let ends = actions.chain([((self.section.journal.clone(), 0), committed.journal)]);
        if let Ok(mut gaps) = self.deliveries.gaps.lock() {
            let tp = |(topic, partition)| Tp { topic, partition };
            gaps.begin(ends.clone().map(|(of, end)| (tp(of), end)).collect());
        }
        if let Ok(mut next) = self.deliveries.next.lock() {
            next.extend(ends);
        }
        let (to, queue) = bounded(BATCHES_MAX);
        let (give_back, spare) = bounded(BATCHES_MAX);
        let (fail, failed) = bounded(1);
        let at = at.iter().map(|(tp, o)| (tp.topic.clone(), tp.partition, *o)).collect();
        let epoch = self.epoch;
        let bell = self.deliveries.bell.clone();
        let journal = self.section.journal.clone();
        let mut work = Work {
            prepared: self,
            finisher,
            pending: start,
            buffer: Vec::new(),
            give_back,
            commit_interval,
            first: Some(Entry::Live { epoch, at, anew }),
            order: Vec::new(),
            is_transaction_new: false,
            stood: Stood::new(),
            waiting: VecDeque::new(),
            produced_ms: Vec::new(),
            strangers: Strangers::new(&journal, telemetry.clone()),
            looking: Arc::default(),
            telemetry,
        };
        let body = move || {
            if let Err(trouble) = work.run(&queue) {
                // Whatever it was, the transaction that was open is not committed by this process any more.
                work.telemetry.transaction_failed();
                let _ = fail.send(trouble);
            }
        };
        let thread = std::thread::Builder::new().name("publisher".into()).spawn(body);
        let thread = thread.map_err(|e| Trouble::Fatal(format!("cannot start a thread: {e}")))?;
        Ok(Publisher { to: Some(to), bell, spare, failed, thread: Some(thread) })
    }
}

impl Publisher {
    /// An empty set of effects, with memory used before if possible.
    pub fn effects(&self) -> Effects {
        self.spare.try_recv().unwrap_or_default()
    }

    /// Hands a batch over; waits while the publisher is too far behind.
    ///
    /// # Errors
    /// What stopped the publisher.
    pub fn publish(&self, outputs: Outputs) -> Result<(), Trouble> {
        self.send(Task::Publish(Box::new(outputs)))
    }

    /// From the next batch on, others decide.
    ///
    /// # Errors
    /// What stopped the publisher.
    pub fn decide_by(&self, finisher: Arc<Finisher>) -> Result<(), Trouble> {
        self.send(Task::DecideBy(finisher))
    }

    /// What was handed over so far without its order goes to here, and is committed as one.
    ///
    /// # Errors
    /// What stopped the publisher.
    pub fn reached(&self, at: Offsets) -> Result<(), Trouble> {
        self.send(Task::Reached(at))
    }

    /// Asks for a commit of all that was handed over; the answer comes when it is done. A closed channel is a failed publisher.
    ///
    /// # Errors
    /// What stopped the publisher.
    pub fn cut(&self) -> Result<Receiver<Committed>, Trouble> {
        let (reply, answer) = bounded(1);
        self.send(Task::Cut(reply))?;
        Ok(answer)
    }

    fn send(&self, message: Task) -> Result<(), Trouble> {
        let sent = self.to.as_ref().is_some_and(|to| to.send(message).is_ok());
        self.bell.ring();
        if sent { Ok(()) } else { Err(self.trouble()) }
    }

    /// Batches that wait to be published.
    pub fn waiting(&self) -> usize {
        self.to.as_ref().map_or(0, Sender::len)
    }

    /// Whether the next batch has to wait for room.
    pub fn is_full(&self) -> bool {
        self.to.as_ref().is_some_and(Sender::is_full)
    }

    /// What stopped it.
    pub fn trouble(&self) -> Trouble {
        let ended = || Trouble::StartOver("the publisher ended".into());
        self.failed.recv_timeout(Duration::from_secs(1)).unwrap_or_else(|_| ended())
    }

    /// What stopped it, if something has.
    pub fn has_failed(&self) -> Option<Trouble> {
        self.failed.try_recv().ok()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.to = None;
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
