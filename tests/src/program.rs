//! Runs programs, and keeps what they said.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest time a program may take before the test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long the output of one that was killed may stay open: what it started may live on and hold it.
const KILLED: Duration = Duration::from_secs(5);
/// What whoever runs the tests may have set for their own ssh.
const OF_CALLER: [&str; 6] =
    ["SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY", "SHELL", "JIT_SSH_HOME", "XDG_RUNTIME_DIR"];

/// Where cargo put the binaries of this workspace: beside the test's own folder.
pub fn binaries() -> PathBuf {
    folder_of("jit-ssh-ca")
}

fn folder_of(binary: &str) -> PathBuf {
    let mut dir = std::env::current_exe().unwrap();
    while dir.pop() {
        if dir.join(binary).is_file() {
            return dir;
        }
    }
    panic!("{binary} is not built; run the tests by ./run test")
}

/// A program to be run.
pub struct Program {
    command: Command,
    shown: String,
    stderr: Option<std::fs::File>,
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// The command line.
    pub command: String,
    /// The exit code; 128 and the signal if it was killed.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Program {
    /// One of ours by its name, or any other by its path or name.
    pub fn new(name: &str) -> Program {
        let mut command = Command::new(Program::path(name));
        // Nothing of the caller's own ssh set-up may play along; without a shell of the caller's own, ssh
        // takes /bin/sh.
        for name in OF_CALLER {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        Program { command, shown: name.to_owned(), stderr: None }
    }

    /// Where one of ours, or any other, lies.
    pub fn path(name: &str) -> PathBuf {
        match name.starts_with("jit-ssh") {
            true => folder_of(name).join(name),
            false => which(name),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Program {
        for arg in args {
            self.shown.push(' ');
            self.shown.push_str(&arg.as_ref().to_string_lossy());
            self.command.arg(arg);
        }
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Program {
        self.command.env(name, value);
        self
    }

    /// Sets the folder it runs in.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Program {
        self.command.current_dir(dir);
        self
    }

    /// Gives it a file as standard input.
    #[must_use]
    pub fn stdin(mut self, path: &Path) -> Program {
        self.command.stdin(std::fs::File::open(path).unwrap());
        self
    }

    /// Has it say what it says on standard error to a file.
    #[must_use]
    pub fn stderr(mut self, to: std::fs::File) -> Program {
        self.stderr = Some(to);
        self
    }

    /// The command itself, for whoever gives it other ends than pipes.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end: in the background, where nothing can ask on the terminal of whoever runs the
    /// tests, and where it is killed with all that it started if it does not end.
    pub fn run(mut self) -> Said {
        self.command.process_group(0);
        let mut running = self.start();
        running.leads_group = true;
        running.wait()
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        self.command.stdout(Stdio::piped());
        self.command.stderr(self.stderr.take().map_or_else(Stdio::piped, Stdio::from));
        let mut child = self.command.spawn().unwrap_or_else(|e| panic!("{}: {e}", self.shown));
        let out = collect(child.stdout.take());
        let err = collect(child.stderr.take());
        Running { child, shown: self.shown, leads_group: false, out, err }
    }
}

/// What a program says on one of its outputs, once nobody holds that open any more.
type Collected = thread::JoinHandle<String>;

fn collect(from: Option<impl Read + Send + 'static>) -> Collected {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.map(|mut from| from.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn collected(from: Collected, patience: Duration) -> Option<String> {
    let began = Instant::now();
    while !from.is_finished() {
        if began.elapsed() > patience {
            return None;
        }
        thread::sleep(Duration::from_millis(1));
    }
    from.join().ok()
}

/// A program under way.
pub struct Running {
    child: Child,
    shown: String,
    leads_group: bool,
    out: Collected,
    err: Collected,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it at once.
    pub fn kill(mut self) -> Said {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        self.said(status, KILLED).0
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Said {
        let began = Instant::now();
        let (status, patience) = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break (Some(status), PATIENCE),
                None if began.elapsed() > PATIENCE => break (None, KILLED),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        let shown = self.shown.clone();
        if status.is_none() {
            self.kill_all();
        }
        let ended = status.unwrap_or_else(|| self.child.wait().unwrap());
        let (said, whole) = self.said(ended, patience);
        assert!(status.is_some(), "{shown} did not end\n{}\n{}", said.out, said.err);
        assert!(whole, "{shown} ended, and something that it started holds its output");
        said
    }

    fn kill_all(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        if self.leads_group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        } else {
            let _ = self.child.kill();
        }
    }

    /// What it said, and whether that is all.
    fn said(self, status: ExitStatus, patience: Duration) -> (Said, bool) {
        let (out, err) = (collected(self.out, patience), collected(self.err, patience));
        let whole = out.is_some() && err.is_some();
        let said = Said {
            command: self.shown,
            code: status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap(),
            out: out.unwrap_or_default(),
            err: err.unwrap_or_default(),
        };
        (said, whole)
    }
}

impl Said {
    /// Insists on exit code 0.
    #[track_caller]
    pub fn fine(self) -> Said {
        self.ended(0)
    }

    /// Insists on an exit code.
    #[track_caller]
    pub fn ended(self, code: i32) -> Said {
        assert!(
            self.code == code,
            "{}\nended with {} instead of {code}\nstdout: {}\nstderr: {}",
            self.command,
            self.code,
            self.out,
            self.err
        );
        self
    }

    /// Standard output as JSON objects, one a line.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", self.command))
        };
        self.out.lines().map(parse).collect()
    }

    /// A field of the last JSON object.
    #[track_caller]
    pub fn field(&self, name: &str) -> Value {
        let last = self.json().pop().unwrap_or_else(|| panic!("{} printed nothing", self.command));
        last.get(name).cloned().unwrap_or_else(|| panic!("no {name} in {last}"))
    }

    /// A text field of the last JSON object.
    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        self.field(name).as_str().unwrap_or_else(|| panic!("{name} is no text")).to_owned()
    }
}

fn which(name: &str) -> PathBuf {
    if name.contains('/') {
        return name.into();
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let dirs = path.split(':').chain(["/usr/sbin", "/sbin", "/usr/local/sbin"]);
    dirs.map(|dir| Path::new(dir).join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed; run the tests by ./run test"))
}

/// Whether this is root, who alone can make machines and accounts, and start sshd under PAM.
pub fn is_root() -> bool {
    Program::new("id").args(["-u"]).run().fine().out.trim() == "0"
}

/// Makes an Ed25519 key without a passphrase in `file`, and its public half in `file.pub`.
pub fn make_key(file: &Path, comment: &str) {
    let make = ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"];
    Program::new("ssh-keygen").args(make).args([file]).run().fine();
}

/// Waits until `is` holds.
#[track_caller]
pub fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "waited too long for: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A port of loopback that nobody listens on just now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether somebody listens on a port of loopback.
pub fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}
