//! The one TLS port: accepts connections, bounds them, and hands their requests to the router.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use super::call::Peer;
use super::front::Front;
use super::metrics::Counted;

/// How long to wait after accepting failed, say for want of descriptors.
const REST: Duration = Duration::from_millis(100);
/// How long to say nothing more of connections that were closed at once.
const QUIET: Duration = Duration::from_secs(5);
/// How often a silent connection is asked whether it lives, and how long it may take to say so.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(15);
/// How long an HTTP/1 client may take for a request's head, and be silent between two requests.
const HEAD: Duration = Duration::from_secs(15);
/// Largest head of a request, in bytes.
const MAX_HEAD: u32 = 16 << 10;
/// How long calls under way may go on after the front was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Accepts until told to stop, then waits for what is under way.
pub(super) async fn serve(
    front: Arc<Front>,
    listener: TcpListener,
    tls: TlsAcceptor,
    routes: Router,
) {
    let most = front.limits.connections.get();
    let places = Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS)));
    let mut stopping = front.stopping.clone();
    let handshake = Duration::from_secs(front.limits.handshake_seconds.get().into());
    let (mut turned_away, mut told) = (0u64, None::<Instant>);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection can not be accepted");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            turned_away = turned_away.saturating_add(1);
            if told.is_none_or(|told| told.elapsed() > QUIET) {
                tracing::warn!(count = turned_away, "too many connections: closed at once");
                (turned_away, told) = (0, Some(Instant::now()));
            }
            continue;
        };
        let connection = Connection {
            place,
            counted: Counted::new(&front.metrics.connections),
            peer: Peer(peer.ip().to_canonical()),
            streams: front.limits.streams_per_connection.get(),
            stopping: front.stopping.clone(),
        };
        let (tls, routes) = (tls.clone(), routes.clone());
        tokio::spawn(async move {
            let mut stopping = connection.stopping.clone();
            let secured = tokio::select! {
                secured = tokio::time::timeout(handshake, secure(&tls, stream)) => secured,
                _ = stopping.changed() => return,
            };
            match secured {
                Ok(Ok(stream)) => connection.serve(stream, routes).await,
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        });
    }
    drop(listener);
    // Every place is free again when every connection has ended.
    if tokio::time::timeout(GRACE, places.acquire_many(most)).await.is_err() {
        tracing::warn!("connections were still open at the end of the grace period");
    }
}

type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

async fn secure(tls: &TlsAcceptor, stream: TcpStream) -> std::io::Result<TlsStream> {
    // An answer is small, and must not wait for the next one.
    stream.set_nodelay(true)?;
    tls.accept(stream).await
}

/// One connection.
struct Connection {
    place: OwnedSemaphorePermit,
    counted: Counted,
    peer: Peer,
    streams: u32,
    stopping: watch::Receiver<bool>,
}

impl Connection {
    async fn serve(self, stream: TlsStream, routes: Router) {
        let Connection { place, counted, peer, streams, mut stopping } = self;
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            let mut routes = routes.clone();
            async move { Ok::<_, Infallible>(routes.call(request).await.unwrap_or_else(|e| match e {})) }
        });
        let builder = builder(streams);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stopping.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "a connection broke");
        }
        drop((place, counted));
    }
}

fn builder(streams: u32) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(64 << 10)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(MAX_HEAD)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    builder
}
