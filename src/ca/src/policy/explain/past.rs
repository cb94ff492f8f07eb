//! What is said of a request of the log: where it stands, how it ended, and what was certified.

use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::lifecycle::{Basis, Evaluation, Status, is_reviewed, standing};
use jit_ssh_core::names::ActorId;
use jit_ssh_core::policy::judgement::Judgement;
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use super::words::{Explained, basis, texts};
use crate::history::{Certified, Past};
use crate::policy::config::count;
use crate::terminal::utc;

/// Where a real request stands.
#[derive(Debug, Serialize)]
pub(super) struct Standing {
    status: String,
    /// Whether nothing comes of it any more.
    pub(super) over: bool,
    decide_by: Option<u64>,
    use_by: Option<u64>,
    access_until: Option<u64>,
    could_approve: Vec<String>,
}

/// What the log's certificates say was granted.
#[derive(Debug, Serialize)]
pub(super) struct Certificate {
    /// How many there are.
    count: usize,
    /// When the first was issued.
    first_at: u64,
    /// Every `login@host` of the last.
    principals: Vec<String>,
    access_until: u64,
    pub(super) approved_by: Vec<String>,
}

impl Explained {
    /// Of a request of the log. `rules` is what to call those of `bundle`.
    pub(super) fn real(
        past: &Past,
        judgement: &Judgement<'_>,
        evaluation: &Evaluation<'_>,
        could_approve: Vec<ActorId>,
        bundle: &Bundle,
        rules: &str,
    ) -> Explained {
        let mut explained = Explained::supposed(judgement, bundle);
        explained.id = Some(past.id().to_string());
        for (step, tally) in explained.steps.iter_mut().zip(&evaluation.steps) {
            step.given = Some(tally.given);
        }
        let over = !matches!(
            evaluation.status,
            Status::Pending | Status::Approved | Status::Active | Status::Refused(_)
        );
        let waits = matches!(evaluation.status, Status::Pending);
        let unused = matches!(evaluation.status, Status::Approved);
        let last = past.certificates.last();
        let until = last.map(|last| last.access_until);
        let until = until.or(evaluation.grant.as_ref().map(|grant| grant.access_until()));
        explained.standing = Some(Standing {
            status: status(past, evaluation),
            over,
            decide_by: (waits && evaluation.needed > 0).then_some(evaluation.decide_by.0),
            use_by: evaluation.use_by.filter(|_| unused).map(|moment| moment.0),
            access_until: until.filter(|_| !over).map(|moment| moment.0),
            could_approve: texts(&could_approve),
        });
        if over {
            explained.clocks = None;
            explained.nobody_is_asked(past);
        }
        if let Some(last) = last {
            explained.as_certified(past, last, judgement, evaluation, rules);
        }
        explained
    }

    /// Leaves out whom the rule asks: but for a break-glass access, which is reviewed afterwards.
    fn nobody_is_asked(&mut self, past: &Past) {
        if past.request().break_glass.is_none() || is_reviewed(&past.chain) {
            self.steps.clear();
            self.admins = None;
        }
    }

    /// Takes rule and grant from the log, and says where the rules of now decide otherwise.
    fn as_certified(
        &mut self,
        past: &Past,
        last: &Certified,
        judgement: &Judgement<'_>,
        evaluation: &Evaluation<'_>,
        rules: &str,
    ) {
        let granted = past.granted.as_ref();
        let then = granted.and_then(|said| Some((said.decision.as_ref().ok()?.1, said.needed)));
        self.otherwise = otherwise(last, then, judgement, evaluation)
            .map(|how| format!("under {rules} it would be otherwise: {how}"));
        if self.otherwise.is_some() {
            // What they say is of another rule, or of none.
            self.clocks = None;
            self.others.clear();
            self.nobody_is_asked(past);
        }
        self.rule = Some(last.rule.to_string());
        self.refusal = None;
        self.denied_by = None;
        self.nearest = None;
        if let Some((how, needed)) = then {
            self.decision = basis(how);
            self.approvals = needed;
        } else {
            self.decision = match past.request().break_glass {
                Some(_) => basis(Basis::BreakGlass),
                None => basis(Basis::Approvals),
            };
        }
        let first = past.certificates.first().unwrap_or(last);
        self.certified = Some(Certificate {
            count: past.certificates.len(),
            first_at: first.at.0,
            principals: texts(&last.principals),
            access_until: last.access_until.0,
            approved_by: match then {
                Some((Basis::Approvals, _)) => {
                    granted.map(|said| texts(&said.approvers)).unwrap_or_default()
                }
                Some((Basis::Auto | Basis::BreakGlass, _)) | None => Vec::new(),
            },
        });
    }
}

/// How the rules of now decide what was certified, if not as it was.
fn otherwise(
    last: &Certified,
    then: Option<(Basis, usize)>,
    judgement: &Judgement<'_>,
    evaluation: &Evaluation<'_>,
) -> Option<String> {
    let rule = match &judgement.decision {
        Ok(rule) => rule,
        Err(refusal) => {
            return Some(format!("refused ({}): {}", refusal.reason, refusal.message));
        }
    };
    let how = judgement.basis()?;
    let needed = judgement.approvals();
    let same_terms = then.is_none_or(|then| then == (how, needed));
    if rule.name != last.rule || !same_terms {
        let how = match how {
            Basis::Auto => ", by itself".to_owned(),
            Basis::BreakGlass => ", without approvals".to_owned(),
            Basis::Approvals => format!(", with {}", count(needed, "approval")),
        };
        return Some(format!("the rule {} decides{how}", rule.name));
    }
    match &evaluation.grant {
        None if matches!(evaluation.status, Status::Refused(_) | Status::Pending) => {
            Some(format!("the rule {} decides, and it is not approved under it", rule.name))
        }
        Some(grant)
            if grant.principals() != last.principals
                || grant.access_until() != last.access_until =>
        {
            let principals = texts(&grant.principals()).join(", ");
            Some(format!("it grants {principals} until {}", utc(grant.access_until())))
        }
        Some(_) | None => None,
    }
}

impl Certificate {
    pub(super) fn in_words(&self) -> String {
        let Certificate { count: all, first_at, principals, access_until, .. } = self;
        format!(
            "granted: {} from {} to {}, {}",
            principals.join(", "),
            utc(UnixTime(*first_at)),
            utc(UnixTime(*access_until)),
            count(*all, "certificate")
        )
    }
}

impl Standing {
    pub(super) fn in_words(&self) -> Vec<String> {
        let moment = |name: &str, moment: Option<u64>| {
            moment.map(|moment| format!("{name}: {}", utc(UnixTime(moment))))
        };
        let could = (!self.could_approve.is_empty())
            .then(|| format!("could approve now: {}", self.could_approve.join(", ")));
        let when = if self.over { "ended" } else { "now" };
        [
            Some(format!("{when}: {}", self.status)),
            could,
            moment("decide by", self.decide_by),
            moment("use by", self.use_by),
            moment("access until", self.access_until),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Where it stands, in a sentence.
fn status(past: &Past, evaluation: &Evaluation<'_>) -> String {
    match &evaluation.status {
        Status::Pending => evaluation.missing(),
        Status::Approved => "approved; no certificate was fetched yet".to_owned(),
        Status::Active => "approved and in use".to_owned(),
        over => standing(&past.chain, over).message.trim_end_matches('.').to_owned(),
    }
}
