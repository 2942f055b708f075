//! Rule 6: reading the state at a checkpoint; as the owner, or beside it as a standby.

use super::call::CallError;
use super::error::RedisStoreError;
use super::names::Name;
use super::protocol::{Header, Position, Tag, common_base};
use super::record::Record;
use super::shards::Shards;
use super::store::{Names, Store, lost};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rand::random;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hash;

/// How many records lie between two calls of `progress`.
const EVERY: u64 = 4096;

impl<S: Shards> Store<S> {
    /// Hands over every record that exists at the base, in no order, each once; `progress` gets the count
    /// now and then. Call it after [`Store::recover`] or [`Store::first_checkpoint`], and [`Store::look_again`] after it.
    /// Reads all records that the indices name.
    ///
    /// # Errors
    /// When Redis cannot be read, a record is damaged or missing, or `each` says why it does not take one.
    pub fn load(
        &mut self,
        each: impl FnMut(&Name, &[u8]) -> Result<(), String>,
        progress: impl FnMut(u64),
    ) -> Result<u64, RedisStoreError> {
        let Some((base, _)) = self.confirmed("load")?.base else {
            return Err(RedisStoreError::OutOfTurn { what: "load", first: "recover" });
        };
        let (read, tidy) = self.read_at(base, each, progress, Beside::Nobody)?;
        for (shard, header) in (0..).zip(&self.my_headers("load")?) {
            read.whole(shard, header)?;
        }
        if let Some(lease) = &mut self.lease {
            lease.tidy = tidy;
            lease.drop_older = false;
        }
        Ok(read.at_base)
    }

    /// For a standby: the newest checkpoint common to all shards. Claims nothing.
    ///
    /// # Errors
    /// When Redis cannot be read, or the shards disagree.
    pub fn peek_base(&mut self) -> Result<Option<(Tag, Position)>, RedisStoreError> {
        Ok(common_base(&self.headers("read as a standby")?)?)
    }

    /// For a standby: as [`Store::load`], beside an owner that goes on writing. What was handed over is whole only if
    /// this returns `Ok`: then the checkpoint was readable on every shard from beginning to end.
    ///
    /// # Errors
    /// `Lost` when the owner moved on meanwhile: forget what was read, and begin again with [`Store::peek_base`].
    pub fn peek_load(
        &mut self,
        base: Tag,
        each: impl FnMut(&Name, &[u8]) -> Result<(), String>,
        progress: impl FnMut(u64),
    ) -> Result<u64, RedisStoreError> {
        let what = "read as a standby";
        let before = self.headers(what)?;
        let (read, _) = self.read_at(base, each, progress, Beside::Owner)?;
        let after = self.headers(what)?;
        for (shard, (before, after)) in (0..).zip(before.iter().zip(&after)) {
            // A begin withdraws a checkpoint before the first record is written over it. Numbers that went back say
            // that Redis did.
            let back = (after.epoch, after.seq) < (before.epoch, before.seq);
            if back || !before.readable.contains_key(&base) || !after.readable.contains_key(&base) {
                return Err(lost(shard, what));
            }
            // What was written meanwhile may have come and gone.
            if (after.epoch, &after.owner, after.seq) == (before.epoch, &before.owner, before.seq) {
                read.whole(shard, after)?;
            }
        }
        Ok(read.at_base)
    }

    /// The newest value of one record, whether its checkpoint is complete or not: for looking at it, as any other
    /// service does. One round trip.
    ///
    /// # Errors
    /// When Redis cannot be read, or the record is damaged.
    pub fn newest(&mut self, name: &Name) -> Result<Option<Vec<u8>>, RedisStoreError> {
        let bytes = self
            .shards
            .record(name)
            .map_err(|why| RedisStoreError::from_call("read a record", why))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let shard = name.shard(self.shards.count());
        let record = Record::read(&bytes, name)
            .map_err(|damage| damaged(shard, name, &damage.to_string()))?;
        Ok(record.versions().next().and_then(|(_, value)| value.map(<[u8]>::to_vec)))
    }

