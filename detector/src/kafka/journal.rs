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

/// Messages of one partition that were taken one after the other: offsets `from` to `to`, both of messages that exist, `messages` of
/// them (offsets have gaps).
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
}

/// One record of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A batch, in its order.
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
        Some(run) if run.p == partition && run.t == topic => {
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
}

impl Order {
    /// Adds a batch.
    pub fn push(&mut self, entry: i64, took: Vec<Run>) {
        self.runs.extend(took.into_iter().map(|run| (entry, run)));
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
        let entry: Entry = serde_json::from_str(old).unwrap();
        assert_eq!(entry, Entry::Live { epoch: 3, at: vec![("events".into(), 0, 7)], anew: false });
    }
}
