//! Help and completions.

use crate::support::Scratch;
use std::process::Stdio;

/// Names of all commands, as `--help` lists them.
fn commands(s: &Scratch) -> Vec<String> {
    let help = s.run("--help").good();
    let listed = help
        .text()
        .split("Commands:")
        .nth(1)
        .and_then(|t| t.split("Options:").next())
        .expect("a list");
    let names = listed.lines().filter(|l| l.starts_with("  ") && !l.starts_with("   "));
    names
        .filter_map(|l| l.split_whitespace().next())
        .filter(|n| *n != "help")
        .map(String::from)
        .collect()
}

#[test]
fn every_command_helps_with_an_example() {
    let s = Scratch::new();
    let commands = commands(&s);
    for wanted in [
        "run",
        "init",
        "replay",
        "explain",
        "simulate",
        "demo",
        "bench",
        "check",
        "schema",
        "completions",
    ] {
        assert!(commands.iter().any(|c| c == wanted), "{wanted} is not listed");
    }
    for command in commands {
        let help = s.run(&format!("{command} --help")).good();
        assert!(help.text().contains("Usage: detector"), "{command}");
        let example =
            help.text().split("Example").nth(1).unwrap_or_else(|| panic!("{command}: no example"));
        assert!(example.contains(&format!("detector {command}")), "{command}: {example}");
    }
}

#[test]
fn the_examples_name_options_that_exist() {
    let s = Scratch::new();
    for command in commands(&s) {
        let help = s.run(&format!("{command} --help")).good();
        let (options, examples) = help.text().split_once("Example").expect("examples");
        let own = examples.lines().filter(|l| l.contains(&format!("detector {command}")));
        for word in own.flat_map(str::split_whitespace).filter(|w| w.starts_with("--")) {
            assert!(
                options.contains(&format!("{word} ")) || options.contains(&format!("{word}\n")),
                "{command} {word}"
            );
        }
    }
}

#[test]
fn completions_for_every_shell_know_every_command() {
    let s = Scratch::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = s.run(&format!("completions {shell}")).good();
        for command in commands(&s) {
            assert!(script.text().contains(&command), "{shell}: {command}");
        }
    }
}

/// As `detector ... | head -0`: nothing to complain about.
#[test]
fn a_reader_that_leaves_early_is_no_panic() {
    let s = Scratch::new();
    s.write("conf.toml", "[kinds.device]\n[kinds.ip]\n");
    for args in [
        "schema action",
        "schema --list",
        "check --config conf.toml --features",
        "completions bash",
        "--help",
    ] {
        let args: Vec<&str> = args.split_whitespace().collect();
        let mut child = s
            .command(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("the binary ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
        assert!(output.status.code().is_some(), "{args:?}: {}", output.status);
    }
    let mut child = s
        .command(&["simulate", "--accounts", "300", "--events", "3000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the binary ends");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
