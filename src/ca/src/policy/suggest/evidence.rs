//! What the log says of each pattern of who asks for which hosts as whom. A request counts as a whole,
//! as it was asked: what a rule would not cover as a whole is no evidence for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jit_ssh_core::bundle::{Actor, Allow, Approval, Bundle, Host, HostPattern, Who};
use jit_ssh_core::digest::ShortId;
use jit_ssh_core::enrolment::Found;
use jit_ssh_core::lifecycle::{Basis, Grant, Status};
use jit_ssh_core::names::{ActorId, HostName, Login};
use jit_ssh_core::policy::{Asked, decide};
use jit_ssh_core::statement::{Cause, Request, Verdict};
use jit_ssh_core::time::{Seconds, UnixTime};

use crate::history::{Past, Said};

/// What a pattern must have behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Approved requests.
    pub(super) requests: usize,
    /// Persons who approved them.
    pub(super) approvers: usize,
}

/// A pattern that earned a rule of its own.
#[derive(Clone)]
pub(super) struct Pattern<'h> {
    pub(super) who: Who,
    /// One glob or label, or hosts by their names.
    pub(super) places: Vec<HostPattern>,
    pub(super) logins: Vec<&'h Login>,
    /// The rule that asks for approvals now.
    pub(super) rule: &'h Allow,
    /// The requests it stands on: each as a whole, as it was asked.
    pub(super) cited: Vec<&'h Past>,
    pub(super) requesters: BTreeSet<&'h ActorId>,
    pub(super) hosts: BTreeSet<&'h HostName>,
    /// Each with how many of the requests they approved; who approved most, first.
    pub(super) approvers: Vec<(&'h ActorId, usize)>,
    /// Seconds from request to approval, in the middle.
    pub(super) median_wait: u64,
    /// When the access began.
    pub(super) moments: Vec<UnixTime>,
    /// The longest that was asked and granted.
    pub(super) longest: Seconds,
}

/// One request that was approved as it was asked.
#[derive(Clone)]
struct Approved<'h> {
    past: &'h Past,
    by: &'h Actor,
    hosts: Vec<&'h Host>,
    /// Sorted.
    logins: Vec<&'h Login>,
    /// The rule that decides such a request now.
    rule: &'h Allow,
    grant: &'h Grant,
    said: &'h Said,
}

/// One login on one host that was denied to somebody, dropped by an approver, or taken away.
struct Refused<'h> {
    by: &'h Actor,
    host: &'h Host,
    login: &'h Login,
}

/// What the log says, request by request.
#[derive(Default)]
struct Evidence<'h> {
    approved: Vec<Approved<'h>>,
    refused: Vec<Refused<'h>>,
}

/// The patterns that earned a rule, those with most requests first; each has enough requests that no
/// earlier one covers. `trial` says which of the requests a pattern cites its rule would approve by
/// itself: any other is no evidence for it.
pub(super) fn patterns<'h>(
    requests: impl Iterator<Item = &'h Past>,
    bundle: &'h Bundle,
    bounds: Bounds,
    mut trial: impl FnMut(&Pattern<'h>) -> Vec<&'h Past>,
) -> Vec<Pattern<'h>> {
    let mut evidence = Evidence::default();
    requests.for_each(|past| evidence.add(past, bundle));
    type Key<'e, 'h> = (Who, Vec<HostPattern>, &'e [&'h Login]);
    let mut candidates: HashMap<Key<'_, 'h>, Vec<&Approved<'h>>> = HashMap::new();
    for approved in &evidence.approved {
        for who in Who::all_of(approved.by) {
            for places in places(&approved.hosts) {
                let key = (who.clone(), places, approved.logins.as_slice());
                candidates.entry(key).or_default().push(approved);
            }
        }
    }
    let judged = candidates.into_iter().map(|((who, places, logins), approved)| {
        let candidate = Candidate { who, places, logins: logins.to_vec(), approved };
        let pattern = candidate.judge(&evidence.refused, bundle, bounds)?;
        Some((candidate, pattern))
    });
    let mut earned: Vec<(Candidate<'_, 'h>, Pattern<'h>)> = judged.flatten().collect();
    earned.sort_by_key(|(_, pattern)| {
        let places: Vec<String> = pattern.places.iter().map(ToString::to_string).collect();
        (
            std::cmp::Reverse(pattern.cited.len()),
            width(pattern),
            pattern.who.clone(),
            places,
            pattern.logins.clone(),
        )
    });
    let mut covered: BTreeSet<ShortId> = BTreeSet::new();
    let mut chosen = Vec::new();
    for (mut candidate, mut pattern) in earned {
        let is_new = |pattern: &Pattern<'_>| {
            let new = pattern.cited.iter().filter(|past| !covered.contains(&past.id()));
            new.count() >= bounds.requests
        };
        let earns = loop {
            if !is_new(&pattern) {
                break false;
            }
            let holds: BTreeSet<ShortId> = trial(&pattern).iter().map(|past| past.id()).collect();
            if holds.len() == pattern.cited.len() {
                break true;
            }
            candidate.approved.retain(|approved| holds.contains(&approved.past.id()));
            match candidate.judge(&evidence.refused, bundle, bounds) {
                Some(narrower) => pattern = narrower,
                None => break false,
            }
        };
        if earns {
            covered.extend(pattern.cited.iter().map(|past| past.id()));
            chosen.push(pattern);
        }
    }
    chosen
}

