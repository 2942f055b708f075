//! What must always hold, recounted the slow way.

use crate::arrivals::Arrivals;
use crate::links::{LinkGraph, WALK_MAX};
use crate::node::Node;
use crate::records::{Link, NONE};
use std::collections::BTreeMap;
use thiserror::Error;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{invariant} at {place}: {found}, recounted {recounted}")]
pub struct Broken {
    /// Which: G1 links, G2 entity aggregates, G3 recent members, G4 recent nodes, G5 components,
    /// G6 totals.
    pub invariant: &'static str,
    /// Where.
    pub place: String,
    /// What the graph says.
    pub found: String,
    /// What its links say.
    pub recounted: String,
}

fn same<T: PartialEq + std::fmt::Debug>(
    invariant: &'static str,
    place: impl std::fmt::Debug,
    found: T,
    recounted: T,
) -> Result<(), Broken> {
    if found == recounted {
        return Ok(());
    }
    Err(Broken {
        invariant,
        place: format!("{place:?}"),
        found: format!("{found:?}"),
        recounted: format!("{recounted:?}"),
    })
}

#[derive(Default)]
struct Recount {
    degree: u32,
    bad: u32,
    suspicion_sum: u32,
    members: BTreeMap<u32, i64>,
    arrivals: Arrivals,
}

impl LinkGraph {
    /// Recounts everything from the links; the first difference found. For tests and for a check after
    /// loading: costs several passes over the graph and copies it once.
    pub fn check_invariants(&self) -> Result<(), Broken> {
        let mut recounts: BTreeMap<Node, Recount> = BTreeMap::new();
        let (mut accounts, mut links) = (0, 0);
        for (id, line) in self.accounts.iter() {
            if !line.exists {
                same("G1", id, line.links_n, 0)?;
                continue;
            }
            accounts += 1;
            let list: Vec<Link> = self.links_by_node(id).copied().collect();
            links += list.len() as u64;
            same("G1", id, list.len(), usize::from(line.links_n))?;
            same("G1", id, line.tail_n == 0 || list.len() > WALK_MAX, true)?;
            let found = |link: &Link| self.find(id, link.node).1.as_ref() == Some(link);
            same("G1", id, list.iter().all(found), true)?;
            same("G1", id, list.windows(2).all(|w| w[0].node < w[1].node), true)?;
            same("G1", id, list.len() <= self.config.links_per_account_max as usize, true)?;
            for link in &list {
                same("G1", (id, link.node), link.first_ms <= link.last_ms && link.count > 0, true)?;
                let recount = recounts.entry(link.node).or_default();
                recount.degree += 1;
                recount.bad += u32::from(line.bad);
                recount.suspicion_sum += u32::from(line.suspicion);
                recount.members.insert(id, link.last_ms);
                let steps = self.steps(link.first_ms);
                let suspicion = u64::from(line.suspicion).wrapping_mul(steps);
                recount.arrivals.bad =
                    recount.arrivals.bad.wrapping_add(u64::from(line.bad) * steps);
                recount.arrivals.suspicion = recount.arrivals.suspicion.wrapping_add(suspicion);
            }
            self.check_recents(id)?;
        }
        let mut entities = 0;
        for (kind, of_kind) in self.entities.iter().enumerate() {
            let slots = of_kind.iter().filter(|(_, e)| e.exists()).count() as u64;
            entities += slots;
            if kind == 0 {
                let named = self.accounts.iter().filter(|(_, a)| a.as_entity != NONE).count();
                same("G6", "account slots", named as u64, slots)?;
                same(
                    "G6",
                    "slots taken",
                    self.account_slots_n as usize,
                    named + self.account_slots_free.len(),
                )?;
            }
            for index in 0..of_kind.bound().max(if kind == 0 { self.accounts.bound() } else { 0 }) {
                let node = Node::new(kind as u8, index);
                let recount = recounts.remove(&node).unwrap_or_default();
                self.check_entity(node, &recount)?;
            }
        }
        same("G2", "entities without a record", recounts.len(), 0)?;
        same("G6", "accounts", self.size.accounts, accounts)?;
        same("G6", "links", self.size.links, links)?;
        same("G6", "entities", self.size.entities, entities)?;
        self.check_components()
    }

    fn check_entity(&self, node: Node, recount: &Recount) -> Result<(), Broken> {
        let Some(e) = self.entity_line(node) else {
            return same("G2", node, recount.degree, 0);
        };
        let found = (e.degree, e.bad, e.suspicion_sum);
        same("G2", node, found, (recount.degree, recount.bad, recount.suspicion_sum))?;
        same("G2", (node, "arrivals"), self.arrivals_of(node), recount.arrivals)?;
        let members = self.recent_members(node);
        same("G3", node, members.windows(2).all(|w| w[0].id < w[1].id), true)?;
        same("G3", node, members.len() <= self.config.recent_members_max as usize, true)?;
        let crowd = self.crowds.get(node).map(|crowd| crowd.iter().copied().collect::<Vec<_>>());
        let all: Vec<u32> = recount.members.keys().copied().collect();
        same("G3", node, crowd.is_some() || members.len() == all.len(), true)?;
        same("G3", node, crowd.as_ref().unwrap_or(&all), &all)?;
        for member in members {
            same("G3", node, Some(&member.last_ms()), recount.members.get(&member.id))?;
        }
        Ok(())
    }

    fn check_recents(&self, account: u32) -> Result<(), Broken> {
        let Some(line) = self.line(account) else { return Ok(()) };
        let found = self.recents.slice(line.recents, line.recents_n.into()).to_vec();
        let mut anew = self.recents_anew(account);
        if usize::from(line.links_n) <= WALK_MAX {
            anew.clear();
        }
        let found: Vec<(u32, i64)> = found.iter().map(|r| (r.id, r.last_ms())).collect();
        same("G4", account, found, anew)
    }

    /// The [`WALK_MAX`] most recently seen nodes, by sorting.
    fn recents_anew(&self, account: u32) -> Vec<(u32, i64)> {
        let links = self.links_slice(account).iter();
        let mut all: Vec<(i64, u32)> = links.map(|l| (l.last_ms, l.node.to_bits())).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.truncate(WALK_MAX);
        let mut all: Vec<(u32, i64)> = all.into_iter().map(|(ms, id)| (id, ms)).collect();
        all.sort_unstable();
        all
    }

    /// G5: the same members and sums as after a rebuild, in both generations.
    fn check_components(&self) -> Result<(), Broken> {
        let mut anew = self.clone();
        anew.rebuild_components();
        for (account, line) in self.accounts.iter() {
            for slot in [0, 1] {
                let of = |graph: &LinkGraph| {
                    let mut members = graph.circle(slot, account);
                    members.sort_unstable();
                    let record = graph.record(slot, account).and_then(|at| {
                        graph.components.generations[slot].records.get(at as usize).copied()
                    });
                    (members, record)
                };
                same("G5", (account, slot, line.exists), of(self), of(&anew))?;
            }
        }
        Ok(())
    }
}
