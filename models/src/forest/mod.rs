//! Boosted trees in memory, and what a row does in them.
//!
//! The readers ([`xgboost`], [`lightgbm`]) translate both libraries' rules into one form that keeps every bit of the result:
//!
//! * A numeric split sends `x <= threshold` left, in `f32`. LightGBM compares in `f64`, but a row holds `f32`, so the
//!   largest `f32` at or below its threshold decides the same. XGBoost's `x < t` is `x <=` the next float below `t`.
//! * Leaves are added in tree order, in the library's precision: `f32` from the base margin on for XGBoost, `f64` from
//!   zero on for LightGBM.

mod build;
mod categories;
mod error;
pub mod lightgbm;
mod recognise;
mod ubj;
pub mod xgboost;
mod xgboost_json;

pub(crate) use build::{RawChild, RawNode, build_tree};
pub(crate) use categories::NamedCategories;
pub use error::ForestError;

/// Values whose size is at most this are zero to LightGBM (its `kZeroThreshold`, the float `1e-35f`).
pub(crate) const LIGHTGBM_ZERO: f32 = 1e-35;

/// A boosted forest with one output.
///
/// ```
/// let text = b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=0\nobjective=regression\n\
///     feature_names=speed\n\nTree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature=0\nthreshold=1.5\ndecision_type=2\n\
///     left_child=-1\nright_child=-2\nleaf_value=-1 2\nleaf_count=3 1\ninternal_count=4\nis_linear=0\n\nend of trees\n";
/// let forest = models::forest::lightgbm::from_text(text).unwrap();
/// assert_eq!(forest.margin(&[1.0]), -1.0);
/// assert_eq!(forest.margin(&[2.0]), 2.0);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    pub(crate) columns: usize,
    pub(crate) column_names: Vec<String>,
    pub(crate) trees: Vec<Tree>,
    pub(crate) library: Library,
    pub(crate) start: f32,
    pub(crate) link: Link,
    pub(crate) has_covers: bool,
    /// Columns whose categories the file numbers by name; see [`Forest::with_declared_categories`].
    pub(crate) named_categories: Vec<NamedCategories>,
}

/// Whose rules a forest follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// Sums in `f32` from the base margin on; a category is valid in `0 <= x < 2^24`.
    XgBoost,
    /// Sums in `f64` from zero on; a category is `x` cut towards zero, valid in `0 <= x < 2^31`.
    LightGbm,
}

/// How a margin becomes a prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Link {
    /// The margin itself (regression).
    Identity,
    /// XGBoost's sigmoid, in `f32`: `1 / (exp(min(-x, 88.7)) + 1 + 1e-16)`.
    LogisticF32,
    /// LightGBM's sigmoid, in `f64`: `1 / (1 + exp(-scale * x))`.
    LogisticF64 {
        /// LightGBM's `sigmoid` parameter.
        scale: f64,
    },
    /// `exp(x)` in `f32` (XGBoost's Poisson, gamma, Tweedie).
    ExpF32,
    /// `exp(x)` in `f64` (LightGBM's Poisson, gamma, Tweedie).
    ExpF64,
}

impl Link {
    /// The prediction for a margin; for a logistic link, a probability.
    ///
    /// Bit-equal to the library where both use the same `exp` (measured with glibc); elsewhere the last bit may differ.
    #[must_use]
    pub fn apply(self, margin: f64) -> f64 {
        match self {
            Link::Identity => margin,
            Link::LogisticF32 => {
                let x = (-(margin as f32)).min(88.7);
                f64::from(1.0f32 / (x.exp() + 1.0 + 1e-16))
            }
            Link::LogisticF64 { scale } => 1.0 / (1.0 + (-scale * margin).exp()),
            Link::ExpF32 => f64::from((margin as f32).exp()),
            Link::ExpF64 => margin.exp(),
        }
    }

    /// Whether [`Link::apply`] gives a probability.
    #[must_use]
    pub fn is_logistic(self) -> bool {
        matches!(self, Link::LogisticF32 | Link::LogisticF64 { .. })
    }
}

/// One tree. Splits are in depth-first order, root first; leaves are numbered from left to right.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tree {
    pub nodes: Vec<Node>,
    pub leaves: Vec<Leaf>,
    /// The category sets of this tree, each sorted, one after the other.
    pub categories: Vec<u32>,
    /// Longest path, in splits.
    pub depth: usize,
}

