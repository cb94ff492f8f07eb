//! A join token as it is handed to machines: one word that says where the CA is, what the enroller lent,
//! and the lent key itself. A secret: nothing here prints it but [`JoinToken::reveal`].

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::enrolment::Vouched;
use jit_ssh_core::statement::{self, StatementError, Token, Verified};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::own_key::OwnKey;
use crate::{CaUrl, UrlError, v1};

/// How every join token begins: what it is, and of which version.
const PREFIX: &str = "jit-ssh-join-1.";

/// Longest token that is read, in bytes: a statement of 16 KiB in base64 twice, and a little more.
pub const MAX_JOIN_TOKEN: usize = 40 * 1024;

/// Whether a text is meant to be a join token: where only its file may be named.
pub fn is_join_token(text: &str) -> bool {
    text.trim_start().starts_with(PREFIX)
}

/// A token, and the key it lends.
pub struct JoinToken {
    url: CaUrl,
    token: Verified<Token>,
    seed: Zeroizing<[u8; 32]>,
}

/// Why a text is no join token. Says nothing of what it holds.
#[derive(Debug, thiserror::Error)]
pub enum JoinTokenError {
    /// Not a token, or cut short.
    #[error("this is not a join token, or not all of it: it is one word that begins with {PREFIX}")]
    Form,
    /// Its URL is none.
    #[error("the join token's CA is no enroll URL: {0}")]
    Url(#[from] UrlError),
    /// Its statement does not hold.
    #[error("the join token does not hold: {0}")]
    Statement(#[from] StatementError),
    /// Its key is not the one that the statement lends.
    #[error("the join token's key is not the one that was lent")]
    Key,
}

/// What the CA sent of a host that joined. Whether it may have joined is for its judge.
///
/// # Errors
/// [`StatementError`] if a statement is not signed, or is for another CA.
pub fn vouched(sent: &v1::HostEnrolment, ca: &RootFingerprint) -> Result<Vouched, StatementError> {
    let host = sent.host.clone().unwrap_or_default();
    let token = sent.token.as_ref().map(|token| (&*token.statement, signature(token)));
    Vouched::open((&host.statement, signature(&host)), token, ca)
}

fn signature(signed: &v1::SignedStatement) -> &[u8] {
    signed.signatures.first().map_or(&[][..], |signature| signature)
}

/// What stands in the word, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    ca: String,
    token: String,
    /// Base64.
    signature: String,
    /// The Ed25519 seed of the lent key, base64.
    key: String,
}

impl Drop for Fields {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl JoinToken {
    /// The token of a CA with the key it lends, as its Ed25519 seed.
    ///
    /// # Errors
    /// [`JoinTokenError`] if the statement is for another CA, or lends another key.
    pub fn new(
        url: CaUrl,
        statement: &[u8],
        signature: &[u8],
        seed: Zeroizing<[u8; 32]>,
    ) -> Result<JoinToken, JoinTokenError> {
        let token: Verified<Token> = statement::open(statement, signature, &url.pin())?;
        if *OwnKey::of_seed(&seed).key() != token.body().key {
            return Err(JoinTokenError::Key);
        }
        Ok(JoinToken { url, token, seed })
    }

    /// Reads the word; white space around it does not matter.
    ///
    /// # Errors
    /// [`JoinTokenError`].
    pub fn read(text: &str) -> Result<JoinToken, JoinTokenError> {
        let word = text.trim();
        if word.len() > MAX_JOIN_TOKEN {
            return Err(JoinTokenError::Form);
        }
        let base64 = word.strip_prefix(PREFIX).ok_or(JoinTokenError::Form)?;
        let json = Base64UrlUnpadded::decode_vec(base64).map_err(|_| JoinTokenError::Form)?;
        let json = Zeroizing::new(json);
        let fields: Fields = serde_json::from_slice(&json).map_err(|_| JoinTokenError::Form)?;
        let signature = Base64::decode_vec(&fields.signature).map_err(|_| JoinTokenError::Form)?;
        let mut seed = Zeroizing::new([0; 32]);
        let decoded = Base64::decode(&fields.key, seed.as_mut_slice());
        if decoded.map_or(true, |seed| seed.len() != 32) {
            return Err(JoinTokenError::Form);
        }
        JoinToken::new(fields.ca.parse()?, fields.token.as_bytes(), &signature, seed)
    }

