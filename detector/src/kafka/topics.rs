//! What is asked of the brokers: which partitions there are, what they hold, how far the group has committed.

use super::client::{self, QuietConsumer, Trouble};
use super::config::KafkaSection;
use super::journal::{Offsets, Tp};
use super::skip::Skip;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// What is asked of brokers that may refuse to talk at all is asked for so long at first, then for twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// How long a client that did not get through is listened to.
const HEARING: Duration = Duration::from_millis(50);
/// What the client says by itself is heard so many times at once.
const SERVED_MAX: usize = 64;

/// Asks the brokers.
pub struct Topics {
    consumer: QuietConsumer,
    section: KafkaSection,
}

impl Topics {
    /// A connection of its own.
    ///
    /// # Errors
    /// When the settings are refused.
    pub fn new(section: &KafkaSection) -> Result<Self, Trouble> {
        let consumer = client::make(&client::reader(section))?;
        Ok(Self { consumer, section: section.clone() })
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// When it is not there or may not be seen.
    pub fn partitions(&self, topic: &str) -> Result<i32, Trouble> {
        let what = format!("topic `{topic}`");
        let metadata = self.metadata(topic)?;
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        match found.and_then(|t| t.error()) {
            Some(error) => {
                let error = KafkaError::MetadataFetch(error.into());
                Err(Trouble::of(&what, &error))
            }
            None => Ok(found.map_or(0, |t| t.partitions().len() as i32)),
        }
    }

    /// Asks for a topic. A client that is refused says so by itself and goes on trying, so that the call would only take too long.
    fn metadata(&self, topic: &str) -> Result<Metadata, Trouble> {
        let heard = self.consumer.context().heard();
        let (until, mut wait) = (Instant::now() + PATIENCE, FIRST_WAIT);
        loop {
            self.serve(Duration::ZERO);
            let error = match self.consumer.fetch_metadata(Some(topic), wait) {
                Ok(metadata) => {
                    heard.forget();
                    return Ok(metadata);
                }
                Err(error) => error,
            };
            self.serve(HEARING);
            let bootstrap = &self.section.bootstrap;
            if let Some(refusal) = heard.refusal() {
                return Err(Trouble::Fatal(format!("{bootstrap}: {refusal}")));
            }
            if Instant::now() >= until {
                let text =
                    format!("the brokers at {bootstrap} do not answer ({error}){}", heard.said());
                return Err(Trouble::StartOver(format!(
                    "{text}\n  hint: is [kafka] bootstrap right, are the brokers up, and does [kafka.security] fit that port?"
                )));
            }
            wait = (wait * 2).min(until.saturating_duration_since(Instant::now()));
        }
    }

    /// Lets the client say what it has to say, and renew its token: it does so from `poll` only, and a poll that ends in no message
    /// may have heard only a part.
    fn serve(&self, patience: Duration) {
        for _ in 0..SERVED_MAX {
            if self.consumer.poll(patience).is_none() {
                return;
            }
        }
    }

    /// Looks at every topic that the configuration names.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn check(&self) -> Result<(), Trouble> {
        let s = &self.section;
        let mut problems = Vec::new();
        let mut counts = Vec::new();
        let inputs = s.events.iter().chain(&s.labels);
        let outputs = [&s.actions, &s.dead_letters, &s.journal].into_iter().chain(&s.scores);
        for (topic, input) in inputs.map(|t| (t, true)).chain(outputs.map(|t| (t, false))) {
            match self.partitions(topic) {
                Ok(0) => problems.push(format!("topic `{topic}` does not exist\n  hint: create it first; the detector makes none")),
                Ok(n) if *topic == s.journal && n != 1 => problems.push(format!(
                    "topic `{topic}` has {n} partitions; the journal is one order and needs exactly 1\n  hint: create it with one partition"
                )),
                Ok(n) if input => counts.push((topic, n)),
                Ok(_) => {}
                Err(Trouble::Fatal(e)) => problems.push(e),
                // Brokers that do not answer will not answer for the next topic either.
                Err(Trouble::StartOver(e)) => {
                    problems.push(e);
                    break;
                }
            }
        }
        if let Some((first, n)) = counts.first()
            && let Some((other, m)) = counts.iter().find(|(_, m)| m != n)
        {
            problems.push(format!(
                "topic `{first}` has {n} partitions and `{other}` has {m}: labels and events of one account must lie in partitions of the same number\n  hint: give all input topics the same number of partitions, keyed by account"
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(Trouble::Fatal(problems.join("\n  "))) }
    }

    /// Looks at places that are to be passed over: each must be one that could be read.
    ///
    /// # Errors
    /// All places that are wrong, in one text.
    pub fn check_skips(&self, skips: &[Skip]) -> Result<(), Trouble> {
        if skips.is_empty() {
            return Ok(());
        }
        let (inputs, mut problems) = (self.inputs()?, Vec::new());
        for skip in skips {
            let Skip { tp, at } = skip;
            if !inputs.contains(tp) {
                problems.push(format!(
                    "--skip {skip}: there is no partition {} of `{}` among events and labels in [kafka]\n  hint: the log and /readyz say it where a partition is stopped, as events/3@6443",
                    tp.partition, tp.topic
                ));
                continue;
            }
            let (_, end) = self.bounds(tp)?;
            if *at >= end {
                problems.push(format!(
                    "--skip {skip}: {tp} ends at offset {end}, and nothing is at {at} yet\n  hint: the log and /readyz say the offset at which a partition is stopped"
                ));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(Trouble::Fatal(problems.join("\n  "))) }
    }

    /// All partitions of the inputs that there are now.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn inputs(&self) -> Result<Vec<Tp>, Trouble> {
        let mut all = Vec::new();
        for topic in self.section.events.iter().chain(&self.section.labels) {
            let count = self.partitions(topic)?;
            all.extend((0..count).map(|partition| Tp { topic: topic.clone(), partition }));
        }
        Ok(all)
    }

    /// First offset that a partition still holds, and the one after its last.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn bounds(&self, tp: &Tp) -> Result<(i64, i64), Trouble> {
        self.serve(Duration::ZERO);
        let found = self.consumer.fetch_watermarks(&tp.topic, tp.partition, PATIENCE);
        found.map_err(|e| Trouble::of(&format!("offsets of {tp}"), &e))
    }

    /// How far the group has committed each partition; those without a commit are absent. Waits for open transactions.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn committed(&self, of: &[Tp]) -> Result<Offsets, Trouble> {
        let mut list = TopicPartitionList::with_capacity(of.len());
        for tp in of {
            list.add_partition(&tp.topic, tp.partition);
        }
        self.serve(Duration::ZERO);
        let found = self.consumer.committed_offsets(list, PATIENCE);
        let found = found.map_err(|e| Trouble::of("cannot read the group's offsets", &e))?;
        let offset = |offset| if let Offset::Offset(at) = offset { Some(at) } else { None };
        let elements = found.elements();
        let known = elements.iter().filter_map(|e| {
            Some((Tp { topic: e.topic().into(), partition: e.partition() }, offset(e.offset())?))
        });
        Ok(known.collect())
    }
}
