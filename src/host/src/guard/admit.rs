//! Which logins the guard takes on, and which certificates move an end. The guard judges for itself:
//! that root speaks is not enough.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use jit_ssh_core::certificate::Presented;
use jit_ssh_core::key::CaKey;
use jit_ssh_core::time::UnixTime;

use super::event::{Event, Kind};
use super::log::{self, Level};
use super::process::{Process, check_is_sshd_of_root};
use super::protocol::{Answer, Register};
use super::row::{Grant, New, Row};
use super::serve::Server;
use super::table::Token;
use super::trust::{self, Trust};
use super::warning;
use super::watched::Watched;
use crate::clock::Moment;

/// A no: for good, or for now.
pub(super) enum No {
    /// This certificate does not let anybody in, whatever the guard could do.
    Refused(String),
    /// The guard can not do it.
    Unable(String),
}

use No::{Refused, Unable};

impl From<No> for Answer {
    fn from(no: No) -> Answer {
        match no {
            Refused(why) => Answer::Refused { why },
            Unable(why) => Answer::Unable { why },
        }
    }
}

/// A certificate that the guard has verified, and how long its access lasts.
struct Judged {
    certificate: Presented,
    ca: CaKey,
    until: UnixTime,
    /// Whether the sealed offline key signed it.
    is_offline: bool,
    /// This host's name, if it is known.
    host: Option<String>,
}

/// A login that was taken on, and is to be recorded before anybody is told so.
pub(super) struct Admitted {
    /// Its session.
    pub(super) token: Token,
    /// What is to be reported of it; none where it was known already.
    pub(super) login: Option<Event>,
}

impl Server {
    /// Takes on a connection.
    pub(super) fn register(
        &mut self,
        asked: Register,
        certificate: Presented,
        pidfd: Option<OwnedFd>,
        now: Moment,
    ) -> Result<Admitted, No> {
        let judged = self.judge(certificate, now.wall)?;
        let monitor = pidfd.and_then(Process::from_pidfd);
        let monitor = monitor.ok_or_else(|| Unable("the connection is gone already".into()))?;
        if monitor.id() != asked.monitor {
            return Err(Unable("the process passed is not the one named".into()));
        }
        check_is_sshd_of_root(monitor.id().pid)
            .map_err(|why| Unable(format!("process {} is no monitor: {why}", monitor.id().pid)))?;
        if let Some((token, row)) = self.table.of_monitor(monitor.id())
            && row.until() <= judged.until
        {
            // A hook that stands twice in the PAM file: what was recorded ends no later.
            return Ok(Admitted { token, login: None });
        }
        let most_of_one = (self.max_sessions / 2).max(1);
        if self.table.len() >= most_of_one
            && let Some(own) = judged.certificate.our_key_id()
            && self.table.iter().filter(|(_, other)| other.row.is_of(&own.subject)).count()
                >= most_of_one
        {
            // Refused, guard or no guard, as who brings too many logins at once.
            let why = format!("{} has {most_of_one} sessions already", own.subject);
            return Err(Refused(why));
        }
        if self.table.len() >= self.max_sessions {
            return Err(Unable(format!("{} sessions are watched already", self.max_sessions)));
        }
        let cgroup = self.cgroups.as_ref().and_then(|groups| groups.own_of(monitor.id()));
        let row = Row::new(
            New {
                monitor: monitor.id(),
                login: shown(&asked.login)?,
                from: address(&asked.connection),
                certificate: &judged.certificate,
                grant: Grant::new(&judged.ca, &judged.certificate, judged.until, now),
                host: judged.host.as_deref(),
            },
            cgroup,
            now,
        );
        let kind = if judged.is_offline { Kind::Offline } else { Kind::Login };
        let event = Event::of(&row, kind, None, now.wall);
        let token = self.table.add(Watched::new(row, monitor));
        if !judged.is_offline {
            self.table.prolong(&judged.certificate, &judged.ca, now);
        }
        Ok(Admitted { token, login: Some(event) })
    }

