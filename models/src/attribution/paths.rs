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
use crate::forest::{Child, Forest, Test, Tree};

/// What does not depend on the row. Each explanation reads it from the first byte to the last: it is small, and in one piece for each
/// kind of thing.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    trees: Vec<TreePaths>,
    /// The splits of all trees, tree by tree.
    splits: Vec<Split>,
    /// The values of all leaves, tree by tree.
    leaves: Vec<f64>,
    /// The rule of each number of groups, from 1.
    rules: Vec<Vec<Points>>,
}

#[derive(Debug, Clone, Copy)]
struct TreePaths {
    /// How many splits it has. It has one leaf more.
    splits: usize,
    /// Groups of points that the longest path needs; 0 for a single leaf.
    groups: usize,
}

/// Places are numbered: first the splits of a tree, then its leaves. Edges, too: twice their split, plus 1 to the right.
#[derive(Debug, Clone, Copy)]
struct Split {
    column: u32,
    test: Test,
    /// Where it leads.
    places: [u32; 2],
    /// The last edge on the way here of the same column, or [`NONE`].
    before: u32,
    /// `z` of its column to the left. To the right it is the rest of what `z` was before.
    zero_left: f64,
}

// Each explanation reads all of them.
const _: () = assert!(size_of::<Split>() <= 40);

const NONE: u32 = u32::MAX;
/// Instead of a `z` of nothing, where it is divided by: it is multiplied with nothing anyway.
const NEXT_TO_NOTHING: f64 = 1e-300;

/// One tree's share of the lists.
struct Part<'a> {
    splits: &'a [Split],
    leaves: &'a [f64],
}

/// What stands on an edge.
#[derive(Debug, Clone, Copy)]
struct Edge {
    /// `o`: 1 if the row passes all splits of that column so far, else 0.
    one: f64,
    /// `z` of that column.
    zero: f64,
}

/// Before a column is asked.
const UNASKED: Edge = Edge { one: 1.0, zero: 1.0 };

impl Edge {
    /// What the product is multiplied with for its column.
    #[inline(always)]
    fn factor<V: Vector>(self, at: V, rest: V) -> V {
        V::all(self.one).times(at).plus(V::all(self.zero).times(rest))
    }

    /// As it is divided by.
    #[inline(always)]
    fn divisor(self) -> Self {
        Edge { zero: self.zero.max(NEXT_TO_NOTHING), ..self }
    }
}

/// Memory of one explanation.
#[derive(Default)]
struct Scratch {
    /// By split: its edges.
    edges: Vec<[Edge; 2]>,
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
        let mut splits = Vec::with_capacity(forest.trees.iter().map(|tree| tree.nodes.len()).sum());
        let mut trees = Vec::with_capacity(forest.trees.len());
        for tree in &forest.trees {
            let groups = add_splits(tree, &mut splits);
            trees.push(TreePaths { splits: tree.nodes.len(), groups });
        }
        let leaves = forest.trees.iter().flat_map(|tree| &tree.leaves);
        let leaves = leaves.map(|leaf| leaf.value).collect();
        let groups = trees.iter().map(|tree| tree.groups).max().unwrap_or(0);
        let used = |groups| trees.iter().any(|tree| tree.groups == groups);
        let rules = (1..=groups).map(|groups| if used(groups) { rule(groups) } else { Vec::new() });
        Paths { rules: rules.collect(), trees, splits, leaves }
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
        let (mut splits, mut leaves) = (&self.splits[..], &self.leaves[..]);
        for (tree, paths) in forest.trees.iter().zip(&self.trees) {
            let part;
            (part, splits, leaves) = Part::take(paths.splits, splits, leaves);
            if paths.groups > 0 {
                part.pass(tree, forest, row, scratch);
                for points in &self.rules[paths.groups - 1] {
                    part.carry_down::<V>(points, scratch);
                    part.sum_up::<V>(points, scratch);
                }
            }
        }
    }
}

/// Appends a tree's splits; says how many groups of points its longest path needs.
fn add_splits(tree: &Tree, splits: &mut Vec<Split>) -> usize {
    let nodes = &tree.nodes;
    // By split: the edge that leads to it, and how many columns were asked up to and with it.
    let mut parents = vec![NONE; nodes.len()];
    let mut asked = vec![0usize; nodes.len()];
    // By edge.
    let mut zero = Vec::with_capacity(2 * nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        // Children come after their parents.
        let mut before = parents[index];
        let above = if before == NONE { 0 } else { asked[before as usize / 2] };
        while before != NONE && nodes[before as usize / 2].column != node.column {
            before = parents[before as usize / 2];
        }
        let new = before == NONE;
        asked[index] = above + usize::from(new);
        let zero_before = if new { UNASKED.zero } else { zero[before as usize] };
        let zero_left = zero_before * left_share(tree, index as u32);
        zero.extend([zero_left, zero_before - zero_left]);
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
        let (column, test) = (node.column, node.test);
        splits.push(Split { column, test, places, before, zero_left });
    }
    asked.into_iter().max().unwrap_or(0).div_ceil(2 * LANES)
}

