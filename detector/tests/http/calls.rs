//! Every call, who may make it, and how it fails.

use crate::service::{Service, TOKEN, engine, event, is_error, json};
use detector::health::State;
use detector::http::{Context, HttpError, Server, Settings, client, queries};
use engine::Input;
use engine::config::HttpSection;
use engine::effects::{Effects, SourceRef};
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[test]
fn an_account_is_explained() {
    let service = Service::start(None, true).live();
    let (status, body) = service.json("/v1/accounts/u1");
    assert_eq!((status, &body["account"]), (200, &"u1".into()), "{body}");
    assert_eq!(body["links"][0]["kind"], "device");
    assert_eq!(body["links"][0]["accounts"], 3);
    assert!(body["score"].is_f64() && body["scores"]["behaviour"].is_f64(), "{body}");
    assert_eq!(body["profile"]["account.events"], 1.0);
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
    assert_eq!((status, &body["decision"]), (200, &"review".into()), "as of now: {body}");
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
    };
    let error = Server::start(&Settings::of(&section).expect("right"), context).expect_err("taken");
    assert!(matches!(error, HttpError::Listen { .. }) && error.to_string().contains("hint: "));
}
