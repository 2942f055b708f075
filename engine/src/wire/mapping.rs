//! Reading other people's shapes: each field of an event is found by a JSON pointer (RFC 6901).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where the fields of an event are found. Without it, messages have the contract's own form.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct MappingConfig {
    /// A shape that is known by name; single fields below override it.
    pub preset: Option<Preset>,
    /// Pointer to the event id.
    pub event_id: Option<String>,
    /// Pointer to the time: epoch milliseconds or RFC 3339.
    pub ts: Option<String>,
    /// What a numeric `ts` counts: `ms` (default), `s`, `us` or `ns`.
    pub ts_unit: Option<TsUnit>,
    /// Pointer to the event type.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Pointer to the account.
    pub account: Option<String>,
    /// Pointer to the other account acted upon.
    pub target: Option<String>,
    /// Kind of entity -> pointer to its key or list of keys.
    pub entities: BTreeMap<String, String>,
    /// Attribute -> pointer to its value.
    pub attributes: BTreeMap<String, String>,
}

/// What a numeric time counts.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum TsUnit {
    /// Milliseconds.
    #[default]
    Ms,
    /// Seconds.
    S,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

/// Shapes known by name.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The contract's own form.
    Detector,
    /// CloudEvents 1.0 in structured JSON mode; entities and attributes under `data`.
    CloudEvents,
    /// Osprey's action input: `data.action_id`, `data.action_name`, `data.timestamp`, `data.data`.
    Osprey,
}

/// A mapping with every default filled in.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    pub event_id: Vec<String>,
    pub ts: Vec<String>,
    pub ts_unit: TsUnit,
    pub event_type: Vec<String>,
    pub account: Vec<String>,
    pub target: Vec<String>,
    pub entities: Vec<(String, String)>,
    pub attributes: Vec<(String, String)>,
    /// Objects whose members are entities or attributes when no pointer names them.
    pub entity_roots: Vec<String>,
    pub attribute_roots: Vec<String>,
}

impl MappingConfig {
    /// Whether messages have the contract's own form.
    pub fn is_native(&self) -> bool {
        let mut bare = self.clone();
        if bare.preset == Some(Preset::Detector) {
            bare.preset = None;
        }
        bare == MappingConfig::default()
    }

    /// What is wrong with it, as texts naming the key.
    pub fn check(&self) -> Vec<String> {
        let single = [
            ("event_id", &self.event_id),
            ("ts", &self.ts),
            ("type", &self.event_type),
            ("account", &self.account),
            ("target", &self.target),
        ];
        let single = single.iter().filter_map(|(k, p)| Some((k.to_string(), p.as_ref()?.clone())));
        let many = |part: &str, map: &BTreeMap<String, String>| {
            let part = part.to_string();
            map.iter().map(move |(k, p)| (format!("{part}.{k}"), p.clone())).collect::<Vec<_>>()
        };
        single
            .chain(many("entities", &self.entities))
            .chain(many("attributes", &self.attributes))
            .filter(|(_, pointer)| !pointer.starts_with('/'))
            .map(|(key, pointer)| {
                format!("mapping.{key} ({pointer}) is not a JSON pointer: it must start with /, as in /data/user_id")
            })
            .collect()
    }

    pub(super) fn resolve(&self) -> Mapping {
        let texts = |own: &Option<String>, preset: &[&str]| match own {
            Some(pointer) => vec![pointer.clone()],
            None => preset.iter().map(|p| p.to_string()).collect(),
        };
        // Id, time, type, account, target, entities, attributes.
        let shape: [&[&str]; 7] = match self.preset.unwrap_or(Preset::Detector) {
            Preset::Detector => [
                &["/event_id"],
                &["/ts"],
                &["/type"],
                &["/account"],
                &["/target"],
                &["/entities"],
                &["/attributes"],
            ],
            Preset::CloudEvents => [
                &["/id"],
                &["/time", "/data/ts"],
                &["/type"],
                &["/subject", "/data/account"],
                &["/data/target"],
                &["/data/entities"],
                &["/data/attributes", "/data"],
            ],
            Preset::Osprey => [
                &["/data/action_id", "/action_id"],
                &["/data/timestamp", "/send_time", "/timestamp"],
                &["/data/action_name", "/action_name"],
                &["/data/data/account", "/data/data/user_id", "/data/data/did"],
                &["/data/data/target", "/data/data/target_user_id"],
                &["/data/data/entities", "/data/data"],
                &["/data/data/attributes", "/data/data"],
            ],
        };
        let [id, ts, kind, account, target, entities, attributes] = shape;
        let list = |map: &BTreeMap<String, String>| {
            map.iter().map(|(k, p)| (k.clone(), p.clone())).collect::<Vec<_>>()
        };
        Mapping {
            event_id: texts(&self.event_id, id),
            ts: texts(&self.ts, ts),
            ts_unit: self.ts_unit.unwrap_or_default(),
            event_type: texts(&self.event_type, kind),
            account: texts(&self.account, account),
            target: texts(&self.target, target),
            entities: list(&self.entities),
            attributes: list(&self.attributes),
            entity_roots: entities.iter().map(|p| p.to_string()).collect(),
            attribute_roots: attributes.iter().map(|p| p.to_string()).collect(),
        }
    }
}
