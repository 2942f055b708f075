//! What the graph says about an account at one of its events, as numbers.
//!
//! Order of the columns: [`OVERALL`], then for each kind from 1 on that has entities [`NODE_FIELDS`], then for each role
//! [`NODE_FIELDS`] and [`PAIR_FIELDS`]. `NaN` is "absent". Ages and gaps are hours, never below 0.
//! Everything said about others leaves out the account itself, whatever it is labelled. What is known against
//! others counts as far as they came with the account or before it ([`crate::arrivals`]); on things of copyable
//! kinds, and so on other accounts, no more than on the account's other things.

use crate::decay::decay;
use crate::links::{LinkGraph, Touched};
use crate::node::{KINDS_MAX, Node};
use crate::records::Link;
use crate::suspicion::{Others, Own};

/// About the account and all of its links (the 64 most recent, if there are more):
/// number of links; highest smoothed bad rate over strong kinds; mean of bad rates weighted as in
/// suspicion; published suspicion, 0 to 1; and its component of this and the previous epoch: accounts,
/// share of bad ones among the others, times the share that counts of what is known against those with whom
/// the account itself shares a binding thing; decayed count of new links, age of the oldest link.
pub const OVERALL: [&str; 8] = [
    "graph.links",
    "graph.bad_rate.max_strong",
    "graph.bad_rate.mean",
    "graph.suspicion",
    "graph.component.size",
    "graph.component.bad_fraction",
    "graph.component.growth",
    "graph.component.age_h",
];

/// About one linked thing and the account's link to it: its accounts; smoothed bad rate and mean
/// suspicion of the others; new members decayed with the short and the long half-life; its age; then
/// of the link: age, pause since the touch before this event, touches, touches decayed, and touches
/// out of all that the account made.
///
/// The thing is the riskiest of its kind in the event, or, if the event has none, of all the account's
/// links: by smoothed bad rate, then mean suspicion, then degree, then lower node.
pub const NODE_FIELDS: [&str; 11] = [
    "degree",
    "bad_rate",
    "members_suspicion",
    "new_short",
    "new_long",
    "age_h",
    "link_age_h",
    "link_gap_h",
    "link_count",
    "link_strength",
    "link_share",
];

/// About another account named by the event, beside [`NODE_FIELDS`] (where `degree` is how many
/// accounts link to it): how often it linked to this account, and how long ago; how many neighbours
/// (64 most recent links out, most recent members in) both have; whether it is labelled bad; its
/// suspicion; how many accounts it links to; and the share of bad ones among its neighbours, as far as it
/// linked to them first. The three that judge the other are 0 where it was the other that came first.
pub const PAIR_FIELDS: [&str; 7] = [
    "reciprocal_count",
    "reciprocal_gap_h",
    "common_peers",
    "account_bad",
    "account_suspicion",
    "out_degree",
    "bad_share",
];

const NODE_N: usize = NODE_FIELDS.len();
const ROLE_N: usize = NODE_N + PAIR_FIELDS.len();

#[derive(Clone, Copy)]
struct Candidate {
    bad_rate: f32,
    suspicion: f32,
    degree: u32,
    node: Node,
    /// The touch before the event's own; outer `None`: the event did not touch the node.
    gap_since_ms: Option<Option<i64>>,
    /// The link, if the event touched the node; else it is looked up when it is written.
    link: Option<Link>,
}

/// The most that is known on things which are not copyable: a copyable thing says no more.
#[derive(Default)]
struct Held {
    /// Share of the others that are bad, as far as they count.
    bad: f32,
    suspicion: f32,
}

impl Held {
    /// What is left of what others say on a thing. Those that are not copyable are to be heard first.
    fn hear(&mut self, others: Others, copyable: bool) -> Others {
        if copyable {
            return self.cap(others);
        }
        self.bad = self.bad.max(others.bad / others.n.max(1) as f32);
        self.suspicion = self.suspicion.max(others.suspicion);
        others
    }

    fn cap(&self, others: Others) -> Others {
        Others {
            bad: others.bad.min(self.bad * others.n as f32),
            suspicion: others.suspicion.min(self.suspicion),
            ..others
        }
    }
}

impl Candidate {
    const NONE: Candidate = Candidate {
        bad_rate: -1.0,
        suspicion: 0.0,
        degree: 0,
        node: Node::from_bits(u32::MAX),
        gap_since_ms: None,
        link: None,
    };

    /// Riskier, or as risky and of a lower node.
    fn beats(&self, other: &Candidate) -> bool {
        let key = |c: &Candidate| (c.bad_rate, c.suspicion, c.degree);
        match key(self).partial_cmp(&key(other)) {
            Some(std::cmp::Ordering::Equal) | None => self.node < other.node,
            Some(order) => order.is_gt(),
        }
    }
}

impl LinkGraph {
    /// How many columns [`LinkGraph::features`] writes.
    pub fn feature_count(&self) -> usize {
        let kinds = self.kinds_with_columns().count();
        OVERALL.len() + kinds * NODE_N + self.config.roles * ROLE_N
    }

