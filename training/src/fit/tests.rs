//! The recipe end to end, on tables whose truth is known.

use super::*;
use crate::chance::Chance;
use crate::metrics::Ranking;
use crate::split::Protocol;
use std::ops::ControlFlow;

/// Ten behaviour columns (three matter, one drifts, one is constant, one is repeated), two graph columns, a category.
fn table(rows: usize, seed: u64, bias: f64) -> Table {
    let mut chance = Chance::new(seed, 1);
    let mut columns: Vec<String> = (0..10).map(|c| format!("act.{c}")).collect();
    columns.extend(["graph.shared", "graph.noise", "kind"].map(str::to_owned));
    let mut table = Table {
        categorical: columns.iter().map(|c| c == "kind").collect(),
        columns,
        ..Table::default()
    };
    for row in 0..rows {
        let mut x: Vec<f64> = (0..10).map(|_| chance.unit() * 4.0 - 2.0).collect();
        x[3] += row as f64 / rows as f64 * 3.0;
        x[8] = 1.0;
        x[9] = x[0];
        let shared = (chance.unit() * 3.0).exp().floor();
        let kind = chance.below(5) as f64;
        let log_odds = bias
            + 1.5 * x[0]
            + f64::from(u8::from(x[1] > 0.5)) * f64::from(u8::from(x[2] > 0.5)) * 3.0
            + 1.2 * shared.ln_1p()
            + if kind == 3.0 { 1.5 } else { 0.0 };
        let missing = chance.unit() < 0.05;
        x.extend([shared, chance.unit(), kind]);
        table.rows.extend(
            x.iter().enumerate().map(|(c, v)| if missing && c == 1 { f32::NAN } else { *v as f32 }),
        );
        table.label.push(Some(chance.unit() < crate::logistic::sigmoid(log_odds)));
        table.ts_ms.push(1_500_000_000_000 + row as i64 * 60_000);
        table.account.push((row as u32).wrapping_mul(2_654_435_761) % (rows as u32 / 4));
        table.weight.push(1.0);
    }
    table
}

fn quick() -> TrainOptions {
    let boost = BoostParams {
        rounds_max: 60,
        eta: 0.15,
        patience_rounds: 15,
        bins_max: 64,
        ..BoostParams::default()
    };
    TrainOptions {
        boost,
        search_cells_max: 0,
        bootstrap: 30,
        feature_set_hash: "h".to_owned(),
        ..TrainOptions::default()
    }
}

fn go(table: &Table, options: &TrainOptions) -> Result<Trained, TrainError> {
    train(table, options, &mut |_| ControlFlow::Continue(()))
}

fn scores(trained: &Trained, table: &Table) -> Vec<f64> {
    let scorer = trained.bundle.bind(&table.columns, "h").unwrap();
    let mut out = Vec::new();
    scorer.score_batch(&table.rows, table.columns.len(), &mut out).unwrap();
    out.iter().map(|s| f64::from(s.score)).collect()
}

fn truth(table: &Table) -> Vec<bool> {
    table.label.iter().map(|l| *l == Some(true)).collect()
}

#[test]
fn few_bad_rows_are_learned_by_folds_and_generalise() {
    let known = table(4000, 1, -7.0);
    let trained = go(&known, &quick()).unwrap();
    let report = &trained.report;
    assert_eq!(report.protocol, Protocol::TimeFolds);
    assert_eq!(
        (report.columns.constant.as_slice(), report.columns.duplicate.len()),
        (&["act.8".to_owned()][..], 1)
    );
    let later = table(20_000, 77, -7.0);
    let found = scores(&trained, &later);
    let labels = truth(&later);
    let ranking = Ranking::new(&found, &labels);
    assert!(ranking.auc() > 0.85, "{} of {} bad", ranking.auc(), report.positives);
    // What the report promises is about what comes.
    assert!(
        (ranking.auc() - report.score.auc).abs() < 0.06,
        "{} {}",
        ranking.auc(),
        report.score.auc
    );
    let mean = found.iter().sum::<f64>() / found.len() as f64;
    let rate = labels.iter().filter(|l| **l).count() as f64 / labels.len() as f64;
    assert!((mean / rate - 1.0).abs() < 0.4, "{mean} {rate}");
    assert_eq!(trained.bundle.manifest().thresholds.len(), 4);
    assert_eq!(Bundle::parse(&trained.bundle.to_files()).unwrap(), trained.bundle);
}

