//! Numbers as they are written: exact where they are keys or times, and the nearest 64 bits where they are quantities.

use compact_str::CompactString;

/// A number in the grammar of JSON.
#[derive(Clone, Copy, Debug)]
pub struct Number<'a> {
    raw: &'a str,
    integer: bool,
}

/// A number taken apart: `digits * 10^exponent`, without zeros at either end of the digits; no digits are 0.
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl<'a> Number<'a> {
    /// The number that a word is.
    #[inline]
    pub fn of(word: &'a [u8]) -> Option<Self> {
        let unsigned = word.strip_prefix(b"-").unwrap_or(word);
        let whole = digits(unsigned);
        if whole == 0 || (whole > 1 && unsigned[0] == b'0') {
            return None;
        }
        let mut rest = &unsigned[whole..];
        let integer = rest.is_empty();
        if let [b'.', fraction @ ..] = rest {
            let length = digits(fraction);
            if length == 0 {
                return None;
            }
            rest = &fraction[length..];
        }
        if let [b'e' | b'E', exponent @ ..] = rest {
            let exponent = match exponent {
                [b'+' | b'-', rest @ ..] => rest,
                rest => rest,
            };
            if exponent.is_empty() || digits(exponent) != exponent.len() {
                return None;
            }
            rest = &[];
        }
        if !rest.is_empty() {
            return None;
        }
        Some(Self { raw: std::str::from_utf8(word).ok()?, integer })
    }

    /// The nearest number of 64 bits; infinite beyond them. Minus zero is zero.
    #[inline]
    pub fn to_f64(&self) -> f64 {
        match self.to_i64() {
            Some(whole) => whole as f64,
            // What is a number in JSON is one in Rust. The sum is what makes minus zero zero.
            None => self.raw.parse::<f64>().unwrap_or(f64::NAN) + 0.0,
        }
    }

    /// The whole number that it is written as; `None` for all other forms, and beyond 18 digits.
    #[inline]
    pub fn to_i64(&self) -> Option<i64> {
        if !self.integer || self.raw.len() > 18 {
            return None;
        }
        let (negative, digits) = match self.raw.as_bytes() {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let whole = digits.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
        Some(if negative { -whole } else { whole })
    }

    /// The number as text, exactly: equal numbers have one text, different ones never do. Whole numbers and fractions are written
    /// out (`42.0` is `42`, `1.5e3` is `1500`); beyond `length_max` bytes as `15e300`. `None`: its exponent has more than 18 digits.
    pub fn text(&self, length_max: usize) -> Option<CompactString> {
        if self.integer && self.raw.len() <= length_max {
            return Some(if self.raw == "-0" { "0".into() } else { self.raw.into() });
        }
        let Decimal { negative, digits, exponent } = self.decimal()?;
        if digits.is_empty() {
            return Some("0".into());
        }
        let mut out = CompactString::new(if negative { "-" } else { "" });
        let count = digits.len() as i64;
        // Where the point is: before the digits, among them, or behind them.
        let point = count.checked_add(exponent)?;
        let length = if exponent >= 0 { point } else { count.max(count - point) + 2 };
        if out.len() as i64 + length > length_max as i64 {
            out.push_str(&digits);
            out.push_str(&format!("e{exponent}"));
        } else if exponent >= 0 {
            out.push_str(&digits);
            (0..exponent).for_each(|_| out.push('0'));
        } else if point > 0 {
            let (whole, fraction) = digits.split_at(point as usize);
            out.push_str(whole);
            out.push('.');
            out.push_str(fraction);
        } else {
            out.push_str("0.");
            (point..0).for_each(|_| out.push('0'));
            out.push_str(&digits);
        }
        Some(out)
    }

    /// The whole part of the number times `10^power`, rounded down, exactly; `None` beyond 64 bits.
    pub fn scaled(&self, power: i32) -> Option<i64> {
        if let Some(whole) = self.to_i64() {
            let by = 10i64.checked_pow(power.unsigned_abs())?;
            return if power >= 0 { whole.checked_mul(by) } else { Some(whole.div_euclid(by)) };
        }
        let Decimal { negative, digits, exponent } = self.decimal()?;
        let count = digits.len() as i64;
        let point = count.checked_add(exponent)?.checked_add(i64::from(power))?;
        if digits.is_empty() || point <= 0 {
            return Some(if negative && !digits.is_empty() { -1 } else { 0 });
        }
        if point > 19 {
            return None;
        }
        let kept = &digits[..point.min(count) as usize];
        let whole: i128 = kept.parse().ok()?;
        let whole = whole * 10i128.pow((point - kept.len() as i64) as u32);
        let is_part = kept.len() < digits.len();
        i64::try_from(if negative { -whole - i128::from(is_part) } else { whole }).ok()
    }

    fn decimal(&self) -> Option<Decimal> {
        let (negative, unsigned) = match self.raw.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, self.raw),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let (sign, digits) = match exponent.as_bytes() {
                    [b'-', ..] => (-1, &exponent[1..]),
                    [b'+', ..] => (1, &exponent[1..]),
                    _ => (1, exponent),
                };
                let digits = digits.trim_start_matches('0');
                if digits.len() > 18 {
                    return None;
                }
                (mantissa, if digits.is_empty() { 0 } else { sign * digits.parse::<i64>().ok()? })
            }
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = [whole.trim_start_matches('0'), fraction].concat();
        if whole.trim_start_matches('0').is_empty() {
            let zeros = digits.len() - digits.trim_start_matches('0').len();
            digits.drain(..zeros);
        }
        let ends = digits.trim_end_matches('0').len();
        let exponent = exponent - fraction.len() as i64 + (digits.len() - ends) as i64;
        digits.truncate(ends);
        Some(Decimal { negative, digits, exponent })
    }
}

