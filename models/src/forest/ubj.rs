//! Universal Binary JSON (ubjson.org, draft 12), as XGBoost writes it: big-endian numbers, typed lists.

use std::collections::BTreeMap;

use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{Deserialize, Deserializer, Error as _, IntoDeserializer, Visitor};

use crate::limits::{NESTING_MAX, VALUES_MAX};

/// Reads a value of type `T`.
pub(super) fn from_slice<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    let mut reader = Reader { bytes, at: 0, values_left: VALUES_MAX };
    let marker = reader.marker()?;
    let value = reader.value(marker, 0)?;
    if reader.at != bytes.len() {
        return Err(reader.error("bytes follow the document"));
    }
    T::deserialize(value)
}

/// A parsed value. Numbers of a list stay packed: XGBoost's lists are long.
enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    F32(f32),
    F64(f64),
    Text(&'a str),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    List(Vec<Value<'a>>),
    Map(BTreeMap<&'a str, Value<'a>>),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Values that may still be read one by one.
    values_left: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::custom(format!("byte {}: {what}", self.at))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| self.error(format!("{length} more bytes are missing")))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.error("the file is cut off"))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next marker; no-ops are passed over.
    fn marker(&mut self) -> Result<u8, Error> {
        loop {
            let [marker] = self.array()?;
            if marker != b'N' {
                return Ok(marker);
            }
        }
    }

    fn int(&mut self, marker: u8) -> Result<i64, Error> {
        Ok(match marker {
            b'i' => i64::from(i8::from_be_bytes(self.array()?)),
            b'U' => i64::from(u8::from_be_bytes(self.array()?)),
            b'I' => i64::from(i16::from_be_bytes(self.array()?)),
            b'l' => i64::from(i32::from_be_bytes(self.array()?)),
            b'L' => i64::from_be_bytes(self.array()?),
            other => return Err(self.error(format!("marker {other:#04x} is not a whole number"))),
        })
    }

    fn length(&mut self) -> Result<usize, Error> {
        let marker = self.marker()?;
        let length = self.int(marker)?;
        usize::try_from(length).map_err(|_| self.error(format!("{length} is not a length")))
    }

    fn text(&mut self) -> Result<&'a str, Error> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.error("text is not UTF-8"))
    }

    fn value(&mut self, marker: u8, nesting: usize) -> Result<Value<'a>, Error> {
        if nesting > NESTING_MAX {
            return Err(self.error(format!("nesting is deeper than {NESTING_MAX}")));
        }
        // In memory each takes many times the byte that it may be in the file.
        let Some(left) = self.values_left.checked_sub(1) else {
            return Err(self.error(format!("over {VALUES_MAX} values outside of typed lists")));
        };
        self.values_left = left;
        Ok(match marker {
            b'Z' => Value::Null,
            b'T' => Value::Bool(true),
            b'F' => Value::Bool(false),
            b'i' | b'U' | b'I' | b'l' | b'L' => Value::Int(self.int(marker)?),
            b'd' => Value::F32(f32::from_be_bytes(self.array()?)),
            b'D' => Value::F64(f64::from_be_bytes(self.array()?)),
            b'S' => Value::Text(self.text()?),
            b'[' => self.list(nesting)?,
            b'{' => self.map(nesting)?,
            other => return Err(self.error(format!("marker {other:#04x} is unknown"))),
        })
    }

    fn list(&mut self, nesting: usize) -> Result<Value<'a>, Error> {
        let mut of = None;
        if self.peek() == Some(b'$') {
            self.at += 1;
            let [marker] = self.array()?;
            of = Some(marker);
        }
        let mut length = None;
        if self.peek() == Some(b'#') {
            self.at += 1;
            length = Some(self.length()?);
        }
        match (of, length) {
            (None, None) => {
                let mut items = Vec::new();
                loop {
                    match self.marker()? {
                        b']' => return Ok(Value::List(items)),
                        marker => items.push(self.value(marker, nesting + 1)?),
                    }
                }
            }
            (None, Some(length)) => {
                // Every item takes a byte at least, so a false length runs out of file at once.
                let mut items = Vec::new();
                for _ in 0..length {
                    let marker = self.marker()?;
                    items.push(self.value(marker, nesting + 1)?);
                }
                Ok(Value::List(items))
            }
            (Some(marker), Some(length)) => self.packed(marker, length),
            (Some(_), None) => Err(self.error("a typed list has no length")),
        }
    }

    /// A list of one type of number, whose bytes must all be there before anything is allocated.
    fn packed(&mut self, marker: u8, length: usize) -> Result<Value<'a>, Error> {
        let size = match marker {
            b'i' | b'U' => 1,
            b'I' => 2,
            b'l' | b'd' => 4,
            b'L' | b'D' => 8,
            other => return Err(self.error(format!("a list of type {other:#04x}"))),
        };
        let total = length.checked_mul(size).filter(|&total| total <= self.bytes.len() - self.at);
        if total.is_none() {
            return Err(self.error(format!("a list of {length} numbers is cut off")));
        }
        if marker == b'd' {
            let floats = (0..length).map(|_| Ok(f32::from_be_bytes(self.array()?)));
            return Ok(Value::Floats(floats.collect::<Result<_, Error>>()?));
        }
        if marker == b'D' {
            let floats = (0..length).map(|_| Ok(Value::F64(f64::from_be_bytes(self.array()?))));
            return Ok(Value::List(floats.collect::<Result<_, Error>>()?));
        }
        let ints = (0..length).map(|_| self.int(marker));
        Ok(Value::Ints(ints.collect::<Result<_, Error>>()?))
    }

    fn map(&mut self, nesting: usize) -> Result<Value<'a>, Error> {
        let mut map = BTreeMap::new();
        if matches!(self.peek(), Some(b'$' | b'#')) {
            return Err(self.error("objects with a length are not what XGBoost writes"));
        }
        loop {
            let marker = self.marker()?;
            if marker == b'}' {
                return Ok(Value::Map(map));
            }
            let length = self.int(marker)?;
            let length = usize::try_from(length).map_err(|_| self.error("a key has no length"))?;
            let key = std::str::from_utf8(self.take(length)?)
                .map_err(|_| self.error("a key is not UTF-8"))?;
            let marker = self.marker()?;
            let value = self.value(marker, nesting + 1)?;
            if map.insert(key, value).is_some() {
                return Err(self.error(format!("the key {key:?} stands twice")));
            }
        }
    }
}

