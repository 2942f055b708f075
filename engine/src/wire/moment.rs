//! Moments: epoch numbers, digits as text, and RFC 3339.

use super::json::{Number, Value};
use crate::limits::TS_MS_MAX;
use features::config::TimeUnit;

/// Why a value is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoMoment {
    /// Neither a number nor a text.
    WrongType,
    /// A text that cannot be read.
    BadText,
    /// A text that is no moment, or a bare word.
    NotATime,
    /// A text without its offset from UTC.
    NoOffset,
    /// Before 1970, or after the year 9999.
    OutOfRange,
}

/// How moments are written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    /// What numbers count.
    pub unit: TimeUnit,
    /// Offset from UTC of texts without one; absent: they are no moments.
    pub assume_offset_ms: Option<i64>,
}

impl Moments {
    /// Milliseconds since the epoch; `None` for null and empty texts.
    pub(super) fn read(self, value: &Value<'_>) -> Result<Option<i64>, NoMoment> {
        let ms = match value {
            Value::Null => return Ok(None),
            Value::Number(number) => self.number(number)?,
            Value::Text(text) => {
                let text = text.read().map_err(|_| NoMoment::BadText)?;
                match text.trim() {
                    "" => return Ok(None),
                    text => self.text(text)?,
                }
            }
            Value::Word => return Err(NoMoment::NotATime),
            Value::Bool(_) | Value::List(_) | Value::Object(_) => return Err(NoMoment::WrongType),
        };
        if (0..=TS_MS_MAX).contains(&ms) { Ok(Some(ms)) } else { Err(NoMoment::OutOfRange) }
    }

    fn number(self, number: &Number<'_>) -> Result<i64, NoMoment> {
        let power = match self.unit {
            TimeUnit::S => 3,
            TimeUnit::Ms => 0,
            TimeUnit::Us => -3,
            TimeUnit::Ns => -6,
        };
        number.scaled(power).ok_or(NoMoment::OutOfRange)
    }

    fn text(self, text: &str) -> Result<i64, NoMoment> {
        if let Some(number) = Number::of(text.as_bytes()) {
            return self.number(&number);
        }
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            return Ok(moment.as_millisecond());
        }
        // A time zone's name is no offset: zones are not known here.
        let civil = text.parse::<jiff::civil::DateTime>().ok().filter(|_| !text.contains('['));
        let civil = civil.ok_or(NoMoment::NotATime)?;
        let offset_ms = self.assume_offset_ms.ok_or(NoMoment::NoOffset)?;
        let utc = jiff::tz::TimeZone::UTC.to_timestamp(civil).map_err(|_| NoMoment::OutOfRange)?;
        Ok(utc.as_millisecond() - offset_ms)
    }
}
