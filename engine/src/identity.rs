//! Which event a message is. Producers deliver events again, and ids are made by clients: some give a session's id to all of its
//! events, and who wants to go unseen repeats one id on purpose. So an event is recognised by account, id **and** content.
//!
//! The content is what is read of the message: `ts` as it stands there (not as a clock corrected it), type, target, entities as a set, and
//! the declared attributes. Undeclared fields are not read; types that are not declared differ by name here, and are one otherwise.
//!
//! Same account, id and content: delivered again, without effect. Same account and id, other content: another event. It is taken under
//! a derived id, its own id and the hash of its content (`s-81#0f3c…`), the same wherever and however often it is delivered, so that ids of
//! actions, and labels that name an event, keep speaking of one event. A label that names the plain id speaks of the event that was taken
//! under it, the first; one that names no account, of the newest such event of any account.
//!
//! Of events that were saved by a program without content hashes, or under another feature set, only `ts` is compared.

use crate::arrived::{Arrived, KeyHashes, PublicHashes};
use crate::intern::KeyHasher;
use crate::recent::CONTENT_UNKNOWN;
use crate::step::{EVENT_DOMAIN, Engine};
use compact_str::{CompactString, format_compact};
use features::event::Event;
use smallvec::SmallVec;
use std::hash::Hasher;

/// Beside the domains of keys.
const CONTENT_DOMAIN: u8 = 254;

/// What an event is to those that are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// None of its account has its id.
    New,
    /// One of its account has its id and content.
    Redelivered,
    /// One of its account has its id, and other content.
    Conflict(DerivedId),
}

/// An id that was made for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DerivedId {
    id: CompactString,
    hash: u64,
}

impl KeyHasher {
    /// Hash of what an event says, never [`CONTENT_UNKNOWN`]. About 50 ns.
    pub(crate) fn content(&self, event: &Event, hashes: &PublicHashes) -> u64 {
        let mut hasher = self.hasher(CONTENT_DOMAIN);
        hasher.write_i64(event.said_ms);
        hasher.write_u16(event.type_id.0);
        if let Some(name) = &event.undeclared_type {
            hasher.write(name.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.write_u8(u8::from(hashes.target.is_some()));
        hasher.write_u64(hashes.target.unwrap_or(0));
        let entities = event.entities.iter().zip(&hashes.entities);
        let mut entities: SmallVec<[(u8, u64); 8]> =
            entities.map(|(entity, hash)| (entity.kind.0, *hash)).collect();
        entities.sort_unstable();
        hasher.write_usize(entities.len());
        for (kind, hash) in entities {
            hasher.write_u8(kind);
            hasher.write_u64(hash);
        }
        for value in &event.attributes {
            hasher.write_u32(value.to_bits());
        }
        hasher.finish().max(CONTENT_UNKNOWN + 1)
    }
}

impl Arrived {
    /// Gives the event an id that was derived for it.
    pub(crate) fn take_under(&mut self, derived: DerivedId) {
        self.event.event_id = derived.id;
        self.hashes.event = derived.hash;
        self.derived = true;
    }
}

impl Engine {
    /// What an event is to those that are remembered, or wait in the open tie group. O(1) for ids that are unique.
    pub(crate) fn recognise(&self, arrived: &Arrived) -> Seen {
        let KeyHashes { event, content, .. } = arrived.hashes;
        let first = self.same_content(event, arrived);
        match first {
            Some(true) => return Seen::Redelivered,
            // The event with the plain id may be forgotten before those that had to have another.
            None if !self.recent.has_derived() => return Seen::New,
            _ => {}
        }
        // Nobody can take derived ids away: an event that has one has other content, and then the next is longer.
        let mut id = arrived.event.event_id.clone();
        loop {
            id = format_compact!("{id}#{content:016x}");
            let hash = self.hasher.hash(EVENT_DOMAIN, &id);
            match (self.same_content(hash, arrived), first) {
                (Some(true), _) => return Seen::Redelivered,
                (Some(false), _) => {}
                (None, Some(_)) => return Seen::Conflict(DerivedId { id, hash }),
                (None, None) => return Seen::New,
            }
        }
    }

    /// Whether the event of this account with this id has the content; `None`: there is none.
    fn same_content(&self, event: u64, arrived: &Arrived) -> Option<bool> {
        let KeyHashes { account, content, .. } = arrived.hashes;
        if let Some((_, known)) = self.recent.find_of(event, account) {
            let Event { ts_ms, said_ms, .. } = arrived.event;
            return Some(match known.content {
                CONTENT_UNKNOWN => [ts_ms, said_ms].contains(&known.ts_ms),
                known => known == content,
            });
        }
        // All of an open tie group have one `ts`.
        let held = *self.held_ids.get(&(event, account))?;
        Some(held == content || held == CONTENT_UNKNOWN)
    }
}
