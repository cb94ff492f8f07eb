//! What the front shows to prove itself: a certificate of our own making under the anchor that the
//! root pins, or the operator's files. Renewed without a restart.
//!
//! - [`demand`]: what clients ask of the operator's certificate, asked here before it is shown.

mod demand;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use jit_ssh_core::deployment::Tls;
use jit_ssh_core::root::Root;
use jit_ssh_core::time::UnixTime;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use super::clock;
use crate::anchor;
use crate::failure::Failure;
use demand::Demand;

/// How long a certificate of our own holds, in days.
const DAYS: i64 = 90;
/// A new one is made when so many seconds are left of the old.
const RENEW: u64 = 30 * 86_400;
/// How often that is looked at, and the operator's files are read again.
const LOOK: Duration = Duration::from_secs(12 * 3600);

/// Where the front's certificate comes from.
#[derive(Debug)]
enum Origin {
    /// Made here, for these names.
    Anchor { folder: PathBuf, listen: SocketAddr },
    /// The operator's files.
    Files { certificate: PathBuf, key: PathBuf, demand: Demand },
}

/// The certificate shown now.
#[derive(Debug)]
pub(super) struct Shown {
    origin: Origin,
    current: RwLock<(Arc<CertifiedKey>, UnixTime)>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).0.clone())
    }
}

impl Shown {
    /// Makes or reads the first certificate.
    ///
    /// # Errors
    /// If that fails, or clients would not accept it: nothing can be served without one.
    pub(super) fn new(
        tls: &Tls,
        state: &Path,
        listen: SocketAddr,
        root: &Root,
    ) -> anyhow::Result<Arc<Shown>> {
        let folder = anchor::folder(state);
        let origin = match tls {
            Tls::SelfMade if !folder.join(anchor::KEY).try_exists()? => {
                return Err(no_key(&folder));
            }
            Tls::SelfMade => Origin::Anchor { folder, listen },
            Tls::Own { certificate, key } => {
                let demand = Demand::new(root, &anchor::names(&folder)?)?;
                Origin::Files { certificate: certificate.clone(), key: key.clone(), demand }
            }
        };
        let current = RwLock::new(origin.certify()?);
        Ok(Arc::new(Shown { origin, current }))
    }

    /// Renews what is about to lapse, for ever.
    pub(super) async fn keep_fresh(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let lapses = self.current.read().unwrap_or_else(PoisonError::into_inner).1;
            if lapses.since(clock::now()) > RENEW {
                continue;
            }
            match self.origin.certify() {
                Ok(new) => *self.current.write().unwrap_or_else(PoisonError::into_inner) = new,
                // The old one goes on being shown.
                Err(error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the TLS certificate can not be renewed"
                    );
                }
            }
        }
    }
}

impl Origin {
    /// A certificate with its key, and when it is to be renewed for its age at the latest.
    fn certify(&self) -> anyhow::Result<(Arc<CertifiedKey>, UnixTime)> {
        let (chain, key, lapses) = match self {
            Origin::Anchor { folder, listen } => make(folder, *listen)?,
            Origin::Files { certificate, key, demand } => {
                let cannot_read = |path: &Path| format!("cannot read {}", path.display());
                let chain: Vec<CertificateDer<'static>> =
                    CertificateDer::pem_file_iter(certificate)
                        .and_then(Iterator::collect)
                        .with_context(|| cannot_read(certificate))?;
                demand.check(certificate, &chain, clock::now())?;
                let key = PrivateKeyDer::from_pem_file(key).with_context(|| cannot_read(key))?;
                // The operator renews it: look again at every occasion.
                (chain, key, UnixTime(0))
            }
        };
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .context("the TLS key can not be used")?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().context("the TLS certificate is not for the TLS key")?;
        Ok((Arc::new(certified), lapses))
    }
}

/// The anchor is the operator's, and so no certificate can be made under it here.
fn no_key(folder: &Path) -> anyhow::Error {
    let key = folder.join(anchor::KEY);
    Failure::error(format!(
        "the TLS anchor in root.json is the operator's own ({} is not there), and ca.toml names no \
         certificate under it.",
        key.display()
    ))
    .hint("name your server's certificate and key in ca.toml, under [tls]")
    .into()
}

type Made = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, UnixTime);

fn make(folder: &Path, listen: SocketAddr) -> anyhow::Result<Made> {
    let (issuer, names) = anchor::issuer(folder)?;
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let now = clock::now();
    let today = OffsetDateTime::from_unix_timestamp(i64::try_from(now.0)?)?;
    let mut params = CertificateParams::new(subjects(names, listen.ip()))
        .context("a name in the TLS folder's `names` can not stand in a certificate")?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "jit-ssh CA");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = false;
    // A day for clients whose clocks are behind.
    params.not_before = today.saturating_sub(time::Duration::DAY);
    params.not_after = today.saturating_add(time::Duration::days(DAYS));
    let lapses = UnixTime(u64::try_from(params.not_after.unix_timestamp())?);
    let leaf = params.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((vec![leaf.der().clone()], key, lapses))
}

/// The names a client may know us by.
fn subjects(names: Vec<String>, listen: IpAddr) -> Vec<String> {
    let mut subjects: BTreeSet<String> =
        names.into_iter().filter(|name| !name.is_empty()).collect();
    if !listen.is_unspecified() {
        subjects.insert(listen.to_canonical().to_string());
    }
    // This host's name (proc(5)); without one there is only no such name in the certificate.
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if !host.trim().is_empty() {
        subjects.insert(host.trim().to_ascii_lowercase());
    }
    if listen.is_loopback() || listen.is_unspecified() {
        subjects.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    }
    subjects.into_iter().collect()
}

/// TLS 1.3 and 1.2, gRPC and web on one port.
///
/// # Errors
/// If the crypto library lacks them.
pub(super) fn server(shown: Arc<Shown>) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
