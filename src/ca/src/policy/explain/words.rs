//! An explanation as programs and people read it.

use jit_ssh_core::bundle::{Allow, Bundle};
use jit_ssh_core::lifecycle::{Basis, Evaluation, Status, is_live, standing};
use jit_ssh_core::names::ActorId;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::policy::judgement::{AskedStep, Judgement};
use serde::Serialize;

use crate::history::Past;
use crate::terminal::utc;

/// What is said of one request.
#[derive(Debug, Serialize)]
pub(super) struct Explained {
    /// The request's id, of a real one.
    id: Option<String>,
    who: String,
    for_person: Option<String>,
    hosts: Vec<String>,
    logins: Vec<String>,
    r#for: String,
    at: u64,
    reason: String,
    /// `approvals`, `auto`, `break-glass` or `refused`.
    decision: &'static str,
    rule: Option<String>,
    refusal: Option<PrintedRefusal>,
    denied_by: Option<String>,
    nearest: Option<String>,
    approvals: usize,
    steps: Vec<PrintedStep>,
    clocks: Option<Clocks>,
    standing: Option<Standing>,
    /// Why the other rules do not decide.
    others: Vec<PrintedOther>,
}

#[derive(Debug, Serialize)]
struct PrintedRefusal {
    error: String,
    message: String,
    hint: Option<String>,
}

#[derive(Debug, Serialize)]
struct PrintedStep {
    asks: String,
    persons: Vec<String>,
    /// Approvals that count, of a real request.
    given: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Clocks {
    decide_within: String,
    use_within: String,
    max_for: String,
    cert_for: String,
}

/// Where a real request stands.
#[derive(Debug, Serialize)]
struct Standing {
    status: String,
    /// What became of it, by the rules of then, where nothing can come of it any more.
    was: Option<String>,
    decide_by: Option<u64>,
    use_by: Option<u64>,
    access_until: Option<u64>,
    could_approve: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PrintedOther {
    rule: String,
    why: String,
}

impl Explained {
    /// Of a request that nobody made.
    pub(super) fn supposed(judgement: &Judgement<'_>, bundle: &Bundle) -> Explained {
        let request = &judgement.request;
        let refusal = judgement.decision.as_ref().err().map(|refusal| PrintedRefusal {
            error: refusal.reason.to_string(),
            message: refusal.message.clone(),
            hint: refusal.hint.clone(),
        });
        let others = judgement
            .others
            .iter()
            .map(|other| PrintedOther { rule: other.rule.name.to_string(), why: other.why() });
        Explained {
            id: None,
            who: request.by.to_string(),
            for_person: (request.subject != request.by).then(|| request.subject.to_string()),
            hosts: texts(&request.hosts),
            logins: texts(&request.logins),
            r#for: request.r#for.to_string(),
            at: request.at.0,
            reason: request.reason.clone(),
            decision: match judgement.basis() {
                Some(Basis::Approvals) => "approvals",
                Some(Basis::Auto) => "auto",
                Some(Basis::BreakGlass) => "break-glass",
                None => "refused",
            },
            rule: judgement.decision.as_ref().ok().map(|rule| rule.name.to_string()),
            refusal,
            denied_by: judgement.denied_by.map(|deny| deny.name.to_string()),
            nearest: judgement.nearest.map(|rule| rule.name.to_string()),
            approvals: judgement.approvals(),
            steps: judgement.steps(bundle).iter().map(PrintedStep::of).collect(),
            clocks: judgement.decision.as_ref().ok().map(|rule| Clocks::of(rule)),
            standing: None,
            others: others.collect(),
        }
    }

    /// Of a request of the log.
    pub(super) fn real(
        past: &Past,
        judgement: &Judgement<'_>,
        evaluation: &Evaluation<'_>,
        could_approve: Vec<ActorId>,
        bundle: &Bundle,
    ) -> Explained {
        let mut explained = Explained::supposed(judgement, bundle);
        for (step, tally) in explained.steps.iter_mut().zip(&evaluation.steps) {
            step.given = Some(tally.given);
        }
        let asked = evaluation.needed > 0;
        explained.id = Some(past.id().to_string());
        explained.standing = Some(Standing {
            status: status(past, evaluation),
            was: if is_live(&evaluation.status) { None } else { was(past) },
            decide_by: asked.then_some(evaluation.decide_by.0),
            use_by: evaluation.use_by.map(|moment| moment.0),
            access_until: evaluation.grant.as_ref().map(|grant| grant.access_until().0),
            could_approve: texts(&could_approve),
        });
        explained
    }