#[test]
fn many_bad_rows_are_held_out_and_the_graph_is_used() {
    let known = table(12_000, 2, -4.0);
    let mut options = quick();
    options.split.folds_below_positives = 1000;
    let trained = go(&known, &options).unwrap();
    assert_eq!(trained.report.protocol, Protocol::TimeHoldout);
    assert!(trained.report.graph.unwrap().auc > 0.6);
    assert!(trained.report.score.log_loss <= trained.report.behaviour.log_loss * 1.01);
    assert!(trained.report.score.ece < 0.03, "{}", trained.report.score.ece);
    assert!(trained.report.importance[..3].iter().any(|i| i.name == "act.0"));
    // The scores of the report are those that the scorer gives, but for the models being refitted: same order of size.
    let found = scores(&trained, &known);
    let apart: f64 =
        trained.out_of_sample.iter().map(|(row, score)| (found[*row as usize] - score).abs()).sum();
    assert!(apart / (trained.out_of_sample.len() as f64) < 0.08, "{apart}");
}

#[test]
fn the_same_table_and_seed_give_the_same_bytes_on_any_number_of_threads() {
    let known = table(3000, 3, -5.0);
    let with = |threads: usize, seed: u64| {
        let mut options = quick();
        (options.boost.threads, options.seed) = (threads, seed);
        go(&known, &options).unwrap().bundle.to_files()
    };
    let one = with(1, 1);
    assert_eq!(one, with(2, 1));
    assert_ne!(one["forest.json"], with(1, 2)["forest.json"]);
}

#[test]
fn a_search_and_a_selection_keep_what_matters() {
    let known = table(1500, 4, -4.5);
    let mut options = quick();
    (options.search_cells_max, options.columns_max, options.boost.rounds_max) = (1_000_000, 5, 30);
    let trained = go(&known, &options).unwrap();
    let names = &trained.bundle.manifest().features;
    assert_eq!(names.len(), 5);
    assert!(
        names.iter().any(|n| n == "act.0") && names.iter().any(|n| n == "graph.shared"),
        "{names:?}"
    );
}

#[test]
fn thinning_keeps_probabilities_true() {
    let known = table(12_000, 5, -6.0);
    let mut options = quick();
    options.rows_max = 4000;
    let trained = go(&known, &options).unwrap();
    assert!(trained.report.rows_learned < 5000);
    assert_eq!(trained.report.rows, 12_000);
    let later = table(20_000, 78, -6.0);
    let found = scores(&trained, &later);
    let rate = truth(&later).iter().filter(|l| **l).count() as f64 / 20_000.0;
    let mean = found.iter().sum::<f64>() / 20_000.0;
    assert!((mean / rate - 1.0).abs() < 0.3, "{mean} {rate}");
}

#[test]
fn what_cannot_be_learned_is_refused_with_a_reason() {
    let mut known = table(400, 6, -3.0);
    let refused = |table: &Table| go(table, &quick()).unwrap_err().to_string();
    known.label.fill(Some(false));
    assert!(refused(&known).contains("0 bad and 400 good rows"));
    known.label.fill(Some(true));
    assert!(refused(&known).contains("400 bad and 0 good rows"));
    known.label = (0..400).map(|row| (row < 30).then_some(row % 2 == 0)).collect();
    assert!(refused(&known).contains("30 labelled rows"));
    let mut known = table(400, 6, -1.0);
    known.ts_ms[5] = 0;
    assert!(refused(&known).contains("row 5"));
    let mut known = table(400, 6, -1.0);
    known.rows.fill(1.0);
    assert!(refused(&known).contains("constant"));
    let mut options = quick();
    options.split.stop_share = 0.0;
    assert!(go(&table(400, 6, -1.0), &options).unwrap_err().to_string().contains("split"));
    let mut stages = std::collections::BTreeSet::new();
    let stopped = train(&table(400, 6, -1.0), &quick(), &mut |progress| {
        stages.insert(progress.stage);
        if progress.stage == "final trees" {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(stopped, Err(TrainError::Stopped)));
    assert_eq!(stages.len(), 3);
}
