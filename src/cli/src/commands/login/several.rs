//! Several hosts in one request have one rule. Where none covers all of them: which would cover each, so
//! that they can be asked for apart.

use jit_ssh_core::key::SubjectKey;
use jit_ssh_core::names::HostName;
use jit_ssh_core::plain::harmless;

use super::ask::request_for;
use super::dry_run::UNSAID;
use crate::ca::Ca;
use crate::failure::{Failure, Outcome};
use crate::grants::Subject;
use crate::submission::explain_open;
use crate::text::all_of;
use crate::wish::Wish;

/// What is needed to say so after the key has gone into the request.
pub(super) struct Apart {
    key: SubjectKey,
}

/// Hosts that one rule covers together, or that none covers.
struct Group {
    rule: Option<String>,
    hosts: Vec<HostName>,
}

impl Apart {
    /// Of the key that is asked for.
    pub(super) fn of(subject: &Subject) -> Result<Apart, Failure> {
        Ok(Apart { key: subject.public()? })
    }

    /// The refusal of a request for several hosts, with what would be said of each by itself. Any other
    /// failure is given back as it is.
    pub(super) async fn explained(
        &self,
        ca: &mut Ca<'_>,
        wish: &Wish,
        refused: Failure,
    ) -> Failure {
        if refused.outcome != Outcome::Refused || wish.hosts.len() < 2 {
            return refused;
        }
        let mut groups: Vec<Group> = Vec::new();
        for host in &wish.hosts {
            let alone = Wish { hosts: vec![host.clone()], ..wish.clone() };
            let reason = wish.reason().unwrap_or(UNSAID).to_owned();
            let Ok(request) = request_for(ca.enrolment, &alone, self.key.clone(), reason) else {
                return refused;
            };
            let rule = match explain_open(ca, &request).await {
                Ok(answer) => Some(harmless(&answer.rule)),
                Err(alone) if alone.outcome == Outcome::Refused => None,
                // Nobody knows: the refusal itself is said all the same.
                Err(_) => return refused,
            };
            match groups.iter_mut().find(|group| group.rule == rule) {
                Some(group) => group.hosts.push(host.clone()),
                None => groups.push(Group { rule, hosts: vec![host.clone()] }),
            }
        }
        told(wish, groups, refused)
    }
}

fn told(wish: &Wish, groups: Vec<Group>, refused: Failure) -> Failure {
    // None is covered, or all are by one rule: then it was refused for something else.
    if groups.len() < 2 {
        return refused;
    }
    let names =
        |hosts: &[HostName]| all_of(&hosts.iter().map(HostName::as_str).collect::<Vec<_>>());
    let each: Vec<String> = groups
        .iter()
        .map(|group| match &group.rule {
            Some(rule) => format!("the rule {rule} covers {}", names(&group.hosts)),
            None => format!("no rule covers {}", names(&group.hosts)),
        })
        .collect();
    let commands: Vec<String> = groups
        .iter()
        .filter(|group| group.rule.is_some())
        .map(|group| {
            let hosts: Vec<&str> = group.hosts.iter().map(HostName::as_str).collect();
            format!("jit-ssh login {} --as {}", hosts.join(" "), wish.login)
        })
        .collect();
    Failure {
        message: format!("no one rule covers all of these hosts: {}.", each.join("; ")),
        hint: Some(format!("ask apart: {}", commands.join("; "))),
        ..refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wish::Manner;

    #[test]
    fn which_rule_covers_which_host_is_said_with_the_commands_that_ask_apart() {
        let host = |name: &str| -> HostName { name.parse().unwrap() };
        let wish = Wish {
            only: None,
            hosts: vec![host("a"), host("b"), host("c"), host("d")],
            login: "deploy".parse().unwrap(),
            span: None,
            because: None,
            permit: None,
            manner: Manner::Usual,
        };
        let group = |rule: Option<&str>, hosts: &[&str]| Group {
            rule: rule.map(str::to_owned),
            hosts: hosts.iter().map(|name| host(name)).collect(),
        };
        let refused = Failure::new(Outcome::Refused, "POLICY_REFUSED", "no rule.").hint("ask");
        let groups =
            vec![group(Some("x"), &["a", "c"]), group(Some("y"), &["b"]), group(None, &["d"])];
        let told_of = told(&wish, groups, refused.clone());
        assert_eq!(
            told_of.message,
            "no one rule covers all of these hosts: the rule x covers a and c; the rule y covers b; no rule covers d."
        );
        assert_eq!(
            told_of.hint.as_deref(),
            Some("ask apart: jit-ssh login a c --as deploy; jit-ssh login b --as deploy")
        );
        assert_eq!((told_of.outcome, told_of.name), (Outcome::Refused, "POLICY_REFUSED".into()));
        // Where nothing is covered, or all is by one rule, it is refused for what it says.
        for rule in [None, Some("x")] {
            assert_eq!(told(&wish, vec![group(rule, &["a", "b"])], refused.clone()), refused);
        }
    }
}
