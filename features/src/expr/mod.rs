//! Conditions over numbers, in CEL syntax: `account.messages.in_10m > 20 && account.age_days < 7`.
//!
//! A condition is checked once against the names that exist and compiled to a small program over the
//! slots of a row of `f32`. What the compiled form has no operation for (lists and the macros `exists`,
//! `all`, `exists_one`, `filter`, `map`) runs in the `cel` crate's interpreter; both give the same answer
//! wherever both can.
//!
//! # Names
//!
//! A name is segments joined by dots. It can be written
//! * plain, as it is listed: `account.messages.10m` (a segment may start with a digit, which plain CEL
//!   does not allow; it may have letters, digits and `_`);
//! * with a segment as text: `account.messages["10m"]`, `account["credit-card"].events`;
//! * with a segment in backticks: `` account.messages.`10m` ``.
//!
//! The three are the same name. The first segment must be plain.
//!
//! # Absent values
//!
//! A value that is not a finite number is absent.
//! * A comparison with an absent value is false, `!=` and `in` included; so `!(x > 1)` holds when `x` is
//!   absent and `x <= 1` does not.
//! * Arithmetic with an absent value is absent, and so is division or remainder by zero.
//! * `min` and `max` look at the values that are present; without any they are absent.
//! * `present(x)` (or `has(x)` for a dotted name) and `absent(x)` ask.
//! * A name alone, where true or false is needed, holds when it is present and not zero.
//!
//! # Numbers
//!
//! Arithmetic is done in `f64`; whole numbers, also in division, are not special: `1 / 2` is 0.5. Numbers
//! are compared as `f32`, the precision of the row: both sides of `==`, `!=`, `<`, `<=`, `>`, `>=` and `in`
//! are rounded first, wherever they come from. So `account.ratio == 0.1` can hold, in every spelling of it.
//! `true` is 1 and `false` is 0 when compared.
//!
//! # Text
//!
//! A categorical name is text. It can be compared by `==`, `!=` and `in` with text that is declared for it
//! (`country in ["NL", "BE"]`) and with another category of the same values, and it can be asked for
//! presence; it is no number. Text that is not declared is an error. A value that arrives and is not declared
//! equals no text, and no other value that is not declared: of two of these neither `==` nor `!=` holds.

mod compile;
mod error;
mod eval;
mod functions;
mod guard;
mod interpret;
mod lower;
#[cfg(test)]
mod number_tests;
mod parse;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod text_tests;

pub use error::{At, ExprError};
pub use guard::{NESTING_MAX, OPERATORS_MAX, SEGMENTS_MAX, SOURCE_BYTES_MAX, TOKENS_MAX};
pub use parse::nearest;

use cel::common::ast::operators;
use compile::{Compiled, Op, STACK_MAX};
use interpret::Interpreted;
use lower::Stop;

/// The names that a condition may use.
pub trait Names {
    /// The index in the row of a name's value.
    fn slot(&self, name: &str) -> Option<u32>;

    /// The declared texts of a categorical name, each at the number that stands for it in the row; any other
    /// text is their count. None: the name is a number.
    fn values(&self, name: &str) -> Option<&[String]>;

    /// All names, for suggestions.
    fn all(&self) -> Vec<String>;

    /// The number that a name stands for in every row, such as a threshold. None by default.
    fn constant(&self, name: &str) -> Option<f64> {
        let _ = name;
        None
    }
}

/// How two numbers are compared. With an absent number (`NaN`) none of them holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Comparison {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
}

impl Comparison {
    fn of(operator: &str) -> Option<Self> {
        Some(match operator {
            operators::LESS => Self::Less,
            operators::LESS_EQUALS => Self::LessEqual,
            operators::GREATER => Self::Greater,
            operators::GREATER_EQUALS => Self::GreaterEqual,
            operators::EQUALS => Self::Equal,
            operators::NOT_EQUALS => Self::NotEqual,
            _ => return None,
        })
    }

    /// Compares two numbers at the precision of the row; see [`functions::compared`].
    #[inline]
    fn holds(self, left: f64, right: f64) -> bool {
        self.holds_exactly(functions::compared(left), functions::compared(right))
    }

