//! Avro to JSON.

use super::{NAME_BYTES_MAX, VALUES_MAX};
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{InnerDecimalSchema, NamespaceRef, ResolvedSchema, UuidSchema};
use apache_avro::types::Value;
use apache_avro::{Decimal, Schema as Avro};
use base64::Engine;
use serde_json::{Map, Number, Value as Json};

/// Parts of one schema, references followed.
const PARTS_MAX: usize = 10_000;

/// A schema that messages were written with.
#[derive(Debug)]
pub struct AvroSchema {
    schema: Avro,
    references: Vec<Avro>,
    shape: Shape,
}

/// A schema with its references followed: how its values lie in bytes, and what a value alone does not tell.
#[derive(Debug)]
enum Shape {
    /// A fixed number of bytes.
    Fixed(usize),
    /// A number of variable length.
    Varint,
    /// A length, and that number of bytes.
    Sized,
    /// Digits behind the point, and how the others lie in bytes.
    Decimal(usize, Box<Shape>),
    Items(Box<Shape>),
    Map(Box<Shape>),
    OneOf(Vec<Shape>),
    Fields(Vec<Shape>),
}

const LESS: &str = "there is less in it than its Avro schema says";

impl Shape {
    /// The fewest bytes of a value.
    fn least(&self) -> usize {
        match self {
            Self::Fixed(bytes) => *bytes,
            Self::Decimal(_, inner) => inner.least(),
            Self::Fields(all) => all.iter().map(Self::least).fold(0, usize::saturating_add),
            Self::Varint | Self::Sized | Self::Items(_) | Self::Map(_) | Self::OneOf(_) => 1,
        }
    }

    /// Passes over a value, taking no memory for it: what claims to be longer than the message is found before it is read.
    fn pass(&self, bytes: &mut &[u8], values: &mut usize) -> Result<(), String> {
        *values += 1;
        if *values > VALUES_MAX {
            return Err(format!("it has more than {VALUES_MAX} values"));
        }
        match self {
            Self::Fixed(length) => pass(bytes, Some(*length))?,
            Self::Varint => drop(varint(bytes)?),
            Self::Sized => {
                let length = varint(bytes)?;
                pass(bytes, usize::try_from(length).ok())?;
            }
            Self::Decimal(_, inner) => inner.pass(bytes, values)?,
            Self::Items(item) => blocks(bytes, |bytes| item.pass(bytes, values))?,
            Self::Map(value) => blocks(bytes, |bytes| {
                Self::Sized.pass(bytes, values)?;
                value.pass(bytes, values)
            })?,
            Self::OneOf(all) => {
                let which = usize::try_from(varint(bytes)?).ok().and_then(|at| all.get(at));
                which.ok_or("it is not what its Avro schema says")?.pass(bytes, values)?;
            }
            Self::Fields(all) => {
                for field in all {
                    field.pass(bytes, values)?;
                }
            }
        }
        Ok(())
    }
}

fn pass(bytes: &mut &[u8], length: Option<usize>) -> Result<(), String> {
    let rest = length.and_then(|length| bytes.get(length..));
    *bytes = rest.ok_or(LESS)?;
    Ok(())
}

