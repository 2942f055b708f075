//! The shards' twin in memory: what the scripts do, in Rust, and what a Redis does that nobody wants. It knows
//! what was made durable, loses what was not, and can be set back. Rules of the protocol can be switched off, to see
//! that the checks of it find something.

use super::call::{Call, CallError, Change, Durable, Guard, Item, Reply, Step};
use super::names::{Keys, Name};
use super::protocol::{FORMAT, Header, Tag};
use super::record::Record;
use super::shards::{EachRecord, Shards};
use std::cell::RefCell;
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
    /// The envelopes, by key.
    pub records: BTreeMap<String, Vec<u8>>,
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
        Step::Chunk { base, tag, items } => {
            for item in items {
                put(&mut state.records, *base, *tag, item, rules);
            }
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
    }
    state.header.seq += 1;
    Reply::Done
}

fn put(records: &mut BTreeMap<String, Vec<u8>>, base: Tag, tag: Tag, item: &Item, rules: Rules) {
    let old = records.get(&item.key).cloned().unwrap_or_default();
    let old = Record::read(&old).unwrap_or_default();
    // "The newest other one" is what is at or below the newest tag that can be.
    let kept = match rules.keep_base {
        true => base,
        false => {
            let other = old.versions().map(|(t, _)| t).filter(|t| *t != tag).max();
            other.unwrap_or(base)
        }
    };
    let new = match &item.change {
        Change::Write(value) => old.put(kept, tag, Some(value)),
        Change::Delete if !rules.tombstones => None,
        Change::Delete => old.put(kept, tag, None),
        Change::Tidy => old.tidy(base),
        Change::Erase => None,
    };
    match new.map(|new| new.to_bytes()) {
        Some(bytes) => {
            records.insert(item.key.clone(), bytes);
        }
        None => {
            records.remove(&item.key);
        }
    }
}

/// What befalls a call on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Nothing.
    Arrives,
    /// It is executed, the reply is lost.
    ReplyLost,
    /// It is executed later, if ever; the caller hears nothing.
    Late,
}

/// Decides what befalls a call on a shard.
pub type Fates = Box<dyn FnMut(u16, &Call) -> Fate>;

/// One process's view of the twin.
pub struct Client {
    /// The twin, shared.
    pub twin: Rc<RefCell<Twin>>,
    /// Calls on their way.
    pub late: Rc<RefCell<Vec<(u16, Call)>>>,
    /// What befalls the next calls.
    pub fate: Fates,
    /// The crash count under which each shard's last answered call was carried.
    carried: BTreeMap<u16, u32>,
}

impl Client {
    /// A client that nothing befalls.
    pub fn new(twin: &Rc<RefCell<Twin>>) -> Self {
        Self {
            twin: twin.clone(),
            late: Rc::default(),
            fate: Box::new(|_, _| Fate::Arrives),
            carried: BTreeMap::new(),
        }
    }
}

fn lost() -> CallError {
    CallError::Unknown { place: "the twin".to_owned(), why: "the reply was lost".to_owned() }
}

impl Shards for Client {
    fn count(&self) -> u16 {
        self.twin.borrow().shards.len() as u16
    }

    fn key(&self, name: &Name) -> String {
        self.twin.borrow().keys().record(name)
    }

    fn call(&mut self, shard: u16, call: &Call) -> Result<Reply, CallError> {
        match (self.fate)(shard, call) {
            Fate::Arrives => {
                let mut twin = self.twin.borrow_mut();
                let reply = twin.call(shard, call);
                self.carried.insert(shard, twin.shards[usize::from(shard)].crashes);
                Ok(reply)
            }
            Fate::ReplyLost => {
                self.twin.borrow_mut().call(shard, call);
                self.carried.remove(&shard);
                Err(lost())
            }
            Fate::Late => {
                self.late.borrow_mut().push((shard, call.clone()));
                self.carried.remove(&shard);
                Err(lost())
            }
        }
    }

    fn wait(&mut self, shard: u16) -> Result<Durable, CallError> {
        let mut twin = self.twin.borrow_mut();
        if !twin.waitaof {
            return Ok(Durable::Unsupported);
        }
        if self.carried.get(&shard) != Some(&twin.shards[usize::from(shard)].crashes) {
            // A connection that wrote nothing has nothing to wait for.
            return if twin.rules.same_connection { Err(lost()) } else { Ok(Durable::Yes) };
        }
        twin.wait(shard);
        Ok(Durable::Yes)
    }

    fn header(&mut self, shard: u16) -> Result<Header, CallError> {
        Ok(self.twin.borrow().now(shard).header.clone())
    }

    fn records(&mut self, each: &mut EachRecord<'_>) -> Result<(), CallError> {
        let twin = self.twin.borrow().clone();
        let keys = twin.keys();
        for shard in 0..self.count() {
            for (key, bytes) in &twin.now(shard).records {
                let Some((_, name)) = keys.name(key.as_bytes()) else { continue };
                each(shard, name, bytes)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, name: &Name) -> Result<Option<Vec<u8>>, CallError> {
        let twin = self.twin.borrow();
        let shard = name.shard(twin.shards.len() as u16);
        Ok(twin.now(shard).records.get(&twin.keys().record(name)).cloned())
    }

    fn alive(&mut self) -> Result<Option<String>, CallError> {
        let twin = self.twin.borrow();
        let alive = twin.alive.as_ref().filter(|(_, until)| *until > twin.now_ms);
        Ok(alive.map(|(owner, until)| format!("{owner}:{until}")))
    }

    fn set_reading(&mut self, _: u64) -> Result<(), CallError> {
        Ok(())
    }

    fn reading(&mut self) -> Result<bool, CallError> {
        Ok(false)
    }

    fn layout(&mut self, _: &str) -> Result<Option<String>, CallError> {
        Ok(None)
    }

    fn publish_layout(&mut self, _: &str, _: &str) -> Result<(), CallError> {
        Ok(())
    }
}
