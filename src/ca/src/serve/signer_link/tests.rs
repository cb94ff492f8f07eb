//! Against a tiny signer that answers what a test tells it to.

use jit_ssh_core::digest::Digest;
use jit_ssh_core::time::UnixTime;
use jit_ssh_signer::protocol::{Answer, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::*;

struct Fake {
    link: SignerLink,
    handle: LinkHandle,
    lost: Arc<Lost>,
    connect: mpsc::Sender<UnixStream>,
}

impl Fake {
    fn start() -> Fake {
        let (connect, streams) = mpsc::channel(4);
        let lost = Arc::new(Lost::default());
        let place = Place::Given(tokio::sync::Mutex::new(streams));
        let (link, handle) = SignerLink::start(place, lost.clone());
        Fake { link, handle, lost, connect }
    }

    /// The signer's end of a new connection.
    async fn connection(&self) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.connect.send(ours).await.unwrap();
        while !self.link.shared.queue().up {
            tokio::task::yield_now().await;
        }
        theirs
    }

    /// A call that runs beside the test.
    fn begin(&self, op: Op) -> JoinHandle<Result<Outcome, Refusal>> {
        let link = self.link.clone();
        tokio::spawn(async move { link.record(op, &link.epoch()).await })
    }
}

async fn hear(stream: &mut UnixStream) -> Call {
    let length = stream.read_u32().await.unwrap();
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).await.unwrap();
    serde_json::from_slice(&frame).unwrap()
}

async fn say(stream: &mut UnixStream, id: u64, result: Outcome) {
    let frame = serde_json::to_vec(&Answer { id, result }).unwrap();
    stream.write_u32(u32::try_from(frame.len()).unwrap()).await.unwrap();
    stream.write_all(&frame).await.unwrap();
}

fn certify(name: &[u8]) -> Op {
    Op::Certify { request: Digest::of(name) }
}

fn recorded(name: &[u8]) -> Outcome {
    Outcome::Recorded { digest: Digest::of(name), at: UnixTime(7), certificate: None }
}

fn digest_of(outcome: &Result<Outcome, Refusal>) -> Digest {
    match outcome {
        Ok(Outcome::Recorded { digest, .. }) => *digest,
        other => unreachable!("{other:?}"),
    }
}

fn state() -> Outcome {
    Outcome::State(State {
        number: 1,
        ca_key: String::new(),
        host_ca_key: None,
        log_key: String::new(),
        bundle_version: 0,
        bundle: None,
        log_size: 0,
    })
}

#[tokio::test]
async fn answers_in_any_order_reach_their_callers() {
    let fake = Fake::start();
    let mut signer = fake.connection().await;
    let calls = [b"a", b"b", b"c"].map(|name| fake.begin(certify(name)));
    let mut heard = Vec::new();
    for _ in &calls {
        heard.push(hear(&mut signer).await);
    }
    for call in heard.into_iter().rev() {
        let Op::Certify { request } = call.op else { unreachable!() };
        let outcome = Outcome::Recorded { digest: request, at: UnixTime(7), certificate: None };
        say(&mut signer, call.id, outcome).await;
    }
    for (call, name) in calls.into_iter().zip([b"a", b"b", b"c"]) {
        assert_eq!(digest_of(&call.await.unwrap()), Digest::of(name));
    }
    assert!(!fake.lost.take());
    fake.handle.close().await;
}

#[tokio::test]
async fn a_refusal_arrives_as_it_was_said() {
    let fake = Fake::start();
    let mut signer = fake.connection().await;
    let call = fake.begin(certify(b"a"));
    let refusal = Refusal::new(Reason::NotApproved, "not yet.").hint("wait");
    let id = hear(&mut signer).await.id;
    say(&mut signer, id, Outcome::Refused(refusal.clone())).await;
    assert_eq!(call.await.unwrap().unwrap_err(), refusal);
    fake.handle.close().await;
}

