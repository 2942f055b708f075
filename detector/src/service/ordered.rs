//! Messages in an order that somebody else says: each partition is read ahead by a bounded queue, whichever is asked for next. One that
//! cannot be read ahead matters once a message of it is needed, and not before.

use super::Settings;
use crate::kafka::client::{self, Trouble};
use crate::kafka::config::Delivery;
use crate::kafka::fetcher::{FetchError, Fetcher};
use crate::kafka::held::Kept;
use crate::kafka::journal::{Offsets, Tp};
use crate::kafka::outcome::Outcome;
use crate::kafka::source::{Batch, DeadMessage, Incoming, Originals, Reader};
use crate::registry::Pending;
use engine::{Engine, Input};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// What one partition may have waiting: messages, and bytes of them. Beyond it is paused until half of that is taken.
const MESSAGES_MAX: usize = 8192;
const BYTES_MAX: usize = 16 << 20;
/// While a message waits for its schema, the answer is looked for this often.
const ANSWER_EVERY: Duration = Duration::from_millis(20);

/// One message, decoded.
pub struct Taken {
    /// Its offset.
    pub offset: i64,
    /// What it is to the engine; nothing when it could not be read.
    pub input: Option<Input>,
    /// Why it could not be read.
    pub dead: Option<DeadMessage>,
    /// Its bytes, for rejects of the engine.
    pub originals: Originals,
}

