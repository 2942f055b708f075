//! The examples in `examples/python`: rows out, a model of another library in, and the same scores on both sides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const MODELS: [&str; 2] = ["lightgbm", "xgboost"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn run(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let out = command.output().unwrap_or_else(|e| panic!("{shown}: {e}"));
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{shown}\n{said}\n{}", String::from_utf8_lossy(&out.stderr));
    said
}

fn detector() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_detector"));
    // What stands in the environment must not change what is tested.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DETECTOR__")) {
        command.env_remove(name);
    }
    command
}

/// Python with the libraries, in a folder below `target`; made once and kept until the requirements change.
fn python() -> PathBuf {
    let requirements = root().join("examples/python/requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-example");
    let python = folder.join("venv/bin/python");
    let mark = folder.join("requirements.txt");
    if python.exists() && std::fs::read_to_string(&mark).is_ok_and(|have| have == wanted) {
        return python;
    }
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let venv = folder.join("venv");
    let one_command = format!(
        "python3 -m venv {0} && {0}/bin/python -m pip install -r {1} && cp {1} {2}",
        venv.display(),
        requirements.display(),
        mark.display()
    );
    let made = Command::new("sh").arg("-c").arg(&one_command).output();
    let failed = match &made {
        Ok(out) if out.status.success() => None,
        Ok(out) => Some(String::from_utf8_lossy(&out.stderr).into_owned()),
        Err(e) => Some(e.to_string()),
    };
    if let Some(why) = failed {
        panic!(
            "Python and its libraries could not be installed; where they can, run\n\n    {one_command}\n\nand then this test again.\n{why}"
        );
    }
    python
}

/// Event id to the bits of its score.
fn scores(path: &Path) -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |l: &str| -> (String, u32) {
        let value: serde_json::Value = serde_json::from_str(l).unwrap();
        let score = value["score"].as_f64().unwrap() as f32;
        (value["event_id"].as_str().unwrap().to_string(), score.to_bits())
    };
    text.lines().map(line).collect()
}

#[test]
fn other_libraries_models_score_as_in_their_own_house() {
    let python = python();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    run(detector()
        .args([
            "simulate",
            "--accounts",
            "900",
            "--events",
            "20000",
            "--bad-share",
            "0.08",
            "--seed",
            "5",
        ])
        .arg("--events-out")
        .arg(at("events.ndjson"))
        .arg("--labels-out")
        .arg(at("labels.ndjson")));
    let (events, labels) = (at("events.ndjson"), at("labels.ndjson"));
    let stream = |command: &mut Command| {
        command
            .arg("--config")
            .arg(at("conf"))
            .arg("--events")
            .arg(&events)
            .arg("--labels")
            .arg(&labels);
    };
    run(detector()
        .arg("init")
        .arg("--events")
        .arg(&events)
        .arg("--labels")
        .arg(&labels)
        .arg("--out")
        .arg(at("conf")));
    let mut rows_out = detector();
    rows_out.arg("replay");
    stream(&mut rows_out);
    run(rows_out.arg("--rows-out").arg(at("rows.parquet")));

    for model in MODELS {
        let (bundle, predictions, live) =
            (at(model), at(&format!("{model}.ndjson")), at(&format!("{model}-live.ndjson")));
        run(Command::new(&python)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(root().join(format!("examples/python/train_{model}.py")))
            .arg("--rows")
            .arg(at("rows.parquet"))
            .arg("--model-out")
            .arg(&bundle)
            .arg("--rounds")
            .arg("60")
            .arg("--predictions-out")
            .arg(&predictions));
        let mut replay = detector();
        replay.arg("replay");
        stream(&mut replay);
        run(replay.arg("--model").arg(&bundle).arg("--scores-out").arg(&live));
        let (library, detector_scores) = (scores(&predictions), scores(&live));
        assert_eq!(library.len(), 20_000, "{model}: every event has a row");
        let differ =
            library.iter().filter(|(id, bits)| detector_scores.get(*id) != Some(bits)).count();
        assert_eq!(differ, 0, "{model}: scores that differ in a bit from the library's own");
        let distinct: std::collections::BTreeSet<u32> = library.values().copied().collect();
        assert!(distinct.len() > 200, "{model}: it learned something ({} scores)", distinct.len());

        let mut evaluate = detector();
        evaluate.arg("evaluate");
        stream(&mut evaluate);
        let json = run(evaluate.arg("--model").arg(&bundle).arg("--json"));
        let report: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(report["auc"].as_f64().unwrap() > 0.8, "{model}: {}", report["auc"]);
        assert!(
            json.contains("before the model's moment of training"),
            "{model}: measured on its own rows"
        );
    }
}
