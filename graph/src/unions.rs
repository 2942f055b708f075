//! The union-find behind components: accounts point at each other, a root at its record, and all
//! members of a component stand in a circle, so that it can be taken apart.

use crate::components::Record;
use crate::links::{LinkGraph, Place};
use crate::records::{Link, NONE, ROOT};

impl LinkGraph {
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
    pub(crate) fn unite(&mut self, slot: usize, held: &[(u32, Link)]) {
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
    pub(crate) fn bind(&mut self, slot: usize, account: u32, place: Place, sums: bool) {
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
        let records = &mut generation.records;
        let (Some(&x), Some(&y)) = (records.get(at_a as usize), records.get(at_b as usize)) else {
            return;
        };
        let (root, leaf, keep, spare) =
            if x.size >= y.size { (a, b, at_a, at_b) } else { (b, a, at_b, at_a) };
        if let Some(record) = records.get_mut(keep as usize) {
            *record = Record {
                size: x.size + y.size,
                bad: x.bad + y.bad,
                min_key: x.min_key.min(y.min_key),
                earliest_ms: x.earliest_ms.min(y.earliest_ms),
                growth: x.growth.wrapping_add(y.growth),
            };
        }
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
                *generation.records.get_mut(at as usize)? = new;
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
    pub(crate) fn empty(&mut self, slot: usize) {
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
