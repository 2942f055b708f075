//! A report as one HTML file that needs nothing else: no network, no scripts, light and dark.

use super::charts;
use super::compare::Compared;
use super::measure::{Measured, Report, Unit};
use super::report::{duration, headline, number, percent, precision, slice_precision};
use super::slices::SliceTable;
use super::svg::escape;
use crate::command::progress::grouped;
use std::fmt::Write;
use training::metrics::{Confusion, Ranking};
use training::resample::Interval;

const STYLE: &str = include_str!("report.css");
/// Points of a curve.
const CURVE_POINTS: usize = 400;

/// The page. `stream` says what was replayed, in words; it is shown as it is.
pub fn html(
    report: &Report,
    measured: &Measured,
    ranking: &Ranking,
    stream: &str,
    compared: Option<&Compared>,
) -> String {
    let mut page = String::with_capacity(1 << 17);
    let mut add = |text: &str| page.push_str(text);
    let model = &report.model;
    add("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    add("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    add(&format!(
        "<title>{} on {}</title><style>{STYLE}</style></head><body><main>",
        escape(&model.name),
        escape(stream)
    ));
    add(&format!("<h1>How good is {} {}?</h1>", escape(&model.name), escape(&model.version)));
    add(&format!(
        "<p class=\"soft\">Model {} on {}. {}.</p>",
        escape(&model.id),
        escape(stream),
        escape(&headline(report))
    ));
    for warning in &report.warnings {
        add(&format!("<p class=\"warning\">{}</p>", escape(warning)));
    }
    add(&figures(report));
    add("<h2>Curves</h2><div class=\"charts\">");
    let curve = ranking.curve(CURVE_POINTS);
    add(&charts::roc(report, &curve));
    add(&charts::precision_recall(report, &curve));
    add(&charts::by_threshold(report, &curve));
    add(&charts::histogram(measured));
    add(&charts::reliability(report));
    add(&charts::alerts(report));
    add("</div>");
    add("<h2>Thresholds and budgets</h2>");
    add(&thresholds(report));
    add("<h2>How soon bad accounts are noticed</h2>");
    add(&delays(report));
    if let Some(compared) = compared {
        add("<h2>Compared with another model</h2>");
        add(&comparison(report, compared));
    }
    if !report.slices.is_empty() {
        add("<h2>Slices</h2>");
        add(&gaps(report));
        for table in &report.slices {
            add(&slice(table));
        }
    }
    add("</main></body></html>\n");
    page
}

/// The numbers that matter most, large.
fn figures(report: &Report) -> String {
    let s = &report.summary;
    let i = report.intervals;
    let range = |i: Option<Interval>| match i {
        Some(i) if i.low.is_finite() => {
            format!("95 %: {} to {}", number(i.low, 3), number(i.high, 3))
        }
        _ => String::new(),
    };
    let at = format!(
        "at score {} ({})",
        number(s.threshold, 4),
        if report.threshold_from == "given" { "given" } else { "best F1" }
    );
    let mut out = String::from("<dl class=\"figures\">");
    for (name, value, small) in [
        (
            "Average precision",
            number(s.average_precision, 3),
            range(i.and_then(|i| i.average_precision)),
        ),
        ("AUC", number(s.auc, 3), range(i.and_then(|i| i.auc))),
        (
            "Recall at FPR 0.1 %",
            percent(s.recall_at_fpr_0_001),
            "one false alarm in a thousand good".into(),
        ),
        (
            "Recall at FPR 1 %",
            percent(s.recall_at_fpr_0_01),
            "one false alarm in a hundred good".into(),
        ),
        ("Precision", percent(s.precision), at.clone()),
        ("Recall", percent(s.recall), at),
        ("Brier", number(s.brier, 5), range(i.map(|i| i.brier))),
        ("Calibration error", number(s.ece, 5), "mean distance of predicted and observed".into()),
    ] {
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "<div><dt>{name}</dt><dd>{}<small>{}</small></dd></div>",
            escape(&value),
            escape(&small)
        );
    }
    out + "</dl>"
}

/// A table of texts; the first column is text, the others are numbers.
fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut out = String::from("<div class=\"wide\"><table><thead><tr>");
    for head in heads {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(head));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            // A share also shows as a tint of the cell.
            match cell.strip_suffix(" %").and_then(|n| n.parse::<f64>().ok()) {
                Some(share) => {
                    let _ = write!(
                        out,
                        "<td class=\"share\" style=\"--share:{:.1}%\">{}</td>",
                        share.clamp(0.0, 100.0),
                        escape(&cell)
                    );
                }
                None => {
                    let _ = write!(out, "<td>{}</td>", escape(&cell));
                }
            }
        }
        out.push_str("</tr>");
    }
    out + "</tbody></table></div>"
}

fn confusion_row(name: String, at: &Confusion) -> Vec<String> {
    vec![
        name,
        number(at.threshold, 4),
        grouped(at.true_positives + at.false_positives),
        grouped(at.true_positives),
        grouped(at.false_positives),
        precision(at),
        percent(at.recall),
        number(at.f1, 3),
        percent(at.fpr),
    ]
}

