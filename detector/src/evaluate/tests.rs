use super::collect::{Outcome, Replayed, Rows, SliceColumn, SliceKind, Slices, Window, replay};
use super::measure::{Measured, Measuring, ModelInfo, Report, Unit, measure};
use super::{compare, delays, html, intervals, report, slices};
use engine::{Engine, Options};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use training::metrics::Ranking;

const DAY_MS: i64 = delays::DAY_MS;

/// Random events of a few accounts; scores on a coarse grid, so that they tie.
fn events() -> impl Strategy<Value = Rows> {
    let event = (0u32..8, 0u8..3, 0u8..21, any::<bool>(), 0i64..DAY_MS, 0u8..4);
    prop::collection::vec(event, 0..120).prop_map(|list| {
        let mut rows = Rows::default();
        let (mut country, mut amount) = (Vec::new(), Vec::new());
        let mut ts_ms = 1_700_000_000_000;
        for (at, (account, outcome, score, acted, step, value)) in list.into_iter().enumerate() {
            ts_ms += step / 4;
            rows.event.push(at as u64);
            rows.account.push(account);
            rows.ts_ms.push(ts_ms);
            rows.score.push(f32::from(score) / 20.0);
            rows.outcome
                .push([Outcome::Good, Outcome::Bad, Outcome::Unknown][usize::from(outcome)]);
            rows.of_type.push(value != 3 || score % 2 == 0);
            rows.acted.push(acted && score > 15);
            country.push(if value == 3 { f32::NAN } else { f32::from(value) });
            amount.push(f32::from(score) * f32::from(value));
        }
        let names = SliceKind::Names(vec!["NL".into(), "<b>&\"".into()]);
        rows.slices = vec![
            SliceColumn { name: "country".into(), kind: names, values: country },
            SliceColumn { name: "amount".into(), kind: SliceKind::Number, values: amount },
        ];
        rows
    })
}

/// 300 events of which a fifth is bad, with names that are not fit for HTML.
fn sample() -> Rows {
    let mut rows = Rows::default();
    let mut values = Vec::new();
    for at in 0..300u32 {
        let bad = at % 5 == 0;
        rows.event.push(u64::from(at));
        rows.account.push(at / 4);
        rows.ts_ms.push(1_700_000_000_000 + i64::from(at) * DAY_MS / 20);
        rows.score.push(((at * 7 % 50) as f32 + if bad { 40.0 } else { 0.0 }) / 100.0);
        rows.outcome.push(if bad { Outcome::Bad } else { Outcome::Good });
        rows.of_type.push(true);
        rows.acted.push(bad && at % 3 == 0);
        values.push((at % 3) as f32);
    }
    let kind = SliceKind::Names(vec!["NL".into(), "<b>&\"".into()]);
    rows.slices = vec![SliceColumn { name: "country".into(), kind, values }];
    rows
}

fn how(unit: Unit) -> Measuring {
    Measuring {
        unit,
        threshold: Some(0.5),
        thresholds: [("ban".to_string(), 0.9), ("review".to_string(), 0.6)].into(),
        per_day: vec![1, 3],
        repeats: 20,
        seed: 3,
    }
}

fn replayed(rows: Rows) -> Replayed {
    Replayed {
        joined: rows.len() as u64,
        labels: 1,
        lines: rows.len() as u64,
        rejects: 0,
        young_bad: 0,
        young_from_ms: 0,
        rows,
    }
}

fn measured(rows: Rows, unit: Unit) -> (Report, Measured, Ranking) {
    let model = ModelInfo { name: "m <1>".into(), is_probability: true, ..ModelInfo::default() };
    measure(&replayed(rows), &how(unit), &model)
}

