//! Looks at this machine and asks the CA. Changes nothing, except that the ssh-agent gets a
//! certificate of no use for a moment, to see whether it takes one.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use jit_ssh_api::agent::{Agent, AgentError, Confirm, Constraints};
use jit_ssh_api::own_key::{KeyFile, SigningError};
use jit_ssh_api::{Client, ClientError, anchor_certificates, v1};
use jit_ssh_core::bundle::Hosts;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::krl::{Named, Revocations};
use jit_ssh_core::names::HostName;
use jit_ssh_core::time::UnixTime;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::{Algorithm, Certificate, PrivateKey};

use super::facts::{
    AgentSeen, BundleSeen, CaSeen, CertificateSeen, ConfigSeen, EnrolmentSeen, Facts, HostSeen,
    KeySeen, Listed, OpenFile,
};
use super::moments::{http_date, not_after};
use crate::ca::Ca;
use crate::clock;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::held;
use crate::home::Home;
use crate::known_hosts;
use crate::trust::{self, Trust};

/// How long `ssh -G` may take: a `Match exec` of the person's runs in it.
const SSH: Duration = Duration::from_secs(10);
/// How long the CA may take for all that is asked of it.
const ASKING: Duration = Duration::from_secs(10);
/// How long the certificate that is tried on the agent lives there, in seconds, if it is not removed.
const TRIED: u32 = 5;

/// Everything there is to see.
pub(super) async fn look(home: &Home, host: Option<&HostName>) -> Result<Facts, Failure> {
    let now = clock::now();
    let (enrolment, seen) = match Enrolment::find(home) {
        Ok(Some(enrolment)) => (Some(enrolment), EnrolmentSeen::There),
        Ok(None) => (None, EnrolmentSeen::Absent),
        Err(failure) => (None, EnrolmentSeen::Broken(failure.message)),
    };
    let agent = Agent::open();
    let held = agent.and_then(|mut agent| agent.list());
    let key = enrolment.as_ref().map(|enrolment| key(enrolment, held.as_deref().ok()));
    let (ca, revoked) = match &enrolment {
        Some(enrolment) => {
            let (ca, revoked) = ask(home, enrolment).await;
            (Some(ca), revoked)
        }
        None => (None, None),
    };
    let trust = match &enrolment {
        Some(enrolment) => Trust::cached(home, &enrolment.root)?,
        None => None,
    };
    let hosts = match &enrolment {
        Some(enrolment) => trust::kept_hosts(home, &enrolment.root)?,
        None => None,
    };
    let certificates = match (&enrolment, &held) {
        (Some(enrolment), Ok(held)) => certificates(home, enrolment, held, revoked.as_ref())?,
        _ => Vec::new(),
    };
    Ok(Facts {
        now,
        open_files: open_files(home),
        enrolment: seen,
        key,
        agent: agent_seen(held.map(|_| ())),
        ca,
        bundle: trust.map(|trust| BundleSeen {
            version: trust.bundle().body.version,
            fetched: trust.fetched(),
        }),
        certificates,
        config: config(home),
        host: host.map(|host| host_seen(home, host, hosts.as_ref())),
    })
}

/// What of ours is not the person's alone.
fn open_files(home: &Home) -> Vec<OpenFile> {
    let own = rustix::process::getuid().as_raw();
    let names = ["enrolment.json", "root.json"].map(|name| home.config(name));
    let all = [home.state("bundle.json"), home.runtime("session.json")];
    let files: Vec<PathBuf> = names.into_iter().chain(all).collect();
    let mut paths: Vec<PathBuf> = files
        .iter()
        .filter_map(|file| file.parent().map(Path::to_owned))
        .chain(files.clone())
        .collect();
    paths.dedup();
    let open = paths.into_iter().filter_map(|path| {
        let found = std::fs::symlink_metadata(&path).ok()?;
        let (mode, foreign) = (found.mode() & 0o7777, found.uid() != own);
        (foreign || mode & 0o077 != 0).then_some(OpenFile { path, mode, foreign })
    });
    open.collect()
}

fn key(enrolment: &Enrolment, held: Option<&[jit_ssh_api::agent::Identity]>) -> KeySeen {
    let key = &enrolment.identity.key;
    let Some(file) = &enrolment.identity.file else {
        let there = held.is_some_and(|held| held.iter().any(|one| one.blob == key.blob()));
        return if there { KeySeen::Usable } else { KeySeen::NotInAgent(key.fingerprint()) };
    };
    let told = |problem: String| KeySeen::File(format!("{}: {problem}.", file.display()));
    match KeyFile::read(file) {
        Ok(KeyFile::Private(own)) if own.key() == key => KeySeen::Usable,
        Ok(KeyFile::Private(own)) => {
            let (found, expected) = (own.key().fingerprint(), key.fingerprint());
            told(SigningError::OtherKey { found, expected }.to_string())
        }
        Ok(KeyFile::Public(_)) => told("it is a public key now".to_owned()),
        Err(error) => told(error.to_string()),
    }
}

