//! No bytes make a reader panic, hang or allocate without bound; what is not supported is named.

mod common;

use std::sync::LazyLock;

use common::{lightgbm_text, tree, xgboost_json};
use models::forest::{Forest, ForestError, lightgbm, xgboost};
use models::{Explainer, Kernel};
use proptest::prelude::*;

const TEXT: &[u8] = include_bytes!("parity/fixtures/lgb_categorical.txt");
const JSON: &[u8] = include_bytes!("parity/fixtures/xgb_partition.json");
const UBJ: &[u8] = include_bytes!("parity/fixtures/xgb_partition.ubj");

type Reader = fn(&[u8]) -> Result<Forest, ForestError>;
const READERS: [(Reader, &[u8]); 3] =
    [(lightgbm::from_text, TEXT), (xgboost::from_json, JSON), (xgboost::from_ubj, UBJ)];

/// Whatever was read must be fit for use.
fn exercise(read: Result<Forest, ForestError>) {
    let Ok(forest) = read else { return };
    let row: Vec<f32> = (0..forest.columns()).map(|i| i as f32 - 2.0).collect();
    let kernel = Kernel::new(&forest);
    let mut out = Vec::new();
    kernel.margins(&row.repeat(5), row.len(), &mut out).unwrap();
    let margin = forest.margin(&row);
    assert!(out.iter().all(|m| m.to_bits() == margin.to_bits()));
    assert_eq!(kernel.margin(&row).to_bits(), margin.to_bits());
    if let Ok(explainer) = Explainer::new(forest.clone().into()) {
        assert_eq!(explainer.explain(&row).columns.len(), forest.columns());
    }
}

