//! What happens to a profile: it is begun, it observes events, it learns labels, and columns are read from it.
//!
//! A profile is a byte slice of [`Layout::size`], aligned to 8, that somebody else owns. All zero is an empty one. Nothing here allocates.

use crate::blocks::counters::{self, acceleration, mean};
use crate::blocks::distinct::{self, Distinct};
use crate::blocks::head::Head;
use crate::blocks::labels::{LabelSeen, Labels};
use crate::blocks::neighbours::Neighbour;
use crate::blocks::numeric::Numeric;
use crate::blocks::rhythm::Rhythm;
use crate::blocks::robust::Robust;
use crate::blocks::sessions::Sessions;
use crate::blocks::windows::{CountRing, SumRing};
use crate::blocks::{Moment, Order, Out, hours};
use crate::event::{KindId, TimeMs, TypeId};
use crate::hits::CounterHits;
use crate::layout::{Field, Layout};
use bytemuck::Pod;
use std::mem::size_of;

/// One key that an event names, for the distinct counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DistinctKey {
    /// Which kind of thing: a kind's id, [`DistinctKey::TARGET`] or [`DistinctKey::ACCOUNT`].
    pub what: u8,
    /// Hash of the key: the same for the same key, for ever.
    pub hash: u64,
}

impl DistinctKey {
    /// The account acted upon.
    pub const TARGET: u8 = 254;
    /// The acting account.
    pub const ACCOUNT: u8 = 255;

    /// A key of a kind of entity.
    pub fn of(kind: KindId, hash: u64) -> DistinctKey {
        DistinctKey { what: kind.0, hash }
    }
}

/// One event, as a profile sees it.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// When it happened. Negative counts as 0.
    pub ts_ms: TimeMs,
    /// What happened.
    pub type_id: TypeId,
    /// Attribute values by slot; not finite, or missing at the end: absent.
    pub attributes: &'a [f32],
    /// All keys that the event names. Those that the role does not count are passed over.
    pub keys: &'a [DistinctKey],
    /// Values of the other side, as [`Schema::neighbour_columns`](crate::schema::Schema::neighbour_columns) chose them for this role; not
    /// finite, or missing at the end: absent.
    pub neighbour: &'a [f32],
    /// Which counters the event moves.
    pub counters: &'a CounterHits,
}

/// What became of an event, or of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It stands so to the profile's history.
    As(Order),
    /// The bytes are shorter than the layout's size or not aligned to 8, or `out` is shorter than its width: nothing was done.
    Misfit,
}

/// A block's struct in the bytes. Layouts place only what fits, so that `None` does not happen after the size was checked.
#[inline]
fn part<T: Pod>(bytes: &[u8], at: usize) -> Option<&T> {
    bytemuck::try_from_bytes(bytes.get(at..at + size_of::<T>())?).ok()
}

#[inline]
fn part_mut<T: Pod>(bytes: &mut [u8], at: usize) -> Option<&mut T> {
    bytemuck::try_from_bytes_mut(bytes.get_mut(at..at + size_of::<T>())?).ok()
}

#[inline]
fn parts<T: Pod>(bytes: &[u8], at: usize, count: usize) -> &[T] {
    bytes
        .get(at..at + count * size_of::<T>())
        .and_then(|b| bytemuck::try_cast_slice(b).ok())
        .unwrap_or_default()
}

#[inline]
fn parts_mut<T: Pod>(bytes: &mut [u8], at: usize, count: usize) -> &mut [T] {
    bytes
        .get_mut(at..at + count * size_of::<T>())
        .and_then(|b| bytemuck::try_cast_slice_mut(b).ok())
        .unwrap_or_default()
}

#[inline]
fn value(values: &[f32], slot: usize) -> f32 {
    values.get(slot).copied().unwrap_or(f32::NAN)
}

