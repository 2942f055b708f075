//! Feature rows as a Parquet file, for other people's tools: written as they come, a bounded group at a time.

use crate::rows::is_category;
use ::parquet::basic::{
    Compression, Encoding, LogicalType, Repetition, Type as Physical, ZstdLevel,
};
use ::parquet::column::writer::ColumnWriter;
use ::parquet::data_type::ByteArray;
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::{ColumnPath, Type};
use engine::Engine;
use engine::config::LabelUnit;
use engine::effects::{Effects, ScoreOut};
use features::config::AttributeKind;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of feature values that wait in memory for their group to be full.
const GROUP_BYTES_MAX: usize = 32 << 20;
/// Rows of a group, however narrow they are.
const GROUP_ROWS_MAX: usize = 1 << 16;

/// Columns before the features, in this order.
pub const LEADING: [&str; 6] = ["event_id", "account", "ts", "type", "label", "known_bad"];

/// Key of the file's metadata: the feature set that the rows were made with; a model bundle must name the same one.
pub const KEY_FEATURES: &str = "detector.feature_set_hash";
/// Key: JSON list of the feature columns whose values are indices of names.
pub const KEY_CATEGORICAL: &str = "detector.categorical";
/// Key: `account` or `event`, what a label speaks of.
pub const KEY_UNIT: &str = "detector.label_unit";
/// Key: `true` if events with the same `ts` did not see one another.
pub const KEY_TIES: &str = "detector.strict_ties";
/// Key: `true` if labels fed neither features nor the graph.
pub const KEY_NO_FEEDBACK: &str = "detector.no_feedback";

/// Why rows could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RowFileError {
    /// The file.
    #[error("cannot write {path}: {source}\nhint: --rows-out needs a folder that exists, and room")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The format.
    #[error("cannot write {path}: {source}")]
    Format {
        /// The file.
        path: String,
        /// Why.
        source: ParquetError,
    },
    /// A feature has the name of one of the leading columns.
    #[error(
        "the feature column {name} has the name of a column that --rows-out adds\nhint: rename the attribute or counter"
    )]
    Name {
        /// The column.
        name: String,
    },
}

/// A file of rows that is being written: `event_id`, `account`, `ts` (epoch milliseconds), `type` (null if it is not
/// declared), `label` (1 bad, 0 good, null not known), `known_bad`, then every feature as a 32-bit float, its bits untouched.
pub struct RowFile {
    path: PathBuf,
    writer: SerializedFileWriter<File>,
    width: usize,
    group_rows: usize,
    types: Vec<String>,
    event_id: Vec<ByteArray>,
    account: Vec<ByteArray>,
    ts_ms: Vec<i64>,
    type_id: Vec<u16>,
    label: Vec<Option<bool>>,
    known_bad: Vec<bool>,
    values: Vec<f32>,
    rows: u64,
}

impl RowFile {
    /// Makes the file for an engine's rows. `no_feedback`: whether labels are kept from features.
    ///
    /// # Errors
    /// When the file cannot be made, or a feature's name is taken.
    pub fn create(path: &Path, engine: &Engine, no_feedback: bool) -> Result<Self, RowFileError> {
        let columns = engine.columns();
        if let Some(name) = columns.iter().find(|c| LEADING.contains(&c.as_str())) {
            return Err(RowFileError::Name { name: name.clone() });
        }
        let format = |source| RowFileError::Format { path: path.display().to_string(), source };
        let schema = schema(columns).map_err(format)?;
        let properties = properties(engine, no_feedback).map_err(format)?;
        let file = File::create(path)
            .map_err(|source| RowFileError::Io { path: path.display().to_string(), source })?;
        let writer =
            SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(format)?;
        Ok(Self {
            path: path.to_path_buf(),
            writer,
            width: columns.len(),
            group_rows: (GROUP_BYTES_MAX / (4 * columns.len().max(1))).clamp(1, GROUP_ROWS_MAX),
            types: engine.schema().types().to_vec(),
            event_id: Vec::new(),
            account: Vec::new(),
            ts_ms: Vec::new(),
            type_id: Vec::new(),
            label: Vec::new(),
            known_bad: Vec::new(),
            values: Vec::new(),
            rows: 0,
        })
    }

