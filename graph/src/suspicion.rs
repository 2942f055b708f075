//! Labels, and guilt by association, recomputed where it is used.

use crate::links::{LinkGraph, WALK_MAX};
use crate::records::Entity;

/// What an entity's other members say, leaving out the account that asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Others {
    pub(crate) n: u32,
    pub(crate) bad: u32,
    /// Sum of suspicion over members and one innocent, 0 to 1.
    pub(crate) suspicion: f32,
}

/// The viewer's own share of an entity's aggregates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub(crate) linked: bool,
    pub(crate) bad: bool,
    pub(crate) suspicion: u8,
}

impl Others {
    #[inline]
    pub(crate) fn of(entity: &Entity, own: Own) -> Others {
        let (one, bad, suspicion) = match own.linked {
            true => (1, u32::from(own.bad), u32::from(own.suspicion)),
            false => (0, 0, 0),
        };
        let n = entity.degree.saturating_sub(one);
        let sum = entity.suspicion_sum.saturating_sub(suspicion);
        Others {
            n,
            bad: entity.bad.saturating_sub(bad),
            suspicion: sum as f32 / (255.0 * (n as f32 + 1.0)),
        }
    }
}

impl LinkGraph {
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
        self.each_entity(account, |entity| {
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
    /// members and one innocent, `w` the kind's weight times `1 / (1 + ln(1 + degree))`. Labelled bad
    /// is 255, anything else at most 254, evidence the least. Cost: the walked links; all links when
    /// the value changes, so an account of more than 64 links publishes only changes of a step that
    /// grows with their number (at most 16), and 0 and 255.
    pub fn refresh_suspicion(&mut self, account: u32) -> u8 {
        let Some(line) = self.line(account) else { return 0 };
        let (old, n) = (line.suspicion, usize::from(line.links_n));
        let own = Own { linked: true, bad: line.bad, suspicion: old };
        let new = if line.bad {
            255
        } else {
            let (mut sum, mut weights) = (0.0f32, 0.0f32);
            for node in self.walk(account) {
                let weight = self.config.kinds[node.kind()].weight;
                if weight == 0.0 {
                    continue;
                }
                if let Some(entity) = self.entity_line(node) {
                    let w = weight * self.discount(entity.degree);
                    sum += w * Others::of(entity, own).suspicion;
                    weights += w;
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
        self.each_entity(account, |entity| {
            entity.suspicion_sum = entity.suspicion_sum.saturating_sub(old.into()) + u32::from(new);
        });
        new
    }

    fn each_entity(&mut self, account: u32, change: impl Fn(&mut Entity)) {
        let (offset, n) = self.links_of(account);
        for i in 0..n {
            let Some(node) = self.links.slice(offset, n).get(i).map(|l| l.node) else { return };
            if let Some(place) = self.place(node)
                && let Some(entity) = self.entities[place.kind].get_mut(place.slot)
            {
                change(entity);
                self.mark_entity(place, node);
            }
        }
    }

    /// Bad rate smoothed towards the population's.
    #[inline]
    pub(crate) fn bad_rate(&self, others: &Others) -> f32 {
        let k = self.config.prior_strength;
        (others.bad as f32 + k * self.config.prior_bad_rate) / (others.n as f32 + k)
    }
}
