//! Kafka: events and labels in, actions, scores and dead letters out, and the order in which they were taken.

mod bell;
pub mod client;
pub mod config;
pub mod fence;
pub mod fetcher;
pub mod heard;
pub mod held;
pub mod journal;
pub mod outcome;
pub mod passage;
mod polling;
pub mod publish;
pub mod retention;
pub mod security;
pub mod signature;
pub mod skip;
pub mod source;
mod stands;
pub mod tail;
pub mod token;
pub mod topics;
