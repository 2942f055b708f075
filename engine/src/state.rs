//! All that the engine remembers of keys: dense arenas, one per kind.

use crate::intern::Interner;
use crate::segments::Segments;
use crate::slab::Slab;
use features::layout::Layout;
use features::schema::Schema;
use graph::Node;
use std::collections::VecDeque;

/// Ids changed since the last checkpoint, each once, in the order in which they first changed.
#[derive(Debug, Default)]
pub struct DirtySet {
    marked: Vec<u64>,
    /// In the order in which they were marked.
    list: VecDeque<u32>,
}

impl DirtySet {
    /// Marks an id.
    #[inline]
    pub fn mark(&mut self, id: u32) {
        let (word, bit) = (id as usize / 64, 1u64 << (id % 64));
        if word >= self.marked.len() {
            self.marked.resize(word + 1, 0);
        }
        if self.marked[word] & bit == 0 {
            self.marked[word] |= bit;
            self.list.push_back(id);
        }
    }

    /// Reads what [`Self::mark`] will meet.
    #[inline]
    pub fn warm(&self, id: u32) {
        std::hint::black_box(self.marked.get(id as usize / 64).copied());
    }

    /// How many ids are marked.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Takes back all marks but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        for id in self.list.drain(len.min(self.list.len())..) {
            self.marked[id as usize / 64] &= !(1 << (id % 64));
        }
    }

    /// Takes the marked ids.
    pub fn take(&mut self) -> Vec<u32> {
        for id in &self.list {
            self.marked[*id as usize / 64] = 0;
        }
        std::mem::take(&mut self.list).into()
    }

    /// Takes those that were marked first, up to `most`.
    pub fn take_some(&mut self, most: usize) -> Vec<u32> {
        let some: Vec<u32> = self.list.drain(..most.min(self.list.len())).collect();
        for id in &some {
            self.marked[*id as usize / 64] &= !(1 << (id % 64));
        }
        some
    }
}

/// What is known of an account's verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// 0 nothing known, 1 good, 2 bad: by the newest label.
    pub verdict: u8,
    /// When that became known.
    pub since_ms: i64,
}

impl Standing {
    /// Whether the account is known to be bad now.
    pub fn is_bad(self) -> bool {
        self.verdict == 2
    }
}

/// The accounts.
#[derive(Debug)]
pub struct Accounts {
    /// Their ids.
    pub keys: Interner,
    /// What they do.
    pub acting: Slab,
    /// What is done to them; made when first needed.
    pub received: Slab,
    /// Place in `received` plus one; 0: none.
    received_at: Segments<u32>,
    received_free: Vec<u32>,
    /// Verdicts.
    pub standing: Segments<Standing>,
    /// Changed since the last checkpoint.
    pub dirty: DirtySet,
    trial: Option<Trial>,
}

/// Profiles that a trial forgot, by id, and the marks there were before it.
#[derive(Debug, Default)]
struct Trial {
    marked: usize,
    forgotten: Vec<Forgotten>,
}

/// A forgotten account or entity, as it was.
#[derive(Debug)]
struct Forgotten {
    id: u32,
    profile: Vec<u8>,
    /// Place plus one, and bytes.
    received: (u32, Vec<u8>),
    standing: Standing,
}

impl Accounts {
    /// No accounts yet, with profiles of these layouts.
    pub fn new(acting: &Layout, received: &Layout) -> Self {
        Self {
            keys: Interner::default(),
            acting: Slab::new(acting.size()),
            received: Slab::new(received.size()),
            received_at: Segments::default(),
            received_free: Vec::new(),
            standing: Segments::default(),
            dirty: DirtySet::default(),
            trial: None,
        }
    }

    /// Makes room for an id that was just given.
    pub fn make_room(&mut self, id: u32) {
        let needed = id + 1;
        self.acting.grow(needed);
        self.received_at.grow(needed as usize);
        self.standing.grow(needed as usize);
    }

    /// What is done to an account, if anything was.
    #[inline]
    pub fn received(&self, id: u32) -> Option<&[u8]> {
        match self.received_at[id as usize] {
            0 => None,
            place => Some(self.received.get(place - 1)),
        }
    }

    /// What is done to an account, made with `layout` if need be.
    pub fn received_mut(&mut self, id: u32, layout: &Layout) -> &mut [u8] {
        let place = match self.received_at[id as usize] {
            0 => {
                let place = self.received_free.pop().unwrap_or(self.received.len());
                self.received.grow(place + 1);
                layout.init(self.received.get_mut(place));
                self.received_at[id as usize] = place + 1;
                place
            }
            place => place - 1,
        };
        self.received.get_mut(place)
    }

    /// How many accounts have a profile of what is done to them.
    pub fn received_n(&self) -> u64 {
        u64::from(self.received.len()).saturating_sub(self.received_free.len() as u64)
    }

