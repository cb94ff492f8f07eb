//! Which files on a host are ours, and what sshd must say of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use jit_ssh_core::names::Login;

use crate::error::CommandError;

/// Where host files are, unless told otherwise.
pub(crate) const DEFAULT_ETC: &str = "/etc/ssh";

/// Where the guard's socket is, unless told otherwise.
pub(crate) const DEFAULT_RUN: &str = "/run/jit-ssh";

/// Where events wait for the CA, and lists are kept, unless told otherwise.
pub(crate) const DEFAULT_STATE: &str = "/var/lib/jit-ssh";

/// Our folder among sshd's files.
const OWN_DIR: &str = "jit-ssh";

/// Where guard and link find things, as they are told when they start.
#[derive(Debug, Clone, Args)]
pub(crate) struct Folders {
    /// Where host files are
    #[arg(long, value_name = "DIR", default_value = DEFAULT_ETC)]
    pub(crate) etc: PathBuf,
    /// Where the socket and the table of sessions are
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN)]
    pub(crate) run: PathBuf,
    /// Where events wait for the CA, and lists are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE)]
    pub(crate) state: PathBuf,
}

impl Folders {
    /// Our folder among sshd's files.
    pub(crate) fn own_dir(&self) -> PathBuf {
        self.etc.join(OWN_DIR)
    }

    /// The same, for the command line of another program of ours.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        [("--etc", &self.etc), ("--run", &self.run), ("--state", &self.state)]
            .into_iter()
            .flat_map(|(option, path)| [option.into(), path.into()])
            .collect()
    }
}

/// The places of all files, absolute.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    etc: PathBuf,
    config: PathBuf,
    run: PathBuf,
    pam: PathBuf,
}

impl Layout {
    /// The layout under `etc` with sshd's main file `config` (by default `sshd_config` in `etc`).
    ///
    /// # Errors
    /// A usage error if a path has characters that mean something to sshd's parser, its glob or
    /// its tokens: what we write must mean exactly this path.
    pub(crate) fn new(etc: &Path, config: Option<&Path>) -> Result<Layout, CommandError> {
        let etc = absolute("--etc", etc)?;
        let config = match config {
            Some(config) => absolute("--sshd-config", config)?,
            None => etc.join("sshd_config"),
        };
        let pam = etc.parent().unwrap_or(Path::new("/")).join("pam.d/sshd");
        Ok(Layout { etc, config, run: DEFAULT_RUN.into(), pam })
    }

    /// The same with the guard's socket in `run`.
    ///
    /// # Errors
    /// A usage error as for [`Layout::new`].
    pub(crate) fn with_run(self, run: &Path) -> Result<Layout, CommandError> {
        Ok(Layout { run: absolute("--run", run)?, ..self })
    }

    /// The same with the PAM service file `pam`; by default `sshd` in the folder `pam.d` beside `etc`.
    ///
    /// # Errors
    /// If the path is none.
    pub(crate) fn with_pam(self, pam: &Path) -> Result<Layout, CommandError> {
        let pam = std::path::absolute(pam).map_err(|e| {
            CommandError::usage(format!("--pam {} can not be used: {e}.", pam.display()))
        })?;
        Ok(Layout { pam, ..self })
    }

    /// The folder of the guard's socket.
    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    /// The file of sshd's PAM service.
    pub(crate) fn pam(&self) -> &Path {
        &self.pam
    }

    /// Where host files are put.
    pub(crate) fn etc(&self) -> &Path {
        &self.etc
    }

    /// sshd's main file.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Our folder.
    pub(crate) fn own_dir(&self) -> PathBuf {
        self.etc.join(OWN_DIR)
    }

    /// The CA keys sshd trusts to certify users.
    pub(crate) fn user_ca(&self) -> PathBuf {
        self.own_dir().join("user_ca.pub")
    }

    /// How this host was set up.
    pub(crate) fn settings(&self) -> PathBuf {
        self.own_dir().join(crate::settings::FILE)
    }

    /// What sshd must have as `RevokedKeys`: certificates and keys it refuses.
    pub(crate) fn revoked_keys(&self) -> PathBuf {
        self.own_dir().join("revoked.krl")
    }

    /// This host's certificate, whatever the type of its key: what sshd must have among its
    /// `HostCertificate`s.
    pub(crate) fn host_certificate(&self) -> PathBuf {
        self.own_dir().join("ssh_host_ed25519_key-cert.pub")
    }

    /// What has sshd show that certificate. Our drop-in includes it, and sshd says nothing of an
    /// `Include` that matches no file: so there may be none, and it can come without another drop-in.
    pub(crate) fn certificate_include(&self) -> PathBuf {
        self.own_dir().join("host_certificate.conf")
    }

    /// What vouches for this host, where it joined.
    pub(crate) fn enrolment(&self) -> PathBuf {
        self.own_dir().join(crate::enrolment::FILE)
    }

    /// The folder with one principals file for each login.
    pub(crate) fn principals_dir(&self) -> PathBuf {
        self.own_dir().join("principals")
    }

    /// The principals that may log in as `login`.
    pub(crate) fn principals(&self, login: &Login) -> PathBuf {
        self.principals_dir().join(login.as_str())
    }

    /// The folder of drop-ins.
    pub(crate) fn drop_in_dir(&self) -> PathBuf {
        self.etc.join("sshd_config.d")
    }

    /// Our drop-in. sshd takes the first value of a keyword, so its name sorts first.
    pub(crate) fn drop_in(&self) -> PathBuf {
        self.drop_in_dir().join("00-jit-ssh.conf")
    }

    /// What sshd must have as `TrustedUserCAKeys`.
    pub(crate) fn trusted_user_ca_keys(&self) -> String {
        self.user_ca().display().to_string()
    }

    /// What sshd must have as `AuthorizedPrincipalsFile`: `%u` is the account logged in to.
    pub(crate) fn authorized_principals_file(&self) -> String {
        format!("{}/%u", self.principals_dir().display())
    }

    /// The `Include` that brings in our drop-in.
    pub(crate) fn include_line(&self) -> String {
        format!("Include {}", self.drop_in().display())
    }
}

fn absolute(option: &str, path: &Path) -> Result<PathBuf, CommandError> {
    let failed = |error: std::io::Error| {
        CommandError::usage(format!("{option} {} can not be used: {error}.", path.display()))
    };
    let mut absolute = std::path::absolute(path).map_err(failed)?;
    if absolute.components().any(|part| part == std::path::Component::ParentDir) {
        // `a/../b` is not `b` where `a` is a link: only the file system knows.
        absolute = std::fs::canonicalize(&absolute).map_err(failed)?;
    }
    match is_plain(&absolute) {
        true => Ok(absolute),
        false => Err(CommandError::usage(format!(
            "{option} {absolute:?} has characters that mean something else in sshd_config."
        ))
        .hint("use a path of letters, digits, '/', '.', '_' and '-'")),
    }
}

/// Whether a path means exactly itself to sshd and to PAM.
pub(crate) fn is_plain(path: &Path) -> bool {
    let plain = |char: char| char.is_alphanumeric() || "/._-+@".contains(char);
    path.to_str().is_some_and(|text| text.chars().all(plain))
}
