//! Events of an open tie group, as they are saved.

use crate::step::{Held, Resolved};
use compact_str::CompactString;
use features::event::{EntityRef, Event, KindId, TypeId};
use features::profile::DistinctKey;
use serde::{Deserialize, Serialize};

/// A held event. Floats are kept as their bits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HeldV1 {
    event_id: CompactString,
    ts_ms: i64,
    type_id: u16,
    account_key: CompactString,
    target: Option<CompactString>,
    entity_keys: Vec<(u8, CompactString)>,
    attributes: Vec<u32>,
    account: u32,
    others: Vec<Option<u32>>,
    peers: Vec<u32>,
    entities: Vec<(u8, u32)>,
    keys: Vec<(u8, u64)>,
    event_hash: u64,
    row: Vec<u32>,
    evidence: u8,
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

impl Held {
    pub(crate) fn to_saved(&self) -> HeldV1 {
        let Held { event, resolved, row, evidence } = self;
        HeldV1 {
            event_id: event.event_id.clone(),
            ts_ms: event.ts_ms,
            type_id: event.type_id.0,
            account_key: event.account.clone(),
            target: event.target.clone(),
            entity_keys: event.entities.iter().map(|e| (e.kind.0, e.key.clone())).collect(),
            attributes: bits(&event.attributes),
            account: resolved.account,
            others: resolved.others.to_vec(),
            peers: resolved.peers.to_vec(),
            entities: resolved.entities.to_vec(),
            keys: resolved.keys.iter().map(|k| (k.what, k.hash)).collect(),
            event_hash: resolved.event_hash,
            row: bits(row),
            evidence: *evidence,
        }
    }
}

impl HeldV1 {
    pub(crate) fn to_held(&self) -> Held {
        let floats = |bits: &[u32]| bits.iter().map(|b| f32::from_bits(*b)).collect::<Vec<f32>>();
        Held {
            event: Event {
                event_id: self.event_id.clone(),
                ts_ms: self.ts_ms,
                type_id: TypeId(self.type_id),
                account: self.account_key.clone(),
                target: self.target.clone(),
                entities: self
                    .entity_keys
                    .iter()
                    .map(|(kind, key)| EntityRef { kind: KindId(*kind), key: key.clone() })
                    .collect(),
                attributes: floats(&self.attributes).into(),
            },
            resolved: Resolved {
                account: self.account,
                others: self.others.iter().copied().collect(),
                peers: self.peers.iter().copied().collect(),
                entities: self.entities.iter().copied().collect(),
                keys: self.keys.iter().map(|&(what, hash)| DistinctKey { what, hash }).collect(),
                event_hash: self.event_hash,
            },
            row: floats(&self.row),
            evidence: self.evidence,
        }
    }
}
