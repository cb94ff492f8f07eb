//! Looks into a host certificate (PROTOCOL.certkeys of OpenSSH): kind, key, names and times; nothing is
//! verified, since it is sshd that shows it and people who judge it.

use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding as _};

use super::files;
use crate::doctor::facts::{HostCertificate, Look};

/// `SSH_CERT_TYPE_HOST`.
const HOST: u32 = 2;

/// What a certificate file holds; `None` if it holds none.
pub(super) fn read(path: &Path) -> Look<Option<HostCertificate>> {
    match files::read(path) {
        Look::Absent => Look::Absent,
        Look::Unreadable(why) => Look::Unreadable(why),
        Look::Seen(state) => Look::Seen(blob(&state.content).and_then(|blob| parse(&blob))),
    }
}

/// The public halves of those host keys that are there, from the `.pub` files beside them; `None` if
/// one of them is not told.
pub(super) fn public_keys<'a>(keys: impl Iterator<Item = &'a Path>) -> Option<Vec<Vec<u8>>> {
    keys.map(|key| {
        let public = PathBuf::from(format!("{}.pub", key.display()));
        blob(&files::read(&public).seen()?.content)
    })
    .collect()
}

/// What stands behind a line's type.
fn blob(line: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(line);
    Base64::decode_vec(text.split_whitespace().nth(1)?).ok()
}

fn parse(blob: &[u8]) -> Option<HostCertificate> {
    let mut rest = Rest(blob);
    let kind = std::str::from_utf8(rest.string()?).ok()?;
    // The public key's parts, before what all certificates have in common.
    let plain = kind.split_once("-cert-v01@openssh.com")?.0;
    let parts = match plain {
        "ssh-ed25519" => 1,
        "ssh-rsa" | "sk-ssh-ed25519" => 2,
        "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => 2,
        _ => return None,
    };
    let _nonce = rest.string()?;
    let before = rest.0;
    for _ in 0..parts {
        rest.string()?;
    }
    let parts = before.get(..before.len() - rest.0.len())?;
    let length = u32::try_from(plain.len()).ok()?.to_be_bytes();
    let key = [&length, plain.as_bytes(), parts].concat();
    let (_serial, kind) = (rest.u64()?, rest.u32()?);
    let _key_id = rest.string()?;
    let mut names = Rest(rest.string()?);
    let (valid_after, valid_before) = (rest.u64()?, rest.u64()?);
    let mut principals = Vec::new();
    while !names.0.is_empty() {
        principals.push(String::from_utf8_lossy(names.string()?).into_owned());
    }
    Some(HostCertificate { is_host: kind == HOST, key, principals, valid_after, valid_before })
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*head))
    }

    fn u64(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*head))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_ssh_keygen_makes_is_read_and_what_is_cut_short_is_not() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        let keygen = |arguments: &[&str]| {
            let mut keygen = Command::new("ssh-keygen");
            keygen.current_dir(dir.path()).arg("-q").args(arguments);
            assert!(keygen.status().unwrap().success());
        };
        keygen(&["-t", "ed25519", "-N", "", "-f", "ca"]);
        for kind in ["ed25519", "ecdsa", "rsa"] {
            keygen(&["-t", kind, "-N", "", "-f", kind]);
            let public = format!("{kind}.pub");
            let sign = ["-s", "ca", "-I", "x", "-n", "a,b.c", "-V", "20300101:20310101"];
            keygen(&[&sign[..], &["-h", &public]].concat());
            let file = path(&format!("{kind}-cert.pub"));
            let found = read(&file).seen().cloned().unwrap().unwrap();
            assert!(found.is_host && found.principals == ["a", "b.c"], "{found:?}");
            assert!(found.valid_before > found.valid_after, "{found:?}");
            assert_eq!(public_keys([&*path(kind)].into_iter()), Some(vec![found.key]));
            let text = std::fs::read_to_string(&file).unwrap();
            let blob = Base64::decode_vec(text.split(' ').nth(1).unwrap()).unwrap();
            assert!(parse(&blob).is_some());
            for end in [0, 4, 40, 120] {
                assert_eq!(parse(blob.get(..end).unwrap()), None);
            }
            keygen(&[&sign[..], &[&public]].concat());
            assert!(!read(&file).seen().cloned().unwrap().unwrap().is_host);
        }
        assert_eq!(read(&path("ca.pub")), Look::Seen(None));
        assert_eq!(read(&path("none")), Look::Absent);
        assert_eq!(public_keys([&*path("rsa"), &*path("none")].into_iter()), None);
    }
}
