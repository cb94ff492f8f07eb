//! What all hosts hear at once: the revocation lists and which bundle is in force; and what one of them
//! hears: certificates that prolong access to it. A certificate is no secret, and proves by itself what
//! it is.
//!
//! One task reads the list from the disk and tells every host that listens, however many there are;
//! the signer writes it before an end is answered, so a change that is announced is on the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jit_ssh_api::v1;
use jit_ssh_core::names::HostName;
use jit_ssh_core::time::UnixTime;
use prost::bytes::Bytes;
use tokio::sync::{broadcast, watch};

use super::front::Front;
use super::published_krl::signed_krl;

/// How long changes are gathered before hosts are told, so that a flood of them is one message.
const GATHER: Duration = Duration::from_millis(50);
/// How often the list is looked at where nothing was announced: another node's signer may have
/// written it, or a certificate on it expired.
const LOOK: Duration = Duration::from_secs(1);

/// Most prolonging certificates that are kept for hosts that do not listen just now.
const MAX_PROLONGING: usize = 4096;

/// The newest message for hosts.
pub(super) type News = Arc<v1::WatchHostsResponse>;

/// A certificate that prolongs access.
#[derive(Debug, Clone)]
pub(super) struct Prolonging {
    /// Where.
    pub(super) hosts: Vec<HostName>,
    /// Its serial.
    pub(super) serial: u64,
    /// Until when it is valid: later it proves nothing.
    pub(super) valid_before: UnixTime,
    /// In SSH wire encoding.
    pub(super) certificate: Bytes,
}

/// Where hosts listen.
pub(super) struct HostFeed {
    news: watch::Sender<Option<News>>,
    prolonging: watch::Sender<Vec<Prolonging>>,
    listening: Arc<AtomicUsize>,
}

impl Default for HostFeed {
    fn default() -> HostFeed {
        let (news, prolonging) = (watch::channel(None).0, watch::channel(Vec::new()).0);
        HostFeed { news, prolonging, listening: Arc::default() }
    }
}

/// One host that listens.
pub(super) struct Listener {
    /// `None` until the first list was read.
    pub(super) news: watch::Receiver<Option<News>>,
    /// For all hosts.
    pub(super) prolonging: watch::Receiver<Vec<Prolonging>>,
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
        Some(Listener {
            news: self.news.subscribe(),
            prolonging: self.prolonging.subscribe(),
            listening: self.listening.clone(),
        })
    }

    /// Tells the hosts concerned of a certificate that prolongs access to them.
    pub(super) fn prolong(&self, prolonging: Prolonging, now: UnixTime) {
        self.prolonging.send_modify(|kept| {
            kept.retain(|kept| kept.valid_before > now && kept.serial != prolonging.serial);
            // A host hears of the next certificate of the same access too: the oldest makes room.
            if kept.len() >= MAX_PROLONGING {
                kept.remove(0);
            }
            kept.push(prolonging);
        });
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
    Some(v1::WatchHostsResponse { krls: vec![krl], bundle_version, prolonging: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(version: u64) -> v1::WatchHostsResponse {
        v1::WatchHostsResponse { bundle_version: version, ..v1::WatchHostsResponse::default() }
    }

    #[test]
    fn what_prolongs_access_is_kept_until_it_proves_nothing_any_more() {
        let feed = HostFeed::default();
        let prolong = |serial, valid_before, now| {
            let prolonging = Prolonging {
                hosts: vec!["prod".parse().unwrap()],
                serial,
                valid_before: UnixTime(valid_before),
                certificate: Bytes::new(),
            };
            feed.prolong(prolonging, UnixTime(now));
        };
        let kept = || -> Vec<u64> {
            let listener = feed.listen(1).unwrap();
            listener.prolonging.borrow().iter().map(|kept| kept.serial).collect()
        };
        prolong(1, 100, 10);
        prolong(2, 200, 20);
        prolong(2, 200, 21);
        assert_eq!(kept(), [1, 2]);
        prolong(3, 300, 100);
        assert_eq!(kept(), [2, 3], "the first has expired");
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
