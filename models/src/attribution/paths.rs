//! Shapley values of a tree by integrals over its paths.
//!
//! On the way to a leaf of value `v`, let `z` be the share of training rows that pass the splits of a column, and `o` 1 if the row
//! itself passes them all, else 0. A coalition S of known columns brings `v * prod(o in S) * prod(z outside S)`. Shapley's weight of a
//! coalition of `k` among `d` columns is the integral of `t^k (1-t)^(d-1-k)` over [0, 1], so that a column's value is
//!
//! ```text
//! v * (o - z) * integral of prod over the other columns of (o t + z (1-t)) dt
//! ```
//!
//! a polynomial of degree `d - 1`: a Gauss rule of `d / 2` points is exact. At each point the product is carried down the tree, the
//! leaves are summed up it, and a split gives its column both together. A column that is asked again on a path has its factor there
//! divided out. All terms are sums of products of numbers in [0, 1]: nothing cancels.

use super::left_share;
use super::quadrature::{LANES, Lanes, Points, rule};
use crate::forest::{Child, Forest, Tree};

/// What does not depend on the row.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    trees: Vec<TreePaths>,
    /// The rule of each number of groups, from 1.
    rules: Vec<Vec<Points>>,
}

/// Places are numbered: first the splits of a tree, then its leaves. Edges, too: twice their split, plus 1 to the right.
#[derive(Debug, Clone)]
struct TreePaths {
    splits: Vec<Split>,
    /// Groups of points that the longest path needs; 0 for a single leaf.
    groups: usize,
}

#[derive(Debug, Clone, Copy)]
struct Split {
    column: u32,
    /// Where it leads.
    places: [u32; 2],
    /// `z` of its column, to the left and to the right.
    zero: [f64; 2],
    /// The last edge on the way here of the same column, or [`NONE`], and `z` there.
    before: u32,
    zero_before: f64,
}

const NONE: u32 = u32::MAX;
/// Instead of a `z` of nothing, where it is divided by: it is multiplied with nothing anyway.
const NEXT_TO_NOTHING: f64 = 1e-300;

/// Memory of one explanation.
#[derive(Default)]
struct Scratch {
    /// By edge: 1 if the row passes all splits of that column so far, else 0.
    one: Vec<f64>,
    /// By edge: what the product is multiplied with.
    factor: Vec<Lanes>,
    /// By place: the product on the way to it.
    reach: Vec<Lanes>,
    /// By place: the leaves below, each with the product on the way from here.
    below: Vec<Lanes>,
    columns: Vec<Lanes>,
}

impl Paths {
    pub fn new(forest: &Forest) -> Self {
        let trees: Vec<TreePaths> = forest.trees.iter().map(paths_of).collect();
        let groups = trees.iter().map(|tree| tree.groups).max().unwrap_or(0);
        let used = |groups| trees.iter().any(|tree| tree.groups == groups);
        let rules = (1..=groups).map(|groups| if used(groups) { rule(groups) } else { Vec::new() });
        Paths { rules: rules.collect(), trees }
    }

    /// What each column adds to the mean margin.
    pub fn contributions(&self, forest: &Forest, row: &[f32]) -> Vec<f64> {
        let columns = vec![[0.0; LANES]; forest.columns];
        let mut scratch = Scratch { columns, ..Scratch::default() };
        dispatch::add_all(self, forest, row, &mut scratch);
        scratch.columns.iter().map(|lanes| lanes.iter().sum()).collect()
    }

    #[inline(always)]
    fn add_all(&self, forest: &Forest, row: &[f32], scratch: &mut Scratch) {
        for (tree, paths) in forest.trees.iter().zip(&self.trees) {
            if paths.groups > 0 {
                pass(tree, paths, forest, row, scratch);
                for points in &self.rules[paths.groups - 1] {
                    carry_down(paths, points, scratch);
                    sum_up(tree, paths, points, scratch);
                }
            }
        }
    }
}

fn paths_of(tree: &Tree) -> TreePaths {
    let nodes = &tree.nodes;
    let mut splits: Vec<Split> = Vec::with_capacity(nodes.len());
    // By split: the edge that leads to it, and how many columns were asked up to and with it.
    let mut parents = vec![NONE; nodes.len()];
    let mut asked = vec![0usize; nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        // Children come after their parents.
        let mut before = parents[index];
        let above = if before == NONE { 0 } else { asked[before as usize / 2] };
        while before != NONE && nodes[before as usize / 2].column != node.column {
            before = parents[before as usize / 2];
        }
        let new = before == NONE;
        asked[index] = above + usize::from(new);
        let zero_before =
            if new { 1.0 } else { splits[before as usize / 2].zero[before as usize % 2] };
        let share = left_share(tree, index as u32);
        let mut places = [0; 2];
        for (side, child) in [node.left, node.right].into_iter().enumerate() {
            places[side] = match child {
                Child::Node(child) => {
                    parents[child as usize] = (2 * index + side) as u32;
                    child
                }
                Child::Leaf(leaf) => nodes.len() as u32 + leaf,
            };
        }
        splits.push(Split {
            column: node.column,
            places,
            zero: [zero_before * share, zero_before * (1.0 - share)],
            before,
            zero_before: zero_before.max(NEXT_TO_NOTHING),
        });
    }
    let most = asked.into_iter().max().unwrap_or(0);
    TreePaths { splits, groups: most.div_ceil(2 * LANES) }
}

