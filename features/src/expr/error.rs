//! What can be wrong with a condition: what, where, and what to do next.

use std::fmt;
use thiserror::Error;

/// A place in the source of a condition, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Line of the source.
    pub line: usize,
    /// Character within the line.
    pub column: usize,
}

impl At {
    /// The place of a byte offset; offsets past the end are the end.
    pub(crate) fn of(source: &str, offset: usize) -> Self {
        let mut end = offset.min(source.len());
        while !source.is_char_boundary(end) {
            end -= 1;
        }
        let before = &source[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.line, self.column)
    }
}

/// A suggestion, as the tail of an error message.
fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// What could have been meant by a text that is not declared.
fn declared_values(nearest: &Option<String>, declared: &[String]) -> String {
    match nearest {
        Some(value) => format!("did you mean `{value}`?"),
        None if declared.is_empty() => "none is declared".to_owned(),
        None => format!("declared: {}", declared.join(", ")),
    }
}

/// Why a condition was refused.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ExprError {
    /// The text is empty.
    #[error("the condition is empty; write a comparison such as `account.events.1d > 20`")]
    Empty,
    /// More of something than the cap allows.
    #[error(
        "the condition has {found} {what}, more than {max} (at {at}); split it into several rules"
    )]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// How many there are (counting stops at the cap).
        found: usize,
        /// The cap.
        max: usize,
        /// Where the cap was passed.
        at: At,
    },
    /// Not CEL syntax.
    #[error("{message} (at {at})")]
    Syntax {
        /// What the parser found.
        message: String,
        /// Where.
        at: At,
    },
    /// A name that does not exist.
    #[error("unknown name `{name}` (at {at}){}", did_you_mean(nearest))]
    UnknownName {
        /// The name as written, dots included.
        name: String,
        /// Where it starts.
        at: At,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// Text that is not a declared value of the category it is compared with.
    #[error(
        "`{text}` is not a declared value of `{name}` (at {at}); {}; a value that is not declared equals \
         nothing, so correct or declare it",
        declared_values(nearest, declared)
    )]
    UnknownValue {
        /// The categorical name.
        name: String,
        /// The text.
        text: String,
        /// Where the text is.
        at: At,
        /// The nearest declared value.
        nearest: Option<String>,
        /// The first declared values.
        declared: Vec<String>,
    },
    /// A function that does not exist.
    #[error(
        "unknown function `{name}` (at {at}){}; known: abs, min, max, present, absent, has, size, \
         double, int, and the list macros exists, all, exists_one, filter, map",
        did_you_mean(nearest)
    )]
    UnknownFunction {
        /// The function as written.
        name: String,
        /// Where it is called.
        at: At,
        /// The nearest function that exists.
        nearest: Option<String>,
    },
    /// A number where a truth value is needed, or the other way round.
    #[error("{message} (at {at})")]
    WrongType {
        /// What was found and what to write instead.
        message: String,
        /// Where.
        at: At,
    },
    /// Valid CEL that has no meaning here.
    #[error("{message} is not supported in conditions (at {at})")]
    Unsupported {
        /// What was found.
        message: String,
        /// Where.
        at: At,
    },
}
