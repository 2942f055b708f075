//! Following a topic to its end and beyond: committed messages of some partitions, in the order of each.

use super::client::{self, QuietConsumer, Trouble};
use super::config::KafkaSection;
use super::journal::{Offsets, Tp};
use super::source::{is_passing, list};
use super::topics::Topics;
use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use std::time::{Duration, Instant};

/// Longest silence of the brokers while there is something to be read.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes each message: its partition, and itself.
pub type Each<'a> = dyn FnMut(&Tp, &BorrowedMessage<'_>) + 'a;

/// A reader that goes on where it stands.
pub struct Tail {
    consumer: QuietConsumer,
    next: Offsets,
}

impl Tail {
    /// Begins at these offsets.
    ///
    /// # Errors
    /// When an offset does not exist any more, or the client refuses.
    pub fn start(section: &KafkaSection, topics: &Topics, from: Offsets) -> Result<Self, Trouble> {
        for (tp, at) in &from {
            let (low, high) = topics.bounds(tp)?;
            if *at < low || *at > high {
                return Err(Trouble::Fatal(format!(
                    "{tp} holds offsets {low} to {high}, and {at} is needed\nhint: its retention is shorter than the time since the last checkpoint, or the broker has lost data; `--rebuild-from earliest` makes the state anew from what is left"
                )));
            }
        }
        let consumer = client::make(&client::reader(section))?;
        let assigned = list(&from).and_then(|list| consumer.assign(&list));
        assigned.map_err(|e| Trouble::of("cannot read back", &e))?;
        Ok(Self { consumer, next: from })
    }

    /// The offset after the last message that was handed over, by partition.
    pub fn next(&self) -> &Offsets {
        &self.next
    }

    /// Hands over at most `most` messages of those that are there, waiting up to `wait` for the first one.
    ///
    /// # Errors
    /// What the client cannot mend by itself.
    pub fn poll(
        &mut self,
        wait: Duration,
        most: usize,
        each: &mut Each<'_>,
    ) -> Result<usize, Trouble> {
        let (mut taken, mut wait) = (0, wait);
        while taken < most {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let tp = Tp { topic: message.topic().into(), partition: message.partition() };
                    each(&tp, &message);
                    self.next.insert(tp, message.offset() + 1);
                    taken += 1;
                    wait = Duration::ZERO;
                }
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => return Err(Trouble::of("cannot read back", &error)),
                None => break,
            }
        }
        Ok(taken)
    }

    /// Hands over everything up to the ends as of now.
    ///
    /// # Errors
    /// As [`Tail::poll`], or when the brokers fall silent.
    pub fn to_end(&mut self, topics: &Topics, each: &mut Each<'_>) -> Result<(), Trouble> {
        let mut open = Offsets::new();
        for (tp, next) in &self.next {
            let (_, high) = topics.bounds(tp)?;
            if *next < high {
                open.insert(tp.clone(), high);
            }
        }
        let mut heard = Instant::now();
        while !open.is_empty() {
            match self.consumer.poll(Duration::from_millis(20)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let tp = Tp { topic: message.topic().into(), partition: message.partition() };
                    each(&tp, &message);
                    if open.get(&tp).is_some_and(|end| message.offset() + 1 >= *end) {
                        open.remove(&tp);
                    }
                    self.next.insert(tp, message.offset() + 1);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => heard = Instant::now(),
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => return Err(Trouble::of("cannot read back", &error)),
                None => {
                    // Behind the last message there may be only marks of transactions, which the client passes by itself.
                    let stands = self
                        .consumer
                        .position()
                        .map_err(|e| Trouble::of("cannot read back", &e))?;
                    for element in stands.elements() {
                        let tp =
                            Tp { topic: element.topic().into(), partition: element.partition() };
                        let at = element.offset().to_raw();
                        if at.zip(open.get(&tp).copied()).is_some_and(|(at, end)| at >= end) {
                            open.remove(&tp);
                        }
                    }
                    if heard.elapsed() > PATIENCE {
                        return Err(Trouble::StartOver(
                            "the brokers sent nothing while messages were to be read back".into(),
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}
