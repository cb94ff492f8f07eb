//! With the real sshd, on a folder of its own.

mod admission;
mod certificate;
mod command_line;
mod files;
mod guarded;
mod others;
mod roll_back;
mod running;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::num::NonZeroU16;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::run::Done;
use super::*;
use crate::guard_service::{Answering, GuardService, Sessions};
use crate::plan::HostFacts;
use crate::revoked::Lists;
use crate::testplace;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKoMHfeUSGcYJWGysvTZaqm59QUJXVrgQ96Nhwe6rdj";

const PIN: &str = "SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0";

struct TestHost {
    dir: TempDir,
    layout: Layout,
    sshd: Sshd,
    guard: FakeGuard,
}

/// Everything that can be told of a folder: kind, content, mode and time of each path.
type Snapshot = BTreeMap<PathBuf, (String, u32, i64)>;

impl TestHost {
    /// A host whose main file is `config`, with `ETC` for its folder.
    fn new(config: &str) -> TestHost {
        let dir = testplace::folder("jit-ssh-host-");
        let etc = dir.path().join("etc");
        fs::create_dir(&etc).unwrap();
        keygen(&["-t", "ed25519", "-f", &dir.path().join("host_key").display().to_string()]);
        let layout = Layout::new(&etc, None).unwrap();
        let sshd = Sshd::find(None, layout.config()).unwrap();
        let host = TestHost { dir, layout, sshd, guard: FakeGuard::default() };
        host.write("sshd_config", &format!("{}{config}", host.basics()));
        host
    }

    /// What any sshd here needs; none of it concerns us.
    fn basics(&self) -> String {
        let dir = self.dir.path().display();
        format!("HostKey {dir}/host_key\nPidFile {dir}/sshd.pid\nStrictModes no\nUsePAM no\n")
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.layout.etc().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let etc = self.layout.etc().display().to_string();
        fs::write(path, content.replace("ETC", &etc)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.layout.etc().join(name)).unwrap()
    }

    fn set_up(&self, logins: &[&str]) -> Result<Done, CommandError> {
        self.run(&self.goal(KEY, logins), ANYWAY)
    }

    /// As the CA with this key wants it.
    fn goal(&self, key: &str, logins: &[&str]) -> Goal {
        let settings = Settings {
            ca: format!("https://127.0.0.1:1#{PIN}").parse().unwrap(),
            name: "prod-host".parse().unwrap(),
            guard: Guard::Off,
            sshd_config: self.layout.config().to_owned(),
            pam: self.dir.path().join("pam.d/sshd"),
            offline_ca: None,
        };
        Goal::SetUp(Box::new(Wanted {
            facts: facts(key, logins),
            settings,
            guard: None,
            host_certificate: None,
            enrolment: None,
        }))
    }

    fn remove(&self) -> Result<Done, CommandError> {
        self.run(&Goal::Removed, ANYWAY)
    }

    fn run(&self, goal: &Goal, told: Told) -> Result<Done, CommandError> {
        let host = Host {
            layout: &self.layout,
            sshd: &self.sshd,
            guard: &self.guard,
            labels: &Labels::None,
        };
        run(&host, goal, told)
    }

    fn snapshot(&self) -> Snapshot {
        let mut found = Snapshot::new();
        let mut todo = vec![self.layout.etc().to_owned()];
        while let Some(path) = todo.pop() {
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                "folder".to_owned()
            } else {
                String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
            };
            let time = if meta.is_dir() { 0 } else { meta.mtime_nsec() };
            found.insert(path, (content, meta.mode(), time));
        }
        found
    }
}

/// A snapshot without times: for what was written and put back.
fn timeless(snapshot: Snapshot) -> Snapshot {
    snapshot.into_iter().map(|(path, (content, mode, _))| (path, (content, mode, 0))).collect()
}

fn facts(key: &str, logins: &[&str]) -> HostFacts {
    HostFacts {
        jumps: BTreeMap::new(),
        name: "prod-host".parse().unwrap(),
        ca: PIN.parse().unwrap(),
        revoked: Lists::default(),
        version: 1,
        ca_keys: vec![(NonZeroU16::MIN, key.parse().unwrap())],
        logins: logins.iter().map(|login| login.parse().unwrap()).collect(),
    }
}

fn keygen(arguments: &[&str]) {
    let quiet = if arguments.contains(&"-s") { vec!["-q"] } else { vec!["-q", "-N", ""] };
    assert!(Command::new("ssh-keygen").args(quiet).args(arguments).status().unwrap().success());
}

/// What tests say unless it is what they are about: who runs them may have no other way in.
const ANYWAY: Told = Told {
    dry_run: false,
    may_replace: MayReplace { cas: false, revoked_keys: false },
    allow_lock_out: true,
    live_sessions: LiveSessions::Refuse,
};

const DRY: Told = Told { dry_run: true, ..ANYWAY };

/// A guard under a systemd that does as it is told.
#[derive(Debug)]
struct FakeGuard {
    unit: Option<PathBuf>,
    /// Why it does not answer.
    down: RefCell<Option<String>>,
    /// Whether starting it has it answer.
    starts: bool,
    /// What it watches; nobody can tell where it is none.
    sessions: Cell<Option<Sessions>>,
    /// Which one answers.
    is: RefCell<Answering>,
    told: RefCell<Vec<String>>,
}

impl Default for FakeGuard {
    fn default() -> FakeGuard {
        let (down, is, told) =
            (RefCell::default(), RefCell::new(Answering::Ours), RefCell::default());
        let sessions = Cell::new(Some(Sessions::default()));
        FakeGuard { unit: None, down, starts: false, sessions, is, told }
    }
}

impl GuardService for FakeGuard {
    fn unit(&self) -> Option<&Path> {
        self.unit.as_deref()
    }

    fn systemctl(&self, arguments: &[&str]) -> Result<(), String> {
        self.told.borrow_mut().push(arguments.join(" "));
        if matches!(arguments, ["start" | "restart", _]) && self.starts {
            self.down.replace(None);
        }
        if matches!(arguments, ["restart", _]) && *self.is.borrow() == Answering::Older {
            self.is.replace(Answering::Ours);
        }
        Ok(())
    }

    fn answers(&self) -> Result<Answering, String> {
        match self.down.borrow().clone() {
            Some(why) => Err(why),
            None => Ok(self.is.borrow().clone()),
        }
    }

    fn sessions(&self) -> Result<Sessions, String> {
        self.sessions.get().ok_or_else(|| "the table is damaged".to_owned())
    }

    fn end_sessions(&self) -> Result<(), String> {
        self.told.borrow_mut().push("end sessions".to_owned());
        self.sessions.set(Some(Sessions::default()));
        self.answers().map(drop)
    }

    fn wait(&self) -> Result<Answering, String> {
        self.answers()
    }
}

const INCLUDE: &str = "Include ETC/sshd_config.d/*.conf\n";
