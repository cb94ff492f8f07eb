//! `jitssh.v1.Hosts`: every call begins and ends here; watching is answered here.

use jit_ssh_api::v1;
use jit_ssh_api::v1::hosts_server::Hosts;
use jit_ssh_core::refusal::{Reason, Refusal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{HostsService, report};
use crate::serve::call::Call;
use crate::serve::host_feed::Listener;

/// Answers that may wait for a slow host: it wants the newest alone.
const WAITING: usize = 1;

/// The answers of one watch.
type Watch = ReceiverStream<Result<v1::WatchHostsResponse, Status>>;

#[async_trait]
impl Hosts for HostsService {
    type WatchStream = Watch;

    async fn watch(
        &self,
        request: Request<v1::WatchHostsRequest>,
    ) -> Result<Response<Watch>, Status> {
        let call = Call::begin(&self.0, "Hosts/Watch", &request);
        let result = watch(&call);
        call.end(result)
    }

    async fn report_sessions(
        &self,
        request: Request<v1::ReportSessionsRequest>,
    ) -> Result<Response<v1::ReportSessionsResponse>, Status> {
        let call = Call::begin(&self.0, "Hosts/ReportSessions", &request);
        let result = report::report(&call, request.into_inner()).await;
        call.end(result)
    }
}

fn watch(call: &Call) -> Result<Watch, Refusal> {
    let front = call.front();
    front.trusted.bundle()?;
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
            () = forward(listener, answers) => {}
            _ = stopping.changed() => {}
        }
    });
    Ok(ReceiverStream::new(stream))
}

/// Sends the newest message, then every newer one, until the host is gone.
async fn forward(
    mut listener: Listener,
    answers: mpsc::Sender<Result<v1::WatchHostsResponse, Status>>,
) {
    loop {
        let newest = listener.news.borrow_and_update().clone();
        if let Some(news) = newest
            && answers.send(Ok((*news).clone())).await.is_err()
        {
            return;
        }
        tokio::select! {
            changed = listener.news.changed() => if changed.is_err() { return },
            () = answers.closed() => return,
        }
    }
}
