//! What is served over plain HTTP on the same port: the root, the log as C2SP tlog-tiles, and `/healthz`.
//! A GET never changes anything a person could care about.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::log::{BundleId, TileId};
use jit_ssh_core::refusal::Reason;
use jit_ssh_signer::log::LogError;

use super::front::Front;
use super::health::Health;

/// A tile never changes, but not everyone may see it.
const FOR_EVER: &str = "private, max-age=31536000, immutable";

/// What these pages work with.
#[derive(Clone)]
struct Web {
    front: Arc<Front>,
    health: Arc<Health>,
}

/// The pages.
pub(super) fn routes(front: Arc<Front>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/root.json", get(root))
        .route("/log/checkpoint", get(checkpoint))
        .route("/log/tile/{*path}", get(tile))
        .with_state(Web { front, health: Arc::default() })
}

async fn healthz(State(web): State<Web>) -> Response {
    let no_store = [(CACHE_CONTROL, "no-store")];
    match web.health.check(&web.front).await {
        Ok(()) => (no_store, "ok\n").into_response(),
        Err(what) => {
            (StatusCode::SERVICE_UNAVAILABLE, no_store, format!("{what}\n")).into_response()
        }
    }
}

/// What `Trust.GetRoot` answers, for who has no TLS anchor yet, and so can not speak gRPC in most
/// languages: whoever fetches it holds its SHA-256 against the pin.
async fn root(State(web): State<Web>) -> Response {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")];
    (headers, web.front.root_bytes.clone()).into_response()
}

async fn checkpoint(State(web): State<Web>, headers: HeaderMap) -> Response {
    if let Some(refused) = turned_away(&web.front, &headers) {
        return refused;
    }
    let front = web.front;
    let note = tokio::task::spawn_blocking(move || front.log.tiles().checkpoint_note()).await;
    match note {
        Ok(Ok(Some(note))) => {
            let headers =
                [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")];
            (headers, note).into_response()
        }
        Ok(Ok(None)) => StatusCode::NOT_FOUND.into_response(),
        _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn tile(State(web): State<Web>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    if let Some(refused) = turned_away(&web.front, &headers) {
        return refused;
    }
    let front = web.front;
    let path = format!("tile/{path}");
    let reading = tokio::task::spawn_blocking(move || {
        let tiles = front.log.tiles();
        // Only names that tlog-tiles has are read, so no path leads out of the folder.
        if let Ok(id) = path.parse::<BundleId>() {
            Some(tiles.bundle(id))
        } else {
            path.parse::<TileId>().ok().map(|id| tiles.tile_bytes(id))
        }
    });
    match reading.await {
        Ok(Some(Ok(bytes))) => {
            let headers = [(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, FOR_EVER)];
            (headers, bytes).into_response()
        }
        Ok(None | Some(Err(LogError::Missing(_)))) => StatusCode::NOT_FOUND.into_response(),
        Ok(Some(Err(error))) => {
            tracing::error!(%error, "the log can not be read");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The answer to everybody but auditors and admins.
fn turned_away(front: &Front, headers: &HeaderMap) -> Option<Response> {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    let caller = front.caller(token.map(|token| Digest::of(token.as_bytes())));
    let (status, message) = match caller {
        Ok(caller) if caller.reads_all() => return None,
        Ok(caller) => {
            (StatusCode::FORBIDDEN, format!("{} is neither auditor nor admin.\n", caller.id))
        }
        Err(refusal) if refusal.reason == Reason::NoSession => {
            (StatusCode::UNAUTHORIZED, format!("{refusal}\n"))
        }
        Err(refusal) => (StatusCode::SERVICE_UNAVAILABLE, format!("{refusal}\n")),
    };
    Some((status, [(WWW_AUTHENTICATE, "Bearer")], message).into_response())
}
