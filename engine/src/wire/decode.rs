//! Bytes to events and labels.

mod native;

use super::mapping::{Mapping, MappingConfig, TsUnit};
use super::{Reject, RejectCode, Vocabulary};
use crate::limits::{ENTITIES_PER_EVENT_MAX, KEY_BYTES_MAX, MESSAGE_BYTES_MAX, TS_MS_MAX};
use compact_str::{CompactString, format_compact};
use features::event::{Attributes, EntityRef, Event, KindId, Label, Verdict};
use native::ObjectSeed;
use serde::de::DeserializeSeed;
use serde_json::Value;
use smallvec::{SmallVec, smallvec};

/// Reads messages in the contract's form, or in another one through a mapping.
#[derive(Clone, Debug)]
pub struct Decoder {
    words: Vocabulary,
    mapping: Option<Mapping>,
}

impl Decoder {
    /// A decoder for the declared names.
    pub fn new(words: Vocabulary, mapping: &MappingConfig) -> Self {
        Self { words, mapping: (!mapping.is_native()).then(|| mapping.resolve()) }
    }

    /// The declared names.
    pub fn words(&self) -> &Vocabulary {
        &self.words
    }

    /// Reads an event; `default_id` is the id of an event that brings none (topic-partition-offset).
    /// About 1 us for 300 bytes.
    ///
    /// # Errors
    /// A [`Reject`] that says why.
    pub fn event(
        &self,
        bytes: &[u8],
        default_id: impl FnOnce() -> CompactString,
    ) -> Result<Event, Reject> {
        let raw = match &self.mapping {
            None => self.native(bytes, false)?,
            Some(mapping) => self.mapped(bytes, mapping)?,
        };
        let account = required(raw.account, "account")?;
        let ts_ms = raw.ts_ms.ok_or_else(|| missing("ts"))?;
        if raw.event_type.is_none() {
            return Err(missing("type"));
        }
        Ok(Event {
            event_id: match raw.event_id {
                Some(id) if !id.is_empty() => id,
                _ => default_id(),
            },
            ts_ms,
            type_id: self.words.type_id(raw.event_type.as_deref().unwrap_or_default()),
            account,
            target: raw.target.filter(|t| !t.is_empty() && self.words.reads_target()),
            entities: raw.entities,
            attributes: raw.attributes,
        })
    }

    /// Reads a label, or the order to erase an account.
    ///
    /// # Errors
    /// A [`Reject`] that says why.
    pub fn label(&self, bytes: &[u8]) -> Result<Label, Reject> {
        let raw = self.native(bytes, true)?;
        let account = raw.account.filter(|a| !a.is_empty());
        let event_id = raw.event_id.filter(|e| !e.is_empty());
        let ts_ms = raw.ts_ms.ok_or_else(|| missing("ts"))?;
        let erase = raw.event_type.as_deref() == Some("erase");
        let verdict = match (erase, raw.label) {
            (true, _) => Verdict::Erase,
            (false, Some(1)) => Verdict::Bad,
            (false, Some(0)) => Verdict::Good,
            (false, Some(_)) => {
                return Err(Reject::new(RejectCode::WrongType, "label must be 0 or 1"));
            }
            (false, None) => return Err(missing("label")),
        };
        if erase && account.is_none() {
            return Err(missing("account"));
        }
        if account.is_none() && event_id.is_none() {
            return Err(Reject::new(
                RejectCode::MissingField,
                "a label needs an account or an event_id",
            ));
        }
        Ok(Label {
            account,
            event_id,
            verdict,
            ts_ms,
            confidence: raw.confidence.unwrap_or(1.0),
            entities: raw.entities,
        })
    }

    fn native(&self, bytes: &[u8], is_label: bool) -> Result<Raw, Reject> {
        check_size(bytes)?;
        let mut raw = Raw::new(self.words.slots());
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let read = ObjectSeed { words: &self.words, raw: &mut raw, is_label }
            .deserialize(&mut json)
            .and_then(|()| json.end());
        match (read, raw.reject.take()) {
            (_, Some(reject)) => Err(reject),
            (Ok(()), None) => Ok(raw),
            (Err(error), None) => Err(syntax(bytes, &error)),
        }
    }

