//! The line of who waits: what is waited for, who can give it and who heard of it, and the time.

use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{Decision, Verdict};
use jit_ssh_core::time::UnixTime;

use super::details::access;
use super::{View, step_words};
use crate::text::{all_of, either, relative, span, utc};

/// How a moment to come is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// In a line that is rewritten each second: how much is left, and how long it waits.
    Runs,
    /// In a line that stays: the moment itself.
    Stands,
}

impl View {
    /// The line of a pending request, in forms from the fullest to the shortest; harmless.
    pub(crate) fn waiting(&self, clock: Clock, now: UnixTime) -> Vec<String> {
        let said = &self.said;
        let rule = match said.rule.as_str() {
            "" => String::new(),
            rule => format!(" (rule {})", harmless(rule)),
        };
        let who = either(&said.approvers);
        let given = self.count();
        let told = match said.told.as_slice() {
            [] => "nobody told yet".to_owned(),
            told => format!("told: {}", all_of(told)),
        };
        let by = UnixTime(said.decide_by);
        let lapses = match clock {
            Clock::Runs => format!("lapses {}", relative(by, now)),
            Clock::Stands => format!("lapses at {}", utc(by)),
        };
        let waited = match clock {
            Clock::Runs => format!("; waiting {}", span(now.since(self.asked().at))),
            Clock::Stands => String::new(),
        };
        let opens = self.asked().not_before.filter(|opens| *opens > now);
        let opens = opens.map(|opens| match clock {
            Clock::Runs => format!("; opens {}", relative(opens, now)),
            Clock::Stands => format!("; opens at {}", utc(opens)),
        });
        let opens = opens.unwrap_or_default();
        let id = self.id();
        let missing = self.missing();
        let few = match said.approvers.len() {
            0 | 1 => who.clone(),
            many => format!("{many} people"),
        };
        vec![
            format!(
                "{id}{rule} waits for {who}: {given}{missing}; {told}; {lapses}{waited}{opens}"
            ),
            format!("{id}{rule} waits for {who}: {given}; {told}; {lapses}{waited}{opens}"),
            format!("{id}{rule} waits for {few}: {given}; {lapses}{waited}"),
            format!("{id} waits for {few}: {given}; {lapses}{waited}"),
            format!("{id}: {given}; {lapses}"),
            format!("{id} {lapses}"),
        ]
    }

    /// How many approvals there are, and whose: `1 of 2 approvals (bob)`.
    fn count(&self) -> String {
        let said = &self.said;
        let by: Vec<String> = self
            .approvals()
            .filter(|(_, counts)| *counts)
            .map(|(approval, _)| approval.by.to_string())
            .collect();
        let by = if by.is_empty() { String::new() } else { format!(" ({})", all_of(&by)) };
        format!("{} of {} approvals{by}", said.approvals_given, said.approvals_needed)
    }

    /// The approvals that were given, by what was signed, and whether each counts.
    fn approvals(&self) -> impl Iterator<Item = (&Decision, bool)> {
        let all = self.decisions.iter().map(|(decision, counts)| (decision.body(), *counts));
        all.filter(|(decision, _)| decision.verdict == Verdict::Approve)
    }

    /// What was decided since `before` was shown, a sentence each; harmless.
    pub(crate) fn news_since(&self, before: Option<&View>) -> Vec<String> {
        let Some(before) = before else { return Vec::new() };
        let known = |by: &Decision| before.approvals().any(|(other, _)| other == by);
        let said = &self.said;
        let tell = |(approval, counts): (&Decision, bool)| {
            let less = self.narrowed(approval).map(|less| format!(" {less}")).unwrap_or_default();
            let why = approval.reason.as_deref().map(|why| format!(" ({})", harmless(why)));
            let counted = match counts {
                true => format!(": {} of {}", said.approvals_given, said.approvals_needed),
                false => ", which does not count".to_owned(),
            };
            format!("{} approved{less}{counted}{}.", approval.by, why.unwrap_or_default())
        };
        self.approvals().filter(|(approval, _)| !known(approval)).map(tell).collect()
    }

