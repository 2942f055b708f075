//! Over TLS and by every mechanism, with the rights that the documents name and no more.

use crate::instance::{PATIENCE, Setup};
use crate::stack::Stack;
use crate::stand_in;
use crate::support::{Scratch, stream};
use base64::Engine;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The section that a user has to write, as variables.
pub type Env<'a> = Vec<(&'a str, &'a str)>;

pub const BOOTSTRAP: &str = "DETECTOR__KAFKA__BOOTSTRAP";
pub const TLS: &str = "DETECTOR__KAFKA__SECURITY__TLS";
pub const CA: &str = "DETECTOR__KAFKA__SECURITY__CA_FILE";
pub const MECHANISM: &str = "DETECTOR__KAFKA__SECURITY__MECHANISM";
pub const USERNAME: &str = "DETECTOR__KAFKA__SECURITY__USERNAME";
pub const PASSWORD: &str = "DETECTOR__KAFKA__SECURITY__PASSWORD";
pub const TOKEN_FILE: &str = "DETECTOR__KAFKA__SECURITY__TOKEN_FILE";
pub const REDIS_URL: &str = "DETECTOR__REDIS__URL";
pub const REDIS_USERNAME: &str = "DETECTOR__REDIS__USERNAME";
pub const REDIS_PASSWORD: &str = "DETECTOR__REDIS__PASSWORD";
pub const REDIS_CA: &str = "DETECTOR__REDIS__CA_FILE";

/// Kafka over TLS as `user` by SCRAM, Redis over TLS as `detector`.
pub fn good<'a>(stack: &'a Stack) -> Env<'a> {
    vec![
        (BOOTSTRAP, stack.env("KAFKA_TLS_BOOTSTRAP")),
        (TLS, "true"),
        (CA, stack.env("TLS_CA_FILE")),
        (MECHANISM, "SCRAM-SHA-512"),
        (USERNAME, "detector"),
        (PASSWORD, stack.env("KAFKA_PASSWORD_DETECTOR")),
        (REDIS_URL, stack.env("REDIS_TLS_URL")),
        (REDIS_CA, stack.env("TLS_CA_FILE")),
        (REDIS_USERNAME, "detector"),
        (REDIS_PASSWORD, stack.env("KAFKA_PASSWORD_DETECTOR")),
    ]
}

/// With some variables in place of others.
pub fn but<'a>(env: &Env<'a>, changes: &[(&'a str, &'a str)]) -> Env<'a> {
    let kept = env.iter().filter(|(name, _)| changes.iter().all(|(other, _)| other != name));
    kept.chain(changes).copied().collect()
}

/// Without some variables.
pub fn without<'a>(env: &Env<'a>, names: &[&str]) -> Env<'a> {
    env.iter().filter(|(name, _)| !names.contains(name)).copied().collect()
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs()
}

/// A token that Kafka's validator for tests takes.
pub fn token(user: &str, expires_s: u64) -> String {
    let part = |text: &str| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text);
    let now = now_s();
    let claims = format!("{{\"sub\":\"{user}\",\"iat\":{now},\"exp\":{expires_s}}}");
    format!("{}.{}.", part("{\"alg\":\"none\"}"), part(&claims))
}

/// Secrets of a stack that no log may show.
pub fn assert_no_secret(stack: &Stack, log: &str) {
    for user in ["ADMIN", "DETECTOR", "READER", "NOBODY"] {
        let secret = stack.env(&format!("KAFKA_PASSWORD_{user}"));
        assert!(!log.contains(secret), "the password of {user} is in the log:\n{log}");
    }
}

