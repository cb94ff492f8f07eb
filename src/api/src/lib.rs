//! The gRPC API of jit-ssh (`proto/jitssh/v1`): generated code, and what its clients share: bastions,
//! hosts, the person's command and the administrator's.
//!
//! - [`v1`]: messages, clients and servers, generated;
//! - [`CaUrl`]: where the CA is, and the pin that says which CA it must be;
//! - [`Client`]: a TLS connection whose trust begins with the pin, not with a web PKI (`dial.rs`);
//! - [`ApiError`]: an error as the service tells it, by its stable reason; [`status_of`] is the
//!   service's half of it;
//! - [`join`]: join tokens as they are handed to machines;
//! - [`agent`]: the ssh-agent; [`own_key`]: a person's key, in a file or in the agent, and statements
//!   signed with it.
//!
//! `examples/access.rs` is a whole client: it requests, waits by [`Client::watch`], takes the certificate,
//! checks it as `jit-ssh` does, and runs ssh. `cargo run -p jit-ssh-api --example access` says its usage.

use jit_ssh_core::receipt::Receipt;
use jit_ssh_core::statement::Verified;
use prost::bytes::Bytes;

pub mod agent;
mod client;
mod dial;
mod error;
pub mod join;
pub mod own_key;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod url;

/// Messages, clients and servers, generated from `proto/jitssh/v1`.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("jitssh.v1");

    /// The descriptors of all services, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/jitssh.v1.bin"));
}

impl<T> From<&Verified<T>> for v1::SignedStatement {
    fn from(statement: &Verified<T>) -> v1::SignedStatement {
        v1::SignedStatement {
            statement: Bytes::copy_from_slice(statement.bytes()),
            signatures: vec![Bytes::copy_from_slice(statement.signature())],
        }
    }
}

/// A certificate as it is checked.
impl<'a> From<&'a v1::Certificate> for Receipt<'a> {
    fn from(sent: &'a v1::Certificate) -> Receipt<'a> {
        Receipt {
            certificate: &sent.certificate,
            entry: &sent.entry,
            index: sent.index,
            checkpoint: &sent.checkpoint,
            proof: sent.proof.iter().map(AsRef::as_ref).collect(),
            signer: sent.signer,
        }
    }
}

pub use client::{CheckWatch, Client, ClientError, HostWatch, Watch};
pub use dial::anchor_certificates;
pub use error::{ApiError, DOMAIN, ErrorDetail, Reason, status_of};
pub use url::{CaUrl, UrlError};
