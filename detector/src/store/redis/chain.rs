//! Rule 8: the chain of guarded calls on each shard, and what is done when a reply is lost.

use super::call::{Call, CallError, Durable, Reply, Step};
use super::error::RedisStoreError;
use super::shards::Shards;
use super::store::{Store, TRIES, lost, unknown};

/// Where a shard's chain stands.
#[derive(Clone, Copy, Default)]
pub(super) struct Link {
    /// Calls known to be taken.
    pub seq: u64,
    /// A further one was sent, and nobody knows what became of it.
    pub unsure: bool,
}

/// How an answer came about: only a direct one says something about the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Directly,
    ByItsNumber,
}

impl<S: Shards> Store<S> {
    /// One link of a shard's chain, resolved by its number when the reply is lost (rule 8).
    pub(super) fn guarded(&mut self, shard: u16, step: &Step) -> Result<(), RedisStoreError> {
        self.link(shard, step).map(|_| ())
    }

    fn link(&mut self, shard: u16, step: &Step) -> Result<Taken, RedisStoreError> {
        let what = step.to_string();
        self.settle(shard, &what)?;
        self.send(shard, step, &what)
    }

    /// A call whose fate is unknown may still arrive, and would take the number of the next one. An empty link
    /// closes the chain behind it.
    fn settle(&mut self, shard: u16, what: &str) -> Result<(), RedisStoreError> {
        let seq = self.held("a guarded call")?.guard(shard).seq;
        if !self.chain(shard).is_some_and(|link| link.unsure) {
            return Ok(());
        }
        let header = self.header(shard, what)?;
        let lease = self.held("a guarded call")?;
        if !lease.holds(&header) || !(header.seq == seq || header.seq == seq + 1) {
            return Err(lost(shard, what));
        }
        self.at(shard, header.seq, false);
        if header.seq == seq && self.send(shard, &Step::Confirm, what)? != Taken::Directly {
            // Which of the two calls took the number cannot be told.
            return Err(lost(shard, what));
        }
        Ok(())
    }

    fn send(&mut self, shard: u16, step: &Step, what: &str) -> Result<Taken, RedisStoreError> {
        let lease = self.held("a guarded call")?;
        let guard = lease.guard(shard);
        let call = Call::Guarded(guard, step.clone());
        let mut sent_before = false;
        let mut last = None;
        for _ in 0..TRIES {
            match self.shards.call(shard, &call) {
                Ok(Reply::Done) => {
                    self.at(shard, guard.seq + 1, false);
                    return Ok(Taken::Directly);
                }
                Ok(Reply::Other(found)) => return Err(self.other_settings(found)),
                // An earlier copy of this very call may have come after all.
                Ok(Reply::Refused) if sent_before => {}
                Ok(_) => return Err(lost(shard, what)),
                Err(why @ CallError::Unknown { .. }) => {
                    self.at(shard, guard.seq, true);
                    last = Some(why);
                }
                Err(why) => return Err(RedisStoreError::from_call(what, why)),
            }
            let header = self.header(shard, what)?;
            let lease = self.held("a guarded call")?;
            if !lease.holds(&header) {
                return Err(lost(shard, what));
            }
            match header.seq.checked_sub(guard.seq) {
                Some(1) => {
                    self.at(shard, guard.seq + 1, false);
                    return Ok(Taken::ByItsNumber);
                }
                Some(0) => sent_before = true,
                _ => return Err(lost(shard, what)),
            }
        }
        Err(unknown(what, last))
    }

    /// Rule 9d: a guarded call on every shard, and its durability on the connection that carried it. All the calls
    /// come before the first wait, so that one flush of the disk serves them all.
    pub(super) fn durable_everywhere(&mut self, what: &str) -> Result<Durable, RedisStoreError> {
        let mut all = Durable::Yes;
        let mut pending: Vec<u16> = (0..self.shards.count()).collect();
        let mut last = None;
        for _ in 0..TRIES {
            let mut again = Vec::new();
            let mut called = Vec::new();
            for shard in pending {
                // Behind a call that was resolved by its number the connection is another one: waiting on that would
                // return at once. One more link then.
                match self.link(shard, &Step::Confirm)? {
                    Taken::Directly => called.push(shard),
                    Taken::ByItsNumber => again.push(shard),
                }
            }
            for shard in called {
                match self.shards.wait(shard) {
                    Ok(Durable::Yes) => {}
                    Ok(Durable::Unsupported) => all = Durable::Unsupported,
                    Err(why @ CallError::Unknown { .. }) => {
                        last = Some(why);
                        again.push(shard);
                    }
                    Err(why) => return Err(RedisStoreError::from_call(what, why)),
                }
            }
            if again.is_empty() {
                return Ok(all);
            }
            pending = again;
        }
        Err(unknown(what, last))
    }

    fn chain(&self, shard: u16) -> Option<Link> {
        self.lease.as_ref()?.chain.get(usize::from(shard)).copied()
    }

    fn at(&mut self, shard: u16, seq: u64, unsure: bool) {
        let link = self.lease.as_mut().and_then(|l| l.chain.get_mut(usize::from(shard)));
        if let Some(link) = link {
            *link = Link { seq, unsure };
        }
    }
}