/// Digits at the beginning.
#[inline]
fn digits(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number<'_> {
        Number::of(text.as_bytes()).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn only_the_grammar_of_json_is_a_number() {
        for good in ["0", "-0", "10", "1.5", "-0.01e+7", "1E5", "1e-300", "1e400"] {
            assert!(Number::of(good.as_bytes()).is_some(), "{good}");
        }
        for bad in
            ["", "-", "01", "+1", ".5", "5.", "1e", "1e+", "0x10", "1_0", "NaN", "1.e5", "--1"]
        {
            assert!(Number::of(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn equal_numbers_have_one_text_and_different_ones_never() {
        for (written, text) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("0e9", "0"),
            ("42", "42"),
            ("42.0", "42"),
            ("4.2e1", "42"),
            ("1.50", "1.5"),
            ("-7", "-7"),
            ("-0.05", "-0.05"),
            ("0.00120e1", "0.012"),
            ("1e3", "1000"),
            ("9007199254740992", "9007199254740992"),
            ("9007199254740993", "9007199254740993"),
            ("9007199254740993.0", "9007199254740993"),
            ("9007199254740991.5", "9007199254740991.5"),
            ("184467440737095516160", "184467440737095516160"),
            ("1.8446744073709551616e20", "184467440737095516160"),
            ("1e300", "1e300"),
            ("100e298", "1e300"),
            ("-15e-300", "-15e-300"),
        ] {
            assert_eq!(number(written).text(64).as_deref(), Some(text), "{written}");
        }
        let long = "1".to_owned() + &"0".repeat(80);
        assert_eq!(number(&long).text(64), number("1e80").text(64));
        assert_eq!(number("1e9999999999999999999").text(64), None);
    }

    #[test]
    fn moments_are_scaled_exactly() {
        for (written, power, scaled) in [
            ("1700000000000", 0, Some(1_700_000_000_000)),
            ("1700000000000.9", 0, Some(1_700_000_000_000)),
            ("1700000000.123", 3, Some(1_700_000_000_123)),
            ("1700000000123456", -3, Some(1_700_000_000_123)),
            ("1.7e12", 0, Some(1_700_000_000_000)),
            ("-0.5", 0, Some(-1)),
            ("-2", 0, Some(-2)),
            ("0.9", 0, Some(0)),
            ("1e-400", 0, Some(0)),
            ("1e400", 0, None),
            ("9223372036854775807", 0, Some(i64::MAX)),
            ("9223372036854775808", 0, None),
            ("1e999999999999999999", 0, None),
        ] {
            assert_eq!(number(written).scaled(power), scaled, "{written}");
        }
    }

    proptest! {
        #[test]
        fn text_is_the_number_again(value in any::<f64>(), whole in any::<i64>(), exponential in any::<bool>()) {
            prop_assume!(value.is_finite());
            let written = if exponential { format!("{value:e}") } else { format!("{value}") };
            let read = number(&written);
            prop_assert_eq!(read.to_f64(), value);
            let text = read.text(64).expect("a small exponent");
            prop_assert_eq!(text.parse::<f64>().expect("a number"), value + 0.0);
            prop_assert_eq!(number(&format!("{value:?}")).text(64), Some(text));
            let written = whole.to_string();
            let text = number(&written).text(64);
            prop_assert_eq!(text.as_deref(), Some(&*written));
            prop_assert_eq!(number(&written).scaled(0), Some(whole));
            prop_assert_eq!(number(&written).to_f64(), whole as f64);
        }

        #[test]
        fn scaled_is_the_floor(whole in -1_000_000_000i64..1_000_000_000, fraction in 0u32..1_000_000, power in -6i32..4) {
            let written = format!("{whole}.{fraction:06}");
            let micros = i128::from(whole) * 1_000_000 + if written.starts_with('-') { -i128::from(fraction) } else { i128::from(fraction) };
            let scaled = if power >= 0 { micros * 10i128.pow(power as u32) } else { micros.div_euclid(10i128.pow(-power as u32)) };
            prop_assert_eq!(number(&written).scaled(power), i64::try_from(scaled.div_euclid(1_000_000)).ok());
        }
    }
}
