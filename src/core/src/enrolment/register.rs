//! The hosts and tokens known, and whether one more may be added. Rebuilt from the log at any time:
//! what is added in the order of the log gives the same.

use std::collections::{BTreeSet, HashMap};

use super::bounds::{judge_host, judge_token};
use super::former::{FormerHosts, HEARD_AFTER_END};
use crate::bundle::{self, Bundle};
use crate::digest::{Digest, RootFingerprint};
use crate::key::SignerKey;
use crate::names::{ActorId, HostName};
use crate::refusal::{Reason, Refusal};
use crate::statement::{
    self, Arrival, Host, Kind, MAX_SKEW, StatementError, Token, Verified, check_date,
};
use crate::time::UnixTime;

/// Most hosts and most tokens at a time, of all enrollers together, so that nobody fills the memory.
pub const MAX_ENROLLED: usize = 100_000;

/// How long after its end, in seconds, a token is still taken from another node, with the hosts that
/// joined by it in time. Longer would let whoever finds an old token, and owns a front, date back.
pub const RELAY_TOKEN: u32 = 3_600;

/// A host that joined.
#[derive(Debug, Clone)]
pub struct Joined {
    statement: Verified<Host>,
    token: Option<Verified<Token>>,
    /// As requests see it.
    host: bundle::Host,
    since: UnixTime,
    /// Until when any statement about this name could be told again.
    over_at: UnixTime,
}

impl Joined {
    /// The host as requests see it.
    pub fn host(&self) -> &bundle::Host {
        &self.host
    }

    /// The statement that vouches for it.
    pub fn statement(&self) -> &Verified<Host> {
        &self.statement
    }

    /// The token it joined by.
    pub fn token(&self) -> Option<&Verified<Token>> {
        self.token.as_ref()
    }

    /// Since when this machine, known by its key, has the name.
    pub fn since(&self) -> UnixTime {
        self.since
    }
}

/// A token and how often it was used.
#[derive(Debug, Clone)]
struct Lent {
    token: Verified<Token>,
    used: u32,
}

/// The hosts that joined, and the tokens that let more join.
#[derive(Debug, Clone, Default)]
pub struct Enrolled {
    hosts: HashMap<HostName, Joined>,
    former: FormerHosts,
    tokens: HashMap<Digest, Lent>,
    host_ends: BTreeSet<(UnixTime, HostName)>,
    token_ends: BTreeSet<(UnixTime, Digest)>,
    /// How many hosts, and how many tokens, each enroller has here.
    hosts_of: HashMap<ActorId, u32>,
    tokens_of: HashMap<ActorId, u32>,
}

/// A statement about hosts that join.
#[derive(Debug, Clone)]
pub enum Enrolment {
    /// A host joins.
    Host(Verified<Host>),
    /// More hosts may join by it.
    Token(Verified<Token>),
}

impl Enrolment {
    /// Verifies one for the CA `ca`.
    ///
    /// # Errors
    /// Those of [`statement::open`]; what is not a token must be a host.
    pub fn open(
        bytes: &[u8],
        signature: &[u8],
        ca: &RootFingerprint,
    ) -> Result<Enrolment, StatementError> {
        match Kind::of(bytes) {
            Some(Kind::Token) => statement::open(bytes, signature, ca).map(Enrolment::Token),
            _ => statement::open(bytes, signature, ca).map(Enrolment::Host),
        }
    }

    /// Reads one that one's own signer recorded.
    ///
    /// # Errors
    /// Those of [`statement::open_recorded`]; what is not a token must be a host.
    pub fn open_recorded(bytes: &[u8], signature: &[u8]) -> Result<Enrolment, StatementError> {
        match Kind::of(bytes) {
            Some(Kind::Token) => statement::open_recorded(bytes, signature).map(Enrolment::Token),
            _ => statement::open_recorded(bytes, signature).map(Enrolment::Host),
        }
    }
}

/// What becomes of a statement that may be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is to be recorded.
    New,
    /// It stands already.
    Known,
}

impl Enrolled {
    /// The host with this name that joined last, whether it is still there or not.
    pub fn get(&self, name: &HostName) -> Option<&Joined> {
        self.hosts.get(name)
    }

    /// The token with this digest.
    pub fn token(&self, digest: &Digest) -> Option<&Verified<Token>> {
        self.tokens.get(digest).map(|lent| &lent.token)
    }

