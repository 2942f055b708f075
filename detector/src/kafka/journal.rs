//! The order in which messages were taken. Kafka orders a partition; what several partitions do to one thing depends on how they were
//! interleaved. Written down, and committed with the outputs, that order makes a replay come to the same bytes.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tp {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
}

impl std::fmt::Display for Tp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Next offset to take, by partition.
pub type Offsets = BTreeMap<Tp, i64>;

/// Messages of one partition that were taken one after the other: offsets `from` to `to`, both of messages that exist, `n` of
/// them (offsets have gaps). With `n` 0 they were passed over, because a person said so: a follower passes over them, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Topic.
    pub t: String,
    /// Partition.
    pub p: i32,
    /// First offset.
    pub from: i64,
    /// Last offset.
    pub to: i64,
    /// How many messages.
    pub n: u32,
}

impl Run {
    /// The partition.
    pub fn tp(&self) -> Tp {
        Tp { topic: self.t.clone(), partition: self.p }
    }

    /// What was passed over: offsets `from` to before `to`.
    pub fn passed_over(tp: &Tp, from: i64, to: i64) -> Self {
        Self { t: tp.topic.clone(), p: tp.partition, from, to: to - 1, n: 0 }
    }

    /// Whether it was not taken.
    pub fn is_passed_over(&self) -> bool {
        self.n == 0
    }
}

/// Next offset of the actions, by partition.
pub type Stood = Vec<(i32, i64)>;

/// One record of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who wrote it: the epoch of its lease, and a random number, since a Redis that went back in time gives an epoch twice. Records of
    /// earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
    /// At least once: where the actions stood when everything that was taken before this record was published. Only on the first
    /// order of a commit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Stood,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes)
            .map_err(|e| format!("the journal holds something that is no journal: {e}"))
    }

    /// Whether from here on the journal is this writer's.
    pub fn takes_over(&self) -> bool {
        match self.entry {
            Entry::Begins { .. } => true,
            Entry::Live { .. } => self.writer.is_none(),
            _ => false,
        }
    }
}

/// Which records count: those of the writer that took the journal over last. What another one still writes, because it was paused and
/// does not know yet, is in the journal and means nothing. Every reader comes to the same, wherever it stands and whenever it reads.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    writer: Option<String>,
}

impl Reading {
    /// Reads on where this one had the journal.
    pub fn after(writer: Option<String>) -> Self {
        Self { writer }
    }

    /// Whose the journal is, as far as it was read.
    pub fn writer(&self) -> Option<&str> {
        self.writer.as_deref()
    }

    /// Whether the next record counts, unless it was there before.
    pub fn may_count(&self, record: &Record) -> bool {
        record.takes_over() || self.writer == record.writer
    }

    /// Whether the next record counts.
    pub fn counts(&mut self, record: &Record) -> bool {
        if record.takes_over() {
            self.writer.clone_from(&record.writer);
        }
        self.writer == record.writer
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// From here on the journal is this writer's.
    Begins {
        /// Its epoch.
        epoch: u64,
    },
    /// Messages in the order in which they were taken: those of one batch or of several.
    Took(Vec<Run>),
    /// From here on this model and policy decide, for those who read along: replays decide nothing.
    Decides {
        /// The model's id.
        model: String,
        /// The policy's id.
        policy: String,
    },
    /// An instance goes live at these positions: what the journal has beyond them was never committed.
    Live {
        /// Its epoch.
        epoch: u64,
        /// Where it begins, each partition with the next offset to take.
        at: Vec<(String, i32, i64)>,
        /// Its state does not come from what was taken before: it was made anew, or is empty.
        #[serde(default)]
        anew: bool,
    },
}

/// Appends a message to the runs of a batch.
pub fn push(runs: &mut Vec<Run>, topic: &str, partition: i32, offset: i64) {
    match runs.last_mut() {
        Some(run) if run.p == partition && run.t == topic && !run.is_passed_over() => {
            run.to = offset;
            run.n += 1;
        }
        _ => runs.push(Run { t: topic.into(), p: partition, from: offset, to: offset, n: 1 }),
    }
}

/// What was read in the journal and is to be taken next.
#[derive(Debug, Default)]
pub struct Order {
    /// Each with the offset of its entry.
    runs: VecDeque<(i64, Run)>,
    /// Where the actions stood before entries that say so.
    stood: VecDeque<(i64, Stood)>,
    /// The last of these that was reached.
    reached: Option<Stood>,
}

impl Order {
    /// Begins where the actions stood here.
    pub fn begun_at(actions: Stood) -> Self {
        Self { reached: Some(actions), ..Self::default() }
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: i64, took: Vec<Run>) {
        self.runs.extend(took.into_iter().map(|run| (entry, run)));
    }

    /// Before this entry the actions stood here.
    pub fn stood_before(&mut self, entry: i64, actions: Stood) {
        self.stood.push_back((entry, actions));
    }

