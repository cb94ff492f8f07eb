//! Judges encoded to-be-signed bytes of a host certificate, by a parser that shares no code with the
//! builder. What must hold is stated anew here, from the identity and the contract.

use super::{HostIdentity, HostKeyId, HostPrincipal, HostTbs};
use crate::certificate::Serial;
use crate::certificate::cursor::{Cursor, check_key};
use crate::certificate::lint::{Check, LintError, ensure, parse_text};
use crate::key::HostCaKey;
use crate::time::UnixTime;

/// Longest time a certificate may go on after it was decided: a week, in seconds.
const MAX_AHEAD: u64 = 604_800;

/// Longest time it may begin before it was decided: an hour, in seconds.
const MAX_BEFORE: u64 = 3_600;

/// Longest key id: a name of at most 63 characters, a moment, `host` and two slashes.
const MAX_KEY_ID: usize = 80;

/// What the bytes are judged against.
#[derive(Debug, Clone, Copy)]
pub struct HostContext<'a> {
    /// The host they are for.
    pub identity: &'a HostIdentity,
    /// The serial they must carry.
    pub serial: Serial,
    /// The key they will be signed with.
    pub ca: &'a HostCaKey,
    /// When they were decided.
    pub at: UnixTime,
}

/// To-be-signed bytes that passed the lint. Only these may be logged and signed.
#[derive(Debug)]
#[must_use]
pub struct HostLinted {
    bytes: Vec<u8>,
    facts: HostFacts,
}

impl HostLinted {
    /// The exact bytes to be signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What they say.
    pub fn facts(&self) -> &HostFacts {
        &self.facts
    }
}

/// What a host certificate says, as read from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// The key id.
    pub key_id: HostKeyId,
    /// What the host may be called, in their order.
    pub principals: Vec<HostPrincipal>,
    /// When it begins.
    pub valid_after: UnixTime,
    /// When it ends.
    pub valid_before: UnixTime,
}

impl HostFacts {
    /// When half of its time is over: from then on it is renewed, and not before.
    pub fn half_life(&self) -> UnixTime {
        UnixTime(self.valid_after.0.midpoint(self.valid_before.0))
    }

    /// Whether another certificate takes the place of this one at `now`: half of its time is over, and
    /// another could go on for longer. That of a host that joined ends with the host at the latest.
    pub fn is_due(&self, identity: &HostIdentity, now: UnixTime) -> bool {
        now >= self.half_life() && identity.until != Some(self.valid_before)
    }
}

/// Judges `tbs`.
///
/// # Errors
/// [`LintError`] names the first thing that is wrong.
pub fn lint(tbs: HostTbs, context: HostContext<'_>) -> Result<HostLinted, LintError> {
    check(tbs.0, context)
}

/// Judges encoded bytes, whoever made them: the auditor and clients use it on what they read, and the
/// signer on what it logged before.
///
/// # Errors
/// [`LintError`] names the first thing that is wrong.
pub fn check(bytes: Vec<u8>, context: HostContext<'_>) -> Result<HostLinted, LintError> {
    let mut cursor = Cursor::new(&bytes);
    let identity = context.identity;
    let kind = cursor.field()?;
    ensure(cursor.field()?.len() == 32, "the nonce has not 32 bytes")?;
    check_key(kind, &mut cursor, identity.key.blob())?;
    ensure(cursor.number()? == context.serial.get(), "the serial is not the one of its log entry")?;
    ensure(context.serial.get() != 0, "the serial is zero")?;
    ensure(cursor.word()? == 2, "it is not a host certificate")?;

    let key_id = check_key_id(cursor.field()?)?;
    ensure(key_id.name == identity.name, "the key id names another host")?;
    let principals = check_principals(cursor.field()?, identity)?;
    let valid_after = UnixTime(cursor.number()?);
    let valid_before = UnixTime(cursor.number()?);
    ensure(key_id.valid_before == valid_before, "the key id names another end")?;
    check_validity(valid_after, valid_before, context)?;
    // OpenSSH defines neither for hosts, and a client refuses critical options it does not know.
    ensure(cursor.field()?.is_empty(), "a host certificate has critical options")?;
    ensure(cursor.field()?.is_empty(), "a host certificate has extensions")?;
    ensure(cursor.field()?.is_empty(), "the reserved field is not empty")?;
    ensure(cursor.field()? == context.ca.blob(), "the signing key is not the host CA's")?;
    ensure(cursor.is_at_end(), "something follows the last field")?;
    let facts = HostFacts { key_id, principals, valid_after, valid_before };
    Ok(HostLinted { bytes, facts })
}

