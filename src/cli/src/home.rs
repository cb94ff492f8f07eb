//! Where a person's files are, and how they are written: 0600 in folders of 0700, whole or not at
//! all. Private keys go to the runtime folder and nowhere else: it ends with the login session.
//!
//! Each CA has files of its own: those of the CA called `default` lie at the top of the three folders,
//! those of any other in `ca/NAME` below them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jit_ssh_core::names::{ActorId, NameError};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::enrolment::ENROLMENT;
use crate::failure::{Failure, Outcome};

/// Longest file of ours that is read: a whole bundle part.
const MAX_FILE: u64 = 64 << 20;

/// How many CAs are looked for at most: far more than anybody has.
const MAX_CAS: usize = 64;

/// The name by which this machine calls a CA: an id, as those of persons.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct CaName(ActorId);

impl CaName {
    /// The CA that nobody named.
    pub(crate) fn usual() -> CaName {
        CaName("default".parse().expect("it obeys the grammar"))
    }

    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    fn is_usual(&self) -> bool {
        *self == CaName::usual()
    }
}

impl std::str::FromStr for CaName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<CaName, NameError> {
        text.parse().map(CaName)
    }
}

impl std::fmt::Display for CaName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A person's folders, as far as they are about one CA.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    config: PathBuf,
    state: PathBuf,
    runtime: PathBuf,
    ca: CaName,
}

impl Home {
    /// Finds the folders by `JIT_SSH_HOME`, else by the XDG variables.
    pub(crate) fn find() -> Result<Home, Failure> {
        let home = Home::from_variables(|name| {
            let path = std::env::var_os(name).filter(|value| !value.is_empty())?;
            // XDG: a relative path is to be ignored. Ours may be relative.
            let own = name == "JIT_SSH_HOME";
            Some(PathBuf::from(path)).filter(|path| own || path.is_absolute())
        })?;
        // Before anything is read from it or put there: it may lie in a folder shared with others.
        private_folder(&home.runtime)?;
        Ok(home)
    }

    fn from_variables(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<Home, Failure> {
        if let Some(all) = variable("JIT_SSH_HOME") {
            let all = std::path::absolute(&all).map_err(|e| Failure::file(&all, e))?;
            return Ok(Home {
                config: all.join("config"),
                state: all.join("state"),
                runtime: all.join("run"),
                ca: CaName::usual(),
            });
        }
        let in_home = |folder: &str| variable("HOME").map(|home| home.join(folder));
        let config = variable("XDG_CONFIG_HOME").or_else(|| in_home(".config"));
        let state = variable("XDG_STATE_HOME").or_else(|| in_home(".local/state"));
        let (Some(config), Some(state)) = (config, state) else {
            return Err(Failure::new(
                Outcome::Error,
                "NO_HOME",
                "there is no home directory: HOME is not set.",
            )
            .hint("set HOME, or JIT_SSH_HOME to a folder of your own"));
        };
        let runtime = match variable("XDG_RUNTIME_DIR") {
            Some(folder) => folder.join("jit-ssh"),
            None => std::env::temp_dir().join(format!("jit-ssh-{}", own_uid())),
        };
        let (config, state) = (config.join("jit-ssh"), state.join("jit-ssh"));
        Ok(Home { config, state, runtime, ca: CaName::usual() })
    }

    /// A home in one folder, as `JIT_SSH_HOME` makes it.
    #[cfg(test)]
    pub(crate) fn under(folder: &Path) -> Home {
        let one = |name: &str| (name == "JIT_SSH_HOME").then(|| folder.to_owned());
        Home::from_variables(one).expect("one variable is enough")
    }

    /// The same person's home for another CA.
    pub(crate) fn of_ca(&self, ca: &CaName) -> Home {
        Home { ca: ca.clone(), ..self.clone() }
    }

    /// Which CA it is about.
    pub(crate) fn ca(&self) -> &CaName {
        &self.ca
    }

    /// The home of every CA the person is enrolled with: `default` first, the others by name.
    pub(crate) fn all(&self) -> Result<Vec<(CaName, Home)>, Failure> {
        let mut names: Vec<CaName> = files_of(&self.config.join(CAS))?
            .iter()
            .filter_map(|folder| folder.file_name()?.to_str()?.parse().ok())
            .filter(|name: &CaName| !name.is_usual())
            .take(MAX_CAS)
            .collect();
        names.insert(0, CaName::usual());
        let homes = names.into_iter().map(|name| (name.clone(), self.of_ca(&name)));
        Ok(homes.filter(|(_, home)| home.config(ENROLMENT).exists()).collect())
    }

    /// A file of the configuration: lasting, no secrets.
    pub(crate) fn config(&self, name: &str) -> PathBuf {
        self.below(&self.config, name)
    }

    /// A file of the state: can be fetched anew.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.below(&self.state, name)
    }

    /// A file that must not outlive the login session: keys and tokens.
    pub(crate) fn runtime(&self, name: &str) -> PathBuf {
        self.below(&self.runtime, name)
    }

    fn below(&self, folder: &Path, name: &str) -> PathBuf {
        if self.ca.is_usual() {
            return folder.join(name);
        }
        folder.join(CAS).join(self.ca.as_str()).join(name)
    }
}

