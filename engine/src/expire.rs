//! Forgetting: what was idle for longer than its lifetime, and what somebody asked to be erased.
//!
//! Whether a record has expired is read from the record and the event that touches it, never from when a
//! sweep came by: a swept record is one that its next event would have found expired.

use crate::limits::{SWEEP_NEAR_MEMORY_MAX, SWEEP_RECORDS};
use crate::step::Engine;
use bytemuck::try_from_bytes;
use features::blocks::head::Head;

/// When a profile was last touched; `None` if it never was.
fn last_ms(profile: &[u8]) -> Option<i64> {
    head(profile).map(|head| head.last_ms)
}

/// The head of a profile that was touched.
fn head(profile: &[u8]) -> Option<&Head> {
    let head: &Head = try_from_bytes(profile.get(..size_of::<Head>())?).ok()?;
    (head.events > 0).then_some(head)
}

impl Engine {
    /// When an account was first seen to do something; `None` if it never was.
    pub(crate) fn account_first_ms(&self, id: u32) -> Option<i64> {
        head(self.accounts.acting.get(id)).map(|head| head.first_ms)
    }

    /// Whether an account's latest event was ahead of the clock.
    pub(crate) fn was_ahead(&self, account_hash: u64) -> bool {
        let id = self.accounts.keys.find(account_hash);
        id.and_then(|id| head(self.accounts.acting.get(id))).is_some_and(|head| head.ahead != 0)
    }

    fn account_last_ms(&self, id: u32) -> Option<i64> {
        let acted = last_ms(self.accounts.acting.get(id));
        acted.max(self.accounts.received(id).and_then(last_ms))
    }

    fn entity_last_ms(&self, kind: usize, id: u32) -> Option<i64> {
        self.kinds[kind].as_ref().and_then(|k| last_ms(k.profiles.get(id)))
    }

    /// Whether an account is to be met as a new one by an event at `ts_ms`. One that was made known by an
    /// event that has not taken effect yet is new already.
    pub(crate) fn account_expired(&self, id: u32, ts_ms: i64) -> bool {
        let last = self.account_last_ms(id);
        last.is_some_and(|last| ts_ms.saturating_sub(last) > self.account_ttl_ms)
    }

    /// Whether an entity is to be met as a new one by an event at `ts_ms`.
    pub(crate) fn entity_expired(&self, kind: usize, id: u32, ts_ms: i64) -> bool {
        let last = self.entity_last_ms(kind, id);
        last.is_some_and(|last| ts_ms.saturating_sub(last) > self.kind_ttl_ms[kind])
    }

    pub(crate) fn forget_account(&mut self, id: u32) {
        let hash = self.accounts.keys.hash_of(id);
        self.deciding.forget(hash);
        self.graph.remove_account(id);
        self.accounts.forget(id);
    }

    /// Forgets an account that was idle for too long. Its things stay until they have been, too: what is known of them outlives it.
    pub(crate) fn expire_account(&mut self, id: u32) {
        self.counts.expired_accounts += 1;
        self.forget_account(id);
        self.drop_unlinked_accounts();
    }

    pub(crate) fn forget_entity(&mut self, kind: usize, id: u32) {
        self.graph.remove_entity(self.nodes.node(kind as u8, id));
        if let Some(entities) = self.kinds[kind].as_mut() {
            entities.forget(id);
        }
    }

    /// Lets go of the link records of accounts that nobody is linked to any more, and takes no notice of things.
    pub(crate) fn drop_unlinked_accounts(&mut self) {
        for node in self.graph.take_emptied() {
            if node.kind() == 0 {
                self.graph.remove_entity(node);
            }
        }
    }

    /// Lets go of the link records of accounts, and of things, that nobody is linked to any more since the last call. With
    /// `keep_labelled`, things that a label spoke of stay until they have been idle for too long: who floods an account with new
    /// things must not wash a known one. Not while ids of things are held, as between the resolving and the end of an event.
    pub(crate) fn drop_emptied(&mut self, keep_labelled: bool) {
        for node in self.graph.take_emptied() {
            let id = node.index();
            let Some(kind) = self.nodes.kind_of(node) else {
                self.graph.remove_entity(node);
                continue;
            };
            if !(keep_labelled && self.is_labelled(kind, id)) {
                self.counts.unlinked_entities += 1;
                self.forget_entity(kind, id);
            }
        }
    }

