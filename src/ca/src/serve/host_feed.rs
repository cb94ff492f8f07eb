//! What all hosts hear at once: the revocation lists and which bundle is in force; and what one of them
//! hears: certificates that prolong access to it. A certificate is no secret, and proves by itself what
//! it is.
//!
//! One task reads the list from the disk and tells every host that listens, however many there are;
//! the signer writes it before an end is answered, so a change that is announced is on the disk. While
//! nobody listens it rests, and a list that has not changed is not verified again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jit_ssh_api::v1;
use jit_ssh_core::names::HostName;
use jit_ssh_core::time::UnixTime;
use prost::bytes::Bytes;
use tokio::sync::{Notify, broadcast, watch};

use super::front::{Front, Log};
use super::published_krl;

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
    /// Wakes the feed when somebody begins to listen.
    begun: Notify,
}

impl Default for HostFeed {
    fn default() -> HostFeed {
        let (news, prolonging) = (watch::channel(None).0, watch::channel(Vec::new()).0);
        HostFeed { news, prolonging, listening: Arc::default(), begun: Notify::new() }
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
        let before =
            self.listening.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        if before == 0 {
            // What was read for those before may be old by now: who listens first hears what is read next.
            self.news.send_replace(None);
            self.begun.notify_one();
        }
        Some(Listener {
            news: self.news.subscribe(),
            prolonging: self.prolonging.subscribe(),
            listening: self.listening.clone(),
        })
    }

    fn is_heard(&self) -> bool {
        self.listening.load(Ordering::Relaxed) > 0
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
    let mut list = List::default();
    loop {
        if front.host_feed.is_heard() {
            let (reader, mut reading) = (front.clone(), std::mem::take(&mut list));
            let read = tokio::task::spawn_blocking(move || {
                let newest = reading.look(&reader.log);
                (reading, newest)
            });
            if let Ok((read, newest)) = read.await {
                list = read;
                if let Some(krl) = newest {
                    front.host_feed.tell(news(&front, krl));
                }
            }
        }
        let heard = front.host_feed.is_heard();
        tokio::select! {
            change = changes.recv() => match change {
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {
                    tokio::time::sleep(GATHER).await;
                    // Whatever was announced until now is on the disk, and read next.
                    while changes.try_recv().is_ok() {}
                }
                Err(broadcast::error::RecvError::Closed) => return,
            },
            () = front.host_feed.begun.notified() => {}
            () = tokio::time::sleep(LOOK), if heard => {}
            _ = stopping.changed() => return,
        }
    }
}

fn news(front: &Front, krl: v1::SignedKrl) -> v1::WatchHostsResponse {
    let current = front.trusted.current();
    let bundle_version = current.map_or(0, |current| current.bundle.version);
    v1::WatchHostsResponse { krls: vec![krl], bundle_version, prolonging: Vec::new() }
}

/// The list as it was read last.
#[derive(Default)]
struct List {
    verified: Option<v1::SignedKrl>,
    /// What is in the way, while something is.
    problem: Option<String>,
}

impl List {
    /// The list as it is now; `None` while it can not be read: hosts keep what they have. Says so once,
    /// and once when it can be read again.
    fn look(&mut self, log: &Log) -> Option<v1::SignedKrl> {
        match self.read(log) {
            Ok(krl) => {
                if self.problem.take().is_some() {
                    tracing::info!("the revocation list can be served again");
                }
                Some(krl)
            }
            Err(problem) => {
                if self.problem.as_ref() != Some(&problem) {
                    tracing::error!(%problem, "hosts hear of no new revocation list");
                    self.problem = Some(problem);
                }
                None
            }
        }
    }

    fn read(&mut self, log: &Log) -> Result<v1::SignedKrl, String> {
        let note = published_krl::note(log)?;
        match &self.verified {
            Some(known) if known.note == note => Ok(known.clone()),
            _ => Ok(self.verified.insert(published_krl::verified(log, &note)?).clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jit_ssh_core::krl::Krl;
    use jit_ssh_signer::log::{LogKey, LogStore};

    use super::*;
    use crate::testkeys::ca_key;

    fn news(version: u64) -> v1::WatchHostsResponse {
        v1::WatchHostsResponse { bundle_version: version, ..v1::WatchHostsResponse::default() }
    }

    #[test]
    fn a_list_is_verified_when_it_changed_and_what_is_in_the_way_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let key = || LogKey::from_seed("jit-ssh/test/1", &[60; 32]).unwrap();
        let log_dir = dir.path().join("log");
        let log = Log { dir: log_dir.clone(), signer: 1, key: key().verifier().clone() };
        let mut list = List::default();
        assert_eq!(list.look(&log), None);
        assert_eq!(list.problem.as_deref(), Some("the signer has published none"));

        let (mut store, _) = LogStore::open(&log_dir, &dir.path().join("journal"), key()).unwrap();
        let publish = |store: &mut LogStore, version| {
            store
                .publish_krl(&Krl::new(version, UnixTime(9), ca_key(50), BTreeSet::new()))
                .unwrap();
        };
        publish(&mut store, 7);
        let seventh = list.look(&log).unwrap();
        assert!(list.problem.is_none());
        assert_eq!(list.look(&log), Some(seventh.clone()));
        // One that was verified is not verified again: this key could not.
        let stranger = LogKey::from_seed("jit-ssh/test/1", &[61; 32]).unwrap();
        let other = Log { dir: log_dir, signer: 1, key: stranger.verifier().clone() };
        assert_eq!(list.look(&other), Some(seventh.clone()));
        publish(&mut store, 8);
        assert_eq!(list.look(&other), None);
        assert!(list.problem.is_some());
        let eighth = list.look(&log).unwrap();
        assert!(eighth != seventh && list.problem.is_none());
    }

    #[tokio::test]
    async fn who_listens_first_wakes_the_feed_and_hears_nothing_old() {
        let feed = HostFeed::default();
        assert!(!feed.is_heard());
        let first = feed.listen(2).unwrap();
        feed.begun.notified().await;
        feed.tell(news(1));
        let second = feed.listen(2).unwrap();
        assert_eq!(second.news.borrow().as_deref(), Some(&news(1)));
        drop((first, second));
        assert!(!feed.is_heard());
        let third = feed.listen(2).unwrap();
        assert!(third.news.borrow().is_none());
        feed.begun.notified().await;
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
