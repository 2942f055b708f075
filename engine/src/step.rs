//! The straight line: a batch of messages in, effects out. The state is the engine's own; nothing here
//! waits, reads a clock or rolls a die, and the size of a batch never changes an outcome.

use crate::config::Config;
use crate::build::Versions;
use crate::decide::{Deciding, ViaColumn};
use crate::effects::{Counts, Effects, SourceRef};
use crate::intern::KeyHasher;
use crate::limits::{SCORE_ROWS, SWEEP_PER_EVENT, TIE_GROUP_MAX};
use crate::recent::{RecentEvents, Remembered};
use crate::state::{Accounts, Entities};
use crate::wire::{Reject, RejectCode, Vocabulary};
use compact_str::CompactString;
use features::event::{Event, KindId, Label};
use features::hits::CounterHits;
use features::layout::Role;
use features::profile::{DistinctKey, Observation};
use features::schema::Schema;
use features::vector::Source;
use graph::{LinkGraph, Node};
use smallvec::SmallVec;
use std::sync::Arc;

/// A message that could be read.
#[derive(Clone, Debug)]
pub enum Input {
    /// Something happened.
    Event(Event, SourceRef),
    /// Something became known.
    Label(Label),
}

/// What the caller wants to see beside actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The score of every event.
    pub scores: bool,
    /// The feature vector of every event.
    pub rows: bool,
    /// No scoring and no deciding: only the state moves (silent replay, or rows for training).
    pub state_only: bool,
}

/// Keys of an event, as ids.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub account: u32,
    /// The other account of each account role (`target`, then kinds that are accounts).
    pub others: SmallVec<[Option<u32>; 2]>,
    /// All other accounts, lists included, each once.
    pub peers: SmallVec<[u32; 2]>,
    /// Entities: kind and id in the kind.
    pub entities: SmallVec<[(u8, u32); 4]>,
    pub keys: SmallVec<[DistinctKey; 6]>,
    pub event_hash: u64,
}

/// An event whose effect on the state is held back, under strict ties.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub event: Event,
    pub resolved: Resolved,
    /// The values of its vector that its own effect needs.
    pub row: Vec<f32>,
    pub evidence: u8,
}

/// Where the columns of one thing's profile stand in the vector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartAt {
    pub source: Source,
    pub role: Role,
    pub own: bool,
    pub offset: usize,
    pub width: usize,
}

/// The engine.
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) schema: Schema,
    pub(crate) columns: Vec<String>,
    pub(crate) parts: Vec<PartAt>,
    /// First column of the graph's, and of the co-share count.
    pub(crate) graph_at: usize,
    pub(crate) share_at: usize,
    /// For each account role, the kind whose keys it is; `None` for `target`.
    pub(crate) role_kinds: Vec<Option<KindId>>,
    pub(crate) hasher: KeyHasher,
    pub(crate) privacy: Option<Vec<u8>>,
    pub(crate) graph: LinkGraph,
    pub(crate) accounts: Accounts,
    /// By kind; kinds whose keys are accounts have none of their own.
    pub(crate) kinds: Vec<Option<Entities>>,
    pub(crate) recent: RecentEvents,
    pub(crate) deciding: Deciding,
    pub(crate) watermark_ms: i64,
    pub(crate) first_ms: Option<i64>,
    pub(crate) held: Vec<Held>,
    pub(crate) counts: Counts,
    pub(crate) sweep_at: u32,
    pub(crate) strict_ties: bool,
    pub(crate) feedback: bool,
    pub(crate) jump_max_ms: i64,
    pub(crate) lateness_max_ms: i64,
    pub(crate) account_ttl_ms: i64,
    pub(crate) kind_ttl_ms: Vec<i64>,
    pub(crate) wanted: Wanted,
    pub(crate) via: Vec<ViaColumn>,
    pub(crate) words: Vocabulary,
    pub(crate) versions: Arc<Versions>,
    pub(crate) vector: Vec<f32>,
}

impl Engine {
    /// Takes messages in their order; what they ask for is added to `effects`. However a stream is cut
    /// into batches, the same effects come out.
    pub fn step(&mut self, batch: impl IntoIterator<Item = Input>, effects: &mut Effects) {
        for input in batch {
            match input {
                Input::Event(event, source) => self.event(event, source, effects),
                Input::Label(label) => self.label(&label, effects),
            }
        }
        self.decide_pending(effects);
    }

    /// Ends the input: closes an open tie group.
    pub fn finish(&mut self, effects: &mut Effects) {
        self.decide_pending(effects);
        self.release_held();
    }

    /// Whether an event of this time would be taken, given the newest time seen.
    pub fn accepts(&self, ts_ms: i64, newest_ms: i64) -> bool {
        self.first_ms.is_none() && newest_ms < 0 || ts_ms.saturating_sub(newest_ms) <= self.jump_max_ms
    }

