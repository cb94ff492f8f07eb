//! What was seen on a host, before anything is made of it. Plain data: the rules need nothing else.

use std::path::PathBuf;

use jit_ssh_core::time::UnixTime;

use super::directives::Directive;
use super::pam_stack::PamLine;
use crate::config::Found;
use crate::current::FileState;
use crate::guard_service::Answering;
use crate::layout::Layout;
use crate::link::heard::Heard;
use crate::settings::{Settings, SettingsError};
use crate::sshd::Effective;

/// All that was seen.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Which files are ours.
    pub(crate) layout: Layout,
    /// Whether this process could see everything.
    pub(crate) is_root: bool,
    /// The moment of looking.
    pub(crate) now: UnixTime,
    /// `host.toml`.
    pub(crate) settings: Look<Result<Settings, SettingsError>>,
    /// What sshd says of itself.
    pub(crate) sshd: SshdFacts,
    /// The sshd that runs.
    pub(crate) running: Running,
    /// `user_ca.pub`.
    pub(crate) user_ca: Look<FileState>,
    /// Our drop-in.
    pub(crate) drop_in: Look<FileState>,
    /// The principals files.
    pub(crate) principals: Vec<PrincipalsFile>,
    /// Everything in our folder, the folder itself, our drop-in and every folder above them.
    pub(crate) nodes: Vec<Node>,
    /// The files that `RevokedKeys` names.
    pub(crate) revoked: Vec<Revoked>,
    /// Files with standing keys that are not empty.
    pub(crate) standing: Vec<StandingKeys>,
    /// Private host keys.
    pub(crate) host_keys: Vec<(PathBuf, Look<Node>)>,
    /// Public host keys in wire encoding; `None` if one of them can not be read.
    pub(crate) public_keys: Option<Vec<Vec<u8>>>,
    /// Host certificates.
    pub(crate) host_certificates: Vec<(PathBuf, Look<Option<HostCertificate>>)>,
    /// The PAM service.
    pub(crate) pam: PamFacts,
    /// The guard.
    pub(crate) guard: GuardFacts,
    /// The guard's link to the CA.
    pub(crate) link: LinkFacts,
    /// Whether the clock is kept right; `None` if nothing here tells.
    pub(crate) clock_synchronised: Option<bool>,
    /// Whether this system has the one hierarchy of control groups by which all that a session
    /// started can be ended.
    pub(crate) has_cgroup_v2: bool,
    /// The accounts for which systemd runs services without anybody being logged in.
    pub(crate) lingering: Vec<String>,
}

/// What came of looking at something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look<T> {
    /// It is not there.
    Absent,
    /// It may be there, and can not be read: why.
    Unreadable(String),
    /// It is this.
    Seen(T),
}

impl<T> Look<T> {
    /// What was seen.
    pub(crate) fn seen(&self) -> Option<&T> {
        match self {
            Look::Seen(seen) => Some(seen),
            Look::Absent | Look::Unreadable(_) => None,
        }
    }
}

/// A file or folder, links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) kind: Kind,
    /// Its permission bits.
    pub(crate) mode: u32,
    /// Its user.
    pub(crate) owner: u32,
    /// Whether its group is the one some systems have for host keys (`ssh_keys`).
    pub(crate) is_of_key_group: bool,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A plain file.
    File,
    /// A folder.
    Dir,
    /// A socket.
    Socket,
    /// Anything else.
    Other,
}

impl Node {
    /// Whether others than its owner may write to it.
    pub(crate) fn is_open(&self) -> bool {
        self.mode & 0o022 != 0
    }
}

/// What sshd says of itself and its configuration.
#[derive(Debug, Clone)]
pub(crate) struct SshdFacts {
    /// Major and minor version.
    pub(crate) version: Option<(u32, u32)>,
    /// What it says if it refuses its configuration.
    pub(crate) refused: Option<String>,
    /// What is in force, for each that was asked about; the first is root.
    pub(crate) asked: Vec<Asked>,
    /// Every line of its configuration in the order it reads them.
    pub(crate) directives: Vec<Directive>,
    /// What decides over admission for some connections only.
    pub(crate) found: Vec<Found>,
    /// What the `Match` lines of its configuration ask that nobody was asked about.
    pub(crate) unasked: Vec<String>,
}

