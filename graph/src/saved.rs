//! Accounts, entities and globals as bytes: fixed little-endian layouts, each with a version.
//!
//! Account: version u8, label u8, suspicion u8, evidence u8, key u64, touches u32, links u16, then per
//! link: node u32, count u32, strength f32, first i64, last i64, joined u8 (29 bytes).
//! Entity: version u8, degree u32, bad u32, suspicion sum u32, events u32, new f32 x 2, new_ms i64,
//! first i64, last i64, members u8, then per recent member: account u32, last i64 (12 bytes).
//! Globals: version u8, epoch i64, links evicted u64, links expired u64, touches refused u64.

use crate::links::{Counts, LinkGraph, WALK_MAX};
use crate::node::Node;
use crate::recents::{Recent, Set};
use crate::records::{EXISTS, Link};
use thiserror::Error;

const VERSION: u8 = 1;
const LINK_BYTES: usize = 29;
const MEMBER_BYTES: usize = 12;

/// Why saved bytes were not taken. The graph is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// Another layout.
    #[error(
        "{what} is of version {found}, this program reads version {want}; load it with the program that wrote it, or start without it"
    )]
    Version {
        /// Which record.
        what: &'static str,
        /// Its version.
        found: u8,
        /// The only version that is read.
        want: u8,
    },
    /// Too short or too long.
    #[error(
        "{what} has {found} bytes where {want} are needed; the record is cut or overwritten, restore it or remove it"
    )]
    Length {
        /// Which record.
        what: &'static str,
        /// Bytes given.
        found: usize,
        /// Bytes that its own counts ask for.
        want: usize,
    },
    /// A value that no save writes.
    #[error(
        "{what} has an impossible {field}; the record is damaged or of another configuration, restore it or remove it"
    )]
    Value {
        /// Which record.
        what: &'static str,
        /// Which value.
        field: &'static str,
    },
    /// The record is there already, or its index can never be.
    #[error(
        "{what} {index} is loaded twice or beyond the largest index; load into an empty graph, each record once"
    )]
    Index {
        /// Which record.
        what: &'static str,
        /// Its index.
        index: u32,
    },
}

/// Reads fields in order; lengths are checked before.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.0 = rest;
                *head
            }
            None => [0; N],
        }
    }
    fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }
    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
    fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.take())
    }
    fn f32(&mut self) -> f32 {
        f32::from_le_bytes(self.take())
    }
}

/// Checks version and length, and skips the version; `items` reads the bytes of the tail from the head.
fn open<'a>(
    what: &'static str,
    bytes: &'a [u8],
    head: usize,
    items: impl Fn(&[u8]) -> usize,
) -> Result<Fields<'a>, LoadError> {
    let found = bytes.len();
    if let Some(version) = bytes.first().filter(|v| **v != VERSION) {
        return Err(LoadError::Version { what, found: *version, want: VERSION });
    }
    if found < head {
        return Err(LoadError::Length { what, found, want: head });
    }
    let want = head + items(bytes);
    if found != want {
        return Err(LoadError::Length { what, found, want });
    }
    Ok(Fields(&bytes[1..]))
}

const ACCOUNT_HEAD: usize = 18;
const ENTITY_HEAD: usize = 50;
const GLOBALS: usize = 33;

fn must(holds: bool, what: &'static str, field: &'static str) -> Result<(), LoadError> {
    if holds { Ok(()) } else { Err(LoadError::Value { what, field }) }
}

impl LinkGraph {
    /// Appends the account's record; false, and nothing, if it is unknown: then its saved record is to
    /// be deleted.
    pub fn save_account(&self, account: u32, out: &mut Vec<u8>) -> bool {
        let Some(line) = self.line(account) else { return false };
        out.extend([VERSION, u8::from(line.bad), line.suspicion, line.evidence]);
        out.extend(line.key.to_le_bytes());
        out.extend(line.touches.to_le_bytes());
        out.extend(line.links_n.to_le_bytes());
        for link in self.links_by_node(account) {
            out.extend(link.node.to_bits().to_le_bytes());
            out.extend(link.count.to_le_bytes());
            out.extend(link.strength.to_le_bytes());
            out.extend(link.first_ms.to_le_bytes());
            out.extend(link.last_ms.to_le_bytes());
            out.push(u8::from(link.joined != 0));
        }
        true
    }

