//! The wall between what is pure and what does I/O, checked over the tree of dependencies.

use std::process::Command;

/// Names that no pure crate may depend on, directly or through others.
const FORBIDDEN: &[&str] = &[
    "tokio",
    "rdkafka",
    "redis",
    "fjall",
    "axum",
    "hyper",
    "reqwest",
    "rand",
    "getrandom",
    "mio",
    "socket2",
];

fn depends_on(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--package",
            package,
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are text");
    text.lines().filter_map(|l| l.split_whitespace().next()).map(str::to_string).collect()
}

#[test]
fn pure_crates_depend_on_nothing_that_waits_or_rolls_dice() {
    for package in ["features", "graph", "models", "engine"] {
        let names = depends_on(package);
        assert!(names.len() > 1, "{package}: the tree was read");
        for forbidden in FORBIDDEN {
            assert!(!names.iter().any(|n| n == forbidden), "{package} depends on {forbidden}");
        }
    }
}

#[test]
fn features_graph_and_models_do_not_know_one_another() {
    for package in ["features", "graph", "models"] {
        let names = depends_on(package);
        for other in ["features", "graph", "models", "engine", "training", "detector"] {
            assert!(
                other == package || !names.iter().any(|n| n == other),
                "{package} depends on {other}"
            );
        }
    }
    assert!(!depends_on("engine").iter().any(|n| n == "training" || n == "detector"));
}

#[test]
fn every_pure_crate_carries_the_same_bans() {
    let read = |c: &str| {
        std::fs::read_to_string(format!("{}/../{c}/clippy.toml", env!("CARGO_MANIFEST_DIR")))
            .expect("is there")
    };
    let first = read("features");
    assert!(first.contains("SystemTime::now") && first.contains("HashMap"));
    for other in ["graph", "models", "engine"] {
        assert_eq!(read(other), first, "{other}/clippy.toml differs");
    }
}
