//! The signer as its callers see it: over a socket, with its real threads, a clock that stands
//! still and a disk that breaks on command.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use jit_ssh_core::bundle::BundleFiles;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::entry::{Base64Bytes, Entry};
use jit_ssh_core::krl::{self, Krl};
use jit_ssh_core::receipt::{self, Receipt};
use jit_ssh_core::statement::{Body, Bundle, Cause, Request, Verified};
use jit_ssh_core::testkit::{LOG_NAME, POLICY, Person, START, World, person};
use jit_ssh_core::time::Seconds;

use super::*;
use crate::connection::{push_frame, serve};
use crate::keys::{HostCa, UserCa};
use crate::log::tests::{Orders, breaking_store};
use crate::log::{LogKey, LogStore};
use crate::press::{self, Cas};
use crate::protocol::{Answer, Call, Issuance, Op};

/// A signer on disk, which can be started, killed and started again.
struct Node {
    dir: tempfile::TempDir,
    world: World,
    clock: Arc<AtomicU64>,
    limits: Limits,
    /// Whether it has its host CA key.
    host_ca: bool,
}

/// A running signer and a connection to it.
struct Running {
    stream: UnixStream,
    orders: Orders,
    next: u64,
    early: HashMap<u64, Outcome>,
}

impl Node {
    fn new() -> Node {
        Node {
            dir: tempfile::tempdir().unwrap(),
            world: World::default(),
            clock: Arc::new(AtomicU64::new(START.0)),
            limits: Limits::default(),
            host_ca: true,
        }
    }

    /// A node with the standard bundle in force.
    fn with_bundle() -> (Node, Running) {
        Node::with_policy(POLICY)
    }

    /// A node with these rules in force.
    fn with_policy(policy: &str) -> (Node, Running) {
        let node = Node::new();
        let mut signer = node.start();
        let outcome = node.apply(&mut signer, 1, policy);
        assert!(matches!(outcome, Outcome::InForce { version: 1, .. }), "{outcome:?}");
        (node, signer)
    }

    fn store(&self) -> (LogStore, Orders) {
        let key = LogKey::from_seed(LOG_NAME, &self.world.log.to_bytes()).unwrap();
        breaking_store(&self.dir.path().join("log"), &self.dir.path().join("journal"), key)
    }

    fn start(&self) -> Running {
        let (log, orders) = self.store();
        let identity = Identity {
            number: NonZeroU16::MIN,
            ca_key: self.world.ca_key(),
            host_ca_key: self.host_ca.then(|| self.world.host_ca_key()),
            root: self.world.root.clone(),
        };
        let uploads = self.dir.path().join("uploads");
        let shelf = Shelf::open(&self.dir.path().join("bundles"), &uploads).unwrap();
        let notes = Notes::new(self.dir.path());
        let clock = self.clock.clone();
        let clock: Clock = Box::new(move || UnixTime(clock.load(Ordering::SeqCst)));
        let desk =
            Desk::open(identity, log, shelf.clone(), notes, self.limits.clone(), clock).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (work, works) = sync_channel(64);
        let (finish, finished) = sync_channel(64);
        let root = self.world.root.clone();
        let host = self.host_ca.then(|| HostCa::new(self.world.host_ca.clone()));
        let cas = Cas { user: UserCa::new(self.world.ca.clone()), host };
        thread::spawn(move || desk.run(Inbox::new(works), &finish));
        thread::spawn(move || press::run(&cas, &finished));
        thread::spawn(move || serve(theirs, &root, &shelf, &work));
        Running { stream: ours, orders, next: 0, early: HashMap::new() }
    }

