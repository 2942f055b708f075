//! Which rows learn, which rows stop the learning, and which rows judge it: always the past before the future.
//!
//! Boundaries lie between two times, never inside one, and are placed so that each slice gets its share of the rows and of
//! the bad rows. With many bad rows there is one split: train, then early stopping, then calibration. With few, boosting is
//! repeated on growing prefixes (forward chaining), so that every row but the first part gets a score from a model that
//! has not seen it or anything later. Where time cannot split the classes, accounts do, and the report says so.

use crate::chance::unit_of;
use serde::Serialize;

/// How rows are split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitOptions {
    /// Share of the rows for early stopping, in a single split.
    pub stop_share: f64,
    /// Share of the rows for calibration, in a single split.
    pub calibrate_share: f64,
    /// Fewer bad rows than this: forward chaining.
    pub folds_below_positives: usize,
    /// Number of steps of the forward chain.
    pub folds: usize,
    /// Share of the rows before the first step of the chain.
    pub first_share: f64,
    /// Rows this close before a boundary are left out of the earlier slice: their label would not be known yet, or reaches over.
    pub gap_ms: i64,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self {
            stop_share: 0.15,
            calibrate_share: 0.15,
            folds_below_positives: 5000,
            folds: 4,
            first_share: 0.4,
            gap_ms: 0,
        }
    }
}

/// By what the rows were split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Train, later stop, later calibrate.
    TimeHoldout,
    /// Growing prefixes, each judged on what follows it.
    TimeFolds,
    /// Accounts in random folds: no time could part the classes. Measures are too kind under drift.
    AccountFolds,
}

/// One training run: row numbers of the labelled rows, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Rows that are learned from.
    pub train: Vec<u32>,
    /// Rows that stop the boosting.
    pub stop: Vec<u32>,
    /// Rows that are scored out of sample.
    pub test: Vec<u32>,
}

/// All training runs whose out-of-sample scores are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// By what the rows were split.
    pub protocol: Protocol,
    /// At least one; the test rows of no two folds overlap.
    pub folds: Vec<Fold>,
    /// Whether the gap had to be given up to keep both classes in every slice.
    pub gap_dropped: bool,
}

/// Least number of rows of each class to learn from, and to judge with.
const TRAIN_CLASS_MIN: usize = 5;
const TEST_CLASS_MIN: usize = 2;

/// Rows in time order, with their class.
struct Rows<'a> {
    ts_ms: &'a [i64],
    bad: &'a [bool],
    /// Mass of the rows before each row, and of all at the end: half by count, half by bad rows.
    mass: Vec<f64>,
}

impl<'a> Rows<'a> {
    fn new(ts_ms: &'a [i64], bad: &'a [bool]) -> Self {
        let positives = bad.iter().filter(|b| **b).count().max(1) as f64;
        let rows = bad.len().max(1) as f64;
        let mut mass = vec![0.0];
        let mut sum = 0.0;
        for &b in bad {
            sum += 0.5 / rows + if b { 0.5 / positives } else { 0.0 };
            mass.push(sum);
        }
        Self { ts_ms, bad, mass }
    }

    /// The first row at or after the mass quantile `share` that does not share its time with the row before it.
    fn boundary(&self, share: f64) -> usize {
        let n = self.bad.len();
        let aim = share * self.mass[n];
        let mut at = self.mass.partition_point(|m| *m < aim).min(n);
        while at > 0 && at < n && self.ts_ms[at] == self.ts_ms[at - 1] {
            at += 1;
        }
        at
    }

    /// Rows `from..to` less those within `gap_ms` of the time of row `to`.
    fn before(&self, from: usize, to: usize, gap_ms: i64) -> Vec<u32> {
        let end = match self.ts_ms.get(to) {
            Some(&ts) if gap_ms > 0 => {
                from + self.ts_ms[from..to].partition_point(|t| *t < ts.saturating_sub(gap_ms))
            }
            _ => to,
        };
        (from as u32..end as u32).collect()
    }