fn thresholds(report: &Report) -> String {
    let s = &report.summary;
    let chosen = report.thresholds.iter().map(|n| confusion_row(n.name.clone(), &n.at));
    let budgets = report.budgets.iter().filter_map(|b| {
        Some(confusion_row(format!("highest {} %", b.share * 100.0), b.at.as_ref()?))
    });
    let unit = if report.unit == Unit::Event { "events" } else { "accounts" };
    let mut out = table(
        &["", "score", "flagged", "rightly", "wrongly", "precision", "recall", "F1", "FPR"],
        chosen.chain(budgets),
    );
    let _ = write!(
        out,
        "<p class=\"note\">Counted in {unit}. The headline threshold {} is {}.</p>",
        number(s.threshold, 4),
        if report.threshold_from == "given" {
            "the one that was given"
        } else {
            "the one with the best F1 on these rows"
        }
    );
    let per_day = report.per_day.iter().map(|k| {
        vec![
            format!("{} accounts a day", k.accounts),
            percent(k.precision),
            percent(k.recall),
            k.days.to_string(),
        ]
    });
    out + &table(&["if people look at", "precision", "recall", "days"], per_day)
}

fn delays(report: &Report) -> String {
    let rows = report.delays.iter().map(|d| {
        vec![
            d.by.clone(),
            d.threshold.map_or("-".into(), |t| number(t, 4)),
            grouped(d.accounts),
            grouped(d.before),
            grouped(d.after),
            percent(d.never_share),
            number(d.events_median, 0),
            number(d.events_p90, 0),
            duration(d.seconds_median),
            duration(d.seconds_p90),
        ]
    });
    table(
        &[
            "by",
            "score",
            "bad accounts",
            "before",
            "after",
            "never",
            "events, median",
            "90 %",
            "time, median",
            "90 %",
        ],
        rows,
    ) + "<p class=\"note\">From an account's first bad event in the window, which counts as 1, to its first alert; <em>before</em>: it was noticed earlier than that. <em>action</em>: by the rules, live and more than observing.</p>"
}

fn comparison(report: &Report, c: &Compared) -> String {
    let (a, b) = (&report.summary, &c.measures);
    let row =
        |name: &str, first: f64, second: f64, sure: Option<&training::resample::Comparison>| {
            vec![
                name.to_string(),
                number(first, 4),
                number(second, 4),
                number(second - first, 4),
                sure.map_or(String::new(), |c| {
                    format!("{} to {}", number(c.difference.low, 4), number(c.difference.high, 4))
                }),
                sure.map_or(String::new(), |c| number(c.p_value, 3)),
            ]
        };
    let rows = [
        row(
            "average precision",
            a.average_precision,
            b.average_precision,
            Some(&c.average_precision),
        ),
        row("AUC", a.auc, b.auc, Some(&c.auc)),
        row("recall at FPR 0.1 %", a.recall_at_fpr_0_001, b.recall_at_fpr_0_001, None),
        row("recall at FPR 1 %", a.recall_at_fpr_0_01, b.recall_at_fpr_0_01, None),
        row("Brier", a.brier, b.brier, None),
        row("calibration error", a.ece, b.ece, None),
    ];
    let second = format!("{} {} ({})", c.model.name, c.model.version, c.model.id);
    table(&["", "this model", "the other", "difference", "95 % interval", "p"], rows)
        + &format!(
            "<p class=\"note\">The other: {}. Differences are the other minus this one; paired bootstrap over accounts, {} draws.</p>",
            escape(&second),
            c.repeats
        )
}

fn gaps(report: &Report) -> String {
    if report.gaps.is_empty() {
        return "<p class=\"note\">No attribute has two values with rows enough to be compared.</p>".into();
    }
    let rows = report.gaps.iter().map(|g| {
        let end = |e: &super::slices::GapEnd| {
            format!("{}: {} of {}", e.value, percent(e.rate), grouped(e.rows))
        };
        vec![
            g.attribute.clone(),
            if g.measure == "fpr" { "FPR".into() } else { g.measure.to_string() },
            percent(g.gap),
            end(&g.highest),
            end(&g.lowest),
            g.too_small.to_string(),
        ]
    });
    table(&["attribute", "measure", "gap", "highest", "lowest", "too small to compare"], rows)
}

fn slice(table_of: &SliceTable) -> String {
    let rows = table_of.values.iter().map(|v| {
        let s = &v.summary;
        let fpr = v.intervals.map(|i| i.fpr).filter(|i| i.low.is_finite());
        let recall = v.intervals.map(|i| i.recall).filter(|i| i.low.is_finite());
        let range = |i: Option<Interval>| {
            i.map_or("-".to_string(), |i| format!("{} to {}", percent(i.low), percent(i.high)))
        };
        vec![
            v.value.clone(),
            grouped(s.events),
            grouped(s.positives),
            number(s.auc, 3),
            number(s.average_precision, 3),
            slice_precision(s),
            percent(s.recall),
            range(recall),
            percent(s.fpr),
            range(fpr),
        ]
    });
    format!(
        "<details open><summary>{}</summary>{}</details>",
        escape(&table_of.attribute),
        table(
            &["value", "rows", "bad", "AUC", "AP", "precision", "recall", "95 %", "FPR", "95 %"],
            rows
        )
    )
}
