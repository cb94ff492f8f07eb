//! How much one person or machine may use up in a minute (design.md, 3): a stolen key can not fill
//! the log, and nobody's mistake starves the others.

use std::collections::HashMap;
use std::num::NonZeroU32;

use jit_ssh_core::deployment::Limits;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::time::UnixTime;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Use {
    Request,
    /// Decisions and ends.
    Decision,
    Certificate,
    /// Certificates of hosts, which are counted by the host.
    HostCertificate,
    /// Hosts that join, and tokens; counted by enroller.
    Enrolment,
}

impl Use {
    fn word(self) -> &'static str {
        match self {
            Use::Request => "requests",
            Use::Decision => "decisions",
            Use::Certificate | Use::HostCertificate => "certificates",
            Use::Enrolment => "enrolments",
        }
    }
}

/// Counts of the present minute.
pub(crate) struct Quotas {
    limits: Limits,
    minute: u64,
    used: HashMap<(Box<str>, Use), u32>,
}

impl Quotas {
    pub(crate) fn new(limits: Limits) -> Quotas {
        Quotas { limits, minute: 0, used: HashMap::new() }
    }

    /// Counts one use by `who`: a person, a machine or a host.
    pub(crate) fn take(&mut self, who: &str, what: Use, now: UnixTime) -> Result<(), Refusal> {
        let minute = now.0 / 60;
        if minute != self.minute {
            self.minute = minute;
            self.used.clear();
        }
        let limit = self.limit(what).get();
        let used = self.used.entry((who.into(), what)).or_insert(0);
        if *used >= limit {
            return Err(Refusal::new(
                Reason::Quota,
                format!("{who} has used up the {limit} {} of this minute.", what.word()),
            )
            .hint("try again in a minute; an admin can raise the limit in ca.toml"));
        }
        *used = used.saturating_add(1);
        Ok(())
    }

    fn limit(&self, what: Use) -> NonZeroU32 {
        match what {
            Use::Request => self.limits.requests_per_person_per_minute,
            Use::Decision => self.limits.decisions_per_person_per_minute,
            Use::Certificate | Use::HostCertificate => {
                self.limits.certificates_per_person_per_minute
            }
            Use::Enrolment => self.limits.enrolments_per_enroller_per_minute,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_is_stopped_at_the_limit_and_goes_on_in_the_next_minute() {
        let limits = Limits {
            requests_per_person_per_minute: NonZeroU32::new(2).unwrap(),
            ..Limits::default()
        };
        let mut quotas = Quotas::new(limits);
        let (alice, bob) = ("alice", "bob");
        let now = UnixTime(6_000);
        for _ in 0..2 {
            quotas.take(alice, Use::Request, now).unwrap();
        }
        assert_eq!(quotas.take(alice, Use::Request, now).unwrap_err().reason, Reason::Quota);
        quotas.take(alice, Use::Decision, now).unwrap();
        quotas.take(bob, Use::Request, now).unwrap();
        quotas.take(alice, Use::Request, now.plus_secs(60)).unwrap();
    }
}