    fn enough(&self, rows: &[u32], least: usize) -> bool {
        let bad = rows.iter().filter(|row| self.bad[**row as usize]).count();
        bad >= least && rows.len() - bad >= least
    }

    fn usable(&self, fold: &Fold) -> bool {
        self.enough(&fold.train, TRAIN_CLASS_MIN)
            && self.enough(&fold.stop, TEST_CLASS_MIN)
            && self.enough(&fold.test, TEST_CLASS_MIN)
    }
}

/// Splits labelled rows (in time order) by `options`. Row numbers in the plan are positions in these slices, which must have one
/// length. O(rows x folds). The plan has no folds when either class is too small to be parted at all.
#[must_use]
pub fn plan(
    ts_ms: &[i64],
    bad: &[bool],
    account: &[u32],
    options: &SplitOptions,
    seed: u64,
) -> Plan {
    let rows = Rows::new(ts_ms, bad);
    let positives = bad.iter().filter(|b| **b).count();
    let gaps: &[i64] = if options.gap_ms > 0 { &[options.gap_ms, 0] } else { &[0] };
    for &gap_ms in gaps {
        let gap_dropped = options.gap_ms > 0 && gap_ms == 0;
        if positives >= options.folds_below_positives {
            let fold = holdout(&rows, options, gap_ms);
            if rows.usable(&fold) {
                return Plan { protocol: Protocol::TimeHoldout, folds: vec![fold], gap_dropped };
            }
        }
        let folds = chain(&rows, options, gap_ms);
        if folds.len() >= 2 {
            return Plan { protocol: Protocol::TimeFolds, folds, gap_dropped };
        }
    }
    Plan {
        protocol: Protocol::AccountFolds,
        folds: by_account(&rows, account, options.folds, seed),
        gap_dropped: options.gap_ms > 0,
    }
}

fn holdout(rows: &Rows<'_>, options: &SplitOptions, gap_ms: i64) -> Fold {
    let stop = rows.boundary(1.0 - options.stop_share - options.calibrate_share);
    let test = rows.boundary(1.0 - options.calibrate_share).max(stop);
    Fold {
        train: rows.before(0, stop, gap_ms),
        stop: rows.before(stop, test, gap_ms),
        test: (test as u32..rows.bad.len() as u32).collect(),
    }
}

fn chain(rows: &Rows<'_>, options: &SplitOptions, gap_ms: i64) -> Vec<Fold> {
    let steps = options.folds.max(2);
    let at = |step: usize| {
        rows.boundary(
            options.first_share + (1.0 - options.first_share) * step as f64 / steps as f64,
        )
    };
    let mut folds = Vec::new();
    let mut from = at(0);
    for step in 1..=steps {
        let to = if step == steps { rows.bad.len() } else { at(step) };
        if to <= from {
            continue;
        }
        let test: Vec<u32> = (from as u32..to as u32).collect();
        let fold = Fold { train: rows.before(0, from, gap_ms), stop: test.clone(), test };
        // A step that cannot be judged is joined to the next one.
        if rows.usable(&fold) {
            folds.push(fold);
            from = to;
        } else if !rows.enough(&fold.train, TRAIN_CLASS_MIN) {
            from = to;
        }
    }
    folds
}

