//! The whole state as records: what changed goes out, what was saved comes back. An engine that was loaded
//! goes on exactly as the saved one would have.
//!
//! Keys: `a` account, `e` entity of a kind, `l` line of the link graph, `p` policy state, `r` chunk of recent
//! events, `c` clocks, `g` globals. Ids are kept, so that nothing depends on the order of loading.

use crate::arrived::HeldV1;
use crate::carry::Carry;
use crate::effects::Counts;
use crate::intern::Interner;
use crate::limits::{IDS_LOADED_MIN, IDS_MAX, IDS_PER_RECORD, IDS_UNUSED_MIN, IDS_UNUSED_PER_KEY};
use crate::named::Name;
use crate::outliers::Outliers;
use crate::policy::{AccountPolicyState, CapState};
use crate::state::Standing;
use crate::step::Engine;
use features::layout::Role;
use graph::Node;
use serde::{Deserialize, Serialize};

/// Version of all records together. 2: events are recognised by their content, too, and what the clocks heard is kept.
const FORMAT: u32 = 2;
/// The oldest version that is read.
const FORMAT_MIN: u32 = 1;

/// A record that cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("a record of {what} is damaged or of another version: {why}")]
pub struct LoadError {
    what: &'static str,
    why: String,
}

pub(crate) fn damaged(what: &'static str, why: impl ToString) -> LoadError {
    LoadError { what, why: why.to_string() }
}

/// What belongs to no record.
#[derive(Debug, Serialize, Deserialize)]
struct Globals {
    format: u32,
    watermark_ms: i64,
    first_ms: Option<i64>,
    counts: Counts,
    sweep_at: u32,
    unswept: u32,
    recent_front: u64,
    account_ids: u32,
    entity_ids: Vec<u32>,
    caps: Vec<u8>,
    graph: Vec<u8>,
    held: Vec<HeldV1>,
    /// 16 bytes as hex. Absent in states that look keys up by hashes which are the same for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    look_up_key: Option<String>,
    /// Absent in states that did not watch for placeholders.
    #[serde(default)]
    outliers: Option<Outliers>,
}

pub(crate) fn key(tag: u8, kind: u8, id: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(10);
    key.extend([tag, kind]);
    key.extend(id.to_be_bytes());
    key
}

pub(crate) fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

/// Writes a part with its length before it.
pub(crate) fn framed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0; 4]);
    write(out);
    let length = (out.len() - at - 4) as u32;
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    Some(head)
}

pub(crate) fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    take(rest, N)?.try_into().ok()
}

pub(crate) fn get<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let n = u32::from_le_bytes(take_array(rest)?) as usize;
    take(rest, n)
}

impl Engine {
    /// Hands over everything that changed since the last call: key and bytes, or `None` for what is gone.
    /// Call it between steps.
    pub fn save_changes(&mut self, save: &mut dyn FnMut(Vec<u8>, Option<Vec<u8>>)) {
        let (graph_accounts, graph_entities) = self.graph.take_dirty();
        for id in graph_accounts {
            self.accounts.dirty.mark(id);
        }
        for id in self.accounts.dirty.take() {
            let live = self.accounts.keys.is_live(id);
            save(key(b'a', 0, id.into()), live.then(|| self.account_record(id)));
        }
        for kind in 0..self.kinds.len() {
            let dirty = self.kinds[kind].as_mut().map(|k| k.dirty.take()).unwrap_or_default();
            for id in dirty {
                save(key(b'e', kind as u8, id.into()), self.entity_record(kind, id));
            }
        }
        for node in graph_entities {
            let mut out = Vec::new();
            let there = self.graph.save_entity(node, &mut out);
            save(key(b'l', 0, node.to_bits().into()), there.then_some(out));
        }
        for hash in std::mem::take(&mut self.deciding.dirty) {
            let state = self.deciding.states.get(&hash).map(|s| s.to_bytes());
            save(key(b'p', 0, hash), state);
        }
        for (chunk, bytes) in self.recent.take_dirty() {
            save(key(b'r', 0, chunk), bytes);
        }
        save(key(b'c', 0, 0), Some(self.clocks.saved(&self.topics)));
        save(key(b'g', 0, 0), Some(self.globals_record()));
    }

