//! `Hosts.Watch`: the revocation lists and the bundle's version at every change, for all hosts; and what
//! prolongs access to a host, for the one that proves who it is.

use std::collections::HashSet;

use jit_ssh_api::v1;
use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::enrolment::View;
use jit_ssh_core::names::HostName;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::statement::{self, Arrival, Session, check_date};
use jit_ssh_core::time::UnixTime;
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::report;
use crate::serve::call::{Call, single};
use crate::serve::clock;
use crate::serve::host_feed::{Listener, Prolonging};

/// Answers that may wait for a slow host: it wants the newest alone.
const WAITING: usize = 1;

/// The answers of one watch.
pub(super) type Watch = ReceiverStream<Result<v1::WatchHostsResponse, Status>>;

pub(super) fn watch(call: &Call, message: v1::WatchHostsRequest) -> Result<Watch, Refusal> {
    call.admit()?;
    let front = call.front();
    let in_force = front.trusted.bundle()?;
    let host = match message.host {
        Some(signed) => Some(who(signed, &front.fingerprint, in_force.view(), clock::now())?),
        None => None,
    };
    // Each holds a connection: half of them stay for everyone else.
    let connections = usize::try_from(front.limits.connections.get()).unwrap_or(usize::MAX);
    let most = connections.div_ceil(2);
    let Some(listener) = front.host_feed.listen(most) else {
        let message = format!("{most} hosts listen already, which is the most there may be.");
        return Err(Refusal::new(Reason::Quota, message)
            .hint("poll Trust.GetKrl; an admin can raise `connections` in ca.toml"));
    };
    let (answers, stream) = mpsc::channel(WAITING);
    let stopping = front.stopping.clone();
    tokio::spawn(async move {
        let mut stopping = stopping;
        tokio::select! {
            () = forward(listener, host, answers) => {}
            _ = stopping.changed() => {}
        }
    });
    Ok(ReceiverStream::new(stream))
}

/// The host that listens, if it proves that it is the one it names.
fn who(
    signed: v1::SignedStatement,
    ca: &RootFingerprint,
    view: View<'_>,
    now: UnixTime,
) -> Result<HostName, Refusal> {
    let signed = single(Some(signed))?;
    let signature = signed.signatures.first().map(AsRef::as_ref).unwrap_or_default();
    let session = statement::open::<Session>(&signed.statement, signature, ca)?;
    check_date(session.body().at, now, Arrival::Submitted)?;
    let by = session.body().by.as_str();
    let name: HostName =
        by.parse().map_err(|error| Refusal::new(Reason::Malformed, format!("by: {error}.")))?;
    report::speaks_for(&name, session.key(), view, now)?;
    Ok(name)
}

/// Sends the newest message, then every newer one, until the host is gone.
async fn forward(
    mut listener: Listener,
    host: Option<HostName>,
    answers: mpsc::Sender<Result<v1::WatchHostsResponse, Status>>,
) {
    // The serials that this host has heard of.
    let mut heard: HashSet<u64> = HashSet::new();
    loop {
        let newest = listener.news.borrow_and_update().clone();
        if let Some(news) = newest {
            let prolonging = unheard(&mut listener, host.as_ref(), &mut heard);
            let message = v1::WatchHostsResponse { prolonging, ..(*news).clone() };
            if answers.send(Ok(message)).await.is_err() {
                return;
            }
        }
        let over = tokio::select! {
            changed = listener.news.changed() => changed.is_err(),
            changed = listener.prolonging.changed(), if host.is_some() => changed.is_err(),
            () = answers.closed() => true,
        };
        if over {
            return;
        }
    }
}

/// What prolongs access to `host` and was not told it yet.
fn unheard(
    listener: &mut Listener,
    host: Option<&HostName>,
    heard: &mut HashSet<u64>,
) -> Vec<Bytes> {
    let all = listener.prolonging.borrow_and_update();
    heard.retain(|serial| all.iter().any(|one| one.serial == *serial));
    let concerns = |one: &&Prolonging| host.is_some_and(|host| one.hosts.contains(host));
    let new = all.iter().filter(concerns).filter(|one| heard.insert(one.serial));
    new.map(|one| one.certificate.clone()).collect()
}
