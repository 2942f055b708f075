//! Rows of a Parquet file as lines of JSON, read row group by row group.
//!
//! A dot in a column's name makes an object, as in CSV; groups, lists and maps stay what they are. Timestamps are epoch milliseconds,
//! dates text (`2026-01-31`), decimals text, bytes text or base64. Null is absent.

use super::Refused;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::ColumnDescPtr;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const HINT: &str = "write it again with columns of numbers, texts, truth values and timestamps";

/// The rows of a file; `read` says how far the file was read, in bytes.
pub(in super::super) fn rows(
    file: File,
    file_bytes: u64,
    read: Arc<AtomicU64>,
) -> Result<Rows, Refused> {
    let refused = |e: parquet::errors::ParquetError| {
        Refused::new(format!("a Parquet file that cannot be read: {e}"), "is it complete?")
    };
    let reader = SerializedFileReader::new(file).map_err(refused)?;
    let meta = reader.metadata().file_metadata();
    let mut nanos = BTreeSet::new();
    for column in meta.schema_descr().columns() {
        if let Err(why) = check(column) {
            return Err(Refused::new(
                format!("a Parquet file whose column {:?} {why}", column.path().string()),
                HINT,
            ));
        }
        if is_nanos(column) {
            nanos.insert(column.path().string());
        }
    }
    let total = u64::try_from(meta.num_rows()).unwrap_or(0);
    Ok(Rows {
        rows: RowIter::from_file_into(Box::new(reader)),
        nanos,
        done: 0,
        total,
        file_bytes,
        read,
        line: Vec::new(),
        at: 0,
    })
}

/// Whether a column's values have a meaning here; those of other kinds cannot be read.
fn check(column: &ColumnDescPtr) -> Result<(), String> {
    use ConvertedType as C;
    let good = match column.physical_type() {
        Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE | Physical::INT96 => true,
        Physical::INT32 => matches!(
            column.converted_type(),
            C::NONE
                | C::INT_8
                | C::INT_16
                | C::INT_32
                | C::UINT_8
                | C::UINT_16
                | C::UINT_32
                | C::DATE
                | C::TIME_MILLIS
                | C::DECIMAL
        ),
        Physical::INT64 => matches!(
            column.converted_type(),
            C::NONE
                | C::INT_64
                | C::UINT_64
                | C::TIME_MICROS
                | C::TIMESTAMP_MILLIS
                | C::TIMESTAMP_MICROS
                | C::DECIMAL
        ),
        Physical::BYTE_ARRAY => matches!(
            column.converted_type(),
            C::NONE | C::UTF8 | C::ENUM | C::JSON | C::BSON | C::DECIMAL
        ),
        Physical::FIXED_LEN_BYTE_ARRAY => {
            matches!(column.converted_type(), C::NONE | C::DECIMAL)
                && !matches!(column.logical_type_ref(), Some(LogicalType::Float16))
        }
    };
    match good {
        true => Ok(()),
        false => Err(format!("is {} of {}", column.converted_type(), column.physical_type())),
    }
}

/// Nanoseconds have no type in rows: they come as plain numbers.
fn is_nanos(column: &ColumnDescPtr) -> bool {
    match column.logical_type_ref() {
        Some(LogicalType::Timestamp(timestamp)) => timestamp.unit == TimeUnit::NANOS,
        _ => false,
    }
}

/// Rows as lines.
pub(in super::super) struct Rows {
    rows: RowIter<'static>,
    /// Paths of columns of nanoseconds.
    nanos: BTreeSet<String>,
    done: u64,
    total: u64,
    file_bytes: u64,
    read: Arc<AtomicU64>,
    line: Vec<u8>,
    at: usize,
}

impl Rows {
    fn next(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.at = 0;
        let Some(row) = self.rows.next() else { return Ok(false) };
        let row = row.map_err(io::Error::other)?;
        let mut event = Map::new();
        for (name, field) in row.get_column_iter() {
            if let Some(value) = self.value(name, field) {
                put(&mut event, name, value);
            }
        }
        serde_json::to_writer(&mut self.line, &event)?;
        self.line.push(b'\n');
        self.done += 1;
        let share = self.done as f64 / self.total.max(1) as f64;
        self.read.store((self.file_bytes as f64 * share) as u64, Ordering::Relaxed);
        Ok(true)
    }