#[derive(Debug, Clone)]
enum Damage {
    Set(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Cut(prop::sample::Index),
    Digit(prop::sample::Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => (at(), 1..40usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        1 => (at(), 1..40usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
        1 => at().prop_map(Damage::Cut),
        4 => (at(), 0..10u8).prop_map(|(at, digit)| Damage::Digit(at, digit)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    let range = |at: usize, length: usize, all: usize| at..(at + length).min(all);
    match damage {
        Damage::Set(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Damage::Remove(at, length) => {
            drop(bytes.drain(range(at.index(bytes.len()), *length, bytes.len())));
        }
        Damage::Repeat(at, length) => {
            let at = at.index(bytes.len());
            let again = bytes[range(at, *length, bytes.len())].to_vec();
            bytes.splice(at..at, again);
        }
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Damage::Digit(at, digit) => {
            // The next digit from there on, so that links and counts change and the file still parses.
            let from = at.index(bytes.len());
            if let Some(at) = (from..bytes.len()).find(|&at| bytes[at].is_ascii_digit()) {
                bytes[at] = b'0' + digit;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (read, _) in READERS {
            exercise(read(&bytes));
        }
        let mut led = b"tree\nversion=v4\nmax_feature_idx=3\n".to_vec();
        led.extend_from_slice(&bytes);
        exercise(lightgbm::from_text(&led));
    }

    #[test]
    fn damaged_files(format in 0..3usize, damages in prop::collection::vec(damage(), 1..6)) {
        let (read, whole) = READERS[format];
        let mut bytes = whole.to_vec();
        for damage in &damages {
            apply(&mut bytes, damage);
        }
        exercise(read(&bytes));
    }

    #[test]
    fn damaged_small_files(trees in prop::collection::vec(tree(3), 1..3), damages in prop::collection::vec(damage(), 1..4)) {
        let files: [(Reader, Vec<u8>); 2] = [
            (lightgbm::from_text, lightgbm_text(&trees).into_bytes()),
            (xgboost::from_json, xgboost_json(&trees).to_string().into_bytes()),
        ];
        for (read, mut bytes) in files {
            for damage in &damages {
                apply(&mut bytes, damage);
            }
            exercise(read(&bytes));
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    for (read, whole) in READERS {
        // What follows LightGBM's trees is not read.
        let needed = match whole {
            TEXT => TEXT.windows(12).position(|w| w == b"end of trees").unwrap(),
            _ => whole.len() - 1,
        };
        for length in (0..needed).step_by(whole.len() / 97) {
            assert!(read(&whole[..length]).is_err(), "{length} bytes of {}", whole.len());
        }
    }
}

/// The small model that the tables below change.
static SMALL: LazyLock<serde_json::Value> = LazyLock::new(|| {
    serde_json::json!({"learner": {
        "feature_names": [],
        "gradient_booster": {"name": "gbtree", "model": {
            "tree_info": [0],
            "trees": [{
                "left_children": [1, -1, -1], "right_children": [2, -1, -1], "split_indices": [1, 0, 0],
                "split_conditions": [0.5, -1.0, 2.0], "default_left": [1, 0, 0], "split_type": [0, 0, 0],
                "sum_hessian": [3.0, 2.0, 1.0], "categories": [], "categories_nodes": [], "categories_segments": [],
                "categories_sizes": [], "tree_param": {"size_leaf_vector": "1"},
            }],
        }},
        "learner_model_param": {"base_score": "5E-1", "num_class": "0", "num_feature": "2"},
        "objective": {"name": "binary:logistic"},
    }})
});

#[test]
fn xgboost_is_refused_by_reason() {
    assert!(xgboost::from_json(SMALL.to_string().as_bytes()).is_ok());
    let tree = "/learner/gradient_booster/model/trees/0";
    let cases: &[(&str, serde_json::Value, &str)] = &[
        ("/learner/gradient_booster/name", "dart".into(), "booster \"dart\" is not supported"),
        ("/learner/gradient_booster/name", "gblinear".into(), "not supported"),
        ("/learner/learner_model_param/num_class", "3".into(), "3 outputs is not supported"),
        ("/learner/learner_model_param/num_class", "x".into(), "not a whole number"),
        ("/learner/learner_model_param/num_feature", "1".into(), "asks column 1"),
        ("/learner/learner_model_param/num_feature", "99999999999".into(), "must not exceed"),
        ("/learner/learner_model_param/base_score", "[0.5,0.5]".into(), "not one number"),
        ("/learner/learner_model_param/base_score", "0".into(), "between 0 and 1"),
        ("/learner/learner_model_param/base_score", "nan".into(), "not finite"),
        ("/learner/objective/name", "multi:softprob".into(), "objective"),
        ("/learner/objective/name", "binary:hinge".into(), "objective"),
        ("/learner/feature_names", serde_json::json!(["a"]), "1 names for 2 columns"),
        ("/learner/gradient_booster/model/tree_info", serde_json::json!([1]), "another output"),
        ("/tree_param/size_leaf_vector", "2".into(), "leaves of 2 values"),
        ("/left_children", serde_json::json!([0, -1, -1]), "its own"),
        ("/left_children", serde_json::json!([1, 0, -1]), "is linked"),
        ("/left_children", serde_json::json!([9, -1, -1]), "node 9 is linked"),
        ("/left_children", serde_json::json!([-7, -1, -1]), "node -7 is linked"),
        ("/left_children", serde_json::json!([2, -1, -1]), "two parents"),
        ("/left_children", serde_json::json!([]), "3 entries for 0 nodes"),
        ("/split_indices", serde_json::json!([-1, 0, 0]), "cannot be"),
        ("/split_type", serde_json::json!([1, 0, 0]), "has no categories"),
        ("/split_type", serde_json::json!([2, 0, 0]), "split_type 2"),
        ("/split_type", serde_json::json!([0]), "1 entries for 3 nodes"),
        ("/categories_nodes", serde_json::json!([0]), "differ in length"),
        ("/sum_hessian", serde_json::json!([1.0, -1.0, 1.0]), "row weight -1"),
        ("/split_conditions", serde_json::json!([1e300, -1.0, 2.0]), "malformed"),
    ];
    for (at, value, reason) in cases {
        let mut model = SMALL.clone();
        let path =
            if at.starts_with("/learner") { (*at).to_owned() } else { format!("{tree}{at}") };
        *model.pointer_mut(&path).unwrap() = value.clone();
        match xgboost::from_json(model.to_string().as_bytes()) {
            Ok(_) => panic!("{at} = {value} must be refused"),
            Err(error) if *reason == "malformed" => {
                assert!(matches!(error, ForestError::Malformed { .. }))
            }
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.contains(reason) || text.contains("node 0 is linked"),
                    "{at} = {value}: {text}"
                );
            }
        }
    }
    // What only newer files have.
    let newer: &[(serde_json::Value, serde_json::Value, &str)] = &[
        (serde_json::json!({"best_iteration": "x"}), serde_json::json!({}), "not a whole number"),
        (
            serde_json::json!({"best_iteration": "0"}),
            serde_json::json!({"iteration_indptr": [0, 7]}),
            "tree 0 to tree 1",
        ),
        (
            serde_json::json!({"best_iteration": "0"}),
            serde_json::json!({"iteration_indptr": [1, 0, 1]}),
            "tree 0 to tree 1",
        ),
        (
            serde_json::json!({}),
            serde_json::json!({"cats": {"enc": [{"type": 15, "values": [0, 0]}]}}),
            "stands twice",
        ),
        (
            serde_json::json!({}),
            serde_json::json!({"cats": {"enc": [{"type": 15, "values": [-1]}]}}),
            "category -1",
        ),
        (
            serde_json::json!({}),
            serde_json::json!({"cats": {"enc": [{"type": 15, "values": [16777216]}]}}),
            "category 16777216",
        ),
        (
            serde_json::json!({}),
            serde_json::json!({"cats": {"enc": [{"offsets": [0, 9], "values": [65]}]}}),
            "outside",
        ),
        (
            serde_json::json!({}),
            serde_json::json!({"cats": {"enc": [{"offsets": [1, 0], "values": [65]}]}}),
            "outside",
        ),
        (
            serde_json::json!({}),
            serde_json::json!({"cats": {"enc": [{"offsets": [0, 1], "values": [-61]}]}}),
            "not UTF-8",
        ),
        (
            serde_json::json!({}),
            serde_json::json!({"cats": {"enc": [{"offsets": [0, 1], "values": [6500]}]}}),
            "no byte",
        ),
    ];
    for (attributes, more, reason) in newer {
        let mut model = SMALL.clone();
        model["learner"]["attributes"] = attributes.clone();
        for (key, value) in more.as_object().unwrap() {
            model["learner"]["gradient_booster"]["model"][key] = value.clone();
        }
        let error = xgboost::from_json(model.to_string().as_bytes()).expect_err(reason).to_string();
        assert!(error.contains(reason), "{attributes} {more}: {error}");
    }
    let mut weighted = SMALL.clone();
    weighted["learner"]["gradient_booster"]["model"]["weight_drop"] = serde_json::json!([0.5]);
    let error = xgboost::from_json(weighted.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.contains("dart"), "{error}");
}

/// From 3.2 on XGBoost moves the base score away from 0 and 1; before, it refused what is not between them.
#[test]
fn base_scores_at_the_ends_are_read_as_the_files_version_has_them() {
    type Row<'a> = (Option<[u32; 2]>, &'a str, Option<f32>);
    let rows: &[Row<'_>] = &[
        (None, "0", None),
        (Some([2, 1]), "0", None),
        (Some([3, 1]), "1", None),
        (Some([3, 1]), "1E-8", Some(-18.420_681)),
        (Some([3, 2]), "1E-8", Some(-13.815_51)),
        (Some([3, 2]), "0", Some(-13.815_51)),
        (Some([3, 2]), "1", Some(13.745_16)),
        (Some([4, 0]), "[1E0]", Some(13.745_16)),
        (Some([3, 2]), "-1E-9", None),
        (Some([3, 2]), "1.1", None),
    ];
    for (version, base, margin) in rows {
        let mut model = SMALL.clone();
        model["learner"]["learner_model_param"]["base_score"] = (*base).into();
        model["learner"]["gradient_booster"]["model"]["trees"][0]["split_conditions"] =
            serde_json::json!([0.5, 0.0, 0.0]);
        if let Some([major, minor]) = version {
            model["version"] = serde_json::json!([major, minor, 0]);
        }
        let read = xgboost::from_json(model.to_string().as_bytes());
        let found = read.as_ref().ok().map(|forest| forest.margin(&[0.0, 0.0]) as f32);
        assert_eq!(found, *margin, "{version:?} {base}");
    }
}

/// XGBoost writes `NaN` and `Infinity`, which JSON has not; in a text they are only words.
#[test]
fn words_that_json_has_not_are_read_or_refused() {
    let text = SMALL.to_string();
    let with = |from: &str, to: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        xgboost::from_json(changed.as_bytes())
    };
    let named = with("\"feature_names\":[]", "\"feature_names\":[\"NaN\\\"NaN\",\"Infinity\"]");
    assert_eq!(named.unwrap().column_names(), ["NaN\"NaN", "Infinity"]);
    let gains = "\"loss_changes\":[NaN,0,0],\"left_children\":[1";
    assert!(with("\"left_children\":[1", gains).is_ok());
    let error = with("[0.5,-1.0,2.0]", "[NaN,-1.0,2.0]").unwrap_err().to_string();
    assert!(error.contains("no threshold"), "{error}");
    let error = with("[0.5,-1.0,2.0]", "[0.5,NaN,2.0]").unwrap_err().to_string();
    assert!(error.contains("the value NaN"), "{error}");
    assert!(with("[0.5,-1.0,2.0]", "[Infinity,-1.0,2.0]").is_err());
}

#[test]
fn lightgbm_is_refused_by_reason() {
    let model = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=1\nobjective=binary sigmoid:1\n\
        feature_names=a b\ntree_sizes=1\n\nTree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature=1\nthreshold=0.5\ndecision_type=2\n\
        left_child=-1\nright_child=-2\nleaf_value=1 2\nleaf_count=3 4\ninternal_count=7\nis_linear=0\n\nend of trees\n";
    assert!(lightgbm::from_text(model.as_bytes()).is_ok());
    let cases = [
        ("tree\nversion", "forest\nversion", "line 1"),
        ("version=v4", "version=v2", "version \"v2\" is not supported"),
        ("num_class=1", "num_class=3", "num_class=3 is not supported"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=2", "not supported"),
        ("max_feature_idx=1", "max_feature_idx=0", "2 names for 1 columns"),
        ("max_feature_idx=1", "max_feature_idx=18446744073709551615", "must not exceed"),
        ("max_feature_idx=1", "max_feature_idx=-1", "not a whole number"),
        ("objective=binary sigmoid:1", "objective=multiclass num_class:3", "objective"),
        ("objective=binary sigmoid:1", "objective=regression sqrt", "objective"),
        ("objective=binary sigmoid:1", "objective=binary sigmoid:nan", "objective"),
        ("feature_names", "average_output\nfeature_names", "boosting=rf"),
        ("tree_sizes=1", "tree_sizes=1 1", "lists 2 trees of 1"),
        ("Tree=0", "Tree=1", "follows 0 trees"),
        ("num_leaves=2", "num_leaves=0", "no leaves"),
        ("num_leaves=2", "num_leaves=99999999999", "must not exceed"),
        ("num_leaves=2", "num_leaves=3", "entries of 3"),
        ("split_feature=1", "split_feature=2", "asks column 2"),
        ("threshold=0.5", "threshold=nan", "cannot be read"),
        ("decision_type=2", "decision_type=14", "cannot be read"),
        ("decision_type=2", "decision_type=1", "category set 0.5 of 0"),
        ("left_child=-1", "left_child=0", "its own"),
        ("left_child=-1", "left_child=-2", "two parents"),
        ("left_child=-1", "left_child=-9223372036854775808", "is linked"),
        ("leaf_value=1 2", "leaf_value=1 inf", "the value inf"),
        ("leaf_count=3 4", "leaf_count=3 -4", "row weight -4"),
        ("is_linear=0", "is_linear=1", "linear leaves is not supported"),
        ("num_cat=0", "num_cat=9999999999999", "cat_boundaries"),
        ("num_leaves=2", "num_leaves=2\nnum_leaves=2", "twice"),
        ("end of trees", "", "cut off"),
    ];
    for (from, to, reason) in cases {
        let changed = model.replacen(from, to, 1);
        assert_ne!(changed, model, "{from}");
        let error = lightgbm::from_text(changed.as_bytes()).expect_err(reason).to_string();
        assert!(error.contains(reason), "{to}: {error} should say {reason}");
    }
    // Lists of categories stand behind the trees.
    let infos = model.replacen("tree_sizes", "feature_infos=0:1 [0:1]\ntree_sizes", 1);
    let lists = [
        ("[[0, 1]]", None),
        ("null", None),
        ("[]", None),
        ("[[\"a\", \"b\"]]", None),
        ("[[0, 1], [2]]", Some("2 lists of pandas categories for 1 categorical columns")),
        ("[[0, 0]]", Some("stands twice")),
        ("[[\"a\", \"a\"]]", Some("stands twice")),
        ("[[0.5]]", Some("category 0.5")),
        ("[[\"a\", 1]]", Some("both texts and numbers")),
        ("[[null]]", Some("pandas_categorical")),
        ("[[0", Some("pandas_categorical")),
    ];
    for (list, reason) in lists {
        let file = format!("{infos}\npandas_categorical:{list}\n");
        match (lightgbm::from_text(file.as_bytes()), reason) {
            (Ok(_), None) => {}
            (Err(error), Some(reason)) => {
                assert!(error.to_string().contains(reason), "{list}: {error}");
            }
            (other, _) => panic!("{list}: {other:?}"),
        }
    }
    let bare = format!("{model}\npandas_categorical:[[0, 1]]\n");
    let error = lightgbm::from_text(bare.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("feature_infos"), "{error}");
}
