//! From text to CEL's syntax tree, and the questions that both forms ask of it: which name is this,
//! which number, which text.

use super::Names;
use super::error::{At, ExprError};
use super::guard::{Guarded, NESTING_MAX, OPERATORS_MAX, guard};
use cel::common::ast::{Expr, IdedExpr, LiteralValue, SourceInfo, operators};
use cel::parser::Parser;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Declared values that an error lists.
const DECLARED_SHOWN: usize = 12;

/// A parsed condition, with what is needed to say where something is.
pub(crate) struct Parsed<'a> {
    pub expr: IdedExpr,
    source: &'a str,
    guarded: Guarded,
    positions: SourceInfo,
}

impl Parsed<'_> {
    /// Where a node of the tree is.
    pub fn at(&self, expr: &IdedExpr) -> At {
        let offset = self.positions.offset_for(root(expr).id).map_or(0, |(start, _)| start);
        self.guarded.at(self.source, offset as usize)
    }
}

/// The innermost operand of a chain of selections: where a name starts.
fn root(expr: &IdedExpr) -> &IdedExpr {
    let mut at = expr;
    loop {
        match &at.expr {
            Expr::Select(select) => at = &select.operand,
            Expr::Call(call) if call.func_name == operators::INDEX && call.args.len() == 2 => {
                at = &call.args[0];
            }
            _ => return at,
        }
    }
}

/// Parses a condition. The caps of [`guard`] come first, so that the parser's recursion is bounded.
pub(crate) fn parse(source: &str) -> Result<Parsed<'_>, ExprError> {
    let guarded = guard(source)?;
    let parser = Parser::new()
        .enable_ident_escape_syntax(true)
        .max_recursion_depth((NESTING_MAX + OPERATORS_MAX) as u16)
        .error_recovery_limit(4);
    // The parser is generated code of another crate: should it panic on some text, that text is
    // refused like any other that cannot be parsed.
    let parsed = catch_unwind(AssertUnwindSafe(|| parser.parse_with_source_info(&guarded.text)));
    match parsed {
        Ok(Ok((expr, positions))) => Ok(Parsed { expr, source, guarded, positions }),
        Ok(Err(errors)) => {
            let (message, at) = match errors.errors.first() {
                Some(first) => {
                    (shorten(&first.msg), guarded.at_line_column(source, first.pos.0, first.pos.1))
                }
                None => ("cannot be parsed".to_owned(), At::of(source, 0)),
            };
            Err(ExprError::Syntax { message, at })
        }
        Err(_) => {
            Err(ExprError::Syntax { message: "cannot be parsed".to_owned(), at: At::of(source, 0) })
        }
    }
}

/// The parser lists all forty tokens that it would have taken; the part before that list says it all.
fn shorten(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split(" expecting ").next().unwrap_or(message);
    message.replace("<EOF>", "end of the condition")
}

/// The dotted name that an expression spells: selections and indexing with constant text, down to an
/// identifier. `a.b["10m"]` is `a.b.10m`.
pub(crate) fn dotted(expr: &IdedExpr) -> Option<String> {
    let mut segments = Vec::new();
    let mut at = expr;
    loop {
        match &at.expr {
            Expr::Ident(name) => {
                segments.push(name.as_str());
                break;
            }
            Expr::Select(select) if !select.test => {
                segments.push(&select.field);
                at = &select.operand;
            }
            Expr::Call(call) if call.func_name == operators::INDEX && call.args.len() == 2 => {
                segments.push(text(&call.args[1])?);
                at = &call.args[0];
            }
            _ => return None,
        }
    }
    segments.reverse();
    Some(segments.join("."))
}

/// The first segment of the name that an expression spells.
pub(crate) fn dotted_root(expr: &IdedExpr) -> Option<&str> {
    match &root(expr).expr {
        Expr::Ident(name) => Some(name),
        _ => None,
    }
}

/// The text of a text literal.
pub(crate) fn text(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(value)) => Some(value.inner()),
        _ => None,
    }
}

/// The number of a number literal, its negation included.
pub(crate) fn number(expr: &IdedExpr) -> Option<f64> {
    match &expr.expr {
        Expr::Literal(LiteralValue::Double(value)) => Some(*value.inner()),
        Expr::Literal(LiteralValue::Int(value)) => Some(*value.inner() as f64),
        Expr::Literal(LiteralValue::UInt(value)) => Some(*value.inner() as f64),
        Expr::Call(call) if call.func_name == operators::NEGATE && call.args.len() == 1 => {
            match &call.args[0].expr {
                Expr::Literal(_) => number(&call.args[0]).map(|value| -value),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Meaning {
    /// A value of the row.
    Slot(u32),
    /// A number fixed when the condition is compiled.
    Constant(f64),
}

/// Looks a dotted name up.
pub(crate) fn resolve(name: &str, at: At, names: &dyn Names) -> Result<Meaning, ExprError> {
    if let Some(slot) = names.slot(name) {
        return Ok(Meaning::Slot(slot));
    }
    if let Some(value) = names.constant(name) {
        return Ok(Meaning::Constant(value));
    }
    let all = names.all();
    let nearest = nearest(name, all.iter().map(String::as_str));
    Err(ExprError::UnknownName { name: name.to_owned(), at, nearest })
}

/// The number that stands for a text among the declared values of a category; the category is spelled by `of`.
pub(crate) fn category(
    of: &IdedExpr,
    values: &[String],
    text: &str,
    at: At,
) -> Result<f64, ExprError> {
    if let Some(index) = values.iter().position(|value| value == text) {
        return Ok(index as f64);
    }
    Err(ExprError::UnknownValue {
        name: dotted(of).unwrap_or_else(|| "this category".to_owned()),
        text: text.to_owned(),
        at,
        nearest: nearest(text, values.iter().map(String::as_str)),
        declared: values.iter().take(DECLARED_SHOWN).cloned().collect(),
    })
}

/// Whether an expression is text: a literal, or a choice with one in it.
pub(crate) fn is_text(expr: &IdedExpr) -> bool {
    match choice(expr) {
        Some([_, yes, no]) => is_text(yes) || is_text(no),
        None => text(expr).is_some(),
    }
}

/// Condition and branches of `c ? a : b`.
pub(crate) fn choice(expr: &IdedExpr) -> Option<&[IdedExpr; 3]> {
    match &expr.expr {
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
            call.args.as_slice().try_into().ok()
        }
        _ => None,
    }
}

/// The candidate most like `name`, whatever the case of letters, if any is like it at all. Ties go to the first.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let name = name.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let likeness = strsim::normalized_damerau_levenshtein(&name, &candidate.to_lowercase());
        if likeness >= 0.5 && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate.to_owned())
}