    fn mapped(&self, bytes: &[u8], mapping: &Mapping) -> Result<Raw, Reject> {
        check_size(bytes)?;
        let value: Value = serde_json::from_slice(bytes).map_err(|e| syntax(bytes, &e))?;
        if !value.is_object() {
            return Err(Reject::new(RejectCode::NotAnObject, "a message must be a JSON object"));
        }
        let find = |pointers: &[String]| {
            pointers.iter().find_map(|p| value.pointer(p).filter(|v| !v.is_null()))
        };
        let mut raw = Raw::new(self.words.slots());
        raw.event_id = find(&mapping.event_id).map(|v| text_of(v, "event_id")).transpose()?;
        raw.event_type = find(&mapping.event_type).map(|v| text_of(v, "type")).transpose()?;
        raw.account = find(&mapping.account).map(|v| text_of(v, "account")).transpose()?;
        raw.target = find(&mapping.target).map(|v| text_of(v, "target")).transpose()?;
        raw.ts_ms = find(&mapping.ts)
            .map(|v| match v {
                Value::Number(n) => number_ts(n.as_f64().unwrap_or(-1.0), mapping.ts_unit),
                Value::String(s) => text_ts(s),
                _ => Err(wrong("ts", "a number or an RFC 3339 text")),
            })
            .transpose()?;
        for (kind, pointer) in &mapping.entities {
            if let (Some(kind), Some(v)) = (self.words.kind_id(kind), value.pointer(pointer)) {
                raw.entity_value(kind, v)?;
            }
        }
        if mapping.entities.is_empty() {
            for members in mapping.entity_roots.iter().filter_map(|p| value.pointer(p)?.as_object())
            {
                for (name, v) in members {
                    if let Some(kind) = self.words.kind_id(name) {
                        raw.entity_value(kind, v)?;
                    }
                }
            }
        }
        for (name, pointer) in &mapping.attributes {
            if let (Some(slot), Some(v)) = (self.words.slot(name), value.pointer(pointer)) {
                raw.attributes[slot] = self.attribute_value(slot, v);
            }
        }
        if mapping.attributes.is_empty() {
            for members in
                mapping.attribute_roots.iter().filter_map(|p| value.pointer(p)?.as_object())
            {
                for (name, v) in members {
                    if let Some(slot) = self.words.slot(name) {
                        raw.attributes[slot] = self.attribute_value(slot, v);
                    }
                }
            }
        }
        Ok(raw)
    }

    fn attribute_value(&self, slot: usize, value: &Value) -> f32 {
        match value {
            Value::Number(n) => n.as_f64().map_or(f32::NAN, |v| self.words.number(slot, v)),
            Value::Bool(b) => self.words.boolean(slot, *b),
            Value::String(s) => self.words.text(slot, s),
            _ => f32::NAN,
        }
    }
}

fn check_size(bytes: &[u8]) -> Result<(), Reject> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        let detail = format!("{} bytes; at most {MESSAGE_BYTES_MAX} are read", bytes.len());
        return Err(Reject::new(RejectCode::TooLarge, detail));
    }
    Ok(())
}

fn syntax(bytes: &[u8], error: &serde_json::Error) -> Reject {
    if std::str::from_utf8(bytes).is_err() {
        return Reject::new(RejectCode::NotUtf8, "the message is not UTF-8");
    }
    let at = format!("at line {} column {}", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => {
            Reject::new(RejectCode::NotAnObject, "a message must be a JSON object")
        }
        serde_json::error::Category::Eof => {
            Reject::new(RejectCode::NotJson, format!("cut off {at}"))
        }
        _ => Reject::new(RejectCode::NotJson, format!("not valid JSON {at}")),
    }
}

fn missing(field: &str) -> Reject {
    Reject::new(RejectCode::MissingField, format!("{field} is required"))
}

fn wrong(field: &str, expected: &str) -> Reject {
    Reject::new(RejectCode::WrongType, format!("{field} must be {expected}"))
}

fn required(text: Option<CompactString>, field: &str) -> Result<CompactString, Reject> {
    match text {
        None => Err(missing(field)),
        Some(t) if t.is_empty() => Err(Reject::new(RejectCode::Empty, format!("{field} is empty"))),
        Some(t) => Ok(t),
    }
}

