//! The bounded memory of recent events: recognises redelivered ones, and joins labels that name an event
//! alone to the account and entities of that event. Oldest first out, by count and by age.
//!
//! Ids are used again after their key was forgotten, so every id stands beside a part of its key's hash.

use crate::limits::RECENT_CHUNK;
use graph::Node;
use hashbrown::HashTable;
use smallvec::SmallVec;
use std::collections::VecDeque;

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

/// What is remembered of one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// Hash of the event id.
    pub event_hash: u64,
    /// Hash of the key of the account that did it; with the event's, what tells it from all others.
    pub account_hash: u64,
    /// The account, as long as its id stands for the same key.
    pub account: u32,
    /// When it happened.
    pub ts_ms: i64,
    /// What was found out about it so far.
    pub finding: Finding,
    /// The other accounts, then the entities; once a label named others, those.
    pub nodes: SmallVec<[KnownNode; 4]>,
}

impl Remembered {
    /// An event about which nothing is known yet.
    pub fn new(
        event_hash: u64,
        account_hash: u64,
        account: u32,
        ts_ms: i64,
        nodes: SmallVec<[KnownNode; 4]>,
    ) -> Self {
        Self { event_hash, account_hash, account, ts_ms, finding: Finding::default(), nodes }
    }

    /// Where the event stands in the table.
    fn place(&self) -> u64 {
        place(self.event_hash, self.account_hash)
    }

    /// Whether anybody did it, still.
    fn is_there(&self) -> bool {
        self.account != ERASED
    }
}

