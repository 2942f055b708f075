//! What changed, by ids: cheap to take at a moment, to be saved then, or kept until it is known whether somebody else has saved it.

use crate::intern::Interner;
use crate::named::{Name, Save};
use crate::state::DirtySet;
use crate::step::Engine;
use compact_str::CompactString;
use smallvec::SmallVec;

/// Records whose memory is read side by side before they are copied.
const WARM: usize = 16;
/// A chunk of recent events takes as long to save as so many records.
pub(crate) const CHUNK_RECORDS: usize = 64;

/// Everything that was touched in some time. A list may hold more than what really changed, never less.
#[derive(Debug, Default)]
pub struct Changed {
    pub(crate) accounts: Keys,
    /// By kind; empty for kinds whose keys are accounts.
    pub(crate) kinds: Vec<Keys>,
    /// Chunks of recent events, those that are gone among them.
    pub(crate) recent: Vec<u64>,
}

/// Ids of one kind in their order, each once, and what was forgotten: by hash, with its key.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub ids: Vec<u32>,
    pub gone: Vec<(u64, CompactString)>,
}

/// How many ids each list has, accounts first: those that are to be taken before others that change meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Listed(SmallVec<[usize; 8]>);

impl Listed {
    /// Ids of all lists.
    pub fn len(&self) -> usize {
        self.0.iter().sum()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where the records of one kind are.
pub(crate) struct Records<'a> {
    pub keys: &'a Interner,
    pub kind: CompactString,
    /// Reads what `write` will read.
    pub warm: &'a dyn Fn(&[u32]),
    /// Puts a record behind what is in the buffer.
    pub write: &'a dyn Fn(u32, &mut Vec<u8>),
}

impl Keys {
    fn add(&mut self, other: Self) {
        self.ids.extend(other.ids);
        self.gone.extend(other.gone);
        self.put_in_order();
    }

    /// Takes up to `left` names off and saves what they name.
    pub fn take(
        &mut self,
        left: &mut usize,
        of: &Records<'_>,
        buffer: &mut Vec<u8>,
        save: &mut Save<'_>,
    ) {
        let name = |key| Name::Profile { kind: of.kind.clone(), key };
        while *left > 0
            && let Some((hash, key)) = self.gone.pop()
        {
            *left -= 1;
            if of.keys.find(hash).is_none() {
                save(name(key), None);
            }
        }
        while *left > 0 && !self.ids.is_empty() {
            let some = WARM.min(*left).min(self.ids.len());
            *left -= some;
            let mut ids: SmallVec<[u32; WARM]> = self.ids.drain(self.ids.len() - some..).collect();
            ids.retain(|id| of.keys.is_live(*id));
            (of.warm)(&ids);
            for id in ids {
                buffer.clear();
                (of.write)(id, buffer);
                save(name(of.keys.text(id).into()), Some(buffer));
            }
        }
    }

    fn put_in_order(&mut self) {
        self.ids.sort_unstable();
        self.ids.dedup();
        self.gone.sort_unstable();
        self.gone.dedup();
    }
}

impl Changed {
    /// Joins two lists.
    pub fn add(&mut self, other: Self) {
        if other.is_empty() {
            return;
        }
        self.accounts.add(other.accounts);
        self.kinds.resize_with(self.kinds.len().max(other.kinds.len()), Keys::default);
        for (mine, others) in self.kinds.iter_mut().zip(other.kinds) {
            mine.add(others);
        }
        self.recent.extend(other.recent);
        self.recent.sort_unstable();
        self.recent.dedup();
    }

    /// How many records it names; what belongs to no key apart.
    pub fn len(&self) -> usize {
        let all = std::iter::once(&self.accounts).chain(&self.kinds);
        all.map(|keys| keys.ids.len() + keys.gone.len()).sum::<usize>() + self.recent.len()
    }

