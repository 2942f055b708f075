//! Bytes to events and labels: one way for every shape. `ts` and `account` have to be readable; any other field that is not, is absent
//! and counted.

mod entities;

use super::fault::{Fault, Faults, Field};
use super::json::Value;
use super::mapping::MappingConfig;
use super::moment::{Moments, NoMoment};
use super::read::{self, Key};
use super::shape::{Found, Places, Shape};
use super::{Reject, RejectCode, Vocabulary};
use compact_str::CompactString;
use features::config::TimeUnit;
use features::event::{Attributes, Event, KindId, Label, TypeId, Verdict};
use smallvec::smallvec;
use std::borrow::Cow;
use std::ops::Range;

/// Reads messages in the contract's form, or in another one through a mapping.
#[derive(Clone, Debug)]
pub struct Decoder {
    words: Vocabulary,
    events: Shape,
    labels: Shape,
    /// The kinds of `events.entities`, and the slots of `events.attributes`; `None` where nothing is declared.
    kinds: Vec<Option<KindId>>,
    slots: Vec<Option<usize>>,
}

impl Decoder {
    /// A decoder for the declared names.
    pub fn new(words: Vocabulary, mapping: &MappingConfig) -> Self {
        let mut events = mapping.shape();
        let kinds: Vec<_> = events.entities.iter().map(|(name, _)| words.kind_id(name)).collect();
        let slots: Vec<_> = events.attributes.iter().map(|(name, _)| words.slot(name)).collect();
        for (at, kind) in kinds.iter().enumerate() {
            if let Some(kind) = kind {
                events.name_fields(events.entities[at].1.clone(), Field::Kind(*kind));
            }
        }
        for (at, slot) in slots.iter().enumerate() {
            if let Some(slot) = slot {
                events.name_fields(events.attributes[at].1.clone(), Field::Attribute(*slot as u16));
            }
        }
        Self { words, events, labels: label_shape(), kinds, slots }
    }

    /// The declared names.
    pub fn words(&self) -> &Vocabulary {
        &self.words
    }

    /// Reads an event; `default_id` is the id of an event that brings none (topic-partition-offset).
    /// About 1 us for 300 bytes.
    ///
    /// # Errors
    /// A [`Reject`] that says why: no object, or no readable `ts` or `account`.
    pub fn event(
        &self,
        bytes: &[u8],
        default_id: impl FnOnce() -> CompactString,
    ) -> Result<Event, Reject> {
        self.count_event(bytes, default_id, &mut Faults::default())
    }

    /// As [`Self::event`], counting what could not be read of it.
    ///
    /// # Errors
    /// As [`Self::event`].
    pub fn count_event(
        &self,
        bytes: &[u8],
        default_id: impl FnOnce() -> CompactString,
        faults: &mut Faults,
    ) -> Result<Event, Reject> {
        let shape = &self.events;
        let read = self.events.read(bytes, faults, |found, faults| {
            let account = found.account(faults)?;
            let ts_ms = found.ts_ms(self.words.moments(shape.ts_unit), faults)?;
            let event_id = found.key(&shape.event_id, faults).unwrap_or_else(default_id);
            let target =
                if self.words.reads_target() { found.key(&shape.target, faults) } else { None };
            let (type_id, undeclared_type) = self.event_type(&found, faults);
            let (entities, partial_kinds) =
                entities::read(&found, &self.words, &self.kinds, faults);
            Ok(Event {
                event_id,
                ts_ms,
                said_ms: ts_ms,
                type_id,
                undeclared_type,
                account,
                target,
                entities,
                partial_kinds,
                attributes: self.attributes(&found, ts_ms, faults),
            })
        });
        read.inspect_err(|_| faults.forget())
    }

    /// Reads a label, or the order to erase an account.
    ///
    /// # Errors
    /// A [`Reject`] that says why.
    pub fn label(&self, bytes: &[u8]) -> Result<Label, Reject> {
        self.count_label(bytes, &mut Faults::default())
    }

    /// As [`Self::label`], counting what could not be read of it.
    ///
    /// # Errors
    /// As [`Self::label`].
    pub fn count_label(&self, bytes: &[u8], faults: &mut Faults) -> Result<Label, Reject> {
        let read = self.labels.read(bytes, faults, |found, faults| {
            let (entities, _) = entities::read(&found, &self.words, &[], faults);
            let LabelHead { account, event_id, verdict, ts_ms, confidence } =
                found.label_head(self.words.moments(TimeUnit::Ms), faults)?;
            Ok(Label { account, event_id, verdict, ts_ms, confidence, entities })
        });
        read.inspect_err(|_| faults.forget())
    }

