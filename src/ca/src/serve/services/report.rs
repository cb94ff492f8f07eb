//! `Hosts.ReportSessions`: what hosts tell of their logins is verified and kept with its signature.
//! It decides nothing about access.

use jit_ssh_api::v1;
use jit_ssh_core::certificate::KeyId;
use jit_ssh_core::digest::{IdPrefix, RootFingerprint};
use jit_ssh_core::enrolment::{Found, View};
use jit_ssh_core::key::SignerKey;
use jit_ssh_core::names::HostName;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::statement::{self, Arrival, Report, Verified, check_date};
use jit_ssh_core::time::UnixTime;
use prost::bytes::Bytes;

use crate::serve::call::{Call, single};
use crate::serve::clock;
use crate::serve::store::{IdRange, Record, ReportRecord};

/// Most reports of one call.
const MAX_REPORTS: usize = 8;

pub(super) async fn report(
    call: &Call,
    message: v1::ReportSessionsRequest,
) -> Result<v1::ReportSessionsResponse, Refusal> {
    call.admit()?;
    let front = call.front();
    let in_force = front.trusted.bundle()?;
    if message.reports.is_empty() || message.reports.len() > MAX_REPORTS {
        let message = format!("reports: hand in 1 to {MAX_REPORTS}.");
        return Err(Refusal::new(Reason::Malformed, message));
    }
    let now = clock::now();
    let mut records = Vec::new();
    for signed in message.reports {
        let signed = single(Some(signed))?;
        let signature = signed.signatures.into_iter().next().unwrap_or_default();
        let told = open(&signed.statement, &signature, &front.fingerprint, in_force.view(), now)?;
        records.push(record(&told, now));
    }
    front.store.append(records).await?;
    Ok(v1::ReportSessionsResponse {})
}

/// The report, if the host it names signed it.
fn open(
    bytes: &[u8],
    signature: &[u8],
    ca: &RootFingerprint,
    view: View<'_>,
    now: UnixTime,
) -> Result<Verified<Report>, Refusal> {
    let told = statement::open::<Report>(bytes, signature, ca)?;
    // It may have waited for days on a host that could not reach the CA.
    check_date(told.body().at, now, Arrival::Relayed)?;
    let host = &told.body().host;
    // One that has gone tells the rest of what it saw; of which time it may speak is asked where it is shown.
    if !view.is_heard(host, told.key(), now) {
        speaks_for(host, told.key(), view, now)?;
    }
    Ok(told)
}

/// Insists that `key` is the one by which `host` speaks at `now`: the key that `hosts.toml` has, or with
/// which it joined.
///
/// # Errors
/// [`Reason::UnknownSigner`].
pub(super) fn speaks_for(
    host: &HostName,
    key: &SignerKey,
    view: View<'_>,
    now: UnixTime,
) -> Result<(), Refusal> {
    let found = view.host(host, now).ok();
    let own = found.and_then(|found| found.host().key.as_ref());
    if own.is_some_and(|own| own.blob() == key.blob()) {
        return Ok(());
    }
    let message = match found {
        Some(Found::Joined(_)) => {
            let message =
                format!("the statement is not signed by the key with which {host} joined.");
            return Err(Refusal::new(Reason::UnknownSigner, message)
                .hint("let it join anew with the key it has now: jit-ssh-host enroll"));
        }
        Some(_) if own.is_some() => {
            format!("the statement is not signed by the key of {host} in hosts.toml.")
        }
        _ => format!("{host} has no key in hosts.toml, so nobody knows who speaks for it."),
    };
    Err(Refusal::new(Reason::UnknownSigner, message)
        .hint("set `key` of the host in hosts.toml to its ssh_host_ed25519_key.pub, and apply it"))
}

fn record(told: &Verified<Report>, now: UnixTime) -> Record {
    let ids = told.body().events.iter().filter_map(|event| {
        let key_id: KeyId = event.key_id.parse().ok()?;
        let whole: IdPrefix = key_id.request.parse().ok()?;
        Some(IdRange::of(&whole).first)
    });
    Record::Report(ReportRecord {
        digest: told.digest(),
        at: now,
        about: ids.collect(),
        bytes: Bytes::copy_from_slice(told.bytes()),
        signature: Bytes::copy_from_slice(told.signature()),
    })
}

#[cfg(test)]
mod tests {
    use jit_ssh_core::enrolment::{Enrolled, HEARD_AFTER_END};
    use jit_ssh_core::statement::{Closed, Event, Happened, Nonce};

    use super::*;
    use crate::serve::store::id_number;
    use crate::serve::testworld::{ALICE, NOW, PIPELINE, PROD, bundle, request, root, verified};
    use crate::testkeys::{public, signed};