/// Reads what logged bytes say, without judging them: they were judged before they were logged.
///
/// # Errors
/// [`LintError`] if they are no host certificate of ours at all.
pub fn read(bytes: &[u8]) -> Result<HostFacts, LintError> {
    let mut cursor = Cursor::new(bytes);
    let key_fields = match cursor.field()? {
        b"ssh-ed25519-cert-v01@openssh.com" => 1,
        b"ecdsa-sha2-nistp256-cert-v01@openssh.com"
        | b"ecdsa-sha2-nistp384-cert-v01@openssh.com"
        | b"ecdsa-sha2-nistp521-cert-v01@openssh.com" => 2,
        _ => return Err(LintError("the type is unknown")),
    };
    // The nonce stands before the key's fields.
    for _ in 0..=key_fields {
        cursor.field()?;
    }
    let _serial = cursor.number()?;
    ensure(cursor.word()? == 2, "it is not a host certificate")?;
    let key_id = check_key_id(cursor.field()?)?;
    let mut packed = Cursor::new(cursor.field()?);
    let mut principals = Vec::new();
    while !packed.is_at_end() {
        let principal = parse_text(packed.field()?);
        principals.push(principal.ok_or(LintError("a name is no name of a host"))?);
    }
    let (valid_after, valid_before) = (UnixTime(cursor.number()?), UnixTime(cursor.number()?));
    Ok(HostFacts { key_id, principals, valid_after, valid_before })
}

fn check_key_id(text: &[u8]) -> Check<HostKeyId> {
    ensure(text.len() <= MAX_KEY_ID, "the key id is too long")?;
    parse_text(text).ok_or(LintError("the key id has another form"))
}

/// Exactly the names of the host: fewer would lock people out, more would let it pose as another.
fn check_principals(packed: &[u8], identity: &HostIdentity) -> Check<Vec<HostPrincipal>> {
    let mut cursor = Cursor::new(packed);
    let mut found: Vec<HostPrincipal> = Vec::new();
    while !cursor.is_at_end() {
        let name: HostPrincipal =
            parse_text(cursor.field()?).ok_or(LintError("a name is no name of a host"))?;
        let text = name.as_str();
        let known = text == identity.name.as_str()
            || identity.aliases.iter().any(|alias| alias.as_str() == text)
            || identity.address.as_ref() == Some(&name);
        ensure(known, "a name is not the host's")?;
        ensure(
            found.last().is_none_or(|last| *last < name),
            "the names are not sorted, or one stands twice",
        )?;
        found.push(name);
    }
    // An empty list is a certificate for every host.
    ensure((1..=16).contains(&found.len()), "there are not 1 to 16 names")?;
    let holds = |text: &str| found.iter().any(|name| name.as_str() == text);
    let whole = holds(identity.name.as_str())
        && identity.aliases.iter().all(|alias| holds(alias.as_str()))
        && identity.address.iter().all(|address| holds(address.as_str()));
    ensure(whole, "a name of the host is missing")?;
    Ok(found)
}

fn check_validity(after: UnixTime, before: UnixTime, context: HostContext<'_>) -> Check {
    let at = context.at;
    ensure(before.0 < 1 << 33, "a time is not in seconds")?;
    ensure(after <= at && at < before, "it is not valid when it is issued")?;
    ensure(at.since(after) <= MAX_BEFORE, "it begins too early")?;
    ensure(before.since(at) <= MAX_AHEAD, "it is valid for too long")?;
    ensure(context.identity.until.is_none_or(|until| before <= until), "it outlives the host")
}
