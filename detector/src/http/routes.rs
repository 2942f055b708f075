//! What is answered.

use super::HttpError;
use super::access;
use super::access_log::AccessLog;
use super::queries::{Asking, NotAsked, Query};
use super::reply::Problem;
use super::settings::{Caller, Settings};
use crate::health::{Health, State as ServiceState};
use crate::telemetry::Telemetry;
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use compact_str::CompactString;
use engine::wire::{ActionV1, Decoder, ReasonV1, ScoresV1, VersionsV1};
use engine::{Explanation, Unscored};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// Requests that are worked on at once.
const REQUESTS_MAX: usize = 64;

/// What the answers are made from.
#[derive(Clone)]
pub struct Context {
    /// Metrics.
    pub telemetry: Telemetry,
    /// How the service is.
    pub health: Arc<Health>,
    /// The way to the engine: [`super::queries()`].
    pub asking: Asking,
    /// `Engine::decoder`.
    pub decoder: Arc<Decoder>,
}

/// A context, and what requests have to show.
pub(super) struct App {
    pub context: Context,
    pub callers: Vec<Caller>,
    pub access_log: AccessLog,
    pub requests: Semaphore,
    pub request_time_max: Duration,
}

/// The answer to `POST /v1/score`.
#[derive(Debug, Serialize)]
struct ScoredV1 {
    event_id: CompactString,
    account: CompactString,
    ts: i64,
    score: f32,
    scores: ScoresV1,
    /// The live action, or `allow`.
    decision: &'static str,
    /// Actions as they would be published; shadow actions are among them.
    actions: Vec<ActionV1>,
    reasons: Vec<ReasonV1>,
    versions: VersionsV1,
}

pub(super) fn router(context: Context, settings: &Settings) -> Result<Router, HttpError> {
    let app = Arc::new(App {
        context,
        callers: settings.callers.clone(),
        access_log: AccessLog::open(settings.access_log.as_deref())?,
        requests: Semaphore::new(REQUESTS_MAX),
        request_time_max: settings.request_time_max,
    });
    let protected = Router::new()
        .route("/v1/accounts/{account}", get(account))
        .route("/v1/accounts/{account}/ring", get(ring))
        .route("/v1/score", post(score))
        .layer(middleware::from_fn_with_state(app.clone(), access::authorised));
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .merge(protected)
        .fallback(|| async {
            Problem::new(
                StatusCode::NOT_FOUND,
                "there is nothing at this path",
                "there are /metrics, /healthz, /readyz, /v1/accounts/{account}, /v1/accounts/{account}/ring and POST /v1/score",
            )
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path is not asked this way",
                "POST /v1/score; everything else is GET",
            )
        })
        .layer(DefaultBodyLimit::max(engine::limits::MESSAGE_BYTES_MAX))
        .layer(middleware::from_fn_with_state(app.clone(), access::within_limits))
        .with_state(app);
    Ok(router)
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.context.telemetry.render(&app.context.health);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn healthz(State(app): State<Arc<App>>) -> Response {
    let alive = app.context.health.alive();
    if alive.ok {
        return Json(serde_json::json!({ "ok": true, "state": app.context.health.state() }))
            .into_response();
    }
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        alive.detail,
        "restart it; a state of this size that really takes so long needs a larger http.heartbeat_max",
    )
    .into_response()
}

async fn readyz(State(app): State<Arc<App>>) -> Response {
    let ready = app.context.health.ready();
    let status = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ready)).into_response()
}

/// Puts a question to the engine and waits for its answer; the caller's time limit is around this.
async fn ask<T>(app: &App, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, Problem> {
    let state = app.context.health.state();
    if matches!(state, ServiceState::Starting | ServiceState::Replaying | ServiceState::Draining) {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the service is {}", state.as_str()),
            "wait until /readyz says that it is live, or ask another instance",
        ));
    }
    let ended = || {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the engine has ended",
            "ask another instance; this one is about to stop",
        )
    };
    let (reply, answer) = oneshot::channel();
    app.context.asking.ask(query(reply)).map_err(|e| match e {
        NotAsked::Full => Problem::busy(),
        NotAsked::Ended => ended(),
    })?;
    answer.await.map_err(|_| ended())
}

fn unknown_account() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "this account is not known",
        "is the id written as in the events, and was it seen within time.account_ttl?",
    )
}

fn bad_path(rejection: &PathRejection) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        format!("the account in the path cannot be read: {}", rejection.body_text()),
        "percent-encode the account as UTF-8",
    )
}

async fn account(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Explanation>, Problem> {
    let Path(account) = path.map_err(|e| bad_path(&e))?;
    let found = ask(&app, |reply| Query::Account(account, reply)).await?;
    found.map(|explanation| Json(*explanation)).ok_or_else(unknown_account)
}

async fn ring(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(account) = path.map_err(|e| bad_path(&e))?;
    let found =
        ask(&app, |reply| Query::Ring(account, reply)).await?.ok_or_else(unknown_account)?;
    Ok(([(header::CONTENT_TYPE, "text/vnd.graphviz; charset=utf-8")], found).into_response())
}

async fn score(
    State(app): State<Arc<App>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ScoredV1>, Problem> {
    let body = body.map_err(|e| match e.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the event is larger than {} bytes", engine::limits::MESSAGE_BYTES_MAX),
            "longer messages are rejects in the stream as well (too_large)",
        ),
        status => Problem::new(status, "the body could not be read", "send one event as JSON"),
    })?;
    let event = app.context.decoder.event(&body, || "preview".into()).map_err(|reject| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("this is no event ({}): {}", reject.code.as_str(), reject.detail),
            "send one event as it would stand in the events topic: `detector schema event`",
        )
    })?;
    let (event_id, account, ts) = (event.event_id.clone(), event.account.clone(), event.ts_ms);
    let preview = ask(&app, |reply| Query::Score(Box::new(event), reply)).await?;
    let (preview, finisher) = preview.map_err(|why| {
        let (status, hint) = match why {
            Unscored::Rejected(_) => (StatusCode::UNPROCESSABLE_ENTITY, "correct the event"),
            Unscored::Redelivered => (StatusCode::CONFLICT, "give it another event_id, or none"),
            Unscored::StrictTies => {
                (StatusCode::CONFLICT, "run the service without input.strict_ties")
            }
        };
        Problem::new(status, why.to_string(), hint)
    })?;
    let (score, decision) = (preview.score(), preview.decision());
    let (scores, reasons, actions) = preview.finish(&finisher);
    let versions = finisher.versions().clone();
    Ok(Json(ScoredV1 {
        event_id,
        account,
        ts,
        score,
        scores,
        decision,
        actions,
        reasons,
        versions,
    }))
}
