//! Rule 9: a checkpoint over the base, in chunks; and the way to an empty state.

use super::call::{Change, Durable, Item, Step};
use super::error::RedisStoreError;
use super::names::Name;
use super::protocol::{Position, Tag};
use super::shards::Shards;
use super::store::{Limits, Names, Store, text_of};

/// Records on their way to each shard.
struct Buffers {
    limits: Limits,
    by_shard: Vec<(Vec<Item>, usize)>,
}

impl Buffers {
    fn new(limits: Limits, shards: u16) -> Self {
        Self { limits, by_shard: vec![(Vec::new(), 0); usize::from(shards)] }
    }

    /// Adds a record; gives the chunk that has to go first, if it does not fit in.
    fn add(&mut self, shard: u16, item: Item) -> Option<Vec<Item>> {
        let (items, bytes) = self.by_shard.get_mut(usize::from(shard))?;
        let size = item.key.len() + if let Change::Write(v) = &item.change { v.len() } else { 0 };
        let full = items.len() >= self.limits.chunk_records.max(1)
            || (!items.is_empty() && *bytes + size > self.limits.chunk_bytes);
        let chunk = full.then(|| {
            *bytes = 0;
            std::mem::take(items)
        });
        items.push(item);
        *bytes += size;
        chunk
    }

    fn rest(self) -> impl Iterator<Item = (u16, Vec<Item>)> {
        (0..).zip(self.by_shard).map(|(s, (items, _))| (s, items)).filter(|(_, i)| !i.is_empty())
    }
}

impl<S: Shards> Store<S> {
    /// Writes a checkpoint over the base and makes it the base. `records` is everything that changed since the
    /// **base** (not since the last attempt), as it is at `position`; `None` for what is gone. The transaction that
    /// covers `position` must be committed. Returns the new base, and whether it survives a power loss.
    ///
    /// Costs one call per shard for each of begin, finish and confirm, and one per chunk; holds one chunk per shard.
    ///
    /// # Errors
    /// `Lost`: start over. `Unavailable` and `Refused`: the base is still whole; try again with everything since.
    pub fn checkpoint(
        &mut self,
        position: &Position,
        records: impl IntoIterator<Item = (Name, Option<Vec<u8>>)>,
    ) -> Result<(Tag, Durable), RedisStoreError> {
        let what = "checkpoint";
        self.confirmed(what)?;
        let Some(lease) = self.lease.as_mut() else {
            return Err(RedisStoreError::OutOfTurn { what, first: "claim" });
        };
        let Some((base, before)) = lease.base.clone() else {
            return Err(RedisStoreError::OutOfTurn { what, first: "recover" });
        };
        forward(&before, position)?;
        // A number is used once, whatever becomes of it.
        lease.n =
            lease.n.checked_add(1).ok_or(RedisStoreError::Exhausted { what: "checkpoints" })?;
        let tag = Tag { epoch: lease.epoch, n: lease.n };
        let mut tidy = lease.tidy.clone();
        let text = text_of(tag, position, what)?;
        let shards = self.shards.count();

        for shard in 0..shards {
            self.guarded(shard, &Step::Begin { base })?;
        }
        let mut buffers = Buffers::new(self.limits, shards);
        let mut gone = Names::default();
        for (name, value) in records {
            tidy.swap_remove(&name);
            let change = match value {
                Some(value) => {
                    gone.swap_remove(&name);
                    Change::Write(value)
                }
                None => {
                    gone.insert(name.clone());
                    Change::Delete
                }
            };
            self.put(&mut buffers, base, tag, &name, change)?;
        }
        for name in &tidy {
            self.put(&mut buffers, base, tag, name, Change::Tidy)?;
        }
        for (shard, items) in buffers.rest() {
            self.chunk(shard, base, tag, items)?;
        }
        for shard in 0..shards {
            self.guarded(shard, &Step::Finish { tag, position: text.clone() })?;
        }
        let durable = self.durable_everywhere(what)?;
        if let Some(lease) = &mut self.lease {
            lease.base = Some((tag, position.clone()));
            lease.tidy = gone;
        }
        Ok((tag, durable))
    }

    /// Removes the whole state, on a person's word (`--cold`, `--rebuild-from`): first nothing is readable any more,
    /// on any shard and durably, then the records go. Follow it with [`Store::first_checkpoint`]. Cut short,
    /// the next start refuses, and it can be done again.
    ///
    /// # Errors
    /// `Lost`, or Redis cannot be used.
    pub fn erase_all(&mut self) -> Result<u64, RedisStoreError> {
        let what = "erase";
        self.confirmed(what)?;
        let shards = self.shards.count();
        for shard in 0..shards {
            self.guarded(shard, &Step::Withdraw)?;
        }
        self.durable_everywhere(what)?;
        if let Some(lease) = &mut self.lease {
            lease.base = None;
            lease.tidy.clear();
        }
        let mut names = Names::default();
        let each = &mut |name| {
            names.insert(name);
        };
        self.shards.names(each).map_err(|why| RedisStoreError::from_call(what, why))?;
        let mut buffers = Buffers::new(self.limits, shards);
        let count = names.len() as u64;
        for name in names {
            self.put(&mut buffers, Tag::FIRST, Tag::FIRST, &name, Change::Erase)?;
        }
        for (shard, items) in buffers.rest() {
            self.chunk(shard, Tag::FIRST, Tag::FIRST, items)?;
        }
        // Last: until here every record that is left has its name.
        for shard in 0..shards {
            self.guarded(shard, &Step::Clear)?;
        }
        Ok(count)
    }

    fn chunk(
        &mut self,
        shard: u16,
        base: Tag,
        tag: Tag,
        items: Vec<Item>,
    ) -> Result<(), RedisStoreError> {
        let block_bytes = self.limits.block_bytes;
        self.guarded(shard, &Step::Chunk { base, tag, block_bytes, items })
    }

    fn put(
        &mut self,
        buffers: &mut Buffers,
        base: Tag,
        tag: Tag,
        name: &Name,
        change: Change,
    ) -> Result<(), RedisStoreError> {
        (self.rest)();
        let shard = name.shard(self.shards.count());
        let item = Item::new(self.shards.key(name), name, tag, change);
        match buffers.add(shard, item) {
            Some(items) => self.chunk(shard, base, tag, items),
            None => Ok(()),
        }
    }
}

/// Two versions can be told apart by tags only if a newer tag never has an older cut.
fn forward(before: &Position, now: &Position) -> Result<(), RedisStoreError> {
    for (partition, &from) in &before.offsets {
        let to = now.offsets.get(partition).copied();
        if to.is_none_or(|to| to < from) {
            return Err(RedisStoreError::Backwards { partition: partition.clone(), from, to });
        }
    }
    Ok(())
}