/// Lists and maps are blocks, each a count and its items; the last one has none. A negative count is followed by the block's bytes.
fn blocks(
    bytes: &mut &[u8],
    mut item: impl FnMut(&mut &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    loop {
        let mut count = varint(bytes)?;
        if count < 0 {
            varint(bytes)?;
            count = count.checked_neg().ok_or(LESS)?;
        }
        // No item is empty ([`Walk`]).
        if usize::try_from(count).map_or(true, |count| count > bytes.len()) {
            return Err(LESS.into());
        }
        if count == 0 {
            return Ok(());
        }
        for _ in 0..count {
            item(bytes)?;
        }
    }
}

/// A number of variable length, signs folded in.
fn varint(bytes: &mut &[u8]) -> Result<i64, String> {
    super::zigzag(bytes).ok_or_else(|| LESS.to_owned())
}

impl AvroSchema {
    /// Reads a schema and those that it refers to.
    ///
    /// # Errors
    /// When it is none, or one by which a short message could become a value without bounds.
    pub fn new(text: &str, references: &[(String, String)]) -> Result<Self, String> {
        let texts = references.iter().map(|(_, text)| text);
        let (schema, references) =
            Avro::parse_str_with_list(text, texts).map_err(|e| e.to_string())?;
        let all: Vec<&Avro> = references.iter().chain([&schema]).collect();
        let resolved = ResolvedSchema::new_with_schemata(all).map_err(|e| e.to_string())?;
        let mut walk = Walk { resolved: &resolved, open: Vec::new(), parts: 0 };
        let shape = walk.shape(&schema, None)?;
        Ok(Self { schema, references, shape })
    }

    /// Reads a message; local times are of this offset from UTC.
    ///
    /// # Errors
    /// What is wrong, without its content.
    pub fn json(&self, bytes: &[u8], local_offset_ms: i64) -> Result<Json, String> {
        let mut left = bytes;
        self.shape.pass(&mut left, &mut 0)?;
        if !left.is_empty() {
            return Err("there is more in it than its Avro schema says".into());
        }
        let all: Vec<&Avro> = self.references.iter().chain([&self.schema]).collect();
        let value = GenericDatumReader::builder(&self.schema)
            .writer_schemata(all)
            .and_then(|builder| builder.build())
            .and_then(|reader| reader.read_value(&mut &*bytes))
            .map_err(|_| "it is not what its Avro schema says".to_owned())?;
        Ok(json(value, &self.shape, local_offset_ms))
    }
}

struct Walk<'a> {
    resolved: &'a ResolvedSchema<'a>,
    /// Names that are being looked into.
    open: Vec<String>,
    parts: usize,
}

impl Walk<'_> {
    fn shape(&mut self, schema: &Avro, within: NamespaceRef) -> Result<Shape, String> {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(format!("it has more than {PARTS_MAX} parts"));
        }
        Ok(match schema {
            Avro::Null => Shape::Fixed(0),
            Avro::Boolean => Shape::Fixed(1),
            Avro::Float => Shape::Fixed(4),
            Avro::Double => Shape::Fixed(8),
            Avro::Fixed(fixed) | Avro::Duration(fixed) | Avro::Uuid(UuidSchema::Fixed(fixed)) => {
                Shape::Fixed(fixed.size)
            }
            Avro::Bytes
            | Avro::String
            | Avro::BigDecimal
            | Avro::Uuid(UuidSchema::Bytes | UuidSchema::String) => Shape::Sized,
            Avro::Enum(of) => {
                named(of.symbols.iter().map(String::as_str))?;
                Shape::Varint
            }
            Avro::Int
            | Avro::Long
            | Avro::Date
            | Avro::TimeMillis
            | Avro::TimeMicros
            | Avro::TimestampMillis
            | Avro::TimestampMicros
            | Avro::TimestampNanos
            | Avro::LocalTimestampMillis
            | Avro::LocalTimestampMicros
            | Avro::LocalTimestampNanos => Shape::Varint,
            Avro::Decimal(decimal) => {
                let inner = match &decimal.inner {
                    InnerDecimalSchema::Bytes => Shape::Sized,
                    InnerDecimalSchema::Fixed(fixed) => Shape::Fixed(fixed.size),
                };
                Shape::Decimal(decimal.scale, Box::new(inner))
            }
            Avro::Array(array) => {
                let item = self.shape(&array.items, within)?;
                if item.least() == 0 {
                    return Err(
                        "it has a list of items without bytes, which could be of any length".into(),
                    );
                }
                Shape::Items(Box::new(item))
            }
            Avro::Map(map) => Shape::Map(Box::new(self.shape(&map.types, within)?)),
            Avro::Union(union) => {
                let each = union.variants().iter().map(|variant| self.shape(variant, within));
                Shape::OneOf(each.collect::<Result<_, _>>()?)
            }
            Avro::Record(record) => {
                let name = record.name.fully_qualified_name(within);
                let full = name.fullname(None);
                if self.open.contains(&full) {
                    return Err(format!("{full} contains itself, which could go to any depth"));
                }
                named(record.fields.iter().map(|field| &*field.name))?;
                self.open.push(full);
                let each = record.fields.iter().map(|f| self.shape(&f.schema, name.namespace()));
                let fields = each.collect::<Result<_, _>>()?;
                self.open.pop();
                Shape::Fields(fields)
            }
            Avro::Ref { name } => {
                let name = name.fully_qualified_name(within);
                let found = self.resolved.get_names().get(&*name).copied();
                let found = found.ok_or_else(|| format!("{} is not known", name.fullname(None)))?;
                self.shape(found, name.namespace())?
            }
        })
    }
}

