//! The fast form of a forest's sum, bit-equal to [`Forest::margin`].
//!
//! Every split is made the same plain question. A row's columns are first turned into *inputs*: 32-bit keys in the order
//! of the floats, one per column and way of treating missing values, or one per category set. Then every split is
//! `input > threshold`, without missing values, zeros or categories (`inputs.rs`).
//!
//! Rows are scored in blocks of 16. A tree of up to 64 leaves is scored without any branch, after QuickScorer (Lucchese
//! et al., SIGIR 2015): each split whose answer is "right" strikes the leaves on its left from a bit mask, and the lowest
//! bit that remains is the row's leaf (`block.rs`). Larger trees are walked, 16 rows side by side. Fewer rows than are
//! worth a block are walked with 8 trees side by side (`walk.rs`).
//!
//! Leaves are always added in tree order in the library's precision, so neither the kernel nor the size of a batch
//! changes a bit.

mod block;
mod dispatch;
mod inputs;
mod pick;
mod walk;

use std::ops::Add;

use crate::forest::{Forest, Library, Tree};
use block::{MaskTree, WideNode};
use inputs::Inputs;
use pick::Pick;
use walk::{WalkNode, WalkTree};

/// Rows that are scored side by side.
pub(crate) const LANES: usize = 16;

/// Rows that do not have the announced shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{values} values are not whole rows of {columns} columns; pass rows one after the other, none of 0 columns"
)]
pub struct ShapeError {
    /// Number of values passed.
    pub values: usize,
    /// Columns per row, as announced.
    pub columns: usize,
}

/// A forest prepared for scoring.
///
/// ```
/// # let text = b"tree\nversion=v4\nmax_feature_idx=0\nobjective=binary sigmoid:1\n\nTree=0\nnum_leaves=2\n\
/// #     split_feature=0\nthreshold=1.5\ndecision_type=2\nleft_child=-1\nright_child=-2\nleaf_value=-1 2\n\nend of trees\n";
/// let forest = models::forest::lightgbm::from_text(text).unwrap();
/// let kernel = models::Kernel::new(&forest);
/// let mut margins = Vec::new();
/// kernel.margins(&[0.0, 9.0, f32::NAN], 1, &mut margins).unwrap();
/// assert_eq!(margins, [-1.0, 2.0, -1.0]);
/// ```
#[derive(Debug, Clone)]
pub struct Kernel {
    inputs: Inputs,
    trees: Trees,
}

/// The trees in the precision of their sum.
#[derive(Debug, Clone)]
enum Trees {
    F32(Plan<f32>),
    F64(Plan<f64>),
}

/// What the block and the walk need of every tree.
#[derive(Debug, Clone)]
pub(crate) struct Plan<T> {
    pub start: T,
    pub blocks: Vec<MaskTree>,
    pub mask_nodes: Vec<WideNode>,
    /// Leaf values for masks: 32 or 64 per tree, so that any bit index is inside.
    pub mask_leaves: Vec<T>,
    pub walks: Vec<WalkTree>,
    pub walk_nodes: Vec<WalkNode>,
    /// Per walk node, its value if it is a leaf.
    pub walk_leaves: Vec<T>,
    /// A block of fewer rows than this is walked row by row.
    block_rows_min: usize,
}

/// A block of rows on its way to sums.
pub(crate) struct Rows<'a> {
    pub inputs: &'a Inputs,
    /// One row after the other, up to [`LANES`].
    pub values: &'a [f32],
    pub columns: usize,
    /// Room for the keys.
    pub keys: &'a mut Vec<[i32; LANES]>,
}

/// The precision of a sum.
pub(crate) trait Sum: Copy + Default + Add<Output = Self> {
    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    /// The value at each place, as [`Pick`] does it.
    fn pick<P: Pick>(values: &[Self; 32], places: &[u32; LANES]) -> [Self; LANES];
}

impl Sum for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn pick<P: Pick>(values: &[f32; 32], places: &[u32; LANES]) -> [f32; LANES] {
        P::singles(values, places)
    }
}

impl Sum for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn pick<P: Pick>(values: &[f64; 32], places: &[u32; LANES]) -> [f64; LANES] {
        P::doubles(values, places)
    }
}

impl Kernel {
    /// Prepares a forest whose column `i` is column `i` of the rows. Cost: linear in the forest, a few milliseconds for
    /// 300 trees.
    #[must_use]
    pub fn new(forest: &Forest) -> Self {
        let same: Vec<usize> = (0..forest.columns).collect();
        Self::with_columns(forest, &same)
    }

