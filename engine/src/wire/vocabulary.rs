//! Declared names to the ids that the line works with.

use super::Fault;
use super::attribute::Read;
use super::json::Value;
use super::moment::Moments;
use features::config::{FeatureConfig, TimeUnit};
use features::duration::parse_offset_ms;
use features::event::{KindId, TypeId};

#[derive(Clone, Debug)]
struct Attribute {
    name: String,
    read: Read,
}

/// The declared event types, kinds and attributes, for decoding.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    types: Vec<(String, TypeId)>,
    kinds: Vec<String>,
    target: bool,
    attributes: Vec<Attribute>,
    assume_offset_ms: Option<i64>,
}

impl Vocabulary {
    /// Takes the names out of the declarations. Kinds and attributes are numbered in order of name, types
    /// in order of declaration.
    pub fn new(config: &FeatureConfig) -> Self {
        let mut types: Vec<_> = config
            .events
            .types
            .iter()
            .enumerate()
            .map(|(i, name)| (name.clone(), TypeId(i as u16)))
            .collect();
        types.sort();
        let attributes = config
            .attributes
            .iter()
            .map(|(name, declared)| Attribute { name: name.clone(), read: Read::new(declared) })
            .collect();
        // What is no offset is refused where the schema is compiled.
        let assume_offset = config.time.assume_offset.as_deref();
        let assume_offset_ms = assume_offset.and_then(|text| parse_offset_ms(text).ok());
        Self {
            types,
            kinds: config.kinds.keys().cloned().collect(),
            target: config.events.target,
            attributes,
            assume_offset_ms,
        }
    }

    /// The id of an event type; undeclared ones share [`TypeId::OTHER`].
    pub fn type_id(&self, name: &str) -> TypeId {
        match self.types.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(i) => self.types[i].1,
            Err(_) => TypeId::OTHER,
        }
    }

    /// The declared name of a type.
    pub fn type_name(&self, id: TypeId) -> &str {
        self.types.iter().find(|(_, t)| *t == id).map_or("other", |(n, _)| n)
    }

    /// The id of a kind; undeclared ones are not kept.
    pub fn kind_id(&self, name: &str) -> Option<KindId> {
        self.kinds.binary_search_by(|n| n.as_str().cmp(name)).ok().map(|i| KindId(i as u8))
    }

    /// Names of the kinds, by id.
    pub fn kinds(&self) -> &[String] {
        &self.kinds
    }

    /// Whether events name another account as their target.
    pub fn reads_target(&self) -> bool {
        self.target
    }

    /// How many attribute slots an event has.
    pub fn slots(&self) -> usize {
        self.attributes.len()
    }

    /// The slot of an attribute.
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.attributes.binary_search_by(|a| a.name.as_str().cmp(name)).ok()
    }

    /// Name of a slot's attribute.
    pub fn attribute(&self, slot: usize) -> &str {
        &self.attributes[slot].name
    }

    /// The value of an attribute in an event of this moment; NaN for null and empty texts.
    #[inline]
    pub(super) fn value(&self, slot: usize, value: &Value<'_>, ts_ms: i64) -> Result<f32, Fault> {
        self.attributes[slot].read.value(value, ts_ms, self.assume_offset_ms)
    }

    /// Moments whose numbers count `unit`.
    pub(super) fn moments(&self, unit: TimeUnit) -> Moments {
        Moments { unit, assume_offset_ms: self.assume_offset_ms }
    }
}
