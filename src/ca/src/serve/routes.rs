//! What is served under which path, and how large a message may be there.

use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use jit_ssh_api::v1::access_server::AccessServer;
use jit_ssh_api::v1::log_server::LogServer;
use jit_ssh_api::v1::trust_server::TrustServer;
use jit_ssh_api::{status_of, v1};
use jit_ssh_core::bundle::BundleFiles;
use jit_ssh_core::refusal::{Reason, Refusal};
use tokio::sync::Semaphore;
use tonic::server::NamedService;
use tonic_health::server::HealthReporter;
use tower::Service;

use super::front::Front;
use super::services::{AccessService, LogService, TrustService};
use super::web;

/// Largest message of `ApplyBundle`: the files, and room for the statement around them.
const MAX_BUNDLE: usize = BundleFiles::MAX_BYTES + (1 << 20);
/// How many messages of that size may be taken in at a time.
const BUNDLES: usize = 2;

/// All services, and the reporter of their health.
///
/// # Errors
/// If the descriptors for reflection can not be read.
pub(super) fn routes(front: &Arc<Front>) -> anyhow::Result<(Router, HealthReporter)> {
    let small = usize::try_from(front.limits.message_bytes.get()).unwrap_or(usize::MAX);
    let access = AccessServer::new(AccessService(front.clone())).max_decoding_message_size(small);
    let log = LogServer::new(LogService(front.clone())).max_decoding_message_size(small);
    let trust = TrustServer::new(TrustService(front.clone()));
    let bundles = Bounded {
        inner: trust.clone().max_decoding_message_size(MAX_BUNDLE),
        places: Arc::new(Semaphore::new(BUNDLES)),
    };
    let reporter = HealthReporter::new();
    let health = tonic_health::pb::health_server::HealthServer::new(
        tonic_health::server::HealthService::from_health_reporter(reporter.clone()),
    )
    .max_decoding_message_size(small);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("the descriptors of the services can not be read")?;
    let router = web::routes(front.clone())
        .route_service(&path(&access), access)
        .route_service(&path(&log), log)
        // A path of its own wins over the pattern of the service.
        .route_service("/jitssh.v1.Trust/ApplyBundle", bundles)
        .route_service(&path(&trust), trust.max_decoding_message_size(small))
        .route_service(&path(&health), health)
        .route_service(&path(&reflection), reflection);
    Ok((router.fallback(unimplemented), reporter))
}

fn path<S: NamedService>(_: &S) -> String {
    format!("/{}/{{*call}}", S::NAME)
}

/// What a gRPC client hears of a call that does not exist, and everybody else of a page.
async fn unimplemented(request: Request) -> Response {
    let kind = request.headers().get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    if !kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let status = tonic::Status::unimplemented("there is no such call");
    status.into_http::<axum::body::Body>().into_response()
}

/// Takes in few calls at a time: refused before their message is read.
#[derive(Clone)]
struct Bounded<S> {
    inner: S,
    places: Arc<Semaphore>,
}

impl<S> Service<Request> for Bounded<S>
where
    S: Service<Request, Error = std::convert::Infallible> + Clone + Send + 'static,
    S::Response: axum::response::IntoResponse,
    S::Future: Send,
{
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Response, std::convert::Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let refusal = Refusal::new(Reason::Quota, "other bundles are being handed in now.")
                .hint("try again in a moment");
            let answer = status_of(&refusal).into_http::<axum::body::Body>();
            return Box::pin(async move { Ok(answer.into_response()) });
        };
        let answering = self.inner.call(request);
        Box::pin(async move {
            let answer = answering.await;
            drop(place);
            answer.map(axum::response::IntoResponse::into_response)
        })
    }
}
