//! All that the rules say to one request, real or supposed: for who wants to know why.
//!
//! Asks the same [`decide`](super::decide()) and [`check_approvable`] that a new request meets, so it
//! can not say anything else.

use std::net::{IpAddr, Ipv4Addr};

use super::census::can_sign_with;
use super::{Asked, decide, denied_by, explain};
use crate::bundle::{Actor, Allow, Approval, Bundle, Deny, Step, Strength};
use crate::cidr::Cidr;
use crate::digest::{Digest, RootFingerprint};
use crate::enrolment::View;
use crate::key::SubjectKey;
use crate::lifecycle::{Basis, check_approvable};
use crate::names::{ActorId, HostName, Login};
use crate::refusal::{Reason, Refusal};
use crate::sshsig::Presence;
use crate::statement::{Body as _, Nonce, Request};
use crate::time::{Seconds, UnixTime};

/// A request that nobody made.
#[derive(Debug, Clone)]
pub struct Supposed {
    /// Who would ask.
    pub by: ActorId,
    /// Who would use the access, if another.
    pub subject: Option<ActorId>,
    /// The hosts.
    pub hosts: Vec<HostName>,
    /// The logins.
    pub logins: Vec<Login>,
    /// For how long.
    pub span: Seconds,
    /// Why.
    pub reason: String,
    /// The second reason, to go ahead without approvals.
    pub break_glass: Option<String>,
    /// The only command it would run.
    pub command: Option<String>,
    /// With which kind of key it would be signed.
    pub strength: Strength,
    /// From which address; `None` for any that the rule takes.
    pub from: Option<IpAddr>,
    /// When it would be made.
    pub at: UnixTime,
}

/// What the rules say to a request.
#[derive(Debug)]
pub struct Judgement<'b> {
    /// The request.
    pub request: Request,
    /// The rule that decides it, or why none does.
    pub decision: Result<&'b Allow, Refusal>,
    /// The deny rule that refuses it.
    pub denied_by: Option<&'b Deny>,
    /// Where no rule fits, the one that came nearest; where one fits that nobody could approve, that one.
    pub nearest: Option<&'b Allow>,
    /// Every other rule.
    pub others: Vec<Other<'b>>,
}

/// An allow rule that does not decide a request.
#[derive(Debug)]
pub struct Other<'b> {
    /// The rule.
    pub rule: &'b Allow,
    /// Why it does not fit; `None` if it does, and an earlier one decides.
    pub why: Option<Refusal>,
}

/// An approval step, and who could satisfy it.
#[derive(Debug)]
pub struct AskedStep<'b> {
    /// The step.
    pub step: &'b Step,
    /// The persons it asks, without requester and subject, who have a strong enough key.
    pub persons: Vec<&'b Actor>,
}

/// Why nothing can be said of a supposed request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SupposedError {
    /// It breaks a rule that every request obeys.
    #[error("there can be no such request: {0}")]
    Form(String),
    /// Nobody with this id is in people.toml.
    #[error("there is nobody with the id {0} in people.toml")]
    Unknown(ActorId),
}

impl Supposed {
    /// What the rules of `bundle` say to it.
    ///
    /// # Errors
    /// [`SupposedError`] if nobody could make such a request.
    pub fn judge<'b>(&self, bundle: &'b Bundle) -> Result<Judgement<'b>, SupposedError> {
        let requester =
            bundle.people.get(&self.by).ok_or_else(|| SupposedError::Unknown(self.by.clone()))?;
        let presence = match self.strength {
            Strength::Any => Presence::Software,
            Strength::Hardware => Presence::Touched,
            Strength::Verified => Presence::UserVerified,
        };
        let judge = |from: Option<IpAddr>| {
            let request = self.request(from)?;
            let asked = Asked { request: &request, requester, presence, extension: None };
            Ok(judge(asked, bundle, self.at))
        };
        let judgement = judge(self.from)?;
        match &judgement.decision {
            // As the person's command does: it names its address where a rule asks for it.
            Err(refusal) if refusal.reason == Reason::SourceNeeded && self.from.is_none() => {
                judge(Some(SOME_ADDRESS))
            }
            _ => Ok(judgement),
        }
    }

    fn request(&self, from: Option<IpAddr>) -> Result<Request, SupposedError> {
        // Neither CA nor nonce is looked at by any rule, and every rule takes a security key: which key
        // is to be certified is the person's to choose.
        let ca = RootFingerprint(Digest([0; 32]));
        let key: SubjectKey = SOME_KEY.parse().expect("it is a key");
        let mut request = Request::new(
            ca,
            self.by.clone(),
            key,
            self.hosts.clone(),
            self.logins.clone(),
            self.span,
            self.reason.clone(),
            self.at,
            Nonce([0; 16]),
        );
        request.subject = self.subject.clone().unwrap_or_else(|| self.by.clone());
        request.break_glass = self.break_glass.clone();
        request.command = self.command.clone();
        request.source = from.map(Cidr::single).into_iter().collect();
        request.check().map_err(SupposedError::Form)?;
        Ok(request)
    }
}

