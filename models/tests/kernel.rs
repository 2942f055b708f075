//! Every way of scoring a forest gives the same bits, and they are the library's.

mod common;

use common::{
    COLUMNS, Tree, lightgbm_margin, lightgbm_text, rows, tree, xgboost_json, xgboost_margin,
};
use models::forest::{lightgbm, xgboost};
use models::{Forest, Kernel};
use proptest::prelude::*;

/// Forests of stumps, of trees for one mask word, for two, and of trees that are walked.
fn trees() -> impl Strategy<Value = Vec<Tree>> {
    let any_size = prop_oneof![tree(4), tree(31), tree(45), tree(90)];
    prop::collection::vec(any_size, 0..14)
}

fn check(
    forest: &Forest,
    rows: &[f32],
    expected: impl Fn(&[f32]) -> f64,
) -> Result<(), TestCaseError> {
    let kernel = Kernel::new(forest);
    let mut batch = Vec::new();
    kernel.margins(rows, COLUMNS, &mut batch).unwrap();
    prop_assert_eq!(batch.len() * COLUMNS, rows.len());
    for (row, batch) in rows.chunks(COLUMNS).zip(&batch) {
        let expected = expected(row);
        prop_assert_eq!(forest.margin(row).to_bits(), expected.to_bits(), "walker, {:?}", row);
        prop_assert_eq!(batch.to_bits(), expected.to_bits(), "batch, {:?}", row);
        prop_assert_eq!(kernel.margin(row).to_bits(), expected.to_bits(), "row, {:?}", row);
    }
    // Columns moved about, and a batch cut elsewhere.
    let positions: Vec<usize> = (0..COLUMNS).map(|c| 2 * (COLUMNS - 1 - c) + 1).collect();
    let moved = Kernel::with_columns(forest, &positions);
    let wide: Vec<f32> = rows
        .chunks(COLUMNS)
        .flat_map(|row| row.iter().rev().flat_map(|&x| [f32::NAN, x]).collect::<Vec<f32>>())
        .collect();
    let mut again = Vec::new();
    for part in wide.chunks(2 * COLUMNS * 7) {
        moved.margins(part, 2 * COLUMNS, &mut again).unwrap();
    }
    let bits = |margins: &[f64]| margins.iter().map(|m| m.to_bits()).collect::<Vec<u64>>();
    prop_assert_eq!(bits(&batch), bits(&again));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn lightgbm_forests_score_alike(trees in trees(), rows in rows(40)) {
        let forest = lightgbm::from_text(lightgbm_text(&trees).as_bytes()).unwrap();
        check(&forest, &rows, |row| lightgbm_margin(&trees, row))?;
    }

    #[test]
    fn xgboost_forests_score_alike(trees in trees(), rows in rows(40)) {
        let forest = xgboost::from_json(xgboost_json(&trees).to_string().as_bytes()).unwrap();
        check(&forest, &rows, |row| xgboost_margin(&trees, row))?;
    }
}

#[test]
fn a_column_that_the_rows_lack_is_missing_in_blocks_too() {
    // The second column sends missing values left at one split, right at the other.
    let text = "tree\nversion=v4\nmax_feature_idx=1\nobjective=binary\n\n\
        Tree=0\nnum_leaves=3\nsplit_feature=0 1\nthreshold=0.5 7\ndecision_type=8 10\nleft_child=-1 -2\nright_child=1 -3\n\
        leaf_value=1 2 4\n\n\
        Tree=1\nnum_leaves=2\nsplit_feature=1\nthreshold=7\ndecision_type=8\nleft_child=-1\nright_child=-2\n\
        leaf_value=8 16\n\nend of trees\n";
    let forest = lightgbm::from_text(text.as_bytes()).unwrap();
    let rows: Vec<f32> = (0..16).map(|i| i as f32 / 8.0).collect();
    let expected: Vec<f64> = rows.iter().map(|&x| forest.margin(&[x])).collect();
    assert_eq!((expected[0], expected[15]), (17.0, 18.0));
    let margins = |kernel: &Kernel| {
        let mut out = Vec::new();
        kernel.margins(&rows, 1, &mut out).unwrap();
        out
    };
    assert_eq!(margins(&Kernel::new(&forest)), expected);
    assert_eq!(margins(&Kernel::with_columns(&forest, &[0])), expected);
    assert_eq!(margins(&Kernel::with_columns(&forest, &[])), [forest.margin(&[]); 16]);
}

#[test]
fn rows_of_another_shape_are_refused() {
    let stump = "tree\nversion=v4\nmax_feature_idx=1\nobjective=binary\n\nTree=0\nnum_leaves=1\nleaf_value=0.5\n\nend of trees\n";
    let forest = lightgbm::from_text(stump.as_bytes()).unwrap();
    let kernel = Kernel::new(&forest);
    let mut out = vec![9.0];
    assert!(kernel.margins(&[0.0; 5], 2, &mut out).is_err());
    assert!(kernel.margins(&[0.0; 5], 0, &mut out).is_err());
    assert_eq!(out, [9.0], "nothing is added by a refused call");
    assert!(kernel.margins(&[], 0, &mut out).is_ok());
    assert!(kernel.margins(&[0.0; 6], 1, &mut out).is_ok(), "columns that a row lacks are missing");
    assert_eq!(out, [9.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]);
}
