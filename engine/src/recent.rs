//! The bounded index of recent events: recognises redelivered ones, and joins labels that name an event
//! alone to the account and entities of that event. Oldest first out, by count and by age.

use crate::limits::RECENT_CHUNK;
use graph::Node;
use hashbrown::HashTable;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// What is remembered of one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// Hash of the event id.
    pub event_hash: u64,
    /// Who did it.
    pub account: u32,
    /// What was found out about it so far: 0 nothing, 1 good, 2 bad.
    pub verdict: u8,
    /// When it happened.
    pub ts_ms: i64,
    /// When the verdict became known.
    pub verdict_ts_ms: i64,
    /// The target, if any, then the entities.
    pub nodes: SmallVec<[Node; 4]>,
}

/// The index. About 100 bytes per event.
#[derive(Debug)]
pub struct RecentEvents {
    table: HashTable<u64>,
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
    /// An index of at most `events_max` events, none older than `age_ms_max` behind the newest.
    pub fn new(events_max: usize, age_ms_max: i64) -> Self {
        Self {
            table: HashTable::new(),
            ring: VecDeque::new(),
            first: 0,
            events_max: events_max.max(1),
            age_ms_max,
            dirty_from: 0,
            dirty_chunks: Default::default(),
            dropped_chunks: Vec::new(),
        }
    }

    /// The newest event with this id hash.
    #[inline]
    pub fn find(&self, event_hash: u64) -> Option<(u64, &Remembered)> {
        let seq = self
            .table
            .find(event_hash, |&seq| self.ring[(seq - self.first) as usize].event_hash == event_hash)?;
        Some((*seq, &self.ring[(*seq - self.first) as usize]))
    }

    /// Changes the verdict of an event found before.
    pub fn set_verdict(&mut self, seq: u64, verdict: u8, known_ms: i64) {
        let event = &mut self.ring[(seq - self.first) as usize];
        event.verdict = verdict;
        event.verdict_ts_ms = known_ms;
        if seq < self.dirty_from {
            self.dirty_chunks.insert(seq / RECENT_CHUNK as u64);
        }
    }

    /// Remembers an event, and forgets what is beyond the caps.
    pub fn insert(&mut self, event: Remembered, watermark_ms: i64) {
        while self.ring.len() >= self.events_max {
            self.pop_front();
        }
        while self.ring.front().is_some_and(|e| watermark_ms.saturating_sub(e.ts_ms) > self.age_ms_max)
        {
            self.pop_front();
        }
        let hash = event.event_hash;
        let seq = self.first + self.ring.len() as u64;
        self.ring.push_back(event);
        self.index(hash, seq);
    }

    /// A newer event under the same id (of another account) takes the place of the older one.
    fn index(&mut self, hash: u64, seq: u64) {
        let (ring, first) = (&self.ring, self.first);
        match self.table.find_mut(hash, |&s| ring[(s - first) as usize].event_hash == hash) {
            Some(slot) => *slot = seq,
            None => {
                self.table.insert_unique(hash, seq, |&s| ring[(s - first) as usize].event_hash);
            }
        }
    }

    fn pop_front(&mut self) {
        let Some(front) = self.ring.front() else { return };
        let seq = self.first;
        if let Ok(entry) = self.table.find_entry(front.event_hash, |&s| s == seq) {
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

    /// Forgets everything about an account (erasure). Linear in the index.
    pub fn forget_account(&mut self, account: u32) {
        for at in 0..self.ring.len() {
            if self.ring[at].account == account || self.ring[at].nodes.contains(&Node::account(account)) {
                let seq = self.first + at as u64;
                if self.ring[at].account == account {
                    let hash = self.ring[at].event_hash;
                    if let Ok(entry) = self.table.find_entry(hash, |&s| s == seq) {
                        entry.remove();
                    }
                    self.ring[at].event_hash = 0;
                    self.ring[at].account = ERASED;
                    self.ring[at].nodes.clear();
                } else {
                    self.ring[at].nodes.retain(|n| *n != Node::account(account));
                }
                if seq < self.dirty_from {
                    self.dirty_chunks.insert(seq / RECENT_CHUNK as u64);
                }
            }
        }
    }

    /// How many events are remembered.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Chunks changed since the last call, with their bytes (`None`: gone), and the sequence of the front.
    pub fn take_dirty(&mut self) -> Vec<(u64, Option<Vec<u8>>)> {
        let end = self.first + self.ring.len() as u64;
        let chunk = RECENT_CHUNK as u64;
        let mut chunks = std::mem::take(&mut self.dirty_chunks);
        if self.dirty_from < end {
            chunks.extend(self.dirty_from / chunk..=(end - 1) / chunk);
        }
        self.dirty_from = end;
        let mut out: Vec<_> =
            std::mem::take(&mut self.dropped_chunks).into_iter().map(|c| (c, None)).collect();
        for number in chunks {
            let from = (number * chunk).max(self.first);
            let to = ((number + 1) * chunk).min(end);
            let mut bytes = Vec::with_capacity(8 + (to.saturating_sub(from)) as usize * 56);
            bytes.extend_from_slice(&from.to_le_bytes());
            for seq in from..to {
                write_entry(&mut bytes, &self.ring[(seq - self.first) as usize]);
            }
            out.push((number, Some(bytes)));
        }
        out
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
                    let (hash, known) = (event.event_hash, event.account != ERASED);
                    self.ring.push_back(event);
                    if known {
                        self.index(hash, seq);
                    }
                }
                seq += 1;
            }
        }
        self.dirty_from = self.first + self.ring.len() as u64;
        Ok(())
    }

    /// Heap bytes held.
    pub fn bytes(&self) -> usize {
        self.table.allocation_size() + self.ring.capacity() * size_of::<Remembered>()
    }
}

