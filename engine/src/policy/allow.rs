//! Who is never acted on: accounts, and events through things that are allowed.
//!
//! An event names what it likes, so one allowed thing among others frees nothing: all things of that kind in the
//! event must be allowed, those included that cannot be read or are beyond the cap on keys.

use super::config::PolicyConfig;
use super::error::PolicyError;
use crate::limits::KEY_BYTES_MAX;
use features::event::{EntityRef, KindId};
use features::expr::nearest;
use features::key_form::{KeyForm, address};
use features::schema::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The lists, checked against the kinds.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowList {
    accounts: BTreeSet<String>,
    /// By the number of the kind.
    things: BTreeMap<u8, Things>,
}

impl AllowList {
    /// Refuses entries that can match nothing.
    pub fn compile(config: &PolicyConfig, kinds: &[Kind], errors: &mut Vec<PolicyError>) -> Self {
        let mut list = Self::default();
        for account in &config.allow_accounts {
            if let Err(problem) = length(account) {
                errors.push(PolicyError::AllowAccount { account: account.clone(), problem });
            }
            list.accounts.insert(account.clone());
        }
        for entry in &config.allow_entities {
            if let Err(error) = list.add(entry, kinds) {
                errors.push(error);
            }
        }
        list
    }

    #[expect(clippy::result_large_err, reason = "once for each entry of a configuration")]
    fn add(&mut self, entry: &str, kinds: &[Kind]) -> Result<(), PolicyError> {
        let (number, kind, key) = split(entry, kinds)?;
        let wrong = |problem| PolicyError::AllowKey { entry: entry.to_owned(), problem };
        length(key).map_err(wrong)?;
        let things = self.things.entry(number).or_default();
        let of_addresses = !kind.is_account && matches!(kind.form, None | Some(KeyForm::Ip));
        if of_addresses && let Some(range) = Range::parse(key) {
            things.ranges.insert(range.map_err(wrong)?);
            return Ok(());
        }
        let normal = kind.normal(key).map_err(|_| {
            let form = kind.form.map_or("", KeyForm::as_str);
            wrong(format!("its key has not the form `{form}` of its kind; correct it"))
        })?;
        if kind.ignores(&normal) {
            return Err(wrong(format!(
                "its key is ignored by [kinds.{}] ignore, so that no event has it; remove it from one of the two",
                kind.name
            )));
        }
        things.keys.insert(normal.into_owned());
        Ok(())
    }

    /// Whether nothing is to be done about an event: its account is allowed, or all of its things of some kind are.
    /// Keys are in the normal form of their kind, and as they came in otherwise (under a privacy key, too).
    /// `partial_kinds` as in [`features::event::Event`].
    pub fn frees(&self, account: &str, entities: &[EntityRef], partial_kinds: u32) -> bool {
        self.accounts.contains(account)
            || (!self.things.is_empty() && self.frees_by_things(entities, partial_kinds))
    }

    fn frees_by_things(&self, entities: &[EntityRef], partial_kinds: u32) -> bool {
        entities.iter().enumerate().any(|(at, first)| {
            let KindId(kind) = first.kind;
            if partial_kinds & (1 << kind) != 0 {
                return false;
            }
            let Some(things) = self.things.get(&kind) else { return false };
            let seen_before = entities.iter().take(at).any(|before| before.kind == first.kind);
            let mut of_kind = entities.iter().filter(|entity| entity.kind == first.kind);
            !seen_before && of_kind.all(|entity| things.has(&entity.key))
        })
    }
}

