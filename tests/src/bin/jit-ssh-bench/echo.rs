//! The floor: a bare tonic server over TLS that does, for each call, the cryptography the chain
//! does (two Ed25519 verifies, one sign) and answers with a message of the same size.

use std::path::Path;
use std::pin::Pin;

use ed25519_dalek::{Signature, Signer as _, SigningKey};
use jit_ssh_api::v1;
use jit_ssh_api::v1::access_server::{Access, AccessServer};
use jit_ssh_core::root::{Admin, Root};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// The answer is as large as a real one: the load client measures this file's length beforehand.
pub(crate) const ANSWER: &str = "answer";

struct Echo {
    key: SigningKey,
    answer: v1::SubmitResponse,
}

/// Writes `root.json` and `url` into `dir` and serves until killed.
pub(crate) fn serve(dir: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let port = jit_ssh_tests::program::free_port();
    let signing = SigningKey::from_bytes(&[7; 32]);
    let line = ssh_key::PublicKey::from(ssh_key::public::Ed25519PublicKey(
        signing.verifying_key().to_bytes(),
    ));
    let admin =
        Admin { id: "bench".parse().unwrap(), key: line.to_openssh().unwrap().parse().unwrap() };
    let root = Root::new(vec![admin], 1, certificate.pem()).unwrap();
    std::fs::write(dir.join("root.json"), root.to_bytes()).unwrap();
    let bytes = std::fs::read(dir.join(ANSWER)).unwrap();
    let answer = prost::Message::decode(bytes.as_slice()).unwrap();
    let echo = AccessServer::new(Echo { key: signing, answer });
    let identity = Identity::from_pem(certificate.pem(), key.serialize_pem());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    std::fs::write(dir.join("url"), format!("https://127.0.0.1:{port}#{}", root.fingerprint()))
        .unwrap();
    runtime.block_on(async {
        Server::builder()
            .tls_config(ServerTlsConfig::new().identity(identity))
            .unwrap()
            .add_service(echo)
            .serve(([127, 0, 0, 1], port).into())
            .await
            .unwrap();
    });
}

impl Echo {
    /// What the chain does for each certificate: verify the request, sign, verify what was signed.
    fn cryptography(&self, message: &[u8]) {
        let signature = self.key.sign(message);
        for _ in 0..2 {
            let bytes = std::hint::black_box(signature.to_bytes());
            let signature = Signature::from_bytes(&bytes);
            self.key.verifying_key().verify_strict(message, &signature).unwrap();
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Access for Echo {
    type WatchStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Answer<v1::SubmitResponse> {
        let statement = request.into_inner().request.unwrap().statement;
        self.cryptography(&statement);
        Ok(Response::new(self.answer.clone()))
    }

    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Answer<v1::ExplainResponse> {
        Err(Status::unimplemented("an echo"))
    }

    async fn decide(&self, _: Request<v1::DecideRequest>) -> Answer<v1::DecideResponse> {
        Err(Status::unimplemented("an echo"))
    }

    async fn end(&self, _: Request<v1::EndRequest>) -> Answer<v1::EndResponse> {
        Err(Status::unimplemented("an echo"))
    }

    async fn certify(&self, _: Request<v1::CertifyRequest>) -> Answer<v1::CertifyResponse> {
        Err(Status::unimplemented("an echo"))
    }

    async fn get(&self, _: Request<v1::GetRequest>) -> Answer<v1::GetResponse> {
        Err(Status::unimplemented("an echo"))
    }

    async fn list(&self, _: Request<v1::ListRequest>) -> Answer<v1::ListResponse> {
        Err(Status::unimplemented("an echo"))
    }

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        Err(Status::unimplemented("an echo"))
    }

    async fn check(&self, _: Request<v1::CheckRequest>) -> Answer<v1::CheckResponse> {
        Err(Status::unimplemented("an echo"))
    }
}
