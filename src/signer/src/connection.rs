//! One connection: reads frames, parses them strictly, verifies signatures, hands on.

use std::io::{self, BufReader, Read, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use jit_ssh_core::certificate::Scope;
use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::key::KnownKeys;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{self, Body, Kind, Verified};
use serde::Serialize;

use crate::bundles::{self, Shelf, Upload};
use crate::desk::{Statement, Task, Work};
use crate::protocol::{Call, MAX_FRAME, MAX_IN_FLIGHT, Op, Outcome, Signed};

/// How long a peer may take to accept an answer.
const WRITE_DEADLINE: Duration = Duration::from_secs(2);

/// Most calls handed to the desk together.
const MAX_TOGETHER: usize = 8;

/// The way back to a caller.
pub(crate) struct Reply {
    pub(crate) outlet: Arc<Outlet>,
    pub(crate) id: u64,
}

/// The writing half of a connection.
pub(crate) struct Outlet {
    stream: Mutex<UnixStream>,
    under_way: Mutex<usize>,
    settled: Condvar,
}

impl Outlet {
    fn new(stream: UnixStream) -> io::Result<Outlet> {
        stream.set_write_timeout(Some(WRITE_DEADLINE))?;
        Ok(Outlet { stream: Mutex::new(stream), under_way: Mutex::new(0), settled: Condvar::new() })
    }

    /// Writes whole frames. A peer that does not take them in time loses its connection, so that
    /// it can not hold up the others.
    pub(crate) fn write(&self, frames: &[u8]) {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if stream.write_all(frames).is_err() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits for room for one more call under way.
    fn begin(&self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        while *under_way >= MAX_IN_FLIGHT {
            under_way = self.settled.wait(under_way).unwrap_or_else(PoisonError::into_inner);
        }
        *under_way = under_way.saturating_add(1);
    }

    /// Notes that a call is answered.
    pub(crate) fn settle(&self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        *under_way = under_way.saturating_sub(1);
        self.settled.notify_one();
    }
}

/// Appends `message` as a frame.
pub(crate) fn push_frame<T: Serialize>(out: &mut Vec<u8>, message: &T) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *out, message).expect("answers have only strings and numbers");
    let length = out.len().saturating_sub(start).saturating_sub(4);
    let length = u32::try_from(length).expect("an answer is far below 4 GiB");
    if let Some(head) = out.get_mut(start..).and_then(|frame| frame.first_chunk_mut::<4>()) {
        *head = length.to_be_bytes();
    }
}

/// Reads one frame into `frame`; `false` at the end of the stream.
fn read_frame(from: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0u8; 4];
    match from.read_exact(&mut length) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(e) => return Err(e),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than allowed"));
    }
    frame.resize(length, 0);
    from.read_exact(frame)?;
    Ok(true)
}

/// Whether a whole frame has been received.
fn holds_frame(bytes: &[u8]) -> bool {
    bytes.split_first_chunk::<4>().is_some_and(|(length, rest)| {
        usize::try_from(u32::from_be_bytes(*length)).is_ok_and(|length| rest.len() >= length)
    })
}

/// Serves one connection until its peer goes away or breaks the protocol.
pub(crate) fn serve(
    stream: UnixStream,
    root: &Root,
    shelf: &Shelf,
    desk: &SyncSender<Vec<Work>>,
) -> io::Result<()> {
    let outlet = Arc::new(Outlet::new(stream.try_clone()?)?);
    let mut from = BufReader::with_capacity(MAX_FRAME, stream);
    let (mut frame, mut ready) = (Vec::new(), Vec::new());
    let mut intake =
        Intake { root, shelf, ca: root.fingerprint(), keys: KnownKeys::default(), upload: None };
    while read_frame(&mut from, &mut frame)? {
        let call: Call = serde_json::from_slice(&frame)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        outlet.begin();
        let task = intake.take(call.op).unwrap_or_else(|no| Task::Settled(Outcome::Refused(no)));
        let reply = Reply { outlet: outlet.clone(), id: call.id };
        ready.push(Work { task, reply });
        // What has come already is taken along, but nobody waits for what may still come.
        let hand_over = ready.len() >= MAX_TOGETHER || !holds_frame(from.buffer());
        if hand_over && desk.send(std::mem::take(&mut ready)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Turns calls into tasks: what is malformed or badly signed goes no further.
struct Intake<'a> {
    root: &'a Root,
    shelf: &'a Shelf,
    /// The root's fingerprint, worked out once.
    ca: RootFingerprint,
    keys: KnownKeys,
    upload: Option<Upload>,
}

impl Intake<'_> {
    fn take(&mut self, op: Op) -> Result<Task, Refusal> {
        match op {
            Op::Submit { statement, certify } => {
                Ok(Task::Submit { statement: self.open(&statement)?, certify })
            }
            Op::Relay { statement } => Ok(Task::Relay { statement: self.open(&statement)? }),
            Op::Certify { request } => Ok(Task::Certify { request, scope: Scope::Access }),
            Op::CertifyJump { request, jump } => {
                Ok(Task::Certify { request, scope: Scope::Jump(jump) })
            }
            Op::CertifyHost { name } => Ok(Task::CertifyHost { name }),
            Op::PutBundle { statement } => {
                Ok(Task::Bundle { signed: bundles::verify(&statement, self.root)?, statement })
            }
            Op::PutFile { file, offset, content, last } => {
                if offset == 0 {
                    self.upload = Some(self.shelf.upload(file).map_err(not_kept)?);
                }
                let upload = self
                    .upload
                    .as_mut()
                    .filter(|upload| upload.file() == file && upload.length() == offset)
                    .ok_or_else(|| malformed("the parts of a file come in order, from 0 on."))?;
                upload.add(&content.0).map_err(not_kept)?;
                if last {
                    let done = upload.finish().map_err(not_kept);
                    self.upload = None;
                    done?;
                }
                Ok(Task::Settled(Outcome::Stored))
            }
            Op::State => Ok(Task::State),
        }
    }

    /// Verifies a statement that is to be recorded.
    fn open(&mut self, signed: &Signed) -> Result<Statement, Refusal> {
        match Kind::of(signed.statement.as_bytes()) {
            Some(Kind::Request) => self.verify(signed).map(Statement::Request),
            Some(Kind::Decision) => self.verify(signed).map(Statement::Decision),
            Some(Kind::End) => self.verify(signed).map(Statement::End),
            Some(Kind::Host) => self.verify(signed).map(Statement::Host),
            Some(Kind::Token) => self.verify(signed).map(Statement::Token),
            Some(Kind::Bundle | Kind::Session | Kind::Report) | None => {
                Err(malformed("this is not a request, decision, end, host or token statement."))
            }
        }
    }

    fn verify<T: Body>(&mut self, signed: &Signed) -> Result<Verified<T>, Refusal> {
        let [signature] = signed.signatures.as_slice() else {
            return Err(malformed("the statement needs exactly one signature."));
        };
        let ca = self.ca;
        let bytes = signed.statement.as_bytes();
        Ok(statement::open_knowing(bytes, &signature.0, &ca, &mut self.keys)?)
    }
}

fn malformed(message: &str) -> Refusal {
    Refusal::new(Reason::Malformed, message)
}

fn not_kept(error: io::Error) -> Refusal {
    let reason = match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => Reason::BundleRefused,
        _ => Reason::LogUnavailable,
    };
    Refusal::new(reason, format!("the file can not be kept: {error}."))
}
