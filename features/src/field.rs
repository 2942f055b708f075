//! The published shape of a profile: its fields in bytes, and the columns read from it.

use serde::{Deserialize, Serialize};

/// How one field of a profile is written: little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// Signed, 8 bytes.
    I64,
    /// Unsigned, 4 bytes.
    U32,
    /// Unsigned, 2 bytes.
    U16,
    /// Unsigned, 1 byte.
    U8,
    /// IEEE single, 4 bytes.
    F32,
}

impl FieldType {
    /// Bytes of one value.
    pub const fn size(self) -> usize {
        match self {
            FieldType::I64 => 8,
            FieldType::U32 | FieldType::F32 => 4,
            FieldType::U16 => 2,
            FieldType::U8 => 1,
        }
    }
}

/// One field of a profile's bytes, for readers in any language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name, unique within the role.
    pub name: String,
    /// Where it starts, in bytes.
    pub offset: usize,
    /// How a value is written.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// How many values.
    pub count: usize,
    /// Unit of a value.
    pub unit: String,
    /// What it was compiled from. State is carried over to a new schema only where this is the same.
    pub means: String,
}

/// One column that is read from a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name within the role, without prefix.
    pub name: String,
    /// Unit of its value.
    pub unit: String,
}
