//! Reading other people's shapes: each field of an event is found by a JSON pointer (RFC 6901), or by the first of several.

use super::shape::{Places, Shape};
use crate::limits::{POINTER_PARTS_MAX, POINTERS_MAX};
use features::config::TimeUnit;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Where the fields of an event are found. Without it, messages have the contract's own form.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct MappingConfig {
    /// A shape that is known by name; single fields below override it.
    pub preset: Option<Preset>,
    /// Pointer to the event id.
    pub event_id: Option<Pointers>,
    /// Pointer to the time: an epoch number, or RFC 3339.
    pub ts: Option<Pointers>,
    /// What a numeric `ts` counts: `ms` (default), `s`, `us` or `ns`.
    pub ts_unit: Option<TimeUnit>,
    /// Pointer to the event type.
    #[serde(rename = "type")]
    pub event_type: Option<Pointers>,
    /// Pointer to the account.
    pub account: Option<Pointers>,
    /// Pointer to the other account acted upon.
    pub target: Option<Pointers>,
    /// Kind of entity -> pointer to its key or list of keys.
    pub entities: BTreeMap<String, Pointers>,
    /// Attribute -> pointer to its value.
    pub attributes: BTreeMap<String, Pointers>,
}

/// One pointer, or several: the first that leads to a value which can be read counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointers(pub Vec<String>);

impl Serialize for Pointers {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(to),
            several => several.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Pointers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pointers;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON pointer, or a list of them")
            }
            fn visit_str<E: de::Error>(self, one: &str) -> Result<Pointers, E> {
                Ok(Pointers(vec![one.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pointers, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element()? {
                    all.push(one);
                }
                Ok(Pointers(all))
            }
        }
        from.deserialize_any(Reader)
    }
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

impl MappingConfig {
    /// What is wrong with it, as texts naming the key.
    pub fn check(&self) -> Vec<String> {
        let single = [
            ("event_id", &self.event_id),
            ("ts", &self.ts),
            ("type", &self.event_type),
            ("account", &self.account),
            ("target", &self.target),
        ];
        let single = single.into_iter().filter_map(|(key, p)| Some((key.to_owned(), p.as_ref()?)));
        let many = |part: &'static str, map: &'_ BTreeMap<String, Pointers>| {
            map.iter().map(|(k, p)| (format!("{part}.{k}"), p.clone())).collect::<Vec<_>>()
        };
        let mut all: Vec<(String, Pointers)> = single.map(|(k, p)| (k, p.clone())).collect();
        all.extend(many("entities", &self.entities));
        all.extend(many("attributes", &self.attributes));
        let mut wrong = Vec::new();
        for (key, Pointers(pointers)) in all {
            if pointers.is_empty() || pointers.len() > POINTERS_MAX {
                wrong.push(format!(
                    "mapping.{key} has {} pointers: give 1 to {POINTERS_MAX}",
                    pointers.len()
                ));
            }
            for pointer in pointers {
                if !pointer.starts_with('/') {
                    wrong.push(format!(
                        "mapping.{key} ({pointer}) is not a JSON pointer: it must start with /, as in /data/user_id"
                    ));
                } else if pointer.matches('/').count() > POINTER_PARTS_MAX {
                    wrong.push(format!(
                        "mapping.{key} ({pointer}) has more than {POINTER_PARTS_MAX} parts"
                    ));
                }
            }
        }
        wrong
    }

    /// Where each field is found, every default filled in.
    pub(super) fn shape(&self) -> Shape {
        // Id, time, type, account, target, entities, attributes.
        let preset: [&[&str]; 7] = match self.preset.unwrap_or(Preset::Detector) {
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
        let texts = |preset: &[&str]| preset.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        let own = |own: &Option<Pointers>, preset: &[&str]| {
            own.as_ref().map_or_else(|| texts(preset), |pointers| pointers.0.clone())
        };
        let named = |map: &BTreeMap<String, Pointers>| {
            map.iter()
                .map(|(name, pointers)| (name.clone(), pointers.0.clone()))
                .collect::<Vec<_>>()
        };
        // Roots are looked through by name where no pointer names anything.
        let roots = |map: &BTreeMap<String, Pointers>, preset: &[&str]| {
            if map.is_empty() { texts(preset) } else { Vec::new() }
        };
        let [id, ts, kind, account, target, entities, attributes] = preset;
        Shape::new(Places {
            event_id: own(&self.event_id, id),
            ts: own(&self.ts, ts),
            ts_unit: self.ts_unit.unwrap_or_default(),
            event_type: own(&self.event_type, kind),
            account: own(&self.account, account),
            target: own(&self.target, target),
            entities: named(&self.entities),
            entity_roots: roots(&self.entities, entities),
            attributes: named(&self.attributes),
            attribute_roots: roots(&self.attributes, attributes),
            ..Places::default()
        })
    }
}
