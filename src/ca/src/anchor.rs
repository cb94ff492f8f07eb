//! The TLS anchor: made by `init`, pinned by the root, and what the front makes its own certificate
//! with at start.
//!
//! It lies in `STATE/front/tls/`: `anchor.pem`, `anchor.key`, and `names`: one host name or address
//! per line that the front's certificate must be for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jit_ssh_core::time::UnixTime;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// The certificate's file.
pub(crate) const CERTIFICATE: &str = "anchor.pem";
/// The private key's file.
pub(crate) const KEY: &str = "anchor.key";
/// The file with the names.
pub(crate) const NAMES: &str = "names";

/// How long the anchor holds. The root pins it, so it can only change with the root.
const DAYS: i64 = 3_652;

/// The folder of the anchor in a state folder.
pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join("front").join("tls")
}

/// A fresh anchor and its private key, both PEM.
///
/// # Errors
/// If there is no randomness, or `now` is no time.
pub(crate) fn make(now: UnixTime) -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let today = OffsetDateTime::from_unix_timestamp(i64::try_from(now.0)?)?;
    let mut params = params();
    // A day for clients whose clocks are behind.
    params.not_before = today.saturating_sub(Duration::DAY);
    params.not_after = today.saturating_add(Duration::days(DAYS));
    let anchor = params.self_signed(&key)?;
    Ok((anchor.pem(), key.serialize_pem()))
}

/// What signs the front's certificate, from the anchor's key, and the names it must be for.
///
/// # Errors
/// If the folder's files can not be read or used.
#[allow(dead_code, reason = "the front uses it at start")]
pub(crate) fn issuer(folder: &Path) -> anyhow::Result<(Issuer<'static, KeyPair>, Vec<String>)> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let key = KeyPair::from_pem(&read(KEY)?).context("the TLS anchor's key can not be used")?;
    let names = read(NAMES)?.lines().map(str::to_owned).collect();
    Ok((Issuer::new(params(), key), names))
}

/// What anchor and issuer have in common: a leaf names its issuer by exactly these.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "jit-ssh TLS anchor");
    // It certifies the front, and no further CA.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}
