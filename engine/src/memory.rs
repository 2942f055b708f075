//! The bound of the state in bytes (`state.memory_max`), and what is not kept near it.
//!
//! Bytes are counted from how many records there are, never asked of the allocator or the system: the same events give the same count on
//! every machine, in a replay and after a restart. Each size below is an upper estimate of what a record really takes.
//!
//! From [`NEAR_PERCENT`] on, new things of accounts with more than [`SHARE_LINKS`] links are not kept, and idle records go sooner. From
//! [`THINGS_PERCENT`] on no new thing is kept, from [`ACCOUNTS_PERCENT`] on no new account, and at the bound no new link. What is not
//! kept is absent, or without its account's link, for that event alone; an event of an account that is not kept is scored in a trial
//! that is rolled back.

use crate::arrived::Arrived;
use crate::effects::Effects;
use crate::intern::text_bytes;
use crate::step::{Engine, Resolved};
use features::layout::Role;
use features::schema::Schema;
use graph::Node;

/// Percent of the bound from which accounts with many links bring in no new things.
pub const NEAR_PERCENT: u64 = 90;
/// Percent of the bound from which no new thing is kept.
pub const THINGS_PERCENT: u64 = 95;
/// Percent of the bound from which no new account is kept.
pub const ACCOUNTS_PERCENT: u64 = 98;
/// Percent of the bound from which the state counts as full: it stays just below [`ACCOUNTS_PERCENT`] then.
const FULL_PERCENT: u64 = 97;
/// Links up to which an account brings in new things near the bound.
pub const SHARE_LINKS: u32 = 64;
/// The smallest bound: a tenth of it is more than one event can add.
pub const MEMORY_MIN: u64 = 4 << 20;

/// Bytes of a remembered event, its places in tables and chains included.
const RECENT_BYTES: u64 = 256;
/// Bytes of a key beside its text: hash, place of the text, entries of tables.
const KEY_BYTES: u64 = 56;
/// Bytes of an entity's record in the graph.
const ENTITY_BYTES: u64 = 64;
/// Bytes of an account beside its profiles and its key: record in the graph, verdict, places in components, and the policy's record.
/// Few accounts have the last; whether one does is known after its event was applied, so it counts for all.
const ACCOUNT_BYTES: u64 = 416;
/// Bytes of a link: its record with the slack of its block, and the places of the two ends in each other's lists.
const LINK_BYTES: u64 = 80;
/// Bytes of a key as it is stored under a privacy key.
const PSEUDONYM_BYTES: usize = 64;

/// Whether all of an event's keys are kept, or as many as there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// What fits in `state.memory_max`.
    WithinBound,
    /// Everything: the caller rolls it back.
    All,
}

/// Sizes of records, and the bound.
#[derive(Debug)]
pub(crate) struct Memory {
    max: u64,
    /// All remembered events, as many as there may be.
    recent: u64,
    account: u64,
    received: u64,
    /// By kind.
    kinds: Vec<u64>,
    /// Whether the state was near the bound when the current event was resolved.
    pub pressed: bool,
}

/// Bytes of the state by the engine's count, and the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes of the records that there are.
    pub bytes: u64,
    /// `state.memory_max`; 0: not known.
    pub max: u64,
}

impl MemoryUse {
    fn reaches(self, percent: u64) -> bool {
        self.max > 0 && self.bytes >= part(self.max, percent)
    }

    /// Whether new things of accounts with many links are not kept.
    pub fn is_near(self) -> bool {
        self.reaches(NEAR_PERCENT)
    }

    /// Whether no new thing is kept and, within one percent, no new account.
    pub fn is_full(self) -> bool {
        self.reaches(FULL_PERCENT)
    }
}

fn part(max: u64, percent: u64) -> u64 {
    max / 100 * percent
}

impl Memory {
    /// Sizes of the records of a feature set.
    pub fn new(schema: &Schema, max: u64, recent_events_max: u64) -> Self {
        let profile = |role: Role| {
            schema.layout(role).map_or(0, |layout| layout.size().next_multiple_of(8) as u64)
        };
        Self {
            max,
            recent: recent_events_max.saturating_mul(RECENT_BYTES),
            account: profile(Role::ACCOUNT) + KEY_BYTES + ACCOUNT_BYTES,
            received: profile(Role::TARGET),
            kinds: schema
                .kinds()
                .iter()
                .map(|kind| profile(kind.role) + KEY_BYTES + ENTITY_BYTES)
                .collect(),
            pressed: false,
        }
    }

    /// What is wrong with the bound, if anything is.
    pub fn problem(max: u64, recent_events_max: u64) -> Option<String> {
        let recent = recent_events_max.saturating_mul(RECENT_BYTES);
        if max < MEMORY_MIN {
            return Some(format!(
                "state.memory_max is {max} bytes, less than {MEMORY_MIN}; raise it"
            ));
        }
        (recent > max / 4 * 3).then(|| {
            format!(
                "state.memory_max is {max} bytes, and labels.recent_events_max takes {recent} of them, more than three quarters; raise the first or lower the second"
            )
        })
    }
}

impl Engine {
    /// Bytes of the state by the engine's own count, and the bound. O(kinds).
    pub fn memory_use(&self) -> MemoryUse {
        MemoryUse { bytes: self.state_bytes(), max: self.memory.max }
    }

