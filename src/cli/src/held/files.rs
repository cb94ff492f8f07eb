//! Certificates as files, where there is no usable agent or it can not take the key: one pair for each
//! host in the runtime folder, `HOST` and `HOST-cert.pub`, as ssh looks for them beside each other.

use std::path::{Path, PathBuf};

use jit_ssh_core::names::HostName;
use jit_ssh_core::time::UnixTime;
use ssh_key::{Certificate, LineEnding, PrivateKey, PublicKey};

use super::{Held, Loaded, Owner};
use crate::failure::Failure;
use crate::home::{self, Home};

const FOLDER: &str = "hosts";
const CERTIFICATE: &str = "-cert.pub";

/// The private half of what is certified.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Private<'k> {
    /// A key of ours.
    Ours(&'k PrivateKey),
    /// A key file of the person's, which stays where it is.
    At(&'k Path),
    /// With the person's ssh-agent.
    InAgent,
}

/// The file that names the key for a host, as `IdentityFile` has it.
pub(crate) fn key_path(home: &Home, host: &HostName) -> PathBuf {
    home.runtime(FOLDER).join(host.as_str())
}

/// The certificate beside it.
pub(crate) fn certificate_path(home: &Home, host: &HostName) -> PathBuf {
    home.runtime(FOLDER).join(format!("{host}{CERTIFICATE}"))
}

/// Puts a pair in place for each of these hosts.
pub(crate) fn put(
    home: &Home,
    hosts: &[HostName],
    private: Private<'_>,
    certificate: &Certificate,
) -> Result<(), Failure> {
    for host in hosts {
        let (key, beside) = (key_path(home, host), certificate_path(home, host));
        let failed = |e: &dyn std::fmt::Display| Failure::file(&beside, e);
        let line = certificate.to_openssh().map_err(|e| failed(&e))?;
        // A certificate never lies beside a key that is not its own.
        home::remove(&beside)?;
        match private {
            Private::Ours(private) => {
                let text = private.to_openssh(LineEnding::LF).map_err(|e| failed(&e))?;
                home::write(&key, text.as_bytes())?;
            }
            Private::At(path) => home::link(&key, path)?,
            Private::InAgent => {
                // ssh takes the public half for the name of a key that the agent has.
                let public = PublicKey::from(certificate.public_key().clone());
                let text = public.to_openssh().map_err(|e| failed(&e))?;
                home::write(&key, format!("{}\n", text.trim_end()).as_bytes())?;
            }
        }
        home::write(&beside, format!("{}\n", line.trim_end()).as_bytes())?;
    }
    Ok(())
}

/// Every pair, with the host it is for.
fn pairs(home: &Home) -> Result<Vec<(HostName, Option<Certificate>)>, Failure> {
    let mut pairs = Vec::new();
    for path in home::files_of(&home.runtime(FOLDER))? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let host: Option<HostName> =
            name.strip_suffix(CERTIFICATE).and_then(|host| host.parse().ok());
        let Some(host) = host else { continue };
        // A key that is gone makes the certificate useless.
        let there = key_path(home, &host).exists();
        let text = home::read(&path)?.filter(|_| there);
        let text = text.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        let certificate = text.and_then(|text| Certificate::from_openssh(text.trim_end()).ok());
        pairs.push((host, certificate));
    }
    Ok(pairs)
}

/// What lies in files and is ours. What has ended, or is no certificate, is removed.
pub(crate) fn list(home: &Home, owner: &Owner, now: UnixTime) -> Result<Vec<Held>, Failure> {
    let mut found: Vec<Held> = Vec::new();
    for (host, certificate) in pairs(home)? {
        let certificate = certificate.filter(|one| one.valid_before() > now.0);
        let Some(certificate) = certificate else {
            remove_pair(home, &host)?;
            continue;
        };
        let blob = certificate.to_bytes().map_err(|e| Failure::file(&key_path(home, &host), e))?;
        // One certificate may lie there for several hosts.
        match found.iter_mut().find(|held| held.blob == blob) {
            Some(Held { loaded: Loaded::Files(hosts), .. }) => hosts.push(host),
            _ => found.extend(Held::of(&certificate, blob, owner, Loaded::Files(vec![host]))),
        }
    }
    Ok(found)
}

fn remove_pair(home: &Home, host: &HostName) -> Result<(), Failure> {
    home::remove(&certificate_path(home, host))?;
    home::remove(&key_path(home, host))
}

/// Removes the pairs that `over` says yes to; gives how many there were.
pub(crate) fn remove(
    home: &Home,
    over: impl Fn(&HostName, Option<&Certificate>) -> bool,
) -> Result<usize, Failure> {
    let mut removed: usize = 0;
    for (host, certificate) in pairs(home)? {
        if over(&host, certificate.as_ref()) {
            remove_pair(home, &host)?;
            removed = removed.saturating_add(1);
        }
    }
    Ok(removed)
}

/// Removes the pairs of the request with this short id.
pub(crate) fn remove_request(home: &Home, id: &str) -> Result<(), Failure> {
    let is_of = |certificate: &Certificate| certificate.key_id().split('/').nth(1) == Some(id);
    remove(home, |_, certificate| certificate.is_none_or(is_of)).map(|_| ())
}
