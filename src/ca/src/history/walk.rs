//! Walks through the log's entries and puts together what belongs to one request.

use std::borrow::Cow;
use std::collections::HashMap;

use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::chain::Chain;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::enrolment::{Enrolled, View};
use jit_ssh_core::entry::{CertificateEntry, Entry, StatementEntry};
use jit_ssh_core::lifecycle::{Grant, Status, counts, evaluate};
use jit_ssh_core::names::Opens;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{self, Body, Decision, End, Kind, Request, Verdict, Verified};
use jit_ssh_core::time::UnixTime;

use super::{Certified, History, Past, Said};
use crate::audit::certificate;
use crate::audit::folder::Folder;
use crate::audit::judge::signed_file;

/// Longest that anything can follow from a request, in seconds: it begins at most 14 days ahead, is
/// decided within 7 and used within 1, lasts 1, and is prolonged at most ten times by a day; and a
/// margin for limits of older versions.
const LONGEST: u32 = 40 * 86_400;

/// The walk.
pub(super) struct Walk<'a> {
    folder: &'a Folder,
    root: &'a Root,
    since: UnixTime,
    past: Vec<Past>,
    places: HashMap<Digest, usize>,
    /// For each request that prolongs another, which extension of the first it is.
    extensions: HashMap<Digest, u8>,
    in_force: InForce,
    /// The hosts that have joined at this point of the log.
    enrolled: Enrolled,
    gaps: Vec<String>,
}

/// The bundle in force at this point of the log: read only where it is asked for.
enum InForce {
    None,
    Named(statement::Bundle),
    Read(Box<Bundle>),
    /// It could not be read, which was told.
    Lost,
}

