//! The whole state as records: what changed goes out, what was saved comes back. An engine that was loaded
//! goes on exactly as the saved one would have.
//!
//! Keys: `a` account, `e` entity of a kind, `l` line of the link graph, `p` policy state, `r` chunk of recent
//! events, `g` globals. Ids are kept, so that nothing depends on the order of loading.

use crate::arrived::HeldV1;
use crate::carry::Carry;
use crate::effects::Counts;
use crate::policy::{AccountPolicyState, CapState};
use crate::state::Standing;
use crate::step::Engine;
use features::layout::Role;
use graph::Node;
use serde::{Deserialize, Serialize};

/// Version of all records together.
const FORMAT: u32 = 1;

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
            let state = self.deciding.states.get(&hash).map(|s| s.to_bytes().to_vec());
            save(key(b'p', 0, hash), state);
        }
        for (chunk, bytes) in self.recent.take_dirty() {
            save(key(b'r', 0, chunk), bytes);
        }
        save(key(b'g', 0, 0), Some(self.globals_record()));
    }

    /// What belongs to no record of its own.
    pub(crate) fn globals_record(&self) -> Vec<u8> {
        let mut graph = Vec::new();
        self.graph.save_globals(&mut graph);
        let globals = Globals {
            format: FORMAT,
            watermark_ms: self.watermark_ms,
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
        Loading { engine: self, chunks: Vec::new(), globals: None, carry: None }
    }
}

/// Takes saved records, in any order.
pub struct Loading<'a> {
    pub(crate) engine: &'a mut Engine,
    chunks: Vec<(u64, Vec<u8>)>,
    globals: Option<Globals>,
    carry: Option<&'a Carry>,
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
        match tag {
            b'a' => self
                .account(id as u32, value)
                .ok_or_else(|| damaged("an account", "it does not fit")),
            b'e' => self
                .entity(kind.into(), id as u32, value)
                .ok_or_else(|| damaged("an entity", "it does not fit")),
            b'l' => self
                .engine
                .graph
                .load_entity(Node::from_bits(id as u32), value)
                .map_err(|e| damaged("the link graph", e)),
            b'p' => {
                let state =
                    AccountPolicyState::from_bytes(value).map_err(|e| damaged("the policy", e))?;
                self.engine.deciding.states.insert(id, state);
                Ok(())
            }
            b'r' => {
                self.chunks.push((id, value.to_vec()));
                Ok(())
            }
            b'g' => {
                let globals: Globals =
                    serde_json::from_slice(value).map_err(|e| damaged("globals", e))?;
                if globals.format != FORMAT {
                    return Err(damaged(
                        "globals",
                        format!("form {}, this version reads {FORMAT}", globals.format),
                    ));
                }
                self.globals = Some(globals);
                Ok(())
            }
            _ => Err(damaged("the store", "its key has no meaning")),
        }
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
        let globals = self.globals.take().ok_or_else(|| damaged("globals", "it is absent"))?;
        let engine = self.engine;
        engine.accounts.keys.seal(globals.account_ids);
        if globals.account_ids > 0 {
            engine.accounts.make_room(globals.account_ids - 1);
        }
        for (kind, bound) in engine.kinds.iter_mut().zip(&globals.entity_ids) {
            if let Some(kind) = kind {
                kind.keys.seal(*bound);
                kind.profiles.grow(*bound);
            }
        }
        self.chunks.sort_by_key(|(number, _)| *number);
        engine
            .recent
            .restore(globals.recent_front, &self.chunks)
            .map_err(|e| damaged("recent events", e))?;
        engine.graph.load_globals(&globals.graph).map_err(|e| damaged("the link graph", e))?;
        engine.graph.rebuild_components();
        engine.deciding.caps =
            CapState::from_bytes(&globals.caps).map_err(|e| damaged("the caps", e))?;
        engine.watermark_ms = globals.watermark_ms;
        engine.first_ms = globals.first_ms;
        engine.counts = globals.counts;
        engine.sweep_at = globals.sweep_at;
        engine.unswept = globals.unswept;
        engine.held = globals.held.iter().map(HeldV1::arrived).collect();
        engine.held_ids = engine.held.iter().map(|h| (h.hashes.event, h.hashes.account)).collect();
        // Loading marks what it touches; nothing of it has changed.
        engine.accounts.dirty.take();
        for kind in engine.kinds.iter_mut().flatten() {
            kind.dirty.take();
        }
        engine.graph.take_dirty();
        Ok(())
    }
}
