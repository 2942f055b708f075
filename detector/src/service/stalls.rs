//! Partitions of which nothing comes and nobody says why: a leader that is gone, or a batch that the client passes over in silence again
//! and again. The end of a partition says that there is something to read; after a while a new client is asked what it finds there.

use crate::kafka::journal::{Offsets, Tp};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A partition that has messages and sends none is looked into after this.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Where a partition is.
struct Progress {
    next: i64,
    /// Since when there is more and nothing comes.
    since: Option<Instant>,
    /// Up to this end there is nothing to read: marks of transactions.
    nothing_before: i64,
}

/// How far all partitions come.
#[derive(Default)]
pub(super) struct Stalls {
    all: BTreeMap<Tp, Progress>,
}

impl Stalls {
    /// Notes how far partitions are and where they end; those of which nothing came for too long, each reported once in that time.
    pub(super) fn look(&mut self, at: &Offsets, ends: &Offsets, now: Instant) -> Vec<(Tp, i64)> {
        let mut silent = Vec::new();
        for (tp, end) in ends {
            let Some(next) = at.get(tp).copied() else { continue };
            let new = || Progress { next, since: None, nothing_before: 0 };
            let progress = self.all.entry(tp.clone()).or_insert_with(new);
            if progress.next != next || *end <= next.max(progress.nothing_before) {
                (progress.next, progress.since) = (next, None);
                continue;
            }
            let since = *progress.since.get_or_insert(now);
            if now.duration_since(since) >= SILENCE_MAX {
                progress.since = Some(now);
                silent.push((tp.clone(), next));
            }
        }
        silent
    }

    /// There is nothing to read before this end.
    pub(super) fn nothing_before(&mut self, tp: &Tp, end: i64) {
        if let Some(progress) = self.all.get_mut(tp) {
            progress.nothing_before = progress.nothing_before.max(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_reported_when_there_is_something_to_read_and_nothing_comes() {
        let (begun, tp) = (Instant::now(), Tp { topic: "events".into(), partition: 3 });
        let mut stalls = Stalls::default();
        // (seconds, next, end): whether it is reported.
        let table = [
            (0, 7, 7, false),
            // Long idle, and then a message: its time begins now.
            (600, 7, 8, false),
            (659, 7, 9, false),
            (660, 7, 9, true),
            (661, 7, 9, false),
            (720, 7, 9, true),
            // It comes on.
            (721, 8, 9, false),
            (779, 8, 9, false),
            (781, 9, 9, false),
            (900, 9, 12, false),
            (959, 10, 12, false),
            (960, 10, 12, false),
            (1019, 10, 12, false),
            (1020, 10, 12, true),
        ];
        for (seconds, next, end, expected) in table {
            let now = begun + Duration::from_secs(seconds);
            let at = [(tp.clone(), next)].into();
            let silent = stalls.look(&at, &[(tp.clone(), end)].into(), now);
            let found = if expected { vec![(tp.clone(), next)] } else { Vec::new() };
            assert_eq!(silent, found, "{seconds} s: {next} of {end}");
        }
        // Marks of transactions are nothing to read; a message behind them is.
        stalls.nothing_before(&tp, 12);
        let at: Offsets = [(tp.clone(), 10)].into();
        for (seconds, end, expected) in
            [(1100, 12, 0), (1200, 12, 0), (1300, 13, 0), (1359, 13, 0), (1360, 13, 1)]
        {
            let now = begun + Duration::from_secs(seconds);
            let silent = stalls.look(&at, &[(tp.clone(), end)].into(), now);
            assert_eq!(silent.len(), expected, "{seconds} s, {end}");
        }
        // One that is not ours is not looked at.
        assert!(stalls.look(&Offsets::new(), &[(tp, 99)].into(), begun).is_empty());
    }
}
