//! The service's HTTP calls, through real connections, with an engine's thread behind them.

use detector::health::{Health, Limits, State};
use detector::http::client::{self, Answer};
use detector::http::{Context, HttpError, Queries, Server, Settings, queries};
use detector::telemetry::{CheckpointDone, Queue, Stage, Telemetry, names};
use engine::config::{Config, HttpSection};
use engine::effects::{Effects, SourceRef};
use engine::wire::RejectCode;
use engine::{Engine, Input, Options};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const TOKEN: &str = "a-long-and-secret-token";
const CONFIG: &str = r#"
[kinds.device]
strong = true

[policy]
warm_up = "0s"

[[rules]]
name = "crowd"
when = "graph.device.degree >= 3"
action = "review"
reason = "{graph.device.degree} accounts on one device"
"#;

fn engine() -> Engine {
    let config: Config = detector::config::parse(CONFIG, &BTreeMap::new()).expect("it is read");
    Engine::new(config, None, Options::default()).unwrap_or_else(|p| panic!("{}", p.join("\n")))
}

fn event(account: &str, n: i64) -> String {
    format!(
        r#"{{"event_id":"e-{account}-{n}","ts":{},"type":"message","account":"{account}","entities":{{"device":"d9"}}}}"#,
        1_767_225_600_000 + n * 1000
    )
}

fn feed(engine: &mut Engine, texts: &[String]) {
    let decoder = engine.decoder();
    let inputs = texts.iter().map(|text| {
        let event = decoder.event(text.as_bytes(), || unreachable!("they have ids"));
        Input::Event(event.expect("it is read"), SourceRef::default())
    });
    engine.step(inputs.collect::<Vec<_>>(), &mut Effects::default());
}

/// A service without Kafka and Redis: a server, and a thread with an engine that answers.
struct Service {
    server: Option<Server>,
    url: String,
    health: Arc<Health>,
    telemetry: Telemetry,
    clock_ms: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Engine>>,
    /// When no thread answers: what it would have answered.
    unanswered: Option<Queries>,
}

impl Service {
    fn start(token: Option<&str>, answering: bool) -> Self {
        let mut engine = engine();
        feed(&mut engine, &[event("u1", 0), event("u2", 1), event("u3", 2)]);
        let clock_ms = Arc::new(AtomicU64::new(1_000_000));
        let clock = clock_ms.clone();
        let limits = Limits {
            heartbeat_max: Duration::from_secs(10),
            checkpoint_age_max: Duration::from_secs(60),
        };
        let health = Arc::new(Health::with_clock(limits, move || clock.load(Ordering::SeqCst)));
        let telemetry = Telemetry::new();
        telemetry.versions(engine.versions());
        let (asking, questions) = queries(&telemetry);
        let context = Context {
            telemetry: telemetry.clone(),
            health: health.clone(),
            asking,
            decoder: Arc::new(engine.decoder()),
            finisher: engine.finisher(),
        };
        let section = HttpSection {
            listen: "127.0.0.1:0".into(),
            token: token.map(String::from),
            ..HttpSection::default()
        };
        let settings = Settings::of(&section).expect("it is right");
        let server = Server::start(&settings, context).expect("a free port").expect("it listens");
        let over = Arc::new(AtomicBool::new(false));
        let mut service = Self {
            url: format!("http://{}", server.address()),
            server: Some(server),
            health,
            telemetry,
            clock_ms,
            over: over.clone(),
            thread: None,
            unanswered: None,
        };
        if answering {
            service.thread = Some(std::thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    questions.answer(&mut engine);
                    std::thread::yield_now();
                }
                engine
            }));
        } else {
            service.unanswered = Some(questions);
        }
        service
    }

    fn live(self) -> Self {
        self.health.set_state(State::Live);
        self.health.assigned([("events".to_string(), 0)]);
        self.health.lag("events", 0, 7);
        self.health.applied(5_000);
        self.health.checkpoint_durable(3_000);
        self.health.source_up(true);
        self.health.store_up(true);
        self
    }

    fn get(&self, path: &str) -> Answer {
        client::get(&self.url, path, None).expect("an answer")
    }

    fn json(&self, path: &str) -> (u16, Value) {
        let answer = self.get(path);
        (answer.status, json(&answer.body))
    }

    /// Sends bytes as they are, and reads until the server closes.
    fn raw(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.url["http://".len()..]).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
        stream.write_all(request.as_bytes()).expect("it is taken");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        (status, text.split_once("\r\n\r\n").expect("a head").1.to_string())
    }

    fn post(&self, body: &str, headers: &str) -> (u16, Value) {
        let host = &self.url["http://".len()..];
        let (status, body) = self.raw(&format!(
            "POST /v1/score HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        ));
        (status, json(body.as_bytes()))
    }

    /// Ends both threads and gives the engine back.
    fn end(mut self) -> Engine {
        self.server.take().expect("it runs").stop();
        self.over.store(true, Ordering::SeqCst);
        self.thread.take().expect("there is a thread").join().expect("no panic")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)))
}