    fn event(&mut self, event: Event, source: SourceRef, effects: &mut Effects) {
        if self.first_ms.is_some() && event.ts_ms.saturating_sub(self.watermark_ms) > self.jump_max_ms {
            self.counts.rejects += 1;
            let detail = format!(
                "ts is {} ahead of the stream, more than time.jump_max ({})",
                features::duration::format_ms(event.ts_ms - self.watermark_ms),
                self.config.time.jump_max
            );
            effects.rejects.push((source, Reject::new(RejectCode::TsJump, detail)));
            return;
        }
        if self.held.first().is_some_and(|held| held.event.ts_ms != event.ts_ms) {
            self.release_held();
        }
        let Some(resolved) = self.resolve(&event) else {
            self.counts.rejects += 1;
            let detail = "all ids of a kind are taken; shorten the lifetimes (ttl)";
            effects.rejects.push((source, Reject::new(RejectCode::Full, detail)));
            return;
        };
        if self.is_redelivered(&resolved) {
            self.counts.redelivered += 1;
            return;
        }
        self.first_ms.get_or_insert(event.ts_ms);
        if event.ts_ms > self.watermark_ms {
            self.watermark_ms = event.ts_ms;
            self.graph.advance(event.ts_ms);
        }
        if self.watermark_ms - event.ts_ms > self.lateness_max_ms {
            self.counts.too_late += 1;
        }
        self.counts.events += 1;

        let hits = self.schema.hits(&event);
        let mut vector = std::mem::take(&mut self.vector);
        let evidence = self.extract(&event, &resolved, &hits, &mut vector);
        self.offer(&event, &resolved, source, &vector, effects);
        if self.strict_ties {
            if self.held.len() >= TIE_GROUP_MAX {
                self.counts.ties_cut += 1;
                self.release_held();
            }
            self.held.push(Held { event, resolved, row: vector.clone(), evidence });
        } else {
            self.apply(&event, &resolved, &hits, &vector, evidence);
        }
        self.vector = vector;
        if self.deciding.len() >= SCORE_ROWS {
            self.decide_pending(effects);
        }
        if self.held.is_empty() {
            self.sweep(SWEEP_PER_EVENT);
        }
    }

    /// Lets the events of a closed tie group take effect, in their order.
    pub(crate) fn release_held(&mut self) {
        let group = std::mem::take(&mut self.held);
        let events = group.len() as u32;
        for held in group {
            let hits = self.schema.hits(&held.event);
            self.apply(&held.event, &held.resolved, &hits, &held.row, held.evidence);
        }
        // Only now: ids of held events must not be given to others.
        self.sweep(events * SWEEP_PER_EVENT);
    }

    /// Ids for all keys of an event; new keys are made known. `None` when a kind is full.
    fn resolve(&mut self, event: &Event) -> Option<Resolved> {
        let account = self.intern_account(&event.account, event.ts_ms)?;
        let mut resolved = Resolved {
            account,
            others: SmallVec::from_elem(None, self.role_kinds.len()),
            peers: SmallVec::new(),
            entities: SmallVec::new(),
            keys: SmallVec::new(),
            event_hash: self.hasher.hash(EVENT_DOMAIN, &event.event_id),
        };
        let account_hash = self.accounts.keys.hash_of(account);
        resolved.keys.push(DistinctKey { what: DistinctKey::ACCOUNT, hash: account_hash });
        if let Some(target) = &event.target {
            let other = self.intern_account(target, event.ts_ms)?;
            let hash = self.accounts.keys.hash_of(other);
            resolved.keys.push(DistinctKey { what: DistinctKey::TARGET, hash });
            if let Some(slot) = self.role_kinds.iter().position(Option::is_none) {
                resolved.others[slot] = Some(other);
            }
            resolved.peers.push(other);
        }
        for entity in &event.entities {
            let kind = usize::from(entity.kind.0);
            if self.kinds.get(kind)?.is_none() {
                let other = self.intern_account(&entity.key, event.ts_ms)?;
                let hash = self.accounts.keys.hash_of(other);
                resolved.keys.push(DistinctKey::of(entity.kind, hash));
                let slot = self.role_kinds.iter().position(|k| *k == Some(entity.kind));
                if let Some(slot) = slot
                    && resolved.others[slot].is_none()
                {
                    resolved.others[slot] = Some(other);
                }
                if !resolved.peers.contains(&other) {
                    resolved.peers.push(other);
                }
            } else {
                let hash = self.hasher.hash(1 + entity.kind.0, &entity.key);
                let id = self.intern_entity(kind, hash, &entity.key, event.ts_ms)?;
                resolved.keys.push(DistinctKey::of(entity.kind, hash));
                resolved.entities.push((entity.kind.0, id));
            }
        }
        Some(resolved)
    }

    fn intern_account(&mut self, key: &CompactString, ts_ms: i64) -> Option<u32> {
        let hash = self.hasher.hash(ACCOUNT_DOMAIN, key);
        if let Some(id) = self.accounts.keys.find(hash) {
            if !self.account_expired(id, ts_ms) {
                return Some(id);
            }
            self.counts.expired_accounts += 1;
            self.forget_account(id);
        }
        let (id, _) = self.accounts.keys.intern(hash, || key.clone())?;
        self.accounts.make_room(id);
        self.accounts.dirty.mark(id);
        self.graph.add_account(id, hash);
        Some(id)
    }