impl Layout {
    /// Begins an empty profile: all zero.
    pub fn init(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn fits(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.size && bytes.as_ptr().align_offset(8) == 0
    }

    fn moment(&self, head: &Head, ts_ms: i64) -> Moment {
        Moment::of(head, ts_ms, &self.rules.half_lives, self.rules.lateness_max_ms)
    }

    /// Takes an event: one pass over the profile's bytes, no allocation.
    ///
    /// In order, or late by no more than `time.lateness_max`: every block takes it, but rhythm, sessions and robust means only in order. Later: only the
    /// head's first time and counts.
    pub fn observe(&self, bytes: &mut [u8], seen: &Observation<'_>) -> Taken {
        if !self.fits(bytes) {
            return Taken::Misfit;
        }
        let Some(head) = part_mut::<Head>(bytes, 0) else { return Taken::Misfit };
        let moment = self.moment(head, seen.ts_ms);
        head.observe(&moment, seen.type_id.0);
        if !moment.accepted() {
            return Taken::As(moment.order);
        }
        let rules = &self.rules;
        let state = parts_mut::<f32>(bytes, self.counters_at, 4 * self.slots.count);
        counters::observe(state, &moment, &self.slots, seen.counters);
        for w in &self.windows {
            let weight = seen.counters.weight(w.counter);
            if weight == 0.0 {
                continue;
            }
            if w.is_sum {
                if let Some(ring) = part_mut::<SumRing>(bytes, w.at) {
                    ring.observe(&moment, w.tile_ms, weight);
                }
            } else if let Some(ring) = part_mut::<CountRing>(bytes, w.at) {
                ring.observe(&moment, w.tile_ms, weight);
            }
        }
        if let Some(rhythm) = self.rhythm_at.and_then(|at| part_mut::<Rhythm>(bytes, at)) {
            rhythm.observe(&moment);
        }
        if let Some(sessions) = self.sessions_at.and_then(|at| part_mut::<Sessions>(bytes, at)) {
            sessions.observe(&moment, rules.session_gap_ms);
        }
        if let Some(at) = self.hours_at {
            hours::observe(parts_mut(bytes, at, 24), &moment, &rules.local);
        }
        let states = parts_mut::<Numeric>(bytes, self.numeric_at, self.numeric_slots.len());
        for (state, slot) in states.iter_mut().zip(&self.numeric_slots) {
            state.observe(&moment, value(seen.attributes, *slot));
        }
        let states = parts_mut::<Robust>(bytes, self.robust_at, self.robust_slots.len());
        for (state, slot) in states.iter_mut().zip(&self.robust_slots) {
            state.observe(&moment, value(seen.attributes, *slot));
        }
        self.observe_distinct(bytes, &moment, seen.keys);
        let states = parts_mut::<Neighbour>(bytes, self.neighbours_at, self.neighbours);
        for (i, state) in states.iter_mut().enumerate() {
            state.observe(&moment, value(seen.neighbour, i));
        }
        Taken::As(moment.order)
    }

    fn observe_distinct(&self, bytes: &mut [u8], moment: &Moment, keys: &[DistinctKey]) {
        let count = self.distinct_whats.len();
        if count == 0 {
            return;
        }
        let now = distinct::epoch(moment.ts_ms, self.rules.half_lives.ms[3]);
        let Some(newest) = part_mut::<i64>(bytes, self.distinct_at) else { return };
        let was = *newest;
        *newest = was.max(now);
        let newest = *newest;
        let sketches = parts_mut::<Distinct>(bytes, self.distinct_at + size_of::<i64>(), count);
        let mut epoch = was;
        distinct::advance(&mut epoch, sketches, now);
        for key in keys {
            if let Some(sketch) =
                sketches.get_mut(usize::from(self.distinct_of[usize::from(key.what)]))
            {
                sketch.observe(key.hash, now, newest);
            }
        }
    }

    /// Notes whether the event that was observed last was ahead of the stream's clock ([`Head::ahead`]).
    pub fn note_ahead(&self, bytes: &mut [u8], ahead: bool) {
        if let Some(head) = part_mut::<Head>(bytes, 0) {
            head.ahead = u32::from(ahead);
        }
    }

    /// Takes what became known about one of the key's events. Does nothing for roles without labels.
    pub fn learn(&self, bytes: &mut [u8], label: &LabelSeen) -> bool {
        if !self.fits(bytes) {
            return false;
        }
        match self.labels_at.and_then(|at| part_mut::<Labels>(bytes, at)) {
            Some(labels) => {
                labels.learn(label, &self.rules.half_lives);
                true
            }
            None => false,
        }
    }

    /// Whether any label ever spoke of the key's events.
    pub fn learned(&self, bytes: &[u8]) -> bool {
        let labels = self.labels_at.filter(|_| self.fits(bytes));
        labels.and_then(|at| part::<Labels>(bytes, at)).is_some_and(|labels| labels.learned > 0)
    }

    /// Reads the columns for an event that is the key's own: the state before it, with this event's own weight in counts, windows,
    /// distinct counts and sessions; gaps are since the event before, scores and means against the history before.
    ///
    /// `None`, or an empty profile: counts are the event's own, everything else NaN (age 0, usual hour a 24th). Call it before
    /// [`Layout::observe`]. No allocation.
    pub fn extract(&self, bytes: Option<&[u8]>, seen: &Observation<'_>, out: &mut [f32]) -> Taken {
        self.read(bytes, seen, true, out)
    }

    /// Reads the columns for an event of somebody else: the state as of the event's time, without a contribution of it. Scores say how
    /// the event's values, hour and time would stand in this profile's history.
    pub fn look(&self, bytes: Option<&[u8]>, seen: &Observation<'_>, out: &mut [f32]) -> Taken {
        self.read(bytes, seen, false, out)
    }

    /// Fills the columns for an event that has no such key: all NaN.
    pub fn absent(&self, out: &mut [f32]) {
        out.iter_mut().take(self.width()).for_each(|x| *x = f32::NAN);
    }

    fn read(
        &self,
        bytes: Option<&[u8]>,
        seen: &Observation<'_>,
        own: bool,
        out: &mut [f32],
    ) -> Taken {
        let bytes = bytes.unwrap_or(bytemuck::cast_slice(&self.empty));
        if !self.fits(bytes) || out.len() < self.width() {
            return Taken::Misfit;
        }
        let Some(head) = part::<Head>(bytes, 0) else { return Taken::Misfit };
        let rules = &self.rules;
        let moment = self.moment(head, seen.ts_ms);
        let mut out = Out::new(out);
        head.extract(&moment, own, rules.types.len(), &mut out);
        self.read_counters(bytes, &moment, own.then_some(seen.counters), &mut out);
        if let Some(rhythm) = self.rhythm_at.and_then(|at| part::<Rhythm>(bytes, at)) {
            rhythm.extract(&moment, &mut out);
        }
        if let Some(sessions) = self.sessions_at.and_then(|at| part::<Sessions>(bytes, at)) {
            sessions.extract(&moment, rules.session_gap_ms, own, &mut out);
        }
        if let Some(at) = self.hours_at {
            hours::extract(parts(bytes, at, 24), &moment, &rules.local, &mut out);
        }
        if let Some(labels) = self.labels_at.and_then(|at| part::<Labels>(bytes, at)) {
            labels.extract(moment.at_ms, &rules.half_lives, &mut out);
        }
        let states = parts::<Numeric>(bytes, self.numeric_at, self.numeric_slots.len());
        for (state, slot) in states.iter().zip(&self.numeric_slots) {
            state.extract(value(seen.attributes, *slot), &mut out);
        }
        let states = parts::<Robust>(bytes, self.robust_at, self.robust_slots.len());
        for (state, slot) in states.iter().zip(&self.robust_slots) {
            state.extract(&moment, value(seen.attributes, *slot), &mut out);
        }
        if let Some(newest) =
            part::<i64>(bytes, self.distinct_at).filter(|_| !self.distinct_whats.is_empty())
        {
            let at = self.distinct_at + size_of::<i64>();
            let sketches = parts::<Distinct>(bytes, at, self.distinct_whats.len());
            let now = distinct::epoch(moment.at_ms, rules.half_lives.ms[3]);
            let own_epoch = match moment.order {
                Order::Late => distinct::epoch(moment.ts_ms, rules.half_lives.ms[3]),
                _ => now,
            };
            let own = own && moment.accepted();
            for (sketch, what) in sketches.iter().zip(&self.distinct_whats) {
                let keys = seen.keys.iter().filter(|k| own && k.what == *what).map(|k| k.hash);
                for estimate in sketch.extract(now, own_epoch, *newest, keys) {
                    out.push(estimate);
                }
            }
        }
        for state in parts::<Neighbour>(bytes, self.neighbours_at, self.neighbours) {
            state.extract(&mut out);
        }
        Taken::As(moment.order)
    }

    fn read_counters(
        &self,
        bytes: &[u8],
        moment: &Moment,
        own: Option<&CounterHits>,
        out: &mut Out<'_>,
    ) {
        let count = self.slots.count;
        let state = parts::<f32>(bytes, self.counters_at, 4 * count);
        let rest = out.take(count * 4 + self.accelerated.len() * 2 + self.averaged.len() * 4);
        let (values, rest) = rest.split_at_mut_checked(count * 4).unwrap_or_default();
        counters::extract(state, moment, &self.slots, own, values);
        let values = values.as_chunks::<4>().0;
        let (accelerations, means) =
            rest.split_at_mut_checked(self.accelerated.len() * 2).unwrap_or_default();
        let half_lives = self.rules.half_lives.ms;
        let apart = [
            half_lives[2] as f32 / half_lives[0] as f32,
            half_lives[3] as f32 / half_lives[1] as f32,
        ];
        for (cells, slot) in accelerations.as_chunks_mut::<2>().0.iter_mut().zip(&self.accelerated)
        {
            if let Some(row) = values.get(*slot) {
                *cells = [
                    acceleration(row[0], row[2], apart[0]),
                    acceleration(row[1], row[3], apart[1]),
                ];
            }
        }
        for (cells, (sum, count)) in means.as_chunks_mut::<4>().0.iter_mut().zip(&self.averaged) {
            if let (Some(sums), Some(counts)) = (values.get(*sum), values.get(*count)) {
                for (cell, (s, c)) in cells.iter_mut().zip(sums.iter().zip(counts)) {
                    *cell = mean(*s, *c);
                }
            }
        }
        for w in &self.windows {
            let weight = own.map_or(0.0, |hits| hits.weight(w.counter));
            out.push(if w.is_sum {
                part::<SumRing>(bytes, w.at)
                    .map_or(f32::NAN, |r| r.extract(moment, w.tile_ms, weight))
            } else {
                part::<CountRing>(bytes, w.at)
                    .map_or(f32::NAN, |r| r.extract(moment, w.tile_ms, weight))
            });
        }
    }

    /// When the profile last moved, milliseconds: its last event. `None` for an empty or misfitting one.
    pub fn last_ms(&self, bytes: &[u8]) -> Option<TimeMs> {
        let head = part::<Head>(bytes, 0)?;
        (head.events > 0).then_some(head.last_ms)
    }

    /// The profile's head. `None` for misfitting bytes.
    pub fn head(&self, bytes: &[u8]) -> Option<Head> {
        part::<Head>(bytes, 0).copied()
    }

    /// Begins a profile from one of an older layout: every field that has the same name, type, count and meaning is copied, the rest
    /// starts empty. Returns how many fields were copied; out-of-range fields of the old table are passed over.
    pub fn carry_over(&self, old_fields: &[Field], old: &[u8], new: &mut [u8]) -> usize {
        self.init(new);
        let mut copied = 0;
        for field in self.fields() {
            let same = |f: &&Field| {
                f.name == field.name
                    && f.kind == field.kind
                    && f.count == field.count
                    && f.means == field.means
            };
            let Some(from) = old_fields.iter().find(same) else { continue };
            let bytes = field.kind.size() * field.count;
            let source = from.offset.checked_add(bytes).and_then(|end| old.get(from.offset..end));
            if let (Some(source), Some(target)) =
                (source, new.get_mut(field.offset..field.offset + bytes))
            {
                target.copy_from_slice(source);
                copied += 1;
            }
        }
        copied
    }
}
