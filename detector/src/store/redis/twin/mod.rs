//! The shards' twin in memory: what the scripts do, in Rust, and what a Redis does that nobody wants. It knows
//! what was made durable, loses what was not, and can be set back. Rules of the protocol can be switched off, to see
//! that the checks of it find something.

mod client;
mod index;

pub use client::{Client, Fate};

use super::call::{Call, Change, Guard, Item, Reply, Step};
use super::names::{Keys, Name};
use super::protocol::{FORMAT, Header, Tag};
use super::record::Record;
use index::{Changes, Index};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Rules of the protocol that a shard keeps; all of them, unless a test takes one out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// A call has to be the next one of its owner.
    pub chain: bool,
    /// A call has to be the owner's.
    pub owner: bool,
    /// Epoch and owner are looked at on every shard, not only on the first.
    pub everywhere: bool,
    /// Begin withdraws what is no base.
    pub withdraw: bool,
    /// The newest version at or below the base is kept, not simply the newest other one.
    pub keep_base: bool,
    /// A deletion leaves a tombstone.
    pub tombstones: bool,
    /// Two checkpoints are readable at a time.
    pub two_markers: bool,
    /// A first checkpoint withdraws nothing.
    pub first_adds: bool,
    /// The wait behind a claim makes durable.
    pub wait_claim: bool,
    /// Any other wait makes durable.
    pub wait_base: bool,
    /// A wait knows the connection that carried the call.
    pub same_connection: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            chain: true,
            owner: true,
            everywhere: true,
            withdraw: true,
            keep_base: true,
            tombstones: true,
            two_markers: true,
            first_adds: true,
            wait_claim: true,
            wait_base: true,
            same_connection: true,
        }
    }
}

/// What a shard holds at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The header.
    pub header: Header,
    /// The names of the records.
    pub index: Index,
    /// The envelopes, by key.
    pub records: BTreeMap<String, Vec<u8>>,
}

impl State {
    /// The records that the index names, with their names.
    pub fn indexed(&self, keys: &Keys, shard: u16) -> Vec<(Name, Vec<u8>)> {
        let tag = keys.tag(shard);
        let named = self.index.names().filter_map(|rest| {
            let bytes = self.records.get(&format!("{tag}{rest}"))?;
            Some((Name::behind_tag(rest.as_bytes())?, bytes.clone()))
        });
        named.collect()
    }
}

/// One shard: everything that it ever held, the last one being now.
#[derive(Clone, Debug, Hash)]
pub struct Shard {
    history: Vec<Rc<State>>,
    /// What a crash cannot take back: this moment and those before.
    pub durable: usize,
    /// Counts crashes, each of which closes all connections.
    pub crashes: u32,
}

/// The shards, as a Redis that several processes use.
#[derive(Clone, Debug, Hash)]
pub struct Twin {
    /// The shards.
    pub shards: Vec<Shard>,
    /// Which rules hold.
    pub rules: Rules,
    /// Whether a wait is known to the server.
    pub waitaof: bool,
    keys: String,
    /// The owner's sign of life, and until when.
    alive: Option<(String, u64)>,
    /// The time, which passes when a test says so.
    pub now_ms: u64,
}

impl Twin {
    /// An empty one.
    pub fn new(shards: u16) -> Self {
        let shard = Shard { history: vec![Rc::default()], durable: 0, crashes: 0 };
        Self {
            shards: vec![shard; shards.into()],
            rules: Rules::default(),
            waitaof: true,
            keys: "det:".to_owned(),
            alive: None,
            now_ms: 0,
        }
    }

    fn keys(&self) -> Keys {
        Keys { prefix: self.keys.clone(), shards: self.shards.len() as u16 }
    }

    /// What a shard holds now.
    pub fn now(&self, shard: u16) -> &State {
        &self.shards[usize::from(shard)].history[self.shards[usize::from(shard)].history.len() - 1]
    }

    /// How many moments a shard went through.
    pub fn moments(&self, shard: u16) -> usize {
        self.shards[usize::from(shard)].history.len()
    }

    /// The server crashes and comes back with what it held at moment `to`: not before what is durable.
    pub fn crash(&mut self, shard: u16, to: usize) {
        let shard = &mut self.shards[usize::from(shard)];
        assert!(to >= shard.durable, "what is on the disk does not get lost");
        shard.history.truncate(to + 1);
        shard.crashes += 1;
    }

    /// A person restores an older copy: moment `to`, durable or not.
    pub fn restore(&mut self, shard: u16, to: usize) {
        let shard = &mut self.shards[usize::from(shard)];
        shard.history.truncate(to + 1);
        shard.durable = shard.durable.min(to);
        shard.crashes += 1;
    }

    /// A record goes by itself, as one with a time to live does.
    pub fn vanish(&mut self, shard: u16, key: &str) {
        let mut state = self.now(shard).clone();
        state.records.remove(key);
        self.shards[usize::from(shard)].history.push(Rc::new(state));
    }

    /// Forgets older moments, which only a restore could bring back.
    pub fn forget_older(&mut self) {
        for shard in &mut self.shards {
            shard.history.drain(..shard.durable);
            shard.durable = 0;
        }
    }

