//! What a person wants of a login, as far as they said it, and whether something that stands or is
//! at hand already answers it. What was not said is taken as it is; what was said is never ignored.

use std::collections::BTreeSet;

use jit_ssh_core::bundle::Permit;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::names::{HostName, Login, Principal};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{MAX_COMMAND, Request};
use jit_ssh_core::time::{Seconds, UnixTime};

use crate::held::Held;
use crate::text::{all_of, either, relative, span};

/// How long access is asked for where nothing is said.
pub(crate) const USUAL_SPAN: Seconds = Seconds::new(15 * 60).expect("15 m is not zero");
/// What sessions may do where nothing is said.
const USUAL_PERMIT: [Permit; 2] = [Permit::Pty, Permit::PortForwarding];

/// Live access that is to be prolonged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prolonged {
    /// Its request.
    pub(crate) request: Digest,
    /// When it ends.
    pub(crate) access_until: UnixTime,
    /// Why it was asked for: also why it is prolonged, if nothing else is said.
    pub(crate) reason: String,
    /// What its sessions may do: likewise.
    pub(crate) permit: Vec<Permit>,
    /// By how much the rule lets it be prolonged at once, as far as that is known.
    pub(crate) longest: Option<Seconds>,
}

/// In which way access is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Now, by the rules.
    Usual,
    /// From this moment on.
    At(UnixTime),
    /// Now, ahead of the approvals, for this second reason.
    BreakGlass(String),
    /// After the end of this live access.
    Extends(Box<Prolonged>),
}

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
    /// The only command to run; `None` for whatever one likes.
    pub(crate) only: Option<String>,
    /// In which way.
    pub(crate) manner: Manner,
}

impl Wish {
    /// How long to ask for.
    pub(crate) fn span(&self) -> Seconds {
        let span = self.span.unwrap_or(USUAL_SPAN);
        let longest = self.prolongs().and_then(|of| of.longest);
        longest.map_or(span, |longest| span.min(longest))
    }

    /// What to ask for beside commands.
    pub(crate) fn permit(&self) -> Vec<Permit> {
        let usual = || match (self.prolongs(), &self.only) {
            (Some(of), _) => of.permit.clone(),
            (None, Some(_)) => Vec::new(),
            (None, None) => USUAL_PERMIT.to_vec(),
        };
        self.permit.clone().unwrap_or_else(usual)
    }

    /// Why, if that was said, or follows from what is prolonged.
    pub(crate) fn reason(&self) -> Option<&str> {
        let usual = || self.prolongs().map(|of| of.reason.as_str());
        self.because.as_deref().or_else(usual)
    }

    /// What is to be prolonged.
    pub(crate) fn prolongs(&self) -> Option<&Prolonged> {
        match &self.manner {
            Manner::Extends(of) => Some(of),
            Manner::Usual | Manner::At(_) | Manner::BreakGlass(_) => None,
        }
    }

    /// Every `login@host` that is wanted.
    pub(crate) fn principals(&self) -> Vec<Principal> {
        let of = |host: &HostName| Principal::new(self.login.clone(), host.clone());
        self.hosts.iter().map(of).collect()
    }