proptest! {
    #[test]
    fn an_account_is_bad_if_one_event_is_and_scores_as_its_highest(rows in events()) {
        let found = Measured::new(&rows, Unit::Account);
        let mut naive: BTreeMap<u32, (f64, bool)> = BTreeMap::new();
        for at in 0..rows.len() {
            if rows.of_type[at] && rows.outcome[at] != Outcome::Unknown {
                let own = naive.entry(rows.account[at]).or_insert((-1.0, false));
                own.0 = own.0.max(f64::from(rows.score[at]));
                own.1 |= rows.outcome[at] == Outcome::Bad;
            }
        }
        let list: BTreeMap<u32, (f64, bool)> = found
            .account.iter().zip(found.score.iter().zip(&found.bad)).map(|(a, (s, b))| (*a, (*s, *b))).collect();
        prop_assert_eq!(list.len(), found.account.len(), "each account once");
        prop_assert_eq!(list, naive);
        for (row, score) in found.row.iter().zip(&found.score) {
            prop_assert_eq!(f64::from(rows.score[*row as usize]), *score);
        }
    }

    #[test]
    fn delays_are_those_of_a_walk_through_each_account(rows in events()) {
        let bars = [("half".to_string(), 0.5)];
        let found = delays::delays(&rows, &bars);
        let (mut before, mut never, mut waits) = (0, 0, Vec::new());
        for account in 0..8 {
            let own: Vec<usize> = (0..rows.len()).filter(|at| rows.account[*at] == account).collect();
            let bad = |at: &usize| rows.is_measured(*at) && rows.outcome[*at] == Outcome::Bad;
            let Some(first) = own.iter().position(bad) else { continue };
            match own.iter().position(|at| rows.of_type[*at] && rows.score[*at] >= 0.5) {
                Some(alert) if alert < first => before += 1,
                Some(alert) => waits.push((alert - first + 1) as f64),
                None => never += 1,
            }
        }
        let total = before + never + waits.len() as u64;
        prop_assert_eq!((found[0].accounts, found[0].before, found[0].after), (total, before, waits.len() as u64));
        if total > 0 {
            prop_assert!((found[0].never_share - never as f64 / total as f64).abs() < 1e-12);
        }
        waits.sort_by(f64::total_cmp);
        if !waits.is_empty() {
            prop_assert_eq!(found[0].events_median, waits[waits.len().div_ceil(2) - 1]);
        }
        prop_assert_eq!(found[1].by.as_str(), "action");
        let alerts: u64 = delays::days(&rows, 0.5).iter().map(|d| d.alerts).sum();
        let naive: BTreeSet<(i64, u32)> = (0..rows.len())
            .filter(|at| rows.of_type[*at] && rows.score[*at] >= 0.5)
            .map(|at| (rows.ts_ms[at].div_euclid(DAY_MS), rows.account[at]))
            .collect();
        prop_assert_eq!(alerts, naive.len() as u64);
    }

    #[test]
    fn slices_part_the_rows_and_intervals_hold_the_measures(rows in events()) {
        let (report, measured, ranking) = measured(rows, Unit::Event);
        let whole = &report.summary;
        for table in &report.slices {
            let sum = |f: fn(&slices::Slice) -> u64| table.values.iter().map(f).sum::<u64>();
            prop_assert_eq!(sum(|v| v.summary.events), whole.events);
            prop_assert_eq!(sum(|v| v.summary.positives), whole.positives);
        }
        let found = intervals::all(&measured, 0.5, 50, 1);
        let at = ranking.confusion(0.5);
        let same = |a: f64, b: f64| (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-12;
        prop_assert!(same(found.precision.value, at.precision));
        prop_assert!(same(found.recall.value, at.recall));
        prop_assert!(same(found.f1.value, at.f1));
        prop_assert!(same(found.fpr.value, at.fpr));
        prop_assert!(same(found.brier.value, whole.brier));
        for i in [found.precision, found.recall, found.f1, found.fpr, found.brier] {
            prop_assert!(!i.low.is_finite() || i.low <= i.high);
        }
    }

    /// Whatever the numbers, a page and a text come out, and JSON holds null where there is no number.
    #[test]
    fn any_rows_can_be_printed(rows in events(), account in any::<bool>()) {
        let unit = if account { Unit::Account } else { Unit::Event };
        let (report, measured, ranking) = measured(rows, unit);
        let page = html::html(&report, &measured, &ranking, "<stream>", None);
        prop_assert!(!page.contains("NaN") && !page.contains("inf\"") && !page.contains("<stream>"));
        prop_assert!(!report::text(&report).contains("NaN"));
        let json = serde_json::to_value(&report).unwrap();
        if report.summary.positives == 0 {
            prop_assert!(json["auc"].is_null() && json["average_precision"].is_null());
            prop_assert!(json["warnings"][0].as_str().unwrap().contains("no row is bad"));
        }
        for key in ["events", "positives", "auc", "average_precision", "recall_at_fpr_0.001",
            "recall_at_fpr_0.01", "precision", "recall", "f1", "fpr", "brier", "ece", "threshold"] {
            prop_assert!(json.get(key).is_some(), "{key}");
            for slice in json["slices"][0]["values"].as_array().into_iter().flatten() {
                prop_assert!(slice.get(key).is_some(), "{key} of a slice");
            }
        }
    }
}

/// A table of one row per account and day: the highest scores are found, and ties count with their share.
#[test]
fn budgets_per_day() {
    let mut rows = Rows::default();
    //                     day, account, score, bad
    for (day, account, score, bad) in [
        (0, 1, 0.9, true),
        (0, 2, 0.8, false),
        (0, 3, 0.1, true),
        (1, 1, 0.5, true),
        (1, 2, 0.5, false),
        (1, 1, 0.2, false),
    ] {
        rows.event.push(rows.len() as u64);
        rows.account.push(account);
        rows.ts_ms.push(day * DAY_MS);
        rows.score.push(score);
        rows.outcome.push(if bad { Outcome::Bad } else { Outcome::Good });
        rows.of_type.push(true);
        rows.acted.push(false);
    }
    let (report, _, _) = measured(rows, Unit::Event);
    let one = report.per_day[0];
    assert_eq!((one.accounts, one.days), (1, 2));
    // First day right, second day a tie of a bad and a good account.
    assert!((one.precision - 0.75).abs() < 1e-12, "{one:?}");
    assert!((one.recall - 1.5 / 3.0).abs() < 1e-12, "{one:?}");
    assert_eq!(report.per_day[1].days, 1, "only one day has three accounts");
    let names: Vec<&str> = report.thresholds.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["review", "ban"]);
}

