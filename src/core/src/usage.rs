//! What hosts told of the use of an access: who logged in where, from where, and for how long.
//!
//! A host speaks for itself alone, and only of certificates that were issued for it: whatever else it
//! tells is shown nowhere. Nothing here decides about access.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::certificate::KeyId;
use crate::names::{HostName, Jump, Login};
use crate::statement::{Closed, Event, Happened, Nonce, Report, Request, Verified};
use crate::time::UnixTime;

/// One connection that was let in by a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The host that tells it.
    pub host: HostName,
    /// As whom.
    pub login: Login,
    /// The address it came from.
    pub from: IpAddr,
    /// The certificate's serial.
    pub serial: u64,
    /// When it began; `None` if only its end was told.
    pub begun: Option<UnixTime>,
    /// When and why it ended; `None` if that was not told (yet).
    pub ended: Option<(UnixTime, Closed)>,
}

impl Use {
    /// The first moment that is known of it.
    pub fn seen(&self) -> Option<UnixTime> {
        self.begun.or(self.ended.map(|(at, _)| at))
    }

    /// Seconds from its beginning to its end, as far as both were told.
    pub fn seconds(&self) -> Option<u64> {
        let (ended, cause) = self.ended?;
        // Of what nobody saw end, only that it ended is known.
        (cause != Closed::Unseen).then(|| ended.since(self.begun.unwrap_or(ended)))
    }
}

/// The connections of a request, oldest first, each once however often it was told. `issued` tells
/// whether a serial is one of this request's certificates; `jumps` are those on the way to its hosts, whose
/// bastions tell of them too.
pub fn uses<'r>(
    request: &Verified<Request>,
    jumps: &BTreeSet<Jump>,
    issued: impl Fn(u64) -> bool,
    reports: impl IntoIterator<Item = &'r Report>,
) -> Vec<Use> {
    let body = request.body();
    let id = request.id().to_string();
    let mut found: BTreeMap<(HostName, Nonce), Use> = BTreeMap::new();
    for report in reports {
        let is_target = body.hosts.contains(&report.host);
        let is_bastion = jumps.iter().any(|jump| *jump.bastion() == report.host);
        for event in &report.events {
            let of_this = event.key_id.parse::<KeyId>().is_ok_and(|key_id| key_id.request == id);
            let fits = is_target && body.logins.contains(&event.login)
                || is_bastion && event.login.is_jump();
            if of_this && fits && issued(event.serial) {
                add(found.entry((report.host.clone(), event.id)), event, &report.host);
            }
        }
    }
    let mut uses: Vec<Use> = found.into_values().collect();
    uses.sort_by_key(|told| (told.seen(), told.serial));
    uses
}