    /// The id of the type, and its name where it is not declared; a type that is absent or cannot be read is an undeclared one.
    fn event_type(
        &self,
        found: &Found<'_, '_>,
        faults: &mut Faults,
    ) -> (TypeId, Option<CompactString>) {
        let Some(name) = found.event_type(faults) else { return (TypeId::OTHER, None) };
        let id = self.words.type_id(&name);
        (id, (id == TypeId::OTHER).then(|| read::kept_key(&name).into()))
    }

    fn attributes(&self, found: &Found<'_, '_>, ts_ms: i64, faults: &mut Faults) -> Attributes {
        let mut attributes: Attributes = smallvec![f32::NAN; self.words.slots()];
        for ((_, range), slot) in found.shape.attributes.iter().zip(&self.slots) {
            let Some(slot) = *slot else { continue };
            let value = found.first(range, faults, |value| {
                let value = self.words.value(slot, value, ts_ms)?;
                Ok(Some(value).filter(|value| !value.is_nan()))
            });
            if let Ok(Some(value)) = value {
                attributes[slot] = value;
            }
        }
        // Of several roots the first that has a readable value counts, so the last is taken first.
        for place in found.shape.attribute_roots.clone().rev() {
            let members = match found.values[place] {
                None | Some(Value::Null) => continue,
                Some(Value::Object(members)) => members,
                // Its JSON has been opened, if it holds any.
                Some(_) => {
                    faults.add(Field::Attributes, Fault::WrongType);
                    continue;
                }
            };
            let mut seen = [0u64; 2];
            for member in members {
                let Ok((name, value)) = member else {
                    faults.add(Field::Attributes, Fault::Malformed);
                    break;
                };
                let Some(slot) = name.read().ok().and_then(|name| self.words.slot(&name)) else {
                    continue;
                };
                let field = Field::Attribute(slot as u16);
                let again = seen.get_mut(slot / 64).is_some_and(|seen| {
                    let before = *seen;
                    *seen |= 1 << (slot % 64);
                    before == *seen
                });
                if again {
                    attributes[slot] = f32::NAN;
                    faults.add(field, Fault::Duplicate);
                }
                match self.words.value(slot, &value, ts_ms) {
                    Ok(value) if value.is_nan() => {}
                    Ok(value) => attributes[slot] = value,
                    Err(fault) => faults.add(field, fault),
                }
            }
        }
        attributes
    }
}

/// The keys of a value: it is one, or a list of them.
pub(super) fn keys(value: Value<'_>) -> Vec<CompactString> {
    entities::Keys::of(value).filter_map(|key| Some(key.ok()?.0)).collect()
}

/// Where a label has its fields: labels have one form.
pub(super) fn label_shape() -> Shape {
    let one = |pointer: &str| vec![pointer.to_owned()];
    Shape::new(Places {
        event_id: one("/event_id"),
        ts: one("/ts"),
        event_type: one("/type"),
        account: one("/account"),
        entity_roots: one("/entities"),
        label: one("/label"),
        confidence: one("/confidence"),
        ..Places::default()
    })
}

/// A label without its entities.
pub(super) struct LabelHead {
    pub account: Option<CompactString>,
    pub event_id: Option<CompactString>,
    pub verdict: Verdict,
    pub ts_ms: i64,
    pub confidence: f32,
}

