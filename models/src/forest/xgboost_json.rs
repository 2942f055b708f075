//! The parts of XGBoost's model document that a score depends on; the JSON and UBJ readers fill the same types.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::limits::{NAME_BYTES_MAX, NODES_MAX};

#[derive(serde::Deserialize)]
pub(super) struct Document {
    pub learner: Learner,
    /// Of the library that wrote the file.
    #[serde(default)]
    pub version: Capped<i64>,
}

#[derive(serde::Deserialize)]
pub(super) struct Learner {
    #[serde(default)]
    pub attributes: Attributes,
    #[serde(default)]
    pub feature_names: Capped<Name>,
    pub gradient_booster: Booster,
    pub learner_model_param: LearnerParameters,
    pub objective: Objective,
}

/// What training noted; other attributes are free.
#[derive(Default, serde::Deserialize)]
pub(super) struct Attributes {
    /// Of early stopping.
    pub best_iteration: Option<String>,
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
    pub cats: CategoryLists,
    /// Where the trees of each round begin, and where the last ones end.
    #[serde(default)]
    pub iteration_indptr: Capped<i64>,
    #[serde(default)]
    pub tree_info: Capped<i64>,
    #[serde(default)]
    pub trees: Capped<RawTree>,
    pub weight_drop: Option<Capped<f32>>,
}

#[derive(serde::Deserialize)]
pub(super) struct TreesParameters {
    pub num_parallel_tree: Option<String>,
    pub num_trees: Option<String>,
}

/// Category lists of data frames, one per column; XGBoost writes them from 3.1 on.
#[derive(Default, serde::Deserialize)]
pub(super) struct CategoryLists {
    #[serde(default)]
    pub enc: Capped<CategoryValues>,
}

/// The category list of one column: numbers, or the bytes of texts with where each begins. Empty for a column without categories.
#[derive(serde::Deserialize)]
pub(super) struct CategoryValues {
    pub offsets: Option<Capped<i64>>,
    #[serde(default)]
    pub values: Capped<f64>,
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
    /// NaN, which XGBoost 1.6 to 2.1 write, where a split is categorical.
    pub split_conditions: Capped<Real>,
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

/// The text with `null` in place of `NaN`, which XGBoost writes and JSON does not have. `Infinity` stays as it is, and is refused where
/// a number is read.
pub(super) fn without_nan(bytes: &[u8]) -> Cow<'_, [u8]> {
    const NAN: &[u8] = b"NaN";
    if !bytes.windows(NAN.len()).any(|window| window == NAN) {
        return Cow::Borrowed(bytes);
    }
    let mut text = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    let (mut in_text, mut at) = (false, 0);
    while let Some(&byte) = bytes.get(at) {
        if !in_text && bytes[at..].starts_with(NAN) {
            text.extend_from_slice(b"null");
            at += NAN.len();
            continue;
        }
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => {
                text.push(byte);
                at += 1;
            }
            _ => {}
        }
        text.extend(bytes.get(at));
        at += 1;
    }
    Cow::Owned(text)
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

/// A number, or NaN for none.
pub(super) struct Real(pub f32);

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrNull;
        impl<'de> Visitor<'de> for NumberOrNull {
            type Value = Real;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number or null")
            }
            fn visit_none<E: Error>(self) -> Result<Real, E> {
                Ok(Real(f32::NAN))
            }
            fn visit_unit<E: Error>(self) -> Result<Real, E> {
                Ok(Real(f32::NAN))
            }
            // Read as 32 bits from its text: by way of 64 it would be rounded twice.
            fn visit_some<D: Deserializer<'de>>(self, number: D) -> Result<Real, D::Error> {
                f32::deserialize(number).map(Real)
            }
            fn visit_f32<E: Error>(self, number: f32) -> Result<Real, E> {
                Ok(Real(number))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Real, E> {
                Ok(Real(number as f32))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Real, E> {
                Ok(Real(number as f32))
            }
        }
        deserializer.deserialize_option(NumberOrNull)
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
