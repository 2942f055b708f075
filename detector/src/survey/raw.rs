//! Events and labels as they stand in a file, read leniently: a survey wants to see what is there
//! before anything has been declared.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Any JSON value, borrowing its text from the line where it can.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Field<'a> {
    /// Absent, or null.
    #[default]
    Absent,
    /// true or false.
    Boolean(bool),
    /// A whole number.
    Whole(i64),
    /// Any other number.
    Number(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Field<'a>>),
    /// An object, in the order of the line.
    Map(Vec<(Cow<'a, str>, Field<'a>)>),
}

/// An event in the form of the contract.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawEvent<'a> {
    /// The platform's id of the event.
    #[serde(borrow)]
    pub event_id: Field<'a>,
    /// When: epoch milliseconds or RFC 3339 text.
    pub ts: Field<'a>,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: Field<'a>,
    /// Who did it.
    pub account: Field<'a>,
    /// The account acted upon.
    pub target: Field<'a>,
    /// Kind -> key, or kind -> list of keys.
    pub entities: Field<'a>,
    /// Numbers, booleans and texts about this event.
    pub attributes: Field<'a>,
}

/// A label in the form of the contract.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawLabel<'a> {
    /// The account it speaks of.
    #[serde(borrow)]
    pub account: Field<'a>,
    /// The event it speaks of.
    pub event_id: Field<'a>,
    /// 1 bad, 0 good.
    pub label: Field<'a>,
    /// When it became known: epoch milliseconds or RFC 3339 text.
    pub ts: Field<'a>,
    /// `erase` is not a label.
    #[serde(rename = "type")]
    pub kind: Field<'a>,
}

impl<'a> Field<'a> {
    /// A key or a name: text that is not empty, or a whole number written out.
    pub fn key(&self) -> Option<Cow<'_, str>> {
        match self {
            Field::Text(text) if !text.is_empty() => Some(Cow::Borrowed(text)),
            Field::Whole(number) => Some(Cow::Owned(number.to_string())),
            _ => None,
        }
    }

    /// A moment in milliseconds since the epoch: a number, or RFC 3339 text. Negative is none.
    pub fn moment_ms(&self) -> Option<i64> {
        let ms = match self {
            Field::Whole(ms) => *ms,
            Field::Number(ms) if ms.is_finite() && *ms < 9.0e18 => ms.floor() as i64,
            Field::Text(text) => text.parse::<jiff::Timestamp>().ok()?.as_millisecond(),
            _ => return None,
        };
        (ms >= 0).then_some(ms)
    }

    /// 1, true and the text of them are bad; 0, false likewise good; anything else is none.
    pub fn verdict(&self) -> Option<bool> {
        match self {
            Field::Boolean(bad) => Some(*bad),
            Field::Whole(1) => Some(true),
            Field::Whole(0) => Some(false),
            Field::Number(1.0) => Some(true),
            Field::Number(0.0) => Some(false),
            Field::Text(text) => match text.as_ref() {
                "1" | "true" => Some(true),
                "0" | "false" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// The fields of an object; of anything else, none.
    pub fn fields(&self) -> &[(Cow<'a, str>, Field<'a>)] {
        match self {
            Field::Map(fields) => fields,
            _ => &[],
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Absent)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Field::Boolean(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Field::Whole(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Field::Number(value as f64), Field::Whole))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Field::Number(value))
    }
    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Borrowed(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Owned(value.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = list.next_element()? {
            fields.push(field);
        }
        Ok(Field::List(fields))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(map.size_hint().unwrap_or(0));
        while let Some((name, field)) = map.next_entry::<Name<'de>, Field<'de>>()? {
            fields.push((name.0, field));
        }
        Ok(Field::Map(fields))
    }
}

struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Field::deserialize(deserializer)? {
            Field::Text(text) => Ok(Name(text)),
            _ => Err(serde::de::Error::custom("a name that is not text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_contract_leniently() {
        let line = r#"{"event_id":7,"ts":"1970-01-01T00:00:02Z","type":"message","account":"u\u0041","extra":{"a":[1]},
            "entities":{"ip":["a","b"],"n":null},"attributes":{"amount":1.5,"big":18446744073709551615}}"#;
        let event: RawEvent<'_> = serde_json::from_str(line).expect("readable");
        assert_eq!(event.ts.moment_ms(), Some(2000));
        assert_eq!(event.event_id.key().as_deref(), Some("7"));
        assert_eq!(event.account.key().as_deref(), Some("uA"));
        assert_eq!(event.target, Field::Absent);
        assert_eq!(event.entities.fields().len(), 2);
        assert_eq!(event.attributes.fields()[0].1, Field::Number(1.5));
    }

    #[test]
    fn moments_and_verdicts() {
        let cases = [
            ("0", Some(0), Some(false)),
            ("1.0", Some(1), Some(true)),
            ("1522540831000.7", Some(1_522_540_831_000), None),
            ("-5", None, None),
            ("\"2018-04-01T00:00:31Z\"", Some(1_522_540_831_000), None),
            ("\"2018-04-01T02:00:31+02:00\"", Some(1_522_540_831_000), None),
            ("\"yesterday\"", None, None),
            ("true", None, Some(true)),
            ("null", None, None),
            ("1e300", None, None),
        ];
        for (text, moment, verdict) in cases {
            let field: Field<'_> = serde_json::from_str(text).expect("readable");
            assert_eq!((field.moment_ms(), field.verdict()), (moment, verdict), "{text}");
        }
    }
}
