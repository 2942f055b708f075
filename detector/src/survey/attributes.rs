//! Attributes of events: what type their values have, how they spread, and what they belong to: the
//! event, the account, or a thing that accounts share.

use super::keys::{Keys, KeysReport};
use super::moments::Moments;
use super::sketch::{Sample, fingerprint, mix};
use engine::wire::json::Value;
use features::config::TimeUnit;
use serde::Serialize;
use std::collections::BTreeMap;

/// Values of a text attribute that are counted by name, at most.
const VALUES_MAX: usize = 64;
/// Longer text is content, not a value.
const VALUE_BYTES_MAX: usize = 64;
/// Values of a text attribute that are followed as keys, at most.
const TEXT_KEYS_MAX: usize = 8192;
/// Up to here, all whole numbers are exact in 64 bits: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// Numbers that are told apart, at most.
const NUMBERS_MAX: usize = 1024;

/// Collects the values of one attribute.
#[derive(Clone, Debug, Default)]
pub struct Attribute {
    present: u64,
    numbers: u64,
    number_texts: u64,
    booleans: u64,
    booleans_true: u64,
    texts: u64,
    others: u64,
    moments: Moments,
    spread: Spread,
    values: BTreeMap<String, u64>,
    values_beyond: u64,
    keys: Option<Box<Keys>>,
}

/// How an attribute is best read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Reading {
    /// A number, or text that is a number.
    Number,
    /// true or false.
    Boolean,
    /// One of a few texts.
    Category,
    /// A moment: a number since 1970, or RFC 3339.
    Moment,
    /// Text with many values, or a mixture: nothing is read from it.
    #[default]
    Opaque,
}

/// What was seen of one attribute.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AttributeReport {
    /// Its name.
    pub name: String,
    /// How it is best read.
    pub reading: Reading,
    /// Events that have it.
    pub present: u64,
    /// Share of events that have it.
    pub present_share: f64,
    /// Share of its values that are numbers written as text.
    pub number_text_share: f64,
    /// Share of true among booleans.
    pub true_share: f64,
    /// Distinct numbers, up to about a thousand exactly.
    pub numbers_distinct: u64,
    /// Smallest, 1, 50, 99 of 100, largest number.
    pub quantiles: [f64; 5],
    /// Share of numbers below zero, and of zeros.
    pub negative_share: f64,
    /// Share of zeros.
    pub zero_share: f64,
    /// Share of numbers that are whole.
    pub whole_share: f64,
    /// Share of an account's values that differ from its value before.
    pub change_share: f64,
    /// It stays the same for an account: it describes the account, not the event.
    pub of_account: bool,
    /// For moments: what their numbers count; absent when they are texts.
    pub unit: Option<TimeUnit>,
    /// Texts by how often they occur, most frequent first, while they are few.
    pub values: Vec<(String, u64)>,
    /// How its texts would look as keys of a kind.
    pub as_keys: Option<KeysReport>,
}

impl Attribute {
    /// Takes an event's value; gives its fingerprint unless it is absent.
    pub fn observe(&mut self, value: &Value<'_>, account: u64, ts_ms: i64) -> Option<u64> {
        self.moments.observe(value, ts_ms);
        let hash = match value {
            Value::Null => return None,
            Value::Bool(yes) => {
                self.booleans += 1;
                self.booleans_true += u64::from(*yes);
                u64::from(*yes)
            }
            Value::Number(number) => self.number(number.to_f64()),
            Value::Text(text) => {
                let text = text.read().ok()?;
                match text.parse::<f64>() {
                    Ok(number) if number.is_finite() && text.len() <= 24 => {
                        self.number_texts += 1;
                        self.text(&text, account, ts_ms);
                        self.number(number)
                    }
                    _ => self.text(&text, account, ts_ms),
                }
            }
            Value::List(_) | Value::Object(_) => {
                self.others += 1;
                0
            }
            Value::Word => return None,
        };
        self.present += 1;
        Some(hash)
    }

    fn number(&mut self, number: f64) -> u64 {
        self.numbers += 1;
        self.spread.add(number);
        mix(number.to_bits())
    }

