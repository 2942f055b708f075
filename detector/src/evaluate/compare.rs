//! Two models on the same rows: is one of them better, and how sure is that.

use super::collect::Rows;
use super::measure::{Measured, ModelInfo, Report};
use super::report::{number, percent};
use serde::Serialize;
use std::fmt::Write;
use training::metrics::Summary;
use training::resample::{self, Comparison, Measure};

/// What a comparison says. Differences are second minus first.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The second model.
    pub model: ModelInfo,
    /// Its measures, at a threshold of its own.
    pub measures: Summary,
    /// Difference in the area under the ROC curve.
    pub auc: Comparison,
    /// Difference in average precision.
    pub average_precision: Comparison,
    /// Bootstrap draws behind intervals and p-values.
    pub repeats: usize,
}

/// Why two replays cannot be compared.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompareError {
    /// They are not of the same events.
    #[error(
        "the two models did not score the same events ({first} and {second}, first difference at {at})\nhint: both must belong to this configuration and stream"
    )]
    Rows {
        /// Rows of the first.
        first: usize,
        /// Rows of the second.
        second: usize,
        /// First row that differs.
        at: usize,
    },
}

/// Compares two replays of one stream, row by row; whole accounts are drawn. O(n log n + draws x n).
///
/// With accounts as unit, each model picks the event that stands for an account itself, as it would have live.
///
/// # Errors
/// When the replays are not of the same events.
pub fn compare(
    first: (&Rows, &Measured),
    second: (&Rows, &Measured, &Report),
    repeats: usize,
    seed: u64,
) -> Result<Compared, CompareError> {
    let (a, b) = (first.0, second.0);
    if a.event != b.event {
        let at = a.event.iter().zip(&b.event).position(|(x, y)| x != y);
        let at = at.unwrap_or(a.len().min(b.len()));
        return Err(CompareError::Rows { first: a.len(), second: b.len(), at });
    }
    // The same events and the same truth give the same rows, in the same order.
    let (measured, other, report) = (first.1, second.1, second.2);
    let by = |measure| {
        resample::compare(
            measure,
            &measured.score,
            &other.score,
            &measured.bad,
            &measured.account,
            repeats,
            seed,
        )
    };
    Ok(Compared {
        model: report.model.clone(),
        measures: report.summary,
        auc: by(Measure::Auc),
        average_precision: by(Measure::AveragePrecision),
        repeats,
    })
}

/// The comparison as a table.
pub fn text(first: &Report, compared: &Compared) -> String {
    let (a, b) = (&first.summary, &compared.measures);
    let name = |m: &ModelInfo| format!("{} {} ({})", m.name, m.version, m.id);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let mut line = |text: &str| {
        let _ = writeln!(out, "{}", text.trim_end());
    };
    line(&format!("first  {}", name(&first.model)));
    line(&format!("second {}", name(&compared.model)));
    line("");
    line(&format!(
        "{:<22} {:>9} {:>9} {:>10}   95 % interval, p",
        "", "first", "second", "difference"
    ));
    for (what, of, tested) in [
        ("AUC", (a.auc, b.auc), Some(&compared.auc)),
        (
            "average precision",
            (a.average_precision, b.average_precision),
            Some(&compared.average_precision),
        ),
        ("recall at FPR 0.1 %", (a.recall_at_fpr_0_001, b.recall_at_fpr_0_001), None),
        ("recall at FPR 1 %", (a.recall_at_fpr_0_01, b.recall_at_fpr_0_01), None),
        ("best F1 or given", (a.f1, b.f1), None),
        ("Brier", (a.brier, b.brier), None),
        ("ECE", (a.ece, b.ece), None),
    ] {
        let sure = tested.map_or(String::new(), |c| {
            format!("{:+.4} to {:+.4}, p {:.3}", c.difference.low, c.difference.high, c.p_value)
        });
        let difference = of.1 - of.0;
        let difference =
            if difference.is_finite() { format!("{difference:+.4}") } else { "-".into() };
        line(&format!(
            "{what:<22} {:>9} {:>9} {difference:>10}   {sure}",
            number(of.0, 4),
            number(of.1, 4)
        ));
    }
    line("");
    line(&verdict("AUC", &compared.auc));
    line(&verdict("average precision", &compared.average_precision));
    line(&format!(
        "({} rows, {} bad; paired bootstrap over accounts, {} draws)",
        a.events,
        percent(a.positives as f64 / a.events.max(1) as f64),
        compared.repeats
    ));
    out
}

fn verdict(what: &str, c: &Comparison) -> String {
    let d = &c.difference;
    match (d.low > 0.0, d.high < 0.0) {
        _ if !d.value.is_finite() => {
            format!("{what}: cannot be compared without bad and good rows")
        }
        (true, _) => format!("{what}: the second is better"),
        (_, true) => format!("{what}: the first is better"),
        _ => format!("{what}: these rows do not tell them apart"),
    }
}
