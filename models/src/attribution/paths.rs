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
use super::vector::Vector;
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
    one: Vec<[f64; 2]>,
    /// By edge: what the product is multiplied with.
    factor: Vec<[Lanes; 2]>,
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
        let columns = vec![Lanes::default(); forest.columns];
        let mut scratch = Scratch { columns, ..Scratch::default() };
        dispatch::add_all(self, forest, row, &mut scratch);
        scratch.columns.iter().map(|lanes| lanes.0.iter().sum()).collect()
    }

    #[inline(always)]
    fn add_all<V: Vector>(&self, forest: &Forest, row: &[f32], scratch: &mut Scratch) {
        for (tree, paths) in forest.trees.iter().zip(&self.trees) {
            if paths.groups > 0 {
                pass(tree, paths, forest, row, scratch);
                for points in &self.rules[paths.groups - 1] {
                    carry_down::<V>(paths, points, scratch);
                    sum_up::<V>(tree, paths, points, scratch);
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
        let so_far = if split.before == NONE { 1.0 } else { one_before(one, split) };
        one.push([so_far * left, so_far * (1.0 - left)]);
    }
    let places = tree.nodes.len() + tree.leaves.len();
    // What a larger tree left behind them is not looked at.
    if reach.len() < places {
        factor.resize(places, [Lanes::default(); 2]);
        reach.resize(places, Lanes::default());
        below.resize(places, Lanes::default());
    }
}

/// 1 if the row passes all splits of this one's column before it, else 0.
#[inline(always)]
fn one_before(one: &[[f64; 2]], split: &Split) -> f64 {
    one[split.before as usize / 2][split.before as usize % 2]
}

#[inline(always)]
fn carry_down<V: Vector>(paths: &TreePaths, points: &Points, scratch: &mut Scratch) {
    let (at, rest) = (V::load(&points.at), V::load(&points.rest));
    let Scratch { one: all, factor, reach, .. } = scratch;
    V::all(1.0).store(&mut reach[0]);
    let splits = paths.splits.iter().zip(all.iter()).zip(factor);
    for (index, ((split, one), factor)) in splits.enumerate() {
        let mut so_far = V::load(&reach[index]);
        if split.before != NONE {
            // The column's factor so far is taken out, here and for all that comes.
            let (one, zero) = (V::all(one_before(all, split)), V::all(split.zero_before));
            so_far = so_far.over(one.times(at).plus(zero.times(rest)));
            so_far.store(&mut reach[index]);
        }
        for side in 0..2 {
            let (one, zero) = (V::all(one[side]), V::all(split.zero[side]));
            let times = one.times(at).plus(zero.times(rest));
            times.store(&mut factor[side]);
            so_far.times(times).store(&mut reach[split.places[side] as usize]);
        }
    }
}

#[inline(always)]
fn sum_up<V: Vector>(tree: &Tree, paths: &TreePaths, points: &Points, scratch: &mut Scratch) {
    let [at, rest, weight] = [&points.at, &points.rest, &points.weight].map(V::load);
    let Scratch { one, factor, reach, below, columns } = scratch;
    for (below, leaf) in below[tree.nodes.len()..].iter_mut().zip(&tree.leaves) {
        V::all(leaf.value).times(weight).store(below);
    }
    for (index, split) in paths.splits.iter().enumerate().rev() {
        let [left, right] = split.places.map(|place| V::load(&below[place as usize]));
        let [left_factor, right_factor] = [&factor[index][0], &factor[index][1]].map(V::load);
        let left_gain = V::all(one[index][0] - split.zero[0]);
        let right_gain = V::all(one[index][1] - split.zero[1]);
        let mut sum = left.times(left_factor).plus(right.times(right_factor));
        let mut moved = left.times(left_gain).plus(right.times(right_gain));
        if split.before != NONE {
            let (one, zero) = (one_before(one, split), split.zero_before);
            sum = sum.over(V::all(one).times(at).plus(V::all(zero).times(rest)));
            // What the column has for its last split is not counted twice.
            moved = moved.minus(V::all(one - zero).times(sum));
        }
        sum.store(&mut below[index]);
        let column = &mut columns[split.column as usize];
        V::load(column).plus(V::load(&reach[index]).times(moved)).store(column);
    }
}

/// The widest form that the processor runs.
#[allow(unsafe_code)] // Calling code compiled for AVX or AVX-512 is unsafe where the compiler cannot see the check.
mod dispatch {
    use super::super::vector::Plain;
    #[cfg(target_arch = "x86_64")]
    use super::super::vector::x86::{Avx, Avx512};
    use super::{Forest, Paths, Scratch};

    pub(super) fn add_all(paths: &Paths, forest: &Forest, row: &[f32], scratch: &mut Scratch) {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: the processor has just been found to have it.
                return unsafe { avx512(paths, forest, row, scratch) };
            }
            if is_x86_feature_detected!("avx") {
                // SAFETY: as above.
                return unsafe { avx(paths, forest, row, scratch) };
            }
        }
        paths.add_all::<Plain>(forest, row, scratch);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn avx512(paths: &Paths, forest: &Forest, row: &[f32], scratch: &mut Scratch) {
        paths.add_all::<Avx512>(forest, row, scratch);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx")]
    fn avx(paths: &Paths, forest: &Forest, row: &[f32], scratch: &mut Scratch) {
        paths.add_all::<Avx>(forest, row, scratch);
    }

    #[cfg(test)]
    mod tests {
        use super::super::Lanes;
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
                    let columns = vec![Lanes::default(); forest.columns];
                    let mut scratch = Scratch { columns, ..Scratch::default() };
                    form(&mut scratch);
                    let columns = scratch.columns.into_iter().flat_map(|lanes| lanes.0);
                    columns.map(f64::to_bits).collect::<Vec<_>>()
                };
                let plain = bits(&|scratch| paths.add_all::<Plain>(&forest, &row, scratch));
                assert!(plain.iter().any(|bits| *bits != 0));
                assert_eq!(bits(&|scratch| add_all(&paths, &forest, &row, scratch)), plain);
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx") {
                    // SAFETY: that is the check for AVX.
                    assert_eq!(
                        bits(&|scratch| unsafe { avx(&paths, &forest, &row, scratch) }),
                        plain
                    );
                }
            }
        }
    }
}
