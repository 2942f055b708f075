//! Bundles: what is written is what is read, what is wrong is refused by name, and a bound one scores the same bits whatever the batch.

mod common;

use std::collections::BTreeMap;

use common::{COLUMNS, rows};
use models::bundle::{Bundle, BundleError, ForestFile, ForestFormat, Kind, Manifest, Scorer};
use models::logistic::{Column, LogisticModel, Transform};
use models::{Calibration, Stacking};
use proptest::prelude::*;

const UBJ: &[u8] = include_bytes!("parity/fixtures/xgb_numeric.ubj");
const HASH: &str = "5f1e";

fn column(name: &str, weight: f64) -> Column {
    let (name, transform) = (name.to_owned(), Transform::Log1p);
    Column { name, transform, mean: 0.5, scale: 2.0, weight, default: 1.0 }
}

fn manifest() -> Manifest {
    let mut manifest = Manifest::new("test", "3", Kind::Forest, HASH);
    manifest.features = (0..6).map(|i| format!("c{i}")).collect();
    manifest.forest =
        Some(ForestFile { file: "forest.ubj".to_owned(), format: ForestFormat::XgboostUbj });
    manifest.calibration = Calibration::Platt { a: -1.25, b: 0.1 };
    manifest.graph_model = Some(LogisticModel {
        bias: -2.0,
        columns: vec![column("g.known_bad", 3.0), column("g.degree", 0.5)],
    });
    manifest.stacking = Some(Stacking { bias: 0.25, behaviour: 0.8, graph: 0.4 });
    manifest.thresholds = [("review".to_owned(), 0.5), ("ban".to_owned(), 0.99)].into();
    let rows = toml::Value::Integer(1500);
    manifest.training = [("rows".to_owned(), rows)].into();
    manifest.metrics = [("auc".to_owned(), toml::Value::Float(0.93))].into();
    manifest
}

fn files() -> BTreeMap<String, Vec<u8>> {
    [("forest.ubj".to_owned(), UBJ.to_vec())].into()
}

/// The engine's vector: the bundle's columns among others, in another order.
fn available() -> Vec<String> {
    ["c5", "g.degree", "c0", "other", "c4", "c1", "g.known_bad", "c3", "c2"]
        .map(str::to_owned)
        .into()
}

fn bound(manifest: Manifest) -> Scorer {
    Bundle::new(manifest, files()).unwrap().bind(&available(), HASH).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let bundle = Bundle::new(manifest(), files()).unwrap();
    let written = bundle.to_files();
    let read = Bundle::parse(&written).unwrap();
    assert_eq!(read, bundle);
    assert_eq!(read.to_files(), written, "the same bundle, the same bytes");
    assert_eq!(read.version_id(), bundle.version_id());
    assert_eq!(read.version_id().len(), 16);
    let mut other = manifest();
    other.thresholds.insert("ban".to_owned(), 0.98);
    assert_ne!(Bundle::new(other, files()).unwrap().version_id(), bundle.version_id());
}

#[test]
fn a_bundle_written_by_hand_keeps_its_bytes() {
    let text = "# by hand\nformat = 1\nname = \"fixed\"\nversion = \"1\"\nkind = \"labelfree\"\nfeature_set_hash = \"5f1e\"\n\
        [behaviour_model]\nbias = -3\n[[behaviour_model.columns]]\nname = \"c0\"\nweight = 2\n\
        transform = { clamp = { low = 0, high = 4.5 } }\n";
    let files = BTreeMap::from([("model.toml".to_owned(), text.as_bytes().to_vec())]);
    let bundle = Bundle::parse(&files).unwrap();
    assert_eq!(bundle.to_files(), files);
    let scorer = bundle.bind(&available(), HASH).unwrap();
    let mut row = [0.0; 9];
    row[2] = 100.0;
    let scores = scorer.score(&row);
    assert_eq!(scores.margin, 6.0);
    assert_eq!(scores.behaviour, scores.score);
    assert_eq!(scores.graph, None);
    let explanation = scorer.explain(&row).unwrap();
    assert_eq!(explanation.ranked(), [(2, 9.0)]);
}