/// Narrow before wide where the evidence is the same.
fn width(pattern: &Pattern<'_>) -> (u8, u8) {
    let who = match pattern.who {
        Who::Person(_) | Who::Machine(_) => 0,
        Who::Group(_) => 1,
    };
    let place = |place: &HostPattern| match place {
        HostPattern::Name(_) => 0,
        HostPattern::Glob(_) => 1,
        HostPattern::Labels(_) => 2,
    };
    (who, pattern.places.iter().map(place).max().unwrap_or(0))
}

impl<'h> Evidence<'h> {
    /// Adds what a request says. Nothing, if it is not a plain request that persons decided, if the
    /// rules of now do not ask persons about such a one, or if it was approved for a shorter time
    /// than it asked for: that is neither yes nor no to what was asked.
    fn add(&mut self, past: &'h Past, bundle: &'h Bundle) {
        let request: &Request = past.request();
        let plain = request.by == request.subject
            && request.break_glass.is_none()
            && request.extends.is_none();
        let (Some(by), Some(said), true) = (bundle.people.get(&request.by), &past.last, plain)
        else {
            return;
        };
        // Hosts that joined are those of then.
        let view = past.view(bundle);
        let host = |name: &HostName| view.host(name, past.recorded).ok().map(Found::host);
        let mut refuse = |refused: &dyn Fn(&HostName, &Login) -> bool| {
            for host in request.hosts.iter().filter_map(host) {
                let refused = request.logins.iter().filter(|login| refused(&host.name, login));
                self.refused.extend(refused.map(|login| Refused { by, host, login }));
            }
        };
        let refused = past.chain.decisions().iter().any(|d| d.body().verdict == Verdict::Deny)
            || past.chain.ends().iter().any(|end| end.body().cause == Cause::Revoke)
            || matches!(said.status, Status::Denied { .. } | Status::Revoked { .. });
        if refused {
            refuse(&|_, _| true);
            return;
        }
        let Some((said, grant)) = granted(past) else { return };
        refuse(&|host, login| !grant.hosts.contains(host) || !grant.logins.contains(login));
        let whole = request.hosts.iter().all(|host| grant.hosts.contains(host))
            && request.logins.iter().all(|login| grant.logins.contains(login))
            && grant.span >= request.r#for;
        if !whole {
            return;
        }
        let Some(rule) = asking_rule(past, by, bundle) else { return };
        // A rule lasts for 90 days, and a host that joined soon ends: it founds none.
        let listed = |name: &HostName| bundle.hosts.get(name);
        let Some(hosts) = request.hosts.iter().map(listed).collect::<Option<Vec<&Host>>>() else {
            return;
        };
        let mut logins: Vec<&Login> = request.logins.iter().collect();
        logins.sort_unstable();
        self.approved.push(Approved { past, by, hosts, logins, rule, grant, said });
    }
}

/// What persons granted of a request.
fn granted(past: &Past) -> Option<(&Said, &Grant)> {
    let said = past.granted.as_ref()?;
    let by_persons = matches!(said.decision, Ok((_, Basis::Approvals)));
    by_persons.then_some((said, said.grant.as_ref()?))
}

/// The rule that asks persons about such a request now.
fn asking_rule<'h>(past: &'h Past, by: &'h Actor, bundle: &'h Bundle) -> Option<&'h Allow> {
    let presence = past.signed().presence();
    let asked = Asked { request: past.request(), requester: by, presence, extension: None };
    let rule = decide(asked, past.view(bundle), past.recorded).ok()?;
    matches!(rule.approval, Approval::Steps(_)).then_some(rule)
}

/// What covers all of these hosts: just them, by their names; hosts with the same name but for the
/// numbers in it; and hosts with the same label.
fn places(hosts: &[&Host]) -> Vec<Vec<HostPattern>> {
    let Some((first, rest)) = hosts.split_first() else { return Vec::new() };
    let mut names: Vec<&HostName> = hosts.iter().map(|host| &host.name).collect();
    names.sort_unstable();
    let mut all = vec![names.into_iter().cloned().map(HostPattern::Name).collect()];
    let glob =
        glob(first).filter(|pattern| rest.iter().all(|host| glob(host) == Some(pattern.clone())));
    all.extend(glob.map(|glob| vec![glob]));
    for (key, value) in first.labels.iter() {
        let label = HostPattern::Labels(vec![(key.clone(), value.clone())]);
        if rest.iter().all(|host| label.covers(host)) {
            all.push(vec![label]);
        }
    }
    all
}

/// Hosts with the same name but for the numbers in it, if there are any.
fn glob(host: &Host) -> Option<HostPattern> {
    let name = host.name.as_str();
    let mut glob = String::new();
    for char in name.chars() {
        match char {
            '0'..='9' if glob.ends_with('*') => {}
            '0'..='9' => glob.push('*'),
            other => glob.push(other),
        }
    }
    let wide = glob != name && glob != "*";
    wide.then(|| glob.parse().ok().map(HostPattern::Glob)).flatten()
}

