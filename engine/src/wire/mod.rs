//! Message formats: bytes in, bytes out. Nothing outside this module knows JSON.

mod decode;
mod encode;
mod mapping;
mod reject;
mod vocabulary;

pub use decode::Decoder;
pub use encode::{ActionV1, EventRefV1, EvidenceV1, ReasonV1, ScoresV1, VersionsV1, ViaV1};
pub use encode::{DeadLetterV1, write_score};
pub(crate) use encode::{action_id, hex};
pub use mapping::{MappingConfig, Preset};
pub use reject::{Reject, RejectCode};
pub use vocabulary::Vocabulary;
