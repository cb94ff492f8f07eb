//! What was seen: facts, and no opinion of them.

use std::path::PathBuf;

use jit_ssh_core::time::UnixTime;

/// All that was seen of a person's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// Now, by this machine's clock.
    pub(super) now: UnixTime,
    /// Files and folders of ours that are not the person's alone.
    pub(super) open_files: Vec<OpenFile>,
    /// The enrolment.
    pub(super) enrolment: EnrolmentSeen,
    /// The key that signs; `None` without an enrolment.
    pub(super) key: Option<KeySeen>,
    /// The ssh-agent.
    pub(super) agent: AgentSeen,
    /// The CA; `None` without an enrolment.
    pub(super) ca: Option<CaSeen>,
    /// The bundle that is kept here.
    pub(super) bundle: Option<BundleSeen>,
    /// Certificates in the agent that bear our mark.
    pub(super) certificates: Vec<CertificateSeen>,
    /// The person's ssh configuration.
    pub(super) config: ConfigSeen,
    /// The host that was asked about.
    pub(super) host: Option<HostSeen>,
}

/// A file or folder that others can enter, read or own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenFile {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) foreign: bool,
}

/// The enrolment's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EnrolmentSeen {
    Absent,
    /// They can not be used: why.
    Broken(String),
    There,
}

/// The key that signs statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeySeen {
    Usable,
    /// In a file that is not taken: why.
    File(String),
    /// It belongs into the agent, and is not there: its fingerprint.
    NotInAgent(String),
}

/// The ssh-agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AgentSeen {
    Absent,
    /// Nobody answers, or what answers is locked or broken: what it says.
    Silent(String),
    /// gpg-agent, by its socket's name: nothing is tried on it, for it keeps what it gets on disk.
    Gpg,
    /// It took no certificate with a lifetime: what it says.
    Refuses(String),
    Takes,
}

/// What the CA shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CaSeen {
    /// Nobody answers: why.
    Away(String),
    /// Somebody answers who does not prove to be it: why.
    Untrusted(String),
    There {
        /// Its time; `None` if it does not say.
        time: Option<UnixTime>,
        /// When its TLS certificate ends; `None` if that can not be read.
        tls_until: Option<UnixTime>,
        /// When the first of the pinned anchors ends.
        anchor_until: Option<UnixTime>,
        /// The version of its bundle; `None` if it has none.
        bundle: Option<u64>,
        /// Why it does not know the person, if it does not.
        stranger: Option<String>,
    },
}

/// The bundle that is kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BundleSeen {
    pub(super) version: u64,
    /// When the CA last said that it is in force.
    pub(super) fetched: UnixTime,
}

/// A certificate in the agent that bears our mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CertificateSeen {
    pub(super) id: String,
    pub(super) principals: Vec<String>,
    pub(super) valid_after: UnixTime,
    pub(super) valid_before: UnixTime,
    /// Whether a signer of the kept bundle made it for the enrolled person.
    pub(super) ours: bool,
    /// Whether the CA's revocation list names it; `None` if that list can not be had.
    pub(super) revoked: Option<bool>,
}

/// `~/.ssh/config` and what `ssh-config` writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigSeen {
    /// The file that `ssh-config` writes.
    pub(super) ours: PathBuf,
    /// Whether it is there.
    pub(super) written: bool,
    /// The person's own file.
    pub(super) file: PathBuf,
    /// Its text; empty if there is none.
    pub(super) text: String,
    /// The file by which ssh trusts this CA's hosts.
    pub(super) known_hosts: PathBuf,
    /// The agent's socket, as the environment has it.
    pub(super) agent_socket: String,
}

/// The host that was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostSeen {
    pub(super) name: String,
    /// What the bundle says of it; `None` if it does not list it, or is not kept here.
    pub(super) listed: Option<Listed>,
    /// What `ssh -G` says is in force, as `(keyword, value)`; or why it says nothing.
    pub(super) ssh: Result<Vec<(String, String)>, String>,
    /// Where key and certificate lie if no agent takes them.
    pub(super) key_file: PathBuf,
}

/// A host as the bundle has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) address: Option<(String, u16)>,
    pub(super) logins: Vec<String>,
    pub(super) via: bool,
    /// Whether it has a host certificate.
    pub(super) has_key: bool,
}

impl HostSeen {
    /// The first value that ssh has for a keyword.
    pub(super) fn ssh_value(&self, keyword: &str) -> Option<&str> {
        let pairs = self.ssh.as_ref().ok()?;
        pairs.iter().find(|(key, _)| key == keyword).map(|(_, value)| value.as_str())
    }

    /// Every value that ssh has for a keyword.
    pub(super) fn ssh_values<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.ssh.iter().flatten();
        pairs.filter(move |(key, _)| key == keyword).map(|(_, value)| value.as_str())
    }
}