    fn text(&mut self, text: &str, account: u64, ts_ms: i64) -> u64 {
        self.texts += 1;
        if let Some(count) = self.values.get_mut(text) {
            *count += 1;
        } else if self.values.len() < VALUES_MAX && text.len() <= VALUE_BYTES_MAX {
            self.values.insert(text.to_owned(), 1);
        } else {
            self.values_beyond += 1;
        }
        if text.len() > VALUE_BYTES_MAX {
            return fingerprint(text);
        }
        let keys = self.keys.get_or_insert_with(|| Box::new(Keys::new(TEXT_KEYS_MAX, 1)));
        keys.count_event(1);
        keys.observe(text, account, ts_ms)
    }

    /// What was seen, over `events` events; `changes` is how often an account's value changes and out
    /// of how many values.
    pub fn report<V>(
        &self,
        name: &str,
        events: u64,
        changes: (f64, u64),
        accounts: &Sample<V>,
    ) -> AttributeReport {
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let mostly = |part: u64| part * 20 >= self.present * 19;
        let pure_texts = self.texts - self.number_texts;
        let moment = self.moments.form(name, self.present);
        let reading = if moment.is_some() {
            Reading::Moment
        } else if mostly(self.booleans) {
            Reading::Boolean
        } else if mostly(self.numbers) {
            Reading::Number
        } else if mostly(pure_texts + self.number_texts)
            && self.values_beyond * 20 <= self.texts
            && self.values.len() as u64 * 4 <= self.texts.max(8)
        {
            Reading::Category
        } else {
            Reading::Opaque
        };
        let mut values: Vec<(String, u64)> =
            self.values.iter().map(|(text, count)| (text.clone(), *count)).collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        AttributeReport {
            name: name.to_owned(),
            reading,
            present: self.present,
            present_share: share(self.present, events),
            number_text_share: share(self.number_texts, self.present),
            true_share: share(self.booleans_true, self.booleans),
            numbers_distinct: self.spread.distinct.distinct(),
            quantiles: self.spread.quantiles(),
            negative_share: share(self.spread.negative, self.numbers),
            zero_share: share(self.spread.zero, self.numbers),
            whole_share: share(self.spread.whole, self.numbers),
            change_share: changes.0,
            unit: moment.flatten(),
            of_account: changes.1 >= 50 && changes.0 <= 0.02 && !self.is_constant(),
            values: if self.values_beyond * 20 <= self.texts { values } else { Vec::new() },
            as_keys: match (&self.keys, reading) {
                (Some(keys), Reading::Opaque | Reading::Number) if keys.distinct() > 20 => {
                    Some(keys.report(name, accounts))
                }
                _ => None,
            },
        }
    }

    /// One value only: it tells nothing apart.
    fn is_constant(&self) -> bool {
        let booleans = if self.booleans == 0 {
            0
        } else {
            1 + u64::from(self.booleans_true > 0 && self.booleans_true < self.booleans)
        };
        let texts = if self.texts > self.number_texts { self.values.len() as u64 } else { 0 };
        booleans + self.spread.distinct.distinct() + texts + self.others <= 1
    }
}

impl AttributeReport {
    /// Whether it has one value only.
    pub fn is_constant(&self) -> bool {
        match self.reading {
            Reading::Number => self.numbers_distinct <= 1,
            Reading::Boolean => self.true_share == 0.0 || self.true_share == 1.0,
            Reading::Category => self.values.len() <= 1,
            // Its age is not constant.
            Reading::Moment | Reading::Opaque => false,
        }
    }

    /// Numbers that by their name and shape are keys of something; whole ones beyond 2^53 are no quantities either.
    pub fn is_number_key(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        self.reading == Reading::Number
            && self.whole_share == 1.0
            && self.numbers_distinct > 20
            && (self.quantiles[4] > EXACT_MAX
                || name == "id"
                || name.ends_with("_id")
                || self.name.ends_with("Id"))
    }
}

/// How numbers spread: one bin per sixteenth of an octave, on both sides of zero.
#[derive(Clone, Debug)]
struct Spread {
    bins: BTreeMap<u16, u64>,
    count: u64,
    min: f64,
    max: f64,
    zero: u64,
    negative: u64,
    whole: u64,
    distinct: Sample<()>,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            bins: BTreeMap::new(),
            count: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            zero: 0,
            negative: 0,
            whole: 0,
            distinct: Sample::new(NUMBERS_MAX),
        }
    }
}

impl Spread {
    fn add(&mut self, number: f64) {
        if !number.is_finite() {
            return;
        }
        self.count += 1;
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        self.zero += u64::from(number == 0.0);
        self.negative += u64::from(number < 0.0);
        self.whole += u64::from(number.fract() == 0.0);
        // Bits of a float, turned so that they sort like the number (0.0 and -0.0 meet).
        let bits = (number + 0.0).to_bits();
        let ordered = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
        *self.bins.entry((ordered >> 48) as u16).or_insert(0) += 1;
        self.distinct.entry(mix(bits), || ());
    }

