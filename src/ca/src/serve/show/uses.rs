//! What hosts told of the use of a request, as the API shows it.

use jit_ssh_api::v1;
use jit_ssh_core::statement::Closed;

use crate::serve::ToldUse;

/// A connection.
pub(in crate::serve) fn used(used: &ToldUse) -> v1::Use {
    let told = &used.told;
    v1::Use {
        host: told.host.to_string(),
        login: told.login.to_string(),
        from: told.from.to_string(),
        serial: told.serial,
        begun_at: told.begun.map_or(0, |at| at.0),
        ended_at: told.ended.map_or(0, |(at, _)| at.0),
        closed: closed(told.ended.map(|(_, closed)| closed)).into(),
        other_key: used.other_key,
    }
}

fn closed(closed: Option<Closed>) -> v1::Closed {
    match closed {
        None => v1::Closed::Unspecified,
        Some(Closed::Closed) => v1::Closed::Closed,
        Some(Closed::Expired) => v1::Closed::Expired,
        Some(Closed::Revoked) => v1::Closed::Revoked,
        Some(Closed::Unseen) => v1::Closed::Unseen,
    }
}
