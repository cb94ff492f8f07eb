//! `Trust.ApplyBundle`: a bundle signed by one or more admins. With enough of them it is put in
//! force; with fewer it is kept as the one proposal that further admins sign.
//!
//! The signer judges it again by itself; what is checked here gives admins an answer that names
//! file, line and column, and keeps what can never come into force from being kept.

use std::sync::Arc;
use std::time::Duration;

use jit_ssh_api::v1;
use jit_ssh_core::bundle::{Bundle, BundleFiles};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::entry::Base64Bytes;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::statement::{Arrival, SignedBundle, check_date, open_bundle};
use jit_ssh_signer::protocol::{MAX_CHUNK, Op, Outcome, Signed};
use prost::bytes::Bytes;

use crate::serve::call::Call;
use crate::serve::clock;
use crate::serve::front::{Front, unexpected};
use crate::serve::memory::Change;
use crate::serve::store::{Proposal, Record};

/// How long a proposal stands, in seconds.
const STANDS_FOR: u64 = 24 * 3600;
/// How long the signer may take to judge the largest bundle.
const JUDGING: Duration = Duration::from_secs(30);

pub(super) async fn apply(
    call: &Call,
    message: v1::ApplyBundleRequest,
) -> Result<v1::ApplyBundleResponse, Refusal> {
    let front = call.front();
    // The door asked before it read the message (`serve::door`); nothing is done without it here.
    call.admin()?;
    let _turn = front.applying.lock().await;
    let v1::ApplyBundleRequest { bundle, people, hosts, policy, signers } = message;
    let signed = bundle
        .ok_or_else(|| Refusal::new(Reason::Malformed, "the call carries no bundle statement."))?;
    let mut proposal = Proposal {
        statement: signed.statement,
        signatures: signed.signatures,
        people,
        hosts,
        policy,
        signers,
        since: clock::now(),
    };
    let mut opened = open(front, &proposal)?;
    if let Some(current) = front.trusted.current() {
        if current.digest == opened.digest {
            // Handed in again, say by an admin whose first answer was lost.
            return answer(front, &opened, InForce::Yes);
        }
        check_rises(opened.body.version, current.bundle.version)?;
    }
    match standing_proposal(front).await? {
        Some(standing) if standing.statement == proposal.statement => {
            proposal.since = standing.since;
            merge(front, &mut proposal, standing.signatures);
            opened = open(front, &proposal)?;
        }
        _ => check_date(opened.body.at, clock::now(), Arrival::Submitted)?,
    }
    // Parsing 100,000 hosts takes a while, and blocks.
    let judged = proposal.clone();
    let (front_too, statement) = (front.clone(), opened.clone());
    let judging = tokio::task::spawn_blocking(move || judge(&front_too, &statement, &judged));
    judging.await.map_err(|error| Refusal::new(Reason::Internal, error.to_string()))??;

    if !opened.is_complete(&front.root) {
        front.store.append(vec![Record::Proposal(Some(proposal))]).await?;
        return answer(front, &opened, InForce::NotYet);
    }
    put_in_force(front, &proposal).await?;
    front.store.append(vec![Record::Proposal(None)]).await?;
    answer(front, &opened, InForce::Yes)
}

/// The proposal that waits for more admins, if it is not too old or overtaken.
///
/// # Errors
/// [`Reason::StoreUnavailable`].
pub(super) async fn standing_proposal(front: &Front) -> Result<Option<Proposal>, Refusal> {
    let now = clock::now();
    let current = front.trusted.current().map_or(0, |current| current.bundle.version);
    let proposal = front.store.proposal().await?;
    Ok(proposal.filter(|proposal| {
        let rises = open(front, proposal).is_ok_and(|opened| opened.body.version > current);
        now.since(proposal.since) < STANDS_FOR && rises
    }))
}

fn open(front: &Front, proposal: &Proposal) -> Result<SignedBundle, Refusal> {
    Ok(open_bundle(&proposal.statement, &proposal.signatures, &front.root)?)
}

fn check_rises(version: u64, current: u64) -> Result<(), Refusal> {
    if version > current {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::StaleBundle,
        format!("version {version} is handed in, and version {current} is in force."),
    )
    .hint("look at what is in force, then apply again: the next version is chosen anew"))
}

