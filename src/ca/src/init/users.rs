//! Two users, one for the signer and one for the front: who owns which part of the state folder.
//!
//! The folder itself belongs to root and is open for passing through. Neither user can read what is
//! the other's alone, and the front can write nothing that the signer trusts.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::failure::Failure;

/// The users of signer and front.
#[derive(Debug)]
pub(super) struct Users {
    signer: User,
    front: User,
}

#[derive(Debug)]
struct User {
    name: String,
    uid: u32,
    /// Their first group.
    gid: u32,
}

impl Users {
    /// Looks both up.
    ///
    /// # Errors
    /// If one is unknown or root, if they are the same, or if who runs this is not root.
    pub(super) fn find(signer: &str, front: &str) -> anyhow::Result<Users> {
        let (signer, front) = (User::find(signer)?, User::find(front)?);
        if signer.uid == front.uid {
            return Err(Failure::usage(format!(
                "{} and {} are one user; the signer's must be another than the front's.",
                signer.name, front.name
            ))
            .into());
        }
        if !rustix::process::geteuid().is_root() {
            return Err(Failure::error(
                "only root can give files to the users of signer and front; nothing was made.",
            )
            .hint("run this with sudo, or without --signer-user and --front-user for one user")
            .into());
        }
        Ok(Users { signer, front })
    }

    /// Where the signer listens: in a folder of the signer's, which the front can pass through.
    pub(super) fn socket(state: &Path) -> PathBuf {
        state.join(RUN).join("signer.sock")
    }

    /// Gives each part of a new state folder to its owner, last the folder to everyone's passing.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn own(&self, built: &Path) -> io::Result<()> {
        for folder in [LOG, BUNDLES, RUN] {
            fs::create_dir(built.join(folder))?;
            fs::set_permissions(built.join(folder), Permissions::from_mode(0o755))?;
        }
        for folder in [LOG, BUNDLES, RUN, SIGNER] {
            give(&built.join(folder), &self.signer)?;
        }
        give(&built.join(FRONT), &self.front)?;
        fs::set_permissions(built.join("root.json"), Permissions::from_mode(0o644))?;
        fs::set_permissions(built, Permissions::from_mode(0o711))
    }

    /// What stands in the way of a user to what both must read, one sentence each. Judged by
    /// owners, first groups and modes alone.
    pub(super) fn obstacles(&self, config: &Path, state: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for path in [config.join("ca.toml"), state.join("root.json")] {
            for user in [&self.signer, &self.front] {
                if let Some((place, mode)) = user.stopped_before(&path) {
                    found.push(format!(
                        "{} can not get to {}: {} has mode {mode:o}.",
                        user.name,
                        path.display(),
                        place.display()
                    ));
                }
            }
        }
        found
    }

    /// The commands by which root starts signer and front.
    pub(super) fn commands(&self, config: &Path, state: &Path) -> [String; 2] {
        let (config, socket) = (config.display(), Users::socket(state));
        let (signer, front) = (self.signer.becoming(), self.front.becoming());
        [
            format!(
                "{signer} jit-ssh-signer --config {config} --socket {} --peer-uid {}",
                socket.display(),
                self.front.uid
            ),
            format!("{front} jit-ssh-ca serve --config {config}"),
        ]
    }
}

impl User {
    fn find(name: &str) -> anyhow::Result<User> {
        // By id(1), since users are not in /etc/passwd alone.
        let ask = |what: &str| {
            let said =
                Command::new("id").args([what, "--", name]).output().context("cannot run id");
            let number = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().parse().ok());
            number?.ok_or_else(|| {
                anyhow::Error::from(
                    Failure::error(format!("there is no user {name} on this machine."))
                        .hint(format!("make one: useradd --system --no-create-home {name}")),
                )
            })
        };
        let (uid, gid) = (ask("-u")?, ask("-g")?);
        if uid == 0 {
            return Err(Failure::usage(format!(
                "{name} is root; signer and front must be users without power over each other."
            ))
            .into());
        }
        Ok(User { name: name.to_owned(), uid, gid })
    }

    /// The beginning of a command that root gives, to become this user for good.
    fn becoming(&self) -> String {
        let User { name, gid, .. } = self;
        format!("setpriv --reuid={name} --regid={gid} --init-groups --no-new-privs")
    }

    /// The first folder on the way to a file, or the file itself, that is closed to this user.
    fn stopped_before(&self, path: &Path) -> Option<(PathBuf, u32)> {
        // What can not be looked at is not judged.
        let real = fs::canonicalize(path).ok()?;
        let mut way: Vec<&Path> = real.ancestors().collect();
        way.reverse();
        way.into_iter().find_map(|step| {
            let data = fs::metadata(step).ok()?;
            let asked = if data.is_dir() { 0o1 } else { 0o4 };
            let shift = match (data.uid() == self.uid, data.gid() == self.gid) {
                (true, _) => 6,
                (false, true) => 3,
                (false, false) => 0,
            };
            let closed = (data.mode() >> shift) & asked == 0;
            closed.then(|| (step.to_path_buf(), data.mode() & 0o7777))
        })
    }
}

/// Gives a folder with all that is in it.
fn give(path: &Path, user: &User) -> io::Result<()> {
    // Never the target of a link.
    lchown(path, Some(user.uid), Some(user.gid))?;
    if !fs::symlink_metadata(path)?.is_dir() {
        return Ok(());
    }
    for item in fs::read_dir(path)? {
        give(&item?.path(), user)?;
    }
    Ok(())
}

const LOG: &str = "log";
const BUNDLES: &str = "bundles";
const SIGNER: &str = "signer";
const FRONT: &str = "front";
/// Where the socket is.
const RUN: &str = "run";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_to_a_user_is_named_and_the_owner_and_an_open_way_pass() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("etc"), dir.path().join("etc/ca.toml"));
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "").unwrap();
        // All around it is open.
        let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        open(dir.path(), 0o711).unwrap();
        let user = |uid| User { name: "user".to_owned(), uid, gid: 64_998 };
        let (stranger, owner) = (user(64_998), user(fs::metadata(&file).unwrap().uid()));
        let real = |path: &Path| fs::canonicalize(path).unwrap();
        for (folder_mode, file_mode, stopped) in [
            (0o700, 0o600, Some((real(&folder), 0o700))),
            (0o711, 0o600, Some((real(&file), 0o600))),
            (0o711, 0o604, None),
        ] {
            open(&folder, folder_mode).unwrap();
            open(&file, file_mode).unwrap();
            assert_eq!(stranger.stopped_before(&file), stopped);
            assert_eq!(owner.stopped_before(&file), None);
        }
    }
}
