//! Sizes in bytes as text: `1048576`, `512MiB`, `12GiB`, `8GB`.

/// Units with their bytes. Binary units are powers of 1024, decimal ones of 1000.
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ByteSizeError {
    /// No digits in front of the unit.
    #[error("`{text}` is not a size: a whole number comes first; write for example `8GiB`")]
    Number {
        /// What was read.
        text: String,
    },
    /// The unit is unknown.
    #[error(
        "`{text}` has no known unit; use one of KiB, MiB, GiB, TiB, kB, MB, GB, or none for bytes"
    )]
    Unit {
        /// What was read.
        text: String,
    },
    /// More bytes than 63 bits count.
    #[error("`{text}` is more than any machine has; lower it")]
    TooLarge {
        /// What was read.
        text: String,
    },
}

/// Bytes of a size such as `8GiB`; a number without a unit is bytes.
///
/// # Errors
/// No number, no known unit, or 2^63 bytes and more.
///
/// ```
/// assert_eq!(features::byte_size::parse_bytes("2KiB"), Ok(2048));
/// assert!(features::byte_size::parse_bytes("2 GiB").is_err());
/// ```
pub fn parse_bytes(text: &str) -> Result<u64, ByteSizeError> {
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = trimmed.split_at(digits);
    if number.is_empty() {
        return Err(ByteSizeError::Number { text: text.into() });
    }
    let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(ByteSizeError::Unit { text: text.into() });
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(*bytes))
        .filter(|bytes| *bytes <= i64::MAX.unsigned_abs())
        .ok_or_else(|| ByteSizeError::TooLarge { text: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_the_rest_refused() {
        let good = [
            ("0", 0),
            ("1048576", 1 << 20),
            ("7B", 7),
            ("3kB", 3_000),
            ("3KiB", 3 << 10),
            ("512MB", 512_000_000),
            ("512MiB", 512 << 20),
            ("8GB", 8_000_000_000),
            ("8GiB", 8 << 30),
            (" 2TiB ", 2 << 40),
        ];
        for (text, bytes) in good {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in
            ["", "GiB", "1.5GiB", "-1", "8 GiB", "8gib", "8G", "9223372036854775808", "99999999TiB"]
        {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
