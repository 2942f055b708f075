//! Events by the accounts that they name: who did it, and the other accounts. A chain per account goes from the newest event that
//! names it to the oldest, so erasing an account costs its own events. Chains are told apart by the low half of the account's hash, which
//! is all that is kept of other accounts.

use super::ids::touch;
use super::{ERASED, KnownNode, RecentEvents, Remembered};
use smallvec::SmallVec;

/// The newest event of a chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    check: u32,
    /// Lower bits of its sequence number.
    newest: u32,
}

/// An event's place in a chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub check: u32,
    /// Lower bits of the next older event's sequence number; the event's own for none.
    older: u32,
}

fn hash_of(check: u32) -> u64 {
    u64::from(check).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Checks of the accounts among nodes.
fn accounts(nodes: &[KnownNode]) -> impl Iterator<Item = u32> + '_ {
    nodes.iter().filter(|known| known.node.kind() == 0).map(|known| known.check)
}

impl RecentEvents {
    /// Enters the newest event into the chains of all accounts that it names.
    pub(super) fn enter_mentions(&mut self, seq: u64) {
        let event = &self.ring.get(seq).event;
        let own = event.is_there().then_some(event.account_hash as u32);
        let mut links: SmallVec<[Link; 2]> = SmallVec::new();
        for check in own.into_iter().chain(accounts(&event.nodes)) {
            if links.iter().any(|link| link.check == check) {
                continue;
            }
            let newest = seq as u32;
            let older = match self.heads.find_mut(hash_of(check), |head| head.check == check) {
                Some(head) => std::mem::replace(&mut head.newest, newest),
                None => {
                    let head = Head { check, newest };
                    self.heads.insert(hash_of(check), head, |head| hash_of(head.check));
                    newest
                }
            };
            links.push(Link { check, older });
        }
        self.ring.get_mut(seq).links = links;
    }

    /// The oldest event leaves: a chain that has no newer one ends with it.
    pub(super) fn leave_mentions(&mut self, seq: u64) {
        let entry = self.ring.get_mut(seq);
        for link in std::mem::take(&mut entry.links) {
            self.heads.remove(hash_of(link.check), |head| {
                (head.check, head.newest) == (link.check, seq as u32)
            });
        }
        self.leave_named(seq);
    }

    /// A label named the event's nodes. It may be an old event, which cannot enter a chain in its place: a set has it.
    pub(super) fn name(&mut self, seq: u64, nodes: SmallVec<[KnownNode; 4]>) {
        self.leave_named(seq);
        let entry = self.ring.get_mut(seq);
        for check in accounts(&nodes) {
            if !entry.links.iter().any(|link| link.check == check) {
                self.named.insert((check, seq));
                entry.named = true;
            }
        }
        entry.event.nodes = nodes;
    }

    fn leave_named(&mut self, seq: u64) {
        let entry = self.ring.get_mut(seq);
        if std::mem::take(&mut entry.named) {
            for check in accounts(&entry.event.nodes) {
                self.named.remove(&(check, seq));
            }
        }
    }

    /// Forgets everything about an account (erasure), and returns its events about which something was
    /// found out, oldest first. Cost: the events that name the account.
    pub fn forget_account(&mut self, account_hash: u64) -> Vec<Remembered> {
        let check = account_hash as u32;
        let mut naming = self.take_chain(account_hash);
        naming.extend(self.named.range((check, 0)..=(check, u64::MAX)).map(|(_, seq)| *seq));
        naming.sort_unstable();
        naming.dedup();
        self.visited += naming.len() as u64;
        let mut found = Vec::new();
        let met = |n: &KnownNode| n.node.kind() == 0 && n.check == check;
        for seq in naming {
            let event = &self.ring.get(seq).event;
            if event.account_hash == account_hash && event.is_there() {
                self.erase_id(seq);
                self.leave_named(seq);
                let event = &mut self.ring.get_mut(seq).event;
                let nothing =
                    Remembered { account: ERASED, ts_ms: event.ts_ms, ..Remembered::default() };
                let event = std::mem::replace(event, nothing);
                self.derived -= usize::from(event.derived);
                if event.finding().verdict != 0 {
                    found.push(event);
                }
            } else if event.nodes.iter().any(met) {
                self.named.remove(&(check, seq));
                self.ring.get_mut(seq).event.nodes.retain(|n| !met(n));
            } else {
                continue;
            }
            self.touched(seq);
        }
        found
    }

    /// The events of an account's chain, newest first. They leave it, but those of an account with the same check.
    fn take_chain(&mut self, account_hash: u64) -> Vec<u64> {
        let check = account_hash as u32;
        let mut taken = Vec::new();
        let Some(head) = self.heads.remove(hash_of(check), |head| head.check == check) else {
            return taken;
        };
        let mut kept: Vec<u64> = Vec::new();
        let mut next = Some(self.full(head.newest));
        while let Some(seq) = next {
            let entry = self.ring.get_mut(seq);
            let at = entry.links.iter().position(|link| link.check == check);
            // Every event of a chain has its link; were it not so, the chain would end here.
            let older = at.map_or(seq as u32, |at| entry.links[at].older);
            let of = entry.event.account_hash;
            if entry.event.is_there() && of as u32 == check && of != account_hash {
                kept.push(seq);
            } else if let Some(at) = at {
                entry.links.swap_remove(at);
            }
            taken.push(seq);
            next = self.older_than(seq, older);
        }
        for (at, &seq) in kept.iter().enumerate() {
            let older = kept.get(at + 1).copied().unwrap_or(seq) as u32;
            let mut links = self.ring.get_mut(seq).links.iter_mut();
            if let Some(link) = links.find(|link| link.check == check) {
                link.older = older;
            }
        }
        if let Some(&newest) = kept.first() {
            let head = Head { check, newest: newest as u32 };
            self.heads.insert(hash_of(check), head, |head| hash_of(head.check));
        }
        taken
    }

    #[inline]
    pub(super) fn warm_head(&self, check: u32) {
        touch(&self.heads, hash_of(check));
    }
}
