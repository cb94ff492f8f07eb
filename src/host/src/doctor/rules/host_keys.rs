//! Keys and certificates by which people know this host.

use std::path::{Path, PathBuf};

use jit_ssh_api::own_key::is_open_host_key;
use jit_ssh_core::time::UnixTime;

use crate::config::What;
use crate::content;
use crate::current::FileState;
use crate::doctor::facts::{Facts, HostCertificate, Look};
use crate::doctor::finding::Severity::{Critical, Warning};
use crate::doctor::finding::{Description, Finding, Place};
use crate::settings::Guard;

/// What can be weak here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostKeyWeakness {
    /// Others may read a private key: its file, its mode.
    Open(PathBuf, u32),
    /// A private key belongs to somebody else: its file, its owner.
    Owner(PathBuf, u32),
    /// A key is not there.
    Missing(PathBuf),
    /// There is no certificate.
    NoCertificate,
    /// Our drop-in, of an older setup, does not say where the link puts certificates.
    NotRenewed,
    /// A certificate is not there, or can not be read.
    CertificateMissing(PathBuf),
    /// A file holds no certificate.
    CertificateMalformed(PathBuf),
    /// A certificate for a person.
    CertificateOfUser(PathBuf),
    /// A certificate that is over.
    CertificateExpired(PathBuf, u64),
    /// A certificate that does not hold yet.
    CertificateEarly(PathBuf, u64),
    /// A certificate for a key that sshd has not.
    CertificateOfOtherKey(PathBuf),
    /// A certificate for other names: this host's, and those.
    CertificateOfOther(PathBuf, String, String),
}

use HostKeyWeakness as W;

const RENEW: &str = "run jit-ssh-host setup again, which gets another and reloads sshd";

impl HostKeyWeakness {
    /// The weakness in words.
    pub(crate) fn describe(&self) -> Description {
        match self {
            W::Open(path, mode) => Description::new(
                "HOST_KEY_OPEN",
                Critical,
                format!(
                    "The private host key {} has mode {mode:04o}: who reads it can pass for this host, and sshd does not use it.",
                    path.display()
                ),
                format!("chmod 0600 {}; if others could read it, make a new one", path.display()),
            ),
            W::Owner(path, owner) => Description::new(
                "HOST_KEY_OWNER",
                Critical,
                format!(
                    "The private host key {} belongs to user {owner}, who can pass for this host.",
                    path.display()
                ),
                format!(
                    "chown root:root {}, and make a new key if that user had no business with it",
                    path.display()
                ),
            ),
            W::Missing(path) => Description::new(
                "HOST_KEY_MISSING",
                Warning,
                format!("HostKey names {}, which is not there.", path.display()),
                "ssh-keygen -A makes it; or take the HostKey line out",
            ),
            W::NoCertificate => Description::new(
                "NO_HOST_CERTIFICATE",
                Warning,
                "This host has no certificate: people have to take its key on trust when they first connect.",
                "run jit-ssh-host setup again, which gets one, or says what hosts.toml lacks for it",
            ),
            W::NotRenewed => Description::new(
                "HOST_CERTIFICATE_NOT_RENEWED",
                Warning,
                "An older version set this host up: its drop-in does not have sshd look where the guard's link puts the host certificate, which is then not renewed, and people are warned when it ends.",
                "run jit-ssh-host setup once more, with the --ca and --name of host.toml",
            ),
            W::CertificateMissing(path) => Description::new(
                "HOST_CERTIFICATE_MISSING",
                Warning,
                format!(
                    "HostCertificate names {}, which can not be read: sshd goes on without it, and people have to take the host's key on trust.",
                    path.display()
                ),
                RENEW,
            ),
            W::CertificateMalformed(path) => Description::new(
                "HOST_CERTIFICATE_MALFORMED",
                Warning,
                format!("{} holds no certificate that OpenSSH reads.", path.display()),
                RENEW,
            ),
            W::CertificateOfUser(path) => Description::new(
                "HOST_CERTIFICATE_OF_USER",
                Warning,
                format!(
                    "{} is a certificate for a person, not for a host: sshd does not use it.",
                    path.display()
                ),
                RENEW,
            ),
            W::CertificateOfOtherKey(path) => Description::new(
                "HOST_CERTIFICATE_OTHER_KEY",
                Warning,
                format!(
                    "The host certificate {} is for a key that sshd has not: it does not show it, and people have to take the host's key on trust.",
                    path.display()
                ),
                RENEW,
            ),
            W::CertificateExpired(path, at) => Description::new(
                "HOST_CERTIFICATE_EXPIRED",
                Critical,
                format!(
                    "The host certificate {} ended at {}: people are warned, or refuse to connect.",
                    path.display(),
                    UnixTime(*at).utc()
                ),
                RENEW,
            ),
            W::CertificateEarly(path, at) => Description::new(
                "HOST_CERTIFICATE_NOT_YET",
                Warning,
                format!(
                    "The host certificate {} begins only at {}: this clock or the CA's is wrong.",
                    path.display(),
                    UnixTime(*at).utc()
                ),
                "set the clock right",
            ),
            W::CertificateOfOther(path, name, names) => Description::new(
                "HOST_CERTIFICATE_OTHER_NAME",
                Warning,
                format!(
                    "The host certificate {} is for {names}, not for {name}: people who connect to {name} do not believe it.",
                    path.display()
                ),
                RENEW,
            ),
        }
    }
}

