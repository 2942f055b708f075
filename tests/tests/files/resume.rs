//! `kill -9` in the middle of a run, again and again: what is on disk in the end is what one run writes.

use crate::support::{Chance, Scratch, gzip, stream, zstd};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

const OUTPUTS: [&str; 3] = ["actions", "scores", "dead"];
/// The smallest: after every batch of lines.
const CHECKPOINT: (&str, &str) = ("DETECTOR__STATE__CHECKPOINT_EVENTS", "1");

fn length(s: &Scratch, name: &str) -> u64 {
    std::fs::metadata(s.path(name)).map_or(0, |m| m.len())
}

/// Starts a run and kills it once the scores have grown to `bytes`; it must not have ended by then.
fn kill_at(s: &Scratch, args: &str, bytes: u64) {
    let args: Vec<&str> = args.split_whitespace().collect();
    let errors = std::fs::File::create(s.path("stderr")).expect("a file can be made");
    let mut child = s
        .command(&args)
        .envs([CHECKPOINT])
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .expect("the binary starts");
    while bytes > 0 && length(s, "scores") < bytes {
        let ended = child.try_wait().expect("the child is ours");
        assert!(
            ended.is_none(),
            "ended before the kill: {}",
            String::from_utf8_lossy(&s.read("stderr"))
        );
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill().expect("the child is ours");
    let status = child.wait().expect("the child is ours");
    assert_eq!(status.signal(), Some(9), "{}", String::from_utf8_lossy(&s.read("stderr")));
}

fn survives(input: &[u8], options: &str, seed: u64) {
    let s = Scratch::new();
    stream().put(&s);
    s.write("input", input);
    let run = |out: &str| {
        let outputs: String = ["--output", "--scores-out", "--dead-letters"]
            .iter()
            .zip(OUTPUTS)
            .map(|(option, name)| format!(" {option} {out}{name}"))
            .collect();
        format!("run --config conf --input input --labels labels{outputs} {options}")
    };
    s.run(&run("whole-")).good();
    let full = length(&s, "whole-scores");
    assert!(full > 0 && length(&s, "whole-actions") > 0);

    let args = format!("{} --state state", run(""));
    let mut chance = Chance(seed);
    let mut kills = 0;
    for percent in [0, 8, 25, 45, 65, 80] {
        let wanted = full * (percent + chance.below(8)) / 100;
        // Beyond what was there before, so that this run itself has written some of it.
        let bytes = if percent == 0 { 0 } else { wanted.max(length(&s, "scores") + 1) };
        kill_at(&s, &args, bytes);
        assert!(length(&s, "scores") < full, "the kill came too late");
        kills += 1;
        // Once more before it is up again, or while it loads.
        if chance.below(2) == 0 {
            let errors = std::fs::File::create(s.path("stderr")).expect("a file can be made");
            let parts: Vec<&str> = args.split_whitespace().collect();
            let mut child = s
                .command(&parts)
                .envs([CHECKPOINT])
                .stderr(errors)
                .spawn()
                .expect("the binary starts");
            std::thread::sleep(Duration::from_millis(chance.below(25)));
            child.kill().expect("the child is ours");
            let status = child.wait().expect("the child is ours");
            assert_eq!(status.signal(), Some(9), "it was still running");
        }
    }
    assert_eq!(kills, 6);
    let last = s.run_with(&args, &[CHECKPOINT], None).good();
    assert!(last.stderr.contains("went on behind line"), "{}", last.stderr);
    for name in OUTPUTS {
        assert!(
            s.read(name) == s.read(&format!("whole-{name}")),
            "{name} differs from an uninterrupted run's"
        );
    }

    // A finished run that is started again has nothing left to do.
    s.run_with(&args, &[CHECKPOINT], None).good();
    for name in OUTPUTS {
        assert!(s.read(name) == s.read(&format!("whole-{name}")), "{name} changed after the end");
    }
}

#[test]
fn a_killed_run_over_a_plain_file_goes_on_without_a_trace() {
    survives(&stream().dirty(), "", 1);
}

#[test]
fn a_killed_run_over_gzip_goes_on_without_a_trace() {
    survives(&gzip(&stream().dirty()), "", 2);
}

#[test]
fn a_killed_run_over_zstd_goes_on_without_a_trace() {
    survives(&zstd(&stream().dirty()), "--no-feedback", 3);
}

#[test]
fn a_killed_run_goes_on_in_the_middle_of_a_tie_group() {
    survives(&stream().coarse(), "--strict-ties", 4);
}

#[test]
fn a_run_killed_while_it_makes_its_state_can_be_started_again() {
    let s = Scratch::new();
    stream().put(&s);
    s.write("input", stream().coarse());
    let mut chance = Chance(5);
    let args = |n: usize| format!("run --config conf --input input --output a{n} --state state{n}");
    for n in 0..40 {
        let line = args(n);
        let parts: Vec<&str> = line.split_whitespace().collect();
        let mut child = s.command(&parts).stdout(Stdio::null()).spawn().expect("the binary starts");
        // The folder is there: from here on the database is being made.
        while !s.path(&format!("state{n}")).exists() {
            assert_eq!(child.try_wait().expect("the child is ours"), None, "ended before the kill");
        }
        std::thread::sleep(Duration::from_micros(chance.below(8000)));
        child.kill().expect("the child is ours");
        child.wait().expect("the child is ours");
    }
    for n in 0..40 {
        let explain = s.run(&format!("explain --config conf --state state{n} --account nobody"));
        assert!(
            explain.stderr.contains("not a state folder")
                || explain.stderr.contains("no checkpoint yet")
                || explain.stderr.contains("not known in this state"),
            "{}",
            explain.stderr
        );
        if n % 10 == 0 {
            s.run(&args(n)).good();
        }
    }
}
