//! An explanation as programs and people read it.

use jit_ssh_core::bundle::{Allow, Bundle};
use jit_ssh_core::lifecycle::Basis;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::policy::judgement::{AskedStep, Judgement};
use jit_ssh_core::statement::Request;
use serde::Serialize;

use super::past::{Certificate, Standing};
use crate::policy::config::count;
use crate::terminal::utc;

/// What is said of one request.
#[derive(Debug, Serialize)]
pub(super) struct Explained {
    /// The request's id, of a real one.
    pub(super) id: Option<String>,
    who: String,
    for_person: Option<String>,
    hosts: Vec<String>,
    logins: Vec<String>,
    r#for: String,
    at: u64,
    reason: String,
    /// `approvals`, `auto`, `break-glass` or `refused`.
    pub(super) decision: &'static str,
    pub(super) rule: Option<String>,
    pub(super) refusal: Option<PrintedRefusal>,
    pub(super) denied_by: Option<String>,
    pub(super) nearest: Option<String>,
    pub(super) approvals: usize,
    pub(super) steps: Vec<PrintedStep>,
    /// The admins who may review it beside them, of a break-glass request; empty where the CA's root is
    /// not at hand to name them.
    pub(super) admins: Option<Vec<String>>,
    pub(super) clocks: Option<Clocks>,
    pub(super) standing: Option<Standing>,
    /// What was certified. The rule and its approvals are those of then.
    pub(super) certified: Option<Certificate>,
    /// How the rules of now decide what was certified by others.
    pub(super) otherwise: Option<String>,
    /// Why the other rules do not decide.
    pub(super) others: Vec<PrintedOther>,
}

#[derive(Debug, Serialize)]
pub(super) struct PrintedRefusal {
    error: String,
    message: String,
    hint: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct PrintedStep {
    asks: String,
    persons: Vec<String>,
    /// Approvals that count, of a real request.
    pub(super) given: Option<usize>,
}

#[derive(Debug, Serialize)]
pub(super) struct Clocks {
    decide_within: String,
    use_within: String,
    max_for: String,
    cert_for: String,
}

#[derive(Debug, Serialize)]
pub(super) struct PrintedOther {
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
            decision: judgement.basis().map_or("refused", basis),
            rule: judgement.decision.as_ref().ok().map(|rule| rule.name.to_string()),
            refusal,
            denied_by: judgement.denied_by.map(|deny| deny.name.to_string()),
            nearest: judgement.nearest.map(|rule| rule.name.to_string()),
            approvals: judgement.approvals(),
            steps: judgement.steps(bundle).iter().map(PrintedStep::of).collect(),
            admins: match judgement.basis() {
                Some(Basis::BreakGlass) => admins(request, bundle),
                Some(Basis::Approvals | Basis::Auto) | None => None,
            },
            clocks: judgement.decision.as_ref().ok().map(|rule| Clocks::of(rule, request)),
            standing: None,
            certified: None,
            otherwise: None,
            others: others.collect(),
        }
    }

    /// For people.
    pub(super) fn in_words(&self) -> String {
        let mut lines = vec![self.heading()];
        match (&self.rule, &self.refusal) {
            (Some(rule), _) if self.certified.is_some() => {
                lines.push(format!("rule: {rule} decided{}", self.how_it_was()));
            }
            (Some(rule), _) => lines.push(format!("rule: {rule} {}", self.how())),
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
        lines.extend(self.admins.iter().map(|admins| match admins.as_slice() {
            [] => "reviews: or an admin of the CA".to_owned(),
            admins => format!("reviews: or an admin: {}", admins.join(", ")),
        }));
        lines.extend(self.clocks.iter().map(|clocks| self.clocks(clocks)));
        lines.extend(self.certified.iter().map(Certificate::in_words));
        lines.extend(self.standing.iter().flat_map(Standing::in_words));
        lines.extend(self.otherwise.iter().cloned());
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
        let over = self.standing.as_ref().is_some_and(|standing| standing.over);
        let [decides, needs, lets] =
            if over { ["decided", "needed", "let"] } else { ["decides", "needs", "lets"] };
        match self.decision {
            "auto" => format!("{decides}, by itself"),
            "break-glass" => format!("{decides}, and {lets} it go ahead without approvals"),
            _ => format!("{decides}, and {needs} {}", count(self.approvals, "approval")),
        }
    }

    /// The same of what was certified.
    fn how_it_was(&self) -> String {
        let by = self.certified.as_ref().map(|certified| certified.approved_by.as_slice());
        match (self.decision, by) {
            ("auto", _) => ", by itself".to_owned(),
            ("break-glass", _) => ", and let it go ahead without approvals".to_owned(),
            (_, Some(by)) if !by.is_empty() => format!(", approved by {}", by.join(", ")),
            _ => String::new(),
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
    /// Those of a rule for such a request: break-glass and extensions have a longest time of their own.
    fn of(rule: &Allow, request: &Request) -> Clocks {
        let glass = rule.break_glass.as_ref().filter(|_| request.break_glass.is_some());
        let extend = rule.extend.as_ref().filter(|_| request.extends.is_some());
        let max_for = match (glass, extend) {
            (Some(glass), _) => glass.max_for.min(rule.max_for),
            (None, Some(extend)) => extend.max,
            (None, None) => rule.max_for,
        };
        Clocks {
            decide_within: rule.decide_within.to_string(),
            use_within: rule.use_within.to_string(),
            max_for: max_for.to_string(),
            cert_for: rule.cert_for.min(max_for).to_string(),
        }
    }
}

/// What approves, as programs read it.
pub(super) fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Approvals => "approvals",
        Basis::Auto => "auto",
        Basis::BreakGlass => "break-glass",
    }
}

/// The admins who may review a break-glass request: whatever the policy says, but not their own.
fn admins(request: &Request, bundle: &Bundle) -> Option<Vec<String>> {
    let others = bundle.admins.iter().map(|(id, _)| id);
    let others = others.filter(|id| **id != request.by && **id != request.subject);
    let others: Vec<String> = others.map(ToString::to_string).collect();
    // A CA has admins: without any, its root is not here.
    (bundle.admins.is_empty() || !others.is_empty()).then_some(others)
}

pub(super) fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