#[test]
fn every_mechanism_and_codec_with_the_rights_that_are_documented() {
    let stack = Stack::up_with(&["--secure"]);
    let s = Scratch::new();
    stream().put(&s);
    stack.topics("", 2);
    let tokens = s.write("token", token("detector", 4_102_444_800).as_bytes());
    let tokens = tokens.display().to_string();
    let scram = good(&stack);
    let (certificate, key) =
        (stack.env("TLS_CLIENT_CERTIFICATE_FILE"), stack.env("TLS_CLIENT_KEY_FILE"));
    let user = [MECHANISM, USERNAME, PASSWORD];
    let by_token = [(MECHANISM, "OAUTHBEARER"), (TOKEN_FILE, tokens.as_str())];
    let by_certificate = [
        (BOOTSTRAP, stack.env("KAFKA_MTLS_BOOTSTRAP")),
        ("DETECTOR__KAFKA__SECURITY__CERTIFICATE_FILE", certificate),
        ("DETECTOR__KAFKA__SECURITY__KEY_FILE", key),
        ("DETECTOR__REDIS__CERTIFICATE_FILE", certificate),
        ("DETECTOR__REDIS__KEY_FILE", key),
    ];
    let no_tls = [(BOOTSTRAP, stack.env("KAFKA_SECURE_BOOTSTRAP")), (TLS, "false")];
    let codec = "DETECTOR__KAFKA__PRODUCER";
    let ways = [
        ("gzip", scram.clone()),
        ("lz4", but(&scram, &[(MECHANISM, "SCRAM-SHA-256")])),
        ("snappy", but(&scram, &[(MECHANISM, "PLAIN")])),
        ("zstd", but(&without(&scram, &user), &by_token)),
        ("none", but(&without(&scram, &user), &by_certificate)),
        ("gzip", but(&without(&scram, &[CA]), &no_tls)),
    ];
    let events: Vec<String> =
        String::from_utf8_lossy(&stream().events).lines().take(3000).map(str::to_owned).collect();
    let delivery = "exactly_once";
    let setup = Setup { stack: &stack, scratch: &s, prefix: "", delivery };
    for (part, (name, env)) in events.chunks(500).zip(&ways) {
        stack.produce_with("events", part, name);
        let producer = format!("{{ \"compression.type\" = \"{name}\" }}");
        let mut env = env.clone();
        env.push((codec, &producer));
        let mut service = setup.start_as(&[], &env);
        service.idle();
        let log = service.log();
        service.stop();
        assert_no_secret(&stack, &log);
    }
    let scores = stack.consume("scores");
    let ids: BTreeSet<String> = scores
        .iter()
        .map(|r| {
            serde_json::from_str::<serde_json::Value>(&r.value).expect("JSON")["event_id"]
                .to_string()
        })
        .collect();
    assert_eq!((scores.len(), ids.len()), (events.len(), events.len()), "each event once");
    assert_eq!(stack.consume("dead-letters"), []);
}

/// Gives out tokens that hold for a few seconds; returns its address and how many it gave.
fn token_endpoint(hold_s: u64) -> (String, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let count = given.clone();
    let url = stand_in::http(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let token = token("detector", now_s() + hold_s);
        ("200 OK", format!("{{\"access_token\":\"{token}\",\"expires_in\":{hold_s}}}"))
    });
    let url = format!("{url}/token");
    (url, given)
}

#[test]
fn tokens_are_renewed_before_they_expire() {
    // The broker wants every connection to show a token that holds, every few seconds.
    let reauthenticate = "listener.name.tls.oauthbearer.connections.max.reauth.ms=4000";
    let stack = Stack::up_with(&["--secure", "--set", reauthenticate]);
    let s = Scratch::new();
    stream().put(&s);
    stack.topics("", 2);
    let (url, given) = token_endpoint(20);
    let env = but(
        &without(&good(&stack), &[USERNAME, PASSWORD]),
        &[
            (MECHANISM, "OAUTHBEARER"),
            ("DETECTOR__KAFKA__SECURITY__TOKEN_URL", &url),
            ("DETECTOR__KAFKA__SECURITY__CLIENT_ID", "detector"),
            ("DETECTOR__KAFKA__SECURITY__CLIENT_SECRET", "hunter2"),
        ],
    );
    let events: Vec<String> =
        String::from_utf8_lossy(&stream().events).lines().take(900).map(str::to_owned).collect();
    let setup = Setup { stack: &stack, scratch: &s, prefix: "", delivery: "exactly_once" };
    // How long topics keep messages is asked by a token, too.
    stack.configure("journal", &[("retention.ms", "60000")]);
    let refused = setup.start_as(&[], &env).ended();
    assert!(refused.contains("topic `journal` keeps messages for 1m"), "{refused}");
    stack.configure("journal", &[("retention.ms", "86400000")]);
    let mut service = setup.start_as(&[], &env);
    service.idle();
    // Every client has asked anew, also those that had nothing to do; what was let in before is let in no more.
    let (before, until) = (given.load(Ordering::Relaxed), Instant::now() + PATIENCE);
    while given.load(Ordering::Relaxed) < before + 10 {
        assert!(Instant::now() < until, "tokens are not renewed\n{}", service.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    stack.produce("events", &events);
    service.idle();
    let log = String::from_utf8_lossy(&s.read("log")).into_owned();
    assert!(!log.contains("hunter2"), "{log}");
    service.stop();
    assert_eq!(stack.consume("scores").len(), events.len());
}
