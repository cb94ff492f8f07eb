//! What the log says of each pattern of who asks for which hosts as whom.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jit_ssh_core::bundle::{Actor, Allow, Approval, Bundle, Host, HostPattern, Who};
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
#[derive(Debug)]
pub(super) struct Pattern<'h> {
    pub(super) who: Who,
    pub(super) place: HostPattern,
    pub(super) login: &'h Login,
    /// The rule that asks for approvals now.
    pub(super) rule: &'h Allow,
    pub(super) requests: usize,
    pub(super) requesters: BTreeSet<&'h ActorId>,
    pub(super) hosts: BTreeSet<&'h HostName>,
    /// Each with how many of the requests they approved; who approved most, first.
    pub(super) approvers: Vec<(&'h ActorId, usize)>,
    /// Seconds from request to approval, in the middle.
    pub(super) median_wait: u64,
    /// When the access began.
    pub(super) moments: Vec<UnixTime>,
    /// The longest that was granted.
    pub(super) longest: Seconds,
}

/// One request for one host as one login, and how it ended.
struct Use<'h> {
    /// The request's place among all.
    request: usize,
    by: &'h Actor,
    host: &'h Host,
    login: &'h Login,
    /// `None`: it was denied, or taken away.
    approved: Option<Approved<'h>>,
}

#[derive(Clone, Copy)]
struct Approved<'h> {
    /// The rule that decides such a request now.
    rule: &'h Allow,
    grant: &'h Grant,
    said: &'h Said,
    at: UnixTime,
    begins: UnixTime,
}

/// The patterns that earned a rule, those with most requests first; each has enough requests that no
/// earlier one covers.
pub(super) fn patterns<'h>(
    requests: impl Iterator<Item = &'h Past>,
    bundle: &'h Bundle,
    bounds: Bounds,
) -> Vec<Pattern<'h>> {
    let uses: Vec<Use<'h>> =
        requests.enumerate().flat_map(|(place, past)| uses(place, past, bundle)).collect();
    let mut candidates: HashMap<(Who, HostPattern, &Login), Vec<usize>> = HashMap::new();
    for (place, used) in uses.iter().enumerate() {
        for who in Who::all_of(used.by) {
            for hosts in places(used.host) {
                candidates.entry((who.clone(), hosts, used.login)).or_default().push(place);
            }
        }
    }
    let mut earned: Vec<(Pattern<'h>, BTreeSet<usize>)> = candidates
        .into_iter()
        .filter_map(|((who, place, login), places)| {
            let uses: Vec<&Use<'h>> = places.iter().filter_map(|place| uses.get(*place)).collect();
            let pattern = Candidate { who, place, login, uses: &uses }.judge(bundle, bounds)?;
            Some((pattern, uses.iter().map(|used| used.request).collect()))
        })
        .collect();
    earned.sort_by_key(|(pattern, requests)| {
        (
            std::cmp::Reverse(requests.len()),
            width(pattern),
            pattern.who.clone(),
            pattern.place.to_string(),
            pattern.login.clone(),
        )
    });
    let mut covered: BTreeSet<(usize, &Login)> = BTreeSet::new();
    let mut chosen = Vec::new();
    for (pattern, requests) in earned {
        let new: Vec<(usize, &Login)> = requests
            .into_iter()
            .map(|request| (request, pattern.login))
            .filter(|request| !covered.contains(request))
            .collect();
        if new.len() >= bounds.requests {
            covered.extend(new);
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
    let place = match pattern.place {
        HostPattern::Name(_) => 0,
        HostPattern::Glob(_) => 1,
        HostPattern::Labels(_) => 2,
    };
    (who, place)
}

/// What a request says of patterns: for each host and login one use. Nothing, if it is not a plain
/// request that persons decided, or if the rules of now do not ask persons about such a one.
fn uses<'h>(place: usize, past: &'h Past, bundle: &'h Bundle) -> Vec<Use<'h>> {
    let request: &Request = past.request();
    let plain =
        request.by == request.subject && request.break_glass.is_none() && request.extends.is_none();
    let (Some(by), Some(said), true) = (bundle.people.get(&request.by), &past.last, plain) else {
        return Vec::new();
    };
    let refused = past.chain.decisions().iter().any(|d| d.body().verdict == Verdict::Deny)
        || past.chain.ends().iter().any(|end| end.body().cause == Cause::Revoke)
        || matches!(said.status, Status::Denied { .. } | Status::Revoked { .. });
    let approved = if refused { None } else { approved(past, by, bundle) };
    if !refused && approved.is_none() {
        return Vec::new();
    }
    let (hosts, logins) = match approved {
        // What was dropped by an approver was not approved.
        Some(approved) => (&approved.grant.hosts, &approved.grant.logins),
        None => (&request.hosts, &request.logins),
    };
    let known = hosts.iter().filter_map(|name| bundle.hosts.get(name));
    known
        .flat_map(|host| {
            logins.iter().map(move |login| Use { request: place, by, host, login, approved })
        })
        .collect()
}

fn approved<'h>(past: &'h Past, by: &'h Actor, bundle: &'h Bundle) -> Option<Approved<'h>> {
    let said = past.granted.as_ref()?;
    let grant = said.grant.as_ref()?;
    if !matches!(said.decision, Ok((_, Basis::Approvals))) {
        return None;
    }
    let request = past.request();
    let presence = past.signed().presence();
    let asked = Asked { request, requester: by, presence, extension: None };
    let rule = decide(asked, past.view(bundle), past.recorded).ok()?;
    let asks = matches!(rule.approval, Approval::Steps(_));
    asks.then_some(Approved { rule, grant, said, at: request.at, begins: request.begins() })
}

