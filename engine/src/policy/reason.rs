//! Reasons for moderators: text with values in it.

use super::compile::Vocabulary;
use super::error::PolicyError;
use features::expr::{Names, nearest};
use std::fmt::Write as _;

/// A piece of a reason.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Slot(u32),
    /// A category, and its declared texts.
    Category(u32, Vec<String>),
    Constant(f64),
}

/// A reason whose names are looked up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reason {
    pieces: Vec<Piece>,
}

impl Reason {
    /// Splits `text` at `{name}`; `{{` and `}}` are braces.
    pub fn compile(
        rule: &str,
        text: &str,
        names: &Vocabulary<'_>,
        errors: &mut Vec<PolicyError>,
    ) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let tail = &rest[at + 1..];
            if tail.starts_with(brace) || brace == "}" {
                plain.push_str(brace);
                rest = tail.strip_prefix(brace).unwrap_or(tail);
                continue;
            }
            let Some(end) = tail.find('}') else {
                errors.push(PolicyError::ReasonBrace { rule: rule.to_owned() });
                return Self::default();
            };
            let name = tail[..end].trim();
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            if let Some(slot) = names.slot(name) {
                pieces.push(match names.values(name) {
                    Some(values) => Piece::Category(slot, values.to_vec()),
                    None => Piece::Slot(slot),
                });
            } else if let Some(value) = names.constant(name) {
                pieces.push(Piece::Constant(value));
            } else {
                let all = names.all();
                errors.push(PolicyError::ReasonName {
                    rule: rule.to_owned(),
                    name: name.to_owned(),
                    nearest: nearest(name, all.iter().map(String::as_str)),
                });
            }
            rest = &tail[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Self { pieces }
    }

    /// The text, with the values that `load` gives. Allocates: only for actions that are published.
    pub fn render(&self, load: impl Fn(u32) -> f32) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Slot(slot) => write_number(&mut text, f64::from(load(*slot))),
                Piece::Category(slot, values) => text.push_str(match load(*slot) {
                    value if value.is_finite() => {
                        values.get(value as usize).map_or("another value", String::as_str)
                    }
                    _ => "unknown",
                }),
                Piece::Constant(value) => write_number(&mut text, *value),
            }
        }
        text
    }
}

/// A number as a person writes it: whole when it is, else with three decimals at most.
fn write_number(text: &mut String, value: f64) {
    if !value.is_finite() {
        text.push_str("unknown");
        return;
    }
    let start = text.len();
    // Writing to a String cannot fail.
    let _ = write!(text, "{value:.3}");
    if text[start..].contains('.') {
        let kept = text.trim_end_matches('0').trim_end_matches('.').len();
        text.truncate(kept.max(start + 1));
    }
    if text[start..] == *"-0" {
        text.truncate(start);
        text.push('0');
    }
}
