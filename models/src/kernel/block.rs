//! Sixteen rows through every tree, without a branch on a row's values.

use super::{LANES, Pick, Plan, Rows, Sum};
use crate::forest::{Child, Tree};

/// How a block takes one tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaskTree {
    pub kind: MaskKind,
    /// First of its splits in `mask_nodes`.
    pub node: u32,
    /// Number of its splits.
    pub nodes: u32,
    /// First of its values in `mask_leaves`.
    pub leaf: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaskKind {
    /// Up to 32 leaves: one word per row.
    Narrow,
    /// Up to 64 leaves: two words per row.
    Wide,
    /// More leaves: walked.
    Walk,
}

/// A split: the leaves on its left are struck out if the input exceeds the threshold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WideNode {
    pub input: u32,
    pub threshold: i32,
    /// Bits of leaves 0 to 31 that stay when the row goes right.
    pub keep_low: u32,
    /// Bits of leaves 32 to 63 that stay when the row goes right.
    pub keep_high: u32,
}

impl<T: Sum> Plan<T> {
    /// Adds a tree's masks, if it is small enough for them.
    pub fn push_mask(&mut self, tree: &Tree, asked: &[(u32, i32)]) {
        let kind = match tree.leaves.len() {
            0..=32 => MaskKind::Narrow,
            33..=64 => MaskKind::Wide,
            _ => MaskKind::Walk,
        };
        let node = self.mask_nodes.len() as u32;
        let leaf = self.mask_leaves.len() as u32;
        let mut nodes = 0;
        if kind != MaskKind::Walk {
            let first = first_leaves(tree);
            for (index, (&(input, threshold), split)) in asked.iter().zip(&tree.nodes).enumerate() {
                // The leaves on the left are those from this split's first up to the right child's first.
                let end = match split.right {
                    Child::Leaf(leaf) => leaf,
                    Child::Node(node) => first[node as usize],
                };
                let struck = bits_below(end) & !bits_below(first[index]);
                let (keep_low, keep_high) = (!struck as u32, (!struck >> 32) as u32);
                self.mask_nodes.push(WideNode { input, threshold, keep_low, keep_high });
            }
            nodes = asked.len() as u32;
            let places = if kind == MaskKind::Narrow { 32 } else { 64 };
            self.mask_leaves.extend(tree.leaves.iter().map(|leaf| T::from_f64(leaf.value)));
            self.mask_leaves.resize(leaf as usize + places, T::default());
        }
        self.blocks.push(MaskTree { kind, node, nodes, leaf });
    }

    /// The sums of a block of rows.
    #[inline(always)]
    pub fn sum_rows<P: Pick>(&self, rows: Rows<'_>) -> [T; LANES] {
        rows.inputs.fill_block(rows.values, rows.columns, rows.keys);
        self.sum_block::<P>(rows.keys)
    }

    #[inline(always)]
    fn sum_block<P: Pick>(&self, keys: &[[i32; LANES]]) -> [T; LANES] {
        let mut sums = [self.start; LANES];
        for (tree, walk) in self.blocks.iter().zip(&self.walks) {
            let nodes = &self.mask_nodes[tree.node as usize..(tree.node + tree.nodes) as usize];
            let leaves = &self.mask_leaves[tree.leaf as usize..];
            match tree.kind {
                MaskKind::Narrow => {
                    let found = narrow(nodes, keys);
                    if let Some((leaves, _)) = leaves.split_first_chunk::<32>() {
                        let values = T::pick::<P>(leaves, &found.map(u32::trailing_zeros));
                        for lane in 0..LANES {
                            sums[lane] = sums[lane] + values[lane];
                        }
                    }
                }
                MaskKind::Wide => {
                    let (low, high) = wide(nodes, keys);
                    if let Some((leaves, _)) = leaves.split_first_chunk::<64>() {
                        for ((sum, low), high) in sums.iter_mut().zip(low).zip(high) {
                            let found = u64::from(high) << 32 | u64::from(low);
                            *sum = *sum + leaves[(found.trailing_zeros() & 63) as usize];
                        }
                    }
                }
                MaskKind::Walk => self.walk_block(walk, keys, &mut sums),
            }
        }
        sums
    }
}

/// Per row, the bits of the leaves that remain.
#[inline(always)]
fn narrow(nodes: &[WideNode], keys: &[[i32; LANES]]) -> [u32; LANES] {
    let mut remain = [u32::MAX; LANES];
    for node in nodes {
        let keys = &keys[node.input as usize];
        for lane in 0..LANES {
            let left = u32::from(keys[lane] > node.threshold).wrapping_sub(1);
            remain[lane] &= node.keep_low | left;
        }
    }
    remain
}

/// As [`narrow`], for up to 64 leaves.
#[inline(always)]
fn wide(nodes: &[WideNode], keys: &[[i32; LANES]]) -> ([u32; LANES], [u32; LANES]) {
    let mut low = [u32::MAX; LANES];
    let mut high = [u32::MAX; LANES];
    for node in nodes {
        let keys = &keys[node.input as usize];
        for lane in 0..LANES {
            let left = u32::from(keys[lane] > node.threshold).wrapping_sub(1);
            low[lane] &= node.keep_low | left;
            high[lane] &= node.keep_high | left;
        }
    }
    (low, high)
}

/// The first leaf under each split. Splits are in depth-first order, so children come after their parents.
fn first_leaves(tree: &Tree) -> Vec<u32> {
    let mut first = vec![0; tree.nodes.len()];
    for (index, node) in tree.nodes.iter().enumerate().rev() {
        first[index] = match node.left {
            Child::Leaf(leaf) => leaf,
            Child::Node(node) => first[node as usize],
        };
    }
    first
}

/// The bits 0 to `end - 1`.
fn bits_below(end: u32) -> u64 {
    if end >= 64 { u64::MAX } else { (1 << end) - 1 }
}
