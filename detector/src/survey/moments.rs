//! Attributes that are moments, told from other numbers by where they lie: near their event.

use engine::wire::json::Value;
use engine::wire::{Form, MappingConfig};
use features::config::TimeUnit;

/// Counts values that are moments near that of their event, by how they would be written.
#[derive(Clone, Debug)]
pub struct Moments {
    form: Form,
    /// By unit of numbers.
    numbers: [u64; UNITS.len()],
    texts: u64,
}

const UNITS: [TimeUnit; 4] = [TimeUnit::S, TimeUnit::Ms, TimeUnit::Us, TimeUnit::Ns];
/// Moments before 1990 are numbers of something else.
const MOMENT_MS_MIN: i64 = 631_152_000_000;
/// How far before and after its event a moment lies.
const MOMENT_WITHIN_MS: (i64, i64) = (30 * 366 * 86_400_000, 10 * 366 * 86_400_000);
/// Parts of names of moments: seconds since 1970 are like amounts but for them.
const MOMENT_WORDS: [&str; 12] = [
    "_at",
    "time",
    "date",
    "created",
    "updated",
    "since",
    "epoch",
    "expires",
    "last_seen",
    "first_seen",
    "joined",
    "registered",
];

impl Default for Moments {
    fn default() -> Self {
        // Strictly: an age is read from texts only that have an offset.
        Self { form: Form::new(&MappingConfig::default(), None), numbers: [0; 4], texts: 0 }
    }
}

impl Moments {
    /// Takes the value of an event.
    pub fn observe(&mut self, value: &Value<'_>, ts_ms: i64) {
        let (before_ms, after_ms) = MOMENT_WITHIN_MS;
        let from_ms = MOMENT_MS_MIN.max(ts_ms - before_ms);
        let is_near = |ms: i64| (from_ms..=ts_ms.saturating_add(after_ms)).contains(&ms);
        let is_number = match value {
            Value::Number(_) => true,
            Value::Text(text) => match text.read() {
                Ok(text) if text.len() >= 8 && text.starts_with(|c: char| c.is_ascii_digit()) => {
                    text.bytes().all(|b| b.is_ascii_digit())
                }
                _ => return,
            },
            _ => return,
        };
        if is_number {
            for (count, unit) in self.numbers.iter_mut().zip(UNITS) {
                *count += u64::from(self.form.moment_ms(value, unit).is_some_and(is_near));
            }
        } else {
            // Texts are far from being moments by accident.
            self.texts += u64::from(self.form.moment_ms(value, TimeUnit::Ms).is_some());
        }
    }

    /// How the values of an attribute are moments, if nearly all of them are: the unit of numbers, none for texts.
    pub fn form(&self, name: &str, present: u64) -> Option<Option<TimeUnit>> {
        let mostly = |part: u64| part > 0 && part * 20 >= present * 19;
        if mostly(self.texts) {
            return Some(None);
        }
        let name = name.to_ascii_lowercase();
        let is_named = MOMENT_WORDS.iter().any(|word| name.contains(word)) || name == "ts";
        let fits = |(count, unit): (&u64, TimeUnit)| {
            (mostly(*count) && (unit != TimeUnit::S || is_named)).then_some(Some(unit))
        };
        self.numbers.iter().zip(UNITS).find_map(fits)
    }
}
