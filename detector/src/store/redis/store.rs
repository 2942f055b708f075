//! A process's hold on the state: claim, confirm, recover, and the chain of guarded calls.
//!
//! The order, which the protocol's counterexamples fix: [`Store::claim`], Kafka's `init_transactions`,
//! [`Store::confirm`], read O, [`Store::recover`] (and [`Store::first_checkpoint`] on a new start),
//! [`Store::load`], [`Store::look_again`], replay, go live, [`Store::checkpoint`] again and again. Whatever says
//! [`RedisStoreError::Lost`] sends the process back to the claim with an empty memory.

use super::call::{Call, CallError, Durable, Guard, Reply, Step};
use super::chain::Link;
use super::error::RedisStoreError;
use super::names::Name;
use super::protocol::{
    FORMAT, FORMAT_OLDEST, Header, Offsets, Owner, Position, Start, Tag, common_base, decide,
};
use super::shards::Shards;
use indexmap::IndexSet;
use std::time::Duration;

/// How often a call is sent whose reply was lost, before the checkpoint is given up.
pub(super) const TRIES: usize = 3;

/// What one call may carry, so that Redis is never blocked for 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records in a call.
    pub chunk_records: usize,
    /// Bytes of values in a call; a longer record goes alone.
    pub chunk_bytes: usize,
    /// Bytes at which a block of the index is full.
    pub block_bytes: u32,
}

/// Durable state behind a lease. One per process; not shared between threads.
pub struct Store<S> {
    pub(super) shards: S,
    pub(super) limits: Limits,
    /// Called before each record of a checkpoint.
    pub(super) rest: Box<dyn FnMut() + Send>,
    owners: Box<dyn FnMut() -> Owner + Send>,
    pub(super) lease: Option<Lease>,
}

/// Names in the order in which they came: those that stand in one block of an index stay together.
pub(super) type Names = IndexSet<Name>;

/// What a claim gave.
pub(super) struct Lease {
    pub epoch: u32,
    pub owner: Owner,
    pub chain: Vec<Link>,
    pub confirmed: bool,
    pub base: Option<(Tag, Position)>,
    /// Number of the last checkpoint that was tried.
    pub n: u32,
    /// Records to be put in order with the next checkpoint: tombstones at the base, and versions above it, which
    /// an abandoned attempt left and a later base would make readable; and values that must not be kept any longer.
    pub tidy: Names,
    /// Older versions are to go, too.
    pub drop_older: bool,
}

impl Lease {
    pub(super) fn guard(&self, shard: u16) -> Guard {
        let seq = self.chain.get(usize::from(shard)).map_or(0, |link| link.seq);
        Guard { epoch: self.epoch, owner: self.owner, seq }
    }

    pub(super) fn holds(&self, header: &Header) -> bool {
        header.epoch == self.epoch && header.owner == self.owner.to_string()
    }
}

impl<S: Shards> Store<S> {
    /// A store that holds nothing yet; touches nothing.
    #[must_use]
    pub fn new(shards: S, limits: Limits) -> Self {
        Self::with_owners(shards, limits, Box::new(|| Owner(rand::random())))
    }

    /// As [`Store::new`], with the source of owners, for tests that must repeat.
    #[must_use]
    pub fn with_owners(
        shards: S,
        limits: Limits,
        owners: Box<dyn FnMut() -> Owner + Send>,
    ) -> Self {
        Self { shards, limits, rest: Box::new(|| {}), owners, lease: None }
    }

    /// Calls `rest` before each record of a checkpoint: whoever shares the machine may have to come first.
    pub fn rest_by(&mut self, rest: Box<dyn FnMut() + Send>) {
        self.rest = rest;
    }

    /// The set of shards.
    pub fn shards(&mut self) -> &mut S {
        &mut self.shards
    }

    /// The epoch that is held, after [`Store::claim`].
    #[must_use]
    pub fn epoch(&self) -> Option<u32> {
        self.lease.as_ref().map(|lease| lease.epoch)
    }

    /// The checkpoint that the next one builds on.
    #[must_use]
    pub fn base(&self) -> Option<&(Tag, Position)> {
        self.lease.as_ref()?.base.as_ref()
    }

