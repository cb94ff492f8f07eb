//! The audit itself: given the root and the entries in order, is each one what it must be, and was
//! each certificate justified by the statements before it?
//!
//! Pure: no file, no clock. It asks the same `authorize` that the signer asked, at the moment the
//! entry names, and then compares what the certificate says with what was granted: once by the
//! lint's own parser, and once byte by byte with a certificate built anew. A request, decision or end
//! is checked before it counts as the signer had to check it before it was recorded: on ends and on
//! reviews of break-glass nobody looks again later, so a forged one must not get by here.
//!
//! Requests are kept while anything can follow from them, and break-glass requests until they are
//! reviewed, so memory does not grow with the log.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use jit_ssh_core::authorize::{Authorized, authorize};
use jit_ssh_core::bundle::{Bundle, SignerInfo};
use jit_ssh_core::certificate::lint::{self, Context, Facts, LintError};
use jit_ssh_core::certificate::{Scope, Serial, build, lint as lint_built};
use jit_ssh_core::chain::Chain;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::enrolment::{Enrolled, View};
use jit_ssh_core::entry::{CertificateEntry, Entry, HostCertificateEntry, StatementEntry};
use jit_ssh_core::lifecycle::{
    LONGEST_LIFE, admit_decision, admit_end, admit_request, is_reviewed,
};
use jit_ssh_core::log::VerifierKey;
use jit_ssh_core::names::{ActorId, Opens};
use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{
    self, Arrival, Body, Decision, End, Host, Kind, Request, StatementError, Token, Verified,
    check_date,
};
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use super::fault::Fault;

/// How far times may run backwards from entry to entry, in seconds: clocks are set now and then.
const BACKWARDS: u32 = 5;

/// How long a request is kept without a certificate, in seconds: as long as anything can follow from
/// it or from what prolongs it, and an hour longer than any signer knows it.
const LONGEST: u32 = LONGEST_LIFE + 3_600;

/// How long a request with a certificate is kept after its access ended, in seconds. A changed
/// bundle may count other approvals than before, and so move the end by at most the longest access;
/// and a request that prolongs it is recorded while it could be in use itself: as long again.
const AFTERLIFE: u32 = 2 * 86_400 + 3_600;

/// Gives the bytes of a bundle's file by its SHA-256; `None` if it is not there.
pub(crate) trait Files {
    /// See [`Files`].
    ///
    /// # Errors
    /// A sentence's end, such as "can not be read: ...".
    fn file(&self, digest: Digest) -> Result<Option<Vec<u8>>, String>;
}

/// A bundle's file, which must be the one that was signed.
///
/// # Errors
/// A sentence's end, such as "is not there".
pub(crate) fn signed_file(files: &impl Files, digest: Digest) -> Result<Vec<u8>, String> {
    let bytes = files.file(digest)?.ok_or_else(|| "is not there".to_owned())?;
    if Digest::of(&bytes) == digest {
        Ok(bytes)
    } else {
        Err("is not the file that was signed".to_owned())
    }
}

/// What a log holds. Scripts rely on the names: `log verify --json` prints them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// All entries.
    pub(crate) entries: u64,
    /// Requests recorded.
    pub(crate) requests: u64,
    /// Decisions recorded.
    pub(crate) decisions: u64,
    /// Ends recorded.
    pub(crate) ends: u64,
    /// Hosts and join tokens recorded.
    pub(crate) enrolments: u64,
    /// Certificates issued.
    pub(crate) certificates: u64,
    /// Host certificates issued.
    pub(crate) host_certificates: u64,
    /// Bundles put in force.
    pub(crate) bundles: u64,
}

/// Judges the entries of one log, in their order.
pub(crate) struct Judge<'a, F> {
    root: &'a Root,
    files: F,
    /// The log's name.
    origin: String,
    counts: Counts,
    /// The latest time of any entry so far.
    latest: UnixTime,
    in_force: Option<InForce>,
    /// The key by which the newest bundle that names this log says it is signed.
    log_key: Option<VerifierKey>,
    live: HashMap<Digest, Live>,
    /// When each live request can be forgotten.
    due: BTreeSet<(UnixTime, Digest)>,
    /// The break-glass requests of each person that nobody has reviewed.
    unreviewed: HashMap<ActorId, Vec<Digest>>,
    /// The hosts that joined, and the tokens that let more join.
    enrolled: Enrolled,
}

/// The bundle in force at this point of the log.
struct InForce {
    digest: Digest,
    bundle: Bundle,
}

struct Live {
    /// Without what it prolongs.
    chain: Chain,
    /// When nothing can follow from it.
    over: UnixTime,
    /// When nothing can follow from anything that prolongs it.
    held: UnixTime,
}

impl Live {
    fn due(&self) -> UnixTime {
        self.over.max(self.held)
    }
}

