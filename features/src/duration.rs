//! Durations as text: `500ms`, `30s`, `10m`, `2h`, `14d`, `1w`.

use crate::limits::DURATION_MS_MAX;

/// Units, smallest first, with their milliseconds. `m` is minutes.
const UNITS: [(&str, i64); 6] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No digits in front of the unit.
    #[error("`{text}` is not a duration: a whole number comes first; write for example `10m`")]
    Number {
        /// What was read.
        text: String,
    },
    /// The unit is missing or unknown.
    #[error("`{text}` has no known unit; use one of ms, s, m, h, d, w")]
    Unit {
        /// What was read.
        text: String,
    },
    /// More than [`DURATION_MS_MAX`].
    #[error("`{text}` is longer than 100 years; shorten it")]
    TooLong {
        /// What was read.
        text: String,
    },
}

/// Milliseconds of a duration such as `10m`; `0s` is allowed, a sign is not.
///
/// # Errors
/// No number, no known unit, or beyond [`DURATION_MS_MAX`].
///
/// ```
/// assert_eq!(features::duration::parse_ms("2h"), Ok(7_200_000));
/// assert!(features::duration::parse_ms("2 hours").is_err());
/// ```
pub fn parse_ms(text: &str) -> Result<i64, DurationError> {
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = trimmed.split_at(digits);
    if number.is_empty() {
        return Err(DurationError::Number { text: text.into() });
    }
    let Some((_, unit_ms)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(DurationError::Unit { text: text.into() });
    };
    number
        .parse::<i64>()
        .ok()
        .and_then(|n| n.checked_mul(*unit_ms))
        .filter(|ms| *ms <= DURATION_MS_MAX)
        .ok_or_else(|| DurationError::TooLong { text: text.into() })
}

/// Milliseconds of an offset, which may carry a sign: `+1h`, `-5h`, `0h`.
///
/// # Errors
/// As [`parse_ms`].
pub fn parse_offset_ms(text: &str) -> Result<i64, DurationError> {
    let trimmed = text.trim();
    match trimmed.strip_prefix('-') {
        Some(rest) => parse_ms(rest).map(|ms| -ms),
        None => parse_ms(trimmed.strip_prefix('+').unwrap_or(trimmed)),
    }
}

/// The duration as text, in the largest unit up to days that divides it: `format_ms(600_000)` is `10m`. Weeks are written as days.
/// Reading it again with [`parse_offset_ms`] gives the same number.
pub fn format_ms(ms: i64) -> String {
    if ms == 0 {
        return "0s".into();
    }
    let fitting = UNITS.iter().take(5).rev().find(|(_, unit_ms)| ms % unit_ms == 0);
    match fitting {
        Some((name, unit_ms)) => format!("{}{name}", ms / unit_ms),
        None => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_every_unit_and_refuses_the_rest() {
        let good = [
            ("500ms", 500),
            ("30s", 30_000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("14d", 1_209_600_000),
            ("1w", 604_800_000),
            ("0h", 0),
            (" 1d ", 86_400_000),
        ];
        for (text, ms) in good {
            assert_eq!(parse_ms(text), Ok(ms), "{text}");
        }
        for text in
            ["", "m", "10", "10 m", "1.5h", "-1h", "10y", "99999999999999999999d", "40000000000d"]
        {
            assert!(parse_ms(text).is_err(), "{text}");
        }
        assert_eq!(parse_offset_ms("-5h"), Ok(-18_000_000));
        assert_eq!(parse_offset_ms("+1h"), Ok(3_600_000));
        assert_eq!(format_ms(1_209_600_000), "14d");
        assert_eq!(format_ms(90_000), "90s");
    }

    proptest! {
        #[test]
        fn text_and_back(ms in -DURATION_MS_MAX..DURATION_MS_MAX) {
            prop_assert_eq!(parse_offset_ms(&format_ms(ms)), Ok(ms));
        }

        #[test]
        fn any_text_is_no_panic(text in ".*") {
            let _ = parse_ms(&text);
            let _ = parse_offset_ms(&text);
        }
    }
}
