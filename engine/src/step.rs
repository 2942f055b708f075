//! The straight line: a batch of messages in, effects out. The state is the engine's own; nothing here
//! waits, reads a clock or rolls a die, and the size of a batch never changes an outcome.

use crate::ahead::Ahead;
use crate::arrived::Arrived;
use crate::association::OthersLabels;
use crate::build::Versions;
use crate::changed::Changed;
use crate::clocks::Clocks;
use crate::config::Config;
use crate::decide::{Deciding, ViaColumn};
use crate::effects::{Counts, Effects, SourceRef};
use crate::identity::Seen;
use crate::intern::{Interner, KeyHasher};
use crate::limits::{AHEAD_MESSAGES, TIE_GROUP_MAX};
use crate::memory::{Keep, Memory};
use crate::outliers::Outliers;
use crate::recent::{KnownNode, RecentEvents, Remembered};
use crate::state::{Accounts, Entities, NodeKinds};
use crate::wire::{Reject, RejectCode, Vocabulary};
use features::event::{Event, KindId, Label};
use features::hits::CounterHits;
use features::layout::Role;
use features::profile::{DistinctKey, Observation};
use features::schema::Schema;
use features::vector::Source;
use graph::{LinkGraph, Node};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A message that could be read.
#[derive(Clone, Debug)]
pub enum Input {
    /// Something happened.
    Event(Event, SourceRef),
    /// Something happened, and its `ts` is known to be wrong: it was ahead of the moment at which it was taken, and was set to that; or it
    /// is later than the beginning of a file, and stands before it. It is no voice of the stream's clock, and counts as of the clock where
    /// that is earlier.
    Ahead(Event, SourceRef),
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

/// Keys of an event that are kept, as ids.
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
    /// Columns about others' labels, which count only as far as association does.
    pub(crate) others_labels: Vec<OthersLabels>,
    /// First column of the graph's, and of the co-share count.
    pub(crate) graph_at: usize,
    pub(crate) share_at: usize,
    /// For each account role, the kind whose keys it is; `None` for `target`.
    pub(crate) role_kinds: Vec<Option<KindId>>,
    /// Finds keys: under `look_up_key`, if there is one.
    pub(crate) hasher: KeyHasher,
    /// What features and outputs may depend on.
    pub(crate) public_hasher: KeyHasher,
    /// Random, and kept with the state. None: both hashers are one.
    pub(crate) look_up_key: Option<[u8; 16]>,
    pub(crate) privacy: Option<Vec<u8>>,
    pub(crate) graph: LinkGraph,
    pub(crate) accounts: Accounts,
    pub(crate) nodes: NodeKinds,
    /// By kind; kinds whose keys are accounts have none of their own.
    pub(crate) kinds: Vec<Option<Entities>>,
    pub(crate) recent: RecentEvents,
    pub(crate) memory: Memory,
    pub(crate) deciding: Deciding,
    /// What time it is in the stream, by partition; the latest is the watermark.
    pub(crate) clocks: Clocks,
    pub(crate) first_ms: Option<i64>,
    /// Events of the open tie group, under strict ties, and their contents by id and account, all as hashes.
    pub(crate) held: Vec<Arrived>,
    pub(crate) held_ids: BTreeMap<(u64, u64), u64>,
    pub(crate) counts: Counts,
    /// Keys that may be placeholders.
    pub(crate) outliers: Outliers,
    /// Changes that were taken and put back.
    pub(crate) carried: Changed,
    pub(crate) sweep_at: u32,
    /// Events since the last sweep.
    pub(crate) unswept: u32,
    pub(crate) strict_ties: bool,
    pub(crate) feedback: bool,
    pub(crate) jump_max_ms: i64,
    pub(crate) lateness_max_ms: i64,
    pub(crate) account_ttl_ms: i64,
    pub(crate) kind_ttl_ms: Vec<i64>,
    pub(crate) wanted: Wanted,
    pub(crate) via: Vec<ViaColumn>,
    /// The column of the component's bad share.
    pub(crate) bad_fraction_at: Option<usize>,
    pub(crate) words: Vocabulary,
    pub(crate) versions: Arc<Versions>,
    /// Names of the topics that events come from.
    pub(crate) topics: Arc<[String]>,
    pub(crate) vector: Vec<f32>,
    pub(crate) ahead: Vec<Ahead>,
    /// Whether any profile keeps means over the other side: only then is an event's vector needed to apply it.
    pub(crate) meets: bool,
}