    /// Executes a call.
    pub fn call(&mut self, shard: u16, call: &Call) -> Reply {
        let mut state = self.now(shard).clone();
        let reply = match call {
            Call::Claim { epoch, owner, shards } => {
                let header = &mut state.header;
                if header.epoch != 0 && header.shards != u32::from(*shards) {
                    Reply::Other(format!("shards {}", header.shards))
                } else if header.epoch >= *epoch {
                    Reply::Refused
                } else {
                    header.epoch = *epoch;
                    header.owner = owner.to_string();
                    header.seq = 0;
                    header.shards = (*shards).into();
                    header.format = FORMAT;
                    Reply::Done
                }
            }
            Call::Beat { epoch, owner, ttl_ms } => {
                let header = &state.header;
                if header.epoch != *epoch || header.owner != owner.to_string() {
                    return Reply::Refused;
                }
                self.alive = (*ttl_ms > 0).then(|| (owner.to_string(), self.now_ms + ttl_ms));
                return Reply::Done;
            }
            Call::Guarded(guard, step) => match self.passes(shard, &state.header, *guard) {
                false => Reply::Refused,
                true => step_on(&mut state, step, self.rules),
            },
        };
        if reply == Reply::Done {
            self.shards[usize::from(shard)].history.push(Rc::new(state));
        }
        reply
    }

    fn passes(&self, shard: u16, header: &Header, guard: Guard) -> bool {
        let looks = self.rules.everywhere || shard == 0;
        let owner = !self.rules.owner || header.owner == guard.owner.to_string();
        (!looks || (header.epoch == guard.epoch && owner))
            && (!self.rules.chain || header.seq == guard.seq)
    }

    /// Makes everything durable that a shard holds.
    pub fn wait(&mut self, shard: u16) {
        // The first link after a claim is its confirmation.
        let behind_claim = self.now(shard).header.seq == 1;
        if if behind_claim { self.rules.wait_claim } else { self.rules.wait_base } {
            let shard = &mut self.shards[usize::from(shard)];
            shard.durable = shard.history.len() - 1;
        }
    }
}

fn step_on(state: &mut State, step: &Step, rules: Rules) -> Reply {
    let header = &mut state.header;
    match step {
        Step::Confirm => {}
        Step::Begin { base } => {
            if !header.readable.contains_key(base) && rules.withdraw {
                return Reply::NoBase;
            }
            if rules.withdraw {
                header.readable.retain(|tag, _| tag == base);
            }
        }
        Step::Chunk { base, tag, block_bytes, items } => {
            let mut changes = Changes::new(*block_bytes);
            for item in items {
                put(state, &mut changes, *base, *tag, item, rules);
            }
            let more = changes.write(&mut state.index);
            state.header.records = state.header.records.saturating_add_signed(more);
        }
        Step::Finish { tag, position } => {
            let others = header.readable.keys().filter(|t| *t != tag).count();
            if others > 1 && rules.withdraw {
                return Reply::NoBase;
            }
            if !rules.two_markers {
                header.readable.clear();
            }
            header.readable.insert(*tag, position.clone());
            // Without begin, the two newest stay.
            while header.readable.len() > 2 {
                header.readable.pop_first();
            }
        }
        Step::First { position } => {
            if !rules.first_adds {
                header.readable.clear();
            }
            if header.readable.is_empty() {
                header.readable.insert(Tag::FIRST, position.clone());
            }
        }
        Step::Withdraw => header.readable.clear(),
        Step::Clear => {
            header.records = 0;
            state.index = Index::default();
        }
    }
    state.header.seq += 1;
    Reply::Done
}

fn put(state: &mut State, changes: &mut Changes, base: Tag, tag: Tag, item: &Item, rules: Rules) {
    let there = state.records.get(&item.key).cloned();
    let (_, name) = item.key.split_once("}:").unwrap_or_default();
    let read = |bytes| Record::read(bytes, &Name::behind_tag(name.as_bytes())?).ok();
    let mut old = there.as_deref().and_then(read).unwrap_or_default();
    // "The newest other one" is what is at or below the newest tag that can be.
    let kept = match rules.keep_base {
        true => base,
        false => {
            let other = old.versions().map(|(t, _)| t).filter(|t| *t != tag).max();
            other.unwrap_or(base)
        }
    };
    let new = match &item.change {
        Change::Write(value) => {
            if there.is_none() {
                old.block = changes.add(&mut state.index, name);
            }
            old.put(kept, tag, Some(value), item.crc)
        }
        Change::Delete if !rules.tombstones => None,
        Change::Delete => old.put(kept, tag, None, item.crc),
        Change::Tidy => old.tidy(base),
        Change::Erase => None,
    };
    match new.map(|new| new.to_bytes()) {
        Some(bytes) => {
            state.records.insert(item.key.clone(), bytes);
        }
        None => {
            // Erased ones keep their names until the index is cleared.
            if there.is_some() && item.change != Change::Erase {
                changes.remove(name, old.block);
            }
            state.records.remove(&item.key);
        }
    }
}