    /// The word, which whoever has it can join with.
    pub fn reveal(&self) -> Zeroizing<String> {
        let fields = Fields {
            ca: self.url.to_string(),
            token: String::from_utf8_lossy(self.token.bytes()).into_owned(),
            signature: Base64::encode_string(self.token.signature()),
            key: Base64::encode_string(self.seed.as_slice()),
        };
        let json = serde_json::to_vec(&fields).expect("an object of texts is always JSON");
        let json = Zeroizing::new(json);
        Zeroizing::new(format!("{PREFIX}{}", Base64UrlUnpadded::encode_string(&json)))
    }

    /// Where the CA is, and which.
    pub fn url(&self) -> &CaUrl {
        &self.url
    }

    /// What the enroller lent.
    pub fn token(&self) -> &Verified<Token> {
        &self.token
    }

    /// The lent key.
    pub fn key(&self) -> OwnKey {
        OwnKey::of_seed(&self.seed)
    }
}

#[cfg(test)]
mod tests {
    use jit_ssh_core::testkit::{START, World, person};

    use super::*;

    fn made() -> JoinToken {
        let world = World::default();
        let lent = person("lent", 60);
        let (bytes, signature) = world.pipeline.state(&world.token(&lent.key, START));
        let url = format!("https://ca.example:7443#{}", world.root.fingerprint());
        JoinToken::new(url.parse().unwrap(), &bytes, &signature, Zeroizing::new([60; 32])).unwrap()
    }

    #[test]
    fn a_join_token_is_one_word_that_reads_back() {
        let token = made();
        let word = token.reveal();
        assert!(word.starts_with("jit-ssh-join-1.") && !word.contains(char::is_whitespace));
        let read = JoinToken::read(&format!("\n {} \n", *word)).unwrap();
        assert_eq!(read.url(), token.url());
        assert_eq!(read.token().digest(), token.token().digest());
        assert_eq!(read.key().key(), &read.token().body().key);
    }

    #[test]
    fn what_is_cut_changed_or_of_another_is_refused_and_not_shown() {
        let word = made().reveal();
        let (half, _) = word.split_at(word.len() / 2);
        for bad in ["", "jit-ssh-join-1.", half, &format!("{}A", *word), &word[1..]] {
            let error = JoinToken::read(bad).err().unwrap();
            assert!(bad.len() < 20 || !error.to_string().contains(bad));
        }
        let world = World::default();
        let lent = person("lent", 60);
        let (bytes, signature) = world.pipeline.state(&world.token(&lent.key, START));
        let url: CaUrl =
            format!("https://ca.example:7443#{}", world.root.fingerprint()).parse().unwrap();
        let new = |url: CaUrl, signature: &[u8], seed| {
            JoinToken::new(url, &bytes, signature, Zeroizing::new([seed; 32]))
        };
        assert!(new(url.clone(), &signature, 60).is_ok());
        assert!(matches!(new(url.clone(), &signature, 61), Err(JoinTokenError::Key)));
        let (_, other) = world.pipeline.state(&world.token(&lent.key, START.plus_secs(1)));
        assert!(matches!(new(url, &other, 60), Err(JoinTokenError::Statement(_))));
        let elsewhere = format!("https://ca.example:7443#SHA256:{}", "A".repeat(43));
        assert!(matches!(
            new(elsewhere.parse().unwrap(), &signature, 60),
            Err(JoinTokenError::Statement(StatementError::OtherCa { .. }))
        ));
    }
}