/// Whether an older setup wrote our drop-in: this one has sshd look where the link puts a certificate. It can not
/// where the drop-in is read under a `Match`, and that is told by itself.
fn is_of_older_setup(facts: &Facts) -> bool {
    let line = content::certificate_include_line(&facts.layout);
    let lacks_it = |state: &FileState| {
        let text = String::from_utf8_lossy(&state.content).into_owned();
        content::is_marked(state) && !text.lines().any(|found| found == line.trim_end())
    };
    let is_conditional =
        facts.sshd.found.iter().any(|found| found.what == What::DropIn && found.under.is_some());
    let has_link = facts.settings().is_some_and(|settings| settings.guard != Guard::Off);
    has_link && !is_conditional && facts.drop_in.seen().is_some_and(lacks_it)
}

/// Finds them.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if is_of_older_setup(facts) {
        findings.push(W::NotRenewed.at(Place::file(&facts.layout.drop_in())));
    }
    for (path, look) in &facts.host_keys {
        let place = Place::file(path);
        match look {
            // Of the usual ones, sshd takes those that are there.
            Look::Absent if is_named(facts, path) => {
                findings.push(W::Missing(path.clone()).at(place));
            }
            Look::Absent => {}
            Look::Unreadable(_) => {}
            Look::Seen(node) => {
                if is_open_host_key(node.mode, node.owner, node.is_of_key_group) {
                    findings.push(W::Open(path.clone(), node.mode).at(place.clone()));
                }
                if node.owner != 0 {
                    findings.push(W::Owner(path.clone(), node.owner).at(place));
                }
            }
        }
    }
    if facts.host_certificates.is_empty() && facts.is_set_up() && !facts.sshd.asked.is_empty() {
        findings.push(W::NoCertificate.at(Place::file(facts.layout.config())));
    }
    for (path, look) in &facts.host_certificates {
        let weakness = match look {
            Look::Absent | Look::Unreadable(_) => Some(W::CertificateMissing(path.clone())),
            Look::Seen(None) => Some(W::CertificateMalformed(path.clone())),
            Look::Seen(Some(certificate)) => judge_one(facts, path, certificate),
        };
        findings.extend(weakness.map(|weakness| weakness.at(Place::file(path))));
    }
    findings
}

fn is_named(facts: &Facts, path: &Path) -> bool {
    let mut lines = facts.sshd.directives.iter().filter(|line| line.is("HostKey"));
    lines.any(|line| Path::new(&line.value()) == path)
}

fn judge_one(facts: &Facts, path: &Path, found: &HostCertificate) -> Option<HostKeyWeakness> {
    if !found.is_host {
        return Some(W::CertificateOfUser(path.to_owned()));
    }
    if facts.public_keys.as_ref().is_some_and(|known| !known.contains(&found.key)) {
        return Some(W::CertificateOfOtherKey(path.to_owned()));
    }
    if found.valid_before <= facts.now.0 {
        return Some(W::CertificateExpired(path.to_owned(), found.valid_before));
    }
    if found.valid_after > facts.now.0 {
        return Some(W::CertificateEarly(path.to_owned(), found.valid_after));
    }
    let name = facts.settings()?.name.to_string();
    // One that names nobody is for everybody.
    let names_us = found.principals.is_empty() || found.principals.contains(&name);
    (!names_us).then(|| W::CertificateOfOther(path.to_owned(), name, found.principals.join(", ")))
}
