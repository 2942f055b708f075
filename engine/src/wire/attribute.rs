//! Values of attributes: numbers, truth values, categories and ages.

use super::json::Value;
use super::moment::{Moments, NoMoment};
use super::{Fault, read};
use crate::limits::{ATTRIBUTE_ABS_MAX, KEY_BYTES_MAX};
use features::config::{AttributeConfig, AttributeKind, TimeUnit};

/// How an attribute's value is read.
#[derive(Clone, Debug)]
pub(super) enum Read {
    Number,
    Boolean,
    /// Values with their numbers, in order of text.
    Category(Vec<(String, f32)>),
    /// Seconds before the event's `ts`.
    Age(TimeUnit),
}

impl Read {
    pub(super) fn new(declared: &AttributeConfig) -> Self {
        match declared.kind {
            AttributeKind::Number => Read::Number,
            AttributeKind::Boolean => Read::Boolean,
            AttributeKind::Age => Read::Age(declared.unit.unwrap_or_default()),
            AttributeKind::Category => {
                let values = declared.values.iter().enumerate();
                let mut values: Vec<_> = values.map(|(i, v)| (v.clone(), i as f32)).collect();
                values.sort_by(|x, y| x.0.cmp(&y.0));
                Read::Category(values)
            }
        }
    }

    /// The value in an event of this moment; NaN for null and empty texts.
    pub(super) fn value(
        &self,
        value: &Value<'_>,
        ts_ms: i64,
        assume_offset_ms: Option<i64>,
    ) -> Result<f32, Fault> {
        match self {
            Read::Number => number(value),
            Read::Boolean => boolean(value),
            Read::Category(values) => category(values, value),
            Read::Age(unit) => {
                let moment_ms = Moments { unit: *unit, assume_offset_ms }.read(value)?;
                Ok(moment_ms.map_or(f32::NAN, |ms| ((ts_ms - ms) as f64 / 1000.0) as f32))
            }
        }
    }
}

impl From<NoMoment> for Fault {
    fn from(why: NoMoment) -> Self {
        match why {
            NoMoment::WrongType => Fault::WrongType,
            NoMoment::BadText => Fault::BadText,
            NoMoment::NotATime | NoMoment::NoOffset => Fault::BadValue,
            NoMoment::OutOfRange => Fault::OutOfRange,
        }
    }
}

fn number(value: &Value<'_>) -> Result<f32, Fault> {
    let number = match value {
        Value::Null => return Ok(f32::NAN),
        Value::Number(number) => number.to_f64(),
        Value::Bool(yes) => f64::from(u8::from(*yes)),
        Value::Text(text) => match text.read()?.trim() {
            "" => return Ok(f32::NAN),
            text => read::quantity(text)?,
        },
        Value::Word => return Err(Fault::BadValue),
        Value::List(_) | Value::Object(_) => return Err(Fault::WrongType),
    };
    // The comparison is false for what is infinite as well.
    if number.abs() <= ATTRIBUTE_ABS_MAX { Ok(number as f32) } else { Err(Fault::OutOfRange) }
}

fn boolean(value: &Value<'_>) -> Result<f32, Fault> {
    let yes = match value {
        Value::Null => return Ok(f32::NAN),
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.to_f64() != 0.0,
        Value::Text(text) => {
            let text = text.read()?;
            let is_one_of =
                |words: [&str; 3]| words.iter().any(|w| text.trim().eq_ignore_ascii_case(w));
            match () {
                () if text.trim().is_empty() => return Ok(f32::NAN),
                () if is_one_of(["true", "yes", "1"]) => true,
                () if is_one_of(["false", "no", "0"]) => false,
                () => return Err(Fault::BadValue),
            }
        }
        Value::Word => return Err(Fault::BadValue),
        Value::List(_) | Value::Object(_) => return Err(Fault::WrongType),
    };
    Ok(f32::from(u8::from(yes)))
}

fn category(values: &[(String, f32)], value: &Value<'_>) -> Result<f32, Fault> {
    let index = |text: &str| {
        values
            .binary_search_by(|(v, _)| v.as_str().cmp(text))
            .map_or(values.len() as f32, |i| values[i].1)
    };
    match value {
        Value::Null => Ok(f32::NAN),
        Value::Bool(yes) => Ok(index(if *yes { "true" } else { "false" })),
        Value::Text(text) => Ok(index(&text.read()?)),
        // Exactly: two numbers beyond 2^53 are two values.
        Value::Number(number) => {
            let text = number.text(KEY_BYTES_MAX).ok_or(Fault::OutOfRange)?;
            Ok(index(&text))
        }
        Value::Word => Err(Fault::BadValue),
        Value::List(_) | Value::Object(_) => Err(Fault::WrongType),
    }
}
