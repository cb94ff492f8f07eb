//! `Trust.OpenSession`: a signed statement opens a session for reading. The signer has no part in
//! it: a session lets nobody do anything.

use jit_ssh_api::v1;
use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::statement::{self, Session};

use crate::serve::call::{Call, single};
use crate::serve::clock;
use crate::serve::front::Front;

pub(super) fn open(
    call: &Call,
    message: v1::OpenSessionRequest,
) -> Result<v1::OpenSessionResponse, Refusal> {
    let front = call.front();
    let admitted = call.admit();
    let signed = single(message.session)?;
    let signature = signed.signatures.first().map(AsRef::as_ref).unwrap_or_default();
    if let Err(refusal) = admitted
        && !claims_admin(front, &signed.statement, signature)
    {
        return Err(refusal);
    }
    let session = statement::open::<Session>(&signed.statement, signature, &front.fingerprint)?;
    let current = front.trusted.current();
    let bundle = current.as_ref().map(|current| &current.bundle);
    let random: [u8; 32] = rand::random();
    let (token, until) =
        front.sessions.open(&session, &front.root, bundle, clock::now(), random)?;
    front.note_sessions();
    Ok(v1::OpenSessionResponse { token, until: until.0 })
}

/// Whether a statement claims to be an admin's: these are heard however often others at the same
/// address were wrong, since without a session no bundle comes in. What it claims is verified next.
fn claims_admin(front: &Front, statement: &[u8], signature: &[u8]) -> bool {
    let read = statement::open_recorded::<Session>(statement, signature);
    read.is_ok_and(|session| {
        let admin = front.root.admin_of(session.key());
        admin.is_some_and(|admin| admin.id == session.body().by)
    })
}
