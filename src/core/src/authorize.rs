//! The one place that says yes.
//!
//! The front calls [`authorize`] to show where things stand; the signer calls it before every
//! certificate, the first and each renewal. There is no second path to a certificate: its builder
//! takes an [`Authorized`] by value, and only this module can make one.

use crate::bundle::{Permit, Strength};
use crate::certificate::Scope;
use crate::chain::Chain;
use crate::cidr::Cidr;
use crate::digest::Digest;
use crate::enrolment::View;
use crate::key::SubjectKey;
use crate::lifecycle::{Status, evaluate, standing};
use crate::names::{ActorId, Opens, Principal, RuleName};
use crate::policy::{Sources, sources};
use crate::refusal::{Reason, Refusal};
use crate::statement::MAX_SKEW;
use crate::time::UnixTime;

/// How long before now a certificate begins, for hosts whose clocks are behind, in seconds.
pub const BACKDATE: u32 = 60;

/// What a jump's certificate runs on a bastion, whatever is asked: nothing. The bastion's sshd refuses
/// sessions for jumps anyway (`MaxSessions 0`); this holds where it was set up otherwise.
pub const JUMP_COMMAND: &str = "exit 1";

/// Proof that [`authorize`] said yes: all that the certificate will say but its serial and nonce.
#[derive(Debug)]
#[must_use]
pub struct Authorized {
    request: Digest,
    rule: RuleName,
    subject: ActorId,
    key: SubjectKey,
    opens: Opens,
    valid_after: UnixTime,
    valid_before: UnixTime,
    access_until: UnixTime,
    source: Vec<Cidr>,
    command: Option<String>,
    permit: Vec<Permit>,
    subject_key: Strength,
}

impl Authorized {
    /// The request this follows from.
    pub fn request(&self) -> Digest {
        self.request
    }

    /// The rule that decided.
    pub fn rule(&self) -> &RuleName {
        &self.rule
    }

    /// Who will use the access.
    pub fn subject(&self) -> &ActorId {
        &self.subject
    }

    /// The key to certify.
    pub fn key(&self) -> &SubjectKey {
        &self.key
    }

    /// What it opens.
    pub fn opens(&self) -> &Opens {
        &self.opens
    }

    /// The logins that were granted, sorted, 1 to 16; none for a jump.
    pub fn principals(&self) -> &[Principal] {
        self.opens.logins()
    }

    /// When the certificate begins.
    pub fn valid_after(&self) -> UnixTime {
        self.valid_after
    }

    /// When it ends: never after [`Authorized::access_until`].
    pub fn valid_before(&self) -> UnixTime {
        self.valid_before
    }

    /// When the access ends.
    pub fn access_until(&self) -> UnixTime {
        self.access_until
    }

    /// The addresses it works from; empty for anywhere.
    pub fn source(&self) -> &[Cidr] {
        &self.source
    }

    /// The only command it runs, if it is held to one.
    pub fn command(&self) -> Option<&str> {
        self.command.as_deref()
    }

    /// Which kind of key it is for, by the rule.
    pub fn subject_key(&self) -> Strength {
        self.subject_key
    }

    /// What it permits, sorted: what was asked and the rule allows; for a jump the forwarding it needs.
    pub fn permit(&self) -> &[Permit] {
        &self.permit
    }

    /// The same for one of the request's other certificates. What was granted on the target is nothing to
    /// a bastion, and what a jump needs there is nothing to the target: so a jump's certificate has the
    /// key, the times and the addresses, and nothing else of it.
    ///
    /// # Errors
    /// [`Reason::NotAllowed`] for a jump that is not on the way to a host that was granted.
    pub fn within<'b>(
        self,
        scope: &Scope,
        view: impl Into<View<'b>>,
    ) -> Result<Authorized, Refusal> {
        let jump = match scope {
            Scope::Access => return Ok(self),
            Scope::Jump(jump) => jump,
        };
        let hosts = self.principals().iter().map(Principal::host);
        if !view.into().bundle.hosts.jumps(hosts).contains(jump) {
            let id = self.request.short_id();
            return Err(Refusal::new(
                Reason::NotAllowed,
                format!("{jump} is not on the way to a host that request {id} grants."),
            ));
        }
        Ok(Authorized {
            opens: Opens::Jump(jump.clone()),
            command: Some(JUMP_COMMAND.to_owned()),
            permit: vec![Permit::PortForwarding],
            ..self
        })
    }
}

/// Decides whether a certificate may be issued for the request of `chain`, under the bundle of `view`
/// and for the hosts that are there, at `now`. It is for the logins that were granted; see
/// [`Authorized::within`] for the jumps to them.
///
/// # Errors
/// [`Refusal`] in every other status than approved or active; it says what is missing.
pub fn authorize<'b>(
    chain: &Chain,
    view: impl Into<View<'b>>,
    now: UnixTime,
) -> Result<Authorized, Refusal> {
    let evaluation = evaluate(chain, view, now);
    let (rule, grant) = match (&evaluation.status, evaluation.rule, &evaluation.grant) {
        (Status::Approved | Status::Active, Some(rule), Some(grant)) => (rule, grant),
        (Status::Pending, ..) => {
            let (id, missing) = (chain.request().id(), evaluation.missing());
            return Err(Refusal::new(
                Reason::NotApproved,
                format!("request {id} is not approved yet: {missing}."),
            ));
        }
        (status, ..) => return Err(standing(chain, status)),
    };
    let request = chain.request().body();
    // What was asked for later begins then and no sooner. An approver's clock may be ahead of this
    // one; by more than statements may be, this one was set back.
    let set_back = now.plus_secs(MAX_SKEW) < grant.approved_at;
    if set_back || request.not_before.is_some_and(|not_before| now < not_before) {
        return Err(Refusal::new(
            Reason::TooEarly,
            format!(
                "request {} is approved, and its access begins in {} s.",
                chain.request().id(),
                grant.opens_at.since(now)
            ),
        ));
    }
    let access_until = grant.access_until();
    let valid_before = now.plus(rule.cert_for).min(access_until);
    if valid_before <= now {
        return Err(standing(chain, &Status::Ended));
    }
    let source = match sources(&rule.source, &request.source) {
        Sources::Granted(ranges) => ranges,
        // policy::decide refused these already; refused here too, never widened.
        Sources::None | Sources::AddressNeeded => {
            return Err(Refusal::new(
                Reason::SourceNeeded,
                "the request names no allowed address.",
            ));
        }
    };
    Ok(Authorized {
        request: chain.digest(),
        rule: rule.name.clone(),
        subject: request.subject.clone(),
        key: request.key.clone(),
        opens: Opens::Logins(grant.principals()),
        valid_after: now.minus_secs(BACKDATE),
        valid_before,
        access_until,
        source,
        command: request.command.clone(),
        permit: rule.permitted(&request.permit),
        subject_key: rule.subject_key,
    })
}
