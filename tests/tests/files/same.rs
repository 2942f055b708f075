//! The same stream by other ways gives the same bytes.

use crate::support::{Scratch, all_lines_accounted_for, gzip, stream, zstd};

const RUN: &str = "run --config conf --labels labels --scores-out";

#[test]
fn replay_scores_as_a_run_does() {
    let s = Scratch::new();
    stream().put(&s);
    s.run(&format!("{RUN} s --output a --dead-letters d --input events")).good();
    s.run("replay --config conf --labels labels --events events --scores-out s2 --actions-out a2 --dead-letters d2").good();
    assert!(!s.read("s").is_empty() && !s.read("a").is_empty());
    for (run, replay) in [("s", "s2"), ("a", "a2"), ("d", "d2")] {
        assert!(s.read(run) == s.read(replay), "{run}");
    }
}

#[test]
fn plain_gzip_zstd_and_a_pipe_are_the_same_stream() {
    let s = Scratch::new();
    stream().put(&s);
    let plain = stream().dirty();
    s.write("plain", &plain);
    s.write("gzip", gzip(&plain));
    s.write("zstd", zstd(&plain));
    // Two archives, one behind the other, are one stream.
    let half = plain.len() / 2;
    s.write("members", [gzip(&plain[..half]), gzip(&plain[half..])].concat());
    s.write("frames", [zstd(&plain[..half]), zstd(&plain[half..])].concat());
    let all = |form: &str| {
        format!("{RUN} s-{form} --output a-{form} --dead-letters d-{form} --json --input")
    };
    let outcome = s.run(&format!("{} plain", all("plain"))).good();
    all_lines_accounted_for(&plain, &s.lines("s-plain"), &s.lines("d-plain"), &outcome.summary());
    assert!(outcome.summary()["redelivered"].as_u64() > Some(100));
    for form in ["gzip", "zstd", "members", "frames"] {
        s.run(&format!("{} {form}", all(form))).good();
    }
    s.run_with(&format!("{} -", all("pipe")), &[], Some(&plain)).good();
    s.run_with(&format!("{} -", all("gzip-pipe")), &[], Some(&gzip(&plain))).good();
    for form in ["gzip", "zstd", "members", "frames", "pipe", "gzip-pipe"] {
        for output in ["s", "a", "d"] {
            assert!(
                s.read(&format!("{output}-{form}")) == s.read(&format!("{output}-plain")),
                "{output} of {form}"
            );
        }
    }
}

#[test]
fn actions_on_standard_output_are_those_of_the_file() {
    let s = Scratch::new();
    stream().put(&s);
    s.run("run --config conf --input events --labels labels --output a").good();
    let piped = s.run("run --config conf --input events --labels labels --output -").good();
    assert!(!piped.stdout.is_empty());
    assert!(piped.stdout == s.read("a"));
}

#[test]
fn with_until_the_scores_are_a_prefix() {
    let s = Scratch::new();
    stream().put(&s);
    s.run(&format!("{RUN} whole --input events")).good();
    let whole = s.lines("whole");
    let until = whole[whole.len() / 2]["ts"].as_i64().expect("a time");
    s.run(&format!("{RUN} part --input events --until {until}")).good();
    let part = s.lines("part");
    let earlier: Vec<_> =
        whole.into_iter().filter(|score| score["ts"].as_i64() <= Some(until)).collect();
    assert!(!part.is_empty());
    assert_eq!(part, earlier);
}

#[test]
fn the_simulator_gives_the_same_bytes_for_the_same_seed() {
    let s = Scratch::new();
    let simulate = |seed: u32, name: &str| {
        let args = format!(
            "simulate --accounts 300 --events 3000 --seed {seed} --labels-out {name}.l --truth-out {name}.t"
        );
        s.run(&args).good().stdout
    };
    let (a, b, c) = (simulate(7, "a"), simulate(7, "b"), simulate(8, "c"));
    assert_eq!(a.iter().filter(|b| **b == b'\n').count(), 3000);
    assert!(a == b && s.read("a.l") == s.read("b.l") && s.read("a.t") == s.read("b.t"));
    assert!(a != c && s.read("a.t") != s.read("c.t"));
    s.run("simulate --accounts 300 --events 3000 --seed 7 --events-out file").good();
    assert!(s.read("file") == a);
}
