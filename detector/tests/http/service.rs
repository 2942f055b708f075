//! A service without Kafka and Redis.

use detector::health::{Health, Limits, State};
use detector::http::client::{self, Answer};
use detector::http::{Context, Queries, Server, Settings, queries};
use detector::telemetry::Telemetry;
use engine::config::{Config, HttpSection};
use engine::effects::{Effects, SourceRef};
use engine::{Engine, Input, Options};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub const TOKEN: &str = "a-long-and-secret-token";
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

pub fn engine() -> Engine {
    let config: Config = detector::config::parse(CONFIG, &BTreeMap::new()).expect("it is read");
    Engine::new(config, None, Options::default()).unwrap_or_else(|p| panic!("{}", p.join("\n")))
}

pub fn event(account: &str, n: i64) -> String {
    format!(
        r#"{{"event_id":"e-{account}-{n}","ts":{},"type":"message","account":"{account}","entities":{{"device":"d9"}}}}"#,
        1_767_225_600_000 + n * 1000
    )
}

pub fn feed(engine: &mut Engine, texts: &[String]) {
    let decoder = engine.decoder();
    let inputs = texts.iter().map(|text| {
        let event = decoder.event(text.as_bytes(), || unreachable!("they have ids"));
        Input::Event(event.expect("it is read"), SourceRef::default())
    });
    engine.step(inputs.collect::<Vec<_>>(), &mut Effects::default());
}

/// A service without Kafka and Redis: a server, and a thread with an engine that answers.
pub struct Service {
    server: Option<Server>,
    pub url: String,
    pub health: Arc<Health>,
    pub telemetry: Telemetry,
    pub clock_ms: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Engine>>,
    /// When no thread answers: what it would have answered.
    pub unanswered: Option<Queries>,
}

impl Service {
    pub fn start(token: Option<&str>, answering: bool) -> Self {
        let section = HttpSection { token: token.map(String::from), ..HttpSection::default() };
        Self::with(section, answering, |settings| {
            if !answering {
                settings.request_time_max = Duration::from_millis(50);
            }
        })
    }

    /// With a section, on a free port, and with settings that the section does not have.
    pub fn with(section: HttpSection, answering: bool, adjust: impl FnOnce(&mut Settings)) -> Self {
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
        };
        let section = HttpSection { listen: "127.0.0.1:0".into(), ..section };
        let mut settings = Settings::of(&section).expect("it is right");
        adjust(&mut settings);
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

    pub fn live(self) -> Self {
        self.health.set_state(State::Live);
        self.health.assigned([("events".to_string(), 0)]);
        self.health.lag("events", 0, 7);
        self.health.applied(5_000);
        self.health.checkpoint_durable(3_000);
        self.health.source_up(true);
        self.health.store_up(true);
        self.health.memory(engine::MemoryUse { bytes: 700_000_000, max: 8 << 30 });
        self
    }

    pub fn get(&self, path: &str) -> Answer {
        client::get(&self.url, path, None).expect("an answer")
    }

    pub fn json(&self, path: &str) -> (u16, Value) {
        let answer = self.get(path);
        (answer.status, json(&answer.body))
    }

    /// Sends bytes as they are, and reads until the server closes.
    pub fn raw(&self, request: &str) -> (u16, String) {
        let (status, _, body) = self.whole(request);
        (status, body)
    }

    /// As [`Service::raw`], with the answer's head.
    pub fn whole(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.url["http://".len()..]).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
        stream.write_all(request.as_bytes()).expect("it is taken");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        (status, head.to_lowercase(), body.to_string())
    }

    pub fn post(&self, body: &str, headers: &str) -> (u16, Value) {
        let host = &self.url["http://".len()..];
        let (status, body) = self.raw(&format!(
            "POST /v1/score HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        ));
        (status, json(body.as_bytes()))
    }

    /// Ends both threads and gives the engine back.
    pub fn end(mut self) -> Engine {
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

pub fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)))
}

pub fn is_error(body: &Value) -> bool {
    let text = |name: &str| body[name].as_str().is_some_and(|t| !t.is_empty());
    text("error") && text("hint") && body.as_object().is_some_and(|o| o.len() == 2)
}