    /// Whether a label spoke of a thing.
    fn is_labelled(&self, kind: usize, id: u32) -> bool {
        let layout = self.schema.kinds().get(kind).and_then(|k| self.schema.layout(k.role));
        let profile = self.kinds[kind].as_ref().map(|k| k.profiles.get(id));
        layout.zip(profile).is_some_and(|(layout, bytes)| layout.learned(bytes))
    }

    /// Whether nobody is linked to a thing, and no label spoke of it.
    fn is_of_nobody(&self, kind: usize, id: u32) -> bool {
        let entity = self.graph.entity(self.nodes.node(kind as u8, id));
        entity.is_none_or(|entity| entity.degree == 0) && !self.is_labelled(kind, id)
    }

    /// Whether an account without a label was idle for half of its lifetime.
    fn is_half_expired(&self, id: u32, ts_ms: i64) -> bool {
        let last = self.account_last_ms(id);
        self.accounts.standing[id as usize].verdict == 0
            && last.is_some_and(|last| ts_ms.saturating_sub(last) > self.account_ttl_ms / 2)
    }

    /// After so many events more: a sweep of as many records as there were events, once they are enough.
    pub(crate) fn sweep_when_due(&mut self, events: u32) {
        self.unswept += events;
        while self.unswept >= SWEEP_RECORDS {
            self.unswept -= SWEEP_RECORDS;
            self.look_ahead_of_sweep();
            let near = self.is_near_memory_max();
            self.sweep(if near { SWEEP_NEAR_MEMORY_MAX } else { SWEEP_RECORDS }, near);
        }
    }

    /// Examines the next records, accounts first, then kind by kind, around and around. Near the bound of memory, things that nobody is
    /// linked to and accounts that were idle for half of their lifetime go, too.
    fn sweep(&mut self, records: u32, near: bool) {
        // An event as late as is allowed must still find what it would have found in order. What never took
        // an event was left behind by one that was rejected.
        let horizon_ms = self.clocks.now_ms().saturating_sub(self.lateness_max_ms);
        for _ in 0..records {
            let accounts = self.accounts.keys.bound();
            let mut at = self.sweep_at;
            if at < accounts {
                self.sweep_at += 1;
                if self.accounts.keys.is_live(at) {
                    let half = near && self.is_half_expired(at, horizon_ms);
                    if self.account_last_ms(at).is_none()
                        || self.account_expired(at, horizon_ms)
                        || half
                    {
                        self.counts.expired_accounts += 1;
                        self.forget_account(at);
                    } else {
                        self.graph.sweep(at, 1, horizon_ms);
                    }
                    if near {
                        self.drop_emptied(true);
                    } else {
                        self.drop_unlinked_accounts();
                    }
                }
                continue;
            }
            at -= accounts;
            let mut found = false;
            for kind in 0..self.kinds.len() {
                let bound = self.kinds[kind].as_ref().map_or(0, |k| k.keys.bound());
                if at >= bound {
                    at -= bound;
                    continue;
                }
                found = true;
                self.sweep_at += 1;
                let live = self.kinds[kind].as_ref().is_some_and(|k| k.keys.is_live(at));
                let idle = || {
                    self.entity_last_ms(kind, at).is_none()
                        || self.entity_expired(kind, at, horizon_ms)
                };
                // Links to it have expired as well, and go when their accounts' turn comes. Until it has few, finding them
                // would be a pass over all accounts.
                let few = self.graph.knows_members(self.nodes.node(kind as u8, at));
                if live && few {
                    if idle() {
                        self.counts.expired_entities += 1;
                        self.forget_entity(kind, at);
                    } else if near && self.is_of_nobody(kind, at) {
                        self.counts.unlinked_entities += 1;
                        self.forget_entity(kind, at);
                    }
                }
                break;
            }
            if !found {
                self.sweep_at = 0;
            }
        }
    }
}