    /// Stops a signer and waits until it has let go of its log.
    fn stop(&self, signer: Running) {
        drop(signer);
        let lock = self.dir.path().join("journal");
        for _ in 0..500 {
            let free = std::fs::File::open(&lock).unwrap().try_lock().is_ok();
            if free {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the signer did not stop");
    }

    fn set_clock(&self, secs: i64) {
        self.clock.store(START.0.checked_add_signed(secs).unwrap(), Ordering::SeqCst);
    }

    fn now(&self) -> UnixTime {
        UnixTime(self.clock.load(Ordering::SeqCst))
    }

    fn apply(&self, signer: &mut Running, version: u64, policy: &str) -> Outcome {
        self.apply_files(signer, version, self.world.files(policy))
    }

    fn apply_files(&self, signer: &mut Running, version: u64, files: BundleFiles) -> Outcome {
        signer.upload(&files);
        let body = Bundle::new(self.world.root.fingerprint(), version, &files, self.now());
        let statement = signed(&self.world.ann, &body);
        signer.call(Op::PutBundle { statement })
    }

    /// alice's request for prod-host, which a lead must approve.
    fn request(&self) -> Request {
        self.world.request(&self.world.alice, "prod-host", "deploy", 600, self.now())
    }

    /// The bot's request for test-host, which a rule approves.
    fn auto(&self, nonce: u8) -> Request {
        let mut request =
            self.world.request(&self.world.bot, "test-host", "deploy", 600, self.now());
        request.nonce = jit_ssh_core::statement::Nonce([nonce; 16]);
        request
    }

    /// `by` ends a request.
    fn end(&self, by: &Person, cause: Cause, request: &Verified<Request>) -> End {
        let (ca, by) = (self.world.root.fingerprint(), by.id.parse().unwrap());
        End::new(ca, by, request.digest(), cause, None, self.now())
    }

    /// The published revocation list, as a host reads it.
    fn krl(&self) -> Krl {
        let note = crate::log::TileDir::new(self.dir.path().join("log")).krl_note().unwrap();
        krl::open(&note.expect("there is a list"), &self.world.log_key()).unwrap()
    }

    fn entries(&self) -> Vec<Entry> {
        let tiles = crate::log::TileDir::new(self.dir.path().join("log"));
        let size = tiles.checkpoint(&self.world.log_key()).unwrap().checkpoint().size();
        let parse = |entry: Result<(u64, Vec<u8>), _>| Entry::parse(&entry.unwrap().1).unwrap();
        tiles.entries(0..size, size).map(parse).collect()
    }

    fn certificates(&self) -> usize {
        self.entries().iter().filter(|e| matches!(e, Entry::Certificate(_))).count()
    }

    /// Checks an issued certificate as a client does.
    fn check(&self, issuance: &Issuance, request: &Verified<Request>) {
        let proof: Vec<Vec<u8>> = issuance.proof.0.chunks(32).map(<[u8]>::to_vec).collect();
        let receipt = Receipt {
            certificate: &issuance.certificate.0,
            entry: issuance.entry.as_bytes(),
            index: issuance.index,
            checkpoint: issuance.checkpoint.as_bytes(),
            proof: &proof,
            signer: 1,
        };
        let signers = self.world.bundle(POLICY).signers;
        receipt::check(&receipt, request, &signers, None, self.now()).unwrap();
    }
}

fn signed<T: Body>(by: &Person, body: &T) -> Signed {
    let (bytes, signature) = by.state(body);
    Signed {
        statement: String::from_utf8(bytes).unwrap(),
        signatures: vec![Base64Bytes(signature)],
    }
}

impl Running {
    fn send(&mut self, op: Op) -> u64 {
        self.next += 1;
        let mut frame = Vec::new();
        push_frame(&mut frame, &Call { id: self.next, op });
        self.stream.write_all(&frame).unwrap();
        self.next
    }

    fn answer(&mut self, id: u64) -> Outcome {
        loop {
            if let Some(outcome) = self.early.remove(&id) {
                return outcome;
            }
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).unwrap();
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut frame).unwrap();
            let Answer { id, result } = serde_json::from_slice(&frame).unwrap();
            self.early.insert(id, result);
        }
    }

    fn call(&mut self, op: Op) -> Outcome {
        let id = self.send(op);
        self.answer(id)
    }