impl<'a> Walk<'a> {
    pub(super) fn new(folder: &'a Folder, root: &'a Root, since: UnixTime) -> Walk<'a> {
        Walk {
            folder,
            root,
            since,
            past: Vec::new(),
            places: HashMap::new(),
            extensions: HashMap::new(),
            in_force: InForce::None,
            enrolled: Enrolled::default(),
            gaps: Vec::new(),
        }
    }

    pub(super) fn entry(&mut self, index: u64, bytes: &[u8]) {
        let done = match Entry::parse(bytes) {
            Ok(Entry::Statement(entry)) => self.statement(&entry),
            Ok(Entry::Certificate(entry)) => self.certificate(&entry),
            // Of no request and no person.
            Ok(Entry::HostCertificate(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(problem) = done {
            self.gaps.push(format!("entry {index} is left out: {problem}"));
        }
    }

    pub(super) fn finish(mut self) -> History {
        self.read_bundle();
        let since = self.since;
        let whole = self.past.iter().map(|past| self.whole(&past.chain).into_owned());
        let whole: Vec<Chain> = whole.collect();
        let requests = self.past.into_iter().zip(whole).map(|(past, chain)| Past { chain, ..past });
        // What came before was kept only for what could follow.
        let requests = requests.filter(|past| {
            let certified = past.certificates.iter().map(|certified| certified.access_until);
            let granted = past.granted.iter().filter_map(|said| said.grant.as_ref());
            let mut ends = certified.chain(granted.map(Grant::access_until));
            past.recorded >= since || ends.any(|until| until >= since)
        });
        let requests = requests.collect();
        let bundle = match self.in_force {
            InForce::Read(bundle) => Some(*bundle),
            InForce::None | InForce::Named(_) | InForce::Lost => None,
        };
        History { requests, bundle, gaps: self.gaps }
    }

    fn statement(&mut self, entry: &StatementEntry) -> Result<(), String> {
        match Kind::of(entry.statement.as_bytes()) {
            Some(Kind::Request) => self.request(open(entry)?, entry.at),
            Some(Kind::Decision) => {
                let decision: Verified<Decision> = open(entry)?;
                let request = decision.body().request;
                self.add(request, entry.at, |past| {
                    // The chain was found by the request that the decision names.
                    let _ = past.chain.add_decision(decision);
                });
            }
            Some(Kind::End) => {
                let end: Verified<End> = open(entry)?;
                let request = end.body().request;
                self.add(request, entry.at, |past| {
                    let _ = past.chain.add_end(end);
                });
            }
            Some(Kind::Bundle) => {
                let body = statement::parse(entry.statement.as_bytes());
                self.in_force = InForce::Named(body.map_err(|error| error.to_string())?);
            }
            Some(Kind::Host) => {
                self.enrolled.forget(entry.at);
                self.enrolled.add_host(open(entry)?);
            }
            Some(Kind::Token) => self.enrolled.add_token(open(entry)?),
            Some(Kind::Session | Kind::Report) | None => {
                return Err("a statement of a type that is not logged".to_owned());
            }
        }
        Ok(())
    }

    fn request(&mut self, request: Verified<Request>, at: UnixTime) {
        let digest = request.digest();
        let extension = request.body().extends.map(|of| {
            let earlier = self.extensions.get(&of).copied().unwrap_or(0);
            earlier.saturating_add(1)
        });
        extension.into_iter().for_each(|place| {
            self.extensions.insert(digest, place);
        });
        if at.plus_secs(LONGEST) < self.since || self.places.contains_key(&digest) {
            return;
        }
        let joined = self.enrolled.only(&request.body().hosts);
        self.places.insert(digest, self.past.len());
        self.past.push(Past {
            chain: Chain::new(request),
            recorded: at,
            joined,
            extension,
            first: None,
            last: None,
            granted: None,
            certificates: Vec::new(),
        });
        self.add(digest, at, |_| ());
    }

    fn certificate(&mut self, entry: &CertificateEntry) -> Result<(), String> {
        if !self.places.contains_key(&entry.request) {
            return Ok(());
        }
        let facts = certificate::facts(entry).map_err(|error| error.to_string())?;
        let issued = facts.issued(entry.serial, entry.at);
        let (serial, at, rule) = (entry.serial, entry.at, entry.rule.clone());
        let access_until = issued.access_until;
        let certified = match facts.opens {
            Opens::Logins(principals) => {
                Some(Certified { serial, at, rule, principals, access_until })
            }
            // It opens nothing by itself: what was granted, the others say.
            Opens::Jump(_) => None,
        };
        self.add(entry.request, entry.at, |past| {
            past.chain.add_issued(issued);
            past.certificates.extend(certified);
        });
        Ok(())
    }

    /// Adds something to a request that is kept, and asks the bundle of now what it makes of it.
    fn add(&mut self, request: Digest, at: UnixTime, add: impl FnOnce(&mut Past)) {
        let Some(place) = self.places.get(&request).copied() else { return };
        let Some(past) = self.past.get_mut(place) else { return };
        add(past);
        self.read_bundle();
        let InForce::Read(bundle) = &self.in_force else { return };
        let Some(past) = self.past.get(place) else { return };
        let view = View::new(bundle, &self.enrolled);
        let said = said(&self.whole(&past.chain), view, at);
        if let Some(past) = self.past.get_mut(place) {
            past.first.get_or_insert_with(|| said.clone());
            if said.grant.is_some() {
                past.granted = Some(said.clone());
            }
            past.last = Some(said);
        }
    }

    /// A request with what it prolongs, as far as that is kept.
    fn whole<'c>(&'c self, chain: &'c Chain) -> Cow<'c, Chain> {
        chain.with_prolonged(|of| Some(&self.past.get(*self.places.get(of)?)?.chain))
    }

    fn read_bundle(&mut self) {
        let InForce::Named(body) = &self.in_force else { return };
        self.in_force = match read(body, self.folder, self.root) {
            Ok(bundle) => InForce::Read(Box::new(bundle)),
            Err(problem) => {
                self.gaps.push(format!(
                    "version {} of the configuration can not be read, so what it made of requests is not known: {problem}",
                    body.version
                ));
                InForce::Lost
            }
        };
    }
}

fn open<T: Body>(entry: &StatementEntry) -> Result<Verified<T>, String> {
    let [signature] = entry.signatures.as_slice() else {
        return Err("it has not exactly one signature".to_owned());
    };
    statement::open_recorded(entry.statement.as_bytes(), &signature.0)
        .map_err(|error| error.to_string())
}

fn read(body: &statement::Bundle, folder: &Folder, root: &Root) -> Result<Bundle, String> {
    let files = body.files(|_name, digest| {
        signed_file(&folder, digest).map_err(|problem| format!("bundles/{digest} {problem}"))
    })?;
    Bundle::parse(body.version, &files, &root.admin_keys()).map_err(|problems| {
        let first = problems.0.first();
        first.map_or_else(String::new, |problem| format!("{}: {}", problem.file, problem.message))
    })
}

/// What the bundle of `view` makes of a request at a moment.
fn said(chain: &Chain, view: View<'_>, at: UnixTime) -> Said {
    let bundle = view.bundle;
    let evaluation = evaluate(chain, view, at);
    let decision = match (evaluation.rule, evaluation.basis, &evaluation.status) {
        (Some(rule), Some(basis), _) => Ok((rule.name.clone(), basis)),
        (_, _, Status::Refused(refusal)) => Err(refusal.clone()),
        _ => Err(Refusal::new(Reason::PolicyRefused, "no rule covers it any more.")),
    };
    let approvers = evaluation.rule.map_or_else(Vec::new, |rule| {
        let approves = chain.decisions().iter().filter(|decision| {
            decision.body().verdict == Verdict::Approve && counts(decision, chain, rule, bundle)
        });
        approves.map(|decision| decision.body().by.clone()).collect()
    });
    Said {
        decision,
        needed: evaluation.needed,
        status: evaluation.status,
        grant: evaluation.grant,
        use_by: evaluation.use_by,
        approvers,
    }
}