/// Adds the signatures of other admins that came before.
fn merge(front: &Front, proposal: &mut Proposal, standing: Vec<Bytes>) {
    for signature in standing {
        proposal.signatures.push(signature);
        // Each admin counts once: a second signature of one, and no other, fails here.
        if open(front, proposal).is_err() {
            proposal.signatures.pop();
        }
    }
}

fn judge(front: &Front, opened: &SignedBundle, proposal: &Proposal) -> Result<(), Refusal> {
    let refused = |message: String| Refusal::new(Reason::BundleRefused, message);
    let files = BundleFiles {
        people: proposal.people.to_vec(),
        hosts: proposal.hosts.to_vec(),
        policy: proposal.policy.to_vec(),
        signers: proposal.signers.to_vec(),
    };
    if !opened.body.names(&files) {
        return Err(refused("the files are not the ones that were signed.".to_owned()));
    }
    Bundle::parse(opened.body.version, &files, &front.root.admin_keys())
        .map_err(|problems| refused(problems.to_string()))?;
    Ok(())
}

async fn put_in_force(front: &Arc<Front>, proposal: &Proposal) -> Result<(), Refusal> {
    let files = [&proposal.people, &proposal.hosts, &proposal.policy, &proposal.signers];
    for file in files {
        upload(front, file).await?;
    }
    let statement = Signed {
        // Opening it checked that this is JSON.
        statement: String::from_utf8_lossy(&proposal.statement).into_owned(),
        signatures: proposal.signatures.iter().map(|blob| Base64Bytes(blob.to_vec())).collect(),
    };
    let outcome = front.signer.call_within(Op::PutBundle { statement }, JUDGING).await?;
    let Outcome::InForce { .. } = outcome else { return Err(unexpected()) };
    front.reload_bundle().await
}

async fn upload(front: &Front, file: &Bytes) -> Result<(), Refusal> {
    let digest = Digest::of(file);
    let mut offset = 0usize;
    loop {
        let end = offset.saturating_add(MAX_CHUNK).min(file.len());
        let last = end == file.len();
        let op = Op::PutFile {
            file: digest,
            offset: u64::try_from(offset).unwrap_or(u64::MAX),
            content: Base64Bytes(file.slice(offset..end).to_vec()),
            last,
        };
        let Outcome::Stored = front.signer.call(op).await? else { return Err(unexpected()) };
        if last {
            return Ok(());
        }
        offset = end;
    }
}

/// Whether a bundle came into force.
enum InForce {
    Yes,
    NotYet,
}

fn answer(
    front: &Front,
    opened: &SignedBundle,
    in_force: InForce,
) -> Result<v1::ApplyBundleResponse, Refusal> {
    Ok(v1::ApplyBundleResponse {
        in_force: matches!(in_force, InForce::Yes),
        version: opened.body.version,
        signed: opened.admins.iter().map(ToString::to_string).collect(),
        threshold: u32::try_from(front.root.threshold()).unwrap_or(u32::MAX),
    })
}

impl Front {
    /// Takes up what the signer put in force, and tells watchers.
    ///
    /// # Errors
    /// [`Reason::Internal`] if the signer's folder can not be read.
    pub(in crate::serve) async fn reload_bundle(self: &Arc<Self>) -> Result<(), Refusal> {
        let front = self.clone();
        let reloaded = tokio::task::spawn_blocking(move || front.trusted.reload(&front.root)).await;
        match reloaded {
            Ok(Ok(changed)) => {
                if changed {
                    // What the rules of before had let lapse or refused may wait again. If the store
                    // fails, it is seen again once somebody asks for it, and the next start notes the
                    // bundle.
                    let current = self.trusted.bundle()?;
                    let new = self.eras.note_current(&current, clock::now());
                    let _ = self.store.append(new.into_iter().map(Record::Bundle).collect()).await;
                    let _ =
                        self.memory.take_up(&*self.store, Some(current.view()), clock::now()).await;
                    self.memory.announce(Change::Bundle);
                }
                Ok(())
            }
            Ok(Err(error)) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the bundle in force can not be read"
                );
                Err(Refusal::new(
                    Reason::Internal,
                    "the bundle is in force, but the front can not read it.",
                ))
            }
            Err(error) => Err(Refusal::new(Reason::Internal, error.to_string())),
        }
    }
}