/// The kind and the key of an entry.
#[expect(clippy::result_large_err, reason = "once for each entry of a configuration")]
fn split<'a, 'b>(
    entry: &'a str,
    kinds: &'b [Kind],
) -> Result<(u8, &'b Kind, &'a str), PolicyError> {
    // A kind's name may hold a colon: the longest that fits is meant.
    let fitting = kinds.iter().enumerate().filter_map(|(number, kind)| {
        let key = entry.strip_prefix(kind.name.as_str())?.strip_prefix(':')?;
        Some((number as u8, kind, key))
    });
    let found = fitting.max_by_key(|(_, kind, _)| kind.name.len());
    if let Some(found) = found.filter(|(_, _, key)| !key.is_empty()) {
        return Ok(found);
    }
    match entry.split_once(':') {
        Some((name, key)) if !name.is_empty() && !key.is_empty() => Err(PolicyError::AllowKind {
            entry: entry.to_owned(),
            kind: name.to_owned(),
            nearest: nearest(name, kinds.iter().map(|kind| kind.name.as_str())),
            declared: kinds.iter().map(|kind| kind.name.clone()).collect(),
        }),
        _ => Err(PolicyError::AllowEntity { entry: entry.to_owned() }),
    }
}

fn length(key: &str) -> Result<(), String> {
    match key.len() {
        0 => Err("it is empty; remove it".to_owned()),
        found if found > KEY_BYTES_MAX => {
            Err(format!("its key has {found} bytes, keys have {KEY_BYTES_MAX} at most; remove it"))
        }
        _ => Ok(()),
    }
}

/// The allowed things of one kind.
#[derive(Clone, Debug, Default)]
struct Things {
    keys: BTreeSet<String>,
    ranges: Ranges,
}

impl Things {
    fn has(&self, key: &str) -> bool {
        self.keys.contains(key) || (!self.ranges.is_empty() && self.ranges.has(key))
    }
}

/// A range of addresses, as its first one and the length of the prefix that all share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: IpAddr,
    bits: u8,
}

impl Range {
    /// Reads `ADDRESS/BITS`; none: it is not meant as one. A range of IPv4 addresses mapped into IPv6 is one of IPv4.
    fn parse(text: &str) -> Option<Result<Self, String>> {
        let (first, bits) = text.split_once('/')?;
        let written = first.trim().parse::<IpAddr>().ok()?;
        let first = written.to_canonical();
        let mapped_bits = width(written) - width(first);
        let found = bits.trim().parse::<u8>().ok().filter(|bits| *bits <= width(written));
        let Some(bits) = found.and_then(|bits| bits.checked_sub(mapped_bits)) else {
            return Some(Err(format!(
                "/{} is no length of a prefix here; write one from /{mapped_bits} to /{}",
                bits.trim(),
                width(written)
            )));
        };
        let start = prefix(first, bits);
        if start != number(first) {
            let start = match first {
                // It fits: only bits were taken away.
                IpAddr::V4(_) => IpAddr::from((start as u32).to_be_bytes()),
                IpAddr::V6(_) => IpAddr::from(start.to_be_bytes()),
            };
            return Some(Err(format!(
                "{first} is not the first address of its range; write {start}/{bits} for the range, or {first} alone"
            )));
        }
        Some(Ok(Self { first, bits }))
    }
}

/// Ranges by what their addresses begin with: a look-up for each length of prefix that occurs.
#[derive(Clone, Debug, Default)]
struct Ranges {
    /// By width of the addresses and length of the prefix.
    prefixes: BTreeMap<(u8, u8), BTreeSet<u128>>,
}

impl Ranges {
    fn insert(&mut self, range: Range) {
        let key = (width(range.first), range.bits);
        self.prefixes.entry(key).or_default().insert(number(range.first));
    }

    fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Whether a key is an address in one of the ranges.
    fn has(&self, key: &str) -> bool {
        let Some(address) = address(key) else { return false };
        let mut of_width = self.prefixes.iter().filter(|((wide, _), _)| *wide == width(address));
        of_width.any(|((_, bits), starts)| starts.contains(&prefix(address, *bits)))
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address as a number, with all but the first `bits` bits zero.
fn prefix(address: IpAddr, bits: u8) -> u128 {
    let shift = u32::from(width(address).saturating_sub(bits));
    // A shift by all 128 bits leaves nothing.
    number(address).checked_shr(shift).and_then(|rest| rest.checked_shl(shift)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use features::config::{FeatureConfig, KindConfig};
    use features::schema::Schema;
    use proptest::prelude::*;

    /// Kinds `account-like` (accounts), `address` (form ip), `ip` (no form), `mail` (form email), `net:v` (no form).
    fn kinds() -> Vec<Kind> {
        let mut config = FeatureConfig::default();
        let mut add = |name: &str, is_account, form| {
            let kind = KindConfig { is_account, form, ..KindConfig::default() };
            config.kinds.insert(name.to_owned(), kind);
        };
        add("address", false, Some(KeyForm::Ip));
        add("ip", false, None);
        add("mail", false, Some(KeyForm::Email));
        add("net:v", false, None);
        add("peer", true, None);
        Schema::compile(&config).unwrap_or_else(|e| panic!("{e:?}")).kinds().to_vec()
    }

    fn compile(entries: &[&str]) -> Result<AllowList, Vec<String>> {
        let config = PolicyConfig {
            allow_accounts: vec!["a1".into()],
            allow_entities: entries.iter().map(|entry| (*entry).to_owned()).collect(),
            ..PolicyConfig::default()
        };
        let mut errors = Vec::new();
        let list = AllowList::compile(&config, &kinds(), &mut errors);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        if errors.is_empty() { Ok(list) } else { Err(errors) }
    }

    /// Entities of `kind:key`, keys in the form of their kind, as an event has them on arrival.
    fn entities(names: &[&str]) -> Vec<EntityRef> {
        let kinds = kinds();
        let entity = |name: &&str| {
            let (number, kind, key) = split(name, &kinds).unwrap_or_else(|e| panic!("{e}"));
            let key = kind.normal(key).unwrap_or(key.into());
            EntityRef { kind: KindId(number), key: (*key).into() }
        };
        names.iter().map(entity).collect()
    }

    #[test]
    fn an_event_is_freed_when_all_keys_of_a_kind_are_allowed() {
        let list = compile(&[
            "ip:203.0.113.7",
            "ip:198.51.100.0/24",
            "ip:2001:db8::/32",
            "address:::ffff:192.0.2.0/121",
            "address:2001:DB8:0::7",
            "mail:Office@Example.com",
            "net:v:10.0.0.0/8",
            "net:v:lab",
            "peer:u9",
        ])
        .unwrap();
        for (expected, things) in [
            (true, &["ip:203.0.113.7"][..]),
            (false, &["ip:203.0.113.8"]),
            (true, &["ip:198.51.100.0", "ip:198.51.100.255", "ip:203.0.113.7"]),
            (false, &["ip:198.51.100.1", "ip:203.0.113.8"]),
            (false, &["ip:203.0.113.8", "ip:198.51.100.1"]),
            (false, &["ip:198.51.101.0"]),
            (true, &["ip:::ffff:198.51.100.9"]),
            (true, &["ip:2001:DB8:ffff::1"]),
            (false, &["ip:2001:db9::1"]),
            (false, &["ip:none"]),
            (true, &["address:192.0.2.127"]),
            (false, &["address:192.0.2.128"]),
            (true, &["address:2001:db8::7"]),
            (true, &["mail:office@example.com"]),
            (true, &["mail:OFFICE@example.com"]),
            (false, &["mail:home@example.com"]),
            (true, &["net:v:lab", "net:v:10.9.9.9"]),
            (true, &["peer:u9"]),
            (false, &["peer:u9", "peer:u8"]),
            // Another kind's key in the event does not matter; another key of the same kind does.
            (true, &["mail:home@example.com", "ip:203.0.113.7"]),
            (false, &["mail:home@example.com", "ip:203.0.113.7", "ip:1.2.3.4"]),
            (false, &[]),
        ] {
            let entities = entities(things);
            assert_eq!(list.frees("someone", &entities, 0), expected, "{things:?}");
            // Of the kind of the first one there was more.
            let partial = entities.first().map_or(0, |first| 1 << first.kind.0);
            let by_others = things.first() == Some(&"mail:home@example.com") && expected;
            assert_eq!(list.frees("someone", &entities, partial), by_others, "{things:?}, partly");
        }
        assert!(list.frees("a1", &[], 0) && list.frees("a1", &[], u32::MAX));
    }

    #[test]
    fn entries_that_match_nothing_are_refused() {
        let long = format!("ip:{}", "9".repeat(KEY_BYTES_MAX + 1));
        for (entry, message) in [
            ("ip", "`ip` is not `kind:key`"),
            ("ip:", "`ip:` is not `kind:key`"),
            (":x", "`:x` is not `kind:key`"),
            ("ips:203.0.113.7", "kind `ips` is not declared; did you mean `ip`?"),
            ("card:4", "kind `card` is not declared; declared: address, ip, mail, net:v, peer"),
            ("ip:203.0.113.0/33", "/33 is no length of a prefix here; write one from /0 to /32"),
            ("ip:203.0.113.0/x", "/x is no length of a prefix here; write one from /0 to /32"),
            (
                "ip:::ffff:192.0.2.0/64",
                "/64 is no length of a prefix here; write one from /96 to /128",
            ),
            ("ip:203.0.113.7/24", "write 203.0.113.0/24 for the range, or 203.0.113.7 alone"),
            ("ip:2001:db8::1/32", "write 2001:db8::/32 for the range, or 2001:db8::1 alone"),
            ("address:203.0.113.300", "its key has not the form `ip` of its kind"),
            ("mail:ann", "its key has not the form `email` of its kind"),
            (&long, "its key has 257 bytes, keys have 256 at most"),
        ] {
            let errors = compile(&[entry]).expect_err(entry);
            assert!(errors.len() == 1 && errors[0].contains(message), "{entry}: {errors:?}");
        }
    }

    proptest! {
        #[test]
        fn a_range_has_the_addresses_that_share_its_prefix(
            first in any::<[u8; 16]>(), flipped in 0_u8..128, bits in 0_u8..=128, short in any::<bool>(),
        ) {
            let wide = if short { 32 } else { 128 };
            let (bits, flipped) = (bits % (wide + 1), flipped % wide);
            let of = |octets: [u8; 16]| if short {
                IpAddr::from([octets[0], octets[1], octets[2], octets[3]])
            } else {
                // Not one that is mapped.
                IpAddr::from([octets[0] | 1, octets[1], octets[2], octets[3], octets[4], octets[5], octets[6], octets[7],
                    octets[8], octets[9], octets[10], octets[11], octets[12], octets[13], octets[14], octets[15]])
            };
            let address = of(first);
            // The first address of the range, bit by bit.
            let mut octets: Vec<u8> = match address {
                IpAddr::V4(a) => a.octets().to_vec(),
                IpAddr::V6(a) => a.octets().to_vec(),
            };
            let bit = |at: u8| (usize::from(at / 8), 0x80_u8 >> (at % 8));
            let mut start = octets.clone();
            for at in bits..wide {
                let (byte, mask) = bit(at);
                start[byte] &= !mask;
            }
            let (byte, mask) = bit(flipped);
            octets[byte] ^= mask;
            let build = |octets: &[u8]| match <[u8; 4]>::try_from(octets) {
                Ok(short) => IpAddr::from(short),
                Err(_) => IpAddr::from(<[u8; 16]>::try_from(octets).expect("sixteen")),
            };
            let (start, other) = (build(&start), build(&octets));
            prop_assume!(start.to_canonical() == start && other.to_canonical() == other);
            let mut ranges = Ranges::default();
            let range = Range::parse(&format!("{start}/{bits}")).expect("a range").expect("a good one");
            ranges.insert(range);
            prop_assert!(ranges.has(&address.to_string()));
            prop_assert_eq!(ranges.has(&other.to_string()), flipped >= bits, "{} in {}/{}", other, start, bits);
        }
    }
}
