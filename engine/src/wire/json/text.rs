//! Texts: found by their quotes, read when somebody wants to know.

use std::borrow::Cow;

/// A text between its quotes.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    pub(super) raw: &'a [u8],
    /// Without escapes.
    pub(super) plain: bool,
}

/// Why a text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadText {
    /// Its bytes are not UTF-8.
    NotUtf8,
    /// An escape is unknown, cut off, or half of a surrogate pair.
    Escape,
}

impl<'a> Text<'a> {
    /// The text with its escapes resolved.
    ///
    /// # Errors
    /// See [`BadText`].
    #[inline]
    pub fn read(&self) -> Result<Cow<'a, str>, BadText> {
        if self.plain {
            return std::str::from_utf8(self.raw).map(Cow::Borrowed).map_err(|_| BadText::NotUtf8);
        }
        let text = std::str::from_utf8(self.raw).map_err(|_| BadText::NotUtf8)?;
        unescape(text).map(Cow::Owned).ok_or(BadText::Escape)
    }

    /// Whether it is this name.
    #[inline]
    pub fn is(&self, name: &str) -> bool {
        if self.plain { self.raw == name.as_bytes() } else { self.read().is_ok_and(|t| t == name) }
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The high bit of every byte that is `byte`; exact up to the first of them.
#[inline]
fn places(word: u64, byte: u8) -> u64 {
    let differs = word ^ (ONES * u64::from(byte));
    differs.wrapping_sub(ONES) & !differs & HIGH
}

/// Bytes up to the closing quote, and whether there is no escape among them. `None`: it is cut off.
#[inline]
pub(super) fn length(bytes: &[u8]) -> Option<(usize, bool)> {
    let (mut at, mut plain) = (0, true);
    loop {
        while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_le_bytes(*chunk);
            let found = places(word, b'"') | places(word, b'\\');
            if found != 0 {
                at += found.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match bytes.get(at)? {
            b'"' => return Some((at, plain)),
            b'\\' => {
                plain = false;
                at += 2;
            }
            _ => at += 1,
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1)?;
        let mut taken = at + 2;
        let c = match escape {
            b'"' | b'\\' | b'/' => char::from(*escape),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = hex(rest, taken)?;
                taken += 4;
                if (0xd800..0xdc00).contains(&unit) {
                    // The other half has to follow.
                    let low = rest.get(taken..taken + 2).filter(|t| *t == "\\u")?;
                    let low = hex(rest, taken + low.len())?;
                    taken += 6;
                    let low = (0xdc00..0xe000).contains(&low).then(|| low - 0xdc00)?;
                    char::from_u32(0x10000 + ((unit - 0xd800) << 10) + low)?
                } else {
                    char::from_u32(unit)?
                }
            }
            _ => return None,
        };
        out.push(c);
        rest = rest.get(taken..)?;
    }
    out.push_str(rest);
    Some(out)
}

fn hex(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + 4)?;
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(inside: &[u8]) -> Result<String, BadText> {
        let quoted = [inside, b"\" and more"].concat();
        let (length, plain) = length(&quoted).expect("a closing quote");
        Text { raw: &quoted[..length], plain }.read().map(Cow::into_owned)
    }

    #[test]
    fn escapes_are_resolved_or_refused() {
        let cases: [(&[u8], Result<&str, BadText>); 14] = [
            (b"", Ok("")),
            (b"plain text longer than eight", Ok("plain text longer than eight")),
            (b"a\\\"b", Ok("a\"b")),
            (b"\\\\", Ok("\\")),
            (b"\\u0041\\n\\/", Ok("A\n/")),
            (b"\\ud83d\\ude00", Ok("\u{1f600}")),
            (b"\\uD83D\\uDE00!", Ok("\u{1f600}!")),
            (b"tab\there", Ok("tab\there")),
            (b"\\ud83d", Err(BadText::Escape)),
            (b"\\ude00", Err(BadText::Escape)),
            (b"\\ud83d\\u0041", Err(BadText::Escape)),
            (b"\\ud83d\\ud83d\\ude00", Err(BadText::Escape)),
            (b"\\x41", Err(BadText::Escape)),
            (b"caf\xe9", Err(BadText::NotUtf8)),
        ];
        for (inside, expected) in cases {
            assert_eq!(
                read(inside).as_deref(),
                expected.as_ref().copied(),
                "{}",
                inside.escape_ascii()
            );
        }
        assert_eq!(read(b"\\u+041"), Err(BadText::Escape));
        assert_eq!(read(b"\\u00\xc3\xa9"), Err(BadText::Escape));
    }

    proptest! {
        #[test]
        fn a_text_is_as_long_as_a_plain_search_says(bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), any::<u8>()], 0..60)) {
            let mut at = 0;
            let naive = loop {
                match bytes.get(at) {
                    None => break None,
                    Some(b'"') => break Some((at, !bytes[..at].contains(&b'\\'))),
                    Some(b'\\') => at += 2,
                    Some(_) => at += 1,
                }
            };
            prop_assert_eq!(length(&bytes), naive);
        }
    }
}