    /// How much there is to save, in records.
    pub fn work(&self) -> usize {
        self.len() + self.recent.len() * (CHUNK_RECORDS - 1)
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Engine {
    /// Takes the list of what changed since the last call, or the last save. Call it between steps, and
    /// [`Engine::name_forgotten`] before the first.
    pub fn take_changed(&mut self) -> Changed {
        self.gather_changed();
        let mut changed = self.take_some_changed(&mut self.listed(), usize::MAX);
        changed.add(self.take_changed_beside());
        changed
    }

    /// Brings together what the parts of the state list as changed. Whoever calls it after each step spreads the work that
    /// [`Engine::take_changed`] has otherwise, and may take some of what changed by [`Engine::take_some_changed`]. Not to be followed by
    /// [`Engine::save_changes`], which saves the parts apart.
    pub fn gather_changed(&mut self) {
        let (accounts, kinds, nodes) = (&mut self.accounts, &mut self.kinds, &self.nodes);
        let decided = std::mem::take(&mut self.deciding.dirty);
        decided
            .into_iter()
            .filter_map(|hash| accounts.keys.find(hash))
            .for_each(|id| accounts.dirty.mark(id));
        let dirty = std::cell::RefCell::new(&mut accounts.dirty);
        self.graph.take_dirty_into(
            |account| dirty.borrow_mut().mark(account),
            |node| match nodes.kind_of(node).map(|kind| kinds[kind].as_mut()) {
                None => dirty.borrow_mut().mark(node.index()),
                Some(kind) => kind.into_iter().for_each(|kind| kind.dirty.mark(node.index())),
            },
        );
    }

    /// What [`Engine::take_some_changed`] would take now.
    pub fn listed(&self) -> Listed {
        let kinds = self.kinds.iter().map(|kind| kind.as_ref().map_or(0, |kind| kind.dirty.len()));
        Listed(std::iter::once(self.accounts.dirty.len()).chain(kinds).collect())
    }

    /// Takes up to `most` of the ids that were gathered and that `listed` still has, of each list those that changed first. What one
    /// of them stands for counts as changed again as soon as it changes.
    pub fn take_some_changed(&mut self, listed: &mut Listed, most: usize) -> Changed {
        let mut left = most;
        let mut some = |dirty: &mut DirtySet, listed: &mut usize| {
            let mut ids = dirty.take_some(left.min(*listed));
            left -= ids.len();
            *listed -= ids.len();
            ids.sort_unstable();
            Keys { ids, gone: Vec::new() }
        };
        let mut lists = listed.0.iter_mut();
        let mut changed = Changed::default();
        if let Some(listed) = lists.next() {
            changed.accounts = some(&mut self.accounts.dirty, listed);
        }
        for (kind, listed) in self.kinds.iter_mut().zip(lists) {
            let keys = kind.as_mut().map(|kind| some(&mut kind.dirty, listed));
            changed.kinds.push(keys.unwrap_or_default());
        }
        changed
    }

    /// Takes what is listed beside ids: what was forgotten, chunks of recent events, and what was put back.
    pub fn take_changed_beside(&mut self) -> Changed {
        let mut changed = std::mem::take(&mut self.carried);
        changed.kinds.resize_with(self.kinds.len(), Keys::default);
        let keys = std::iter::once(&mut changed.accounts).chain(&mut changed.kinds);
        let accounts = std::iter::once(Some(&mut self.accounts.keys));
        let kinds = self.kinds.iter_mut().map(|kind| kind.as_mut().map(|kind| &mut kind.keys));
        for (keys, of) in keys.zip(accounts.chain(kinds)) {
            if let Some(gone) = of.map(Interner::take_gone).filter(|gone| !gone.is_empty()) {
                keys.add(Keys { ids: Vec::new(), gone });
            }
        }
        let recent = self.recent.take_dirty_chunks();
        changed.add(Changed { recent, ..Changed::default() });
        changed
    }

    /// Puts a list back: what it names counts as changed again.
    pub fn still_changed(&mut self, changed: Changed) {
        self.carried.add(changed);
    }
}
