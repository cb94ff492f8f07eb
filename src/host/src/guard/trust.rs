//! Whose certificate this is, and how the host was set up: what hook and guard both read, at each login.

use std::fs;
use std::path::Path;

use jit_ssh_core::certificate::Presented;
use jit_ssh_core::key::CaKey;

use crate::settings::{self, Guard, Settings};

/// The CA keys that sshd trusts through our drop-in.
#[derive(Debug)]
pub(crate) struct Trust(Vec<CaKey>);

impl Trust {
    /// Reads `user_ca.pub`. Lines that are no keys of ours are skipped, as sshd does.
    ///
    /// # Errors
    /// If the file can not be read.
    pub(crate) fn read(path: &Path) -> std::io::Result<Trust> {
        let text = fs::read_to_string(path)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        Ok(Trust(lines.filter_map(|line| line.parse().ok()).collect()))
    }

    /// The key that a certificate names as its signer, if it is one of these. sshd has checked the
    /// signature before the hook runs; who takes certificates from elsewhere asks
    /// [`Presented::is_signed_by`], too.
    pub(crate) fn ca_of(&self, certificate: &Presented) -> Option<&CaKey> {
        self.0.iter().find(|key| key.blob() == certificate.ca())
    }
}

/// Reads `host.toml`.
///
/// # Errors
/// Why there are no settings, as the end of a sentence.
pub(crate) fn settings(own_dir: &Path) -> Result<Settings, String> {
    let path = own_dir.join(settings::FILE);
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    settings::parse(&text).map_err(|e| format!("{}: {}", path.display(), e.problem))
}

/// What a login asks of the guard. Where nobody can tell, it is required.
pub(crate) fn mode(settings: &Result<Settings, String>) -> Guard {
    settings.as_ref().map_or(Guard::Required, |settings| settings.guard)
}
