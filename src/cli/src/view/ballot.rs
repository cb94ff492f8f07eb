//! What a person is shown who decides: what was asked, what the rule asks, what was granted there
//! before, and what the decision itself says. What was signed, or is about to be, is read from those
//! bytes; what only the CA says is said to be so by standing under `rule`.

use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{Decision, Verdict};
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use super::details::{access, key_words};
use super::{View, step_words};
use crate::text::{all_of, relative};

/// What was granted before, in `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct EarlierRow<'a> {
    id: String,
    granted: String,
    reason: &'a str,
    at: UnixTime,
    approved_by: Vec<String>,
}

impl View {
    /// All there is to know before a decision; `earlier` is what was granted before, as far as it is
    /// to be seen.
    pub(crate) fn ballot(
        &self,
        earlier: Option<&View>,
        now: UnixTime,
    ) -> Vec<(&'static str, String)> {
        let said = &self.said;
        let mut lines = self.asked_lines();
        let rule = match (said.rule.as_str(), said.steps.as_slice()) {
            ("", _) => "no rule covers this any more".to_owned(),
            (rule, []) => harmless(rule),
            (rule, steps) => {
                let asks: Vec<String> =
                    steps.iter().map(|step| step_words(step, step.needed)).collect();
                format!("{} asks {}", harmless(rule), asks.join(" and "))
            }
        };
        lines.push(("rule", rule));
        for (decision, counts) in &self.decisions {
            let (body, key) = (decision.body(), key_words(decision.key(), decision.presence()));
            let verdict = match body.verdict {
                Verdict::Approve => "approved",
                Verdict::Deny => "denied",
            };
            let less = self.narrowed(body).map(|less| format!(" {less}")).unwrap_or_default();
            let counts = if *counts { "" } else { "; does not count" };
            let ago = relative(body.at, now);
            lines.push(("so far", format!("{} {verdict}{less} {ago}, by {key}{counts}", body.by)));
        }
        if self.asked().break_glass.is_none() {
            lines.push(("lapses", relative(UnixTime(said.decide_by), now)));
        }
        lines.push(("granted before", self.before(earlier, now)));
        lines
    }

    /// What the same person was granted there before, by what was signed.
    fn before(&self, earlier: Option<&View>, now: UnixTime) -> String {
        let Some(before) = earlier.filter(|before| self.is_like(before)) else {
            let who = &self.asked().subject;
            return format!("nothing for {who} there, as far as you may see");
        };
        let by = before.approved_by();
        let by = if by.is_empty() { String::new() } else { format!(", by {}", all_of(&by)) };
        format!(
            "{}, {}{by}: {} (request {})",
            before.granted(),
            relative(before.asked().at, now),
            harmless(&before.asked().reason),
            before.id()
        )
    }

    /// Whether another request is what the CA was asked for: of the same subject, for one of the same
    /// hosts, made before.
    fn is_like(&self, before: &View) -> bool {
        let (asked, then) = (self.asked(), before.asked());
        then.subject == asked.subject
            && then.at <= asked.at
            && before.digest() != self.digest()
            && then.hosts.iter().any(|host| asked.hosts.contains(host))
    }

    fn approved_by(&self) -> Vec<String> {
        let decisions = self.decisions.iter().filter(|(_, counts)| *counts);
        let approvals = decisions.filter(|(d, _)| d.body().verdict == Verdict::Approve);
        approvals.map(|(decision, _)| decision.body().by.to_string()).collect()
    }

    /// What was asked and not narrowed by any approval that counts: so much was granted.
    fn granted(&self) -> String {
        let asked = self.asked();
        let (mut span, mut hosts, mut logins) =
            (asked.r#for, asked.hosts.clone(), asked.logins.clone());
        for (decision, _) in self.decisions.iter().filter(|(_, counts)| *counts) {
            if let Some((at_most, on, as_whom)) = decision.body().bounds() {
                span = span.min(at_most);
                hosts.retain(|host| on.contains(host));
                logins.retain(|login| as_whom.contains(login));
            }
        }
        access(span, &hosts, &logins)
    }

    /// What was granted before, for programs.
    pub(crate) fn earlier_row<'a>(&self, earlier: Option<&'a View>) -> Option<EarlierRow<'a>> {
        let before = earlier.filter(|before| self.is_like(before))?;
        Some(EarlierRow {
            id: before.id().to_string(),
            granted: before.granted(),
            reason: &before.asked().reason,
            at: before.asked().at,
            approved_by: before.approved_by(),
        })
    }

    /// What a decision on it says, from the statement that will be signed.
    pub(crate) fn signing(&self, decision: &Decision) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let review = self.asked().break_glass.is_some();
        match (decision.bounds(), decision.verdict, review) {
            (_, verdict, true) => {
                let says = match verdict {
                    Verdict::Approve => "that it was right",
                    Verdict::Deny => "that it was not right",
                };
                lines.push((
                    "YOU REVIEW",
                    format!("{says}; it went ahead without approvals, so this allows nothing and ends nothing"),
                ));
            }
            (Some((span, hosts, logins)), Verdict::Approve, false) => {
                lines.push(("YOU ALLOW", access(span, hosts, logins)));
                if self.narrowed(decision).is_some() {
                    let asked = self.asked();
                    let all = access(asked.r#for, &asked.hosts, &asked.logins);
                    lines.push(("instead of", format!("{all}, which was asked for")));
                }
            }
            (None, Verdict::Approve, false) => lines.push(("YOU ALLOW", "nothing".to_owned())),
            (_, Verdict::Deny, false) => lines.push(("YOU DENY", "all of it".to_owned())),
        }
        let because = decision.reason.as_deref().map_or_else(|| "-".to_owned(), harmless);
        lines.push(("because", because));
        lines.push(("you are", decision.by.to_string()));
        lines
    }
}
