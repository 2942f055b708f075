//! Records' names, their shards and their keys in Redis.

use super::index::BETWEEN;
use compact_str::CompactString;
use std::fmt::Write as _;

/// What sort of record it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// A profile of a kind.
    Profile {
        /// The kind: `account`, `device`.
        kind: CompactString,
    },
    /// A table that belongs to no key.
    Global,
}

/// The name of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Its sort.
    pub domain: Domain,
    /// Its key, as text.
    pub key: CompactString,
}

impl Name {
    /// A profile's name.
    #[must_use]
    pub fn profile(kind: &str, key: &str) -> Self {
        Self { domain: Domain::Profile { kind: kind.into() }, key: key.into() }
    }

    /// A global table's name.
    #[must_use]
    pub fn global(name: &str) -> Self {
        Self { domain: Domain::Global, key: name.into() }
    }

    /// The name behind what follows the hash tag of a record's key; `None` for anything else. Allocates only for kinds and keys of
    /// over 24 bytes.
    #[must_use]
    pub fn behind_tag(rest: &[u8]) -> Option<Self> {
        Some(match std::str::from_utf8(rest).ok()?.split_once(':')? {
            ("p", rest) => {
                let (kind, key) = rest.split_once(':')?;
                Self { domain: Domain::Profile { kind: decode(kind)? }, key: decode(key)? }
            }
            ("g", name) => Self { domain: Domain::Global, key: decode(name)? },
            _ => return None,
        })
    }

    /// What may stand in a log: keys are personal data, so their CRC-32 in place of them.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.domain {
            Domain::Profile { kind } => {
                format!("kind {kind}, key with CRC-32 {:08x}", crc32fast::hash(self.key.as_bytes()))
            }
            Domain::Global => format!("global {}", self.key),
        }
    }

    /// The CRC-32C of its parts before encoding, each with a byte `0xff` behind it: `p`, kind and key, or `g` and the name.
    /// UTF-8 has that byte nowhere, so different names give different texts.
    #[must_use]
    pub fn crc32c(&self) -> u32 {
        let (domain, kind) = match &self.domain {
            Domain::Profile { kind } => ("p", Some(kind.as_str())),
            Domain::Global => ("g", None),
        };
        let parts = [Some(domain), kind, Some(self.key.as_str())];
        parts.into_iter().flatten().fold(0, |crc, part| {
            crc32c::crc32c_append(crc32c::crc32c_append(crc, part.as_bytes()), &[BETWEEN])
        })
    }

    /// Its shard out of `shards` (at least one): the CRC-32 (IEEE) of `kind:key`, or of `g:name`, before encoding,
    /// modulo the number of shards.
    #[must_use]
    pub fn shard(&self, shards: u16) -> u16 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(match &self.domain {
            Domain::Profile { kind } => kind.as_bytes(),
            Domain::Global => b"g",
        });
        crc.update(b":");
        crc.update(self.key.as_bytes());
        // The remainder is below `shards`.
        (crc.finalize() % u32::from(shards.max(1))) as u16
    }
}

/// The keys of one deployment: its prefix and its number of shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Before every key.
    pub prefix: String,
    /// Number of shards.
    pub shards: u16,
}

impl Keys {
    /// What the keys of a shard begin with.
    #[must_use]
    pub fn tag(&self, shard: u16) -> String {
        format!("{}{{s{shard:03}}}:", self.prefix)
    }

    /// The header of a shard.
    #[must_use]
    pub fn head(&self, shard: u16) -> String {
        format!("{}head", self.tag(shard))
    }

    /// The index of a shard: the names of its records.
    #[must_use]
    pub fn index(&self, shard: u16) -> String {
        format!("{}index", self.tag(shard))
    }

    /// The owner's sign of life, beside the first shard's header.
    #[must_use]
    pub fn alive(&self) -> String {
        format!("{}alive", self.tag(0))
    }

    /// A standby's word that it reads the state, beside the first shard's header.
    #[must_use]
    pub fn reading(&self) -> String {
        format!("{}reading", self.tag(0))
    }

    /// A published layout.
    #[must_use]
    pub fn layout(&self, hash: &str) -> String {
        let mut key = format!("{}layout:", self.prefix);
        encode(hash, &mut key);
        key
    }

    /// What the keys of all records begin with.
    #[must_use]
    pub fn records(&self) -> String {
        format!("{}{{s", self.prefix)
    }