    /// How many hosts have joined by the token.
    pub fn uses(&self, digest: &Digest) -> u32 {
        self.tokens.get(digest).map_or(0, |lent| lent.used)
    }

    /// The same with no other hosts than these, and no tokens by which more could join.
    #[must_use]
    pub fn only(&self, names: &[HostName]) -> Enrolled {
        let hosts =
            names.iter().filter_map(|name| Some((name.clone(), self.hosts.get(name)?.clone())));
        let (hosts, former) = (hosts.collect(), self.former.only(names));
        Enrolled { hosts, former, ..Enrolled::default() }
    }

    /// All hosts, in no order, whether they are still there or not.
    pub fn iter(&self) -> impl Iterator<Item = &Joined> {
        self.hosts.values()
    }

    /// The host with this name, if it is there under `bundle` at `now`.
    ///
    /// # Errors
    /// Why it is not; `None` for a name that is not known.
    pub fn there(
        &self,
        name: &HostName,
        bundle: &Bundle,
        now: UnixTime,
    ) -> Option<Result<&Joined, Refusal>> {
        let joined = self.hosts.get(name)?;
        let judged = judge_host(&joined.statement, joined.token.as_ref(), &bundle.hosts, now);
        Some(judged.map(|()| joined))
    }

    /// Whether the machine with this key may still say at `now` what it saw as the host `name`: while it
    /// has the name, and for [`HEARD_AFTER_END`] afterwards. Of which time it may speak is for [`Enrolled::had`].
    pub fn is_heard(&self, name: &HostName, key: &SignerKey, now: UnixTime) -> bool {
        self.terms(name, key).any(|(_, until)| now < until.plus_secs(HEARD_AFTER_END))
    }

    /// Whether the machine with this key had the name at `at`, give or take what clocks may be off.
    pub fn had(&self, name: &HostName, key: &SignerKey, at: UnixTime) -> bool {
        self.terms(name, key)
            .any(|(since, until)| since.minus_secs(SLACK) <= at && at < until.plus_secs(SLACK))
    }

