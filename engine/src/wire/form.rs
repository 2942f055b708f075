//! Messages whose kinds and attributes are not declared yet: what a survey of a stream reads, by the functions that read it later.

use super::decode::label_shape;
use super::fault::Faults;
use super::json::Value;
use super::mapping::MappingConfig;
use super::moment::Moments;
use super::shape::{Found, Shape};
use super::{Reject, decode};
use compact_str::CompactString;
use features::config::TimeUnit;
use features::event::Verdict;
use std::borrow::Cow;
use std::ops::Range;

/// The form of a stream's messages.
#[derive(Clone, Debug)]
pub struct Form {
    events: Shape,
    labels: Shape,
    assume_offset_ms: Option<i64>,
}

/// An event without declarations.
#[derive(Clone, Debug)]
pub struct RawEvent<'a> {
    /// The platform's id of the event.
    pub event_id: Option<CompactString>,
    /// When.
    pub ts_ms: i64,
    /// What happened.
    pub event_type: Option<Cow<'a, str>>,
    /// Who did it.
    pub account: CompactString,
    /// The account acted upon.
    pub target: Option<CompactString>,
    /// Kinds with their keys; those without a key are left out.
    pub entities: Vec<(Cow<'a, str>, Vec<CompactString>)>,
    /// Attributes that are not null.
    pub attributes: Vec<(Cow<'a, str>, Value<'a>)>,
}

/// A label without declarations.
#[derive(Clone, Debug)]
pub struct RawLabel {
    /// The account it speaks of.
    pub account: Option<CompactString>,
    /// The event it speaks of.
    pub event_id: Option<CompactString>,
    /// What it says.
    pub verdict: Verdict,
    /// When it became known.
    pub ts_ms: i64,
}

impl Form {
    /// The form that a mapping describes. `assume_offset_ms`: that of times without an offset; absent, they are no moments.
    pub fn new(mapping: &MappingConfig, assume_offset_ms: Option<i64>) -> Self {
        Self { events: mapping.shape(), labels: label_shape(), assume_offset_ms }
    }

    /// Reads an event and hands it on.
    ///
    /// # Errors
    /// As [`Decoder::event`](super::Decoder::event).
    pub fn event<R>(
        &self,
        bytes: &[u8],
        then: impl for<'a> FnOnce(&RawEvent<'a>) -> R,
    ) -> Result<R, Reject> {
        let moments = self.moments(self.events.ts_unit);
        self.events.read(bytes, &mut Faults::default(), |found, faults| {
            let account = found.account(faults)?;
            let ts_ms = found.ts_ms(moments, faults)?;
            let event = RawEvent {
                event_id: found.key(&found.shape.event_id, faults),
                ts_ms,
                event_type: found.event_type(faults),
                account,
                target: found.key(&found.shape.target, faults),
                entities: found.entities_by_name(),
                attributes: found.attributes_by_name(),
            };
            Ok(then(&event))
        })
    }

    /// Reads a label.
    ///
    /// # Errors
    /// As [`Decoder::label`](super::Decoder::label).
    pub fn label(&self, bytes: &[u8]) -> Result<RawLabel, Reject> {
        self.labels.read(bytes, &mut Faults::default(), |found, faults| {
            let head = found.label_head(self.moments(TimeUnit::Ms), faults)?;
            let decode::LabelHead { account, event_id, verdict, ts_ms, .. } = head;
            Ok(RawLabel { account, event_id, verdict, ts_ms })
        })
    }

    /// The moment that a value is, where numbers count `unit`.
    pub fn moment_ms(&self, value: &Value<'_>, unit: TimeUnit) -> Option<i64> {
        self.moments(unit).read(value).ok().flatten()
    }

    fn moments(&self, unit: TimeUnit) -> Moments {
        Moments { unit, assume_offset_ms: self.assume_offset_ms }
    }
}

impl<'a> Found<'_, 'a> {
    fn entities_by_name(&self) -> Vec<(Cow<'a, str>, Vec<CompactString>)> {
        let mut all = Vec::new();
        for (name, range) in &self.shape.entities {
            let keys = self.values[range.clone()].iter().flatten();
            let keys = keys.map(|value| decode::keys(*value)).find(|keys| !keys.is_empty());
            all.extend(keys.map(|keys| (Cow::Owned(name.clone()), keys)));
        }
        for (name, value) in self.members(&self.shape.entity_roots) {
            let keys = decode::keys(value);
            if !keys.is_empty() {
                all.push((name, keys));
            }
        }
        all
    }

    fn attributes_by_name(&self) -> Vec<(Cow<'a, str>, Value<'a>)> {
        let is_there = |value: &&Value<'a>| !matches!(value, Value::Null);
        let mut all = Vec::new();
        for (name, range) in &self.shape.attributes {
            let value = self.values[range.clone()].iter().flatten().find(is_there);
            all.extend(value.map(|value| (Cow::Owned(name.clone()), *value)));
        }
        all.extend(
            self.members(&self.shape.attribute_roots).into_iter().filter(|(_, v)| is_there(&v)),
        );
        all
    }

    /// Members of the objects among the candidates; of several with one name in one object the last, of several objects the first.
    fn members(&self, range: &Range<usize>) -> Vec<(Cow<'a, str>, Value<'a>)> {
        let mut all: Vec<(Cow<'a, str>, Value<'a>)> = Vec::new();
        for value in self.values[range.clone()].iter().flatten() {
            let Value::Object(members) = value else { continue };
            let first = all.len();
            for (name, value) in members.map_while(Result::ok) {
                let Ok(name) = name.read() else { continue };
                match all.iter().position(|(known, _)| *known == name) {
                    Some(at) if at >= first => all[at].1 = value,
                    Some(_) => {}
                    None => all.push((name, value)),
                }
            }
        }
        all
    }
}
