//! `Hosts.Enroll`: a host joins, or an enroller lets hosts join. `Hosts.GetEnrolments`: what vouches for
//! those that are there.

use jit_ssh_api::v1;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::enrolment::{Enrolled, Found};
use jit_ssh_core::names::HostName;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::statement::{Body, Host, Kind, Token, Verified};
use jit_ssh_core::time::UnixTime;
use jit_ssh_signer::protocol::{Op, Outcome};

use crate::serve::arrived::Arrived;
use crate::serve::call::Call;
use crate::serve::clock;
use crate::serve::front::unexpected;
use crate::serve::store::Record;

pub(super) async fn enroll(
    call: &Call,
    message: v1::EnrollRequest,
) -> Result<v1::EnrollResponse, Refusal> {
    let front = call.front();
    front.trusted.bundle()?;
    call.admit()?;
    let bytes = message.statement.as_ref().map_or(&[][..], |signed| &signed.statement);
    if Kind::of(bytes) == Some(Kind::Token) {
        let arrived = Arrived::<Token>::read(message.statement, &front.fingerprint)?;
        let until = arrived.body().until;
        hand_in(call, arrived, None, until, Enrolled::add_token).await
    } else {
        let arrived = Arrived::<Host>::read(message.statement, &front.fingerprint)?;
        let (until, token) = (arrived.body().until, arrived.body().token);
        hand_in(call, arrived, token, until, Enrolled::add_host).await
    }
}

/// The most names of one question.
const MAX_NAMES: usize = 100;

pub(super) fn enrolments(
    call: &Call,
    message: &v1::GetEnrolmentsRequest,
) -> Result<v1::GetEnrolmentsResponse, Refusal> {
    call.admit()?;
    let in_force = call.front().trusted.bundle()?;
    if message.names.is_empty() || message.names.len() > MAX_NAMES {
        let message = format!("names: name 1 to {MAX_NAMES} hosts.");
        return Err(Refusal::new(Reason::Malformed, message));
    }
    let mut enrolments = Vec::new();
    for name in &message.names {
        let name: HostName = name
            .parse()
            .map_err(|error| Refusal::new(Reason::Malformed, format!("names: {error}.")))?;
        if let Ok(Found::Joined(joined)) = in_force.view().host(&name, clock::now()) {
            let (host, token) = (joined.statement().into(), joined.token().map(Into::into));
            enrolments.push(v1::HostEnrolment { host: Some(host), token });
        }
    }
    Ok(v1::GetEnrolmentsResponse { enrolments })
}

/// Has a statement recorded, keeps it, and adds it to what is known.
async fn hand_in<T: Body>(
    call: &Call,
    arrived: Arrived<T>,
    token: Option<Digest>,
    until: UnixTime,
    add: impl FnOnce(&mut Enrolled, Verified<T>),
) -> Result<v1::EnrollResponse, Refusal> {
    let front = call.front();
    let epoch = front.signer.epoch();
    let op = Op::Submit { statement: arrived.to_signed(), certify: false };
    let mut recorded = front.signer.record(op.clone(), &epoch).await;
    // A token that was handed in at another node: our signer is told of it, once.
    if recorded.as_ref().is_err_and(|refusal| refusal.reason == Reason::UnknownToken)
        && let Some(token) = token.and_then(|token| front.trusted.enrolled().token(&token).cloned())
    {
        front.tell(&epoch, &token).await;
        recorded = front.signer.record(op, &epoch).await;
    }
    let Outcome::Recorded { digest, at, .. } = recorded? else {
        return Err(unexpected());
    };
    let (statement, record) = arrived.enrolled(digest)?;
    front.trusted.enroll(clock::now(), |enrolled| add(enrolled, statement));
    front.keep(vec![Record::Enrolment(record)]).await?;
    Ok(v1::EnrollResponse { digest: digest.to_string(), recorded_at: at.0, until: until.0 })
}
