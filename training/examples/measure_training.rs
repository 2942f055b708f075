//! How long training takes, and how much memory: `cargo run --release -p training --example measure_training -- ROWS COLUMNS`.
//!
//! The rows are drawn: a fifth of the columns matter, a tenth of the values are absent, about 1 % of the rows are bad.

#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;
use std::time::Instant;
use training::chance::Chance;
use training::{Table, TrainOptions, train};

fn main() -> Result<(), training::TrainError> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>().unwrap_or(0));
    let rows = arguments.next().filter(|n| *n > 0).unwrap_or(100_000);
    let columns = arguments.next().filter(|n| *n > 0).unwrap_or(50);
    let table = drawn(rows, columns);
    let started = Instant::now();
    let mut stage = "";
    let trained = train(&table, &TrainOptions::default(), &mut |progress| {
        if progress.stage != stage {
            stage = progress.stage;
            println!("{:7.1} s  {stage}", started.elapsed().as_secs_f64());
        }
        ControlFlow::Continue(())
    })?;
    let report = &trained.report;
    println!(
        "{:7.1} s  done: {rows} rows x {columns} columns, {} bad",
        started.elapsed().as_secs_f64(),
        report.positives
    );
    println!(
        "{} trees, {} rounds x {} seeds, fold rounds {:?}, {} leaves, lambda {}",
        report.trees,
        report.rounds,
        report.seeds,
        report.fold_rounds,
        report.boost.leaves_max,
        report.boost.lambda
    );
    println!(
        "out of sample: AUC {:.4}, AP {:.4}, ECE {:.4}",
        report.score.auc, report.score.average_precision, report.score.ece
    );
    println!("peak memory: {}", peak_memory());
    Ok(())
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "not known here".to_owned(), |peak| peak.trim().to_owned())
}

fn drawn(rows: usize, columns: usize) -> Table {
    let mut chance = Chance::new(1, 1);
    let mut table = Table {
        columns: (0..columns)
            .map(|c| if c % 10 == 9 { format!("graph.{c}") } else { format!("act.{c}") })
            .collect(),
        categorical: vec![false; columns],
        rows: Vec::with_capacity(rows * columns),
        ..Table::default()
    };
    for row in 0..rows {
        let mut log_odds = -6.5;
        for column in 0..columns {
            let value = if column % 2 == 0 {
                chance.unit() * 2.0 - 1.0
            } else {
                (chance.unit() * 4.0).exp().floor()
            };
            if column % 5 == 4 {
                log_odds += if column % 2 == 0 { value } else { 0.3 * value.ln() }
                    / (1.0 + column as f64 * 0.05);
            }
            table.rows.push(if chance.unit() < 0.1 { f32::NAN } else { value as f32 });
        }
        table.label.push(Some(chance.unit() < 1.0 / (1.0 + (-log_odds).exp())));
        table.ts_ms.push(row as i64 * 1000);
        table.account.push(chance.below(rows / 10 + 1) as u32);
        table.weight.push(1.0);
    }
    table
}
