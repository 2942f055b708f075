//! From a value to what a field holds: one function for each kind of field, for events and labels of every shape.

use super::Fault;
use super::json::{BadText, Value};
use crate::limits::{KEY_BYTES_MAX, KEY_HEAD_BYTES_MAX};
use compact_str::CompactString;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// A key, and whether it was longer than [`KEY_BYTES_MAX`] and is shortened.
pub(super) type Key = (CompactString, bool);

impl From<BadText> for Fault {
    fn from(_: BadText) -> Self {
        Fault::BadText
    }
}

/// The text that a value is, exactly: numbers as [`Number::text`](super::json::Number::text) writes them. `None` for null and empty
/// texts.
pub(super) fn text<'a>(value: &Value<'a>) -> Result<Option<Cow<'a, str>>, Fault> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Text(text) => text.read()?,
        Value::Number(number) => {
            Cow::Owned(number.text(KEY_BYTES_MAX).ok_or(Fault::OutOfRange)?.into_string())
        }
        Value::Word => return Err(Fault::BadValue),
        Value::Bool(_) | Value::List(_) | Value::Object(_) => return Err(Fault::WrongType),
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// The key that a value is: its [`text`], shortened if it is too long.
pub(super) fn key(value: &Value<'_>) -> Result<Option<Key>, Fault> {
    if let Value::Number(number) = value {
        let text = number.text(KEY_BYTES_MAX).ok_or(Fault::OutOfRange)?;
        return Ok(Some(bounded(text)));
    }
    Ok(text(value)?.map(|text| {
        if text.len() <= KEY_BYTES_MAX {
            (CompactString::new(text), false)
        } else {
            (shortened(&text), true)
        }
    }))
}

fn bounded(text: CompactString) -> Key {
    if text.len() <= KEY_BYTES_MAX { (text, false) } else { (shortened(&text), true) }
}

/// How a key is kept: as it is up to [`KEY_BYTES_MAX`] bytes, beyond that as its first [`KEY_HEAD_BYTES_MAX`] bytes (less where that
/// would cut a character), `#`, and the SHA-256 of all of it in hex.
pub fn kept_key(key: &str) -> Cow<'_, str> {
    if key.len() <= KEY_BYTES_MAX { key.into() } else { shortened(key).into_string().into() }
}

#[cold]
fn shortened(key: &str) -> CompactString {
    let head = &key[..key.floor_char_boundary(KEY_HEAD_BYTES_MAX)];
    let hash = super::hex(&Sha256::digest(key));
    [head, "#", &hash].concat().into()
}

/// What a label says, bad or not; `None` for null and empty texts.
///
/// 1, `true` and the texts `bad`, `fraud`, `yes`, `true`, `1` are bad; 0, `false` and the texts `good`, `legit`, `no`, `false`, `0`
/// are good. Upper and lower case are the same, and so are `1` and `1.0`.
pub(super) fn verdict(value: &Value<'_>) -> Result<Option<bool>, Fault> {
    if let Value::Bool(bad) = value {
        return Ok(Some(*bad));
    }
    let Some(text) = text(value)? else { return Ok(None) };
    let text = text.trim().to_ascii_lowercase();
    match text.as_str() {
        "" => Ok(None),
        "1" | "1.0" | "true" | "yes" | "bad" | "fraud" => Ok(Some(true)),
        "0" | "0.0" | "false" | "no" | "good" | "legit" => Ok(Some(false)),
        _ => Err(Fault::BadValue),
    }
}

/// How sure a label is; `None` for null and empty texts.
pub(super) fn confidence(value: &Value<'_>) -> Result<Option<f32>, Fault> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.to_f64(),
        Value::Text(text) => match text.read()?.trim() {
            "" => return Ok(None),
            text => quantity(text)?,
        },
        Value::Word => return Err(Fault::BadValue),
        Value::Bool(_) | Value::List(_) | Value::Object(_) => return Err(Fault::WrongType),
    };
    if (0.0..=1.0).contains(&number) { Ok(Some(number as f32)) } else { Err(Fault::OutOfRange) }
}

/// The number that a text spells: never infinite, and minus zero is zero.
pub(super) fn quantity(text: &str) -> Result<f64, Fault> {
    // Beside numbers, Rust reads words for what is none.
    if !text.bytes().any(|b| b.is_ascii_digit()) {
        return Err(Fault::BadValue);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number + 0.0),
        Ok(_) => Err(Fault::OutOfRange),
        Err(_) => Err(Fault::BadValue),
    }
}
