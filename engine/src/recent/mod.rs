//! The bounded memory of recent events: recognises redelivered ones, and joins labels that name an event
//! alone to the account and entities of that event. Oldest first out, by count and by age.
//!
//! An id of an account stands for one event here: what comes under it with other content is taken under an id that is derived
//! (`identity.rs`). No call passes over the memory: what is looked for by id is in a hash table (`ids.rs`), what is erased with an account
//! in a chain through the events that name it (`mentions.rs`).
//!
//! Ids of keys are used again after their key was forgotten, so every id stands beside a part of its key's hash.

mod ids;
mod mentions;
mod ring;
mod saved;

use crate::shards::Shards;
use graph::Node;
use mentions::{Head, Link};
use ring::Ring;
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// Sequence numbers are kept by their lower 32 bits, and compared within half of them.
const EVENTS_MAX: usize = 1 << 31;

/// A node, and the low half of its key's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownNode {
    /// The node, as long as its id stands for the same key.
    pub node: Node,
    /// Low half of the hash of the key.
    pub check: u32,
}

/// What was found out about an event, and what it was counted as.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Finding {
    /// 0 nothing, 1 good, 2 bad.
    pub verdict: u8,
    /// With which weight it was counted.
    pub weight: f32,
    /// When what was counted became known.
    pub counted_ms: i64,
    /// When the newest label about the event became known.
    pub newest_ms: i64,
}

/// The content hash of an event that was saved without one.
pub const CONTENT_UNKNOWN: u64 = 0;

/// What is remembered of one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// Hash of the event id: of the one under which it was taken.
    pub event_hash: u64,
    /// Hash of the key of the account that did it.
    pub account_hash: u64,
    /// Hash of the content, or [`CONTENT_UNKNOWN`].
    pub content: u64,
    /// The account, as long as its id stands for the same key; [`ERASED`] for none.
    pub account: u32,
    /// When it happened.
    pub ts_ms: i64,
    /// Whether its id is made of the one it came with and its content, because that one was taken.
    pub derived: bool,
    /// What was found out about it, if anything was: few events have labels.
    pub finding: Option<Box<Finding>>,
    /// The other accounts, then the entities; once a label named others, those.
    pub nodes: SmallVec<[KnownNode; 4]>,
}

/// Stands for the account of an erased event.
const ERASED: u32 = u32::MAX;

impl Remembered {
    /// What was found out about it so far.
    pub fn finding(&self) -> Finding {
        self.finding.as_deref().copied().unwrap_or_default()
    }

    /// Whether anybody did it, still.
    fn is_there(&self) -> bool {
        self.account != ERASED
    }
}

/// An event in the memory.
#[derive(Clone, Debug, Default)]
struct Entry {
    event: Remembered,
    /// Under what it is in the table of ids.
    level: ids::Level,
    /// Whether a label named its nodes, accounts among them: those are in no chain.
    named: bool,
    /// The next older and the next newer event with the same id; the entry's own number for none.
    same_id: [u32; 2],
    /// Its places in the chains of accounts that it names.
    links: SmallVec<[Link; 2]>,
}

/// The memory. About 180 bytes per event.
#[derive(Debug)]
pub struct RecentEvents {
    ring: Ring<Entry>,
    /// Every event that is there, by its id, or by more where its id is not enough.
    ids: Shards<u32>,
    /// The newest event that names an account, by the account's check.
    heads: Shards<Head>,
    /// Checks of accounts that a label named, with the event's sequence number.
    named: BTreeSet<(u32, u64)>,
    events_max: usize,
    age_ms_max: i64,
    /// How many have a derived id.
    derived: usize,
    /// Events looked at by [`Self::forget_account`].
    visited: u64,
    dirty_from: u64,
    dirty_chunks: BTreeSet<u64>,
    dropped_chunks: Vec<u64>,
}

impl RecentEvents {
    /// A memory of at most `events_max` events, none older than `age_ms_max` behind the newest.
    pub fn new(events_max: usize, age_ms_max: i64) -> Self {
        let events_max = events_max.clamp(1, EVENTS_MAX);
        Self {
            ring: Ring::new(),
            ids: Shards::new(events_max),
            heads: Shards::new(events_max),
            named: BTreeSet::new(),
            events_max,
            age_ms_max,
            derived: 0,
            visited: 0,
            dirty_from: 0,
            dirty_chunks: BTreeSet::new(),
            dropped_chunks: Vec::new(),
        }
    }

