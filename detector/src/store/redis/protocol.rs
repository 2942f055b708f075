//! What the protocol speaks of: tags, headers, positions, and which checkpoint to start from.
//! `docs/redis.md` has the forms as bytes.

use super::index::BETWEEN;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Version of headers and records. 3: records and positions have a CRC-32C.
pub const FORMAT: u32 = 3;

/// The oldest version that is read; others are refused. The next claim makes it [`FORMAT`].
pub const FORMAT_OLDEST: u32 = 2;

/// Names a checkpoint: the epoch of the process that wrote it, and its number there. Ordered by age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// The writer's epoch; 0 only of the first, empty checkpoint.
    pub epoch: u32,
    /// Number within the epoch, from 1.
    pub n: u32,
}

impl Tag {
    /// The first, empty checkpoint: whoever writes it writes the same.
    pub const FIRST: Self = Self { epoch: 0, n: 1 };

    /// Its field in a header: `r:<epoch>.<n>`.
    #[must_use]
    pub fn field(self) -> String {
        format!("r:{}.{}", self.epoch, self.n)
    }

    /// The tag of a header's field, if the field is one.
    #[must_use]
    pub fn from_field(field: &str) -> Option<Self> {
        let (epoch, n) = field.strip_prefix("r:")?.split_once('.')?;
        Some(Self { epoch: epoch.parse().ok()?, n: n.parse().ok()? })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.n)
    }
}

/// Who holds the lease: random, drawn anew for every claim, so that an epoch number that was lost with a claim
/// and given out again does not make two owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u128);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Offsets by partition, named as the caller likes (`events/3`): the next one to read.
pub type Offsets = BTreeMap<String, i64>;

/// What a checkpoint belongs to: S, and whatever else the caller wants back with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// S: the state holds everything before these.
    pub offsets: Offsets,
    /// The caller's own text, usually JSON; not looked at.
    #[serde(default)]
    pub detail: String,
}

impl Position {
    /// Its text in the header: JSON, with a CRC-32C over the checkpoint's field and the text without it.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which does not happen.
    pub fn marker(&self, tag: Tag) -> serde_json::Result<String> {
        let crc32c = Some(self.crc32c(tag)?);
        let Self { offsets, detail } = self.clone();
        serde_json::to_string(&Marker { offsets, detail, crc32c })
    }

    /// The position behind [`Self::marker`]. Format 2 has no CRC.
    ///
    /// # Errors
    /// When it is damaged, or of another checkpoint.
    pub fn from_marker(tag: Tag, text: &str) -> Result<Self, String> {
        let unreadable = |e: serde_json::Error| format!("its position cannot be read: {e}");
        let Marker { offsets, detail, crc32c } = serde_json::from_str(text).map_err(unreadable)?;
        let position = Self { offsets, detail };
        let computed = position.crc32c(tag).map_err(unreadable)?;
        match crc32c {
            Some(found) if found != computed => {
                Err(format!("CRC-32C of its position is {found:08x}, computed {computed:08x}"))
            }
            _ => Ok(position),
        }
    }

    fn crc32c(&self, tag: Tag) -> serde_json::Result<u32> {
        let text = serde_json::to_string(self)?;
        let field = crc32c::crc32c(tag.field().as_bytes());
        Ok(crc32c::crc32c_append(crc32c::crc32c_append(field, &[BETWEEN]), text.as_bytes()))
    }
}

/// A position in a header.
#[derive(Serialize, Deserialize)]
struct Marker {
    offsets: Offsets,
    #[serde(default)]
    detail: String,
    /// `None`: written in format 2.
    #[serde(default)]
    crc32c: Option<u32>,
}

/// The header of a shard, as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Header {
    /// Epoch of the last claim; 0 before the first one.
    pub epoch: u32,
    /// Who claimed it, as 32 hexadecimal digits; empty before the first claim.
    pub owner: String,
    /// How many guarded calls were made since the claim.
    pub seq: u64,
    /// Number of shards that it was claimed with; 0 before the first claim.
    pub shards: u32,
    /// The form of what is stored; 0 before the first claim.
    pub format: u32,
    /// How many names its index has, which is how many records there are.
    pub records: u64,
    /// Checkpoints that can be read, with their positions as JSON: at most two.
    pub readable: BTreeMap<Tag, String>,
}

impl Header {
    /// Reads a header from its fields. `None` says that it is damaged.
    #[must_use]
    pub fn from_fields<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let mut header = Self::default();
        for (field, value) in fields {
            match field {
                "epoch" => header.epoch = value.parse().ok()?,
                "owner" => header.owner = value.to_owned(),
                "seq" => header.seq = value.parse().ok()?,
                "shards" => header.shards = value.parse().ok()?,
                "format" => header.format = value.parse().ok()?,
                "records" => header.records = value.parse().ok()?,
                // What a later version may add does not concern this one: it would raise the format otherwise.
                _ => {
                    if let Some(tag) = Tag::from_field(field) {
                        header.readable.insert(tag, value.to_owned());
                    }
                }
            }
        }
        Some(header)
    }
}

