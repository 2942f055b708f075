//! A record's envelope: at most two versions in one value, newest first.
//!
//! ```text
//! 0  u8   format, 2
//! 1  u8   number of versions, 1 or 2
//! 2  u16  the block of the shard's index that has its name
//! 4  u32 epoch, u32 n, u32 length (0xffff_ffff: gone), then the value; and again for an older version
//! ```
//! All little-endian. A reader takes the first version; the second one is for recovery. `scripts/chunk.lua`
//! does on the server what [`Record::put`] and [`Record::tidy`] do here.

use super::protocol::Tag;

const ENVELOPE: u8 = 2;
const GONE: u32 = u32::MAX;
const HEAD: usize = 4;
const VERSION_HEAD: usize = 12;

/// One version: its checkpoint and its value, `None` for a tombstone.
pub type Version<'a> = (Tag, Option<&'a [u8]>);

/// The versions of a record, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// The block of the shard's index that has its name.
    pub block: u16,
    versions: [Option<Version<'a>>; 2],
}

impl<'a> Record<'a> {
    /// Reads an envelope; `None` when it is damaged or of another form. Copies nothing.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[ENVELOPE, count @ 1..=2, low, high], mut rest) =
            bytes.split_first_chunk::<HEAD>()?
        else {
            return None;
        };
        let block = u16::from_le_bytes([low, high]);
        let mut versions = [None, None];
        for version in versions.iter_mut().take(count.into()) {
            let (head, tail) = rest.split_first_chunk::<VERSION_HEAD>()?;
            let [epoch, n, length] = words(head);
            let value;
            (value, rest) = match length {
                GONE => (None, tail),
                _ => tail
                    .split_at_checked(length as usize)
                    .map(|(value, tail)| (Some(value), tail))?,
            };
            *version = Some((Tag { epoch, n }, value));
        }
        let ordered = match versions {
            [Some((newer, _)), Some((older, _))] => newer > older,
            _ => true,
        };
        (rest.is_empty() && ordered).then_some(Self { block, versions })
    }

    /// Its versions, newest first.
    pub fn versions(&self) -> impl Iterator<Item = Version<'a>> + '_ {
        self.versions.iter().copied().flatten()
    }

    /// The newest version at or below a checkpoint.
    #[must_use]
    pub fn at(&self, base: Tag) -> Option<Version<'a>> {
        self.versions().find(|(tag, _)| *tag <= base)
    }

    /// Whether a version is newer than a checkpoint: what an abandoned attempt left.
    #[must_use]
    pub fn ahead_of(&self, base: Tag) -> bool {
        self.versions().any(|(tag, _)| tag > base)
    }

    /// The record with a new version over a base: the newest version at or below the base stays, any other
    /// one goes. `None`: absent before and after, the key goes.
    #[must_use]
    pub fn put(&self, base: Tag, tag: Tag, value: Option<&'a [u8]>) -> Option<Self> {
        let kept = self.at(base);
        if value.is_none() && kept.is_none_or(|(_, value)| value.is_none()) {
            return None;
        }
        Some(Self { block: self.block, versions: [Some((tag, value)), kept] })
    }

    /// The record as it is at the base and nothing else, neither newer nor older. `None`: absent, the key goes.
    #[must_use]
    pub fn tidy(&self, base: Tag) -> Option<Self> {
        let kept = self.at(base).filter(|(_, value)| value.is_some())?;
        Some(Self { block: self.block, versions: [Some(kept), None] })
    }

    /// The envelope's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let size = |(_, value): Version<'_>| VERSION_HEAD + value.map_or(0, <[u8]>::len);
        let mut out = Vec::with_capacity(HEAD + self.versions().map(size).sum::<usize>());
        out.extend([ENVELOPE, self.versions().count() as u8]);
        out.extend(self.block.to_le_bytes());
        for (tag, value) in self.versions() {
            out.extend(tag.epoch.to_le_bytes());
            out.extend(tag.n.to_le_bytes());
            let length = value.map_or(GONE, |v| v.len() as u32);
            out.extend(length.to_le_bytes());
            out.extend(value.unwrap_or_default());
        }
        out
    }
}

fn words(head: &[u8; VERSION_HEAD]) -> [u32; 3] {
    std::array::from_fn(|i| {
        u32::from_le_bytes([head[4 * i], head[4 * i + 1], head[4 * i + 2], head[4 * i + 3]])
    })
}
