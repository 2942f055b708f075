//! What is known of an account now, and why it scores as it does.

use crate::policy::{AccountPolicyState, ActionTaken};
use crate::printable::printable;
use crate::step::{ACCOUNT_DOMAIN, Engine};
use crate::wire::{ReasonV1, ScoresV1, VersionsV1, hex};
use features::event::TypeId;
use features::hits::CounterHits;
use features::layout::Role;
use features::profile::Observation;
use features::vector::Source;
use graph::Node;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Nodes of the graph that an explanation looks at.
const NODES_MAX: usize = 2_000;
/// Links that are listed.
const LINKS_MAX: usize = 50;
/// Reasons that are listed.
const REASONS: usize = 10;

/// Everything about an account, for people and programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The account.
    pub account: String,
    /// As of this moment: the newest event time of the state, epoch milliseconds.
    pub as_of_ms: i64,
    /// `bad`, `good` or `unknown`, by its newest label.
    pub label: Cow<'static, str>,
    /// Its score now, without a new event, 0 to 1.
    pub score: f64,
    /// The parts of the score.
    pub scores: ScoresV1,
    /// Suspicion through its links, 0 to 1.
    pub suspicion: f64,
    /// The newest action that was really taken and not undone.
    pub last_action: Option<ActionTakenV1>,
    /// All actions that are in force, newest first: what a label that clears the account undoes.
    #[serde(default)]
    pub in_force: Vec<ActionTakenV1>,
    /// The rules that acted last, at most four, and until when each is quiet about it: newest end first.
    pub quiet: Vec<QuietV1>,
    /// What moves its score up, strongest first.
    pub reasons: Vec<ReasonV1>,
    /// Its most recent links.
    pub links: Vec<LinkV1>,
    /// Links in all.
    pub links_total: u64,
    /// The accounts bound to it by shared things.
    pub ring: Option<RingV1>,
    /// The way to the nearest account that is known bad.
    pub path_to_bad: Vec<String>,
    /// Columns of its profile, by name; absent ones left out.
    #[serde(with = "columns")]
    pub profile: Vec<(String, f32)>,
    /// What the score is from.
    pub versions: VersionsV1,
}

/// Columns as one object, in their order.
mod columns {
    use serde::de::{Deserializer, MapAccess, Visitor};
    use serde::ser::Serializer;
    use std::fmt;

    pub fn serialize<S: Serializer>(columns: &[(String, f32)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(columns.iter().map(|(name, value)| (name, value)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, f32)>, D::Error> {
        struct Columns;
        impl<'de> Visitor<'de> for Columns {
            type Value = Vec<(String, f32)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("values by the names of columns")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut columns = Vec::new();
                while let Some(column) = map.next_entry()? {
                    columns.push(column);
                }
                Ok(columns)
            }
        }
        from.deserialize_map(Columns)
    }
}

/// An action against an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActionTakenV1 {
    /// What was done.
    pub action: Cow<'static, str>,
    /// When, epoch milliseconds.
    pub at: i64,
    /// When it ends by itself, epoch milliseconds.
    pub expires_at: Option<i64>,
    /// The rule that decided it, if it still exists.
    pub rule: Option<String>,
    /// Its id.
    pub action_id: String,
}

/// A rule in its cool-down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QuietV1 {
    /// The rule, if it still exists.
    pub rule: Option<String>,
    /// What it asked for.
    pub action: Cow<'static, str>,
    /// Until when it is quiet about the account, epoch milliseconds.
    pub until: i64,
}

/// One link.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkV1 {
    /// Kind of thing.
    pub kind: String,
    /// Its key; a pseudonym if a privacy key is set.
    pub key: String,
    /// How often it was used.
    pub count: u32,
    /// Accounts that use it.
    pub accounts: u32,
    /// Of these, known bad.
    pub known_bad: u32,
    /// First and last use, epoch milliseconds.
    pub seen: [i64; 2],
}

/// A ring.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RingV1 {
    /// Its id.
    pub id: String,
    /// Accounts in it.
    pub size: u32,
    /// Of these, known bad.
    pub known_bad: u32,
    /// The things and accounts without which it falls apart.
    pub held_together_by: Vec<String>,
}

