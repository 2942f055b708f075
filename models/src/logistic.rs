//! A logistic model over named columns: the model of the graph, and the score without labels.

use std::collections::BTreeSet;

use crate::bundle::BundleError;
use crate::calibration::sigmoid;
use crate::limits::COLUMNS_MAX;

/// A logistic model: `sigmoid(bias + sum of weight * (transform(x) - mean) / scale)`.
///
/// ```
/// use models::logistic::{Column, LogisticModel, Transform};
/// let shared = Column { name: "device.accounts".into(), transform: Transform::Log1p, mean: 0.0, scale: 1.0, weight: 2.0, default: 0.0 };
/// let model = LogisticModel { bias: -1.0, columns: vec![shared] };
/// assert_eq!(model.log_odds(|_| 0.0), -1.0);
/// assert_eq!(model.probability(|_| f32::NAN), model.probability(|_| 0.0));
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogisticModel {
    /// Log-odds where every column is at its mean.
    pub bias: f64,
    /// The columns, each name once.
    #[serde(default)]
    pub columns: Vec<Column>,
}

/// One column of a [`LogisticModel`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name in the engine's vector.
    pub name: String,
    /// What is done to the value first.
    #[serde(default)]
    pub transform: Transform,
    /// Subtracted from the transformed value.
    #[serde(default)]
    pub mean: f64,
    /// Divides what remains; above zero.
    #[serde(default = "one")]
    pub scale: f64,
    /// Log-odds per unit.
    pub weight: f64,
    /// Stands in, before the transform, for a value that is missing or infinite.
    #[serde(default)]
    pub default: f64,
}

fn one() -> f64 {
    1.0
}

/// What is done to a value before it is weighed.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Transform {
    /// The value itself.
    #[default]
    Identity,
    /// `ln(1 + x)`; below zero it is zero.
    Log1p,
    /// The value, but no lower than `low` and no higher than `high`.
    Clamp {
        /// The least value.
        low: f64,
        /// The greatest value.
        high: f64,
    },
}

impl Transform {
    fn apply(self, x: f64) -> f64 {
        match self {
            Transform::Identity => x,
            Transform::Log1p => x.max(0.0).ln_1p(),
            Transform::Clamp { low, high } => x.max(low).min(high),
        }
    }
}

impl Column {
    /// What a value adds to the log-odds.
    #[must_use]
    pub fn contribution(&self, x: f32) -> f64 {
        let x = if x.is_finite() { f64::from(x) } else { self.default };
        self.weight * ((self.transform.apply(x) - self.mean) / self.scale)
    }
}

impl LogisticModel {
    /// Log-odds, where `value(i)` is the value of column `i`; summed in the order of the columns.
    pub fn log_odds(&self, value: impl Fn(usize) -> f32) -> f64 {
        let added =
            self.columns.iter().enumerate().map(|(i, column)| column.contribution(value(i)));
        added.fold(self.bias, |sum, contribution| sum + contribution)
    }

    /// Probability, where `value(i)` is the value of column `i`.
    pub fn probability(&self, value: impl Fn(usize) -> f32) -> f64 {
        sigmoid(self.log_odds(value))
    }

    /// Refuses numbers that cannot be scored with. `place` names the model in the error.
    ///
    /// # Errors
    ///
    /// [`BundleError::Invalid`].
    pub fn check(&self, place: &str) -> Result<(), BundleError> {
        let invalid = |what: String| Err(BundleError::invalid(place, what));
        if !self.bias.is_finite() {
            return invalid(format!("bias is {}", self.bias));
        }
        if self.columns.len() > COLUMNS_MAX {
            return invalid(format!("has {} columns, over {COLUMNS_MAX}", self.columns.len()));
        }
        let mut names = BTreeSet::new();
        for column in &self.columns {
            let name = &column.name;
            if !names.insert(name) {
                return invalid(format!("the column {name:?} stands twice"));
            }
            let numbers = [column.mean, column.scale, column.weight, column.default];
            if numbers.iter().any(|number| !number.is_finite()) {
                return invalid(format!("the column {name:?} holds a number that is not finite"));
            }
            if column.scale <= 0.0 {
                return invalid(format!(
                    "the scale of {name:?} ({}) must be above 0",
                    column.scale
                ));
            }
            if let Transform::Clamp { low, high } = column.transform
                && !(low.is_finite() && high.is_finite() && low <= high)
            {
                return invalid(format!("the clamp of {name:?} ({low} to {high}) is no range"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(transform: Transform) -> Column {
        let name = "x".to_owned();
        Column { name, transform, mean: 1.0, scale: 2.0, weight: 3.0, default: 5.0 }
    }

    #[test]
    fn transforms() {
        let clamp = Transform::Clamp { low: 0.0, high: 4.0 };
        let cases = [
            (Transform::Identity, 7.0, 9.0),
            (Transform::Identity, f32::NAN, 6.0),
            (Transform::Identity, f32::INFINITY, 6.0),
            (Transform::Log1p, -3.0, -1.5),
            (Transform::Log1p, 0.0, -1.5),
            (clamp, 100.0, 4.5),
            (clamp, -100.0, -1.5),
        ];
        for (transform, x, expected) in cases {
            assert_eq!(column(transform).contribution(x), expected, "{transform:?} of {x}");
        }
    }

    #[test]
    fn bad_numbers_are_refused() {
        let check = |change: fn(&mut LogisticModel)| {
            let mut model = LogisticModel { bias: 0.0, columns: vec![column(Transform::Identity)] };
            change(&mut model);
            model.check("graph_model").is_ok()
        };
        assert!(check(|_| ()));
        assert!(!check(|m| m.bias = f64::NAN));
        assert!(!check(|m| m.columns[0].scale = 0.0));
        assert!(!check(|m| m.columns[0].weight = f64::INFINITY));
        assert!(!check(|m| m.columns[0].transform = Transform::Clamp { low: 2.0, high: 1.0 }));
        assert!(!check(|m| m.columns.push(m.columns[0].clone())));
    }
}