/// What the rules of the bundle of `view` say to a request, with the hosts that are there at `now`.
pub fn judge<'b>(asked: Asked<'_>, view: impl Into<View<'b>>, now: UnixTime) -> Judgement<'b> {
    let view = view.into();
    let decision = decide(asked, view, now);
    // As a new request is refused that would wait for nobody until it lapses.
    let vain = decision.as_ref().ok().and_then(|rule| {
        let refusal = check_approvable(rule, asked.request, view.bundle).err()?;
        Some((*rule, refusal))
    });
    let denied_by = denied_by(asked, view, now).ok().flatten();
    let mut said = explain(asked, view, now).unwrap_or_default();
    let decision = match vain {
        None => decision,
        Some((rule, refusal)) => {
            for (_, why) in said.iter_mut().filter(|(other, _)| other.name == rule.name) {
                *why = Some(refusal.clone());
            }
            Err(refusal)
        }
    };
    let is_decisive = |rule: &Allow| decision.as_ref().is_ok_and(|by| by.name == rule.name);
    // Each rule's refusal names the rule, so the one that is given names the nearest.
    let is_nearest = |why: &Option<Refusal>| {
        decision.as_ref().err().is_some_and(|refusal| why.as_ref() == Some(refusal))
    };
    let nearest = said.iter().find(|(_, why)| is_nearest(why)).map(|(rule, _)| *rule);
    let others = said.into_iter().filter(|(rule, _)| !is_decisive(rule));
    let others = others.map(|(rule, why)| Other { rule, why }).collect();
    Judgement { request: asked.request.clone(), decision, denied_by, nearest, others }
}

impl<'b> Judgement<'b> {
    /// What approves the request; `None` if no rule does.
    pub fn basis(&self) -> Option<Basis> {
        let rule = self.decision.as_ref().ok()?;
        Some(Basis::of(rule, &self.request))
    }

    /// How many approvals it needs.
    pub fn approvals(&self) -> usize {
        match (self.basis(), &self.decision) {
            (Some(Basis::Approvals), Ok(rule)) => rule.approval.count(),
            _ => 0,
        }
    }

    /// The steps of the deciding rule with those who could satisfy them: none where the rule
    /// approves by itself. For break-glass they are those who review it.
    pub fn steps(&self, bundle: &'b Bundle) -> Vec<AskedStep<'b>> {
        let Ok(Approval::Steps(steps)) = self.decision.as_ref().map(|rule| &rule.approval) else {
            return Vec::new();
        };
        let asked = |step: &'b Step| {
            let may = |actor: &&Actor| {
                actor.id != self.request.by
                    && actor.id != self.request.subject
                    && can_sign_with(actor, step.strength)
            };
            AskedStep { step, persons: bundle.people.covered_by(&step.from).filter(may).collect() }
        };
        steps.iter().map(asked).collect()
    }

    /// The name of the rule that is to be looked at: the one that decides, forbids, or came nearest.
    pub fn rule_name(&self) -> Option<&'b crate::names::RuleName> {
        match (&self.decision, self.denied_by) {
            (Ok(rule), _) => Some(&rule.name),
            (Err(_), Some(deny)) => Some(&deny.name),
            (Err(_), None) => self.nearest.map(|rule| &rule.name),
        }
    }
}

impl Other<'_> {
    /// Why the rule does not decide, in a few words.
    pub fn why(&self) -> String {
        let Some(refusal) = &self.why else {
            return "fits too, but comes after the rule that decides".to_owned();
        };
        // A refusal begins by saying what is asked, which is known here.
        let message = refusal.message.trim_end_matches('.');
        let short = message.strip_prefix("no rule allows ").and_then(|rest| rest.split_once(": "));
        let short = short.map_or(message, |(_, why)| why);
        let name = &self.rule.name;
        [format!("the nearest rule, {name}, "), format!("the rule {name} ")]
            .iter()
            .find_map(|start| short.strip_prefix(start.as_str()))
            .unwrap_or(short)
            .to_owned()
    }
}

/// A security key to be certified, on the point of RFC 8032, 7.1; which one is no matter.
const SOME_KEY: &str = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1EaAAAABHNzaDo=";

/// An address of the documentation (RFC 5737): a rule that binds to the client's takes any.
const SOME_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
