//! What is served under which path, and how large a message may be there.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use jit_ssh_api::v1;
use jit_ssh_api::v1::access_server::AccessServer;
use jit_ssh_api::v1::hosts_server::HostsServer;
use jit_ssh_api::v1::log_server::LogServer;
use jit_ssh_api::v1::trust_server::TrustServer;
use jit_ssh_core::bundle::BundleFiles;
use tonic::server::NamedService;
use tonic_health::server::HealthReporter;

use super::deadline;
use super::door::Door;
use super::front::Front;
use super::services::{AccessService, HostsService, LogService, TrustService};
use super::web;

/// Largest message of `ApplyBundle`: the files, and room for the statement around them.
const MAX_BUNDLE: usize = BundleFiles::MAX_BYTES + (1 << 20);

/// All services, and the reporter of their health.
///
/// # Errors
/// If the descriptors for reflection can not be read.
pub(super) fn routes(front: &Arc<Front>) -> anyhow::Result<(Router, HealthReporter)> {
    let small = usize::try_from(front.limits.message_bytes.get()).unwrap_or(usize::MAX);
    let access = AccessServer::new(AccessService(front.clone())).max_decoding_message_size(small);
    let hosts = HostsServer::new(HostsService(front.clone())).max_decoding_message_size(small);
    let log = LogServer::new(LogService(front.clone())).max_decoding_message_size(small);
    let trust = TrustServer::new(TrustService(front.clone()));
    let bundles = trust.clone().max_decoding_message_size(MAX_BUNDLE);
    let bundles = Door::new(front.clone(), bundles);
    let reporter = HealthReporter::new();
    let health = tonic_health::pb::health_server::HealthServer::new(
        tonic_health::server::HealthService::from_health_reporter(reporter.clone()),
    )
    .max_decoding_message_size(small);
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let unreadable = "the descriptors of the services can not be read";
    let reflection = described().build_v1().context(unreadable)?;
    // What grpcurl and others of its age ask for.
    let reflection_alpha = described().build_v1alpha().context(unreadable)?;
    let router = web::routes(front.clone())
        .route_service(&path(&access), access)
        .route_service(&path(&hosts), hosts)
        .route_service(&path(&log), log)
        // A path of its own wins over the pattern of the service.
        .route_service("/jitssh.v1.Trust/ApplyBundle", bundles)
        .route_service(&path(&trust), trust.max_decoding_message_size(small))
        .route_service(&path(&health), health)
        .route_service(&path(&reflection), reflection)
        .route_service(&path(&reflection_alpha), reflection_alpha);
    let router = router.fallback(unimplemented).layer(axum::middleware::from_fn(deadline::hold));
    Ok((router, reporter))
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
