//! What is said over the signer's socket.
//!
//! Frames of a big-endian u32 length and that many bytes of JSON, at most [`MAX_FRAME`]. The front
//! sends [`Call`]s with ids of its choice and may have many under way; each gets exactly one
//! [`Answer`] with its id, in any order. Nothing the front says here is trusted: calls carry
//! statements whose signatures the signer verifies, or digests of statements it has recorded.

use jit_ssh_core::digest::Digest;
use jit_ssh_core::entry::Base64Bytes;
use jit_ssh_core::names::{HostName, Jump};
use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::time::UnixTime;
use serde::{Deserialize, Serialize};

/// Longest frame in bytes, without its length.
pub const MAX_FRAME: usize = 64 * 1024;

/// Most file content of one [`Op::PutFile`], so that its base64 fits a frame.
pub const MAX_CHUNK: usize = 44 * 1024;

/// Most calls one connection may have under way; more wait in the socket.
pub const MAX_IN_FLIGHT: usize = 1024;

/// One call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Chosen by the caller, returned in the answer.
    pub id: u64,
    /// What is asked.
    pub op: Op,
}

/// What can be asked of the signer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Records a statement its maker submits now: a request, decision, end, host or token. The same
    /// statement again changes nothing. A request may be certified in the same go, where a rule approves it
    /// by itself; where approvals are needed the answer has no certificate. A request that prolongs
    /// one the signer does not know is refused with `UNKNOWN_REQUEST`, which can mean nothing else
    /// here: what it prolongs is then to be relayed first. So it is for [`Op::Relay`].
    Submit {
        /// The statement.
        statement: Signed,
        /// Whether to certify at once.
        certify: bool,
    },
    /// Records a statement that was submitted at another node, or before this signer's memory.
    Relay {
        /// The statement.
        statement: Signed,
    },
    /// Issues a certificate for a recorded request.
    Certify {
        /// The request's digest.
        request: Digest,
    },
    /// Issues the certificate for a jump on the way to a host that a recorded request grants. Which jumps there are
    /// follows from the bundle in force; any other is refused.
    CertifyJump {
        /// The request's digest.
        request: Digest,
        /// The jump.
        jump: Jump,
    },
    /// Issues the certificate of a host of the bundle in force; before half of its time is over, the
    /// same again.
    CertifyHost {
        /// The host.
        name: HostName,
    },
    /// Uploads a part of a bundle's file, before [`Op::PutBundle`].
    PutFile {
        /// SHA-256 of the whole file.
        file: Digest,
        /// Where this part begins; parts come in order.
        offset: u64,
        /// This part.
        content: Base64Bytes,
        /// Whether the file ends here.
        last: bool,
    },
    /// Puts a bundle in force whose files were uploaded.
    PutBundle {
        /// The bundle statement with its admins' signatures.
        statement: Signed,
    },
    /// Asks how the signer is.
    State,
}

/// A statement and its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The exact bytes, which are UTF-8.
    pub statement: String,
    /// SSHSIG blobs.
    pub signatures: Vec<Base64Bytes>,
}

/// The answer to one [`Call`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The call's id.
    pub id: u64,
    /// What came of it.
    pub result: Outcome,
}

/// What came of a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The statement is recorded, or was before.
    Recorded {
        /// Its digest.
        digest: Digest,
        /// When it was recorded, by the signer's clock.
        at: UnixTime,
        /// The certificate, where one was asked for and could be issued.
        certificate: Option<Issuance>,
    },
    /// A certificate, logged and signed.
    Certified(Issuance),
    /// A host certificate, logged and signed, now or before.
    HostCertified(HostIssuance),
    /// The part of the file is kept.
    Stored,
    /// The bundle is in force.
    InForce {
        /// Its version.
        version: u64,
        /// SHA-256 of its statement.
        digest: Digest,
    },
    /// How the signer is.
    State(State),
    /// Refused; nothing was issued, and nothing recorded that was not before.
    Refused(Refusal),
}

/// A certificate with the proof that it is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuance {
    /// The certificate in wire encoding.
    pub certificate: Base64Bytes,
    /// Its log entry, which is UTF-8.
    pub entry: String,
    /// The entry's index.
    pub index: u64,
    /// Its serial.
    pub serial: u64,
    /// When it was decided.
    pub at: UnixTime,
    /// Until when it is valid.
    pub valid_before: UnixTime,
    /// When the access ends.
    pub access_until: UnixTime,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// The inclusion proof: hashes of 32 bytes, leaf to root, joined.
    pub proof: Base64Bytes,
}

/// A host certificate with the proof that it is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostIssuance {
    /// The certificate in wire encoding.
    pub certificate: Base64Bytes,
    /// Its log entry, which is UTF-8.
    pub entry: String,
    /// The entry's index.
    pub index: u64,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// The inclusion proof: hashes of 32 bytes, leaf to root, joined.
    pub proof: Base64Bytes,
}

/// How the signer is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The signer's number.
    pub number: u16,
    /// Its CA key, an OpenSSH line.
    pub ca_key: String,
    /// Its host CA key, an OpenSSH line; `None` if it issues no host certificates.
    pub host_ca_key: Option<String>,
    /// Its log key, a signed-note verifier key.
    pub log_key: String,
    /// The version of the bundle in force; 0 for none.
    pub bundle_version: u64,
    /// SHA-256 of its statement.
    pub bundle: Option<Digest>,
    /// Entries in the log.
    pub log_size: u64,
}
