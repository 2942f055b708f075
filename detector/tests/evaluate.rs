//! `evaluate`, `golden` and `replay --rows-out` as commands: exit codes, messages, and what is on standard output.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CONFIG: &str = "
[events]
types = [\"signup\", \"message\", \"view\", \"login\", \"payment\"]
[attributes.country]
type = \"category\"
values = [\"NL\", \"DE\", \"US\", \"GB\", \"FR\"]
[attributes.verified]
type = \"boolean\"
[kinds.device]
strong = true
[kinds.ip]
[[rules]]
name = \"score_review\"
when = \"score > threshold.review\"
action = \"review\"
";

struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let stage = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::write(stage.at("detector.toml"), CONFIG).unwrap();
        let out = stage.run(&[
            "simulate",
            "--accounts",
            "300",
            "--events",
            "6000",
            "--bad-share",
            "0.15",
            "--events-out",
            "events.ndjson",
            "--labels-out",
            "labels.ndjson",
        ]);
        assert!(out.status.success(), "{}", stderr(&out));
        stage
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_detector"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DETECTOR__")) {
            command.env_remove(name);
        }
        command.current_dir(self.folder.path()).args(args).output().unwrap()
    }

    fn evaluate(&self, more: &[&str]) -> Output {
        let mut args = vec!["evaluate", "--config", "detector.toml", "--events", "events.ndjson"];
        if !more.contains(&"--labels") {
            args.extend(["--labels", "labels.ndjson"]);
        }
        args.extend(more);
        self.run(&args)
    }
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn json(out: &Output) -> Value {
    assert!(out.status.success(), "{}", stderr(out));
    serde_json::from_slice(&out.stdout).unwrap()
}

const MEASURES: [&str; 13] = [
    "events",
    "positives",
    "auc",
    "average_precision",
    "recall_at_fpr_0.001",
    "recall_at_fpr_0.01",
    "precision",
    "recall",
    "f1",
    "fpr",
    "brier",
    "ece",
    "threshold",
];

