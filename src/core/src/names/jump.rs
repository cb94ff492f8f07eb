//! The way through a bastion, and what one certificate opens.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};
use serde::{Serialize, Serializer};

use super::{HostName, Login, NameError, Principal, deserialize_from_str};

/// The way on from a bastion to the one host behind it: `jump@<bastion>/<host>`. It opens nothing but a
/// forward to that host, and nobody can ask for it by name: it comes with the access to what is behind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Jump {
    bastion: HostName,
    host: HostName,
}

impl Jump {
    /// The account on every bastion that jumps go through. It can not be asked for.
    pub const LOGIN: &'static str = "jump";

    /// Joins a bastion and the next host; `None` if they are one.
    pub fn new(bastion: HostName, host: HostName) -> Option<Jump> {
        (bastion != host).then_some(Jump { bastion, host })
    }

    /// The host that is jumped through.
    pub fn bastion(&self) -> &HostName {
        &self.bastion
    }

    /// The host behind it: the target, or the next bastion.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// A name for files and `ssh_config` that no host can have, since `+` is in no host's name. (ssh takes
    /// the `/` of the principal for the beginning of a port.)
    pub fn label(&self) -> String {
        format!("{}+{}", self.bastion, self.host)
    }
}

impl Login {
    /// Whether this is the account of jumps, which nobody can ask for.
    pub fn is_jump(&self) -> bool {
        self.as_str() == Jump::LOGIN
    }
}

impl FromStr for Jump {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let names = text.strip_prefix(Jump::LOGIN).and_then(|rest| rest.strip_prefix('@'));
        let error = || NameError {
            kind: "jump",
            text: text.chars().take(80).collect(),
            expected: "jump@bastion/host",
        };
        let (bastion, host) = names.and_then(|names| names.split_once('/')).ok_or_else(error)?;
        Jump::new(bastion.parse()?, host.parse()?).ok_or_else(error)
    }
}

impl fmt::Display for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", Jump::LOGIN, self.bastion, self.host)
    }
}

impl fmt::Debug for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for Jump {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Jump {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_from_str(deserializer)
    }
}

/// What one certificate opens, as its principals say: logins on hosts, or one jump. Never both, since what
/// a jump needs (port forwarding) would otherwise be allowed on the target too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opens {
    /// Logins, sorted, 1 to [`Principal::MAX_COUNT`].
    Logins(Vec<Principal>),
    /// One jump.
    Jump(Jump),
}

impl Opens {
    /// Reads the principals of a certificate; `None` for none, and for anything that is not one or the
    /// other.
    pub fn read<'t>(principals: impl IntoIterator<Item = &'t str>) -> Option<Opens> {
        let mut texts = principals.into_iter().peekable();
        if let Ok(jump) = texts.peek()?.parse() {
            texts.next();
            return texts.next().is_none().then_some(Opens::Jump(jump));
        }
        let logins: Option<Vec<Principal>> = texts.map(|text| text.parse().ok()).collect();
        logins.map(Opens::Logins)
    }

    /// The logins; none for a jump.
    pub fn logins(&self) -> &[Principal] {
        match self {
            Opens::Logins(logins) => logins,
            Opens::Jump(_) => &[],
        }
    }

    /// The principals as they stand in the certificate.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Opens::Logins(logins) => logins.iter().map(ToString::to_string).collect(),
            Opens::Jump(jump) => vec![jump.to_string()],
        }
    }

    /// Whether it opens all that `other` does.
    pub fn covers(&self, other: &Opens) -> bool {
        match (self, other) {
            (Opens::Logins(wide), Opens::Logins(narrow)) => {
                narrow.iter().all(|principal| wide.contains(principal))
            }
            (Opens::Jump(own), Opens::Jump(other)) => own == other,
            (Opens::Logins(_), Opens::Jump(_)) | (Opens::Jump(_), Opens::Logins(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_names_a_bastion_and_one_other_host_and_is_never_a_login() {
        let jump: Jump = "jump@bastion/prod-host".parse().unwrap();
        assert_eq!((jump.bastion().as_str(), jump.host().as_str()), ("bastion", "prod-host"));
        assert_eq!(jump.to_string(), "jump@bastion/prod-host");
        assert_eq!(jump.label(), "bastion+prod-host");
        assert!(
            jump.label().parse::<HostName>().is_err()
                && jump.to_string().parse::<Principal>().is_err()
        );
        for bad in [
            "jump@bastion",
            "jump@bastion/",
            "jump@/prod-host",
            "jump@bastion/a/b",
            "jump@a/a",
            "root@bastion/prod-host",
            "bastion/prod-host",
            "jumpbastion/a",
            "jump@b/a,root@a",
            "",
        ] {
            assert!(bad.parse::<Jump>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_certificate_opens_logins_or_one_jump_and_never_both() {
        let read = |texts: &[&str]| Opens::read(texts.iter().copied());
        let logins = read(&["deploy@a", "deploy@b"]).unwrap();
        assert_eq!(logins.texts(), ["deploy@a", "deploy@b"]);
        let jump = read(&["jump@b/a"]).unwrap();
        assert_eq!((jump.texts(), jump.logins()), (vec!["jump@b/a".to_owned()], &[][..]));
        assert!(logins.covers(&read(&["deploy@b"]).unwrap()) && jump.covers(&jump));
        assert!(
            !logins.covers(&jump)
                && !jump.covers(&logins)
                && !jump.covers(&read(&["jump@b/c"]).unwrap())
        );
        for bad in [
            &[][..],
            &["jump@b/a", "jump@b/c"],
            &["jump@b/a", "deploy@a"],
            &["deploy@a", "jump@b/a"],
            &["root"],
        ] {
            assert!(read(bad).is_none(), "{bad:?}");
        }
    }
}