    fn state_bytes(&self) -> u64 {
        let Memory { recent, account, received, .. } = self.memory;
        let (links, linked_accounts) = self.graph.links_and_linked_accounts();
        let keys = &self.accounts.keys;
        let mut bytes = recent
            + keys.len() as u64 * account
            + keys.text_bytes()
            + self.accounts.received_n() * received
            + links * LINK_BYTES
            + linked_accounts * ENTITY_BYTES;
        for (entities, each) in self.kinds.iter().zip(&self.memory.kinds) {
            if let Some(entities) = entities {
                bytes += entities.keys.len() as u64 * each + entities.keys.text_bytes();
            }
        }
        bytes
    }

    pub(crate) fn is_near_memory_max(&self) -> bool {
        self.memory_use().is_near()
    }

    /// Whether `more` bytes would be within a part of the bound.
    fn fits(&self, more: u64, percent: u64) -> bool {
        self.state_bytes() + more <= part(self.memory.max, percent)
    }

    /// Whether there is room for an account with this key.
    pub(crate) fn account_fits(&self, key: &str) -> bool {
        !self.memory.pressed
            || self.fits(self.memory.account + text_bytes(key.len()) as u64, ACCOUNTS_PERCENT)
    }

    /// Whether a thing of an event may be made known: there is room, and its account has not had its share.
    pub(crate) fn thing_fits(&self, kind: usize, key: &str, resolved: &Resolved) -> bool {
        if !self.memory.pressed {
            return true;
        }
        let links = self.graph.account(resolved.account).map_or(0, |account| account.links);
        let links = links as usize + resolved.entities.len();
        let each = self.memory.kinds.get(kind).copied().unwrap_or(0);
        let text = text_bytes(key.len().max(PSEUDONYM_BYTES)) as u64;
        links < SHARE_LINKS as usize && self.fits(each + text + LINK_BYTES, THINGS_PERCENT)
    }

    /// Whether an account is linked to a node, or there is room for the link.
    pub(crate) fn may_link(&self, account: u32, node: Node) -> bool {
        !self.memory.pressed
            || self.fits(LINK_BYTES + ENTITY_BYTES, 100)
            || self.graph.link(account, node).is_some()
    }

    /// Whether an account has a profile of what is done to it, or there is room for one.
    pub(crate) fn may_receive(&self, account: u32) -> bool {
        !self.memory.pressed
            || self.accounts.received(account).is_some()
            || self.fits(self.memory.received, 100)
    }

    /// Notes whether the state is near the bound, for the event or label that is taken now.
    pub(crate) fn look_at_memory(&mut self, keep: Keep) {
        self.memory.pressed = keep == Keep::WithinBound && self.is_near_memory_max();
    }

    /// Notes changes of the state, until [`Engine::undo_trial`] rolls them back. No profile is to be changed.
    pub(crate) fn begin_trial(&mut self) {
        self.graph.begin_trial();
        self.accounts.begin_trial();
        self.kinds.iter_mut().flatten().for_each(|kind| kind.begin_trial());
    }

    /// Rolls back what was changed since [`Engine::begin_trial`].
    pub(crate) fn undo_trial(&mut self) {
        self.kinds.iter_mut().flatten().for_each(|kind| kind.undo_trial());
        self.accounts.undo_trial();
        self.graph.undo_trial();
    }

    /// Scores and decides an event of an unknown account that there is no room for, exactly as if there were, and keeps nothing of it.
    /// Cost: that of a preview.
    pub(crate) fn take_unkept(&mut self, arrived: &Arrived, effects: &mut Effects) {
        let (counts, forgotten) = (self.counts, self.deciding.forgotten.len());
        let mut vector = std::mem::take(&mut self.vector);
        self.begin_trial();
        let offered = match self.resolve(arrived, Keep::All) {
            Some(resolved) => {
                let hits = self.schema.hits(&arrived.event);
                self.extract(arrived, &resolved, &hits, &mut vector);
                Some(self.offered(arrived, resolved.account, false))
            }
            None => None,
        };
        self.undo_trial();
        self.deciding.forgotten.truncate(forgotten);
        self.counts = counts;
        match offered {
            Some(offered) => {
                self.counts.accounts_not_kept += 1;
                self.count_event(arrived);
                self.put_in_line(arrived, offered, &vector, effects);
            }
            None => self.reject_full(arrived, effects),
        }
        self.vector = vector;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_of_memory_has_three_levels() {
        let of = |bytes| {
            let memory = MemoryUse { bytes, max: 1000 };
            (memory.is_near(), memory.is_full())
        };
        assert_eq!(
            [of(0), of(899), of(900), of(969), of(970), of(2000)],
            [
                (false, false),
                (false, false),
                (true, false),
                (true, false),
                (true, true),
                (true, true)
            ]
        );
        assert!(!MemoryUse { bytes: 7, max: 0 }.is_near());
    }

    #[test]
    fn a_bound_that_is_too_small_is_refused() {
        assert!(Memory::problem(MEMORY_MIN - 1, 0).is_some_and(|p| p.contains("raise it")));
        assert!(
            Memory::problem(MEMORY_MIN, 1_000_000).is_some_and(|p| p.contains("three quarters"))
        );
        assert_eq!(Memory::problem(MEMORY_MIN, 24), None);
    }
}