fn agent_seen(listed: Result<(), AgentError>) -> AgentSeen {
    match listed {
        Err(AgentError::Absent) => AgentSeen::Absent,
        Err(error) => AgentSeen::Silent(format!("{error}.")),
        Ok(()) if socket().contains("gpg-agent") => AgentSeen::Gpg,
        Ok(()) => match try_certificate() {
            Ok(()) => AgentSeen::Takes,
            Err(problem) => AgentSeen::Refuses(format!("{problem}.")),
        },
    }
}

fn socket() -> String {
    std::env::var_os("SSH_AUTH_SOCK").unwrap_or_default().to_string_lossy().into_owned()
}

/// Puts a certificate that opens nothing into the agent, sees that it is there, and takes it out.
fn try_certificate() -> Result<(), String> {
    let odd = |problem: ssh_key::Error| problem.to_string();
    let mut random = rand::rng();
    let key = PrivateKey::random(&mut random, Algorithm::Ed25519).map_err(odd)?;
    let now = clock::now();
    let (from, until) = (now.0, now.plus_secs(TRIED).0);
    let mut builder = Builder::new_with_random_nonce(
        &mut random,
        key.public_key().key_data().clone(),
        from,
        until,
    )
    .map_err(odd)?;
    builder.cert_type(CertType::User).map_err(odd)?;
    builder.valid_principal("nobody").map_err(odd)?;
    let certificate = builder.sign(&key).and_then(|signed| signed.to_bytes()).map_err(odd)?;
    let mut agent = Agent::open().map_err(|e| e.to_string())?;
    let terms = Constraints { lifetime: TRIED, confirm: Confirm::Never, destinations: Vec::new() };
    let taken = agent.add(key.key_data(), &certificate, "jit-ssh doctor", &terms);
    let _ = agent.remove(&certificate);
    if matches!(taken, Err(AgentError::Dropped))
        && let Ok(plain) = ssh_key::PublicKey::from(key.public_key().key_data().clone()).to_bytes()
    {
        let _ = agent.remove(&plain);
    }
    taken.map_err(|e| e.to_string())
}

/// What the CA shows, and its revocation lists.
async fn ask(home: &Home, enrolment: &Enrolment) -> (CaSeen, Option<Vec<Revocations>>) {
    match tokio::time::timeout(ASKING, answers(home, enrolment)).await {
        Ok(Ok((seen, lists))) => (seen, Some(lists)),
        Ok(Err(failure)) if failure.name == "UNTRUSTED" => {
            (CaSeen::Untrusted(failure.message), None)
        }
        Ok(Err(failure)) => (CaSeen::Away(failure.message), None),
        Err(_) => (CaSeen::Away(format!("it did not answer within {} s.", ASKING.as_secs())), None),
    }
}

async fn answers(
    home: &Home,
    enrolment: &Enrolment,
) -> Result<(CaSeen, Vec<Revocations>), Failure> {
    let Enrolment { url, root, .. } = enrolment;
    let mut ca = Ca::connect(home, enrolment).await?;
    let time = ca.client().date().await?.as_deref().and_then(http_date);
    let shown = Client::server_certificate(url, root).await?;
    let anchors = anchor_certificates(root).map_err(|e: ClientError| Failure::from(e))?;
    let parts = vec![];
    let bundle = ca.client().get_bundle(v1::GetBundleRequest { parts, proposal: false }).await?;
    let signed = bundle.bundle.and_then(|signed| {
        jit_ssh_core::statement::open_bundle(&signed.statement, &signed.signatures, root).ok()
    });
    let stranger = match ca
        .read(async |client| {
            client.list(v1::ListRequest { limit: 1, ..v1::ListRequest::default() }).await
        })
        .await
    {
        Ok(_) => None,
        // What is wrong with the key or the clock has findings of its own.
        Err(failure) if failure.name == "UNKNOWN_SIGNER" || failure.name == "NO_BUNDLE" => {
            Some(failure.message)
        }
        Err(failure) if failure.outcome == Outcome::Unreachable => return Err(failure),
        Err(_) => None,
    };
    let lists = ca.client().get_krl(v1::GetKrlRequest {}).await?;
    let lists = lists.krls.iter().filter_map(|list| Revocations::parse(&list.krl).ok()).collect();
    let seen = CaSeen::There {
        time,
        tls_until: not_after(&shown),
        anchor_until: anchors.iter().filter_map(|der| not_after(der)).min(),
        bundle: signed.map(|signed| signed.body.version),
        stranger,
    };
    Ok((seen, lists))
}