    /// What an approval allows, where that is less than what was asked: `5m as deploy on prod-host`.
    pub(crate) fn narrowed(&self, decision: &Decision) -> Option<String> {
        let (span, hosts, logins) = decision.bounds()?;
        let asked = self.asked();
        let less = span < asked.r#for
            || hosts.len() < asked.hosts.len()
            || logins.len() < asked.logins.len();
        less.then(|| access(span, hosts, logins))
    }

    /// What is still missing, where that says more than the count does.
    pub(super) fn missing(&self) -> String {
        let said = &self.said;
        let telling = said.steps.len() > 1 || said.steps.iter().any(super::standing::is_strong);
        let open = said.steps.iter().filter(|step| telling && step.given < step.needed);
        let missing: Vec<String> =
            open.map(|step| step_words(step, step.needed.saturating_sub(step.given))).collect();
        match missing.as_slice() {
            [] => String::new(),
            missing => format!(", missing {}", missing.join(" and ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::tests::{ca, grant};
    use crate::text::columns;
    use crate::view::tests::{said_of, signed};
    use jit_ssh_api::v1;
    use jit_ssh_core::time::Seconds;

    const NOW: UnixTime = UnixTime(1_790_000_032);

    #[test]
    fn the_line_names_rule_people_and_times_and_gives_way_where_there_is_less_room() {
        let grant = grant("INC-42");
        let asked = grant.request.body();
        let approval = |by: &str, span: u32| {
            let (hosts, logins) = (asked.hosts.clone(), asked.logins.clone());
            let (by, span) = (by.parse().unwrap(), Seconds::new(span).unwrap());
            let why = Some("short \u{202e}".to_owned());
            let said = Decision::approve(ca(), by, grant.digest(), span, hosts, logins, why, NOW);
            v1::Decision { statement: Some(signed(&said)), counts: true, ..v1::Decision::default() }
        };
        let view = |decisions: Vec<v1::Decision>| {
            let said = v1::AccessState {
                rule: "prod\u{202e}".into(),
                approvers: vec!["carol".into(), "dave".into()],
                told: vec!["carol".into()],
                approvals_given: u32::try_from(decisions.len()).unwrap(),
                approvals_needed: 2,
                decide_by: NOW.0 + 900,
                decisions,
                ..said_of(&grant)
            };
            View::open(said, &ca()).unwrap()
        };
        let (before, after) = (view(vec![]), view(vec![approval("bob", 300)]));
        let id = after.id();
        let forms = after.waiting(Clock::Runs, NOW);
        assert_eq!(
            forms[0],
            format!(
                "{id} (rule prod\\u{{202e}}) waits for carol or dave: 1 of 2 approvals (bob); \
                 told: carol; lapses in 15m; waiting 32s"
            )
        );
        assert!(forms.windows(2).all(|two| columns(&two[0]) >= columns(&two[1])), "{forms:?}");
        assert_eq!(forms.last().unwrap(), &format!("{id} lapses in 15m"));
        // What stays must stay true: it names moments, and no time that passes.
        let stands = &after.waiting(Clock::Stands, NOW)[0];
        assert!(stands.ends_with("told: carol; lapses at 2026-09-21 14:28:52 UTC"), "{stands}");
        assert_eq!(*stands, after.waiting(Clock::Stands, NOW.plus_secs(9))[0]);

        assert!(after.news_since(None).is_empty() && after.news_since(Some(&after)).is_empty());
        assert_eq!(
            after.news_since(Some(&before)),
            ["bob approved 5m as deploy on prod-host: 1 of 2 (short \\u{202e})."]
        );
        let full = view(vec![approval("bob", 600)]);
        assert!(full.news_since(Some(&before))[0].starts_with("bob approved: 1 of 2 ("));
    }
}
