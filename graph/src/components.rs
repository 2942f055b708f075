//! Which accounts belong together: union-find over recent strong links, in two generations.
//!
//! A generation holds the joined links whose last touch is not older than its start. The older one
//! started with the previous epoch and answers queries ("linked in this or the previous epoch"), the
//! newer one with the current epoch; when an epoch begins, the older is dropped and an empty one
//! begins. Only accounts are elements: an entity keeps one account per generation as its anchor.
//!
//! What a component reports is a function of the live links, labels and the epoch alone: sums are
//! integers, and a link that binds a component never goes without its component being put together
//! again. So a rebuild from saved links gives the same answers.

use crate::config::GraphConfig;
use crate::decay::{FIXED_BITS, decay, exp2_fixed};
use crate::links::{LinkGraph, Place};
use crate::node::Node;
use crate::records::{Account, Link, NONE};
use crate::undo::Kept;

/// A component as an account sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Component {
    /// Accounts in it, at least 1.
    pub size: u32,
    /// Those of them that are labelled bad now.
    pub bad: u32,
    /// The smallest stable key of its accounts: the same whatever the order of the events.
    pub ring_id: u64,
    /// First touch of its oldest link; `None` for an account alone.
    pub earliest_ms: Option<i64>,
    /// Links that began since the previous epoch did, decayed with `growth_half_life_ms`; 0 for an
    /// account alone.
    pub growth: f32,
}