    /// Kinds from 1 on that have entities, in order.
    fn kinds_with_columns(&self) -> impl Iterator<Item = usize> + '_ {
        (1..self.config.kinds.len()).filter(|kind| !self.config.kinds[*kind].is_account)
    }

    /// The columns' names, from the names of the kinds (the first, for accounts, is not used) and of
    /// the roles: `graph.device.degree`, `graph.target.reciprocal_count`. A missing name becomes
    /// `kind3` or `role1`.
    pub fn feature_names(&self, kinds: &[&str], roles: &[&str]) -> Vec<String> {
        let mut names: Vec<String> = OVERALL.iter().map(ToString::to_string).collect();
        for kind in self.kinds_with_columns() {
            let name = kinds.get(kind).map_or(format!("kind{kind}"), ToString::to_string);
            names.extend(NODE_FIELDS.iter().map(|field| format!("graph.{name}.{field}")));
        }
        for role in 0..self.config.roles {
            let name = roles.get(role).map_or(format!("role{role}"), ToString::to_string);
            let fields = NODE_FIELDS.iter().chain(&PAIR_FIELDS);
            names.extend(fields.map(|field| format!("graph.{name}.{field}")));
        }
        names
    }

    /// Writes the columns for an event of `account` at `ts_ms` that touched `entities` and, by role,
    /// other accounts; returns how many, or 0 (and all `NaN`) if `out` is too short or the account
    /// unknown. Changes nothing. Cost: the lines of at most 64 linked entities; for each role at most
    /// 200 neighbours.
    ///
    /// Call it after the event's touches: pauses are counted from [`Touched::previous`].
    pub fn features(
        &self,
        account: u32,
        entities: &[Touched],
        roles: &[Option<Touched>],
        ts_ms: i64,
        out: &mut [f32],
    ) -> usize {
        out.fill(f32::NAN);
        let n = self.feature_count();
        let (Some(out), Some(line)) = (out.get_mut(..n), self.line(account)) else { return 0 };
        let (overall, rest) = out.split_at_mut(OVERALL.len());
        let own = Own::of(account, line, true);

        let mut best = [Candidate::NONE; KINDS_MAX];
        let mut in_event = 0u32;
        let mut held = Held::default();
        let (mut max_strong, mut sum, mut weights) = (0.0f32, 0.0f32, 0.0f32);
        let (mut counted, mut known) = (0.0f32, 0.0f32);
        // Copyable kinds last, when it is known what the others say.
        for copyable in [false, true] {
            for touched in entities {
                let kind = touched.node.kind();
                let Some(entity) = self.entity_line(touched.node) else { continue };
                if self.config.kinds[kind].copyable != copyable {
                    continue;
                }
                let link = self.find(account, touched.node).1;
                let own = Own { linked: link.is_some(), ..own };
                let others = held.hear(self.others(touched.node, entity, own), copyable);
                let candidate = Candidate {
                    bad_rate: self.bad_rate(&others),
                    suspicion: others.suspicion,
                    degree: entity.degree,
                    node: touched.node,
                    gap_since_ms: Some(touched.previous.map(|p| p.last_ms)),
                    link,
                };
                in_event |= 1 << kind;
                if candidate.beats(&best[kind]) {
                    best[kind] = candidate;
                }
            }
            for node in self.walk(account) {
                let kind = node.kind();
                let rules = &self.config.kinds[kind];
                if rules.copyable != copyable {
                    continue;
                }
                let Some(entity) = self.entity_line(node) else { continue };
                let others = held.hear(self.others(node, entity, own), copyable);
                let bad_rate = self.bad_rate(&others);
                if rules.strong && !copyable {
                    max_strong = max_strong.max(bad_rate);
                    counted += others.counted;
                    known += others.known;
                }
                let weight = rules.weight * self.discount(entity.degree);
                sum += weight * bad_rate;
                weights += weight;
                if in_event & 1 << kind == 0 {
                    let candidate = Candidate {
                        bad_rate,
                        suspicion: others.suspicion,
                        degree: entity.degree,
                        node,
                        gap_since_ms: None,
                        link: None,
                    };
                    if candidate.beats(&best[kind]) {
                        best[kind] = candidate;
                    }
                }
            }
        }
        overall[0] = line.links_n.into();
        overall[1] = max_strong;
        overall[2] = if weights > 0.0 { sum / weights } else { 0.0 };
        overall[3] = f32::from(line.suspicion) / 255.0;
        if let Some(component) = self.component(account, ts_ms) {
            overall[4] = component.size as f32;
            let others = component.size.saturating_sub(1).max(1) as f32;
            let bad = component.bad.saturating_sub(u32::from(line.bad)) as f32;
            overall[5] = if known > 0.0 { bad / others * (counted / known) } else { 0.0 };
            overall[6] = component.growth;
            overall[7] = component.earliest_ms.map_or(0.0, |ms| hours(ts_ms, ms));
        }

        let kinds = self.kinds_with_columns().count();
        let (of_kinds, of_roles) = rest.split_at_mut(kinds * NODE_N);
        for (out, kind) in of_kinds.chunks_exact_mut(NODE_N).zip(self.kinds_with_columns()) {
            let best = &best[kind];
            if best.bad_rate >= 0.0 {
                self.node_features(own, best, &held, ts_ms, out);
            }
        }
        for (out, role) in of_roles.chunks_exact_mut(ROLE_N).zip(roles) {
            if let Some(touched) = role {
                let (of_node, of_pair) = out.split_at_mut(NODE_N);
                let candidate = Candidate {
                    node: touched.node,
                    gap_since_ms: Some(touched.previous.map(|p| p.last_ms)),
                    link: self.find(account, touched.node).1,
                    ..Candidate::NONE
                };
                self.node_features(own, &candidate, &held, ts_ms, of_node);
                self.pair_features(account, &candidate, ts_ms, of_pair);
            }
        }
        n
    }

    /// [`NODE_FIELDS`].
    fn node_features(&self, own: Own, of: &Candidate, held: &Held, ts_ms: i64, out: &mut [f32]) {
        let (Some(entity), Some(line)) = (self.entity_line(of.node), self.line(own.account)) else {
            return;
        };
        let link = match of.gap_since_ms {
            Some(_) => of.link,
            None => self.find(own.account, of.node).1,
        };
        let mut others = self.others(of.node, entity, Own { linked: link.is_some(), ..own });
        if self.config.kinds[of.node.kind()].copyable {
            others = held.cap(others);
        }
        let since_new = ts_ms.saturating_sub(entity.new_ms);
        out[0] = entity.degree as f32;
        out[1] = self.bad_rate(&others);
        out[2] = others.suspicion;
        out[3] = entity.new[0] * decay(since_new, self.per_new[0]);
        out[4] = entity.new[1] * decay(since_new, self.per_new[1]);
        out[5] = hours(ts_ms, entity.first_ms);
        let since = match of.gap_since_ms {
            Some(before) => before,
            None => link.map(|l| l.last_ms),
        };
        if let Some(since) = since {
            out[7] = hours(ts_ms, since);
        }
        if let Some(link) = link {
            let since_last = ts_ms.saturating_sub(link.last_ms);
            out[6] = hours(ts_ms, link.first_ms);
            out[8] = link.count as f32;
            out[9] = link.strength * decay(since_last, self.per_strength);
            out[10] = link.count as f32 / line.touches.max(1) as f32;
        }
    }

    /// [`PAIR_FIELDS`].
    fn pair_features(&self, account: u32, of: &Candidate, ts_ms: i64, out: &mut [f32]) {
        if of.node.kind() != 0 {
            return;
        }
        let other = of.node.index();
        let Some(line) = self.line(other) else { return };
        (out[3], out[4]) = (0.0, 0.0);
        let back = self.find(other, Node::account(account)).1;
        out[0] = back.map_or(0.0, |l| l.count as f32);
        if let Some(back) = back {
            out[1] = hours(ts_ms, back.last_ms);
        }
        let (mine, theirs) = (self.neighbours(account), self.neighbours(other));
        out[2] = theirs.iter().filter(|id| mine.binary_search(id).is_ok()).count() as f32;
        let met_by_other = self.was_met_by(account, other);
        if !met_by_other {
            out[3] = f32::from(u8::from(line.bad));
            out[4] = f32::from(line.suspicion) / 255.0;
        }
        let first_entity = Node::new(1, 0);
        out[5] = self.links_before(other, first_entity) as f32;
        let (mut n, mut bad) = (0u32, 0u32);
        for id in theirs.iter().filter(|id| **id != account) {
            n += 1;
            bad += u32::from(!met_by_other && self.has_sought_bad(other, *id));
        }
        out[6] = bad as f32 / n.max(1) as f32;
    }

    /// Whether `other` linked to `account` before `account` linked to it, if it ever did.
    pub fn was_met_by(&self, account: u32, other: u32) -> bool {
        let link = self.find(account, Node::account(other)).1;
        let back = self.find(other, Node::account(account)).1;
        back.is_some_and(|back| link.is_none_or(|link| back.first_ms < link.first_ms))
    }

    /// Whether `account` linked to `other`, labelled bad, before that one linked to it.
    fn has_sought_bad(&self, account: u32, other: u32) -> bool {
        self.line(other).is_some_and(|l| l.bad)
            && self.find(account, Node::account(other)).1.is_some()
            && !self.was_met_by(account, other)
    }

    /// The accounts that this one links to or that link to it, bounded on both sides, by index.
    fn neighbours(&self, account: u32) -> Vec<u32> {
        let out = self.walk(account).take_while(|n| n.kind() == 0).map(Node::index);
        let into = self.recent_members(Node::account(account)).iter().map(|r| r.id);
        let mut all: Vec<u32> = out.chain(into).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn hours(now_ms: i64, then_ms: i64) -> f32 {
    (now_ms.saturating_sub(then_ms).max(0) as f64 / 3_600_000.0) as f32
}