impl<'a> Found<'_, 'a> {
    /// The first candidate that is there and can be read. `Err`: some are there, and none can be read; the first one's reason.
    fn first<T>(
        &self,
        range: &Range<usize>,
        faults: &mut Faults,
        read: impl Fn(&Value<'a>) -> Result<Option<T>, Fault>,
    ) -> Result<Option<T>, Fault> {
        let mut failed = None;
        for place in range.clone() {
            let Some(value) = &self.values[place] else { continue };
            match read(value) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(fault) => {
                    faults.add(self.shape.field(place), fault);
                    failed.get_or_insert(fault);
                }
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// The first candidate that is a key.
    pub(super) fn key(&self, range: &Range<usize>, faults: &mut Faults) -> Option<CompactString> {
        let (key, shortened) = self.first(range, faults, read::key).ok().flatten()?;
        if shortened {
            faults.add(self.shape.field(range.start), Fault::TooLong);
        }
        Some(key)
    }

    pub(super) fn account(&self, faults: &mut Faults) -> Result<CompactString, Reject> {
        let range = &self.shape.account;
        let (key, shortened): Key = match self.first(range, faults, read::key) {
            Ok(Some(key)) => key,
            Ok(None) => return Err(self.missing(range, "account")),
            Err(fault) => return Err(unreadable("account", "a text or a number", fault)),
        };
        if shortened {
            faults.add(Field::Account, Fault::TooLong);
        }
        Ok(key)
    }

    /// The type's name, if it is there and can be read.
    pub(super) fn event_type(&self, faults: &mut Faults) -> Option<Cow<'a, str>> {
        let read = self.first(&self.shape.event_type, faults, read::text);
        if matches!(read, Ok(None)) {
            faults.add(Field::Type, Fault::Missing);
        }
        read.ok().flatten()
    }

    pub(super) fn ts_ms(&self, moments: Moments, faults: &mut Faults) -> Result<i64, Reject> {
        let mut failed = None;
        for place in self.shape.ts.clone() {
            let Some(value) = &self.values[place] else { continue };
            match moments.read(value) {
                Ok(None) => {}
                Ok(Some(ts_ms)) => return Ok(ts_ms),
                Err(why) => {
                    faults.add(Field::Ts, why.into());
                    failed.get_or_insert(why);
                }
            }
        }
        Err(failed.map_or_else(|| self.missing(&self.shape.ts, "ts"), no_moment))
    }

    pub(super) fn label_head(
        &self,
        moments: Moments,
        faults: &mut Faults,
    ) -> Result<LabelHead, Reject> {
        let shape = self.shape;
        let account = self.key(&shape.account, faults);
        let event_id = self.key(&shape.event_id, faults);
        let ts_ms = self.ts_ms(moments, faults)?;
        let kind = self.first(&shape.event_type, faults, read::text);
        let verdict = if kind.is_ok_and(|kind| kind.as_deref() == Some("erase")) {
            Verdict::Erase
        } else {
            match self.first(&shape.label, faults, read::verdict) {
                Ok(Some(true)) => Verdict::Bad,
                Ok(Some(false)) => Verdict::Good,
                Ok(None) => return Err(missing("label")),
                Err(fault) => return Err(unreadable("label", "1 (bad) or 0 (good)", fault)),
            }
        };
        if account.is_none() && (verdict == Verdict::Erase || event_id.is_none()) {
            let detail = match verdict {
                Verdict::Erase => "account is required",
                _ => "a label needs an account or an event_id",
            };
            return Err(Reject::new(RejectCode::MissingField, detail));
        }
        let confidence = match self.first(&shape.confidence, faults, read::confidence) {
            Ok(confidence) => confidence.unwrap_or(1.0),
            Err(fault) => return Err(unreadable("confidence", "a number from 0 to 1", fault)),
        };
        Ok(LabelHead { account, event_id, verdict, ts_ms, confidence })
    }

    /// Nothing is there, or what is there is empty.
    fn missing(&self, range: &Range<usize>, field: &str) -> Reject {
        let is_text = |value: &Option<Value<'_>>| matches!(value, Some(Value::Text(_)));
        if self.values[range.clone()].iter().any(is_text) {
            return Reject::new(RejectCode::Empty, format!("{field} is empty"));
        }
        missing(field)
    }
}

fn missing(field: &str) -> Reject {
    Reject::new(RejectCode::MissingField, format!("{field} is required"))
}

/// A field that has to be readable, and is not.
fn unreadable(field: &str, expected: &str, fault: Fault) -> Reject {
    match fault {
        Fault::BadText => Reject::new(
            RejectCode::BadText,
            format!("{field} is a text that cannot be read: not UTF-8, or a broken escape"),
        ),
        Fault::BadValue | Fault::OutOfRange => {
            Reject::new(RejectCode::BadValue, format!("{field} must be {expected}"))
        }
        _ => Reject::new(RejectCode::WrongType, format!("{field} must be {expected}")),
    }
}

fn no_moment(why: NoMoment) -> Reject {
    let (code, detail) = match why {
        NoMoment::WrongType => (RejectCode::WrongType, "ts must be a number or an RFC 3339 text"),
        NoMoment::BadText => return unreadable("ts", "", Fault::BadText),
        NoMoment::NotATime => {
            (RejectCode::BadTs, "ts is neither a number nor RFC 3339, as in 2026-01-31T12:00:00Z")
        }
        NoMoment::NoOffset => (
            RejectCode::BadTs,
            "ts has no offset from UTC (the Z or +01:00 at the end of 2026-01-31T12:00:00Z)\nhint: set time.assume_offset, to \"0h\" if these times are UTC",
        ),
        NoMoment::OutOfRange => (
            RejectCode::BadTs,
            "ts must be milliseconds from 1970 to the year 9999; is the unit right?\nhint: mapping.ts_unit sets it: s, ms, us or ns",
        ),
    };
    Reject::new(code, detail)
}