/// A pattern with everything that is known of it.
struct Candidate<'e, 'h> {
    who: Who,
    places: Vec<HostPattern>,
    logins: Vec<&'h Login>,
    /// The requests that it covers as a whole.
    approved: Vec<&'e Approved<'h>>,
}

impl<'h> Candidate<'_, 'h> {
    /// The pattern, if it earned a rule.
    fn judge(
        &self,
        refused: &[Refused<'h>],
        bundle: &'h Bundle,
        bounds: Bounds,
    ) -> Option<Pattern<'h>> {
        let approved = &self.approved;
        let rule = approved.first()?.rule;
        // One rule asks for all of it: what is proposed relieves that one, and no other.
        if approved.iter().any(|approved| approved.rule.name != rule.name) {
            return None;
        }
        let requesters: BTreeSet<&ActorId> = approved.iter().map(|a| &a.by.id).collect();
        let hosts: BTreeSet<&HostName> =
            approved.iter().flat_map(|a| &a.hosts).map(|host| &host.name).collect();
        let mut approvers: BTreeMap<&ActorId, usize> = BTreeMap::new();
        for id in approved.iter().flat_map(|approved| &approved.said.approvers) {
            let known = approvers.entry(id).or_default();
            *known = known.saturating_add(1);
        }
        let enough = approved.len() >= bounds.requests && approvers.len() >= bounds.approvers;
        if !enough
            || refused.iter().any(|refused| self.touches(refused))
            || !self.is_borne_out(bundle, rule, &requesters, &hosts)
        {
            return None;
        }
        let mut waits: Vec<u64> =
            approved.iter().map(|a| a.grant.approved_at.since(a.past.request().at)).collect();
        waits.sort_unstable();
        let mut approvers: Vec<(&ActorId, usize)> = approvers.into_iter().collect();
        approvers.sort_by_key(|(id, count)| (std::cmp::Reverse(*count), (*id).clone()));
        Some(Pattern {
            cited: approved.iter().map(|approved| approved.past).collect(),
            requesters,
            hosts,
            approvers,
            median_wait: waits.get(waits.len() / 2).copied().unwrap_or(0),
            moments: approved.iter().map(|approved| approved.past.request().begins()).collect(),
            longest: approved.iter().map(|approved| approved.past.request().r#for).max()?,
            who: self.who.clone(),
            places: self.places.clone(),
            logins: self.logins.clone(),
            rule,
        })
    }

    /// Whether a rule for the pattern would let in what was refused.
    fn touches(&self, refused: &Refused<'_>) -> bool {
        self.who.covers(refused.by)
            && self.covers(refused.host)
            && self.logins.contains(&refused.login)
    }

    fn covers(&self, host: &Host) -> bool {
        self.places.iter().any(|place| place.covers(host))
    }

    /// Whether the pattern is no wider than the evidence, nor than the rule: at least half of its
    /// people and half of its hosts are in it, and of several at least two; and it names nobody and
    /// no host that another rule is about.
    fn is_borne_out(
        &self,
        bundle: &Bundle,
        rule: &Allow,
        requesters: &BTreeSet<&ActorId>,
        hosts: &BTreeSet<&HostName>,
    ) -> bool {
        let mut people = bundle.people.iter().filter(|actor| self.who.covers(actor));
        let offers = |host: &Host| self.logins.iter().any(|login| host.logins.contains(*login));
        let covered: Vec<&Host> =
            bundle.hosts.iter().filter(|host| self.covers(host) && offers(host)).collect();
        let all_people = people.clone().count();
        let most = |seen: usize, all: usize, wide: bool| {
            seen.saturating_mul(2) >= all && (!wide || seen >= 2)
        };
        let wide_who = matches!(self.who, Who::Group(_));
        let wide_place = !self.places.iter().all(|place| matches!(place, HostPattern::Name(_)));
        most(requesters.len(), all_people, wide_who)
            && most(hosts.len(), covered.len(), wide_place)
            && people.all(|actor| rule.who.iter().any(|who| who.covers(actor)))
            && self.logins.iter().all(|login| rule.logins.contains(login))
            && covered.iter().all(|host| self.is_decided_by(rule, host, bundle))
    }

    /// Whether requests for a host go by the rule, as far as earlier rules name the same people.
    fn is_decided_by(&self, rule: &Allow, host: &Host, bundle: &Bundle) -> bool {
        let covers = |allow: &Allow| {
            allow.hosts.iter().any(|pattern| pattern.covers(host))
                && self.logins.iter().any(|login| allow.logins.contains(login))
        };
        let earlier = bundle.policy.allow.iter().take_while(|allow| allow.name != rule.name);
        let mut meant = earlier.filter(|allow| covers(allow)).flat_map(|allow| &allow.who);
        let people = || bundle.people.iter().filter(|actor| self.who.covers(actor));
        covers(rule) && !meant.any(|who| people().any(|actor| who.covers(actor)))
    }
}