impl Engine {
    /// Everything about an account; `None` if it is not known. Costs up to milliseconds.
    pub fn explain(&self, account: &str) -> Option<Explanation> {
        let account = &*crate::wire::kept_key(account);
        let id = self.accounts.keys.find(self.hasher.hash(ACCOUNT_DOMAIN, account))?;
        let now_ms = self.clocks.now_ms();
        let row = self.row_now(id);
        let scores = self.deciding.scorer.score(&row);
        let state = self.deciding.states.get(&self.accounts.keys.hash_of(id));
        let mut links: Vec<_> = self.graph.links(id).collect();
        links.sort_by_key(|l| std::cmp::Reverse((l.last_ms, l.node)));
        let links_total = links.len() as u64;
        let links = links
            .iter()
            .take(LINKS_MAX)
            .map(|l| {
                let entity = self.graph.entity(l.node);
                LinkV1 {
                    kind: self.kind_name(l.node).to_string(),
                    key: self.node_key(l.node).to_string(),
                    count: l.count,
                    accounts: entity.map_or(1, |e| e.degree),
                    known_bad: entity.map_or(0, |e| e.bad),
                    seen: [l.first_ms, l.last_ms],
                }
            })
            .collect();
        let ring = self.graph.component(id, now_ms).filter(|c| c.size > 1).map(|c| RingV1 {
            id: hex(&c.ring_id.to_be_bytes()),
            size: c.size,
            known_bad: c.bad,
            held_together_by: self
                .graph
                .ring(id, NODES_MAX)
                .map(|r| {
                    r.holders().into_iter().take(LINKS_MAX).map(|n| self.node_name(n)).collect()
                })
                .unwrap_or_default(),
        });
        let path = self.graph.path_to_bad(id, NODES_MAX);
        let finisher = self.finisher();
        let rule = |tag| Some(self.deciding.policy.rule_of_tag(tag)?.name.clone());
        let taken = |taken: &ActionTaken| ActionTakenV1 {
            action: taken.action.as_str().into(),
            at: taken.at_ms,
            expires_at: taken.expires_at_ms,
            rule: rule(taken.rule_tag),
            action_id: hex(&taken.action_id),
        };
        Some(Explanation {
            account: account.to_string(),
            as_of_ms: now_ms,
            label: match self.accounts.standing[id as usize].verdict {
                0 => "unknown",
                1 => "good",
                _ => "bad",
            }
            .into(),
            score: f64::from(scores.score),
            scores: finisher.parts(Some(scores)),
            suspicion: self.graph.account(id).map_or(0.0, |a| f64::from(a.suspicion) / 255.0),
            last_action: state.and_then(AccountPolicyState::last).map(taken),
            in_force: state.map(|s| s.lasting(now_ms).map(taken).collect()).unwrap_or_default(),
            quiet: state
                .map(|s| s.quiet(now_ms))
                .unwrap_or_default()
                .into_iter()
                .map(|(tag, action, until)| QuietV1 {
                    rule: rule(tag),
                    action: action.as_str().into(),
                    until,
                })
                .collect(),
            reasons: finisher.reasons(&row, REASONS),
            links,
            links_total,
            ring,
            path_to_bad: path
                .map(|p| p.nodes.into_iter().map(|n| self.node_name(n)).collect())
                .unwrap_or_default(),
            profile: self
                .columns
                .iter()
                .zip(&row)
                .filter(|(name, v)| {
                    v.is_finite() && (name.starts_with("account.") || name.starts_with("received."))
                })
                .map(|(name, v)| (name.clone(), *v))
                .collect(),
            versions: finisher.versions().clone(),
        })
    }

    /// The ring around an account as a Graphviz graph.
    pub fn ring_dot(&self, account: &str) -> Option<String> {
        let account = &*crate::wire::kept_key(account);
        let id = self.accounts.keys.find(self.hasher.hash(ACCOUNT_DOMAIN, account))?;
        Some(self.graph.ring(id, NODES_MAX)?.dot(|node| self.node_name(node)))
    }

