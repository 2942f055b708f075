//! The contract's own form, read in one pass over the bytes without a tree in between. Other forms go through a mapping, one folder up.

use super::{Raw, capped, check_ts, number_text, number_ts, text_ts, wrong};
use crate::wire::mapping::TsUnit;
use crate::wire::{Reject, Vocabulary};
use compact_str::{CompactString, format_compact};
use features::event::KindId;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A scalar of any type, borrowed where possible.
enum Scalar<'de> {
    Null,
    Number(f64),
    Integer(i64),
    /// Beyond `i64`.
    Large(u64),
    Bool(bool),
    Text(Cow<'de, str>),
    List,
    Object,
}

impl Scalar<'_> {
    fn text(self, field: &str) -> Result<Option<CompactString>, Reject> {
        match self {
            Scalar::Null => Ok(None),
            Scalar::Text(t) => capped(&t, field).map(Some),
            Scalar::Integer(i) => Ok(Some(format_compact!("{i}"))),
            Scalar::Large(i) => Ok(Some(format_compact!("{i}"))),
            Scalar::Number(n) => number_text(n, field).map(Some),
            _ => Err(wrong(field, "text")),
        }
    }
}

struct ScalarSeed;

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar<'de>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Scalar<'de>, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar<'de>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Integer(v))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Scalar<'de>, E> {
        Ok(i64::try_from(v).map_or(Scalar::Large(v), Scalar::Integer))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(v))
    }
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(v)))
    }
    fn visit_str<E>(self, v: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(v.to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::List)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Object)
    }
}

/// A field name, borrowed where possible.
struct Name<'de>(Cow<'de, str>);

impl<'de> de::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(v.to_owned())))
            }
        }
        d.deserialize_str(NameVisitor)
    }
}

/// Reads a message into [`Raw`].
pub(super) struct ObjectSeed<'a> {
    pub(super) words: &'a Vocabulary,
    pub(super) raw: &'a mut Raw,
    /// Each form ignores the fields that only the other one has, whatever they hold.
    pub(super) is_label: bool,
}

/// Ends parsing; the reject itself waits in [`Raw::reject`].
fn stop<E: de::Error>(raw: &mut Raw, reject: Reject) -> E {
    raw.reject.get_or_insert(reject);
    E::custom("rejected")
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { words, raw, is_label } = self;
        while let Some(Name(name)) = map.next_key()? {
            match name.as_ref() {
                "entities" => {
                    map.next_value_seed(EntitiesSeed { words, raw })?;
                    continue;
                }
                "attributes" if !is_label => {
                    map.next_value_seed(AttributesSeed { words, raw })?;
                    continue;
                }
                "event_id" | "ts" | "type" | "account" => {}
                "target" if !is_label => {}
                "label" | "confidence" if is_label => {}
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            }
            let value = map.next_value_seed(ScalarSeed)?;
            let read = match name.as_ref() {
                "event_id" => value.text("event_id").map(|v| raw.event_id = v),
                "type" => value.text("type").map(|v| raw.event_type = v),
                "account" => value.text("account").map(|v| raw.account = v),
                "target" => value.text("target").map(|v| raw.target = v),
                "ts" => match value {
                    Scalar::Integer(ms) => check_ts(ms).map(|ms| raw.ts_ms = Some(ms)),
                    Scalar::Number(ms) => number_ts(ms, TsUnit::Ms).map(|ms| raw.ts_ms = Some(ms)),
                    Scalar::Large(_) => check_ts(i64::MAX).map(|ms| raw.ts_ms = Some(ms)),
                    Scalar::Text(t) => text_ts(&t).map(|ms| raw.ts_ms = Some(ms)),
                    Scalar::Null => Ok(()),
                    _ => Err(wrong("ts", "a number or an RFC 3339 text")),
                },
                "label" => match value {
                    Scalar::Integer(v) => {
                        raw.label = Some(v);
                        Ok(())
                    }
                    Scalar::Bool(v) => {
                        raw.label = Some(i64::from(v));
                        Ok(())
                    }
                    Scalar::Number(v) if v == 0.0 || v == 1.0 => {
                        raw.label = Some(v as i64);
                        Ok(())
                    }
                    Scalar::Null => Ok(()),
                    _ => Err(wrong("label", "0 or 1")),
                },
                _ => match value {
                    Scalar::Integer(v) => {
                        raw.confidence = Some((v as f32).clamp(0.0, 1.0));
                        Ok(())
                    }
                    Scalar::Number(v) => {
                        raw.confidence = Some((v as f32).clamp(0.0, 1.0));
                        Ok(())
                    }
                    Scalar::Null => Ok(()),
                    _ => Err(wrong("confidence", "a number from 0 to 1")),
                },
            };
            read.map_err(|reject| stop::<A::Error>(raw, reject))?;
        }
        Ok(())
    }
}

