//! Where state outlives the process.

pub mod embedded;
