//! Planted outliers must come out on top, through the scorer that serves the bundle.

use super::*;
use crate::metrics::Ranking;

/// Twelve long-tailed counts and three absent-or-small rates; 1 % of the rows burst in three related columns.
fn planted(rows: usize, seed: u64) -> (Table, Vec<bool>) {
    let mut chance = Chance::new(seed, 2);
    let mut table = Table {
        columns: (0..15).map(|c| format!("count.{c}")).collect(),
        categorical: vec![false; 15],
        ..Table::default()
    };
    let mut bad = Vec::new();
    for row in 0..rows {
        let burst = chance.unit() < 0.01;
        for column in 0..15 {
            let tail = -chance.unit().max(1e-9).ln();
            let value = if column >= 12 && chance.unit() < 0.3 {
                f64::NAN
            } else {
                (tail * tail * 3.0).floor()
            };
            table.rows.push(
                (if burst && column < 3 { value + 60.0 + 60.0 * chance.unit() } else { value })
                    as f32,
            );
        }
        table.ts_ms.push(row as i64 * 1000);
        table.account.push(row as u32 / 4);
        table.label.push(None);
        table.weight.push(1.0);
        bad.push(burst);
    }
    (table, bad)
}

fn scores(made: &Labelfree, table: &Table) -> Vec<f64> {
    let scorer = made.bundle.bind(&table.columns, "h").unwrap();
    let mut out = Vec::new();
    scorer.score_batch(&table.rows, table.columns.len(), &mut out).unwrap();
    out.iter().map(|s| f64::from(s.score)).collect()
}

#[test]
fn bursts_rank_first_and_budgets_hold() {
    let (table, bad) = planted(8000, 1);
    let options =
        LabelfreeOptions { feature_set_hash: "h".to_owned(), ..LabelfreeOptions::default() };
    let made = labelfree(&table, &options).unwrap();
    let (later, later_bad) = planted(8000, 99);
    for (rows, truth) in [(&table, &bad), (&later, &later_bad)] {
        let found = scores(&made, rows);
        let ranking = Ranking::new(&found, truth);
        assert!(
            ranking.auc() > 0.97 && ranking.average_precision() > 0.5,
            "{} {}",
            ranking.auc(),
            ranking.average_precision()
        );
        let review = made.bundle.manifest().thresholds["review"];
        let flagged = found.iter().filter(|s| **s >= review).count();
        assert!((15..=75).contains(&flagged), "{flagged}");
    }
    // Either view alone is worse than nothing to lean on, but must work.
    for (isolation_trees, tail_share) in [(150, 0.0), (0, 0.1)] {
        let one =
            labelfree(&table, &LabelfreeOptions { isolation_trees, tail_share, ..options.clone() })
                .unwrap();
        let auc = Ranking::new(&scores(&one, &later), &later_bad).auc();
        assert!(auc > 0.9, "{isolation_trees} {tail_share} {auc}");
    }
}

#[test]
fn the_same_rows_give_the_same_bytes_and_reasons_can_be_given() {
    let (table, bad) = planted(1000, 5);
    let options =
        LabelfreeOptions { feature_set_hash: "h".to_owned(), ..LabelfreeOptions::default() };
    let made = labelfree(&table, &options).unwrap();
    assert_eq!(made.bundle.to_files(), labelfree(&table, &options).unwrap().bundle.to_files());
    assert_eq!(Bundle::parse(&made.bundle.to_files()).unwrap(), made.bundle);
    let row = bad.iter().position(|b| *b).unwrap();
    let scorer = made.bundle.bind(&table.columns, "h").unwrap();
    let reasons = scorer.explain(table.row(row)).unwrap().ranked();
    assert!(reasons[..3].iter().all(|(column, share)| *column < 3 && *share > 0.0), "{reasons:?}");
}

#[test]
fn rows_that_cannot_be_told_apart_are_refused() {
    let (mut table, _) = planted(200, 1);
    table.rows.fill(3.0);
    assert!(matches!(
        labelfree(&table, &LabelfreeOptions::default()),
        Err(TrainError::NothingVaries { .. })
    ));
    let (table, _) = planted(50, 1);
    assert!(matches!(
        labelfree(&table, &LabelfreeOptions::default()),
        Err(TrainError::TooFewRows { .. })
    ));
}

fn evidence(name: &str) -> models::logistic::Column {
    let transform = models::logistic::Transform::Clamp { low: 0.0, high: 1.0 };
    let name = name.to_owned();
    models::logistic::Column { name, transform, mean: 0.0, scale: 1.0, weight: 5.0, default: 0.0 }
}

#[test]
fn only_the_families_are_looked_at_and_labels_count_once_they_are_there() {
    let (mut table, bad) = planted(8000, 1);
    // A column in which the honest stand out far more, and one of bad rates that is empty before there are labels.
    table.columns.extend(["total".to_owned(), "known_bad".to_owned()]);
    table.categorical.extend([false, false]);
    let mut chance = Chance::new(9, 9);
    table.rows = (0..8000)
        .flat_map(|row| {
            let total = if bad[row] { 0.0 } else { 1.0 / chance.unit().max(1e-6) };
            let mut values = table.rows[row * 15..(row + 1) * 15].to_vec();
            values.extend([total as f32, 0.0]);
            values
        })
        .collect();
    let burst: Vec<String> = (0..3).map(|c| format!("count.{c}")).collect();
    let rest: Vec<String> = (3..12).map(|c| format!("count.{c}")).collect();
    let options = LabelfreeOptions {
        feature_set_hash: "h".to_owned(),
        families: vec![
            (2.0, burst.clone()),
            (0.5, [rest, vec!["absent".to_owned(), "count.0".to_owned()]].concat()),
        ],
        evidence: Some(LogisticModel {
            bias: -6.0,
            columns: ["known_bad", "absent"].map(evidence).into(),
        }),
        isolation_weight: 0.5,
        ..LabelfreeOptions::default()
    };
    let made = labelfree(&table, &options).unwrap();
    let features = &made.bundle.manifest().features;
    assert!(!features.contains(&"total".to_owned()), "{features:?}");
    assert!(features.contains(&"count.0".to_owned()), "{features:?}");
    let ranking = Ranking::new(&scores(&made, &table), &bad);
    let rank = |score: f64| scores(&made, &table).iter().filter(|s| **s < score).count();
    assert!((7800..8000).contains(&rank(0.99)), "{}", rank(0.99));
    let everything =
        labelfree(&table, &LabelfreeOptions { families: Vec::new(), ..options.clone() });
    let unguided = Ranking::new(&scores(&everything.unwrap(), &table), &bad);
    assert!(
        ranking.average_precision() > unguided.average_precision() + 0.1,
        "{} {}",
        ranking.average_precision(),
        unguided.average_precision()
    );
    // A row that nothing speaks against, before and after labels came in.
    let scorer = made.bundle.bind(&table.columns, "h").unwrap();
    let quiet = (0..8000).min_by(|a, b| {
        let score = |row: usize| scorer.score(table.row(row)).margin;
        score(*a).total_cmp(&score(*b))
    });
    let mut row = table.row(quiet.unwrap()).to_vec();
    let mut found = Vec::new();
    for known in [0.0, 0.34, 0.6, 0.9] {
        row[16] = known;
        found.push(scorer.score(&row).score);
    }
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
    assert_eq!(scorer.explain(&row).unwrap().ranked()[0].0, 16);
}
