//! A log written by the real signer, over its socket, from a state that `init` made.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use jit_ssh_core::entry::Base64Bytes;
use jit_ssh_signer::protocol::{Answer, Call, Op, Outcome, Signed};
use jit_ssh_signer::server::{Source, run};
use tempfile::TempDir;

use super::super::fault::LogFault;
use super::super::folder::Folder;
use super::super::verify::verify;
use super::*;
use crate::clock::now;

struct Signer {
    dir: TempDir,
    socket: UnixStream,
    root: Root,
}

impl Signer {
    /// Makes a CA whose admin is ann, and starts its signer.
    fn start() -> Signer {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ann.pub"), public(ANN).to_string()).unwrap();
        let (config, state) = (dir.path().join("conf"), dir.path().join("state"));
        crate::init::make_for_tests(&config, &state, &dir.path().join("ann.pub"));
        let path = dir.path().join("socket");
        let source = Source::Socket { path: path.clone(), peer: None };
        thread::spawn(move || run(&config, &source));
        let socket = connect(&path);
        let root = Folder::of_state(&state).root().unwrap().0;
        Signer { dir, socket, root }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn call(&mut self, op: Op) -> Outcome {
        let frame = serde_json::to_vec(&Call { id: 1, op }).unwrap();
        self.socket.write_all(&u32::try_from(frame.len()).unwrap().to_be_bytes()).unwrap();
        self.socket.write_all(&frame).unwrap();
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.socket.read_exact(&mut answer).unwrap();
        let answer: Answer = serde_json::from_slice(&answer).unwrap();
        if let Outcome::Refused(refusal) = &answer.result {
            panic!("refused: {} ({})", refusal.message, refusal.reason);
        }
        answer.result
    }

    fn submit<T: Body>(&mut self, seed: u8, body: &T, certify: bool) -> Verified<T> {
        let (bytes, signature) = signed(seed, body);
        let statement = wire(&bytes, std::slice::from_ref(&signature));
        self.call(Op::Submit { statement, certify });
        statement::open(&bytes, &signature, &self.root.fingerprint()).unwrap()
    }

    /// Puts the bundle of the configuration folder in force, with these people, hosts and rules.
    fn apply(&mut self, version: u64, policy: &str) {
        let scene = Scene { policy: policy.to_owned(), ..Scene::new() };
        let signers = fs::read(self.dir.path().join("conf/signers.toml")).unwrap();
        let files = BundleFiles { signers, ..scene.bundle_files() };
        for content in [&files.people, &files.hosts, &files.policy, &files.signers] {
            self.call(Op::PutFile {
                file: Digest::of(content),
                offset: 0,
                content: Base64Bytes(content.clone()),
                last: true,
            });
        }
        let ca = self.root.fingerprint();
        let bytes = statement::encode(&statement::Bundle::new(ca, version, &files, now())).unwrap();
        let signature = sign::<statement::Bundle>(ANN, &bytes);
        self.call(Op::PutBundle { statement: wire(&bytes, &[signature]) });
    }

    fn request(&self, nonce: u8) -> Request {
        let root = self.root.clone();
        let mut request = Scene { root, ..Scene::new() }.request(0, nonce);
        request.at = now();
        request
    }

    /// Waits until this many entries are published.
    fn published(&self, entries: u64) {
        for _ in 0..500 {
            let checkpoint = Folder::of_state(&self.state()).checkpoint().unwrap();
            if checkpoint.is_some_and(|(checkpoint, _)| checkpoint.size() >= entries) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{entries} entries were never published");
    }
}

fn wire(bytes: &[u8], signatures: &[Vec<u8>]) -> Signed {
    Signed {
        statement: String::from_utf8(bytes.to_vec()).unwrap(),
        signatures: signatures.iter().cloned().map(Base64Bytes).collect(),
    }
}

fn connect(path: &std::path::Path) -> UnixStream {
    for _ in 0..500 {
        if let Ok(socket) = UnixStream::connect(path) {
            return socket;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("the signer never listened");
}

#[test]
fn what_the_real_signer_logs_passes_the_audit_and_one_changed_byte_does_not() {
    let mut signer = Signer::start();
    signer.apply(1, POLICY);
    let request = signer.submit(ALICE, &signer.request(1), false);
    let scene = Scene { root: signer.root.clone(), ..Scene::new() };
    let mut approval = scene.approval(0, "bob", &request);
    approval.at = now();
    signer.submit(BOB, &approval, false);
    for _ in 0..2 {
        let certified = signer.call(Op::Certify { request: request.digest() });
        assert!(matches!(certified, Outcome::Certified(_)));
    }
    signer.published(5);
    let early = fs::read(signer.state().join("log/checkpoint")).unwrap();
    let older = fs::read(signer.state().join("bundles/current.json")).unwrap();
    let auto = POLICY.replace(
        "approvals = [{ from = [\"group:leads\", \"person:alice\"], count = 1 }]",
        "auto = {}",
    );
    signer.apply(2, &auto);
    signer.submit(ALICE, &signer.request(2), true);
    let taken_back = signer.submit(ALICE, &signer.request(3), false);
    let ca = signer.root.fingerprint();
    let end =
        End::new(ca, "alice".parse().unwrap(), taken_back.digest(), Cause::Cancel, None, now());
    signer.submit(ALICE, &end, false);

    let certified = signer.call(Op::CertifyHost { name: "prod-host".parse().unwrap() });
    assert!(matches!(certified, Outcome::HostCertified(_)));

    signer.published(11);
    let folder = Folder::of_state(&signer.state());
    let counts = verify(&folder, &signer.root, Some(ca)).unwrap();
    let expected = Counts {
        entries: 11,
        requests: 3,
        decisions: 1,
        ends: 1,
        certificates: 3,
        host_certificates: 1,
        bundles: 2,
        enrolments: 0,
    };
    assert_eq!(counts, expected);

    // The bundle in force is the log's newest; one that was in force before is not.
    let current = signer.state().join("bundles/current.json");
    let newest = fs::read(&current).unwrap();
    let log = signer.state().join("log");
    fs::write(&current, older).unwrap();
    let fault = verify(&folder, &signer.root, Some(ca)).unwrap_err().downcast().unwrap();
    assert!(matches!(fault, LogFault::InForce { newest: Some(_), .. }), "{fault}");
    fs::write(&current, newest).unwrap();
    // The log set back to a moment before it, with a genuine checkpoint of then.
    let newer = fs::read(log.join("checkpoint")).unwrap();
    fs::write(log.join("checkpoint"), early).unwrap();
    let fault = verify(&folder, &signer.root, Some(ca)).unwrap_err().downcast().unwrap();
    assert!(matches!(fault, LogFault::InForce { newest: Some(_), .. }), "{fault}");
    // The log gone, whole or its checkpoint.
    fs::remove_file(log.join("checkpoint")).unwrap();
    let fault: LogFault = verify(&folder, &signer.root, Some(ca)).unwrap_err().downcast().unwrap();
    assert_eq!(fault, LogFault::Gone);
    fs::write(log.join("checkpoint"), newer).unwrap();
    assert_eq!(verify(&folder, &signer.root, Some(ca)).unwrap(), expected);

    let exported = signer.dir.path().join("exported");
    super::super::export::export(&folder, &exported).unwrap();
    let entries = exported.join("log/tile/entries/000.p/11");
    let mut bytes = fs::read(&entries).unwrap();
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    let exported = Folder::at(&exported);
    assert_eq!(verify(&exported, &signer.root, Some(ca)).unwrap(), expected);
    fs::write(&entries, bytes).unwrap();
    let fault = verify(&exported, &signer.root, Some(ca)).unwrap_err();
    assert!(fault.to_string().starts_with("entry 10: "), "{fault}");
}

#[test]
fn extensions_ends_and_break_glass_of_the_real_signer_pass_the_audit() {
    let mut signer = Signer::start();
    let more = "extend = { max = \"20m\", times = 2 }\nbreak_glass = { max_for = \"15m\" }\n";
    signer.apply(1, &format!("{POLICY}{more}"));
    let scene = Scene { root: signer.root.clone(), ..Scene::new() };
    let ca = signer.root.fingerprint();
    let approve = |signer: &mut Signer, request: &Verified<Request>| {
        let mut approval = scene.approval(0, "bob", request);
        approval.at = now();
        signer.submit(BOB, &approval, false);
    };
    let mut row = Vec::new();
    for nonce in 1..=3 {
        let mut body = signer.request(nonce);
        body.extends = row.last().map(Verified::<Request>::digest);
        let request = signer.submit(ALICE, &body, false);
        approve(&mut signer, &request);
        signer.call(Op::Certify { request: request.digest() });
        row.push(request);
    }
    // An admin takes all of it away at its root.
    let revoke = End::new(ca, "ann".parse().unwrap(), row[0].digest(), Cause::Revoke, None, now());
    signer.submit(ANN, &revoke, false);
    let note = Folder::of_state(&signer.state()).log().krl_note().unwrap().unwrap();
    assert!(String::from_utf8(note).unwrap().contains("/krl\n"));

    let mut urgent = signer.request(4);
    urgent.break_glass = Some("nobody answers".to_owned());
    let urgent = signer.submit(ALICE, &urgent, true);
    approve(&mut signer, &urgent);
    let mut again = signer.request(5);
    again.break_glass = Some("nobody answers".to_owned());
    let again = signer.submit(ALICE, &again, true);
    let release =
        End::new(ca, "alice".parse().unwrap(), again.digest(), Cause::Release, None, now());
    signer.submit(ALICE, &release, false);

    signer.published(17);
    let counts = verify(&Folder::of_state(&signer.state()), &signer.root, Some(ca)).unwrap();
    let expected = Counts {
        entries: 17,
        requests: 5,
        decisions: 4,
        ends: 2,
        certificates: 5,
        host_certificates: 0,
        bundles: 1,
        enrolments: 0,
    };
    assert_eq!(counts, expected);
}
