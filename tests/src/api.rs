//! The gRPC API, called as another program would: statements as text, signatures as blobs.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jit_ssh_api::{ApiError, CaUrl, Client, v1};
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::Kind;
use ssh_key::encoding::Encode as _;
use ssh_key::{HashAlg, PrivateKey};

use crate::sshd::me;
use crate::{Persona, Site};

/// A caller of the gRPC API.
pub struct Caller {
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// The pin, as the `ca` field of statements has it.
    pub pin: String,
}

/// Decodes base64.
pub fn base64(text: &str) -> Vec<u8> {
    use base64ct::{Base64, Encoding as _};
    Base64::decode_vec(text).unwrap()
}

/// The clock, in Unix seconds.
#[allow(clippy::disallowed_methods, reason = "tests of real programs live in real time")]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Signs bytes as a statement of this type with a person's key file.
pub fn sign(persona: &Persona, kind: Kind, bytes: &[u8]) -> Vec<u8> {
    sign_with(&persona.key_file(), kind, bytes)
}

/// Signs bytes as a statement of this type with a key file.
pub fn sign_with(key: &Path, kind: Kind, bytes: &[u8]) -> Vec<u8> {
    let key = PrivateKey::read_openssh_file(key).unwrap();
    key.sign(kind.namespace(), HashAlg::Sha512, bytes).unwrap().encode_vec().unwrap()
}

/// 16 random bytes in hex.
fn nonce() -> String {
    let nonce: [u8; 16] = rand::random();
    nonce.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn signed(bytes: &[u8], signature: &[u8]) -> Option<v1::SignedStatement> {
    Some(v1::SignedStatement {
        statement: bytes.to_vec().into(),
        signatures: vec![signature.to_vec().into()],
    })
}

impl Caller {
    /// Connects to the front of a site.
    pub fn new(site: &Site) -> Caller {
        Caller::try_new(site).unwrap()
    }

    /// Connects to the front of a site, if it is there.
    pub fn try_new(site: &Site) -> Option<Caller> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let url: CaUrl = site.url.parse().unwrap();
        let root = Root::parse(&std::fs::read(site.state().join("root.json")).unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(Client::connect(&url, &root)).ok()?;
        Some(Caller { runtime, client, pin: url.pin().to_string() })
    }

    /// The revocation list of the only signer.
    pub fn krl(&self) -> Vec<u8> {
        let answer = self.runtime.block_on(self.client.get_krl(v1::GetKrlRequest {})).unwrap();
        assert_eq!(answer.krls.len(), 1, "{answer:?}");
        answer.krls[0].krl.to_vec()
    }

    /// The canonical text of a request, written by hand as any program could.
    pub fn request_text(&self, by: &str, public_key: &str, host: &str) -> String {
        let key: Vec<&str> = public_key.split(' ').take(2).collect();
        let nonce = nonce();
        format!(
            "{{\"v\":1,\"type\":\"request\",\"ca\":\"{}\",\"by\":\"{by}\",\"subject\":\"{by}\",\"key\":\"{}\",\"hosts\":[\"{host}\"],\"logins\":[\"{}\"],\"for\":60,\"not_before\":null,\"reason\":\"INC-42 a look\",\"break_glass\":null,\"extends\":null,\"permit\":[],\"source\":[],\"command\":null,\"at\":{},\"nonce\":\"{nonce}\"}}",
            self.pin,
            key.join(" "),
            me(),
            now(),
        )
    }

    /// Hands in a request and asks to certify at once.
    ///
    /// # Errors
    /// What the service refuses.
    pub fn submit(&self, bytes: &[u8], signature: &[u8]) -> Result<v1::SubmitResponse, ApiError> {
        let request = v1::SubmitRequest { request: signed(bytes, signature), certify: true };
        self.runtime.block_on(self.client.submit(request))
    }

    /// Hands in a decision.
    ///
    /// # Errors
    /// What the service refuses.
    pub fn decide(&self, bytes: &[u8], signature: &[u8]) -> Result<v1::DecideResponse, ApiError> {
        let request = v1::DecideRequest { decision: signed(bytes, signature) };
        self.runtime.block_on(self.client.decide(request))
    }

    /// A session statement of an hour by `by`, signed with this key file.
    pub fn session(&self, by: &str, key: &Path) -> v1::SignedStatement {
        let text = format!(
            "{{\"v\":1,\"type\":\"session\",\"ca\":\"{}\",\"by\":\"{by}\",\"for\":3600,\"at\":{},\"nonce\":\"{}\"}}",
            self.pin,
            now(),
            nonce(),
        );
        let signature = sign_with(key, Kind::Session, text.as_bytes());
        signed(text.as_bytes(), &signature).unwrap()
    }

    /// Opens a session of an hour as `by`, who signs with this key file; gives its token.
    ///
    /// # Errors
    /// What the service refuses.
    pub fn open_session(&self, by: &str, key: &Path) -> Result<String, ApiError> {
        let request = v1::OpenSessionRequest { session: Some(self.session(by, key)) };
        let opened = self.runtime.block_on(self.client.open_session(request))?;
        Ok(opened.token)
    }

    /// Gives every further call this session.
    #[must_use]
    pub fn with_session(mut self, token: &str) -> Caller {
        self.client = self.client.with_token(token).unwrap();
        self
    }

    /// Any other call.
    pub fn call<F, T>(&self, call: impl FnOnce(Client) -> F) -> T
    where
        F: Future<Output = T>,
    {
        self.runtime.block_on(call(self.client.clone()))
    }
}

/// Waits until a moment is over by this machine's clock.
pub fn wait_until_past(moment: u64) {
    while now() <= moment {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}