fn is_error(body: &Value) -> bool {
    let text = |name: &str| body[name].as_str().is_some_and(|t| !t.is_empty());
    text("error") && text("hint") && body.as_object().is_some_and(|o| o.len() == 2)
}

#[test]
fn an_account_is_explained() {
    let service = Service::start(None, true).live();
    let (status, body) = service.json("/v1/accounts/u1");
    assert_eq!((status, &body["account"]), (200, &"u1".into()), "{body}");
    assert_eq!(body["links"][0]["kind"], "device");
    assert_eq!(body["links"][0]["accounts"], 3);
    assert!(body["score"].is_f64() && body["scores"]["behaviour"].is_f64(), "{body}");
    let profile = body["profile"].as_array().expect("columns by name");
    assert!(profile.iter().any(|c| c[0] == "account.events.10m"), "{profile:?}");
    let (_, third) = service.json("/v1/accounts/u3");
    assert_eq!(third["last_action"]["action"], "review");
    assert_eq!(third["last_action"]["rule"], "crowd");
    assert_eq!(third["quiet"][0]["rule"], "crowd");
    let ring = service.get("/v1/accounts/u1/ring");
    assert!(ring.status == 200 && ring.body.starts_with(b"graph "), "{ring:?}");

    for path in ["/v1/accounts/nobody", "/v1/accounts/nobody/ring", "/v1/accounts/a%2Fb"] {
        let (status, body) = service.json(path);
        assert!(status == 404 && is_error(&body), "{path}: {status} {body}");
    }
    assert_eq!(service.json("/v1/accounts/%ff").0, 400);
    service.end();
}

#[test]
fn an_event_is_scored_and_nothing_remembers_it() {
    let service = Service::start(None, true).live();
    let next = event("u4", 9);
    let (status, body) = service.post(&next, "");
    assert_eq!(status, 200, "{body}");
    assert_eq!((&body["decision"], &body["account"]), (&"review".into(), &"u4".into()), "{body}");
    assert_eq!(body["actions"][0]["rule"], "crowd");
    assert_eq!(body["actions"][0]["evidence"]["ring_size"], 4);
    assert_eq!(body["versions"]["model"], "labelfree");
    assert_eq!(service.post(&next, "").1, body, "asked again, answered the same");
    assert_eq!(service.json("/v1/accounts/u4").0, 404, "it was only asked about");

    let (status, body) = service.post(&event("u3", 2), "");
    assert!(status == 409 && is_error(&body), "taken already: {status} {body}");
    let far = next.replace("\"ts\":17", "\"ts\":47");
    let (status, body) = service.post(&far, "");
    assert!(
        status == 422 && body["error"].as_str().is_some_and(|e| e.contains("ts_jump")),
        "{body}"
    );
    for wrong in ["", "{", "[]", r#"{"ts":1}"#] {
        let (status, body) = service.post(wrong, "");
        assert!(status == 422 && is_error(&body), "{wrong}: {status} {body}");
    }

    // And the line says the same when the event really comes.
    let mut effects = Effects::default();
    let mut engine = service.end();
    engine.want(engine::Wanted { scores: true, ..engine::Wanted::default() });
    let decoded = engine.decoder().event(next.as_bytes(), || unreachable!());
    engine.step([Input::Event(decoded.expect("read"), SourceRef::default())], &mut effects);
    assert_eq!(effects.actions.len(), 1);
    let finisher = engine.finisher();
    let action = effects.actions.drain(..).map(|d| finisher.finish(d)).next().expect("one");
    assert_eq!(engine.counts().events, 4);
    assert_eq!(action.action, "review");
}