    /// Where the actions stood before the commit that the first run is of, if the journal says so; without a run, before that of the
    /// last one.
    pub fn stood(&mut self) -> Option<&Stood> {
        let front = self.entry();
        while self.stood.front().is_some_and(|(entry, _)| front.is_none_or(|at| *entry <= at)) {
            self.reached = self.stood.pop_front().map(|(_, actions)| actions);
        }
        self.reached.as_ref()
    }

    /// How many messages the runs hold that come before the first one that does not end before these positions.
    pub fn messages_before(&self, until: &Offsets) -> u64 {
        let is_before = |run: &Run| until.get(&run.tp()).is_some_and(|next| run.to < *next);
        let runs = self.runs.iter().map(|(_, run)| run).take_while(|run| is_before(run));
        runs.map(|run| u64::from(run.n)).sum()
    }

    /// Where the partitions stand once all runs are taken, begun at `at`.
    pub fn leads_to(&self, mut at: Offsets) -> Offsets {
        for (_, run) in &self.runs {
            at.insert(run.tp(), run.to + 1);
        }
        at
    }

    /// Leaves out what lies at or beyond the positions: it was never committed.
    pub fn cut(&mut self, at: &Offsets) {
        self.runs.retain(|(_, run)| at.get(&run.tp()).is_none_or(|next| run.to < *next));
    }

    /// The first run.
    pub fn front(&self) -> Option<&Run> {
        self.runs.front().map(|(_, run)| run)
    }

    /// The offset of the first run's entry.
    pub fn entry(&self) -> Option<i64> {
        self.runs.front().map(|(entry, _)| *entry)
    }

    /// The first run was taken.
    pub fn pop(&mut self) {
        self.runs.pop_front();
    }

