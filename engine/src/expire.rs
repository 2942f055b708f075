//! Forgetting: what was idle for longer than its lifetime, and what somebody asked to be erased.
//!
//! Whether a record has expired is read from the record and the event that touches it, never from when a
//! sweep came by: a swept record is one that its next event would have found expired.

use crate::step::Engine;
use bytemuck::try_from_bytes;
use features::blocks::head::Head;
use graph::Node;

/// When a profile was last touched; `None` if it never was.
fn last_ms(profile: &[u8]) -> Option<i64> {
    let head: &Head = try_from_bytes(profile.get(..size_of::<Head>())?).ok()?;
    (head.events > 0).then_some(head.last_ms)
}

impl Engine {
    /// Whether an account is to be met as a new one by an event at `ts_ms`.
    pub(crate) fn account_expired(&self, id: u32, ts_ms: i64) -> bool {
        let acted = last_ms(self.accounts.acting.get(id));
        let received = self.accounts.received(id).and_then(last_ms);
        acted.max(received).is_some_and(|last| ts_ms.saturating_sub(last) > self.account_ttl_ms)
    }

    /// Whether an entity is to be met as a new one by an event at `ts_ms`.
    pub(crate) fn entity_expired(&self, kind: usize, id: u32, ts_ms: i64) -> bool {
        let profile = self.kinds[kind].as_ref().map(|k| k.profiles.get(id));
        let last = profile.and_then(last_ms);
        last.is_some_and(|last| ts_ms.saturating_sub(last) > self.kind_ttl_ms[kind])
    }

    pub(crate) fn forget_account(&mut self, id: u32) {
        let hash = self.accounts.keys.hash_of(id);
        self.deciding.forget(hash);
        self.graph.remove_account(id);
        self.accounts.forget(id);
        self.drop_emptied();
    }

    pub(crate) fn forget_entity(&mut self, kind: usize, id: u32) {
        self.graph.remove_entity(Node::new(kind as u8 + 1, id));
        if let Some(entities) = self.kinds[kind].as_mut() {
            entities.forget(id);
        }
    }

    /// Entities that lost their last link. Their profiles stay until they are idle for too long.
    fn drop_emptied(&mut self) {
        for node in self.graph.take_emptied() {
            let kind = node.kind();
            if kind == 0 {
                self.graph.remove_entity(node);
            } else if self.kinds[kind - 1].as_ref().is_some_and(|k| k.keys.is_live(node.index()))
                && self.entity_expired(kind - 1, node.index(), self.watermark_ms)
            {
                self.forget_entity(kind - 1, node.index());
            }
        }
    }

    /// Examines the next records, accounts first, then kind by kind, around and around.
    pub(crate) fn sweep(&mut self, records: u32) {
        // An event as late as is allowed must still find what it would have found in order.
        let horizon_ms = self.watermark_ms.saturating_sub(self.lateness_max_ms);
        for _ in 0..records {
            let accounts = self.accounts.keys.bound();
            let mut at = self.sweep_at;
            if at < accounts {
                self.sweep_at += 1;
                if self.accounts.keys.is_live(at) {
                    if self.account_expired(at, horizon_ms) {
                        self.counts.expired_accounts += 1;
                        self.forget_account(at);
                    } else {
                        self.graph.sweep(at, 1, horizon_ms);
                        self.drop_emptied();
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
                if live && self.entity_expired(kind, at, horizon_ms) {
                    self.counts.expired_entities += 1;
                    self.forget_entity(kind, at);
                }
                break;
            }
            if !found {
                self.sweep_at = 0;
            }
        }
    }
}