    /// Reads all records at a checkpoint; says how many, and which names the next checkpoint has to tidy.
    fn read_at(
        &mut self,
        base: Tag,
        mut each: impl FnMut(&Name, &[u8]) -> Result<(), String>,
        mut progress: impl FnMut(u64),
        beside: Beside,
    ) -> Result<(Read, Names), RedisStoreError> {
        let mut seen = Seen::new(beside, self.shards.count());
        let mut tidy = Names::default();
        let shards = self.shards.count();
        let mut at_base = 0;
        let mut failure = None;
        let drop_older = self.lease.as_ref().is_some_and(|lease| lease.drop_older);
        let read = self.shards.records(&mut |shard, name, bytes| {
            if seen.again(shard, &name) {
                return Ok(());
            }
            let mut fail = |why: &str| {
                failure = Some(damaged(shard, &name, why));
                Err(CallError::Never { place: String::new(), why: String::new() })
            };
            if name.shard(shards) != shard {
                return fail("it is on a shard where it does not belong");
            }
            let record = match Record::read(bytes, &name) {
                Ok(record) => record,
                Err(damage) => return fail(&damage.to_string()),
            };
            let value = record.at(base).and_then(|(_, value)| value);
            if let Some(value) = value {
                if let Err(why) = each(&name, value) {
                    return fail(&why);
                }
                at_base += 1;
                if u64::is_multiple_of(at_base, EVERY) {
                    progress(at_base);
                }
            }
            let older = drop_older && record.versions().count() > 1;
            if value.is_none() || record.ahead_of(base) || older {
                tidy.insert(name);
            }
            Ok(())
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        read.map_err(|why| RedisStoreError::from_call("load", why))?;
        progress(at_base);
        Ok((seen.read(at_base), tidy))
    }
}

/// Who else writes while records are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// The lease is held: nobody. What stands twice in an index is damage, which is seen at the end of a shard.
    Nobody,
    /// What is removed and comes again meanwhile has its name in another place, too.
    Owner,
}

/// Which names have come. Records come shard by shard.
struct Seen {
    beside: Beside,
    shard: u16,
    hasher: SipHasher13,
    /// 128 random-keyed bits of each name of this shard, so that memory stays small and two are never taken for one.
    table: HashTable<u128>,
    /// The same, where it only matters how many there are: a table of them is a miss of the caches for each record.
    list: Vec<u128>,
    /// Different names of the shards that have ended.
    counts: Vec<u64>,
    /// Shards of which a name was taken twice.
    twice: Vec<u16>,
}

impl Seen {
    fn new(beside: Beside, shards: u16) -> Self {
        Self {
            beside,
            shard: 0,
            hasher: SipHasher13::new_with_keys(random(), random()),
            table: HashTable::new(),
            list: Vec::new(),
            counts: vec![0; shards.into()],
            twice: Vec::new(),
        }
    }

    /// Takes a name down. True if it is known to have come.
    fn again(&mut self, shard: u16, name: &Name) -> bool {
        if shard != self.shard {
            self.end_of_shard();
            self.shard = shard;
        }
        let mut hash = self.hasher;
        name.hash(&mut hash);
        let hash = hash.finish128().as_u128();
        if self.beside == Beside::Nobody {
            self.list.push(hash);
            return false;
        }
        match self.table.entry(hash as u64, |other| *other == hash, |other| *other as u64) {
            Entry::Occupied(_) => true,
            Entry::Vacant(place) => {
                place.insert(hash);
                false
            }
        }
    }

    fn end_of_shard(&mut self) {
        let came = self.list.len();
        self.list.sort_unstable();
        self.list.dedup();
        if self.list.len() < came {
            self.twice.push(self.shard);
        }
        if let Some(count) = self.counts.get_mut(usize::from(self.shard)) {
            *count += (self.list.len() + self.table.len()) as u64;
        }
        self.list.clear();
        self.table.clear();
    }

    fn read(mut self, at_base: u64) -> Read {
        self.end_of_shard();
        Read { at_base, by_shard: self.counts, twice: self.twice }
    }
}

/// What was read.
struct Read {
    /// Records that exist at the base.
    at_base: u64,
    /// All records, by shard.
    by_shard: Vec<u64>,
    /// Shards of which a record was handed over twice.
    twice: Vec<u16>,
}

impl Read {
    /// That a shard has all records that its header counts.
    fn whole(&self, shard: u16, header: &Header) -> Result<(), RedisStoreError> {
        let found = self.by_shard.get(usize::from(shard)).copied().unwrap_or_default();
        if self.twice.contains(&shard) {
            let what = format!("shard {shard}: a record is named twice");
            return Err(RedisStoreError::Damaged { what });
        }
        if found == header.records {
            return Ok(());
        }
        let what =
            format!("shard {shard}: {} records were written, {found} are there", header.records);
        Err(RedisStoreError::Damaged { what })
    }
}

fn damaged(shard: u16, name: &Name, why: &str) -> RedisStoreError {
    // Keys are personal data: a log gets the sort of record, and enough to find it by.
    let what = format!("shard {shard}, a record of {}: {why}", name.describe());
    RedisStoreError::Damaged { what }
}
