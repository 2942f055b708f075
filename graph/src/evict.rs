//! What goes when an account is at its cap.

use crate::links::LinkGraph;
use crate::node::Node;
use crate::recents::Set;
use crate::records::Link;

/// The cap divided by this is how many links go together: they share one pass over the list.
const EVICT_SHARE: u32 = 32;

impl LinkGraph {
    /// Makes room in a full list: drops the links with the lowest (last seen, node) of those that bind no component now, one in
    /// [`EVICT_SHARE`] of the cap together. There is one, unless links were loaded that another configuration had joined. How many went.
    pub(crate) fn evict(&mut self, account: u32) -> u32 {
        let most = (self.config.links_per_account_max / EVICT_SHARE).max(1) as usize;
        let key = |link: &Link| (link.last_ms, link.node);
        let links = self.links_slice(account).iter();
        let mut free: Vec<(i64, Node)> =
            links.clone().filter(|link| !self.components.binds(link)).map(key).collect();
        if free.is_empty() {
            let lowest = links.map(key).min();
            let gone = lowest.and_then(|(_, node)| self.cut(account, node));
            self.counts.links_evicted += u64::from(gone.is_some());
            return u32::from(gone.is_some());
        }
        if free.len() > most {
            free.select_nth_unstable(most - 1);
            free.truncate(most);
        }
        let mut nodes: Vec<Node> = free.into_iter().map(|(_, node)| node).collect();
        nodes.sort_unstable();
        let gone = self.unlink(account, &nodes).len() as u32;
        self.counts.links_evicted += u64::from(gone);
        gone
    }

    /// Removes links from the account and from the entities' aggregates; `nodes` is sorted. Components do not change:
    /// the caller sees to it that the links bind none.
    pub(crate) fn unlink(&mut self, account: u32, nodes: &[Node]) -> Vec<Link> {
        let n = self.links_of(account).1;
        let gone = self.take_links(account, nodes);
        if gone.is_empty() {
            return gone;
        }
        self.forget_recents(account, n, &gone);
        let Some(line) = self.accounts.get(account) else { return gone };
        let (bad, suspicion) = (line.bad, line.suspicion);
        self.size.links -= gone.len() as u64;
        self.mark_account(account);
        for link in &gone {
            let Some(place) = self.place(link.node) else { continue };
            let Some(entity) = self.entities[place.kind].get_mut(place.slot) else { continue };
            entity.degree = entity.degree.saturating_sub(1);
            entity.bad = entity.bad.saturating_sub(u32::from(bad));
            entity.suspicion_sum = entity.suspicion_sum.saturating_sub(u32::from(suspicion));
            let set = Set { offset: &mut entity.recents, n: &mut entity.recents_n };
            set.forget(&mut self.recents, account);
            if entity.degree == 0 {
                self.emptied.push(link.node);
            }
            self.mark_entity(place, link.node);
            let steps = self.steps(link.first_ms);
            self.add_arrival(place, -i64::from(bad), -i64::from(suspicion), steps);
            self.leave_crowd(account, link.node);
        }
        gone
    }

    /// Takes links that went out of the account's most recent nodes; it had `n` links before.
    fn forget_recents(&mut self, account: u32, n: usize, gone: &[Link]) {
        if n <= crate::links::WALK_MAX {
            return;
        }
        let Some(line) = self.accounts.get_mut(account) else { return };
        if usize::from(line.links_n) <= crate::links::WALK_MAX {
            Set { offset: &mut line.recents, n: &mut line.recents_n }.clear(&mut self.recents);
            return;
        }
        let mut lost = false;
        for link in gone {
            let set = Set { offset: &mut line.recents, n: &mut line.recents_n };
            lost |= set.forget(&mut self.recents, link.node.to_bits());
        }
        if lost {
            self.rebuild_recents(account);
        }
    }

    /// The nodes of all links for which `is` holds, sorted.
    pub(crate) fn nodes_where(&self, account: u32, is: impl Fn(&Link) -> bool) -> Vec<Node> {
        let links = self.links_slice(account).iter().filter(|link| is(link));
        let mut nodes: Vec<Node> = links.map(|link| link.node).collect();
        nodes.sort_unstable();
        nodes
    }
}