    /// How an earlier request for the same accounts differs from what was said now; `None` if it
    /// can be taken up.
    pub(crate) fn differs_from(&self, asked: &Request, now: UnixTime) -> Option<String> {
        if let Some(difference) = self.other_manner(asked, now) {
            return Some(difference);
        }
        if let Some(because) = self.because.as_ref().filter(|text| **text != asked.reason) {
            let (then, now) = (harmless(&asked.reason), harmless(because));
            return Some(format!("its reason is \"{then}\", not \"{now}\""));
        }
        // Access to anything is not access to one command, nor the other way round.
        if self.only != asked.command {
            let of = |command: &Option<String>| match command {
                Some(command) => format!("\"{}\" alone", harmless(command)),
                None => "any command".to_owned(),
            };
            return Some(format!("it is for {}, not for {}", of(&asked.command), of(&self.only)));
        }
        let wanted = self.span.map(|_| self.span());
        if let Some(span) = wanted.filter(|span| *span != asked.r#for) {
            return Some(format!("it is for {}, not for {span}", asked.r#for));
        }
        let permit = self.permit.as_ref().filter(|permit| set(permit) != set(&asked.permit))?;
        Some(format!("it permits {}, not {}", names(&asked.permit), names(permit)))
    }

    /// How an earlier request was made in another way than is wanted now. What is wanted now, in the
    /// usual way, is answered by access that is open however it was asked for.
    fn other_manner(&self, asked: &Request, now: UnixTime) -> Option<String> {
        match &self.manner {
            Manner::Usual => {
                let opens = asked.not_before.filter(|opens| *opens > now)?;
                Some(format!("it opens {}", relative(opens, now)))
            }
            Manner::At(at) => match asked.not_before {
                Some(other) if other == *at => None,
                Some(other) => Some(format!("it opens {}", relative(other, now))),
                None => Some("it opens at once".to_owned()),
            },
            Manner::BreakGlass(second) => match &asked.break_glass {
                Some(then) if then == second => None,
                Some(then) => {
                    let (then, now) = (harmless(then), harmless(second));
                    Some(format!("its second reason is \"{then}\", not \"{now}\""))
                }
                None => Some("it does not break the glass".to_owned()),
            },
            Manner::Extends(of) => {
                let same = asked.extends == Some(of.request);
                (!same).then(|| format!("it does not prolong {}", of.request.short_id()))
            }
        }
    }

    /// Whether more time is wanted than a live access has left, as the end of a sentence. `asked` is
    /// the request it came from, where that is known: to say the same again is to want no more.
    pub(crate) fn longer_than(
        &self,
        access_until: UnixTime,
        asked: Option<&Request>,
        now: UnixTime,
    ) -> Option<String> {
        let left = access_until.since(now);
        let longer = |wanted: &Seconds| {
            asked.is_none_or(|asked| asked.r#for != *wanted) && u64::from(wanted.get()) > left
        };
        let wanted = self.span.filter(longer)?;
        Some(format!("{wanted} is longer than the {} that are left", span(left)))
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
        if let Some(longer) = self.longer_than(held.access_until, asked, now) {
            return Some(longer);
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

/// A command that a request can name.
pub(crate) fn command(text: &str) -> Result<String, String> {
    if text.len() > MAX_COMMAND {
        return Err(format!("{} bytes; at most {MAX_COMMAND}", text.len()));
    }
    reason(text)
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
    use crate::grants::tests::{grant, grant_with};
    use jit_ssh_core::names::Opens;

    const NOW: UnixTime = UnixTime(1_790_000_000);

    fn wish() -> Wish {
        Wish {
            hosts: vec!["prod-host".parse().unwrap()],
            login: "deploy".parse().unwrap(),
            span: None,
            because: None,
            permit: None,
            only: None,
            manner: Manner::Usual,
        }
    }

    fn minutes(minutes: u32) -> Option<Seconds> {
        Seconds::new(minutes * 60)
    }

    #[test]
    fn an_earlier_request_is_taken_up_only_where_nothing_else_was_said() {
        // It was for ten minutes, because of INC-42, and permits nothing.
        let grant = grant("INC-42");
        let differs = |wish: Wish| wish.differs_from(grant.request.body(), NOW);
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

        let only = Wish { only: Some("uptime".to_owned()), ..wish() };
        let told = differs(only.clone()).unwrap();
        assert_eq!(told, "it is for any command, not for \"uptime\" alone");
        let of_one = grant_with("INC-42", |request| request.command = Some("uptime".to_owned()));
        assert_eq!(only.differs_from(of_one.request.body(), NOW), None);
        assert!(wish().differs_from(of_one.request.body(), NOW).is_some());
        let other = Wish { only: Some("id".to_owned()), ..wish() };
        assert!(other.differs_from(of_one.request.body(), NOW).is_some());
        assert_eq!((only.permit(), wish().permit().len()), (Vec::new(), 2));
    }

    #[test]
    fn an_earlier_request_made_in_another_way_is_another_one() {
        let later = NOW.plus_secs(7_200);
        let parent = Digest::of(b"parent");
        let of = |request: Digest| {
            Manner::Extends(Box::new(Prolonged {
                request,
                access_until: later,
                reason: "INC-41".to_owned(),
                permit: Vec::new(),
                longest: minutes(10),
            }))
        };
        let usual = grant("INC-42");
        let window = grant_with("INC-42", |request| request.not_before = Some(later));
        let broken = grant_with("INC-42", |request| request.break_glass = Some("fire".into()));
        let extension = grant_with("INC-42", |request| request.extends = Some(parent));
        let differs = |manner: Manner, grant: &crate::grants::Grant| {
            Wish { manner, ..wish() }.differs_from(grant.request.body(), NOW)
        };
        for (manner, same) in [
            (Manner::Usual, &usual),
            (Manner::At(later), &window),
            (Manner::BreakGlass("fire".into()), &broken),
            (of(parent), &extension),
        ] {
            assert_eq!(differs(manner.clone(), same), None, "{manner:?}");
            for other in [&usual, &window, &broken, &extension] {
                // What is open serves the usual login however it was asked for.
                let serves = matches!(manner, Manner::Usual) && other.digest() != window.digest();
                let expected = other.digest() == same.digest() || serves;
                assert_eq!(differs(manner.clone(), other).is_none(), expected, "{manner:?}");
            }
        }
        assert_eq!(differs(Manner::Usual, &window).unwrap(), "it opens in 2h");
        let opened = wish().differs_from(window.request.body(), later);
        assert_eq!(opened, None, "a window that has opened is taken up");
        assert!(differs(Manner::At(NOW.plus_secs(60)), &window).is_some());
        assert!(differs(Manner::BreakGlass("flood".into()), &broken).is_some());
        assert!(differs(of(Digest::of(b"x")), &extension).is_some());
        // What is unsaid is as before, and what is said is held to what the rule allows at once.
        let wish = Wish { manner: of(parent), span: minutes(20), ..wish() };
        assert_eq!(wish.differs_from(extension.request.body(), NOW), None, "it is for 10m");
        assert_eq!((wish.reason(), wish.permit().len()), (Some("INC-41"), 0));
        assert_eq!(Wish { span: None, ..wish }.span(), minutes(10).unwrap());
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
            opens: Opens::Logins(grant.principals()),
            permit: vec![Permit::Pty, Permit::UserRc],
            only: None,
            valid_after: NOW,
            valid_before: NOW.plus_secs(300),
            access_until: NOW.plus_secs(480),
            loaded: crate::held::Loaded::Agent,
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
