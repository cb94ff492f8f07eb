//! `policy.toml` as types: deny rules, allow rules, and who may read everything.
//!
//! What design.md, section 7 specifies. What can not be honoured is refused where the file is read
//! (`rules`), so a value that exists is a promise kept.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::command_pattern::CommandPattern;
use super::host_pattern::HostPattern;
use super::hosts::Host;
use super::hours::Hours;
use super::people::Actor;
use super::reader::{did_you_mean, quote};
use super::reason::ReasonRule;
use super::rule_index::RuleIndex;
use super::who::Who;
use crate::cidr::Cidr;
use crate::names::{Login, RuleName, deserialize_from_str};
use crate::time::{Date, Seconds, UnixTime};

/// All rules. Read from a file, never changed afterwards: their index would not follow.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Any of these that touches any part of a request refuses it.
    pub deny: Vec<Deny>,
    /// Else the first of these that covers the whole request decides.
    pub allow: Vec<Allow>,
    /// Who, beside the admins, may read all requests and the log.
    pub auditors: Vec<Who>,
    pub(super) index: RuleIndex,
}

impl Policy {
    /// The deny rules that may touch a request by or for one of `actors` for one of `hosts`, in the
    /// order of the file. None is left out that does.
    pub fn deny_candidates(
        &self,
        actors: &[&Actor],
        hosts: &[&Host],
    ) -> impl Iterator<Item = &Deny> {
        self.index.deny(actors, hosts).into_iter().filter_map(|place| self.deny.get(place))
    }

    /// The allow rules that name `requester` in `who`, in the order of the file.
    pub fn allow_candidates(&self, requester: &Actor) -> impl Iterator<Item = &Allow> {
        self.index.allow(requester).into_iter().filter_map(|place| self.allow.get(place))
    }

    /// The same policy with one allow rule put directly above another; unchanged if it does not have
    /// both. For who wants to see what a rule would do there.
    #[must_use]
    pub fn moved_above(mut self, rule: &RuleName, above: &RuleName) -> Policy {
        let place = |allow: &[Allow], name: &RuleName| allow.iter().position(|r| r.name == *name);
        if let (Some(from), Some(_)) = (place(&self.allow, rule), place(&self.allow, above))
            && rule != above
        {
            let moved = self.allow.remove(from);
            let to = place(&self.allow, above).unwrap_or(self.allow.len());
            self.allow.insert(to, moved);
            self.index = RuleIndex::new(&self.deny, &self.allow);
        }
        self
    }
}

/// What is refused whatever the allow rules say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deny {
    /// The rule's name.
    pub name: RuleName,
    /// Whose requests.
    pub who: Selection<Who>,
    /// For which hosts.
    pub hosts: Selection<HostPattern>,
    /// As which logins.
    pub logins: Selection<Login>,
}

/// What a deny rule is about. A field that is absent means everything: leaving one out never
/// loosens the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection<T> {
    /// Everything.
    All,
    /// What one of these names; never empty.
    Only(Vec<T>),
}

/// What may be allowed, and on which terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// The rule's name, recorded with every certificate it led to.
    pub name: RuleName,
    /// Whose requests; never empty.
    pub who: Vec<Who>,
    /// For whom the machines of `who` may ask; they ask for nobody else then, not even for
    /// themselves. `None`: everyone asks for themselves. Never empty, never a machine.
    pub on_behalf: Option<Vec<Who>>,
    /// For which hosts; never empty.
    pub hosts: Vec<HostPattern>,
    /// As which logins; never empty.
    pub logins: Vec<Login>,
    /// The longest access.
    pub max_for: Seconds,
    /// The longest single certificate; not longer than `max_for`.
    pub cert_for: Seconds,
    /// What the request's reason must look like.
    pub reason: ReasonRule,
    /// Who must approve.
    pub approval: Approval,
    /// How long a request stands undecided.
    pub decide_within: Seconds,
    /// How long an approval stands unused.
    pub use_within: Seconds,
    /// The certificate options that may be granted.
    pub permit: BTreeSet<Permit>,
    /// The commands it is for: a request names one of them, and its certificate runs that and nothing else.
    /// Never empty; `None` for any, and for requests that name none.
    pub commands: Option<Vec<CommandPattern>>,
    /// The addresses a certificate works from.
    pub source: SourceRule,
    /// Which kind of key it certifies: with [`Strength::Verified`] the certificate works only where
    /// the security key checked its person at the login.
    pub subject_key: Strength,
    /// Whether, and how, its requesters may go ahead without approvals. Only beside
    /// [`Approval::Steps`].
    pub break_glass: Option<BreakGlass>,
    /// Whether, and how far, live access may be prolonged.
    pub extend: Option<Extend>,
}

impl Allow {
    /// What a certificate permits of what was asked, sorted: no more than the rule does.
    pub fn permitted(&self, asked: &[Permit]) -> Vec<Permit> {
        let mut permit: Vec<Permit> =
            asked.iter().copied().filter(|permit| self.permit.contains(permit)).collect();
        permit.sort();
        permit
    }
}

/// Going ahead without approvals, for a second reason, reviewed afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakGlass {
    /// With which kind of key the request must be signed.
    pub strength: Strength,
    /// The longest access; not longer than the rule's `max_for`.
    pub max_for: Seconds,
    /// Who is told, beside those who were skipped; may be empty.
    pub notify: Vec<Who>,
}

/// Prolonging live access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extend {
    /// The longest single extension.
    pub max: Seconds,
    /// How many, one after the other.
    pub times: NonZeroU8,
}

