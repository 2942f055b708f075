//! The service and its commands.

pub mod command;
pub mod config;
pub mod evaluate;
mod fetch;
pub mod health;
pub mod http;
pub mod kafka;
pub mod parquet;
pub mod pipeline;
pub mod readers;
pub mod registry;
pub mod rights;
pub mod rows;
pub mod schemas;
pub mod service;
pub mod shipped;
pub mod simulate;
pub mod sink;
pub mod source;
pub mod store;
pub mod survey;
pub mod telemetry;
pub mod workload;
