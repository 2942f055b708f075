//! Walks from root to leaf without branches: one row through 8 trees at a time, or 16 rows through one tree.
//!
//! The step of a walk waits for the step before it; independent walks side by side hide that wait.

use super::{LANES, Plan, Sum};
use crate::forest::{Child, Tree};

/// Trees that one row walks side by side.
const TREES: usize = 8;

/// A split or a leaf. The right child stands after the left one; a leaf leads to itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalkNode {
    pub input: u32,
    pub threshold: i32,
    pub left: u32,
}

/// A tree's place among the walk nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalkTree {
    pub root: u32,
    pub depth: u32,
}

impl<T: Sum> Plan<T> {
    /// Adds a tree, level by level, siblings side by side.
    pub fn push_walk(&mut self, tree: &Tree, asked: &[(u32, i32)]) {
        let root = self.walk_nodes.len() as u32;
        let mut level = vec![if tree.nodes.is_empty() { Child::Leaf(0) } else { Child::Node(0) }];
        let mut next_free = root + 1;
        while !level.is_empty() {
            let mut below = Vec::new();
            for child in &level {
                let (node, value) = match *child {
                    Child::Leaf(leaf) => {
                        let own = self.walk_nodes.len() as u32;
                        let node = WalkNode { input: 0, threshold: i32::MAX, left: own };
                        (node, tree.leaves[leaf as usize].value)
                    }
                    Child::Node(index) => {
                        let (input, threshold) = asked[index as usize];
                        let node = WalkNode { input, threshold, left: next_free };
                        next_free += 2;
                        let split = &tree.nodes[index as usize];
                        below.extend([split.left, split.right]);
                        (node, 0.0)
                    }
                };
                self.walk_nodes.push(node);
                self.walk_leaves.push(T::from_f64(value));
            }
            level = below;
        }
        self.walks.push(WalkTree { root, depth: tree.depth as u32 });
    }

    /// The sum of one row.
    pub fn walk(&self, keys: &[i32]) -> T {
        let mut sum = self.start;
        let (groups, rest) = self.walks.as_chunks::<TREES>();
        for group in groups {
            let depth = group.iter().map(|tree| tree.depth).max().unwrap_or(0);
            let mut at = group.map(|tree| tree.root);
            for _ in 0..depth {
                let mut moved = 0;
                for at in &mut at {
                    let next = self.step(*at, |input| keys[input as usize]);
                    moved |= *at ^ next;
                    *at = next;
                }
                if moved == 0 {
                    break;
                }
            }
            for at in at {
                sum = sum + self.walk_leaves[at as usize];
            }
        }
        for tree in rest {
            let mut at = tree.root;
            for _ in 0..tree.depth {
                at = self.step(at, |input| keys[input as usize]);
            }
            sum = sum + self.walk_leaves[at as usize];
        }
        sum
    }

    /// Adds one tree's leaves to the sums of a block.
    #[inline(always)]
    pub fn walk_block(&self, tree: &WalkTree, keys: &[[i32; LANES]], sums: &mut [T; LANES]) {
        let mut at = [tree.root; LANES];
        for _ in 0..tree.depth {
            let mut moved = 0;
            for (lane, at) in at.iter_mut().enumerate() {
                let next = self.step(*at, |input| keys[input as usize][lane]);
                moved |= *at ^ next;
                *at = next;
            }
            if moved == 0 {
                break;
            }
        }
        for (sum, at) in sums.iter_mut().zip(at) {
            *sum = *sum + self.walk_leaves[at as usize];
        }
    }

    #[inline(always)]
    fn step(&self, at: u32, key: impl Fn(u32) -> i32) -> u32 {
        let node = &self.walk_nodes[at as usize];
        node.left + u32::from(key(node.input) > node.threshold)
    }
}
