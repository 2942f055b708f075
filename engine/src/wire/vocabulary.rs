//! Declared names to the ids that the line works with.

use features::config::{AttributeKind, FeatureConfig};
use features::event::{KindId, TypeId};

/// Name, kind, and for categories the values with their numbers, in order of text.
type Attribute = (String, AttributeKind, Vec<(String, f32)>);

/// The declared event types, kinds and attributes, for decoding.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    types: Vec<(String, TypeId)>,
    kinds: Vec<String>,
    target: bool,
    attributes: Vec<Attribute>,
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
            .map(|(name, a)| {
                let mut values: Vec<_> =
                    a.values.iter().enumerate().map(|(i, v)| (v.clone(), i as f32)).collect();
                values.sort_by(|x, y| x.0.cmp(&y.0));
                (name.clone(), a.kind, values)
            })
            .collect();
        Self {
            types,
            kinds: config.kinds.keys().cloned().collect(),
            target: config.events.target,
            attributes,
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
        self.attributes.binary_search_by(|(n, _, _)| n.as_str().cmp(name)).ok()
    }

    /// Name of a slot's attribute.
    pub fn attribute(&self, slot: usize) -> &str {
        &self.attributes[slot].0
    }

    /// A number in a slot.
    pub fn number(&self, slot: usize, value: f64) -> f32 {
        match self.attributes[slot].1 {
            AttributeKind::Category => self.text(slot, &value.to_string()),
            AttributeKind::Boolean => f32::from(u8::from(value != 0.0)),
            AttributeKind::Number => {
                let max = crate::limits::ATTRIBUTE_ABS_MAX;
                if value.is_finite() { value.clamp(-max, max) as f32 } else { f32::NAN }
            }
        }
    }

    /// A truth value in a slot.
    pub fn boolean(&self, slot: usize, value: bool) -> f32 {
        match self.attributes[slot].1 {
            AttributeKind::Category => self.text(slot, if value { "true" } else { "false" }),
            _ => f32::from(u8::from(value)),
        }
    }

    /// A text in a slot: a category's index, or the number that it spells, or absent.
    pub fn text(&self, slot: usize, value: &str) -> f32 {
        let (_, kind, values) = &self.attributes[slot];
        match kind {
            AttributeKind::Category => values
                .binary_search_by(|(v, _)| v.as_str().cmp(value))
                .map_or(values.len() as f32, |i| values[i].1),
            AttributeKind::Boolean => match value {
                "true" | "1" | "yes" => 1.0,
                "false" | "0" | "no" => 0.0,
                _ => f32::NAN,
            },
            AttributeKind::Number => {
                value.trim().parse::<f64>().map_or(f32::NAN, |v| self.number(slot, v))
            }
        }
    }
}