impl Engine {
    /// Takes messages in their order; what they ask for is added to `effects`. However a stream is cut
    /// into batches, the same effects come out. Under strict ties an event is scored when its group closes:
    /// with the first event or label that is not of it, or by [`Engine::finish`].
    pub fn step(&mut self, batch: impl IntoIterator<Item = Input>, effects: &mut Effects) {
        let mut batch = batch.into_iter();
        let mut ahead = std::mem::take(&mut self.ahead);
        loop {
            ahead.extend(batch.by_ref().take(AHEAD_MESSAGES).map(|input| match input {
                Input::Event(event, source) => Ahead::Event(self.arrive(event, source)),
                Input::Ahead(event, source) => {
                    Ahead::Event(Arrived { capped: true, ..self.arrive(event, source) })
                }
                Input::Label(label) => Ahead::Label(label),
            }));
            if ahead.is_empty() {
                break;
            }
            // Under strict ties events are only put aside now.
            if ahead.len() > 1 && !self.strict_ties {
                self.look_ahead(&ahead);
            }
            for message in &mut ahead {
                match message {
                    Ahead::Event(arrived) => self.event(arrived, effects),
                    Ahead::Label(label) => self.label(label, effects),
                }
            }
            ahead.clear();
        }
        self.ahead = ahead;
        self.decide_pending(effects);
    }

    /// Ends the input: closes an open tie group.
    pub fn finish(&mut self, effects: &mut Effects) {
        self.release_held(effects);
        self.decide_pending(effects);
    }

    /// Names the `privacy.key` without telling it; `None` without one.
    pub fn privacy_fingerprint(&self) -> Option<String> {
        crate::privacy::fingerprint(self.privacy.as_deref())
    }

    fn event(&mut self, arrived: &mut Arrived, effects: &mut Effects) {
        if self.held.first().is_some_and(|held| held.event.ts_ms != arrived.event.ts_ms) {
            self.release_held(effects);
        }
        // Before anything is made known or forgotten: an event that was seen leaves no trace.
        match self.recognise(arrived) {
            Seen::New => {}
            Seen::Redelivered => {
                self.counts.redelivered += 1;
                return;
            }
            Seen::Conflict(derived) => {
                self.counts.event_id_conflicts += 1;
                arrived.take_under(derived);
            }
        }
        if self.strict_ties {
            if self.held.len() >= TIE_GROUP_MAX {
                self.counts.ties_cut += 1;
                self.release_held(effects);
            }
            self.store_keys(arrived);
            let hashes = &arrived.hashes;
            self.held_ids.insert((hashes.event, hashes.account), hashes.content);
            self.held.push(arrived.clone());
            return;
        }
        self.tell_time(arrived);
        match self.resolve(arrived, Keep::WithinBound) {
            Some(resolved) => {
                let hits = self.schema.hits(&arrived.event);
                let mut vector = std::mem::take(&mut self.vector);
                let evidence = self.extract(arrived, &resolved, &hits, &mut vector);
                self.offer(arrived, resolved.account, &vector, effects);
                self.apply(arrived, &resolved, &hits, &vector, evidence);
                self.vector = vector;
            }
            None => self.take_unkept(arrived, effects),
        }
        self.drop_emptied(true);
        self.sweep_when_due(1);
    }

    /// Lets the clock hear an event, and sets the moment as of which the event counts.
    pub(crate) fn tell_time(&mut self, arrived: &mut Arrived) {
        let said_ms = arrived.event.ts_ms;
        if arrived.capped {
            arrived.event.ts_ms = self.clocks.cap(arrived.source, said_ms);
        } else {
            let account = arrived.hashes.account;
            arrived.event.ts_ms = self.clocks.hear(arrived.source, account, said_ms);
        }
        self.time_moved();
        self.look_from(arrived, said_ms);
    }

    fn time_moved(&mut self) {
        let now_ms = self.clocks.now_ms();
        self.first_ms.get_or_insert(now_ms);
        self.graph.advance(now_ms);
    }

    /// Sets the moment as of which the columns of an event are read that says `said_ms`. The first event behind a pause
    /// is ahead of the clock as one with a wrong clock is: it meets the account as it would be then. What follows
    /// counts as of now until the clock moves, so that nobody acts out of sight of his own windows.
    fn look_from(&self, arrived: &mut Arrived, said_ms: i64) {
        let now_ms = arrived.event.ts_ms;
        arrived.ahead = said_ms > now_ms;
        arrived.read_ms = now_ms;
        if arrived.ahead && !arrived.capped && !self.was_ahead(arrived.hashes.account) {
            arrived.read_ms = said_ms.min(now_ms.saturating_add(self.jump_max_ms));
        }
    }

