//! `signers.toml`: every signer's number, CA keys and log key; what hosts and clients trust.

use std::collections::HashSet;
use std::num::NonZeroU16;

use super::diagnostic::Diagnostics;
use super::reader::{Item, Table, quote};
use super::source::{Source, read_alone};
use crate::key::{CaKey, HostCaKey};
use crate::log::VerifierKey;

/// One signer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerInfo {
    /// The signer's number: the upper 16 bits of its serials (I6).
    pub number: NonZeroU16,
    /// The key its certificates are signed with.
    pub ca_key: CaKey,
    /// The key its host certificates are signed with; `None` if it issues none.
    pub host_ca_key: Option<HostCaKey>,
    /// The key its log's checkpoints are signed with: a C2SP signed-note verifier key,
    /// `name+hash+base64`.
    pub log_key: String,
}

/// All signers; at least one.
#[derive(Debug, Clone)]
pub struct Signers(Vec<SignerInfo>);

impl Signers {
    /// No signers: nothing is trusted.
    pub(super) fn none() -> Signers {
        Signers(Vec::new())
    }

    /// All signers, in the file's order.
    pub fn iter(&self) -> std::slice::Iter<'_, SignerInfo> {
        self.0.iter()
    }

    /// The signer with this number.
    pub fn get(&self, number: NonZeroU16) -> Option<&SignerInfo> {
        self.0.iter().find(|signer| signer.number == number)
    }

    /// Whether some signer certifies with `key`.
    pub fn trusts_ca(&self, key: &CaKey) -> bool {
        self.0.iter().any(|signer| signer.ca_key == *key)
    }

    /// Reads `signers.toml` alone, as a host or client fetches it. Its digest in a signed bundle,
    /// not this, says that it can be trusted.
    ///
    /// # Errors
    /// All problems of the file.
    pub fn parse(bytes: &[u8]) -> Result<Signers, Diagnostics> {
        read_alone(FILE, bytes, Signers::read)
    }

    /// Reads the file; `None` if it is not TOML.
    pub(super) fn read(source: &Source<'_>) -> Option<Signers> {
        source.read(Signers::read_tables)
    }

    fn read_tables(mut file: Table<'_>) -> Signers {
        let tables = file.tables("signer", "[[signer]]");
        if tables.is_empty() {
            file.problem("there is no [[signer]]; hosts need at least one to trust".to_owned());
        }
        let mut taken = Taken::default();
        let signers = tables.into_iter().filter_map(|table| taken.signer(table)).collect();
        file.finish();
        Signers(signers)
    }
}

/// What the signers read so far have taken.
#[derive(Default)]
struct Taken {
    numbers: HashSet<NonZeroU16>,
    ca_keys: HashSet<[u8; 32]>,
    host_ca_keys: HashSet<[u8; 32]>,
    log_keys: HashSet<[u8; 32]>,
}

impl Taken {
    fn signer(&mut self, mut table: Table<'_>) -> Option<SignerInfo> {
        let number = table.required("number").and_then(|item| self.number(item));
        let ca_key = table.required("ca_key").and_then(|item| self.ca_key(item));
        let host_ca_key = table.or("host_ca_key", None, |item| self.host_ca_key(item).map(Some));
        let log_key = table.required("log_key").and_then(|item| self.log_key(item));
        table.finish();
        Some(SignerInfo {
            number: number?,
            ca_key: ca_key?,
            host_ca_key: host_ca_key?,
            log_key: log_key?.to_string(),
        })
    }

    fn number(&mut self, item: Item<'_>) -> Option<NonZeroU16> {
        let number = item.integer(1, u32::from(u16::MAX))?;
        let number = u16::try_from(number).ok().and_then(NonZeroU16::new)?;
        if self.numbers.insert(number) {
            return Some(number);
        }
        item.problem("another signer has this number".to_owned());
        None
    }

    fn ca_key(&mut self, item: Item<'_>) -> Option<CaKey> {
        let key = item.parse::<CaKey>()?;
        let point = *key.point().as_bytes();
        if self.log_keys.contains(&point) {
            item.problem("this key is a log key".to_owned());
        } else if self.host_ca_keys.contains(&point) {
            item.problem("this key is a host CA key; users need a CA key of their own".to_owned());
        } else if !self.ca_keys.insert(point) {
            item.problem("another signer has this CA key".to_owned());
        } else {
            return Some(key);
        }
        None
    }

    fn host_ca_key(&mut self, item: Item<'_>) -> Option<HostCaKey> {
        let key = item.parse::<HostCaKey>()?;
        let point = *key.point().as_bytes();
        // Where clients trust it for hosts, it must not let people in, nor the other way round.
        if self.ca_keys.contains(&point) {
            item.problem("this key is a CA key; hosts need a CA key of their own".to_owned());
        } else if self.log_keys.contains(&point) {
            item.problem("this key is a log key".to_owned());
        } else if !self.host_ca_keys.insert(point) {
            item.problem("another signer has this host CA key".to_owned());
        } else {
            return Some(key);
        }
        None
    }

    fn log_key(&mut self, item: Item<'_>) -> Option<VerifierKey> {
        let text = item.text()?;
        let key = text.parse::<VerifierKey>().map_err(|error| {
            item.problem_with_help(
                format!("{} is not a log key: {error}", quote(text)),
                "a log key is `name+hash+base64`, as `jit-ssh-ca init` writes it",
            );
        });
        let key = key.ok()?;
        // Two jobs, two keys: what signs the log must not be able to sign certificates.
        if self.ca_keys.contains(key.public()) {
            item.problem("this key is a CA key; the log needs a key of its own".to_owned());
        } else if self.host_ca_keys.contains(key.public()) {
            item.problem("this key is a host CA key; the log needs a key of its own".to_owned());
        } else if !self.log_keys.insert(*key.public()) {
            item.problem("another signer has this log key".to_owned());
        } else {
            return Some(key);
        }
        None
    }
}

pub(super) const FILE: &str = "signers.toml";
