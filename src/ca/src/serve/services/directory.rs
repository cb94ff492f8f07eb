//! `Hosts.List`: which hosts there are, for who could ask for them.

use std::collections::BTreeSet;

use jit_ssh_api::v1;
use jit_ssh_core::bundle::{Actor, Allow};
use jit_ssh_core::enrolment::{Found, View};
use jit_ssh_core::names::Login;
use jit_ssh_core::refusal::{Reason, Refusal};

use crate::serve::call::Call;
use crate::serve::clock;

/// Most hosts of one answer.
const MAX_HOSTS: usize = 1000;

pub(super) fn list(
    call: &Call,
    message: &v1::ListHostsRequest,
) -> Result<v1::ListHostsResponse, Refusal> {
    let in_force = call.front().trusted.bundle()?;
    let caller = call.caller()?;
    let limit = match usize::try_from(message.limit).unwrap_or(usize::MAX) {
        0 => MAX_HOSTS,
        limit if limit <= MAX_HOSTS => limit,
        _ => {
            let message = format!("limit: at most {MAX_HOSTS}.");
            return Err(Refusal::new(Reason::Malformed, message));
        }
    };
    let view = in_force.view();
    let actor = view.bundle.people.get(&caller.id);
    let rules = actor.map_or_else(Vec::new, |actor| rules(actor, view));
    let mut hosts: Vec<Found<'_>> = view
        .hosts(clock::now())
        .filter(|found| found.host().name.as_str() > message.after.as_str())
        .filter(|found| caller.reads_all() || !logins(*found, &rules).is_empty())
        .collect();
    let more = hosts.len() > limit;
    if more {
        // Only the first are shown: the others need no order.
        hosts.select_nth_unstable_by(limit, |one, other| one.host().name.cmp(&other.host().name));
        hosts.truncate(limit);
    }
    hosts.sort_unstable_by(|one, other| one.host().name.cmp(&other.host().name));
    let show = |found: Found<'_>| {
        let logins = if caller.reads_all() {
            found.host().logins.iter().collect()
        } else {
            logins(found, &rules)
        };
        shown(found, &logins)
    };
    Ok(v1::ListHostsResponse { hosts: hosts.into_iter().map(show).collect(), more })
}

/// The rules by which `actor` may ask.
fn rules<'b>(actor: &Actor, view: View<'b>) -> Vec<&'b Allow> {
    let rules = view.bundle.policy.allow.iter();
    rules.filter(|rule| rule.who.iter().any(|who| who.covers(actor))).collect()
}

/// The logins on a host that some of the rules are about.
fn logins<'b>(found: Found<'b>, rules: &[&Allow]) -> BTreeSet<&'b Login> {
    let host = found.host();
    let about = rules.iter().filter(|rule| rule.hosts.iter().any(|pattern| pattern.covers(host)));
    about.flat_map(|rule| host.logins.iter().filter(|login| rule.logins.contains(login))).collect()
}

fn shown(found: Found<'_>, logins: &BTreeSet<&Login>) -> v1::Host {
    let host = found.host();
    v1::Host {
        name: host.name.to_string(),
        address: host.address.clone().unwrap_or_default(),
        labels: host.labels.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        logins: logins.iter().map(ToString::to_string).collect(),
        until: found.until().map_or(0, |until| until.0),
        enroller: match found {
            Found::Listed(_) => String::new(),
            Found::Joined(joined) => joined.statement().body().by.to_string(),
        },
    }
}
