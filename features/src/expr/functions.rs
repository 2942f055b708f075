//! The names of functions, and the arithmetic that both forms share: what "absent" does to a number.

use super::error::{At, ExprError};
use super::parse::nearest;
use cel::common::ast::operators;

pub(crate) const ABS: &str = "abs";
pub(crate) const ABSENT: &str = "absent";
pub(crate) const MAX: &str = "max";
pub(crate) const MIN: &str = "min";
pub(crate) const PRESENT: &str = "present";

/// Functions that only the interpreter has, called on nothing or on a list.
const INTERPRETED: [&str; 3] = ["size", "double", "int"];
/// Functions that are called on nothing, for suggestions.
const KNOWN: [&str; 9] = [ABS, ABSENT, MAX, MIN, PRESENT, operators::HAS, "size", "double", "int"];
/// Macros over lists, for suggestions.
const MACROS: [&str; 6] = ["exists", "all", "exists_one", "filter", "map", "size"];

pub(crate) const NEEDS_TRUTH: &str =
    "a number stands where true or false is needed; compare it: `x > 0`";
pub(crate) const NEEDS_NUMBER: &str =
    "true or false stands where a number is needed; choose numbers: `x > 0 ? 1 : 0`";
pub(crate) const TEXT_ALONE: &str =
    "text can only be compared with a categorical name: `country == \"NL\"`";
pub(crate) const TEXT_ORDER: &str = "text has no order here; use `==`, `!=` or `in`";
pub(crate) const CATEGORY_ALONE: &str = "a category is text, neither a number nor true or false; \
     compare it with text: `country == \"NL\"`";
pub(crate) const OTHER_VALUES: &str =
    "two categories can only be compared when both declare the same `values` in the same order";

/// Refuses a function that nobody has, and a known one with the wrong number of arguments.
pub(crate) fn check(
    name: &str,
    args_count: usize,
    on_target: bool,
    at: At,
) -> Result<(), ExprError> {
    let starts_like_word = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let operator = name.starts_with("_") && name.ends_with("_") || name == operators::INDEX;
    if !starts_like_word || operator {
        return Ok(());
    }
    let args_wanted = if on_target { 0 } else { 1 };
    let known: &[&str] = if on_target { &MACROS } else { &KNOWN };
    if INTERPRETED.contains(&name) && known.contains(&name) && args_count == args_wanted {
        return Ok(());
    }
    if known.contains(&name) {
        let message = format!("`{name}` does not take {args_count} arguments");
        return Err(ExprError::WrongType { message, at });
    }
    let nearest = nearest(name, known.iter().copied());
    Err(ExprError::UnknownFunction { name: name.to_owned(), at, nearest })
}

/// A value of a row as a number of a condition: what is not finite is absent (`NaN`).
#[inline]
pub(crate) fn loaded(value: f32) -> f64 {
    if value.is_finite() { f64::from(value) } else { f64::NAN }
}

/// A number as comparisons see it: rounded to 32 bits, the precision of the row. What 32 bits would turn into
/// zero or infinity stays as it is.
#[inline]
pub(crate) fn compared(value: f64) -> f64 {
    let rounded = f64::from(value as f32);
    if rounded.is_finite() && (rounded != 0.0 || value == 0.0) { rounded } else { value }
}

/// A category's number if its text is one of the `declared` ones. All other texts share a number, so two of
/// them cannot be told apart: absent.
#[inline]
pub(crate) fn declared(value: f64, declared: f64) -> f64 {
    if value < declared { value } else { f64::NAN }
}

/// Division; by zero there is no result.
#[inline]
pub(crate) fn divide(left: f64, right: f64) -> f64 {
    if right == 0.0 { f64::NAN } else { left / right }
}

/// Remainder with the sign of the dividend; by zero there is no result.
#[inline]
pub(crate) fn remainder(left: f64, right: f64) -> f64 {
    if right == 0.0 { f64::NAN } else { left % right }
}

/// The smaller of the present ones.
#[inline]
pub(crate) fn least(left: f64, right: f64) -> f64 {
    if left.is_nan() || right < left { right } else { left }
}

/// The greater of the present ones.
#[inline]
pub(crate) fn greatest(left: f64, right: f64) -> f64 {
    if left.is_nan() || right > left { right } else { left }
}
