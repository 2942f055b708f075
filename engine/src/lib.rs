//! The straight line: bytes in, scores and enforcement actions out.
//!
//! ```text
//! bytes -> Event -> profiles -> graph -> feature vector -> score -> decision -> bytes
//! wire     event    features    graph    features          models   policy      wire
//! ```
//!
//! One call per arrow; nothing waits, reads a clock, draws a random number or iterates a hash map in an
//! order that reaches an output. Time is a field of the event.

mod ahead;
mod arrived;
mod association;
mod build;
mod carry;
mod changed;
mod clock;
mod clocks;
pub mod config;
mod decide;
mod decider;
mod edges;
pub mod effects;
mod expire;
mod explain;
mod extract;
mod finish;
mod free;
mod identity;
pub mod intern;
pub mod invariants;
pub mod labelfree;
mod labels;
pub mod limits;
mod memory;
mod named;
mod outliers;
pub mod policy;
mod preview;
mod printable;
mod privacy;
mod published;
mod reasons;
mod recent;
mod segments;
mod shards;
mod slab;
mod snapshot;
mod state;
mod step;
pub mod wire;

pub use build::{Options, Size, Versions, Work};
pub use carry::Carry;
pub use changed::{Changed, Listed};
pub use clock::{Clock, ClockV1, OPENING_EVENTS};
pub use decide::Draft;
pub use decider::Decider;
pub use explain::Explanation;
pub use finish::Finisher;
pub use memory::MemoryUse;
pub use named::{ACCOUNT_KIND, Name, Save};
pub use preview::{Preview, Unscored};
pub use printable::{printable, printable_json, printable_lines};
pub use published::PublishedAction;
pub use snapshot::{LoadError, Loading};
pub use step::{Engine, Input, Wanted};