#[test]
fn gaps_need_rows_enough() {
    let mut rows = Rows::default();
    let mut values = Vec::new();
    for at in 0..2000u32 {
        let group = at % 3;
        let rare = at >= 1990;
        rows.event.push(u64::from(at));
        rows.account.push(at);
        rows.ts_ms.push(i64::from(at));
        // One in ten good rows of group 1 is flagged, one in a hundred of the others.
        let flagged = if group == 1 { at % 10 == 1 } else { at % 100 == 2 };
        rows.score.push(if flagged || rare { 0.9 } else { 0.1 });
        rows.outcome.push(Outcome::Good);
        rows.of_type.push(true);
        rows.acted.push(false);
        values.push(if rare { f32::NAN } else { group as f32 });
    }
    let kind = SliceKind::Names(vec!["a".into(), "b".into()]);
    rows.slices = vec![SliceColumn { name: "country".into(), kind, values }];
    let (report, measured, _) = measured(rows, Unit::Event);
    let values: Vec<&str> = report.slices[0].values.iter().map(|v| v.value.as_str()).collect();
    assert_eq!(values, ["a", "b", "(other)", "(absent)"]);
    let [gap] = report.gaps.as_slice() else { panic!("{:?}", report.gaps) };
    assert_eq!(
        (gap.measure, gap.highest.value.as_str(), gap.compared, gap.too_small),
        ("fpr", "b", 3, 1)
    );
    assert!(gap.gap > 0.05 && gap.gap < 0.12, "{gap:?}");
    // Intervals of few rows are wide; those of many hold the value.
    let all: Vec<u32> = (0..1990).collect();
    let fpr = intervals::at_threshold(&measured, &all, 0.5, 300, 1).fpr;
    assert!(fpr.low < fpr.value && fpr.value < fpr.high && fpr.high - fpr.low < 0.05, "{fpr:?}");
}

