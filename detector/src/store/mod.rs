//! Where state outlives the process.

pub mod embedded;
pub mod redis;