    /// Takes the rows of a batch; `label` says what an event is, `None` for not known.
    ///
    /// # Errors
    /// When a full group cannot be written.
    pub fn push(
        &mut self,
        effects: &Effects,
        label: impl Fn(&ScoreOut) -> Option<bool>,
    ) -> Result<(), RowFileError> {
        let values = effects.row_values.chunks_exact(self.width);
        for ((row, score), values) in effects.rows.iter().zip(&effects.scores).zip(values) {
            self.event_id.push(score.event_id.as_bytes().to_vec().into());
            self.account.push(score.account.as_bytes().to_vec().into());
            self.ts_ms.push(score.ts_ms);
            self.type_id.push(row.type_id);
            self.label.push(label(score));
            self.known_bad.push(row.known_bad);
            self.values.extend_from_slice(values);
            if self.ts_ms.len() >= self.group_rows {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes what waits, and the file's end, without which it cannot be read. How many rows it has.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn close(mut self) -> Result<u64, RowFileError> {
        self.flush()?;
        let path = self.path.display().to_string();
        self.writer.close().map_err(|source| RowFileError::Format { path, source })?;
        Ok(self.rows)
    }

    fn flush(&mut self) -> Result<(), RowFileError> {
        if self.ts_ms.is_empty() {
            return Ok(());
        }
        self.rows += self.ts_ms.len() as u64;
        let path = &self.path;
        let written = write_group(
            &mut self.writer,
            Group {
                event_id: &self.event_id,
                account: &self.account,
                ts_ms: &self.ts_ms,
                type_id: &self.type_id,
                types: &self.types,
                label: &self.label,
                known_bad: &self.known_bad,
                values: &self.values,
                width: self.width,
            },
        );
        written
            .map_err(|source| RowFileError::Format { path: path.display().to_string(), source })?;
        self.event_id.clear();
        self.account.clear();
        self.ts_ms.clear();
        self.type_id.clear();
        self.label.clear();
        self.known_bad.clear();
        self.values.clear();
        Ok(())
    }
}

/// The rows of a group.
struct Group<'a> {
    event_id: &'a [ByteArray],
    account: &'a [ByteArray],
    ts_ms: &'a [i64],
    type_id: &'a [u16],
    types: &'a [String],
    label: &'a [Option<bool>],
    known_bad: &'a [bool],
    values: &'a [f32],
    width: usize,
}

fn write_group(
    writer: &mut SerializedFileWriter<File>,
    group: Group<'_>,
) -> Result<(), ParquetError> {
    let mut out = writer.next_row_group()?;
    let present = |some: bool| i16::from(some);
    write(&mut out, Values::Bytes(group.event_id), None)?;
    write(&mut out, Values::Bytes(group.account), None)?;
    write(&mut out, Values::Int64(group.ts_ms), None)?;
    let name = |id: &u16| group.types.get(usize::from(*id));
    let names: Vec<ByteArray> =
        group.type_id.iter().filter_map(name).map(|n| n.as_bytes().to_vec().into()).collect();
    let levels: Vec<i16> = group.type_id.iter().map(|id| present(name(id).is_some())).collect();
    write(&mut out, Values::Bytes(&names), Some(&levels))?;
    let labels: Vec<i32> = group.label.iter().flatten().map(|bad| i32::from(*bad)).collect();
    let levels: Vec<i16> = group.label.iter().map(|l| present(l.is_some())).collect();
    write(&mut out, Values::Int32(&labels), Some(&levels))?;
    write(&mut out, Values::Bool(group.known_bad), None)?;
    let mut column = Vec::with_capacity(group.ts_ms.len());
    for at in 0..group.width {
        column.clear();
        column.extend(group.values.iter().skip(at).step_by(group.width));
        write(&mut out, Values::Float(&column), None)?;
    }
    out.close()?;
    Ok(())
}

enum Values<'a> {
    Bytes(&'a [ByteArray]),
    Int64(&'a [i64]),
    Int32(&'a [i32]),
    Bool(&'a [bool]),
    Float(&'a [f32]),
}

fn write(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: Values<'_>,
    present: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let misfit =
        || ParquetError::General("a column is not of the type that the schema says".into());
    let mut column = group.next_column()?.ok_or_else(misfit)?;
    match (column.untyped(), values) {
        (ColumnWriter::ByteArrayColumnWriter(w), Values::Bytes(v)) => {
            w.write_batch(v, present, None)?
        }
        (ColumnWriter::Int64ColumnWriter(w), Values::Int64(v)) => {
            w.write_batch(v, present, None)?
        }
        (ColumnWriter::Int32ColumnWriter(w), Values::Int32(v)) => {
            w.write_batch(v, present, None)?
        }
        (ColumnWriter::BoolColumnWriter(w), Values::Bool(v)) => w.write_batch(v, present, None)?,
        (ColumnWriter::FloatColumnWriter(w), Values::Float(v)) => {
            w.write_batch(v, present, None)?
        }
        _ => return Err(misfit()),
    };
    column.close()
}

fn schema(columns: &[String]) -> Result<Arc<Type>, ParquetError> {
    let leaf = |name: &str, physical, repetition, logical: Option<LogicalType>| {
        Type::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let (must, may) = (Repetition::REQUIRED, Repetition::OPTIONAL);
    let mut fields = vec![
        leaf("event_id", Physical::BYTE_ARRAY, must, Some(LogicalType::String))?,
        leaf("account", Physical::BYTE_ARRAY, must, Some(LogicalType::String))?,
        leaf("ts", Physical::INT64, must, None)?,
        leaf("type", Physical::BYTE_ARRAY, may, Some(LogicalType::String))?,
        leaf("label", Physical::INT32, may, None)?,
        leaf("known_bad", Physical::BOOLEAN, must, None)?,
    ];
    for name in columns {
        fields.push(leaf(name, Physical::FLOAT, must, None)?);
    }
    Ok(Arc::new(Type::group_type_builder("rows").with_fields(fields).build()?))
}

fn properties(engine: &Engine, no_feedback: bool) -> Result<WriterProperties, ParquetError> {
    let config = engine.config();
    let attributes = config.attributes.iter();
    let names: Vec<String> = attributes
        .filter(|(_, a)| a.kind == AttributeKind::Category)
        .map(|(name, _)| name.clone())
        .collect();
    let categorical: Vec<&String> =
        engine.columns().iter().filter(|c| is_category(c, &names)).collect();
    let categorical =
        serde_json::to_string(&categorical).map_err(|e| ParquetError::External(Box::new(e)))?;
    let unit = match config.labels.unit {
        LabelUnit::Account => "account",
        LabelUnit::Event => "event",
    };
    let pair = |key: &str, value: String| KeyValue::new(key.to_string(), value);
    let metadata = vec![
        pair(KEY_FEATURES, engine.versions().features.clone()),
        pair(KEY_CATEGORICAL, categorical),
        pair(KEY_UNIT, unit.into()),
        pair(KEY_TIES, engine.strict_ties().to_string()),
        pair(KEY_NO_FEEDBACK, no_feedback.to_string()),
    ];
    let column = |name: &str| ColumnPath::from(name.to_string());
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("detector ", env!("CARGO_PKG_VERSION")).into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_statistics_enabled(column("ts"), EnabledStatistics::Chunk)
        // Floats as their bytes, apart: no dictionary, which would have to say when two of them are the same.
        .set_dictionary_enabled(false)
        .set_key_value_metadata(Some(metadata));
    for name in ["account", "type"] {
        builder = builder.set_column_dictionary_enabled(column(name), true);
    }
    for name in engine.columns() {
        let path = ColumnPath::new(vec![name.clone()]);
        builder = builder.set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT);
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests;