#[test]
fn the_page_needs_nothing_else() {
    let rows = sample();
    let (report, measured, ranking) = measured(rows.clone(), Unit::Event);
    let compared =
        compare::compare((&rows, &measured), (&rows, &measured, &report), 20, 1).unwrap();
    let page = html::html(&report, &measured, &ranking, "a stream", Some(&compared));
    for reference in [
        "http:", "https:", "//", "src=", "href", "url(", "@import", "<script", "<link", "<img",
        "<iframe", "xmlns",
    ] {
        assert!(!page.contains(reference), "{reference} in the page");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(page.contains("&lt;b&gt;&amp;&quot;") && !page.contains("<b>"), "names are text");
    assert!(page.contains("m &lt;1&gt;"));
    for tag in ["figure", "svg", "table", "details", "dl", "main"] {
        let (open, close) =
            (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
        assert!(open == close && open > 0, "{tag}: {open} and {close}");
    }
    assert!(report::text(&report).contains("average precision"));
    assert!(compare::text(&report, &compared).contains("do not tell them apart"));
}

#[test]
fn models_on_different_events_are_not_compared() {
    let rows = sample();
    let (report, measured, _) = measured(rows.clone(), Unit::Event);
    let mut other = rows.clone();
    other.event[1] = 77;
    let error =
        compare::compare((&rows, &measured), (&other, &measured, &report), 5, 1).unwrap_err();
    assert_eq!(error, compare::CompareError::Rows { first: rows.len(), second: rows.len(), at: 1 });
}

const CONFIG: &str = "
[events]
types = [\"signup\", \"message\", \"view\", \"login\", \"payment\"]
[attributes.country]
type = \"category\"
values = [\"NL\", \"DE\"]
[attributes.amount]
[kinds.device]
strong = true
[labels]
types = [\"message\", \"payment\"]
maturity = \"3d\"
lookback = \"10d\"
";

fn engine() -> Engine {
    let config = crate::config::parse(CONFIG, &BTreeMap::new()).unwrap();
    Engine::new(config, None, Options::default()).unwrap()
}

fn simulated(folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let plan = crate::simulate::Plan {
        accounts: 150,
        events: 3_000,
        days: 30,
        bad_share: 0.2,
        ..Default::default()
    };
    let (mut events, mut labels) = (Vec::new(), Vec::new());
    crate::simulate::write_stream(&plan, &mut events, Some(&mut labels), None, &mut |_| {})
        .unwrap();
    let (e, l) = (folder.join("events.ndjson"), folder.join("labels.ndjson"));
    std::fs::write(&e, events).unwrap();
    std::fs::write(&l, labels).unwrap();
    (e, l)
}

/// What is kept of a replay is what the files say: scores, times, and a truth told by walking the labels.
#[test]
fn a_replay_keeps_what_was_scored_and_what_labels_say() {
    let folder = tempfile::tempdir().unwrap();
    let (events, labels) = simulated(folder.path());
    let from_ms = Some(1_767_225_600_000 + 5 * DAY_MS);
    let window = Window { from_ms, slices: Slices::Auto, ..Window::default() };
    let found = replay(&mut engine(), &events, &labels, &window, &mut |_| {}).unwrap();

    let mut newest: BTreeMap<String, (i64, bool)> = BTreeMap::new();
    let mut by_event: BTreeMap<String, (i64, bool)> = BTreeMap::new();
    let json = |path: &Path| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    let list = json(&events);
    let owner: BTreeMap<&str, &str> = list
        .iter()
        .map(|e| (e["event_id"].as_str().unwrap(), e["account"].as_str().unwrap()))
        .collect();
    for l in json(&labels) {
        let known = (l["ts"].as_i64().unwrap(), l["label"] == 1);
        let event_id = l["event_id"].as_str();
        let account = l["account"].as_str().or(event_id.map(|id| owner[id])).unwrap();
        let set = |map: &mut BTreeMap<String, (i64, bool)>, key: &str| {
            let entry = map.entry(key.to_string()).or_insert(known);
            if known.0 >= entry.0 {
                *entry = known;
            }
        };
        set(&mut newest, account);
        if let Some(id) = event_id {
            set(&mut by_event, id);
        }
    }
    let last = list.iter().map(|e| e["ts"].as_i64().unwrap()).max().unwrap();
    let rows = &found.rows;
    let mut at = 0;
    let mut seen = [0; 3];
    for e in list.iter().filter(|e| e["ts"].as_i64() >= from_ms) {
        let (id, account) = (e["event_id"].as_str().unwrap(), e["account"].as_str().unwrap());
        let ts = e["ts"].as_i64().unwrap();
        let expected = match (by_event.get(id), newest.get(account)) {
            (Some((_, true)), _) => Outcome::Bad,
            (Some(_), _) | (None, Some((_, false))) => Outcome::Good,
            (None, Some((known, true))) if ts <= *known && known - ts <= 10 * DAY_MS => {
                Outcome::Bad
            }
            (None, Some(_)) => Outcome::Unknown,
            (None, None) if last - ts >= 3 * DAY_MS => Outcome::Good,
            (None, None) => Outcome::Unknown,
        };
        assert_eq!((rows.ts_ms[at], rows.outcome[at]), (ts, expected), "{id}");
        let what = e["type"].as_str().unwrap();
        assert_eq!(rows.of_type[at], what == "message" || what == "payment");
        let country = e["attributes"]["country"].as_str();
        let value = rows.slices[2].values[at];
        assert_eq!(
            value,
            country.map_or(f32::NAN, |c| if c == "NL" {
                0.0
            } else if c == "DE" {
                1.0
            } else {
                2.0
            })
        );
        seen[expected as usize] += 1;
        at += 1;
    }
    assert_eq!(at, rows.len());
    assert!(seen.iter().all(|n| *n > 20), "all outcomes occur: {seen:?}");
    let young = |at: &usize| {
        rows.of_type[*at]
            && rows.outcome[*at] == Outcome::Bad
            && last - rows.ts_ms[*at] < 3 * DAY_MS
    };
    assert_eq!(found.young_bad, (0..rows.len()).filter(young).count() as u64);
    assert_eq!(found.young_from_ms, last - 3 * DAY_MS + 1);
    let names: Vec<&str> = rows.slices.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["type", "amount", "country"]);

    // The scores are those that `replay --scores-out` writes.
    let out = folder.path().join("scores.ndjson");
    let mut live = engine();
    live.want(engine::Wanted { scores: true, ..Default::default() });
    let plan = crate::pipeline::Plan {
        input: crate::source::files::Lines::open(&events).unwrap(),
        labels: crate::source::labels::LabelFile::load(&labels, &live.decoder(), None).unwrap(),
        outputs: crate::sink::files::OutputPaths {
            scores: Some(out.clone()),
            ..Default::default()
        },
        store: None,
        checkpoint_events: u64::MAX,
        until_ms: None,
        on_action: None,
        on_effects: None,
        progress: &mut |_| {},
    };
    crate::pipeline::run(&mut live, plan).unwrap();
    let scores: Vec<f32> = json(&out)
        .iter()
        .filter(|s| s["ts"].as_i64() >= from_ms)
        .map(|s| s["score"].as_f64().unwrap() as f32)
        .collect();
    assert_eq!(scores, rows.score);
}

#[test]
fn a_slice_that_does_not_exist_is_named_with_those_that_do() {
    let folder = tempfile::tempdir().unwrap();
    let (events, labels) = simulated(folder.path());
    let window = Window { slices: Slices::Named(vec!["county".into()]), ..Window::default() };
    let why =
        replay(&mut engine(), &events, &labels, &window, &mut |_| {}).unwrap_err().to_string();
    assert_eq!(why, "--slices: there is no attribute county; known: type, amount, country");
}