    /// Rule 1: takes all shards for a new epoch, in one order. Whoever held them can write nothing from here on.
    /// Two round trips per shard.
    ///
    /// # Errors
    /// `Lost` when another process claims at the same time: wait for [`random_pause`], then claim again.
    pub fn claim(&mut self) -> Result<u32, RedisStoreError> {
        self.lease = None;
        let headers = self.headers("claim")?;
        let newest = headers.iter().map(|h| h.epoch).max().unwrap_or_default();
        let epoch = newest.checked_add(1).ok_or(RedisStoreError::Exhausted { what: "epochs" })?;
        let owner = (self.owners)();
        for shard in 0..self.shards.count() {
            self.claim_shard(shard, epoch, owner)?;
        }
        self.lease = Some(Lease {
            epoch,
            owner,
            chain: vec![Link::default(); usize::from(self.shards.count())],
            confirmed: false,
            base: None,
            n: 0,
            tidy: Names::default(),
            drop_older: false,
        });
        Ok(epoch)
    }

    fn claim_shard(&mut self, shard: u16, epoch: u32, owner: Owner) -> Result<(), RedisStoreError> {
        let what = "claim";
        let call = Call::Claim { epoch, owner, shards: self.shards.count() };
        let mut sent_before = false;
        let mut last = None;
        for _ in 0..TRIES {
            match self.shards.call(shard, &call) {
                Ok(Reply::Done) => return Ok(()),
                Ok(Reply::Other(found)) => return Err(self.other_settings(found)),
                // The first copy may have come after all.
                Ok(Reply::Refused) if sent_before => {}
                Ok(_) => return Err(lost(shard, what)),
                Err(why @ CallError::Unknown { .. }) => last = Some(why),
                Err(why) => return Err(RedisStoreError::from_call(what, why)),
            }
            let header = self.header(shard, what)?;
            let mine = header.epoch == epoch && header.owner == owner.to_string();
            if mine && header.seq == 0 {
                return Ok(());
            }
            if header.epoch >= epoch {
                return Err(lost(shard, what));
            }
            sent_before = true;
        }
        Err(unknown(what, last))
    }

    /// Rule 3: a guarded call on every shard, and its durability on the same connection. What is read afterwards
    /// cannot be taken back by a crash.
    ///
    /// # Errors
    /// `Lost` when the claim does not hold on all shards any more.
    pub fn confirm(&mut self) -> Result<Durable, RedisStoreError> {
        self.held("confirm")?;
        let durable = self.durable_everywhere("confirm")?;
        if let Some(lease) = &mut self.lease {
            lease.confirmed = true;
        }
        Ok(durable)
    }

    /// Rule 5: the base, given O as it was read after the claim, `init_transactions` and [`Store::confirm`].
    /// `committed` are the group's committed offsets, without the partitions that have none; `start` those at which a
    /// new group begins. One round trip per shard. [`Start::New`] has to be answered with
    /// [`Store::first_checkpoint`].
    ///
    /// # Errors
    /// `Lost`, or `State` with the reason why nothing can be started from what is there.
    pub fn recover(
        &mut self,
        committed: &Offsets,
        start: &Offsets,
    ) -> Result<Start, RedisStoreError> {
        self.confirmed("recover")?;
        let headers = self.my_headers("recover")?;
        let start = decide(&headers, committed, start)?;
        if let (Start::From { base, position }, Some(lease)) = (&start, &mut self.lease) {
            lease.base = Some((*base, position.clone()));
        }
        Ok(start)
    }

    /// Rule 10: the first, empty checkpoint at the starting offsets, where a shard has no marker; made durable.
    /// Returns the position that holds, which an earlier process may have written.
    ///
    /// # Errors
    /// `Lost`, or `State` when shards hold different first checkpoints.
    pub fn first_checkpoint(&mut self, position: &Position) -> Result<Position, RedisStoreError> {
        let what = "first checkpoint";
        self.confirmed(what)?;
        let text = text_of(Tag::FIRST, position, what)?;
        for shard in 0..self.shards.count() {
            self.guarded(shard, &Step::First { position: text.clone() })?;
        }
        self.durable_everywhere(what)?;
        let headers = self.my_headers(what)?;
        match common_base(&headers)? {
            Some((tag, position)) => {
                if let Some(lease) = &mut self.lease {
                    lease.base = Some((tag, position.clone()));
                }
                Ok(position)
            }
            // There was something else on a shard: what `recover` says of it is right.
            None => decide(&headers, &Offsets::new(), &Offsets::new())
                .map_err(RedisStoreError::from)
                .and(Err(lost(0, what))),
        }
    }