/// Who must approve. An automatic approval is a rule that says so, never a count of zero (I2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// Nobody: the rule itself approves.
    Auto(Auto),
    /// Persons, step by step.
    Steps(Steps),
}

impl Approval {
    /// How many persons the steps ask for together: none where the rule itself approves.
    pub fn count(&self) -> usize {
        match self {
            Approval::Auto(_) => 0,
            Approval::Steps(steps) => {
                let counts = steps.iter().map(|step| usize::from(step.count.get()));
                counts.fold(0, usize::saturating_add)
            }
        }
    }
}

/// When a rule approves by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Auto {
    /// Only where the access begins within these; `None`: always.
    pub hours: Option<Hours>,
    /// The last day of the rule, in UTC: somebody must look at it by then. `None`: it stays.
    pub review_by: Option<Date>,
}

impl Auto {
    /// Whether the rule approves access that begins at `start`.
    pub fn covers(&self, start: UnixTime) -> bool {
        self.hours.as_ref().is_none_or(|hours| hours.contain(start)) && !self.is_past(start)
    }

    /// Whether the day by which the rule had to be reviewed is over at `now`.
    pub fn is_past(&self, now: UnixTime) -> bool {
        self.review_by.is_some_and(|last| now >= last.end())
    }
}

/// One or more steps, each of which must be satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps(Vec<Step>);

impl Steps {
    /// These steps; `None` if there are none.
    pub fn new(steps: Vec<Step>) -> Option<Steps> {
        (!steps.is_empty()).then_some(Steps(steps))
    }

    /// The steps in order; at least one.
    pub fn iter(&self) -> std::slice::Iter<'_, Step> {
        self.0.iter()
    }
}

impl<'s> IntoIterator for &'s Steps {
    type Item = &'s Step;
    type IntoIter = std::slice::Iter<'s, Step>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Approvals by `count` distinct persons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Who may approve; never empty, never a machine. A group may hold machines too: they are not
    /// persons, and do not count.
    pub from: Vec<Who>,
    /// How many distinct persons.
    pub count: NonZeroU8,
    /// With which kind of key.
    pub strength: Strength,
}

/// The addresses a certificate works from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceRule {
    /// Anywhere.
    Any,
    /// Only the address the request came from.
    Client,
    /// Only these; never empty.
    Only(Vec<Cidr>),
}

/// A certificate option that a rule may grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permit {
    /// A terminal.
    Pty,
    /// Local and remote forwarding of ports and sockets.
    PortForwarding,
    /// Use of the person's agent on the host.
    AgentForwarding,
    /// X11 forwarding.
    X11Forwarding,
    /// `~/.ssh/rc`.
    UserRc,
}

impl Permit {
    /// All options.
    pub const ALL: [Permit; 5] = [
        Permit::Pty,
        Permit::PortForwarding,
        Permit::AgentForwarding,
        Permit::X11Forwarding,
        Permit::UserRc,
    ];

    /// The name in `policy.toml` and in statements.
    pub fn as_str(self) -> &'static str {
        match self {
            Permit::Pty => "pty",
            Permit::PortForwarding => "port-forwarding",
            Permit::AgentForwarding => "agent-forwarding",
            Permit::X11Forwarding => "x11-forwarding",
            Permit::UserRc => "user-rc",
        }
    }

    /// Whether it opens more than the command of a session: what can not stand beside one single command.
    pub fn exceeds_command(self) -> bool {
        self != Permit::Pty
    }

    /// The certificate extension (OpenSSH `PROTOCOL.certkeys`).
    pub fn extension(self) -> &'static str {
        match self {
            Permit::Pty => "permit-pty",
            Permit::PortForwarding => "permit-port-forwarding",
            Permit::AgentForwarding => "permit-agent-forwarding",
            Permit::X11Forwarding => "permit-X11-forwarding",
            Permit::UserRc => "permit-user-rc",
        }
    }
}

/// How sure a signature is to come from the person: each kind includes those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// Any key of the person.
    Any,
    /// A hardware key that was touched.
    Hardware,
    /// A hardware key that checked a PIN or fingerprint.
    Verified,
}

impl Strength {
    /// All kinds, weakest first.
    pub const ALL: [Strength; 3] = [Strength::Any, Strength::Hardware, Strength::Verified];

    /// The name in `policy.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Strength::Any => "any",
            Strength::Hardware => "hardware",
            Strength::Verified => "verified",
        }
    }
}

/// Why a text is none of the words that are possible here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a {kind}; {help}", quote(.text))]
pub struct WordError {
    kind: &'static str,
    text: String,
    help: String,
}

impl WordError {
    fn new<'w>(
        kind: &'static str,
        text: &str,
        words: impl Iterator<Item = &'w str> + Clone,
    ) -> Self {
        let all = || format!("known are {}", words.clone().collect::<Vec<_>>().join(", "));
        let help = did_you_mean(text, words.clone()).unwrap_or_else(all);
        Self { kind, text: text.to_owned(), help }
    }
}

impl FromStr for Permit {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let known = Permit::ALL.into_iter();
        known
            .clone()
            .find(|permit| permit.as_str() == text)
            .ok_or_else(|| WordError::new("permit", text, known.map(Permit::as_str)))
    }
}

impl FromStr for Strength {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let known = Strength::ALL.into_iter();
        known
            .clone()
            .find(|strength| strength.as_str() == text)
            .ok_or_else(|| WordError::new("strength", text, known.map(Strength::as_str)))
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Permit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Permit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_from_str(deserializer)
    }
}