#[test]
fn with_a_token_only_who_shows_it_is_answered() {
    let service = Service::start(Some(TOKEN), true).live();
    for open in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(service.get(open).status, 200, "{open}");
    }
    for path in ["/v1/accounts/u1", "/v1/accounts/u1/ring"] {
        for token in [None, Some("a-long-and-secret-tokem"), Some("x")] {
            let answer = client::get(&service.url, path, token).expect("an answer");
            assert!(answer.status == 401 && is_error(&json(&answer.body)), "{path} {token:?}");
            assert!(!String::from_utf8_lossy(&answer.body).contains(TOKEN));
        }
        assert_eq!(client::get(&service.url, path, Some(TOKEN)).expect("an answer").status, 200);
    }
    assert_eq!(service.post(&event("u4", 9), "").0, 401);
    let shown = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(service.post(&event("u4", 9), &shown).0, 200);
    service.end();
}

#[test]
fn without_a_token_a_page_elsewhere_cannot_ask() {
    let service = Service::start(None, true).live();
    let of = |path: &str| {
        service
            .raw(&format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"))
            .0
    };
    assert_eq!(of("/v1/accounts/u1"), 403);
    assert_eq!(of("/metrics"), 200);
    service.end();
}

#[test]
fn what_is_too_large_or_unknown_is_refused_as_json() {
    let service = Service::start(None, true).live();
    let large = format!("{{\"x\":\"{}\"}}", "y".repeat(engine::limits::MESSAGE_BYTES_MAX));
    let (status, body) = service.post(&large, "");
    assert!(status == 413 && is_error(&body), "{status} {body}");
    let (status, body) = service.json("/nowhere");
    assert!(status == 404 && is_error(&body), "{status} {body}");
    let (status, body) = service.json("/v1/score");
    assert!(status == 405 && is_error(&body), "{status} {body}");
    let (status, body) = service
        .raw("DELETE /v1/accounts/u1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(status == 405 && is_error(&json(body.as_bytes())), "{status} {body}");
    service.end();
}

#[test]
fn readiness_says_which_condition_fails() {
    let service = Service::start(None, true);
    let failing = || -> BTreeSet<String> {
        let (status, body) = service.json("/readyz");
        let conditions = body["conditions"].as_array().expect("conditions");
        let bad = conditions.iter().filter(|c| c["ok"] == false);
        let bad: BTreeSet<String> =
            bad.map(|c| c["name"].as_str().expect("a name").into()).collect();
        assert_eq!(status == 200, bad.is_empty(), "{body}");
        assert_eq!(body["ready"] == true, bad.is_empty(), "{body}");
        bad
    };
    let only = |name: &str| BTreeSet::from([name.to_string()]);
    assert_eq!(
        failing(),
        ["live", "lag", "checkpoint", "source", "store"].map(String::from).into(),
        "nothing is known at the start"
    );
    service.health.assigned([("events".to_string(), 0), ("events".to_string(), 1)]);
    service.health.lag("events", 0, 7);
    service.health.checkpoint_durable(3_000);
    service.health.source_up(true);
    service.health.store_up(true);
    service.health.set_state(State::Live);
    assert_eq!(failing(), only("lag"), "one of two partitions is not known");
    service.health.lag("events", 1, 0);
    assert_eq!(failing(), BTreeSet::new());

    for state in [State::Replaying, State::Standby, State::Draining] {
        service.health.set_state(state);
        assert_eq!(failing(), only("live"), "{state:?}");
    }
    let (_, body) = service.json("/readyz");
    assert_eq!(body["state"], "draining");
    service.health.set_state(State::Standby);
    let (_, body) = service.json("/readyz");
    assert!(
        body["conditions"][0]["detail"].as_str().is_some_and(|d| d.contains("standby")),
        "{body}"
    );
    service.health.set_state(State::Live);

    service.health.store_up(false);
    assert_eq!(failing(), only("store"));
    service.health.store_up(true);
    service.health.source_up(false);
    assert_eq!(failing(), only("source"));
    service.health.source_up(true);

    service.clock_ms.fetch_add(10_001, Ordering::SeqCst);
    assert_eq!(failing(), only("heartbeat"));
    let (status, body) = service.json("/healthz");
    assert!(status == 503 && is_error(&body), "{status} {body}");
    service.health.beat();
    assert_eq!(service.get("/healthz").status, 200);
    assert_eq!(failing(), BTreeSet::new());
    service.clock_ms.fetch_add(50_000, Ordering::SeqCst);
    service.health.beat();
    assert_eq!(failing(), only("checkpoint"));
    service.health.checkpoint_durable(9_000);
    assert_eq!(failing(), BTreeSet::new());
    service.end();
}

#[test]
fn before_it_is_live_and_when_the_engine_is_gone_questions_are_refused() {
    let mut service = Service::start(None, false);
    for state in [State::Starting, State::Replaying, State::Draining] {
        service.health.set_state(state);
        let (status, body) = service.json("/v1/accounts/u1");
        assert!(status == 503 && is_error(&body), "{state:?}: {status} {body}");
        assert!(body["error"].as_str().is_some_and(|e| e.contains(state.as_str())), "{body}");
        assert_eq!(service.get("/healthz").status, 200, "it works all the same");
    }
    service.health.set_state(State::Live);
    drop(service.unanswered.take());
    let (status, body) = service.json("/v1/accounts/u1");
    assert!(status == 503 && is_error(&body), "{status} {body}");
}

#[test]
fn a_question_that_nobody_answers_ends_and_is_not_answered_later() {
    let service = Service::start(None, false).live();
    let (status, body) = service.json("/v1/accounts/u1");
    assert!(status == 503 && is_error(&body), "{status} {body}");
    let mut engine = engine();
    let queries = service.unanswered.as_ref().expect("it is there");
    assert_eq!(queries.ready().len(), 1, "the question is still in the queue");
    assert_eq!(queries.answer(&mut engine), 0, "and nobody waits for it");
    assert!(queries.ready().is_empty());
}

#[test]
fn a_stopped_server_leaves_its_port() {
    let service = Service::start(None, true).live();
    let url = service.url.clone();
    assert_eq!(service.get("/healthz").status, 200);
    // A connection that says nothing does not keep it.
    let silent = TcpStream::connect(&url["http://".len()..]).expect("it listens");
    service.end();
    drop(silent);
    let gone = client::get(&url, "/healthz", None).expect_err("nobody is there");
    assert!(gone.to_string().contains("hint: "), "{gone}");
}

#[test]
fn a_taken_port_is_an_error_that_says_what_to_do() {
    let first = Service::start(None, true);
    let section =
        HttpSection { listen: first.url["http://".len()..].into(), ..HttpSection::default() };
    let (asking, _queries) = queries(&first.telemetry);
    let engine = engine();
    let context = Context {
        telemetry: first.telemetry.clone(),
        health: first.health.clone(),
        asking,
        decoder: Arc::new(engine.decoder()),
        finisher: engine.finisher(),
    };
    let error = Server::start(&Settings::of(&section).expect("right"), context).expect_err("taken");
    assert!(matches!(error, HttpError::Listen { .. }) && error.to_string().contains("hint: "));
}

/// One line of Prometheus' text format: name, labels, value.
fn parsed(text: &str) -> Vec<(String, BTreeMap<String, String>, f64)> {
    let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .map(|line| {
            let (left, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = left.split_once('{').unwrap_or((left, ""));
            let labels = labels.trim_end_matches('}').split(',').filter(|l| !l.is_empty());
            let labels = labels.map(|l| {
                let (name, value) = l.split_once('=').expect("a label");
                (name.to_string(), value.trim_matches('"').to_string())
            });
            (name.to_string(), labels.collect(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn the_metrics_are_those_of_the_list_with_what_was_told() {
    let service = Service::start(None, true).live();
    let t = &service.telemetry;
    let mut counts = engine::effects::Counts { events: 1000, ..Default::default() };
    t.engine_counts(&counts);
    counts.events += 5;
    counts.redelivered += 2;
    counts.too_late += 1;
    t.engine_counts(&counts);
    t.rejected(RejectCode::TsJump, 3);
    t.rejected(RejectCode::Full, 1);
    t.action("suspend", true);
    t.action("reverse", false);
    t.latency(Stage::Step, Duration::from_micros(30));
    t.end_to_end(Duration::from_millis(4));
    t.queue_depth(Queue::Decoded, 3);
    t.back_pressure(Queue::Effects, Duration::from_millis(12));
    t.transaction_failed();
    t.replay(90, 10);
    t.size(&engine::Size { accounts: 3, entities: 1, links: 4, bytes: 99 });
    t.checkpoint_done(&CheckpointDone { took: Duration::from_millis(500), bytes: 700, records: 8 });
    t.checkpoint_failed();
    service.health.lease_epoch(6);
    service.clock_ms.fetch_add(2_000, Ordering::SeqCst);
    service.get("/nowhere");

    let answer = service.get("/metrics");
    let text = String::from_utf8(answer.body).expect("text");
    let lines = parsed(&text);
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        let found = lines.iter().find(|(n, l, _)| n == name && *l == labels);
        found.unwrap_or_else(|| panic!("{name} {labels:?} in\n{text}")).2
    };
    for (name, labels, want) in [
        ("detector_events_total", &[][..], 5.0),
        ("detector_redelivered_total", &[], 2.0),
        ("detector_too_late_total", &[], 1.0),
        ("detector_rejects_total", &[("code", "ts_jump")], 3.0),
        ("detector_rejects_total", &[("code", "full")], 1.0),
        ("detector_rejects_total", &[("code", "not_json")], 0.0),
        ("detector_actions_total", &[("action", "suspend"), ("shadow", "true")], 1.0),
        ("detector_actions_total", &[("action", "suspend"), ("shadow", "false")], 0.0),
        ("detector_actions_total", &[("action", "reverse"), ("shadow", "false")], 1.0),
        ("detector_stage_seconds_count", &[("stage", "step")], 1.0),
        ("detector_stage_seconds_bucket", &[("stage", "step"), ("le", "0.00005")], 1.0),
        ("detector_stage_seconds_bucket", &[("stage", "step"), ("le", "0.000025")], 0.0),
        ("detector_end_to_end_seconds_sum", &[], 0.004),
        ("detector_consumer_lag", &[("topic", "events"), ("partition", "0")], 7.0),
        ("detector_queue_depth", &[("queue", "decoded")], 3.0),
        ("detector_back_pressure_milliseconds_total", &[("queue", "effects")], 12.0),
        ("detector_kafka_transaction_failures_total", &[], 1.0),
        ("detector_checkpoint_age_seconds", &[], 2.0),
        ("detector_feature_freshness_seconds", &[], 2.0),
        ("detector_checkpoint_bytes", &[], 700.0),
        ("detector_checkpoint_records", &[], 8.0),
        ("detector_checkpoint_seconds", &[], 0.5),
        ("detector_checkpoints_total", &[("result", "ok")], 1.0),
        ("detector_checkpoints_total", &[("result", "failed")], 1.0),
        ("detector_replay_events", &[], 90.0),
        ("detector_replay_done_events", &[], 10.0),
        ("detector_graph_size", &[("what", "links")], 4.0),
        ("detector_memory_state_bytes", &[], 99.0),
        ("detector_state", &[("state", "live")], 1.0),
        ("detector_state", &[("state", "standby")], 0.0),
        ("detector_lease_epoch", &[], 6.0),
        ("detector_redis_up", &[], 1.0),
        ("detector_source_up", &[], 1.0),
        ("detector_heartbeat_age_seconds", &[], 2.0),
        ("detector_http_requests_total", &[("status", "404")], 1.0),
    ] {
        assert_eq!(value(name, labels), want, "{name} {labels:?}");
    }

    // Nothing else is there, and nothing of the list is absent.
    let base = |name: &str| {
        let ends = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        ends.filter(|n| names::ALL.iter().any(|m| m.name == *n)).unwrap_or(name).to_string()
    };
    let shown: BTreeSet<String> = lines.iter().map(|(name, ..)| base(name)).collect();
    let listed: BTreeSet<String> = names::ALL.iter().map(|m| m.name.to_string()).collect();
    assert_eq!(shown, listed);
    for metric in names::ALL {
        let kind = format!("# TYPE {} {}\n", metric.name, metric.kind.as_str());
        assert!(text.contains(&kind), "{kind}");
        assert!(
            text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)),
            "{}",
            metric.name
        );
        for (name, labels, _) in lines.iter().filter(|(n, ..)| base(n) == metric.name) {
            let of: BTreeSet<&str> =
                labels.keys().map(String::as_str).filter(|l| *l != "le").collect();
            assert_eq!(of, metric.labels.iter().copied().collect(), "{name}");
        }
    }
    service.end();
}