    /// Begins the stream's time; without effect once an event was taken. See [`Clock::opening`](crate::Clock::opening).
    pub fn begin_at(&mut self, ts_ms: i64) {
        self.clocks.begin(ts_ms);
    }

    pub(crate) fn reject_full(&mut self, arrived: &Arrived, effects: &mut Effects) {
        self.counts.rejects += 1;
        effects.rejects.push((arrived.source, full()));
    }

    /// As [`Self::tell_time`], for the events of a group: they all count as of one moment, whatever their order.
    fn tell_time_of_group(&mut self, group: &mut [Arrived]) {
        let Some(said_ms) = group.first().map(|arrived| arrived.event.ts_ms) else { return };
        let mut voices: Vec<(u64, SourceRef)> =
            group.iter().filter(|a| !a.capped).map(|a| (a.hashes.account, a.source)).collect();
        voices.sort_unstable_by_key(|(account, _)| *account);
        for (account, source) in voices {
            self.clocks.hear(source, account, said_ms);
        }
        for arrived in group.iter_mut() {
            arrived.event.ts_ms = self.clocks.cap(arrived.source, said_ms);
        }
        self.time_moved();
        for arrived in group {
            self.look_from(arrived, said_ms);
        }
    }

    /// Closes a tie group: first all of its keys are made known (and what has expired is met as new), then
    /// all of its events are looked at, then all take effect, in their order.
    pub(crate) fn release_held(&mut self, effects: &mut Effects) {
        if self.held.is_empty() {
            return;
        }
        let mut group = std::mem::take(&mut self.held);
        self.held_ids.clear();
        self.tell_time_of_group(&mut group);
        let known: Vec<Option<Resolved>> =
            group.iter().map(|arrived| self.resolve(arrived, Keep::WithinBound)).collect();
        let mut vector = std::mem::take(&mut self.vector);
        let mut seen = Vec::with_capacity(group.len());
        for (arrived, resolved) in group.iter().zip(&known) {
            let Some(resolved) = resolved else {
                self.take_unkept(arrived, effects);
                seen.push((Vec::new(), None));
                continue;
            };
            let hits = self.schema.hits(&arrived.event);
            let evidence = self.extract(arrived, resolved, &hits, &mut vector);
            self.offer(arrived, resolved.account, &vector, effects);
            seen.push((if self.meets { vector.clone() } else { Vec::new() }, evidence));
        }
        for ((arrived, resolved), (vector, evidence)) in group.iter().zip(&known).zip(seen) {
            let Some(resolved) = resolved else { continue };
            let hits = self.schema.hits(&arrived.event);
            self.apply(arrived, resolved, &hits, &vector, evidence);
        }
        self.vector = vector;
        self.drop_emptied(true);
        self.sweep_when_due(group.len() as u32);
    }

    /// Ids for all keys of an event; new keys are made known, as far as `keep` lets them be. What is not made known is absent. `None`, and
    /// nothing was changed, when the account itself is not.
    pub(crate) fn resolve(&mut self, arrived: &Arrived, keep: Keep) -> Option<Resolved> {
        let Arrived { event, hashes, .. } = arrived;
        self.look_at_memory(keep);
        let account = self.intern_account(hashes.account, &event.account, event.ts_ms)?;
        let mut resolved = Resolved {
            account,
            others: SmallVec::from_elem(None, self.role_kinds.len()),
            peers: SmallVec::new(),
            entities: SmallVec::new(),
            keys: SmallVec::new(),
        };
        resolved.keys.push(DistinctKey { what: DistinctKey::ACCOUNT, hash: hashes.public.account });
        if let (Some(target), Some(hash)) = (&event.target, hashes.target) {
            let public = hashes.public.target.unwrap_or(hash);
            resolved.keys.push(DistinctKey { what: DistinctKey::TARGET, hash: public });
            match self.intern_account(hash, target, event.ts_ms) {
                Some(other) => {
                    if let Some(slot) = self.role_kinds.iter().position(Option::is_none) {
                        resolved.others[slot] = Some(other);
                    }
                    resolved.peers.push(other);
                }
                None => self.counts.keys_not_kept += 1,
            }
        }
        let both = hashes.entities.iter().zip(&hashes.public.entities);
        for (entity, (&hash, &public)) in event.entities.iter().zip(both) {
            let kind = usize::from(entity.kind.0);
            resolved.keys.push(DistinctKey::of(entity.kind, public));
            let Some(is_thing) = self.kinds.get(kind).map(Option::is_some) else { continue };
            if is_thing {
                match self.intern_entity(kind, hash, arrived, &entity.key, &resolved) {
                    Some(id) => resolved.entities.push((entity.kind.0, id)),
                    None => self.counts.keys_not_kept += 1,
                }
                continue;
            }
            let Some(other) = self.intern_account(hash, &entity.key, event.ts_ms) else {
                self.counts.keys_not_kept += 1;
                continue;
            };
            let slot = self.role_kinds.iter().position(|k| *k == Some(entity.kind));
            if let Some(slot) = slot
                && resolved.others[slot].is_none()
            {
                resolved.others[slot] = Some(other);
            }
            if !resolved.peers.contains(&other) {
                resolved.peers.push(other);
            }
        }
        Some(resolved)
    }

