//! What a person wants of a login, as far as they said it, and whether something that stands or is
//! at hand already answers it. What was not said is taken as it is; what was said is never ignored.

use std::collections::BTreeSet;

use jit_ssh_core::bundle::Permit;
use jit_ssh_core::names::{HostName, Login, Principal};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::Request;
use jit_ssh_core::time::{Seconds, UnixTime};

use crate::held::Held;
use crate::text::{all_of, either, span};

/// How long access is asked for where nothing is said.
const USUAL_SPAN: Seconds = Seconds::new(15 * 60).expect("15 m is not zero");
/// What sessions may do where nothing is said.
const USUAL_PERMIT: [Permit; 2] = [Permit::Pty, Permit::PortForwarding];

/// What the command line says; `None` for what it leaves open.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// The hosts.
    pub(crate) hosts: Vec<HostName>,
    /// The account on them.
    pub(crate) login: Login,
    /// How long.
    pub(crate) span: Option<Seconds>,
    /// Why.
    pub(crate) because: Option<String>,
    /// What sessions may do.
    pub(crate) permit: Option<Vec<Permit>>,
}

impl Wish {
    /// How long to ask for.
    pub(crate) fn span(&self) -> Seconds {
        self.span.unwrap_or(USUAL_SPAN)
    }

    /// What to ask for beside commands.
    pub(crate) fn permit(&self) -> Vec<Permit> {
        self.permit.clone().unwrap_or(USUAL_PERMIT.to_vec())
    }

    /// Every `login@host` that is wanted.
    pub(crate) fn principals(&self) -> Vec<Principal> {
        let of = |host: &HostName| Principal::new(self.login.clone(), host.clone());
        self.hosts.iter().map(of).collect()
    }

    /// How an earlier request for the same accounts differs from what was said now; `None` if it
    /// can be taken up.
    pub(crate) fn differs_from(&self, asked: &Request) -> Option<String> {
        if let Some(because) = self.because.as_ref().filter(|text| **text != asked.reason) {
            let (then, now) = (harmless(&asked.reason), harmless(because));
            return Some(format!("its reason is \"{then}\", not \"{now}\""));
        }
        if let Some(span) = self.span.filter(|span| *span != asked.r#for) {
            return Some(format!("it is for {}, not for {span}", asked.r#for));
        }
        let permit = self.permit.as_ref().filter(|permit| set(permit) != set(&asked.permit))?;
        Some(format!("it permits {}, not {}", names(&asked.permit), names(permit)))
    }

    /// What is wanted beyond a certificate at hand, as the end of a sentence; `None` if it is
    /// enough. `asked` is the request it came from, where that is known: what was granted may be
    /// less, and to say the same again is to want no more.
    pub(crate) fn exceeds(
        &self,
        held: &Held,
        asked: Option<&Request>,
        now: UnixTime,
    ) -> Option<String> {
        let left = held.access_until.since(now);
        let longer = |wanted: &Seconds| {
            asked.is_none_or(|asked| asked.r#for != *wanted) && u64::from(wanted.get()) > left
        };
        if let Some(wanted) = self.span.filter(longer) {
            return Some(format!("{wanted} is longer than the {} that are left", span(left)));
        }
        let permit = self.permit.as_ref().filter(|wanted| {
            asked.is_none_or(|asked| set(&asked.permit) != set(wanted))
                && !set(wanted).is_subset(&set(&held.permit))
        })?;
        Some(format!("it permits {}, not {}", names(&held.permit), names(permit)))
    }
}

/// A reason that says something. Refused here already, since a login that is at hand or taken up makes
/// no statement that would be.
pub(crate) fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it must say something".to_owned());
    }
    if text.contains(char::is_control) {
        return Err("control characters and line breaks are not allowed".to_owned());
    }
    Ok(text.to_owned())
}

/// One permit, by its name.
pub(crate) fn permit(text: &str) -> Result<Permit, String> {
    Permit::ALL.into_iter().find(|permit| permit.as_str() == text).ok_or_else(|| {
        let names: Vec<_> = Permit::ALL.iter().map(|permit| permit.as_str()).collect();
        format!("there is no {text:?}; use {}", either(&names))
    })
}

fn set(permits: &[Permit]) -> BTreeSet<&'static str> {
    permits.iter().map(|permit| permit.as_str()).collect()
}

