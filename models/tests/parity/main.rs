//! What LightGBM, XGBoost and hessboost themselves said of stored rows, bit for bit. `make_fixtures.py` and
//! `make_frame_fixtures.py` write the files.

use models::forest::{Forest, Library, lightgbm, xgboost};
use models::{Explainer, Kernel};

/// A stored row: its columns, the library's margin and prediction, and for some rows its contributions.
struct Row {
    columns: Vec<f32>,
    margin: Bits,
    prediction: Bits,
    contributions: Vec<f64>,
}

#[derive(Debug, PartialEq, Clone, Copy)]
enum Bits {
    F32(u32),
    F64(u64),
}

impl Bits {
    fn read(hex: &str) -> Self {
        match hex.len() {
            8 => Bits::F32(u32::from_str_radix(hex, 16).unwrap()),
            _ => Bits::F64(u64::from_str_radix(hex, 16).unwrap()),
        }
    }

    fn of(value: f64, library: Library) -> Self {
        match library {
            Library::XgBoost => {
                assert_eq!(f64::from(value as f32), value, "an f32 library's result is an f32");
                Bits::F32((value as f32).to_bits())
            }
            Library::LightGbm => Bits::F64(value.to_bits()),
        }
    }

    fn value(self) -> f64 {
        match self {
            Bits::F32(bits) => f64::from(f32::from_bits(bits)),
            Bits::F64(bits) => f64::from_bits(bits),
        }
    }
}

fn rows(text: &str) -> Vec<Row> {
    let mut lines = text.lines();
    let columns: usize = lines.next().unwrap().parse().unwrap();
    let row = |line: &str| {
        let parts: Vec<Vec<&str>> =
            line.split('|').map(|part| part.split_ascii_whitespace().collect()).collect();
        assert_eq!(parts[0].len(), columns);
        Row {
            columns: parts[0]
                .iter()
                .map(|hex| f32::from_bits(u32::from_str_radix(hex, 16).unwrap()))
                .collect(),
            margin: Bits::read(parts[1][0]),
            prediction: Bits::read(parts[1][1]),
            contributions: parts.get(2).map_or(Vec::new(), |numbers| {
                numbers.iter().map(|number| number.parse().unwrap()).collect()
            }),
        }
    };
    lines.map(row).collect()
}

/// `exp` is the system's; only with glibc, which the libraries' own builds use, is its last bit promised.
const SAME_EXP: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

fn check(case: &str, forest: &Forest, text: &str) {
    let rows = rows(text);
    let columns = forest.columns();
    assert!(rows.len() >= 100, "{case} has {} rows", rows.len());
    let named: Vec<String> = (0..columns).map(|i| format!("c{i}")).collect();
    if !case.starts_with("hessboost") && !frames::TRAINED_ON_ARRAYS.contains(&case) {
        assert_eq!(forest.column_names(), named, "{case}");
    }
    let kernel = Kernel::new(forest);
    let flat: Vec<f32> = rows.iter().flat_map(|row| row.columns.iter().copied()).collect();
    let mut margins = Vec::new();
    kernel.margins(&flat, columns, &mut margins).unwrap();
    for (index, (row, batch)) in rows.iter().zip(&margins).enumerate() {
        let at = format!("{case}, row {index}: {:?}", row.columns);
        let margin = forest.margin(&row.columns);
        assert_eq!(Bits::of(margin, forest.library()), row.margin, "{at}");
        assert_eq!(batch.to_bits(), margin.to_bits(), "batch kernel, {at}");
        assert_eq!(kernel.margin(&row.columns).to_bits(), margin.to_bits(), "row kernel, {at}");
        let prediction = forest.probability(margin);
        if SAME_EXP {
            assert_eq!(Bits::of(prediction, forest.library()), row.prediction, "{at}");
        } else {
            let near = (prediction - row.prediction.value()).abs();
            assert!(near <= 2e-7 * row.prediction.value().abs(), "{at}");
        }
    }
    if rows.iter().any(|row| !row.contributions.is_empty()) {
        check_contributions(case, forest, &rows);
    }
}

fn check_contributions(case: &str, forest: &Forest, rows: &[Row]) {
    let explainer = Explainer::new(forest.clone().into()).unwrap();
    // XGBoost works its contributions out in f32.
    let tolerance = match forest.library() {
        Library::XgBoost => 2e-5,
        Library::LightGbm => 1e-9,
    };
    let mut explained = 0;
    for row in rows.iter().filter(|row| !row.contributions.is_empty()) {
        let own = explainer.explain(&row.columns);
        let all = own.columns.iter().copied().chain([own.base]);
        let size = row.contributions.iter().fold(1.0f64, |max, c| max.max(c.abs()));
        for (own, theirs) in all.zip(&row.contributions) {
            assert!((own - theirs).abs() <= tolerance * size, "{case}: {own} is not {theirs}");
        }
        explained += 1;
    }
    assert!(explained >= 8, "{case}");
}

macro_rules! cases {
    ($read:path, $extension:literal: $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                let case = stringify!($case);
                let forest = $read(include_bytes!(concat!("fixtures/", stringify!($case), $extension)));
                let forest = forest.unwrap_or_else(|error| panic!("{case}: {error}"));
                check(case, &forest, include_str!(concat!("fixtures/", stringify!($case), ".rows")));
            }
        )*
    };
}

mod frames;

cases!(lightgbm::from_text, ".txt":
    lgb_numeric lgb_no_missing lgb_zero_as_missing lgb_many_zeros lgb_categorical
    lgb_categorical_onehot lgb_categorical_zero lgb_regression lgb_sigmoid lgb_cross_entropy
    lgb_poisson lgb_dart lgb_wide lgb_large lgb_stump
);

cases!(xgboost::from_json, ".json":
    xgb_numeric xgb_no_missing xgb_partition xgb_onehot xgb_wide xgb_base_0 xgb_base_1 xgb_base_2
    xgb_base_3 xgb_base_4 xgb_logitraw xgb_regression xgb_poisson xgb_absolute hessboost
);

mod ubj {
    use super::*;

    cases!(xgboost::from_ubj, ".ubj": xgb_numeric xgb_partition xgb_onehot xgb_large hessboost);

    #[test]
    fn json_and_ubj_hold_the_same_forest() {
        let json = xgboost::from_json(include_bytes!("fixtures/xgb_partition.json")).unwrap();
        let ubj = xgboost::from_ubj(include_bytes!("fixtures/xgb_partition.ubj")).unwrap();
        assert_eq!(json, ubj);
    }
}