#[derive(Default)]
struct Queue {
    /// Next offset to come.
    next: i64,
    waiting: VecDeque<Kept>,
    bytes: usize,
    paused: bool,
    /// Nothing follows the pending messages.
    end: Option<FetchError>,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.waiting.len() >= MESSAGES_MAX || self.bytes >= BYTES_MAX
    }

    fn has_room(&self) -> bool {
        self.waiting.len() <= MESSAGES_MAX / 2 && self.bytes <= BYTES_MAX / 2
    }

    fn push(&mut self, message: &Incoming<'_>) {
        let kept = Kept::of(message);
        self.next = message.offset + 1;
        self.bytes += kept.bytes();
        self.waiting.push_back(kept);
    }

    fn pop(&mut self) {
        let bytes = self.waiting.pop_front().map_or(0, |kept| kept.bytes());
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The partitions of the inputs, read ahead.
pub struct Ordered {
    fetcher: Fetcher,
    reader: Reader,
    /// What is taken may have to be published again.
    loud: bool,
    queues: BTreeMap<Tp, Queue>,
    /// What the message that was asked for last waits for.
    pending: Option<Pending>,
}

impl Ordered {
    /// Reads no partition yet: one that nothing is taken from need not be readable.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn start(settings: &Settings, engine: &Engine) -> Result<Self, Trouble> {
        let fetcher = Fetcher::new(&client::reader(&settings.kafka))?;
        let reader = settings.reader(engine);
        let loud = settings.kafka.delivery == Delivery::AtLeastOnce;
        Ok(Self { fetcher, reader, loud, queues: BTreeMap::new(), pending: None })
    }

    /// Reads one partition more from now on.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn add(&mut self, tp: &Tp, from: i64) -> Result<(), Trouble> {
        if !self.queues.contains_key(tp) {
            self.queues.insert(tp.clone(), Queue { next: from, ..Queue::default() });
            self.read_on(tp)?;
        }
        Ok(())
    }

    /// Passes over the messages of a partition before an offset.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn pass_over(&mut self, tp: &Tp, to: i64) -> Result<(), Trouble> {
        let queue = self.queues.entry(tp.clone()).or_default();
        while queue.waiting.front().is_some_and(|kept| kept.offset() < to) {
            queue.pop();
        }
        let ended = queue.end.take_if(|_| queue.waiting.is_empty()).is_some();
        if ended || queue.next < to {
            queue.next = queue.next.max(to);
            queue.paused = false;
            self.read_on(tp)?;
        }
        Ok(())
    }

    /// Reads a partition from where its queue ends.
    fn read_on(&mut self, tp: &Tp) -> Result<(), Trouble> {
        let all: Offsets = self.queues.iter().map(|(tp, queue)| (tp.clone(), queue.next)).collect();
        let from = all.get_key_value(tp).map(|(tp, next)| (tp.clone(), *next));
        self.fetcher.read_from(&from.into_iter().collect(), &all)
    }

    /// What the message that was asked for last waits for: a schema.
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// The next message of a partition; `None` when none comes within `wait`, or its schema is not known yet.
    ///
    /// # Errors
    /// What the client cannot mend by itself, or that the partition cannot be read on.
    pub fn take(&mut self, tp: &Tp, wait: Duration) -> Result<Option<Taken>, Trouble> {
        let until = Instant::now() + wait;
        loop {
            if let Some(taken) = self.pop(tp)? {
                return Ok(Some(taken));
            }
            let now = Instant::now();
            let mut left = until.saturating_duration_since(now);
            if self.pending.is_some() {
                if left.is_zero() {
                    return Ok(None);
                }
                left = left.min(ANSWER_EVERY);
            }
            match self.fetcher.poll(left) {
                Some(Ok(message)) => {
                    let incoming = Incoming::of(&message);
                    let tp = incoming.tp();
                    let Some(queue) = self.queues.get_mut(&tp) else { continue };
                    self.reader.announce(&incoming);
                    queue.push(&incoming);
                    drop(message);
                    if queue.is_full() && !queue.paused {
                        queue.paused = true;
                        self.fetcher.pause(&[tp]).map_err(|e| held_back(&e))?;
                    }
                }
                Some(Err(error)) => self.ends(error)?,
                None if self.pending.is_some() => {}
                None => return Ok(None),
            }
        }
    }

    /// An error of the client: of one partition it is kept until that is needed.
    fn ends(&mut self, error: FetchError) -> Result<(), Trouble> {
        match (error.outcome(), error.of.clone()) {
            (Outcome::Retried, _) => Ok(()),
            (Outcome::OutOfRange | Outcome::Unreadable | Outcome::Unusable, Some((tp, _))) => {
                let Some(queue) = self.queues.get_mut(&tp) else { return Ok(()) };
                queue.paused = true;
                queue.end = Some(error);
                self.fetcher.pause(&[tp]).map_err(|e| held_back(&e))
            }
            _ => Err(error.trouble("cannot read again")),
        }
    }

    fn pop(&mut self, tp: &Tp) -> Result<Option<Taken>, Trouble> {
        self.pending = None;
        let Some(queue) = self.queues.get_mut(tp) else { return Ok(None) };
        let Some(kept) = queue.waiting.front() else {
            return queue.end.as_ref().map_or(Ok(None), |error| Err(is_gone(tp, error)));
        };
        let (offset, mut batch) = (kept.offset(), Batch::default());
        if let Err(pending) = self.reader.read(&kept.incoming(tp), &mut batch) {
            self.pending = Some(pending);
            return Ok(None);
        }
        queue.pop();
        if queue.paused && queue.end.is_none() && queue.has_room() {
            queue.paused = false;
            self.fetcher.resume(std::slice::from_ref(tp)).map_err(|e| held_back(&e))?;
        }
        let input = batch.inputs.pop();
        let (mut dead, mut originals) = (None, Originals::default());
        if self.loud {
            (dead, originals) = (batch.dead.pop(), batch.originals);
        }
        Ok(Some(Taken { offset, input, dead, originals }))
    }
}

fn held_back(error: &rdkafka::error::KafkaError) -> Trouble {
    Trouble::of("cannot hold a partition back", error)
}

/// A message that is to be taken again cannot be.
fn is_gone(tp: &Tp, error: &FetchError) -> Trouble {
    match error.outcome() {
        Outcome::OutOfRange => Trouble::Fatal(format!(
            "a message of {tp} that is to be taken again does not exist any more: {} ({:?})\nhint: its topic's retention is shorter than the time since the last checkpoint, or the broker has lost data; `--rebuild-from earliest` makes the state anew from what is left",
            error.reason, error.code
        )),
        _ => error.trouble("cannot read again"),
    }
}