fn names(permits: &[Permit]) -> String {
    match permits {
        [] => "nothing beside commands".to_owned(),
        _ => all_of(&permits.iter().map(|permit| permit.as_str()).collect::<Vec<_>>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::tests::grant;

    const NOW: UnixTime = UnixTime(1_790_000_000);

    fn wish() -> Wish {
        Wish {
            hosts: vec!["prod-host".parse().unwrap()],
            login: "deploy".parse().unwrap(),
            span: None,
            because: None,
            permit: None,
        }
    }

    fn minutes(minutes: u32) -> Option<Seconds> {
        Seconds::new(minutes * 60)
    }

    #[test]
    fn an_earlier_request_is_taken_up_only_where_nothing_else_was_said() {
        // It was for ten minutes, because of INC-42, and permits nothing.
        let grant = grant("INC-42");
        let differs = |wish: Wish| wish.differs_from(grant.request.body());
        let because = |text: &str| Some(text.to_owned());
        assert_eq!(differs(wish()), None);
        assert_eq!(differs(Wish { because: because("INC-42"), ..wish() }), None);
        assert_eq!(differs(Wish { span: minutes(10), ..wish() }), None);
        assert_eq!(differs(Wish { permit: Some(vec![]), ..wish() }), None);

        let reason = differs(Wish { because: because("INC-43"), ..wish() }).unwrap();
        assert_eq!(reason, "its reason is \"INC-42\", not \"INC-43\"");
        let longer = differs(Wish { span: minutes(11), ..wish() }).unwrap();
        assert_eq!(longer, "it is for 10m, not for 11m");
        assert!(differs(Wish { span: minutes(9), ..wish() }).is_some());
        let permit = differs(Wish { permit: Some(vec![Permit::Pty]), ..wish() }).unwrap();
        assert_eq!(permit, "it permits nothing beside commands, not pty");
    }

    #[test]
    fn what_is_at_hand_is_enough_until_more_is_wanted() {
        let grant = grant("INC-42");
        let asked = Some(grant.request.body());
        let held = Held {
            id: grant.request.id().to_string(),
            blob: Vec::new(),
            serial: 1,
            key_id: String::new(),
            principals: grant.principals(),
            permit: vec![Permit::Pty, Permit::UserRc],
            valid_after: NOW,
            valid_before: NOW.plus_secs(300),
            access_until: NOW.plus_secs(480),
        };
        let exceeds = |wish: Wish| wish.exceeds(&held, asked, NOW);
        assert_eq!(exceeds(wish()), None);
        // Another reason is no more access; nor is a shorter time, or less to permit.
        let because = Some("INC-43".to_owned());
        assert_eq!(exceeds(Wish { because, span: minutes(8), ..wish() }), None);
        assert_eq!(exceeds(Wish { permit: Some(vec![Permit::UserRc]), ..wish() }), None);
        // The same words as before want no more than before, though less may be left or granted.
        assert_eq!(exceeds(Wish { span: minutes(10), permit: Some(vec![]), ..wish() }), None);

        let longer = Wish { span: minutes(9), ..wish() };
        assert_eq!(exceeds(longer.clone()).unwrap(), "9m is longer than the 8m that are left");
        let permit = Wish { permit: Some(vec![Permit::Pty, Permit::AgentForwarding]), ..wish() };
        let expected = "it permits pty and user-rc, not pty and agent-forwarding";
        assert_eq!(exceeds(permit).unwrap(), expected);
        // Where the request is not known, only what is at hand counts.
        assert!(Wish { span: minutes(10), ..wish() }.exceeds(&held, None, NOW).is_some());
        assert!(Wish { span: minutes(8), ..wish() }.exceeds(&held, None, NOW).is_none());
    }

    #[test]
    fn a_reason_says_something_in_one_line() {
        for good in ["INC-42", "x ü"] {
            assert_eq!(reason(good).unwrap(), good);
        }
        for bad in ["", "  ", "INC-42\nroot", "\u{1b}[2J", "\u{7f}"] {
            assert!(reason(bad).is_err(), "{bad:?}");
        }
    }
}
