//! One host with all that vouches for it: enough for whoever has the bundle to judge it.

use super::bounds::judge_host;
use crate::bundle::{self, Hosts};
use crate::digest::RootFingerprint;
use crate::refusal::Refusal;
use crate::statement::{self, Host, StatementError, Token, Verified};
use crate::time::UnixTime;

/// The statement by which a host joined, and that of the token whose key signed it. Signed, and not
/// judged yet: [`Vouched::judge`].
#[derive(Debug, Clone)]
pub struct Vouched {
    host: Verified<Host>,
    token: Option<Verified<Token>>,
}

impl Vouched {
    /// A host by its token, or without one by its enroller's own key.
    pub fn new(host: Verified<Host>, token: Option<Verified<Token>>) -> Vouched {
        Vouched { host, token }
    }

    /// Opens what somebody sent, each a statement and its signature, for the CA `ca`.
    ///
    /// # Errors
    /// Those of [`statement::open`].
    pub fn open(
        host: (&[u8], &[u8]),
        token: Option<(&[u8], &[u8])>,
        ca: &RootFingerprint,
    ) -> Result<Vouched, StatementError> {
        let token = token.map(|(bytes, signature)| statement::open(bytes, signature, ca));
        Ok(Vouched { host: statement::open(host.0, host.1, ca)?, token: token.transpose()? })
    }

    /// Checks that it may vouch for this host under these `hosts.toml`, and that the host is there at `now`.
    ///
    /// # Errors
    /// Those of [`judge_host`].
    pub fn judge(&self, hosts: &Hosts, now: UnixTime) -> Result<(), Refusal> {
        judge_host(&self.host, self.token.as_ref(), hosts, now)
    }

    /// The same for a host that may be over: as of its last moment then.
    ///
    /// # Errors
    /// Those of [`judge_host`].
    pub fn judge_at_last(&self, hosts: &Hosts, now: UnixTime) -> Result<(), Refusal> {
        self.judge(hosts, now.min(self.host.body().until.minus_secs(1)))
    }

    /// The host's statement.
    pub fn host(&self) -> &Verified<Host> {
        &self.host
    }

    /// The token's statement.
    pub fn token(&self) -> Option<&Verified<Token>> {
        self.token.as_ref()
    }

    /// The host as `hosts.toml` would list it.
    pub fn as_listed(&self) -> bundle::Host {
        bundle::Host::of_statement(self.host.body())
    }
}
