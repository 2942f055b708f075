//! Trees that are not learned from labels.

use crate::chance::Chance;

/// A binary tree in arrays, root first, as XGBoost stores one. A leaf has `left == -1`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tree {
    pub left: Vec<i32>,
    pub right: Vec<i32>,
    pub column: Vec<u32>,
    /// Below it a row goes left; of a leaf, its value.
    pub value: Vec<f32>,
    pub default_left: Vec<bool>,
    /// Rows that came here.
    pub cover: Vec<f32>,
}

impl Tree {
    fn push(&mut self, value: f32, cover: usize) -> usize {
        self.left.push(-1);
        self.right.push(-1);
        self.column.push(0);
        self.value.push(value);
        self.default_left.push(true);
        self.cover.push(cover as f32);
        self.left.len() - 1
    }

    fn split(
        &mut self,
        node: usize,
        column: usize,
        threshold: f32,
        default_left: bool,
        children: (usize, usize),
    ) {
        (self.left[node], self.right[node]) = (children.0 as i32, children.1 as i32);
        (self.column[node], self.value[node], self.default_left[node]) =
            (column as u32, threshold, default_left);
    }

    /// Multiplies the leaves.
    pub fn scale(&mut self, factor: f64) {
        for (value, left) in self.value.iter_mut().zip(&self.left) {
            if *left == -1 {
                *value = (f64::from(*value) * factor) as f32;
            }
        }
    }
}

/// How rare so high a value is: the surplus of -ln(share of rows at least as high) over -ln(`tail_share`), as a staircase of at most
/// 16 steps. A missing value is common. `None` when no value is rarer than `tail_share`.
pub(super) fn tail(packed: &[f32], width: usize, column: usize, tail_share: f64) -> Option<Tree> {
    let mut values: Vec<f32> =
        packed.iter().skip(column).step_by(width).copied().filter(|v| !v.is_nan()).collect();
    let all = packed.len() / width;
    values.sort_unstable_by(f32::total_cmp);
    // Thresholds at shares tail_share, tail_share / 2, tail_share / 4, ...; ties move a threshold up to the next value.
    let mut steps: Vec<(f32, usize)> = Vec::new();
    let mut aim = tail_share * all as f64;
    while aim >= 1.0 && steps.len() < 16 {
        let start = values.len().saturating_sub(aim as usize);
        if start > 0 && start < values.len() {
            let at = values.partition_point(|v| *v <= values[start - 1]);
            if at < values.len() && steps.last().is_none_or(|s| s.0 < values[at]) {
                steps.push((values[at], values.len() - at));
            }
        }
        aim *= 0.5;
    }
    if steps.is_empty() {
        return None;
    }
    let common = -tail_share.ln();
    let mut leaves = vec![(0.0f32, all - steps[0].1)];
    for (i, (_, rows)) in steps.iter().enumerate() {
        let surplus = -((*rows as f64 / all as f64).ln()) - common;
        leaves.push((surplus.max(0.0) as f32, rows - steps.get(i + 1).map_or(0, |next| next.1)));
    }
    let mut tree = Tree::default();
    balanced(&mut tree, column, &steps, &leaves);
    Some(tree)
}

/// A balanced tree over rising thresholds: `leaves[i]` below `steps[i]`, the last one above all. Returns its root.
fn balanced(
    tree: &mut Tree,
    column: usize,
    steps: &[(f32, usize)],
    leaves: &[(f32, usize)],
) -> usize {
    let cover = leaves.iter().map(|l| l.1).sum();
    let node = tree.push(leaves[0].0, cover);
    if !steps.is_empty() {
        let middle = steps.len() / 2;
        let left = balanced(tree, column, &steps[..middle], &leaves[..=middle]);
        let right = balanced(tree, column, &steps[middle + 1..], &leaves[middle + 1..]);
        tree.split(node, column, steps[middle].0, true, (left, right));
    }
    node
}

/// One isolation tree over `rows` rows drawn from `packed`; a leaf is minus the (expected) path length over what is usual.
pub(super) fn isolation(packed: &[f32], width: usize, rows: usize, chance: &mut Chance) -> Tree {
    let all = packed.len() / width;
    let drawn: Vec<usize> = (0..rows.min(all)).map(|_| chance.below(all)).collect();
    let depth_max = drawn.len().max(2).ilog2() as usize + 1;
    let mut tree = Tree::default();
    part(&mut tree, packed, width, drawn, 0, depth_max, path_length(rows.min(all)), chance);
    tree
}

/// Mean path length of an unsuccessful search among `n` (Liu et al. 2008, equation 1).
fn path_length(n: usize) -> f64 {
    match n {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let m = n as f64;
            2.0 * ((m - 1.0).ln() + 0.577_215_664_901_532_9) - 2.0 * (m - 1.0) / m
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn part(
    tree: &mut Tree,
    packed: &[f32],
    width: usize,
    rows: Vec<usize>,
    depth: usize,
    depth_max: usize,
    usual: f64,
    chance: &mut Chance,
) -> usize {
    let node =
        tree.push((-(depth as f64 + path_length(rows.len())) / usual.max(1.0)) as f32, rows.len());
    if depth >= depth_max || rows.len() < 2 {
        return node;
    }
    // A few tries to find a column that varies here; most do, or none.
    for _ in 0..16 {
        let column = chance.below(width);
        let value = |row: usize| packed[row * width + column];
        let (mut low, mut high, mut missing) = (f32::INFINITY, f32::NEG_INFINITY, 0usize);
        for &row in &rows {
            let v = value(row);
            if v.is_finite() {
                (low, high) = (low.min(v), high.max(v));
            } else {
                missing += 1;
            }
        }
        if low >= high {
            continue;
        }
        let cut = (f64::from(low) + chance.unit() * (f64::from(high) - f64::from(low))) as f32;
        let cut = if cut > low { cut } else { low.next_up() };
        // Missing values go with the larger part, so that absence alone isolates nobody.
        let below =
            rows.iter().filter(|row| value(**row).is_finite() && value(**row) < cut).count();
        let default_left = below * 2 >= rows.len() - missing;
        let goes_left = |row: &usize| {
            let v = value(*row);
            if v.is_nan() { default_left } else { v < cut }
        };
        let (left, right): (Vec<usize>, Vec<usize>) = rows.iter().partition(|row| goes_left(row));
        if left.is_empty() || right.is_empty() {
            continue;
        }
        let left = part(tree, packed, width, left, depth + 1, depth_max, usual, chance);
        let right = part(tree, packed, width, right, depth + 1, depth_max, usual, chance);
        tree.split(node, column, cut, default_left, (left, right));
        return node;
    }
    node
}
