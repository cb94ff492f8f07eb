//! Read sessions: who is asking. They let their holder read, and nothing else.
//!
//! A token is 32 random bytes; only its SHA-256 is kept, and found by it, so neither memory nor the
//! time a look-up takes gives a token away. Who the person is and what they may read is asked of
//! the bundle in force at every use.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::key::SignerKey;
use jit_ssh_core::names::ActorId;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{Arrival, MAX_SKEW, Session, Verified, check_date};
use jit_ssh_core::time::UnixTime;

/// Longest session in seconds: 12 hours.
const MAX_SPAN: u32 = 12 * 3600;
/// Sessions of one person; the oldest makes room.
const MAX_PER_PERSON: usize = 16;
/// Sessions opened by one person in a minute.
const MAX_OPENED: u32 = 600;
/// Sessions of everyone together.
const MAX_TOTAL: usize = 20_000;

/// Who is asking, under the bundle of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// The person, machine or admin.
    pub(super) id: ActorId,
    /// What they may read.
    pub(super) reach: Reach,
}

/// What somebody may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// What concerns them.
    Own,
    /// Everything: an auditor of `policy.toml`.
    Everything,
    /// Everything, and what admins prepare.
    Admin,
}

impl Caller {
    /// Whether they may read everything there is in force.
    pub(super) fn reads_all(&self) -> bool {
        self.reach >= Reach::Everything
    }

    /// Whether they are an admin.
    pub(super) fn is_admin(&self) -> bool {
        self.reach == Reach::Admin
    }
}

/// All open sessions.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    open: HashMap<Digest, OpenSession>,
    persons: HashMap<ActorId, Person>,
    /// Nonces seen, and until when a statement with them could come again.
    nonces: HashMap<(ActorId, [u8; 16]), UnixTime>,
}

struct OpenSession {
    by: ActorId,
    key: SignerKey,
    until: UnixTime,
}

#[derive(Default)]
struct Person {
    /// Oldest first.
    tokens: VecDeque<Digest>,
    minute: u64,
    opened: u32,
}

impl Sessions {
    /// Opens a session for who signed `session`; `random` becomes its token. Returns the token and
    /// until when it holds.
    ///
    /// # Errors
    /// [`Reason::ClockSkew`], [`Reason::UnknownSigner`], [`Reason::NoSession`] for a statement that
    /// was used before, [`Reason::Quota`].
    pub(super) fn open(
        &self,
        session: &Verified<Session>,
        root: &Root,
        bundle: Option<&Bundle>,
        now: UnixTime,
        random: [u8; 32],
    ) -> Result<(String, UnixTime), Refusal> {
        let body = session.body();
        check_date(body.at, now, Arrival::Submitted)?;
        reach(&body.by, session.key(), root, bundle)?;
        let mut inner = self.inner();
        inner.forget(now);
        let nonce = (body.by.clone(), body.nonce.0);
        if inner.nonces.contains_key(&nonce) {
            let message = "this session statement was used before.";
            return Err(Refusal::new(Reason::NoSession, message).hint("sign a new one"));
        }
        let minute = now.0 / 60;
        let person = inner.persons.entry(body.by.clone()).or_default();
        if person.minute != minute {
            (person.minute, person.opened) = (minute, 0);
        }
        if person.opened >= MAX_OPENED {
            let message = format!("{} opened {MAX_OPENED} sessions in this minute.", body.by);
            return Err(
                Refusal::new(Reason::Quota, message).hint("keep a session and use it again")
            );
        }
        person.opened = person.opened.saturating_add(1);
        let oldest =
            if person.tokens.len() >= MAX_PER_PERSON { person.tokens.pop_front() } else { None };
        let token = Base64UrlUnpadded::encode_string(&random);
        let digest = Digest::of(token.as_bytes());
        person.tokens.push_back(digest);
        if let Some(oldest) = oldest {
            inner.open.remove(&oldest);
        }
        if inner.open.len() >= MAX_TOTAL {
            let message = "too many sessions are open.";
            return Err(Refusal::new(Reason::Quota, message).hint("try again later"));
        }
        inner.nonces.insert(nonce, body.at.plus_secs(MAX_SKEW));
        let until = now.plus_secs(body.r#for.get().min(MAX_SPAN));
        let open = OpenSession { by: body.by.clone(), key: session.key().clone(), until };
        inner.open.insert(digest, open);
        Ok((token, until))
    }

    /// Who holds the token with this SHA-256.
    ///
    /// # Errors
    /// [`Reason::NoSession`] for an unknown or lapsed one, and for a person whom the bundle no
    /// longer knows by this key.
    pub(super) fn caller(
        &self,
        token: Digest,
        root: &Root,
        bundle: Option<&Bundle>,
        now: UnixTime,
    ) -> Result<Caller, Refusal> {
        let inner = self.inner();
        let open = inner.open.get(&token).filter(|open| now < open.until).ok_or_else(no_session)?;
        let reach = reach(&open.by, &open.key, root, bundle).map_err(|_| no_session())?;
        Ok(Caller { id: open.by.clone(), reach })
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.inner().open.len()
    }

    /// Forgets what is over.
    pub(super) fn sweep(&self, now: UnixTime) {
        self.inner().forget(now);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget(&mut self, now: UnixTime) {
        // Small, and never larger than what a minute of statements can fill.
        self.nonces.retain(|_, until| now <= *until);
        let Inner { open, persons, .. } = self;
        open.retain(|_, session| now < session.until);
        persons.retain(|_, person| {
            person.tokens.retain(|token| open.contains_key(token));
            !person.tokens.is_empty() || person.minute == now.0 / 60
        });
    }
}

/// What the holder of `key` may read as `by`.
fn reach(
    by: &ActorId,
    key: &SignerKey,
    root: &Root,
    bundle: Option<&Bundle>,
) -> Result<Reach, Refusal> {
    if root.admin_of(key).is_some_and(|admin| admin.id == *by) {
        return Ok(Reach::Admin);
    }
    let bundle = bundle.ok_or_else(super::in_force::no_bundle)?;
    let actor = bundle.people.get(by).filter(|actor| actor.keys.contains(key));
    let actor = actor.ok_or_else(|| {
        Refusal::new(
            Reason::UnknownSigner,
            format!("the signing key {} is not a key of {by} in the bundle.", key.fingerprint()),
        )
        .hint("ask an admin to add it to people.toml")
    })?;
    let audits = bundle.policy.auditors.iter().any(|auditor| auditor.covers(actor));
    Ok(if audits { Reach::Everything } else { Reach::Own })
}

/// The refusal of a call without a session.
pub(super) fn no_session() -> Refusal {
    Refusal::new(Reason::NoSession, "this call needs a session, and there is none or it is over.")
        .hint("open one with Trust.OpenSession")
}

#[cfg(test)]
mod tests;
