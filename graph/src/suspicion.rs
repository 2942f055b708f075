//! Labels, and guilt by association, recomputed where it is used.

use crate::links::{LinkGraph, WALK_MAX};
use crate::node::Node;
use crate::records::{Account, Entity};

/// What an entity's other members say, leaving out the account that asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Others {
    pub(crate) n: u32,
    /// Labelled bad, as far as they count for the account.
    pub(crate) bad: f32,
    /// Sum of suspicion over members and one innocent, 0 to 1, as far as it counts.
    pub(crate) suspicion: f32,
    /// Labels and suspicion together, 255 for a bad account: as far as they count, and whether or not they do.
    pub(crate) counted: f32,
    pub(crate) known: f32,
}

/// The viewer, and its own share of an entity's aggregates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub(crate) account: u32,
    pub(crate) linked: bool,
    pub(crate) bad: bool,
    pub(crate) suspicion: u8,
}

impl Own {
    pub(crate) fn of(account: u32, line: &Account, linked: bool) -> Self {
        Self { account, linked, bad: line.bad, suspicion: line.suspicion }
    }
}

impl LinkGraph {
    /// What the members beside the viewer say, as far as they came with it or before it.
    #[inline]
    pub(crate) fn others(&self, node: Node, entity: &Entity, own: Own) -> Others {
        let (one, own_bad, own_suspicion) = match own.linked {
            true => (1, u32::from(own.bad), u32::from(own.suspicion)),
            false => (0, 0, 0),
        };
        let n = entity.degree.saturating_sub(one);
        let bad = entity.bad.saturating_sub(own_bad);
        let sum = entity.suspicion_sum.saturating_sub(own_suspicion);
        let (mut counted_bad, mut counted_sum) = (bad as f32, sum as f32);
        // Who is not linked comes after all others.
        if (bad > 0 || sum > 0)
            && own.linked
            && let Some(link) = self.find(own.account, node).1
        {
            let at = self.steps(link.first_ms);
            let arrivals = self.arrivals_of(node);
            let of = |sum: u64, own: u32| sum.wrapping_sub(u64::from(own).wrapping_mul(at));
            counted_bad *= self.counts_for(at, of(arrivals.bad, own_bad), bad);
            counted_sum *= self.counts_for(at, of(arrivals.suspicion, own_suspicion), sum);
        }
        Others {
            n,
            bad: counted_bad,
            suspicion: counted_sum / (255.0 * (n as f32 + 1.0)),
            counted: 255.0 * counted_bad + counted_sum,
            known: 255.0 * bad as f32 + sum as f32,
        }
    }

    /// Labels the account, or retracts its label. Its entities and components count it at once; its
    /// suspicion follows at the next [`LinkGraph::refresh_suspicion`]. False if it is unknown.
    /// Cost: its links.
    pub fn set_bad(&mut self, account: u32, bad: bool) -> bool {
        let Some(line) = self.accounts.get_mut(account).filter(|l| l.exists) else { return false };
        if line.bad == bad {
            return true;
        }
        line.bad = bad;
        self.mark_account(account);
        let change = if bad { 1 } else { -1 };
        self.each_entity(account, (change, 0), |entity| {
            entity.bad = if bad { entity.bad + 1 } else { entity.bad.saturating_sub(1) };
        });
        self.count_bad(account, bad);
        true
    }

    /// Sets the least that the account's suspicion can be: evidence that needs no label. It counts
    /// from the next [`LinkGraph::refresh_suspicion`]. False if the account is unknown.
    pub fn set_evidence(&mut self, account: u32, evidence: u8) -> bool {
        let Some(line) = self.accounts.get_mut(account).filter(|l| l.exists) else { return false };
        if line.evidence != evidence {
            line.evidence = evidence;
            self.mark_account(account);
        }
        true
    }

    /// Recomputes the account's suspicion from its entities and publishes it to them; returns what is
    /// published, 0 to 255. Call it at the account's events; 0 for an unknown account.
    ///
    /// One round of a damped local rule (SybilSCAR, Wang et al., INFOCOM 2017) with leave-one-out:
    /// `damping * sum(w * s) / (sum(w) + stiffness)`, `s` the mean suspicion of the entity's other
    /// members and one innocent as far as they came with the account or before it, `w` the kind's weight times
    /// `1 / (1 + ln(1 + degree))`. On things of copyable kinds `s` is at most the highest of the other things.
    /// Labelled bad is 255, anything else at most 254, evidence the least. Cost: the walked links; all links when
    /// the value changes, so an account of more than 64 links publishes only changes of a step that
    /// grows with their number (at most 16), and 0 and 255.
    pub fn refresh_suspicion(&mut self, account: u32) -> u8 {
        let Some(line) = self.line(account) else { return 0 };
        let (old, n) = (line.suspicion, usize::from(line.links_n));
        let own = Own::of(account, line, true);
        let new = if line.bad {
            255
        } else {
            let (mut sum, mut weights, mut highest) = (0.0f32, 0.0f32, 0.0f32);
            for copyable in [false, true] {
                for node in self.walk(account) {
                    let rules = &self.config.kinds[node.kind()];
                    if rules.weight == 0.0 || rules.copyable != copyable {
                        continue;
                    }
                    if let Some(entity) = self.entity_line(node) {
                        let w = rules.weight * self.discount(entity.degree);
                        let suspicion = self.others(node, entity, own).suspicion;
                        if !copyable {
                            highest = highest.max(suspicion);
                        }
                        sum += w * suspicion.min(highest);
                        weights += w;
                    }
                }
            }
            let share = sum / (weights + self.config.suspicion_stiffness);
            let level = (self.config.suspicion_damping * share * 255.0 + 0.5) as u32;
            (level.min(254) as u8).max(line.evidence)
        };
        let step = if n > WALK_MAX { (n / WALK_MAX + 1).min(16) as u8 } else { 1 };
        let ends = new != old && (new == 0 || new == 255);
        if new.abs_diff(old) < step && !ends {
            return old;
        }
        if let Some(line) = self.accounts.get_mut(account) {
            line.suspicion = new;
        }
        self.mark_account(account);
        let change = i64::from(new) - i64::from(old);
        self.each_entity(account, (0, change), |entity| {
            entity.suspicion_sum = entity.suspicion_sum.saturating_sub(old.into()) + u32::from(new);
        });
        new
    }

    /// Changes the aggregates of all that the account is linked to, and by how much its arrival counts there:
    /// as bad, and as suspect.
    fn each_entity(
        &mut self,
        account: u32,
        (bad, suspicion): (i64, i64),
        change: impl Fn(&mut Entity),
    ) {
        let (offset, n) = self.links_of(account);
        for i in 0..n {
            let Some(link) = self.links.slice(offset, n).get(i).copied() else { return };
            if let Some(place) = self.place(link.node)
                && let Some(entity) = self.entities[place.kind].get_mut(place.slot)
            {
                change(entity);
                self.add_arrival(place, bad, suspicion, self.steps(link.first_ms));
                self.mark_entity(place, link.node);
            }
        }
    }

    /// Bad rate smoothed towards the population's.
    #[inline]
    pub(crate) fn bad_rate(&self, others: &Others) -> f32 {
        let k = self.config.prior_strength;
        (others.bad + k * self.config.prior_bad_rate) / (others.n as f32 + k)
    }
}
