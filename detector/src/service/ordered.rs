//! Messages in an order that somebody else says: each partition is read ahead by a bounded queue, whichever is asked for next.

use super::Settings;
use crate::kafka::client::{self, QuietConsumer, Trouble};
use crate::kafka::config::Delivery;
use crate::kafka::journal::{Offsets, Tp};
use crate::kafka::source::{self, Batch, DeadMessage, Originals, Reader};
use engine::{Engine, Input};
use rdkafka::Message;
use rdkafka::consumer::Consumer;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// What one partition may have waiting: messages, and bytes of them. Beyond it is paused until half of that is taken.
const MESSAGES_MAX: usize = 8192;
const BYTES_MAX: usize = 16 << 20;

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
    bytes: usize,
}

#[derive(Default)]
struct Queue {
    /// Next offset to come.
    next: i64,
    waiting: VecDeque<Taken>,
    bytes: usize,
    paused: bool,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.waiting.len() >= MESSAGES_MAX || self.bytes >= BYTES_MAX
    }

    fn has_room(&self) -> bool {
        self.waiting.len() <= MESSAGES_MAX / 2 && self.bytes <= BYTES_MAX / 2
    }
}

/// The partitions of the inputs, read ahead.
pub struct Ordered {
    consumer: QuietConsumer,
    reader: Reader,
    /// What is taken may have to be published again.
    loud: bool,
    queues: BTreeMap<Tp, Queue>,
}

impl Ordered {
    /// Reads no partition yet: one that nothing is taken from need not be readable.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn start(settings: &Settings, engine: &Engine) -> Result<Self, Trouble> {
        let consumer = client::make(&client::reader(&settings.kafka))?;
        let reader = settings.reader(engine).until(settings.stop_flag());
        let loud = settings.kafka.delivery == Delivery::AtLeastOnce;
        Ok(Self { consumer, reader, loud, queues: BTreeMap::new() })
    }

    /// Reads one partition more from now on.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn add(&mut self, tp: &Tp, from: i64) -> Result<(), Trouble> {
        if !self.queues.contains_key(tp) {
            self.queues.insert(tp.clone(), Queue { next: from, ..Queue::default() });
            self.assign()?;
        }
        Ok(())
    }

    /// Assigns anew where each queue ends: what the client still hands out from before is known by its offset.
    fn assign(&mut self) -> Result<(), Trouble> {
        // The client keeps a partition that is paused so, over a new assignment, too.
        for (tp, queue) in self.queues.iter_mut().filter(|(_, queue)| queue.paused) {
            only(tp, |list| self.consumer.resume(list))?;
            queue.paused = false;
        }
        let at: Offsets = self.queues.iter().map(|(tp, queue)| (tp.clone(), queue.next)).collect();
        let assigned = source::list(&at).and_then(|list| self.consumer.assign(&list));
        assigned.map_err(|e| Trouble::of("cannot read again", &e))
    }

    /// The next message of a partition; `None` when none comes within `wait`.
    ///
    /// # Errors
    /// What the client cannot mend by itself.
    pub fn take(&mut self, tp: &Tp, wait: Duration) -> Result<Option<Taken>, Trouble> {
        let until = Instant::now() + wait;
        loop {
            if let Some(taken) = self.pop(tp)? {
                return Ok(Some(taken));
            }
            match self.consumer.poll(until.saturating_duration_since(Instant::now())) {
                Some(Ok(message)) => {
                    let tp = Tp { topic: message.topic().into(), partition: message.partition() };
                    let Some(queue) = self.queues.get_mut(&tp) else { continue };
                    if message.offset() < queue.next {
                        continue;
                    }
                    let mut batch = Batch::default();
                    if !self.reader.read(&message, &mut batch) {
                        return Err(Trouble::Fatal("stopped while messages were taken".into()));
                    }
                    queue.next = message.offset() + 1;
                    let (mut dead, mut originals) = (None, Originals::default());
                    if self.loud {
                        (dead, originals) = (batch.dead.pop(), batch.originals);
                    }
                    let copies = 1 + usize::from(self.loud);
                    let bytes = copies * message.payload_len() + size_of::<Taken>();
                    queue.bytes += bytes;
                    let (offset, input) = (message.offset(), batch.inputs.pop());
                    queue.waiting.push_back(Taken { offset, input, dead, originals, bytes });
                    if queue.is_full() && !queue.paused {
                        queue.paused = true;
                        only(&tp, |list| self.consumer.pause(list))?;
                    }
                }
                Some(Err(error)) if source::is_passing(&error) => {}
                Some(Err(error)) if source::is_out_of_range(&error) => {
                    return Err(Trouble::Fatal(format!(
                        "a message that is to be taken again does not exist any more: {error}\nhint: its topic's retention is shorter than the time since the last checkpoint, or the broker has lost data; `--rebuild-from earliest` makes the state anew from what is left"
                    )));
                }
                Some(Err(error)) => return Err(Trouble::of("cannot read again", &error)),
                None => return Ok(None),
            }
        }
    }

    fn pop(&mut self, tp: &Tp) -> Result<Option<Taken>, Trouble> {
        let Some(queue) = self.queues.get_mut(tp) else { return Ok(None) };
        let Some(taken) = queue.waiting.pop_front() else { return Ok(None) };
        queue.bytes = queue.bytes.saturating_sub(taken.bytes);
        if queue.paused && queue.has_room() {
            queue.paused = false;
            only(tp, |list| self.consumer.resume(list))?;
        }
        Ok(Some(taken))
    }
}

fn only(
    tp: &Tp,
    what: impl FnOnce(&rdkafka::TopicPartitionList) -> rdkafka::error::KafkaResult<()>,
) -> Result<(), Trouble> {
    let list = source::list(&[(tp.clone(), 0)].into());
    list.and_then(|list| what(&list)).map_err(|e| Trouble::of("cannot hold a partition back", &e))
}