    /// The key of a record.
    #[must_use]
    pub fn record(&self, name: &Name) -> String {
        let mut key = self.tag(name.shard(self.shards));
        match &name.domain {
            Domain::Profile { kind } => {
                key.push_str("p:");
                encode(kind, &mut key);
                key.push(':');
            }
            Domain::Global => key.push_str("g:"),
        }
        encode(&name.key, &mut key);
        key
    }

    /// The name behind a record's key, and its shard; `None` for any other key.
    #[must_use]
    pub fn name(&self, key: &[u8]) -> Option<(u16, Name)> {
        let rest = key.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"{s")?;
        let (digits, rest) = rest.split_first_chunk::<3>()?;
        let name = Name::behind_tag(rest.strip_prefix(b"}:")?)?;
        let digit = |n: u16, d: &u8| d.is_ascii_digit().then(|| n * 10 + u16::from(d - b'0'));
        // Where it belongs, or nothing that was written here.
        let shard = digits.iter().try_fold(0, digit)?;
        (name.shard(self.shards) == shard).then_some((shard, name))
    }
}

/// Percent-encodes what has a meaning in a key.
fn encode(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '{' | '}' | ':' | '%' => {
                // Writing to a string does not fail.
                let _ = write!(out, "%{:02X}", c as u32);
            }
            _ => out.push(c),
        }
    }
}

/// The text behind what [`encode`] writes; `None` for what it does not write.
fn decode(text: &str) -> Option<CompactString> {
    if !text.bytes().any(|b| matches!(b, b'{' | b'}' | b':' | b'%')) {
        return Some(text.into());
    }
    let mut out = CompactString::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        out.push(match c {
            '{' | '}' | ':' => return None,
            '%' => match (rest.next()?, rest.next()?) {
                ('7', 'B') => '{',
                ('7', 'D') => '}',
                ('3', 'A') => ':',
                ('2', '5') => '%',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_those_of_the_contract() {
        let keys = Keys { prefix: "det:".to_owned(), shards: 256 };
        // CRC-32 of "account:a1", taken from Python's zlib.
        assert_eq!(keys.record(&Name::profile("account", "a1")), "det:{s002}:p:account:a1");
        assert!(keys.record(&Name::profile("ip", "::1")).ends_with(":p:ip:%3A%3A1"));
        assert_eq!(keys.head(42), "det:{s042}:head");
        assert_eq!(keys.layout("ab"), "det:layout:ab");
        let keys = Keys { prefix: "det:".to_owned(), shards: 1 };
        let name = |rest: &str| keys.name(format!("det:{{s000}}:{rest}").as_bytes());
        assert_eq!(name("p:ip:%3A%7B%7D%25"), Some((0, Name::profile("ip", ":{}%"))));
        for other in ["p:ip:%3a", "p:ip:%41", "p:ip:%7", "p:ip:a:b", "p:ip:{", "p:ip", "x:ip:a"] {
            assert_eq!(name(other), None, "{other}");
        }
        for other in ["det:{s001}:g:a", "det:{s00}:g:a", "det:{s0000}:g:a", "other:{s000}:g:a"] {
            assert_eq!(keys.name(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_key_gives_its_name_back(kind in "\\PC{0,8}", key in "\\PC{0,20}", shards in 1u16..=256, global: bool) {
            let keys = Keys { prefix: "det:".to_owned(), shards };
            let name = if global { Name::global(&key) } else { Name::profile(&kind, &key) };
            let text = keys.record(&name);
            prop_assert_eq!(keys.name(text.as_bytes()), Some((name.shard(shards), name.clone())));
            // One hash tag, the shard's, whatever the key holds.
            prop_assert_eq!(text.matches('{').count(), 1);
            prop_assert_eq!(text.matches('}').count(), 1);
            prop_assert!(name.shard(shards) < shards);
        }

        #[test]
        fn a_name_is_read_only_from_its_one_key(
            shard in "00[0-3]|[0-9]{1,4}", domain in "[pgx]", rest in "[a-c:%{}0-9BADd]{0,12}", shards in 1u16..=4,
        ) {
            let keys = Keys { prefix: "det:".to_owned(), shards };
            let text = format!("det:{{s{shard}}}:{domain}:{rest}");
            if let Some((shard, name)) = keys.name(text.as_bytes()) {
                prop_assert_eq!(keys.record(&name), text);
                prop_assert_eq!(name.shard(shards), shard);
            }
        }
    }
}
