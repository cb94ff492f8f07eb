//! How hosts join that `hosts.toml` does not list: the host, vouched for until a moment, and the
//! token by which an enroller lets hosts vouch for themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{V1, check_kind, check_moment, dated, no_repeats};
use crate::bundle::Glob;
use crate::digest::{Digest, RootFingerprint};
use crate::key::{SignerKey, SubjectKey};
use crate::names::{ActorId, HostName, LabelKey, LabelValue, Login};
use crate::statement::{Body, Kind};
use crate::time::{Seconds, UnixTime};

/// Longest life of a host that joined, in seconds: 30 days. Then it is vouched for anew.
pub const MAX_HOST_LIFE: u32 = 30 * 86_400;
/// Longest life of a join token, in seconds: 7 days.
pub const MAX_TOKEN_LIFE: u32 = 7 * 86_400;
/// Most uses of a join token.
pub const MAX_TOKEN_USES: u32 = 10_000;
/// Most labels of a host.
const MAX_LABELS: usize = 32;
/// Most logins of a host.
const MAX_LOGINS: usize = 32;
/// Most names and globs of a token.
const MAX_NAMES: usize = 16;

/// An enroller, or a host with a token, says that a host is there until a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    v: V1,
    r#type: Kind,
    /// The CA this is for.
    pub ca: RootFingerprint,
    /// The enroller who vouches, by its own key or by a token.
    pub by: ActorId,
    /// The token whose key signs, or null: then one of the enroller's keys does.
    pub token: Option<Digest>,
    /// The host's name.
    pub name: HostName,
    /// What rules can select it by.
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// The accounts that may be asked for, at least one.
    pub logins: Vec<Login>,
    /// The host's own key: what tells this machine from the next one with its name. Ed25519.
    pub key: SubjectKey,
    /// When it was made.
    pub at: UnixTime,
    /// From when on the host is not there any more: after `at` by at most [`MAX_HOST_LIFE`].
    pub until: UnixTime,
}

impl Host {
    /// A host that `by` vouches for.
    #[allow(clippy::too_many_arguments, reason = "each is a field of the statement")]
    pub fn new(
        ca: RootFingerprint,
        by: ActorId,
        token: Option<Digest>,
        name: HostName,
        labels: BTreeMap<LabelKey, LabelValue>,
        logins: Vec<Login>,
        key: SubjectKey,
        at: UnixTime,
        until: UnixTime,
    ) -> Host {
        Host { v: V1, r#type: Kind::Host, ca, by, token, name, labels, logins, key, at, until }
    }

    /// For how long it is vouched for, in seconds.
    pub fn life(&self) -> u64 {
        self.until.since(self.at)
    }
}

impl Body for Host {
    const KIND: Kind = Kind::Host;

    dated!();

    fn check(&self) -> Result<(), String> {
        check_kind::<Self>(self.r#type)?;
        check_life(self.at, self.until, MAX_HOST_LIFE)?;
        check_offer(&self.labels, &self.logins)?;
        if self.key.type_name() != "ssh-ed25519" {
            return Err(format!(
                "key: {} where the host's ssh-ed25519 key belongs",
                self.key.type_name()
            ));
        }
        Ok(())
    }
}

/// An enroller lends a key, for a short time: whoever holds it may vouch for so many hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    v: V1,
    r#type: Kind,
    /// The CA this is for.
    pub ca: RootFingerprint,
    /// The enroller who lends.
    pub by: ActorId,
    /// The key that signs for hosts.
    pub key: SignerKey,
    /// Names and globs of hosts, at least one.
    pub names: Vec<Glob>,
    /// Exactly these labels every host gets.
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// The accounts a host may offer, at least one.
    pub logins: Vec<Login>,
    /// How many hosts may join, from 1 to [`MAX_TOKEN_USES`].
    pub uses: u32,
    /// Longest life of a host.
    pub r#for: Seconds,
    /// When it was made.
    pub at: UnixTime,
    /// From when on no host joins by it: after `at` by at most [`MAX_TOKEN_LIFE`].
    pub until: UnixTime,
}

impl Token {
    /// A token that `by` lends.
    #[allow(clippy::too_many_arguments, reason = "each is a field of the statement")]
    pub fn new(
        ca: RootFingerprint,
        by: ActorId,
        key: SignerKey,
        names: Vec<Glob>,
        labels: BTreeMap<LabelKey, LabelValue>,
        logins: Vec<Login>,
        uses: u32,
        span: Seconds,
        at: UnixTime,
        until: UnixTime,
    ) -> Token {
        Token {
            v: V1,
            r#type: Kind::Token,
            ca,
            by,
            key,
            names,
            labels,
            logins,
            uses,
            r#for: span,
            at,
            until,
        }
    }
}

impl Body for Token {
    const KIND: Kind = Kind::Token;

    dated!();

    fn check(&self) -> Result<(), String> {
        check_kind::<Self>(self.r#type)?;
        check_life(self.at, self.until, MAX_TOKEN_LIFE)?;
        check_offer(&self.labels, &self.logins)?;
        no_repeats("names", &self.names)?;
        check_count("names", self.names.len(), MAX_NAMES)?;
        if !(1..=MAX_TOKEN_USES).contains(&self.uses) {
            return Err(format!("uses: {} where 1 to {MAX_TOKEN_USES} belongs", self.uses));
        }
        if self.r#for.get() > MAX_HOST_LIFE {
            return Err(format!("for: {}; at most {} d", self.r#for, MAX_HOST_LIFE / 86_400));
        }
        Ok(())
    }
}

fn check_life(at: UnixTime, until: UnixTime, longest: u32) -> Result<(), String> {
    check_moment("at", at)?;
    check_moment("until", until)?;
    if until <= at || until.since(at) > u64::from(longest) {
        return Err(format!("until: {until} is not within {} d after `at`", longest / 86_400));
    }
    Ok(())
}

fn check_offer(labels: &BTreeMap<LabelKey, LabelValue>, logins: &[Login]) -> Result<(), String> {
    if labels.len() > MAX_LABELS {
        return Err(format!("labels: {}; at most {MAX_LABELS}", labels.len()));
    }
    no_repeats("logins", logins)?;
    check_count("logins", logins.len(), MAX_LOGINS)
}

fn check_count(field: &str, count: usize, most: usize) -> Result<(), String> {
    if (1..=most).contains(&count) {
        Ok(())
    } else {
        Err(format!("{field}: {count} where 1 to {most} belong"))
    }
}