#[test]
fn what_is_wrong_is_refused() {
    let whole = Bundle::new(manifest(), files()).unwrap().to_files();
    let text = String::from_utf8(whole["model.toml"].clone()).unwrap();
    let cases = [
        ("format = 1", "format = 2", "this version reads 1"),
        ("format = 1", "format = 1\nformal = 1", "unknown field"),
        ("kind = \"forest\"", "kind = \"labelfree\"", "needs [behaviour_model]"),
        ("\"c1\"", "\"c0\"", "stands twice"),
        ("\"c1\"", "\"c9\"", "names column 1 \"c1\""),
        ("\"c5\"", "\"c5\", \"c6\"", "6 columns, but features lists 7"),
        ("a = -1.25", "a = nan", "must be below 0"),
        ("a = -1.25", "a = -1.25\nc = 2", "unknown field"),
        ("bias = 0.25", "bias = inf", "must be finite"),
        ("ban = 0.99", "ban = 1.5", "between 0 and 1"),
        ("auc = 0.93", "auc = nan", "metrics.auc"),
        ("auc = 0.93", "auc = [{ x = -inf }]", "metrics.auc"),
        ("rows = 1500", "rows = inf", "training.rows"),
        (
            "xgboost_ubj",
            "xgboost_json",
            "should be xgboost_json, and is an XGBoost model in binary JSON",
        ),
        ("xgboost_ubj", "onnx", "unknown variant"),
        ("file = \"forest.ubj\"", "file = \"../forest.ubj\"", "the bundle has no ../forest.ubj"),
        ("[stacking]", "[stackin]", "unknown field"),
        ("scale = 2.0", "scale = 0.0", "must be above 0"),
        ("name = \"test\"", "name = \"\"", "name must have"),
    ];
    for (from, to, reason) in cases {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from} stands in\n{text}");
        let mut files = whole.clone();
        files.insert("model.toml".to_owned(), changed.into_bytes());
        let error = Bundle::parse(&files).expect_err(reason).to_string();
        assert!(error.contains(reason), "{to}: {error} should say {reason}");
    }
    for removed in ["model.toml", "forest.ubj"] {
        let mut files = whole.clone();
        files.remove(removed);
        let file = removed.to_owned();
        assert_eq!(Bundle::parse(&files), Err(BundleError::MissingFile { file }));
    }
    let mut files = whole.clone();
    files.get_mut("forest.ubj").unwrap()[100] ^= 1;
    assert!(matches!(Bundle::parse(&files), Err(BundleError::Sha256 { .. })));
    let mut files = whole.clone();
    files.insert("extra".to_owned(), vec![]);
    assert!(matches!(Bundle::parse(&files), Err(BundleError::UnlistedFile { .. })));
    for name in ["a/b", "", ".hidden", "..", "model.toml"] {
        let mut files = self::files();
        files.insert(name.to_owned(), vec![]);
        assert!(Bundle::new(manifest(), files).is_err(), "{name:?}");
    }
    let graph_alone = Manifest { stacking: None, ..manifest() };
    assert!(Bundle::new(graph_alone, self::files()).is_err());
}

#[test]
fn a_feature_set_that_does_not_match_is_named() {
    let bundle = Bundle::new(manifest(), files()).unwrap();
    let error = bundle.bind(&available(), "c0de").unwrap_err().to_string();
    assert!(error.contains("hash 5f1e (bundle) is not c0de"), "{error}");
    let mut names = available();
    names.retain(|name| name != "c4");
    names[1] = "g.degrees".to_owned();
    match bundle.bind(&names, HASH) {
        Err(BundleError::Features { hash: None, missing }) => {
            let missing: Vec<(&str, Option<&str>)> =
                missing.iter().map(|c| (c.name.as_str(), c.nearest.as_deref())).collect();
            assert_eq!(missing, [("c4", None), ("g.degree", Some("g.degrees"))]);
        }
        other => panic!("{other:?}"),
    }
    let error = bundle.bind(&names, HASH).unwrap_err().to_string();
    assert!(
        error.contains("missing columns \"c4\", \"g.degree\" (nearest: \"g.degrees\")"),
        "{error}"
    );
}