/// What is in force for one kind of connection.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The account.
    pub(crate) user: String,
    /// The `Match` line it was made up to fit, if any.
    pub(crate) for_match: Option<String>,
    /// Whether the account has a principals file here.
    pub(crate) is_login: bool,
    /// What sshd says.
    pub(crate) effective: Effective,
}

/// The sshd that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Running {
    /// None was found.
    None {
        /// The file that would name it.
        pid_file: String,
    },
    /// This one.
    Found {
        /// Its number.
        pid: i32,
        /// The program and arguments it was started with; the last may be cut short.
        words: Vec<String>,
        /// Whether the program it runs was replaced on disk since.
        is_replaced: bool,
        /// Files it reads only when it starts or reloads, that changed since it did.
        stale: Vec<PathBuf>,
    },
}

/// The principals file of one login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrincipalsFile {
    /// Its name: the login.
    pub(crate) login: String,
    /// Its bytes.
    pub(crate) content: Look<Vec<u8>>,
    /// Its permission bits.
    pub(crate) mode: u32,
    /// Whether there is such an account.
    pub(crate) has_account: bool,
}

/// A file that `RevokedKeys` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revoked {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) content: Look<RevokedContent>,
}

/// What a file of revoked keys holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevokedContent {
    /// Nothing.
    Empty,
    /// A list that OpenSSH reads.
    List,
    /// A list that OpenSSH can not read.
    Broken,
    /// Plain keys.
    Keys,
}

/// Keys that let an account in without a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StandingKeys {
    /// The account.
    pub(crate) user: String,
    /// The file.
    pub(crate) file: PathBuf,
    /// How many keys stand in it.
    pub(crate) keys: usize,
    /// Lines, counted from 1, that trust a CA.
    pub(crate) authorities: Vec<usize>,
}

/// What a host certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostCertificate {
    /// Whether it is for a host.
    pub(crate) is_host: bool,
    /// The key it is for, in wire encoding.
    pub(crate) key: Vec<u8>,
    /// The names it is for.
    pub(crate) principals: Vec<String>,
    /// From when it holds.
    pub(crate) valid_after: u64,
    /// Until when it holds.
    pub(crate) valid_before: u64,
}

/// The PAM service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PamFacts {
    /// Its file.
    pub(crate) file: PathBuf,
    /// All its lines in order, includes read in their place.
    pub(crate) lines: Look<Vec<PamLine>>,
    /// The file, and those it includes.
    pub(crate) nodes: Vec<Node>,
    /// The hook's program with every folder above it; empty if there is none.
    pub(crate) program: Vec<Node>,
}

/// The guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuardFacts {
    /// The folder where it is looked for.
    pub(crate) run: PathBuf,
    /// Its socket's folder.
    pub(crate) dir: Look<Node>,
    /// Its socket.
    pub(crate) socket: Look<Node>,
    /// Who answers on it; else why nobody does.
    pub(crate) answers: Result<Answering, String>,
}

/// The guard's link to the CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkFacts {
    /// Where it says how it goes.
    pub(crate) file: PathBuf,
    /// What it says.
    pub(crate) heard: Look<Heard>,
    /// Whether the one that says it runs.
    pub(crate) runs: bool,
}

impl Facts {
    /// What `host.toml` says, if it can be read.
    pub(crate) fn settings(&self) -> Option<&Settings> {
        self.settings.seen().and_then(|settings| settings.as_ref().ok())
    }

    /// Whether anything of ours is on this host: without it, rules about it have nothing to say.
    pub(crate) fn is_set_up(&self) -> bool {
        !matches!(
            (&self.settings, &self.user_ca, &self.drop_in),
            (Look::Absent, Look::Absent, Look::Absent)
        )
    }

    /// Where `keyword` is set to `value`; without such a line, it is sshd's default.
    pub(crate) fn place_of(&self, keyword: &str, value: &str) -> super::finding::Place {
        use super::finding::Place;
        let sets = |line: &&Directive| line.is(keyword) && line.value() == value;
        let any = |line: &&Directive| line.is(keyword);
        let all = &self.sshd.directives;
        match all.iter().find(sets).or_else(|| all.iter().find(any)) {
            Some(line) => Place::line(&line.file, line.line),
            None => Place::file(self.layout.config()),
        }
    }
}
