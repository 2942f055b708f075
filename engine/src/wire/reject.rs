//! Why a message could not be read.

use serde::Serialize;

/// The reason code of a dead letter. Names are part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectCode {
    /// Not JSON, or cut off.
    NotJson,
    /// The message is not UTF-8 where text is needed.
    NotUtf8,
    /// JSON, but not an object.
    NotAnObject,
    /// A required field is absent.
    MissingField,
    /// A field has a value of the wrong type.
    WrongType,
    /// A required text is empty.
    Empty,
    /// `ts` is negative, beyond the year 9999, or not a time.
    BadTs,
    /// `ts` was too far ahead of the stream. Not given any more: such an event counts as of the stream's clock. Dead
    /// letters of earlier versions have it.
    TsJump,
    /// The message is longer than the cap.
    TooLarge,
    /// A key, id or name is longer than the cap. In letters of older versions only: such keys are shortened.
    TextTooLong,
    /// More entities than the cap. In letters of older versions only: the first ones are kept.
    TooManyEntities,
    /// All ids of a kind are taken.
    Full,
    /// The message names a schema that the registry does not have.
    UnknownSchema,
    /// The message is not what its schema says, or the schema cannot be used.
    Undecodable,
    /// A required text has a lone surrogate or an unknown escape, or is not UTF-8.
    BadText,
    /// A field that decides has a value that it cannot have: a `label` that is no verdict, a `confidence` beyond 0 to 1.
    BadValue,
    /// It could not be read from its topic, and a person said to pass over it.
    Skipped,
}

impl RejectCode {
    /// All of them, in their order.
    pub const ALL: [Self; 17] = [
        Self::NotJson,
        Self::NotUtf8,
        Self::NotAnObject,
        Self::MissingField,
        Self::WrongType,
        Self::Empty,
        Self::BadTs,
        Self::TsJump,
        Self::TooLarge,
        Self::TextTooLong,
        Self::TooManyEntities,
        Self::Full,
        Self::UnknownSchema,
        Self::Undecodable,
        Self::BadText,
        Self::BadValue,
        Self::Skipped,
    ];

    /// The code as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotUtf8 => "not_utf8",
            Self::NotAnObject => "not_an_object",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::Empty => "empty",
            Self::BadTs => "bad_ts",
            Self::TsJump => "ts_jump",
            Self::TooLarge => "too_large",
            Self::TextTooLong => "text_too_long",
            Self::TooManyEntities => "too_many_entities",
            Self::Full => "full",
            Self::UnknownSchema => "unknown_schema",
            Self::Undecodable => "undecodable",
            Self::BadText => "bad_text",
            Self::BadValue => "bad_value",
            Self::Skipped => "skipped",
        }
    }
}

// A code that is added has to be listed.
const _: () = assert!(RejectCode::Skipped as usize + 1 == RejectCode::ALL.len());

/// A message that could not be read. `detail` never contains values of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The reason code.
    pub code: RejectCode,
    /// What was found, and where in the message.
    pub detail: String,
}

impl Reject {
    /// A reject with its detail.
    pub fn new(code: RejectCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}
