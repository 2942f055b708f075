//! Attributions against Shapley values by their definition.

mod common;

use common::{COLUMNS, Split, Tree, lightgbm_margin, lightgbm_text, rows, tree, xgboost_json};
use models::forest::{lightgbm, xgboost};
use models::{Explainer, Forest};
use proptest::prelude::*;

/// The expectation of a tree when only the columns of `known` are known (Lundberg 2018, algorithm 1).
fn expectation(tree: &Tree, known: u32, goes_left: &dyn Fn(&Split) -> bool) -> f64 {
    match tree {
        Tree::Leaf { value, .. } => *value,
        Tree::Split { split, left, right } => {
            if known >> split.column & 1 == 1 {
                return expectation(if goes_left(split) { left } else { right }, known, goes_left);
            }
            let (a, b) = (f64::from(left.cover()), f64::from(right.cover()));
            let share = if a + b > 0.0 { a / (a + b) } else { 0.5 };
            share * expectation(left, known, goes_left)
                + (1.0 - share) * expectation(right, known, goes_left)
        }
    }
}

fn shapley(tree: &Tree, goes_left: &dyn Fn(&Split) -> bool) -> Vec<f64> {
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    let of = |column: usize| {
        (0..1u32 << COLUMNS)
            .filter(|coalition| coalition >> column & 1 == 0)
            .map(|coalition| {
                let size = coalition.count_ones() as usize;
                let weight = factorial(size) * factorial(COLUMNS - size - 1) / factorial(COLUMNS);
                let with = expectation(tree, coalition | 1 << column, goes_left);
                weight * (with - expectation(tree, coalition, goes_left))
            })
            .sum()
    };
    (0..COLUMNS).map(of).collect()
}

fn explained(forest: &Forest, row: &[f32]) -> (f64, Vec<f64>) {
    let contributions = Explainer::new(forest.clone().into()).unwrap().explain(row);
    (contributions.base, contributions.columns)
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn equals_the_definition(trees in prop::collection::vec(tree(7), 1..4), rows in rows(3)) {
        let forest = lightgbm::from_text(lightgbm_text(&trees).as_bytes()).unwrap();
        for row in rows.chunks(COLUMNS) {
            let mut expected = vec![0.0; COLUMNS];
            let mut base = 0.0;
            for tree in &trees {
                // One split as a forest of its own says which way the row goes.
                let goes_left = |split: &Split| {
                    let side = |value| Box::new(Tree::Leaf { value, cover: 1 });
                    let one = Tree::Split { split: split.clone(), left: side(1.0), right: side(0.0) };
                    lightgbm_margin(&[one], row) == 1.0
                };
                base += expectation(tree, 0, &goes_left);
                expected.iter_mut().zip(shapley(tree, &goes_left)).for_each(|(sum, phi)| *sum += phi);
            }
            let (own_base, own) = explained(&forest, row);
            prop_assert!(near(own_base, base), "{own_base} is not {base}");
            for (own, expected) in own.iter().zip(&expected) {
                prop_assert!(near(*own, *expected), "{own} is not {expected}");
            }
        }
    }

    #[test]
    fn adds_up_to_the_margin(trees in prop::collection::vec(tree(40), 1..5), rows in rows(4)) {
        let lightgbm = lightgbm::from_text(lightgbm_text(&trees).as_bytes()).unwrap();
        let xgboost = xgboost::from_json(xgboost_json(&trees).to_string().as_bytes()).unwrap();
        for row in rows.chunks(COLUMNS) {
            let (base, own) = explained(&lightgbm, row);
            let margin = lightgbm.margin(row);
            let sum = base + own.iter().sum::<f64>();
            prop_assert!(near(sum, margin), "{sum} is not {margin}");
            // XGBoost's margin is rounded to f32 at every tree.
            let (base, own) = explained(&xgboost, row);
            let (sum, margin) = (base + own.iter().sum::<f64>(), xgboost.margin(row));
            prop_assert!((sum - margin).abs() < 1e-5, "{sum} is not {margin}");
        }
    }
}

#[test]
fn without_row_weights_there_is_no_explanation() {
    let text = "tree\nversion=v4\nmax_feature_idx=0\nobjective=binary\n\nTree=0\nnum_leaves=2\nsplit_feature=0\n\
        threshold=1\ndecision_type=2\nleft_child=-1\nright_child=-2\nleaf_value=1 2\n\nend of trees\n";
    let forest = lightgbm::from_text(text.as_bytes()).unwrap();
    assert!(!forest.has_covers());
    assert!(Explainer::new(forest.into()).is_err());
}