#[test]
fn scores_are_what_they_say() {
    let scorer = bound(manifest());
    let forest = models::forest::xgboost::from_ubj(UBJ).unwrap();
    let row = [0.5, 3.0, -1.0, 9.0, f32::NAN, 0.25, 7.0, 1.5, -0.75];
    let own = [row[2], row[5], row[8], row[7], row[4], row[0]];
    let scores = scorer.score(&row);
    let margin = forest.margin(&own);
    assert_eq!(scores.margin, margin);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let behaviour = 1.25 * margin - 0.1;
    assert!((f64::from(scores.behaviour) - sigmoid(behaviour)).abs() < 1e-6);
    let graph = -2.0 + 3.0 * (8f64.ln() - 0.5) / 2.0 + 0.5 * (4f64.ln() - 0.5) / 2.0;
    assert!((f64::from(scores.graph.unwrap()) - sigmoid(graph)).abs() < 1e-6);
    let joined = 0.25 + 0.8 * behaviour + 0.4 * graph;
    assert!((f64::from(scores.score) - sigmoid(joined)).abs() < 1e-6);

    let plain = Manifest {
        calibration: Calibration::None,
        graph_model: None,
        stacking: None,
        ..manifest()
    };
    let plain = bound(plain).score(&row);
    assert_eq!(plain.behaviour, forest.probability(margin) as f32, "the library's own probability");
    assert_eq!(plain.score, plain.behaviour);

    // Explanations add up to the joined log-odds.
    let why = scorer.explain(&row).unwrap();
    let sum = |list: &[(usize, f64)]| list.iter().map(|&(_, c)| c).sum::<f64>();
    assert!((why.base + sum(&why.contributions) - margin).abs() < 1e-5);
    assert!((why.graph_base + sum(&why.graph_contributions) - graph).abs() < 1e-9);
    let offset = joined - sum(&why.ranked());
    let expected = 0.25 + 0.8 * (1.25 * why.base - 0.1) + 0.4 * why.graph_base;
    assert!((offset - expected).abs() < 1e-5);
    let sizes: Vec<f64> = why.ranked().iter().map(|(_, c)| c.abs()).collect();
    assert!(sizes.len() > 2 && sizes.windows(2).all(|pair| pair[0] >= pair[1]));
}

#[test]
fn calibrations_of_every_kind_score() {
    let steps =
        Calibration::Isotonic { bounds: vec![-1.0, 0.0, 1.0], values: vec![0.01, 0.3, 0.9] };
    for calibration in [Calibration::None, Calibration::Platt { a: -2.0, b: 0.0 }, steps] {
        let changed = Manifest {
            calibration: calibration.clone(),
            score_calibration: calibration.clone(),
            ..manifest()
        };
        let bundle = Bundle::new(changed, files()).unwrap();
        assert_eq!(Bundle::parse(&bundle.to_files()).unwrap(), bundle);
        let scorer = bundle.bind(&available(), HASH).unwrap();
        let scores = scorer.score(&[0.0; 9]);
        assert_eq!(
            scores.behaviour,
            calibration_of(&calibration, scores.margin),
            "{calibration:?}"
        );
        assert!((0.0..=1.0).contains(&scores.score));
    }
}

fn calibration_of(calibration: &Calibration, margin: f64) -> f32 {
    match calibration {
        Calibration::None => models::forest::Link::LogisticF32.apply(margin) as f32,
        other => other.probability(margin) as f32,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_row_or_many_the_same_bits(rows in rows(60), cut in 1..20usize) {
        let scorer = bound(manifest());
        let mut all = Vec::new();
        scorer.score_batch(&rows, COLUMNS, &mut all).unwrap();
        let mut cut_up = Vec::new();
        for part in rows.chunks(cut * COLUMNS) {
            scorer.score_batch(part, COLUMNS, &mut cut_up).unwrap();
        }
        let bits = |s: &models::Scores| {
            (s.margin.to_bits(), s.behaviour.to_bits(), s.graph.map(f32::to_bits), s.score.to_bits())
        };
        for (index, row) in rows.chunks(COLUMNS).enumerate() {
            let alone = bits(&scorer.score(row));
            prop_assert_eq!(alone, bits(&all[index]));
            prop_assert_eq!(alone, bits(&cut_up[index]));
        }
        prop_assert_eq!(all.len(), cut_up.len());
    }

    #[test]
    fn any_manifest_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let files = BTreeMap::from([("model.toml".to_owned(), bytes)]);
        prop_assert!(Bundle::parse(&files).is_err());
    }
}