    fn submit<T: Body>(&mut self, by: &Person, body: &T, certify: bool) -> Outcome {
        self.call(Op::Submit { statement: signed(by, body), certify })
    }

    fn end(&mut self, node: &Node, by: &Person, cause: Cause, of: &Verified<Request>) -> Outcome {
        self.submit(by, &node.end(by, cause, of), false)
    }

    /// Waits for something that the signer does by itself.
    #[track_caller]
    fn until(&mut self, done: impl Fn() -> bool) {
        for _ in 0..500 {
            if done() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it did not happen");
    }

    fn certify(&mut self, request: Digest) -> Outcome {
        self.call(Op::Certify { request })
    }

    fn upload(&mut self, files: &BundleFiles) {
        for content in [&files.people, &files.hosts, &files.policy, &files.signers] {
            let file = Digest::of(content);
            let part = Base64Bytes(content.clone());
            let outcome = self.call(Op::PutFile { file, offset: 0, content: part, last: true });
            assert!(matches!(outcome, Outcome::Stored), "{outcome:?}");
        }
    }
}

#[track_caller]
fn refused(outcome: Outcome) -> Reason {
    match outcome {
        Outcome::Refused(refusal) => refusal.reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn recorded(outcome: Outcome) -> Option<Issuance> {
    match outcome {
        Outcome::Recorded { certificate, .. } => certificate,
        other => panic!("not recorded: {other:?}"),
    }
}

#[track_caller]
fn certified(outcome: Outcome) -> Issuance {
    match outcome {
        Outcome::Certified(issuance) => issuance,
        other => panic!("not certified: {other:?}"),
    }
}

#[test]
fn one_access_is_logged_statement_by_statement_and_then_signed() {
    let (node, mut signer) = Node::with_bundle();
    let World { alice, bob, .. } = &node.world;
    let request = alice.verified(&node.request());
    assert!(recorded(signer.submit(alice, request.body(), true)).is_none(), "approval is missing");
    assert_eq!(refused(signer.certify(request.digest())), Reason::NotApproved);
    recorded(signer.submit(bob, &node.world.approval(bob, &request, node.now()), false));
    let issuance = certified(signer.certify(request.digest()));
    node.check(&issuance, &request);
    // Renewed without asking anyone, with a serial of its own.
    let renewed = certified(signer.certify(request.digest()));
    node.check(&renewed, &request);
    assert_ne!(renewed.serial, issuance.serial);
    let kinds: Vec<&str> = node
        .entries()
        .iter()
        .map(|entry| match entry {
            Entry::Statement(s) if s.statement.contains("\"type\":\"bundle\"") => "bundle",
            Entry::Statement(s) if s.statement.contains("\"type\":\"request\"") => "request",
            Entry::Statement(_) => "decision",
            Entry::Certificate(_) => "certificate",
            Entry::HostCertificate(_) => "host certificate",
        })
        .collect();
    assert_eq!(kinds, ["bundle", "request", "decision", "certificate", "certificate"]);
}

#[test]
fn an_automatic_rule_certifies_in_one_call_and_a_retry_is_the_same_request() {
    let (node, mut signer) = Node::with_bundle();
    let bot = &node.world.bot;
    let request = bot.verified(&node.auto(1));
    let first = recorded(signer.submit(bot, request.body(), true)).unwrap();
    node.check(&first, &request);
    let again = recorded(signer.submit(bot, request.body(), true)).unwrap();
    node.check(&again, &request);
    assert!(recorded(signer.submit(bot, request.body(), false)).is_none());
    let statements = node.entries().iter().filter(|e| matches!(e, Entry::Statement(_))).count();
    assert_eq!(statements, 2, "the bundle and the request, once");
}

#[test]
fn without_a_bundle_nothing_is_recorded_or_issued() {
    let node = Node::new();
    let mut signer = node.start();
    let request = node.auto(1);
    assert_eq!(refused(signer.submit(&node.world.bot, &request, true)), Reason::NoBundle);
    node.apply(&mut signer, 1, POLICY);
    assert!(recorded(signer.submit(&node.world.bot, &request, true)).is_some());
}

#[test]
fn a_front_can_not_forge_replay_or_widen() {
    let (node, mut signer) = Node::with_bundle();
    let World { alice, bob, carol, bot, .. } = &node.world;
    let request = alice.verified(&node.request());
    let good = signed(alice, request.body());
    let submit = |signer: &mut Running, statement: Signed| {
        refused(signer.call(Op::Submit { statement, certify: true }))
    };
    // Another's signature, a changed byte, a signature for another purpose, none, two.
    assert_eq!(submit(&mut signer, signed(bob, request.body())), Reason::UnknownSigner);
    let changed = good.statement.replace("\"for\":600", "\"for\":900");
    let statement = Signed { statement: changed, ..good.clone() };
    assert_eq!(submit(&mut signer, statement), Reason::BadSignature);
    let other = alice.sign("decision@jit-ssh", good.statement.as_bytes());
    let statement = Signed { signatures: vec![Base64Bytes(other)], ..good.clone() };
    assert_eq!(submit(&mut signer, statement), Reason::BadSignature);
    let none = Signed { signatures: vec![], ..good.clone() };
    assert_eq!(submit(&mut signer, none), Reason::Malformed);
    let two = Signed { signatures: vec![good.signatures[0].clone(); 2], ..good.clone() };
    assert_eq!(submit(&mut signer, two), Reason::Malformed);
    // A stale and an early one; the neighbours within two minutes pass.
    for (secs, fine) in [(-121, false), (121, false), (-120, true), (120, true)] {
        let mut request = node.request();
        request.at = UnixTime(START.0.checked_add_signed(secs).unwrap());
        let outcome = signer.submit(alice, &request, false);
        match fine {
            true => assert!(recorded(outcome).is_none()),
            false => assert_eq!(refused(outcome), Reason::ClockSkew),
        }
    }
    // The unchanged one passes, and a certificate still needs its approval.
    recorded(signer.call(Op::Submit { statement: good, certify: true }));
    for (by, body) in [
        (alice, node.world.approval(alice, &request, START)),
        (bot, node.world.approval(bot, &request, START)),
        (alice, node.world.approval(bob, &request, START)),
        (&person("mallory", 66), node.world.approval(&person("mallory", 66), &request, START)),
    ] {
        let reason = refused(signer.submit(by, &body, false));
        assert!(matches!(reason, Reason::NotAllowed | Reason::UnknownSigner), "{reason}");
    }
    let mut wide = node.world.approval(carol, &request, START);
    wide.r#for = Seconds::new(601);
    assert_eq!(refused(signer.submit(carol, &wide, false)), Reason::NotAllowed);
    assert_eq!(refused(signer.certify(request.digest())), Reason::NotApproved);
    assert_eq!(node.certificates(), 0);
    recorded(signer.submit(carol, &node.world.approval(carol, &request, START), false));
    node.check(&certified(signer.certify(request.digest())), &request);
}

#[test]
fn a_request_of_another_ca_is_refused() {
    let (node, mut signer) = Node::with_bundle();
    let mut request = node.auto(1);
    request.ca = jit_ssh_core::digest::RootFingerprint(Digest::of(b"another root"));
    assert_eq!(refused(signer.submit(&node.world.bot, &request, true)), Reason::WrongCa);
    assert!(recorded(signer.submit(&node.world.bot, &node.auto(1), true)).is_some());
}

#[test]
fn a_failing_log_means_no_certificate_and_heals_when_the_fault_clears() {
    for operation in ["append", "sync"] {
        let (node, mut signer) = Node::with_bundle();
        let bot = &node.world.bot;
        let before = node.entries().len();
        signer.orders.break_it(operation);
        for nonce in 0..3 {
            let outcome = signer.submit(bot, &node.auto(nonce), true);
            assert_eq!(refused(outcome), Reason::LogUnavailable, "{operation}");
        }
        assert_eq!(node.entries().len(), before);
        signer.orders.mend();
        // What was refused is not remembered either: the same request is taken up as new.
        let request = bot.verified(&node.auto(0));
        node.check(&recorded(signer.submit(bot, request.body(), true)).unwrap(), &request);
        assert_eq!(node.entries().len(), before + 2);
    }
}

#[test]
fn a_log_that_can_not_be_published_stops_issuance_until_it_can() {
    let (node, mut signer) = Node::with_bundle();
    let bot = &node.world.bot;
    signer.orders.break_it("place_tile");
    // The first is durable when publishing fails; from then on nothing more is taken up (I8).
    recorded(signer.submit(bot, &node.auto(1), true)).unwrap();
    assert_eq!(refused(signer.submit(bot, &node.auto(2), true)), Reason::LogUnavailable);
    signer.orders.mend();
    recorded(signer.submit(bot, &node.auto(3), true)).unwrap();
    assert_eq!(node.certificates(), 2);
}

#[test]
fn one_fsync_serves_all_that_wait() {
    let (node, mut signer) = Node::with_bundle();
    let bot = &node.world.bot;
    signer.orders.forget();
    let ids: Vec<u64> = (0..25)
        .map(|nonce| {
            let statement = signed(bot, &node.auto(nonce));
            signer.send(Op::Submit { statement, certify: true })
        })
        .collect();
    for id in ids {
        assert!(recorded(signer.answer(id)).is_some());
    }
    let syncs = signer.orders.count("sync");
    assert!((1..25).contains(&syncs), "{syncs} fsyncs for 25 certificates");
}

#[test]
fn a_restarted_signer_knows_what_it_had_recorded_and_issued() {
    let (node, mut signer) = Node::with_bundle();
    let World { alice, bob, carol, .. } = &node.world;
    let pending = alice.verified(&node.request());
    recorded(signer.submit(alice, pending.body(), true));
    let mut body = node.request();
    body.nonce = jit_ssh_core::statement::Nonce([9; 16]);
    let active = alice.verified(&body);
    recorded(signer.submit(alice, active.body(), true));
    recorded(signer.submit(bob, &node.world.approval(bob, &active, START), false));
    certified(signer.certify(active.digest()));
    body.nonce = jit_ssh_core::statement::Nonce([10; 16]);
    let cancelled = alice.verified(&body);
    recorded(signer.submit(alice, cancelled.body(), true));
    recorded(signer.submit(alice, &node.world.cancel(alice, &cancelled, START), false));

    node.stop(signer);
    let mut signer = node.start();
    node.check(&certified(signer.certify(active.digest())), &active);
    assert_eq!(refused(signer.certify(cancelled.digest())), Reason::Cancelled);
    assert_eq!(refused(signer.certify(pending.digest())), Reason::NotApproved);
    // A denial after the first certificate changes nothing, also across the restart.
    let late = node.world.denial(carol, &active, START);
    assert_eq!(refused(signer.submit(carol, &late, false)), Reason::Settled);
    recorded(signer.submit(bob, &node.world.approval(bob, &pending, START), false));
    node.check(&certified(signer.certify(pending.digest())), &pending);
}

#[test]
fn bundle_versions_only_rise_and_a_crash_before_current_json_loses_nothing() {
    let (node, mut signer) = Node::with_bundle();
    assert_eq!(refused(node.apply(&mut signer, 1, &format!("{POLICY}\n# x"))), Reason::StaleBundle);
    let narrower = POLICY.replace("machine:bot", "person:carol");
    assert!(matches!(node.apply(&mut signer, 2, &narrower), Outcome::InForce { version: 2, .. }));
    assert_eq!(refused(node.apply(&mut signer, 1, POLICY)), Reason::StaleBundle);
    assert_eq!(refused(signer.submit(&node.world.bot, &node.auto(1), true)), Reason::PolicyRefused);
    // The crash: the log has version 2, current.json is still that of version 1.
    node.stop(signer);
    let current = node.dir.path().join("bundles/current.json");
    let files = node.world.files(POLICY);
    let old =
        signed(&node.world.ann, &Bundle::new(node.world.root.fingerprint(), 1, &files, START));
    std::fs::write(&current, serde_json::to_vec(&old).unwrap()).unwrap();
    let mut signer = node.start();
    assert_eq!(refused(signer.submit(&node.world.bot, &node.auto(1), true)), Reason::PolicyRefused);
    assert!(std::fs::read_to_string(&current).unwrap().contains("\\\"version\\\":2"));
}

#[test]
fn a_bundle_needs_its_admins_its_exact_files_and_this_signers_keys() {
    let node = Node::new();
    let mut signer = node.start();
    let files = node.world.files(POLICY);
    let root = node.world.root.fingerprint();
    let body = Bundle::new(root, 1, &files, START);
    let put = |signer: &mut Running, by: &Person, body: &Bundle| {
        signer.call(Op::PutBundle { statement: signed(by, body) })
    };
    assert_eq!(refused(put(&mut signer, &node.world.ann, &body)), Reason::BundleRefused);
    signer.upload(&files);
    assert_eq!(refused(put(&mut signer, &node.world.alice, &body)), Reason::UnknownSigner);
    // Another file than the one signed, under its own name.
    let mut other = files.clone();
    other.people.extend_from_slice(b"\n# more\n");
    let unsent = Bundle::new(root, 1, &other, START);
    assert_eq!(refused(put(&mut signer, &node.world.ann, &unsent)), Reason::BundleRefused);
    let content = Base64Bytes(b"something else".to_vec());
    let lie = Op::PutFile { file: unsent.people, offset: 0, content, last: true };
    assert_eq!(refused(signer.call(lie)), Reason::BundleRefused);
    assert_eq!(refused(put(&mut signer, &node.world.ann, &unsent)), Reason::BundleRefused);
    // A signers.toml with another CA key.
    let mut foreign = files.clone();
    let key = person("x", 55).key.to_string();
    let text = String::from_utf8(files.signers.clone()).unwrap();
    foreign.signers = text.replace(&node.world.ca_key().to_string(), &key).into_bytes();
    signer.upload(&foreign);
    let unnamed = Bundle::new(root, 1, &foreign, START);
    assert_eq!(refused(put(&mut signer, &node.world.ann, &unnamed)), Reason::BundleRefused);
    assert!(matches!(put(&mut signer, &node.world.ann, &body), Outcome::InForce { .. }));
}

#[test]
fn quotas_stop_one_person_and_nobody_else() {
    let mut node = Node::new();
    node.limits.requests_per_person_per_minute = 2.try_into().unwrap();
    node.limits.certificates_per_person_per_minute = 3.try_into().unwrap();
    let mut signer = node.start();
    node.apply(&mut signer, 1, POLICY);
    let bot = &node.world.bot;
    let request = bot.verified(&node.auto(1));
    recorded(signer.submit(bot, request.body(), true)).unwrap();
    recorded(signer.submit(bot, &node.auto(2), true)).unwrap();
    assert_eq!(refused(signer.submit(bot, &node.auto(3), true)), Reason::Quota);
    certified(signer.certify(request.digest()));
    assert_eq!(refused(signer.certify(request.digest())), Reason::Quota);
    let other = node.world.request(&node.world.alice, "test-host", "deploy", 60, START);
    recorded(signer.submit(&node.world.alice, &other, true)).unwrap();
    node.set_clock(60);
    recorded(signer.submit(bot, &node.auto(3), true)).unwrap();
}

#[test]
fn a_clock_behind_the_log_refuses_and_a_clock_that_jumps_ends_what_has_ended() {
    let (node, mut signer) = Node::with_bundle();
    let bot = &node.world.bot;
    node.set_clock(1_000);
    let request = bot.verified(&node.auto(1));
    recorded(signer.submit(bot, request.body(), true)).unwrap();
    node.set_clock(994);
    assert_eq!(refused(signer.certify(request.digest())), Reason::LogUnavailable);
    node.set_clock(995);
    certified(signer.certify(request.digest()));
    node.set_clock(1_600);
    assert_eq!(refused(signer.certify(request.digest())), Reason::Ended);
    // Ten years on nothing of it is left, and nothing comes back.
    node.set_clock(315_360_000);
    assert_eq!(refused(signer.certify(request.digest())), Reason::UnknownRequest);
    let statement = signed(bot, request.body());
    assert_eq!(refused(signer.call(Op::Relay { statement })), Reason::Lapsed);
}

#[test]
fn what_another_node_recorded_can_be_relayed_and_must_still_be_justified() {
    let (node, mut signer) = Node::with_bundle();
    let World { alice, bob, .. } = &node.world;
    let request = alice.verified(&node.request());
    let approval = node.world.approval(bob, &request, UnixTime(START.0 + 10));
    node.set_clock(300);
    // Too old to be submitted, not too old to be relayed.
    assert_eq!(refused(signer.submit(alice, request.body(), false)), Reason::ClockSkew);
    assert_eq!(refused(signer.certify(request.digest())), Reason::UnknownRequest);
    let statement = signed(bob, &approval);
    assert_eq!(refused(signer.call(Op::Relay { statement })), Reason::UnknownRequest);
    recorded(signer.call(Op::Relay { statement: signed(alice, request.body()) }));
    assert_eq!(refused(signer.certify(request.digest())), Reason::NotApproved);
    recorded(signer.call(Op::Relay { statement: signed(bob, &approval) }));
    let issuance = certified(signer.certify(request.digest()));
    assert_eq!(issuance.access_until, UnixTime(START.0 + 610), "the clock runs from the approval");
}

#[test]
fn a_broken_frame_ends_the_connection_and_nothing_else() {
    let (node, mut signer) = Node::with_bundle();
    for junk in [&[0xff; 4][..], &[0, 0, 0, 2, b'{', b'x'][..]] {
        let mut other = signer.stream.try_clone().unwrap();
        other.write_all(junk).unwrap();
        let mut rest = Vec::new();
        assert!(matches!(other.read_to_end(&mut rest), Ok(0) | Err(_)));
        node.stop(signer);
        signer = node.start();
        assert!(matches!(signer.call(Op::State), Outcome::State(_)));
    }
}

#[test]
fn an_older_bundle_never_comes_back_however_old_the_newer_one_is() {
    let (node, mut signer) = Node::with_bundle();
    let current = node.dir.path().join("bundles/current.json");
    let old = std::fs::read(&current).unwrap();
    let narrower = POLICY.replace("machine:bot", "person:carol");
    node.apply(&mut signer, 2, &narrower);
    node.set_clock(10 * 86_400);
    let other = node.world.request(&node.world.alice, "test-host", "deploy", 60, node.now());
    recorded(signer.submit(&node.world.alice, &other, true)).unwrap();
    node.stop(signer);
    let pointer = node.dir.path().join("newest-bundle");
    // The public folder set back; then emptied of current.json; then the signer's own note gone,
    // or pointing at the older bundle's entry: the log decides.
    let spoil: [&dyn Fn(); 4] = [
        &|| std::fs::write(&current, &old).unwrap(),
        &|| std::fs::remove_file(&current).unwrap(),
        &|| std::fs::remove_file(&pointer).unwrap(),
        &|| std::fs::write(&pointer, "no number").unwrap(),
    ];
    for (nonce, spoil) in (1u8..).zip(spoil) {
        spoil();
        let mut signer = node.start();
        let Outcome::State(state) = signer.call(Op::State) else { panic!("no state") };
        assert_eq!(state.bundle_version, 2);
        let outcome = signer.submit(&node.world.bot, &node.auto(nonce), true);
        assert_eq!(refused(outcome), Reason::PolicyRefused);
        assert_eq!(refused(node.apply(&mut signer, 1, POLICY)), Reason::StaleBundle);
        node.stop(signer);
    }
}

#[test]
fn a_bundle_with_longer_limits_brings_no_denied_request_back() {
    let (node, mut signer) = Node::with_bundle();
    let World { alice, bob, carol, .. } = &node.world;
    let denied = alice.verified(&node.request());
    recorded(signer.submit(alice, denied.body(), false));
    recorded(signer.submit(bob, &node.world.denial(bob, &denied, START), false));
    let mut body = node.request();
    body.nonce = jit_ssh_core::statement::Nonce([9; 16]);
    let open = alice.verified(&body);
    recorded(signer.submit(alice, open.body(), false));
    // Three hours later both are forgotten; then an hour to decide becomes a day.
    node.set_clock(3 * 3_600);
    assert_eq!(refused(signer.certify(denied.digest())), Reason::UnknownRequest);
    let longer = POLICY.replace("decide_within = \"1h\"", "decide_within = \"1d\"");
    node.apply(&mut signer, 2, &longer);
    for restart in [false, true] {
        if restart {
            node.stop(signer);
            signer = node.start();
        }
        assert_eq!(refused(signer.certify(denied.digest())), Reason::Denied);
        let statement = signed(alice, denied.body());
        recorded(signer.call(Op::Relay { statement }));
        let late = node.world.approval(carol, &denied, node.now());
        assert_eq!(refused(signer.submit(carol, &late, false)), Reason::Denied);
    }
    // Its undenied neighbour is alive again, as the new rule says.
    recorded(signer.submit(carol, &node.world.approval(carol, &open, node.now()), false));
    certified(signer.certify(open.digest()));
}

#[test]
fn uploads_that_cross_each_other_harm_neither_the_bundle_in_force_nor_each_other() {
    let (node, mut signer) = Node::with_bundle();
    let files = node.world.files(POLICY);
    let file = Digest::of(&files.policy);
    let part = |offset: u64, content: &[u8], last: bool| Op::PutFile {
        file,
        offset,
        content: Base64Bytes(content.to_vec()),
        last,
    };
    // Broken off midway, and begun anew: the second is whole.
    signer.call(part(0, &files.policy[..4], false));
    assert!(matches!(signer.call(part(0, &files.policy, true)), Outcome::Stored));
    // Parts that follow a finished file, or skip, are refused.
    assert_eq!(refused(signer.call(part(4, b"EVIL", false))), Reason::Malformed);
    signer.call(part(0, b"XXXX", false));
    assert_eq!(refused(signer.call(part(8, b"EVIL", true))), Reason::Malformed);
    assert_eq!(refused(signer.call(part(4, b"EVIL", true))), Reason::BundleRefused);
    assert_eq!(
        std::fs::read(node.dir.path().join("bundles").join(file.to_string())).unwrap(),
        files.policy
    );
    // Litter is bounded, and is nowhere near the public folder.
    let public = || std::fs::read_dir(node.dir.path().join("bundles")).unwrap().count();
    let before = public();
    for number in 0..100u32 {
        let content = number.to_be_bytes().to_vec();
        let file = Digest::of(&content);
        let content = Base64Bytes(content);
        signer.call(Op::PutFile { file, offset: 0, content, last: true });
    }
    assert_eq!(public(), before);
    assert!(std::fs::read_dir(node.dir.path().join("uploads")).unwrap().count() <= 16);
    assert!(matches!(
        node.apply(&mut signer, 2, &format!("{POLICY}\n# x")),
        Outcome::InForce { .. }
    ));
    node.stop(signer);
    node.start();
}

#[test]
fn the_same_bytes_under_another_key_are_no_retry() {
    let (node, mut signer) = Node::with_bundle();
    let World { bot, carol, .. } = &node.world;
    let request = node.auto(1);
    recorded(signer.submit(bot, &request, true)).unwrap();
    assert_eq!(refused(signer.submit(carol, &request, true)), Reason::UnknownSigner);
    recorded(signer.submit(bot, &request, true)).unwrap();
}

mod break_glass;
mod ended;
mod hosts;
mod interleaved;
mod joined;
mod prolonged;
