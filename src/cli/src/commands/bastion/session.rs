//! One connection onward: ssh with the key that is lent to it, and whatever ends it: itself, the end of the grant,
//! or that the person is gone.

use std::io::{self, IsTerminal as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use jit_ssh_api::agent::{Lent, Use};
use jit_ssh_core::receipt::Accepted;
use jit_ssh_core::time::UnixTime;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal as Kill, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::asked::What;
use super::choice::Choice;
use super::onward::{Folder, Onward, Place};
use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::follow::{Broke, Pause};
use crate::grants::{Grant, Subject};
use crate::view::{RequestRef, View};

/// How long ssh may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(3);
/// How often the clock is looked at: it may be set, or the machine may sleep.
const TICK: Duration = Duration::from_secs(1);
/// How long the CA may take to say why a connection broke.
const ASK: Duration = Duration::from_secs(2);
/// What ssh ends with when the connection breaks, or there is none.
const BROKEN: i32 = 255;

/// Keeps other processes of the same account, which all who log in here share, out of this one's memory, and its
/// memory out of core dumps.
pub(super) fn keep_to_itself() -> Result<(), Failure> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|e| {
            Failure::new(
                Outcome::Error,
                "SYSTEM",
                format!("this process can not be kept private: {e}."),
            )
        })?;
    }
    Ok(())
}

/// What is to be connected.
pub(super) struct Session<'a> {
    /// Terminal and files.
    pub(super) context: &'a Context,
    /// Whom to.
    pub(super) choice: &'a Choice,
    /// What is to run there.
    pub(super) what: &'a What,
    /// Where that is.
    pub(super) place: Place,
    /// By what ssh knows the host; `None` leaves it to the files of this bastion.
    pub(super) known_hosts: Option<String>,
}

/// How a connection ended.
enum Ended {
    /// ssh ended.
    Itself(ExitStatus),
    /// The access is over.
    Over(Failure),
    /// The person is gone.
    Left,
}

impl Session<'_> {
    /// Connects, until it ends; says how the command is to end, and whether the access is over too.
    pub(super) async fn run(
        &self,
        ca: &mut Ca<'_>,
        grant: Grant,
        accepted: &Accepted,
        departure: &mut Departure,
    ) -> Result<(Result<Outcome, Failure>, bool), Failure> {
        let folder = Folder::make(&self.context.home)?;
        let known_hosts = match &self.known_hosts {
            Some(text) => Some(folder.known_hosts(text)?),
            None => None,
        };
        let socket = folder.socket();
        let onward = Onward {
            choice: self.choice,
            place: &self.place,
            what: self.what,
            terminal: io::stdin().is_terminal(),
            socket: &socket,
            known_hosts: known_hosts.as_deref(),
        };
        let listener = folder.listen()?;
        let request = RequestRef::Digest(grant.digest());
        let Subject::Fresh(key) = grant.subject else {
            return Err(Failure::new(Outcome::Error, "KEY", "the key is not of this process."));
        };
        let blob = accepted.certificate.to_bytes();
        let blob =
            blob.map_err(|e| Failure::untrue(format!("the certificate makes no sense: {e}.")))?;
        let mut ended = signal(SignalKind::child()).map_err(unheard)?;
        let mut ssh = self.start(&onward)?;
        lend(listener, Lent::new(*key, blob, self.choice.login.as_str()), ssh.id());

        let until = accepted.access_until;
        let how = tokio::select! {
            status = exit(&mut ssh, &mut ended) => Ended::Itself(status?),
            over = end_of(ca, &request, until) => Ended::Over(over),
            () = departure.wait() => Ended::Left,
        };
        Ok(match how {
            Ended::Itself(status) => {
                // Where the host ended it with the access, that is what there is to say.
                let over = match code(status) {
                    BROKEN => timeout(ASK, over_by_now(ca, &request, until)).await.unwrap_or(None),
                    _ => None,
                };
                match over {
                    Some(over) => (Err(over), true),
                    None => {
                        let code = u8::try_from(code(status)).unwrap_or(u8::MAX);
                        (Ok(Outcome::Program(code)), false)
                    }
                }
            }
            Ended::Over(over) => {
                stop(&mut ssh, &mut ended).await?;
                (Err(over), true)
            }
            Ended::Left => {
                stop(&mut ssh, &mut ended).await?;
                (Ok(Outcome::Over), false)
            }
        })
    }

    fn start(&self, onward: &Onward<'_>) -> Result<Child, Failure> {
        let mut ssh = Command::new("ssh");
        ssh.args(onward.arguments()?).env_clear();
        let kept = |name: &str| {
            matches!(name, "PATH" | "HOME" | "TERM" | "LANG") || name.starts_with("LC_")
        };
        ssh.envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(kept)));
        ssh.spawn().map_err(|problem| {
            Failure::new(Outcome::Error, "SSH", format!("ssh can not be started: {problem}."))
                .hint("is the OpenSSH client installed on this bastion?")
        })
    }
}

/// Lends the key to one process, until it has logged in.
fn lend(listener: UnixListener, lent: Lent, to: u32) {
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if is_process(&stream, to) && matches!(lent.serve(stream), Ok(Use::Spent)) {
                break;
            }
        }
    });
}