    /// For people.
    pub(super) fn in_words(&self) -> String {
        let mut lines = vec![self.heading()];
        match (&self.rule, &self.refusal) {
            (Some(rule), _) => lines.push(format!("rule: {rule} decides{}", self.how())),
            (None, Some(refusal)) => {
                lines.push(format!("refused ({}): {}", refusal.error, refusal.message));
                lines.extend(refusal.hint.iter().map(|hint| format!("hint: {hint}")));
            }
            (None, None) => {}
        }
        lines.extend(self.denied_by.iter().map(|rule| format!("denied by: {rule}")));
        if self.denied_by.is_none() {
            lines.extend(self.nearest.iter().map(|rule| format!("nearest rule: {rule}")));
        }
        for step in &self.steps {
            let given = step.given.map(|given| format!(", {given} given")).unwrap_or_default();
            let persons =
                if step.persons.is_empty() { "nobody".to_owned() } else { step.persons.join(", ") };
            let verb = if self.decision == "break-glass" { "reviews" } else { "approves" };
            lines.push(format!("{verb}: {}{given}: {persons}", step.asks));
        }
        lines.extend(self.clocks.iter().map(|clocks| self.clocks(clocks)));
        lines.extend(self.standing.iter().flat_map(Standing::in_words));
        if !self.others.is_empty() {
            lines.push("other rules:".to_owned());
        }
        lines.extend(self.others.iter().map(|other| format!("  {}: {}", other.rule, other.why)));
        lines.iter().map(|line| harmless(line)).collect::<Vec<_>>().join("\n")
    }

    fn heading(&self) -> String {
        let id = self.id.as_ref().map(|id| format!("request {id}: ")).unwrap_or_default();
        let subject =
            self.for_person.as_ref().map(|person| format!(" for {person}")).unwrap_or_default();
        format!(
            "{id}{}{subject} as {} on {} for {}, at {}, because {}",
            self.who,
            self.logins.join(", "),
            self.hosts.join(", "),
            self.r#for,
            utc(jit_ssh_core::time::UnixTime(self.at)),
            self.reason
        )
    }

    fn how(&self) -> String {
        match self.decision {
            "auto" => ", by itself".to_owned(),
            "break-glass" => ", and lets it go ahead without approvals".to_owned(),
            _ if self.approvals == 1 => ", and needs 1 approval".to_owned(),
            _ => format!(", and needs {} approvals", self.approvals),
        }
    }

    fn clocks(&self, clocks: &Clocks) -> String {
        let Clocks { decide_within, use_within, max_for, cert_for } = clocks;
        let decide = if self.approvals > 0 {
            format!("to be decided within {decide_within}, ")
        } else {
            String::new()
        };
        format!(
            "clocks: {decide}first used within {use_within}; access for at most {max_for}, each certificate at most {cert_for}"
        )
    }
}

impl PrintedStep {
    fn of(asked: &AskedStep<'_>) -> PrintedStep {
        let persons = asked.persons.iter().map(|actor| actor.id.to_string());
        PrintedStep { asks: asked.step.to_string(), persons: persons.collect(), given: None }
    }
}

impl Clocks {
    fn of(rule: &Allow) -> Clocks {
        Clocks {
            decide_within: rule.decide_within.to_string(),
            use_within: rule.use_within.to_string(),
            max_for: rule.max_for.to_string(),
            cert_for: rule.cert_for.to_string(),
        }
    }
}

impl Standing {
    fn in_words(&self) -> Vec<String> {
        let moment = |name: &str, moment: Option<u64>| {
            moment.map(|moment| format!("{name}: {}", utc(jit_ssh_core::time::UnixTime(moment))))
        };
        let could = (!self.could_approve.is_empty())
            .then(|| format!("could approve now: {}", self.could_approve.join(", ")));
        [
            self.was.as_ref().map(|was| format!("it was: {was}")),
            Some(format!("now: {}", self.status)),
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

/// What became of it, by its certificates and by what the bundle of then said.
fn was(past: &Past) -> Option<String> {
    let said = past.granted.as_ref().or(past.last.as_ref())?;
    let certified = past.certificates.last();
    let decided = said.decision.as_ref().ok().map(|(rule, _)| rule);
    let mut was = past.outcome();
    if let Some(rule) = certified.map(|certified| &certified.rule).or(decided) {
        was.push_str(&format!(" under the rule {rule}"));
    }
    if !said.approvers.is_empty() {
        was.push_str(&format!(", approved by {}", texts(&said.approvers).join(", ")));
    }
    if let Some(certified) = certified {
        was.push_str(&format!(", access until {}", utc(certified.access_until)));
    }
    Some(was)
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