/// A split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Node {
    pub column: u32,
    pub test: Test,
    pub left: Child,
    pub right: Child,
    /// Weight of the training rows that came here: LightGBM's counts, XGBoost's sums of hessians.
    pub cover: f64,
}

/// A leaf.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Leaf {
    pub value: f64,
    pub cover: f64,
}

/// Where a split leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Child {
    Node(u32),
    Leaf(u32),
}

/// What a split asks of its column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Test {
    /// Left if `x <= threshold`; a NaN threshold sends no number left.
    AtMost { threshold: f32, missing_left: bool, zero_is_missing: bool },
    /// Left if `x` is a valid category that is in `categories[start..start + len]`, equal to `in_set_left`.
    InSet { start: u32, len: u32, in_set_left: bool, missing_left: bool },
}

impl Test {
    /// Whether `x` goes left.
    pub fn goes_left(&self, x: f32, library: Library, categories: &[u32]) -> bool {
        match *self {
            Test::AtMost { threshold, missing_left, zero_is_missing } => {
                if x.is_nan() || (zero_is_missing && x.abs() <= LIGHTGBM_ZERO) {
                    missing_left
                } else {
                    x <= threshold
                }
            }
            Test::InSet { start, len, in_set_left, missing_left } => {
                if x.is_nan() {
                    return missing_left;
                }
                let set = &categories[start as usize..(start + len) as usize];
                let inside = category(x, library).is_some_and(|c| set.binary_search(&c).is_ok());
                inside == in_set_left
            }
        }
    }
}

/// The category that a value stands for, if it is valid to the library.
fn category(x: f32, library: Library) -> Option<u32> {
    let valid = match library {
        Library::XgBoost => (0.0..16_777_216.0).contains(&x),
        // C's cast cuts -0.7 to category 0, and gives a negative number for what does not fit.
        Library::LightGbm => x > -1.0 && x < 2_147_483_648.0,
    };
    valid.then_some(x as u32)
}

impl Tree {
    /// The index of the leaf that a row reaches. A column that the row lacks counts as missing.
    pub fn leaf_of(&self, row: &[f32], library: Library) -> usize {
        let mut at = if self.nodes.is_empty() { Child::Leaf(0) } else { Child::Node(0) };
        loop {
            match at {
                Child::Leaf(leaf) => return leaf as usize,
                Child::Node(node) => {
                    let node = &self.nodes[node as usize];
                    let x = row.get(node.column as usize).copied().unwrap_or(f32::NAN);
                    let left = node.test.goes_left(x, library, &self.categories);
                    at = if left { node.left } else { node.right };
                }
            }
        }
    }
}

impl Forest {
    /// Columns that a row must have; indices of splits are below it.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The column names in the file, in order; empty if the file has none.
    #[must_use]
    pub fn column_names(&self) -> &[String] {
        &self.column_names
    }

    /// Number of trees.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// Number of leaves of the largest tree.
    #[must_use]
    pub fn leaves_max(&self) -> usize {
        self.trees.iter().map(|tree| tree.leaves.len()).max().unwrap_or(0)
    }

    /// Whose rules the forest follows.
    #[must_use]
    pub fn library(&self) -> Library {
        self.library
    }

    /// How a margin becomes a prediction.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link
    }

    /// Whether the file says how many training rows reached each node, which attribution needs.
    #[must_use]
    pub fn has_covers(&self) -> bool {
        self.has_covers
    }

    /// The raw margin (log-odds for a classifier) of a row: the reference that every kernel equals bit for bit.
    ///
    /// A column that the row lacks counts as missing. Cost: one dependent walk per tree, about 20 us for 300 trees of
    /// 31 leaves; use a [`crate::Kernel`] on the line.
    #[must_use]
    pub fn margin(&self, row: &[f32]) -> f64 {
        let leaves =
            self.trees.iter().map(|tree| tree.leaves[tree.leaf_of(row, self.library)].value);
        match self.library {
            Library::XgBoost => f64::from(leaves.fold(self.start, |sum, leaf| sum + leaf as f32)),
            Library::LightGbm => leaves.fold(0.0, |sum, leaf| sum + leaf),
        }
    }

    /// The prediction for a margin, as the library makes it; see [`Link::apply`].
    #[must_use]
    pub fn probability(&self, margin: f64) -> f64 {
        self.link.apply(margin)
    }
}
