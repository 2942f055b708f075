//! Where outputs go.

pub mod files;
