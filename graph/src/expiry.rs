//! How links, accounts and entities go.

use crate::links::LinkGraph;
use crate::node::Node;
use crate::recents::Set;
use crate::records::{Account, DIRTY, Entity, Link, NONE};

/// What a part of a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Where the next part begins; 0 after the last account.
    pub cursor: u32,
    /// Links dropped.
    pub dropped: u32,
    /// Whether this part reached the end.
    pub finished: bool,
}

impl LinkGraph {
    /// Examines the `steps` accounts from index `cursor` on and drops their links that were not
    /// touched for longer than their kind's `ttl_ms` before `watermark_ms`. A link that still binds a
    /// component waits until its epoch has passed. Entities left without links are reported by
    /// [`LinkGraph::take_emptied`]. Cost: the links of the accounts examined.
    pub fn sweep(&mut self, cursor: u32, steps: u32, watermark_ms: i64) -> Swept {
        let bound = self.accounts.bound();
        let end = cursor.saturating_add(steps).min(bound);
        let mut dropped = 0;
        for account in cursor..end {
            let old = |link: &Link| {
                let ttl_ms = self.config.kinds.get(link.node.kind()).map_or(0, |k| k.ttl_ms);
                let expired = link.last_ms.saturating_add(ttl_ms) < watermark_ms;
                expired && !self.components.binds(link)
            };
            let nodes = self.nodes_where(account, old);
            dropped += self.unlink(account, &nodes).len() as u32;
        }
        self.counts.links_expired += u64::from(dropped);
        let finished = end >= bound;
        Swept { cursor: if finished { 0 } else { end }, dropped, finished }
    }

    /// Removes one link, whatever it binds; the link, if there was one. Cost: for a link that binds a
    /// component, that component's links.
    pub fn remove_link(&mut self, account: u32, node: Node) -> bool {
        self.cut(account, node).is_some()
    }

    pub(crate) fn cut(&mut self, account: u32, node: Node) -> Option<Link> {
        let link = self.find(account, node).1?;
        let apart = self.take_apart(&link, account);
        self.unlink(account, &[node]);
        self.put_together(apart);
        Some(link)
    }

    /// Erases an account: its links, memberships and label counts, and the links of others to it.
    /// Its index can be used again. False if it is unknown. Cost: the links of its component, and
    /// [`LinkGraph::remove_entity`] of it as a linked thing.
    pub fn remove_account(&mut self, account: u32) -> bool {
        if self.line(account).is_none() {
            return false;
        }
        self.remove_entity(Node::account(account));
        let apart = [0, 1].map(|slot| (slot, self.dissolve(slot, account)));
        let nodes = self.nodes_where(account, |_| true);
        self.unlink(account, &nodes);
        for (slot, mut members) in apart {
            members.retain(|m| *m != account);
            self.reunite(slot, &members);
        }
        self.mark_account(account);
        if let Some(line) = self.accounts.get_mut(account) {
            *line = Account { dirty: true, ..Account::default() };
        }
        self.size.accounts -= 1;
        true
    }

    /// Forgets an entity and every link to it. Its index can be used again. False if it is unknown.
    /// Cost: nothing beside the record if it has no links; its members, and the links of their component.
    pub fn remove_entity(&mut self, node: Node) -> bool {
        let Some(entity) = self.entity_line(node) else { return false };
        let members: Vec<u32> = match self.crowds.get(node) {
            Some(crowd) => crowd.iter().copied().collect(),
            None => self.recent_members(node).iter().map(|r| r.id).collect(),
        };
        let anchors = [0, 1].map(|slot| {
            let live = entity.tag[slot] == self.components.generations[slot].tag;
            live.then_some(entity.anchor[slot])
        });
        let apart: Vec<(usize, Vec<u32>)> = [0, 1]
            .into_iter()
            .filter_map(|slot| Some((slot, self.dissolve(slot, anchors[slot]?))))
            .collect();
        for member in members {
            self.unlink(member, &[node]);
        }
        self.put_together(apart);
        self.clear_entity(node);
        true
    }

    /// Takes apart what the link holds together.
    fn take_apart(&mut self, link: &Link, account: u32) -> Vec<(usize, Vec<u32>)> {
        let slots: Vec<usize> =
            [0, 1].into_iter().filter(|slot| self.components.holds(*slot, link)).collect();
        slots.into_iter().map(|slot| (slot, self.dissolve(slot, account))).collect()
    }

    fn put_together(&mut self, apart: Vec<(usize, Vec<u32>)>) {
        for (slot, members) in apart {
            self.reunite(slot, &members);
        }
    }

    fn clear_entity(&mut self, node: Node) {
        let Some(place) = self.place(node) else { return };
        self.mark_entity(place, node);
        if let Some(entity) = self.entities[place.kind].get_mut(place.slot) {
            Set { offset: &mut entity.recents, n: &mut entity.recents_n }.clear(&mut self.recents);
            *entity = Entity { flags: DIRTY, ..Entity::default() };
            self.size.entities -= 1;
            if place.kind == 0 {
                // The slot goes to another account; this one's mark must not go with it.
                entity.flags = 0;
                self.dirty_repeats = true;
                self.account_slots_free.push(place.slot);
                if let Some(line) = self.accounts.get_mut(node.index()) {
                    line.as_entity = NONE;
                }
            }
        }
    }
}
