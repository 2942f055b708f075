//! Why the store did not do what it was asked.

use super::call::CallError;
use super::protocol::Refusal;

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisStoreError {
    /// The lease is gone, or Redis went back in time: start over from the claim, with an empty memory.
    #[error(
        "the lease on shard {shard} of Redis is lost at {what}: another detector took over, or Redis lost writes\nhint: the process starts over from the claim; if this repeats, see that one group has one `prefix` and Redis keeps its append-only file"
    )]
    Lost {
        /// The shard that said so.
        shard: u16,
        /// What was being done.
        what: String,
    },
    /// Redis cannot be used right now. Nothing is lost: try the same again later.
    #[error("Redis cannot be used now, at {what}: {why}")]
    Unavailable {
        /// What was being done.
        what: String,
        /// Why not.
        why: CallError,
    },
    /// Redis will not do it as things are.
    #[error("Redis does not do it, at {what}: {why}")]
    Refused {
        /// What was being done.
        what: String,
        /// Why not.
        why: CallError,
    },
    /// The state cannot be started from.
    #[error("{0}")]
    State(#[from] Refusal),
    /// A record or header cannot be read.
    #[error(
        "damaged data in Redis, {what}\nhint: something else writes under this prefix, a newer version did, or memory or a disk fails; restore a backup, or `--rebuild-from earliest`"
    )]
    Damaged {
        /// Which, and how.
        what: String,
    },
    /// The keys belong to a deployment with other settings.
    #[error(
        "Redis holds a state with other settings: found `{found}`, this detector has `{expected}`\nhint: set `redis.shards` as it was, or use another `redis.prefix` and `--rebuild-from earliest`"
    )]
    OtherSettings {
        /// What is there.
        found: String,
        /// What this one has.
        expected: String,
    },
    /// A call out of turn: a mistake of the program, not of Redis.
    #[error("the store was asked for {what} before {first}\nhint: please report it")]
    OutOfTurn {
        /// What was asked.
        what: &'static str,
        /// What has to come before.
        first: &'static str,
    },
    /// A checkpoint that is older than its base: a mistake of the program, not of Redis.
    #[error(
        "a checkpoint may not go back: partition {partition} from {from} to {}\nhint: please report it",
        to.map_or_else(|| "nothing".to_owned(), |to| to.to_string())
    )]
    Backwards {
        /// The partition.
        partition: String,
        /// The base's offset.
        from: i64,
        /// The new one.
        to: Option<i64>,
    },
    /// Numbers ran out: four thousand million epochs or checkpoints.
    #[error(
        "no more numbers for {what}\nhint: use another `redis.prefix` and `--rebuild-from earliest`"
    )]
    Exhausted {
        /// What was counted.
        what: &'static str,
    },
}

impl RedisStoreError {
    /// Wraps the error of a call.
    #[must_use]
    pub fn from_call(what: impl Into<String>, why: CallError) -> Self {
        let what = what.into();
        match why {
            CallError::Unknown { .. } | CallError::NotNow { .. } => Self::Unavailable { what, why },
            CallError::Never { .. } => Self::Refused { what, why },
        }
    }

    /// Whether to start over from the claim.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    /// Whether the same may work later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
