//! Keys about hosts: what sshd shows of itself, and what certifies that.

use std::str::FromStr;

use super::{
    Arc, Deserialize, Deserializer, Hash, Hasher, KeyData, KeyError, Plain, Serialize, Serializer,
    SubjectKey, VerifyingKey, check_order, deserialize_from_str, fmt, strong_point, wire,
};

/// A host key of sshd: Ed25519 or ECDSA, plain. RSA is refused: what it signs with is negotiated at
/// each login, down to SHA-1, and every sshd has an Ed25519 key beside it.
#[derive(Clone)]
pub struct HostKey {
    // Shared: a fleet's bundle holds 100,000 of them, and is cloned.
    plain: Arc<Plain>,
}

key_traits!(HostKey);

impl HostKey {
    /// The host key that a statement names; `None` where that is of a type that no host has here.
    pub fn of_subject(key: &SubjectKey) -> Option<HostKey> {
        HostKey::accept(key.plain.clone()).ok()
    }

    /// The OpenSSH name of the key's type, such as `ssh-ed25519`.
    pub fn type_name(&self) -> String {
        self.plain.type_name()
    }

    fn accept(plain: Plain) -> Result<HostKey, KeyError> {
        match &plain.data {
            KeyData::Ed25519(key) => check_order(&key.0)?,
            KeyData::Ecdsa(_) => {}
            _ => return Err(HostKey::refused(plain.type_name())),
        }
        Ok(HostKey { plain: Arc::new(plain) })
    }

    fn refused(kind: String) -> KeyError {
        KeyError::Type(kind, "sshd's Ed25519 or ECDSA host key")
    }
}

impl FromStr for HostKey {
    type Err = KeyError;

    /// Parses `type base64 [comment]`, as the `.pub` file beside sshd's key has it.
    fn from_str(line: &str) -> Result<Self, KeyError> {
        if line.starts_with("ssh-rsa ") {
            return Err(HostKey::refused("ssh-rsa".to_owned()));
        }
        HostKey::accept(Plain::from_line(line)?)
    }
}

/// A host CA key: Ed25519, plain. Never the same as a user CA key, and another type: what one of them
/// signs can not stand where the other is trusted.
#[derive(Clone)]
pub struct HostCaKey {
    plain: Plain,
    point: VerifyingKey,
}

key_traits!(HostCaKey);

impl HostCaKey {
    /// The host CA key whose Ed25519 public half is `bytes`.
    ///
    /// # Errors
    /// [`KeyError::Weak`] if the bytes are no sound point.
    pub fn from_ed25519(bytes: &[u8; 32]) -> Result<HostCaKey, KeyError> {
        let mut blob = wire::Writer::default();
        blob.string(b"ssh-ed25519").string(bytes);
        HostCaKey::accept(Plain::from_blob(&blob.into_bytes())?)
    }

    fn accept(plain: Plain) -> Result<HostCaKey, KeyError> {
        match &plain.data {
            KeyData::Ed25519(key) => {
                let point = strong_point(&key.0)?;
                Ok(HostCaKey { plain, point })
            }
            _ => Err(KeyError::Type(plain.type_name(), "Ed25519")),
        }
    }

    /// The decompressed point.
    pub fn point(&self) -> &VerifyingKey {
        &self.point
    }
}

impl FromStr for HostCaKey {
    type Err = KeyError;

    fn from_str(line: &str) -> Result<Self, KeyError> {
        HostCaKey::accept(Plain::from_line(line)?)
    }
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding as _};

    use super::*;
    use crate::testkit::software_key;

    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU=";

    #[test]
    fn a_host_key_is_what_sshd_shows_and_no_more() {
        let line = software_key(1).1.to_string();
        let key: HostKey = line.parse().unwrap();
        assert_eq!(key, format!("{line} root@prod-host").parse().unwrap());
        assert_eq!(key.to_string(), line);
        assert_eq!(ECDSA.parse::<HostKey>().unwrap().type_name(), "ecdsa-sha2-nistp256");
        let message = |line: &str| line.parse::<HostKey>().unwrap_err().to_string();
        assert!(message("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ").contains("ssh-rsa"));
        let certificate = line.replace("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com ");
        assert!(message(&certificate).contains("certificate"));
        for bad in ["", "ssh-ed25519", "ssh-ed25519 !!!", &line[..line.len() - 4]] {
            assert!(bad.parse::<HostKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_security_key_or_a_weak_point_is_no_host_key_and_no_host_ca() {
        let mut blob = wire::Writer::default();
        let mut identity = [0u8; 32];
        identity[0] = 1;
        blob.string(b"ssh-ed25519").string(&identity);
        let weak = format!("ssh-ed25519 {}", Base64::encode_string(&blob.into_bytes()));
        assert_eq!(weak.parse::<HostKey>().unwrap_err(), KeyError::Weak);
        assert_eq!(weak.parse::<HostCaKey>().unwrap_err(), KeyError::Weak);
        assert_eq!(HostCaKey::from_ed25519(&identity).unwrap_err(), KeyError::Weak);
        assert!(ECDSA.parse::<HostCaKey>().is_err());
        let security = crate::testkit::with_security_key("x", 1, false).key.to_string();
        assert!(security.parse::<HostKey>().unwrap_err().to_string().contains("sk-ssh-ed25519"));
    }
}
