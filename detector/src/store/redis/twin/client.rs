//! One process's view of the twin.

use super::super::call::{Call, CallError, Durable, Reply};
use super::super::names::Name;
use super::super::protocol::Header;
use super::super::shards::{EachName, EachRecord, Shards};
use super::Twin;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

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
            for (name, bytes) in twin.now(shard).indexed(&keys, shard) {
                each(shard, name, &bytes)?;
            }
        }
        Ok(())
    }

    fn names(&mut self, each: &mut EachName<'_>) -> Result<(), CallError> {
        let twin = self.twin.borrow();
        let keys = twin.keys();
        let all = twin.shards.iter().flat_map(|shard| shard.history.last());
        for key in all.flat_map(|state| state.records.keys()) {
            keys.name(key.as_bytes()).into_iter().for_each(|(_, name)| each(name));
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