impl<'de> IntoDeserializer<'de, Error> for Value<'de> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(flag),
            Value::Int(int) => visitor.visit_i64(int),
            Value::F32(float) => visitor.visit_f32(float),
            Value::F64(float) => visitor.visit_f64(float),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Ints(ints) => visitor.visit_seq(SeqDeserializer::new(ints.into_iter())),
            Value::Floats(floats) => visitor.visit_seq(SeqDeserializer::new(floats.into_iter())),
            Value::List(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter())),
            Value::Map(map) => visitor.visit_map(MapDeserializer::new(map.into_iter())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Value::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::from_slice;

    #[test]
    fn typed_and_untyped_lists_read_alike() {
        let cases: &[&[u8]] = &[
            b"[i\x01i\x02]",
            b"[#i\x02i\x01U\x02",
            b"[$i#i\x02\x01\x02",
            b"[$l#U\x02\0\0\0\x01\0\0\0\x02",
            b"[NI\0\x01L\0\0\0\0\0\0\0\x02]",
        ];
        for bytes in cases {
            assert_eq!(from_slice::<Vec<i64>>(bytes).unwrap(), [1, 2], "{bytes:?}");
        }
        let floats = from_slice::<Vec<f32>>(b"[$d#i\x01\x3f\x80\0\0").unwrap();
        assert_eq!(floats, [1.0]);
    }

    #[test]
    fn what_is_false_is_refused() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "missing"),
            (b"[$l#L\x7f\xff\xff\xff\xff\xff\xff\xff", "cut off"),
            (b"[#L\x7f\xff\xff\xff\xff\xff\xff\xff", "missing"),
            (b"[$Z#l\x7f\xff\xff\xff", "type 0x5a"),
            (b"[$i\x01", "no length"),
            (b"[#i\xff", "not a length"),
            (b"[i\x01]x", "follow"),
            (b"Q", "unknown"),
            (b"SL\x7f\xff\xff\xff\xff\xff\xff\xff", "missing"),
            (b"{i\x01aZi\x01aZ}", "twice"),
        ];
        for (bytes, reason) in cases {
            let error = from_slice::<Vec<i64>>(bytes).expect_err(reason).to_string();
            assert!(error.contains(reason), "{bytes:?}: {error} should say {reason}");
        }
        let many = [b"[#l\x01\0\0\0".as_slice(), &vec![b'Z'; 1 << 24]].concat();
        let error = from_slice::<Vec<i64>>(&many).expect_err("too many").to_string();
        assert!(error.contains("outside of typed lists"), "{error}");
        let deep = vec![b'['; 100_000];
        assert!(from_slice::<Vec<i64>>(&deep).is_err());
    }
}
