//! A look ahead over the next few messages: what their events will meet is read once before the first of
//! them takes effect, so that the reads wait for memory side by side instead of one after the other. Reading
//! changes nothing and nothing that was read is kept: no outcome depends on it.

use crate::arrived::Arrived;
use crate::limits::SWEEP_RECORDS;
use crate::step::Engine;
use features::event::Label;
use smallvec::SmallVec;
use std::hint::black_box;

/// One of the next few messages. They live in one buffer that is used again and again.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are events, and a few dozen are kept")]
pub(crate) enum Ahead {
    Event(Arrived),
    Label(Label),
}

/// Bytes between two reads of a profile; the lines between come along by themselves.
const STRIDE_BYTES: usize = 128;

/// What an event will meet, as far as it is known.
#[derive(Debug, Default)]
struct Meets {
    account: Option<u32>,
    others: SmallVec<[u32; 4]>,
    /// Kind and id.
    things: SmallVec<[(u8, u32); 4]>,
}

fn read(bytes: &[u8]) {
    for at in (0..bytes.len()).step_by(STRIDE_BYTES) {
        black_box(bytes[at]);
    }
}

impl Engine {
    /// Reads what the events will meet: first the tables, then profiles and lines, then what lines point to.
    pub(crate) fn look_ahead(&self, ahead: &[Ahead]) {
        let events = ahead.iter().filter_map(|a| match a {
            Ahead::Event(arrived) => Some(arrived),
            Ahead::Label(_) => None,
        });
        for arrived in events.clone() {
            self.warm_tables(arrived);
        }
        let met: SmallVec<[Meets; 32]> = events.map(|arrived| self.meets(arrived)).collect();
        self.recent.look_ahead(met.len());
        for met in &met {
            for &id in met.account.iter().chain(&met.others) {
                self.graph.warm(id);
                self.accounts.dirty.warm(id);
            }
            if let Some(account) = met.account {
                read(self.accounts.acting.get(account));
            }
            for &(kind, id) in &met.things {
                self.graph.warm_node(self.nodes.node(kind, id));
                if let Some(entities) = self.kinds[usize::from(kind)].as_ref() {
                    read(entities.profiles.get(id));
                    entities.dirty.warm(id);
                }
            }
        }
        for met in &met {
            if let Some(account) = met.account {
                self.graph.warm_links(account);
                read(self.accounts.received(account).unwrap_or_default());
            }
            for &other in &met.others {
                read(self.accounts.received(other).unwrap_or_default());
            }
            for &(kind, id) in &met.things {
                self.graph.warm_members(self.nodes.node(kind, id));
            }
        }
        for account in met.iter().filter_map(|met| met.account) {
            self.graph.warm_walk(account);
        }
    }

    /// Reads what copying the records of these accounts will read.
    pub(crate) fn warm_accounts(&self, ids: &[u32]) {
        for &id in ids {
            self.graph.warm(id);
            read(self.accounts.acting.get(id));
        }
        for &id in ids {
            self.graph.warm_links(id);
            read(self.accounts.received(id).unwrap_or_default());
        }
    }

    /// As `warm_accounts`, for things of a kind.
    pub(crate) fn warm_entities(&self, kind: usize, ids: &[u32]) {
        let Some(entities) = self.kinds[kind].as_ref() else { return };
        for &id in ids {
            self.graph.warm_node(self.nodes.node(kind as u8, id));
            read(entities.profiles.get(id));
        }
        for &id in ids {
            self.graph.warm_members(self.nodes.node(kind as u8, id));
        }
    }

    fn warm_tables(&self, arrived: &Arrived) {
        let hashes = &arrived.hashes;
        self.recent.warm(hashes.event, hashes.account);
        self.accounts.keys.warm(hashes.account);
        if let Some(hash) = hashes.target {
            self.accounts.keys.warm(hash);
        }
        for (entity, &hash) in arrived.event.entities.iter().zip(&hashes.entities) {
            match self.kinds.get(usize::from(entity.kind.0)) {
                Some(Some(entities)) => entities.keys.warm(hash),
                Some(None) => self.accounts.keys.warm(hash),
                None => {}
            }
        }
    }

    fn meets(&self, arrived: &Arrived) -> Meets {
        let hashes = &arrived.hashes;
        let mut met =
            Meets { account: self.accounts.keys.find(hashes.account), ..Meets::default() };
        met.others.extend(hashes.target.and_then(|hash| self.accounts.keys.find(hash)));
        for (entity, hash) in arrived.event.entities.iter().zip(&hashes.entities) {
            match self.kinds.get(usize::from(entity.kind.0)) {
                Some(Some(entities)) => {
                    met.things.extend(entities.keys.find(*hash).map(|id| (entity.kind.0, id)));
                }
                Some(None) => met.others.extend(self.accounts.keys.find(*hash)),
                None => {}
            }
        }
        met
    }

    /// Reads the heads of the records that a sweep will examine next.
    pub(crate) fn look_ahead_of_sweep(&self) {
        let mut at = self.sweep_at;
        let accounts = self.accounts.keys.bound();
        for id in (at..accounts).take(SWEEP_RECORDS as usize) {
            black_box(self.accounts.acting.get(id)[0]);
            self.graph.warm(id);
        }
        at = at.saturating_sub(accounts);
        if self.sweep_at < accounts {
            return;
        }
        for entities in self.kinds.iter().flatten() {
            let bound = entities.keys.bound();
            for id in (at..bound).take(SWEEP_RECORDS as usize) {
                black_box(entities.profiles.get(id)[0]);
            }
            if at < bound {
                return;
            }
            at -= bound;
        }
    }
}
