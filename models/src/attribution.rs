//! Which columns moved a margin: exact path-dependent TreeSHAP.
//!
//! Lundberg, Erion, Lee, "Consistent individualized feature attribution for tree ensembles" (2018), algorithm 2: the
//! Shapley values of the game in which a column that is not known is averaged out along the tree, weighted by the training
//! rows (LightGBM's counts, XGBoost's sums of hessians) that went each way. Cost: leaves x depth^2 per tree, up to a
//! millisecond for 300 trees of 31 leaves: for flagged events, after the decision.

use crate::forest::{Child, Forest, Library, Tree};
use crate::limits::DEPTH_MAX;

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
pub struct Explainer<'a> {
    forest: &'a Forest,
    base: f64,
}

impl<'a> Explainer<'a> {
    /// Prepares to explain a forest. Cost: linear in the forest; keep the [`Explainer::base`] or the explainer.
    ///
    /// # Errors
    ///
    /// [`NoCovers`] if the file did not hold the weights of the training rows.
    pub fn new(forest: &'a Forest) -> Result<Self, NoCovers> {
        if !forest.has_covers {
            return Err(NoCovers);
        }
        let means = forest.trees.iter().map(mean_of);
        Ok(Explainer { forest, base: f64::from(forest.start) + means.sum::<f64>() })
    }

    /// An explainer whose base has been worked out before, by [`Explainer::new`] on the same forest.
    pub(crate) fn with_base(forest: &'a Forest, base: f64) -> Self {
        Explainer { forest, base }
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
    /// let explained = models::Explainer::new(&forest).unwrap().explain(&[0.0, 9.0]);
    /// assert_eq!(explained.base, -0.25);
    /// assert_eq!(explained.columns, [0.0, 2.25]);
    /// ```
    #[must_use]
    pub fn explain(&self, row: &[f32]) -> Contributions {
        let mut columns = vec![0.0; self.forest.columns];
        let mut path = Vec::new();
        for tree in &self.forest.trees {
            if tree.nodes.is_empty() {
                continue;
            }
            let walk = Walk { tree, row, library: self.forest.library };
            path.clear();
            let root = Step { zero: 1.0, one: true, column: None };
            walk.descend(Child::Node(0), 0, root, &mut path, &mut columns);
        }
        Contributions { base: self.base, columns }
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
    if both > 0.0 && both.is_finite() { left / both } else { 0.5 }
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

/// A split on the way: the shares of coalitions that pass it without (`zero`) and with (`one`) its column.
#[derive(Debug, Clone, Copy)]
struct Step {
    zero: f64,
    one: bool,
    column: Option<u32>,
}

/// A step in the path, with the weight of the coalitions of its size.
#[derive(Debug, Clone, Copy)]
struct Element {
    step: Step,
    weight: f64,
}

struct Walk<'a> {
    tree: &'a Tree,
    row: &'a [f32],
    library: Library,
}

impl Walk<'_> {
    /// Goes down from `child`; the parent's path is `path[start..]`, and what is added is taken away again.
    fn descend(
        &self,
        child: Child,
        start: usize,
        step: Step,
        path: &mut Vec<Element>,
        columns: &mut [f64],
    ) {
        let own = path.len();
        path.extend_from_within(start..own);
        extend(path, own, step);
        match child {
            Child::Leaf(leaf) => {
                let value = self.tree.leaves[leaf as usize].value;
                let path = &path[own..];
                for (index, element) in path.iter().enumerate().skip(1) {
                    if let Some(column) = element.step.column {
                        let weight = unwound_sum(path, index);
                        let one = f64::from(u8::from(element.step.one));
                        columns[column as usize] += weight * (one - element.step.zero) * value;
                    }
                }
            }
            Child::Node(index) => {
                let node = &self.tree.nodes[index as usize];
                let x = self.row.get(node.column as usize).copied().unwrap_or(f32::NAN);
                let share = left_share(self.tree, index);
                let hot_is_left = node.test.goes_left(x, self.library, &self.tree.categories);
                // A column that was asked before: its step is taken out, and its shares carry on.
                let mut before = Step { zero: 1.0, one: true, column: None };
                let seen = path[own..].iter().position(|e| e.step.column == Some(node.column));
                if let Some(seen) = seen {
                    before = path[own + seen].step;
                    unwind(path, own, seen);
                }
                for (child, share, hot) in
                    [(node.left, share, hot_is_left), (node.right, 1.0 - share, !hot_is_left)]
                {
                    let next = Step {
                        zero: before.zero * share,
                        one: hot && before.one,
                        column: Some(node.column),
                    };
                    // No coalition comes here: nothing to add, and nothing to divide by.
                    if next.zero > 0.0 || next.one {
                        self.descend(child, own, next, path, columns);
                    }
                }
            }
        }
        path.truncate(own);
    }
}

/// `1 / n`, so that the inner loops multiply; a path is at most one longer than a tree is deep.
static INVERSE: [f64; DEPTH_MAX + 3] = {
    let mut inverse = [0.0; DEPTH_MAX + 3];
    let mut n = 1;
    while n < inverse.len() {
        inverse[n] = 1.0 / n as f64;
        n += 1;
    }
    inverse
};

/// EXTEND: adds a step to the path from `own` on.
fn extend(path: &mut Vec<Element>, own: usize, step: Step) {
    let depth = path.len() - own;
    path.push(Element { step, weight: if depth == 0 { 1.0 } else { 0.0 } });
    let path = &mut path[own..];
    let one = if step.one { INVERSE[depth + 1] } else { 0.0 };
    let zero = step.zero * INVERSE[depth + 1];
    for i in (0..depth).rev() {
        path[i + 1].weight += one * path[i].weight * (i + 1) as f64;
        path[i].weight *= zero * (depth - i) as f64;
    }
}

/// UNWIND: takes step `index` out of the path from `own` on.
fn unwind(path: &mut Vec<Element>, own: usize, index: usize) {
    let elements = &mut path[own..];
    let depth = elements.len() - 1;
    let Step { zero, one, .. } = elements[index].step;
    let size = (depth + 1) as f64;
    let mut next = elements[depth].weight;
    if one {
        for i in (0..depth).rev() {
            let weight = elements[i].weight;
            elements[i].weight = next * size * INVERSE[i + 1];
            next = weight - elements[i].weight * zero * (depth - i) as f64 * INVERSE[depth + 1];
        }
    } else {
        let factor = size / zero;
        for i in (0..depth).rev() {
            elements[i].weight *= factor * INVERSE[depth - i];
        }
    }
    for i in index..depth {
        elements[i].step = elements[i + 1].step;
    }
    path.pop();
}

/// The sum of the weights that the path would have without step `index`.
fn unwound_sum(path: &[Element], index: usize) -> f64 {
    let depth = path.len() - 1;
    let Step { zero, one, .. } = path[index].step;
    let size = (depth + 1) as f64;
    let mut total = 0.0;
    if one {
        let mut next = path[depth].weight * size;
        for i in (0..depth).rev() {
            let weight = next * INVERSE[i + 1];
            total += weight;
            next = path[i].weight * size - weight * zero * (depth - i) as f64;
        }
        total
    } else {
        for i in 0..depth {
            total += path[i].weight * INVERSE[depth - i];
        }
        total * size / zero
    }
}