/// Below each of the three folders: one folder for each CA but the usual one.
const CAS: &str = "ca";

fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Reads a file of ours; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let failed = |e: io::Error| Failure::file(path, e);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    // The true size first, so that no half-read copy of a secret is left behind by growing.
    let len = file.metadata().map_err(failed)?.len();
    let room = usize::try_from(len.min(MAX_FILE)).unwrap_or_default().saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_FILE.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(Failure::file(path, "the file is longer than anything this program writes"));
    }
    Ok(Some(bytes))
}

/// Writes a file whole or not at all, readable by its owner only.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(path);
    private_folder(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    // A leftover of a process that had this id before.
    let _ = fs::remove_file(&beside);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|e| {
        let _ = fs::remove_file(&beside);
        Failure::file(path, e)
    })
}

/// Puts a link to `target` at `path`, in place of what is there.
pub(crate) fn link(path: &Path, target: &Path) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(path);
    private_folder(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&beside);
    let made = std::os::unix::fs::symlink(target, &beside).and_then(|()| fs::rename(&beside, path));
    made.map_err(|e| Failure::file(path, e))
}

/// Removes a file; that there is none is fine.
pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Failure::file(path, e)),
        _ => Ok(()),
    }
}

/// The files of a folder of ours; none if the folder is not there.
pub(crate) fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Failure::file(folder, e)),
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok())
        // What begins with a dot is being written at this moment.
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|entry| entry.path())
        .collect();
    files.sort();
    Ok(files)
}

/// Makes the folder of a file of ours, as [`write`] does.
pub(crate) fn private_parent(path: &Path) -> Result<(), Failure> {
    private_folder(path.parent().unwrap_or(path))
}

/// Makes a folder of mode 0700 if it is not there, and refuses one that is not ours alone.
fn private_folder(folder: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|e| Failure::file(folder, e))?;
    // Of the entry itself: in a shared folder, a link could lead anywhere.
    let found = fs::symlink_metadata(folder).map_err(|e| Failure::file(folder, e))?;
    if !found.is_dir() || found.uid() != own_uid() {
        return Err(Failure::file(folder, "this is not a folder of your own")
            .hint("remove it, or set JIT_SSH_HOME to a folder of your own"));
    }
    if found.mode() & 0o077 != 0 {
        return Err(Failure::file(folder, "others can enter this folder")
            .hint(format!("chmod 700 {}", folder.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_variable_moves_everything_and_the_runtime_is_never_in_the_home() {
        let one =
            Home::from_variables(|name| (name == "JIT_SSH_HOME").then(|| "/x".into())).unwrap();
        assert!(one.config("a").starts_with("/x") && one.runtime("a").starts_with("/x"));
        let home =
            Home::from_variables(|name| (name == "HOME").then(|| "/home/al".into())).unwrap();
        assert_eq!(home.config("a"), Path::new("/home/al/.config/jit-ssh/a"));
        assert_eq!(home.state("a"), Path::new("/home/al/.local/state/jit-ssh/a"));
        assert!(!home.runtime("a").starts_with("/home/al"));
        assert!(Home::from_variables(|_| None).is_err());
    }

    #[test]
    fn each_ca_has_folders_of_its_own_and_the_usual_one_those_of_before() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::under(dir.path());
        assert!(home.all().unwrap().is_empty());
        let names = || home.all().unwrap().into_iter().map(|(name, _)| name.to_string());
        let lab = home.of_ca(&"lab".parse().unwrap());
        write(&lab.config(ENROLMENT), b"{}").unwrap();
        assert_eq!(names().collect::<Vec<_>>(), ["lab"]);
        write(&home.config(ENROLMENT), b"{}").unwrap();
        // Neither is one: nobody is enrolled there, and this is no name.
        write(&home.of_ca(&"empty".parse().unwrap()).config("x"), b"").unwrap();
        write(&home.config("ca/No Name/enrolment.json"), b"{}").unwrap();
        assert_eq!(names().collect::<Vec<_>>(), ["default", "lab"]);
        for (one, other) in [
            (home.config("f"), lab.config("f")),
            (home.state("f"), lab.state("f")),
            (home.runtime("f"), lab.runtime("f")),
        ] {
            assert_eq!(other, one.parent().unwrap().join("ca/lab/f"));
        }
        assert_eq!(lab.of_ca(&CaName::usual()).config("f"), home.config("f"));
        for bad in ["", "..", "a/b", "Lab", ".a"] {
            assert!(bad.parse::<CaName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn files_are_private_and_a_folder_that_others_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        write(&path, b"secret").unwrap();
        write(&path, b"again").unwrap();
        assert_eq!(read(&path).unwrap().unwrap().as_slice(), b"again");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(files_of(path.parent().unwrap()).unwrap(), std::slice::from_ref(&path));

        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(write(&path, b"x").is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("a"), &link).unwrap();
        assert!(write(&link.join("file"), b"x").is_err());
    }

    #[test]
    fn what_is_not_there_reads_as_nothing_and_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none");
        assert!(read(&path).unwrap().is_none());
        remove(&path).unwrap();
        assert!(files_of(&path).unwrap().is_empty());
    }
}
