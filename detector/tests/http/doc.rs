//! `docs/http.md`: every example is asked, and answered as it says.

use crate::service::{Service, json};
use detector::health::{Following, State};
use detector::http::client;
use serde_json::Value;

const DOC: &str = include_str!("../../../docs/http.md");

/// Whether the answer has all that the example shows: of objects some members, of lists the first entries, numbers
/// but for rounding.
fn shows(example: &Value, answer: &Value) -> bool {
    match (example, answer) {
        (Value::Object(example), Value::Object(answer)) => {
            example.iter().all(|(k, v)| answer.get(k).is_some_and(|other| shows(v, other)))
        }
        (Value::Array(example), Value::Array(answer)) => {
            example.len() <= answer.len() && example.iter().zip(answer).all(|(a, b)| shows(a, b))
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            (a - b).abs() <= 1e-4 * a.abs().max(1.0)
        }
        (a, b) => a == b,
    }
}

#[test]
fn every_example_is_answered_as_it_says() {
    let service = Service::start(None, true).live();
    let blocks: Vec<&str> = DOC.split("```").skip(1).step_by(2).collect();
    let (mut asked, mut wrong, mut ready) = (Vec::new(), Vec::new(), 0);
    for pair in blocks.chunks(2) {
        let [request, example] = pair else { panic!("a request without an answer") };
        let request = request.strip_prefix("http\n").expect("first the request");
        let (status, example) = example.split_once('\n').expect("then the answer");
        let (first, body) = request.split_once('\n').unwrap_or((request, ""));
        let (method, path) = first.split_once(' ').expect("a method and a path");
        ready += usize::from(path == "/readyz");
        let standby = ready == 2 && path == "/readyz";
        service.health.set_state(if standby { State::Standby } else { State::Live });
        service.health.following(standby.then_some(Following { journal: 812, behind: 3 }));
        let (found, answer) = match method {
            "POST" => {
                let (found, answer) = service.post(body.trim(), "");
                (found, answer.to_string().into_bytes())
            }
            _ => {
                let answer = client::get(&service.url, path, None).expect("an answer");
                (answer.status, answer.body)
            }
        };
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (kind, code) = status.split_once(' ').expect("a kind and a status");
        let mut right = code == found.to_string();
        if kind == "json" {
            let (example, answer) = (json(example.as_bytes()), json(&answer));
            let keys = |v: &Value| v.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>());
            // No member is left out.
            right &= shows(&example, &answer) && keys(&example) == keys(&answer);
        } else {
            right &= example.lines().all(|line| text.contains(line));
        }
        if !right {
            wrong.push(format!("{first}: {found}\n{text}"));
        }
        asked.push(format!("{method} {}", path.replace("u3", "{account}")));
    }
    for call in [
        "GET /metrics",
        "GET /healthz",
        "GET /readyz",
        "GET /v1/accounts/{account}",
        "GET /v1/accounts/{account}/ring",
        "POST /v1/score",
    ] {
        assert!(asked.iter().any(|a| a == call), "{call} has an example");
    }
    service.end();
    assert!(wrong.is_empty(), "answered otherwise:\n{}", wrong.join("\n\n"));
}
