//! The labelled rows and kept columns of a table, packed for boosting.

use super::TrainOptions;
use crate::boost::{Examples, Matrix};
use crate::error::TrainError;
use crate::select::{self, Sample};
use crate::split::{Fold, Plan};
use crate::stack::{self, GraphColumn};
use crate::table::Table;
use linfa::DatasetBase;
use models::LogisticModel;
use ndarray::Array1;
use std::sync::Arc;

/// Rows that the graph's model is fitted on, at most: a few dozen weights need no more.
const GRAPH_ROWS_MAX: usize = 100_000;

/// Packed rows. Row numbers in here are positions in the pack.
pub(super) struct Pack<'a> {
    table: &'a Table,
    matrix: Matrix,
    /// Columns of the table that are packed, rising.
    pub columns: Vec<usize>,
    /// Row of the table of each packed row, rising.
    pub table_row: Vec<u32>,
    pub bad: Vec<bool>,
    pub account: Vec<u32>,
    pub ts_ms: Vec<i64>,
    /// Training runs: rows to learn from, with weight factors, rows that stop, rows that judge.
    pub folds: Vec<(Sample, Vec<u32>, Vec<u32>)>,
    /// All rows to learn from in the end, with weight factors.
    pub everything: Sample,
    graph: Arc<Vec<GraphColumn>>,
}

impl<'a> Pack<'a> {
    /// Thins what is learned from to `rows_max`, and packs every row that is used at all.
    pub fn new(
        table: &'a Table,
        labelled: &[u32],
        bad: &[bool],
        plan: &Plan,
        columns: &[usize],
        options: &TrainOptions,
    ) -> Result<Self, TrainError> {
        let thin = |rows: &[u32]| {
            select::thin(rows, |row| bad[row as usize], options.rows_max, options.seed)
        };
        let whole: Vec<u32> = (0..labelled.len() as u32).collect();
        let everything = thin(&whole);
        let folds: Vec<(Sample, &Fold)> =
            plan.folds.iter().map(|fold| (thin(&fold.train), fold)).collect();
        let mut used = vec![false; labelled.len()];
        let lists = folds.iter().flat_map(|(sample, fold)| [&sample.rows, &fold.stop, &fold.test]);
        for row in lists.flatten().chain(&everything.rows) {
            used[*row as usize] = true;
        }
        let mut place = vec![0u32; labelled.len()];
        let mut kept: Vec<u32> = Vec::new();
        for row in whole.iter().filter(|row| used[**row as usize]) {
            place[*row as usize] = kept.len() as u32;
            kept.push(*row);
        }
        let moved =
            |rows: &[u32]| rows.iter().map(|row| place[*row as usize]).collect::<Vec<u32>>();
        let moved_sample =
            |sample: &Sample| Sample { rows: moved(&sample.rows), factor: sample.factor.clone() };
        let table_row: Vec<u32> = kept.iter().map(|row| labelled[*row as usize]).collect();
        let mut values = Vec::with_capacity(kept.len() * columns.len());
        for row in &table_row {
            let row = table.row(*row as usize);
            values.extend(columns.iter().map(|column| row[*column]));
        }
        let categorical: Vec<bool> =
            columns.iter().map(|column| table.categorical[*column]).collect();
        let graph = columns
            .iter()
            .filter(|c| {
                !table.categorical[**c]
                    && options
                        .graph_prefixes
                        .iter()
                        .any(|p| table.columns[**c].starts_with(p.as_str()))
            })
            .map(|c| GraphColumn { name: table.columns[*c].clone(), at: *c })
            .collect();
        Ok(Self {
            matrix: Matrix::new(values, columns.len(), &categorical)?,
            columns: columns.to_vec(),
            bad: kept.iter().map(|row| bad[*row as usize]).collect(),
            account: table_row.iter().map(|row| table.account[*row as usize]).collect(),
            ts_ms: table_row.iter().map(|row| table.ts_ms[*row as usize]).collect(),
            folds: folds
                .iter()
                .map(|(sample, fold)| (moved_sample(sample), moved(&fold.stop), moved(&fold.test)))
                .collect(),
            everything: moved_sample(&everything),
            graph: Arc::new(graph),
            table_row,
            table,
        })
    }

