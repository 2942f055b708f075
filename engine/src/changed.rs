//! What changed, by ids: cheap to take at a moment, to be saved then, or kept until it is known whether somebody else has saved it.

use crate::intern::Interner;
use crate::named::{Name, Save};
use crate::step::Engine;
use compact_str::CompactString;
use smallvec::SmallVec;

/// Records whose memory is read side by side before they are copied.
const WARM: usize = 16;

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

impl Keys {
    fn add(&mut self, other: Self) {
        self.ids.extend(other.ids);
        self.gone.extend(other.gone);
        self.put_in_order();
    }

    /// Takes up to `left` names off, of a kind with these keys; `write` puts a value behind what is in the buffer, and `warm` reads what
    /// it will need.
    #[expect(clippy::too_many_arguments, reason = "one caller, for two kinds of records")]
    pub fn take(
        &mut self,
        left: &mut usize,
        keys: &Interner,
        kind: &CompactString,
        buffer: &mut Vec<u8>,
        warm: &dyn Fn(&[u32]),
        write: &mut dyn FnMut(u32, &mut Vec<u8>),
        save: &mut Save<'_>,
    ) {
        while *left > 0
            && let Some((hash, key)) = self.gone.pop()
        {
            *left -= 1;
            if keys.find(hash).is_none() {
                save(Name::Profile { kind: kind.clone(), key }, None);
            }
        }
        let mut warmed = 0;
        while *left > 0
            && let Some(id) = self.ids.pop()
        {
            *left -= 1;
            if warmed == 0 {
                warmed = WARM.min(*left + 1).min(self.ids.len() + 1);
                let mut next: SmallVec<[u32; WARM]> = SmallVec::new();
                let before = &self.ids[self.ids.len() + 1 - warmed..];
                next.extend(before.iter().copied().chain([id]).filter(|id| keys.is_live(*id)));
                warm(&next);
            }
            warmed -= 1;
            if keys.is_live(id) {
                buffer.clear();
                write(id, buffer);
                let key = keys.text(id).into();
                save(Name::Profile { kind: kind.clone(), key }, Some(buffer));
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

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Engine {
    /// Takes the list of what changed since the last call, or the last save. Call it between steps, and
    /// [`Engine::name_forgotten`] before the first.
    pub fn take_changed(&mut self) -> Changed {
        let (accounts, nodes) = self.graph.take_dirty();
        let mut changed = Changed {
            accounts: Keys { ids: accounts, gone: self.accounts.keys.take_gone() },
            kinds: Vec::with_capacity(self.kinds.len()),
            recent: self.recent.take_dirty_chunks(),
        };
        changed.accounts.ids.extend(self.accounts.dirty.take());
        for kind in &mut self.kinds {
            changed.kinds.push(kind.as_mut().map_or(Keys::default(), |kind| Keys {
                ids: kind.dirty.take(),
                gone: kind.keys.take_gone(),
            }));
        }
        for node in nodes {
            match self.nodes.kind_of(node) {
                Some(kind) => changed.kinds[kind].ids.push(node.index()),
                None => changed.accounts.ids.push(node.index()),
            }
        }
        for hash in std::mem::take(&mut self.deciding.dirty) {
            changed.accounts.ids.extend(self.accounts.keys.find(hash));
        }
        changed.accounts.put_in_order();
        changed.kinds.iter_mut().for_each(Keys::put_in_order);
        changed.add(std::mem::take(&mut self.carried));
        changed
    }

    /// Puts a list back: what it names counts as changed again.
    pub fn still_changed(&mut self, changed: Changed) {
        self.carried.add(changed);
    }
}