    /// Takes an account's record. Its entities' records are loaded apart, in any order; when all is
    /// loaded, call [`LinkGraph::rebuild_components`]. A link of a kind that is no longer strong, or
    /// copyable now, no longer binds.
    pub fn load_account(&mut self, account: u32, bytes: &[u8]) -> Result<(), LoadError> {
        let what = "account";
        let items = |b: &[u8]| usize::from(u16::from_le_bytes([b[16], b[17]])) * LINK_BYTES;
        let mut fields = open(what, bytes, ACCOUNT_HEAD, items)?;
        if account > Node::INDEX_MAX || self.line(account).is_some() {
            return Err(LoadError::Index { what, index: account });
        }
        let bad = fields.u8();
        must(bad <= 1, what, "label")?;
        let (suspicion, evidence) = (fields.u8(), fields.u8());
        let (key, touches, n) = (fields.u64(), fields.u32(), fields.u16());
        must(u32::from(n) <= self.config.links_per_account_max, what, "number of links")?;
        let mut links: Vec<Link> = Vec::with_capacity(n.into());
        for _ in 0..n {
            let mut link = Link {
                node: Node::from_bits(fields.u32()),
                count: fields.u32(),
                strength: fields.f32(),
                first_ms: fields.i64(),
                last_ms: fields.i64(),
                joined: fields.u8().into(),
            };
            let kind = link.node.kind();
            must(kind < self.config.kinds.len(), what, "kind of a link")?;
            must(link.node.index() <= Node::INDEX_MAX, what, "node of a link")?;
            must(link.node != Node::account(account), what, "node of a link")?;
            must(links.last().is_none_or(|l| l.node < link.node), what, "order of links")?;
            must(link.strength.is_finite() && link.strength >= 0.0, what, "strength of a link")?;
            must(0 <= link.first_ms && link.first_ms <= link.last_ms, what, "time of a link")?;
            must(link.joined <= 1 && link.count > 0, what, "count of a link")?;
            link.joined &= u32::from(self.config.kinds[kind].binds());
            links.push(link);
        }
        let offset = self.links.place(&links);
        let line = self.accounts.ensure(account);
        (line.exists, line.bad, line.key, line.touches) = (true, bad == 1, key, touches);
        (line.suspicion, line.evidence) = (suspicion, evidence);
        (line.links, line.links_n, line.tail_n) = (offset, n, 0);
        self.size.accounts += 1;
        self.size.links += u64::from(n);
        if links.len() > WALK_MAX {
            self.rebuild_recents(account);
        }
        Ok(())
    }

    /// Appends the entity's record; false, and nothing, if it is unknown: then its saved record is to
    /// be deleted.
    pub fn save_entity(&self, node: Node, out: &mut Vec<u8>) -> bool {
        let Some(e) = self.entity_line(node) else { return false };
        out.push(VERSION);
        for value in [e.degree, e.bad, e.suspicion_sum, e.events] {
            out.extend(value.to_le_bytes());
        }
        out.extend(e.new.iter().flat_map(|v| v.to_le_bytes()));
        for value in [e.new_ms, e.first_ms, e.last_ms] {
            out.extend(value.to_le_bytes());
        }
        out.push(e.recents_n);
        for member in self.recent_members(node) {
            out.extend(member.id.to_le_bytes());
            out.extend(member.last_ms().to_le_bytes());
        }
        true
    }

    /// Takes an entity's record.
    pub fn load_entity(&mut self, node: Node, bytes: &[u8]) -> Result<(), LoadError> {
        let what = "entity";
        let items = |b: &[u8]| usize::from(b[ENTITY_HEAD - 1]) * MEMBER_BYTES;
        let mut fields = open(what, bytes, ENTITY_HEAD, items)?;
        let index = node.index();
        let known = node.kind() < self.entities.len() && index <= Node::INDEX_MAX;
        if !known || self.entity_line(node).is_some() {
            return Err(LoadError::Index { what, index });
        }
        let (degree, bad, sum, events) = (fields.u32(), fields.u32(), fields.u32(), fields.u32());
        let new = [fields.f32(), fields.f32()];
        let (new_ms, first_ms, last_ms) = (fields.i64(), fields.i64(), fields.i64());
        must(bad <= degree, what, "number of bad accounts")?;
        must(u64::from(sum) <= 255 * u64::from(degree), what, "suspicion sum")?;
        must(new.iter().all(|v| v.is_finite() && *v >= 0.0), what, "count of new members")?;
        must(0 <= first_ms && first_ms <= last_ms && new_ms >= 0, what, "time")?;
        let n = fields.u8();
        let most = self.config.recent_members_max.min(degree);
        must(u32::from(n) <= most, what, "number of recent members")?;
        let mut members: Vec<Recent> = Vec::with_capacity(n.into());
        for _ in 0..n {
            let member = Recent::new(fields.u32(), fields.i64());
            must(member.id <= Node::INDEX_MAX && member.last_ms() >= 0, what, "recent member")?;
            must(members.last().is_none_or(|m| m.id < member.id), what, "order of members")?;
            members.push(member);
        }
        let slot = if node.kind() == 0 {
            self.accounts.ensure(index);
            self.account_slot(index).ok_or(LoadError::Index { what, index })?
        } else {
            index
        };
        let offset = self.recents.place(&members);
        let entity = self.entities[node.kind()].ensure(slot);
        (entity.degree, entity.bad, entity.suspicion_sum) = (degree, bad, sum);
        (entity.events, entity.new, entity.new_ms) = (events, new, new_ms);
        (entity.first_ms, entity.last_ms) = (first_ms, last_ms);
        let set = Set { offset: &mut entity.recents, n: &mut entity.recents_n };
        set.clear(&mut self.recents);
        (entity.recents, entity.recents_n) = (offset, n);
        entity.flags |= EXISTS;
        self.size.entities += 1;
        if degree == 0 {
            self.emptied.push(node);
        }
        Ok(())
    }

    /// Appends what belongs to no record: the epoch and the counts.
    pub fn save_globals(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend(self.components.epoch.to_le_bytes());
        let c = self.counts;
        for value in [c.links_evicted, c.links_expired, c.touches_refused] {
            out.extend(value.to_le_bytes());
        }
    }

    /// Takes the globals; before [`LinkGraph::rebuild_components`].
    pub fn load_globals(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let what = "globals";
        let mut fields = open(what, bytes, GLOBALS, |_| 0)?;
        let epoch = fields.i64();
        must(epoch >= 0, what, "epoch")?;
        self.counts = Counts {
            links_evicted: fields.u64(),
            links_expired: fields.u64(),
            touches_refused: fields.u64(),
        };
        self.components.set_epoch(epoch);
        Ok(())
    }
}
