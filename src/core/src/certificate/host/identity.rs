//! What a host certificate is issued for.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::bundle::Host;
use crate::digest::Digest;
use crate::enrolment::Found;
use crate::key::HostKey;
use crate::names::{HostName, Principal};
use crate::time::UnixTime;

/// Most aliases of a host: with its name and its address, as many as one certificate may name.
pub const MAX_ALIASES: usize = Principal::MAX_COUNT - 2;

/// Longest DNS name.
const MAX_DNS_NAME: usize = 253;

/// A name that a client may reach a host by: a DNS name in lower case, an IPv4 or an IPv6 address,
/// each in its one spelling. OpenSSH reads the names of a host certificate as patterns
/// (`sshkey_cert_check_authority` calls `match_pattern`), so none of `*`, `?` and `!` can stand here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPrincipal(Box<str>);

/// A text is no name for a host certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a host certificate names DNS names in lower case and IP addresses")]
pub struct HostPrincipalError;

impl HostPrincipal {
    /// The host part of an address as `hosts.toml` has it, `host`, `host:port` or `[v6]:port`.
    pub fn of_address(address: &str) -> Option<HostPrincipal> {
        let host = match address.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?.0.parse::<Ipv6Addr>().ok()?.to_string(),
            None => address.split(':').next()?.to_ascii_lowercase(),
        };
        // What ends in a number is an IPv4 address or a mistake (WHATWG URL, "ends in a number");
        // an empty label is one too.
        let last = host.rsplit('.').next()?;
        let number = !host.contains(':') && last.bytes().all(|b| b.is_ascii_digit());
        if (number && host.parse::<Ipv4Addr>().is_err()) || host.split('.').any(str::is_empty) {
            return None;
        }
        host.parse().ok()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostPrincipal {
    type Err = HostPrincipalError;

    fn from_str(text: &str) -> Result<Self, HostPrincipalError> {
        let sound = match text.parse::<Ipv6Addr>() {
            Ok(address) => address.to_string() == text,
            Err(_) => {
                let fits =
                    |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
                text.len() <= MAX_DNS_NAME
                    && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
                    && text.bytes().all(fits)
            }
        };
        if sound { Ok(HostPrincipal(text.into())) } else { Err(HostPrincipalError) }
    }
}

impl From<&HostName> for HostPrincipal {
    /// Every name in our grammar will do: it is the narrower of the two.
    fn from(name: &HostName) -> HostPrincipal {
        HostPrincipal(name.as_str().into())
    }
}

impl fmt::Display for HostPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// A host as its certificate will show it: one of `hosts.toml`, or one that enrolled itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostIdentity {
    /// The name it goes by here.
    pub name: HostName,
    /// Further names.
    pub aliases: Vec<HostName>,
    /// Where it is reached, without a port.
    pub address: Option<HostPrincipal>,
    /// sshd's key.
    pub key: HostKey,
    /// When the host ends to be one; `None` if it stays until a bundle drops it.
    pub until: Option<UnixTime>,
    /// The digest of the statement it enrolled by; `None` for a host of `hosts.toml`.
    pub statement: Option<Digest>,
}

impl HostIdentity {
    /// The identity of a host of `hosts.toml`, if its key is known.
    pub fn of(host: &Host) -> Option<HostIdentity> {
        Some(HostIdentity {
            name: host.name.clone(),
            aliases: host.aliases.clone(),
            address: host.address.as_deref().and_then(HostPrincipal::of_address),
            key: host.key.clone()?,
            until: None,
            statement: None,
        })
    }

    /// The identity of a host that is there, listed or not, if its key is known. One that joined ends with
    /// the statement that vouches for it, and its certificate names that statement.
    pub fn found(found: Found<'_>) -> Option<HostIdentity> {
        let identity = HostIdentity::of(found.host())?;
        let statement = match found {
            Found::Listed(_) => None,
            Found::Joined(joined) => Some(joined.statement().digest()),
        };
        Some(HostIdentity { until: found.until(), statement, ..identity })
    }

    /// All that it may be called, sorted, each once.
    pub fn principals(&self) -> Vec<HostPrincipal> {
        let names = std::iter::once(&self.name).chain(&self.aliases).map(HostPrincipal::from);
        let mut all: Vec<HostPrincipal> = names.chain(self.address.clone()).collect();
        all.sort();
        all.dedup();
        all
    }
}
