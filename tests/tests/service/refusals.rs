//! What is refused, and what is said of it: what, where, what to do.

use crate::instance::Setup;
use crate::secure::{self, but, good, without};
use crate::stack::Stack;
use crate::support::{Scratch, stream};
use crate::watch::{counted, said};
use std::process::Command;

/// Asserts that all of these words are in what was said, and no secret is.
#[track_caller]
fn says(stack: &Stack, what: &str, said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{what}: {word:?} is not in:\n{said}");
    }
    secure::assert_no_secret(stack, said);
}

fn lines(from: usize, to: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(&stream().events);
    text.lines().skip(from).take(to - from).map(str::to_owned).collect()
}

fn redis(stack: &Stack, words: &[&str]) -> String {
    let out = Command::new("redis-cli").args(["-u", stack.redis()]).args(words).output();
    let out = out.expect("redis-cli can be run");
    assert!(out.status.success(), "{out:?}");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

#[test]
fn credentials_certificates_and_rights() {
    let stack = Stack::up_with(&["--secure"]);
    let s = Scratch::new();
    stream().put(&s);
    stack.topics("", 2);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "", delivery: "exactly_once" };
    let right = good(&stack);
    let expired = s.write("expired", secure::token("detector", 1000).as_bytes());
    let expired = expired.display().to_string();
    let (nobody, reader) = (stack.env("KAFKA_PASSWORD_NOBODY"), stack.env("KAFKA_PASSWORD_READER"));
    let strange = stack.env("TLS_CLIENT_CERTIFICATE_FILE");
    let as_user = |user, password| [(secure::USERNAME, user), (secure::PASSWORD, password)];
    let cases = [
        (
            "a wrong password of Kafka",
            but(&right, &[(secure::PASSWORD, "hunter2")]),
            &["localhost:", "uthentication", "hint: check mechanism, username and password"][..],
        ),
        (
            "a wrong password by PLAIN",
            but(&right, &[(secure::PASSWORD, "hunter2"), (secure::MECHANISM, "PLAIN")]),
            &["uthentication", "hint: check mechanism, username and password"],
        ),
        (
            "an expired token",
            but(
                &without(&right, &[secure::USERNAME, secure::PASSWORD]),
                &[(secure::MECHANISM, "OAUTHBEARER"), (secure::TOKEN_FILE, &expired)],
            ),
            &["the token has expired"],
        ),
        (
            "an authority that did not sign the broker's certificate",
            but(&right, &[(secure::CA, strange)]),
            &["certificate", "hint: is ca_file in [kafka.security]"],
        ),
        (
            "a port with TLS, spoken to without",
            but(&without(&right, &[secure::CA]), &[(secure::TLS, "false")]),
            &["do not answer", "does [kafka.security] fit that port?"],
        ),
        (
            "a user of Kafka without rights",
            but(&right, &as_user("nobody", nobody)),
            &[
                "topic `events`",
                "topic `journal`",
                "uthorization failed",
                "Read, Describe, DescribeConfigs on topic `events`",
            ],
        ),
        (
            "a user of Kafka who may not write",
            but(&right, &as_user("reader", reader)),
            &["uthorization failed", "Read, Write, Describe, DescribeConfigs on topic `actions`"],
        ),
        (
            "a user of Kafka who may not write, without transactions",
            but(
                &but(&right, &as_user("reader", reader)),
                &[("DETECTOR__KAFKA__DELIVERY", "at_least_once")],
            ),
            &["uthorization failed", "Read, Write, Describe, DescribeConfigs on topic `actions`"],
        ),
        (
            "a topic that is not there",
            but(&right, &[("DETECTOR__KAFKA__EVENTS", "[\"evnts\"]")]),
            // A broker tells those who may not see a topic nothing of it.
            &["topic `evnts`", "hint"],
        ),
        (
            "a wrong password of Redis",
            but(&right, &[(secure::REDIS_PASSWORD, "hunter2")]),
            &["localhost:", "wrong", "credentials", "`redis.username` and `redis.password`"],
        ),
        (
            "a user of Redis without rights",
            but(&right, &[(secure::REDIS_USERNAME, "nobody"), (secure::REDIS_PASSWORD, nobody)]),
            &["the user may not do that", "ACL SETUSER"],
        ),
        (
            "an authority that did not sign the certificate of Redis",
            but(&right, &[(secure::REDIS_CA, strange)]),
            &["cannot connect", "redis.ca_file"],
        ),
        (
            "all at once",
            but(
                &right,
                &[
                    (secure::PASSWORD, "hunter2"),
                    (secure::REDIS_PASSWORD, "hunter2"),
                    ("DETECTOR__KAFKA__REGISTRY__URLS", "[\"http://127.0.0.1:1\"]"),
                ],
            ),
            &["[kafka.security]", "`redis.password`", "[kafka.registry]"],
        ),
    ];
    for (what, env, words) in cases {
        let said = setup.start_as(&[], &env).ended();
        says(&stack, what, &said, words);
        assert!(!said.contains("hunter2"), "{what}: a secret is in\n{said}");
        // The log goes on with the next start.
        std::fs::remove_file(s.path("log")).expect("there is a log");
    }
}