/// Why a state cannot be started from. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Kafka knows how far outputs went, Redis has no state.
    #[error(
        "Redis holds no checkpoint, but outputs were committed in Kafka: the state is gone or this is another Redis\nhint: put the right `url` and `prefix`, or restore Redis from a backup; else `--rebuild-from earliest` reads the topics again, `--cold` starts with an empty state at the committed offsets"
    )]
    Empty,
    /// No checkpoint is on all shards.
    #[error(
        "no checkpoint in Redis is on all shards (shard {shard} has {there}): shards were restored to different moments, or writes were lost\nhint: restore all shards from one backup with the detectors stopped; else `--rebuild-from earliest` reads the topics again, `--cold` starts with an empty state"
    )]
    NothingInCommon {
        /// A shard that lacks what another one has.
        shard: u16,
        /// What it has.
        there: String,
    },
    /// Shards disagree about one checkpoint, or its position cannot be read.
    #[error(
        "checkpoint {tag} is torn: {why}\nhint: restore all shards from one backup with the detectors stopped; else `--rebuild-from earliest` reads the topics again"
    )]
    Torn {
        /// The checkpoint.
        tag: Tag,
        /// What is wrong with it.
        why: String,
    },
    /// The state is ahead of the outputs.
    #[error(
        "checkpoint {tag} is ahead of Kafka: partition {partition} at {state}, outputs committed up to {outputs}\nhint: is this the right `group` and the right Kafka? Offsets that were reset by hand need `--rebuild-from earliest`"
    )]
    AheadOfOutputs {
        /// The checkpoint.
        tag: Tag,
        /// The partition.
        partition: String,
        /// S there.
        state: i64,
        /// O there.
        outputs: i64,
    },
    /// There is a state, and no committed output: it expired, or it is another group.
    #[error(
        "Redis holds checkpoint {tag}, but the group has no committed offsets in Kafka\nhint: is this the right `group`? If its offsets expired, `--rebuild-from earliest` reads the topics again"
    )]
    NoOutputs {
        /// The checkpoint.
        tag: Tag,
    },
}

/// Where to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// From a checkpoint: load it, replay from its position.
    From {
        /// The checkpoint.
        base: Tag,
        /// What it belongs to.
        position: Position,
    },
    /// Nothing was ever done: write the first checkpoint.
    New,
}

/// The newest checkpoint that every shard can give. Not the smallest of their newest: what another shard
/// never finished is on none of its records.
///
/// # Errors
/// When there is none in common, or shards disagree about it.
pub fn common_base(headers: &[Header]) -> Result<Option<(Tag, Position)>, Refusal> {
    let mut common: Option<BTreeSet<Tag>> = None;
    for header in headers {
        let here: BTreeSet<Tag> = header.readable.keys().copied().collect();
        common = Some(match common {
            Some(common) => common.intersection(&here).copied().collect(),
            None => here,
        });
    }
    let Some(&tag) = common.as_ref().and_then(|c| c.last()) else { return Ok(None) };
    let mut texts: Vec<&String> = headers.iter().filter_map(|h| h.readable.get(&tag)).collect();
    // Shards have the same text, unless a first checkpoint was begun in format 2 and completed in format 3.
    texts.dedup();
    let mut common: Option<Position> = None;
    for text in texts {
        let position =
            Position::from_marker(tag, text).map_err(|why| Refusal::Torn { tag, why })?;
        if common.as_ref().is_some_and(|other| *other != position) {
            let why = "its shards name different positions".to_owned();
            return Err(Refusal::Torn { tag, why });
        }
        common = Some(position);
    }
    Ok(common.map(|position| (tag, position)))
}

/// Rule 5: where to start from, given O (`committed`) and the offsets where a new group begins (`start`; with
/// `committed` at them, nothing was done yet).
///
/// # Errors
/// The refusals of the protocol. Never a silent cold start.
pub fn decide(headers: &[Header], committed: &Offsets, start: &Offsets) -> Result<Start, Refusal> {
    let untouched = committed.iter().all(|(p, o)| start.get(p) == Some(o));
    let Some((base, position)) = common_base(headers)? else {
        // Markers of a first checkpoint that was not completed stand in nobody's way.
        if untouched && headers.iter().all(|h| h.readable.keys().all(|t| *t == Tag::FIRST)) {
            return Ok(Start::New);
        }
        return Err(match headers.iter().all(|h| h.readable.is_empty()) {
            true => Refusal::Empty,
            false => nothing_in_common(headers),
        });
    };
    // A later checkpoint than the first that has taken nothing either: an instance went live and could publish nothing, because it had
    // no right to.
    let has_taken = position.offsets.iter().any(|(partition, at)| start.get(partition) != Some(at));
    if committed.is_empty() && base != Tag::FIRST && has_taken {
        return Err(Refusal::NoOutputs { tag: base });
    }
    for (partition, &state) in &position.offsets {
        // A partition from which nothing was committed yet is at its start.
        let outputs = committed.get(partition).or_else(|| start.get(partition));
        let Some(&outputs) = outputs else { continue };
        if state > outputs {
            let partition = partition.clone();
            return Err(Refusal::AheadOfOutputs { tag: base, partition, state, outputs });
        }
    }
    Ok(Start::From { base, position })
}

fn nothing_in_common(headers: &[Header]) -> Refusal {
    let newest = headers.iter().filter_map(|h| h.readable.keys().next_back()).max();
    let shard = headers
        .iter()
        .position(|h| newest.is_none_or(|tag| !h.readable.contains_key(tag)))
        .unwrap_or_default();
    let tags: Vec<String> = headers
        .get(shard)
        .map(|h| h.readable.keys().map(Tag::to_string).collect())
        .unwrap_or_default();
    let there = if tags.is_empty() { "none".to_owned() } else { tags.join(" and ") };
    Refusal::NothingInCommon { shard: u16::try_from(shard).unwrap_or(u16::MAX), there }
}