    /// The vector of an account as of now, without an event: what is about an event is absent.
    fn row_now(&self, id: u32) -> Vec<f32> {
        let mut row = vec![f32::NAN; self.columns.len()];
        let hits = CounterHits::default();
        let seen = Observation {
            ts_ms: self.clocks.now_ms(),
            type_id: TypeId::OTHER,
            attributes: &[],
            keys: &[],
            neighbour: &[],
            counters: &hits,
        };
        for part in self.parts.iter().filter(|p| p.source == Source::Acting) {
            let Some(layout) = self.schema.layout(part.role) else { continue };
            let profile = match part.role {
                Role::TARGET => self.accounts.received(id),
                _ => Some(self.accounts.acting.get(id)),
            };
            layout.look(profile, &seen, &mut row[part.offset..part.offset + part.width]);
        }
        let roles = vec![None; self.role_kinds.len()];
        let out = &mut row[self.graph_at..self.share_at];
        self.graph.features(id, &[], &roles, self.clocks.now_ms(), out);
        let share = self.graph.co_share(id, 2);
        let values = [share.accounts, share.bad, share.shared_max];
        for (cell, value) in row[self.share_at..].iter_mut().zip(values) {
            *cell = value as f32;
        }
        row
    }

    fn kind_name(&self, node: Node) -> &str {
        match self.nodes.kind_of(node) {
            None => "account",
            Some(kind) => self.schema.kinds().get(kind).map_or("unknown", |k| k.name.as_str()),
        }
    }

    fn node_key(&self, node: Node) -> &str {
        self.keys_of(node).filter(|k| k.is_live(node.index())).map_or("?", |k| k.text(node.index()))
    }

    fn node_name(&self, node: Node) -> String {
        format!("{}:{}", self.kind_name(node), self.node_key(node))
    }
}

/// Contributions below this are shown as 0.000, and left out.
const CONTRIBUTION_SHOWN_MIN: f64 = 0.0005;

/// A moment for people; as it is, where it is none.
fn moment(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
}

/// Keys come from events: what a terminal would act on is escaped.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "account     {}", printable(&self.account))?;
        writeln!(f, "label       {}", self.label)?;
        writeln!(f, "score       {:.4}", self.score)?;
        writeln!(f, "suspicion   {:.3}", self.suspicion)?;
        match &self.last_action {
            Some(a) => {
                writeln!(f, "last action {} at {} ({})", a.action, moment(a.at), a.action_id)?;
            }
            None => writeln!(f, "last action none")?,
        }
        for a in &self.in_force {
            write!(f, "in force    {} since {}", a.action, moment(a.at))?;
            match a.expires_at {
                Some(end) => writeln!(f, " until {} ({})", moment(end), a.action_id)?,
                None => writeln!(f, " ({})", a.action_id)?,
            }
        }
        for quiet in &self.quiet {
            let rule = printable(quiet.rule.as_deref().unwrap_or("a rule that is gone"));
            let until = moment(quiet.until);
            writeln!(f, "quiet       {rule} ({}) until {until}", quiet.action)?;
        }
        if let Some(ring) = &self.ring {
            writeln!(
                f,
                "ring        {}: {} accounts, {} known bad",
                ring.id, ring.size, ring.known_bad
            )?;
            if !ring.held_together_by.is_empty() {
                let by = ring.held_together_by.join(", ");
                writeln!(f, "            held together by {}", printable(&by))?;
            }
        }
        if self.path_to_bad.len() > 1 {
            writeln!(f, "linked      {}", printable(&self.path_to_bad.join(" - ")))?;
        }
        writeln!(f, "\nwhy")?;
        let counts = |r: &&ReasonV1| r.contribution.abs() >= CONTRIBUTION_SHOWN_MIN;
        for r in self.reasons.iter().filter(counts) {
            writeln!(
                f,
                "  {:+.3}  {}  ({})",
                r.contribution,
                printable(&r.text),
                printable(&r.code)
            )?;
        }
        if !self.reasons.iter().any(|r| counts(&r)) {
            writeln!(f, "  nothing moves its score up")?;
        }
        writeln!(f, "\nlinks ({} of {})", self.links.len(), self.links_total)?;
        for l in &self.links {
            writeln!(
                f,
                "  {:<10} {:<24} {:>6} times, {} accounts, {} known bad",
                l.kind,
                printable(&l.key),
                l.count,
                l.accounts,
                l.known_bad
            )?;
        }
        writeln!(f, "\nprofile")?;
        for (name, value) in self.profile.iter().filter(|(_, v)| *v != 0.0) {
            writeln!(f, "  {name:<44} {value}")?;
        }
        Ok(())
    }
}