    /// Compares two numbers that are of the row's precision already.
    #[inline]
    fn holds_exactly(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterEqual => left >= right,
            Self::Equal => left == right,
            // `!=` alone is true of NaN.
            Self::NotEqual => left != right && !left.is_nan() && !right.is_nan(),
        }
    }

    /// The comparison that holds with the operands exchanged.
    fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
            Self::Equal | Self::NotEqual => self,
        }
    }

    fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual)
    }

    /// Its name among the interpreter's functions.
    fn function(self) -> &'static str {
        match self {
            Self::Less => "@less",
            Self::LessEqual => "@less_equal",
            Self::Greater => "@greater",
            Self::GreaterEqual => "@greater_equal",
            Self::Equal => "@equal",
            Self::NotEqual => "@not_equal",
        }
    }
}

/// How a condition runs.
#[derive(Clone, Debug)]
enum Form {
    Compiled { ops: Box<[Op]>, stack_depth: usize },
    Interpreted(Box<Interpreted>),
}

/// A condition that is ready to run.
///
/// ```
/// use features::expr::{Names, Program};
///
/// struct Two;
/// impl Names for Two {
///     fn slot(&self, name: &str) -> Option<u32> {
///         self.all().iter().position(|known| known == name).map(|index| index as u32)
///     }
///     fn values(&self, _name: &str) -> Option<&[String]> {
///         None
///     }
///     fn all(&self) -> Vec<String> {
///         vec!["account.events.10m".into(), "score".into()]
///     }
/// }
///
/// let program = Program::compile("account.events.10m > 20 && score >= 0.5", &Two)?;
/// assert!(program.eval(&[21.0, 0.5]));
/// assert!(!program.eval(&[f32::NAN, 0.5]), "absent values hold in no comparison");
/// # Ok::<(), features::expr::ExprError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Program {
    source: String,
    form: Form,
    slots: Vec<u32>,
}

impl Program {
    /// Checks and compiles a condition. O(length); some 0.1 ms, so do it at start.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong: a cap, the syntax, a name that does not exist (with the nearest one
    /// that does), text that is not a declared value, a number where a truth value is needed.
    pub fn compile(source: &str, names: &dyn Names) -> Result<Self, ExprError> {
        let parsed = parse::parse(source)?;
        match lower::lower(&parsed, names) {
            Ok(node) => {
                let Compiled { ops, stack_depth } = compile::compile(&node);
                if stack_depth > STACK_MAX {
                    return Self::interpreted(source, &parsed, names);
                }
                let slots = slots_of(&ops);
                let form = Form::Compiled { ops: ops.into_boxed_slice(), stack_depth };
                Ok(Self { source: source.to_owned(), form, slots })
            }
            Err(Stop::Interpret) => Self::interpreted(source, &parsed, names),
            Err(Stop::Wrong(error)) => Err(error),
        }
    }

    fn interpreted(
        source: &str,
        parsed: &parse::Parsed<'_>,
        names: &dyn Names,
    ) -> Result<Self, ExprError> {
        let interpreted = Interpreted::new(parsed, names)?;
        let mut slots = interpreted.slots().to_vec();
        slots.sort_unstable();
        let form = Form::Interpreted(Box::new(interpreted));
        Ok(Self { source: source.to_owned(), form, slots })
    }

    /// Whether the condition holds for a row; a slot past the row's end is absent. Never panics. The
    /// compiled form costs a few nanoseconds and does not allocate.
    #[inline]
    pub fn eval(&self, values: &[f32]) -> bool {
        self.eval_with(|slot| values.get(slot as usize).copied().unwrap_or(f32::NAN))
    }

    /// As [`Program::eval`], for values that are not one slice: `load` gives the value of a slot.
    #[inline]
    pub fn eval_with(&self, load: impl Fn(u32) -> f32) -> bool {
        match &self.form {
            Form::Compiled { ops, stack_depth } => eval::run(ops, *stack_depth, load),
            Form::Interpreted(interpreted) => interpreted.holds(load),
        }
    }

    /// The slots that the condition reads, ascending, each once.
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// The condition as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the condition runs in the compiled form. The interpreter costs a hundred times as much.
    pub fn is_compiled(&self) -> bool {
        matches!(self.form, Form::Compiled { .. })
    }
}

fn slots_of(ops: &[Op]) -> Vec<u32> {
    let mut slots: Vec<u32> = ops
        .iter()
        .filter_map(|op| match op {
            Op::Slot(slot) | Op::SlotCompare(slot, _, _) => Some(*slot),
            _ => None,
        })
        .collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}
