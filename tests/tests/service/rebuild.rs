//! `--rebuild-from earliest` that is ended before its end: nobody takes what it left for a state, and the next start goes on with it.

use crate::conservation::{configured, profiles};
use crate::instance::{Instance, Setup};
use crate::stack::Stack;
use crate::stand_in;
use crate::support::{json_lines, stream};
use crate::watch::said;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Messages by schema 1 are JSON, and the registry says so only while its door is open: who reads waits there, with signs of life.
fn registry(open: &Arc<AtomicBool>) -> String {
    let open = open.clone();
    let url = stand_in::http(move |path| match path {
        "/schemas/types" => ("200 OK", "[\"JSON\"]".into()),
        "/schemas/ids/1" if open.load(SeqCst) => {
            ("200 OK", "{\"schemaType\":\"JSON\",\"schema\":\"{}\"}".into())
        }
        _ => ("503 Later", "{}".into()),
    });
    format!("[\"{url}\"]")
}

/// Waits until something was said so many times.
fn said_times(log: impl Fn() -> String, text: &str, times: usize) {
    let until = Instant::now() + crate::instance::PATIENCE;
    while log().matches(text).count() < times {
        assert!(Instant::now() < until, "{text:?} is not said {times} times\n{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_rebuild_that_was_cut_short_is_gone_on_with_and_a_standby_waits_for_its_end() {
    let stack = Stack::up();
    let s = configured();
    stack.topics("b-", 1);
    let events = json_lines(&stream().events);
    let accounts: BTreeSet<String> =
        events.iter().filter_map(|e| e["account"].as_str()).map(str::to_owned).take(300).collect();
    let half = events.len() / 2;
    let text = |number: usize, event: &Value| match number < half {
        true => event.to_string(),
        false => format!("\0\0\0\0\u{1}{event}"),
    };
    let lines: Vec<String> = events.iter().enumerate().map(|(n, e)| text(n, e)).collect();
    stack.produce("b-events", &lines);

    let open = Arc::new(AtomicBool::new(true));
    let urls = registry(&open);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "b-", delivery: "exactly_once" };
    let start = |options: &[&str]| -> Instance {
        setup.start_as(options, &[("DETECTOR__KAFKA__REGISTRY__URLS", urls.as_str())])
    };
    let log = || String::from_utf8_lossy(&s.read("b-log")).into_owned();
    let mut service = start(&[]);
    service.idle();
    let whole = profiles(&service, &accounts);
    service.stop();

    // Redis is empty, a person decides, and whoever does it comes to its half.
    let emptied = Command::new("redis-cli").args(["-u", stack.redis(), "FLUSHALL"]).output();
    assert!(emptied.expect("redis-cli can be run").status.success());
    open.store(false, SeqCst);
    let (waits, goes_on) = ("schema registry has no answer", "going on with it");
    let first = start(&["--rebuild-from", "earliest"]);
    said(&s, "b-", &[waits]);
    let mut second = start(&[]);
    second.wait("a standby", |found| found["state"] == "standby");
    first.kill();
    // What it finds is no state to begin with: without being told so, it goes on, and is ended as well.
    said_times(log, goes_on, 1);
    said_times(log, waits, 2);
    let follows = "following the live instance";
    assert!(!log().contains(follows), "a standby follows what is no state yet\n{}", log());
    second.kill();
    let mut third = start(&[]);
    said_times(log, goes_on, 2);
    said_times(log, waits, 3);
    let mut fourth = start(&[]);
    fourth.wait("a standby", |found| found["state"] == "standby");

    open.store(true, SeqCst);
    third.idle();
    assert_eq!(profiles(&third, &accounts), whole);
    fourth.wait("a standby with a state", |f| f["standby"]["journal"].as_i64() > Some(0));
    third.kill();
    fourth.idle();
    assert!(log().contains("taking over with the state that followed"), "{}", log());
    assert_eq!(profiles(&fourth, &accounts), whole);
    fourth.stop();
    assert_eq!(stack.consume("b-scores").len(), events.len(), "each event is scored once");
}
