//! The rows that are learned from: what a replay hands over.

use crate::error::TrainError;

/// A training table: one row per scored event, in event-time order.
///
/// All per-row vectors have the same length; `rows` holds `len() * columns.len()` values, row after row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Feature names, in the order of the values of a row. No name twice.
    pub columns: Vec<String>,
    /// Row-major feature values; NaN is an absent value.
    pub rows: Vec<f32>,
    /// Event time of each row, epoch milliseconds, not decreasing.
    pub ts_ms: Vec<i64>,
    /// The account that each row belongs to (a dense number, not the account's name).
    pub account: Vec<u32>,
    /// What is known of each row: bad, good, or nothing.
    pub label: Vec<Option<bool>>,
    /// How much each row counts in training; finite, >= 0.
    pub weight: Vec<f32>,
    /// One flag per column: the values are category codes (whole numbers >= 0).
    pub categorical: Vec<bool>,
}

impl Table {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ts_ms.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ts_ms.is_empty()
    }

    /// The values of row `index`. Panics if there is no such row.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        let columns = self.columns.len();
        &self.rows[index * columns..(index + 1) * columns]
    }

    /// Looks for anything that would make the other functions of this crate fail later, or lie.
    ///
    /// # Errors
    /// [`TrainError::Shape`], [`TrainError::Unsorted`], [`TrainError::DuplicateColumn`] or [`TrainError::Weight`]. O(rows + columns).
    pub fn check(&self) -> Result<(), TrainError> {
        let rows = self.len();
        let columns = self.columns.len();
        if columns == 0 {
            return Err(TrainError::NoColumns);
        }
        for (what, found, expected) in [
            ("rows", self.rows.len(), rows.saturating_mul(columns)),
            ("account", self.account.len(), rows),
            ("label", self.label.len(), rows),
            ("weight", self.weight.len(), rows),
            ("categorical", self.categorical.len(), columns),
        ] {
            if found != expected {
                return Err(TrainError::Shape { what, found, expected });
            }
        }
        if let Some(at) = self.ts_ms.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(TrainError::Unsorted {
                row: at + 1,
                before_ms: self.ts_ms[at],
                ts_ms: self.ts_ms[at + 1],
            });
        }
        if let Some(row) = self.weight.iter().position(|w| !w.is_finite() || *w < 0.0) {
            return Err(TrainError::Weight { row, weight: self.weight[row] });
        }
        let mut names: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(TrainError::DuplicateColumn { name: pair[0].to_owned() });
        }
        Ok(())
    }

    /// The rows whose label is known, in order.
    #[must_use]
    pub fn labelled(&self) -> Vec<u32> {
        (0..self.len()).filter(|&row| self.label[row].is_some()).map(|row| row as u32).collect()
    }
}
