//! The sealed key for the day on which there is no CA: read once, from the file somebody names.

use std::fs;
use std::path::Path;

use jit_ssh_core::key::CaKey;

use crate::error::CommandError;
use crate::plan::HostFacts;

/// Reads the public half of the sealed key from `file`.
///
/// # Errors
/// If it is no Ed25519 public key, or more than one.
pub(crate) fn read(file: &Path) -> Result<CaKey, CommandError> {
    let failed = |why: String| {
        CommandError::usage(format!("--offline-ca {} can not be used: {why}.", file.display()))
            .hint("name the public half: one line `ssh-ed25519 AAAA...`, as ssh-keygen -t ed25519 makes it (docs/offline.md)")
    };
    let text = fs::read_to_string(file).map_err(|e| failed(e.to_string()))?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let [line] = lines.as_slice() else {
        return Err(failed(format!("it has {} lines instead of one", lines.len())));
    };
    // A comment is for people.
    let words: Vec<&str> = line.split_ascii_whitespace().take(2).collect();
    words.join(" ").parse().map_err(|e| failed(format!("{e}")))
}

/// Refuses a sealed key that is no key of its own.
///
/// # Errors
/// If a signer has it.
pub(crate) fn check(key: &CaKey, facts: &HostFacts) -> Result<(), CommandError> {
    match facts.ca_keys.iter().find(|(_, signer)| signer == key) {
        None => Ok(()),
        Some((number, _)) => Err(CommandError::usage(format!(
            "The key of --offline-ca is the CA key of signer {number}."
        ))
        .hint("the sealed key must be a key of its own, which no machine on the network has")),
    }
}

/// What it means, for whoever sets it up.
pub(crate) fn warning(key: &CaKey, facts: &HostFacts) -> String {
    format!(
        "--offline-ca: whoever holds the sealed key {} can log in here as {} without request, approval or log, as long as this is in place. Keep it offline, and see docs/offline.md.",
        key.fingerprint(),
        facts.logins.iter().map(|login| login.as_str()).collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKoMHfeUSGcYJWGysvTZaqm59QUJXVrgQ96Nhwe6rdj";

    #[test]
    fn only_one_plain_ed25519_key_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sealed.pub");
        assert!(read(&file).is_err());
        let judged = |text: &str| {
            fs::write(&file, text).unwrap();
            read(&file).map(|key| key.to_string()).map_err(|error| error.to_string())
        };
        for good in [KEY.to_owned(), format!("\n{KEY} sealed 2026, safe 7\n\n")] {
            assert_eq!(judged(&good).as_deref(), Ok(KEY));
        }
        for bad in [
            String::new(),
            format!("{KEY}\n{KEY}\n"),
            format!("cert-authority {KEY}\n"),
            "ssh-rsa AAAAB3NzaC1yc2E\n".to_owned(),
            KEY.replace("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com "),
            "-----BEGIN OPENSSH PRIVATE KEY-----\n".to_owned(),
        ] {
            assert!(judged(&bad).unwrap_err().contains("docs/offline.md"), "{bad}");
        }
    }
}