    /// Says that a login was recorded and is let in.
    pub(super) fn say_let_in(&self, token: Token, event: &Event) {
        let Some(row) = self.table.get(token).map(|watched| &watched.row) else { return };
        log::say(Level::Info, &format!("{} is let in until {}.", row.title(), row.until()));
        if event.kind == Kind::Offline {
            alarm(&row.title());
        }
    }

    /// Moves the end of what a certificate prolongs. How many sessions it was.
    pub(super) fn prolong(&mut self, line: &str, now: Moment) -> Result<usize, No> {
        let certificate = Presented::from_line(line).map_err(|e| Refused(e.to_string()))?;
        let judged = self.judge(certificate, now.wall)?;
        if judged.is_offline {
            return Err(Refused("the offline key prolongs nothing".into()));
        }
        let moved = self.table.prolong(&judged.certificate, &judged.ca, now);
        if moved > 0 {
            self.table.record();
        }
        Ok(moved)
    }

    /// Verifies a certificate down to its signature.
    fn judge(&mut self, certificate: Presented, now: UnixTime) -> Result<Judged, No> {
        let path = self.folders.own_dir().join("user_ca.pub");
        let trust = Trust::read(&path).map_err(|e| Unable(format!("{}: {e}", path.display())))?;
        let ca = trust.ca_of(&certificate).cloned();
        let ca = ca.ok_or_else(|| Refused("no CA of this host signed the certificate".into()))?;
        if !certificate.is_signed_by(&ca) {
            return Err(Refused("the CA's signature over the certificate does not hold".into()));
        }
        let settings = trust::settings(&self.folders.own_dir()).ok();
        let offline = settings.as_ref().and_then(|settings| settings.offline_ca.as_ref());
        let is_offline = offline == Some(&ca);
        let until = if is_offline {
            certificate.valid_before()
        } else {
            let id = certificate.our_key_id().ok_or_else(|| {
                Refused("the certificate's key id does not say when the access ends".into())
            })?;
            id.access_until
        };
        if until <= now {
            return Err(Refused("the access is over".into()));
        }
        if until > UnixTime::MAX {
            return Err(Refused("the access has no end".into()));
        }
        self.revoked.look();
        if self.revoked.revokes(certificate.named()) {
            return Err(Refused("the certificate is revoked".into()));
        }
        let host = settings.map(|settings| settings.name.to_string());
        Ok(Judged { certificate, ca, until, is_offline, host })
    }
}

fn alarm(title: &str) {
    let text = format!("BREAK-GLASS: the sealed offline key let in {title}");
    log::say(Level::Alert, &format!("{text}."));
    warning::wall(&format!("\r\n*** jit-ssh: {text} ***\r\n"));
}

/// A login that can stand in a line of text.
fn shown(login: &str) -> Result<String, No> {
    let fits = (1..=64).contains(&login.len()) && login.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(login.to_owned()) } else { Err(Unable("the login has an odd name".into())) }
}

/// The address in `SSH_CONNECTION`; `unknown` where there is none, as over an inherited socket.
fn address(connection: &str) -> String {
    let first = connection.split(' ').next().unwrap_or_default();
    // A scope, as in fe80::1%eth0, says nothing elsewhere.
    let bare = first.split('%').next().unwrap_or_default();
    bare.parse::<IpAddr>().map_or_else(|_| "unknown".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_addresses_and_nothing_else() {
        assert_eq!(address("192.0.2.7 5000 192.0.2.1 22"), "192.0.2.7");
        assert_eq!(address("fe80::1%eth0 5000 fe80::2 22"), "fe80::1");
        for odd in ["", "UNKNOWN 65535 UNKNOWN 65535", "1.2.3 4", "a\nb"] {
            assert_eq!(address(odd), "unknown");
        }
        assert!(shown("deploy").is_ok() && shown("DOMAIN\\bob").is_ok());
        assert!(shown("").is_err() && shown("a b").is_err() && shown(&"a".repeat(65)).is_err());
    }
}