    /// From when until when the machine with this key had the name, each time.
    fn terms<'e>(
        &'e self,
        name: &'e HostName,
        key: &'e SignerKey,
    ) -> impl Iterator<Item = (UnixTime, UnixTime)> + 'e {
        let now = self.hosts.get(name).map(|joined| {
            let body = joined.statement.body();
            (&body.key, joined.since, body.until)
        });
        let own = now.into_iter().chain(self.former.of(name));
        own.filter(|(own, ..)| own.blob() == key.blob()).map(|(_, since, until)| (since, until))
    }

    /// Checks a token before it is recorded. It may have been lent some time ago: its own end bounds it.
    ///
    /// # Errors
    /// [`Refusal`] if it is not within its enroller's bounds, not of now, or one too many.
    pub fn admit_token(
        &self,
        token: &Verified<Token>,
        bundle: &Bundle,
        arrival: Arrival,
        now: UnixTime,
    ) -> Result<Admission, Refusal> {
        if let Some(known) = self.tokens.get(&token.digest()) {
            return same_key(&known.token, token);
        }
        check_date(token.body().at, now, Arrival::Relayed)?;
        check_in_time(token, arrival, now)?;
        judge_token(token, &bundle.hosts)?;
        let by = &token.body().by;
        let has = self.tokens_of.get(by).copied().unwrap_or(0);
        if has >= MAX_TOKENS_OF_ONE || self.tokens.len() >= MAX_ENROLLED {
            return Err(Refusal::new(
                Reason::Quota,
                format!(
                    "{by} has {has} join tokens that have not ended, and there can be no more."
                ),
            )
            .hint(
                "wait until some have ended; a token with several uses is enough for many hosts",
            ));
        }
        Ok(Admission::New)
    }

    /// Checks a host before it is recorded: within its bounds, its name free or its own, and its token
    /// not used up.
    ///
    /// # Errors
    /// [`Refusal`]; of its own [`Reason::NameTaken`], [`Reason::TokenSpent`] and [`Reason::Settled`].
    pub fn admit_host(
        &self,
        host: &Verified<Host>,
        bundle: &Bundle,
        arrival: Arrival,
        now: UnixTime,
    ) -> Result<Admission, Refusal> {
        let body = host.body();
        let here = self.hosts.get(&body.name);
        if let Some(known) = here.filter(|known| known.statement.digest() == host.digest()) {
            return same_key(&known.statement, host);
        }
        check_date(body.at, now, arrival)?;
        let lent = body.token.and_then(|digest| self.tokens.get(&digest));
        judge_host(host, lent.map(|lent| &lent.token), &bundle.hosts, now)?;
        if let Some(known) = here {
            check_name(host, known, bundle, now)?;
        }
        if let Some(lent) = lent {
            check_in_time(&lent.token, arrival, now)?;
            let most = lent.token.body().uses;
            if lent.used >= most && !here.is_some_and(|known| is_renewal(host, known)) {
                let spent = match most {
                    1 => "one host, and that has joined".to_owned(),
                    most => format!("{most} hosts, and so many have joined"),
                };
                return Err(Refusal::new(
                    Reason::TokenSpent,
                    format!("the token {} was for {spent}.", lent.token.id()),
                )
                .hint("the enroller makes another with: jit-ssh-ca token"));
            }
        }
        self.check_room(host, here, bundle)?;
        Ok(Admission::New)
    }

    fn check_room(
        &self,
        host: &Verified<Host>,
        here: Option<&Joined>,
        bundle: &Bundle,
    ) -> Result<(), Refusal> {
        let by = &host.body().by;
        let has = self.hosts_of.get(by).copied().unwrap_or(0);
        let most = bundle.hosts.enrollers.get(by).map_or(0, |enroller| enroller.max_hosts);
        let takes_over = here.is_some_and(|known| known.statement.body().by == *by);
        let full = here.is_none() && self.hosts.len() >= MAX_ENROLLED;
        if (has < most || takes_over) && !full {
            return Ok(());
        }
        Err(Refusal::new(Reason::Quota, format!("{by} has {has} hosts, and there can be no more."))
            .hint("wait until some have ended; an admin can raise max_hosts in hosts.toml"))
    }

    /// Adds what was recorded; what is known already changes nothing.
    pub fn add(&mut self, recorded: Enrolment) {
        match recorded {
            Enrolment::Host(host) => self.add_host(host),
            Enrolment::Token(token) => self.add_token(token),
        }
    }

    /// Adds a token that was recorded; one that is known already changes nothing.
    pub fn add_token(&mut self, token: Verified<Token>) {
        let digest = token.digest();
        if self.tokens.contains_key(&digest) {
            return;
        }
        let over_at = token.body().until.plus_secs(RELAY_TOKEN);
        self.token_ends.insert((over_at, digest));
        count(&mut self.tokens_of, &token.body().by);
        self.tokens.insert(digest, Lent { token, used: 0 });
    }

    /// Adds a host that was recorded, in place of what was known of its name before; one that is
    /// known already, or older than that, changes nothing.
    pub fn add_host(&mut self, statement: Verified<Host>) {
        let body = statement.body();
        let before = self.hosts.get(&body.name);
        if before.is_some_and(|before| before.statement.body().at >= body.at) {
            return;
        }
        let renewal = before.is_some_and(|before| is_renewal(&statement, before));
        let lent = body.token.and_then(|digest| self.tokens.get_mut(&digest));
        let token = lent.map(|lent| {
            if !renewal {
                lent.used = lent.used.saturating_add(1);
            }
            lent.token.clone()
        });
        let same = before.filter(|before| before.statement.body().key == body.key);
        let since = same.map_or(body.at, |before| before.since);
        let over_at = before.map_or(body.until, |before| before.over_at.max(body.until));
        let host = bundle::Host::of_statement(body);
        count(&mut self.hosts_of, &body.by);
        let name = body.name.clone();
        self.host_ends.insert((over_at, name.clone()));
        let joined = Joined { statement, token, host, since, over_at };
        if let Some(before) = self.hosts.insert(name.clone(), joined) {
            let (old, new) = (before.statement.body(), self.hosts.get(&name));
            uncount(&mut self.hosts_of, &old.by);
            let new = new.map(|new| new.statement.body()).filter(|new| new.key != old.key);
            if let Some(at) = new.map(|new| new.at) {
                self.former.keep(&before.statement, before.since, old.until.min(at));
            }
            if before.over_at != over_at {
                self.host_ends.remove(&(before.over_at, name));
            }
        }
    }

    /// Forgets what is over: hosts that are gone, and tokens by which nobody can join any more.
    pub fn forget(&mut self, now: UnixTime) {
        while self.host_ends.first().is_some_and(|(over_at, _)| *over_at < now) {
            let Some((_, name)) = self.host_ends.pop_first() else { return };
            if let Some(gone) = self.hosts.remove(&name) {
                let body = gone.statement.body();
                uncount(&mut self.hosts_of, &body.by);
                self.former.keep(&gone.statement, gone.since, body.until);
            }
        }
        self.former.forget(now);
        while self.token_ends.first().is_some_and(|(over_at, _)| *over_at < now) {
            let Some((_, digest)) = self.token_ends.pop_first() else { return };
            if let Some(gone) = self.tokens.remove(&digest) {
                uncount(&mut self.tokens_of, &gone.token.body().by);
            }
        }
    }

    /// Whether [`Enrolled::forget`] would forget something.
    pub fn is_stale(&self, now: UnixTime) -> bool {
        let host = self.host_ends.first().map(|(over_at, _)| *over_at);
        let token = self.token_ends.first().map(|(over_at, _)| *over_at);
        host.into_iter().chain(token).any(|over_at| over_at < now) || self.former.is_stale(now)
    }
}

