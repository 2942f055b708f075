//! Which columns moved a margin: exact path-dependent TreeSHAP, in time linear in the leaves.
//!
//! Lundberg, Erion, Lee, "Consistent individualized feature attribution for tree ensembles" (2018): the Shapley values of
//! the game in which a column that is not known is averaged out along the tree, weighted by the training rows (LightGBM's
//! counts, XGBoost's sums of hessians) that went each way. Their algorithm 2 takes leaves x depth^2 per tree. Here the
//! coalitions of a path are a polynomial, as in Yu, Xu, Nikolaidis, "Linear TreeShap" (2022), and Shapley's weights are
//! its integral, which a Gauss rule of enough points gives exactly (`attribution/paths.rs`). Cost: leaves x (columns on the longest
//! path / 16) per tree, for flagged events, after the decision.

mod paths;
mod quadrature;
mod vector;

use crate::forest::{Child, Forest, Tree};
use paths::Paths;
use std::sync::Arc;

/// Why rows of a forest cannot be explained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model file does not say how many training rows reached each node; save it with its counts (hessians)"
)]
pub struct NoCovers;

/// What each column added to a margin.
#[derive(Debug, Clone, PartialEq)]
pub struct Contributions {
    /// The mean margin of the training rows, as the trees remember them.
    pub base: f64,
    /// Per column of the forest, what its value added to the base. Base and contributions add up to the margin (for
    /// XGBoost to the margin before it is rounded to `f32` at each tree).
    pub columns: Vec<f64>,
}

/// Explains the margins of one forest.
#[derive(Debug, Clone)]
pub struct Explainer {
    forest: Arc<Forest>,
    paths: Paths,
    base: f64,
}

impl Explainer {
    /// Prepares to explain a forest. Cost: linear in the forest and the depth of its trees; keep the explainer.
    ///
    /// # Errors
    ///
    /// [`NoCovers`] if the file did not hold the weights of the training rows.
    pub fn new(forest: Arc<Forest>) -> Result<Self, NoCovers> {
        if !forest.has_covers {
            return Err(NoCovers);
        }
        let means = forest.trees.iter().map(mean_of);
        let base = f64::from(forest.start) + means.sum::<f64>();
        Ok(Explainer { paths: Paths::new(&forest), forest, base })
    }

    /// The mean margin of the training rows.
    #[must_use]
    pub fn base(&self) -> f64 {
        self.base
    }

    /// Explains one row. A column that the row lacks is missing.
    ///
    /// ```
    /// # let text = b"tree\nversion=v4\nmax_feature_idx=1\nobjective=binary sigmoid:1\n\nTree=0\nnum_leaves=2\n\
    /// #     split_feature=1\nthreshold=1.5\ndecision_type=2\nleft_child=-1\nright_child=-2\nleaf_value=-1 2\n\
    /// #     leaf_count=30 10\ninternal_count=40\n\nend of trees\n";
    /// let forest = models::forest::lightgbm::from_text(text).unwrap();
    /// let explained = models::Explainer::new(forest.into()).unwrap().explain(&[0.0, 9.0]);
    /// assert_eq!(explained.base, -0.25);
    /// assert!((explained.columns[1] - 2.25).abs() < 1e-12 && explained.columns[0] == 0.0);
    /// ```
    #[must_use]
    pub fn explain(&self, row: &[f32]) -> Contributions {
        Contributions { base: self.base, columns: self.paths.contributions(&self.forest, row) }
    }
}

/// The share of a split's training rows that went left; half where no row came at all.
fn left_share(tree: &Tree, node: u32) -> f64 {
    let node = &tree.nodes[node as usize];
    let cover = |child| match child {
        Child::Leaf(leaf) => tree.leaves[leaf as usize].cover,
        Child::Node(node) => tree.nodes[node as usize].cover,
    };
    let (left, right) = (cover(node.left), cover(node.right));
    // Of the children's own sum: a file's rounding must not lose or make rows.
    let both = left + right;
    if both > 0.0 && both.is_finite() { (left / both).clamp(0.0, 1.0) } else { 0.5 }
}

/// A tree's mean over its training rows.
fn mean_of(tree: &Tree) -> f64 {
    // Children come after their parents, so going backwards meets them first.
    let mut means = vec![0.0; tree.nodes.len()];
    let mean = |child, means: &[f64]| match child {
        Child::Leaf(leaf) => tree.leaves[leaf as usize].value,
        Child::Node(node) => means[node as usize],
    };
    for index in (0..tree.nodes.len()).rev() {
        let node = &tree.nodes[index];
        let share = left_share(tree, index as u32);
        means[index] = share * mean(node.left, &means) + (1.0 - share) * mean(node.right, &means);
    }
    means.first().copied().unwrap_or_else(|| tree.leaves[0].value)
}
