//! This host's certificate, by which people know it: asked for, verified down to the pin, and judged
//! once it is there.
//!
//! It is for one of sshd's own host keys or there is none: sshd does not show one for a key that it has
//! not, and this host has no business with the certificate of another.

use std::path::PathBuf;

use jit_ssh_api::v1::{Certificate, RenewHostCertificateRequest};
use jit_ssh_api::{ApiError, Client, Reason};
use jit_ssh_core::bundle::Signers;
use jit_ssh_core::certificate::host::HostIdentity;
use jit_ssh_core::certificate::line;
use jit_ssh_core::key::HostKey;
use jit_ssh_core::names::HostName;
use jit_ssh_core::receipt::{Receipt, check_held, check_host};
use jit_ssh_core::time::UnixTime;

use crate::error::CommandError;
use crate::fetch::{ThisHost, no_connection};
use crate::sshd::Effective;

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The file for sshd's `HostCertificate`.
    Certificate(Vec<u8>),
    /// There is none to be had.
    Without(Without),
}

/// Why this host gets no certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Without {
    /// The bundle does not say which key this host has. With the key it could say.
    NoKey(HostName, Option<HostKey>),
    /// The bundle says another key than any that sshd has. With the key it could say.
    OtherKey(HostName, Option<HostKey>),
    /// The CA issues none.
    NoHostCa,
    /// The CA does not give it out now, or is older than host certificates: its sentence.
    Refused(String),
}

impl Without {
    /// What to tell people: a sentence, and what to do.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Without::NoKey(name, own) => format!(
                "hosts.toml does not have this host's key, so it gets no host certificate, and people have to take its key on trust; {}",
                way_out(name, own.as_ref())
            ),
            Without::OtherKey(name, own) => format!(
                "hosts.toml has another key for {name} than sshd has here, so no host certificate is installed: find out whose key that is; {}",
                way_out(name, own.as_ref())
            ),
            Without::NoHostCa => {
                "the CA issues no host certificates (no signer in signers.toml has a host_ca_key), so people have to take this host's key on trust".to_owned()
            }
            Without::Refused(why) => {
                format!("the CA gives out no host certificate now: {why} Run setup again later")
            }
        }
    }
}

fn way_out(name: &HostName, own: Option<&HostKey>) -> String {
    match own {
        Some(key) => format!(
            "if this host is the one, an admin puts this line below `name = \"{name}\"` in hosts.toml, then: jit-ssh-ca apply\n    key = \"{key}\""
        ),
        None => "sshd has no Ed25519 or ECDSA host key here whose .pub file can be read: ssh-keygen -A makes them".to_owned(),
    }
}

/// The keys that sshd has, Ed25519 before others; those that no certificate is issued for left out.
pub(crate) fn own_keys(effective: &Effective) -> Vec<HostKey> {
    own_key_files(effective).into_iter().map(|(_, key)| key).collect()
}

/// The same, each with the file of its private half; the public one is in a `.pub` file beside it.
pub(crate) fn own_key_files(effective: &Effective) -> Vec<(PathBuf, HostKey)> {
    let read = |path: &String| {
        let public = std::fs::read_to_string(format!("{path}.pub")).ok()?;
        Some((PathBuf::from(path), public.trim().parse::<HostKey>().ok()?))
    };
    let mut keys: Vec<_> = effective.all("HostKey").iter().filter_map(read).collect();
    keys.sort_by_key(|(_, key)| key.type_name() != "ssh-ed25519");
    keys
}

/// What this host is certified as, if the bundle has a key for it, and sshd has that key.
///
/// # Errors
/// Says which of the two is not so.
pub(crate) fn identity(host: &ThisHost, own_keys: &[HostKey]) -> Result<HostIdentity, Without> {
    let own = || own_keys.first().cloned();
    let Some(identity) = host.identity() else {
        return Err(Without::NoKey(host.name.clone(), own()));
    };
    match own_keys.contains(&identity.key) {
        true => Ok(identity),
        false => Err(Without::OtherKey(host.name.clone(), own())),
    }
}

