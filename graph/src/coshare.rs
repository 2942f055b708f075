//! Who uses the same things: the label-free sign of a ring, for accounts that deserve a closer look.

use crate::links::LinkGraph;
use crate::node::Node;

/// Accounts that share several entities with one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoShare {
    /// How many accounts share at least as many entities as asked.
    pub accounts: u32,
    /// Those of them that are labelled bad now.
    pub bad: u32,
    /// The most entities shared with one account, whether or not it reaches the least asked for, and of any kinds.
    pub shared_max: u32,
}

impl LinkGraph {
    /// Counts the accounts that share at least `shared_min` entities with this one, one of them of a kind that is
    /// not copyable: SynchroTrap's idea (Cao et al., CCS 2014) in one hop. Entities only (not accounts as linked
    /// things), up to their kind's `expand_degree_max`, and of each its most recent members; an entity to which
    /// the other account came long after this one is not counted as shared. Cost: at most
    /// 64 x `recent_members_max` ids, sorted; 1 to 3 us as a rule, so not for every event.
    pub fn co_share(&self, account: u32, shared_min: u32) -> CoShare {
        let mut mine: Vec<(Node, i64)> = Vec::new();
        let mut met: Vec<(u32, usize)> = Vec::new();
        for node in self.walk(account).filter(|n| n.kind() != 0) {
            let expands = self.entity_line(node).is_some_and(|e| {
                e.degree > 1 && e.degree <= self.config.kinds[node.kind()].expand_degree_max
            });
            if expands && let Some(link) = self.find(account, node).1 {
                let members = self.recent_members(node).iter().map(|r| r.id);
                met.extend(members.filter(|id| *id != account).map(|id| (id, mine.len())));
                mine.push((node, link.first_ms));
            }
        }
        met.sort_unstable();
        let mut found = CoShare::default();
        for run in met.chunk_by(|a, b| a.0 == b.0) {
            // What cannot change the answer is not looked up.
            if (run.len() as u32) < shared_min && run.len() as u32 <= found.shared_max {
                continue;
            }
            let other = run[0].0;
            let (mut shared, mut held) = (0, false);
            for (node, first_ms) in run.iter().filter_map(|(_, at)| mine.get(*at)) {
                let theirs = self.find(other, *node).1;
                if theirs.is_some_and(|link| self.is_company(*first_ms, link.first_ms)) {
                    shared += 1;
                    held |= !self.config.kinds[node.kind()].copyable;
                }
            }
            found.shared_max = found.shared_max.max(shared);
            if shared >= shared_min && held {
                found.accounts += 1;
                found.bad += u32::from(self.line(other).is_some_and(|l| l.bad));
            }
        }
        found
    }
}