    fn event(key_id: &str) -> Event {
        Event {
            id: Nonce([1; 16]),
            kind: Happened::End,
            serial: 7,
            key_id: key_id.to_owned(),
            login: "deploy".parse().unwrap(),
            from: "10.1.2.3".parse().unwrap(),
            at: NOW,
            cause: Some(Closed::Closed),
        }
    }

    fn told(host: &str, at: UnixTime) -> Report {
        Report::new(root().fingerprint(), host.parse().unwrap(), vec![event("x")], 0, at)
    }

    #[test]
    fn a_host_is_heard_by_its_own_key_for_itself_alone_however_late() {
        let bundle = bundle();
        let reason = |seed, report: &Report| {
            let (bytes, signature) = signed(seed, report);
            let opened = open(&bytes, &signature, &root().fingerprint(), (&bundle).into(), NOW);
            opened.map(|_| ()).map_err(|refusal| refusal.reason)
        };
        let good = told("prod", NOW);
        assert_eq!(reason(PROD, &good), Ok(()));
        assert_eq!(reason(PROD, &told("prod", UnixTime(NOW.0 - 9 * 86_400))), Ok(()));
        assert_eq!(reason(PROD, &told("prod", UnixTime(NOW.0 + 120))), Ok(()));
        let ahead = told("prod", UnixTime(NOW.0 + 121));
        assert_eq!(reason(PROD, &ahead), Err(Reason::ClockSkew));
        assert_eq!(reason(ALICE, &good), Err(Reason::UnknownSigner));
        assert_eq!(reason(PROD, &told("elsewhere", NOW)), Err(Reason::UnknownSigner));
    }

    #[test]
    fn a_host_that_joined_is_heard_by_its_own_key_while_it_is_there_and_for_a_week() {
        const OWN: u8 = 70;
        let (bundle, ca) = (bundle(), root().fingerprint());
        let joined = statement::Host::new(
            ca,
            "pipeline".parse().unwrap(),
            None,
            "ci-1".parse().unwrap(),
            [].into(),
            vec!["deploy".parse().unwrap()],
            public(OWN).to_string().parse().unwrap(),
            NOW,
            NOW.plus_secs(600),
        );
        let mut enrolled = Enrolled::default();
        enrolled.add_host(verified(PIPELINE, &joined));
        let reason = |seed, host: &str, view: View<'_>, now: UnixTime| {
            let (bytes, signature) = signed(seed, &told(host, now));
            let opened = open(&bytes, &signature, &ca, view, now);
            opened.map(|_| ()).map_err(|refusal| refusal.reason)
        };
        let view = View::new(&bundle, &enrolled);
        let unknown = Err(Reason::UnknownSigner);
        assert_eq!(reason(OWN, "ci-1", view, NOW), Ok(()));
        assert_eq!(reason(OWN, "ci-1", view, NOW.plus_secs(599)), Ok(()));
        let heard = 600 + HEARD_AFTER_END;
        assert_eq!(reason(OWN, "ci-1", view, NOW.plus_secs(600)), Ok(()), "it tells the rest");
        assert_eq!(reason(OWN, "ci-1", view, NOW.plus_secs(heard - 1)), Ok(()));
        assert_eq!(reason(OWN, "ci-1", view, NOW.plus_secs(heard)), unknown, "not for ever");
        let stranger = reason(OWN + 1, "ci-1", view, NOW.plus_secs(600));
        assert_eq!(stranger, unknown, "nobody else does");
        assert_eq!(reason(OWN, "ci-2", view, NOW), unknown);
        assert_eq!(reason(OWN, "ci-1", (&bundle).into(), NOW), unknown, "nobody joined");
        assert_eq!(reason(PIPELINE, "ci-1", view, NOW), unknown, "who vouches is not the host");
        assert_eq!(reason(OWN, "prod", view, NOW), unknown);
        assert_eq!(reason(PROD, "prod", view, NOW), Ok(()));
    }

    #[test]
    fn a_report_is_found_by_the_requests_of_its_key_ids_and_others_name_none() {
        let asked = request(1);
        let until = UnixTime(NOW.0 + 600);
        let key_id = KeyId::new("alice".parse().unwrap(), asked.digest(), until).to_string();
        let events = vec![event(&key_id), Event { id: Nonce([2; 16]), ..event("sealed key") }];
        let report = Report::new(root().fingerprint(), "prod".parse().unwrap(), events, 0, NOW);
        let (bytes, signature) = signed(PROD, &report);
        let bundle = bundle();
        let told = open(&bytes, &signature, &root().fingerprint(), (&bundle).into(), NOW).unwrap();
        let Record::Report(record) = record(&told, NOW) else { unreachable!() };
        assert_eq!(record.about, [id_number(asked.digest())]);
        assert_eq!(record.bytes, bytes);
    }
}