/// Stands for the account of an erased event.
const ERASED: u32 = u32::MAX;

fn write_entry(out: &mut Vec<u8>, event: &Remembered) {
    out.extend_from_slice(&event.event_hash.to_le_bytes());
    out.extend_from_slice(&event.account.to_le_bytes());
    out.push(event.verdict);
    out.push(event.nodes.len() as u8);
    out.extend_from_slice(&event.ts_ms.to_le_bytes());
    out.extend_from_slice(&event.verdict_ts_ms.to_le_bytes());
    for node in &event.nodes {
        out.extend_from_slice(&node.to_bits().to_le_bytes());
    }
}

fn read_entry(rest: &mut &[u8]) -> Option<Remembered> {
    fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
        let (head, tail) = rest.split_first_chunk::<N>()?;
        *rest = tail;
        Some(*head)
    }
    let event_hash = u64::from_le_bytes(take(rest)?);
    let account = u32::from_le_bytes(take(rest)?);
    let [verdict, count] = take(rest)?;
    let ts_ms = i64::from_le_bytes(take(rest)?);
    let verdict_ts_ms = i64::from_le_bytes(take(rest)?);
    let mut nodes = SmallVec::new();
    for _ in 0..count {
        nodes.push(Node::from_bits(u32::from_le_bytes(take(rest)?)));
    }
    Some(Remembered { event_hash, account, verdict, ts_ms, verdict_ts_ms, nodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(hash: u64, account: u32, ts_ms: i64) -> Remembered {
        let nodes = SmallVec::from_slice(&[Node::new(1, account), Node::account(account + 1)]);
        Remembered { event_hash: hash, account, verdict: 0, ts_ms, verdict_ts_ms: 0, nodes }
    }

    #[test]
    fn caps_by_count_and_age_forget_the_oldest() {
        let mut recent = RecentEvents::new(3, 100);
        for i in 0..5 {
            recent.insert(event(i, i as u32, i as i64), i as i64);
        }
        assert_eq!(recent.len(), 3);
        assert!(recent.find(1).is_none());
        assert_eq!(recent.find(2).unwrap().1.account, 2);
        recent.insert(event(9, 9, 200), 200);
        assert_eq!(recent.len(), 1);
        assert!(recent.find(4).is_none());
    }

    #[test]
    fn the_newest_of_two_events_with_one_id_is_found() {
        let mut recent = RecentEvents::new(2, i64::MAX);
        recent.insert(event(7, 1, 1), 1);
        recent.insert(event(7, 2, 2), 2);
        assert_eq!(recent.find(7).unwrap().1.account, 2);
        recent.insert(event(8, 3, 3), 3);
        assert_eq!(recent.find(7).unwrap().1.account, 2, "the older one leaving takes nothing with it");
    }

    #[test]
    fn saved_in_pieces_and_restored_it_is_the_same() {
        let mut old = RecentEvents::new(2500, i64::MAX);
        let mut saved = std::collections::BTreeMap::new();
        let keep = |saved: &mut std::collections::BTreeMap<u64, Vec<u8>>, old: &mut RecentEvents| {
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
                    let (seq, _) = old.find((i - 1500) * 31).unwrap();
                    old.set_verdict(seq, 2, i as i64);
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
        }
        assert!(new.restore(0, &[(0, vec![1, 2, 3])]).is_err());
    }
}
