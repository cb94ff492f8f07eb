//! `Access.Watch`: how things stand, then every change: of statements, also those on what a request
//! prolongs; of the bundle; and those that the clock brings.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use jit_ssh_api::{status_of, v1};
use jit_ssh_core::chain::Chain;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::lifecycle::{evaluate, is_live};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::time::UnixTime;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::Stream;
use tonic::{Request, Status};

use super::check::Followed;
use super::reading::find;
use crate::serve::call::{Call, Identify};
use crate::serve::front::{Front, OneWatch, unknown_request};
use crate::serve::memory::{Change, Known};
use crate::serve::store::{ListQuery, Of};
use crate::serve::visibility::{awaits, is_own};
use crate::serve::{OPEN_FOR, clock, show};

/// Answers that may wait for a slow receiver.
const WAITING: usize = 16;
/// Requests read from the store at a time.
const CHUNK: u32 = 128;

/// What a watch tells. Boxed, since a channel makes room for 32 of them at once, for each of the many watches that tell
/// one thing and then wait.
type Told = Box<Result<v1::WatchResponse, Status>>;

/// The answers of one watch.
pub(in crate::serve) struct Watch(mpsc::Receiver<Told>);

/// Where they are put.
pub(super) struct Answers(mpsc::Sender<Told>);

impl Stream for Watch {
    type Item = Result<v1::WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|told| told.map(|told| *told))
    }
}

impl Answers {
    /// Waits until there is room for one more.
    async fn room(&self) -> Result<mpsc::Permit<'_, Told>, Over> {
        self.0.reserve().await.map_err(|_| Over::Gone)
    }

    /// Tells this, as soon as there is room.
    pub(super) async fn tell(&self, news: v1::WatchResponse) -> Result<(), Over> {
        self.room().await?.send(Box::new(Ok(news)));
        Ok(())
    }

    /// Waits until the receiver is gone.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// What is watched.
enum What {
    One(Digest),
    ToDecide,
    Mine,
}

/// One watch under way.
struct Watcher {
    front: Arc<Front>,
    what: What,
    who: Identify,
    answers: Answers,
    /// What was sent last of each request that may still change, without what the clock alone
    /// changes from second to second.
    sent: HashMap<Digest, v1::AccessState>,
    /// What the one request watched prolongs, what that prolongs, and so on.
    lineage: Vec<Digest>,
    /// When the clock alone changes something of these.
    turns: HashMap<Digest, UnixTime>,
    _counted: OneWatch,
}

/// The watch is over.
pub(super) enum Over {
    /// The receiver is gone.
    Gone,
    /// The receiver is told why.
    Refused(Refusal),
}

/// Tells the receiver why a watch is over; one that is gone needs no reason.
pub(super) async fn end(answers: &Answers, over: Result<(), Over>) {
    if let Err(Over::Refused(refusal)) = over {
        let _ = answers.0.send(Box::new(Err(status_of(&refusal)))).await;
    }
}

impl From<Refusal> for Over {
    fn from(refusal: Refusal) -> Over {
        Over::Refused(refusal)
    }
}

pub(super) async fn watch(
    call: &Call,
    request: Request<v1::WatchRequest>,
) -> Result<Watch, Refusal> {
    let front = call.front();
    let in_force = front.trusted.bundle()?;
    let caller = call.caller()?;
    // Before the first look, so that nothing falls between the two.
    let changes = front.memory.changes();
    let (answers, told) = mpsc::channel(WAITING);
    let (answers, watch) = (Answers(answers), Watch(told));
    let what = match request.into_inner().what {
        Some(v1::watch_request::What::Check(question)) => {
            let counted = front.watching.begin(&caller.id, front)?;
            let followed = Followed::begin(call, &question, answers, counted)?;
            tokio::spawn(followed.run(changes));
            return Ok(watch);
        }
        Some(v1::watch_request::What::Id(id)) => {
            let digest = find(front, &in_force, &caller, &id).await?.chain.digest();
            call.about(digest);
            What::One(digest)
        }
        Some(v1::watch_request::What::ToDecide(true)) => What::ToDecide,
        Some(v1::watch_request::What::Mine(true)) => What::Mine,
        Some(v1::watch_request::What::ToDecide(false) | v1::watch_request::What::Mine(false))
        | None => {
            let message =
                "what: name a request, say to_decide or mine, or ask what Check is asked.";
            return Err(Refusal::new(Reason::Malformed, message));
        }
    };
    let counted = front.watching.begin(&caller.id, front)?;
    let watcher = Watcher {
        front: front.clone(),
        what,
        who: call.identify(),
        answers,
        sent: HashMap::new(),
        lineage: Vec::new(),
        turns: HashMap::new(),
        _counted: counted,
    };
    tokio::spawn(watcher.run(changes));
    Ok(watch)
}

impl Watcher {
    async fn run(mut self, mut changes: broadcast::Receiver<Change>) {
        let over = self.follow(&mut changes).await;
        end(&self.answers, over).await;
    }

