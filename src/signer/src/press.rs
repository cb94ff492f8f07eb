//! Signs what is durable in the log, checks its own signature, and answers.

use std::collections::HashMap;
use std::process::abort;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use jit_ssh_core::certificate::assemble;
use jit_ssh_core::entry::Base64Bytes;
use jit_ssh_core::log::Hash;
use ssh_key::Certificate;

use crate::connection::{Outlet, push_frame};
use crate::desk::{Draft, Finished, HostLogged, Logged, Standing};
use crate::keys::{HostCa, UserCa};
use crate::log::Committed;
use crate::protocol::{Answer, HostIssuance, Issuance, Outcome};

/// The keys that certificates are signed with.
pub(crate) struct Cas {
    pub(crate) user: UserCa,
    pub(crate) host: Option<HostCa>,
}

/// Answers until nobody is left to answer.
pub(crate) fn run(cas: &Cas, finished: &Receiver<Finished>) {
    while let Ok(Finished { committed, drafts }) = finished.recv() {
        // One write per connection, however many answers the batch has for it.
        let mut outgoing: HashMap<usize, (Arc<Outlet>, Vec<u8>)> = HashMap::new();
        for (reply, draft) in drafts {
            let result = finish(cas, draft, committed.as_ref());
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

fn finish(cas: &Cas, draft: Draft, committed: Option<&Committed>) -> Outcome {
    match (draft, committed) {
        (Draft::Ready(outcome), _) => outcome,
        (Draft::Recorded { digest, at, certificate: Some(logged) }, Some(committed)) => {
            Outcome::Recorded {
                digest,
                at,
                certificate: Some(issue(&cas.user, &logged, committed)),
            }
        }
        (Draft::Certified(logged), Some(committed)) => {
            Outcome::Certified(issue(&cas.user, &logged, committed))
        }
        (Draft::Recorded { digest, at, certificate: None }, _) => {
            Outcome::Recorded { digest, at, certificate: None }
        }
        (Draft::HostCertified { logged, standing: Some(standing) }, _) => {
            Outcome::HostCertified(issue_host(cas, logged, standing))
        }
        (Draft::HostCertified { logged, standing: None }, Some(committed)) => {
            let Ok(proof) = committed.inclusion_proof(logged.serial.index()) else {
                eprintln!("jit-ssh-signer: a fresh entry has no proof; stopping");
                abort()
            };
            let checkpoint = committed.checkpoint().note().to_owned();
            Outcome::HostCertified(issue_host(cas, logged, Standing { checkpoint, proof }))
        }
        (
            Draft::Recorded { certificate: Some(_), .. }
            | Draft::Certified(_)
            | Draft::HostCertified { standing: None, .. },
            None,
        ) => {
            // The desk hands on a certificate only together with its commit (I1).
            eprintln!("jit-ssh-signer: a certificate came without its log entry; stopping");
            abort()
        }
    }
}

/// Signs a logged certificate. Whatever goes wrong here is broken hardware or memory, so the
/// process stops rather than let a bad signature out.
fn issue(ca: &UserCa, logged: &Logged, committed: &Committed) -> Issuance {
    let tbs = logged.tbs.bytes();
    let certificate = ca.sign(&logged.tbs).map(|signature| assemble(tbs, &signature));
    let certificate = certificate.filter(|certificate| reads_back(certificate, logged));
    let proof = committed.inclusion_proof(logged.serial.index());
    let (Some(certificate), Ok(proof)) = (certificate, proof) else { broken() };
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
        proof: joined(&proof),
    }
}

/// The same for a host certificate. The signature is the same each time, so what stands in the log
/// already is the same certificate again.
fn issue_host(cas: &Cas, logged: HostLogged, standing: Standing) -> HostIssuance {
    // The desk plans none without the key.
    let signature = cas.host.as_ref().and_then(|ca| ca.sign(&logged.tbs));
    let certificate = signature.map(|signature| assemble(logged.tbs.bytes(), &signature));
    let certificate = certificate.filter(|certificate| host_reads_back(certificate, &logged));
    let Some(certificate) = certificate else { broken() };
    HostIssuance {
        certificate: Base64Bytes(certificate),
        entry: String::from_utf8_lossy(&logged.entry).into_owned(),
        index: logged.serial.index(),
        checkpoint: standing.checkpoint,
        proof: joined(&standing.proof),
    }
}

fn broken() -> ! {
    eprintln!("jit-ssh-signer: a fresh certificate does not verify; stopping");
    abort()
}

fn joined(proof: &[Hash]) -> Base64Bytes {
    Base64Bytes(proof.iter().flat_map(|hash| hash.0).collect())
}

/// Reads the certificate with a parser that neither builder nor lint share.
fn reads_back(certificate: &[u8], logged: &Logged) -> bool {
    let facts = logged.tbs.facts();
    Certificate::from_bytes(certificate).is_ok_and(|read| {
        read.serial() == logged.serial.get()
            && read.cert_type().is_user()
            && read.key_id() == facts.key_id.to_string()
            && read.valid_before() == facts.valid_before.0
            && read.valid_principals() == facts.opens.texts()
    })
}

fn host_reads_back(certificate: &[u8], logged: &HostLogged) -> bool {
    let facts = logged.tbs.facts();
    Certificate::from_bytes(certificate).is_ok_and(|read| {
        let names = read.valid_principals().iter().map(String::as_str);
        read.serial() == logged.serial.get()
            && read.cert_type().is_host()
            && read.key_id() == facts.key_id.to_string()
            && read.valid_before() == facts.valid_before.0
            && names.eq(facts.principals.iter().map(|name| name.as_str()))
    })
}
