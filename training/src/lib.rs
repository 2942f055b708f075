//! From history to a model bundle, and from predictions to measures.
//!
//! * [`table`] is what is learned from; [`fit`] is the whole recipe: rows in, bundle and report out.
//! * [`split`] keeps the future out of the past; [`select`] drops what cannot help; [`boost`] grows the trees;
//!   [`stack`] joins them with the graph's model; [`calibrate`] makes the result a probability; [`threshold`] says where to act.
//! * [`labelfree`] is the model for streams without labels.
//! * [`metrics`] and [`resample`] say how good scores are, and how sure that is.
//!
//! Nothing here is on the hot path, reads a clock or touches a file. The same table, options and seed give the same bytes.

pub mod boost;
pub mod calibrate;
pub mod chance;
pub mod error;
pub mod fit;
pub mod labelfree;
pub mod logistic;
pub mod metrics;
pub mod resample;
pub mod select;
pub mod split;
pub mod stack;
pub mod table;
pub mod threshold;

pub use error::TrainError;
pub use fit::{Progress, TrainOptions, TrainReport, Trained, train};
pub use table::Table;
