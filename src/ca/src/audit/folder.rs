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

use super::fault::LogFault;
use crate::failure::Failure;
use crate::terminal;

/// Where to find the log, on the command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The CA's configuration folder, whose ca.toml names the state
    #[arg(long, value_name = "DIR", default_value = "ca-config", conflicts_with = "from")]
    config: PathBuf,
    /// A folder that `jit-ssh-ca log export` made
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

/// A folder with `root.json`, `log/` and `bundles/`.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Place {
    /// The folder meant.
    ///
    /// # Errors
    /// If ca.toml can not be used.
    pub(crate) fn folder(&self) -> anyhow::Result<Folder> {
        match &self.from {
            Some(dir) => Ok(Folder::at(dir)),
            None => Folder::of_config(&self.config),
        }
    }
}

impl Folder {
    /// The folder at `dir`.
    pub(crate) fn at(dir: &Path) -> Folder {
        Folder(dir.to_path_buf())
    }

    /// The state folder that `config`/ca.toml names.
    ///
    /// # Errors
    /// If ca.toml can not be used.
    pub(crate) fn of_config(config: &Path) -> anyhow::Result<Folder> {
        Ok(Folder(deployment(config)?.state))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The root, and its exact bytes.
    ///
    /// # Errors
    /// If it can not be read or is no root.
    pub(crate) fn root(&self) -> anyhow::Result<(Root, Vec<u8>)> {
        let path = self.0.join("root.json");
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let root = Root::parse(&bytes).with_context(|| path.display().to_string())?;
        Ok((root, bytes))
    }

    /// The log.
    pub(crate) fn log(&self) -> TileDir {
        TileDir::new(self.0.join("log"))
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

    /// A bundle's file by its SHA-256, unchecked; `None` if it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn bundle_file(&self, digest: Digest) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join("bundles").join(digest.to_string())) {
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
