//! The state folder: built beside its place, and put there whole.

use std::fs;
use std::io::{self, Write as _};
use std::num::NonZeroU16;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jit_ssh_core::root::{Admin, Root};
use jit_ssh_core::time::UnixTime;

use super::signer_keys::{self, PublicKeys};
use super::undo::Undo;
use super::users::Users;
use crate::anchor;
use crate::failure::Failure;

/// The number of the first signer.
const FIRST: NonZeroU16 = NonZeroU16::MIN;

/// What a state folder is made of, apart from keys of its own.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) admins: Vec<Admin>,
    pub(super) threshold: u8,
    /// What the front's certificate must be for.
    pub(super) names: Vec<String>,
    /// The operator's TLS anchor in PEM; one is made if absent.
    pub(super) tls_anchor: Option<String>,
    /// Who is to own it; whoever makes it if absent.
    pub(super) users: Option<Users>,
}

/// A state folder that is not yet in its place.
#[derive(Debug)]
pub(super) struct NewState {
    pub(super) root: Root,
    pub(super) keys: PublicKeys,
    pub(super) users: Option<Users>,
    built: PathBuf,
}

/// Checks that nothing is where the state will be.
///
/// # Errors
/// If there is a CA already, or anything else.
pub(super) fn check_free(state: &Path) -> anyhow::Result<()> {
    let shown = state.display();
    if state.join("root.json").exists() {
        return Err(Failure::error(format!("{shown} holds a CA already; nothing was changed."))
            .hint("name another folder with --state; a CA's root never changes in place")
            .into());
    }
    match fs::read_dir(state) {
        Ok(mut items) => match items.next() {
            None => Ok(()),
            Some(_) => Err(Failure::error(format!("{shown} is not empty; nothing was changed."))
                .hint("name a new or an empty folder with --state")
                .into()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot use {shown}")),
    }
}

/// Builds the state folder beside its place.
///
/// # Errors
/// If a key can not be made or a file not be written.
pub(super) fn make(
    state: &Path,
    wanted: Wanted,
    now: UnixTime,
    undo: &mut Undo,
) -> anyhow::Result<NewState> {
    let (parent, name) = state
        .parent()
        .zip(state.file_name())
        .with_context(|| format!("{} can not be a state folder", state.display()))?;
    undo.make_folders(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let name = format!(".{}.new-{}", name.to_string_lossy(), std::process::id());
    let built = parent.join(name);
    private_folder(&built)?;
    undo.tree(&built);

    let Wanted { admins, threshold, names, tls_anchor, users } = wanted;
    let (certificate, key) = match tls_anchor {
        Some(operators) => (operators, None),
        None => anchor::make(now).map(|(certificate, key)| (certificate, Some(key)))?,
    };
    let root = Root::new(admins, threshold, certificate.clone())?;
    let tls = anchor::folder(&built);
    private_folder(&built.join("front"))?;
    private_folder(&tls)?;
    write(&tls.join(anchor::CERTIFICATE), certificate.as_bytes(), 0o644)?;
    if let Some(key) = key {
        write(&tls.join(anchor::KEY), key.as_bytes(), 0o600)?;
    }
    write(&tls.join(anchor::NAMES), format!("{}\n", names.join("\n")).as_bytes(), 0o644)?;
    let digest = root.fingerprint().0.to_string();
    let log = format!("jit-ssh/{}/{FIRST}", digest.get(..16).unwrap_or(&digest));
    let keys = signer_keys::create(&built.join("signer"), FIRST, &log, &root)?;
    write(&built.join("root.json"), &root.to_bytes(), 0o644)?;
    if let Some(users) = &users {
        users.own(&built).context("cannot give the state to the users of signer and front")?;
    }
    Ok(NewState { root, keys, users, built })
}

impl NewState {
    /// Gives the folder its name: the moment from which there is a CA.
    ///
    /// # Errors
    /// If something came there in the meantime.
    pub(super) fn put_in_place(&self, state: &Path, undo: &mut Undo) -> anyhow::Result<()> {
        // Replaces an empty folder, and refuses any other (rename(2)).
        fs::rename(&self.built, state)
            .with_context(|| format!("cannot put the state at {}", state.display()))?;
        undo.tree(state);
        if let Some(parent) = state.parent() {
            fs::File::open(parent).and_then(|parent| parent.sync_all())?;
        }
        Ok(())
    }
}

pub(super) fn private_folder(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}

pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .with_context(|| format!("cannot write {}", path.display()))
}
