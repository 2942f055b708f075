//! Models as people save them: from data frames, by the scikit-learn interface, of one class only, by an older library.

use super::{Row, SAME_EXP, check, rows};
use models::bundle::{Bundle, BundleError, ForestFile, ForestFormat, Kind, Manifest};
use models::forest::{lightgbm, xgboost};

/// Cases whose columns have no names.
pub const TRAINED_ON_ARRAYS: &[&str] = &[
    "xgb_early",
    "xgb_early_parallel",
    "xgb_near_0",
    "xgb_near_1",
    "xgb_all_good",
    "xgb_all_bad",
    "lgb_all_good",
    "lgb_all_bad",
];

cases!(xgboost::from_json, ".json":
    xgb2_categorical xgb_early xgb_early_parallel xgb_near_0 xgb_near_1 xgb_all_good xgb_all_bad xgb_number_categories
);

cases!(lightgbm::from_text, ".txt": lgb_all_good lgb_all_bad lgb_number_categories);

/// The values of the attribute as a configuration declares them; rows have places in this list.
const DECLARED: [&str; 7] = ["ZA", "US", "NL", "GB", "FR", "DE", "BE"];
const HASH: &str = "5f1e";

fn bundle(file: &[u8], format: ForestFormat) -> Bundle {
    let mut manifest = Manifest::new("frame", "1", Kind::Forest, HASH);
    manifest.features = ["c0", "c1", "c2"].map(str::to_owned).into();
    manifest.forest = Some(ForestFile { file: "forest".to_owned(), format });
    Bundle::new(manifest, [("forest".to_owned(), file.to_vec())].into()).unwrap()
}

/// The category of the file by name, wherever the configuration has it.
fn bind(bundle: &Bundle, declared: &[&str]) -> Result<models::bundle::Scorer, BundleError> {
    let columns = ["c0", "c1", "c2"].map(str::to_owned);
    bundle.bind_with_categories(&columns, HASH, &|column, name| {
        assert_eq!(column, "c0");
        declared.iter().position(|value| *value == name).map(|code| code as u32)
    })
}

fn check_named(case: &str, file: &[u8], format: ForestFormat, text: &str) {
    let bundle = bundle(file, format);
    let scorer = bind(&bundle, &DECLARED).unwrap();
    let expected: Vec<Row> = rows(text);
    assert!(expected.len() >= 100);
    for (index, row) in expected.iter().enumerate() {
        let scores = scorer.score(&row.columns);
        assert_eq!(scores.margin, row.margin.value(), "{case}, row {index}: {:?}", row.columns);
        if SAME_EXP {
            assert_eq!(scores.score, row.prediction.value() as f32, "{case}, row {index}");
        }
    }
    // In another order of declaration the same names have other codes, and the same scores.
    let mut turned = DECLARED;
    turned.reverse();
    let other = bind(&bundle, &turned).unwrap();
    for row in &expected {
        let mut columns = row.columns.clone();
        if !columns[0].is_nan() {
            columns[0] = 6.0 - columns[0];
        }
        assert_eq!(other.score(&columns), scorer.score(&row.columns), "{case}");
    }
    // A name that is not declared would have no score from the library.
    let error = bind(&bundle, &DECLARED[..5]).unwrap_err();
    assert!(
        matches!(&error, BundleError::Categories { column, names }
        if column == "c0" && names.contains(&"BE".to_owned())),
        "{error}"
    );
    let columns = ["c0", "c1", "c2"].map(str::to_owned);
    let error = bundle.bind(&columns, HASH).unwrap_err().to_string();
    assert!(error.contains("\"DE\"") && error.contains("declare them"), "{error}");
}

#[test]
fn categories_with_names_are_found_by_name() {
    check_named(
        "xgb_text_categories",
        include_bytes!("fixtures/xgb_text_categories.json"),
        ForestFormat::XgboostJson,
        include_str!("fixtures/xgb_text_categories.rows"),
    );
    check_named(
        "xgb_text_categories",
        include_bytes!("fixtures/xgb_text_categories.ubj"),
        ForestFormat::XgboostUbj,
        include_str!("fixtures/xgb_text_categories.rows"),
    );
    check_named(
        "lgb_text_categories",
        include_bytes!("fixtures/lgb_text_categories.txt"),
        ForestFormat::LightgbmText,
        include_str!("fixtures/lgb_text_categories.rows"),
    );
}

#[test]
fn category_lists_of_json_and_ubj_are_the_same() {
    let json = xgboost::from_json(include_bytes!("fixtures/xgb_number_categories.json")).unwrap();
    let ubj = xgboost::from_ubj(include_bytes!("fixtures/xgb_number_categories.ubj")).unwrap();
    assert_eq!(json, ubj);
}
