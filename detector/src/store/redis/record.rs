//! A record's envelope: at most two versions in one value, newest first, each with a CRC-32C.
//!
//! ```text
//! 0  u8   format, 3
//! 1  u8   number of versions, 1 or 2; with 128 added: the last one came from format 2 and has no CRC
//! 2  u16  the block of the shard's index that has its name
//! 4  u32 epoch, u32 n, u32 length (0xffff_ffff: gone), u32 CRC-32C, then the value; and again for an older version
//! ```
//! All little-endian. A reader takes the first version; the second one is for recovery. `scripts/chunk.lua`
//! does on the server what [`Record::put`] and [`Record::tidy`] do here, and copies a CRC without computing it.
//!
//! Format 2 is the same without CRCs. It is read, and becomes format 3 when the record is next written.

use super::names::Name;
use super::protocol::Tag;

const ENVELOPE: u8 = 3;
/// The format before, without CRCs.
const ENVELOPE_OLD: u8 = 2;
/// Added to the number of versions: the last one has no CRC.
const UNCHECKED: u8 = 128;
const GONE: u32 = u32::MAX;
const HEAD: usize = 4;
const VERSION_HEAD: usize = 16;
const VERSION_HEAD_OLD: usize = 12;

/// One version: its checkpoint and its value, `None` for a tombstone.
pub type Version<'a> = (Tag, Option<&'a [u8]>);

/// What is wrong with an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Its first bytes are no envelope's.
    #[error("no envelope of format 2 or 3")]
    Format,
    /// It ends too early.
    #[error("no whole envelope: it ends within version {nth} of {count}")]
    Cut {
        /// Which version, from 1.
        nth: u8,
        /// How many it says it has.
        count: u8,
    },
    /// Bytes follow its last version.
    #[error("no whole envelope: {bytes} bytes follow its last version")]
    Long {
        /// How many.
        bytes: usize,
    },
    /// The second version is not older than the first.
    #[error("version {second} follows version {first}, which is not newer")]
    Order {
        /// The first version's checkpoint.
        first: Tag,
        /// The second version's checkpoint.
        second: Tag,
    },
    /// Bits changed, or the value belongs to another record or version.
    #[error(
        "CRC-32C of version {tag} is {found:08x}, computed {computed:08x} over name, version and value"
    )]
    Crc {
        /// The version's checkpoint.
        tag: Tag,
        /// As it was read.
        found: u32,
        /// As it should be.
        computed: u32,
    },
}

/// A version as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored<'a> {
    tag: Tag,
    value: Option<&'a [u8]>,
    /// `None`: it came from format 2.
    crc: Option<u32>,
}

/// The versions of a record, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// The block of the shard's index that has its name.
    pub block: u16,
    versions: [Option<Stored<'a>>; 2],
}

/// The CRC-32C of a version: over the record's name ([`Name::crc32c`]), epoch, number, length and value.
#[must_use]
pub fn crc(name: &Name, tag: Tag, value: Option<&[u8]>) -> u32 {
    let words = [tag.epoch, tag.n, length(value)];
    let head = words
        .iter()
        .fold(name.crc32c(), |crc, word| crc32c::crc32c_append(crc, &word.to_le_bytes()));
    crc32c::crc32c_append(head, value.unwrap_or_default())
}

fn length(value: Option<&[u8]>) -> u32 {
    value.map_or(GONE, |value| value.len() as u32)
}

impl<'a> Record<'a> {
    /// Reads the envelope of the record with this name. Copies nothing.
    ///
    /// # Errors
    /// When it is damaged, or belongs to another record.
    pub fn read(bytes: &'a [u8], name: &Name) -> Result<Self, Damage> {
        let Some((&[format, count, low, high], mut rest)) = bytes.split_first_chunk::<HEAD>()
        else {
            return Err(Damage::Format);
        };
        let (count, unchecked) = match format {
            ENVELOPE => (count & !UNCHECKED, count & UNCHECKED != 0),
            ENVELOPE_OLD => (count, true),
            _ => return Err(Damage::Format),
        };
        if !(1..=2).contains(&count) {
            return Err(Damage::Format);
        }
        let block = u16::from_le_bytes([low, high]);
        let mut versions = [None, None];
        for (nth, version) in (1..=count).zip(&mut versions) {
            let stored = match format {
                ENVELOPE => {
                    let stored = stored(&mut rest).ok_or(Damage::Cut { nth, count })?;
                    check(stored, name, unchecked && nth == count)?
                }
                _ => stored_old(&mut rest).ok_or(Damage::Cut { nth, count })?,
            };
            *version = Some(stored);
        }
        if !rest.is_empty() {
            return Err(Damage::Long { bytes: rest.len() });
        }
        match versions {
            [Some(newer), Some(older)] if newer.tag <= older.tag => {
                Err(Damage::Order { first: newer.tag, second: older.tag })
            }
            _ => Ok(Self { block, versions }),
        }
    }