    async fn follow(&mut self, changes: &mut broadcast::Receiver<Change>) -> Result<(), Over> {
        let mut stopping = self.front.stopping.clone();
        self.look_at_all().await?;
        loop {
            let turn = self.turns.values().min().copied();
            let change = tokio::select! {
                change = changes.recv() => Some(change),
                () = clock::turned(turn) => None,
                () = self.answers.closed() => return Err(Over::Gone),
                _ = stopping.changed() => return Ok(()),
            };
            match change {
                Some(Ok(Change::Request(request))) => self.look_at(request).await?,
                // Behind, or everything may have changed.
                Some(Ok(Change::Bundle) | Err(broadcast::error::RecvError::Lagged(_))) => {
                    self.look_at_all().await?;
                }
                Some(Err(broadcast::error::RecvError::Closed)) => return Ok(()),
                None => {
                    let now = clock::now();
                    let due = self.turns.iter().filter(|(_, turn)| **turn <= now);
                    let due: Vec<Digest> = due.map(|(request, _)| *request).collect();
                    for request in due {
                        self.look_at(request).await?;
                    }
                }
            }
        }
    }

    async fn look_at_all(&mut self) -> Result<(), Over> {
        match self.what {
            What::One(request) => self.look_at(request).await,
            What::ToDecide => {
                for known in self.front.memory.waiting() {
                    self.tell(&known).await?;
                }
                self.look_at_told().await
            }
            What::Mine => {
                self.look_at_own().await?;
                self.look_at_told().await
            }
        }
    }

    async fn look_at_told(&mut self) -> Result<(), Over> {
        let told: Vec<Digest> = self.sent.keys().copied().collect();
        for request in told {
            self.look_at(request).await?;
        }
        // Even with nothing to tell, a session that is over ends the watch.
        (self.who)()?;
        Ok(())
    }

    /// Tells of every own request that is open: those are young, since no rule lets anything stand
    /// longer.
    async fn look_at_own(&mut self) -> Result<(), Over> {
        let front = self.front.clone();
        let (of, since) = (Of::Own((self.who)()?.id), Some(clock::now().minus_secs(OPEN_FOR)));
        let mut after = None;
        loop {
            let query = ListQuery { of: of.clone(), since, after, limit: CHUNK };
            let found = front.store.list(query).await.map_err(Refusal::from)?;
            let more = show::count(found.len()) == CHUNK;
            for stored in found {
                let digest = Digest::of(&stored.request.bytes);
                after = Some(digest);
                // By way of memory: it may know more than was stored.
                self.look_at(digest).await?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    async fn look_at(&mut self, request: Digest) -> Result<(), Over> {
        let request = match self.what {
            What::One(watched) if watched == request || self.lineage.contains(&request) => watched,
            What::One(_) => return Ok(()),
            What::ToDecide | What::Mine => request,
        };
        match self.front.memory.get(&*self.front.store, request).await? {
            Some(known) => self.tell(&known).await,
            None => Ok(()),
        }
    }

    /// Sends how a request stands, if that is news.
    async fn tell(&mut self, known: &Known) -> Result<(), Over> {
        let (request, now) = (known.chain.digest(), clock::now());
        let in_force = self.front.trusted.bundle()?;
        let caller = (self.who)()?;
        let eras = self.front.eras.clone();
        let sees = eras.sees(&caller, known, &in_force, now).await;
        let views = eras.views(known, &in_force, now).await;
        let (mut news, turn, waits) = {
            let bundle = &in_force.bundle;
            let evaluation = evaluate(&known.chain, in_force.view(), now);
            let waits = match self.what {
                What::One(_) => sees,
                What::ToDecide => awaits(&caller.id, known, &evaluation, bundle),
                What::Mine => is_own(&caller.id, known) && is_live(&evaluation.status),
            };
            // What was told before is told to its end.
            let told = sees && self.sent.contains_key(&request);
            if !waits && !told {
                self.sent.remove(&request);
                self.turns.remove(&request);
                return match self.what {
                    What::One(_) => Err(unknown_request(request.short_id()).into()),
                    What::ToDecide | What::Mine => Ok(()),
                };
            }
            let turn = show::next_turn(&evaluation, now).filter(|_| waits);
            (show::access(known, &views, now), turn, waits)
        };
        match self.what {
            // Who else was told is news for who asked.
            What::One(_) | What::Mine => news.told = self.front.heard.of(request, &news.approvers),
            What::ToDecide => {}
        }
        if matches!(self.what, What::One(_)) {
            let lineage = std::iter::successors(known.chain.prolonged(), |of| of.prolonged());
            self.lineage = lineage.map(Chain::digest).collect();
        }
        match turn {
            Some(turn) => self.turns.insert(request, turn),
            None => self.turns.remove(&request),
        };
        let lasting = v1::AccessState { live_seconds: 0, ..news.clone() };
        if self.sent.get(&request) == Some(&lasting) {
            return Ok(());
        }
        if waits {
            self.sent.insert(request, lasting);
        } else {
            // It waits for nobody here any more: told once more, and done with.
            self.sent.remove(&request);
        }
        let place = self.answers.room().await?;
        if matches!(self.what, What::ToDecide) && news.status() == v1::Status::Pending {
            let until = UnixTime(news.decide_by);
            if self.front.heard.note(request, caller.id, until, now) {
                self.front.memory.announce(Change::Request(request));
            }
        }
        place.send(Box::new(Ok(v1::WatchResponse { access: Some(news), check: None })));
        Ok(())
    }
}
