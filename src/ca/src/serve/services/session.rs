//! `Trust.OpenSession`: a signed statement opens a session for reading. The signer has no part in
//! it: a session lets nobody do anything.

use jit_ssh_api::v1;
use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::statement::{self, Session};

use crate::serve::call::{Call, single};
use crate::serve::clock;

pub(super) fn open(
    call: &Call,
    message: v1::OpenSessionRequest,
) -> Result<v1::OpenSessionResponse, Refusal> {
    let front = call.front();
    call.admit()?;
    let signed = single(message.session)?;
    let signature = signed.signatures.first().map(AsRef::as_ref).unwrap_or_default();
    let session = statement::open::<Session>(&signed.statement, signature, &front.fingerprint)?;
    let current = front.trusted.current();
    let bundle = current.as_ref().map(|current| &current.bundle);
    let random: [u8; 32] = rand::random();
    let (token, until) =
        front.sessions.open(&session, &front.root, bundle, clock::now(), random)?;
    front.note_sessions();
    Ok(v1::OpenSessionResponse { token, until: until.0 })
}
