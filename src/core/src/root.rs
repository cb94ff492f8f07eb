//! `root.json`: the admins' keys, their threshold and the TLS anchor. Its SHA-256 is what everyone
//! pins; it changes only by starting anew.

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, RootFingerprint};
use crate::key::SignerKey;
use crate::names::ActorId;

/// The root of trust of one jit-ssh installation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    v: u8,
    admins: Vec<Admin>,
    threshold: u8,
    /// The certificate that anchors the front's TLS, in PEM.
    tls_anchor: String,
}

/// An admin: who may sign bundles.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// The admin's id: the stem of the key file given to `init`; the same id as the person's, if
    /// the admin is in `people.toml` too.
    pub id: ActorId,
    /// The admin's key.
    pub key: SignerKey,
}

/// Why a root is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Not the canonical JSON of a root.
    #[error("root.json is not a root of this version in its one canonical spelling: {0}")]
    Form(String),
    /// Nobody could ever sign a bundle.
    #[error("root.json names no admin; at least one is needed")]
    NoAdmin,
    /// A threshold of zero or more than there are admins.
    #[error(
        "root.json asks for {threshold} admin signatures of {admins} admins; ask for 1 to {admins}"
    )]
    Threshold {
        /// Signatures asked for.
        threshold: u8,
        /// Admins there are.
        admins: usize,
    },
    /// One admin twice.
    #[error("root.json names the admin {0} twice, by id or by key")]
    Twice(ActorId),
}

impl Root {
    /// A root of these admins, of whom `threshold` sign together.
    ///
    /// # Errors
    /// [`RootError`] if nobody, or nobody enough, could ever sign.
    pub fn new(admins: Vec<Admin>, threshold: u8, tls_anchor: String) -> Result<Root, RootError> {
        let root = Root { v: 1, admins, threshold, tls_anchor };
        root.check()?;
        Ok(root)
    }

    /// Parses the exact bytes of `root.json`.
    ///
    /// # Errors
    /// [`RootError`] if they are not canonical or the root makes no sense.
    pub fn parse(bytes: &[u8]) -> Result<Root, RootError> {
        let root: Root =
            serde_json::from_slice(bytes).map_err(|e| RootError::Form(e.to_string()))?;
        if root.to_bytes() != bytes {
            return Err(RootError::Form("it re-encodes differently".to_owned()));
        }
        root.check()?;
        Ok(root)
    }

    fn check(&self) -> Result<(), RootError> {
        if self.v != 1 {
            return Err(RootError::Form(format!("version {} is unknown", self.v)));
        }
        if self.admins.is_empty() {
            return Err(RootError::NoAdmin);
        }
        if self.threshold == 0 || usize::from(self.threshold) > self.admins.len() {
            return Err(RootError::Threshold {
                threshold: self.threshold,
                admins: self.admins.len(),
            });
        }
        for (place, admin) in self.admins.iter().enumerate() {
            let earlier = self.admins.iter().take(place);
            if earlier.into_iter().any(|e| e.id == admin.id || e.key == admin.key) {
                return Err(RootError::Twice(admin.id.clone()));
            }
        }
        Ok(())
    }

    /// The exact bytes of `root.json`: one line.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a root has only strings and numbers")
    }

    /// The pin: SHA-256 over [`Root::to_bytes`].
    pub fn fingerprint(&self) -> RootFingerprint {
        RootFingerprint(Digest::of(&self.to_bytes()))
    }

    /// Every admin.
    pub fn admins(&self) -> &[Admin] {
        &self.admins
    }

    /// How many distinct admins must sign a bundle.
    pub fn threshold(&self) -> usize {
        usize::from(self.threshold)
    }

    /// The certificate that anchors the front's TLS, in PEM.
    pub fn tls_anchor(&self) -> &str {
        &self.tls_anchor
    }

    /// The admin who owns `key`.
    pub fn admin_of(&self, key: &SignerKey) -> Option<&Admin> {
        self.admins.iter().find(|admin| admin.key == *key)
    }

    /// Ids and keys of the admins, as the bundle's checks want them.
    pub fn admin_keys(&self) -> Vec<(ActorId, SignerKey)> {
        self.admins.iter().map(|a| (a.id.clone(), a.key.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::software_key;

    fn admin(id: &str, seed: u8) -> Admin {
        Admin { id: id.parse().unwrap(), key: software_key(seed).1 }
    }

    #[test]
    fn a_root_needs_admins_and_a_threshold_they_can_reach() {
        let two = || vec![admin("ann", 1), admin("ben", 2)];
        for threshold in [1, 2] {
            assert!(Root::new(two(), threshold, String::new()).is_ok());
        }
        for threshold in [0, 3, 255] {
            assert!(matches!(
                Root::new(two(), threshold, String::new()),
                Err(RootError::Threshold { .. })
            ));
        }
        assert_eq!(Root::new(vec![], 0, String::new()).unwrap_err(), RootError::NoAdmin);
        assert!(Root::new(vec![admin("ann", 1), admin("ann", 2)], 1, String::new()).is_err());
        assert!(Root::new(vec![admin("ann", 1), admin("ben", 1)], 1, String::new()).is_err());
    }

    #[test]
    fn only_the_canonical_bytes_parse() {
        let bytes = Root::new(vec![admin("ann", 1)], 1, "PEM".into()).unwrap().to_bytes();
        assert!(Root::parse(&bytes).is_ok());
        let text = String::from_utf8(bytes).unwrap();
        for bad in [
            text.replace("\"v\":1", "\"v\":2"),
            text.replace("\"v\":1", "\"v\": 1"),
            text.replace("\"threshold\":1", "\"threshold\":0"),
            text.replace("\"v\":1", "\"v\":1,\"x\":0"),
            format!("{text}\n"),
        ] {
            assert!(Root::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
