//! The gRPC services: each call in a file of its own, and here what hands a call to its file.
//!
//! - `submit`, `decide`, `certify`: calls that carry statements or ask for a certificate;
//! - `explain`, `reading`, `list`, `watch`, `check`: calls that read, by session;
//! - `trust`, `apply`, `session`: root, bundle and sessions;
//! - `log`: the log;
//! - `hosts`: what hosts ask, by `host_certificate`, `host_watch` and `report`; `enroll` lets them
//!   join, `directory` lists them.

mod access;
mod apply;
mod certify;
mod check;
mod decide;
mod directory;
mod enroll;
mod explain;
mod host_certificate;
mod host_watch;
mod hosts;
mod list;
mod log;
mod reading;
mod report;
mod session;
mod submit;
mod trust;
mod watch;

use std::sync::Arc;

use super::front::Front;

/// `jitssh.v1.Access`.
#[derive(Clone)]
pub(super) struct AccessService(pub(super) Arc<Front>);

/// `jitssh.v1.Trust`.
#[derive(Clone)]
pub(super) struct TrustService(pub(super) Arc<Front>);

/// `jitssh.v1.Hosts`.
#[derive(Clone)]
pub(super) struct HostsService(pub(super) Arc<Front>);

/// `jitssh.v1.Log`.
#[derive(Clone)]
pub(super) struct LogService(pub(super) Arc<Front>);
