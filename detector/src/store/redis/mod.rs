//! The durable, shared state in Redis: checkpoints that are atomic over all their keys though they are written in
//! chunks, behind a lease that fences every call. `docs/redis.md` has the stored form and the operation;
//! `store.rs` says in which order its calls are made.

mod call;
mod chain;
mod checkpoint;
mod commands;
mod config;
mod connect;
mod error;
mod index;
mod lease;
mod load;
mod names;
mod protocol;
mod reading;
mod record;
mod server;
mod shards;
mod store;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;

pub use call::{Call, CallError, Change, Durable, Guard, Item, Reply, Step};
pub use config::{RedisMode, RedisSection};
pub use error::RedisStoreError;
pub use lease::{Heart, Watch};
pub use names::{Domain, Keys, Name};
pub use protocol::{
    FORMAT, FORMAT_OLDEST, Header, Offsets, Owner, Position, Refusal, Start, Tag, common_base,
    decide,
};
pub use record::{Damage, Record, Version};
pub use server::RedisShards;
pub use shards::{EachRecord, Shards};
pub use store::{Limits, Store, random_pause};
