//! Slow and many connections, roles of tokens, pages of other sites, and the access log.

use crate::service::{Service, TOKEN, event, is_error, json};
use detector::http::client;
use engine::config::{HttpRole, HttpSection, HttpToken};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn token(name: &str, role: HttpRole) -> HttpToken {
    HttpToken { name: name.into(), token: format!("the-token-of-{name}"), role }
}

#[test]
fn connections_that_send_half_a_header_leave_a_place_for_health_checks() {
    let service = Service::start(Some(TOKEN), true).live();
    let address = &service.url["http://".len()..];
    let mut held = Vec::new();
    // More than there are places for, and more again while they trickle.
    for round in 0..2 {
        for _ in 0..300 {
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-").expect("taken");
            held.push(stream);
        }
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(service.get(path).status, 200, "{path}, round {round}");
        }
        for stream in &mut held {
            // Some were closed in favour of newer ones.
            let _ = stream.write_all(b"a");
        }
    }
    drop(held);
    service.end();
}

#[test]
fn a_header_that_trickles_is_cut_off() {
    let quick = |settings: &mut detector::http::Settings| {
        settings.header_time_max = Duration::from_millis(100);
    };
    let service = Service::with(HttpSection::default(), true, quick).live();
    let mut stream = TcpStream::connect(&service.url["http://".len()..]).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_millis(5))).expect("a limit");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-").expect("taken");
    // A byte now and then keeps nothing open: this ends because the server ends it.
    loop {
        let mut answer = [0; 512];
        match stream.read(&mut answer) {
            Ok(0) => break,
            Ok(n) => {
                let text = String::from_utf8_lossy(&answer[..n]).into_owned();
                assert!(text.starts_with("HTTP/1.1 408"), "{text}");
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                if stream.write_all(b"a").is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    assert_eq!(service.get("/healthz").status, 200);
    service.end();
}

#[test]
fn health_is_answered_while_every_place_for_requests_is_taken() {
    let service = Service::with(HttpSection::default(), false, |_| {}).live();
    let address = &service.url["http://".len()..];
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("taken");
        stream
    };
    let held: Vec<TcpStream> = (0..64).map(|_| ask("/v1/accounts/u1")).collect();
    // Until the last of them has reached the queue, which is as long as there are places.
    let queries = service.unanswered.as_ref().expect("nobody answers");
    while queries.ready().len() < 64 {
        std::thread::yield_now();
    }
    assert_eq!(service.get("/metrics").status, 503, "there is no place");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(service.get(path).status, 200, "{path}");
    }
    drop(held);
}

#[test]
fn a_token_allows_what_its_role_says() {
    let tokens = vec![
        token("moderators", HttpRole::Read),
        token("checkout", HttpRole::Score),
        token("operators", HttpRole::All),
    ];
    let section = HttpSection { token: Some(TOKEN.into()), tokens, ..HttpSection::default() };
    let service = Service::with(section, true, |_| {}).live();
    let rows = [
        ("the-token-of-moderators", 200, 403),
        ("the-token-of-checkout", 403, 200),
        ("the-token-of-operators", 200, 200),
        (TOKEN, 200, 200),
        ("the-token-of-nobody", 401, 401),
    ];
    for (shown, read, scored) in rows {
        for path in ["/v1/accounts/u1", "/v1/accounts/u1/ring"] {
            let answer = client::get(&service.url, path, Some(shown)).expect("an answer");
            assert_eq!(answer.status, read, "{shown} {path}");
        }
        let header = format!("Authorization: Bearer {shown}\r\n");
        let (status, body) = service.post(&event("u4", 9), &header);
        assert_eq!(status, scored, "{shown}: {body}");
        assert!(status == 200 || is_error(&body), "{body}");
    }
    service.end();
}

#[test]
fn a_page_of_another_site_is_refused_and_nothing_is_cached() {
    let service = Service::start(None, true).live();
    let host = &service.url["http://".len()..];
    let ask = |path: &str, headers: &str| {
        service.whole(&format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"))
    };
    let own = format!("Host: {host}\r\n");
    let rows = [
        (own.clone(), 200),
        (format!("{own}Origin: http://{host}\r\n"), 200),
        (format!("{own}Sec-Fetch-Site: none\r\n"), 200),
        (format!("{own}Origin: https://evil.example\r\n"), 403),
        (format!("{own}Origin: null\r\n"), 403),
        (format!("{own}Sec-Fetch-Site: cross-site\r\n"), 403),
        (format!("{own}{own}"), 400),
        (format!("{own}Host: evil.example\r\n"), 400),
    ];
    for (headers, expected) in rows {
        let (status, head, body) = ask("/v1/accounts/u1", &headers);
        assert_eq!(status, expected, "{headers}");
        assert!(status == 200 || is_error(&json(body.as_bytes())), "{body}");
        assert!(head.contains("cache-control: no-store"), "{head}");
    }
    for path in ["/metrics", "/healthz", "/readyz", "/nowhere"] {
        let (_, head, _) = ask(path, &own);
        assert!(head.contains("cache-control: no-store"), "{path}: {head}");
    }
    let (status, body) = service.post(&event("u4", 9), "Origin: https://evil.example\r\n");
    assert!(status == 403 && is_error(&body), "{status} {body}");
    service.end();
}

#[test]
fn every_call_about_an_account_is_noted_before_it_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.ndjson");
    let section = HttpSection {
        tokens: vec![token("moderators", HttpRole::Read)],
        access_log: file.to_string_lossy().into_owned(),
        ..HttpSection::default()
    };
    let service = Service::with(section, true, |_| {}).live();
    let shown = Some("the-token-of-moderators");
    for (path, token) in [
        ("/v1/accounts/u1", shown),
        ("/v1/accounts/a%2Fb/ring", shown),
        ("/v1/accounts/u2", Some("a-wrong-token")),
        ("/healthz", None),
    ] {
        client::get(&service.url, path, token).expect("an answer");
    }
    service.post(&event("u4", 9), "Authorization: Bearer the-token-of-moderators\r\n");
    let text = std::fs::read_to_string(&file).expect("it is there");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| json(line.as_bytes())).collect();
    let of = |line: &serde_json::Value| {
        let text = |name: &str| line[name].as_str().map(String::from);
        (text("caller"), text("call"), text("account"), line["status"].as_u64())
    };
    let some = |text: &str| Some(text.to_owned());
    let account = some("GET /v1/accounts/{account}");
    assert_eq!(
        lines.iter().map(of).collect::<Vec<_>>(),
        [
            (some("moderators"), account.clone(), some("u1"), Some(200)),
            (some("moderators"), some("GET /v1/accounts/{account}/ring"), some("a%2Fb"), Some(404)),
            (some("nobody"), account, some("u2"), Some(401)),
            (some("moderators"), some("POST /v1/score"), None, Some(403)),
        ]
    );
    assert!(!text.contains("the-token"), "no token is noted");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    service.end();
}
