//! An event on its way in: the hashes of its keys, worked out once, and, under strict ties, its place among
//! those that wait for their group to close. As saved, what waits names no entity in plain when there is a
//! privacy key.

use crate::effects::SourceRef;
use crate::intern::KeyHasher;
use crate::step::{ACCOUNT_DOMAIN, EVENT_DOMAIN, Engine};
use compact_str::CompactString;
use features::event::{EntityRef, Event, KindId, TypeId};
use features::key_form::Malformed;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::borrow::Cow;

/// Hashes of keys that features and outputs may depend on: the same for every state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicHashes {
    pub account: u64,
    pub target: Option<u64>,
    /// One for one with the event's entities.
    pub entities: SmallVec<[u64; 4]>,
}

/// Hashes of all keys that an event names, by which they are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyHashes {
    /// Of the id under which it is taken.
    pub event: u64,
    pub account: u64,
    pub target: Option<u64>,
    /// One for one with the event's entities.
    pub entities: SmallVec<[u64; 4]>,
    /// Of what the event says (`identity.rs`).
    pub content: u64,
    pub public: PublicHashes,
}

/// An event, and what is known of it before any state is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub event: Event,
    pub source: SourceRef,
    pub hashes: KeyHashes,
    /// Whether the account, or all of its things of some kind, are on an allow list.
    pub allowed: bool,
    /// Whether entity keys are already in the form in which they are stored.
    pub stored: bool,
    /// Its time was found to be wrong before it came here: it says nothing about the stream's.
    pub capped: bool,
    /// It says a time that the stream's clock has not reached, and counts as of that clock.
    pub ahead: bool,
    /// Keys that do not parse under their kind's form, and are known as they came.
    pub malformed: u8,
    /// Keys that the configuration ignores, and that are no part of it.
    pub ignored: u8,
    /// Whether the id under which it is taken was derived.
    pub derived: bool,
    /// The moment as of which its columns are read.
    pub read_ms: i64,
}

/// Keys of an event that are not known under their normal form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OddKeys {
    /// They do not parse under their kind's form, and are known as they came.
    pub malformed: u8,
    /// The configuration ignores them.
    pub ignored: u8,
}

impl Engine {
    /// Brings an event's keys into their normal form and hashes them; about 20 ns each, and what the form costs.
    pub(crate) fn arrive(&self, mut event: Event, source: SourceRef) -> Arrived {
        let OddKeys { malformed, ignored } = self.normalise(&mut event.entities);
        let public = self.hashes_by(&self.public_hasher, &event);
        let content = self.public_hasher.content(&event, &public);
        let PublicHashes { account, target, entities } = match self.look_up_key {
            Some(_) => self.hashes_by(&self.hasher, &event),
            None => public.clone(),
        };
        let event_hash = self.hasher.hash(EVENT_DOMAIN, &event.event_id);
        let hashes = KeyHashes { event: event_hash, account, target, entities, content, public };
        Arrived {
            allowed: self.deciding.policy.frees(
                &event.account,
                &event.entities,
                event.partial_kinds,
            ),
            read_ms: event.ts_ms,
            event,
            source,
            hashes,
            stored: false,
            capped: false,
            ahead: false,
            malformed,
            ignored,
            derived: false,
        }
    }

    fn hashes_by(&self, hasher: &KeyHasher, event: &Event) -> PublicHashes {
        let hash = |e: &EntityRef| match self.kinds.get(usize::from(e.kind.0)) {
            Some(None) => hasher.hash(ACCOUNT_DOMAIN, &e.key),
            _ => hasher.hash(1 + e.kind.0, &e.key),
        };
        PublicHashes {
            account: hasher.hash(ACCOUNT_DOMAIN, &event.account),
            target: event.target.as_ref().map(|key| hasher.hash(ACCOUNT_DOMAIN, key)),
            entities: event.entities.iter().map(hash).collect(),
        }
    }

    /// An event that was waiting, with the hashes that are not saved with it.
    pub(crate) fn held_again(&self, held: &HeldV1) -> Arrived {
        let mut arrived = held.arrived();
        // Under a privacy key entities are not known by name, and both hashes are one.
        if self.look_up_key.is_some() {
            arrived.hashes.public = self.hashes_by(&self.public_hasher, &arrived.event);
        }
        arrived
    }