/// Whether the other end is that process: all who log in here have the same account.
#[cfg(target_os = "linux")]
fn is_process(stream: &UnixStream, id: u32) -> bool {
    let peer = rustix::net::sockopt::socket_peercred(stream);
    peer.is_ok_and(|peer| u32::try_from(peer.pid.as_raw_nonzero().get()) == Ok(id))
}

/// Elsewhere the folder alone keeps others out.
#[cfg(not(target_os = "linux"))]
fn is_process(_: &UnixStream, _: u32) -> bool {
    true
}

/// Waits until a child has ended. Each look is safe from another process with its id: none has that before this one
/// has looked.
async fn exit(child: &mut Child, ended: &mut Signal) -> Result<ExitStatus, Failure> {
    loop {
        if let Some(status) = child.try_wait().map_err(unheard)? {
            return Ok(status);
        }
        ended.recv().await;
    }
}

/// Ends ssh, gently if it lets itself be.
async fn stop(ssh: &mut Child, ended: &mut Signal) -> Result<(), Failure> {
    if let Some(pid) = i32::try_from(ssh.id()).ok().and_then(Pid::from_raw)
        && ssh.try_wait().map_err(unheard)?.is_none()
    {
        // It puts the terminal back as it was.
        kill_process(pid, Kill::TERM).map_err(|e| unheard(e.into()))?;
    }
    if timeout(GRACE, exit(ssh, ended)).await.is_err() {
        ssh.kill().map_err(unheard)?;
        exit(ssh, ended).await?;
    }
    Ok(())
}

fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| signal.saturating_add(128)))
        .unwrap_or(BROKEN)
}

fn unheard(problem: io::Error) -> Failure {
    Failure::new(Outcome::Error, "SYSTEM", format!("{problem}."))
}

/// Waits for the end of the access: by the clock, or by what the CA says. A CA that can not be reached changes
/// nothing until then.
async fn end_of(ca: &mut Ca<'_>, request: &RequestRef, until: UnixTime) -> Failure {
    let by_clock = async {
        while clock::now() < until {
            sleep(TICK).await;
        }
        ended(request)
    };
    tokio::select! {
        over = by_clock => over,
        over = revoked(ca, request) => over,
    }
}

/// Follows the request until it is over.
async fn revoked(ca: &mut Ca<'_>, request: &RequestRef) -> Failure {
    let mut pause = Pause::new();
    loop {
        if let Err(Broke::ForGood(failure)) = told_over(ca, request).await {
            return failure;
        }
        pause.wait().await;
    }
}

/// One stream, until the request is over, which is told as an error, or the stream breaks.
async fn told_over(ca: &mut Ca<'_>, request: &RequestRef) -> Result<(), Broke> {
    let mut stream = match ca.watch(&request.to_string()).await {
        Ok(stream) => stream,
        // Whatever else is wrong with it, the access is what the certificate says.
        Err(failure) => return Err(Broke::ForNow(failure)),
    };
    while let Ok(Some(said)) = stream.next().await {
        let over = View::open(said, &ca.enrolment.ca()).ok();
        let over = over.filter(|view| request.check(view).is_ok()).and_then(|view| over_by(&view));
        if let Some(over) = over {
            return Err(Broke::ForGood(over));
        }
    }
    Ok(())
}

/// Whether the access is over now.
async fn over_by_now(ca: &mut Ca<'_>, request: &RequestRef, until: UnixTime) -> Option<Failure> {
    if clock::now() >= until {
        return Some(ended(request));
    }
    let said = ca.get(&request.to_string()).await.ok()?;
    over_by(&View::open(said, &ca.enrolment.ca()).ok().filter(|view| request.check(view).is_ok())?)
}

fn over_by(view: &View) -> Option<Failure> {
    view.failure().map(|failure| Failure { hint: Some(AGAIN.to_owned()), ..failure })
}

const AGAIN: &str = "connect again to ask anew";

fn ended(request: &RequestRef) -> Failure {
    let id = match request {
        RequestRef::Digest(digest) => digest.short_id().to_string(),
        RequestRef::Prefix(prefix) => prefix.as_str().to_owned(),
    };
    Failure::new(Outcome::Over, "ENDED", format!("request {id} has come to its end.")).hint(AGAIN)
}

/// Hears that the person is gone: the terminal hung up, the connection closed, or this process is to end.
pub(super) struct Departure {
    closed: watch::Receiver<bool>,
    hangup: Signal,
    quit: Signal,
    terminate: Signal,
}

impl Departure {
    /// Begins to listen.
    pub(super) fn watch() -> Result<Departure, Failure> {
        let (tell, closed) = watch::channel(false);
        // Whether standard output still leads anywhere tells even of who sends nothing more and gets nothing.
        std::thread::spawn(move || {
            let stdout = io::stdout();
            let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
            while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
            let _ = tell.send(true);
        });
        Ok(Departure {
            closed,
            hangup: signal(SignalKind::hangup()).map_err(unheard)?,
            quit: signal(SignalKind::quit()).map_err(unheard)?,
            terminate: signal(SignalKind::terminate()).map_err(unheard)?,
        })
    }

    /// Waits for it.
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.closed.wait_for(|closed| *closed) => {}
            _ = self.hangup.recv() => {}
            _ = self.quit.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
