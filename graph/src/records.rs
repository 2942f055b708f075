//! The three records everything is kept in: account, link, entity. One cache line each, links half.

use crate::blocks::NO_BLOCK;
use crate::decay::decay;
use crate::node::Node;

/// No account, no slot.
pub(crate) const NONE: u32 = u32::MAX;

/// A union-find parent that says "root of a component on record": the record's slot follows.
pub(crate) const ROOT: u32 = 1 << 31;

/// One account's use of one node. 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(crate) struct Link {
    pub(crate) node: Node,
    pub(crate) count: u32,
    /// Touches decayed with the strength half-life, as of `last_ms`.
    pub(crate) strength: f32,
    /// 1: binds its account into components while it is recent enough.
    pub(crate) joined: u32,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
}

impl Link {
    pub(crate) fn new(node: Node, ts_ms: i64) -> Self {
        Self { node, count: 1, strength: 1.0, joined: 0, first_ms: ts_ms, last_ms: ts_ms }
    }

    /// Late touches count as much as if they had come in order, up to rounding.
    #[inline]
    pub(crate) fn touch(&mut self, ts_ms: i64, per_half_life: f64) {
        if ts_ms >= self.last_ms {
            self.strength = self.strength * decay(ts_ms - self.last_ms, per_half_life) + 1.0;
            self.last_ms = ts_ms;
        } else {
            self.strength += decay(self.last_ms - ts_ms, per_half_life);
            self.first_ms = self.first_ms.min(ts_ms);
        }
        self.count = self.count.saturating_add(1);
    }

    #[inline]
    pub(crate) fn view(&self) -> LinkView {
        LinkView {
            node: self.node,
            count: self.count,
            strength: self.strength,
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            joined: self.joined != 0,
        }
    }
}

/// A link as it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkView {
    /// What the account is linked to.
    pub node: Node,
    /// How many touches.
    pub count: u32,
    /// Touches decayed with `strength_half_life_ms`, as of `last_ms`.
    pub strength: f32,
    /// Earliest touch, event time.
    pub first_ms: i64,
    /// Latest touch, event time.
    pub last_ms: i64,
    /// Whether it binds the account into components while it is recent enough.
    pub joined: bool,
}

/// What is known of an account beside its links.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Account {
    pub(crate) key: u64,
    pub(crate) links: u32,
    /// The most recently seen nodes, by name, only with more links than are ever walked.
    pub(crate) recents: u32,
    /// Slot of the account's entity record, [`NONE`] until somebody links to the account.
    pub(crate) as_entity: u32,
    pub(crate) touches: u32,
    /// Union-find by generation slot: the parent, or [`ROOT`] and a record, or [`NONE`] for alone.
    pub(crate) parent: [u32; 2],
    /// The next member of the same component, in a circle.
    pub(crate) next: [u32; 2],
    pub(crate) links_n: u16,
    /// How many of its links, the last ones, are apart (`lists.rs`).
    pub(crate) tail_n: u8,
    /// `parent` and `next` count only if this is the generation's tag.
    pub(crate) tag: [u8; 2],
    pub(crate) recents_n: u8,
    pub(crate) suspicion: u8,
    pub(crate) evidence: u8,
    pub(crate) exists: bool,
    pub(crate) bad: bool,
    pub(crate) dirty: bool,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            key: 0,
            links: NO_BLOCK,
            recents: NO_BLOCK,
            as_entity: NONE,
            touches: 0,
            parent: [NONE; 2],
            next: [NONE; 2],
            links_n: 0,
            tail_n: 0,
            tag: [0; 2],
            recents_n: 0,
            suspicion: 0,
            evidence: 0,
            exists: false,
            bad: false,
            dirty: false,
        }
    }
}

