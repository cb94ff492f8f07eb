//! Statements on their way to the signer.
//!
//! The front reads them to know what they are about, and takes the signer's word for their
//! signatures: each is verified once (design.md, 14). What it read becomes [`Verified`] only when
//! the signer says that it recorded exactly these bytes.

use jit_ssh_api::v1;
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::entry::Base64Bytes;
use jit_ssh_core::names::ActorId;
use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::statement::{Body, StatementError, Verified, open, open_recorded};
use jit_ssh_signer::protocol::Signed;
use prost::bytes::Bytes;

use super::call::single;
use super::enrolment;
use super::front::unexpected;
use super::store::{EnrolmentRecord, Record, RecordKind, StatementRecord};

/// A statement that nobody has verified yet.
pub(super) struct Arrived<T> {
    /// Never handed out before the signer's word.
    opened: Verified<T>,
    bytes: Bytes,
    signature: Bytes,
}

impl<T: Body> Arrived<T> {
    /// Reads a statement for the CA `ca`.
    ///
    /// # Errors
    /// [`StatementError`] as a refusal.
    pub(super) fn read(
        signed: Option<v1::SignedStatement>,
        ca: &RootFingerprint,
    ) -> Result<Arrived<T>, Refusal> {
        let v1::SignedStatement { statement, signatures } = single(signed)?;
        let signature = signatures.into_iter().next().unwrap_or_default();
        if signature.len() > jit_ssh_core::statement::MAX_SIGNATURE {
            return Err(StatementError::Signatures.into());
        }
        let opened: Verified<T> = open_recorded(&statement, &signature)?;
        if opened.body().ca() != ca {
            let (found, expected) = (*opened.body().ca(), *ca);
            return Err(StatementError::OtherCa { found, expected }.into());
        }
        Ok(Arrived { opened, bytes: statement, signature })
    }

    /// What it says, unverified: for finding out what it is about.
    pub(super) fn body(&self) -> &T {
        self.opened.body()
    }

    /// The statement, its signature verified here and now: where its maker must be known before the
    /// signer's word.
    ///
    /// # Errors
    /// [`StatementError`] as a refusal.
    pub(super) fn verify(&self, ca: &RootFingerprint) -> Result<Verified<T>, Refusal> {
        Ok(open(&self.bytes, &self.signature, ca)?)
    }

    /// SHA-256 of its bytes.
    pub(super) fn digest(&self) -> Digest {
        self.opened.digest()
    }

    /// As the signer takes it.
    pub(super) fn to_signed(&self) -> Signed {
        Signed {
            // Parsing checked that this is JSON, so nothing is replaced.
            statement: String::from_utf8_lossy(&self.bytes).into_owned(),
            signatures: vec![Base64Bytes(self.signature.to_vec())],
        }
    }

    /// The statement and its record, where it is about a host, once the signer has recorded `recorded`.
    ///
    /// # Errors
    /// [`jit_ssh_core::refusal::Reason::Internal`] if it recorded something else.
    pub(super) fn enrolled(
        self,
        recorded: Digest,
    ) -> Result<(Verified<T>, EnrolmentRecord), Refusal> {
        if recorded != self.digest() {
            return Err(unexpected());
        }
        let Arrived { opened, bytes, signature } = self;
        let record = enrolment::record(opened.body(), bytes, signature);
        Ok((opened, record))
    }

    /// The statement and its record, once the signer has recorded `recorded`.
    ///
    /// # Errors
    /// [`jit_ssh_core::refusal::Reason::Internal`] if it recorded something else.
    pub(super) fn recorded(
        self,
        recorded: Digest,
        kind: RecordKind,
        request: Digest,
        by: ActorId,
    ) -> Result<(Verified<T>, Record), Refusal> {
        if recorded != self.digest() {
            return Err(unexpected());
        }
        let Arrived { opened, bytes, signature } = self;
        let (digest, at) = (opened.digest(), opened.body().at());
        let record = StatementRecord { kind, digest, request, by, at, bytes, signature };
        Ok((opened, Record::Statement(record)))
    }
}