    fn quantiles(&self) -> [f64; 5] {
        if self.count == 0 {
            return [0.0; 5];
        }
        let at = |q: f64| {
            let rank = ((self.count as f64 * q).ceil() as u64).clamp(1, self.count);
            let mut seen = 0;
            for (bin, count) in &self.bins {
                seen += count;
                if seen >= rank {
                    let ordered = u64::from(*bin) << 48;
                    let bits = if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered };
                    return f64::from_bits(bits).clamp(self.min, self.max);
                }
            }
            self.max
        };
        [self.min, at(0.01), at(0.5), at(0.99), self.max]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn report(values: &[&str]) -> AttributeReport {
        report_of("a", values)
    }

    fn report_of(name: &str, values: &[&str]) -> AttributeReport {
        let mut attribute = Attribute::default();
        for (at, value) in values.iter().enumerate() {
            let value = Value::of(value.as_bytes()).expect("readable");
            attribute.observe(&value, mix(at as u64), NOW_MS + at as i64);
        }
        let nobody: Sample<()> = Sample::new(1);
        attribute.report(name, values.len() as u64, (0.5, 100), &nobody)
    }

    #[test]
    fn readings() {
        let many: Vec<String> = (0..200).map(|n| format!("\"w{n}\"")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let cases: [(&[&str], Reading); 7] = [
            (&["1", "2.5", "-3"], Reading::Number),
            (&["\"1\"", "\"2.5\"", "3"], Reading::Number),
            (&["true", "false", "null"], Reading::Boolean),
            (
                &["\"NL\"", "\"DE\"", "\"NL\"", "\"NL\"", "\"DE\"", "\"NL\"", "\"NL\"", "\"NL\""],
                Reading::Category,
            ),
            (&many, Reading::Opaque),
            (&["1", "\"x\"", "true"], Reading::Opaque),
            (&["[1]", "{}"], Reading::Opaque),
        ];
        for (values, reading) in cases {
            assert_eq!(report(values).reading, reading, "{values:?}");
        }
        assert_eq!(report(&many).as_keys.map(|keys| keys.distinct), Some(200));
    }

    #[test]
    fn moments_are_recognised_by_where_they_lie() {
        let moment = |unit| (Reading::Moment, unit);
        let number = (Reading::Number, None);
        type Case<'a> = (&'a str, &'a [&'a str], (Reading, Option<TimeUnit>));
        let cases: [Case<'_>; 10] = [
            ("x", &["1690000000000", "1699999999999"], moment(Some(TimeUnit::Ms))),
            ("x", &["\"1690000000000\"", "1699999999999"], moment(Some(TimeUnit::Ms))),
            ("x", &["1690000000000123"], moment(Some(TimeUnit::Us))),
            ("x", &["1690000000000123456"], moment(Some(TimeUnit::Ns))),
            ("created_at", &["1690000000", "1699999999.5"], moment(Some(TimeUnit::S))),
            ("cents", &["1690000000", "1699999999"], number),
            ("x", &["\"2023-01-31T12:00:00Z\"", "\"2023-02-01 12:00:00+01:00\""], moment(None)),
            ("x", &["1000000000001", "999999999999"], moment(Some(TimeUnit::Ms))),
            ("x", &["5", "7000000000000"], number),
            ("x", &["12345678", "20231114"], number),
        ];
        for (name, values, expected) in cases {
            let seen = report_of(name, values);
            assert_eq!((seen.reading, seen.unit), expected, "{name} {values:?}");
        }
    }

    #[test]
    fn spread_of_numbers() {
        let numbers: Vec<String> = (-50..50).map(|n| format!("{}", n * 10)).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let seen = report(&numbers);
        assert_eq!(
            (seen.quantiles[0], seen.quantiles[4], seen.numbers_distinct),
            (-500.0, 490.0, 100)
        );
        assert!(seen.quantiles[2] >= -17.0 && seen.quantiles[2] <= 0.0, "{:?}", seen.quantiles);
        assert_eq!((seen.negative_share, seen.zero_share, seen.whole_share), (0.5, 0.01, 1.0));
        assert!(report(&["4", "4", "4"]).is_constant());
    }
}
