//! Questions to the engine. Its thread owns it, so they wait in a bounded queue until that thread asks for them, between two
//! batches, and get a share of its time.

use super::time_share::TimeShare;
use crate::telemetry::{Queue, Telemetry};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use engine::effects::SourceRef;
use engine::{Engine, Explanation, Finisher, Preview, Unscored, Versions};
use features::event::Event;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Questions that may wait.
const WAITING_MAX: usize = 64;
/// Questions that are answered between two batches, and for how long at most; the last one may take longer.
const BETWEEN_BATCHES_MAX: usize = 4;
const BETWEEN_BATCHES_TIME: Duration = Duration::from_millis(2);
/// Questions get one part in this many of the thread's time: 2 %.
const SHARE_PARTS: u32 = 50;

/// A question, and where its answer goes.
pub enum Query {
    /// Everything about an account.
    Account(String, oneshot::Sender<Option<Box<Explanation>>>),
    /// The ring around an account as a Graphviz graph; `None` if the account is not known.
    Ring(String, oneshot::Sender<Option<String>>),
    /// What the line would make of an event; with what gives its reasons.
    Score(Box<Event>, oneshot::Sender<Result<(Preview, Arc<Finisher>), Unscored>>),
}

impl Query {
    /// Whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Account(_, reply) => reply.is_closed(),
            Self::Ring(_, reply) => reply.is_closed(),
            Self::Score(_, reply) => reply.is_closed(),
        }
    }

    /// Whoever asked may have gone; that is his affair.
    fn answer(self, engine: &mut Engine, finisher: &mut dyn FnMut(&Engine) -> Arc<Finisher>) {
        match self {
            Self::Account(account, reply) => {
                let _ = reply.send(engine.explain(&account).map(Box::new));
            }
            Self::Ring(account, reply) => {
                let _ = reply.send(engine.ring_dot(&account));
            }
            Self::Score(event, reply) => {
                let preview = engine.preview(*event, SourceRef::default());
                let _ = reply.send(preview.map(|preview| (preview, finisher(engine))));
            }
        }
    }
}

/// The engine's end of the queue.
pub struct Queries {
    waiting: Receiver<Query>,
    telemetry: Telemetry,
    /// Of the model and policy that decided last.
    finisher: Mutex<Option<(Arc<Versions>, Arc<Finisher>)>>,
    share: Mutex<TimeShare>,
}

/// The other end.
#[derive(Clone, Debug)]
pub struct Asking(Sender<Query>);

/// Why a question could not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAsked {
    /// Too many wait.
    Full,
    /// The engine has ended.
    Ended,
}

/// A queue for questions.
#[must_use]
pub fn queries(telemetry: &Telemetry) -> (Asking, Queries) {
    let (send, waiting) = bounded(WAITING_MAX);
    let share = Mutex::new(TimeShare::new(SHARE_PARTS, Instant::now()));
    let finisher = Mutex::new(None);
    (Asking(send), Queries { waiting, telemetry: telemetry.clone(), finisher, share })
}

impl Asking {
    pub(crate) fn ask(&self, query: Query) -> Result<(), NotAsked> {
        self.0.try_send(query).map_err(|e| match e {
            TrySendError::Full(_) => NotAsked::Full,
            TrySendError::Disconnected(_) => NotAsked::Ended,
        })
    }
}

impl Queries {
    /// Answers a few of the questions that wait, and returns how many: none while they have used up their share of the thread's time.
    /// Never waits. The engine's thread calls it between batches; when nothing waits, it costs some nanoseconds.
    pub fn answer(&self, engine: &mut Engine) -> usize {
        let waiting = self.waiting.len();
        self.telemetry.queue_depth(Queue::Queries, waiting);
        if waiting == 0 {
            return 0;
        }
        let begun = Instant::now();
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        if !share.has_time(begun) {
            return 0;
        }
        let mut answered = 0;
        while answered < BETWEEN_BATCHES_MAX && begun.elapsed() < BETWEEN_BATCHES_TIME {
            let Ok(query) = self.waiting.try_recv() else { break };
            if query.is_abandoned() {
                continue;
            }
            query.answer(engine, &mut |engine| self.finisher(engine));
            answered += 1;
        }
        share.used(begun.elapsed());
        self.telemetry.answered(answered as u64);
        answered
    }

    fn finisher(&self, engine: &Engine) -> Arc<Finisher> {
        let mut kept = self.finisher.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = engine.versions_shared();
        match &*kept {
            Some((of, finisher)) if Arc::ptr_eq(of, &versions) => finisher.clone(),
            _ => kept.insert((versions, engine.finisher())).1.clone(),
        }
    }

    /// For a loop that waits for its next batch: ready when there is a question. Do not receive from it, but call
    /// [`Queries::answer`].
    #[must_use]
    pub fn ready(&self) -> &Receiver<Query> {
        &self.waiting
    }
}
