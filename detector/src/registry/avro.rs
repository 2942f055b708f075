//! Avro to JSON.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{NamespaceRef, ResolvedSchema};
use apache_avro::types::Value;
use apache_avro::{Decimal, Schema as Avro};
use base64::Engine;
use serde_json::{Map, Number, Value as Json};
use std::io::Read;

/// Parts of one schema, references followed.
const PARTS_MAX: usize = 10_000;

/// A schema that messages were written with.
#[derive(Debug)]
pub struct AvroSchema {
    schema: Avro,
    references: Vec<Avro>,
    shape: Shape,
}

/// What a value alone does not tell.
#[derive(Debug)]
enum Shape {
    Plain,
    /// Digits behind the point.
    Decimal(usize),
    Items(Box<Shape>),
    OneOf(Vec<Shape>),
    Fields(Vec<Shape>),
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

    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong, without its content.
    pub fn json(&self, bytes: &[u8]) -> Result<Json, String> {
        let mut bytes = Bytes { left: bytes, short: false };
        let all: Vec<&Avro> = self.references.iter().chain([&self.schema]).collect();
        let value = GenericDatumReader::builder(&self.schema)
            .writer_schemata(all)
            .and_then(|builder| builder.build())
            .and_then(|reader| reader.read_value(&mut bytes))
            .map_err(|_| "it is not what its Avro schema says".to_owned())?;
        if bytes.short {
            return Err("there is less in it than its Avro schema says".into());
        }
        if !bytes.left.is_empty() {
            return Err("there is more in it than its Avro schema says".into());
        }
        Ok(json(value, &self.shape))
    }
}

/// Bytes that know whether more of them were asked for than there are: the decoder takes some values for null then.
struct Bytes<'a> {
    left: &'a [u8],
    short: bool,
}

impl Read for Bytes<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.short |= self.left.len() < into.len();
        self.left.read(into)
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
            Avro::Decimal(decimal) => Shape::Decimal(decimal.scale),
            Avro::Array(array) => {
                if self.is_nothing(&array.items, within, 0) {
                    return Err(
                        "it has a list of items without bytes, which could be of any length".into(),
                    );
                }
                Shape::Items(Box::new(self.shape(&array.items, within)?))
            }
            Avro::Map(map) => Shape::Items(Box::new(self.shape(&map.types, within)?)),
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
            _ => Shape::Plain,
        })
    }

    /// Whether a value of it takes no bytes. What contains itself is refused elsewhere.
    fn is_nothing(&self, schema: &Avro, within: NamespaceRef, depth: usize) -> bool {
        match schema {
            Avro::Null => true,
            Avro::Fixed(fixed) => fixed.size == 0,
            Avro::Record(record) if depth < 64 => {
                let name = record.name.fully_qualified_name(within);
                record
                    .fields
                    .iter()
                    .all(|f| self.is_nothing(&f.schema, name.namespace(), depth + 1))
            }
            Avro::Ref { name } if depth < 64 => {
                let name = name.fully_qualified_name(within);
                let found = self.resolved.get_names().get(&*name);
                found.is_some_and(|found| self.is_nothing(found, name.namespace(), depth + 1))
            }
            _ => false,
        }
    }
}

/// A value as the JSON that stands for it: moments as RFC 3339, decimals as numbers, bytes in base64, and all else as what it is
/// underneath.
fn json(value: Value, shape: &Shape) -> Json {
    let within = |at: usize| match shape {
        Shape::Items(shape) => shape,
        Shape::OneOf(shapes) | Shape::Fields(shapes) => shapes.get(at).unwrap_or(&Shape::Plain),
        Shape::Plain | Shape::Decimal(_) => &Shape::Plain,
    };
    match value {
        Value::Null => Json::Null,
        Value::Boolean(v) => v.into(),
        Value::Int(v) | Value::Date(v) | Value::TimeMillis(v) => v.into(),
        Value::Long(v)
        | Value::TimeMicros(v)
        | Value::LocalTimestampMillis(v)
        | Value::LocalTimestampMicros(v)
        | Value::LocalTimestampNanos(v) => v.into(),
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
            let scale = if let Shape::Decimal(scale) = shape { *scale } else { 0 };
            number(decimal(&v, scale).unwrap_or(f64::NAN))
        }
        Value::BigDecimal(v) => number(v.to_string().parse().unwrap_or(f64::NAN)),
        Value::TimestampMillis(v) => moment(v, 1_000_000),
        Value::TimestampMicros(v) => moment(v, 1_000),
        Value::TimestampNanos(v) => moment(v, 1),
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
fn moment(value: i64, nanos: i128) -> Json {
    let at = jiff::Timestamp::from_nanosecond(i128::from(value) * nanos);
    at.map_or_else(|_| value.into(), |at| at.to_string().into())
}
