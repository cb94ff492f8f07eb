//! Host certificates: what sshd shows to clients, so that they need not ask whether a host is known.
//!
//! - `identity.rs`: what one is issued for; `authorize.rs`: the one place that allows it;
//! - `build.rs`: encodes it; `lint.rs`: judges the encoded bytes by what the identity says.
//!
//! None of these types fits where one for people is asked for, nor the other way round: the host CA
//! key never signs a user certificate, and the user CA key never a host certificate.

mod authorize;
mod build;
mod identity;
mod lint;

use std::fmt;
use std::str::FromStr;

pub use authorize::{AuthorizedHost, BACKDATE, LIFETIME, authorize_host};
pub use build::{HostTbs, build};
pub use identity::{HostIdentity, HostPrincipal, MAX_ALIASES};
pub use lint::{HostContext, HostFacts, HostLinted, check, lint, read};

use super::KeyIdError;
use crate::names::HostName;
use crate::time::UnixTime;

/// The key id of a host certificate: `host/<name>/<valid_before>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyId {
    /// The host.
    pub name: HostName,
    /// When the certificate ends.
    pub valid_before: UnixTime,
}

impl fmt::Display for HostKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host/{}/{}", self.name, self.valid_before)
    }
}

impl FromStr for HostKeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let (name, until) =
            text.strip_prefix("host/").and_then(|rest| rest.split_once('/')).ok_or(KeyIdError)?;
        let id = HostKeyId {
            name: name.parse().map_err(|_| KeyIdError)?,
            valid_before: UnixTime(until.parse().map_err(|_| KeyIdError)?),
        };
        if id.to_string() == text { Ok(id) } else { Err(KeyIdError) }
    }
}

#[cfg(test)]
mod tests;
