//! What the end-to-end tests stand on: a CA, people with agents and hosts with sshd, all real
//! programs, all on loopback, all in one folder that goes away.
//!
//! - [`Site`]: a folder with a CA in it, from `init` to `apply`;
//! - [`Persona`]: somebody with keys, an ssh-agent and a home of their own;
//! - [`Sshd`]: a stock sshd on a high port;
//! - [`guarded`]: an sshd under PAM with hook and guard, for root alone;
//! - [`api`]: the gRPC API, called as another program would;
//! - [`network`]: several machines on one; [`pipeline`]: who vouches for hosts that join;
//! - [`program`]: runs a program and keeps what it said; [`pty`]: the same on a terminal;
//! - [`snapshot`]: what programs say, held against a file;
//! - [`town`]: people with accounts and homes of their own, for root alone; [`recording`]: a session of
//!   theirs, as a recording and a picture.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on must stop")]

pub mod api;
pub mod distant;
pub mod guarded;
pub mod network;
mod persona;
pub mod pipeline;
pub mod program;
pub mod pty;
pub mod recording;
mod site;
pub mod snapshot;
mod sshd;
pub mod town;

pub use persona::{ASK, Persona};
pub use program::{Program, Said};
pub use site::{Fetched, POLICY, Site};
pub use sshd::{PamService, Sshd, me};
