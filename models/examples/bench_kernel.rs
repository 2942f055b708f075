//! Times the scoring kernels on a random forest: `cargo run --release -p models --example bench_kernel`.
//!
//! Prints the best of several passes over 2 048 rows of 314 columns with 2.5 % missing values, per row.
#![allow(clippy::disallowed_methods, clippy::print_stdout)] // An example may read the clock and print.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use models::forest::lightgbm;
use models::{Explainer, Forest, Kernel};

const COLUMNS: usize = 314;
const ROWS: usize = 2048;

fn main() {
    let rows = rows();
    println!(
        "forest                 walker 1   kernel 1    4     16     64    256   us per row; shap"
    );
    for (trees, leaves, balanced) in
        [(300, 31, false), (100, 63, true), (100, 64, false), (50, 255, false), (50, 255, true)]
    {
        let forest = forest(trees, leaves, balanced);
        let kernel = Kernel::new(&forest);
        let shape = if balanced { "level" } else { "leaf" };
        print!("{trees:4} x {leaves:3} {shape}-wise  ");
        let walker = time(&rows, 1, |part, out| out.push(forest.margin(part)));
        print!("{walker:8.2}  ");
        let one = time(&rows, 1, |part, out| out.push(kernel.margin(part)));
        print!("{one:8.2} ");
        for batch in [4, 16, 64, 256] {
            let many = time(&rows, batch, |part, out| {
                kernel.margins(part, COLUMNS, out).expect("whole rows");
            });
            print!("{many:6.2} ");
        }
        let explainer = Explainer::new(forest.clone().into()).expect("covers");
        let few = &rows[..COLUMNS * 64];
        let shap = time(few, 1, |part, out| out.push(explainer.explain(part).columns[0]));
        println!("   {shap:8.1}");
    }
}

fn time(rows: &[f32], batch: usize, mut score: impl FnMut(&[f32], &mut Vec<f64>)) -> f64 {
    let mut out = Vec::new();
    let mut best = f64::INFINITY;
    for _ in 0..9 {
        out.clear();
        let start = Instant::now();
        for part in rows.chunks(batch * COLUMNS) {
            score(part, &mut out);
        }
        black_box(&out);
        best = best.min(start.elapsed().as_secs_f64());
    }
    best * 1e6 / (rows.len() / COLUMNS) as f64
}

/// A small generator, so that every run has the same forest.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }

    fn number(&mut self) -> f64 {
        self.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0
    }
}

fn rows() -> Vec<f32> {
    let mut random = Random(7);
    (0..ROWS * COLUMNS)
        .map(|_| if random.below(40) == 0 { f32::NAN } else { random.number() as f32 })
        .collect()
}

/// A forest whose trees grow by splitting a random leaf (long and short paths) or the oldest one (even paths).
fn forest(trees: usize, leaves: usize, balanced: bool) -> Forest {
    let mut random = Random(42);
    let last = COLUMNS - 1;
    let mut text =
        format!("tree\nversion=v4\nmax_feature_idx={last}\nobjective=binary sigmoid:1\n\n");
    for tree in 0..trees {
        // Links of each split; a leaf is the complement of its number.
        let (mut left, mut right) = (vec![-1i64], vec![-2i64]);
        // Per leaf: the split above it, its side, and its depth.
        let mut open = vec![(0usize, true, 1), (0, false, 1)];
        while open.len() < leaves {
            let shallow = (0..open.len()).min_by_key(|&leaf| open[leaf].2).expect("leaves");
            let leaf = if balanced { shallow } else { random.below(open.len()) };
            let (parent, is_left, depth) = open[leaf];
            let split = left.len();
            *(if is_left { &mut left[parent] } else { &mut right[parent] }) = split as i64;
            left.push(!(leaf as i64));
            right.push(!(open.len() as i64));
            open[leaf] = (split, true, depth + 1);
            open.push((split, false, depth + 1));
        }
        let mut list = |count: usize, make: &mut dyn FnMut(&mut Random) -> String| {
            (0..count).map(|_| make(&mut random)).collect::<Vec<_>>().join(" ")
        };
        let splits = leaves - 1;
        let columns = list(splits, &mut |r| r.below(COLUMNS).to_string());
        let thresholds = list(splits, &mut |r| r.number().to_string());
        let decisions = list(splits, &mut |r| if r.below(2) == 0 { "8" } else { "10" }.to_owned());
        let values = list(leaves, &mut |r| (r.number() * 0.1).to_string());
        let counts = list(leaves, &mut |r| (1 + r.below(1000)).to_string());
        let inner = list(splits, &mut |_| "1".to_owned());
        let links = |list: &[i64]| list.iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
        write!(
            text,
            "Tree={tree}\nnum_leaves={leaves}\nnum_cat=0\nsplit_feature={columns}\nthreshold={thresholds}\n\
             decision_type={decisions}\nleft_child={}\nright_child={}\nleaf_value={values}\nleaf_count={counts}\n\
             internal_count={inner}\nis_linear=0\n\n",
            links(&left),
            links(&right),
        )
        .expect("a string takes all");
    }
    text.push_str("end of trees\n");
    lightgbm::from_text(text.as_bytes()).expect("a sound model")
}