    /// Prepares a forest whose column `i` is column `positions[i]` of the rows, so that nothing is gathered later. A
    /// column without a position, or outside of the rows, is missing.
    #[must_use]
    pub fn with_columns(forest: &Forest, positions: &[usize]) -> Self {
        let mut inputs = Inputs::new(forest.library, positions);
        let trees = match forest.library {
            Library::XgBoost => Trees::F32(Plan::new(forest, forest.start, &mut inputs)),
            Library::LightGbm => Trees::F64(Plan::new(forest, 0.0, &mut inputs)),
        };
        inputs.finish();
        Kernel { inputs, trees }
    }

    /// The margins of rows that stand one after the other, appended to `out`; equal to [`Forest::margin`] bit for bit,
    /// whatever the number of rows. Cost: with AVX-512, 300 trees of 31 leaves over 314 columns take about 1 us per row in
    /// batches of 16 and more, 5 us alone (`bench_kernel`).
    ///
    /// # Errors
    ///
    /// [`ShapeError`] if `rows` is not whole rows of `columns`; then `out` is as it was.
    pub fn margins(
        &self,
        rows: &[f32],
        columns: usize,
        out: &mut Vec<f64>,
    ) -> Result<(), ShapeError> {
        let whole = rows.len().checked_rem(columns).map_or(rows.is_empty(), |rest| rest == 0);
        if !whole {
            return Err(ShapeError { values: rows.len(), columns });
        }
        if columns > 0 {
            match &self.trees {
                Trees::F32(plan) => plan.margins(&self.inputs, rows, columns, out),
                Trees::F64(plan) => plan.margins(&self.inputs, rows, columns, out),
            }
        }
        Ok(())
    }

    /// The margin of one row. A column that the row lacks is missing.
    #[must_use]
    pub fn margin(&self, row: &[f32]) -> f64 {
        let mut keys = Vec::new();
        match &self.trees {
            Trees::F32(plan) => plan.margin(&self.inputs, row, &mut keys),
            Trees::F64(plan) => plan.margin(&self.inputs, row, &mut keys),
        }
    }
}

impl<T: Sum> Plan<T> {
    fn new(forest: &Forest, start: T, inputs: &mut Inputs) -> Self {
        let mut plan = Plan {
            start,
            blocks: Vec::new(),
            mask_nodes: Vec::new(),
            mask_leaves: Vec::new(),
            walks: Vec::new(),
            walk_nodes: Vec::new(),
            walk_leaves: Vec::new(),
            block_rows_min: 0,
        };
        for tree in &forest.trees {
            let asked = questions(tree, inputs);
            plan.push_mask(tree, &asked);
            plan.push_walk(tree, &asked);
        }
        plan.block_rows_min = plan.rows_worth_a_block();
        plan
    }

    /// From how many rows on a block is cheaper than single walks. Measured: a split of a mask takes a block as long as a
    /// step of a walk takes one row, under 2 ns; five times that without AVX2, where blocks may never be worth it.
    fn rows_worth_a_block(&self) -> usize {
        let in_walks = |tree: &MaskTree| tree.kind == block::MaskKind::Walk;
        let walked = self.blocks.iter().zip(&self.walks).filter(|(tree, _)| in_walks(tree));
        let walked: usize = walked.map(|(_, walk)| walk.depth as usize).sum();
        let row: usize = self.walks.iter().map(|walk| walk.depth as usize).sum();
        let (split, most) =
            if dispatch::blocks_are_fast() { (1, LANES - 4) } else { (5, LANES + 1) };
        let block = split * self.mask_nodes.len() + LANES * walked;
        (block / row.max(1)).clamp(2, most)
    }

    fn margin(&self, inputs: &Inputs, row: &[f32], keys: &mut Vec<i32>) -> f64 {
        inputs.fill_row(row, keys);
        self.walk(keys).to_f64()
    }

    fn margins(&self, inputs: &Inputs, rows: &[f32], columns: usize, out: &mut Vec<f64>) {
        out.reserve(rows.len() / columns);
        let mut keys = Vec::new();
        let mut block = Vec::new();
        for rows in rows.chunks(columns * LANES) {
            let count = rows.len() / columns;
            if count < self.block_rows_min {
                out.extend(rows.chunks(columns).map(|row| self.margin(inputs, row, &mut keys)));
            } else {
                let rows = Rows { inputs, values: rows, columns, keys: &mut block };
                let sums = dispatch::sum_rows(self, rows);
                out.extend(sums[..count].iter().map(|sum| sum.to_f64()));
            }
        }
    }
}

/// The inputs and thresholds of a tree's splits, in the order of its nodes.
fn questions(tree: &Tree, inputs: &mut Inputs) -> Vec<(u32, i32)> {
    tree.nodes.iter().map(|node| inputs.question(node, &tree.categories)).collect()
}
