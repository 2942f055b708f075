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
mod build;
mod carry;
mod changed;
pub mod config;
mod decide;
mod decider;
mod edges;
pub mod effects;
mod expire;
mod explain;
mod extract;
mod finish;
pub mod intern;
pub mod invariants;
pub mod labelfree;
mod labels;
pub mod limits;
mod named;
mod opening;
pub mod policy;
mod preview;
mod privacy;
mod published;
mod reasons;
mod recent;
mod slab;
mod snapshot;
mod state;
mod step;
pub mod wire;

pub use build::{Options, Size, Versions};
pub use carry::Carry;
pub use changed::{Changed, Listed};
pub use decide::Draft;
pub use decider::Decider;
pub use explain::Explanation;
pub use finish::Finisher;
pub use named::{ACCOUNT_KIND, Name, Save};
pub use opening::OPENING_EVENTS;
pub use preview::{Preview, Unscored};
pub use published::PublishedAction;
pub use snapshot::{LoadError, Loading};
pub use step::{Engine, Input, Wanted};
