//! The order in which messages were taken. Kafka orders a partition; what several partitions do to one thing depends on how they were
//! interleaved. Written down, and committed with the outputs, that order makes a replay come to the same bytes.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// An instance goes live at these positions: what the journal has beyond them was never committed.
    Live {
        /// Its epoch.
        epoch: u64,
        /// Where it begins, each partition with the next offset to take.
        at: Vec<(String, i32, i64)>,
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

/// The runs that really count, of all entries behind a checkpoint at `from`, up to the committed positions `until`.
///
/// # Errors
/// When they do not lead from the one to the other: says which partition stands where.
pub fn runs_between(
    from: &Offsets,
    until: &Offsets,
    entries: &[Entry],
) -> Result<Vec<Run>, String> {
    let mut runs: Vec<Run> = Vec::new();
    for entry in entries {
        match entry {
            Entry::Took(took) => runs.extend(took.iter().cloned()),
            Entry::Live { at, .. } => {
                let at: Offsets = at
                    .iter()
                    .map(|(t, p, o)| (Tp { topic: t.clone(), partition: *p }, *o))
                    .collect();
                cut(&mut runs, &at);
            }
        }
    }
    cut(&mut runs, until);
    let mut stand = from.clone();
    for run in &runs {
        let next = stand.entry(run.tp()).or_insert(run.from);
        if run.from < *next {
            return Err(format!(
                "{} is taken from {} on, but stood at {next} already",
                run.tp(),
                run.from
            ));
        }
        *next = run.to + 1;
    }
    for (tp, wanted) in until {
        // A partition that nothing was taken from may stand anywhere before its first message.
        let stands = stand.get(tp).copied();
        let taken = runs.iter().any(|run| run.tp() == *tp);
        if stands.is_some_and(|stands| taken && stands != *wanted)
            || (!taken && stands.is_some_and(|s| s != *wanted))
        {
            let stands = stands.unwrap_or_default();
            return Err(format!(
                "{tp} is committed up to {wanted}, and the journal leads to {stands}"
            ));
        }
    }
    Ok(runs)
}

/// Leaves out what lies at or beyond the positions.
fn cut(runs: &mut Vec<Run>, at: &Offsets) {
    runs.retain(|run| at.get(&run.tp()).is_none_or(|next| run.to < *next));
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
        let live = |offsets: [i64; 2]| Entry::Live {
            epoch: 2,
            at: at(offsets).into_iter().map(|(tp, o)| (tp.topic, tp.partition, o)).collect(),
        };
        let entries = [
            Entry::Took(vec![run(0, 0, 4), run(1, 0, 1)]),
            Entry::Took(vec![run(0, 5, 9)]),
            live([5, 2]),
            Entry::Took(vec![run(1, 2, 3), run(0, 5, 6)]),
            Entry::Took(vec![run(0, 7, 9)]),
        ];
        let runs = runs_between(&at([0, 0]), &at([7, 4]), &entries).unwrap();
        assert_eq!(runs, [run(0, 0, 4), run(1, 0, 1), run(1, 2, 3), run(0, 5, 6)]);
    }

    #[test]
    fn a_journal_that_does_not_lead_there_is_refused() {
        let took = [Entry::Took(vec![run(0, 0, 4)])];
        assert!(runs_between(&at([0, 0]), &at([9, 0]), &took).unwrap_err().contains("events-0"));
        assert!(runs_between(&at([3, 0]), &at([5, 0]), &took).unwrap_err().contains("already"));
        assert_eq!(runs_between(&at([5, 3]), &at([5, 3]), &[]).unwrap(), []);
    }
}