    /// The event with this id of this account, by their hashes. O(1).
    #[inline]
    pub fn find_of(&self, event_hash: u64, account_hash: u64) -> Option<(u64, &Remembered)> {
        let seq = self.of_account(event_hash, account_hash)?;
        Some((seq, &self.ring.get(seq).event))
    }

    /// The newest event with this id, of any account. O(1).
    pub fn find(&self, event_hash: u64) -> Option<(u64, &Remembered)> {
        let seq = self.newest(event_hash)?;
        Some((seq, &self.ring.get(seq).event))
    }

    /// Whether any event has an id that was derived.
    #[inline]
    pub fn has_derived(&self) -> bool {
        self.derived > 0
    }

    /// Changes what was found out about an event, and which nodes it was counted for.
    pub fn set_finding(&mut self, seq: u64, finding: Finding, nodes: SmallVec<[KnownNode; 4]>) {
        let event = &mut self.ring.get_mut(seq).event;
        event.finding = Some(Box::new(finding));
        if event.nodes != nodes {
            self.name(seq, nodes);
        }
        self.touched(seq);
    }

    fn touched(&mut self, seq: u64) {
        if seq < self.dirty_from {
            self.dirty_chunks.insert(seq / crate::limits::RECENT_CHUNK as u64);
        }
    }

    /// Remembers an event, and forgets what is beyond the caps.
    pub fn insert(&mut self, event: Remembered, watermark_ms: i64) {
        while self.ring.len() >= self.events_max {
            self.pop_front();
        }
        while self.ring.len() > 0 {
            let oldest_ms = self.ring.get(self.ring.first()).event.ts_ms;
            if watermark_ms.saturating_sub(oldest_ms) <= self.age_ms_max {
                break;
            }
            self.pop_front();
        }
        self.push(event);
    }

    fn push(&mut self, event: Remembered) {
        self.derived += usize::from(event.derived);
        let seq = self.ring.push(Entry { event, ..Entry::default() });
        self.enter_id(seq);
        self.enter_mentions(seq);
    }

    fn pop_front(&mut self) {
        if self.ring.len() == 0 {
            return;
        }
        let seq = self.ring.first();
        self.leave_id(seq);
        self.leave_mentions(seq);
        let gone = self.ring.pop();
        self.derived -= usize::from(gone.is_some_and(|entry| entry.event.derived));
        let first = self.ring.first();
        self.dirty_from = self.dirty_from.max(first);
        if first.is_multiple_of(crate::limits::RECENT_CHUNK as u64) {
            let gone = first / crate::limits::RECENT_CHUNK as u64 - 1;
            self.dirty_chunks.remove(&gone);
            self.dropped_chunks.push(gone);
        }
    }

    /// Reads what the next insertions will push out.
    pub fn look_ahead(&self, events: usize) {
        if self.ring.len() + events <= self.events_max {
            return;
        }
        for entry in self.ring.iter().take(events) {
            self.warm_entry(entry);
        }
    }

    /// Reads what finding and remembering an event will meet.
    #[inline]
    pub fn warm(&self, event_hash: u64, account_hash: u64) {
        self.warm_id(event_hash);
        self.warm_head(account_hash as u32);
    }

    /// Entries of its tables that growing has moved, and events that erasing has looked at.
    pub fn work(&self) -> (u64, u64) {
        (self.ids.moved() + self.heads.moved(), self.visited)
    }

    /// Heap bytes held, nodes beyond four an event left out.
    pub fn bytes(&self) -> usize {
        self.ring.bytes() + self.ids.bytes() + self.heads.bytes()
    }

    /// The sequence number that has these lower bits, if it is remembered and older than `than`.
    #[inline]
    fn older_than(&self, than: u64, low: u32) -> Option<u64> {
        let first = self.ring.first();
        let at = u64::from(low.wrapping_sub(first as u32));
        (first + at < than).then_some(first + at)
    }

    /// The sequence number that has these lower bits; of an event that is remembered.
    #[inline]
    fn full(&self, low: u32) -> u64 {
        let first = self.ring.first();
        first + u64::from(low.wrapping_sub(first as u32))
    }
}

#[cfg(test)]
mod tests;