    fn intern_account(&mut self, hash: u64, key: &str, ts_ms: i64) -> Option<u32> {
        if let Some(id) = self.accounts.keys.find(hash) {
            if !self.account_expired(id, ts_ms) {
                return Some(id);
            }
            // Forgetting it makes the room that it needs.
            self.expire_account(id);
        } else if !self.account_fits(key) {
            return None;
        }
        let id = self.accounts.keys.add(hash, key.into())?;
        self.accounts.make_room(id);
        self.accounts.dirty.mark(id);
        self.graph.add_account(id, self.public_hasher.hash(ACCOUNT_DOMAIN, key));
        Some(id)
    }

    fn intern_entity(
        &mut self,
        kind: usize,
        hash: u64,
        arrived: &Arrived,
        key: &str,
        resolved: &Resolved,
    ) -> Option<u32> {
        if let Some(id) = self.kinds[kind].as_ref()?.keys.find(hash) {
            if !self.entity_expired(kind, id, arrived.event.ts_ms) {
                return Some(id);
            }
            self.counts.expired_entities += 1;
            self.forget_entity(kind, id);
        } else if !self.thing_fits(kind, key, resolved) {
            return None;
        }
        let text = match self.privacy.as_deref().filter(|_| !arrived.stored) {
            Some(secret) => crate::privacy::pseudonym(secret, key).into(),
            None => key.into(),
        };
        let entities = self.kinds[kind].as_mut()?;
        let id = entities.keys.add(hash, text)?;
        entities.profiles.grow(id + 1);
        entities.dirty.mark(id);
        Some(id)
    }

    /// Counts an event that was taken.
    pub(crate) fn count_event(&mut self, arrived: &Arrived) {
        self.counts.events += 1;
        self.counts.malformed_keys += u64::from(arrived.malformed);
        self.counts.ignored_keys += u64::from(arrived.ignored);
        self.counts.ahead += u64::from(arrived.ahead);
        if self.clocks.now_ms().saturating_sub(arrived.event.ts_ms) > self.lateness_max_ms {
            self.counts.too_late += 1;
        }
    }

    /// Lets an event take effect on profiles, graph and the index of recent events.
    fn apply(
        &mut self,
        arrived: &Arrived,
        resolved: &Resolved,
        hits: &CounterHits,
        vector: &[f32],
        evidence: Option<u8>,
    ) {
        let Arrived { event, hashes, .. } = arrived;
        let now_ms = self.clocks.now_ms();
        self.count_event(arrived);
        if self.strict_ties {
            // Since its keys were made known, other events of the group have taken effect.
            self.look_at_memory(Keep::WithinBound);
        }
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
            let profile = self.accounts.acting.get_mut(account);
            layout.observe(profile, &seen);
            layout.note_ahead(profile, arrived.ahead);
        }
        self.accounts.dirty.mark(account);
        let values = self.neighbour_values(Role::TARGET, Some(Source::Acting), vector);
        if let Some(layout) = self.schema.layout(Role::TARGET) {
            let seen = Observation { neighbour: &values, ..seen };
            for &peer in &resolved.peers {
                if !self.may_receive(peer) {
                    continue;
                }
                layout.observe(self.accounts.received_mut(peer, layout), &seen);
                self.accounts.dirty.mark(peer);
            }
        }
        for &(kind, id) in &resolved.entities {
            let Some(role) = self.schema.kinds().get(usize::from(kind)).map(|k| k.role) else {
                continue;
            };
            let values = self.neighbour_values(role, Some(Source::Acting), vector);
            if let (Some(layout), Some(entities)) =
                (self.schema.layout(role), self.kinds[usize::from(kind)].as_mut())
            {
                let seen = Observation { neighbour: &values, ..seen };
                layout.observe(entities.profiles.get_mut(id), &seen);
                entities.dirty.mark(id);
            }
        }

