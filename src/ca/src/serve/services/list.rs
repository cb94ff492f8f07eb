//! `Access.List`: requests by page, newest first.

use jit_ssh_api::v1;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::lifecycle::{Evaluation, Status, evaluate};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::time::UnixTime;

use crate::serve::call::Call;
use crate::serve::in_force::InForce;
use crate::serve::memory::Known;
use crate::serve::sessions::Caller;
use crate::serve::store::ListQuery;
use crate::serve::visibility::{awaits, is_own, may_see};
use crate::serve::{OPEN_FOR, clock, show};

/// Requests of one page, if the caller does not say.
const DEFAULT_LIMIT: usize = 100;
/// Most requests of one page.
const MAX_LIMIT: usize = 1000;
/// Requests read from the store at a time.
const CHUNK: u32 = 128;
/// Most requests looked at for one page: a person who may see few among many gets what is found
/// among the newest of these.
const MAX_LOOKED_AT: usize = 20_000;

/// What is asked for.
struct Wanted<'c> {
    caller: &'c Caller,
    in_force: &'c InForce,
    scope: v1::Scope,
    open_only: bool,
    now: UnixTime,
}

pub(super) async fn list(
    call: &Call,
    message: &v1::ListRequest,
) -> Result<v1::ListResponse, Refusal> {
    let in_force = call.front().trusted.bundle()?;
    let caller = call.caller()?;
    let malformed = |problem: String| Refusal::new(Reason::Malformed, problem);
    let scope = v1::Scope::try_from(message.scope).unwrap_or(v1::Scope::Unspecified);
    if scope == v1::Scope::Unspecified {
        return Err(malformed("scope: name one.".to_owned()));
    }
    let limit = match usize::try_from(message.limit) {
        Ok(0) => DEFAULT_LIMIT,
        Ok(limit) if limit <= MAX_LIMIT => limit,
        _ => return Err(malformed(format!("limit: at most {MAX_LIMIT}."))),
    };
    let after: Option<Digest> = match message.after.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|error| malformed(format!("after: {error}.")))?),
    };
    let wanted = Wanted {
        caller: &caller,
        in_force: &in_force,
        scope,
        open_only: message.open_only,
        now: clock::now(),
    };
    match scope {
        v1::Scope::ToDecide => Ok(to_decide(call, &wanted, after, limit)),
        v1::Scope::Mine | v1::Scope::All | v1::Scope::Unspecified => {
            from_store(call, &wanted, after, limit).await
        }
    }
}

/// Everything that can wait for a decision is in memory.
fn to_decide(
    call: &Call,
    wanted: &Wanted<'_>,
    after: Option<Digest>,
    limit: usize,
) -> v1::ListResponse {
    let mut found = Vec::new();
    for known in call.front().memory.undecided() {
        if let Some(access) = wanted.show(&known) {
            found.push((known.chain.request().body().at, known.chain.digest(), access));
        }
    }
    found.sort_by_key(|(at, digest, _)| std::cmp::Reverse((*at, *digest)));
    let skipped = after.map_or(0, |after| {
        found
            .iter()
            .position(|(_, digest, _)| *digest == after)
            .map_or(0, |place| place.saturating_add(1))
    });
    let more = found.len().saturating_sub(skipped) > limit;
    let accesses = found.into_iter().skip(skipped).take(limit).map(|(_, _, access)| access);
    v1::ListResponse { accesses: accesses.collect(), more }
}

async fn from_store(
    call: &Call,
    wanted: &Wanted<'_>,
    mut after: Option<Digest>,
    limit: usize,
) -> Result<v1::ListResponse, Refusal> {
    let front = call.front();
    let of = (wanted.scope == v1::Scope::Mine).then(|| wanted.caller.id.clone());
    // What is open is young: no rule lets anything stand longer.
    let since = wanted.open_only.then(|| wanted.now.minus_secs(OPEN_FOR));
    let mut accesses = Vec::new();
    let mut looked_at = 0usize;
    loop {
        let query = ListQuery { of: of.clone(), since, after, limit: CHUNK };
        let chunk = front.store.list(query).await?;
        let full = show::count(chunk.len()) == CHUNK;
        looked_at = looked_at.saturating_add(chunk.len());
        for stored in chunk {
            let Some(known) = front.memory.read(stored) else { continue };
            after = Some(known.chain.digest());
            let Some(access) = wanted.show(&known) else { continue };
            if accesses.len() == limit {
                return Ok(v1::ListResponse { accesses, more: true });
            }
            accesses.push(access);
        }
        if !full || looked_at >= MAX_LOOKED_AT {
            let more = full && !accesses.is_empty();
            return Ok(v1::ListResponse { accesses, more });
        }
        // A long list must not hold up the calls beside it.
        tokio::task::yield_now().await;
    }
}

impl Wanted<'_> {
    /// The request as shown, if it is one of those asked for.
    fn show(&self, known: &Known) -> Option<v1::AccessState> {
        let bundle = &self.in_force.bundle;
        let evaluation = evaluate(&known.chain, bundle, self.now);
        let wanted = match self.scope {
            v1::Scope::Mine => is_own(&self.caller.id, known),
            v1::Scope::ToDecide => awaits(&self.caller.id, known, &evaluation, bundle),
            v1::Scope::All => may_see(self.caller, known, &evaluation, bundle),
            v1::Scope::Unspecified => false,
        };
        let open = !self.open_only || is_open(&evaluation);
        (wanted && open).then(|| show::access(known, &evaluation, bundle))
    }
}

fn is_open(evaluation: &Evaluation<'_>) -> bool {
    matches!(evaluation.status, Status::Pending | Status::Approved | Status::Active)
}
