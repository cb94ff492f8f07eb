//! `jit-ssh-host session`: the PAM hook. Tells the guard of a login by a certificate of ours, and lets
//! nobody in whom the guard does not watch, unless the host was set up so.
//!
//! It runs as root at every login, after sshd has accepted it, as a child of the connection's monitor
//! (`session required pam_exec.so type=open_session quiet .../jit-ssh-host session`). So it comes first
//! thing in `main`, reads four variables and three small files, and asks nobody but the guard. Logins
//! by anything else than our certificates are none of its business: it ends before it reads a setting.
//!
//! If the hook fails, sshd refuses shells and forwards, but the connection would stay open: so the hook
//! ends the monitor, too.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jit_ssh_core::certificate::Presented;
use rustix::process::{Signal, getppid};

use crate::clock::now;
use crate::guard::log::{Level, syslog};
use crate::guard::process::{Process, check_is_sshd_of_root};
use crate::guard::protocol::{self, Answer, Ask, Register};
use crate::guard::trust::{self, Trust};
use crate::settings::Guard;

/// How long a login waits for the guard.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the hook finds its files; the defaults of every command.
struct Places {
    own_dir: PathBuf,
    run: PathBuf,
}

/// Why a login is not let in.
enum Turned {
    /// Whatever the guard says.
    Away(String),
    /// Because the guard can not watch it.
    Unwatched(String),
}

/// Runs the hook with the arguments after `session`.
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    if variable("PAM_TYPE") != "open_session" {
        return ExitCode::SUCCESS;
    }
    let certificates = certificates(&variable("SSH_AUTH_INFO_0"));
    if certificates.is_empty() {
        return ExitCode::SUCCESS;
    }
    let places = places(args);
    let ours = ours(certificates, &places.own_dir);
    if ours.is_empty() {
        return ExitCode::SUCCESS;
    }
    let settings = trust::settings(&places.own_dir);
    let mode = trust::mode(&settings);
    if mode == Guard::Off {
        return ExitCode::SUCCESS;
    }
    if let Err(why) = &settings {
        syslog(Level::Error, &format!("the guard is taken as required, since {why}"));
    }
    match admit(&ours, &places) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Turned::Unwatched(why)) if mode == Guard::Optional => {
            let login = shown(&variable("PAM_USER"));
            let text = format!(
                "the login as {login} is NOT watched and will not be ended (the guard is optional here): {why}"
            );
            syslog(Level::Warning, &text);
            ExitCode::SUCCESS
        }
        Err(Turned::Away(why) | Turned::Unwatched(why)) => {
            turn_away(&why);
            ExitCode::FAILURE
        }
    }
}

/// The certificates among what the login was accepted for: lines like `publickey TYPE BASE64`.
fn certificates(info: &str) -> Vec<(String, Presented)> {
    let lines = info.lines().filter_map(|line| line.strip_prefix("publickey "));
    let read = |line: &str| Some((line.to_owned(), Presented::from_line(line).ok()?));
    lines.filter_map(read).collect()
}

/// Those that a CA of this host signed.
fn ours(certificates: Vec<(String, Presented)>, own_dir: &Path) -> Vec<(String, Presented)> {
    let trust = Trust::read(&own_dir.join("user_ca.pub"));
    let is_ours = |certificate: &Presented| match &trust {
        Ok(trust) => trust.ca_of(certificate).is_some(),
        // sshd has read it a moment ago, or found another CA's key elsewhere: what looks like ours is.
        Err(_) => certificate.our_key_id().is_some(),
    };
    certificates.into_iter().filter(|(_, certificate)| is_ours(certificate)).collect()
}