/// What is known of an entity: aggregates over the accounts linked to it, so that nobody has to walk
/// them. The integers are functions of the set of live links, labels and published suspicions alone.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Entity {
    pub(crate) degree: u32,
    pub(crate) bad: u32,
    pub(crate) suspicion_sum: u32,
    pub(crate) events: u32,
    /// New members decayed with the short and the long half-life, as of `new_ms`.
    pub(crate) new: [f32; 2],
    pub(crate) new_ms: i64,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    /// An account that joined through this entity, by generation slot.
    pub(crate) anchor: [u32; 2],
    pub(crate) recents: u32,
    pub(crate) recents_n: u8,
    /// `anchor` counts only if this is the generation's tag. 0 is never one.
    pub(crate) tag: [u8; 2],
    /// [`EXISTS`] and [`DIRTY`].
    pub(crate) flags: u8,
}

pub(crate) const EXISTS: u8 = 1;
pub(crate) const DIRTY: u8 = 2;

impl Default for Entity {
    fn default() -> Self {
        Self {
            degree: 0,
            bad: 0,
            suspicion_sum: 0,
            events: 0,
            new: [0.0; 2],
            new_ms: 0,
            first_ms: 0,
            last_ms: 0,
            anchor: [NONE; 2],
            recents: NO_BLOCK,
            recents_n: 0,
            tag: [0; 2],
            flags: 0,
        }
    }
}

impl Entity {
    #[inline]
    pub(crate) fn exists(&self) -> bool {
        self.flags & EXISTS != 0
    }

    /// Counts a new member at `ts_ms` in both decayed counts.
    pub(crate) fn add_new(&mut self, ts_ms: i64, per_half_life: [f64; 2]) {
        let ahead = ts_ms - self.new_ms;
        for (value, per) in self.new.iter_mut().zip(per_half_life) {
            *value = if ahead >= 0 {
                *value * decay(ahead, per) + 1.0
            } else {
                *value + decay(-ahead, per)
            };
        }
        self.new_ms = self.new_ms.max(ts_ms);
    }
}

/// An entity as it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EntityView {
    /// Distinct accounts linked to it.
    pub degree: u32,
    /// Those of them that are labelled bad now.
    pub bad: u32,
    /// Sum of their published suspicions, 0 to 255 each.
    pub suspicion_sum: u32,
    /// Touches ever, saturating.
    pub events: u32,
    /// New members decayed with the short and the long half-life, as of `new_ms`.
    pub new: [f32; 2],
    /// The latest moment a member was new.
    pub new_ms: i64,
    /// Earliest touch ever, event time.
    pub first_ms: i64,
    /// Latest touch ever, event time.
    pub last_ms: i64,
}

/// An account as it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccountView {
    /// Its stable key.
    pub key: u64,
    /// Its live links.
    pub links: u32,
    /// Its touches ever, saturating.
    pub touches: u32,
    /// Labelled bad now.
    pub bad: bool,
    /// Published suspicion, 255 is certain.
    pub suspicion: u8,
    /// Label-free evidence: the least that suspicion can be.
    pub evidence: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_fill_their_lines() {
        assert_eq!(size_of::<Link>(), 32);
        assert_eq!(size_of::<Account>(), 64);
        assert_eq!(size_of::<Entity>(), 64);
    }

    #[test]
    fn late_touches_count_the_same() {
        let per = 1.0 / 1000.0;
        let (mut a, mut b) = (Link::new(Node::new(1, 1), 0), Link::new(Node::new(1, 1), 5000));
        for ts in [700, 5000] {
            a.touch(ts, per);
        }
        for ts in [0, 700] {
            b.touch(ts, per);
        }
        assert_eq!((a.count, a.first_ms, a.last_ms), (b.count, b.first_ms, b.last_ms));
        assert!((a.strength - b.strength).abs() < 1e-5);
        let mut e = Entity::default();
        let mut f = Entity::default();
        for ts in [0, 500, 2000] {
            e.add_new(ts, [per, per / 2.0]);
        }
        for ts in [2000, 0, 500] {
            f.add_new(ts, [per, per / 2.0]);
        }
        assert_eq!(e.new_ms, f.new_ms);
        assert!((e.new[0] - f.new[0]).abs() < 1e-5 && (e.new[1] - f.new[1]).abs() < 1e-5);
    }
}