fn add(
    entry: std::collections::btree_map::Entry<'_, (HostName, Nonce), Use>,
    event: &Event,
    host: &HostName,
) {
    let told = entry.or_insert_with(|| Use {
        host: host.clone(),
        login: event.login.clone(),
        from: event.from,
        serial: event.serial,
        begun: None,
        ended: None,
    });
    // What was told first stays: a host can not tell the same connection anew.
    match (event.kind, event.cause) {
        (Happened::Login, _) => told.begun = told.begun.or(Some(event.at)),
        (Happened::End, Some(cause)) => told.ended = told.ended.or(Some((event.at, cause))),
        (Happened::End | Happened::Offline, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::RootFingerprint;
    use crate::testkit::{START, World};

    const CLIENT: &str = "10.1.2.3";

    fn event(request: &Verified<Request>, id: u8, kind: Happened, at: u64) -> Event {
        let until = UnixTime(START.0 + 600);
        Event {
            id: Nonce([id; 16]),
            kind,
            serial: 7,
            key_id: KeyId::new(request.body().subject.clone(), request.digest(), until).to_string(),
            login: "deploy".parse().unwrap(),
            from: CLIENT.parse().unwrap(),
            at: UnixTime(START.0 + at),
            cause: (kind == Happened::End).then_some(Closed::Expired),
        }
    }

    fn none() -> BTreeSet<Jump> {
        BTreeSet::new()
    }

    fn report(ca: RootFingerprint, host: &str, events: Vec<Event>) -> Report {
        Report::new(ca, host.parse().unwrap(), events, 0, UnixTime(START.0 + 700))
    }

    #[test]
    fn a_connection_is_told_once_with_its_end_however_often_it_was_reported() {
        let world = World::default();
        let ca = world.root.fingerprint();
        let request =
            world.alice.verified(&world.request(&world.alice, "prod-host", "deploy", 600, START));
        let login = event(&request, 1, Happened::Login, 10);
        let late = Event { at: UnixTime(START.0 + 99), ..login.clone() };
        let reports = [
            report(ca, "prod-host", vec![event(&request, 2, Happened::Login, 20), login.clone()]),
            report(ca, "prod-host", vec![late, event(&request, 1, Happened::End, 600)]),
            report(ca, "prod-host", vec![login]),
        ];
        let found = uses(&request, &none(), |serial| serial == 7, &reports);
        let (first, second) = (&found[0], &found[1]);
        assert_eq!(found.len(), 2);
        assert_eq!(first.begun, Some(UnixTime(START.0 + 10)));
        assert_eq!(first.ended, Some((UnixTime(START.0 + 600), Closed::Expired)));
        assert_eq!((first.seconds(), first.from.to_string()), (Some(590), CLIENT.to_owned()));
        assert_eq!((second.begun, second.ended), (Some(UnixTime(START.0 + 20)), None));
        assert_eq!(second.seconds(), None);
    }

    #[test]
    fn a_host_speaks_for_itself_and_its_certificates_alone() {
        let world = World::default();
        let ca = world.root.fingerprint();
        let of_host = |host: &str| {
            world.alice.verified(&world.request(&world.alice, host, "deploy", 600, START))
        };
        let (request, elsewhere) = (of_host("prod-host"), of_host("test-host"));
        let good = event(&request, 1, Happened::Login, 10);
        let count = |host: &str, event: Event| {
            uses(&request, &none(), |serial| serial == 7, &[report(ca, host, vec![event])]).len()
        };
        assert_eq!(count("prod-host", good.clone()), 1);
        assert_eq!(count("test-host", good.clone()), 0, "another host");
        let other = event(&elsewhere, 1, Happened::Login, 10);
        assert_eq!(count("prod-host", other), 0, "another request");
        assert_eq!(count("prod-host", Event { serial: 8, ..good.clone() }), 0, "never issued");
        let root = "root".parse().unwrap();
        assert_eq!(count("prod-host", Event { login: root, ..good.clone() }), 0, "never asked for");

        // A bastion tells of the jump through it, and of no other login.
        let jumps = BTreeSet::from(["jump@edge/prod-host".parse().unwrap()]);
        let jump = Event { login: Jump::LOGIN.parse().unwrap(), ..good.clone() };
        let by = |host: &str, event: &Event| {
            let reports = [report(ca, host, vec![event.clone()])];
            uses(&request, &jumps, |serial| serial == 7, &reports).len()
        };
        assert_eq!(by("edge", &jump), 1);
        assert_eq!(by("edge", &good), 0, "nobody asked for a login there");
        assert_eq!(by("test-host", &jump), 0, "it is not on the way");
        assert_eq!(by("prod-host", &jump), 0, "the target is no bastion");
    }

    #[test]
    fn nobody_knows_how_long_a_connection_lasted_that_nobody_saw_end() {
        let world = World::default();
        let request =
            world.alice.verified(&world.request(&world.alice, "prod-host", "deploy", 600, START));
        let mut end = event(&request, 1, Happened::End, 90);
        end.cause = Some(Closed::Unseen);
        let events = vec![event(&request, 1, Happened::Login, 10), end];
        let reports = [report(world.root.fingerprint(), "prod-host", events)];
        let found = uses(&request, &none(), |_| true, &reports);
        assert_eq!(found.len(), 1);
        assert!(found[0].ended.is_some());
        assert_eq!(found[0].seconds(), None);
    }
}