/// Refuses names that are too long: each value has its field's.
fn named<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    match names.any(|name| name.len() > NAME_BYTES_MAX) {
        true => Err(format!("it has a name of more than {NAME_BYTES_MAX} bytes")),
        false => Ok(()),
    }
}

/// A value as the JSON that stands for it: moments as RFC 3339, decimals as numbers, bytes in base64, and all else as what it is
/// underneath.
fn json(value: Value, shape: &Shape, local_offset_ms: i64) -> Json {
    let within = |at: usize| match shape {
        Shape::Items(shape) | Shape::Map(shape) => shape,
        Shape::OneOf(shapes) | Shape::Fields(shapes) => shapes.get(at).unwrap_or(shape),
        Shape::Fixed(_) | Shape::Varint | Shape::Sized | Shape::Decimal(..) => shape,
    };
    let json = |value: Value, shape: &Shape| json(value, shape, local_offset_ms);
    match value {
        Value::Null => Json::Null,
        Value::Boolean(v) => v.into(),
        Value::Int(v) | Value::Date(v) | Value::TimeMillis(v) => v.into(),
        Value::Long(v) | Value::TimeMicros(v) => v.into(),
        Value::Float(v) => number(f64::from(v)),
        Value::Double(v) => number(v),
        Value::Bytes(v) | Value::Fixed(_, v) => base64::prelude::BASE64_STANDARD.encode(v).into(),
        Value::String(v) | Value::Enum(_, v) => v.into(),
        Value::Union(at, v) => json(*v, within(at as usize)),
        Value::Array(all) => all.into_iter().map(|v| json(v, within(0))).collect(),
        // In the order of their names: a map has none, and the same bytes must be the same event.
        Value::Map(all) => {
            let mut all: Vec<_> = all.into_iter().collect();
            all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            let all = all.into_iter().map(|(name, v)| (name, json(v, within(0))));
            Json::Object(all.collect::<Map<_, _>>())
        }
        Value::Record(fields) => {
            let fields = fields.into_iter().enumerate();
            let fields = fields.map(|(at, (name, v))| (name, json(v, within(at))));
            Json::Object(fields.collect::<Map<_, _>>())
        }
        Value::Decimal(v) => {
            let scale = if let Shape::Decimal(scale, _) = shape { *scale } else { 0 };
            number(decimal(&v, scale).unwrap_or(f64::NAN))
        }
        Value::BigDecimal(v) => number(v.to_string().parse().unwrap_or(f64::NAN)),
        Value::TimestampMillis(v) => moment(v, 1_000_000, 0),
        Value::TimestampMicros(v) => moment(v, 1_000, 0),
        Value::TimestampNanos(v) => moment(v, 1, 0),
        Value::LocalTimestampMillis(v) => moment(v, 1_000_000, local_offset_ms),
        Value::LocalTimestampMicros(v) => moment(v, 1_000, local_offset_ms),
        Value::LocalTimestampNanos(v) => moment(v, 1, local_offset_ms),
        Value::Duration(v) => base64::prelude::BASE64_STANDARD.encode(<[u8; 12]>::from(v)).into(),
        Value::Uuid(v) => v.to_string().into(),
    }
}

/// The nearest number; `None` beyond the 38 digits of 128 bits.
fn decimal(value: &Decimal, scale: usize) -> Option<f64> {
    let bytes = Vec::<u8>::try_from(value).ok()?;
    let sign = if bytes.first().is_some_and(|b| b & 0x80 != 0) { -1 } else { 0 };
    let fits = bytes.len() <= 16;
    let digits = bytes.iter().fold(sign, |n: i128, byte| n << 8 | i128::from(*byte));
    fits.then(|| format!("{digits}e-{scale}").parse().ok()).flatten()
}

/// What is no number becomes nothing.
fn number(value: f64) -> Json {
    Number::from_f64(value).map_or(Json::Null, Json::Number)
}

/// A moment, which carries its unit; beyond the calendar, the bare number.
fn moment(value: i64, nanos: i128, offset_ms: i64) -> Json {
    let utc = i128::from(value) * nanos - i128::from(offset_ms) * 1_000_000;
    let at = jiff::Timestamp::from_nanosecond(utc);
    at.map_or_else(|_| value.into(), |at| at.to_string().into())
}
