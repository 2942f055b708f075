//! The model that ships passes the golden scenarios that ship.

use crate::support::Scratch;
use std::path::Path;

#[test]
fn the_shipped_model_passes_every_scenario() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (shipped, golden) = (root.join("detector/shipped"), root.join("examples/golden"));
    let scenarios = std::fs::read_dir(&golden).expect("the scenarios are there");
    let scenarios = scenarios.filter(|e| e.as_ref().is_ok_and(|e| e.path().is_dir())).count();
    assert!(scenarios >= 8, "{scenarios} scenarios");
    let s = Scratch::new();
    let args = format!(
        "golden --config {} --model {} --golden {} --json",
        shipped.display(),
        shipped.join("model").display(),
        golden.display()
    );
    let run = s.run(&args);
    let outcomes: serde_json::Value =
        serde_json::from_slice(&run.stdout).expect("outcomes are JSON");
    assert_eq!(outcomes.as_array().map(Vec::len), Some(scenarios));
    run.good();
}
