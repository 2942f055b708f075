//! Trying something out: what a trial changes is noted as it was, and put back at its end. Outside of a trial
//! nothing is noted.

use crate::components::Generation;
use crate::links::{Counts, LinkGraph, Size};
use crate::node::Node;

/// One change of a [`Kept`].
#[derive(Clone, Debug)]
enum Change<T> {
    Set(usize, T),
    Pushed,
    Popped(T),
    Cleared(Vec<T>),
}

/// A list that can go back to what it was.
#[derive(Clone, Debug)]
pub(crate) struct Kept<T> {
    items: Vec<T>,
    /// In a trial: its changes, in their order.
    log: Option<Vec<Change<T>>>,
}

impl<T: Copy> Kept<T> {
    pub(crate) fn new() -> Self {
        Self { items: Vec::new(), log: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.items.capacity()
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.items.get(at)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        if let Some(log) = &mut self.log
            && let Some(old) = self.items.get(at)
        {
            log.push(Change::Set(at, *old));
        }
        self.items.get_mut(at)
    }

    pub(crate) fn push(&mut self, item: T) {
        if let Some(log) = &mut self.log {
            log.push(Change::Pushed);
        }
        self.items.push(item);
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let item = self.items.pop()?;
        if let Some(log) = &mut self.log {
            log.push(Change::Popped(item));
        }
        Some(item)
    }

    pub(crate) fn clear(&mut self) {
        match &mut self.log {
            Some(log) => log.push(Change::Cleared(std::mem::take(&mut self.items))),
            None => self.items.clear(),
        }
    }

    pub(crate) fn begin(&mut self) {
        self.log = Some(Vec::new());
    }

    pub(crate) fn undo(&mut self) {
        for change in self.log.take().unwrap_or_default().into_iter().rev() {
            match change {
                Change::Set(at, old) => self.items[at] = old,
                Change::Pushed => drop(self.items.pop()),
                Change::Popped(old) => self.items.push(old),
                Change::Cleared(old) => self.items = old,
            }
        }
    }
}

/// What of a graph is put back as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    counts: Counts,
    size: Size,
    account_slots_n: u32,
    dirty: (usize, usize, bool),
    emptied: Vec<Node>,
    older: usize,
    epoch: i64,
    /// Start and tag of each generation.
    generations: [(i64, u8); 2],
    ahead: Vec<(u32, Node)>,
}

impl LinkGraph {
    /// Begins a trial: everything up to [`LinkGraph::undo_trial`] is taken back by it. Changes cost about
    /// twice as much as else. What changed before is not to be asked for ([`LinkGraph::take_dirty`]) in between.
    pub fn begin_trial(&mut self) {
        let of = |g: &Generation| (g.start_ms, g.tag);
        self.before = Some(Box::new(Before {
            counts: self.counts,
            size: self.size,
            account_slots_n: self.account_slots_n,
            dirty: (self.dirty_accounts.len(), self.dirty_entities.len(), self.dirty_repeats),
            emptied: self.emptied.clone(),
            older: self.components.older,
            epoch: self.components.epoch,
            generations: [of(&self.components.generations[0]), of(&self.components.generations[1])],
            ahead: self.components.ahead.clone(),
        }));
        self.accounts.begin();
        self.entities.iter_mut().for_each(|kind| kind.begin());
        self.arrivals.iter_mut().for_each(|kind| kind.begin());
        self.account_slots_free.begin();
        self.links.begin();
        self.recents.begin();
        self.crowds.begin();
        for generation in &mut self.components.generations {
            generation.records.begin();
            generation.free.begin();
        }
    }

    /// Ends a trial: the graph is what it was when the trial began. Cost: the changes made.
    pub fn undo_trial(&mut self) {
        let Some(before) = self.before.take() else { return };
        self.accounts.undo();
        self.entities.iter_mut().for_each(|kind| kind.undo());
        self.arrivals.iter_mut().for_each(|kind| kind.undo());
        self.account_slots_free.undo();
        self.links.undo();
        self.recents.undo();
        self.crowds.undo();
        for (generation, (start_ms, tag)) in
            self.components.generations.iter_mut().zip(before.generations)
        {
            generation.records.undo();
            generation.free.undo();
            (generation.start_ms, generation.tag) = (start_ms, tag);
        }
        self.components.older = before.older;
        self.components.epoch = before.epoch;
        self.components.ahead = before.ahead;
        self.counts = before.counts;
        self.size = before.size;
        self.account_slots_n = before.account_slots_n;
        self.dirty_accounts.truncate(before.dirty.0);
        self.dirty_entities.truncate(before.dirty.1);
        self.dirty_repeats = before.dirty.2;
        self.emptied = before.emptied;
    }
}
