//! The door of `Trust.ApplyBundle`, whose messages may be large: few are taken in at a time, from
//! callers with an admin's session only, and none may be long on its way.
//!
//! All of it before the first byte of the message is read, so that nobody without a session can
//! hold a place that an admin needs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use jit_ssh_api::status_of;
use jit_ssh_core::refusal::{Reason, Refusal};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tower::Service;

use super::call::{AUTHORIZATION, token_digest};
use super::front::Front;

/// How many messages may be taken in at a time.
const PLACES: usize = 2;
/// How long a message may make no progress.
const STILL: Duration = Duration::from_secs(30);
/// How long it may take in all.
const WHOLE: Duration = Duration::from_secs(300);

/// Stands before a service that takes large messages of admins.
#[derive(Clone)]
pub(super) struct Door<S> {
    front: Arc<Front>,
    inner: S,
    places: Arc<Semaphore>,
}

impl<S> Door<S> {
    /// A door before `inner`.
    pub(super) fn new(front: Arc<Front>, inner: S) -> Door<S> {
        Door { front, inner, places: Arc::new(Semaphore::new(PLACES)) }
    }
}

impl<S> Service<Request> for Door<S>
where
    S: Service<Request, Error = std::convert::Infallible> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
{
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let token = request.headers().get(AUTHORIZATION);
        let token = token.and_then(|value| token_digest(value.as_bytes()));
        if let Err(refusal) = self.front.admin(token) {
            return refuse(&refusal);
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let refusal = Refusal::new(Reason::Quota, "other bundles are being handed in now.");
            return refuse(&refusal.hint("try again in a moment"));
        };
        let request = request.map(|body| Body::new(Timed::new(body)));
        let answering = self.inner.call(request);
        Box::pin(async move {
            let answer = answering.await;
            drop(place);
            answer.map(IntoResponse::into_response)
        })
    }
}

fn refuse<E: Send + 'static>(
    refusal: &Refusal,
) -> Pin<Box<dyn Future<Output = Result<Response, E>> + Send>> {
    tracing::info!(method = "Trust/ApplyBundle", reason = %refusal.reason, "refused at the door");
    let answer = status_of(refusal).into_http::<Body>();
    Box::pin(async move { Ok(answer) })
}

/// A message on its way in, which fails when it takes too long.
struct Timed {
    inner: Body,
    /// The end of patience with a message that stands still.
    still: Pin<Box<Sleep>>,
    /// The end of patience with it in all.
    whole: Pin<Box<Sleep>>,
}

impl Timed {
    fn new(inner: Body) -> Timed {
        let sleep = |span| Box::pin(tokio::time::sleep(span));
        Timed { inner, still: sleep(STILL), whole: sleep(WHOLE) }
    }
}

impl hyper::body::Body for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Before the next part: one that trickles in for ever is never pending.
        if self.whole.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(too_slow())));
        }
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                // A frame without content is no progress.
                if frame.data_ref().is_none_or(|data| !data.is_empty()) {
                    let until = Instant::now().checked_add(STILL);
                    if let Some(until) = until {
                        self.still.as_mut().reset(until);
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending if self.still.as_mut().poll(context).is_ready() => {
                Poll::Ready(Some(Err(too_slow())))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What tonic passes on as it is: a status that names the reason.
fn too_slow() -> axum::Error {
    let refusal = Refusal::new(Reason::Quota, "the bundle took too long on its way to the CA.");
    axum::Error::new(status_of(&refusal.hint("try again over a better connection")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message in parts, each this long after the one before.
    fn message(parts: u32, every: Duration) -> Timed {
        let (to, from) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        tokio::spawn(async move {
            for _ in 0..parts {
                tokio::time::sleep(every).await;
                if to.send(Ok(Bytes::from_static(b"x"))).await.is_err() {
                    return;
                }
            }
        });
        let stream = tokio_stream::wrappers::ReceiverStream::new(from);
        Timed::new(Body::from_stream(stream))
    }

    async fn read(message: Timed) -> Result<usize, axum::Error> {
        axum::body::to_bytes(Body::new(message), usize::MAX).await.map(|all| all.len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_stands_still_or_trickles_in_for_ever_ends_and_a_slow_one_does_not() {
        assert_eq!(read(message(10, STILL - Duration::from_secs(1))).await.unwrap(), 10);
        let error = read(message(1, STILL + Duration::from_secs(1))).await.unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
        let error = read(message(1000, Duration::from_secs(1))).await.unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
        assert_eq!(read(message(290, Duration::from_secs(1))).await.unwrap(), 290);
    }
}