    /// Brings keys into the normal form of their kind, each once, removes those that are ignored, and counts what was
    /// odd. All that anything is looked up by goes through here before it is hashed.
    pub(crate) fn normalise(&self, entities: &mut SmallVec<[EntityRef; 4]>) -> OddKeys {
        let (mut odd, mut changed) = (OddKeys::default(), false);
        entities.retain(|entity| {
            let Some(kind) = self.schema.kind(entity.kind) else { return true };
            let mut malformed = 0;
            match kind.normal(&entity.key) {
                Ok(Cow::Borrowed(_)) => {}
                Ok(Cow::Owned(normal)) => {
                    entity.key = normal.into();
                    changed = true;
                }
                Err(Malformed) => malformed = 1,
            }
            if kind.ignores(&entity.key) {
                odd.ignored = odd.ignored.saturating_add(1);
                return false;
            }
            odd.malformed = odd.malformed.saturating_add(malformed);
            true
        });
        if changed {
            // Two spellings of one thing.
            let mut at = 0;
            while at < entities.len() {
                let (before, rest) = entities.split_at(at);
                if rest.first().is_some_and(|entity| before.contains(entity)) {
                    entities.remove(at);
                } else {
                    at += 1;
                }
            }
        }
        odd
    }

    /// Gives an event that has to wait the keys under which its entities are stored.
    pub(crate) fn store_keys(&self, arrived: &mut Arrived) {
        let Some(secret) = self.privacy.as_deref().filter(|_| !arrived.stored) else { return };
        for entity in &mut arrived.event.entities {
            if matches!(self.kinds.get(usize::from(entity.kind.0)), Some(Some(_))) {
                entity.key = crate::privacy::pseudonym(secret, &entity.key).into();
            }
        }
        arrived.stored = true;
    }
}

/// A waiting event, as it is saved. Floats are kept as their bits.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HeldV1 {
    event_id: CompactString,
    ts_ms: i64,
    type_id: u16,
    account: CompactString,
    target: Option<CompactString>,
    /// Kind, key as it is stored, hash of the key.
    entities: Vec<(u8, CompactString, u64)>,
    attributes: Vec<u32>,
    hashes: (u64, u64, Option<u64>),
    partition: i32,
    offset: i64,
    allowed: bool,
    #[serde(default)]
    malformed: u8,
    #[serde(default)]
    ignored: u8,
    /// Absent in states that recognised events by id alone.
    #[serde(default)]
    content: u64,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    capped: bool,
}

impl HeldV1 {
    pub(crate) fn new(held: &Arrived) -> Self {
        // Its time is told by the clock when the group closes.
        let Arrived {
            event,
            source,
            hashes,
            allowed,
            derived,
            capped,
            malformed,
            ignored,
            stored: _,
            ahead: _,
            read_ms: _,
        } = held;
        let entities = event.entities.iter().zip(&hashes.entities);
        Self {
            event_id: event.event_id.clone(),
            ts_ms: event.ts_ms,
            type_id: event.type_id.0,
            account: event.account.clone(),
            target: event.target.clone(),
            entities: entities.map(|(e, hash)| (e.kind.0, e.key.clone(), *hash)).collect(),
            attributes: event.attributes.iter().map(|v| v.to_bits()).collect(),
            hashes: (hashes.event, hashes.account, hashes.target),
            partition: source.partition,
            offset: source.offset,
            allowed: *allowed,
            malformed: *malformed,
            ignored: *ignored,
            content: hashes.content,
            derived: *derived,
            capped: *capped,
        }
    }

    /// As [`Engine::held_again`], where public hashes are those of look-ups.
    fn arrived(&self) -> Arrived {
        let (event, account, target) = self.hashes;
        let entities = self.entities.iter();
        Arrived {
            event: Event {
                // Only the content's hash and the allow lists need them, and both have been asked.
                undeclared_type: None,
                partial_kinds: 0,
                event_id: self.event_id.clone(),
                ts_ms: self.ts_ms,
                // Only the content's hash needs it, which is kept.
                said_ms: self.ts_ms,
                type_id: TypeId(self.type_id),
                account: self.account.clone(),
                target: self.target.clone(),
                entities: entities
                    .clone()
                    .map(|(kind, key, _)| EntityRef { kind: KindId(*kind), key: key.clone() })
                    .collect(),
                attributes: self.attributes.iter().map(|b| f32::from_bits(*b)).collect(),
            },
            // Strict ties are for files, which are no topic and do not say when.
            source: SourceRef {
                partition: self.partition,
                offset: self.offset,
                ..SourceRef::default()
            },
            hashes: KeyHashes {
                event,
                account,
                target,
                entities: entities.clone().map(|e| e.2).collect(),
                content: self.content,
                public: PublicHashes { account, target, entities: entities.map(|e| e.2).collect() },
            },
            allowed: self.allowed,
            stored: true,
            capped: self.capped,
            ahead: false,
            malformed: self.malformed,
            ignored: self.ignored,
            derived: self.derived,
            read_ms: self.ts_ms,
        }
    }
}
