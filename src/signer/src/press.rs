//! Signs what is durable in the log, checks its own signature, and answers.

use std::collections::HashMap;
use std::process::abort;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use ed25519_dalek::{Signer as _, SigningKey};
use jit_ssh_core::certificate::assemble;
use jit_ssh_core::entry::Base64Bytes;
use ssh_key::Certificate;

use crate::connection::{Outlet, push_frame};
use crate::desk::{Draft, Finished, Logged};
use crate::log::Committed;
use crate::protocol::{Answer, Issuance, Outcome};

/// Answers until nobody is left to answer.
pub(crate) fn run(key: &SigningKey, finished: &Receiver<Finished>) {
    while let Ok(Finished { committed, drafts }) = finished.recv() {
        // One write per connection, however many answers the batch has for it.
        let mut outgoing: HashMap<usize, (Arc<Outlet>, Vec<u8>)> = HashMap::new();
        for (reply, draft) in drafts {
            let result = finish(key, draft, committed.as_ref());
            let place = Arc::as_ptr(&reply.outlet) as usize;
            let (_, bytes) =
                outgoing.entry(place).or_insert_with(|| (reply.outlet.clone(), Vec::new()));
            push_frame(bytes, &Answer { id: reply.id, result });
            reply.outlet.settle();
        }
        for (outlet, bytes) in outgoing.into_values() {
            outlet.write(&bytes);
        }
    }
}

fn finish(key: &SigningKey, draft: Draft, committed: Option<&Committed>) -> Outcome {
    match (draft, committed) {
        (Draft::Ready(outcome), _) => outcome,
        (Draft::Recorded { digest, at, certificate: Some(logged) }, Some(committed)) => {
            Outcome::Recorded { digest, at, certificate: Some(issue(key, &logged, committed)) }
        }
        (Draft::Certified(logged), Some(committed)) => {
            Outcome::Certified(issue(key, &logged, committed))
        }
        (Draft::Recorded { digest, at, certificate: None }, _) => {
            Outcome::Recorded { digest, at, certificate: None }
        }
        (Draft::Recorded { certificate: Some(_), .. } | Draft::Certified(_), None) => {
            // The desk hands on a certificate only together with its commit (I1).
            eprintln!("jit-ssh-signer: a certificate came without its log entry; stopping");
            abort()
        }
    }
}

/// Signs a logged certificate. Whatever goes wrong here is broken hardware or memory, so the
/// process stops rather than let a bad signature out.
fn issue(key: &SigningKey, logged: &Logged, committed: &Committed) -> Issuance {
    let tbs = logged.tbs.bytes();
    let signature = key.sign(tbs);
    let certificate = assemble(tbs, &signature.to_bytes());
    let proof = committed.inclusion_proof(logged.serial.index());
    let sound = key.verifying_key().verify_strict(tbs, &signature).is_ok()
        && reads_back(&certificate, logged);
    let (true, Ok(proof)) = (sound, proof) else {
        eprintln!("jit-ssh-signer: a fresh certificate does not verify; stopping");
        abort()
    };
    let facts = logged.tbs.facts();
    Issuance {
        certificate: Base64Bytes(certificate),
        entry: String::from_utf8_lossy(&logged.entry).into_owned(),
        index: logged.serial.index(),
        serial: logged.serial.get(),
        at: logged.at,
        valid_before: facts.valid_before,
        access_until: facts.key_id.access_until,
        checkpoint: committed.checkpoint().note().to_owned(),
        proof: Base64Bytes(proof.iter().flat_map(|hash| hash.0).collect()),
    }
}

/// Reads the certificate with a parser that neither builder nor lint share.
fn reads_back(certificate: &[u8], logged: &Logged) -> bool {
    let facts = logged.tbs.facts();
    Certificate::from_bytes(certificate).is_ok_and(|read| {
        read.serial() == logged.serial.get()
            && read.cert_type().is_user()
            && read.key_id() == facts.key_id.to_string()
            && read.valid_before() == facts.valid_before.0
            && read.valid_principals().iter().map(String::as_str).eq(facts
                .principals
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .iter())
    })
}
