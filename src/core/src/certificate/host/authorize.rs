//! The one place that allows a host certificate.

use super::identity::{HostIdentity, HostPrincipal};
use crate::enrolment::View;
use crate::names::{HostName, Principal};
use crate::refusal::{Reason, Refusal};
use crate::time::UnixTime;

/// How long before now a host certificate begins, for clients whose clocks are behind, in seconds.
pub const BACKDATE: u32 = 3_600;

/// How long a host certificate lives, in seconds: a CA that is away for half of that does no harm.
pub const LIFETIME: u32 = 7 * 86_400;

/// Proof that [`authorize_host`] said yes: all that the certificate will say but its serial and nonce.
#[derive(Debug)]
#[must_use]
pub struct AuthorizedHost {
    identity: HostIdentity,
    principals: Vec<HostPrincipal>,
    valid_after: UnixTime,
    valid_before: UnixTime,
}

impl AuthorizedHost {
    /// The host.
    pub fn identity(&self) -> &HostIdentity {
        &self.identity
    }

    /// What it may be called, sorted, 1 to 16.
    pub fn principals(&self) -> &[HostPrincipal] {
        &self.principals
    }

    /// When the certificate begins.
    pub fn valid_after(&self) -> UnixTime {
        self.valid_after
    }

    /// When it ends.
    pub fn valid_before(&self) -> UnixTime {
        self.valid_before
    }

    /// A certificate for `identity`, which is known to be one of a host of this CA at `now`.
    pub(super) fn of(identity: HostIdentity, now: UnixTime) -> Result<AuthorizedHost, Refusal> {
        let name = &identity.name;
        let end = now.plus_secs(LIFETIME);
        let valid_before = identity.until.map_or(end, |until| until.min(end));
        if valid_before <= now {
            let message = format!("the host {name} has ended.");
            return Err(Refusal::new(Reason::Ended, message)
                .hint("it can come back: its enroller vouches for it anew"));
        }
        let principals = identity.principals();
        if !(1..=Principal::MAX_COUNT).contains(&principals.len()) {
            let message = format!("the host {name} has no name that fits in a certificate.");
            return Err(Refusal::new(Reason::PolicyRefused, message)
                .hint("it needs 1 to 16 names; an admin changes them in hosts.toml"));
        }
        let valid_after = now.minus_secs(BACKDATE);
        Ok(AuthorizedHost { identity, principals, valid_after, valid_before })
    }
}

/// Decides whether the host `name` may have a certificate, under the bundle of `view` and with the
/// hosts that are there, at `now`. Who asks is no matter: a certificate is of use only to the holder of
/// the host's key.
///
/// # Errors
/// [`Refusal`] if there is no such host, or `hosts.toml` does not have its key.
pub fn authorize_host<'b>(
    name: &HostName,
    view: impl Into<View<'b>>,
    now: UnixTime,
) -> Result<AuthorizedHost, Refusal> {
    let found = view.into().host(name, now).map_err(|refusal| {
        Refusal::new(Reason::UnknownHost, refusal.message).hint(
            "an admin adds it, with its key, and applies the bundle; or it joins with: jit-ssh-host enroll",
        )
    })?;
    let identity = HostIdentity::found(found).ok_or_else(|| {
        let message = format!("hosts.toml does not have the key of the host {name}.");
        Refusal::new(Reason::UnknownHost, message).hint(
            "an admin adds it: key = \"...\", what stands in /etc/ssh/ssh_host_ed25519_key.pub there",
        )
    })?;
    AuthorizedHost::of(identity, now)
}
