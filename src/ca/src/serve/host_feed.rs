//! What all hosts hear at once: the revocation lists and which bundle is in force.
//!
//! One task reads the list from the disk and tells every host that listens, however many there are;
//! the signer writes it before an end is answered, so a change that is announced is on the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jit_ssh_api::v1;
use tokio::sync::{broadcast, watch};

use super::front::Front;
use super::published_krl::signed_krl;

/// How long changes are gathered before hosts are told, so that a flood of them is one message.
const GATHER: Duration = Duration::from_millis(50);
/// How often the list is looked at where nothing was announced: another node's signer may have
/// written it, or a certificate on it expired.
const LOOK: Duration = Duration::from_secs(1);

/// The newest message for hosts.
pub(super) type News = Arc<v1::WatchHostsResponse>;

/// Where hosts listen.
pub(super) struct HostFeed {
    news: watch::Sender<Option<News>>,
    listening: Arc<AtomicUsize>,
}

impl Default for HostFeed {
    fn default() -> HostFeed {
        HostFeed { news: watch::channel(None).0, listening: Arc::default() }
    }
}

/// One host that listens.
pub(super) struct Listener {
    /// `None` until the first list was read.
    pub(super) news: watch::Receiver<Option<News>>,
    listening: Arc<AtomicUsize>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listening.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HostFeed {
    /// Lets one more host listen; `None` if `most` do already.
    pub(super) fn listen(&self, most: usize) -> Option<Listener> {
        let more = |count: usize| (count < most).then(|| count.saturating_add(1));
        self.listening.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Listener { news: self.news.subscribe(), listening: self.listening.clone() })
    }

    fn tell(&self, news: v1::WatchHostsResponse) {
        self.news.send_if_modified(|last| {
            let new = last.as_deref() != Some(&news);
            if new {
                *last = Some(Arc::new(news));
            }
            new
        });
    }
}

/// Tells hosts of every change until the front stops.
pub(super) async fn feed(front: Arc<Front>) {
    let mut changes = front.memory.changes();
    let mut stopping = front.stopping.clone();
    loop {
        match read(&front).await {
            Some(news) => front.host_feed.tell(news),
            // The cause is logged; hosts keep what they have.
            None => tokio::time::sleep(LOOK).await,
        }
        tokio::select! {
            change = changes.recv() => match change {
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {
                    tokio::time::sleep(GATHER).await;
                    // Whatever was announced until now is on the disk, and read next.
                    while changes.try_recv().is_ok() {}
                }
                Err(broadcast::error::RecvError::Closed) => return,
            },
            () = tokio::time::sleep(LOOK) => {}
            _ = stopping.changed() => return,
        }
    }
}

async fn read(front: &Arc<Front>) -> Option<v1::WatchHostsResponse> {
    let reader = front.clone();
    let krl = tokio::task::spawn_blocking(move || signed_krl(&reader.log)).await;
    let krl = krl.ok()?.ok()?;
    let current = front.trusted.current();
    let bundle_version = current.map_or(0, |current| current.bundle.version);
    Some(v1::WatchHostsResponse { krls: vec![krl], bundle_version })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(version: u64) -> v1::WatchHostsResponse {
        v1::WatchHostsResponse { krls: Vec::new(), bundle_version: version }
    }

    #[test]
    fn hosts_hear_what_is_new_once_and_no_more_of_them_than_there_is_room_for() {
        let feed = HostFeed::default();
        let mut first = feed.listen(2).unwrap();
        let second = feed.listen(2).unwrap();
        assert!(feed.listen(2).is_none());
        drop(second);
        let late = feed.listen(2).unwrap();
        assert!(late.news.borrow().is_none());

        feed.tell(news(1));
        assert!(first.news.has_changed().unwrap());
        assert_eq!(first.news.borrow_and_update().as_deref(), Some(&news(1)));
        feed.tell(news(1));
        assert!(!first.news.has_changed().unwrap(), "nothing is new");
        feed.tell(news(2));
        assert_eq!(first.news.borrow_and_update().as_deref(), Some(&news(2)));
    }
}