    /// None: null, or what JSON has no number for.
    fn value(&self, path: &str, field: &Field) -> Option<Value> {
        Some(match field {
            Field::Null => return None,
            Field::Bool(flag) => (*flag).into(),
            Field::Byte(n) => (*n).into(),
            Field::Short(n) => (*n).into(),
            Field::Int(n) => (*n).into(),
            Field::Long(n) if self.nanos.contains(path) => n.div_euclid(1_000_000).into(),
            Field::Long(n) => (*n).into(),
            Field::UByte(n) => (*n).into(),
            Field::UShort(n) => (*n).into(),
            Field::UInt(n) => (*n).into(),
            Field::ULong(n) => (*n).into(),
            Field::Float16(n) => number(f64::from(*n))?,
            // As it is written, and not as its 64 bits: 0.1 and not 0.10000000149.
            Field::Float(n) => number(n.to_string().parse().ok()?)?,
            Field::Double(n) => number(*n)?,
            Field::Str(text) => text.as_str().into(),
            Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
                Ok(text) => text.into(),
                Err(_) => STANDARD.encode(bytes.data()).into(),
            },
            Field::TimestampMillis(ms) => (*ms).into(),
            Field::TimestampMicros(us) => us.div_euclid(1000).into(),
            Field::TimeMillis(ms) => (*ms).into(),
            Field::TimeMicros(us) => us.div_euclid(1000).into(),
            Field::Date(days) => {
                let epoch = jiff::civil::date(1970, 1, 1);
                let span = jiff::Span::new().try_days(i64::from(*days)).ok()?;
                epoch.checked_add(span).ok()?.to_string().into()
            }
            // The library's own text of a decimal.
            Field::Decimal(_) => field.to_string().into(),
            Field::Group(row) => self.group(path, row).into(),
            Field::ListInternal(list) => {
                let inner = format!("{path}.list.element");
                list.elements()
                    .iter()
                    .map(|element| self.value(&inner, element).unwrap_or(Value::Null))
                    .collect()
            }
            Field::MapInternal(map) => {
                let mut object = Map::new();
                for (key, value) in map.entries() {
                    let key = match self.value(path, key) {
                        Some(Value::String(key)) => key,
                        Some(key) => key.to_string(),
                        None => continue,
                    };
                    if let Some(value) = self.value(path, value) {
                        object.insert(key, value);
                    }
                }
                object.into()
            }
        })
    }

    fn group(&self, path: &str, row: &Row) -> Map<String, Value> {
        let members = row.get_column_iter().filter_map(|(name, field)| {
            Some((name.clone(), self.value(&format!("{path}.{name}"), field)?))
        });
        members.collect()
    }
}

fn number(value: f64) -> Option<Value> {
    serde_json::Number::from_f64(value).map(Value::Number)
}

fn put(into: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            into.insert(name.to_owned(), value);
        }
        Some((outer, rest)) => {
            let inner = into.entry(outer).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

impl Read for Rows {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.line.len() && !self.next()? {
            return Ok(0);
        }
        let n = buffer.len().min(self.line.len() - self.at);
        buffer[..n].copy_from_slice(&self.line[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    #[test]
    fn rows_become_objects_with_times_in_milliseconds() {
        let schema = "message events {
            required int64 ts (TIMESTAMP(NANOS,true));
            optional int64 seen (TIMESTAMP(MICROS,true));
            required binary account (STRING);
            optional binary entities.device (STRING);
            optional double attributes.amount;
        }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.parquet");
        let mut writer =
            SerializedFileWriter::new(File::create(&path).unwrap(), schema, Default::default())
                .unwrap();
        let mut group = writer.next_row_group().unwrap();
        let text = |texts: &[&str]| texts.iter().map(|t| ByteArray::from(*t)).collect::<Vec<_>>();
        let mut column = group.next_column().unwrap().unwrap();
        let ns = [1_700_000_000_123_456_789, 1_700_000_001_000_000_000];
        column.typed::<Int64Type>().write_batch(&ns, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[-1], Some(&[0, 1]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&text(&["u1", "u2"]), None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&text(&["d9"]), Some(&[1, 0]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[57.2, f64::NAN], Some(&[1, 1]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();

        let length = std::fs::metadata(&path).unwrap().len();
        let read = Arc::new(AtomicU64::new(0));
        let mut lines = String::new();
        let mut rows = rows(File::open(&path).unwrap(), length, read.clone()).unwrap();
        rows.read_to_string(&mut lines).unwrap();
        assert_eq!(
            lines,
            concat!(
                r#"{"account":"u1","attributes":{"amount":57.2},"entities":{"device":"d9"},"ts":1700000000123}"#,
                "\n",
                r#"{"account":"u2","seen":-1,"ts":1700000001000}"#,
                "\n"
            )
        );
        assert_eq!(read.load(Ordering::Relaxed), length);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let cut = super::rows(File::open(&path).unwrap(), length, read).err().unwrap();
        assert!(cut.found.contains("cannot be read"), "{cut:?}");
    }
}