impl<'a, F: Files> Judge<'a, F> {
    /// A judge of the log `origin` of the CA with this root, before its first entry.
    pub(crate) fn new(root: &'a Root, origin: &str, files: F) -> Judge<'a, F> {
        Judge {
            root,
            files,
            origin: origin.to_owned(),
            counts: Counts::default(),
            latest: UnixTime(0),
            in_force: None,
            log_key: None,
            live: HashMap::new(),
            due: BTreeSet::new(),
            unreviewed: HashMap::new(),
            enrolled: Enrolled::default(),
        }
    }

    /// What was judged so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The key that must have signed the checkpoint, if any bundle named it.
    pub(crate) fn log_key(&self) -> Option<&VerifierKey> {
        self.log_key.as_ref()
    }

    /// The newest bundle of the log so far.
    pub(crate) fn newest_bundle(&self) -> Option<Digest> {
        self.in_force.as_ref().map(|in_force| in_force.digest)
    }

    /// Requests that are kept in memory.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.live.len()
    }

    /// Judges the next entry.
    ///
    /// # Errors
    /// [`Fault`]; what follows such an entry can not be judged any more.
    pub(crate) fn entry(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let entry = Entry::parse(bytes)?;
        let at = entry.at();
        if at.plus_secs(BACKWARDS) < self.latest {
            return Err(Fault::Backwards { at, earlier: self.latest });
        }
        self.latest = self.latest.max(at);
        self.forget();
        self.enrolled.forget(self.latest);
        match entry {
            Entry::Statement(entry) => self.statement(&entry)?,
            Entry::Certificate(entry) => self.certificate(&entry)?,
            Entry::HostCertificate(entry) => self.host_certificate(&entry)?,
        }
        self.counts.entries += 1;
        Ok(())
    }

    fn statement(&mut self, entry: &StatementEntry) -> Result<(), Fault> {
        match Kind::of(entry.statement.as_bytes()) {
            Some(Kind::Request) => {
                self.request(self.open(entry)?, entry.at)?;
                self.counts.requests += 1;
            }
            Some(Kind::Decision) => {
                self.decision(self.open(entry)?, entry.at)?;
                self.counts.decisions += 1;
            }
            Some(Kind::End) => {
                self.end(self.open(entry)?, entry.at)?;
                self.counts.ends += 1;
            }
            Some(Kind::Host) => {
                self.host(self.open(entry)?, entry.at)?;
                self.counts.enrolments += 1;
            }
            Some(Kind::Token) => {
                self.token(self.open(entry)?, entry.at)?;
                self.counts.enrolments += 1;
            }
            Some(Kind::Bundle) => {
                self.bundle(entry)?;
                self.counts.bundles += 1;
            }
            Some(Kind::Session | Kind::Report) | None => return Err(Fault::Kind),
        }
        Ok(())
    }

    fn request(&mut self, request: Verified<Request>, at: UnixTime) -> Result<(), Fault> {
        let digest = request.digest();
        if self.live.contains_key(&digest) {
            // The same statement again changes nothing: the chain that stands goes on.
            return Ok(());
        }
        let body = request.body().clone();
        let chain = Chain::new(request);
        let unreviewed = self.unreviewed.get(&body.subject).and_then(|all| all.first());
        let unreviewed = unreviewed.and_then(|earlier| self.live.get(earlier)).map(|l| &l.chain);
        admit_request(&self.complete(&chain), unreviewed, self.view()?, at)
            .map_err(inadmissible("request"))?;
        let over = body.at.plus_secs(LONGEST);
        let mut of = body.extends;
        while let Some(older) = of {
            let Some(live) = self.live.get_mut(&older) else { break };
            let due = live.due();
            live.held = live.held.max(over);
            if self.due.remove(&(due, older)) {
                self.due.insert((live.due(), older));
            }
            of = live.chain.request().body().extends;
        }
        if body.break_glass.is_some() {
            self.unreviewed.entry(body.subject).or_default().push(digest);
        } else {
            self.due.insert((over, digest));
        }
        self.live.insert(digest, Live { chain, over, held: UnixTime(0) });
        Ok(())
    }

    /// What is about a request that is over, or was never here, justifies nothing.
    fn decision(&mut self, decision: Verified<Decision>, at: UnixTime) -> Result<(), Fault> {
        let digest = decision.body().request;
        let Some(live) = self.live.get(&digest) else { return Ok(()) };
        if !live.chain.decisions().iter().any(|known| known.digest() == decision.digest()) {
            let chain = self.complete(&live.chain);
            admit_decision(&decision, &chain, self.view()?, at)
                .map_err(inadmissible("decision"))?;
        }
        let Some(live) = self.live.get_mut(&digest) else { return Ok(()) };
        let known = live.chain.add_decision(decision);
        known.expect("the chain was found by the request that the decision names");
        let subject = &live.chain.request().body().subject;
        if is_reviewed(&live.chain)
            && let Some(unreviewed) = self.unreviewed.get_mut(subject)
            && let Some(place) = unreviewed.iter().position(|request| *request == digest)
        {
            unreviewed.remove(place);
            self.due.insert((live.due(), digest));
        }
        Ok(())
    }

