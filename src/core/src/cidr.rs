//! Address ranges for the `source-address` critical option.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::deserialize_from_str;

/// An address range in CIDR notation, host bits zero, as `source-address` wants it
/// (OpenSSH `PROTOCOL.certkeys`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not an address range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not an address, a slash and a prefix length.
    #[error("{0:?} is not an address range; write it like \"10.0.0.0/8\" or \"2001:db8::/32\"")]
    Form(String),
    /// Bits below the prefix are set.
    #[error("{0:?} has bits set below its prefix; the range is {1}")]
    HostBits(String, Cidr),
}

impl Cidr {
    /// The range that holds exactly `address`.
    pub fn single(address: IpAddr) -> Cidr {
        // OpenSSH matches an IPv4 peer against IPv4 ranges only.
        let address = address.to_canonical();
        Cidr { address, prefix: bits(address) }
    }

    /// Whether the range holds exactly one address, and which.
    pub fn as_single(&self) -> Option<IpAddr> {
        (self.prefix == bits(self.address)).then_some(self.address)
    }

    /// Whether every address of `other` is in this range.
    pub fn covers(&self, other: &Cidr) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.prefix <= other.prefix
            && masked(other.address, self.prefix) == self.address
    }

    /// What both ranges hold: ranges are nested or apart.
    pub fn intersection(&self, other: &Cidr) -> Option<Cidr> {
        if self.covers(other) {
            Some(*other)
        } else if other.covers(self) {
            Some(*self)
        } else {
            None
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix.into())).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix.into())).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let shown = || text.chars().take(60).collect::<String>();
        let form = || CidrError::Form(shown());
        let (address, prefix_text) = text.split_once('/').ok_or_else(form)?;
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let prefix: u8 = prefix_text.parse().map_err(|_| form())?;
        if prefix > bits(address) {
            return Err(form());
        }
        let range = Cidr { address: masked(address, prefix), prefix };
        if range.address != address {
            return Err(CidrError::HostBits(shown(), range));
        }
        // One spelling per range: "010.0.0.0/08" and "::FFFF/.." must not slip in beside it.
        if range.to_string() != text { Err(form()) } else { Ok(range) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_from_str(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_parse_in_one_spelling_only() {
        for good in ["10.0.0.0/8", "0.0.0.0/0", "127.0.0.1/32", "2001:db8::/32", "::1/128"] {
            assert_eq!(good.parse::<Cidr>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "2001:DB8::/32",
            "::/129",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn intersection_is_the_narrower_range_or_nothing() {
        let (wide, narrow, other): (Cidr, Cidr, Cidr) = (
            "10.0.0.0/8".parse().unwrap(),
            "10.1.0.0/16".parse().unwrap(),
            "192.168.0.0/16".parse().unwrap(),
        );
        assert_eq!(wide.intersection(&narrow), Some(narrow));
        assert_eq!(narrow.intersection(&wide), Some(narrow));
        assert_eq!(wide.intersection(&other), None);
    }
}
