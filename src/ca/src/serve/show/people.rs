//! Who is asked, who could still act, and who is told: ids as the API names them, at most
//! [`MAX_NAMED`] of each.

use jit_ssh_core::bundle::{Allow, Approval, Bundle, Who};
use jit_ssh_core::lifecycle::{Evaluation, Status, could_approve};
use jit_ssh_core::names::ActorId;
use jit_ssh_core::statement::Request;

use crate::serve::memory::Known;

/// Most ids that are named.
const MAX_NAMED: usize = 50;

/// Who can still decide: for whom a place is left while the request is pending; after break-glass
/// who can review it. Nobody where it is decided, or where nobody is asked.
pub(in crate::serve) fn approvers(
    known: &Known,
    evaluation: &Evaluation<'_>,
    bundle: &Bundle,
) -> Vec<String> {
    let asked = evaluation.rule.map(|rule| could_approve(&known.chain, rule, bundle));
    let asked = asked.into_iter().flatten().map(|actor| &actor.id);
    if known.unreviewed() {
        let request = known.chain.request().body();
        let admins = bundle.admins.iter().map(|(admin, _)| admin);
        return named(asked.chain(admins.filter(|admin| is_other(admin, request))));
    }
    if evaluation.status == Status::Pending { named(asked) } else { Vec::new() }
}

/// Whom a rule asks to decide a request.
pub(in crate::serve) fn asked(rule: &Allow, request: &Request, bundle: &Bundle) -> Vec<String> {
    others(&from(rule), request, bundle)
}

/// Who is told of break-glass under a rule: who would have been asked, and whom the rule names.
pub(in crate::serve) fn told(rule: &Allow, request: &Request, bundle: &Bundle) -> Vec<String> {
    let Some(break_glass) = &rule.break_glass else { return Vec::new() };
    let mut who = from(rule);
    who.extend(break_glass.notify.iter().cloned());
    others(&who, request, bundle)
}

/// Whom the steps of a rule name.
fn from(rule: &Allow) -> Vec<Who> {
    match &rule.approval {
        Approval::Auto(_) => Vec::new(),
        Approval::Steps(steps) => steps.iter().flat_map(|step| step.from.clone()).collect(),
    }
}

/// The persons that `who` covers, but those of the request.
fn others(who: &[Who], request: &Request, bundle: &Bundle) -> Vec<String> {
    let persons = bundle.people.covered_by(who).map(|actor| &actor.id);
    named(persons.filter(|id| is_other(id, request)))
}

fn is_other(id: &ActorId, request: &Request) -> bool {
    *id != request.by && *id != request.subject
}

fn named<'i>(ids: impl Iterator<Item = &'i ActorId>) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    for id in ids {
        if named.len() >= MAX_NAMED {
            break;
        }
        // Few at a time: an admin may be asked as well.
        if !named.iter().any(|known| known == id.as_str()) {
            named.push(id.to_string());
        }
    }
    named
}
