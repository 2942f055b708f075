//! Exit codes: 0 done, 1 failed at work, 2 refused. A supervisor restarts after 1 and never after 2.

use crate::support::Scratch;
use std::os::unix::ffi::OsStringExt;

/// A rule that is good as it stands.
const GOOD: &str = "[kinds.device]\n[kinds.ip]\n";
/// Good as the configuration of a service.
const SERVICE: &str = "[kinds.device]\n[kafka]\nbootstrap = \"127.0.0.1:1\"\n[redis]\n";

/// Every command that reads a configuration; the files that they name besides are there and good.
const COMMANDS: [&str; 7] = [
    "check --config CONF",
    "run --config CONF --input events --output -",
    "replay --config CONF --events events",
    "train --config CONF --events events --model-out model",
    "evaluate --config CONF --events events --labels labels",
    "golden --config CONF --golden golden",
    "explain --config CONF --state state --account a",
];

/// Every command that reads the configuration of a service.
const SERVICE_COMMANDS: [&str; 2] = ["check --config CONF", "run --config CONF"];

const EVENT: &str =
    "{\"event_id\":\"e1\",\"ts\":1700000000000,\"type\":\"view\",\"account\":\"a\"}\n";
const LABEL: &str = "{\"account\":\"a\",\"label\":1,\"ts\":1700000000001}\n";

fn scratch() -> Scratch {
    let s = Scratch::new();
    s.write("good.toml", GOOD);
    s.write("service.toml", SERVICE);
    s.write("events", EVENT);
    s.write("labels", LABEL);
    std::fs::create_dir_all(s.path("golden/one")).expect("a folder can be made");
    s.write("golden/one/events.ndjson", EVENT);
    s.write("golden/one/expected.ndjson", "{\"account\":\"a\",\"at_most\":\"observe\"}\n");
    s.run("replay --config good.toml --events events --state-out state").good();
    s
}

#[test]
fn refused_configuration_is_2_in_every_command() {
    let s = scratch();
    std::fs::create_dir(s.path("empty")).expect("a folder can be made");
    let with = |more: &str| format!("{GOOD}{more}\n");
    let token = "listen = \"0.0.0.0:9600\"";
    for (what, text, word) in [
        ("no TOML", with("[labels"), "line"),
        ("an unknown key", with("[labels]\nunits = \"event\""), "units"),
        ("an unknown section", with("[label]\nunit = \"event\""), "label"),
        ("a value of the wrong type", with("[labels]\nrecent_events_max = \"many\""), "many"),
        ("a value out of range", with("[labels]\nconfidence_min = 7.0"), "confidence_min"),
        (
            "a rule about a column that there is not",
            with("[[rules]]\nname = \"r\"\nwhen = \"nothing.such > 1\"\naction = \"review\""),
            "nothing",
        ),
        ("a variable that is not set", with("[privacy]\nkey = \"${UNSET}\""), "UNSET"),
        (
            "a secret file that is not there",
            with("[privacy]\nkey = \"${file:/nowhere}\""),
            "/nowhere",
        ),
        ("a port that others reach, and no token", with(&format!("[http]\n{token}")), "http.token"),
        ("a folder without a model", with("[model]\npath = \"empty\""), "model"),
        ("a level of logging that there is not", with("[log]\nlevel = \"loud\""), "log.level"),
    ] {
        s.write("conf.toml", text);
        for command in COMMANDS {
            let outcome = s.run(&command.replace("CONF", "conf.toml"));
            assert_eq!(outcome.code, Some(2), "{what}: {command}: {}", outcome.stderr);
            assert!(outcome.stderr.contains(word), "{what}: {command}: {}", outcome.stderr);
        }
    }
    for command in COMMANDS {
        s.run(&command.replace("CONF", "nowhere.toml")).bad(2, &["nowhere.toml", "hint: "]);
    }
}

#[test]
fn refused_environment_is_2_in_every_command() {
    let s = scratch();
    for (name, value, word) in [
        ("DETECTOR__LABELS__UNITS", "event", "units"),
        ("DETECTOR__LABEL__UNIT", "event", "label"),
        ("DETECTOR__LABELS", "event", "labels"),
        ("DETECTOR__", "event", "names no key"),
        ("DETECTOR__HTTP__LISTEN", "0.0.0.0:9600", "http.token"),
        ("DETECTOR__HTTP__TOKEN", "short", "http.token"),
        ("DETECTOR__HTTP__TOKEN", "${file:/nowhere}", "/nowhere"),
        ("DETECTOR__MODEL__PATH", "nowhere", "nowhere"),
    ] {
        for command in COMMANDS {
            let outcome = s.run_with(&command.replace("CONF", "good.toml"), &[(name, value)], None);
            assert_eq!(outcome.code, Some(2), "{name}={value}: {command}: {}", outcome.stderr);
            assert!(outcome.stderr.contains(word), "{name}: {command}: {}", outcome.stderr);
        }
    }
    // Bytes that are no text would else be as if they were not there.
    let mut command = s.command(&["check", "--config", "good.toml"]);
    command.env("DETECTOR__HTTP__TOKEN", std::ffi::OsString::from_vec(vec![b'x', 0xff]));
    let output = command.output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("DETECTOR__HTTP__TOKEN"));
}

