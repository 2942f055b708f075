//! The members of things that more accounts use than are remembered by name: who has to be unlinked when such a thing goes. Derived
//! from the links, and made again from them after loading.

use crate::links::LinkGraph;
use crate::node::Node;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a member in a set, about.
const MEMBER_BYTES: usize = 8;

/// Sets of accounts by what they use. A thing has one exactly while its most recent members are not all of them, and a little longer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowds {
    of: BTreeMap<Node, BTreeSet<u32>>,
    members: usize,
    /// In a trial: members added (true) or removed.
    log: Option<Vec<(Node, u32, bool)>>,
}

impl Crowds {
    /// All members, when the thing has a set.
    pub(crate) fn get(&self, node: Node) -> Option<&BTreeSet<u32>> {
        self.of.get(&node)
    }

    fn add(&mut self, node: Node, account: u32) {
        if self.of.entry(node).or_default().insert(account) {
            self.members += 1;
            if let Some(log) = &mut self.log {
                log.push((node, account, true));
            }
        }
    }

    fn take(&mut self, node: Node, account: u32) {
        let Some(crowd) = self.of.get_mut(&node) else { return };
        if crowd.remove(&account) {
            self.members -= 1;
            if crowd.is_empty() {
                self.of.remove(&node);
            }
            if let Some(log) = &mut self.log {
                log.push((node, account, false));
            }
        }
    }

    pub(crate) fn begin(&mut self) {
        self.log = Some(Vec::new());
    }

    pub(crate) fn undo(&mut self) {
        for (node, account, added) in self.log.take().unwrap_or_default().into_iter().rev() {
            if added {
                self.take(node, account);
            } else {
                self.add(node, account);
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.members * MEMBER_BYTES
    }
}

impl LinkGraph {
    /// A link to `node` is new: its degree counts it, and its most recent members do not have it yet.
    pub(crate) fn join_crowd(&mut self, account: u32, node: Node) {
        let has_crowd = self.crowds.of.contains_key(&node);
        let degree = self.entity_line(node).map_or(0, |e| e.degree);
        if !has_crowd && degree <= self.config.recent_members_max {
            return;
        }
        if !has_crowd {
            let known: Vec<u32> = self.recent_members(node).iter().map(|r| r.id).collect();
            known.into_iter().for_each(|member| self.crowds.add(node, member));
        }
        self.crowds.add(node, account);
    }

    /// A link to `node` went, from its degree and its most recent members.
    pub(crate) fn leave_crowd(&mut self, account: u32, node: Node) {
        if !self.crowds.of.contains_key(&node) {
            return;
        }
        self.crowds.take(node, account);
        let degree = self.entity_line(node).map_or(0, |e| e.degree as usize);
        if self.recent_members(node).len() == degree {
            let rest: Vec<u32> = self.crowds.get(node).into_iter().flatten().copied().collect();
            rest.into_iter().for_each(|member| self.crowds.take(node, member));
        }
    }

    /// Makes all sets from the links. Cost: a pass over the graph.
    pub(crate) fn rebuild_crowds(&mut self) {
        let mut crowds = Crowds::default();
        for account in 0..self.accounts.bound() {
            for link in self.links_slice(account) {
                let degree = self.entity_line(link.node).map_or(0, |e| e.degree as usize);
                if self.recent_members(link.node).len() != degree {
                    crowds.add(link.node, account);
                }
            }
        }
        self.crowds = crowds;
    }
}
