//! The calls that one shard understands. Each is one script, so one atomic step on one hash slot; the scripts
//! are the protocol, and the twin says the same in Rust.

use super::names::Name;
use super::protocol::{Owner, Tag};
use super::record;
use std::fmt;

/// Who calls, and the how-manieth guarded call on this shard since the claim it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    /// The caller's epoch.
    pub epoch: u32,
    /// The caller.
    pub owner: Owner,
    /// Calls of this owner that the shard has taken so far.
    pub seq: u64,
}

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It has this value.
    Write(Vec<u8>),
    /// It is gone: a tombstone, as long as the base still has it.
    Delete,
    /// It is as at the base: what an abandoned attempt left is dropped, and a tombstone's key removed.
    Tidy,
    /// Its key is removed. Only when nothing is readable any more.
    Erase,
}

/// A record's key, what becomes of it, and the CRC of what is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// The key in Redis, with prefix and tag.
    pub key: String,
    /// What becomes of it.
    pub change: Change,
    /// The CRC-32C of the version that is written; 0 when none is. The scripts cannot compute it.
    pub crc: u32,
}

impl Item {
    /// A record's next version, with its CRC.
    #[must_use]
    pub fn new(key: String, name: &Name, tag: Tag, change: Change) -> Self {
        let crc = match &change {
            Change::Write(value) => record::crc(name, tag, Some(value)),
            Change::Delete => record::crc(name, tag, None),
            Change::Tidy | Change::Erase => 0,
        };
        Self { key, change, crc }
    }
}

/// A guarded step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Changes nothing but the chain: the claim holds, and what was written before is written.
    Confirm,
    /// Only the base stays readable.
    Begin {
        /// The base.
        base: Tag,
    },
    /// Writes records.
    Chunk {
        /// The base.
        base: Tag,
        /// The new versions' checkpoint.
        tag: Tag,
        /// Bytes at which a block of the index is full; the index's own `BLOCK_BYTES` outside of tests.
        block_bytes: u32,
        /// The records, at most a few thousand.
        items: Vec<Item>,
    },
    /// The checkpoint is readable on this shard.
    Finish {
        /// The checkpoint.
        tag: Tag,
        /// Its position, as JSON.
        position: String,
    },
    /// The first checkpoint, if the shard has no marker.
    First {
        /// Its position, as JSON.
        position: String,
    },
    /// Nothing is readable any more.
    Withdraw,
    /// Every record is gone: its index goes, too.
    Clear,
}

/// A call on one shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Takes the shard for a new epoch.
    Claim {
        /// The new epoch.
        epoch: u32,
        /// The new owner.
        owner: Owner,
        /// Number of shards.
        shards: u16,
    },
    /// A link of the chain.
    Guarded(Guard, Step),
    /// The owner is alive for another while (0: no longer). On the first shard, and no part of the chain.
    Beat {
        /// The owner's epoch.
        epoch: u32,
        /// The owner.
        owner: Owner,
        /// For how long, milliseconds.
        ttl_ms: u64,
    },
}

/// What a shard answers to a call that it received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Done.
    Done,
    /// Epoch, owner or seq are not the caller's; nothing was changed.
    Refused,
    /// The base is not readable; nothing was changed.
    NoBase,
    /// The shard belongs to a deployment with another number of shards, or another form of records.
    Other(String),
}

impl Reply {
    /// Reads a script's answer.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "done" => Self::Done,
            "refused" => Self::Refused,
            "no base" => Self::NoBase,
            _ => Self::Other(text.to_owned()),
        }
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The reply was lost: the call may have happened, or may still happen.
    #[error("no answer from {place}: {why}")]
    Unknown {
        /// Which server.
        place: String,
        /// What happened.
        why: String,
    },
    /// The server did not do it, and may do it later: loading, full, read-only, moved.
    #[error("{place} did not take the call: {why}")]
    NotNow {
        /// Which server.
        place: String,
        /// What it says, and what to do.
        why: String,
    },
    /// It will not be done as things are: credentials, rights, damaged data.
    #[error("{place} refuses the call: {why}")]
    Never {
        /// Which server.
        place: String,
        /// What it says, and what to do.
        why: String,
    },
}

/// Whether what was written survives a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durable {
    /// On the disk, so far as the server says.
    Yes,
    /// The server cannot say: no `WAITAOF`, or no append-only file.
    Unsupported,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Confirm => "confirm",
            Self::Begin { .. } => "begin",
            Self::Chunk { .. } => "chunk",
            Self::Finish { .. } => "finish",
            Self::First { .. } => "first checkpoint",
            Self::Withdraw => "withdraw",
            Self::Clear => "clear",
        })
    }
}