/// Sums over the members of a component of two or more, and over their joined links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) size: u32,
    pub(crate) bad: u32,
    pub(crate) min_key: u64,
    pub(crate) earliest_ms: i64,
    /// Fixed-point sum of 2^((first - start) / half-life): integers, so any order gives the same.
    pub(crate) growth: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Generation {
    pub(crate) start_ms: i64,
    pub(crate) tag: u8,
    pub(crate) records: Kept<Record>,
    pub(crate) free: Kept<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Components {
    pub(crate) generations: [Generation; 2],
    /// Which of the two is the older.
    pub(crate) older: usize,
    pub(crate) epoch: i64,
    epoch_ms: i64,
    per_growth: f64,
    /// Joined links already seen in an epoch that has not begun.
    pub(crate) ahead: Vec<(u32, Node)>,
}

impl Components {
    pub(crate) fn new(config: &GraphConfig) -> Self {
        let generation =
            || Generation { start_ms: 0, tag: 1, records: Kept::new(), free: Kept::new() };
        let mut new = Self {
            generations: [generation(), generation()],
            older: 0,
            epoch: 0,
            epoch_ms: config.epoch_ms,
            per_growth: 1.0 / config.growth_half_life_ms as f64,
            ahead: Vec::new(),
        };
        new.set_starts();
        new
    }

    pub(crate) fn set_epoch(&mut self, epoch: i64) {
        self.epoch = epoch;
        self.set_starts();
    }

    fn set_starts(&mut self) {
        let start = self.epoch.saturating_mul(self.epoch_ms);
        self.generations[1 - self.older].start_ms = start;
        self.generations[self.older].start_ms = start.saturating_sub(self.epoch_ms);
    }

    fn next_start_ms(&self) -> i64 {
        self.epoch.saturating_add(1).saturating_mul(self.epoch_ms)
    }

    pub(crate) fn holds(&self, slot: usize, link: &Link) -> bool {
        link.joined != 0 && link.last_ms >= self.generations[slot].start_ms
    }

    /// Whether the link is in any generation.
    pub(crate) fn binds(&self, link: &Link) -> bool {
        self.holds(self.older, link)
    }

    pub(crate) fn growth_of(&self, slot: usize, first_ms: i64) -> u64 {
        let since = first_ms.saturating_sub(self.generations[slot].start_ms);
        if since < 0 { 0 } else { exp2_fixed(since as f64 * self.per_growth) }
    }

    pub(crate) fn bytes(&self) -> usize {
        let of =
            |g: &Generation| g.records.capacity() * size_of::<Record>() + g.free.capacity() * 4;
        self.generations.iter().map(of).sum::<usize>() + self.ahead.capacity() * 8
    }

    /// The account's parent pointer, [`NONE`] if this generation has not seen it.
    #[inline]
    pub(crate) fn parent(&self, slot: usize, line: &Account) -> u32 {
        if line.tag[slot] == self.generations[slot].tag { line.parent[slot] } else { NONE }
    }

    pub(crate) fn add(&mut self, slot: usize, record: u32, first_ms: i64) {
        let growth = self.growth_of(slot, first_ms);
        if let Some(record) = self.generations[slot].records.get_mut(record as usize) {
            record.earliest_ms = record.earliest_ms.min(first_ms);
            record.growth = record.growth.wrapping_add(growth);
        }
    }
}

impl LinkGraph {
    /// The component of an account, in this or the previous epoch, with growth as of `ts_ms`. Cost:
    /// the depth of a union by size, usually one line beside the account's.
    pub fn component(&self, account: u32, ts_ms: i64) -> Option<Component> {
        let line = self.line(account)?;
        let slot = self.components.older;
        let Some(record) = self.record(slot, account) else {
            let bad = u32::from(line.bad);
            return Some(Component {
                size: 1,
                bad,
                ring_id: line.key,
                earliest_ms: None,
                growth: 0.0,
            });
        };
        let generation = &self.components.generations[slot];
        let record = generation.records.get(record as usize)?;
        let age = ts_ms.saturating_sub(generation.start_ms);
        let scale = decay(age, self.components.per_growth);
        let growth = (record.growth as f64 / f64::from(1 << FIXED_BITS)) as f32 * scale;
        Some(Component {
            size: record.size,
            bad: record.bad,
            ring_id: record.min_key,
            earliest_ms: (record.earliest_ms != i64::MAX).then_some(record.earliest_ms),
            growth,
        })
    }

    /// The accounts of the account's component, by index; itself included. Cost: its size.
    pub fn component_members(&self, account: u32) -> Vec<u32> {
        let mut members = self.circle(self.components.older, account);
        members.sort_unstable();
        members
    }

    /// Begins the epochs up to the one of `watermark_ms`; true if one began. Call it with the
    /// stream's watermark: before the first event, and as it moves on. Cost: the links already seen
    /// in the new epoch; each 255th epoch, a pass over all records.
    pub fn advance(&mut self, watermark_ms: i64) -> bool {
        let epoch = watermark_ms.max(0) / self.components.epoch_ms;
        let steps = epoch.saturating_sub(self.components.epoch);
        if steps <= 0 {
            return false;
        }
        let (older, newer) = (self.components.older, 1 - self.components.older);
        self.components.epoch = epoch;
        self.empty(older);
        let fresh = if steps == 1 {
            self.components.older = newer;
            vec![older]
        } else {
            self.empty(newer);
            vec![older, newer]
        };
        self.components.set_starts();
        let mut ahead = std::mem::take(&mut self.components.ahead);
        ahead.sort_unstable();
        ahead.dedup();
        let found: Vec<(u32, Link)> = ahead
            .iter()
            .filter_map(|(account, node)| Some((*account, self.find(*account, *node).1?)))
            .collect();
        for slot in fresh {
            let held = found.iter().filter(|(_, l)| self.components.holds(slot, l)).copied();
            let held: Vec<_> = held.collect();
            self.unite(slot, &held);
        }
        let next = self.components.next_start_ms();
        let still = found.iter().filter(|(_, l)| l.joined != 0 && l.last_ms >= next);
        self.components.ahead = still.map(|(account, l)| (*account, l.node)).collect();
        true
    }

    /// Rebuilds both generations, the lists of members and the sums of arrivals from the links: after loading, or to prove that nothing
    /// drifted. Cost: about 0.1 us per link.
    pub fn rebuild_components(&mut self) {
        self.rebuild_crowds();
        self.rebuild_arrivals();
        for slot in [0, 1] {
            self.empty(slot);
        }
        let next = self.components.next_start_ms();
        let mut ahead = Vec::new();
        for slot in [0, 1] {
            let mut held = Vec::new();
            for account in 0..self.accounts.bound() {
                for link in self.links_slice(account) {
                    if self.components.holds(slot, link) {
                        held.push((account, *link));
                    }
                    if slot == 0 && link.joined != 0 && link.last_ms >= next {
                        ahead.push((account, link.node));
                    }
                }
            }
            self.unite(slot, &held);
        }
        self.components.ahead = ahead;
    }

    /// A joined link was touched: `old` is what it was, `new` what it is.
    pub(crate) fn join(&mut self, account: u32, place: Place, old: Option<&Link>, new: &Link) {
        for slot in [0, 1] {
            if !self.components.holds(slot, new) {
                continue;
            }
            match old.filter(|l| self.components.holds(slot, l)) {
                None => {
                    if let Some(record) = self.record(slot, account) {
                        self.components.add(slot, record, new.first_ms);
                    }
                    self.bind(slot, account, place, true);
                }
                Some(old) if new.first_ms < old.first_ms => {
                    if let Some(record) = self.record(slot, account) {
                        let was = self.components.growth_of(slot, old.first_ms);
                        let records = &mut self.components.generations[slot].records;
                        if let Some(record) = records.get_mut(record as usize) {
                            record.growth = record.growth.wrapping_sub(was);
                        }
                        self.components.add(slot, record, new.first_ms);
                    }
                }
                Some(_) => {}
            }
        }
        let next = self.components.next_start_ms();
        if new.last_ms >= next && old.is_none_or(|l| l.last_ms < next) {
            self.components.ahead.push((account, new.node));
        }
    }

    /// The account was labelled: its components count one more or one less.
    pub(crate) fn count_bad(&mut self, account: u32, bad: bool) {
        for slot in [0, 1] {
            if let Some(record) = self.record(slot, account)
                && let Some(record) =
                    self.components.generations[slot].records.get_mut(record as usize)
            {
                record.bad = if bad { record.bad + 1 } else { record.bad.saturating_sub(1) };
            }
        }
    }
}
