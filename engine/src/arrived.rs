//! An event on its way in: the hashes of its keys, worked out once, and, under strict ties, its place among
//! those that wait for their group to close. As saved, what waits names no entity in plain when there is a
//! privacy key.

use crate::effects::SourceRef;
use crate::step::{ACCOUNT_DOMAIN, EVENT_DOMAIN, Engine};
use compact_str::CompactString;
use features::event::{EntityRef, Event, KindId, TypeId};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Hashes of all keys that an event names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyHashes {
    pub event: u64,
    pub account: u64,
    pub target: Option<u64>,
    /// One for one with the event's entities.
    pub entities: SmallVec<[u64; 4]>,
}

/// An event, and what is known of it before any state is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub event: Event,
    pub source: SourceRef,
    pub hashes: KeyHashes,
    /// Whether the account or one of its things is on an allow list.
    pub allowed: bool,
    /// Whether entity keys are already in the form in which they are stored.
    pub stored: bool,
    /// Its time is ahead of any clock: it counts as of the newest time taken, if that is earlier.
    pub ahead: bool,
}

impl Engine {
    /// Hashes an event's keys; about 20 ns each.
    pub(crate) fn arrive(&self, event: Event, source: SourceRef) -> Arrived {
        let hash = |e: &EntityRef| match self.kinds.get(usize::from(e.kind.0)) {
            Some(None) => self.hasher.hash(ACCOUNT_DOMAIN, &e.key),
            _ => self.hasher.hash(1 + e.kind.0, &e.key),
        };
        let hashes = KeyHashes {
            event: self.hasher.hash(EVENT_DOMAIN, &event.event_id),
            account: self.hasher.hash(ACCOUNT_DOMAIN, &event.account),
            target: event.target.as_ref().map(|key| self.hasher.hash(ACCOUNT_DOMAIN, key)),
            entities: event.entities.iter().map(hash).collect(),
        };
        Arrived {
            allowed: self.is_allowed(&event),
            event,
            source,
            hashes,
            stored: false,
            ahead: false,
        }
    }

    fn is_allowed(&self, event: &Event) -> bool {
        let policy = &self.deciding.policy;
        policy.allows_account(&event.account)
            || (policy.allows_entities()
                && event.entities.iter().any(|e| {
                    let kind = self.schema.kind(e.kind);
                    kind.is_some_and(|kind| policy.allows_entity(&kind.name, &e.key))
                }))
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
}

impl HeldV1 {
    pub(crate) fn new(held: &Arrived) -> Self {
        let Arrived { event, source, hashes, allowed, stored: _, ahead: _ } = held;
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
        }
    }

    pub(crate) fn arrived(&self) -> Arrived {
        let (event, account, target) = self.hashes;
        let entities = self.entities.iter();
        Arrived {
            event: Event {
                event_id: self.event_id.clone(),
                ts_ms: self.ts_ms,
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
            hashes: KeyHashes { event, account, target, entities: entities.map(|e| e.2).collect() },
            allowed: self.allowed,
            stored: true,
            ahead: false,
        }
    }
}