/// Most tokens of one enroller that have not ended.
const MAX_TOKENS_OF_ONE: u32 = 10_000;

/// Whether a token is still good; told by another node, a little longer.
fn check_in_time(token: &Verified<Token>, arrival: Arrival, now: UnixTime) -> Result<(), Refusal> {
    let until = token.body().until;
    let good = match arrival {
        Arrival::Submitted => now < until,
        Arrival::Relayed => now < until.plus_secs(RELAY_TOKEN),
    };
    if good {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::Lapsed,
        format!("the token {} was good until {}, and that is over.", token.id(), until.utc()),
    )
    .hint("the enroller makes another with: jit-ssh-ca token"))
}

/// A name belongs to one machine while it is there, and statements about it only get newer: an old
/// one, told again, says nothing.
fn check_name(
    host: &Verified<Host>,
    known: &Joined,
    bundle: &Bundle,
    now: UnixTime,
) -> Result<(), Refusal> {
    let (body, theirs) = (host.body(), known.statement.body());
    let there = judge_host(&known.statement, known.token.as_ref(), &bundle.hosts, now).is_ok();
    if there && theirs.key != body.key {
        return Err(Refusal::new(
            Reason::NameTaken,
            format!("another machine is the host {} until {}.", body.name, theirs.until.utc()),
        )
        .hint("take another name, or wait until then"));
    }
    if there && theirs.by != body.by {
        return Err(Refusal::new(
            Reason::NameTaken,
            format!(
                "{} vouches for the host {} until {}.",
                theirs.by,
                body.name,
                theirs.until.utc()
            ),
        ));
    }
    if body.at <= theirs.at {
        return Err(Refusal::new(
            Reason::Settled,
            format!("a newer statement about the host {} stands already.", body.name),
        )
        .hint("check the clock of who vouches, and try again in a moment"));
    }
    Ok(())
}

/// Whether a host that joined by a token only says anew that it is there: that is no further use.
fn is_renewal(host: &Verified<Host>, before: &Joined) -> bool {
    let (body, theirs) = (host.body(), before.statement.body());
    body.key == theirs.key && body.token == theirs.token
}

/// A statement is its bytes and who signed them.
fn same_key<T>(known: &Verified<T>, again: &Verified<T>) -> Result<Admission, Refusal> {
    if known.key() == again.key() {
        return Ok(Admission::Known);
    }
    Err(Refusal::new(
        Reason::UnknownSigner,
        "this statement stands already, signed with another key.",
    ))
}

fn count(counts: &mut HashMap<ActorId, u32>, id: &ActorId) {
    let count = counts.entry(id.clone()).or_default();
    *count = count.saturating_add(1);
}

fn uncount(counts: &mut HashMap<ActorId, u32>, id: &ActorId) {
    if let Some(count) = counts.get_mut(id) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(id);
        }
    }
}

/// Statements are dated by two clocks, each off by at most [`MAX_SKEW`].
pub(super) const SLACK: u32 = 2 * MAX_SKEW;
