//! Numbers to the text that a platform would show. Names say nothing about who is bad.

use super::chance::mix2;
use std::io::Write as _;

/// No entity, no account.
pub(super) const NONE: u32 = u32::MAX;

const ODD: u32 = 0x9E37_79B1;

/// How names are made: a function of the seed alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    salt: u64,
}

impl Names {
    pub(super) fn new(seed: u64) -> Self {
        Self { salt: mix2(seed, 0x004E_414D_4553) }
    }

    /// Account index to the number in its name: a bijection of 32 bits.
    fn scramble(self, index: u32) -> u32 {
        let mut x = (index ^ self.salt as u32).wrapping_mul(ODD);
        x ^= x >> 16;
        x.wrapping_mul(ODD)
    }

    fn unscramble(self, number: u32) -> u32 {
        let inverse = inverse(ODD);
        let mut x = number.wrapping_mul(inverse);
        x ^= x >> 16;
        x.wrapping_mul(inverse) ^ self.salt as u32
    }

    pub(super) fn account(self, out: &mut Vec<u8>, index: u32) {
        out.push(b'u');
        number(out, u64::from(self.scramble(index)));
    }

    pub(super) fn account_index(self, id: &str) -> Option<u32> {
        let digits = id.strip_prefix('u')?;
        if digits.starts_with('+') || (digits.len() > 1 && digits.starts_with('0')) {
            return None;
        }
        Some(self.unscramble(digits.parse().ok()?))
    }

    /// A device, card, bank account, phone number or content: a letter and 12 hexadecimal digits.
    pub(super) fn thing(self, out: &mut Vec<u8>, letter: u8, index: u32) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let hash = mix2(self.salt ^ u64::from(letter), u64::from(index));
        out.push(letter);
        out.extend((0..12).rev().map(|k| DIGITS[(hash >> (4 * k)) as usize & 15]));
    }

    /// An address: first octet by class and country, the rest scrambled within.
    pub(super) fn ip(self, out: &mut Vec<u8>, ip: u32) {
        let low = (ip ^ (self.salt >> 40) as u32).wrapping_mul(ODD) & 0x00FF_FFFF;
        for (k, octet) in
            [11 + (ip >> 24), low >> 16, (low >> 8) & 255, low & 255].iter().enumerate()
        {
            if k > 0 {
                out.push(b'.');
            }
            number(out, u64::from(*octet));
        }
    }
}

/// The number that undoes multiplication by `odd` modulo 2^32 (Newton's iteration).
fn inverse(odd: u32) -> u32 {
    let mut x = odd;
    for _ in 0..5 {
        x = x.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(x)));
    }
    x
}

/// Decimal digits of `value`.
pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{value}");
}

/// An amount of cents as a JSON number with two decimals.
pub(super) fn cents(out: &mut Vec<u8>, value: u32) {
    let _ = write!(out, "{}.{:02}", value / 100, value % 100);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_names_lead_back_to_their_index() {
        let names = Names::new(9);
        for index in [0, 1, 2, 77, 1 << 20, u32::MAX - 1, u32::MAX] {
            let mut out = Vec::new();
            names.account(&mut out, index);
            let id = String::from_utf8(out).unwrap();
            assert_eq!(names.account_index(&id), Some(index), "{id}");
        }
        for wrong in ["", "u", "x5", "u-1", "u+1", "u01", "u99999999999"] {
            assert_eq!(names.account_index(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn text_forms() {
        let mut out = Vec::new();
        cents(&mut out, 5_705);
        assert_eq!(out, b"57.05");
        out.clear();
        Names::new(1).ip(&mut out, (3 << 24) | 5);
        assert!(out.starts_with(b"14."));
        out.clear();
        Names::new(1).thing(&mut out, b'd', 5);
        assert_eq!(out.len(), 13);
    }
}