    /// Forgets everything about an id, and the id itself.
    pub fn forget(&mut self, id: u32) {
        if let Some(trial) = &mut self.trial {
            let place = self.received_at[id as usize];
            let received = place.checked_sub(1).map(|at| self.received.get(at).to_vec());
            trial.forgotten.push(Forgotten {
                id,
                profile: self.acting.get(id).to_vec(),
                received: (place, received.unwrap_or_default()),
                standing: self.standing[id as usize],
            });
        }
        self.acting.get_mut(id).fill(0);
        let place = std::mem::take(&mut self.received_at[id as usize]);
        if place > 0 {
            self.received.get_mut(place - 1).fill(0);
            self.received_free.push(place - 1);
        }
        self.standing[id as usize] = Standing::default();
        self.keys.forget(id);
        self.dirty.mark(id);
    }

    /// From here on, ids that are given and forgotten are noted. No profile is to be changed.
    pub fn begin_trial(&mut self) {
        self.keys.begin_trial();
        self.trial = Some(Trial { marked: self.dirty.len(), forgotten: Vec::new() });
    }

    /// Takes back what was noted.
    pub fn undo_trial(&mut self) {
        self.keys.undo_trial();
        let Some(trial) = self.trial.take() else { return };
        for was in trial.forgotten.into_iter().rev() {
            self.acting.get_mut(was.id).copy_from_slice(&was.profile);
            let (place, received) = was.received;
            if let Some(at) = place.checked_sub(1) {
                self.received.get_mut(at).copy_from_slice(&received);
                self.received_free.pop();
            }
            self.received_at[was.id as usize] = place;
            self.standing[was.id as usize] = was.standing;
        }
        self.dirty.truncate(trial.marked);
    }

    /// Heap bytes held.
    pub fn bytes(&self) -> usize {
        self.keys.bytes()
            + self.acting.bytes()
            + self.received.bytes()
            + self.received_at.bytes()
            + self.standing.bytes()
    }
}

/// How kinds of things are numbered in the graph: those that are accounts are linked as accounts, the others
/// count from 1 on.
#[derive(Debug, Default)]
pub struct NodeKinds {
    node_kind: Vec<u8>,
    kind: Vec<usize>,
}

impl NodeKinds {
    /// The numbering of the declared kinds.
    pub fn new(schema: &Schema) -> Self {
        let mut new = Self::default();
        for (kind, spec) in schema.kinds().iter().enumerate() {
            if !spec.is_account {
                new.kind.push(kind);
            }
            new.node_kind.push(if spec.is_account { 0 } else { new.kind.len() as u8 });
        }
        new
    }

    /// The node of an entity.
    #[inline]
    pub fn node(&self, kind: u8, id: u32) -> Node {
        Node::new(self.node_kind.get(usize::from(kind)).copied().unwrap_or(u8::MAX), id)
    }

    /// The kind of a node; `None` for accounts.
    #[inline]
    pub fn kind_of(&self, node: Node) -> Option<usize> {
        self.kind.get(node.kind().checked_sub(1)?).copied()
    }
}

/// The entities of one kind.
#[derive(Debug)]
pub struct Entities {
    /// Their ids.
    pub keys: Interner,
    /// What happened through them.
    pub profiles: Slab,
    /// Changed since the last checkpoint.
    pub dirty: DirtySet,
    trial: Option<Trial>,
}

impl Entities {
    /// No entities yet, with profiles of this layout.
    pub fn new(layout: &Layout) -> Self {
        Self {
            keys: Interner::default(),
            profiles: Slab::new(layout.size()),
            dirty: DirtySet::default(),
            trial: None,
        }
    }

    /// Forgets everything about an id, and the id itself.
    pub fn forget(&mut self, id: u32) {
        if let Some(trial) = &mut self.trial {
            trial.forgotten.push(Forgotten {
                id,
                profile: self.profiles.get(id).to_vec(),
                received: (0, Vec::new()),
                standing: Standing::default(),
            });
        }
        self.profiles.get_mut(id).fill(0);
        self.keys.forget(id);
        self.dirty.mark(id);
    }

    /// From here on, ids that are given and forgotten are noted. No profile is to be changed.
    pub fn begin_trial(&mut self) {
        self.keys.begin_trial();
        self.trial = Some(Trial { marked: self.dirty.len(), forgotten: Vec::new() });
    }

    /// Takes back what was noted.
    pub fn undo_trial(&mut self) {
        self.keys.undo_trial();
        let Some(trial) = self.trial.take() else { return };
        for was in trial.forgotten.into_iter().rev() {
            self.profiles.get_mut(was.id).copy_from_slice(&was.profile);
        }
        self.dirty.truncate(trial.marked);
    }

    /// Heap bytes held.
    pub fn bytes(&self) -> usize {
        self.keys.bytes() + self.profiles.bytes()
    }
}
