//! `jit-ssh-ca serve`: the front. It carries and shows statements, and has no power: what is
//! recorded and signed, the signer decides.
//!
//! From the outside in:
//!
//! - `listener`, `tls`, `routes`: the one TLS port, what is served on it, and within which bounds;
//! - `services`, `web`: gRPC, one file for each group of calls; the log and health over HTTP;
//! - `door`: how large messages of admins come in;
//! - `call`: one call from beginning to end: who calls, what is noted of it; `deadline`: until when;
//! - `sessions`, `visibility`, `rates`: who may read what, and how often one may be wrong;
//! - `arrived`, `show`: statements on their way in, requests on their way out;
//! - `front`: what all of them share, and how signer, store and memory are used together;
//! - `memory`, `in_force`: what is known now; `eras`: by which bundle history is told; `store`: what is
//!   known after a restart;
//! - `approvals`: how long approvals take; `heard`: whose programs were told of what waits for them;
//!   `told`: what hosts told of the use of accesses;
//! - `published_krl`, `host_feed`: the revocation list, and what hosts hear at once;
//! - `signer_link`, `follower`: the way to the signer, and what its log tells that we missed;
//! - `health`, `metrics`, `clock`: whether all works, what can be counted, waiting for a moment.

mod approvals;
mod arrived;
mod call;
mod clock;
mod deadline;
mod door;
mod enrolment;
mod eras;
mod follower;
mod front;
mod health;
mod heard;
mod host_feed;
mod in_force;
mod listener;
mod memory;
mod metrics;
mod published_krl;
mod rates;
mod routes;
mod services;
mod sessions;
mod show;
mod signer_link;
mod start;
mod store;
#[cfg(test)]
mod testworld;
mod tls;
mod told;
mod visibility;
mod web;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use jit_ssh_core::statement::MAX_AHEAD;

pub(crate) use told::{ToldReader, ToldUse};

/// Most requests that prolong one another in a row: what a rule may allow at most.
const MAX_LINEAGE: usize = 10;

/// The longest time in seconds in which anything can come of a request: it begins within
/// [`MAX_AHEAD`], which is more than the 7 days in which it may be decided, and lasts a day at most.
/// One that prolongs another is made while that one lasts, and ends within a day for each of
/// [`MAX_LINEAGE`] after it, which is less (the limits of the policy's fields).
const OPEN_FOR: u32 = MAX_AHEAD + 86_400 + 3600;

/// Runs the CA.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The folder with ca.toml.
    #[arg(long, value_name = "DIR")]
    config: PathBuf,
}

/// Serves until told to stop by SIGTERM or SIGINT.
///
/// # Errors
/// If it can not begin: configuration, state folder, signer, store or port.
pub(crate) fn cmd_serve(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    start::run(&args.config)
}
