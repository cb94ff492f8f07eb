//! `Access.List`: requests by page, newest first: by when they were made, then by id.
//!
//! What waits for somebody is in memory. The rest is read from the store by person, so that a page
//! takes as long however many requests others have made. Only auditors and admins look at
//! everyone's.

use std::sync::Arc;

use jit_ssh_api::v1;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::lifecycle::{Evaluation, Status, evaluate};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::time::UnixTime;

use crate::serve::call::Call;
use crate::serve::front::Front;
use crate::serve::in_force::Standing;
use crate::serve::memory::Known;
use crate::serve::sessions::Caller;
use crate::serve::store::{ListQuery, Of};
use crate::serve::visibility::{awaits, is_own, may_see};
use crate::serve::{OPEN_FOR, clock, show};

/// Requests of one page, if the caller does not say.
const DEFAULT_LIMIT: usize = 100;
/// Most requests of one page.
const MAX_LIMIT: usize = 1000;
/// Requests read from the store at a time.
const CHUNK: u32 = 128;
/// Most requests looked at for one page: who wants only those that are open gets what is found among
/// the newest of these.
const MAX_LOOKED_AT: usize = 20_000;

/// What is asked for.
struct Wanted<'c> {
    caller: &'c Caller,
    in_force: &'c Standing,
    scope: v1::Scope,
    open_only: bool,
    since: UnixTime,
    now: UnixTime,
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
    };
    page(call.front(), &wanted, after, limit).await
}

/// One page: what memory and store have, in one order.
async fn page(
    front: &Front,
    wanted: &Wanted<'_>,
    after: Option<Digest>,
    limit: usize,
) -> Result<v1::ListResponse, Refusal> {
    let before = match after {
        Some(after) => match front.memory.get(&*front.store, after).await? {
            Some(known) => Some(place(&known)),
            // An unknown one is older than all.
            None => return Ok(v1::ListResponse::default()),
        },
        None => None,
    };
    let mut waiting = wanted.waiting(front, before);
    let mut accesses = Vec::new();
    let mut stored = Walk::new(front, wanted, after);
    loop {
        let next = stored.peek().await?;
        // The newer one first; what is in both comes once.
        let newest = match (waiting.last().map(|known| place(known)), next) {
            (None, None) => return Ok(v1::ListResponse { accesses, more: false }),
            (Some(here), there) if there.is_none_or(|there| here >= there) => {
                if there == Some(here) {
                    stored.take();
                }
                waiting.pop()
            }
            (_, Some(_) | None) => stored.take(),
        };
        let Some(access) = newest.and_then(|known| wanted.show(&known)) else {
            if stored.is_tired() {
                // There may be more, further back than one page looks.
                let more = !accesses.is_empty();
                return Ok(v1::ListResponse { accesses, more });
            }
            continue;
        };
        if accesses.len() == limit {
            return Ok(v1::ListResponse { accesses, more: true });
        }
        accesses.push(access);
    }
}

fn place(known: &Known) -> Place {
    let request = known.chain.request();
    (request.body().at, request.digest())
}

/// Requests in the store, chunk by chunk.
struct Walk<'w> {
    front: &'w Front,
    /// Whose; `None` if the store has none that are wanted.
    of: Option<Of>,
    since: UnixTime,
    after: Option<Digest>,
    /// Read and not taken yet, oldest first.
    chunk: Vec<Arc<Known>>,
    looked_at: usize,
    /// Whether the store has more than was read.
    more: bool,
}

impl<'w> Walk<'w> {
    fn new(front: &'w Front, wanted: &Wanted<'_>, after: Option<Digest>) -> Walk<'w> {
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
        Walk { front, of, since, after, chunk: Vec::new(), looked_at: 0, more }
    }

    /// The place of the next request.
    async fn peek(&mut self) -> Result<Option<Place>, Refusal> {
        while self.chunk.is_empty() && self.more && !self.is_tired() {
            let Some(of) = self.of.clone() else { break };
            let query = ListQuery { of, since: Some(self.since), after: self.after, limit: CHUNK };
            let found = self.front.store.list(query).await?;
            self.more = show::count(found.len()) == CHUNK;
            self.looked_at = self.looked_at.saturating_add(found.len());
            for stored in found {
                // One that does not hold is left out, and the next chunk begins behind it.
                self.after = Some(Digest::of(&stored.request.bytes));
                if let Some(known) = self.front.memory.read(&*self.front.store, stored).await? {
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
        self.more && self.chunk.is_empty() && self.looked_at >= MAX_LOOKED_AT
    }
}

impl Wanted<'_> {
    /// What is wanted of that which waits for somebody, older than `before`; oldest first.
    fn waiting(&self, front: &Front, before: Option<Place>) -> Vec<Arc<Known>> {
        let memory = match self.scope {
            v1::Scope::ToDecide => front.memory.waiting(),
            // An auditor's are in the store with all others.
            v1::Scope::All if !self.caller.reads_all() => front.memory.waiting(),
            v1::Scope::All | v1::Scope::Mine | v1::Scope::Unspecified => Vec::new(),
        };
        let older = |known: &Arc<Known>| before.is_none_or(|before| place(known) < before);
        let mut found: Vec<Arc<Known>> =
            memory.into_iter().filter(|known| older(known) && self.wants(known)).collect();
        found.sort_unstable_by_key(|known| place(known));
        found
    }

    fn wants(&self, known: &Known) -> bool {
        self.evaluate(known).is_some()
    }

    /// Where a request stands, if it is one of those asked for.
    fn evaluate(&self, known: &Known) -> Option<Evaluation<'_>> {
        let bundle = &self.in_force.bundle;
        let evaluation = evaluate(&known.chain, self.in_force.view(), self.now);
        let wanted = match self.scope {
            v1::Scope::Mine => is_own(&self.caller.id, known),
            v1::Scope::ToDecide => awaits(&self.caller.id, known, &evaluation, bundle),
            v1::Scope::All => may_see(self.caller, known, &evaluation, bundle),
            v1::Scope::Unspecified => false,
        };
        let open = !self.open_only || is_open(&evaluation);
        let young = known.chain.request().body().at >= self.since;
        (wanted && open && young).then_some(evaluation)
    }

    /// The request as shown, if it is one of those asked for.
    fn show(&self, known: &Known) -> Option<v1::AccessState> {
        let evaluation = self.evaluate(known)?;
        Some(show::access(known, &evaluation, self.in_force.view(), self.now))
    }
}

fn is_open(evaluation: &Evaluation<'_>) -> bool {
    matches!(evaluation.status, Status::Pending | Status::Approved | Status::Active)
}
