//! The TLS anchor, which the root pins: made by `init`, and what the front makes its own certificate
//! with at start; or the operator's, read by `init`, whose key is not ours.
//!
//! It lies in `STATE/front/tls/`: `anchor.pem`, `anchor.key` (not of an operator's anchor), and
//! `names`: one host name or address per line that the front's certificate must be for.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration as StdDuration;

use anyhow::Context as _;
use base64ct::{Base64, Encoding as _};
use jit_ssh_core::time::UnixTime;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use time::{Duration, OffsetDateTime};

use crate::failure::Failure;

/// The certificate's file.
pub(crate) const CERTIFICATE: &str = "anchor.pem";
/// The private key's file.
pub(crate) const KEY: &str = "anchor.key";
/// The file with the names.
pub(crate) const NAMES: &str = "names";
/// How the line before any kind of private key ends, in PEM.
const KEY_MARK: &[u8] = b"PRIVATE KEY-----";

/// Largest file with an operator's anchor, in bytes. A certificate has one or two thousand.
const MAX_FILE: u64 = 64 << 10;
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

/// The operator's anchor: the one CA certificate in this file, as PEM and nothing else.
///
/// # Errors
/// If the file holds anything but one CA certificate that is valid at `now`.
pub(crate) fn read(path: &Path, now: UnixTime) -> anyhow::Result<String> {
    let shown = path.display();
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE.saturating_add(1)).read_to_end(&mut text))
        .with_context(|| format!("cannot read {shown}"))?;
    if u64::try_from(text.len()).map_or(true, |length| length > MAX_FILE) {
        return Err(Failure::error(format!("{shown} is too long to hold one certificate.")).into());
    }
    if text.windows(KEY_MARK.len()).any(|part| part == KEY_MARK) {
        return Err(Failure::error(format!("{shown} holds a private key; nothing was made."))
            .hint("--tls-anchor wants the CA's certificate alone: root.json is public")
            .into());
    }
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::error(format!("{shown} can not be read as PEM: {error:?}.")))?;
    let [certificate] = &certificates[..] else {
        let count = certificates.len();
        return Err(Failure::error(format!(
            "{shown} holds {count} certificates in PEM; --tls-anchor wants exactly one."
        ))
        .hint("name a file with the CA certificate alone, under which your server's was issued")
        .into());
    };
    check_ca(certificate, now).map_err(|problem| {
        Failure::error(format!("{shown} can not be the TLS anchor: {problem}."))
            .hint("name the CA certificate under which your server's was issued, not the server's")
    })?;
    Ok(pem(certificate))
}

/// That this is the certificate of a CA, and of now.
fn check_ca(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), String> {
    let algorithms =
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let anchors = [webpki::anchor_from_trusted_cert(certificate).map_err(|e| e.to_string())?];
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|e| e.to_string())?;
    // Clients take an anchor as it is. So it is judged here as if it were a server's own: the dates
    // come first, and then a CA's certificate is refused for being one.
    let judged = parsed.verify_for_usage(
        algorithms.all,
        &anchors,
        &[],
        rustls::pki_types::UnixTime::since_unix_epoch(StdDuration::from_secs(now.0)),
        webpki::KeyUsage::server_auth(),
        None,
        None,
    );
    match judged {
        Err(webpki::Error::CaUsedAsEndEntity) => Ok(()),
        Err(webpki::Error::CertExpired { .. }) => Err("it has lapsed".to_owned()),
        Err(webpki::Error::CertNotValidYet { .. }) => Err("it is not valid yet".to_owned()),
        Err(_) | Ok(_) => Err("it is not the certificate of a CA".to_owned()),
    }
}

/// A certificate in PEM, without what may have stood around it.
fn pem(certificate: &CertificateDer<'_>) -> String {
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = &Base64::encode_string(certificate)[..];
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// The names that the front's certificate must be for; that of the enroll URL is the first.
///
/// # Errors
/// If the file can not be read.
pub(crate) fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let path = folder.join(NAMES);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// What signs the front's certificate, from the anchor's key, and the names it must be for.
///
/// # Errors
/// If the folder's files can not be read or used.
pub(crate) fn issuer(folder: &Path) -> anyhow::Result<(Issuer<'static, KeyPair>, Vec<String>)> {
    let path = folder.join(KEY);
    let key =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let key = KeyPair::from_pem(&key).context("the TLS anchor's key can not be used")?;
    Ok((Issuer::new(params(), key), names(folder)?))
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
