//! `Access.List`: requests by page, newest first: by when they were made, then by id.
//!
//! What waits for somebody is in memory, whoever read what before. The rest is read from the store by
//! person, so that a page takes as long however many requests others have made. Only auditors and
//! admins look at everyone's. A page that looked at many requests in vain says where to go on.

use std::sync::Arc;

use jit_ssh_api::v1;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::lifecycle::{evaluate, is_live};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::time::UnixTime;

use crate::serve::call::Call;
use crate::serve::eras::Eras;
use crate::serve::in_force::Standing;
use crate::serve::memory::{Known, Memory, stays};
use crate::serve::sessions::Caller;
use crate::serve::store::{ListQuery, Of, Store};
use crate::serve::visibility::{awaits, is_own};
use crate::serve::{OPEN_FOR, clock, show};

/// Requests of one page, if the caller does not say.
const DEFAULT_LIMIT: usize = 100;
/// Most requests of one page.
const MAX_LIMIT: usize = 1000;
/// Requests read from the store at a time.
const CHUNK: u32 = 128;
/// Most requests looked at for one page: where few of them are wanted, the page ends here, and the next
/// one goes on.
const MAX_LOOKED_AT: usize = 20_000;

/// What is asked for.
struct Wanted<'c> {
    caller: &'c Caller,
    in_force: &'c Standing,
    scope: v1::Scope,
    open_only: bool,
    since: UnixTime,
    now: UnixTime,
    /// Most requests of the store to look at: [`MAX_LOOKED_AT`].
    look_at: usize,
}

/// Where requests are found.
#[derive(Clone, Copy)]
struct Shelves<'s> {
    eras: &'s Arc<Eras>,
    memory: &'s Memory,
    store: &'s dyn Store,
}

/// A place in the list: later is newer.
type Place = (UnixTime, Digest);

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
        since: UnixTime(message.since),
        now: clock::now(),
        look_at: MAX_LOOKED_AT,
    };
    let front = call.front();
    let shelves = Shelves { eras: &front.eras, memory: &front.memory, store: &*front.store };
    page(shelves, &wanted, after, limit).await
}

/// One page: what memory and store have, in one order.
async fn page(
    shelves: Shelves<'_>,
    wanted: &Wanted<'_>,
    after: Option<Digest>,
    limit: usize,
) -> Result<v1::ListResponse, Refusal> {
    let before = match after {
        Some(after) => match shelves.memory.get(shelves.store, after).await? {
            Some(known) => Some(place(&known)),
            // An unknown one is older than all.
            None => return Ok(v1::ListResponse::default()),
        },
        None => None,
    };
    let mut waiting = wanted.waiting(shelves, before).await;
    let mut accesses = Vec::new();
    let mut stored = Walk::new(shelves, wanted, after);
    // The last one looked at, whether or not it was wanted.
    let mut looked_at = None;
    loop {
        let next = stored.peek().await?;
        if stored.is_tired() {
            // What waits and is older comes with a later page, so that all stay in one order.
            return Ok(ended(accesses, looked_at));
        }
        // The newer one first; what is in both comes once.
        let newest = match (waiting.last().map(|known| place(known)), next) {
            (None, None) => return Ok(ended(accesses, None)),
            (Some(here), there) if there.is_none_or(|there| here >= there) => {
                if there == Some(here) {
                    stored.take();
                }
                waiting.pop()
            }
            (_, Some(_) | None) => stored.take(),
        };
        let Some(known) = newest else { continue };
        if wanted.wants(shelves, &known).await {
            if accesses.len() == limit {
                return Ok(ended(accesses, looked_at));
            }
            let views = shelves.eras.views(&known, wanted.in_force, wanted.now).await;
            accesses.push(show::access(&known, &views, wanted.now));
        }
        looked_at = Some(known.chain.digest());
    }
}

/// A page; if there may be more, it goes on after the request given.
fn ended(accesses: Vec<v1::AccessState>, next: Option<Digest>) -> v1::ListResponse {
    let more = next.is_some();
    v1::ListResponse { accesses, more, next: next.map(|d| d.to_string()).unwrap_or_default() }
}

fn place(known: &Known) -> Place {
    let request = known.chain.request();
    (request.body().at, request.digest())
}