    /// Of these records the next checkpoint keeps one version only: what an erased account left in an older one goes. Call it
    /// after [`Store::checkpoint`] with the names that were written.
    pub fn keep_one_version(&mut self, names: impl IntoIterator<Item = Name>) {
        if let Some(lease) = &mut self.lease {
            lease.tidy.extend(names);
        }
    }

    /// As [`Store::keep_one_version`], of all records that [`Store::load`] meets from now on.
    pub fn keep_one_version_of_all(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.drop_older = true;
        }
    }

    /// Whether a checkpoint would put something in order, even if nothing has changed.
    #[must_use]
    pub fn is_untidy(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| !lease.tidy.is_empty())
    }

    /// Rule 7: that all shards are as this process left them. One round trip per shard.
    ///
    /// # Errors
    /// `Lost` when they are not.
    pub fn look_again(&mut self) -> Result<(), RedisStoreError> {
        self.my_headers("look again").map(|_| ())
    }

    /// All headers, which must be as this process left them.
    pub(super) fn my_headers(
        &mut self,
        what: &'static str,
    ) -> Result<Vec<Header>, RedisStoreError> {
        let headers = self.headers(what)?;
        let lease = self.held(what)?;
        for (shard, header) in (0..).zip(&headers) {
            if !lease.holds(header) || header.seq != lease.guard(shard).seq {
                return Err(lost(shard, what));
            }
        }
        Ok(headers)
    }

    pub(super) fn headers(&mut self, what: &str) -> Result<Vec<Header>, RedisStoreError> {
        (0..self.shards.count()).map(|shard| self.header(shard, what)).collect()
    }

    pub(super) fn header(&mut self, shard: u16, what: &str) -> Result<Header, RedisStoreError> {
        let header =
            self.shards.header(shard).map_err(|why| RedisStoreError::from_call(what, why))?;
        let shards = u32::from(self.shards.count());
        // Before a claim there is nothing to compare with.
        let fits = header.shards == shards && (FORMAT_OLDEST..=FORMAT).contains(&header.format);
        if header.epoch != 0 && !fits {
            let found = format!("shards {}, format {}", header.shards, header.format);
            return Err(self.other_settings(found));
        }
        Ok(header)
    }

    pub(super) fn other_settings(&self, found: String) -> RedisStoreError {
        let expected = format!("shards {}, format {FORMAT}", self.shards.count());
        RedisStoreError::OtherSettings { found, expected }
    }

    pub(super) fn held(&self, what: &'static str) -> Result<&Lease, RedisStoreError> {
        self.lease.as_ref().ok_or(RedisStoreError::OutOfTurn { what, first: "claim" })
    }

    pub(super) fn confirmed(&self, what: &'static str) -> Result<&Lease, RedisStoreError> {
        let lease = self.held(what)?;
        match lease.confirmed {
            true => Ok(lease),
            false => Err(RedisStoreError::OutOfTurn { what, first: "confirm" }),
        }
    }
}

pub(super) fn lost(shard: u16, what: &str) -> RedisStoreError {
    RedisStoreError::Lost { shard, what: what.to_owned() }
}

pub(super) fn unknown(what: &str, last: Option<CallError>) -> RedisStoreError {
    let why = last.unwrap_or_else(|| CallError::Unknown {
        place: "Redis".to_owned(),
        why: "answers were lost again and again".to_owned(),
    });
    RedisStoreError::Unavailable { what: what.to_owned(), why }
}

pub(super) fn text_of(
    tag: Tag,
    position: &Position,
    what: &str,
) -> Result<String, RedisStoreError> {
    position
        .marker(tag)
        .map_err(|e| RedisStoreError::Damaged { what: format!("the position of {what}: {e}") })
}

/// How long to wait before claiming again after the `attempt`-th refusal in a row (from 0): random, so that two
/// claimers do not refuse each other for ever; 50 to 100 ms at first, up to 3.2 s.
#[must_use]
pub fn random_pause(attempt: u32) -> Duration {
    let most_ms = 100u64 << attempt.min(5);
    Duration::from_millis(rand::random_range(most_ms / 2..=most_ms))
}
