//! Who came first: guilt by association counts for accounts that came with the guilty or after them.
//!
//! Anybody can use what an honest account has used for long: quote its text, send its device's key. If the
//! newcomers are found to be bad, that says nothing about the one they joined. An entity therefore keeps, beside
//! how many of its members are bad or suspect, the sum of their first touches: the mean arrival of the guilty is
//! compared with the viewer's own. Sums of integers do not depend on the order of events, can be subtracted
//! exactly (the viewer itself is left out), and follow from links, labels and suspicions, so they are not saved.

use crate::links::{LinkGraph, Place};
use crate::node::Node;

/// Steps in `together_ms`: arrivals are counted in these, so that no sum overflows.
const STEPS: i64 = 512;

/// Sums over an entity's members, in steps since 1970, modulo 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrivals {
    /// First touches of the members labelled bad.
    pub(crate) bad: u64,
    /// First touches of all members, each times its published suspicion.
    pub(crate) suspicion: u64,
}

impl Arrivals {
    /// Adds a member's first touch, `bad` and `suspicion` times; either may be negative.
    fn add(&mut self, bad: i64, suspicion: i64, steps: u64) {
        self.bad = self.bad.wrapping_add((bad as u64).wrapping_mul(steps));
        self.suspicion = self.suspicion.wrapping_add((suspicion as u64).wrapping_mul(steps));
    }
}

impl LinkGraph {
    /// A moment in steps.
    #[inline]
    pub(crate) fn steps(&self, ms: i64) -> u64 {
        let step_ms = (self.config.together_ms / STEPS).max(1);
        ((ms / step_ms).max(0) as u64).min(u32::MAX.into())
    }

    /// The entity's sums; zeros where nobody was ever guilty.
    #[inline]
    pub(crate) fn arrivals_of(&self, node: Node) -> Arrivals {
        let place = self.place(node);
        place.and_then(|p| self.arrivals[p.kind].get(p.slot)).copied().unwrap_or_default()
    }

    /// Adds to an entity's sums. Entities whose members are all innocent have no record.
    #[inline]
    pub(crate) fn add_arrival(&mut self, place: Place, bad: i64, suspicion: i64, steps: u64) {
        if bad != 0 || suspicion != 0 {
            self.arrivals[place.kind].ensure(place.slot).add(bad, suspicion, steps);
        }
    }

    /// How much the guilt of `weight` (accounts, or suspicion), whose arrivals sum to `sum`, counts for a viewer
    /// who arrived at `own`: 1 if it came with them or after them on average, less the longer it was there
    /// before, 0 from `together_ms` on.
    #[inline]
    pub(crate) fn counts_for(&self, own: u64, sum: u64, weight: u32) -> f32 {
        let mean = sum as f64 / f64::from(weight.max(1));
        let ahead = (mean - own as f64) as f32;
        let together = self.steps(self.config.together_ms).max(1) as f32;
        (1.0 - ahead.max(0.0) / together).max(0.0)
    }

    /// Whether an account that arrived at `theirs` counts for one that arrived at `own`, both in milliseconds.
    #[inline]
    pub(crate) fn is_company(&self, own_ms: i64, theirs_ms: i64) -> bool {
        theirs_ms.saturating_sub(own_ms) < self.config.together_ms
    }

    /// How much of what is known against the other accounts on a thing counts for this account, 0 to 1: 1 if
    /// nothing is known, if the account is not linked to it, or if it came with the guilty or after them; 0 if it
    /// was there long before, and always for copyable kinds.
    pub fn guilt_counts(&self, account: u32, node: Node) -> f32 {
        let Some(rules) = self.config.kinds.get(node.kind()) else { return 1.0 };
        if rules.copyable {
            return 0.0;
        }
        let (Some(line), Some(entity)) = (self.line(account), self.entity_line(node)) else {
            return 1.0;
        };
        let linked = self.find(account, node).1.is_some();
        let own = crate::suspicion::Own::of(account, line, linked);
        let others = self.others(node, entity, own);
        if others.known > 0.0 { others.counted / others.known } else { 1.0 }
    }

    /// Makes all sums from the links, labels and suspicions, after loading.
    pub(crate) fn rebuild_arrivals(&mut self) {
        for kind in &mut self.arrivals {
            kind.clear();
        }
        for account in 0..self.accounts.bound() {
            let Some(line) = self.line(account) else { continue };
            let (bad, suspicion) = (i64::from(line.bad), i64::from(line.suspicion));
            if bad == 0 && suspicion == 0 {
                continue;
            }
            let (offset, n) = self.links_of(account);
            for i in 0..n {
                let Some(link) = self.links.slice(offset, n).get(i).copied() else { break };
                if let Some(place) = self.place(link.node)
                    && self.entity_line(link.node).is_some()
                {
                    let steps = self.steps(link.first_ms);
                    self.add_arrival(place, bad, suspicion, steps);
                }
            }
        }
    }
}