fn places(mut args: impl Iterator<Item = OsString>) -> Places {
    let mut places = Places { own_dir: "/etc/ssh/jit-ssh".into(), run: "/run/jit-ssh".into() };
    // There is nobody to tell of a wrong argument; the defaults are at least the usual places.
    while let Some(option) = args.next() {
        match (option.to_str(), args.next()) {
            (Some("--etc"), Some(dir)) => places.own_dir = Path::new(&dir).join("jit-ssh"),
            (Some("--run"), Some(dir)) => places.run = dir.into(),
            _ => syslog(Level::Error, &format!("session does not know the argument {option:?}")),
        }
    }
    places
}

fn admit(ours: &[(String, Presented)], places: &Places) -> Result<(), Turned> {
    let deadline = Instant::now() + PATIENCE;
    let [(line, _)] = ours else {
        return Err(Turned::Away("it was made with two certificates of ours".into()));
    };
    let monitor = monitor().map_err(Turned::Unwatched)?;
    let ask = Ask::Register(Register {
        certificate: line.clone(),
        monitor: monitor.id(),
        login: variable("PAM_USER"),
        connection: variable("SSH_CONNECTION"),
        service: variable("PAM_SERVICE"),
    });
    use std::os::fd::AsFd as _;
    match protocol::ask(&places.run, &ask, Some(monitor.as_fd()), deadline) {
        Ok(Answer::Registered) => Ok(()),
        Ok(Answer::Refused { why }) => Err(Turned::Away(why)),
        Ok(Answer::Unable { why }) => Err(Turned::Unwatched(format!("the guard says: {why}"))),
        Ok(_) => Err(Turned::Unwatched("the guard gave another answer".into())),
        Err(why) => {
            is_over(ours, places)?;
            Err(Turned::Unwatched(format!("the guard does not answer: {why}")))
        }
    }
}

/// Where the guard can not judge, at least what the certificate itself says must hold.
fn is_over(ours: &[(String, Presented)], places: &Places) -> Result<(), Turned> {
    let offline = trust::settings(&places.own_dir).ok().and_then(|settings| settings.offline_ca);
    for (_, certificate) in ours {
        let is_offline = offline.as_ref().is_some_and(|key| key.blob() == certificate.ca());
        let until = match certificate.our_key_id() {
            _ if is_offline => certificate.valid_before(),
            Some(id) => id.access_until,
            None => {
                let why = "the certificate's key id does not say when the access ends";
                return Err(Turned::Away(why.into()));
            }
        };
        if until <= now() {
            return Err(Turned::Away("the access is over".into()));
        }
    }
    Ok(())
}

/// The process that waits for this hook.
fn monitor() -> Result<Process, String> {
    let parent = getppid().ok_or("the hook has no parent")?;
    let process = Process::open(parent.as_raw_nonzero().get());
    let process = process.ok_or("the hook's parent is gone")?;
    // It is the parent still, so its number was never another's in between.
    if getppid() != Some(parent) {
        return Err("the hook's parent is gone".into());
    }
    check_is_sshd_of_root(process.id().pid)
        .map_err(|why| format!("process {} runs the hook: {why}", process.id().pid))?;
    Ok(process)
}

fn turn_away(why: &str) {
    let login = shown(&variable("PAM_USER"));
    let from = shown(variable("SSH_CONNECTION").split(' ').next().unwrap_or_default());
    syslog(Level::Warning, &format!("the login as {login} from {from} is turned away: {why}"));
    match monitor() {
        Ok(monitor) => {
            if let Err(error) = monitor.signal(Signal::TERM) {
                syslog(Level::Error, &format!("its connection can not be ended: {error}"));
            }
        }
        Err(why) => syslog(Level::Error, &format!("its connection is not ended: {why}")),
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// What others chose, fit for a line of the log.
fn shown(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_among_what_sshd_accepted_count() {
        let key = "publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKoMHfeUSGcYJWGysvTZaqm59QUJXVrgQ96Nhwe6rdj\n";
        for info in ["", "password\n", key, "publickey ssh-ed25519-cert-v01@openssh.com AAAA\n"] {
            assert!(certificates(info).is_empty(), "{info}");
        }
    }
}
