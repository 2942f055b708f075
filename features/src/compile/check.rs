//! What can be wrong with declarations, and the checks that all of them share.

use crate::duration::{DurationError, parse_ms};
use crate::expr::{ExprError, nearest};
use crate::limits::NAME_BYTES_MAX;
use std::collections::BTreeSet;

/// One mistake in the declarations.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SchemaError {
    /// A text that should be a duration.
    #[error("{place}: {reason}")]
    Duration {
        /// Key in the configuration.
        place: String,
        /// What is wrong with it.
        reason: DurationError,
    },
    /// A name that is not declared.
    #[error("{place}: unknown {what} `{name}`; {hint}")]
    Unknown {
        /// Key in the configuration.
        place: String,
        /// What sort of name was expected.
        what: &'static str,
        /// The name.
        name: String,
        /// What to do next.
        hint: String,
    },
    /// A name that is declared, or a column that would arise, twice.
    #[error("{place}: `{name}` is there twice; rename or remove one")]
    Twice {
        /// Key in the configuration.
        place: String,
        /// The name.
        name: String,
    },
    /// More than a cap allows.
    #[error("{place}: {found} {what}, more than the {max} that fit; remove some")]
    TooMany {
        /// Key in the configuration.
        place: String,
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many fit.
        max: usize,
    },
    /// A condition that does not compile.
    #[error("counters.{counter}.when: {reason}")]
    Condition {
        /// The counter's name.
        counter: String,
        /// What is wrong with it.
        reason: Box<ExprError>,
    },
    /// Anything else: a value out of its range, a combination that makes no sense.
    #[error("{place}: {reason}")]
    Value {
        /// Key in the configuration.
        place: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
}

/// Mistakes so far.
#[derive(Default)]
pub(super) struct Check {
    pub errors: Vec<SchemaError>,
}

impl Check {
    pub fn value(&mut self, place: impl Into<String>, reason: impl Into<String>) {
        self.errors.push(SchemaError::Value { place: place.into(), reason: reason.into() });
    }

    pub fn unknown<'a>(
        &mut self,
        place: &str,
        what: &'static str,
        name: &str,
        known: impl Iterator<Item = &'a str> + Clone,
    ) {
        let hint = match nearest(name, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let some: Vec<&str> = known.take(12).collect();
                if some.is_empty() {
                    format!("no {what} is declared")
                } else {
                    format!("declared: {}", some.join(", "))
                }
            }
        };
        self.errors.push(SchemaError::Unknown {
            place: place.into(),
            what,
            name: name.into(),
            hint,
        });
    }

    pub fn cap(&mut self, place: impl Into<String>, what: &'static str, found: usize, max: usize) {
        if found > max {
            self.errors.push(SchemaError::TooMany { place: place.into(), what, found, max });
        }
    }

    /// Milliseconds of at least `least`; `least` when it is wrong, so that the rest can be checked.
    pub fn duration(&mut self, place: &str, text: &str, least: i64) -> i64 {
        match parse_ms(text) {
            Ok(ms) if ms >= least => ms,
            Ok(ms) => {
                self.value(
                    place,
                    format!("`{text}` ({ms} ms) must be at least {least} ms; lengthen it"),
                );
                least
            }
            Err(reason) => {
                self.errors.push(SchemaError::Duration { place: place.into(), reason });
                least
            }
        }
    }

    pub fn name(&mut self, place: &str, name: &str, reserved: &[&str]) {
        let odd = |c: char| c.is_whitespace() || c.is_control() || "\"'`[]{}(),".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            self.value(
                place,
                format!(
                    "a name has 1 to {NAME_BYTES_MAX} bytes, `{name}` has {}; rename it",
                    name.len()
                ),
            );
        } else if name.chars().any(odd) {
            self.value(
                place,
                format!("`{name}` holds a blank, quote, bracket or comma; rename it"),
            );
        } else if reserved.contains(&name) {
            self.value(place, format!("`{name}` is a word of the feature vector; rename it"));
        }
    }

    pub fn unique<'a>(&mut self, place: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.errors.push(SchemaError::Twice { place: place.into(), name: name.into() });
            }
        }
    }
}
