//! Another policy is taken while the service runs, at an exact place; a bad one is refused, and nothing changes.

use crate::conservation::{configured, lines};
use crate::instance::{Instance, PATIENCE, Setup, free_port};
use crate::stack::Stack;
use crate::support::stream;
use crate::watch::{counted, said};
use detector::store::redis::{RedisSection, RedisShards, Store};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

/// Claims the lease and does nothing with it: whoever is live starts over.
fn take_the_lease(stack: &Stack, prefix: &str) {
    let (url, prefix) = (stack.redis().to_owned(), format!("{prefix}det:"));
    let redis = RedisSection { url, prefix, ..RedisSection::default() };
    let shards = RedisShards::open(&redis).unwrap_or_else(|e| panic!("{e}"));
    Store::new(shards, redis.limits()).claim().unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_reload_that_is_read_while_the_instance_starts_over_is_taken_by_the_next_life() {
    let stack = Stack::up();
    let s = configured();
    stack.topics("o-", 1);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "o-", delivery: "exactly_once" };
    let service = setup.start();
    said(&s, "o-", &["holds the lease"]);
    let lives = || String::from_utf8_lossy(&s.read("o-log")).matches("holds the lease").count();
    counted(&service, "detector_lease_epoch", |epoch| epoch > 0.0);

    // A file that is read for as long as this test wants.
    let file = s.path("conf/detector.toml");
    std::fs::remove_file(&file).expect("it is there");
    let made = Command::new("mkfifo").arg(&file).status();
    assert!(made.expect("mkfifo can be run").success());
    service.signal("HUP");
    // This returns once it is opened for reading.
    let mut reading = std::fs::OpenOptions::new().write(true).open(&file).expect("it is read");
    let before = lives();
    take_the_lease(&stack, "o-");
    let until = Instant::now() + PATIENCE;
    while lives() == before {
        assert!(Instant::now() < until, "it does not start over\n{}", service.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    reading.write_all(format!("{}{RULE}", stream().config).as_bytes()).expect("it is read");
    drop(reading);
    service.wait_for_metric("detector_reloads_total{result=\"taken\"}", 1.0);
    service.stop();
}

const RULE: &str = r#"
[[rules]]
name = "everybody"
when = "score >= 0.0"
action = "observe"
"#;

#[test]
fn a_policy_is_reloaded_at_an_exact_place_and_a_bad_one_is_refused() {
    let stack = Stack::up();
    let s = configured();
    stack.topics("r-", 1);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "r-", delivery: "exactly_once" };
    let events = lines(&stream().events);
    let part = events.len() / 3;
    let mut service = setup.start();
    stack.produce("r-events", &events[..part]);
    service.idle();

    let good = &stream().config;
    s.write("conf/detector.toml", format!("{good}{}", RULE.replace("score", "skore")));
    service.signal("HUP");
    service.wait_for_metric("detector_reloads_total{result=\"refused\"}", 1.0);
    assert!(service.has_said("the reload is refused") && service.has_said("skore"));
    s.write("conf/detector.toml", good.replace("lateness_max = \"1d\"", "lateness_max = \"2d\""));
    service.signal("HUP");
    service.wait_for_metric("detector_reloads_total{result=\"refused\"}", 2.0);
    assert!(service.has_said("[time] differ"));
    stack.produce("r-events", &events[part..2 * part]);
    service.idle();

    s.write("conf/detector.toml", format!("{good}{RULE}"));
    service.signal("HUP");
    service.wait_for_metric("detector_reloads_total{result=\"taken\"}", 1.0);
    stack.produce("r-events", &events[2 * part..]);
    service.idle();
    // Killed and started again, it decides nothing a second time: neither by the old policy nor by the new one.
    service.kill();
    let mut service = setup.start();
    service.idle();
    service.stop();

    let (mut taken, mut policies) = (0, Vec::<(String, i64)>::new());
    for record in stack.consume("r-journal") {
        let entry: Value = serde_json::from_str(&record.value).expect("the journal is JSON");
        for run in entry["took"].as_array().into_iter().flatten() {
            taken = run["to"].as_i64().expect("an offset") + 1;
        }
        if let Some(policy) = entry["decides"]["policy"].as_str() {
            policies.push((policy.to_owned(), taken));
        }
    }
    let (old, new) = (policies[0].0.clone(), policies[1].0.clone());
    assert_ne!(old, new);
    let switch = policies[1].1;
    assert_eq!((policies[0].1, switch), (0, 2 * part as i64), "{policies:?}");
    assert!(policies[2..].iter().all(|(policy, _)| *policy == new), "{policies:?}");
    let (mut ids, mut by_new) = (BTreeSet::new(), 0);
    for record in stack.consume("r-actions") {
        let action: Value = serde_json::from_str(&record.value).expect("an action is JSON");
        let policy = action["versions"]["policy"].as_str().expect("it says by which policy");
        let offset = action["event"]["offset"].as_i64().expect("it says by which message");
        assert_eq!(policy, if offset < switch { &old } else { &new }, "{action}");
        by_new += usize::from(action["rule"] == "everybody");
        assert!(ids.insert(action["action_id"].to_string()), "twice: {action}");
    }
    assert!(by_new > 100, "{by_new} actions by the new rule");
    assert_eq!(stack.consume("r-scores").len(), events.len());
}

#[test]
fn a_policy_that_changes_on_the_disk_is_reloaded_once() {
    let stack = Stack::up();
    let s = configured();
    stack.topics("w-", 1);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "w-", delivery: "exactly_once" };
    let port = free_port();
    let mut command = setup.command(&[], port);
    command.env("DETECTOR__RELOAD__FILES_EVERY", "1s");
    let service = Instance::start(command, port, s.path("w-log"));
    counted(&service, "detector_lease_epoch", |epoch| epoch > 0.0);

    let good = &stream().config;
    s.write("conf/detector.toml", format!("{good}{}", RULE.replace("score", "skore")));
    service.wait_for_metric("detector_reloads_total{result=\"refused\"}", 1.0);
    assert!(service.has_said("have changed on the disk") && service.has_said("skore"));
    s.write("conf/detector.toml", format!("{good}{RULE}"));
    service.wait_for_metric("detector_reloads_total{result=\"taken\"}", 1.0);
    // One that a signal has read is not read again.
    s.write("conf/detector.toml", good);
    service.signal("HUP");
    service.wait_for_metric("detector_reloads_total{result=\"taken\"}", 2.0);
    std::thread::sleep(Duration::from_secs(4));
    let count =
        |result: &str| service.metric(&format!("detector_reloads_total{{result=\"{result}\"}}"));
    assert_eq!((count("refused"), count("taken")), (Some(1.0), Some(2.0)), "{}", service.log());
    service.stop();
}
