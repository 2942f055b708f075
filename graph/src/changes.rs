//! What changed since it was last asked for: the input of checkpoints and of freeing ids.

use crate::links::{LinkGraph, Place};
use crate::node::Node;
use crate::records::DIRTY;

impl LinkGraph {
    /// The accounts and nodes changed since the last call, each once, in the order of the first change.
    pub fn take_dirty(&mut self) -> (Vec<u32>, Vec<Node>) {
        let (mut accounts, mut entities) = (Vec::new(), Vec::new());
        let repeated = self.dirty_repeats;
        self.take_dirty_into(|account| accounts.push(account), |node| entities.push(node));
        (accounts, if repeated { dedup(entities) } else { entities })
    }

    /// As [`LinkGraph::take_dirty`], one by one and without memory of its own; a node may come twice.
    pub fn take_dirty_into(
        &mut self,
        mut each_account: impl FnMut(u32),
        mut each_node: impl FnMut(Node),
    ) {
        let (mut accounts, mut nodes) =
            (std::mem::take(&mut self.dirty_accounts), std::mem::take(&mut self.dirty_entities));
        for account in accounts.drain(..) {
            if let Some(line) = self.accounts.get_mut(account) {
                line.dirty = false;
            }
            each_account(account);
        }
        for node in nodes.drain(..) {
            if let Some(place) = self.place(node)
                && let Some(entity) = self.entities[place.kind].get_mut(place.slot)
            {
                entity.flags &= !DIRTY;
            }
            each_node(node);
        }
        (self.dirty_accounts, self.dirty_entities) = (accounts, nodes);
        self.dirty_repeats = false;
    }

    /// The entities that lost their last link since the last call and have none now, by node: their
    /// ids can be freed ([`LinkGraph::remove_entity`]).
    pub fn take_emptied(&mut self) -> Vec<Node> {
        let mut nodes = std::mem::take(&mut self.emptied);
        nodes.retain(|n| self.entity_line(*n).is_some_and(|e| e.degree == 0));
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    pub(crate) fn mark_account(&mut self, account: u32) {
        if let Some(line) = self.accounts.get_mut(account)
            && !line.dirty
        {
            line.dirty = true;
            self.dirty_accounts.push(account);
        }
    }

    pub(crate) fn mark_entity(&mut self, place: Place, node: Node) {
        if let Some(entity) = self.entities[place.kind].get_mut(place.slot)
            && entity.flags & DIRTY == 0
        {
            entity.flags |= DIRTY;
            self.dirty_entities.push(node);
        }
    }
}

/// Each node once, at its first place.
fn dedup(nodes: Vec<Node>) -> Vec<Node> {
    let mut first: Vec<(Node, usize)> = nodes.iter().copied().zip(0..).collect();
    first.sort_unstable();
    first.dedup_by_key(|f| f.0);
    first.sort_unstable_by_key(|f| f.1);
    first.into_iter().map(|f| f.0).collect()
}
