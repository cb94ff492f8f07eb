//! What the guard saw, as the CA is told it: signed by the host, in order, again until the CA has it.

use jit_ssh_api::own_key::OwnKey;
use jit_ssh_api::v1::{ReportSessionsRequest, SignedStatement};
use jit_ssh_api::{ApiError, Client};
use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::statement::{self, Closed, Happened, Kind, Report, encode};

use super::place::Place;
use crate::clock::now;
use crate::guard::event::{self, Event};
use crate::guard::log::{self, Level};
use crate::guard::protocol::{Answer, Ask};

/// Tells the CA all that the guard has seen and the CA has not heard of.
///
/// # Errors
/// If the CA does not take it; then it is told again later.
pub(super) async fn tell(
    place: &Place,
    client: &Client,
    own: &mut OwnKey,
    ca: RootFingerprint,
) -> Result<(), ApiError> {
    loop {
        let (next, dropped, events) = match place.ask_guard(&Ask::Events) {
            Ok(Answer::Events { events, .. }) if events.is_empty() => return Ok(()),
            Ok(Answer::Events { next, dropped, events }) => (next, dropped, events),
            // A guard that is away comes back, and with it what it saw.
            Ok(_) | Err(_) => return Ok(()),
        };
        let told: Vec<statement::Event> = events.iter().filter_map(tellable).collect();
        if !told.is_empty() {
            let lost = u32::try_from(dropped).unwrap_or(u32::MAX);
            let report = Report::new(ca, place.settings.name.clone(), told, lost, now());
            let signed = sign(own, &report).map_err(ApiError::Foreign)?;
            client.report_sessions(ReportSessionsRequest { reports: vec![signed] }).await?;
        }
        if place.ask_guard(&Ask::Taken { next }) != Ok(Answer::Noted) {
            // It is told again, and the CA knows it by its ids.
            return Ok(());
        }
    }
}

fn sign(own: &mut OwnKey, report: &Report) -> Result<SignedStatement, String> {
    let statement = encode(report).map_err(|e| e.to_string())?;
    let signature = own.sign(Kind::Report, &statement).map_err(|e| e.to_string())?;
    Ok(SignedStatement { statement: statement.into(), signatures: vec![signature.into()] })
}

/// An event as a report has it; `None`, with a word, for one that no report can hold: an account whose
/// name no principal has, or a connection that came from no address.
fn tellable(seen: &Event) -> Option<statement::Event> {
    let kind = match seen.kind {
        event::Kind::Login => Happened::Login,
        event::Kind::End => Happened::End,
        event::Kind::Offline => Happened::Offline,
    };
    let cause = seen.cause.map(|cause| match cause {
        event::Cause::Expired => Closed::Expired,
        event::Cause::Revoked => Closed::Revoked,
        event::Cause::Closed => Closed::Closed,
    });
    let parsed = (seen.id.parse(), seen.login.parse(), seen.from.parse());
    let (Ok(id), Ok(login), Ok(from)) = parsed else {
        log::say(
            Level::Warning,
            &format!("the CA can not be told of a login as {:?} from {:?}.", seen.login, seen.from),
        );
        return None;
    };
    let (serial, key_id, at) = (seen.serial, seen.key_id.clone(), seen.at);
    Some(statement::Event { id, kind, serial, key_id, login, from, at, cause })
}

#[cfg(test)]
mod tests {
    use jit_ssh_core::time::UnixTime;

    use super::*;

    fn seen(kind: event::Kind, cause: Option<event::Cause>) -> Event {
        Event {
            id: "5".repeat(32),
            kind,
            serial: 7,
            key_id: "alice/7kq2m9xw4p/1790000900".to_owned(),
            login: "deploy".to_owned(),
            from: "10.1.2.3".to_owned(),
            at: UnixTime(1_790_000_000),
            cause,
        }
    }

    #[test]
    fn what_the_guard_saw_is_told_as_it_was_and_what_no_report_can_hold_is_left_out() {
        let login = seen(event::Kind::Login, None);
        let told = tellable(&login).unwrap();
        assert_eq!((told.kind, told.cause, told.serial), (Happened::Login, None, 7));
        assert_eq!(told.from.to_string(), "10.1.2.3");
        for (cause, closed) in [
            (event::Cause::Expired, Closed::Expired),
            (event::Cause::Revoked, Closed::Revoked),
            (event::Cause::Closed, Closed::Closed),
        ] {
            let told = tellable(&seen(event::Kind::End, Some(cause))).unwrap();
            assert_eq!((told.kind, told.cause), (Happened::End, Some(closed)));
        }
        for odd in [
            Event { from: "unknown".to_owned(), ..login.clone() },
            Event { login: "DOMAIN\\bob".to_owned(), ..login.clone() },
            Event { id: "7".to_owned(), ..login },
        ] {
            assert_eq!(tellable(&odd), None, "{odd:?}");
        }
    }
}
