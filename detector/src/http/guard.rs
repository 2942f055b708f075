//! Who may ask, how much at once, and for how long.

use super::reply::Problem;
use super::routes::App;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// Around every request: one of a bounded number, within a time, counted.
pub(super) async fn within_limits(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let response = match app.requests.try_acquire() {
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
    app.context.telemetry.http_request(response.status().as_u16());
    response
}

/// Around `/v1`: with a token, whoever shows it; without one, whoever speaks to this machine by its own name. A
/// page in a browser can be made to call 127.0.0.1, but it gives its own host's name then.
pub(super) async fn authorised(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let allowed = match &app.token {
        Some(token) => bearer(request.headers()).is_some_and(|shown| token.is(shown)),
        None => {
            if !is_own_host(request.headers()) {
                return Problem::new(
                    StatusCode::FORBIDDEN,
                    "without a token, only this machine by its own name is answered",
                    "call 127.0.0.1 or localhost, or set http.token",
                )
                .into_response();
            }
            true
        }
    };
    if !allowed {
        return Problem::new(
            StatusCode::UNAUTHORIZED,
            "the token is missing or wrong",
            "send the header `Authorization: Bearer TOKEN` with the token of http.token",
        )
        .into_response();
    }
    next.run(request).await
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
    fn bearers() {
        let of = |value: &str| bearer(&headers(header::AUTHORIZATION, value)).map(String::from);
        assert_eq!(of("Bearer abc"), Some("abc".into()));
        assert_eq!(of("bearer  abc "), Some("abc".into()));
        assert_eq!(of("Basic abc"), None);
        assert_eq!(of("abc"), None);
    }
}