#[test]
fn measures_as_json_whole_and_per_slice() {
    let stage = Stage::new();
    let report = json(&stage.evaluate(&["--json", "--slices", "auto", "--threshold", "0.5"]));
    for key in MEASURES {
        assert!(report[key].is_number(), "{key}: {}", report[key]);
    }
    assert_eq!(report["threshold"], 0.5);
    assert!(report["auc"].as_f64().unwrap() > 0.6, "{}", report["auc"]);
    let auc = &report["intervals"]["auc"];
    assert!(
        auc["low"].as_f64() < auc["value"].as_f64() && auc["value"].as_f64() < auc["high"].as_f64()
    );
    let names: Vec<&str> = report["slices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["attribute"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["type", "country", "verified"]);
    for table in report["slices"].as_array().unwrap() {
        let mut events = 0;
        for value in table["values"].as_array().unwrap() {
            assert!(MEASURES.iter().all(|key| value.get(*key).is_some()), "{value}");
            events += value["events"].as_u64().unwrap();
        }
        assert_eq!(events, report["events"].as_u64().unwrap(), "{}", table["attribute"]);
    }
    // By account: as many rows as accounts.
    let by_account = json(&stage.evaluate(&["--json", "--unit", "account"]));
    assert_eq!(by_account["events"], by_account["accounts"]);
    assert_eq!(by_account["accounts"], report["accounts"]);
    assert!(by_account["slices"].as_array().unwrap().is_empty(), "only when asked for");
    // Twice the same.
    let again = stage.evaluate(&["--json", "--slices", "auto", "--threshold", "0.5"]);
    assert_eq!(json(&again), report);
}

#[test]
fn a_text_and_a_page_come_out_and_no_account_is_named() {
    let stage = Stage::new();
    let out =
        stage.evaluate(&["--report", "report.html", "--from", "2026-01-10", "--to", "2026-02-20"]);
    assert!(out.status.success(), "{}", stderr(&out));
    let text = String::from_utf8(out.stdout.clone()).unwrap();
    for part in [
        "average precision",
        "noticed by",
        "challenge",
        "top 0.1 %",
        "10 accounts a day",
        "country",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let page = std::fs::read_to_string(stage.at("report.html")).unwrap();
    assert!(!page.contains("http") && !page.contains("<script") && page.contains("</html>"));
    let labels = std::fs::read_to_string(stage.at("labels.ndjson")).unwrap();
    let first: Value = serde_json::from_str(labels.lines().next().unwrap()).unwrap();
    let account = first["account"].as_str().unwrap();
    for said in [&text, &page, &stderr(&out)] {
        assert!(!said.contains(account), "an account's id");
    }
}

#[test]
fn a_model_against_itself_is_no_better() {
    let stage = Stage::new();
    // The built-in score, as a bundle of its own.
    let out = stage.run(&[
        "train",
        "--config",
        "detector.toml",
        "--events",
        "events.ndjson",
        "--model-out",
        "model",
    ]);
    assert!(out.status.success(), "{}", stderr(&out));
    let report = json(&stage.evaluate(&[
        "--model",
        "model",
        "--compare",
        "model",
        "--json",
        "--repeats",
        "30",
    ]));
    let compared = &report["compare"];
    assert_eq!(compared["auc"]["difference"]["value"], 0.0);
    assert_eq!(compared["measures"]["auc"], report["auc"]);
    assert_eq!(compared["auc"]["p_value"], 1.0);
    let text = stage.evaluate(&["--model", "model", "--compare", "model", "--repeats", "30"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("do not tell them apart"));
}

#[test]
fn what_cannot_be_measured_is_said() {
    let stage = Stage::new();
    let label = |text: &str| std::fs::write(stage.at("other.ndjson"), text).unwrap();
    for (labels, part) in [
        ("", "holds no label"),
        (
            "{\"account\":\"stranger\",\"label\":1,\"ts\":1767300000000}\n",
            "none of the 1 labels speaks of any of the 6,000 events",
        ),
    ] {
        label(labels);
        let out = stage.evaluate(&["--labels", "other.ndjson"]);
        assert_eq!(out.status.code(), Some(1));
        assert!(stderr(&out).contains(part) && stderr(&out).contains("hint:"), "{}", stderr(&out));
        assert!(out.stdout.is_empty());
    }
    for (args, part) in [
        (&["--from", "2026-02-01", "--to", "2026-01-01"][..], "nothing lies between"),
        (&["--threshold", "nan"], "--threshold (NaN)"),
        (&["--events", "-"], ""),
        (&["--per-day", "0"], "at least 1"),
    ] {
        let out = stage.evaluate(args);
        assert_eq!(out.status.code(), Some(2), "{}", stderr(&out));
        assert!(stderr(&out).contains(part), "{}", stderr(&out));
    }
    let out = stage.evaluate(&["--slices", "county"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("known: type, country, verified"), "{}", stderr(&out));
    let out = stage.evaluate(&["--from", "2027-01-01"]);
    assert!(stderr(&out).contains("no event was scored between"), "{}", stderr(&out));

    // All labels good: they join, but nothing is bad. Measures are null, and it is said why.
    let events = std::fs::read_to_string(stage.at("events.ndjson")).unwrap();
    let first: Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    label(&format!("{{\"account\":{},\"label\":0,\"ts\":1767300000000}}\n", first["account"]));
    let out = stage.evaluate(&["--labels", "other.ndjson", "--json"]);
    let report = json(&out);
    assert!(report["auc"].is_null() && report["recall"].is_null() && report["threshold"].is_null());
    assert_eq!(report["positives"], 0);
    assert!(stderr(&out).contains("no row is bad"), "{}", stderr(&out));
}

#[test]
fn rows_out_has_a_row_per_event_and_labels_where_they_are_known() {
    let stage = Stage::new();
    let args = ["replay", "--config", "detector.toml", "--events", "events.ndjson"];
    let out = stage
        .run(&[&args[..], &["--labels", "labels.ndjson", "--rows-out", "rows.parquet"]].concat());
    assert!(out.status.success(), "{}", stderr(&out));
    let labels = column(&stage.at("rows.parquet"), 4);
    assert_eq!(labels.len(), 6_000);
    let count = |text: &str| labels.iter().filter(|l| *l == text).count();
    // `evaluate` measures all events whose label is known; rows are labelled as `train` learns them, which leaves out
    // events that are too young to be judged, the bad ones too.
    let report = json(&stage.evaluate(&["--json", "--repeats", "0"]));
    let (bad, good) = (count("1") as u64, count("0") as u64);
    let positives = report["positives"].as_u64().unwrap();
    assert!(bad > 0 && bad <= positives, "{bad} of {positives}");
    assert_eq!(good, report["events"].as_u64().unwrap() - positives);
    assert!(count("null") > 0 && report["intervals"].is_null());

    // The warning names the moment (14 days before the last event) up to which both are the same rows.
    let ts = column(&stage.at("rows.parquet"), 2);
    let last = ts.iter().map(|ts| ts.parse::<i64>().unwrap()).max().unwrap();
    let to = (last - 14 * 86_400_000).to_string();
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains(&format!("--to {to} leaves them out")), "{warnings}");
    let report = json(&stage.evaluate(&["--json", "--repeats", "0", "--to", &to]));
    assert_eq!(bad, report["positives"].as_u64().unwrap());
    assert_eq!(bad + good, report["events"].as_u64().unwrap());
    assert!(!report["warnings"].to_string().contains("labels.maturity"));

    let out = stage.run(&[&args[..], &["--rows-out", "plain.parquet"]].concat());
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(
        column(&stage.at("plain.parquet"), 4).iter().all(|l| l == "null"),
        "no labels, no truth"
    );
    let nowhere = stage.run(&[&args[..], &["--rows-out", "absent/rows.parquet"]].concat());
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stderr(&nowhere).contains("absent/rows.parquet"), "{}", stderr(&nowhere));
}

fn column(path: &Path, at: usize) -> Vec<String> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().get_column_iter().nth(at).unwrap().1.to_string()).collect()
}

