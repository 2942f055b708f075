//! The parts of XGBoost's model document that a score depends on; the JSON and UBJ readers fill the same types.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::limits::{NAME_BYTES_MAX, NODES_MAX};

#[derive(serde::Deserialize)]
pub(super) struct Document {
    pub learner: Learner,
}

#[derive(serde::Deserialize)]
pub(super) struct Learner {
    #[serde(default)]
    pub feature_names: Capped<Name>,
    pub gradient_booster: Booster,
    pub learner_model_param: LearnerParameters,
    pub objective: Objective,
}

#[derive(serde::Deserialize)]
pub(super) struct Booster {
    pub name: String,
    pub model: Option<Model>,
}

#[derive(serde::Deserialize)]
pub(super) struct LearnerParameters {
    pub base_score: Option<String>,
    pub num_class: Option<String>,
    pub num_feature: Option<String>,
    pub num_target: Option<String>,
}

#[derive(serde::Deserialize)]
pub(super) struct Objective {
    pub name: String,
}

#[derive(serde::Deserialize)]
pub(super) struct Model {
    pub gbtree_model_param: Option<TreesParameters>,
    #[serde(default)]
    pub tree_info: Capped<i64>,
    #[serde(default)]
    pub trees: Capped<RawTree>,
    pub weight_drop: Option<Capped<f32>>,
}

#[derive(serde::Deserialize)]
pub(super) struct TreesParameters {
    pub num_trees: Option<String>,
}

#[derive(serde::Deserialize)]
pub(super) struct RawTree {
    #[serde(default)]
    pub categories: Capped<i64>,
    #[serde(default)]
    pub categories_nodes: Capped<i64>,
    #[serde(default)]
    pub categories_segments: Capped<i64>,
    #[serde(default)]
    pub categories_sizes: Capped<i64>,
    pub default_left: Capped<Flag>,
    pub left_children: Capped<i64>,
    pub right_children: Capped<i64>,
    pub split_conditions: Capped<f32>,
    pub split_indices: Capped<i64>,
    #[serde(default)]
    pub split_type: Capped<i64>,
    #[serde(default)]
    pub sum_hessian: Capped<f32>,
    pub tree_param: Option<TreeParameters>,
}

#[derive(serde::Deserialize)]
pub(super) struct TreeParameters {
    pub size_leaf_vector: Option<String>,
}

/// A list of at most [`NODES_MAX`] items, whatever length the file announces.
pub(super) struct Capped<T>(pub Vec<T>);

impl<T> Default for Capped<T> {
    fn default() -> Self {
        Capped(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Capped<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Capped<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Capped<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == NODES_MAX {
                        return Err(A::Error::custom(format!("a list has over {NODES_MAX} items")));
                    }
                    items.push(item);
                }
                Ok(Capped(items))
            }
        }
        deserializer.deserialize_seq(Items(PhantomData))
    }
}

/// A truth value, which XGBoost has written as `true` and as `1`.
pub(super) struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Flag;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("0, 1, true or false")
            }
            fn visit_bool<E: Error>(self, flag: bool) -> Result<Flag, E> {
                Ok(Flag(flag))
            }
            fn visit_u64<E: Error>(self, flag: u64) -> Result<Flag, E> {
                Ok(Flag(flag != 0))
            }
            fn visit_i64<E: Error>(self, flag: i64) -> Result<Flag, E> {
                Ok(Flag(flag != 0))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A column name of bounded length.
pub(super) struct Name(pub String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name.len() > NAME_BYTES_MAX {
            return Err(D::Error::custom(format!("a name has over {NAME_BYTES_MAX} bytes")));
        }
        Ok(Name(name))
    }
}
