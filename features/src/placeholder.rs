//! Keys that stand for no thing: what a program sends when it does not know the key.

/// Spellings of "no key", in lower case: words, the host itself, and constants of phones' systems.
const SPELLINGS: [&str; 19] = [
    "unknown",
    "null",
    "(null)",
    "nil",
    "none",
    "undefined",
    "n/a",
    "nan",
    "-",
    "test",
    "localhost",
    "127.0.0.1",
    "0.0.0.0",
    "::1",
    "::",
    // The hardware address that Android and iOS give to every program.
    "02:00:00:00:00:00",
    // The ANDROID_ID that a whole series of devices shared.
    "9774d56d682e549c",
    // Serial numbers that were never written.
    "0123456789abcdef",
    "123456789012345",
];

/// Digits of a key that is nothing but zeros, or nothing but `f`: fewer may be a number that means something.
const SAME_DIGITS_MIN: usize = 8;

/// Whether a key is a well-known placeholder: the zero UUID, `unknown`, `127.0.0.1`. Blanks around it and case do not
/// count. Some 20 ns.
///
/// ```
/// use features::placeholder::is_placeholder;
/// assert!(is_placeholder("00000000-0000-0000-0000-000000000000"));
/// assert!(is_placeholder(" Unknown"));
/// assert!(!is_placeholder("d9"));
/// ```
pub fn is_placeholder(key: &str) -> bool {
    let key = key.trim();
    SPELLINGS.iter().any(|spelling| spelling.eq_ignore_ascii_case(key)) || is_one_digit(key)
}

/// Nothing but zeros, or nothing but `f`, with what separates the groups of an id.
fn is_one_digit(key: &str) -> bool {
    let mut digits = key.bytes().filter(|byte| !b"-:.{}".contains(byte));
    let Some(first @ (b'0' | b'f' | b'F')) = digits.next() else { return false };
    let mut found = 1;
    for digit in digits {
        if !digit.eq_ignore_ascii_case(&first) {
            return false;
        }
        found += 1;
    }
    found >= SAME_DIGITS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_known_in_their_spellings() {
        for key in [
            "00000000-0000-0000-0000-000000000000",
            "{00000000-0000-0000-0000-000000000000}",
            "ffffffff-ffff-ffff-ffff-FFFFFFFFFFFF",
            "00000000000000000000000000000000",
            "00:00:00:00:00:00",
            "FF:FF:FF:FF:FF:FF",
            "000000000000000",
            "UNKNOWN",
            " null ",
            "N/A",
            "NaN",
            "-",
            "127.0.0.1",
            "::1",
            "9774D56D682E549C",
        ] {
            assert!(is_placeholder(key), "{key:?}");
        }
    }

    #[test]
    fn keys_that_may_mean_something_are_none() {
        for key in [
            "",
            "0",
            "0000",
            "00000001",
            "f",
            "fff",
            "0f0f0f0f",
            "unknown-7",
            "tester",
            "10.0.0.1",
            "127.0.0.2",
            "::2",
            "00000000-0000-0000-0000-000000000001",
        ] {
            assert!(!is_placeholder(key), "{key:?}");
        }
    }
}