fn by_account(rows: &Rows<'_>, account: &[u32], folds: usize, seed: u64) -> Vec<Fold> {
    for count in (2..=folds.max(2)).rev() {
        let side =
            |row: u32| (unit_of(seed, u64::from(account[row as usize])) * count as f64) as usize;
        let made: Vec<Fold> = (0..count)
            .map(|fold| {
                let (test, train): (Vec<u32>, Vec<u32>) =
                    (0..rows.bad.len() as u32).partition(|row| side(*row) == fold);
                Fold { train, stop: test.clone(), test }
            })
            .collect();
        if made.iter().all(|fold| rows.usable(fold)) {
            return made;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn last(rows: &[u32], ts: &[i64]) -> i64 {
        rows.iter().map(|r| ts[*r as usize]).max().unwrap()
    }

    fn first(rows: &[u32], ts: &[i64]) -> i64 {
        rows.iter().map(|r| ts[*r as usize]).min().unwrap()
    }

    proptest! {
        #[test]
        fn the_future_is_never_learned_from(steps in prop::collection::vec((0i64..4, any::<bool>()), 60..400), gap_ms in 0i64..20, folds_below in 0usize..300) {
            let mut now = 0;
            let ts: Vec<i64> = steps.iter().map(|s| { now += s.0; now }).collect();
            let bad: Vec<bool> = steps.iter().map(|s| s.1).collect();
            let account: Vec<u32> = (0..ts.len() as u32).collect();
            let options = SplitOptions { gap_ms, folds_below_positives: folds_below, ..SplitOptions::default() };
            let plan = plan(&ts, &bad, &account, &options, 1);
            let mut seen = vec![false; ts.len()];
            let gap = if plan.gap_dropped { 0 } else { gap_ms };
            for fold in &plan.folds {
                for &row in &fold.test {
                    prop_assert!(!std::mem::replace(&mut seen[row as usize], true));
                }
                if plan.protocol != Protocol::AccountFolds {
                    prop_assert!(last(&fold.train, &ts) + gap < first(&fold.stop, &ts));
                }
                if plan.protocol == Protocol::TimeHoldout {
                    prop_assert!(last(&fold.stop, &ts) < first(&fold.test, &ts));
                }
            }
        }
    }

    #[test]
    fn many_bad_rows_are_split_once_and_few_are_chained() {
        let ts: Vec<i64> = (0..10_000).collect();
        let bad: Vec<bool> = (0..10_000).map(|row| row % 5 == 0).collect();
        let account = vec![0; 10_000];
        let options = SplitOptions { folds_below_positives: 1000, ..SplitOptions::default() };
        let found = plan(&ts, &bad, &account, &options, 1);
        assert_eq!((found.protocol, found.folds.len()), (Protocol::TimeHoldout, 1));
        assert!((found.folds[0].train.len() as i64 - 7000).abs() < 20);
        assert!((found.folds[0].test.len() as i64 - 1500).abs() < 20);
        let few: Vec<bool> = (0..10_000).map(|row| row % 200 == 0).collect();
        let found = plan(&ts, &few, &account, &SplitOptions::default(), 1);
        assert_eq!((found.protocol, found.folds.len()), (Protocol::TimeFolds, 4));
        assert_eq!(
            found.folds.iter().map(|f| f.test.len()).sum::<usize>() + found.folds[0].train.len(),
            10_000
        );
    }

    #[test]
    fn one_moment_is_split_by_account() {
        let ts = vec![5; 400];
        let bad: Vec<bool> = (0..400).map(|row| row % 4 == 0).collect();
        let account: Vec<u32> = (0..400).map(|row| row / 8).collect();
        let found = plan(&ts, &bad, &account, &SplitOptions::default(), 3);
        assert_eq!(found.protocol, Protocol::AccountFolds);
        for fold in &found.folds {
            assert!(
                fold.test.iter().all(|t| fold
                    .train
                    .iter()
                    .all(|r| account[*r as usize] != account[*t as usize]))
            );
        }
        assert!(
            plan(&ts, &vec![false; 400], &account, &SplitOptions::default(), 3).folds.is_empty()
        );
    }

    #[test]
    fn bad_rows_that_come_late_still_reach_every_slice() {
        let ts: Vec<i64> = (0..20_000).collect();
        let bad: Vec<bool> = (0..20_000).map(|row| row >= 16_000 && row % 2 == 0).collect();
        let options = SplitOptions { folds_below_positives: 1000, ..SplitOptions::default() };
        let found = plan(&ts, &bad, &[0; 20_000], &options, 1);
        assert_eq!(found.protocol, Protocol::TimeHoldout);
        let count = |rows: &[u32]| rows.iter().filter(|r| bad[**r as usize]).count();
        let fold = &found.folds[0];
        assert!(count(&fold.train) > 800 && count(&fold.stop) > 150 && count(&fold.test) > 150);
    }
}
