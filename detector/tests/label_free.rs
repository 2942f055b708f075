//! The first day: `init`, `train` and `run` without a single label, and what that is worth.

use serde_json::Value;
use std::process::{Command, Output};

fn run(folder: &std::path::Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_detector"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DETECTOR__")) {
        command.env_remove(name);
    }
    // What has no label after two days is taken for good; `init` could not know when verdicts come.
    command.env("DETECTOR__LABELS__MATURITY", "2d");
    let out = command.current_dir(folder).args(args).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn a_model_without_labels_tells_bad_from_good_and_acts() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    run(
        at,
        &words(
            "simulate --accounts 5000 --events 100000 --bad-share 0.06 --seed 2 --events-out events --labels-out labels",
        ),
    );
    run(at, &words("init --events events --until 2026-02-10 --out conf"));
    run(at, &words("train --config conf --events events --until 2026-02-10 --model-out model"));
    let measure = "evaluate --config conf --model model --events events --labels labels --from 2026-02-10 --json";
    for more in ["", " --no-feedback"] {
        let out = run(at, &words(&format!("{measure}{more}")));
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        let value = |name: &str| report[name].as_f64().unwrap();
        let bad = value("positives") / value("events");
        // By chance these are 0.5, and the share of what is bad.
        assert!(value("auc") > 0.75, "{more} AUC {}", value("auc"));
        assert!(
            value("average_precision") > 3.0 * bad,
            "{more} AP {} of {bad}",
            value("average_precision")
        );
    }
    run(at, &words("run --config conf --model model --input events --output actions"));
    let actions = std::fs::read_to_string(at.join("actions")).unwrap();
    assert!(actions.lines().count() > 10, "{} actions", actions.lines().count());
    for line in actions.lines() {
        let action: Value = serde_json::from_str(line).unwrap();
        assert!(action["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty()), "{line}");
        // A rank is no ground for the strictest actions.
        let rule = action["rule"].as_str().unwrap();
        assert!(rule != "score_suspend" && rule != "score_ban", "{line}");
    }
}
