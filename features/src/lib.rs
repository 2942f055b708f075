//! What happened, turned into numbers: events, rolling profiles of keys, and the feature vector.
//!
//! Pure: no clock, no randomness, no I/O. Time is a field of the event.
//!
//! [`schema::Schema::compile`] turns declarations ([`config`]) into one byte [`layout`] per role; [`profile`] says how an event changes
//! such bytes and which columns are read from them; [`vector`] puts the columns of all parts in one fixed order. The [`blocks`] are what
//! profiles are built of.

#[cfg(target_endian = "big")]
compile_error!("profiles are read and written in place as little-endian bytes");

pub mod blocks;
pub mod byte_size;
mod compile;
pub mod config;
pub mod decay;
pub mod duration;
pub mod event;
pub mod expr;
mod field;
pub mod hits;
pub mod key_form;
pub mod layout;
pub mod limits;
pub mod placeholder;
pub mod profile;
pub mod schema;
pub mod vector;
