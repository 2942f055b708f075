//! A report as text, for a terminal.

use super::delays::Delay;
use super::measure::{Report, Unit};
use super::slices::SliceTable;
use crate::command::progress::grouped;
use std::fmt::Write;
use training::metrics::{Confusion, Summary};
use training::resample::Interval;

/// A number with so many decimals; `-` where there is none.
pub(super) fn number(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { "-".into() }
}

/// A share in percent.
pub(super) fn percent(share: f64) -> String {
    match share.abs() {
        _ if !share.is_finite() => "-".into(),
        s if s > 0.0 && s < 0.01 => format!("{:.3} %", share * 100.0),
        _ => format!("{:.1} %", share * 100.0),
    }
}

/// Precision in percent; `-` where nothing is flagged, which is all that a precision of nothing says.
pub(super) fn precision(at: &Confusion) -> String {
    if at.true_positives + at.false_positives == 0 { "-".into() } else { percent(at.precision) }
}

/// As [`precision`], of a slice: nothing is flagged where no share of the good and of the bad is.
pub(super) fn slice_precision(s: &Summary) -> String {
    if s.recall > 0.0 || s.fpr > 0.0 { percent(s.precision) } else { "-".into() }
}

/// A duration in the unit that fits it.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "-".into(),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

/// A day as text (UTC).
pub(super) fn day(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(ts) => ts.strftime("%Y-%m-%d").to_string(),
        Err(_) => ms.to_string(),
    }
}

/// One line about what was measured.
pub(super) fn headline(report: &Report) -> String {
    let s = &report.summary;
    let what = match report.unit {
        Unit::Event => {
            format!("{} events of {} accounts", grouped(s.events), grouped(report.accounts))
        }
        Unit::Account => format!("{} accounts", grouped(s.events)),
    };
    format!(
        "{what}, {} bad ({}), from {} to {}; {} scored events not measured",
        grouped(s.positives),
        percent(s.positives as f64 / s.events.max(1) as f64),
        day(report.window_ms[0]),
        day(report.window_ms[1]),
        grouped(report.unmeasured)
    )
}

fn with_interval(value: f64, interval: Option<Interval>) -> String {
    match interval {
        Some(i) if i.low.is_finite() => {
            format!("{}  ({} to {})", number(value, 4), number(i.low, 4), number(i.high, 4))
        }
        _ => number(value, 4),
    }
}

