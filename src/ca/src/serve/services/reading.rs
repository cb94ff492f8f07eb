//! `Access.Get`, and how what people type becomes a request.

use std::sync::Arc;

use jit_ssh_api::v1;
use jit_ssh_core::digest::{Digest, IdPrefix};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::time::UnixTime;

use crate::serve::call::Call;
use crate::serve::front::{Front, unknown_request};
use crate::serve::in_force::Standing;
use crate::serve::memory::Known;
use crate::serve::sessions::Caller;
use crate::serve::store::{IdRange, ListQuery, MAX_MATCHES, Of};
use crate::serve::{clock, show, told};

/// How many requests of one person are looked through for what was granted before: so many chunks of
/// so many. The newest chunk has it, mostly.
const EARLIER_CHUNKS: u32 = 16;
const EARLIER_CHUNK: u32 = 32;

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
    access.told = front.heard.of(known.chain.digest(), &access.approvers);
    let earlier_grant = match message.earlier_grant {
        true => earlier_grant(front, &in_force, &caller, &known, now).await?,
        false => None,
    };
    Ok(v1::GetResponse { access: Some(access), earlier_grant })
}

/// The latest request before `of` by which the same subject was granted access to one of the same
/// hosts, if the caller may see it.
async fn earlier_grant(
    front: &Front,
    in_force: &Standing,
    caller: &Caller,
    of: &Known,
    now: UnixTime,
) -> Result<Option<v1::AccessState>, Refusal> {
    let (asked, mut after) = (of.chain.request().body(), None);
    for _ in 0..EARLIER_CHUNKS {
        let query = ListQuery {
            of: Of::Own(asked.subject.clone()),
            since: None,
            after,
            limit: EARLIER_CHUNK,
        };
        let found = front.store.list(query).await?;
        let more = show::count(found.len()) == EARLIER_CHUNK;
        for stored in found {
            after = Some(Digest::of(&stored.request.bytes));
            let Some(known) = front.memory.read(&*front.store, stored).await? else { continue };
            let before = known.chain.request().body();
            let alike = known.chain.digest() != of.chain.digest()
                && before.at <= asked.at
                && before.subject == asked.subject
                && before.hosts.iter().any(|host| asked.hosts.contains(host));
            if !alike || !front.eras.sees(caller, &known, in_force, now).await {
                continue;
            }
            let views = front.eras.views(&known, in_force, now).await;
            let access = show::access(&known, &views, now);
            if access.approved_at > 0 {
                return Ok(Some(access));
            }
        }
        if !more {
            break;
        }
    }
    Ok(None)
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
    let mut matches = front.store.requests_with(IdRange::of(&prefix)).await?;
    let many = show::count(matches.len()) >= MAX_MATCHES;
    if matches.is_empty() {
        // What waits is listed from memory, a moment before the store has it.
        let waiting = front.memory.waiting().into_iter().map(|known| known.chain.digest());
        matches = waiting.filter(|digest| prefix.matches(&digest.short_id())).collect();
    }
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