    /// Its versions, newest first.
    pub fn versions(&self) -> impl Iterator<Item = Version<'a>> + '_ {
        self.stored().map(|stored| (stored.tag, stored.value))
    }

    fn stored(&self) -> impl Iterator<Item = Stored<'a>> + '_ {
        self.versions.iter().copied().flatten()
    }

    /// The newest version at or below a checkpoint.
    #[must_use]
    pub fn at(&self, base: Tag) -> Option<Version<'a>> {
        self.versions().find(|(tag, _)| *tag <= base)
    }

    fn stored_at(&self, base: Tag) -> Option<Stored<'a>> {
        self.stored().find(|stored| stored.tag <= base)
    }

    /// Whether a version is newer than a checkpoint: what an abandoned attempt left.
    #[must_use]
    pub fn ahead_of(&self, base: Tag) -> bool {
        self.versions().any(|(tag, _)| tag > base)
    }

    /// The record with a new version over a base: the newest version at or below the base stays, any other
    /// one goes. `crc` is the new version's CRC-32C. `None`: absent before and after, the key goes.
    #[must_use]
    pub fn put(&self, base: Tag, tag: Tag, value: Option<&'a [u8]>, crc: u32) -> Option<Self> {
        let kept = self.stored_at(base);
        if value.is_none() && kept.is_none_or(|kept| kept.value.is_none()) {
            return None;
        }
        let new = Stored { tag, value, crc: Some(crc) };
        Some(Self { block: self.block, versions: [Some(new), kept] })
    }

    /// The record as it is at the base and nothing else, neither newer nor older. `None`: absent, the key goes.
    #[must_use]
    pub fn tidy(&self, base: Tag) -> Option<Self> {
        let kept = self.stored_at(base).filter(|kept| kept.value.is_some())?;
        Some(Self { block: self.block, versions: [Some(kept), None] })
    }

    /// The envelope's bytes, after [`Self::put`] or [`Self::tidy`]: only the last version may lack a CRC.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let size = |stored: Stored<'_>| VERSION_HEAD + stored.value.map_or(0, <[u8]>::len);
        let mut out = Vec::with_capacity(HEAD + self.stored().map(size).sum::<usize>());
        let unchecked = self.stored().last().is_some_and(|last| last.crc.is_none());
        let count = self.stored().count() as u8;
        out.extend([ENVELOPE, if unchecked { count | UNCHECKED } else { count }]);
        out.extend(self.block.to_le_bytes());
        for Stored { tag, value, crc } in self.stored() {
            for word in [tag.epoch, tag.n, length(value), crc.unwrap_or_default()] {
                out.extend(word.to_le_bytes());
            }
            out.extend(value.unwrap_or_default());
        }
        out
    }
}

/// A version of format 3, its CRC not checked yet.
fn stored<'a>(rest: &mut &'a [u8]) -> Option<Stored<'a>> {
    let (head, tail) = rest.split_first_chunk::<VERSION_HEAD>()?;
    let [epoch, n, length, crc] = words(head);
    let value;
    (value, *rest) = value_of(length, tail)?;
    Some(Stored { tag: Tag { epoch, n }, value, crc: Some(crc) })
}

/// A version of format 2.
fn stored_old<'a>(rest: &mut &'a [u8]) -> Option<Stored<'a>> {
    let (head, tail) = rest.split_first_chunk::<VERSION_HEAD_OLD>()?;
    let [epoch, n, length] = words(head);
    let value;
    (value, *rest) = value_of(length, tail)?;
    Some(Stored { tag: Tag { epoch, n }, value, crc: None })
}

fn value_of(length: u32, tail: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    if length == GONE {
        return Some((None, tail));
    }
    let (value, tail) = tail.split_at_checked(length as usize)?;
    Some((Some(value), tail))
}

/// A version whose CRC is right. Where there is none, zeros have its place: a flipped mark is seen.
fn check<'a>(stored: Stored<'a>, name: &Name, unchecked: bool) -> Result<Stored<'a>, Damage> {
    let Stored { tag, value, crc: found } = stored;
    let found = found.unwrap_or_default();
    let computed = if unchecked { 0 } else { crc(name, tag, value) };
    if found != computed {
        return Err(Damage::Crc { tag, found, computed });
    }
    Ok(Stored { crc: (!unchecked).then_some(found), ..stored })
}

fn words<const BYTES: usize, const N: usize>(head: &[u8; BYTES]) -> [u32; N] {
    let mut words = head.chunks_exact(4);
    std::array::from_fn(|_| {
        let word = words.next().and_then(|word| word.try_into().ok());
        u32::from_le_bytes(word.unwrap_or_default())
    })
}
