//! What vouches for this host where it joined: kept beside the other files of ours, asked of the CA, and
//! held against the enrollers that the admins signed.

use std::fs;
use std::path::Path;

use jit_ssh_api::v1::GetEnrolmentsRequest;
use jit_ssh_api::{ApiError, Client, join};
use jit_ssh_core::bundle::Hosts;
use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::enrolment::Vouched;
use jit_ssh_core::key::HostKey;
use jit_ssh_core::names::HostName;
use jit_ssh_core::statement::Verified;
use jit_ssh_core::time::UnixTime;
use serde::{Deserialize, Serialize};

use crate::error::CommandError;
use crate::fetch::no_connection;

/// The file, in the folder that is ours.
pub(crate) const FILE: &str = "enrolment.json";

/// What was signed, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    v: u8,
    /// Null where an enroller vouches itself.
    token: Option<Signed>,
    host: Signed,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    statement: String,
    /// The SSHSIG blob in hex.
    signature: String,
}

/// The content of the file for this enrolment. It is no secret.
pub(crate) fn file(vouched: &Vouched) -> Vec<u8> {
    let kept = Kept { v: 1, token: vouched.token().map(signed), host: signed(vouched.host()) };
    serde_json::to_vec(&kept).expect("texts are always JSON")
}

fn signed<T>(statement: &Verified<T>) -> Signed {
    let hex = |byte: &u8| format!("{byte:02x}");
    Signed {
        statement: String::from_utf8_lossy(statement.bytes()).into_owned(),
        signature: statement.signature().iter().map(hex).collect(),
    }
}

/// Whether `content` is such a file.
pub(crate) fn is_file(content: &[u8]) -> bool {
    serde_json::from_slice::<Kept>(content).is_ok_and(|kept| kept.v == 1)
}

/// The enrolment that is kept in `dir`, if it is of this CA and of the host `name`. Not judged yet.
///
/// # Errors
/// If what is there can not be read, or nobody signed it.
pub(crate) fn kept(
    dir: &Path,
    name: &HostName,
    ca: &RootFingerprint,
) -> Result<Option<Vouched>, CommandError> {
    let path = dir.join(FILE);
    let json = match fs::read(&path) {
        Ok(json) => json,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            return Err(CommandError::new(format!("{} can not be read: {e}.", path.display())));
        }
    };
    let unfit = |why: String| {
        CommandError::new(format!("The enrolment in {} does not hold: {why}.", path.display()))
            .hint("take the file away, and let the host join anew")
    };
    let kept: Kept = serde_json::from_slice(&json).map_err(|e| unfit(e.to_string()))?;
    if kept.v != 1 {
        return Err(unfit("it is of another version".to_owned()));
    }
    let blob = |signed: &Signed| {
        unhex(&signed.signature).ok_or_else(|| unfit("a signature is no hex".to_owned()))
    };
    let token = kept.token.as_ref().map(|token| Ok((token, blob(token)?))).transpose()?;
    let token = token.as_ref().map(|(token, blob)| (token.statement.as_bytes(), &blob[..]));
    let host = (kept.host.statement.as_bytes(), &blob(&kept.host)?[..]);
    let vouched = Vouched::open(host, token, ca).map_err(|e| unfit(e.to_string()))?;
    Ok((vouched.host().body().name == *name).then_some(vouched))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// What the CA has by which the host `name` joined. Not judged yet: it may be about another machine.
///
/// # Errors
/// If the CA can not be reached, or sent what nobody signed.
pub(crate) async fn of_ca(
    client: &Client,
    name: &HostName,
    ca: &RootFingerprint,
) -> Result<Option<Vouched>, CommandError> {
    let request = GetEnrolmentsRequest { names: vec![name.to_string()] };
    let answer = match client.get_enrolments(request).await {
        Ok(answer) => answer,
        Err(error @ ApiError::Unreachable(_)) => return Err(no_connection(error.into())),
        // It can not tell now, or is older than this question.
        Err(_) => return Ok(None),
    };
    let untrue = |e| {
        CommandError::new(format!("What the CA sent of {name} is not to be trusted: {e}."))
            .named("UNTRUE")
    };
    let opened = answer.enrolments.iter().map(|sent| join::vouched(sent, ca));
    let opened = opened.collect::<Result<Vec<_>, _>>().map_err(untrue)?;
    Ok(opened.into_iter().find(|vouched| vouched.host().body().name == *name))
}

/// Whether a host that is over counts, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// It does: it still has to tell what it saw.
    Counts,
    /// It does not.
    IsGone,
}

/// Of what is kept and what the CA has, the newer one that holds: by an enroller of `hosts`, for one of
/// sshd's own keys. `None` if there is neither.
///
/// # Errors
/// Why what there is does not hold.
pub(crate) fn choose(
    kept: Option<Vouched>,
    offered: Option<Vouched>,
    hosts: &Hosts,
    own_keys: &[HostKey],
    over: Over,
    now: UnixTime,
) -> Result<Option<Vouched>, CommandError> {
    let mut why = None;
    let mut best: Option<Vouched> = None;
    for vouched in [kept, offered].into_iter().flatten() {
        if let Err(error) = holds(&vouched, hosts, own_keys, over, now) {
            why = Some(error);
        } else if best.as_ref().is_none_or(|best| at(best) < at(&vouched)) {
            best = Some(vouched);
        }
    }
    match (best, why) {
        (None, Some(why)) => Err(why),
        (best, _) => Ok(best),
    }
}

fn at(vouched: &Vouched) -> UnixTime {
    vouched.host().body().at
}

fn holds(
    vouched: &Vouched,
    hosts: &Hosts,
    own_keys: &[HostKey],
    over: Over,
    now: UnixTime,
) -> Result<(), CommandError> {
    let body = vouched.host().body();
    if !own_keys.iter().any(|own| own.to_string() == body.key.to_string()) {
        return Err(CommandError::new(format!(
            "Another machine joined as {}: the key that was vouched for is none of sshd's here.",
            body.name
        ))
        .named("OTHER_KEY")
        .hint("take another name, or let this machine join anew with the key that it has now"));
    }
    let judged = match over {
        Over::Counts => vouched.judge_at_last(hosts, now),
        Over::IsGone => vouched.judge(hosts, now),
    };
    judged.map_err(|no| {
        let error = CommandError::new(format!("This host has not joined: {}", no.message));
        error
            .named(no.reason.as_str())
            .hint("let it join anew: setup with --token, or the enroller vouches for it")
    })
}

#[cfg(test)]
mod tests;
