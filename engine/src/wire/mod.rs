//! Message formats: bytes in, bytes out. Nothing outside this module knows JSON.

pub mod json;

mod attribute;
mod decode;
mod encode;
mod fault;
mod form;
mod mapping;
mod moment;
mod read;
mod reject;
mod shape;
mod vocabulary;

pub use decode::Decoder;
pub use encode::bytes_of_hex;
pub use encode::{ActionV1, EventRefV1, EvidenceV1, ReasonV1, ScoresV1, VersionsV1, ViaV1};
pub use encode::{DeadLetterV1, write_score};
pub(crate) use encode::{action_id, hex};
pub use fault::{Fault, Faults, Faulty, Field};
pub use form::{Form, RawEvent, RawLabel};
pub use mapping::{MappingConfig, Pointers, Preset};
pub use read::kept_key;
pub use reject::{Reject, RejectCode};
pub use vocabulary::Vocabulary;
