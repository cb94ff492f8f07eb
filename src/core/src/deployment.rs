//! `ca.toml`: how one node runs. Not signed, and without any say in who may do what.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use crate::bundle::diagnostic::Diagnostics;
use crate::bundle::reader::{Item, Table, quote};
use crate::bundle::source::read_alone;

/// How one node runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Where gRPC and web are served.
    pub listen: SocketAddr,
    /// The folder for keys, log and database.
    pub state: PathBuf,
    /// Where metrics are served, without TLS: a loopback address.
    pub metrics: Option<SocketAddr>,
    /// How the signer is reached.
    pub signer: SignerPlace,
    /// What the front shows to prove itself.
    pub tls: Tls,
    /// What callers may use up.
    pub limits: Limits,
}

/// How the signer is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerPlace {
    /// `serve` starts it as a child.
    Child,
    /// It runs on its own and listens on this Unix socket.
    Socket(PathBuf),
}

/// What the front shows to prove itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// A certificate of our own making, pinned by the root.
    SelfMade,
    /// The operator's files, PEM.
    Own {
        /// The certificate chain.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// What callers may use up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests that one person or machine may submit in a minute.
    pub requests_per_person_per_minute: NonZeroU32,
    /// Decisions that one person may submit in a minute.
    pub decisions_per_person_per_minute: NonZeroU32,
    /// Certificates that one person or machine may fetch in a minute.
    pub certificates_per_person_per_minute: NonZeroU32,
    /// Hosts and tokens that one enroller may vouch for in a minute.
    pub enrolments_per_enroller_per_minute: NonZeroU32,
    /// Open connections.
    pub connections: NonZeroU32,
    /// Calls at a time on one connection.
    pub streams_per_connection: NonZeroU32,
    /// Seconds until a TLS handshake must be done.
    pub handshake_seconds: NonZeroU32,
    /// Bytes of one message.
    pub message_bytes: NonZeroU32,
    /// Open watches of one person or machine.
    pub watches_per_person: NonZeroU32,
}

impl Deployment {
    /// Reads and checks `ca.toml`.
    ///
    /// # Errors
    /// All problems of the file.
    pub fn parse(bytes: &[u8]) -> Result<Deployment, Diagnostics> {
        read_alone(FILE, bytes, |source| source.read(read).flatten())
    }
}

fn read(mut file: Table<'_>) -> Option<Deployment> {
    let listen = file.required("listen").and_then(address);
    let state = file.required("state").and_then(path);
    let metrics = file.or("metrics", None, |item| loopback(item).map(Some));
    let signer =
        file.or("signer", SignerPlace::Child, |item| socket(item).map(SignerPlace::Socket));
    let tls = file.or("tls", Tls::SelfMade, tls);
    let limits = file.or("limits", Limits::default(), limits);
    file.finish();
    Some(Deployment {
        listen: listen?,
        state: state?,
        metrics: metrics?,
        signer: signer?,
        tls: tls?,
        limits: limits?,
    })
}

fn address(item: Item<'_>) -> Option<SocketAddr> {
    let text = item.text()?;
    let address = text.parse().ok();
    if address.is_none() {
        item.problem_with_help(
            format!("{} is not an address and port", quote(text)),
            "write it like `127.0.0.1:7443` or `[::]:7443`; a host name will not do",
        );
    }
    address
}

/// Metrics have neither TLS nor a login, so nobody outside the machine may reach them.
fn loopback(item: Item<'_>) -> Option<SocketAddr> {
    let address = address(item)?;
    if address.ip().to_canonical().is_loopback() {
        return Some(address);
    }
    item.problem_with_help(
        "metrics are served on a loopback address only".to_owned(),
        "use an address like `127.0.0.1:9464`, and a proxy if others must read it",
    );
    None
}

fn path(item: Item<'_>) -> Option<PathBuf> {
    item.line(MAX_PATH).map(PathBuf::from)
}

fn socket(item: Item<'_>) -> Option<PathBuf> {
    let path = path(item)?;
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        item.problem(format!("the path of a Unix socket has at most {MAX_SOCKET_PATH} bytes"));
        return None;
    }
    Some(path)
}

fn tls(item: Item<'_>) -> Option<Tls> {
    let mut table = item.table("[tls]")?;
    let certificate = table.or("certificate", None, |item| path(item).map(Some));
    let key = table.or("key", None, |item| path(item).map(Some));
    let tls = match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some(Tls::Own { certificate, key }),
        (None, None) => Some(Tls::SelfMade),
        (Some(_), None) => {
            table.problem("[tls] has a `certificate` but no `key`".to_owned());
            None
        }
        (None, Some(_)) => {
            table.problem("[tls] has a `key` but no `certificate`".to_owned());
            None
        }
    };
    table.finish();
    tls
}

fn limits(item: Item<'_>) -> Option<Limits> {
    let mut table = item.table("[limits]")?;
    let Limits {
        requests_per_person_per_minute,
        decisions_per_person_per_minute,
        certificates_per_person_per_minute,
        enrolments_per_enroller_per_minute,
        connections,
        streams_per_connection,
        handshake_seconds,
        message_bytes,
        watches_per_person,
    } = Limits::default();
    let mut limit = |field: &'static str, absent: NonZeroU32| {
        table.or(field, absent, |item| item.integer(1, MAX_LIMIT).and_then(NonZeroU32::new))
    };
    let requests = limit("requests_per_person_per_minute", requests_per_person_per_minute);
    let decisions = limit("decisions_per_person_per_minute", decisions_per_person_per_minute);
    let certificates =
        limit("certificates_per_person_per_minute", certificates_per_person_per_minute);
    let enrolments =
        limit("enrolments_per_enroller_per_minute", enrolments_per_enroller_per_minute);
    let connections = limit("connections", connections);
    let streams = limit("streams_per_connection", streams_per_connection);
    let handshake = limit("handshake_seconds", handshake_seconds);
    let message = limit("message_bytes", message_bytes);
    let watches = limit("watches_per_person", watches_per_person);
    table.finish();
    Some(Limits {
        requests_per_person_per_minute: requests?,
        decisions_per_person_per_minute: decisions?,
        certificates_per_person_per_minute: certificates?,
        enrolments_per_enroller_per_minute: enrolments?,
        connections: connections?,
        streams_per_connection: streams?,
        handshake_seconds: handshake?,
        message_bytes: message?,
        watches_per_person: watches?,
    })
}

impl Default for Limits {
    fn default() -> Self {
        const fn count(count: u32) -> NonZeroU32 {
            NonZeroU32::new(count).expect("the defaults below are not zero")
        }
        Self {
            requests_per_person_per_minute: const { count(30) },
            decisions_per_person_per_minute: const { count(60) },
            certificates_per_person_per_minute: const { count(120) },
            enrolments_per_enroller_per_minute: const { count(600) },
            connections: const { count(1024) },
            streams_per_connection: const { count(128) },
            handshake_seconds: const { count(5) },
            message_bytes: const { count(256 << 10) },
            watches_per_person: const { count(32) },
        }
    }
}

const FILE: &str = "ca.toml";
const MAX_PATH: usize = 4096;
/// `sun_path` has 108 bytes on Linux, the last of them NUL (unix(7)).
const MAX_SOCKET_PATH: usize = 107;
/// A limit above this is no limit.
const MAX_LIMIT: u32 = 1 << 30;

#[cfg(test)]
mod tests;