#[test]
fn golden_scenarios_decide_the_exit_code() {
    let stage = Stage::new();
    let scenario = |name: &str, expected: &str| {
        let folder = stage.at("golden").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join("events.ndjson"),
            "{\"event_id\":\"1\",\"ts\":1,\"type\":\"view\",\"account\":\"ann\"}\n",
        )
        .unwrap();
        std::fs::write(folder.join("expected.ndjson"), expected).unwrap();
    };
    let golden = |more: &[&str]| {
        stage.run(&[&["golden", "--config", "detector.toml", "--golden", "golden"], more].concat())
    };
    scenario("quiet", "{\"account\":\"*\",\"at_most\":\"none\"}\n");
    let out = golden(&[]);
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(String::from_utf8_lossy(&out.stdout).contains("quiet            1  passed"), "{out:?}");
    scenario("strict", "{\"account\":\"ann\",\"at_least\":\"ban\"}\n");
    let out = golden(&["--json"]);
    assert_eq!(out.status.code(), Some(1));
    let outcomes: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(outcomes[0]["passed"], true);
    assert_eq!(outcomes[1]["expected"][0]["why"], "ann: none, not at least ban");
    assert!(stderr(&out).contains("1 of 2 golden scenarios failed"), "{}", stderr(&out));
}

/// The scenarios that ship can be read and run; whether a model passes them is that model's test.
#[test]
fn the_shipped_scenarios_run() {
    let stage = Stage::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/golden");
    let shipped = shipped.to_str().unwrap();
    let out = stage.run(&["golden", "--config", "detector.toml", "--golden", shipped, "--json"]);
    let outcomes: Value =
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", stderr(&out)));
    let names: Vec<&str> =
        outcomes.as_array().unwrap().iter().map(|o| o["scenario"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "campus",
            "card_tester",
            "cleared",
            "family",
            "farm_found_out",
            "joe_job",
            "popular_creator",
            "spam_ring",
            "takeover"
        ]
    );
    for outcome in outcomes.as_array().unwrap() {
        assert!(outcome["events"].as_u64().unwrap() > 100, "{outcome}");
        for line in outcome["expected"].as_array().unwrap() {
            assert!(line["accounts"].as_u64().unwrap() > 0, "{line}");
        }
    }
}
