//! One call from its beginning to its end: who calls, from where, and what is noted of it: one log
//! line and one observation. No token and no statement is ever logged.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use jit_ssh_api::{ErrorDetail, v1};
use jit_ssh_core::digest::{Digest, ShortId};
use jit_ssh_core::refusal::{Reason, Refusal};
use tonic::{Request, Response, Status};

use super::clock;
use super::front::Front;
use super::sessions::Caller;

/// The address a connection comes from, as the listener puts it into each request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// The header, or gRPC metadata, that carries a session's token.
pub(super) const AUTHORIZATION: &str = "authorization";

/// SHA-256 of the token in the value of [`AUTHORIZATION`].
pub(super) fn token_digest(value: &[u8]) -> Option<Digest> {
    value.strip_prefix(b"Bearer ").map(Digest::of)
}

/// Asks anew who is calling: people, keys and sessions change while a stream stands.
pub(super) type Identify = Box<dyn Fn() -> Result<Caller, Refusal> + Send + Sync>;

/// One call under way.
pub(super) struct Call {
    front: Arc<Front>,
    method: &'static str,
    begun: Instant,
    peer: IpAddr,
    /// SHA-256 of the token it came with.
    token: Option<Digest>,
    /// The request it is about, once that is known.
    about: OnceLock<ShortId>,
    ended: bool,
}

impl Call {
    /// Begins a call of `method`.
    pub(super) fn begin<T>(front: &Arc<Front>, method: &'static str, request: &Request<T>) -> Call {
        let peer =
            request.extensions().get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(ip)| *ip);
        let token = request.metadata().get(AUTHORIZATION);
        let token = token.and_then(|value| token_digest(value.as_encoded_bytes()));
        Call {
            front: front.clone(),
            method,
            begun: Instant::now(),
            peer,
            token,
            about: OnceLock::new(),
            ended: false,
        }
    }

    /// What the services share.
    pub(super) fn front(&self) -> &Arc<Front> {
        &self.front
    }

    /// The address it comes from.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Notes which request it is about.
    pub(super) fn about(&self, request: Digest) {
        // The first word counts.
        let _ = self.about.set(request.short_id());
    }

    /// Who is calling, by their session.
    ///
    /// # Errors
    /// [`Reason::NoSession`].
    pub(super) fn caller(&self) -> Result<Caller, Refusal> {
        self.front.caller(self.token)
    }

    /// Asks [`Call::caller`] again after the call has ended: for streams.
    pub(super) fn identify(&self) -> Identify {
        let (front, token) = (self.front.clone(), self.token);
        Box::new(move || front.caller(token))
    }

    /// Who is calling, if they may read everything.
    ///
    /// # Errors
    /// [`Reason::NoSession`], [`Reason::NotAllowed`].
    pub(super) fn reader_of_all(&self) -> Result<Caller, Refusal> {
        let caller = self.caller()?;
        if caller.reads_all() {
            return Ok(caller);
        }
        Err(Refusal::new(
            Reason::NotAllowed,
            format!("{} is neither auditor nor admin.", caller.id),
        )
        .hint("auditors are named in policy.toml"))
    }

    /// Insists on an admin's session.
    ///
    /// # Errors
    /// [`Reason::NoSession`], [`Reason::NotAllowed`].
    pub(super) fn admin(&self) -> Result<Caller, Refusal> {
        self.front.admin(self.token)
    }

    /// Lets a call without a session pass, unless its address was wrong too often in such calls.
    ///
    /// # Errors
    /// [`Reason::Quota`].
    pub(super) fn admit(&self) -> Result<(), Refusal> {
        self.front.rates.admit(self.peer, self.method, clock::now())
    }

    /// Ends the call with its answer.
    pub(super) fn end<T>(mut self, result: Result<T, Refusal>) -> Result<Response<T>, Status> {
        self.ended = true;
        match result {
            Ok(answer) => {
                self.note("ok", None);
                Ok(Response::new(answer))
            }
            Err(refusal) => {
                self.note("refused", Some(refusal.reason));
                self.front.rates.note(self.peer, self.method, refusal.reason, clock::now());
                let needs_address = refusal.reason == Reason::SourceNeeded;
                let detail = ErrorDetail::new(refusal);
                // So that the client can sign a request that names the address it is seen under.
                let detail = if needs_address { detail.with_address(self.peer) } else { detail };
                Err(detail.to_status())
            }
        }
    }

    fn note(&self, outcome: &'static str, reason: Option<Reason>) {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.front.metrics.took(self.method, seconds);
        let id = self.about.get().map(ShortId::as_str);
        let reason = reason.map(Reason::as_str);
        let micros = (seconds * 1e6).round();
        tracing::info!(method = self.method, outcome, reason, id, micros, "call");
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            // The caller went away before there was an answer.
            self.note("dropped", None);
        }
    }
}

/// Exactly one signature: what every statement but a bundle has.
///
/// # Errors
/// [`Reason::Malformed`].
pub(super) fn single(signed: Option<v1::SignedStatement>) -> Result<v1::SignedStatement, Refusal> {
    let signed =
        signed.ok_or_else(|| Refusal::new(Reason::Malformed, "the call carries no statement."))?;
    if signed.signatures.len() == 1 {
        return Ok(signed);
    }
    Err(jit_ssh_core::statement::StatementError::Signatures.into())
}
