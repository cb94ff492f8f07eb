//! Log entries: one line of JSON each.
//!
//! Three kinds: a statement when it was first recorded, and a person's or a host's certificate with the
//! exact bytes that are signed once the entry is durable. None holds a secret, and both are in plain text: an
//! auditor reads who, where, as whom and why.

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::certificate::Serial;
use crate::digest::Digest;
use crate::names::{HostName, RuleName};
use crate::time::UnixTime;

/// Bytes as standard base64 with padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base64Bytes(pub Vec<u8>);

impl AsRef<[u8]> for Base64Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Base64Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Base64::encode_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Base64::decode_vec(&text).map(Base64Bytes).map_err(serde::de::Error::custom)
    }
}

/// One log entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A statement, when first recorded.
    Statement(StatementEntry),
    /// A certificate, before it is signed.
    Certificate(CertificateEntry),
    /// A host certificate, before it is signed.
    HostCertificate(HostCertificateEntry),
}

/// A statement, when first recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementEntry {
    v: u8,
    kind: StatementKind,
    /// When the signer recorded it.
    pub at: UnixTime,
    /// The exact bytes, which are UTF-8.
    pub statement: String,
    /// The signature blobs (SSHSIG).
    pub signatures: Vec<Base64Bytes>,
}

/// A certificate, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateEntry {
    v: u8,
    kind: CertificateKind,
    /// When the signer decided.
    pub at: UnixTime,
    /// The certificate's serial, which holds the entry's index.
    pub serial: u64,
    /// The request it follows from.
    pub request: Digest,
    /// The rule that decided.
    pub rule: RuleName,
    /// The digest of the bundle statement that was in force.
    pub bundle: Digest,
    /// The exact bytes to be signed.
    pub tbs: Base64Bytes,
}

/// A host certificate, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostCertificateEntry {
    v: u8,
    kind: HostCertificateKind,
    /// When the signer decided.
    pub at: UnixTime,
    /// The certificate's serial, which holds the entry's index.
    pub serial: u64,
    /// The host.
    pub host: HostName,
    /// The digest of the statement the host enrolled by; `None` for a host of `hosts.toml`.
    pub statement: Option<Digest>,
    /// The digest of the bundle statement that was in force.
    pub bundle: Digest,
    /// The exact bytes to be signed.
    pub tbs: Base64Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum StatementKind {
    #[serde(rename = "statement")]
    Statement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum CertificateKind {
    #[serde(rename = "certificate")]
    Certificate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum HostCertificateKind {
    #[serde(rename = "host_certificate")]
    HostCertificate,
}

/// Bytes are no log entry of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a log entry of this version in its one spelling: {0}")]
pub struct EntryError(String);

impl Entry {
    /// The entry of a statement.
    pub fn statement(at: UnixTime, statement: String, signatures: &[Vec<u8>]) -> Entry {
        Entry::Statement(StatementEntry {
            v: 1,
            kind: StatementKind::Statement,
            at,
            statement,
            signatures: signatures.iter().cloned().map(Base64Bytes).collect(),
        })
    }

    /// The entry of a certificate.
    pub fn certificate(
        at: UnixTime,
        serial: Serial,
        request: Digest,
        rule: RuleName,
        bundle: Digest,
        tbs: Vec<u8>,
    ) -> Entry {
        Entry::Certificate(CertificateEntry {
            v: 1,
            kind: CertificateKind::Certificate,
            at,
            serial: serial.get(),
            request,
            rule,
            bundle,
            tbs: Base64Bytes(tbs),
        })
    }

    /// The entry of a host certificate.
    pub fn host_certificate(
        at: UnixTime,
        serial: Serial,
        host: HostName,
        statement: Option<Digest>,
        bundle: Digest,
        tbs: Vec<u8>,
    ) -> Entry {
        Entry::HostCertificate(HostCertificateEntry {
            v: 1,
            kind: HostCertificateKind::HostCertificate,
            at,
            serial: serial.get(),
            host,
            statement,
            bundle,
            tbs: Base64Bytes(tbs),
        })
    }

    /// When the signer wrote it.
    pub fn at(&self) -> UnixTime {
        match self {
            Entry::Statement(entry) => entry.at,
            Entry::Certificate(entry) => entry.at,
            Entry::HostCertificate(entry) => entry.at,
        }
    }

    /// The entry's exact bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Entry::Statement(entry) => serde_json::to_vec(entry),
            Entry::Certificate(entry) => serde_json::to_vec(entry),
            Entry::HostCertificate(entry) => serde_json::to_vec(entry),
        }
        .expect("an entry has only strings and numbers")
    }

    /// Parses exact bytes.
    ///
    /// # Errors
    /// [`EntryError`] for anything but the one spelling of an entry.
    pub fn parse(bytes: &[u8]) -> Result<Entry, EntryError> {
        let error = |e: serde_json::Error| EntryError(e.to_string());
        let entry = if bytes.starts_with(b"{\"v\":1,\"kind\":\"statement\",") {
            Entry::Statement(serde_json::from_slice(bytes).map_err(error)?)
        } else if bytes.starts_with(b"{\"v\":1,\"kind\":\"certificate\",") {
            Entry::Certificate(serde_json::from_slice(bytes).map_err(error)?)
        } else if bytes.starts_with(b"{\"v\":1,\"kind\":\"host_certificate\",") {
            Entry::HostCertificate(serde_json::from_slice(bytes).map_err(error)?)
        } else {
            return Err(EntryError("unknown version or kind".to_owned()));
        };
        if entry.to_bytes() == bytes {
            Ok(entry)
        } else {
            Err(EntryError("it re-encodes differently".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_parse_back_and_refuse_a_second_spelling() {
        let statement = Entry::statement(UnixTime(7), "{\"a\":\"ü\\n\"}".into(), &[vec![1, 2, 3]]);
        let certificate = Entry::certificate(
            UnixTime(8),
            Serial::new(std::num::NonZeroU16::MIN, 5).unwrap(),
            Digest::of(b"r"),
            "rule".parse().unwrap(),
            Digest::of(b"b"),
            vec![0; 100],
        );
        let serial = Serial::new(std::num::NonZeroU16::MIN, 6).unwrap();
        let host = |statement| {
            let name = "prod-host".parse().unwrap();
            Entry::host_certificate(UnixTime(9), serial, name, statement, Digest::of(b"b"), vec![1])
        };
        for entry in [statement, certificate, host(None), host(Some(Digest::of(b"h")))] {
            let bytes = entry.to_bytes();
            assert_eq!(Entry::parse(&bytes).unwrap(), entry);
            let text = String::from_utf8(bytes).unwrap();
            for bad in [
                text.replace("\"v\":1", "\"v\":2"),
                text.replacen(":", ": ", 1),
                text.replacen("\"at\"", "\"x\":1,\"at\"", 1),
                format!("{text} "),
            ] {
                assert!(Entry::parse(bad.as_bytes()).is_err(), "{bad}");
            }
        }
    }
}