/// Requests in the store, chunk by chunk.
struct Walk<'w> {
    shelves: Shelves<'w>,
    /// Whose; `None` if the store has none that are wanted.
    of: Option<Of>,
    since: UnixTime,
    after: Option<Digest>,
    /// Read and not taken yet, oldest first.
    chunk: Vec<Arc<Known>>,
    looked_at: usize,
    /// Most to look at.
    look_at: usize,
    /// Whether the store has more than was read.
    more: bool,
}

impl<'w> Walk<'w> {
    fn new(shelves: Shelves<'w>, wanted: &Wanted<'_>, after: Option<Digest>) -> Walk<'w> {
        let caller = wanted.caller;
        let of = match wanted.scope {
            v1::Scope::Mine => Some(Of::Own(caller.id.clone())),
            v1::Scope::All if caller.reads_all() => Some(Of::Everyone),
            v1::Scope::All => Some(Of::Concerning(caller.id.clone())),
            v1::Scope::ToDecide | v1::Scope::Unspecified => None,
        };
        // What is open is young: no rule lets anything stand longer.
        let young = if wanted.open_only { wanted.now.minus_secs(OPEN_FOR) } else { UnixTime(0) };
        let more = of.is_some();
        let since = wanted.since.max(young);
        let look_at = wanted.look_at;
        Walk { shelves, of, since, after, chunk: Vec::new(), looked_at: 0, look_at, more }
    }

    /// The place of the next request.
    async fn peek(&mut self) -> Result<Option<Place>, Refusal> {
        while self.chunk.is_empty() && self.more && !self.is_tired() {
            let Some(of) = self.of.clone() else { break };
            let query = ListQuery { of, since: Some(self.since), after: self.after, limit: CHUNK };
            let found = self.shelves.store.list(query).await?;
            self.more = show::count(found.len()) == CHUNK;
            self.looked_at = self.looked_at.saturating_add(found.len());
            for stored in found {
                // One that does not hold is left out, and the next chunk begins behind it.
                self.after = Some(Digest::of(&stored.request.bytes));
                let Shelves { memory, store, .. } = self.shelves;
                if let Some(known) = memory.read(store, stored).await? {
                    self.chunk.push(Arc::new(known));
                }
            }
            self.chunk.reverse();
            // A long list must not hold up the calls beside it.
            tokio::task::yield_now().await;
        }
        Ok(self.chunk.last().map(|known| place(known)))
    }

    fn take(&mut self) -> Option<Arc<Known>> {
        self.chunk.pop()
    }

    /// Whether more was looked at than one page may.
    fn is_tired(&self) -> bool {
        self.more && self.chunk.is_empty() && self.looked_at >= self.look_at
    }
}

impl Wanted<'_> {
    /// What is wanted of that which waits for somebody, older than `before`; oldest first. What only
    /// happens to be in memory, because somebody read it, is left out.
    async fn waiting(&self, shelves: Shelves<'_>, before: Option<Place>) -> Vec<Arc<Known>> {
        let memory = match self.scope {
            v1::Scope::ToDecide => shelves.memory.waiting(),
            // An auditor's are in the store with all others.
            v1::Scope::All if !self.caller.reads_all() => shelves.memory.waiting(),
            v1::Scope::All | v1::Scope::Mine | v1::Scope::Unspecified => Vec::new(),
        };
        let mut found: Vec<Arc<Known>> = Vec::new();
        for known in memory {
            let older = before.is_none_or(|before| place(&known) < before);
            let waits = older && stays(&known, self.in_force.view(), self.now);
            if waits && self.wants(shelves, &known).await {
                found.push(known);
            }
        }
        found.sort_unstable_by_key(|known| place(known));
        found
    }

    /// Whether a request is one of those asked for.
    async fn wants(&self, shelves: Shelves<'_>, known: &Known) -> bool {
        let Wanted { caller, in_force, now, .. } = self;
        if known.chain.request().body().at < self.since {
            return false;
        }
        let evaluation = evaluate(&known.chain, in_force.view(), *now);
        if self.open_only && !is_live(&evaluation.status) {
            return false;
        }
        match self.scope {
            v1::Scope::Mine => is_own(&caller.id, known),
            v1::Scope::ToDecide => awaits(&caller.id, known, &evaluation, &in_force.bundle),
            v1::Scope::All => shelves.eras.sees(caller, known, in_force, *now).await,
            v1::Scope::Unspecified => false,
        }
    }
}

#[cfg(test)]
mod tests;