    fn end(&mut self, end: Verified<End>, at: UnixTime) -> Result<(), Fault> {
        let digest = end.body().request;
        let Some(live) = self.live.get(&digest) else { return Ok(()) };
        if !live.chain.ends().iter().any(|known| known.digest() == end.digest()) {
            let chain = self.complete(&live.chain);
            admit_end(&end, &chain, self.view()?, Arrival::Relayed, at)
                .map_err(inadmissible("end"))?;
        }
        let Some(live) = self.live.get_mut(&digest) else { return Ok(()) };
        let known = live.chain.add_end(end);
        known.expect("the chain was found by the request that the end names");
        Ok(())
    }

    /// A request with all it prolongs, which is what has to be judged.
    fn complete<'c>(&'c self, chain: &'c Chain) -> Cow<'c, Chain> {
        chain.with_prolonged(|digest| self.live.get(digest).map(|live| &live.chain))
    }

    fn host(&mut self, host: Verified<Host>, at: UnixTime) -> Result<(), Fault> {
        self.enrolled
            .admit_host(&host, self.view()?.bundle, Arrival::Relayed, at)
            .map_err(inadmissible("host"))?;
        self.enrolled.add_host(host);
        Ok(())
    }

    fn token(&mut self, token: Verified<Token>, at: UnixTime) -> Result<(), Fault> {
        self.enrolled
            .admit_token(&token, self.view()?.bundle, Arrival::Relayed, at)
            .map_err(inadmissible("token"))?;
        self.enrolled.add_token(token);
        Ok(())
    }

