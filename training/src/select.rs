//! Which columns and which rows are worth learning from.

use crate::chance::{mix, unit_of};
use crate::table::Table;
use serde::Serialize;

/// Columns kept and dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Columns {
    /// Numbers of the columns that are kept, rising.
    pub kept: Vec<usize>,
    /// Names of columns with one value (or none) in all rows.
    pub constant: Vec<String>,
    /// Names of columns that repeat another, with the name of the one that is kept.
    pub duplicate: Vec<(String, String)>,
}

/// One bit pattern per value that trees can tell apart: both zeroes are one, every NaN is one.
fn bits(value: f32) -> u32 {
    if value.is_nan() { u32::MAX } else { (value + 0.0).to_bits() }
}

/// Finds constant columns, and columns that equal an earlier one in all of `rows` (and are of its kind). O(rows x columns).
#[must_use]
pub fn columns(table: &Table, rows: &[u32]) -> Columns {
    let width = table.columns.len();
    let mut sums = vec![0u64; width];
    let mut varies = vec![false; width];
    let first: Vec<u32> = rows
        .first()
        .map_or(vec![0; width], |&row| table.row(row as usize).iter().map(|v| bits(*v)).collect());
    for &row in rows {
        for (column, value) in table.row(row as usize).iter().enumerate() {
            let value = bits(*value);
            sums[column] = (sums[column] ^ u64::from(value))
                .wrapping_mul(0xd6e8_feb8_6659_fd93)
                .rotate_left(29);
            varies[column] |= value != first[column];
        }
    }
    let mut found = Columns::default();
    // Sum to the kept columns that have it: equal sums are compared value by value.
    let mut by_sum: std::collections::BTreeMap<(u64, bool), Vec<usize>> =
        std::collections::BTreeMap::new();
    for column in 0..width {
        let name = &table.columns[column];
        if !varies[column] {
            found.constant.push(name.clone());
            continue;
        }
        let alike = by_sum.entry((mix(sums[column]), table.categorical[column])).or_default();
        let equal = |other: usize| {
            rows.iter().all(|&row| {
                let row = table.row(row as usize);
                bits(row[column]) == bits(row[other])
            })
        };
        match alike.iter().copied().find(|&other| equal(other)) {
            Some(other) => found.duplicate.push((name.clone(), table.columns[other].clone())),
            None => {
                alike.push(column);
                found.kept.push(column);
            }
        }
    }
    found
}

/// The columns with the largest gains: at most `columns_max`, and no more than are needed for `share` of the whole gain (0..=1).
/// `gains` holds (column, gain); ties go to the lower column. Rising column numbers. O(n log n).
#[must_use]
pub fn by_gain(gains: &[(usize, f64)], columns_max: usize, share: f64) -> Vec<usize> {
    let mut order: Vec<(usize, f64)> = gains.iter().copied().filter(|g| g.1 > 0.0).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let whole: f64 = order.iter().map(|g| g.1).sum();
    let mut kept = Vec::new();
    let mut sum = 0.0;
    for (column, gain) in order {
        if kept.len() >= columns_max || sum >= share * whole {
            break;
        }
        sum += gain;
        kept.push(column);
    }
    kept.sort_unstable();
    kept
}

/// Rows with the factor by which the weight of each is to be multiplied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Row numbers, in the order given.
    pub rows: Vec<u32>,
    /// 1 for kept minorities, 1 / rate for sampled majorities.
    pub factor: Vec<f32>,
}

/// Thins the larger class of `rows` so that about `rows_max` rows remain; never the smaller class, so more may remain. Each row's
/// fate depends on the seed and its number alone. O(rows).
#[must_use]
pub fn thin(rows: &[u32], bad: impl Fn(u32) -> bool, rows_max: usize, seed: u64) -> Sample {
    let positives = rows.iter().filter(|row| bad(**row)).count();
    let (small, majority_is_bad) =
        (positives.min(rows.len() - positives), positives * 2 > rows.len());
    let large = rows.len() - small;
    let rate =
        (rows_max.saturating_sub(small).max(small).max(1) as f64 / large.max(1) as f64).min(1.0);
    if rate >= 1.0 {
        return Sample { rows: rows.to_vec(), factor: vec![1.0; rows.len()] };
    }
    let mut sample = Sample::default();
    for &row in rows {
        if bad(row) != majority_is_bad {
            sample.rows.push(row);
            sample.factor.push(1.0);
        } else if unit_of(seed, u64::from(row)) < rate {
            sample.rows.push(row);
            sample.factor.push((1.0 / rate) as f32);
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&[f32]], categorical: &[bool]) -> Table {
        let rows = columns[0].len();
        Table {
            columns: (0..columns.len()).map(|c| format!("c{c}")).collect(),
            rows: (0..rows).flat_map(|r| columns.iter().map(move |c| c[r])).collect(),
            ts_ms: vec![0; rows],
            account: vec![0; rows],
            label: vec![None; rows],
            weight: vec![1.0; rows],
            categorical: categorical.to_vec(),
        }
    }

    #[test]
    fn what_repeats_and_what_never_moves_is_dropped() {
        let nan = f32::NAN;
        let table = table(
            &[
                &[1.0, 2.0, nan],
                &[5.0, 5.0, 5.0],
                &[1.0, 2.0, nan],
                &[nan, nan, nan],
                &[0.0, -0.0, 0.0],
                &[1.0, 2.0, nan],
                &[1.0, 2.0, 3.0],
            ],
            &[false, false, false, false, false, true, false],
        );
        let found = columns(&table, &[0, 1, 2]);
        assert_eq!(found.kept, [0, 5, 6]);
        assert_eq!(found.constant, ["c1", "c3", "c4"]);
        assert_eq!(found.duplicate, [("c2".to_owned(), "c0".to_owned())]);
        // Over the first two rows the last column repeats the first.
        assert_eq!(columns(&table, &[0, 1]).kept, [0, 5]);
        assert!(columns(&table, &[]).kept.is_empty());
    }

    #[test]
    fn gain_selects_the_best() {
        let gains = [(0, 1.0), (3, 6.0), (4, 0.0), (7, 3.0)];
        assert_eq!(by_gain(&gains, 10, 1.0), [0, 3, 7]);
        assert_eq!(by_gain(&gains, 2, 1.0), [3, 7]);
        assert_eq!(by_gain(&gains, 10, 0.6), [3]);
    }

    #[test]
    fn thinning_keeps_the_minority_and_the_total_weight() {
        let rows: Vec<u32> = (0..100_000).collect();
        let sample = thin(&rows, |row| row % 100 == 0, 21_000, 4);
        assert_eq!(sample.rows.iter().filter(|r| **r % 100 == 0).count(), 1000);
        assert!((sample.rows.len() as f64 - 21_000.0).abs() < 500.0);
        let weight: f64 = sample.factor.iter().map(|f| f64::from(*f)).sum();
        assert!((weight - 100_000.0).abs() < 3000.0, "{weight}");
        assert_eq!(thin(&rows, |row| row % 100 == 0, 200_000, 4).rows.len(), 100_000);
    }
}
