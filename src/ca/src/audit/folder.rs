//! Where root, log and bundles lie: a state folder, or an export, which has the same form.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jit_ssh_core::deployment::Deployment;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::log::{Checkpoint, Note};
use jit_ssh_core::root::Root;
use jit_ssh_signer::log::TileDir;
use jit_ssh_signer::protocol::Signed;

use super::fault::LogFault;
use crate::failure::Failure;
use crate::terminal;

/// Where to find the log, on the command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The CA's configuration folder, which names the state
    #[arg(long, value_name = "DIR", default_value = "ca-config", conflicts_with = "from")]
    config: PathBuf,
    /// A folder that `jit-ssh-ca log export` made
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

/// A folder with `root.json`, `log/` and `bundles/`.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    dir: PathBuf,
    kind: FolderKind,
}

/// What kind of folder it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FolderKind {
    /// The state of a CA, with its signer's journal.
    State,
    /// What was copied from one.
    Copy,
}

impl Place {
    /// The folder meant.
    ///
    /// # Errors
    /// If ca.toml can not be used.
    pub(crate) fn folder(&self) -> anyhow::Result<Folder> {
        Folder::named(self.from.as_deref(), &self.config)
    }
}

impl Folder {
    /// The copy at `from` if one is named, else the state that `config` names.
    ///
    /// # Errors
    /// If ca.toml can not be used.
    pub(crate) fn named(from: Option<&Path>, config: &Path) -> anyhow::Result<Folder> {
        match from {
            Some(dir) => Ok(Folder::at(dir)),
            None => Folder::of_config(config),
        }
    }

    /// The folder at `dir`, which is a copy.
    pub(crate) fn at(dir: &Path) -> Folder {
        Folder { dir: dir.to_path_buf(), kind: FolderKind::Copy }
    }

    /// The state folder at `dir`.
    pub(crate) fn of_state(dir: &Path) -> Folder {
        Folder { dir: dir.to_path_buf(), kind: FolderKind::State }
    }

    /// The state folder that `config`/ca.toml names.
    ///
    /// # Errors
    /// If ca.toml can not be used.
    pub(crate) fn of_config(config: &Path) -> anyhow::Result<Folder> {
        Ok(Folder::of_state(&deployment(config)?.state))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// The front's database; `None` beside a copy.
    pub(crate) fn front_database(&self) -> Option<PathBuf> {
        match self.kind {
            FolderKind::State => Some(self.dir.join("front").join("jit-ssh.db")),
            FolderKind::Copy => None,
        }
    }

    /// The root, and its exact bytes.
    ///
    /// # Errors
    /// If it can not be read or is no root.
    pub(crate) fn root(&self) -> anyhow::Result<(Root, Vec<u8>)> {
        let path = self.dir.join("root.json");
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let root = Root::parse(&bytes).with_context(|| path.display().to_string())?;
        Ok((root, bytes))
    }

    /// The log.
    pub(crate) fn log(&self) -> TileDir {
        TileDir::new(self.dir.join("log"))
    }

    /// What the published checkpoint says, whoever signed it; `None` if nothing was published.
    ///
    /// # Errors
    /// If it can not be read or is no checkpoint.
    pub(crate) fn checkpoint(&self) -> anyhow::Result<Option<(Checkpoint, Vec<u8>)>> {
        let Some(note) = self.log().checkpoint_note()? else { return Ok(None) };
        let parsed = Note::parse(&note).and_then(|note| note.text().parse());
        let checkpoint: Checkpoint = parsed.map_err(LogFault::Checkpoint)?;
        Ok(Some((checkpoint, note)))
    }

    /// The digest of the bundle statement that is named as the one in force; `None` if none is.
    ///
    /// # Errors
    /// [`LogFault`] if what names it is no signed statement; anything else if it can not be read.
    pub(crate) fn in_force(&self) -> anyhow::Result<Option<Digest>> {
        let path = self.dir.join("bundles").join("current.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let signed: Signed = serde_json::from_slice(&bytes).map_err(|error| {
            LogFault::Files(format!("{} is no signed bundle: {error}", path.display()))
        })?;
        Ok(Some(Digest::of(signed.statement.as_bytes())))
    }

    /// How many entries the signer's journal says are in the log's files at the least: its segments
    /// are named after the size they build on (ARCHITECTURE.md, Files), and a segment is begun only
    /// after a checkpoint of that size was published. `None` in a copy, where there is no journal,
    /// and where it may not be read.
    pub(crate) fn journal_base(&self) -> Option<u64> {
        if self.is_copy() {
            return None;
        }
        let segments = fs::read_dir(self.dir.join("signer").join("journal")).ok()?;
        let base = |name: &str| name.strip_prefix("segment-")?.parse().ok();
        segments.filter_map(|segment| base(segment.ok()?.file_name().to_str()?)).max()
    }

    /// Whether it is a copy, and not the state of a CA.
    pub(crate) fn is_copy(&self) -> bool {
        self.kind == FolderKind::Copy
    }

    /// Whether nothing speaks of a log that ever began: a CA that never served.
    ///
    /// # Errors
    /// As [`Folder::in_force`].
    pub(crate) fn never_served(&self) -> anyhow::Result<bool> {
        Ok(!self.is_copy() && self.journal_base().is_none() && self.in_force()?.is_none())
    }

    /// A bundle's file by its SHA-256, unchecked; `None` if it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn bundle_file(&self, digest: Digest) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.dir.join("bundles").join(digest.to_string())) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Reads ca.toml in a configuration folder.
///
/// # Errors
/// If it can not be read or used; its problems are told on stderr.
pub(crate) fn deployment(config: &Path) -> anyhow::Result<Deployment> {
    let path = config.join("ca.toml");
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Deployment::parse(&bytes).map_err(|problems| {
        terminal::say(&problems.to_string());
        Failure::error(format!("{} can not be used.", path.display())).into()
    })
}