    /// The bundle in force, with the hosts that joined.
    fn view(&self) -> Result<View<'_>, Fault> {
        let in_force = self.in_force.as_ref().ok_or(Fault::NoBundle)?;
        Ok(View::new(&in_force.bundle, &self.enrolled))
    }

    fn open<T: Body>(&self, entry: &StatementEntry) -> Result<Verified<T>, Fault> {
        let [signature] = entry.signatures.as_slice() else {
            return Err(StatementError::Signatures.into());
        };
        let ca = self.root.fingerprint();
        let verified = statement::open::<T>(entry.statement.as_bytes(), &signature.0, &ca)?;
        check_date(verified.body().at(), entry.at, Arrival::Relayed)?;
        Ok(verified)
    }

    fn bundle(&mut self, entry: &StatementEntry) -> Result<(), Fault> {
        let signed =
            statement::open_bundle(entry.statement.as_bytes(), &entry.signatures, self.root)?;
        check_date(signed.body.at, entry.at, Arrival::Relayed)?;
        if !signed.is_complete(self.root) {
            return Err(Fault::Admins {
                given: signed.admins.len(),
                needed: self.root.threshold(),
            });
        }
        let version = signed.body.version;
        let earlier = self.in_force.as_ref().map_or(0, |in_force| in_force.bundle.version);
        if version <= earlier {
            return Err(Fault::Version { version, earlier });
        }
        let files = signed.body.files(|file, digest| {
            let fault = |problem: String| Fault::File { file, digest, problem };
            signed_file(&self.files, digest).map_err(fault)
        })?;
        let bundle = Bundle::parse(version, &files, &self.root.admin_keys())
            .map_err(|problems| Fault::Bundle(problems.to_string()))?;
        if let Some((_, key)) = signer_of(&bundle, &self.origin) {
            self.log_key = Some(key);
        }
        self.in_force = Some(InForce { digest: signed.digest, bundle });
        Ok(())
    }

    /// The bundle and the signer under which a certificate with this serial was issued, which says
    /// that it was this bundle.
    fn issuer(&self, named: Digest, serial: u64) -> Result<(&InForce, &SignerInfo, Serial), Fault> {
        let in_force = self.in_force.as_ref().ok_or(Fault::NoBundle)?;
        if named != in_force.digest {
            return Err(Fault::OtherBundle { named, in_force: in_force.digest });
        }
        let (signer, _) = signer_of(&in_force.bundle, &self.origin)
            .ok_or_else(|| Fault::Signer(self.origin.clone()))?;
        let expected = Serial::new(signer.number, self.counts.entries);
        let expected = expected.filter(|expected| expected.get() == serial);
        let serial = expected.ok_or_else(|| Fault::Serial {
            found: serial,
            expected: Serial::new(signer.number, self.counts.entries).map_or(0, Serial::get),
        })?;
        Ok((in_force, signer, serial))
    }

    /// What a host certificate is for follows from the bundle, and from what hosts joined.
    fn host_certificate(&mut self, entry: &HostCertificateEntry) -> Result<(), Fault> {
        let (in_force, signer, serial) = self.issuer(entry.bundle, entry.serial)?;
        let view = View::new(&in_force.bundle, &self.enrolled);
        super::host::judge(entry, view, signer, serial)?;
        self.counts.host_certificates += 1;
        Ok(())
    }

    fn certificate(&mut self, entry: &CertificateEntry) -> Result<(), Fault> {
        let (_, signer, serial) = self.issuer(entry.bundle, entry.serial)?;
        let live = self.live.get(&entry.request).ok_or(Fault::Request(entry.request))?;
        let chain = self.complete(&live.chain);

        // Which of the request's certificates it is, it says; whether it may be, the bundle says.
        let scope = match lint::read(&entry.tbs.0)?.opens {
            Opens::Logins(_) => Scope::Access,
            Opens::Jump(jump) => Scope::Jump(jump),
        };
        let view = self.view()?;
        let authorized = authorize(&chain, view, entry.at)
            .and_then(|access| access.within(&scope, view))
            .map_err(Fault::Unjustified)?;
        if entry.rule != *authorized.rule() {
            let (named, decides) = (entry.rule.clone(), authorized.rule().clone());
            return Err(Fault::Rule { named, decides });
        }
        let context = Context::of(&chain, &scope, serial, &signer.ca_key, entry.at);
        let tbs = &entry.tbs.0;
        let facts = lint::check(tbs, context)?;
        compare(&facts, &authorized)?;
        // All else that it says: key, options, extensions. Only the nonce is the signer's choice.
        let nonce = nonce(tbs).ok_or(LintError("the nonce has not 32 bytes"))?;
        let again = lint_built(build(authorized, serial, nonce, &signer.ca_key), context)?;
        if again.bytes() != tbs {
            return Err(Fault::Options);
        }

        let access_until = facts.key_id.access_until;
        let live = self.live.get_mut(&entry.request).ok_or(Fault::Request(entry.request))?;
        live.chain.add_issued(facts.issued(entry.serial, entry.at));
        let due = live.due();
        live.over = access_until.plus_secs(AFTERLIFE);
        if self.due.remove(&(due, entry.request)) {
            self.due.insert((live.due(), entry.request));
        }
        self.counts.certificates += 1;
        Ok(())
    }

    /// Drops requests from which nothing can follow any more.
    fn forget(&mut self) {
        while let Some((due, digest)) = self.due.first().copied() {
            if due >= self.latest {
                return;
            }
            self.due.pop_first();
            self.live.remove(&digest);
        }
    }
}

/// What must not have been recorded.
fn inadmissible(what: &'static str) -> impl FnOnce(Refusal) -> Fault {
    move |refusal| Fault::Inadmissible { what, refusal }
}

/// The signer whose log is called `origin`, and its log key.
fn signer_of<'b>(bundle: &'b Bundle, origin: &str) -> Option<(&'b SignerInfo, VerifierKey)> {
    bundle.signers.iter().find_map(|signer| {
        let key: VerifierKey = signer.log_key.parse().ok()?;
        (key.name() == origin).then_some((signer, key))
    })
}

/// What the certificate says, as the lint read it, against what was granted.
fn compare(facts: &Facts, authorized: &Authorized) -> Result<(), Fault> {
    let differs = |what, found: &dyn ToString, granted: &dyn ToString| {
        Err(Fault::Differs { what, found: found.to_string(), granted: granted.to_string() })
    };
    if facts.opens != *authorized.opens() {
        let list = |opens: &Opens| opens.texts().join(", ");
        let (found, granted) = (list(&facts.opens), list(authorized.opens()));
        return differs("principals", &found, &granted);
    }
    let until = (facts.key_id.access_until, authorized.access_until());
    if until.0 != until.1 {
        return differs("end of access (Unix seconds)", &until.0, &until.1);
    }
    let found = (facts.valid_after, facts.valid_before);
    let granted = (authorized.valid_after(), authorized.valid_before());
    if found != granted {
        let show = |(after, before): (UnixTime, UnixTime)| format!("{after} to {before}");
        return differs("times (Unix seconds)", &show(found), &show(granted));
    }
    Ok(())
}

/// The nonce: the second string of a certificate (OpenSSH `PROTOCOL.certkeys`).
pub(super) fn nonce(tbs: &[u8]) -> Option<[u8; 32]> {
    let (_kind, rest) = string(tbs)?;
    let (nonce, _) = string(rest)?;
    nonce.try_into().ok()
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