struct EntitiesSeed<'a> {
    words: &'a Vocabulary,
    raw: &'a mut Raw,
}

impl<'de> DeserializeSeed<'de> for EntitiesSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EntitiesSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of entities")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Err(stop(self.raw, wrong("entities", "an object: kind -> key or list of keys")))
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.visit_str("")
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.visit_str("")
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.visit_str("")
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.visit_str("")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.visit_str("")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { words, raw } = self;
        while let Some(Name(name)) = map.next_key()? {
            match words.kind_id(&name) {
                Some(kind) => map.next_value_seed(KeysSeed { kind, raw })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// One key, or a list of keys.
struct KeysSeed<'a> {
    kind: KindId,
    raw: &'a mut Raw,
}

impl KeysSeed<'_> {
    fn key<E: de::Error>(self, key: Result<CompactString, Reject>) -> Result<(), E> {
        let Self { kind, raw } = self;
        key.and_then(|key| raw.entity(kind, key)).map_err(|reject| stop(raw, reject))
    }
}

impl<'de> DeserializeSeed<'de> for KeysSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeysSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key or a list of keys")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<(), E> {
        self.key(capped(v, "an entity key"))
    }
    fn visit_i64<E: de::Error>(self, v: i64) -> Result<(), E> {
        self.key(Ok(format_compact!("{v}")))
    }
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<(), E> {
        self.key(Ok(format_compact!("{v}")))
    }
    fn visit_f64<E: de::Error>(self, v: f64) -> Result<(), E> {
        self.key(number_text(v, "an entity key"))
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.key(Err(wrong("an entity key", "text, or a list of texts")))
    }
    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.key(Err(wrong("an entity key", "text, or a list of texts")))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { kind, raw } = self;
        while let Some(value) = seq.next_element_seed(ScalarSeed)? {
            match value.text("an entity key") {
                Ok(Some(key)) => raw.entity(kind, key).map_err(|reject| stop(raw, reject))?,
                Ok(None) => {}
                Err(reject) => return Err(stop(raw, reject)),
            }
        }
        Ok(())
    }
}

struct AttributesSeed<'a> {
    words: &'a Vocabulary,
    raw: &'a mut Raw,
}

impl<'de> DeserializeSeed<'de> for AttributesSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AttributesSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of attributes")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Err(stop(self.raw, wrong("attributes", "an object: name -> number, boolean or text")))
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.visit_str("")
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.visit_str("")
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.visit_str("")
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.visit_str("")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.visit_str("")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { words, raw } = self;
        while let Some(Name(name)) = map.next_key()? {
            let Some(slot) = words.slot(&name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            raw.attributes[slot] = match map.next_value_seed(ScalarSeed)? {
                Scalar::Number(v) => words.number(slot, v),
                Scalar::Integer(v) => words.number(slot, v as f64),
                Scalar::Large(v) => words.number(slot, v as f64),
                Scalar::Bool(v) => words.boolean(slot, v),
                Scalar::Text(v) => words.text(slot, &v),
                Scalar::Null => f32::NAN,
                Scalar::List | Scalar::Object => {
                    let field = format!("attribute {}", words.attribute(slot));
                    let reject = wrong(&field, "a number, a boolean or a text");
                    return Err(stop(raw, reject));
                }
            };
        }
        Ok(())
    }
}
