//! The charts of the page.

use super::measure::{Measured, Report};
use super::report::{day, number, percent};
use super::svg::{Chart, Scale};
use crate::command::progress::grouped;
use training::metrics::{Confusion, Point};

/// Bars of the histogram of scores.
const BARS: usize = 44;

fn figure(title: &str, caption: &str, chart: Chart) -> String {
    format!(
        "<figure><figcaption><strong>{title}</strong>{caption}</figcaption>{}</figure>",
        chart.finish()
    )
}

const SHARE: Scale = Scale::Linear(0.0, 1.0);

/// Recall against false alarms.
pub(super) fn roc(report: &Report, curve: &[Point]) -> String {
    let mut chart = Chart::new("ROC curve", (SHARE, "false positive rate"), (SHARE, "recall"));
    chart.line("even", [(0.0, 0.0), (1.0, 1.0)], false);
    let points = std::iter::once((0.0, 0.0)).chain(curve.iter().map(|p| (p.fpr, p.recall)));
    chart.line("good", points, false);
    for named in &report.thresholds {
        let text = dot_text(&named.name, &named.at);
        chart.dot("bad", (named.at.fpr, named.at.recall), &text);
    }
    let caption = format!(
        "AUC {}; <span class=\"key bad\"></span>thresholds in force",
        number(report.summary.auc, 4)
    );
    figure("ROC", &caption, chart)
}

fn dot_text(name: &str, at: &Confusion) -> String {
    format!(
        "{name} ({}): precision {}, recall {}, FPR {}",
        number(at.threshold, 4),
        percent(at.precision),
        percent(at.recall),
        percent(at.fpr)
    )
}

/// Precision against recall.
pub(super) fn precision_recall(report: &Report, curve: &[Point]) -> String {
    let s = &report.summary;
    let mut chart = Chart::new("Precision against recall", (SHARE, "recall"), (SHARE, "precision"));
    let base = s.positives as f64 / s.events.max(1) as f64;
    chart.line("even", [(0.0, base), (1.0, base)], false);
    let first = curve.first().map(|p| (0.0, p.precision));
    let points = first.into_iter().chain(curve.iter().map(|p| (p.recall, p.precision)));
    chart.line("good", points, false);
    for named in report.thresholds.iter().filter(|n| n.at.true_positives + n.at.false_positives > 0)
    {
        let text = dot_text(&named.name, &named.at);
        chart.dot("bad", (named.at.recall, named.at.precision), &text);
    }
    let caption = format!(
        "average precision {}; dashed: guessing ({})",
        number(s.average_precision, 4),
        percent(base)
    );
    figure("Precision and recall", &caption, chart)
}

/// What each threshold would give.
pub(super) fn by_threshold(report: &Report, curve: &[Point]) -> String {
    let mut chart = Chart::new(
        "Measures against the threshold",
        (Scale::Odds, "threshold (log-odds)"),
        (SHARE, "share"),
    );
    for named in &report.thresholds {
        chart.mark(named.at.threshold, &dot_text(&named.name, &named.at));
    }
    let f1 = |p: &Point| 2.0 * p.precision * p.recall / (p.precision + p.recall);
    chart.line("good", curve.iter().map(|p| (p.threshold, p.precision)), false);
    chart.line("bad", curve.iter().map(|p| (p.threshold, p.recall)), false);
    chart.line("third", curve.iter().map(|p| (p.threshold, f1(p))), false);
    figure(
        "At which score to act",
        "<span class=\"key good\"></span>precision<span class=\"key bad\"></span>recall<span class=\"key third\"></span>F1<span class=\"key mark\"></span>thresholds in force",
        chart,
    )
}

