//! Following a topic to its end and beyond: committed messages of some partitions, in the order of each.

use super::client::{self, Trouble};
use super::config::KafkaSection;
use super::fetcher::{FetchError, Fetched, Fetcher};
use super::journal::{Offsets, Tp};
use super::outcome::Outcome;
use super::topics::Topics;
use std::time::{Duration, Instant};

/// Longest silence of the brokers while there is something to be read.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes each message: its partition, and itself.
pub type Each<'a> = dyn FnMut(&Tp, &Fetched<'_>) + 'a;

/// A reader that goes on where it stands.
pub struct Tail {
    fetcher: Fetcher,
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
        let mut fetcher = Fetcher::new(&client::reader(section))?;
        fetcher.assign(&from)?;
        Ok(Self { fetcher, next: from })
    }

    /// Begins with these partitions, too.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn add(&mut self, new: Offsets) -> Result<(), Trouble> {
        if new.is_empty() {
            return Ok(());
        }
        self.next.extend(new.clone());
        self.fetcher.read_from(&new, &self.next)
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
            match self.fetcher.poll(wait) {
                Some(Ok(message)) => {
                    let tp = message.tp();
                    each(&tp, &message);
                    self.next.insert(tp, message.offset() + 1);
                    taken += 1;
                    wait = Duration::ZERO;
                }
                Some(Err(error)) => retried(&error)?,
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
        self.towards_end(topics, usize::MAX, each)
    }

    /// As [`Tail::to_end`], and at most `most` messages.
    ///
    /// # Errors
    /// As [`Tail::to_end`].
    pub fn towards_end(
        &mut self,
        topics: &Topics,
        most: usize,
        each: &mut Each<'_>,
    ) -> Result<(), Trouble> {
        let (mut open, mut taken) = (Offsets::new(), 0);
        for (tp, next) in &self.next {
            let (_, high) = topics.bounds(tp)?;
            if *next < high {
                open.insert(tp.clone(), high);
            }
        }
        let mut heard = Instant::now();
        while !open.is_empty() && taken < most {
            match self.fetcher.poll(Duration::from_millis(20)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let tp = message.tp();
                    each(&tp, &message);
                    taken += 1;
                    if open.get(&tp).is_some_and(|end| message.offset() + 1 >= *end) {
                        open.remove(&tp);
                    }
                    self.next.insert(tp, message.offset() + 1);
                }
                Some(Err(error)) if error.is_end() => heard = Instant::now(),
                Some(Err(error)) => retried(&error)?,
                None => {
                    // Behind the last message there may be only marks of transactions, which the client passes by itself.
                    let stands = self.fetcher.position();
                    let stands = stands.map_err(|e| Trouble::of("cannot read back", &e))?;
                    open.retain(|tp, end| stands.get(tp).is_none_or(|at| at < end));
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

/// Whether the client mends it by itself. One partition of these topics is needed like all others.
fn retried(error: &FetchError) -> Result<(), Trouble> {
    match error.outcome() {
        Outcome::Retried => Ok(()),
        _ => Err(error.trouble("cannot read back")),
    }
}