fn capped(text: &str, field: &str) -> Result<CompactString, Reject> {
    if text.len() > KEY_BYTES_MAX {
        let detail = format!("{field} has {} bytes; at most {KEY_BYTES_MAX} are kept", text.len());
        return Err(Reject::new(RejectCode::TextTooLong, detail));
    }
    Ok(CompactString::new(text))
}

fn text_of(value: &Value, field: &str) -> Result<CompactString, Reject> {
    match value {
        Value::String(s) => capped(s, field),
        Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(v), _, _) => Ok(format_compact!("{v}")),
            (_, Some(v), _) => Ok(format_compact!("{v}")),
            (_, _, v) => number_text(v.unwrap_or(f64::NAN), field),
        },
        _ => Err(wrong(field, "text")),
    }
}

/// A number that is a key, as text. Beyond 2^53 different keys would become one.
fn number_text(value: f64, field: &str) -> Result<CompactString, Reject> {
    if value.abs() <= 9_007_199_254_740_992.0 {
        return capped(&format_compact!("{value}"), field);
    }
    Err(wrong(field, "text: as a number this long it is not exact"))
}

fn number_ts(value: f64, unit: TsUnit) -> Result<i64, Reject> {
    let ms = match unit {
        TsUnit::Ms => value,
        TsUnit::S => value * 1e3,
        TsUnit::Us => value / 1e3,
        TsUnit::Ns => value / 1e6,
    };
    check_ts(if ms.is_finite() { ms.floor() as i64 } else { -1 })
}

fn check_ts(ms: i64) -> Result<i64, Reject> {
    if (0..=TS_MS_MAX).contains(&ms) {
        Ok(ms)
    } else {
        let detail = "ts must be milliseconds from 1970 to the year 9999; is the unit right?";
        Err(Reject::new(RejectCode::BadTs, detail))
    }
}

fn text_ts(text: &str) -> Result<i64, Reject> {
    match text.parse::<jiff::Timestamp>() {
        Ok(ts) => check_ts(ts.as_millisecond()),
        Err(_) => Err(Reject::new(
            RejectCode::BadTs,
            "ts is a text but not RFC 3339, as in 2026-01-31T12:00:00Z",
        )),
    }
}

/// What a message holds, before it is known to be an event or a label.
struct Raw {
    event_id: Option<CompactString>,
    ts_ms: Option<i64>,
    event_type: Option<CompactString>,
    account: Option<CompactString>,
    target: Option<CompactString>,
    entities: SmallVec<[EntityRef; 4]>,
    attributes: Attributes,
    label: Option<i64>,
    confidence: Option<f32>,
    /// Found inside the parser, where only its own error type can travel.
    reject: Option<Reject>,
}

impl Raw {
    fn new(slots: usize) -> Self {
        Self {
            event_id: None,
            ts_ms: None,
            event_type: None,
            account: None,
            target: None,
            entities: SmallVec::new(),
            attributes: smallvec![f32::NAN; slots],
            label: None,
            confidence: None,
            reject: None,
        }
    }

    fn entity(&mut self, kind: KindId, key: CompactString) -> Result<(), Reject> {
        if key.is_empty() || self.entities.iter().any(|e| e.kind == kind && e.key == key) {
            return Ok(());
        }
        if self.entities.len() == ENTITIES_PER_EVENT_MAX {
            let detail = format!("an event names at most {ENTITIES_PER_EVENT_MAX} entities");
            return Err(Reject::new(RejectCode::TooManyEntities, detail));
        }
        self.entities.push(EntityRef { kind, key });
        Ok(())
    }

    fn entity_value(&mut self, kind: KindId, value: &Value) -> Result<(), Reject> {
        match value {
            Value::Null => Ok(()),
            Value::Array(list) => list.iter().try_for_each(|v| self.entity_value(kind, v)),
            Value::String(_) | Value::Number(_) => {
                let key = text_of(value, "an entity key")?;
                self.entity(kind, key)
            }
            _ => Err(wrong("an entity key", "text, or a list of texts")),
        }
    }
}
