//! The clocks of the partitions that a stream is read from, and the watermark over them.
//!
//! In which order partitions are read is chance: where an instance works through a backlog, one of them can be hours of
//! the stream ahead of another. Each therefore has its own [`Clock`], so that as of which moment an event counts, and with
//! it what an account's own events make of it, depends on the order within its partition alone. The watermark is the
//! latest of them.

use crate::clock::{Clock, ClockV1};
use crate::effects::SourceRef;
use crate::snapshot::take_array;

/// A partition: number of the topic, and of the partition in it.
type Place = (u16, i32);

/// A clock for each partition heard, about 2 kB each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clocks {
    jump_max_ms: i64,
    now_ms: i64,
    /// Ascending by place.
    of: Vec<(Place, Clock)>,
}

/// What one event can change.
pub(crate) struct Before {
    now_ms: i64,
    place: Place,
    clock: Option<Clock>,
}

/// Version of [`Clocks::saved`].
const FORM: u8 = 1;

impl Clocks {
    /// Clocks that have heard nothing; see [`Clock::new`].
    pub(crate) fn new(jump_max_ms: i64) -> Self {
        Self { jump_max_ms, now_ms: -1, of: Vec::new() }
    }

    /// The watermark: the latest time that any of them says; -1 before the first event.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// What time it is in the partition of a source; -1 before its first event.
    pub(crate) fn now_of(&self, source: SourceRef) -> i64 {
        self.find(self.place(source)).map_or(-1, |at| self.of[at].1.now_ms())
    }

    /// Whether there is a time.
    pub(crate) fn is_set(&self) -> bool {
        self.now_ms >= 0
    }

    /// Sets the time at which a stream of files begins; no effect once there is a time.
    pub(crate) fn begin(&mut self, ts_ms: i64) {
        if !self.is_set() {
            self.with(SourceRef::default(), |clock| clock.begin(ts_ms));
        }
    }

    /// The clock of a stream of files.
    pub(crate) fn of_files(&self) -> Clock {
        self.of.iter().find(|(place, _)| *place == (0, 0)).map_or_else(
            || {
                let mut clock = Clock::new(self.jump_max_ms);
                if self.is_set() {
                    clock.begin(self.now_ms);
                }
                clock
            },
            |(_, clock)| clock.clone(),
        )
    }

    /// As [`Clock::hear`], by the clock of the event's partition.
    pub(crate) fn hear(&mut self, source: SourceRef, account: u64, ts_ms: i64) -> i64 {
        self.with(source, |clock| clock.hear(account, ts_ms))
    }

    /// As [`Clock::cap`], by the clock of the event's partition.
    pub(crate) fn cap(&mut self, source: SourceRef, ts_ms: i64) -> i64 {
        self.with(source, |clock| clock.cap(ts_ms))
    }

    /// Forgets what an account said.
    pub(crate) fn forget(&mut self, account: u64) {
        self.of.iter_mut().for_each(|(_, clock)| clock.forget(account));
    }

    /// What an event of this source can change, for [`Clocks::put_back`].
    pub(crate) fn before(&self, source: SourceRef) -> Before {
        let place = self.place(source);
        let clock = self.find(place).ok().map(|at| self.of[at].1.clone());
        Before { now_ms: self.now_ms, place, clock }
    }

    /// Undoes what an event changed.
    pub(crate) fn put_back(&mut self, before: Before) {
        self.now_ms = before.now_ms;
        match (self.find(before.place), before.clock) {
            (Ok(at), Some(clock)) => self.of[at].1 = clock,
            (Ok(at), None) => {
                self.of.remove(at);
            }
            (Err(_), _) => {}
        }
    }

    fn find(&self, place: Place) -> Result<usize, usize> {
        self.of.binary_search_by_key(&place, |(place, _)| *place)
    }

    /// The partition of a source. An event that comes from nowhere, such as one that somebody only asks about, is one of the
    /// partition that is furthest.
    fn place(&self, source: SourceRef) -> Place {
        let place = (source.topic, source.partition);
        if source.topic > 0 || self.find(place).is_ok() {
            return place;
        }
        let furthest = self.of.iter().max_by_key(|(_, clock)| clock.now_ms());
        furthest.map_or(place, |(place, _)| *place)
    }