#[test]
fn topics_that_are_missing_or_of_the_wrong_number_are_named_together() {
    let stack = Stack::up();
    let s = Scratch::new();
    stream().put(&s);
    for (name, partitions) in [("events", 3), ("labels", 2), ("actions", 1), ("journal", 2)] {
        stack.topic(name, partitions);
    }
    let setup = Setup { stack: &stack, scratch: &s, prefix: "", delivery: "exactly_once" };
    let said = setup.start_as(&[], &[("DETECTOR__REDIS__URL", "redis://127.0.0.1:1")]).ended();
    for words in [
        "topic `scores`",
        "topic `dead-letters`",
        "needs exactly 1",
        "`events` has 3 partitions and `labels` has 2",
        "create the topic first",
        "is Redis running there",
    ] {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
}

#[test]
fn input_topics_whose_time_producers_set_are_warned_of() {
    let stack = Stack::up();
    let s = Scratch::new();
    stream().put(&s);
    stack.topics("", 2);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "", delivery: "exactly_once" };
    let warned = |topics: &[&str]| {
        let mut service = setup.start();
        service.idle();
        service.stop();
        let log = String::from_utf8_lossy(&s.read("log")).into_owned();
        std::fs::remove_file(s.path("log")).expect("there is a log");
        let warnings = log.lines().filter(|line| line.contains("topic_time_set_by_producers"));
        let mut found: Vec<&str> = warnings
            .inspect(|line| {
                assert!(line.contains("WARN") && line.contains("message.timestamp.type"), "{line}")
            })
            .filter_map(|line| {
                ["events", "labels", "actions", "journal"]
                    .into_iter()
                    .find(|t| line.contains(&format!("topic=\"{t}\"")))
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, topics, "{log}");
    };
    warned(&["events", "labels"]);
    stack.configure("events", &[("message.timestamp.type", "LogAppendTime")]);
    warned(&["labels"]);
    stack.configure("labels", &[("message.timestamp.type", "LogAppendTime")]);
    warned(&[]);
}

#[test]
fn a_full_redis_holds_up_checkpoints_and_nothing_else() {
    let stack = Stack::up();
    let s = Scratch::new();
    stream().put(&s);
    stack.topics("", 2);
    let setup = Setup { stack: &stack, scratch: &s, prefix: "", delivery: "exactly_once" };
    stack.produce("events", &lines(0, 1000));
    let mut service = setup.start();
    service.idle();

    // Nothing more goes in.
    assert_eq!(redis(&stack, &["config", "set", "maxmemory", "1mb"]), "OK");
    stack.produce("events", &lines(1000, 3000));
    said(&s, "", &["Redis is full", "raise `maxmemory`"]);
    // Scored and published all the same.
    counted(&service, "detector_events_total", |events| events >= 3000.0);
    service.idle();
    assert_eq!(stack.consume("scores").len(), 3000);

    // A start waits, and says for what.
    service.kill();
    std::fs::remove_file(s.path("log")).expect("there is a log");
    let mut service = setup.start();
    said(&s, "", &["Redis is full"]);
    assert_eq!(redis(&stack, &["config", "set", "maxmemory", "0"]), "OK");
    service.idle();
    service.stop();
    assert_eq!(stack.consume("scores").len(), 3000, "nothing twice, nothing lost");
}

/// A service that took a thousand events and stopped in good order.
fn after_a_thousand<'a>(stack: &'a Stack, scratch: &'a Scratch) -> Setup<'a> {
    stream().put(scratch);
    stack.topics("", 2);
    let setup = Setup { stack, scratch, prefix: "", delivery: "exactly_once" };
    stack.produce("events", &lines(0, 1000));
    let mut service = setup.start();
    service.idle();
    service.stop();
    setup
}

#[test]
fn a_broker_that_lost_what_was_taken_is_no_new_start() {
    let stack = Stack::up();
    let s = Scratch::new();
    let setup = after_a_thousand(&stack, &s);
    // The broker comes back without what it had acknowledged.
    stack.run(&["kill-kafka"]);
    stack.lose("events");
    stack.run(&["restart-kafka"]);
    let service = setup.start();
    said(&s, "", &["events-", "the broker has lost", "--rebuild-from earliest"]);
    drop(service);
    assert_eq!(stack.consume("scores").len(), 1000, "nothing is published a second time");
}

#[test]
fn a_topic_that_was_made_anew_is_no_new_start() {
    let stack = Stack::up();
    let s = Scratch::new();
    let setup = after_a_thousand(&stack, &s);
    stack.delete("events");
    stack.topic("events", 2);
    let said = setup.start().ended();
    for words in ["ahead of Kafka", "events/", "--rebuild-from earliest"] {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
}
