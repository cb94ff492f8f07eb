//! The enroll URL: where the CA is, and the pin that says which CA it must be.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use jit_ssh_core::digest::RootFingerprint;
use rustls::pki_types::ServerName;

/// `https://host:port#SHA256:...`: where the CA is, and the fingerprint of its `root.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaUrl {
    host: Host,
    port: u16,
    pin: RootFingerprint,
}

/// What stands between `https://` and the port.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Name(String),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// Why a text is not an enroll URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("the URL must begin with https://, like https://ca.example:7443#SHA256:...")]
    Scheme,
    /// There is no pin.
    #[error(
        "the URL has no pin: after # must stand the root's fingerprint, SHA256:...; `jit-ssh-ca init` prints the whole URL"
    )]
    NoPin,
    /// The pin is not a fingerprint.
    #[error("the pin after # is not \"SHA256:\" and 43 characters of base64")]
    Pin,
    /// No port, or not one.
    #[error(
        "the URL needs a port from 1 to 65535 and nothing after it, like https://ca.example:7443#SHA256:..."
    )]
    Port,
    /// Not a host name or address.
    #[error(
        "the URL's host must be a DNS name in lower case, an IPv4 address, or an IPv6 address in brackets"
    )]
    Host,
}

impl CaUrl {
    /// The fingerprint `root.json` must have.
    pub fn pin(&self) -> RootFingerprint {
        self.pin
    }

    /// Where to connect: `host:port`.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What to look up and connect to.
    pub(crate) fn address(&self) -> (String, u16) {
        let host = match &self.host {
            Host::Name(name) => name.clone(),
            Host::V4(ip) => ip.to_string(),
            // Without the brackets of the URL.
            Host::V6(ip) => ip.to_string(),
        };
        (host, self.port)
    }

    /// What the TLS certificate must be for.
    pub(crate) fn server_name(&self) -> ServerName<'static> {
        match &self.host {
            Host::Name(name) => {
                ServerName::try_from(name.clone()).expect("parsing a URL checked the name")
            }
            Host::V4(ip) => ServerName::IpAddress((*ip).into()),
            Host::V6(ip) => ServerName::IpAddress((*ip).into()),
        }
    }
}

impl FromStr for CaUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<CaUrl, UrlError> {
        let rest = text.strip_prefix("https://").ok_or(UrlError::Scheme)?;
        let (place, pin) = rest.split_once('#').ok_or(UrlError::NoPin)?;
        let pin = pin.parse().map_err(|_| UrlError::Pin)?;
        let (host, port_text) = place.rsplit_once(':').ok_or(UrlError::Port)?;
        let port: u16 = port_text.parse().map_err(|_| UrlError::Port)?;
        // No zero, no sign, no leading zeros: one spelling.
        if port == 0 || port.to_string() != port_text {
            return Err(UrlError::Port);
        }
        Ok(CaUrl { host: host.parse()?, port, pin })
    }
}

impl FromStr for Host {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Host, UrlError> {
        if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            return inner.parse().map(Host::V6).map_err(|_| UrlError::Host);
        }
        if let Ok(ip) = text.parse() {
            return Ok(Host::V4(ip));
        }
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
        // A name of digits and dots is an IPv4 address gone wrong, not a name.
        let lettered = text.bytes().any(|b| b.is_ascii_lowercase());
        let fits = lettered && text.bytes().all(allowed) && ServerName::try_from(text).is_ok();
        if fits { Ok(Host::Name(text.to_owned())) } else { Err(UrlError::Host) }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::V4(ip) => ip.fmt(f),
            Host::V6(ip) => write!(f, "[{ip}]"),
        }
    }
}

impl fmt::Display for CaUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}:{}#{}", self.host, self.port, self.pin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: &str = "SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0";

    #[test]
    fn urls_parse_back_as_they_were_written() {
        for place in ["ca.example:7443", "127.0.0.1:7443", "[::1]:1", "localhost:65535", "a-b.c:80"]
        {
            let text = format!("https://{place}#{PIN}");
            let url: CaUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), text);
            assert_eq!(url.authority(), place);
            assert_eq!(url.pin().to_string(), PIN);
        }
    }

    #[test]
    fn what_is_not_exactly_an_enroll_url_is_refused_with_its_fault() {
        let cases = [
            (format!("http://ca.example:7443#{PIN}"), UrlError::Scheme),
            (format!("ca.example:7443#{PIN}"), UrlError::Scheme),
            ("https://ca.example:7443".to_owned(), UrlError::NoPin),
            ("https://ca.example:7443#".to_owned(), UrlError::Pin),
            ("https://ca.example:7443#SHA256:abc".to_owned(), UrlError::Pin),
            (format!("https://ca.example:7443#{PIN}="), UrlError::Pin),
            (format!("https://ca.example:7443#{PIN} "), UrlError::Pin),
            (format!("https://ca.example#{PIN}"), UrlError::Port),
            (format!("https://ca.example:0#{PIN}"), UrlError::Port),
            (format!("https://ca.example:65536#{PIN}"), UrlError::Port),
            (format!("https://ca.example:+80#{PIN}"), UrlError::Port),
            (format!("https://ca.example:080#{PIN}"), UrlError::Port),
            (format!("https://ca.example:7443/#{PIN}"), UrlError::Port),
            (format!("https://:7443#{PIN}"), UrlError::Host),
            (format!("https://user@ca.example:7443#{PIN}"), UrlError::Host),
            (format!("https://CA.example:7443#{PIN}"), UrlError::Host),
            (format!("https://ca_x.example/a:7443#{PIN}"), UrlError::Host),
            (format!("https://127.0.0.300:7443#{PIN}"), UrlError::Host),
            (format!("https://::1:7443#{PIN}"), UrlError::Host),
            (format!("https://[::g]:7443#{PIN}"), UrlError::Host),
        ];
        for (text, fault) in cases {
            assert_eq!(text.parse::<CaUrl>().unwrap_err(), fault, "{text}");
        }
    }
}