        let peers = resolved.peers.iter().map(|peer| Node::account(*peer));
        let things = resolved.entities.iter().map(|(kind, id)| self.nodes.node(*kind, *id));
        if self.strict_ties {
            let peers = peers
                .clone()
                .filter(|n| self.config.graph.target_links && *n != Node::account(account));
            for node in peers.chain(things.clone()) {
                if self.may_link(account, node) {
                    self.graph.touch(account, node, self.linked_ms(event.ts_ms));
                } else {
                    self.counts.keys_not_kept += 1;
                }
            }
            self.graph.refresh_suspicion(account);
        }
        if let Some(evidence) = evidence {
            self.graph.set_evidence(account, evidence);
        }
        let nodes: SmallVec<[KnownNode; 4]> =
            peers.chain(things).map(|node| self.known(node)).collect();
        let remembered = Remembered {
            event_hash: hashes.event,
            account_hash: hashes.account,
            content: hashes.content,
            account,
            ts_ms: event.ts_ms,
            derived: arrived.derived,
            finding: None,
            nodes,
        };
        self.recent.insert(remembered, now_ms);
        for &(kind, id) in &resolved.entities {
            let is_new = self.watch(usize::from(kind), id);
            self.counts.suspected_placeholders += u64::from(is_new);
        }
    }

    /// Whether a thing is newly out of line with its kind, as it is linked now.
    fn watch(&mut self, kind: usize, id: u32) -> bool {
        let Some(entities) = self.kinds.get(kind).and_then(Option::as_ref) else { return false };
        let hash = entities.keys.hash_of(id);
        let accounts = self.graph.entity(self.nodes.node(kind as u8, id)).map_or(0, |e| e.degree);
        self.outliers.observe(kind, hash, accounts)
    }

    /// As if all things had been watched from the first event on: for states that were saved without that.
    pub(crate) fn watch_all(&mut self) {
        for kind in 0..self.kinds.len() {
            let bound = self.kinds[kind].as_ref().map_or(0, |entities| entities.keys.bound());
            for id in 0..bound {
                if self.kinds[kind].as_ref().is_some_and(|entities| entities.keys.is_live(id)) {
                    self.watch(kind, id);
                }
            }
        }
        self.outliers.nothing_told();
    }

    /// When an event's links count as touched. Who came first decides what others' labels say of an account, so an
    /// event that is too late cannot claim to have been first.
    pub(crate) fn linked_ms(&self, ts_ms: i64) -> i64 {
        ts_ms.max(self.clocks.now_ms().saturating_sub(self.lateness_max_ms))
    }

    /// A node with what shows later whether its id still stands for the same key.
    pub(crate) fn known(&self, node: Node) -> KnownNode {
        KnownNode {
            node,
            check: self.keys_of(node).map_or(0, |keys| keys.hash_of(node.index()) as u32),
        }
    }

    pub(crate) fn keys_of(&self, node: Node) -> Option<&Interner> {
        match self.nodes.kind_of(node) {
            None => Some(&self.accounts.keys),
            Some(kind) => self.kinds.get(kind)?.as_ref().map(|k| &k.keys),
        }
    }

    /// The node, if its id still stands for the same key.
    pub(crate) fn still(&self, known: &KnownNode) -> Option<Node> {
        let keys = self.keys_of(known.node)?;
        let id = known.node.index();
        (keys.is_live(id) && keys.hash_of(id) as u32 == known.check).then_some(known.node)
    }

    /// Values of the other side (`of`) for a role's running means.
    fn neighbour_values(
        &self,
        role: Role,
        of: Option<Source>,
        vector: &[f32],
    ) -> SmallVec<[f32; 16]> {
        if !self.meets {
            return SmallVec::new();
        }
        let columns = self.schema.neighbour_columns(role).iter();
        columns.map(|&c| of.map_or(f32::NAN, |of| value_of(&self.parts, of, c, vector))).collect()
    }
}

pub(crate) fn full() -> Reject {
    Reject::new(RejectCode::Full, "all ids of a kind are taken; shorten the lifetimes (ttl)")
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
