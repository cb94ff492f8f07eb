//! What our clients ask of the operator's certificate: to lead to the anchor in the root, and to be
//! for the CA's names. What they would not accept is better never shown.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use jit_ssh_core::root::Root;
use jit_ssh_core::time::UnixTime;
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

use crate::failure::Failure;

/// What our clients ask of the front's certificate.
#[derive(Debug)]
pub(super) struct Demand {
    anchors: RootCertStore,
    names: Vec<ServerName<'static>>,
}

impl Demand {
    /// To lead to the anchor of `root`, and to be for each of `names`.
    ///
    /// # Errors
    /// If the anchor can not be used or a name is none.
    pub(super) fn new(root: &Root, names: &[String]) -> anyhow::Result<Demand> {
        let mut anchors = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(root.tls_anchor().as_bytes()) {
            anchors.add(certificate.context("the TLS anchor in root.json can not be read")?)?;
        }
        let name = |name: &String| {
            ServerName::try_from(name.clone()).with_context(|| {
                format!("{name} in the TLS folder's `names` is no host name or address")
            })
        };
        Ok(Demand { anchors, names: names.iter().map(name).collect::<Result<_, _>>()? })
    }

    /// Judges a chain, the server's own certificate first, as our clients would at `now`.
    ///
    /// # Errors
    /// What they would refuse it for. `file` is where it was read.
    pub(super) fn check(
        &self,
        file: &Path,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> anyhow::Result<()> {
        let shown = file.display();
        let Some((own, between)) = chain.split_first() else {
            return Err(Failure::error(format!("{shown} holds no certificate in PEM.")).into());
        };
        let unusable = || format!("the certificate in {shown} can not be used");
        let own = ParsedCertificate::try_from(own).with_context(unusable)?;
        let algorithms =
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        let now = rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(now.0));
        verify_server_cert_signed_by_trust_anchor(
            &own,
            &self.anchors,
            between,
            now,
            algorithms.all,
        )
        .map_err(|error| {
            Failure::error(format!(
                "no client would accept the certificate in {shown}, judged by the TLS anchor in \
                 root.json: {error}."
            ))
            .hint("the file holds the server's own certificate first, then those between it and the CA's")
            .hint("the anchor is what `init --tls-anchor` was given; without that, leave [tls] out")
        })?;
        for name in &self.names {
            let name_shown = name.to_str();
            verify_server_name(&own, name).map_err(|_| {
                Failure::error(format!(
                    "the certificate in {shown} is not for {name_shown}, by which clients know \
                     this CA."
                ))
                .hint(format!("have one issued that names {name_shown}, as the enroll URL does"))
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jit_ssh_core::root::Admin;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;
    use crate::testkeys::public;

    const NOW: UnixTime = UnixTime(1_790_000_000);

    /// A CA, its certificate, and what signs with it.
    fn ca(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().unwrap())
    }

    fn server(names: &[&str]) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        CertificateParams::new(names).unwrap()
    }

    #[test]
    fn only_what_clients_would_accept_passes() {
        let (top, top_key) = ca("Root");
        let anchor = top.self_signed(&top_key).unwrap().pem();
        let admin = Admin { id: "ann".parse().unwrap(), key: public(1) };
        let root = Root::new(vec![admin], 1, anchor).unwrap();
        let demand = Demand::new(&root, &["ca.example".to_owned()]).unwrap();
        let top = Issuer::new(top, top_key);
        let (middle, middle_key) = ca("Issuing");
        let between = middle.signed_by(&middle_key, &top).unwrap().der().clone();
        let middle = Issuer::new(middle, middle_key);
        // Another CA that calls itself the same.
        let (other, other_key) = ca("Root");
        let other = Issuer::new(other, other_key);

        let key = KeyPair::generate().unwrap();
        let issue = |params: CertificateParams, by: &Issuer<'_, KeyPair>| {
            params.signed_by(&key, by).unwrap().der().clone()
        };
        let judge = |chain: &[CertificateDer<'static>]| {
            let judged = demand.check(Path::new("/etc/chain.pem"), chain, NOW);
            judged.map_err(|error| format!("{error:#}"))
        };
        let refused = |chain: &[CertificateDer<'static>], words: &str| {
            let problem = judge(chain).unwrap_err();
            assert!(problem.contains(words), "{problem}");
            assert!(problem.contains("/etc/chain.pem"), "{problem}");
        };
        let good = || server(&["www.example", "ca.example"]);

        assert_eq!(judge(&[issue(good(), &top)]), Ok(()));
        assert_eq!(judge(&[issue(good(), &middle), between.clone()]), Ok(()));
        refused(&[issue(good(), &middle)], "no client would accept");
        refused(&[between.clone(), issue(good(), &middle)], "no client would accept");
        refused(&[issue(good(), &other)], "no client would accept");
        refused(&[issue(server(&["www.example"]), &top)], "is not for ca.example");
        let mut lapsed = good();
        lapsed.not_after = rcgen::date_time_ymd(2026, 1, 1);
        refused(&[issue(lapsed, &top)], "no client would accept");
        refused(&[], "no certificate");
        refused(&[CertificateDer::from(vec![0])], "can not be used");
    }
}