/// How many good and bad rows have which score.
pub(super) fn histogram(measured: &Measured) -> String {
    let end = (1e-4f64 / (1.0 - 1e-4)).ln();
    let edge = |i: usize| {
        let odds = end + (i as f64 / BARS as f64) * -2.0 * end;
        1.0 / (1.0 + (-odds).exp())
    };
    let edges: Vec<f64> = (1..BARS).map(edge).collect();
    let mut counts = [[0u64; 2]; BARS];
    for (score, bad) in measured.score.iter().zip(&measured.bad) {
        counts[edges.partition_point(|e| e <= score)][usize::from(*bad)] += 1;
    }
    let most = counts.iter().flatten().copied().max().unwrap_or(1).max(10);
    let mut chart = Chart::new(
        "Scores of good and bad rows",
        (Scale::Odds, "score (log-odds)"),
        (Scale::Log(0.5, most as f64 * 1.5), "rows"),
    );
    for (i, [good, bad]) in counts.iter().enumerate() {
        let span = (edge(i), edge(i + 1));
        let text = format!(
            "{} to {}: {} good, {} bad",
            number(span.0, 4),
            number(span.1, 4),
            grouped(*good),
            grouped(*bad)
        );
        let both = [("good", *good), ("bad", *bad)];
        // The taller one behind.
        let order = if good >= bad { [0, 1] } else { [1, 0] };
        for (class, count) in order.map(|i| both[i]) {
            chart.bar(class, span, count as f64, &text);
        }
    }
    figure(
        "Scores",
        "<span class=\"key good\"></span>good<span class=\"key bad\"></span>bad; both axes are logarithmic",
        chart,
    )
}

/// Predicted probabilities against what happened.
pub(super) fn reliability(report: &Report) -> String {
    let mut chart = Chart::new(
        "Predicted against observed",
        (Scale::Odds, "predicted (log-odds)"),
        (Scale::Odds, "observed"),
    );
    chart.line("even", [(1e-4, 1e-4), (1.0 - 1e-4, 1.0 - 1e-4)], false);
    chart.line("good", report.reliability.iter().map(|b| (b.predicted, b.observed)), false);
    for bin in &report.reliability {
        let text = format!(
            "predicted {}, observed {} of {} rows",
            number(bin.predicted, 5),
            number(bin.observed, 5),
            grouped(bin.rows as u64)
        );
        chart.dot("good", (bin.predicted, bin.observed), &text);
    }
    let caption = format!("bins of equal size; mean distance {}", number(report.summary.ece, 5));
    figure("Is 10 % really 10 %?", &caption, chart)
}

/// Alerts, right ones and bad accounts of each day.
pub(super) fn alerts(report: &Report) -> String {
    let days = &report.days;
    let first = days.first().map_or(0, |d| d.day_ms);
    let day_of = |ms: i64| ((ms - first) / super::delays::DAY_MS) as f64;
    let end = days.last().map_or(1.0, |d| day_of(d.day_ms) + 1.0);
    let most = days.iter().map(|d| d.alerts.max(d.bad_accounts)).max().unwrap_or(1).max(1);
    let mut chart = Chart::new(
        "Alerts per day",
        (Scale::Linear(0.0, end), "day of the stream"),
        (Scale::Linear(0.0, most as f64 * 1.05), "accounts"),
    );
    for d in days {
        let span = (day_of(d.day_ms), day_of(d.day_ms) + 1.0);
        let text = format!(
            "{}: {} accounts alerted, {} rightly; {} with a bad event; {} actions",
            day(d.day_ms),
            grouped(d.alerts),
            grouped(d.true_alerts),
            grouped(d.bad_accounts),
            grouped(d.actions)
        );
        chart.bar("plain", span, d.alerts as f64, &text);
        chart.bar("good", span, d.true_alerts as f64, &text);
    }
    chart.line("bad", days.iter().map(|d| (day_of(d.day_ms) + 0.5, d.bad_accounts as f64)), false);
    let caption = format!(
        "score of at least {}: <span class=\"key plain\"></span>alerted<span class=\"key good\"></span>rightly<span class=\"key bad\"></span>with a bad event",
        number(report.summary.threshold, 4)
    );
    figure("Alerts per day", &caption, chart)
}
