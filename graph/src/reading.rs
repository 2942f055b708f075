//! Single accounts, entities and links as they are now, and reads that only warm the cache.

use crate::links::LinkGraph;
use crate::node::Node;
use crate::records::{AccountView, EntityView, Link, LinkView};

/// Entities of an account's walk that are read ahead.
const WARMED_MAX: usize = 16;

impl LinkGraph {
    /// The account, if it is known.
    pub fn account(&self, account: u32) -> Option<AccountView> {
        let line = self.line(account)?;
        Some(AccountView {
            key: line.key,
            links: line.links_n.into(),
            touches: line.touches,
            bad: line.bad,
            suspicion: line.suspicion,
            evidence: line.evidence,
        })
    }

    /// The entity's aggregates, if it was ever touched and not removed since. For an account's node:
    /// what is known of it as a linked thing.
    pub fn entity(&self, node: Node) -> Option<EntityView> {
        let e = self.entity_line(node)?;
        Some(EntityView {
            degree: e.degree,
            bad: e.bad,
            suspicion_sum: e.suspicion_sum,
            events: e.events,
            new: e.new,
            new_ms: e.new_ms,
            first_ms: e.first_ms,
            last_ms: e.last_ms,
        })
    }

    /// All links of an account, by node. Empty for an unknown one.
    pub fn links(&self, account: u32) -> impl Iterator<Item = LinkView> + '_ {
        self.links_by_node(account).map(Link::view)
    }

    /// One link.
    pub fn link(&self, account: u32, node: Node) -> Option<LinkView> {
        self.find(account, node).1.map(|l| l.view())
    }

    /// The accounts most recently seen with the node, with when, by account; all of them while there
    /// are no more than `recent_members_max`.
    pub fn members(&self, node: Node) -> impl Iterator<Item = (u32, i64)> + '_ {
        self.recent_members(node).iter().map(|r| (r.id, r.last_ms()))
    }

    /// Whether [`LinkGraph::members`] are all of them, so that [`LinkGraph::remove_entity`] has no pass over the graph.
    pub fn knows_members(&self, node: Node) -> bool {
        let degree = self.entity_line(node).map_or(0, |e| e.degree as usize);
        self.recent_members(node).len() == degree
    }

    /// Reads the account's line, so that later calls find it in the cache. Call it for a whole batch
    /// first, then [`LinkGraph::warm_links`] for the batch, then [`LinkGraph::warm_node`].
    pub fn warm(&self, account: u32) {
        std::hint::black_box(self.accounts.get(account).map(|a| a.links_n));
    }

    /// Reads the account's links, and the line of what stands above it in its component.
    pub fn warm_links(&self, account: u32) {
        let links = self.links_slice(account);
        if let Some(line) = self.accounts.get(account) {
            let above = self.accounts.get(line.parent[self.components.older]);
            std::hint::black_box(above.map(|a| a.links_n));
        }
        std::hint::black_box(links.first().map(|l| l.count));
        std::hint::black_box(links.get(links.len() / 2).map(|l| l.count));
        std::hint::black_box(links.last().map(|l| l.count));
    }

    /// Reads the entity's line.
    pub fn warm_node(&self, node: Node) {
        std::hint::black_box(self.entity_line(node).map(|e| e.degree));
    }

    /// Reads the start of the entity's recent members.
    pub fn warm_members(&self, node: Node) {
        std::hint::black_box(self.recent_members(node).first().map(|m| m.id));
    }

    /// Reads what [`LinkGraph::refresh_suspicion`] and [`LinkGraph::component`] meet beyond the lines: the
    /// component's record, and the first entities of the walked links. After [`LinkGraph::warm_links`].
    pub fn warm_walk(&self, account: u32) {
        std::hint::black_box(self.component(account, 0));
        for node in self.walk(account).take(WARMED_MAX) {
            self.warm_node(node);
        }
    }
}