    fn intern_entity(&mut self, kind: usize, hash: u64, key: &CompactString, ts_ms: i64) -> Option<u32> {
        if let Some(id) = self.kinds[kind].as_ref()?.keys.find(hash) {
            if !self.entity_expired(kind, id, ts_ms) {
                return Some(id);
            }
            self.counts.expired_entities += 1;
            self.forget_entity(kind, id);
        }
        let privacy = self.privacy.as_deref();
        let entities = self.kinds[kind].as_mut()?;
        let (id, _) = entities.keys.intern(hash, || match privacy {
            Some(secret) => crate::privacy::pseudonym(secret, key).into(),
            None => key.clone(),
        })?;
        entities.profiles.grow(id + 1);
        entities.dirty.mark(id);
        Some(id)
    }

    fn is_redelivered(&self, resolved: &Resolved) -> bool {
        let seen = |e: &Remembered| e.account == resolved.account;
        self.recent.find(resolved.event_hash).is_some_and(|(_, e)| seen(e))
            || self.held.iter().any(|h| {
                h.resolved.event_hash == resolved.event_hash && h.resolved.account == resolved.account
            })
    }

    /// Lets an event take effect on profiles, graph and the index of recent events.
    fn apply(
        &mut self,
        event: &Event,
        resolved: &Resolved,
        hits: &CounterHits,
        vector: &[f32],
        evidence: u8,
    ) {
        let account = resolved.account;
        let seen = Observation {
            ts_ms: event.ts_ms,
            type_id: event.type_id,
            attributes: &event.attributes,
            keys: &resolved.keys,
            neighbour: &[],
            counters: hits,
        };
        let other = resolved.others.iter().position(Option::is_some).map(Source::Other);
        let values = self.neighbour_values(Role::ACCOUNT, other, vector);
        if let Some(layout) = self.schema.layout(Role::ACCOUNT) {
            let seen = Observation { neighbour: &values, ..seen };
            layout.observe(self.accounts.acting.get_mut(account), &seen);
        }
        self.accounts.dirty.mark(account);
        let values = self.neighbour_values(Role::TARGET, Some(Source::Acting), vector);
        if let Some(layout) = self.schema.layout(Role::TARGET) {
            let seen = Observation { neighbour: &values, ..seen };
            for &peer in &resolved.peers {
                layout.observe(self.accounts.received_mut(peer, layout), &seen);
                self.accounts.dirty.mark(peer);
            }
        }
        for &(kind, id) in &resolved.entities {
            let Some(role) = self.schema.kinds().get(usize::from(kind)).map(|k| k.role) else { continue };
            let values = self.neighbour_values(role, Some(Source::Acting), vector);
            if let (Some(layout), Some(entities)) =
                (self.schema.layout(role), self.kinds[usize::from(kind)].as_mut())
            {
                let seen = Observation { neighbour: &values, ..seen };
                layout.observe(entities.profiles.get_mut(id), &seen);
                entities.dirty.mark(id);
            }
        }

        let mut nodes: SmallVec<[Node; 4]> = SmallVec::new();
        nodes.extend(resolved.peers.iter().map(|peer| Node::account(*peer)));
        nodes.extend(resolved.entities.iter().map(|(kind, id)| Node::new(kind + 1, *id)));
        if self.strict_ties {
            for node in nodes.iter().filter(|n| n.kind() > 0 || self.config.graph.target_links) {
                if *node != Node::account(account) {
                    self.graph.touch(account, *node, event.ts_ms);
                }
            }
            self.graph.refresh_suspicion(account);
        }
        if evidence > 0 {
            self.graph.set_evidence(account, evidence);
        }
        self.recent.insert(
            Remembered {
                event_hash: resolved.event_hash,
                account,
                verdict: 0,
                ts_ms: event.ts_ms,
                verdict_ts_ms: 0,
                nodes,
            },
            self.watermark_ms,
        );
    }

    /// Values of the other side (`of`) for a role's running means.
    fn neighbour_values(&self, role: Role, of: Option<Source>, vector: &[f32]) -> SmallVec<[f32; 16]> {
        let columns = self.schema.neighbour_columns(role).iter();
        columns.map(|&c| of.map_or(f32::NAN, |of| value_of(&self.parts, of, c, vector))).collect()
    }
}

/// Column `column` of a thing's two profiles, one behind the other, out of an event's vector.
fn value_of(parts: &[PartAt], source: Source, column: usize, vector: &[f32]) -> f32 {
    let mut rest = column;
    for role in [Role::ACCOUNT, Role::TARGET] {
        if let Some(part) = parts.iter().find(|p| p.source == source && p.role == role) {
            if rest < part.width {
                return vector.get(part.offset + rest).copied().unwrap_or(f32::NAN);
            }
            rest -= part.width;
        }
    }
    f32::NAN
}

/// Domains of key hashes: 0 accounts, 1 and above the kinds, 255 event ids.
pub(crate) const ACCOUNT_DOMAIN: u8 = 0;
pub(crate) const EVENT_DOMAIN: u8 = 255;
