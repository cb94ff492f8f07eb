//! `Access.Get` and `Access.Check`, and how what people type becomes a request.

use std::sync::Arc;

use jit_ssh_api::v1;
use jit_ssh_core::digest::{Digest, IdPrefix};
use jit_ssh_core::enrolment::View;
use jit_ssh_core::lifecycle::{Status, evaluate};
use jit_ssh_core::names::{ActorId, HostName, Login, Principal};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::time::UnixTime;

use crate::serve::call::Call;
use crate::serve::front::{Front, unknown_request};
use crate::serve::in_force::Standing;
use crate::serve::memory::Known;
use crate::serve::sessions::Caller;
use crate::serve::store::{IdRange, ListQuery, MAX_MATCHES, Of};
use crate::serve::{OPEN_FOR, clock, show, told};

/// Most requests of one person that `Check` looks at, newest first.
const MAX_CHECKED: u32 = 1000;

pub(super) async fn get(call: &Call, message: &v1::GetRequest) -> Result<v1::GetResponse, Refusal> {
    let in_force = call.front().trusted.bundle()?;
    let caller = call.caller()?;
    let known = find(call.front(), &in_force, &caller, &message.id).await?;
    call.about(known.chain.digest());
    let now = clock::now();
    let front = call.front();
    let views = front.eras.views(&known, &in_force, now).await;
    let mut access = show::access(&known, &views, now);
    let stored = front.store.reports(known.chain.digest()).await?;
    let serials: Vec<u64> = known.issued.iter().map(|issued| issued.serial).collect();
    let request = known.chain.request();
    let uses = told::uses(request, &serials, &stored, in_force.view(), &front.fingerprint);
    access.uses = uses.iter().map(show::used).collect();
    Ok(v1::GetResponse { access: Some(access) })
}

/// The request that `text` names: an id, a prefix of one, or a digest. Only what the caller may see
/// exists.
///
/// # Errors
/// [`Reason::UnknownRequest`], [`Reason::AmbiguousId`], [`Reason::Malformed`].
pub(super) async fn find(
    front: &Front,
    in_force: &Standing,
    caller: &Caller,
    text: &str,
) -> Result<Arc<Known>, Refusal> {
    if let Ok(digest) = text.parse::<Digest>() {
        let known = front.known(digest).await?;
        return if front.eras.sees(caller, &known, in_force, clock::now()).await {
            Ok(known)
        } else {
            Err(unknown_request(digest.short_id()))
        };
    }
    let prefix: IdPrefix =
        text.parse().map_err(|error| Refusal::new(Reason::Malformed, format!("id: {error}.")))?;
    let matches = front.store.requests_with(IdRange::of(&prefix)).await?;
    let many = show::count(matches.len()) >= MAX_MATCHES;
    let mut seen = Vec::new();
    for digest in matches {
        let Some(known) = front.memory.get(&*front.store, digest).await? else { continue };
        if front.eras.sees(caller, &known, in_force, clock::now()).await {
            seen.push(known);
        }
    }
    match (seen.pop(), seen.pop()) {
        (Some(known), None) if !many => Ok(known),
        (None, _) if !many => Err(unknown_request(prefix.as_str())),
        (None | Some(_), _) => Err(Refusal::new(
            Reason::AmbiguousId,
            format!("several requests begin with {}.", prefix.as_str()),
        )
        .hint("type more of the id")),
    }
}

pub(super) async fn check(
    call: &Call,
    message: &v1::CheckRequest,
) -> Result<v1::CheckResponse, Refusal> {
    let front = call.front();
    let in_force = front.trusted.bundle()?;
    let bundle = &in_force.bundle;
    let caller = call.caller()?;
    let subject: ActorId = field("subject", &message.subject)?;
    let login: Login = field("login", &message.login)?;
    let host: HostName = field("host", &message.host)?;
    let is_machine = bundle.people.get(&caller.id).is_some_and(|actor| !actor.is_person());
    if !(is_machine || caller.reads_all() || caller.id == subject) {
        return Err(Refusal::new(
            Reason::NotAllowed,
            format!("{} may not ask what {subject} may do.", caller.id),
        ));
    }
    let principal = Principal::new(login, host);
    let now = clock::now();
    let query = ListQuery {
        of: Of::Own(subject.clone()),
        since: Some(now.minus_secs(OPEN_FOR)),
        after: None,
        limit: MAX_CHECKED,
    };
    let mut best = v1::CheckResponse::default();
    for stored in front.store.list(query).await? {
        let Some(known) = front.memory.read(&*front.store, stored).await? else { continue };
        if known.chain.request().body().subject != subject {
            continue;
        }
        if let Some(until) = allowed_until(&known, &principal, in_force.view(), now)
            && until.0 > best.access_until
        {
            let id = known.chain.request().id().to_string();
            best = v1::CheckResponse { allowed: true, access_until: until.0, id };
        }
    }
    Ok(best)
}

/// Until when a request lets its subject in as `principal`; `None` if it does not at `now`: not
/// before it opens, and not when it was given back, taken away, or fell with what it prolongs.
fn allowed_until(
    known: &Known,
    principal: &Principal,
    view: View<'_>,
    now: UnixTime,
) -> Option<UnixTime> {
    let evaluation = evaluate(&known.chain, view, now);
    let (Status::Approved | Status::Active, Some(grant)) = (&evaluation.status, &evaluation.grant)
    else {
        return None;
    };
    let open = grant.opens_at <= now && grant.principals().contains(principal);
    open.then(|| grant.access_until())
}

fn field<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &str,
    text: &str,
) -> Result<T, Refusal> {
    text.parse().map_err(|error| Refusal::new(Reason::Malformed, format!("{name}: {error}.")))
}

#[cfg(test)]
mod tests;
