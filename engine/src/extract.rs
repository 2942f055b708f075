//! From an event and the state before it to the feature vector.

use crate::arrived::Arrived;
use crate::config::CoShareWhen;
use crate::step::{Engine, Resolved};
use features::hits::CounterHits;
use features::layout::Role;
use features::profile::Observation;
use features::vector::Source;
use graph::{Node, Touched};
use smallvec::SmallVec;

/// The columns behind the graph's own.
pub(crate) const SHARE_COLUMNS: [&str; 3] =
    ["graph.co_share.accounts", "graph.co_share.bad", "graph.co_share.shared_max"];

/// Accounts that share at least so many things are taken to belong together.
const SHARED_MIN: u32 = 2;
/// So many of them are an ordinary household.
const HOUSEHOLD: u32 = 4;
/// Label-free evidence per account beyond a household, of 255, and at most.
const EVIDENCE_STEP: u32 = 12;
const EVIDENCE_MAX: u32 = 128;

impl Engine {
    /// Fills the vector for an event. Under strict ties nothing is changed; otherwise the event's links are
    /// touched, so that suspicion is that of now. Returns the label-free evidence against the account, if it was
    /// looked for.
    pub(crate) fn extract(
        &mut self,
        arrived: &Arrived,
        resolved: &Resolved,
        hits: &CounterHits,
        vector: &mut Vec<f32>,
    ) -> Option<u8> {
        // Read as of one moment, linked as of another where its clock is ahead.
        let (event, read_ms) = (&arrived.event, arrived.read_ms);
        vector.clear();
        vector.resize(self.columns.len(), f32::NAN);
        let seen = Observation {
            ts_ms: read_ms,
            type_id: event.type_id,
            attributes: &event.attributes,
            keys: &resolved.keys,
            neighbour: &[],
            counters: hits,
        };
        for part in &self.parts {
            let out = &mut vector[part.offset..part.offset + part.width];
            let Some(layout) = self.schema.layout(part.role) else { continue };
            let profile = match part.source {
                Source::Event => {
                    self.schema.event_columns(read_ms, event.type_id, &event.attributes, out);
                    continue;
                }
                Source::Acting => Some(self.account_profile(resolved.account, part.role)),
                Source::Other(role) => resolved
                    .others
                    .get(role)
                    .copied()
                    .flatten()
                    .map(|id| self.account_profile(id, part.role)),
                Source::Entity(kind) => {
                    resolved.entities.iter().find(|(k, _)| *k == kind.0).and_then(|(k, id)| {
                        Some(Some(self.kinds[usize::from(*k)].as_ref()?.profiles.get(*id)))
                    })
                }
            };
            match profile {
                None => layout.absent(out),
                Some(bytes) if part.own => {
                    layout.extract(bytes, &seen, out);
                }
                Some(bytes) => {
                    layout.look(bytes, &seen, out);
                }
            }
        }

        self.weigh_association(resolved, vector);

        let linked_ms = self.linked_ms(event.ts_ms);
        let mut roles: SmallVec<[Option<Touched>; 2]> = SmallVec::new();
        let mut touched: SmallVec<[Touched; 4]> = SmallVec::new();
        for &other in &resolved.others {
            let node = other.filter(|o| *o != resolved.account).map(Node::account);
            roles.push(node.map(|n| self.touch_or_peek(resolved.account, n, linked_ms)));
        }
        // Lists of accounts: the first stands for its role, the others are linked all the same.
        if !self.strict_ties {
            for &peer in &resolved.peers {
                if !resolved.others.contains(&Some(peer)) && peer != resolved.account {
                    self.touch_or_peek(resolved.account, Node::account(peer), linked_ms);
                }
            }
        }
        for &(kind, id) in &resolved.entities {
            touched.push(self.touch_or_peek(
                resolved.account,
                self.nodes.node(kind, id),
                linked_ms,
            ));
        }
        if !self.strict_ties {
            self.graph.refresh_suspicion(resolved.account);
        }
        let out = &mut vector[self.graph_at..self.share_at];
        self.graph.features(resolved.account, &touched, &roles, read_ms, out);

        let shared = match self.config.graph.co_share {
            CoShareWhen::Never => false,
            CoShareWhen::Always => true,
            CoShareWhen::Shared => touched.iter().any(|t| self.is_shared_strong(t.node)),
        };
        let out = &mut vector[self.share_at..];
        if !shared {
            out[..SHARE_COLUMNS.len()].fill(0.0);
            return None;
        }
        let share = self.graph.co_share(resolved.account, SHARED_MIN);
        out[0] = share.accounts as f32;
        out[1] = share.bad as f32;
        out[2] = share.shared_max as f32;
        let evidence = share.accounts.saturating_sub(HOUSEHOLD).saturating_mul(EVIDENCE_STEP);
        Some(evidence.min(EVIDENCE_MAX) as u8)
    }

    fn touch_or_peek(&mut self, account: u32, node: Node, ts_ms: i64) -> Touched {
        let links = node.kind() != 0 || self.config.graph.target_links;
        if !self.strict_ties && links {
            if !self.may_link(account, node) {
                self.counts.keys_not_kept += 1;
            } else if let Some(touched) = self.graph.touch(account, node, ts_ms) {
                return touched;
            }
        }
        self.graph.peek(account, node)
    }

    fn is_shared_strong(&self, node: Node) -> bool {
        let kind = self.nodes.kind_of(node).and_then(|kind| self.schema.kinds().get(kind));
        let strong = kind.is_some_and(|k| k.strong);
        strong && self.graph.entity(node).is_some_and(|e| e.degree > 1)
    }

    fn account_profile(&self, id: u32, role: Role) -> Option<&[u8]> {
        if role == Role::TARGET {
            self.accounts.received(id)
        } else {
            Some(self.accounts.acting.get(id))
        }
    }
}