/// The host, hosts with the same name but for the numbers in it, and hosts with the same label.
fn places(host: &Host) -> impl Iterator<Item = HostPattern> {
    let name = host.name.as_str();
    let mut glob = String::new();
    for char in name.chars() {
        match char {
            '0'..='9' if glob.ends_with('*') => {}
            '0'..='9' => glob.push('*'),
            other => glob.push(other),
        }
    }
    let glob = (glob != name && glob != "*").then(|| glob.parse().ok().map(HostPattern::Glob));
    let labels = host.labels.iter();
    let labels = labels.map(|(key, value)| HostPattern::Labels(vec![(key.clone(), value.clone())]));
    std::iter::once(HostPattern::Name(host.name.clone())).chain(glob.flatten()).chain(labels)
}

/// A pattern with everything that is known of it.
struct Candidate<'u, 'h> {
    who: Who,
    place: HostPattern,
    login: &'h Login,
    uses: &'u [&'u Use<'h>],
}

impl<'h> Candidate<'_, 'h> {
    /// The pattern, if it earned a rule.
    fn judge(self, bundle: &'h Bundle, bounds: Bounds) -> Option<Pattern<'h>> {
        let approved: Vec<Approved<'h>> =
            self.uses.iter().map(|used| used.approved).collect::<Option<_>>()?;
        let rule = approved.first()?.rule;
        // One rule asks for all of it: what is proposed relieves that one, and no other.
        if approved.iter().any(|approved| approved.rule.name != rule.name) {
            return None;
        }
        let by_request: BTreeMap<usize, Approved<'h>> =
            self.uses.iter().map(|used| used.request).zip(approved).collect();
        let requesters: BTreeSet<&ActorId> = self.uses.iter().map(|used| &used.by.id).collect();
        let hosts: BTreeSet<&HostName> = self.uses.iter().map(|used| &used.host.name).collect();
        let mut approvers: BTreeMap<&ActorId, usize> = BTreeMap::new();
        for id in by_request.values().flat_map(|approved| &approved.said.approvers) {
            let known = approvers.entry(id).or_default();
            *known = known.saturating_add(1);
        }
        let enough = by_request.len() >= bounds.requests && approvers.len() >= bounds.approvers;
        if !enough || !self.is_borne_out(bundle, rule, &requesters, &hosts) {
            return None;
        }
        let mut waits: Vec<u64> =
            by_request.values().map(|a| a.grant.approved_at.since(a.at)).collect();
        waits.sort_unstable();
        let mut approvers: Vec<(&ActorId, usize)> = approvers.into_iter().collect();
        approvers.sort_by_key(|(id, count)| (std::cmp::Reverse(*count), (*id).clone()));
        Some(Pattern {
            requests: by_request.len(),
            requesters,
            hosts,
            approvers,
            median_wait: waits.get(waits.len() / 2).copied().unwrap_or(0),
            moments: by_request.values().map(|approved| approved.begins).collect(),
            longest: by_request.values().map(|approved| approved.grant.span).max()?,
            who: self.who,
            place: self.place,
            login: self.login,
            rule,
        })
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
        let covered: Vec<&Host> = bundle
            .hosts
            .iter()
            .filter(|host| self.place.covers(host) && host.logins.contains(self.login))
            .collect();
        let all_people = people.clone().count();
        let most = |seen: usize, all: usize, wide: bool| {
            seen.saturating_mul(2) >= all && (!wide || seen >= 2)
        };
        let wide_who = matches!(self.who, Who::Group(_));
        let wide_place = !matches!(self.place, HostPattern::Name(_));
        most(requesters.len(), all_people, wide_who)
            && most(hosts.len(), covered.len(), wide_place)
            && people.all(|actor| rule.who.iter().any(|who| who.covers(actor)))
            && covered.iter().all(|host| self.is_decided_by(rule, host, bundle))
    }

    /// Whether requests for a host go by the rule, as far as earlier rules name the same people.
    fn is_decided_by(&self, rule: &Allow, host: &Host, bundle: &Bundle) -> bool {
        let covers = |allow: &Allow| {
            allow.hosts.iter().any(|pattern| pattern.covers(host))
                && allow.logins.contains(self.login)
        };
        let earlier = bundle.policy.allow.iter().take_while(|allow| allow.name != rule.name);
        let mut meant = earlier.filter(|allow| covers(allow)).flat_map(|allow| &allow.who);
        let people = || bundle.people.iter().filter(|actor| self.who.covers(actor));
        covers(rule) && !meant.any(|who| people().any(|actor| who.covers(actor)))
    }
}