/// Asks the CA for the certificate of `host` and verifies it, down to the keys of the signers in the
/// verified bundle.
///
/// # Errors
/// If the CA can not be reached, or what it sent is not what it must be.
pub(crate) async fn fetch(
    client: &Client,
    signers: &Signers,
    host: &ThisHost,
    own_keys: &[HostKey],
    now: UnixTime,
) -> Result<Answer, CommandError> {
    let identity = match identity(host, own_keys) {
        Ok(identity) => identity,
        Err(without) => return Ok(Answer::Without(without)),
    };
    let request = RenewHostCertificateRequest { name: host.name.to_string() };
    let answer = match client.renew_host_certificate(request).await {
        Ok(answer) => answer,
        Err(error @ ApiError::Unreachable(_)) => return Err(no_connection(error.into())),
        Err(error) if error.reason() == Some(Reason::NoHostCa) => {
            return Ok(Answer::Without(Without::NoHostCa));
        }
        Err(error) => return Ok(Answer::Without(Without::Refused(sentence(&error)))),
    };
    let certificate = answer
        .certificate
        .ok_or_else(|| untrue("The CA answered with no host certificate.".to_owned()))?;
    verified(&certificate, &identity, signers, now).map(Answer::Certificate)
}

fn sentence(error: &ApiError) -> String {
    let text = error.to_string();
    if text.ends_with('.') { text } else { format!("{text}.") }
}

/// The file for sshd with this certificate, if it is what this host must have.
fn verified(
    sent: &Certificate,
    identity: &HostIdentity,
    signers: &Signers,
    now: UnixTime,
) -> Result<Vec<u8>, CommandError> {
    let receipt = Receipt::from(sent);
    check_host(&receipt, identity, signers, now)
        .map_err(|e| untrue(format!("The host certificate that the CA sent is not used: {e}.")))?;
    let line = line(&sent.certificate)
        .ok_or_else(|| untrue("The CA sent a host certificate without a type.".to_owned()))?;
    Ok(format!("{line} {}\n", identity.name).into_bytes())
}

fn untrue(message: String) -> CommandError {
    CommandError::new(message).named("UNTRUE")
}

/// Whether it is time for another certificate than the one in `file`: half of its life is over and
/// another would live longer, or it is not the one that this host would be given today (its key, its names, who signed it).
pub(crate) fn is_due(
    file: &[u8],
    identity: &HostIdentity,
    signers: &Signers,
    now: UnixTime,
) -> bool {
    check_held(file, identity, signers).is_none_or(|facts| facts.is_due(identity, now))
}

/// Whether sshd may go on showing the certificate in `file`.
fn is_good(file: &[u8], identity: &HostIdentity, signers: &Signers, now: UnixTime) -> bool {
    check_held(file, identity, signers).is_some_and(|facts| now < facts.valid_before)
}

/// The file that setup leaves for sshd, and a word where it is not a fresh one: `held`, what is there,
/// as long as it is not due, and where the CA gives none, as long as it is good.
///
/// # Errors
/// As [`fetch`].
pub(crate) async fn settle(
    client: &Client,
    signers: &Signers,
    host: &ThisHost,
    own_keys: &[HostKey],
    held: Option<Vec<u8>>,
    now: UnixTime,
) -> Result<(Option<Vec<u8>>, Option<Without>), CommandError> {
    let identity = match identity(host, own_keys) {
        Ok(identity) => identity,
        Err(without) => return Ok((None, Some(without))),
    };
    if held.as_ref().is_some_and(|file| !is_due(file, &identity, signers, now)) {
        return Ok((held, None));
    }
    Ok(match fetch(client, signers, host, own_keys, now).await? {
        Answer::Certificate(file) => (Some(file), None),
        Answer::Without(why) => {
            (held.filter(|file| is_good(file, &identity, signers, now)), Some(why))
        }
    })
}

#[cfg(test)]
mod tests {
    use jit_ssh_core::bundle::Hosts;

    use super::*;

    const OWN: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKoMHfeUSGcYJWGysvTZaqm59QUJXVrgQ96Nhwe6rdj";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG9Xk/nbgjDerDaWVYM+W3oYyPVTw0zId4OlsrngbSUx";

    fn host(key: &str) -> ThisHost {
        let text = format!("[[host]]\nname = \"prod-host\"\nlogins = [\"root\"]\n{key}\n");
        let hosts = Hosts::parse(text.as_bytes()).unwrap_or_else(|e| unreachable!("{e}"));
        ThisHost::listed(hosts.get(&"prod-host".parse().unwrap()).unwrap(), &hosts)
    }