impl<'a> Part<'a> {
    /// The next tree, of that many splits, and what comes after it.
    #[inline(always)]
    fn take(
        count: usize,
        splits: &'a [Split],
        leaves: &'a [f64],
    ) -> (Self, &'a [Split], &'a [f64]) {
        let (splits, splits_after) = splits.split_at(count);
        let (leaves, leaves_after) = leaves.split_at(count + 1);
        (Part { splits, leaves }, splits_after, leaves_after)
    }

    /// Finds which way the row goes at each split, wherever it comes from.
    #[inline(always)]
    fn pass(&self, tree: &Tree, forest: &Forest, row: &[f32], scratch: &mut Scratch) {
        let Scratch { edges, factor, reach, below, .. } = scratch;
        edges.clear();
        for split in self.splits {
            let x = row.get(split.column as usize).copied().unwrap_or(f32::NAN);
            let left = split.test.goes_left(x, forest.library, &tree.categories);
            let left = f64::from(u8::from(left));
            let Edge { one, zero } = edge(edges, split.before).unwrap_or(UNASKED);
            edges.push([
                Edge { one: one * left, zero: split.zero_left },
                Edge { one: one * (1.0 - left), zero: zero - split.zero_left },
            ]);
        }
        let places = self.splits.len() + self.leaves.len();
        // What a larger tree left behind them is not looked at.
        if reach.len() < places {
            factor.resize(places, [Lanes::default(); 2]);
            reach.resize(places, Lanes::default());
            below.resize(places, Lanes::default());
        }
    }

    #[inline(always)]
    fn carry_down<V: Vector>(&self, points: &Points, scratch: &mut Scratch) {
        let (at, rest) = (V::load(&points.at), V::load(&points.rest));
        let Scratch { edges, factor, reach, .. } = scratch;
        V::all(1.0).store(&mut reach[0]);
        let splits = self.splits.iter().zip(edges.iter()).zip(factor);
        for (index, ((split, own), factor)) in splits.enumerate() {
            let mut so_far = V::load(&reach[index]);
            if let Some(before) = edge(edges, split.before) {
                // The column's factor so far is taken out, here and for all that comes.
                so_far = so_far.over(before.divisor().factor(at, rest));
                so_far.store(&mut reach[index]);
            }
            for side in 0..2 {
                let times: V = own[side].factor(at, rest);
                times.store(&mut factor[side]);
                so_far.times(times).store(&mut reach[split.places[side] as usize]);
            }
        }
    }

    #[inline(always)]
    fn sum_up<V: Vector>(&self, points: &Points, scratch: &mut Scratch) {
        let [at, rest, weight] = [&points.at, &points.rest, &points.weight].map(V::load);
        let Scratch { edges, factor, reach, below, columns } = scratch;
        for (below, &value) in below[self.splits.len()..].iter_mut().zip(self.leaves) {
            V::all(value).times(weight).store(below);
        }
        for (index, split) in self.splits.iter().enumerate().rev() {
            let [left, right] = split.places.map(|place| V::load(&below[place as usize]));
            let [left_factor, right_factor] = [&factor[index][0], &factor[index][1]].map(V::load);
            let [left_gain, right_gain] = edges[index].map(|edge| V::all(edge.one - edge.zero));
            let mut sum = left.times(left_factor).plus(right.times(right_factor));
            let mut moved = left.times(left_gain).plus(right.times(right_gain));
            if let Some(before) = edge(edges, split.before) {
                sum = sum.over(before.divisor().factor(at, rest));
                // What the column has for its last split is not counted twice.
                moved = moved.minus(V::all(before.one - before.zero).times(sum));
            }
            sum.store(&mut below[index]);
            let column = &mut columns[split.column as usize];
            V::load(column).plus(V::load(&reach[index]).times(moved)).store(column);
        }
    }
}

/// The edge of that number; none for [`NONE`].
#[inline(always)]
fn edge(edges: &[[Edge; 2]], number: u32) -> Option<Edge> {
    (number != NONE).then(|| edges[number as usize / 2][number as usize % 2])
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