/// Platforms number events by account, too: the id alone does not spread.
fn place(event_hash: u64, account_hash: u64) -> u64 {
    (event_hash ^ account_hash.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The memory. About 140 bytes per event.
#[derive(Debug)]
pub struct RecentEvents {
    /// Sequence numbers by event and account.
    table: HashTable<u64>,
    /// Sequence numbers of the newest events by their ids alone; made with the first label that asks.
    by_id: Option<HashTable<u64>>,
    ring: VecDeque<Remembered>,
    /// Sequence number of the ring's front.
    first: u64,
    events_max: usize,
    age_ms_max: i64,
    dirty_from: u64,
    dirty_chunks: std::collections::BTreeSet<u64>,
    dropped_chunks: Vec<u64>,
}

impl RecentEvents {
    /// A memory of at most `events_max` events, none older than `age_ms_max` behind the newest.
    pub fn new(events_max: usize, age_ms_max: i64) -> Self {
        Self {
            table: HashTable::new(),
            by_id: None,
            ring: VecDeque::new(),
            first: 0,
            events_max: events_max.max(1),
            age_ms_max,
            dirty_from: 0,
            dirty_chunks: Default::default(),
            dropped_chunks: Vec::new(),
        }
    }

    fn at(&self, seq: u64) -> (u64, &Remembered) {
        (seq, &self.ring[(seq - self.first) as usize])
    }

    /// The event with this id of this account, by their hashes.
    #[inline]
    pub fn find_of(&self, event_hash: u64, account_hash: u64) -> Option<(u64, &Remembered)> {
        let seq = self.table.find(place(event_hash, account_hash), |&seq| {
            let event = &self.ring[(seq - self.first) as usize];
            event.event_hash == event_hash && event.account_hash == account_hash
        })?;
        Some(self.at(*seq))
    }

    /// The newest event with this id, whoever did it. The first call costs a pass over the memory.
    pub fn find(&mut self, event_hash: u64) -> Option<(u64, &Remembered)> {
        if self.by_id.is_none() {
            let mut by_id = HashTable::with_capacity(self.ring.len());
            for (seq, event) in (self.first..).zip(&self.ring) {
                if event.is_there() {
                    enter(&mut by_id, &self.ring, self.first, seq);
                }
            }
            self.by_id = Some(by_id);
        }
        let (ring, first) = (&self.ring, self.first);
        let by_id = self.by_id.as_ref()?;
        let seq =
            *by_id.find(event_hash, |&s| ring[(s - first) as usize].event_hash == event_hash)?;
        Some(self.at(seq))
    }

    /// Changes what was found out about an event, and which nodes it was counted for.
    pub fn set_finding(&mut self, seq: u64, finding: Finding, nodes: SmallVec<[KnownNode; 4]>) {
        let event = &mut self.ring[(seq - self.first) as usize];
        event.finding = finding;
        event.nodes = nodes;
        self.touched(seq);
    }

    fn touched(&mut self, seq: u64) {
        if seq < self.dirty_from {
            self.dirty_chunks.insert(seq / RECENT_CHUNK as u64);
        }
    }

    /// Remembers an event, and forgets what is beyond the caps.
    pub fn insert(&mut self, event: Remembered, watermark_ms: i64) {
        while self.ring.len() >= self.events_max {
            self.pop_front();
        }
        while self
            .ring
            .front()
            .is_some_and(|e| watermark_ms.saturating_sub(e.ts_ms) > self.age_ms_max)
        {
            self.pop_front();
        }
        self.push(event);
    }

    fn push(&mut self, event: Remembered) {
        let seq = self.first + self.ring.len() as u64;
        let (place, there) = (event.place(), event.is_there());
        self.ring.push_back(event);
        if there {
            let (ring, first) = (&self.ring, self.first);
            self.table.insert_unique(place, seq, |&s| ring[(s - first) as usize].place());
            if let Some(by_id) = &mut self.by_id {
                enter(by_id, ring, first, seq);
            }
        }
    }

    /// Reads what the next so many insertions will push out.
    pub fn look_ahead(&self, events: usize) {
        if self.ring.len() + events <= self.events_max {
            return;
        }
        for event in self.ring.iter().take(events) {
            self.table.find(event.place(), |&s| std::hint::black_box(s) < self.first);
        }
    }

    fn pop_front(&mut self) {
        let Some(front) = self.ring.front() else { return };
        let seq = self.first;
        if let Ok(entry) = self.table.find_entry(front.place(), |&s| s == seq) {
            entry.remove();
        }
        if let Some(by_id) = &mut self.by_id
            && let Ok(entry) = by_id.find_entry(front.event_hash, |&s| s == seq)
        {
            entry.remove();
        }
        self.ring.pop_front();
        self.first += 1;
        self.dirty_from = self.dirty_from.max(self.first);
        if self.first.is_multiple_of(RECENT_CHUNK as u64) {
            let gone = self.first / RECENT_CHUNK as u64 - 1;
            self.dirty_chunks.remove(&gone);
            self.dropped_chunks.push(gone);
        }
    }

    /// Forgets everything about an account (erasure), and returns its events about which something was
    /// found out. Linear in the memory.
    pub fn forget_account(&mut self, account_hash: u64) -> Vec<Remembered> {
        let mut found = Vec::new();
        let met = |n: &KnownNode| n.node.kind() == 0 && n.check == account_hash as u32;
        for at in 0..self.ring.len() {
            let seq = self.first + at as u64;
            let event = &mut self.ring[at];
            if event.account_hash == account_hash && event.is_there() {
                if let Ok(entry) = self.table.find_entry(event.place(), |&s| s == seq) {
                    entry.remove();
                }
                let nothing = Remembered::new(0, 0, ERASED, event.ts_ms, SmallVec::new());
                let event = std::mem::replace(event, nothing);
                if event.finding.verdict != 0 {
                    found.push(event);
                }
            } else if event.nodes.iter().any(met) {
                event.nodes.retain(|n| !met(n));
            } else {
                continue;
            }
            self.touched(seq);
        }
        // An older event of somebody else may have the same id.
        self.by_id = None;
        found
    }

    /// Chunks changed since the last call, with their bytes (`None`: gone), and the sequence of the front.
    pub fn take_dirty(&mut self) -> Vec<(u64, Option<Vec<u8>>)> {
        self.take_dirty_chunks().into_iter().map(|number| (number, self.chunk(number))).collect()
    }

    /// The numbers of the chunks that changed since the last call, or went.
    pub fn take_dirty_chunks(&mut self) -> Vec<u64> {
        let end = self.first + self.ring.len() as u64;
        let chunk = RECENT_CHUNK as u64;
        let mut chunks = std::mem::take(&mut self.dirty_chunks);
        if self.dirty_from < end {
            chunks.extend(self.dirty_from / chunk..=(end - 1) / chunk);
        }
        self.dirty_from = end;
        let mut out = std::mem::take(&mut self.dropped_chunks);
        out.extend(chunks);
        out
    }

    /// The bytes of a chunk; `None` when all of it was forgotten.
    pub fn chunk(&self, number: u64) -> Option<Vec<u8>> {
        let end = self.first + self.ring.len() as u64;
        let chunk = RECENT_CHUNK as u64;
        if (number + 1) * chunk <= self.first {
            return None;
        }
        let from = (number * chunk).max(self.first);
        let to = ((number + 1) * chunk).min(end);
        let mut bytes = Vec::with_capacity(8 + (to.saturating_sub(from)) as usize * 56);
        bytes.extend_from_slice(&from.to_le_bytes());
        for seq in from..to {
            write_entry(&mut bytes, &self.ring[(seq - self.first) as usize]);
        }
        Some(bytes)
    }

    /// The sequence number of the oldest event: saved beside the chunks.
    pub fn front(&self) -> u64 {
        self.first
    }

    /// Puts chunks back, in ascending order of their numbers; `front` is what [`Self::front`] said.
    ///
    /// # Errors
    /// When the chunks are damaged or do not join.
    pub fn restore(&mut self, front: u64, chunks: &[(u64, Vec<u8>)]) -> Result<(), &'static str> {
        const DAMAGED: &str = "a chunk of recent events is damaged";
        self.first = front;
        for (_, bytes) in chunks {
            let (head, mut rest) = bytes.split_first_chunk::<8>().ok_or(DAMAGED)?;
            let mut seq = u64::from_le_bytes(*head);
            while !rest.is_empty() {
                let event = read_entry(&mut rest).ok_or(DAMAGED)?;
                if seq >= front {
                    if seq != self.first + self.ring.len() as u64 {
                        return Err("chunks of recent events do not join");
                    }
                    self.push(event);
                }
                seq += 1;
            }
        }
        self.dirty_from = self.first + self.ring.len() as u64;
        Ok(())
    }

    /// Heap bytes held.
    pub fn bytes(&self) -> usize {
        let by_id = self.by_id.as_ref().map_or(0, HashTable::allocation_size);
        self.table.allocation_size() + by_id + self.ring.capacity() * size_of::<Remembered>()
    }
}

/// A newer event under the same id takes the place of the older one.
fn enter(by_id: &mut HashTable<u64>, ring: &VecDeque<Remembered>, first: u64, seq: u64) {
    let hash_of = |s: u64| ring[(s - first) as usize].event_hash;
    let hash = hash_of(seq);
    match by_id.find_mut(hash, |&s| hash_of(s) == hash) {
        Some(slot) => *slot = seq,
        None => drop(by_id.insert_unique(hash, seq, |&s| hash_of(s))),
    }
}

/// Stands for the account of an erased event.
const ERASED: u32 = u32::MAX;

fn write_entry(out: &mut Vec<u8>, event: &Remembered) {
    out.extend_from_slice(&event.event_hash.to_le_bytes());
    out.extend_from_slice(&event.account_hash.to_le_bytes());
    out.extend_from_slice(&event.account.to_le_bytes());
    out.extend_from_slice(&event.ts_ms.to_le_bytes());
    let Finding { verdict, weight, counted_ms, newest_ms } = event.finding;
    out.push(verdict);
    if verdict != 0 {
        out.extend_from_slice(&weight.to_le_bytes());
        out.extend_from_slice(&counted_ms.to_le_bytes());
        out.extend_from_slice(&newest_ms.to_le_bytes());
    }
    // An event names at most 33 keys.
    out.push(event.nodes.len() as u8);
    for known in &event.nodes {
        out.extend_from_slice(&known.node.to_bits().to_le_bytes());
        out.extend_from_slice(&known.check.to_le_bytes());
    }
}

fn read_entry(rest: &mut &[u8]) -> Option<Remembered> {
    fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
        let (head, tail) = rest.split_first_chunk::<N>()?;
        *rest = tail;
        Some(*head)
    }
    let event_hash = u64::from_le_bytes(take(rest)?);
    let account_hash = u64::from_le_bytes(take(rest)?);
    let account = u32::from_le_bytes(take(rest)?);
    let ts_ms = i64::from_le_bytes(take(rest)?);
    let [verdict] = take(rest)?;
    let mut finding = Finding { verdict, ..Finding::default() };
    if verdict != 0 {
        finding.weight = f32::from_le_bytes(take(rest)?);
        finding.counted_ms = i64::from_le_bytes(take(rest)?);
        finding.newest_ms = i64::from_le_bytes(take(rest)?);
    }
    let [count] = take(rest)?;
    let mut nodes = SmallVec::new();
    for _ in 0..count {
        let node = Node::from_bits(u32::from_le_bytes(take(rest)?));
        nodes.push(KnownNode { node, check: u32::from_le_bytes(take(rest)?) });
    }
    Some(Remembered { event_hash, account_hash, account, ts_ms, finding, nodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(hash: u64, account: u32, ts_ms: i64) -> Remembered {
        let nodes = [Node::new(1, account), Node::account(account + 1)];
        let nodes = nodes.map(|node| KnownNode { node, check: node.index() });
        Remembered::new(hash, account.into(), account, ts_ms, SmallVec::from_slice(&nodes))
    }

    #[test]
    fn caps_by_count_and_age_forget_the_oldest() {
        let mut recent = RecentEvents::new(3, 100);
        for i in 0..5 {
            recent.insert(event(i, i as u32, i as i64), i as i64);
        }
        assert_eq!(recent.ring.len(), 3);
        assert!(recent.find(1).is_none() && recent.find_of(1, 1).is_none());
        assert_eq!(recent.find(2).unwrap().1.account, 2);
        assert_eq!(recent.find_of(2, 2).unwrap().0, 2);
        recent.insert(event(9, 9, 200), 200);
        assert_eq!(recent.ring.len(), 1);
        assert!(recent.find(4).is_none());
    }

    #[test]
    fn the_newest_of_two_events_with_one_id_is_found_and_both_are_by_account() {
        let mut recent = RecentEvents::new(3, i64::MAX);
        recent.insert(event(7, 1, 1), 1);
        recent.insert(event(7, 2, 2), 2);
        assert_eq!(recent.find(7).unwrap().1.account, 2);
        assert_eq!(recent.find_of(7, 1).unwrap().1.account, 1);
        recent.insert(event(8, 3, 3), 3);
        assert_eq!(recent.forget_account(2), []);
        assert_eq!(recent.find(7).unwrap().1.account, 1, "the older one is the newest now");
        recent.insert(event(9, 4, 4), 4);
        assert!(recent.find(7).is_none() && recent.find_of(7, 1).is_none());
    }

    #[test]
    fn what_was_found_out_about_an_erased_account_is_handed_back() {
        let mut recent = RecentEvents::new(9, i64::MAX);
        for id in 0..3 {
            recent.insert(event(id, id as u32, 5), 5);
        }
        let nodes = recent.find(1).unwrap().1.nodes.clone();
        recent.set_finding(1, Finding { verdict: 2, ..Finding::default() }, nodes);
        assert_eq!(recent.forget_account(1).iter().map(|e| e.event_hash).collect::<Vec<_>>(), [1]);
        assert_eq!(recent.find_of(0, 0).unwrap().1.nodes.len(), 1, "as the one met, too");
        assert_eq!(recent.find_of(2, 2).unwrap().1.nodes.len(), 2);
    }

    #[test]
    fn saved_in_pieces_and_restored_it_is_the_same() {
        let mut old = RecentEvents::new(2500, i64::MAX);
        let mut saved = std::collections::BTreeMap::new();
        let keep = |saved: &mut std::collections::BTreeMap<u64, Vec<u8>>,
                    old: &mut RecentEvents| {
            for (chunk, bytes) in old.take_dirty() {
                match bytes {
                    Some(bytes) => drop(saved.insert(chunk, bytes)),
                    None => drop(saved.remove(&chunk)),
                }
            }
        };
        for i in 0..6000u64 {
            old.insert(event(i * 31, (i % 50) as u32, i as i64), i as i64);
            if i % 777 == 0 {
                if i > 2000 {
                    let (seq, event) = old.find((i - 1500) * 31).unwrap();
                    let nodes = event.nodes.clone();
                    let ms = i as i64;
                    let finding =
                        Finding { verdict: 2, weight: 0.5, counted_ms: ms, newest_ms: ms };
                    old.set_finding(seq, finding, nodes);
                }
                if i == 777 * 4 {
                    old.forget_account(7);
                }
                keep(&mut saved, &mut old);
            }
        }
        keep(&mut saved, &mut old);
        let chunks: Vec<_> = saved.into_iter().collect();
        let mut new = RecentEvents::new(2500, i64::MAX);
        new.restore(old.front(), &chunks).unwrap();
        assert_eq!(old.ring, new.ring);
        for i in 0..6000u64 {
            assert_eq!(old.find(i * 31).map(|f| f.0), new.find(i * 31).map(|f| f.0));
            let account = i % 50;
            let of = |r: &RecentEvents| r.find_of(i * 31, account).map(|f| f.0);
            assert_eq!(of(&old), of(&new));
        }
        assert!(new.restore(0, &[(0, vec![1, 2, 3])]).is_err());
    }
}
