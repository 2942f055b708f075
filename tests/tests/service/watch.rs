//! Waiting for what an instance says and counts.

use crate::instance::{Instance, PATIENCE};
use crate::support::Scratch;
use std::time::{Duration, Instant};

/// Waits until the log of the instances under a prefix has all of these words, whether they run on or not.
#[track_caller]
pub fn said(scratch: &Scratch, prefix: &str, words: &[&str]) {
    let until = Instant::now() + PATIENCE;
    let log = || String::from_utf8_lossy(&scratch.read(&format!("{prefix}log"))).into_owned();
    while !words.iter().all(|words| log().contains(words)) {
        assert!(Instant::now() < until, "never said {words:?}\n{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits for a metric's sum over its labels.
#[track_caller]
pub fn counted(instance: &Instance, name: &str, good: impl Fn(f64) -> bool) {
    let until = Instant::now() + PATIENCE;
    while !instance.metric(name).is_some_and(&good) {
        assert!(
            Instant::now() < until,
            "{name} is {:?}\n{}",
            instance.metric(name),
            instance.log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