/// The certificates in the agent that bear our mark.
fn certificates(
    home: &Home,
    enrolment: &Enrolment,
    held: &[jit_ssh_api::agent::Identity],
    revoked: Option<&Vec<Revocations>>,
) -> Result<Vec<CertificateSeen>, Failure> {
    let owner = trust::owner(home, enrolment)?;
    let ours: Vec<Vec<u8>> = match Agent::open() {
        Ok(mut agent) => {
            held::list(&mut agent, &owner)?.into_iter().map(|held| held.blob).collect()
        }
        Err(_) => Vec::new(),
    };
    let marked = held.iter().filter(|identity| held::is_marked(identity));
    let seen = marked.filter_map(|identity| {
        let certificate = Certificate::from_bytes(&identity.blob).ok()?;
        Some(CertificateSeen {
            id: certificate.key_id().split('/').nth(1).unwrap_or(certificate.key_id()).to_owned(),
            principals: certificate.valid_principals().to_vec(),
            valid_after: UnixTime(certificate.valid_after()),
            valid_before: UnixTime(certificate.valid_before()),
            ours: ours.contains(&identity.blob),
            revoked: revoked.and_then(|lists| is_revoked(&certificate, lists)),
        })
    });
    Ok(seen.collect())
}

fn is_revoked(certificate: &Certificate, lists: &[Revocations]) -> Option<bool> {
    let wire =
        |key: &ssh_key::public::KeyData| ssh_key::PublicKey::from(key.clone()).to_bytes().ok();
    let ca = wire(certificate.signature_key())?;
    let key = Digest::of(&wire(certificate.public_key())?);
    let named = Named {
        ca: &ca,
        serial: certificate.serial(),
        key_id: certificate.key_id(),
        key_sha256: &key.0,
    };
    Some(lists.iter().any(|list| list.revokes(named)))
}

fn config(home: &Home) -> ConfigSeen {
    let ours = crate::ssh_config::path(home);
    let file = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(".ssh/config");
    ConfigSeen {
        written: ours.is_file(),
        ours,
        text: std::fs::read_to_string(&file).unwrap_or_default(),
        file,
        known_hosts: known_hosts::path(home),
        agent_socket: socket(),
    }
}

fn host_seen(home: &Home, host: &HostName, hosts: Option<&Hosts>) -> HostSeen {
    let listed = hosts.and_then(|hosts| hosts.get(host)).map(|host| Listed {
        address: host.place().map(|(address, port)| (address.to_owned(), port)),
        logins: host.logins.iter().map(ToString::to_string).collect(),
        via: host.via.is_some(),
        has_key: host.key.is_some(),
    });
    let key_file = home.runtime("hosts").join(host.as_str());
    HostSeen { name: host.to_string(), listed, ssh: ssh_settings(host), key_file }
}

/// What `ssh -G` says for a host.
fn ssh_settings(host: &HostName) -> Result<Vec<(String, String)>, String> {
    let mut ssh = Command::new("ssh")
        .args(["-G", "--", host.as_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("ssh can not be started: {e}."))?;
    let (out, err) = (ssh.stdout.take(), ssh.stderr.take());
    // Read beside the waiting, or a full pipe would hold ssh up.
    let out = std::thread::spawn(move || read_all(out));
    let err = std::thread::spawn(move || read_all(err));
    let steps = SSH.as_millis() / 10;
    let mut ended = None;
    for _ in 0..steps {
        ended = ssh.try_wait().map_err(|e| e.to_string())?;
        if ended.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let Some(status) = ended else {
        let _ = ssh.kill().and_then(|()| ssh.wait());
        return Err(format!(
            "`ssh -G` did not end within {} s; a Match exec may hang.",
            SSH.as_secs()
        ));
    };
    if !status.success() {
        let err = err.join().unwrap_or_default();
        return Err(err.lines().next().unwrap_or("it failed and said nothing.").to_owned());
    }
    let out = out.join().unwrap_or_default();
    let pairs = out.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

fn read_all(pipe: Option<impl std::io::Read>) -> String {
    const MAX: u64 = 1 << 20;
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