    /// What belongs to no record of its own.
    pub(crate) fn globals_record(&self) -> Vec<u8> {
        let mut graph = Vec::new();
        self.graph.save_globals(&mut graph);
        let globals = Globals {
            format: FORMAT,
            watermark_ms: self.clocks.now_ms(),
            first_ms: self.first_ms,
            counts: self.counts,
            sweep_at: self.sweep_at,
            unswept: self.unswept,
            recent_front: self.recent.front(),
            account_ids: self.accounts.keys.bound(),
            entity_ids: self
                .kinds
                .iter()
                .map(|k| k.as_ref().map_or(0, |k| k.keys.bound()))
                .collect(),
            caps: self.deciding.caps.to_bytes().to_vec(),
            graph,
            held: self.held.iter().map(HeldV1::new).collect(),
            look_up_key: self.look_up_key.map(|key| crate::wire::hex(&key)),
            outliers: Some(self.outliers.clone()),
        };
        // Serialising to memory does not fail.
        serde_json::to_vec(&globals).unwrap_or_default()
    }

    /// A thing's key and profile; `None` when its id is free.
    pub(crate) fn entity_record(&self, kind: usize, id: u32) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(512);
        self.write_entity(kind, id, &mut out).then_some(out)
    }

    /// As [`Self::entity_record`], behind what is in `out`. False: its id is free.
    pub(crate) fn write_entity(&self, kind: usize, id: u32, out: &mut Vec<u8>) -> bool {
        let Some(entities) = self.kinds[kind].as_ref().filter(|k| k.keys.is_live(id)) else {
            return false;
        };
        out.extend(entities.keys.hash_of(id).to_le_bytes());
        put(out, entities.keys.text(id).as_bytes());
        put(out, entities.profiles.get(id));
        true
    }

    pub(crate) fn account_record(&self, id: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.accounts.acting.get(id).len());
        self.write_account(id, &mut out);
        out
    }

    /// An account's key, verdict, profiles and links, behind what is in `out`.
    pub(crate) fn write_account(&self, id: u32, out: &mut Vec<u8>) {
        let accounts = &self.accounts;
        out.extend(accounts.keys.hash_of(id).to_le_bytes());
        put(out, accounts.keys.text(id).as_bytes());
        let Standing { verdict, since_ms } = accounts.standing[id as usize];
        out.push(verdict);
        out.extend(since_ms.to_le_bytes());
        put(out, accounts.acting.get(id));
        put(out, accounts.received(id).unwrap_or_default());
        framed(out, |out| {
            self.graph.save_account(id, out);
        });
    }

    /// Begins loading into a fresh engine.
    pub fn loading(&mut self) -> Loading<'_> {
        Loading {
            engine: self,
            taken: 0,
            far: Vec::new(),
            chunks: Vec::new(),
            globals: None,
            clocks: None,
            carry: None,
        }
    }
}

/// Takes saved records, in any order.
pub struct Loading<'a> {
    pub(crate) engine: &'a mut Engine,
    /// Accounts and entities so far.
    taken: u64,
    /// Those whose ids are far above that, until globals say how many ids there are.
    pub(crate) far: Vec<Far>,
    chunks: Vec<(u64, Vec<u8>)>,
    globals: Option<Globals>,
    clocks: Option<Vec<u8>>,
    carry: Option<&'a Carry>,
}

/// A record that waits for globals.
pub(crate) enum Far {
    /// Under its key.
    Keyed(Vec<u8>, Vec<u8>),
    /// Under its name.
    Named(Name, Vec<u8>),
}

/// How many ids have room: as globals say, unless that is far more than keys are in use. What is left out are the highest free
/// ids, which are given out last in any case.
fn bound(keys: &Interner, saved: u32) -> u32 {
    let most = IDS_UNUSED_MIN + IDS_UNUSED_PER_KEY * keys.len() as u64;
    u32::try_from(most).map_or(saved, |most| saved.min(most)).max(keys.bound())
}

impl<'a> Loading<'a> {
    /// Profiles are of an older feature set.
    pub fn carrying(&mut self, carry: &'a Carry) {
        self.carry = Some(carry);
    }
}

/// Puts a saved profile into its place. `None`: it does not fit.
fn put_profile(carry: Option<&Carry>, role: Role, saved: &[u8], place: &mut [u8]) -> Option<()> {
    if let Some(carry) = carry {
        return carry.fill(role, saved, place);
    }
    if place.len() != saved.len() {
        return None;
    }
    place.copy_from_slice(saved);
    Some(())
}