/// The whole report.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let mut line = |text: &str| {
        let _ = writeln!(out, "{}", text.trim_end());
    };
    let s = &report.summary;
    let model = &report.model;
    line(&format!("model {} {} ({})", model.name, model.version, model.id));
    line(&headline(report));
    for warning in &report.warnings {
        line(&format!("warning: {warning}"));
    }
    let i = report.intervals;
    line("");
    if i.is_some() {
        line("                          value   (95 % interval, accounts drawn)");
    }
    for (name, value, interval) in [
        ("AUC", s.auc, i.and_then(|i| i.auc)),
        ("average precision", s.average_precision, i.and_then(|i| i.average_precision)),
        ("recall at FPR 0.1 %", s.recall_at_fpr_0_001, None),
        ("recall at FPR 1 %", s.recall_at_fpr_0_01, None),
        ("Brier", s.brier, i.map(|i| i.brier)),
        ("ECE", s.ece, None),
    ] {
        line(&format!("  {name:<22} {}", with_interval(value, interval)));
    }
    let from = if report.threshold_from == "given" { "given" } else { "best F1" };
    line(&format!("  at score {} ({from})", number(s.threshold, 4)));
    for (name, value, interval) in [
        ("precision", s.precision, i.map(|i| i.precision)),
        ("recall", s.recall, i.map(|i| i.recall)),
        ("F1", s.f1, i.map(|i| i.f1)),
        ("FPR", s.fpr, i.map(|i| i.fpr)),
    ] {
        line(&format!("    {name:<20} {}", with_interval(value, interval)));
    }

    line("");
    line(&format!(
        "{:<22} {:>8} {:>10} {:>10} {:>9} {:>7} {:>9}",
        "threshold or budget", "score", "flagged", "precision", "recall", "F1", "FPR"
    ));
    for named in &report.thresholds {
        line(&confusion_line(&named.name, Some(&named.at)));
    }
    for budget in &report.budgets {
        line(&confusion_line(&format!("top {} %", budget.share * 100.0), budget.at.as_ref()));
    }
    for k in &report.per_day {
        line(&format!(
            "{:<22} {:>8} {:>10} {:>10} {:>9}   mean of {} days",
            format!("{} accounts a day", k.accounts),
            "",
            "",
            percent(k.precision),
            percent(k.recall),
            k.days
        ));
    }

    line("");
    line(&format!(
        "{:<14} {:>9} {:>8} {:>9} {:>9} {:>8} {:>9} {:>8}",
        "noticed by", "accounts", "before", "never", "events", "p90", "time", "p90"
    ));
    for delay in &report.delays {
        line(&delay_line(delay));
    }
    line(
        "  (from an account's first bad event to its first alert; medians; the first bad event is 1)",
    );

    if !report.reliability.is_empty() {
        line("");
        line(&format!("{:>19} {:>10} {:>10} {:>10}", "predicted", "mean", "observed", "rows"));
        for bin in &report.reliability {
            line(&format!(
                "{:>19} {:>10} {:>10} {:>10}",
                format!("{:.4} to {:.4}", bin.low, bin.high),
                number(bin.predicted, 5),
                number(bin.observed, 5),
                grouped(bin.rows as u64)
            ));
        }
    }
    let days = &report.days;
    if !days.is_empty() {
        let sum = |f: fn(&super::delays::DayAlerts) -> u64| days.iter().map(f).sum::<u64>() as f64;
        let mean = |f| sum(f) / days.len() as f64;
        line("");
        line(&format!(
            "{} days: per day {:.1} accounts with a score of at least {} ({:.1} of them rightly), {:.1} with a bad event, {:.1} actions",
            days.len(),
            mean(|d| d.alerts),
            number(s.threshold, 4),
            mean(|d| d.true_alerts),
            mean(|d| d.bad_accounts),
            mean(|d| d.actions)
        ));
    }
    for table in &report.slices {
        line("");
        for row in slice_lines(table) {
            line(&row);
        }
    }
    if !report.gaps.is_empty() {
        line("");
        line("furthest apart, of slices with rows enough:");
        for gap in &report.gaps {
            line(&format!(
                "  {:<16} {:<6} {:>9}   {} {} ({} rows), {} {} ({} rows)",
                gap.attribute,
                if gap.measure == "fpr" { "FPR" } else { gap.measure },
                percent(gap.gap),
                gap.highest.value,
                percent(gap.highest.rate),
                grouped(gap.highest.rows),
                gap.lowest.value,
                percent(gap.lowest.rate),
                grouped(gap.lowest.rows)
            ));
        }
    }
    out
}

fn confusion_line(name: &str, at: Option<&Confusion>) -> String {
    let Some(at) = at else { return format!("{name:<22} {:>8}   no score is rare enough", "-") };
    format!(
        "{name:<22} {:>8} {:>10} {:>10} {:>9} {:>7} {:>9}",
        number(at.threshold, 4),
        grouped(at.true_positives + at.false_positives),
        precision(at),
        percent(at.recall),
        number(at.f1, 3),
        percent(at.fpr)
    )
}

fn delay_line(d: &Delay) -> String {
    let name = match d.threshold {
        Some(t) => format!("{} {}", d.by, number(t, 3)),
        None => d.by.clone(),
    };
    format!(
        "{name:<14} {:>9} {:>8} {:>9} {:>9} {:>8} {:>9} {:>8}",
        grouped(d.accounts),
        grouped(d.before),
        percent(d.never_share),
        number(d.events_median, 0),
        number(d.events_p90, 0),
        duration(d.seconds_median),
        duration(d.seconds_p90)
    )
}

fn slice_lines(table: &SliceTable) -> Vec<String> {
    let widest = table.values.iter().map(|v| v.value.chars().count()).max().unwrap_or(0);
    let wide = widest.max(table.attribute.chars().count()).clamp(10, 34);
    let mut out = vec![format!(
        "{:<wide$} {:>10} {:>8} {:>7} {:>7} {:>10} {:>9} {:>9}",
        table.attribute, "rows", "bad", "AUC", "AP", "precision", "recall", "FPR"
    )];
    for slice in &table.values {
        let s = &slice.summary;
        out.push(format!(
            "{:<wide$} {:>10} {:>8} {:>7} {:>7} {:>10} {:>9} {:>9}",
            slice.value,
            grouped(s.events),
            grouped(s.positives),
            number(s.auc, 3),
            number(s.average_precision, 3),
            slice_precision(s),
            percent(s.recall),
            percent(s.fpr)
        ));
    }
    out
}
