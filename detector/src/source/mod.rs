//! Where messages come from.

pub mod files;
pub mod labels;
