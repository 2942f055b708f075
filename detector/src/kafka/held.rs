//! What was fetched of a partition and waits for a schema: copies, in their order and within bounds. Beyond them the partition is paused.

use super::fetcher::FetchError;
use super::journal::Tp;
use super::source::{Incoming, Why};
use crate::registry::Pending;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Messages and bytes of one partition that are kept.
const MESSAGES_MAX: usize = 1024;
const BYTES_MAX: usize = 1 << 20;

/// A message whose bytes are ours.
#[derive(Debug)]
pub struct Kept {
    offset: i64,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    taken_ms: Option<i64>,
}

impl Kept {
    /// A copy.
    pub fn of(message: &Incoming<'_>) -> Self {
        Self {
            offset: message.offset,
            key: message.key.map(<[u8]>::to_vec),
            payload: message.payload.map(<[u8]>::to_vec),
            taken_ms: message.taken_ms,
        }
    }

    /// Its offset.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// As it is read.
    pub fn incoming<'a>(&'a self, tp: &'a Tp) -> Incoming<'a> {
        Incoming {
            topic: &tp.topic,
            partition: tp.partition,
            offset: self.offset,
            key: self.key.as_deref(),
            payload: self.payload.as_deref(),
            taken_ms: self.taken_ms,
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        size_of::<Self>() + len(&self.key) + len(&self.payload)
    }
}

/// One partition's.
#[derive(Debug, Default)]
pub(super) struct Held {
    waiting: VecDeque<Kept>,
    bytes: usize,
    paused: bool,
    /// The engine knows that it counts as stopped at its first message.
    told: bool,
    tried: Option<Instant>,
    /// The first message, and since when it waits.
    since: Option<(i64, Instant)>,
    /// The client sends nothing behind these.
    end: Option<FetchError>,
}

impl Held {
    pub(super) fn push(&mut self, message: &Incoming<'_>) {
        let kept = Kept::of(message);
        self.bytes += kept.bytes();
        self.waiting.push_back(kept);
        self.tried.get_or_insert_with(Instant::now);
    }

    pub(super) fn front<'a>(&'a self, tp: &'a Tp) -> Option<Incoming<'a>> {
        self.waiting.front().map(|kept| kept.incoming(tp))
    }

    /// The first one was read; the next one may wait as long again.
    pub(super) fn pop(&mut self) {
        (self.told, self.tried) = (false, Some(Instant::now()));
        let bytes = self.waiting.pop_front().map_or(0, |kept| kept.bytes());
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether nothing more may be fetched from now on. From then on it counts as paused.
    pub(super) fn is_full_for_the_first_time(&mut self) -> bool {
        let is_full = self.waiting.len() >= MESSAGES_MAX || self.bytes >= BYTES_MAX;
        is_full && !std::mem::replace(&mut self.paused, true)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether it is to be looked at without an answer, because the wait may be too long by now.
    pub(super) fn is_due(&mut self, wait: Duration) -> bool {
        let is_due = !self.told && self.tried.is_some_and(|tried| tried.elapsed() > wait);
        if is_due {
            self.tried = Some(Instant::now());
        }
        is_due
    }

    /// Why it counts as stopped, once.
    pub(super) fn waits_too_long(
        &mut self,
        at: i64,
        pending: &Pending,
        most: Duration,
    ) -> Option<Why> {
        let known = self.since.filter(|(offset, _)| *offset == at);
        let (_, since) = *self.since.insert(known.unwrap_or((at, pending.since)));
        if self.told || since.elapsed() < most {
            return None;
        }
        self.told = true;
        Some(Why::Schema(pending.to_string()))
    }

    /// The client sends nothing behind what is here.
    pub(super) fn ends(&mut self, error: FetchError) {
        self.paused = true;
        self.end.get_or_insert(error);
    }

    pub(super) fn into_end(self) -> Option<FetchError> {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp() -> Tp {
        Tp { topic: "events".into(), partition: 3 }
    }

    fn message(offset: i64, payload: &[u8]) -> Incoming<'_> {
        let (key, taken_ms) = (Some(&b"k"[..]), Some(7));
        Incoming { topic: "events", partition: 3, offset, key, payload: Some(payload), taken_ms }
    }

    #[test]
    fn held_messages_come_out_as_they_went_in() {
        let (mut held, tp) = (Held::default(), tp());
        for (offset, payload) in [(4, &b"a"[..]), (9, b"bc")] {
            held.push(&message(offset, payload));
        }
        let mut seen = Vec::new();
        while let Some(front) = held.front(&tp) {
            seen.push((front.offset, front.payload.map(<[u8]>::to_vec), front.key.is_some()));
            held.pop();
        }
        let expected = [(4, Some(b"a".to_vec()), true), (9, Some(b"bc".to_vec()), true)];
        assert_eq!(seen, expected);
        assert_eq!(held.bytes, 0);
    }

    #[test]
    fn a_full_partition_is_paused_once_by_count_or_by_bytes() {
        for payload in [vec![0; 8], vec![0; BYTES_MAX / 4]] {
            let mut held = Held::default();
            let mut paused_at = Vec::new();
            for offset in 0..2000 {
                held.push(&message(offset, &payload));
                if held.is_full_for_the_first_time() {
                    paused_at.push(offset);
                }
            }
            let expected = if payload.len() == 8 { MESSAGES_MAX as i64 - 1 } else { 3 };
            assert_eq!(paused_at, [expected], "{} bytes each", payload.len());
            assert!(held.is_paused());
        }
    }

    #[test]
    fn a_wait_counts_for_one_message_and_is_told_once() {
        let (mut held, most) = (Held::default(), Duration::from_secs(10));
        let pending = |ago| Pending {
            schema: 5,
            since: Instant::now() - Duration::from_secs(ago),
            why: Some("it answers with status 503".into()),
        };
        held.push(&message(4, b"a"));
        assert_eq!(held.waits_too_long(4, &pending(3), most), None);
        // The next message begins to wait anew.
        assert_eq!(held.waits_too_long(9, &pending(5), most), None);
        let Some(Why::Schema(why)) = held.waits_too_long(10, &pending(11), most) else {
            panic!("it waits for too long")
        };
        assert_eq!(why, "schema 5 is not known: it answers with status 503");
        assert_eq!(held.waits_too_long(10, &pending(12), most), None);
        held.pop();
        assert!(held.waits_too_long(11, &pending(12), most).is_some());
    }
}
