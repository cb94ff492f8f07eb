//! Certificates as files, where there is no usable agent or it can not take the key: one pair for each
//! host in the runtime folder, `HOST` and `HOST-cert.pub`, as ssh looks for them beside each other. Those
//! for jumps, `BASTION+HOST`, are there in any case: the first certificate that a bastion accepts decides
//! where the connection may go on to, so ssh must show it the one for the host that is meant.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jit_ssh_core::names::{HostName, Jump, Opens, Principal};
use jit_ssh_core::time::UnixTime;
use ssh_key::{Certificate, LineEnding, PrivateKey, PublicKey};

use super::{Held, Loaded, Owner};
use crate::failure::Failure;
use crate::home::{self, Home};

const FOLDER: &str = "hosts";
const CERTIFICATE: &str = "-cert.pub";

/// What a pair is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The accounts of a host.
    Host(HostName),
    /// A jump.
    Jump(Jump),
}

impl Place {
    /// The places of a certificate.
    pub(crate) fn of(opens: &Opens) -> Vec<Place> {
        match opens {
            Opens::Logins(principals) => {
                let hosts: BTreeSet<&HostName> = principals.iter().map(Principal::host).collect();
                hosts.into_iter().cloned().map(Place::Host).collect()
            }
            Opens::Jump(jump) => vec![Place::Jump(jump.clone())],
        }
    }

    fn parse(name: &str) -> Option<Place> {
        match name.split_once('+') {
            Some((bastion, host)) => {
                Jump::new(bastion.parse().ok()?, host.parse().ok()?).map(Place::Jump)
            }
            None => name.parse().ok().map(Place::Host),
        }
    }

    fn name(&self) -> String {
        match self {
            Place::Host(host) => host.to_string(),
            Place::Jump(jump) => jump.label(),
        }
    }

    fn key(&self, home: &Home) -> PathBuf {
        home.runtime(FOLDER).join(self.name())
    }

    fn certificate(&self, home: &Home) -> PathBuf {
        home.runtime(FOLDER).join(format!("{}{CERTIFICATE}", self.name()))
    }
}

/// The private half of what is certified.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Private<'k> {
    /// A key of ours.
    Ours(&'k PrivateKey),
    /// A key file of the person's, which stays where it is.
    At(&'k Path),
    /// With the person's ssh-agent.
    InAgent,
    /// In the ssh-agent, together with the certificate. A key beside it would be taken for the private
    /// half, which it is not (`sign_and_send_pubkey` in OpenSSH's sshconnect2.c).
    Certified,
}

/// The file that names the key for a host, as `IdentityFile` has it.
pub(crate) fn key_path(home: &Home, host: &HostName) -> PathBuf {
    Place::Host(host.clone()).key(home)
}

/// The certificate beside it.
pub(crate) fn certificate_path(home: &Home, host: &HostName) -> PathBuf {
    Place::Host(host.clone()).certificate(home)
}

/// Puts a pair in each of these places.
pub(crate) fn put(
    home: &Home,
    places: &[Place],
    private: Private<'_>,
    certificate: &Certificate,
) -> Result<(), Failure> {
    for place in places {
        let (key, beside) = (place.key(home), place.certificate(home));
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
            Private::Certified => home::remove(&key)?,
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

/// Every pair, with what it is for.
fn pairs(home: &Home) -> Result<Vec<(Place, Option<Certificate>)>, Failure> {
    let mut pairs = Vec::new();
    for path in home::files_of(&home.runtime(FOLDER))? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(place) = name.strip_suffix(CERTIFICATE).and_then(Place::parse) else { continue };
        // A key that is gone makes the certificate useless; that of a jump may be in the agent.
        let there = matches!(place, Place::Jump(_)) || place.key(home).exists();
        let certificate = certificate_in(&path)?.filter(|_| there);
        pairs.push((place, certificate));
    }
    Ok(pairs)
}

/// The certificate in a file, if there is one.
fn certificate_in(path: &Path) -> Result<Option<Certificate>, Failure> {
    let text = home::read(path)?;
    let text = text.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
    Ok(text.and_then(|text| Certificate::from_openssh(text.trim_end()).ok()))
}

/// What lies in files, is ours and opens accounts. What has ended, or is no certificate, is removed.
pub(crate) fn list(home: &Home, owner: &Owner, now: UnixTime) -> Result<Vec<Held>, Failure> {
    let mut found: Vec<Held> = Vec::new();
    for (place, certificate) in pairs(home)? {
        let certificate = certificate.filter(|one| one.valid_before() > now.0);
        let Some(certificate) = certificate else {
            remove_pair(home, &place)?;
            continue;
        };
        let Place::Host(host) = place else { continue };
        let blob = certificate.to_bytes().map_err(|e| Failure::file(&key_path(home, &host), e))?;
        // One certificate may lie there for several hosts.
        match found.iter_mut().find(|held| held.blob == blob) {
            Some(Held { loaded: Loaded::Files(hosts), .. }) => hosts.push(host),
            _ => found.extend(Held::of(&certificate, blob, owner, Loaded::Files(vec![host]))),
        }
    }
    Ok(found)
}

/// The certificate that lies there for a jump.
pub(crate) fn of_jump(home: &Home, jump: &Jump) -> Result<Option<Certificate>, Failure> {
    certificate_in(&Place::Jump(jump.clone()).certificate(home))
}

/// Whether the pair of a jump has its private key, and not only the name of one in the agent.
pub(crate) fn has_private_key(home: &Home, jump: &Jump) -> Result<bool, Failure> {
    let text = home::read(&Place::Jump(jump.clone()).key(home))?;
    Ok(text.is_some_and(|text| text.starts_with(b"-----BEGIN ")))
}

fn remove_pair(home: &Home, place: &Place) -> Result<(), Failure> {
    home::remove(&place.certificate(home))?;
    home::remove(&place.key(home))
}

/// Removes every pair; gives how many there were.
pub(crate) fn remove_all(home: &Home) -> Result<usize, Failure> {
    remove(home, |_| true)
}

/// Removes the pairs of the request with this short id.
pub(crate) fn remove_request(home: &Home, id: &str) -> Result<(), Failure> {
    let is_of = |certificate: &Certificate| certificate.key_id().split('/').nth(1) == Some(id);
    remove(home, |certificate| certificate.is_none_or(is_of)).map(|_| ())
}

fn remove(home: &Home, over: impl Fn(Option<&Certificate>) -> bool) -> Result<usize, Failure> {
    let mut removed: usize = 0;
    for (place, certificate) in pairs(home)? {
        if over(certificate.as_ref()) {
            remove_pair(home, &place)?;
            removed = removed.saturating_add(1);
        }
    }
    Ok(removed)
}
