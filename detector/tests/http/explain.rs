//! `detector explain --url`.

use crate::service::{Service, TOKEN};
use std::process::Command;

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn explain(url: &str, token: Option<&str>, more: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_detector"));
    command.args(["explain", "--url", url]).args(more).env_remove("DETECTOR_HTTP_TOKEN");
    if let Some(token) = token {
        command.env("DETECTOR_HTTP_TOKEN", token);
    }
    let output = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

#[test]
fn a_running_service_is_asked() {
    let service = Service::start(Some(TOKEN), true).live();
    let url = service.url.as_str();
    let text = explain(url, Some(TOKEN), &["--account", "u3"]);
    assert_eq!(text.code, Some(0), "{}", text.err);
    for part in ["account     u3", "last action review", "quiet       crowd", "device"] {
        assert!(text.out.contains(part), "{part} in {}", text.out);
    }
    assert!(text.err.contains("model labelfree"), "{}", text.err);
    let json = explain(url, Some(TOKEN), &["--account", "u3", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(value["account"], "u3");
    let dot = explain(url, Some(TOKEN), &["--account", "u3", "--format", "dot"]);
    assert!(dot.out.starts_with("graph ") && dot.out.trim_end().ends_with('}'), "{}", dot.out);

    let unknown = explain(url, Some(TOKEN), &["--account", "no/body"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("not known") && unknown.err.contains("hint: "), "{}", unknown.err);
    for token in [None, Some("another-token-that-is-wrong")] {
        let refused = explain(url, token, &["--account", "u3"]);
        assert_eq!(refused.code, Some(1));
        assert!(refused.err.contains("DETECTOR_HTTP_TOKEN"), "{}", refused.err);
        assert!(!refused.err.contains(TOKEN) && !refused.err.contains("another-token"));
    }
    service.end();
}

#[test]
fn what_cannot_be_asked_says_why() {
    let nobody = explain("http://127.0.0.1:1", None, &["--account", "u"]);
    assert!(nobody.code == Some(1) && nobody.err.contains("does not answer"), "{}", nobody.err);
    let tls = explain("https://127.0.0.1:1", None, &["--account", "u"]);
    assert!(tls.code == Some(2) && tls.err.contains("TLS"), "{}", tls.err);
    let both = explain("http://127.0.0.1:1", None, &["--account", "u", "--state", "s"]);
    assert_eq!(both.code, Some(2), "{}", both.err);
}