impl Loading<'_> {
    /// Takes one record.
    ///
    /// # Errors
    /// When it is damaged, or of another layout.
    pub fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let (Some(&[tag, kind]), Some(id)) =
            (key.first_chunk::<2>(), key.get(2..10).and_then(|k| k.try_into().ok()))
        else {
            return Err(damaged("the store", "its key has no meaning"));
        };
        let id = u64::from_be_bytes(id);
        let short = u32::try_from(id).ok();
        match (tag, short) {
            (b'a' | b'e', Some(id)) => {
                let kind = (tag == b'e').then_some(kind);
                if !self.has_room(kind, id)? {
                    self.far.push(Far::Keyed(key.to_vec(), value.to_vec()));
                    return Ok(());
                }
                self.taken += 1;
                let (what, taken) = match kind {
                    None => ("an account", self.account(id, value)),
                    Some(kind) => ("an entity", self.entity(kind.into(), id, value)),
                };
                taken.ok_or_else(|| damaged(what, "it does not fit"))
            }
            (b'l', Some(id)) => self
                .engine
                .graph
                .load_entity(Node::from_bits(id), value)
                .map_err(|e| damaged("the link graph", e)),
            (b'p', _) => {
                let state =
                    AccountPolicyState::from_bytes(value).map_err(|e| damaged("the policy", e))?;
                self.engine.deciding.states.insert(id, state);
                Ok(())
            }
            (b'r', _) => {
                self.chunks.push((id, value.to_vec()));
                Ok(())
            }
            (b'c', _) => {
                self.clocks = Some(value.to_vec());
                Ok(())
            }
            (b'g', _) => {
                let globals: Globals =
                    serde_json::from_slice(value).map_err(|e| damaged("globals", e))?;
                if !(FORMAT_MIN..=FORMAT).contains(&globals.format) {
                    return Err(damaged(
                        "globals",
                        format!(
                            "form {}, this version reads {FORMAT_MIN} to {FORMAT}",
                            globals.format
                        ),
                    ));
                }
                self.globals = Some(globals);
                Ok(())
            }
            _ => Err(damaged("the store", "its key has no meaning")),
        }
    }

    /// Whether an id may have room now: an account's, or one of a kind. False: it is far above what has come, and globals have not.
    pub(crate) fn has_room(&self, kind: Option<u8>, id: u32) -> Result<bool, LoadError> {
        let Some(globals) = &self.globals else {
            return Ok(u64::from(id) < IDS_LOADED_MIN + IDS_PER_RECORD * self.taken);
        };
        let (what, bound) = match kind {
            None => ("an account", globals.account_ids),
            // Kinds may have another order since; the largest bound holds for all of them.
            Some(_) => ("an entity", globals.entity_ids.iter().copied().max().unwrap_or_default()),
        };
        if id >= bound || id > IDS_MAX {
            return Err(damaged(what, format!("id {id} where globals have {bound}")));
        }
        Ok(true)
    }

    fn account(&mut self, id: u32, mut rest: &[u8]) -> Option<()> {
        let engine = &mut *self.engine;
        let hash = u64::from_le_bytes(take_array(&mut rest)?);
        let text = std::str::from_utf8(get(&mut rest)?).ok()?;
        let [verdict] = take_array(&mut rest)?;
        let since_ms = i64::from_le_bytes(take_array(&mut rest)?);
        let acting = get(&mut rest)?;
        let received = get(&mut rest)?;
        let graph = get(&mut rest)?;
        if !engine.accounts.keys.restore(id, hash, text.into()) {
            return None;
        }
        engine.accounts.make_room(id);
        engine.accounts.standing[id as usize] = Standing { verdict, since_ms };
        let place = engine.accounts.acting.get_mut(id);
        put_profile(self.carry, Role::ACCOUNT, acting, place)?;
        if !received.is_empty() {
            let layout = engine.schema.layout(Role::TARGET)?;
            let place = engine.accounts.received_mut(id, layout);
            put_profile(self.carry, Role::TARGET, received, place)?;
        }
        engine.graph.load_account(id, graph).ok()
    }

    fn entity(&mut self, kind: usize, id: u32, mut rest: &[u8]) -> Option<()> {
        let entities = self.engine.kinds.get_mut(kind)?.as_mut()?;
        let hash = u64::from_le_bytes(take_array(&mut rest)?);
        let text = std::str::from_utf8(get(&mut rest)?).ok()?;
        let profile = get(&mut rest)?;
        if !entities.keys.restore(id, hash, text.into()) {
            return None;
        }
        entities.profiles.grow(id + 1);
        let role = self.engine.schema.kinds().get(kind)?.role;
        put_profile(self.carry, role, profile, entities.profiles.get_mut(id))
    }

    /// Ends loading: what is derived from records is made.
    ///
    /// # Errors
    /// When globals are absent or do not fit the records.
    pub fn finish(mut self) -> Result<(), LoadError> {
        let absent = || damaged("globals", "it is absent");
        if self.globals.is_none() {
            return Err(absent());
        }
        for far in std::mem::take(&mut self.far) {
            match far {
                Far::Keyed(key, value) => self.record(&key, &value)?,
                Far::Named(name, value) => self.named(&name, &value)?,
            }
        }
        // What came before globals, too.
        let highest = |keys: &Interner| keys.bound().checked_sub(1);
        if let Some(id) = highest(&self.engine.accounts.keys) {
            self.has_room(None, id)?;
        }
        for (kind, entities) in (0..).zip(&self.engine.kinds) {
            if let Some(id) = entities.as_ref().and_then(|entities| highest(&entities.keys)) {
                self.has_room(Some(kind), id)?;
            }
        }
        let globals = self.globals.take().ok_or_else(absent)?;
        let engine = self.engine;
        // Records have the hashes of their keys.
        let key = match &globals.look_up_key {
            Some(hex) => Some(
                crate::wire::bytes_of_hex(hex)
                    .filter(|_| engine.privacy.is_none())
                    .ok_or_else(|| damaged("globals", "the look-up key does not fit"))?,
            ),
            None => None,
        };
        engine.set_look_up_key(key);
        let keys = &mut engine.accounts.keys;
        let ids = bound(keys, globals.account_ids);
        keys.seal(ids);
        if let Some(last) = keys.bound().checked_sub(1) {
            engine.accounts.make_room(last);
        }
        for (kind, saved) in engine.kinds.iter_mut().zip(&globals.entity_ids) {
            if let Some(kind) = kind {
                let ids = bound(&kind.keys, *saved);
                kind.keys.seal(ids);
                kind.profiles.grow(kind.keys.bound());
            }
        }
        self.chunks.sort_by_key(|(number, _)| *number);
        engine
            .recent
            .restore(globals.recent_front, &self.chunks, self.carry.is_some())
            .map_err(|e| damaged("recent events", e))?;
        engine.graph.load_globals(&globals.graph).map_err(|e| damaged("the link graph", e))?;
        engine.graph.rebuild_components();
        engine.deciding.caps =
            CapState::from_bytes(&globals.caps).map_err(|e| damaged("the caps", e))?;
        match &self.clocks {
            Some(saved) => engine
                .clocks
                .restore(globals.watermark_ms, saved, &engine.topics)
                .ok_or_else(|| damaged("the clocks", "they do not fit the time in globals"))?,
            None if globals.format == FORMAT_MIN => {
                engine.clocks.restore_watermark(globals.watermark_ms);
            }
            None => return Err(damaged("the clocks", "they are absent")),
        }
        engine.first_ms = globals.first_ms;
        engine.counts = globals.counts;
        match globals.outliers {
            Some(saved) => engine.outliers.restore(saved),
            None => engine.watch_all(),
        }
        engine.sweep_at = globals.sweep_at;
        engine.unswept = globals.unswept;
        engine.held = globals.held.iter().map(|held| engine.held_again(held)).collect();
        engine.held_ids = engine
            .held
            .iter()
            .map(|h| ((h.hashes.event, h.hashes.account), h.hashes.content))
            .collect();
        // Things without links stayed on purpose.
        engine.drop_unlinked_accounts();
        // Loading marks what it touches; nothing of it has changed.
        engine.accounts.dirty.take();
        for kind in engine.kinds.iter_mut().flatten() {
            kind.dirty.take();
        }
        engine.graph.take_dirty();
        Ok(())
    }
}