    /// How many runs there are.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many messages they hold.
    pub fn messages(&self) -> u64 {
        self.runs.iter().map(|(_, run)| u64::from(run.n)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp(partition: i32) -> Tp {
        Tp { topic: "events".into(), partition }
    }

    fn run(p: i32, from: i64, to: i64) -> Run {
        Run { t: "events".into(), p, from, to, n: (to - from + 1) as u32 }
    }

    fn at(offsets: [i64; 2]) -> Offsets {
        [(tp(0), offsets[0]), (tp(1), offsets[1])].into()
    }

    #[test]
    fn messages_join_into_runs() {
        let mut runs = Vec::new();
        for (p, offset) in [(0, 5), (0, 7), (1, 0), (0, 8)] {
            push(&mut runs, "events", p, offset);
        }
        assert_eq!(runs, [Run { n: 2, ..run(0, 5, 7) }, run(1, 0, 0), run(0, 8, 8)]);
    }

    #[test]
    fn what_was_never_committed_is_left_out() {
        let mut order = Order::default();
        order.push(0, vec![run(0, 0, 4), run(1, 0, 1)]);
        order.push(1, vec![run(0, 5, 9)]);
        order.cut(&at([5, 2]));
        order.push(3, vec![run(1, 2, 3), run(0, 5, 6)]);
        order.push(4, vec![run(0, 7, 9)]);
        order.cut(&at([7, 4]));
        assert_eq!((order.len(), order.messages(), order.entry()), (4, 11, Some(0)));
        let mut runs = Vec::new();
        while let Some(run) = order.front().cloned() {
            runs.push(run);
            order.pop();
        }
        assert_eq!(runs, [run(0, 0, 4), run(1, 0, 1), run(1, 2, 3), run(0, 5, 6)]);
        assert!(order.is_empty() && order.entry().is_none());
    }

    #[test]
    fn marks_of_earlier_versions_are_read() {
        let old = r#"{"live":{"epoch":3,"at":[["events",0,7]]}}"#;
        let record = Record::read(old.as_bytes()).unwrap();
        assert_eq!((&record.writer, record.takes_over()), (&None, true));
        let live = Entry::Live { epoch: 3, at: vec![("events".into(), 0, 7)], anew: false };
        assert_eq!(record.entry, live);
    }

    fn record(writer: Option<&str>, entry: Entry) -> Record {
        Record { writer: writer.map(Into::into), actions: Stood::new(), entry }
    }

    #[test]
    fn a_record_says_who_wrote_it_beside_what_it_says() {
        let took = Record {
            writer: Some("7-1f".into()),
            actions: vec![(0, 5), (1, 0)],
            entry: Entry::Took(vec![run(0, 5, 7)]),
        };
        let text = serde_json::to_string(&took).unwrap();
        let expected = r#"{"writer":"7-1f","actions":[[0,5],[1,0]],"took":[{"t":"events","p":0,"from":5,"to":7,"n":3}]}"#;
        assert_eq!(text, expected);
        assert_eq!(Record::read(text.as_bytes()).unwrap(), took);
        let begins = record(Some("7-1f"), Entry::Begins { epoch: 7 });
        let text = serde_json::to_string(&begins).unwrap();
        assert_eq!(text, r#"{"writer":"7-1f","begins":{"epoch":7}}"#);
        assert_eq!(Record::read(text.as_bytes()).unwrap(), begins);
        assert!(Record::read(b"{}").is_err() && Record::read(b"no").is_err());
    }

    #[test]
    fn what_the_actions_stood_at_is_that_of_the_first_runs_commit() {
        let mut order = Order::default();
        order.stood_before(3, vec![(0, 10)]);
        order.push(3, vec![run(0, 0, 1)]);
        order.push(4, vec![run(0, 2, 3)]);
        order.stood_before(6, vec![(0, 20)]);
        order.push(6, vec![run(0, 4, 5)]);
        for at in [10, 10, 20, 20] {
            assert_eq!(order.stood(), Some(&vec![(0, at)]));
            order.pop();
        }
        assert_eq!(Order::default().stood(), None);
    }

    /// A writer: it takes the journal over, reads what counts in it, and writes until it ends; others may have taken over long before.
    struct Writer {
        name: String,
        /// What it read, or wrote since.
        knows: Vec<Run>,
        /// The offset after its own last record.
        next: usize,
        read: bool,
        ended: bool,
    }

    /// What counts in a journal, from one of its records on.
    fn counting(journal: &[Record], mut reading: Reading) -> Vec<Run> {
        let mut runs = Vec::new();
        for record in journal {
            if reading.counts(record)
                && let Entry::Took(took) = &record.entry
            {
                runs.extend(took.clone());
            }
        }
        runs
    }

    /// Any number of writers, each paused anywhere: what one of them knows it published for is in what counts, in the same order, for
    /// every reader, whenever it reads; and a reader that begins in the middle comes to the same.
    #[test]
    fn paused_writers_never_change_what_counts() {
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        let mut below = move |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let (mut fenced, mut late) = (0, 0);
        for _ in 0..3000 {
            let mut journal: Vec<Record> = Vec::new();
            let mut writers: Vec<Writer> = Vec::new();
            let mut published: Vec<(usize, Run)> = Vec::new();
            for _ in 0..below(60) {
                if writers.is_empty() || below(8) == 0 {
                    // A Redis that went back gives an epoch twice.
                    let name = format!("{}-{}", below(3), writers.len());
                    journal.push(record(Some(&name), Entry::Begins { epoch: 0 }));
                    let (knows, next) = (Vec::new(), journal.len());
                    writers.push(Writer { name, knows, next, read: false, ended: false });
                    continue;
                }
                let number = below(writers.len() as u64) as usize;
                let w = &mut writers[number];
                if w.ended {
                    continue;
                }
                if !w.read {
                    // It reads to the end, which is at or behind its own mark.
                    let mut reading = Reading::default();
                    for record in &journal {
                        reading.counts(record);
                    }
                    w.ended = reading.writer() != Some(&w.name);
                    (w.knows, w.read) = (counting(&journal, Reading::default()), true);
                    continue;
                }
                let from = w.knows.last().map_or(0, |run| run.to + 1);
                let took = run(0, from, from + below(3) as i64);
                journal.push(record(Some(&w.name), Entry::Took(vec![took.clone()])));
                // As the publisher does: others wrote in between, so it looks at what.
                let between = &journal[w.next..journal.len() - 1];
                w.next = journal.len();
                if between.iter().any(Record::takes_over) {
                    (w.ended, fenced) = (true, fenced + 1);
                    continue;
                }
                late += usize::from(!between.is_empty());
                w.knows.push(took.clone());
                published.push((journal.len() - 1, took));
            }
            let counts = counting(&journal, Reading::default());
            assert!(counts.windows(2).all(|pair| pair[0].to + 1 == pair[1].from), "{journal:?}");
            // Nothing was published that does not count, and everything that counts was.
            let all: Vec<Run> = published.iter().map(|(_, run)| run.clone()).collect();
            assert_eq!(all, counts, "{journal:?}");
            // From behind a published one, as a checkpoint says.
            if let Some((entry, _)) = published.get(published.len() / 2) {
                let reading = Reading::after(journal[*entry].writer.clone());
                let rest = counting(&journal[entry + 1..], reading);
                assert!(counts.ends_with(&rest), "{journal:?}");
                assert_eq!(rest.len(), published.len() - published.len() / 2 - 1);
            }
        }
        assert!(fenced > 100 && late > 100, "{fenced} {late}");
    }

    #[test]
    fn records_of_earlier_versions_count_until_somebody_takes_over() {
        let live = || Entry::Live { epoch: 3, at: Vec::new(), anew: false };
        let took = |from| Entry::Took(vec![run(0, from, from)]);
        let journal = [
            record(None, took(0)),
            record(None, live()),
            record(None, took(1)),
            record(Some("4-a"), Entry::Begins { epoch: 4 }),
            record(None, took(2)),
            record(Some("4-a"), live()),
            record(Some("4-a"), took(2)),
            record(None, live()),
            record(Some("4-a"), took(3)),
            record(None, took(3)),
        ];
        let counts = counting(&journal, Reading::default());
        assert_eq!(counts, [run(0, 0, 0), run(0, 1, 1), run(0, 2, 2), run(0, 3, 3)]);
    }
}
