//! Connecting: TCP and TLS to the one CA there is, trusting nothing but the anchor in its root.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use jit_ssh_core::root::Root;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::CaUrl;
use crate::client::ClientError;

/// How long connecting may take, TLS included.
const CONNECT: Duration = Duration::from_secs(5);

/// Opens connections to one CA. tonic takes it as its connector.
#[derive(Clone)]
pub(crate) struct Dialer {
    url: CaUrl,
    /// What to look up and connect to; the URL's host and port unless told otherwise.
    address: (String, u16),
    tls: TlsConnector,
}

impl Dialer {
    /// Trusts the anchor of `root`, and nothing else.
    pub(crate) fn trusting(url: &CaUrl, root: &Root) -> Result<Dialer, ClientError> {
        let mut anchors = RootCertStore::empty();
        for certificate in anchor_certificates(root)? {
            anchors
                .add(CertificateDer::from(certificate))
                .map_err(|e| ClientError::Anchor(e.to_string()))?;
        }
        if anchors.is_empty() {
            return Err(ClientError::Anchor("it holds no certificate".to_owned()));
        }
        let config = builder().with_root_certificates(anchors).with_no_client_auth();
        Ok(Dialer::new(url, config))
    }

    /// Trusts nobody: any certificate will do, so nothing that is heard may be believed. Only the
    /// first contact uses it, to fetch bytes that the pin then judges.
    pub(crate) fn trusting_nobody(url: &CaUrl) -> Dialer {
        let verifier = AnyCertificate(provider().signature_verification_algorithms);
        let config = builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Dialer::new(url, config)
    }

    fn new(url: &CaUrl, mut config: ClientConfig) -> Dialer {
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tls = TlsConnector::from(Arc::new(config));
        Dialer { url: url.clone(), address: url.address(), tls }
    }

    /// Connects there instead, still to a server that proves to be the URL's.
    pub(crate) fn at(mut self, address: SocketAddr) -> Dialer {
        self.address = (address.ip().to_string(), address.port());
        self
    }

    /// Connects within [`CONNECT`].
    pub(crate) async fn dial(self) -> Result<TlsStream<TcpStream>, ClientError> {
        let ca = self.url.authority();
        let unreachable = |error: io::Error| ClientError::Unreachable {
            ca: ca.clone(),
            problem: error.to_string(),
        };
        let connecting = async {
            let tcp = TcpStream::connect(self.address).await.map_err(unreachable)?;
            tcp.set_nodelay(true).map_err(unreachable)?;
            let connected = self.tls.connect(self.url.server_name(), tcp).await;
            connected.map_err(|error| match tls_fault(&error) {
                Some(problem) => ClientError::Untrusted { ca: ca.clone(), problem },
                None => unreachable(error),
            })
        };
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(unreachable(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// The certificates of the root's TLS anchor, in DER.
///
/// # Errors
/// [`ClientError::Anchor`] if they are not in PEM.
pub fn anchor_certificates(root: &Root) -> Result<Vec<Vec<u8>>, ClientError> {
    CertificateDer::pem_slice_iter(root.tls_anchor().as_bytes())
        .map(|one| one.map(|certificate| certificate.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|e| ClientError::Anchor(e.to_string()))
}

/// What TLS found wrong with the other side; `None` if the connection itself failed.
fn tls_fault(error: &io::Error) -> Option<String> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(tls.to_string())
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    // The provider goes in by hand, so that no other crate's default can take its place.
    ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("aws-lc-rs has TLS 1.3")
}

impl tower_service::Service<http::Uri> for Dialer {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ClientError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        // There is one CA: whatever address tonic names, this is where it is.
        let dialer = self.clone();
        Box::pin(async move { Ok(TokioIo::new(dialer.dial().await?)) })
    }
}

/// Accepts any certificate; the handshake's own signature is checked all the same.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
