//! Who may ask, how much at once, and for how long.

use super::access_log::Access;
use super::reply::Problem;
use super::routes::App;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use engine::config::HttpRole;
use std::net::IpAddr;
use std::sync::Arc;

/// Paths that are answered however busy the rest is: whether the process is restarted hangs on them.
const HEALTH_PATHS: [&str; 2] = ["/healthz", "/readyz"];
/// The caller's name where no token is configured.
const LOCAL: &str = "local";

/// Around every request: one of a bounded number, within a time, counted, kept in no cache.
pub(super) async fn within_limits(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let permit = match HEALTH_PATHS.contains(&request.uri().path()) {
        true => Ok(None),
        false => app.requests.try_acquire().map(Some),
    };
    let mut response = match permit {
        Err(_) => Problem::busy().into_response(),
        Ok(_permit) => match tokio::time::timeout(app.request_time_max, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("there was no answer within {} s", app.request_time_max.as_secs_f64()),
                "the engine is busy or waits for its store; /healthz and /readyz say more",
            )
            .into_response(),
        },
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    app.context.telemetry.http_request(response.status().as_u16());
    response
}

/// Around `/v1`: a caller who shows a token that allows the call; without tokens, one who speaks to this machine by its name. Never a
/// page of another site in a browser. What was asked is noted before it is answered.
pub(super) async fn authorised(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let path = request.uri().path();
    // Percent-encoded, as it was sent: the log must not depend on whether it can be decoded.
    let account = path.strip_prefix("/v1/accounts/");
    let pattern = match account {
        Some(rest) if rest.ends_with("/ring") => "/v1/accounts/{account}/ring",
        Some(_) => "/v1/accounts/{account}",
        None => "/v1/score",
    };
    let call = format!("{} {pattern}", request.method());
    let account = account.map(|rest| rest.strip_suffix("/ring").unwrap_or(rest).to_owned());
    let (caller, problem) = admit(&app, request.method(), headers);
    let mut response = match problem {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    let access = Access {
        at: jiff::Timestamp::now().to_string(),
        caller: &caller,
        call: &call,
        account: account.as_deref(),
        status: response.status().as_u16(),
    };
    tracing::debug!(
        event = "http_access",
        caller = access.caller,
        call,
        status = access.status,
        "call answered"
    );
    if !app.access_log.note(&access) {
        response = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the access log cannot be written, and nothing is answered without it",
            "is the disk of http.access_log full?",
        )
        .into_response();
    }
    response
}

/// The name of the caller, and why the call is not answered.
fn admit(app: &App, method: &Method, headers: &HeaderMap) -> (String, Option<Problem>) {
    let nobody = || "nobody".to_owned();
    if headers.get_all(header::HOST).iter().count() > 1 {
        let problem = Problem::new(
            StatusCode::BAD_REQUEST,
            "there is more than one Host header",
            "send one, with the address that was called",
        );
        return (nobody(), Some(problem));
    }
    if is_foreign_page(headers) {
        let problem = Problem::new(
            StatusCode::FORBIDDEN,
            "a page of another site asks",
            "call it from a program, or from a page of the same address",
        );
        return (nobody(), Some(problem));
    }
    if app.callers.is_empty() {
        let problem = (!is_own_host(headers)).then(|| {
            Problem::new(
                StatusCode::FORBIDDEN,
                "without a token, only this machine by its own name is answered",
                "call 127.0.0.1 or localhost, or set http.token",
            )
        });
        return (LOCAL.to_owned(), problem);
    }
    let shown = bearer(headers);
    // All are compared, so that the time says nothing of which it was.
    let caller = shown.and_then(|shown| {
        app.callers.iter().fold(None, |found, caller| match caller.shows(shown) {
            true => Some(caller),
            false => found,
        })
    });
    let Some(caller) = caller else {
        let problem = Problem::new(
            StatusCode::UNAUTHORIZED,
            "the token is missing or wrong",
            "send the header `Authorization: Bearer TOKEN` with the token of http.token or http.tokens",
        );
        return (nobody(), Some(problem));
    };
    let reads = *method == Method::GET || *method == Method::HEAD;
    let allowed = match caller.role {
        HttpRole::All => true,
        HttpRole::Read => reads,
        HttpRole::Score => !reads,
    };
    let problem = (!allowed).then(|| {
        Problem::new(
            StatusCode::FORBIDDEN,
            "this token does not allow the call",
            "its role in http.tokens is `read` (GET) or `score` (POST /v1/score); `all` allows both",
        )
    });
    (caller.name.clone(), problem)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_own_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|h| h.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a browser says that a page of another origin asks. Programs send neither header.
fn is_foreign_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return true;
    }
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    headers.get_all(header::ORIGIN).iter().any(|origin| {
        let origin = origin.as_bytes();
        let authority =
            origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        !authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn own_hosts() {
        for own in
            ["localhost", "LOCALHOST:9600", "127.0.0.1:1", "127.8.9.1", "[::1]:9600", "[::1]"]
        {
            assert!(is_own_host(&headers(header::HOST, own)), "{own}");
        }
        for other in ["evil.example", "localhost.evil.example:9600", "192.0.2.1:9600", "", ":9600"]
        {
            assert!(!is_own_host(&headers(header::HOST, other)), "{other}");
        }
        assert!(!is_own_host(&HeaderMap::new()));
    }

    #[test]
    fn foreign_pages() {
        let rows: &[(&[(&str, &str)], bool)] = &[
            (&[], false),
            (&[("host", "127.0.0.1:9600")], false),
            (&[("host", "127.0.0.1:9600"), ("origin", "http://127.0.0.1:9600")], false),
            (&[("host", "Localhost:9600"), ("origin", "http://localhost:9600")], false),
            (&[("host", "127.0.0.1:9600"), ("origin", "https://evil.example")], true),
            (&[("host", "127.0.0.1:9600"), ("origin", "http://127.0.0.1:8080")], true),
            (&[("host", "127.0.0.1:9600"), ("origin", "null")], true),
            (&[("origin", "http://localhost:9600")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "none"), ("origin", "https://evil.example")], true),
        ];
        for (sent, foreign) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in *sent {
                headers.insert(
                    header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    value.parse().unwrap(),
                );
            }
            assert_eq!(is_foreign_page(&headers), *foreign, "{sent:?}");
        }
    }

    #[test]
    fn bearers() {
        let of = |value: &str| bearer(&headers(header::AUTHORIZATION, value)).map(String::from);
        assert_eq!(of("Bearer abc"), Some("abc".into()));
        assert_eq!(of("bearer  abc "), Some("abc".into()));
        assert_eq!(of("Basic abc"), None);
        assert_eq!(of("abc"), None);
    }
}