/// Finds which way the row goes at each split, wherever it comes from.
#[inline(always)]
fn pass(tree: &Tree, paths: &TreePaths, forest: &Forest, row: &[f32], scratch: &mut Scratch) {
    let Scratch { one, factor, reach, below, .. } = scratch;
    one.clear();
    for (node, split) in tree.nodes.iter().zip(&paths.splits) {
        let x = row.get(node.column as usize).copied().unwrap_or(f32::NAN);
        let left = node.test.goes_left(x, forest.library, &tree.categories);
        let left = f64::from(u8::from(left));
        let so_far = if split.before == NONE { 1.0 } else { one[split.before as usize] };
        one.extend([so_far * left, so_far * (1.0 - left)]);
    }
    factor.resize(one.len(), [0.0; LANES]);
    let places = tree.nodes.len() + tree.leaves.len();
    reach.resize(places, [0.0; LANES]);
    below.resize(places, [0.0; LANES]);
}

#[inline(always)]
fn lanes(of: impl Fn(usize) -> f64) -> Lanes {
    let mut lanes = [0.0; LANES];
    for (lane, value) in lanes.iter_mut().enumerate() {
        *value = of(lane);
    }
    lanes
}

#[inline(always)]
fn carry_down(paths: &TreePaths, points: &Points, scratch: &mut Scratch) {
    let Points { at, rest, .. } = points;
    let Scratch { one, factor, reach, .. } = scratch;
    reach[0] = [1.0; LANES];
    for (index, split) in paths.splits.iter().enumerate() {
        let mut so_far = reach[index];
        if split.before != NONE {
            // The column's factor so far is taken out, here and for all that comes.
            let (one, zero) = (one[split.before as usize], split.zero_before);
            so_far = lanes(|l| so_far[l] / (one * at[l] + zero * rest[l]));
            reach[index] = so_far;
        }
        for side in 0..2 {
            let (one, zero) = (one[2 * index + side], split.zero[side]);
            let times = lanes(|l| one * at[l] + zero * rest[l]);
            factor[2 * index + side] = times;
            reach[split.places[side] as usize] = lanes(|l| so_far[l] * times[l]);
        }
    }
}

#[inline(always)]
fn sum_up(tree: &Tree, paths: &TreePaths, points: &Points, scratch: &mut Scratch) {
    let Points { at, rest, weight } = points;
    let Scratch { one, factor, reach, below, columns } = scratch;
    for (below, leaf) in below[tree.nodes.len()..].iter_mut().zip(&tree.leaves) {
        *below = lanes(|l| leaf.value * weight[l]);
    }
    for (index, split) in paths.splits.iter().enumerate().rev() {
        let [left, right] = split.places.map(|place| below[place as usize]);
        let (left_factor, right_factor) = (factor[2 * index], factor[2 * index + 1]);
        let left_gain = one[2 * index] - split.zero[0];
        let right_gain = one[2 * index + 1] - split.zero[1];
        let mut sum = lanes(|l| left[l] * left_factor[l] + right[l] * right_factor[l]);
        let mut moved = lanes(|l| left[l] * left_gain + right[l] * right_gain);
        if split.before != NONE {
            let (one, zero) = (one[split.before as usize], split.zero_before);
            sum = lanes(|l| sum[l] / (one * at[l] + zero * rest[l]));
            // What the column has for its last split is not counted twice.
            moved = lanes(|l| moved[l] - (one - zero) * sum[l]);
        }
        below[index] = sum;
        let (column, reach) = (columns[split.column as usize], reach[index]);
        columns[split.column as usize] = lanes(|l| column[l] + reach[l] * moved[l]);
    }
}

/// The widest form that the processor runs.
#[allow(unsafe_code)] // Calling code compiled for AVX2 or AVX-512 is unsafe where the compiler cannot see the check.
mod dispatch {
    use super::{Forest, Paths, Scratch};

    /// Every form gives the same bits: multiplications and additions lane by lane, in one order, none of them fused.
    pub(super) fn add_all(paths: &Paths, forest: &Forest, row: &[f32], scratch: &mut Scratch) {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                // SAFETY: the processor has just been found to have these features.
                return unsafe { avx512(paths, forest, row, scratch) };
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: as above.
                return unsafe { avx2(paths, forest, row, scratch) };
            }
        }
        paths.add_all(forest, row, scratch);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl")]
    fn avx512(paths: &Paths, forest: &Forest, row: &[f32], scratch: &mut Scratch) {
        paths.add_all(forest, row, scratch);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn avx2(paths: &Paths, forest: &Forest, row: &[f32], scratch: &mut Scratch) {
        paths.add_all(forest, row, scratch);
    }

    #[cfg(test)]
    mod tests {
        use super::super::LANES;
        use super::*;
        use crate::forest::lightgbm;

        #[test]
        fn every_form_gives_the_same_bits() {
            let files: [&[u8]; 2] = [
                include_bytes!("../../tests/parity/fixtures/lgb_wide.txt"),
                include_bytes!("../../tests/parity/fixtures/lgb_large.txt"),
            ];
            for file in files {
                let forest = lightgbm::from_text(file).unwrap();
                let paths = Paths::new(&forest);
                let row: Vec<f32> =
                    (0..forest.columns).map(|i| (i * 37 % 101) as f32 / 25.0 - 2.0).collect();
                let bits = |form: &dyn Fn(&mut Scratch)| {
                    let columns = vec![[0.0; LANES]; forest.columns];
                    let mut scratch = Scratch { columns, ..Scratch::default() };
                    form(&mut scratch);
                    scratch.columns.concat().into_iter().map(f64::to_bits).collect::<Vec<_>>()
                };
                let plain = bits(&|scratch| paths.add_all(&forest, &row, scratch));
                assert!(plain.iter().any(|bits| *bits != 0));
                assert_eq!(bits(&|scratch| add_all(&paths, &forest, &row, scratch)), plain);
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: that is the check for AVX2.
                    assert_eq!(
                        bits(&|scratch| unsafe { avx2(&paths, &forest, &row, scratch) }),
                        plain
                    );
                }
            }
        }
    }
}
