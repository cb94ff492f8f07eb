//! Judges encoded to-be-signed bytes, by a parser that shares no code with the builder.
//!
//! What it must hold is stated anew here, from the request and the contract (design.md, 2 and 9),
//! so that a mistake in the builder is caught before the bytes reach the log.

use std::collections::BTreeSet;

use super::cursor::{Cursor, check_key};
use super::{KeyId, Scope, Serial, Tbs};
use crate::chain::{Chain, Issued};
use crate::key::CaKey;
use crate::names::{Opens, Principal, RuleName};
use crate::statement::{MAX_SKEW, Request, Verified};
use crate::time::UnixTime;

/// Longest validity of one certificate, in seconds: the policy's limit of an hour, and the minute
/// by which certificates begin early.
const MAX_VALIDITY: u64 = 3_600 + 60;

/// Longest key id: two names of at most 63 and 10 characters, a moment and two slashes.
const MAX_KEY_ID: usize = 96;

/// What the bytes are judged against.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The request they follow from.
    pub request: &'a Verified<Request>,
    /// Which of its certificates they must be.
    pub scope: &'a Scope,
    /// The serial they must carry.
    pub serial: Serial,
    /// The key they will be signed with.
    pub ca: &'a CaKey,
    /// The moment of signing.
    pub now: UnixTime,
    /// When the access ends that the request prolongs, if it prolongs one.
    pub prolongs: Option<UnixTime>,
}

impl<'a> Context<'a> {
    /// What a certificate for the request of `chain` is judged against. When the access ends that it
    /// prolongs, the certificate issued last for that access says: what was worked out for this one
    /// must not vouch for itself.
    pub fn of(
        chain: &'a Chain,
        scope: &'a Scope,
        serial: Serial,
        ca: &'a CaKey,
        now: UnixTime,
    ) -> Context<'a> {
        let prolongs = chain.prolonged().and_then(Chain::last_issued);
        let prolongs = prolongs.map(|issued| issued.access_until);
        Context { request: chain.request(), scope, serial, ca, now, prolongs }
    }
}

/// To-be-signed bytes that passed the lint. Only these may be logged and signed.
#[derive(Debug)]
#[must_use]
pub struct Linted {
    bytes: Vec<u8>,
    rule: RuleName,
    facts: Facts,
}

impl Linted {
    /// The exact bytes to be signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The rule they follow from.
    pub fn rule(&self) -> &RuleName {
        &self.rule
    }

    /// What they say.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// What a certificate says, as read from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The key id.
    pub key_id: KeyId,
    /// What it opens.
    pub opens: Opens,
    /// When it begins.
    pub valid_after: UnixTime,
    /// When it ends.
    pub valid_before: UnixTime,
}

impl Facts {
    /// What a chain remembers of the certificate, which was logged with this serial at `at`.
    pub fn issued(&self, serial: u64, at: UnixTime) -> Issued {
        let (valid_before, access_until) = (self.valid_before, self.key_id.access_until);
        Issued { serial, at, valid_before, access_until }
    }
}