    fn with<T>(&mut self, source: SourceRef, ask: impl FnOnce(&mut Clock) -> T) -> T {
        let place = self.place(source);
        let at = match self.find(place) {
            Ok(at) => at,
            Err(at) => {
                let clock = match place {
                    (0, _) => self.of_files(),
                    _ => Clock::new(self.jump_max_ms),
                };
                self.of.insert(at, (place, clock));
                at
            }
        };
        let clock = &mut self.of[at].1;
        let answer = ask(clock);
        self.now_ms = self.now_ms.max(clock.now_ms());
        answer
    }

    /// All clocks as bytes, little-endian: form (1 byte), number of clocks (u32), then for each: length of the topic's name
    /// (u16), the name, partition (i32), now, settled and pause (i64), events and accounts of the run (u32), its earliest
    /// (i64), number of voices (u8), and for each the account's hash (u64) and its time (i64).
    pub(crate) fn saved(&self, topics: &[String]) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.of.len() * 1_120);
        out.push(FORM);
        out.extend((self.of.len() as u32).to_le_bytes());
        for ((topic, partition), clock) in &self.of {
            let name = topic_name(*topic, topics);
            out.extend((name.len() as u16).to_le_bytes());
            out.extend(name.as_bytes());
            out.extend(partition.to_le_bytes());
            out.extend(clock.now_ms().to_le_bytes());
            clock.saved().write(&mut out);
        }
        out
    }

    /// Takes what [`Clocks::saved`] gave, and the watermark that was saved beside it. Clocks of topics that are not read any
    /// more are left out. `None`: these cannot have been clocks.
    pub(crate) fn restore(&mut self, now_ms: i64, saved: &[u8], topics: &[String]) -> Option<()> {
        let mut rest = saved;
        let mut of: Vec<(Place, Clock)> = Vec::new();
        if take_array(&mut rest)? != [FORM] {
            return None;
        }
        for _ in 0..u32::from_le_bytes(take_array(&mut rest)?) {
            let length = usize::from(u16::from_le_bytes(take_array(&mut rest)?));
            let (name, behind) = rest.split_at_checked(length)?;
            rest = behind;
            let partition = i32::from_le_bytes(take_array(&mut rest)?);
            let at_ms = i64::from_le_bytes(take_array(&mut rest)?);
            let mut clock = Clock::new(self.jump_max_ms);
            clock.restore(at_ms, &ClockV1::read(&mut rest)?)?;
            if at_ms > now_ms {
                return None;
            }
            if let Some(topic) = topic_number(std::str::from_utf8(name).ok()?, topics) {
                of.push(((topic, partition), clock));
            }
        }
        of.sort_by_key(|(place, _)| *place);
        let all_differ = of.windows(2).all(|two| two[0].0 < two[1].0);
        if !rest.is_empty() || !all_differ {
            return None;
        }
        (self.now_ms, self.of) = (now_ms, of);
        Some(())
    }

    /// Takes a watermark without clocks, as older states kept it.
    pub(crate) fn restore_watermark(&mut self, now_ms: i64) {
        (self.now_ms, self.of) = (now_ms, Vec::new());
    }
}

/// Names stay what numbers may not; a topic that nobody named goes by its number.
fn topic_name(topic: u16, topics: &[String]) -> String {
    match topic.checked_sub(1) {
        None => String::new(),
        Some(at) => topics.get(usize::from(at)).cloned().unwrap_or_else(|| format!("#{topic}")),
    }
}

