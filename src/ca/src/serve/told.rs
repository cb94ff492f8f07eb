//! What hosts told of the use of accesses, read from the store and verified as if it came from a
//! stranger: whoever owns the database can leave it out, and can not make it up.

use std::path::Path;

use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::enrolment::View;
use jit_ssh_core::statement::{self, Event, Report, Request, StatementError, Verified};
use jit_ssh_core::usage::{self, Use};

use super::store::sqlite::ReportReader;
use super::store::{StoreError, StoredStatement};

/// A connection that a host told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToldUse {
    /// What it told.
    pub(crate) told: Use,
    /// Whether the key that signed it is another than the host has by now, or had then where it joined.
    pub(crate) other_key: bool,
}

/// The connections of `request`, oldest first; `issued` are the serials of its certificates.
pub(super) fn uses(
    request: &Verified<Request>,
    issued: &[u64],
    stored: &[StoredStatement],
    view: View<'_>,
    ca: &RootFingerprint,
) -> Vec<ToldUse> {
    let reports: Vec<Verified<Report>> =
        stored.iter().filter_map(|stored| open(stored, ca)).collect();
    let jumps = view.bundle.hosts.jumps(&request.body().hosts);
    let mut all = Vec::new();
    for other_key in [false, true] {
        // The machine that had the name at the moment speaks of it: not the next one, nor the one before.
        let bodies = reports.iter().map(|report| {
            let (body, key) = (report.body(), report.key());
            let is_its = |event: &&Event| view.speaks_of(&body.host, key, event.at) != other_key;
            let events = body.events.iter().filter(is_its).cloned().collect();
            let mut of_these = body.clone();
            of_these.events = events;
            of_these
        });
        let bodies: Vec<Report> = bodies.collect();
        let told = usage::uses(request, &jumps, |serial| issued.contains(&serial), &bodies);
        all.extend(told.into_iter().map(|told| ToldUse { told, other_key }));
    }
    all.sort_by_key(|told| told.told.seen());
    all
}

fn open(stored: &StoredStatement, ca: &RootFingerprint) -> Option<Verified<Report>> {
    let opened = statement::open::<Report>(&stored.bytes, &stored.signature, ca);
    let left_out = |error: &StatementError| {
        tracing::error!(
            table = "reports",
            row = stored.row,
            %error,
            "jit-ssh.db holds a report that nobody signed; it is left out. Somebody changed the database, or it is damaged"
        );
    };
    opened.inspect_err(left_out).ok()
}

/// The same from the front's database, for a program that only reads it.
pub(crate) struct ToldReader(ReportReader);

impl ToldReader {
    /// Reads the database at `path`.
    ///
    /// # Errors
    /// A sentence without its full stop, if it can not be read or is of another version.
    pub(crate) fn open(path: &Path) -> Result<ToldReader, String> {
        ReportReader::open(path).map(ToldReader).map_err(|error| error.to_string())
    }

    /// The connections of `request`, oldest first; `issued` are the serials of its certificates.
    ///
    /// # Errors
    /// A sentence without its full stop, if the database can not be read.
    pub(crate) fn uses(
        &self,
        request: &Verified<Request>,
        issued: &[u64],
        view: View<'_>,
        ca: &RootFingerprint,
    ) -> Result<Vec<ToldUse>, String> {
        let stored = self.0.of(request.digest()).map_err(|error: StoreError| error.to_string())?;
        Ok(uses(request, issued, &stored, view, ca))
    }
}

#[cfg(test)]
mod tests {
    use jit_ssh_core::certificate::KeyId;
    use jit_ssh_core::statement::{Closed, Happened, Nonce};

    use super::*;
    use crate::serve::memory::Known;
    use crate::serve::testworld::{ALICE, NOW, PROD, bundle, known, root};
    use crate::testkeys::signed;

    fn told(known: &Known, seed: u8, id: u8) -> StoredStatement {
        let key_id = KeyId::new("alice".parse().unwrap(), known.chain.digest(), NOW.plus_secs(600));
        let event = |kind, at, cause| Event {
            id: Nonce([id; 16]),
            kind,
            serial: 7,
            key_id: key_id.to_string(),
            login: "deploy".parse().unwrap(),
            from: "10.1.2.3".parse().unwrap(),
            at: NOW.plus_secs(at),
            cause,
        };
        let events = vec![
            event(Happened::Login, 10, None),
            event(Happened::End, 600, Some(Closed::Expired)),
        ];
        let ca = root().fingerprint();
        let report = Report::new(ca, "prod".parse().unwrap(), events, 0, NOW);
        let (bytes, signature) = signed(seed, &report);
        StoredStatement { row: 1, bytes, signature }
    }

    #[test]
    fn what_a_host_signed_is_shown_and_what_nobody_signed_is_not() {
        let known = known(1);
        let (request, bundle) = (known.chain.request(), bundle());
        let shown = |told: &[StoredStatement]| {
            uses(request, &[7], told, (&bundle).into(), &root().fingerprint())
        };
        let good = told(&known, PROD, 1);
        let found = shown(std::slice::from_ref(&good));
        assert_eq!(found.len(), 1);
        assert!(!found[0].other_key);
        let used = &found[0].told;
        assert_eq!((used.host.as_str(), used.login.as_str(), used.serial), ("prod", "deploy", 7));
        assert_eq!(used.begun, Some(NOW.plus_secs(10)));
        assert_eq!(used.ended, Some((NOW.plus_secs(600), Closed::Expired)));

        let mut forged = good.clone();
        let place = forged.bytes.windows(8).position(|bytes| bytes == b"10.1.2.3").unwrap();
        forged.bytes[place] = b'2';
        assert_eq!(shown(&[forged]), []);
        let other = shown(&[told(&known, ALICE, 2), good]);
        assert_eq!(other.iter().map(|told| told.other_key).collect::<Vec<_>>(), [false, true]);
    }
}
