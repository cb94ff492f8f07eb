//! Where a request stands, in words.

use jit_ssh_api::v1::{self, Status};
use jit_ssh_core::names::ActorId;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{Decision, Verdict};
use jit_ssh_core::time::UnixTime;

use super::{View, status_name};
use crate::failure::{Failure, Outcome};
use crate::text::{all_of, either, relative, span, utc};

impl View {
    /// Who denied it, and why.
    fn denial(&self) -> Option<(&ActorId, &str)> {
        let denies = |decision: &&Decision| decision.verdict == Verdict::Deny;
        let denial = self.decisions.iter().map(|(decision, _)| decision.body()).find(denies)?;
        Some((&denial.by, denial.reason.as_deref().unwrap_or_default()))
    }

    /// How a command that waited for this request ends; `None` while there is still something to
    /// hope for.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let id = self.id();
        let anew = "ask anew with: jit-ssh login";
        // The CA's sentence, which names who and why; ours where it has none.
        let told = |otherwise: &str| match self.said.detail.as_str() {
            "" => format!("request {id} {otherwise}"),
            detail => detail.to_owned(),
        };
        let over = |name, otherwise: &str| {
            Some(Failure::new(Outcome::Over, name, told(otherwise)).hint(anew))
        };
        match self.status() {
            Status::Unspecified | Status::Pending | Status::Approved | Status::Active => None,
            Status::Denied => {
                let message = match self.denial() {
                    Some((by, why)) => format!("request {id} was denied by {by}: {why}"),
                    None => format!("request {id} was denied."),
                };
                Some(Failure::new(Outcome::Denied, "DENIED", message))
            }
            Status::Cancelled => over("CANCELLED", "was cancelled."),
            Status::Lapsed => over("LAPSED", "lapsed: nobody decided or used it in time."),
            Status::Ended => over("ENDED", "has come to its end."),
            Status::Released => over("RELEASED", "was given back."),
            Status::Revoked => over("REVOKED", "was taken away."),
            Status::Refused => {
                let message = told("is no longer allowed.");
                Some(Failure::new(Outcome::Refused, "POLICY_REFUSED", message).hint(anew))
            }
        }
    }

    /// Why a statement about it comes too late, and what is not done for it; `None` while there is
    /// something to decide or to end, or where only the CA can tell.
    pub(crate) fn settled(&self, undone: &str) -> Option<Failure> {
        match self.status() {
            Status::Denied
            | Status::Cancelled
            | Status::Lapsed
            | Status::Ended
            | Status::Released
            | Status::Revoked => {
                let failure = self.failure()?;
                let message = format!("{}; {undone}.", failure.message.trim_end_matches('.'));
                Some(Failure { message, hint: None, ..failure })
            }
            // Under a rule that is gone a certificate may still be valid.
            Status::Unspecified
            | Status::Refused
            | Status::Pending
            | Status::Approved
            | Status::Active => None,
        }
    }

    /// One line on where it stands, harmless.
    pub(crate) fn standing(&self, now: UnixTime) -> String {
        let (id, said) = (self.id(), &self.said);
        let less = self.granted_less().map(|less| format!("; {less}")).unwrap_or_default();
        match self.status() {
            Status::Pending => self.pending(now),
            Status::Approved => match self.opens_later(now) {
                Some(opens) => {
                    format!(
                        "{id} is approved; opens {} ({}){less}",
                        relative(opens, now),
                        utc(opens)
                    )
                }
                None => {
                    let use_by = before(UnixTime(said.use_by), now);
                    format!("{id} is approved; to be used {use_by}{less}")
                }
            },
            Status::Active => {
                let review = if self.to_review() { "; to be reviewed" } else { "" };
                format!("{id} is active until {}{less}{review}", utc(UnixTime(said.access_until)))
            }
            Status::Unspecified
            | Status::Ended
            | Status::Denied
            | Status::Cancelled
            | Status::Lapsed
            | Status::Refused
            | Status::Released
            | Status::Revoked => {
                let review = if self.to_review() { " It is still to be reviewed." } else { "" };
                let mut line =
                    format!("{id} is {}: {}", status_name(self.status()), sentence(&said.detail));
                // Most of these sentences name the request once more.
                line = line.replacen(&format!(": request {id} "), ": it ", 1);
                line = line.replacen(&format!(" of request {id} "), " ", 1);
                if said.live_seconds > 0 {
                    line.push_str(&format!(
                        " A certificate of it is valid for {} more at hosts that have not heard.",
                        span(u64::from(said.live_seconds))
                    ));
                }
                line + review
            }
        }
    }

    fn pending(&self, now: UnixTime) -> String {
        let said = &self.said;
        let missing = self.missing();
        let opens = self.asked().not_before.filter(|opens| *opens > now);
        let opens = opens.map(|opens| format!("; opens {}", relative(opens, now)));
        format!(
            "{} waits for {}: {} of {} approvals{missing}; lapses {}{}",
            self.id(),
            either(&said.approvers),
            said.approvals_given,
            said.approvals_needed,
            relative(UnixTime(said.decide_by), now),
            opens.unwrap_or_default()
        )
    }

    /// What was granted, where that is less than was asked for; harmless.
    pub(crate) fn granted_less(&self) -> Option<String> {
        let (said, asked) = (&self.said, self.asked());
        if said.approved_at == 0 || said.access_until == 0 {
            return None;
        }
        let all = crate::grants::principals(asked).len();
        let granted = self.principals();
        let begins = said.approved_at.max(said.opens_at).max(said.prolongs_until);
        let secs = said.access_until.saturating_sub(begins);
        let shorter = secs < u64::from(asked.r#for.get());
        if granted.len() >= all && !shorter {
            return None;
        }
        let time = if shorter {
            format!(" for {} of the {} asked for", span(secs), asked.r#for)
        } else {
            format!(" for {}", asked.r#for)
        };
        Some(format!("granted: {}{time}", all_of(&granted)))
    }
}

/// What the CA says, harmless, to be followed by more.
fn sentence(detail: &str) -> String {
    let detail = harmless(detail);
    if detail.is_empty() || detail.ends_with('.') { detail } else { format!("{detail}.") }
}

pub(super) fn is_strong(step: &v1::ApprovalStep) -> bool {
    !matches!(step.strength.as_str(), "" | "any")
}

/// So many persons of a step, in words: `1 of group:sre-leads with strength hardware`; harmless.
pub(crate) fn step_words(step: &v1::ApprovalStep, count: u32) -> String {
    let strength = if is_strong(step) {
        format!(" with strength {}", harmless(&step.strength))
    } else {
        String::new()
    };
    format!("{count} of {}{strength}", either(&step.from))
}

fn before(moment: UnixTime, now: UnixTime) -> String {
    if moment > now { format!("within {}", span(moment.since(now))) } else { "no more".to_owned() }
}