fn topic_number(name: &str, topics: &[String]) -> Option<u16> {
    if name.is_empty() {
        return Some(0);
    }
    // `#` is no letter of a topic's name.
    if let Some(number) = name.strip_prefix('#') {
        return number.parse().ok();
    }
    let at = topics.iter().position(|topic| topic == name)?;
    u16::try_from(at + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000;
    const H: i64 = 3_600 * S;
    const D: i64 = 24 * H;
    const T: i64 = 1_767_225_600_000;

    fn source(partition: i32) -> SourceRef {
        SourceRef { topic: 1, partition, ..SourceRef::default() }
    }

    #[test]
    fn watermark_is_the_latest_of_all_partitions() {
        let mut clocks = Clocks::new(D);
        assert!(!clocks.is_set());
        assert_eq!(clocks.hear(source(0), 1, T + 9 * D), T + 9 * D);
        assert_eq!(
            clocks.hear(source(1), 2, T),
            T,
            "what another partition says makes nothing late"
        );
        assert_eq!(clocks.now_ms(), T + 9 * D);
        assert_eq!(clocks.hear(source(1), 3, T + 5 * D), T, "far ahead of the partition's clock");
        assert_eq!(clocks.cap(source(1), T + 5 * D), T);
        assert_eq!(clocks.cap(source(0), T + 5 * D), T + 5 * D);
    }

    #[test]
    fn event_from_nowhere_is_of_the_furthest_partition_or_of_a_file() {
        let mut clocks = Clocks::new(D);
        clocks.hear(source(0), 1, T);
        clocks.hear(source(1), 2, T + H);
        let before = clocks.clone();
        let nowhere = SourceRef::default();
        let saved = clocks.before(nowhere);
        assert_eq!(clocks.hear(nowhere, 9, T + 20 * D), T + H);
        clocks.put_back(saved);
        assert_eq!(clocks, before);
        let new = clocks.before(source(7));
        clocks.hear(source(7), 9, T + 20 * D);
        assert_eq!(clocks.now_ms(), T + 20 * D);
        clocks.put_back(new);
        assert_eq!(clocks, before);
        // A file continues from the watermark of a state that kept nothing else.
        let mut old = Clocks::new(D);
        old.restore_watermark(T);
        assert_eq!(old.hear(nowhere, 1, T + 20 * D), T);
        let mut old = Clocks::new(D);
        old.restore_watermark(T);
        assert_eq!(old.hear(source(3), 1, T - 20 * D), T - 20 * D);
        assert_eq!(old.now_ms(), T);
    }

    #[test]
    fn clocks_of_topics_that_are_gone_are_left_out_and_renumbered_ones_found() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let mut clocks = Clocks::new(D);
        for topic in 0..=3 {
            let source = SourceRef { topic, partition: 4, ..SourceRef::default() };
            clocks.hear(source, 1, T + i64::from(topic));
        }
        let saved = clocks.saved(&names(&["one", "two"]));
        let mut other = Clocks::new(D);
        assert!(other.restore(T + 3, &saved, &names(&["new", "two"])).is_some());
        let at: Vec<_> = other.of.iter().map(|(place, c)| (*place, c.now_ms() - T)).collect();
        assert_eq!(at, [((0, 4), 0), ((2, 4), 2), ((3, 4), 3)]);
    }

    proptest! {
        /// As of which moment an event counts does not depend on how partitions are interleaved.
        #[test]
        fn order_between_partitions_changes_nothing(
            events in proptest::collection::vec((0i32..3, 0u64..9, prop_oneof![
                5 => 0i64..60 * S, 1 => -3 * H..9 * H, 1 => 0i64..100 * D]), 1..150),
            order in any::<prop::sample::Index>(),
        ) {
            let mut ms = T;
            let events: Vec<_> = events.into_iter().map(|(partition, account, gap_ms)| {
                ms += gap_ms.clamp(0, 60 * S);
                (partition, u64::from(partition as u32) << 32 | account, ms + gap_ms)
            }).collect();
            let heard = |events: &[(i32, u64, i64)]| {
                let mut clocks = Clocks::new(D);
                let mut found = [const { Vec::new() }; 3];
                for (partition, account, ts_ms) in events {
                    found[*partition as usize].push(clocks.hear(source(*partition), *account, *ts_ms));
                }
                (found, clocks)
            };
            let mut parted = events.clone();
            let head = order.index(events.len()) + 1;
            parted[..head].sort_by_key(|event| event.0);
            parted[head..].sort_by_key(|event| -event.0);
            let (one, other) = (heard(&events), heard(&parted));
            prop_assert_eq!(one, other);
        }

        /// Saved and restored they are the same; bytes that were changed are refused or are other clocks.
        #[test]
        fn saved_clocks_are_restored_and_damage_never_panics(
            events in proptest::collection::vec((0i32..3, 0u64..90, 0i64..3 * D), 0..200),
            at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut clocks = Clocks::new(D);
            for (partition, account, ms) in events {
                clocks.hear(source(partition), account, T + ms);
            }
            let mut saved = clocks.saved(&[]);
            let mut other = Clocks::new(D);
            prop_assert_eq!(other.restore(clocks.now_ms(), &saved, &[]), Some(()));
            prop_assert_eq!(&other, &clocks);
            let at = at.index(saved.len());
            prop_assert_eq!(other.restore(clocks.now_ms(), &saved[..at], &[]), None);
            saved[at] = byte;
            let _ = other.restore(clocks.now_ms(), &saved, &[]);
        }
    }
}
