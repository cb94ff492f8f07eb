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
        self.check_within(&Scope::Access, issuance, request);
    }

    /// The same for one of the request's other certificates.
    fn check_within(&self, scope: &Scope, issuance: &Issuance, request: &Verified<Request>) {
        let receipt = Receipt {
            certificate: &issuance.certificate.0,
            entry: issuance.entry.as_bytes(),
            index: issuance.index,
            checkpoint: issuance.checkpoint.as_bytes(),
            proof: issuance.proof.0.chunks(32).collect(),
            signer: 1,
        };
        let signers = self.world.bundle(POLICY).signers;
        receipt::check(&receipt, request, scope, &signers, None, self.now()).unwrap();
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

mod break_glass;
mod bundles;
mod ended;
mod faults;
mod hosts;
mod interleaved;
mod issuing;
mod joined;
mod jumps;
mod prolonged;
