//! The measures apart for each value of an attribute, and how far apart they are.

use super::collect::{Rows, SliceColumn, SliceKind};
use super::intervals::{self, Intervals};
use super::measure::Measured;
use serde::Serialize;
use std::collections::BTreeMap;
use training::metrics::{Summary, summarise};

/// Good rows that a slice needs for its false positive rate to be compared.
const GOOD_ROWS_MIN: u64 = 200;
/// Bad rows that a slice needs for its recall to be compared.
const BAD_ROWS_MIN: u64 = 30;
/// Values of one attribute that get a row of their own; the rarer ones are put together.
const VALUES_MAX: usize = 40;

/// One attribute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SliceTable {
    /// `type`, or the attribute's name.
    pub attribute: String,
    /// Its values, in order of declaration or size.
    pub values: Vec<Slice>,
}

/// One value of an attribute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slice {
    /// The value as text: a name, `true`, a range, `(absent)` or `(other)`.
    pub value: String,
    /// The measures at the report's threshold.
    #[serde(flatten)]
    pub summary: Summary,
    /// 95 % intervals; absent when not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
}

/// The two values of an attribute that are furthest apart, of those with rows enough.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gap {
    /// The attribute.
    pub attribute: String,
    /// `fpr` or `recall`.
    pub measure: &'static str,
    /// Highest minus lowest.
    pub gap: f64,
    /// The highest.
    pub highest: GapEnd,
    /// The lowest.
    pub lowest: GapEnd,
    /// Values that had rows enough to be compared.
    pub compared: usize,
    /// Values that had not.
    pub too_small: usize,
}

/// One end of a gap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GapEnd {
    /// The value of the attribute.
    pub value: String,
    /// The measure.
    pub rate: f64,
    /// Rows that it is a share of: good ones for `fpr`, bad ones for `recall`.
    pub rows: u64,
}

/// A table per slice column. O(columns x n log n).
pub fn tables(
    rows: &Rows,
    measured: &Measured,
    threshold: f64,
    repeats: usize,
    seed: u64,
) -> Vec<SliceTable> {
    rows.slices
        .iter()
        .map(|column| {
            let values = parts(column, measured)
                .into_iter()
                .map(|(value, own)| {
                    let pick = |row: &u32| *row as usize;
                    let scores: Vec<f64> =
                        own.iter().map(pick).map(|i| measured.score[i]).collect();
                    let bad: Vec<bool> = own.iter().map(pick).map(|i| measured.bad[i]).collect();
                    let summary = summarise(&scores, &bad, Some(threshold));
                    let intervals = (repeats > 0)
                        .then(|| intervals::at_threshold(measured, &own, threshold, repeats, seed));
                    Slice { value, summary, intervals }
                })
                .collect();
            SliceTable { attribute: column.name.clone(), values }
        })
        .collect()
}

/// The measured rows of each value, by its text.
fn parts(column: &SliceColumn, measured: &Measured) -> Vec<(String, Vec<u32>)> {
    let value = |row: usize| column.values[measured.row[row] as usize];
    let edges = match column.kind {
        SliceKind::Number => quartiles((0..measured.row.len()).map(value).collect()),
        _ => Vec::new(),
    };
    // By place, so that values keep their order.
    let mut parts: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for row in 0..measured.row.len() {
        let value = value(row);
        let place = match &column.kind {
            _ if value.is_nan() => usize::MAX,
            SliceKind::Number => edges.partition_point(|edge| *edge < value),
            _ => value.max(0.0) as usize,
        };
        parts.entry(place).or_default().push(row as u32);
    }
    let text = |place: usize| match &column.kind {
        _ if place == usize::MAX => "(absent)".to_string(),
        SliceKind::Boolean => (place > 0).to_string(),
        SliceKind::Names(names) => {
            names.get(place).cloned().unwrap_or_else(|| "(other)".to_string())
        }
        SliceKind::Number => match (place.checked_sub(1).map(|p| edges[p]), edges.get(place)) {
            (None, None) => "all".to_string(),
            (None, Some(high)) => format!("up to {high}"),
            (Some(low), Some(high)) => format!("over {low}, up to {high}"),
            (Some(low), None) => format!("over {low}"),
        },
    };
    let mut named: Vec<(String, Vec<u32>)> =
        parts.into_iter().map(|(place, rows)| (text(place), rows)).collect();
    if named.len() > VALUES_MAX {
        // The largest keep their place; ties by order.
        let mut by_size: Vec<usize> = (0..named.len()).collect();
        by_size.sort_by_key(|i| (std::cmp::Reverse(named[*i].1.len()), *i));
        let small: std::collections::BTreeSet<usize> =
            by_size.split_off(VALUES_MAX - 1).into_iter().collect();
        let mut rest: Vec<u32> = small.iter().flat_map(|i| named[*i].1.iter().copied()).collect();
        rest.sort_unstable();
        let count = small.len();
        let mut at = 0;
        named.retain(|_| {
            at += 1;
            !small.contains(&(at - 1))
        });
        named.push((format!("({count} rarer values)"), rest));
    }
    named
}

/// Upper edges of the lower three quarters, each once.
fn quartiles(mut values: Vec<f32>) -> Vec<f32> {
    values.retain(|v| !v.is_nan());
    values.sort_unstable_by(f32::total_cmp);
    let Some(largest) = values.last().copied() else { return Vec::new() };
    let mut edges: Vec<f32> = [1, 2, 3].map(|q| values[(values.len() - 1) * q / 4]).to_vec();
    edges.dedup();
    edges.retain(|edge| *edge < largest);
    edges
}

/// For each attribute, how far apart FPR and recall are, widest first.
pub fn gaps(tables: &[SliceTable]) -> Vec<Gap> {
    let mut out = Vec::new();
    for table in tables {
        for (measure, rows_min) in [("fpr", GOOD_ROWS_MIN), ("recall", BAD_ROWS_MIN)] {
            let end = |slice: &Slice| {
                let s = &slice.summary;
                let (rate, rows) = match measure {
                    "fpr" => (s.fpr, s.events - s.positives),
                    _ => (s.recall, s.positives),
                };
                (rows >= rows_min && rate.is_finite()).then(|| GapEnd {
                    value: slice.value.clone(),
                    rate,
                    rows,
                })
            };
            let ends: Vec<GapEnd> = table.values.iter().filter_map(end).collect();
            let by_rate = |a: &&GapEnd, b: &&GapEnd| a.rate.total_cmp(&b.rate);
            let (Some(lowest), Some(highest)) =
                (ends.iter().min_by(by_rate), ends.iter().max_by(by_rate))
            else {
                continue;
            };
            if ends.len() > 1 {
                out.push(Gap {
                    attribute: table.attribute.clone(),
                    measure,
                    gap: highest.rate - lowest.rate,
                    highest: highest.clone(),
                    lowest: lowest.clone(),
                    compared: ends.len(),
                    too_small: table.values.len() - ends.len(),
                });
            }
        }
    }
    out.sort_by(|a, b| b.gap.total_cmp(&a.gap).then_with(|| a.attribute.cmp(&b.attribute)));
    out
}
