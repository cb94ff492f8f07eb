//! The operator's own TLS certificate, under a CA of the operator's that `init --tls-anchor` pinned.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use jit_ssh_tests::program::Said;
use jit_ssh_tests::{POLICY, Site};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const UNTRUSTED: i32 = 1;
const UNREACHABLE: i32 = 7;

/// An operator's CA of two levels; what it issues comes with the certificate between.
struct Operator {
    anchor: String,
    between: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its chain, and its key: files.
struct Issued {
    certificate: PathBuf,
    key: PathBuf,
}

impl Operator {
    fn new() -> Operator {
        let ca = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params, KeyPair::generate().unwrap())
        };
        let (root, root_key) = ca("Example Root");
        let anchor = root.self_signed(&root_key).unwrap().pem();
        let (issuing, issuing_key) = ca("Example Issuing");
        let root = Issuer::new(root, root_key);
        let between = issuing.signed_by(&issuing_key, &root).unwrap().pem();
        Operator { anchor, between, issuer: Issuer::new(issuing, issuing_key) }
    }

    /// Issues for this host name, into files of this name.
    fn issue(&self, dir: &Path, file: &str, host: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let own = params.signed_by(&key, &self.issuer).unwrap().pem();
        let at = |end: &str| dir.join(format!("{file}.{end}"));
        let issued = Issued { certificate: at("pem"), key: at("key") };
        fs::write(&issued.certificate, format!("{own}{}", self.between)).unwrap();
        fs::write(&issued.key, key.serialize_pem()).unwrap();
        issued
    }

    /// A CA that pins this operator's root and is known by this host name.
    fn site(&self, host: &str) -> Site {
        Site::initialised_with(|dir| {
            fs::write(dir.join("operator.pem"), &self.anchor).unwrap();
            let args = ["--tls-anchor", "operator.pem", "--url-host", host];
            args.map(str::to_owned).to_vec()
        })
    }
}

fn show(site: &Site, issued: &Issued) {
    let Issued { certificate, key } = issued;
    let (certificate, key) = (certificate.display(), key.display());
    site.add_to_ca_toml(&format!("[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\""));
}

/// Shows this certificate to one caller on this port, and says nothing more.
fn impostor(port: u16, issued: &Issued) -> JoinHandle<()> {
    let chain = CertificateDer::pem_file_iter(&issued.certificate).unwrap();
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&issued.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        let mut tcp = listener.accept().unwrap().0;
        let mut tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        // What the caller makes of it is seen at the caller.
        let _ = tls.complete_io(&mut tcp);
    })
}

#[test]
fn people_enrol_and_log_in_over_the_operators_certificate_and_serve_shows_no_other() {
    let (operator, other) = (Operator::new(), Operator::new());
    let mut site = operator.site("localhost");
    assert!(site.url.starts_with(&format!("https://localhost:{}#", site.port())), "{}", site.url);
    let config = site.config().join("ca.toml");
    let unnamed = fs::read_to_string(&config).unwrap();
    let refused = |words: &str| {
        let said: Said = site.ca(&["serve", "--config", "ca-config"]).run().ended(1);
        assert!(said.err.contains(words), "{}", said.err);
        fs::write(&config, &unnamed).unwrap();
    };
    refused("names no certificate under it");
    show(&site, &other.issue(site.path(), "foreign", "localhost"));
    refused("no client would accept the certificate");
    show(&site, &operator.issue(site.path(), "misnamed", "ca.example"));
    refused("is not for localhost");

    show(&site, &operator.issue(site.path(), "front", "localhost"));
    let (alice, _bob) = site.start(POLICY);
    alice.jit(&["login", "test-host", "--because", "a look"]).run().fine();
    assert_eq!(alice.certificates().len(), 1);
    assert!(site.verify_log().contains("log: ok"));
}

#[test]
fn a_server_whose_certificate_is_not_under_the_anchor_is_refused_by_clients() {
    let (operator, other) = (Operator::new(), Operator::new());
    let mut site = operator.site("localhost");
    let good = operator.issue(site.path(), "front", "localhost");
    show(&site, &good);
    let (alice, _bob) = site.start(POLICY);
    site.stop().fine();

    let foreign = other.issue(site.path(), "foreign", "localhost");
    let misnamed = operator.issue(site.path(), "misnamed", "ca.example");
    for shown in [&foreign, &misnamed] {
        let server = impostor(site.port(), shown);
        let said = alice.jit(&["requests"]).run().ended(UNTRUSTED);
        assert!(said.err.contains("is not the CA that was pinned"), "{}", said.err);
        server.join().unwrap();
    }
    let server = impostor(site.port(), &foreign);
    let apply = ["apply", "--config", "ca-config", "--identity", "admin", "--yes"];
    let said = site.ca(&apply).run().ended(UNTRUSTED);
    assert!(said.err.contains("is not the CA that was pinned"), "{}", said.err);
    server.join().unwrap();
    // The control: the operator's own certificate is accepted, though nothing comes after it.
    let server = impostor(site.port(), &good);
    alice.jit(&["requests"]).run().ended(UNREACHABLE);
    server.join().unwrap();

    site.serve();
    alice.jit(&["requests"]).run().fine();
}

#[test]
fn apply_on_the_cas_own_machine_reaches_it_by_a_name_that_leads_nowhere() {
    let operator = Operator::new();
    // A name that no resolver knows (RFC 6761).
    let mut site = operator.site("ca.invalid");
    show(&site, &operator.issue(site.path(), "front", "ca.invalid"));
    let _people = site.populate(POLICY);
    site.serve();
    site.apply();
    let apply = ["apply", "--config", "ca-config", "--identity", "admin", "--yes", "--url"];
    site.ca(&apply).args([&site.url]).run().ended(UNREACHABLE);
}