#[test]
fn refused_configuration_of_a_service_is_2_before_anything_is_connected_to() {
    let s = scratch();
    for (name, value, word) in [
        ("DETECTOR__KAFKA__EVENTS", "[]", "names no topic"),
        ("DETECTOR__KAFKA__GROUP", "", "group"),
        ("DETECTOR__KAFKA__COMMIT_INTERVAL", "soon", "commit_interval"),
        ("DETECTOR__KAFKA__PROPERTIES", "{ \"nonsense\" = \"1\" }", "nonsense"),
        ("DETECTOR__KAFKA__DELIVERY", "perhaps_once", "perhaps_once"),
        ("DETECTOR__KAFKA__REGISTRY__CA_FILE", "/nowhere", "/nowhere"),
        ("DETECTOR__REDIS__URL", "nonsense", "redis"),
        ("DETECTOR__REDIS__SHARDS", "0", "shards"),
        ("DETECTOR__STATE__CHECKPOINT_EVERY", "seldom", "checkpoint_every"),
        ("DETECTOR__INPUT__STRICT_TIES", "true", "strict"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ] {
        let mut env = vec![(name, value)];
        if name.contains("REGISTRY") {
            env.push(("DETECTOR__KAFKA__REGISTRY__URLS", "[\"https://127.0.0.1:1\"]"));
        }
        for command in SERVICE_COMMANDS {
            let outcome = s.run_with(&command.replace("CONF", "service.toml"), &env, None);
            assert_eq!(outcome.code, Some(2), "{name}={value}: {command}: {}", outcome.stderr);
            assert!(outcome.stderr.contains(word), "{name}: {command}: {}", outcome.stderr);
        }
    }
    s.run("check --config service.toml").good();
    s.run("run --config good.toml").bad(2, &["[kafka]", "hint: "]);
}

#[test]
fn refused_arguments_are_2() {
    let s = scratch();
    for args in [
        "",
        "nonsense",
        "run",
        "run --config good.toml --input events --nonsense",
        "run --config good.toml --input events --until yesterday",
        "run --config good.toml --input events --output events",
        "run --config good.toml --input events --cold",
        "simulate --accounts many",
        "simulate --bad-share 7",
        "demo --evasion 2",
        "bench --accounts 1",
        "schema",
        "schema nonsense",
        "completions nonsense",
        "init --events events --out .",
        "replay --config good.toml --events events --state-out state",
        "train --config good.toml --events - --model-out model",
        "evaluate --config good.toml --events events --labels labels --per-day 0",
        "explain --config good.toml --state state --account a --format nonsense",
        "explain --config good.toml --state golden --account a",
        "explain --account a",
        "explain --url https://127.0.0.1:1 --account a",
    ] {
        // Where `init` would write, there is a configuration already.
        s.write("detector.toml", GOOD);
        let outcome = s.run(args);
        assert_eq!(outcome.code, Some(2), "{args}: {}", outcome.stderr);
        assert!(!outcome.stderr.is_empty(), "{args} says nothing");
    }
}

#[test]
fn failures_at_work_are_1_and_what_is_done_is_0() {
    let s = scratch();
    s.write("golden/one/expected.ndjson", "{\"account\":\"a\",\"at_least\":\"ban\"}\n");
    for (args, code) in [
        ("run --config good.toml --input nowhere", 1),
        ("run --config good.toml --input events --output nowhere/actions", 1),
        ("replay --config good.toml --events nowhere", 1),
        ("train --config good.toml --events nowhere --model-out model", 1),
        ("evaluate --config good.toml --events nowhere --labels labels", 1),
        ("golden --config good.toml --golden golden", 1),
        ("explain --config good.toml --state state --account nobody", 1),
        ("explain --url http://127.0.0.1:1 --account a", 1),
        ("init --events nowhere --out new", 1),
        ("simulate --accounts 300 --events 10 --events-out nowhere/events", 1),
        ("--version", 0),
        ("--help", 0),
        ("check --config good.toml", 0),
        ("run --config good.toml --input events --output -", 0),
        ("explain --config good.toml --state state --account a", 0),
    ] {
        let outcome = s.run(args);
        assert_eq!(outcome.code, Some(code), "{args}: {}", outcome.stderr);
    }
}

#[test]
fn help_and_operations_tell_the_same_codes() {
    let s = Scratch::new();
    let help = s.run("--help").good();
    let told = help.text().split("Exit codes:\n").nth(1).expect("exit codes");
    let page = include_str!("../../../docs/operations.md");
    let mut codes = Vec::new();
    for line in told.lines().map_while(|line| line.strip_prefix("  ")) {
        let (code, meaning) = line.split_once(' ').expect("a code and what it means");
        assert!(
            page.contains(&format!("| {code} | {} |", meaning.trim())),
            "docs/operations.md has no row for {code}: {meaning}"
        );
        codes.push(code);
    }
    assert_eq!(codes, ["0", "1", "2", "130"]);
}