/// What is wrong with the bytes: a fault of ours, never of the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is not sound: {0}")]
pub struct LintError(pub &'static str);

pub(super) type Check<T = ()> = Result<T, LintError>;

pub(super) fn ensure(holds: bool, otherwise: &'static str) -> Check {
    if holds { Ok(()) } else { Err(LintError(otherwise)) }
}

/// Judges `tbs`.
///
/// # Errors
/// [`LintError`] names the first thing that is wrong.
pub fn lint(tbs: Tbs, context: Context<'_>) -> Result<Linted, LintError> {
    let facts = check(&tbs.bytes, context)?;
    Ok(Linted { bytes: tbs.bytes, rule: tbs.rule, facts })
}

/// Judges encoded bytes; clients use it on what they receive.
///
/// # Errors
/// [`LintError`] names the first thing that is wrong.
pub fn check(bytes: &[u8], context: Context<'_>) -> Result<Facts, LintError> {
    let mut cursor = Cursor::new(bytes);
    let request = context.request.body();

    let kind = cursor.field()?;
    let nonce = cursor.field()?;
    ensure(nonce.len() == 32, "the nonce has not 32 bytes")?;
    check_key(kind, &mut cursor, request.key.blob())?;
    ensure(cursor.number()? == context.serial.get(), "the serial is not the one of its log entry")?;
    ensure(context.serial.get() != 0, "the serial is zero")?;
    ensure(cursor.word()? == 1, "it is not a user certificate")?;

    let key_id = check_key_id(cursor.field()?, context)?;
    let opens = check_principals(cursor.field()?, context)?;
    let valid_after = UnixTime(cursor.number()?);
    let valid_before = UnixTime(cursor.number()?);
    check_validity(valid_after, valid_before, key_id.access_until, context)?;
    check_critical(cursor.field()?, context)?;
    check_extensions(cursor.field()?, context)?;
    ensure(cursor.field()?.is_empty(), "the reserved field is not empty")?;
    ensure(cursor.field()? == context.ca.blob(), "the signing key is not the CA's")?;
    ensure(cursor.is_at_end(), "something follows the last field")?;
    Ok(Facts { key_id, opens, valid_after, valid_before })
}

/// Reads what logged bytes say, without judging them: they were judged before they were logged.
///
/// # Errors
/// [`LintError`] if they are no certificate of ours at all.
pub fn read(bytes: &[u8]) -> Result<Facts, LintError> {
    let mut cursor = Cursor::new(bytes);
    let kind = cursor.field()?;
    let key_fields = match kind {
        b"ssh-ed25519-cert-v01@openssh.com" => 1,
        b"ssh-rsa-cert-v01@openssh.com"
        | b"sk-ssh-ed25519-cert-v01@openssh.com"
        | b"ecdsa-sha2-nistp256-cert-v01@openssh.com"
        | b"ecdsa-sha2-nistp384-cert-v01@openssh.com"
        | b"ecdsa-sha2-nistp521-cert-v01@openssh.com" => 2,
        b"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com" => 3,
        _ => return Err(LintError("the type is unknown")),
    };
    // The nonce stands before the key's fields.
    for _ in 0..=key_fields {
        cursor.field()?;
    }
    let (_serial, _type) = (cursor.number()?, cursor.word()?);
    let key_id = parse_text(cursor.field()?).ok_or(LintError("the key id has another form"))?;
    let mut packed = Cursor::new(cursor.field()?);
    let mut principals = Vec::new();
    while !packed.is_at_end() {
        let principal = std::str::from_utf8(packed.field()?);
        principals.push(principal.map_err(|_| LintError("a principal is not login@host"))?);
    }
    let opens = Opens::read(principals).ok_or(LintError("it opens no logins and no jump"))?;
    let (valid_after, valid_before) = (UnixTime(cursor.number()?), UnixTime(cursor.number()?));
    Ok(Facts { key_id, opens, valid_after, valid_before })
}

pub(super) fn parse_text<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn check_key_id(text: &[u8], context: Context<'_>) -> Check<KeyId> {
    ensure(
        text.len() <= MAX_KEY_ID && text.iter().all(u8::is_ascii_graphic),
        "the key id is not short printable ASCII",
    )?;
    let key_id: KeyId = parse_text(text).ok_or(LintError("the key id has another form"))?;
    ensure(key_id.subject == context.request.body().subject, "the key id names another person")?;
    ensure(key_id.request == context.request.id().as_str(), "the key id names another request")?;
    Ok(key_id)
}

fn check_principals(packed: &[u8], context: Context<'_>) -> Check<Opens> {
    let request = context.request.body();
    let mut cursor = Cursor::new(packed);
    if let Scope::Jump(jump) = context.scope {
        ensure(cursor.field()? == jump.to_string().as_bytes(), "it is for another jump")?;
        ensure(cursor.is_at_end(), "a jump's certificate opens more than the jump")?;
        return Ok(Opens::Jump(jump.clone()));
    }
    let mut principals: Vec<Principal> = Vec::new();
    while !cursor.is_at_end() {
        let principal: Principal =
            parse_text(cursor.field()?).ok_or(LintError("a principal is not login@host"))?;
        ensure(
            request.hosts.contains(principal.host()) && request.logins.contains(principal.login()),
            "a principal was not asked for",
        )?;
        ensure(!principal.login().is_jump(), "a principal is the account of jumps")?;
        ensure(
            principals.last().is_none_or(|last| *last < principal),
            "the principals are not sorted, or one stands twice",
        )?;
        principals.push(principal);
    }
    // An empty list is a certificate for everyone (Vault CVE-2024-7594).
    ensure((1..=16).contains(&principals.len()), "there are not 1 to 16 principals")?;
    Ok(Opens::Logins(principals))
}

fn check_validity(
    after: UnixTime,
    before: UnixTime,
    until: UnixTime,
    context: Context<'_>,
) -> Check {
    let now = context.now;
    ensure(before.0 < 1 << 33 && until.0 < 1 << 33, "a time is not in seconds")?;
    ensure(after < before, "it ends before it begins")?;
    ensure(after <= now && now < before, "it is not valid now")?;
    ensure(before <= until, "it outlives the access")?;
    ensure(before.0.saturating_sub(after.0) <= MAX_VALIDITY, "it is valid for too long")?;
    // The clock of the approval may be ahead by what statements may be, and no more.
    let request = context.request.body();
    ensure(
        request.not_before.is_none_or(|not_before| not_before <= now),
        "the access has not begun",
    )?;
    ensure(
        request.extends.is_some() == context.prolongs.is_some(),
        "it is not known what it prolongs",
    )?;
    let begins = now.max(context.prolongs.unwrap_or(now));
    let asked = request.r#for.get();
    let latest = begins.0.saturating_add(u64::from(asked)).saturating_add(u64::from(MAX_SKEW));
    ensure(until.0 <= latest, "the access is longer than what was asked for")
}

fn check_critical(packed: &[u8], context: Context<'_>) -> Check {
    let request = context.request.body();
    let command = match context.scope {
        Scope::Access => request.command.as_deref(),
        Scope::Jump(_) => Some("exit 1"),
    };
    let mut asked_command = command.is_some();
    for (name, data) in options(packed)? {
        if name == b"verify-required" {
            // `PROTOCOL.certkeys`: a flag, with no value at all.
            ensure(data.is_empty(), "verify-required has a value")?;
            ensure(request.key.is_security_key(), "verify-required, and the key can not verify")?;
            continue;
        }
        let mut inner = Cursor::new(data);
        let value = inner.field()?;
        ensure(inner.is_at_end(), "an option's value is followed by something")?;
        match name {
            b"force-command" => {
                ensure(
                    command.map(str::as_bytes) == Some(value),
                    "the forced command was not asked for",
                )?;
                asked_command = false;
            }
            b"source-address" => {
                let text =
                    std::str::from_utf8(value).map_err(|_| LintError("an address is odd"))?;
                for range in text.split(',') {
                    let range: crate::cidr::Cidr =
                        range.parse().map_err(|_| LintError("an address range is odd"))?;
                    ensure(
                        request.source.is_empty()
                            || request.source.iter().any(|r| r.covers(&range)),
                        "an address range is wider than what was asked for",
                    )?;
                }
            }
            _ => return Err(LintError("a critical option is unknown")),
        }
    }
    // Dropping a restriction the requester asked for would widen what they signed.
    ensure(!asked_command, "the forced command asked for is missing")?;
    let bound = options(packed)?.iter().any(|(name, _)| *name == b"source-address");
    ensure(request.source.is_empty() || bound, "the address ranges asked for are missing")
}

fn check_extensions(packed: &[u8], context: Context<'_>) -> Check {
    let permit = &context.request.body().permit;
    let asked: BTreeSet<&[u8]> = match context.scope {
        Scope::Access => permit.iter().map(|permit| permit.extension().as_bytes()).collect(),
        Scope::Jump(_) => BTreeSet::from([b"permit-port-forwarding".as_slice()]),
    };
    for (name, data) in options(packed)? {
        ensure(data.is_empty(), "an extension has a value")?;
        ensure(asked.contains(name), "an extension was not asked for")?;
    }
    Ok(())
}

/// Name and data of each option, which must be sorted and without repeats.
fn options(packed: &[u8]) -> Check<Vec<(&[u8], &[u8])>> {
    let mut cursor = Cursor::new(packed);
    let mut found: Vec<(&[u8], &[u8])> = Vec::new();
    while !cursor.is_at_end() {
        let name = cursor.field()?;
        let data = cursor.field()?;
        ensure(
            found.last().is_none_or(|(last, _)| *last < name),
            "the options are not sorted, or one stands twice",
        )?;
        found.push((name, data));
    }
    Ok(found)
}
