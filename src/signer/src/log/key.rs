//! The log key, which signs checkpoints and revocation lists, and nothing else. It is not the CA key.

use ed25519_dalek::{Signer as _, SigningKey};
use jit_ssh_core::krl::{self, Krl};
use jit_ssh_core::log::{Checkpoint, NoteError, SignedCheckpoint, VerifierKey};

/// The private key of a log, with the log's name. Has no `Debug`, and is wiped when dropped
/// (`ed25519-dalek`, feature `zeroize`).
pub struct LogKey {
    signing: SigningKey,
    verifier: VerifierKey,
}

impl LogKey {
    /// The key of the log `origin`, such as `ca.example/1`, from its 32-byte Ed25519 seed.
    ///
    /// # Errors
    ///
    /// [`NoteError::KeyName`] where `origin` cannot be a note's key name.
    pub fn from_seed(origin: &str, seed: &[u8; 32]) -> Result<LogKey, NoteError> {
        let signing = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(origin, signing.verifying_key().as_bytes())?;
        Ok(LogKey { signing, verifier })
    }

    /// The public half with the log's name: what `signers.toml` lists and everyone pins.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a checkpoint of this log.
    ///
    /// # Errors
    ///
    /// [`NoteError::Origin`] for a checkpoint of another log.
    pub(super) fn sign(&self, checkpoint: Checkpoint) -> Result<SignedCheckpoint, NoteError> {
        SignedCheckpoint::sign(checkpoint, &self.verifier, |text| {
            self.signing.sign(text).to_bytes()
        })
    }

    /// Signs a revocation list of this log's signer; gives the note.
    ///
    /// # Errors
    ///
    /// As [`krl::sign`].
    pub(super) fn sign_krl(&self, krl: &Krl) -> Result<String, NoteError> {
        krl::sign(krl, &self.verifier, |text| self.signing.sign(text).to_bytes())
    }
}