    /// Names of the packed columns.
    pub fn names(&self, table: &Table) -> Vec<String> {
        self.columns.iter().map(|c| table.columns[*c].clone()).collect()
    }

    fn labels(&self, rows: &[u32]) -> Vec<bool> {
        rows.iter().map(|row| self.bad[*row as usize]).collect()
    }

    fn weights(&self, sample: &Sample) -> Vec<f32> {
        let weight = |row: u32| self.table.weight[self.table_row[row as usize] as usize];
        sample.rows.iter().zip(&sample.factor).map(|(row, factor)| weight(*row) * factor).collect()
    }

    /// Rows to learn from, weighted only where weights differ from 1.
    pub fn examples(&self, sample: &Sample) -> Result<Examples, TrainError> {
        let weights = self.weights(sample);
        let examples = self.judged(&sample.rows)?;
        Ok(match weights.iter().all(|w| *w == 1.0) {
            true => examples,
            false => examples.with_weights(Array1::from(weights)),
        })
    }

    /// Rows to judge with: their labels, each counting once.
    pub fn judged(&self, rows: &[u32]) -> Result<Examples, TrainError> {
        let matrix = if rows.len() == self.bad.len() {
            self.matrix.clone()
        } else {
            self.matrix.select(rows)?
        };
        Ok(DatasetBase::new(matrix, Array1::from(self.labels(rows))))
    }

    /// Everything to learn from in the end.
    pub fn all(&self) -> Result<Examples, TrainError> {
        self.examples(&self.everything)
    }

    /// The rows that are judged out of sample by any fold, rising.
    pub fn test_rows(&self) -> Vec<u32> {
        let mut rows: Vec<u32> =
            self.folds.iter().flat_map(|fold| fold.2.iter().copied()).collect();
        rows.sort_unstable();
        rows
    }

    /// Number of packed values.
    pub fn cells(&self) -> usize {
        self.bad.len() * self.columns.len()
    }

    /// The graph's model of these rows; `None` without graph columns that vary.
    pub fn graph_model(&self, sample: &Sample) -> Result<Option<LogisticModel>, TrainError> {
        if self.graph.is_empty() {
            return Ok(None);
        }
        let weights = self.weights(sample);
        let thinned = select::thin(
            &(0..sample.rows.len() as u32).collect::<Vec<_>>(),
            |i| self.bad[sample.rows[i as usize] as usize],
            GRAPH_ROWS_MAX,
            7,
        );
        let rows: Vec<u32> = thinned.rows.iter().map(|i| sample.rows[*i as usize]).collect();
        let weights: Vec<f32> = thinned
            .rows
            .iter()
            .zip(&thinned.factor)
            .map(|(i, factor)| weights[*i as usize] * factor)
            .collect();
        stack::graph_model(&self.graph, |i| self.row(rows[i]), &self.labels(&rows), &weights)
    }

    /// The graph model's log-odds of these rows.
    pub fn graph_log_odds(&self, model: &LogisticModel, rows: &[u32]) -> Vec<f64> {
        let at = |name: &str| self.graph.iter().find(|c| c.name == name).map_or(0, |c| c.at);
        let places: Vec<usize> = model.columns.iter().map(|c| at(&c.name)).collect();
        rows.iter()
            .map(|row| {
                let values = self.row(*row);
                model.log_odds(|i| values[places[i]])
            })
            .collect()
    }

    /// All of the table's values of a packed row.
    fn row(&self, row: u32) -> &'a [f32] {
        self.table.row(self.table_row[row as usize] as usize)
    }
}