#[tokio::test]
async fn death_ends_waiting_calls_and_the_next_connection_serves_again() {
    let fake = Fake::start();
    let mut signer = fake.connection().await;
    let call = fake.begin(certify(b"a"));
    hear(&mut signer).await;
    drop(signer);
    assert_eq!(call.await.unwrap().unwrap_err().reason, Reason::SignerUnavailable);
    // It may have been recorded: somebody must look into the log.
    assert!(fake.lost.take());
    assert_eq!(fake.link.call(certify(b"a")).await.unwrap_err().reason, Reason::SignerUnavailable);

    let mut signer = fake.connection().await;
    let call = fake.begin(certify(b"a"));
    let id = hear(&mut signer).await.id;
    say(&mut signer, id, recorded(b"a")).await;
    assert_eq!(digest_of(&call.await.unwrap()), Digest::of(b"a"));
    fake.handle.close().await;
}

#[tokio::test]
async fn a_silent_signer_costs_a_caller_two_seconds_and_a_late_answer_is_not_forgotten() {
    let fake = Fake::start();
    let mut signer = fake.connection().await;
    let begun = tokio::time::Instant::now();
    let call = fake.begin(certify(b"a"));
    assert_eq!(call.await.unwrap().unwrap_err().reason, Reason::SignerUnavailable);
    assert!((DEADLINE..DEADLINE * 2).contains(&begun.elapsed()));
    assert!(!fake.lost.take());
    // The slot is taken until the signer answers; then what it recorded is told.
    assert_eq!(fake.link.shared.slots.available_permits(), MAX_IN_FLIGHT - 1);
    let id = hear(&mut signer).await.id;
    say(&mut signer, id, recorded(b"a")).await;
    fake.lost.told().await;
    assert!(fake.lost.take());
    assert_eq!(fake.link.shared.slots.available_permits(), MAX_IN_FLIGHT);
    fake.handle.close().await;
}

#[tokio::test]
async fn an_answer_that_records_nothing_is_nothing_to_lose() {
    let fake = Fake::start();
    let mut signer = fake.connection().await;
    let call = fake.begin(Op::State);
    let id = hear(&mut signer).await.id;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    say(&mut signer, id, state()).await;
    while fake.link.shared.slots.available_permits() < MAX_IN_FLIGHT {
        tokio::task::yield_now().await;
    }
    assert!(!fake.lost.take());
    fake.handle.close().await;
}

#[tokio::test]
async fn what_is_no_answer_ends_the_connection() {
    let fake = Fake::start();
    let mut signer = fake.connection().await;
    let call = fake.begin(certify(b"a"));
    hear(&mut signer).await;
    signer.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    assert_eq!(call.await.unwrap().unwrap_err().reason, Reason::SignerUnavailable);
    fake.handle.close().await;
}

/// A link to a child that is this shell script.
fn child(script: &str) -> (tempfile::TempDir, SignerLink, LinkHandle) {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("signer");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let journal = folder.path().join("journal");
    let place = Place::Child { program, config: folder.path().to_owned(), journal };
    let (link, handle) = SignerLink::start(place, Arc::new(Lost::default()));
    (folder, link, handle)
}

#[tokio::test]
async fn a_child_that_ends_by_itself_before_it_answered_can_not_start_and_one_that_was_killed_can()
{
    let (_folder, link, handle) = child("exit 3");
    let why = link.can_not_start().await;
    assert!(why.contains("exit code 3"), "{why}");
    handle.close().await;

    let (folder, link, handle) = child("echo x >>\"$2/starts\"; kill -9 $$");
    let starts = || std::fs::read(folder.path().join("starts")).map_or(0, |starts| starts.len());
    while starts() < 4 {
        let tried = tokio::time::timeout(Duration::from_millis(10), link.can_not_start()).await;
        assert!(tried.is_err(), "given up");
    }
    handle.close().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_can_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let (program, journal) = (path.join("nothing"), path.join("journal"));
    let place = Place::Child { program, config: path, journal };
    let (link, handle) = SignerLink::start(place, Arc::new(Lost::default()));
    let why = link.can_not_start().await;
    assert!(why.contains("did not start"), "{why}");
    handle.close().await;
}
