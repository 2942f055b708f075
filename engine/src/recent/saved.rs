//! The memory as chunks of bytes. A chunk: sequence number of its first event (7 bytes), form (1 byte), then per event: hashes of
//! id and account (u64 each), hash of the content (u64, from form 1 on), account u32, ts i64, verdict u8, after a verdict weight f32
//! and two i64 of when, number of nodes u8 (128 more: the id is derived), then per node its bits u32 and its check u32. Little-endian.

use super::{CONTENT_UNKNOWN, EVENTS_MAX, Finding, KnownNode, RecentEvents, Remembered};
use crate::limits::RECENT_CHUNK;
use graph::Node;
use smallvec::SmallVec;

/// The form that is written. Form 0 had no hashes of contents: its events are recognised by account and id alone.
const FORM: u64 = 1;
/// Added to the number of nodes.
const DERIVED: u8 = 1 << 7;
/// Sequence numbers stay below this.
const FORM_AT: u32 = 56;
const CHUNK: u64 = RECENT_CHUNK as u64;

impl RecentEvents {
    /// Chunks changed since the last call, with their bytes (`None`: gone), and the sequence of the front.
    pub fn take_dirty(&mut self) -> Vec<(u64, Option<Vec<u8>>)> {
        self.take_dirty_chunks().into_iter().map(|number| (number, self.chunk(number))).collect()
    }

    /// The numbers of the chunks that changed since the last call, or went.
    pub fn take_dirty_chunks(&mut self) -> Vec<u64> {
        let end = self.ring.end();
        let mut chunks = std::mem::take(&mut self.dirty_chunks);
        if self.dirty_from < end {
            chunks.extend(self.dirty_from / CHUNK..=(end - 1) / CHUNK);
        }
        self.dirty_from = end;
        let mut out = std::mem::take(&mut self.dropped_chunks);
        out.extend(chunks);
        out
    }

    /// The numbers of all chunks.
    pub fn chunks(&self) -> Vec<u64> {
        let (first, end) = (self.ring.first(), self.ring.end());
        if first == end { Vec::new() } else { (first / CHUNK..=(end - 1) / CHUNK).collect() }
    }

    /// The bytes of a chunk; `None` when all of it was forgotten.
    pub fn chunk(&self, number: u64) -> Option<Vec<u8>> {
        let first = self.ring.first();
        if (number + 1) * CHUNK <= first {
            return None;
        }
        let from = (number * CHUNK).max(first);
        let to = ((number + 1) * CHUNK).min(self.ring.end());
        let mut bytes = Vec::with_capacity(8 + (to.saturating_sub(from)) as usize * 64);
        bytes.extend_from_slice(&(from | FORM << FORM_AT).to_le_bytes());
        for seq in from..to {
            write_entry(&mut bytes, &self.ring.get(seq).event);
        }
        Some(bytes)
    }

    /// The sequence number of the oldest event: saved beside the chunks.
    pub fn front(&self) -> u64 {
        self.ring.first()
    }

    /// Loads chunks, in ascending order of their numbers; `front` is what [`Self::front`] said. `other_contents`: they are of
    /// another feature set, under which contents hash otherwise.
    ///
    /// # Errors
    /// When the chunks are damaged, of a later form, or do not join.
    pub fn restore(
        &mut self,
        front: u64,
        chunks: &[(u64, Vec<u8>)],
        other_contents: bool,
    ) -> Result<(), &'static str> {
        const DAMAGED: &str = "a chunk of recent events is damaged";
        if front >> FORM_AT > 0 {
            return Err(DAMAGED);
        }
        self.ring.begin_at(front);
        for (_, bytes) in chunks {
            let (head, mut rest) = bytes.split_first_chunk::<8>().ok_or(DAMAGED)?;
            let head = u64::from_le_bytes(*head);
            let form = head >> FORM_AT;
            if form > FORM {
                return Err(
                    "a chunk of recent events is of a later form; load it with the program that wrote it",
                );
            }
            let mut seq = head & ((1 << FORM_AT) - 1);
            while !rest.is_empty() {
                let mut event = read_entry(&mut rest, form).ok_or(DAMAGED)?;
                if other_contents {
                    event.content = CONTENT_UNKNOWN;
                }
                if seq >= front {
                    if seq != self.ring.end() || self.ring.len() >= EVENTS_MAX {
                        return Err("chunks of recent events do not join");
                    }
                    self.push(event);
                }
                seq += 1;
            }
        }
        self.dirty_from = self.ring.end();
        Ok(())
    }
}

fn write_entry(out: &mut Vec<u8>, event: &Remembered) {
    for hash in [event.event_hash, event.account_hash, event.content] {
        out.extend_from_slice(&hash.to_le_bytes());
    }
    out.extend_from_slice(&event.account.to_le_bytes());
    out.extend_from_slice(&event.ts_ms.to_le_bytes());
    let Finding { verdict, weight, counted_ms, newest_ms } = event.finding();
    out.push(verdict);
    if verdict != 0 {
        out.extend_from_slice(&weight.to_le_bytes());
        out.extend_from_slice(&counted_ms.to_le_bytes());
        out.extend_from_slice(&newest_ms.to_le_bytes());
    }
    // An event names at most 33 keys.
    out.push(event.nodes.len() as u8 | if event.derived { DERIVED } else { 0 });
    for known in &event.nodes {
        out.extend_from_slice(&known.node.to_bits().to_le_bytes());
        out.extend_from_slice(&known.check.to_le_bytes());
    }
}

fn read_entry(rest: &mut &[u8], form: u64) -> Option<Remembered> {
    fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
        let (head, tail) = rest.split_first_chunk::<N>()?;
        *rest = tail;
        Some(*head)
    }
    let event_hash = u64::from_le_bytes(take(rest)?);
    let account_hash = u64::from_le_bytes(take(rest)?);
    let content = if form < FORM { CONTENT_UNKNOWN } else { u64::from_le_bytes(take(rest)?) };
    let account = u32::from_le_bytes(take(rest)?);
    let ts_ms = i64::from_le_bytes(take(rest)?);
    let [verdict] = take(rest)?;
    let finding = if verdict == 0 {
        None
    } else {
        Some(Box::new(Finding {
            verdict,
            weight: f32::from_le_bytes(take(rest)?),
            counted_ms: i64::from_le_bytes(take(rest)?),
            newest_ms: i64::from_le_bytes(take(rest)?),
        }))
    };
    let [count] = take(rest)?;
    let mut nodes = SmallVec::new();
    for _ in 0..count & !DERIVED {
        let node = Node::from_bits(u32::from_le_bytes(take(rest)?));
        nodes.push(KnownNode { node, check: u32::from_le_bytes(take(rest)?) });
    }
    let derived = count & DERIVED != 0;
    Some(Remembered { event_hash, account_hash, content, account, ts_ms, derived, finding, nodes })
}
