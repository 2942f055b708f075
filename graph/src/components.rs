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
use crate::records::{Account, Link, NONE, ROOT};

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
    pub(crate) records: Vec<Record>,
    free: Vec<u32>,
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
    ahead: Vec<(u32, Node)>,
}

impl Components {
    pub(crate) fn new(config: &GraphConfig) -> Self {
        let generation =
            || Generation { start_ms: 0, tag: 1, records: Vec::new(), free: Vec::new() };
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

    fn growth_of(&self, slot: usize, first_ms: i64) -> u64 {
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

    fn add(&mut self, slot: usize, record: u32, first_ms: i64) {
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

    /// Makes both generations anew from the links: after loading, or to prove that nothing drifted.
    /// Cost: about 0.1 us per link.
    pub fn rebuild_components(&mut self) {
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

    /// Takes the account's component apart, in one generation; returns its members.
    pub(crate) fn dissolve(&mut self, slot: usize, account: u32) -> Vec<u32> {
        let members = self.circle(slot, account);
        if let Some(record) = self.record(slot, account) {
            self.components.generations[slot].free.push(record);
        }
        for member in &members {
            let (offset, n) = self.links_of(*member);
            for i in 0..n {
                let Some(link) = self.links.slice(offset, n).get(i) else { break };
                if self.components.holds(slot, link)
                    && let Some(place) = self.place(link.node)
                    && let Some(entity) = self.entities[place.kind].get_mut(place.slot)
                {
                    entity.tag[slot] = 0;
                }
            }
            if let Some(line) = self.accounts.get_mut(*member) {
                line.tag[slot] = 0;
            }
        }
        members
    }

    /// Puts dissolved accounts together again, by the links they have now.
    pub(crate) fn reunite(&mut self, slot: usize, members: &[u32]) {
        let mut held = Vec::new();
        for member in members {
            let links = self.links_slice(*member).iter();
            held.extend(links.filter(|l| self.components.holds(slot, l)).map(|l| (*member, *l)));
        }
        self.unite(slot, &held);
    }

    /// Enters links into a generation that has none of their accounts' links: first who belongs
    /// together, then the sums, so that no link is counted twice.
    fn unite(&mut self, slot: usize, held: &[(u32, Link)]) {
        for (account, link) in held {
            if let Some(place) = self.place(link.node) {
                self.bind(slot, *account, place, false);
            }
        }
        for (account, link) in held {
            if let Some(record) = self.record(slot, *account) {
                self.components.add(slot, record, link.first_ms);
            }
        }
    }

    /// Unites the account with the entity's anchor, or makes it the anchor.
    fn bind(&mut self, slot: usize, account: u32, place: Place, sums: bool) {
        let tag = self.components.generations[slot].tag;
        let Some(entity) = self.entities[place.kind].get_mut(place.slot) else { return };
        if entity.tag[slot] == tag {
            let anchor = entity.anchor[slot];
            if anchor != account {
                self.union(slot, account, anchor, sums);
            }
        } else {
            entity.tag[slot] = tag;
            entity.anchor[slot] = account;
        }
    }

    fn union(&mut self, slot: usize, a: u32, b: u32, sums: bool) {
        let (a, b) = (self.root(slot, a), self.root(slot, b));
        if a == b {
            return;
        }
        let (Some(at_a), Some(at_b)) =
            (self.record_of_root(slot, a, sums), self.record_of_root(slot, b, sums))
        else {
            return;
        };
        let generation = &mut self.components.generations[slot];
        let (x, y) = (generation.records[at_a as usize], generation.records[at_b as usize]);
        let (root, leaf, keep, spare) =
            if x.size >= y.size { (a, b, at_a, at_b) } else { (b, a, at_b, at_a) };
        generation.records[keep as usize] = Record {
            size: x.size + y.size,
            bad: x.bad + y.bad,
            min_key: x.min_key.min(y.min_key),
            earliest_ms: x.earliest_ms.min(y.earliest_ms),
            growth: x.growth.wrapping_add(y.growth),
        };
        generation.free.push(spare);
        // Swapping the successors of one member each makes one circle of two.
        let next = self.accounts.get(root).map_or(root, |l| l.next[slot]);
        let mut other = leaf;
        if let Some(line) = self.accounts.get_mut(leaf) {
            line.parent[slot] = root;
            other = std::mem::replace(&mut line.next[slot], next);
        }
        if let Some(line) = self.accounts.get_mut(root) {
            line.next[slot] = other;
        }
    }

    /// The record of a root; an account alone gets one, with the sums over its links if asked for.
    fn record_of_root(&mut self, slot: usize, root: u32, sums: bool) -> Option<u32> {
        if let Some(record) = self.record(slot, root) {
            return Some(record);
        }
        let line = self.line(root)?;
        let mut new = Record {
            size: 1,
            bad: u32::from(line.bad),
            min_key: line.key,
            earliest_ms: i64::MAX,
            growth: 0,
        };
        if sums {
            for link in self.links_slice(root) {
                if self.components.holds(slot, link) {
                    new.earliest_ms = new.earliest_ms.min(link.first_ms);
                    let growth = self.components.growth_of(slot, link.first_ms);
                    new.growth = new.growth.wrapping_add(growth);
                }
            }
        }
        let generation = &mut self.components.generations[slot];
        let at = match generation.free.pop() {
            Some(at) => {
                generation.records[at as usize] = new;
                at
            }
            None => {
                generation.records.push(new);
                generation.records.len() as u32 - 1
            }
        };
        let tag = generation.tag;
        let line = self.accounts.get_mut(root)?;
        line.tag[slot] = tag;
        line.parent[slot] = ROOT | at;
        line.next[slot] = root;
        Some(at)
    }

    pub(crate) fn root(&self, slot: usize, mut account: u32) -> u32 {
        while let Some(line) = self.accounts.get(account) {
            let parent = self.components.parent(slot, line);
            if parent & ROOT != 0 {
                break;
            }
            account = parent;
        }
        account
    }

    pub(crate) fn record(&self, slot: usize, account: u32) -> Option<u32> {
        let line = self.accounts.get(self.root(slot, account))?;
        let parent = self.components.parent(slot, line);
        (parent != NONE).then_some(parent & !ROOT)
    }

    /// All members of the account's component, beginning with itself.
    pub(crate) fn circle(&self, slot: usize, account: u32) -> Vec<u32> {
        let mut members = vec![account];
        let mut at = account;
        while let Some(line) = self.accounts.get(at) {
            at = line.next[slot];
            if self.components.parent(slot, line) == NONE || at == account {
                break;
            }
            members.push(at);
        }
        members
    }

    /// Empties one generation, without touching its members: their tags no longer match.
    fn empty(&mut self, slot: usize) {
        let generation = &mut self.components.generations[slot];
        generation.records.clear();
        generation.free.clear();
        generation.tag = generation.tag.wrapping_add(1);
        if generation.tag == 0 {
            generation.tag = 1;
            for line in self.accounts.iter_mut() {
                line.tag[slot] = 0;
            }
            for entity in self.entities.iter_mut().flat_map(|kind| kind.iter_mut()) {
                entity.tag[slot] = 0;
            }
        }
    }
}
