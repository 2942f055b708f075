//! Events by id. One table has every event once: the newest with an id under the id alone, one of another account under id and
//! account. Where ids are unique, as they are meant to be, that is one entry under one key; where accounts number their events each
//! for itself, no search is longer.

use super::{Entry, RecentEvents, Remembered};
use crate::shards::Shards;

/// Under what an event is in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Level {
    /// Under nothing: it was erased.
    #[default]
    Nowhere,
    /// Under its id: no newer event has it.
    Id,
    /// Under id and account: a newer event has its id.
    Account,
}

/// The hash under which an event is in the table. Hashes of ids are spread already; what is made of two is mixed.
fn hash_at(level: Level, event_hash: u64, account_hash: u64) -> u64 {
    match level {
        Level::Nowhere | Level::Id => event_hash,
        Level::Account => {
            (event_hash ^ account_hash.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        }
    }
}

fn hash_of(entry: &Entry) -> u64 {
    hash_at(entry.level, entry.event.event_hash, entry.event.account_hash)
}

const OLDER: usize = 0;
const NEWER: usize = 1;

impl RecentEvents {
    #[inline]
    fn look(&self, level: Level, hash: u64, same: impl Fn(&Remembered) -> bool) -> Option<u64> {
        let found = self.ids.find(hash, |&low| {
            let entry = self.ring.get(self.full(low));
            entry.level == level && same(&entry.event)
        })?;
        Some(self.full(*found))
    }

    /// The newest event with this id.
    #[inline]
    pub(super) fn newest(&self, event_hash: u64) -> Option<u64> {
        self.look(Level::Id, event_hash, |event| event.event_hash == event_hash)
    }

    /// The event with this id of this account.
    #[inline]
    pub(super) fn of_account(&self, event_hash: u64, account_hash: u64) -> Option<u64> {
        let newest = self.newest(event_hash)?;
        if self.ring.get(newest).event.account_hash == account_hash {
            return Some(newest);
        }
        self.look(Level::Account, hash_at(Level::Account, event_hash, account_hash), |event| {
            (event.event_hash, event.account_hash) == (event_hash, account_hash)
        })
    }

    /// Enters the newest event. Its account has no other with its id: none would find that one any more.
    pub(super) fn enter_id(&mut self, seq: u64) {
        let entry = self.ring.get_mut(seq);
        entry.same_id = [seq as u32; 2];
        if !entry.event.is_there() {
            return;
        }
        entry.level = Level::Id;
        let event_hash = entry.event.event_hash;
        let Some(before) = self.newest(event_hash) else {
            self.put(seq);
            return;
        };
        // Both are under the id: the older one's place in the table becomes this one's.
        if let Some(place) = self.ids.find_mut(event_hash, |&low| low == before as u32) {
            *place = seq as u32;
        }
        self.ring.get_mut(seq).same_id[OLDER] = before as u32;
        let older = self.ring.get_mut(before);
        older.same_id[NEWER] = seq as u32;
        older.level = Level::Account;
        self.put(before);
    }

    /// An event leaves the table.
    pub(super) fn leave_id(&mut self, seq: u64) {
        let hash = hash_of(self.ring.get(seq));
        let entry = self.ring.get_mut(seq);
        if std::mem::take(&mut entry.level) != Level::Nowhere {
            self.ids.remove(hash, |&low| low == seq as u32);
        }
    }

    /// An event leaves from among others: the next older one with its id is the newest then.
    pub(super) fn erase_id(&mut self, seq: u64) {
        let entry = self.ring.get(seq);
        let was_newest = entry.level == Level::Id;
        let older = self.older_than(seq, entry.same_id[OLDER]);
        let newer = Some(self.full(entry.same_id[NEWER])).filter(|newer| *newer > seq);
        if let Some(newer) = newer {
            self.ring.get_mut(newer).same_id[OLDER] = older.unwrap_or(newer) as u32;
        }
        if let Some(older) = older {
            self.ring.get_mut(older).same_id[NEWER] = newer.unwrap_or(older) as u32;
        }
        self.leave_id(seq);
        self.ring.get_mut(seq).same_id = [seq as u32; 2];
        if let Some(older) = older.filter(|_| was_newest) {
            self.leave_id(older);
            self.ring.get_mut(older).level = Level::Id;
            self.put(older);
        }
    }

    fn put(&mut self, seq: u64) {
        let (ring, first) = (&self.ring, self.ring.first());
        let hash_of =
            |low: &u32| hash_of(ring.get(first + u64::from(low.wrapping_sub(first as u32))));
        self.ids.insert(hash_of(&(seq as u32)), seq as u32, hash_of);
    }

    #[inline]
    pub(super) fn warm_id(&self, event_hash: u64) {
        touch(&self.ids, event_hash);
    }

    pub(super) fn warm_entry(&self, entry: &Entry) {
        touch(&self.ids, hash_of(entry));
        for link in &entry.links {
            self.warm_head(link.check);
        }
    }
}

/// Reads the place of a hash in a table.
#[inline]
pub(super) fn touch<T>(table: &Shards<T>, hash: u64) {
    table.find(hash, |entry| {
        std::hint::black_box(entry);
        false
    });
}