    #[test]
    fn a_host_is_certified_only_for_a_key_that_the_bundle_and_sshd_agree_on() {
        let keys: Vec<HostKey> = vec![OWN.parse().unwrap()];
        let line = |key: &str| format!("key = \"{key}\"");
        let good = identity(&host(&line(OWN)), &keys).unwrap();
        assert_eq!((good.name.as_str(), good.key.to_string()), ("prod-host", OWN.to_owned()));

        let none = identity(&host(""), &keys).unwrap_err().in_words();
        assert!(none.ends_with(&format!("jit-ssh-ca apply\n    {}", line(OWN))), "{none}");
        let other = identity(&host(&line(OTHER)), &keys).unwrap_err().in_words();
        assert!(other.contains("another key for prod-host than sshd has"), "{other}");
        assert!(other.ends_with(&line(OWN)), "{other}");
        let bare = identity(&host(&line(OWN)), &[]).unwrap_err().in_words();
        assert!(bare.contains("ssh-keygen -A"), "{bare}");
    }

    /// A certificate of the form the CA gives, made by the real ssh-keygen: for `prod-host` and `www`,
    /// from `after` for a week and an hour; with what it is judged by.
    fn made(after: u64) -> (Vec<u8>, HostIdentity, Signers) {
        let dir = tempfile::TempDir::new().unwrap();
        let keygen = |arguments: &[&str]| {
            let mut keygen = std::process::Command::new("ssh-keygen");
            keygen.current_dir(dir.path()).arg("-q").args(arguments);
            assert!(keygen.status().unwrap().success());
        };
        let public = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        for name in ["key", "ca"] {
            keygen(&["-t", "ed25519", "-N", "", "-C", "", "-f", name]);
        }
        let until = after + 3_600 + 7 * 86_400;
        let (id, times) = (format!("host/prod-host/{until}"), format!("{after:#x}:{until:#x}"));
        let serial = (1u64 << 48 | 7).to_string();
        let what = ["-s", "ca", "-h", "-I", &id, "-n", "prod-host,www", "-z", &serial];
        keygen(&[&what[..], &["-V", &times, "key.pub"]].concat());

        let key = public("key.pub").trim().to_owned();
        let host = host(&format!("aliases = [\"www\"]\nkey = \"{key}\""));
        let log_key = "ca.example/1+ce6835b4+AW9Xk/nbgjDerDaWVYM+W3oYyPVTw0zId4OlsrngbSUx";
        let signers = format!(
            "[[signer]]\nnumber = 1\nca_key = \"{OWN}\"\nhost_ca_key = \"{}\"\nlog_key = \"{log_key}\"\n",
            public("ca.pub").trim()
        );
        let signers = Signers::parse(signers.as_bytes()).unwrap_or_else(|e| unreachable!("{e}"));
        let identity = identity(&host, &[key.parse().unwrap()]).unwrap();
        (public("key-cert.pub").into_bytes(), identity, signers)
    }

    #[test]
    fn a_certificate_is_due_from_half_of_its_life_on_or_where_it_is_another_s() {
        let (after, life) = (1_790_000_000, 3_600 + 7 * 86_400);
        let (file, identity, signers) = made(after);
        let at = |offset| UnixTime(after + offset);
        let due = |offset| is_due(&file, &identity, &signers, at(offset));
        assert_eq!(
            (due(0), due(life / 2 - 1), due(life / 2), due(life)),
            (false, false, true, true)
        );
        let good = |offset| is_good(&file, &identity, &signers, at(offset));
        assert_eq!((good(0), good(life - 1), good(life)), (true, true, false));

        // Others' certificates, other names, and what is no certificate, are due whatever the hour.
        let (other, _, others_signers) = made(after);
        let renamed = HostIdentity { aliases: Vec::new(), ..identity.clone() };
        for (file, identity, signers) in [
            (&other[..], &identity, &signers),
            (&file[..], &renamed, &signers),
            (&file[..], &identity, &others_signers),
            (b"", &identity, &signers),
            (b"\xff\xfe", &identity, &signers),
        ] {
            assert!(is_due(file, identity, signers, at(0)));
            assert!(!is_good(file, identity, signers, at(0)));
        }
    }
}
