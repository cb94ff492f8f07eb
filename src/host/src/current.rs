//! Reads what is there: our files, sshd's main file and all it includes.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::apply::TEMPORARY;
use crate::config::{self, Found, Includes};
use crate::content;
use crate::error::CommandError;
use crate::layout::Layout;

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileState {
    /// Its bytes.
    pub(crate) content: Vec<u8>,
    /// Its permission bits.
    pub(crate) mode: u32,
    /// Owner and group.
    pub(crate) owner: Owner,
}

/// Owner and group of a file, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The user.
    pub(crate) user: u32,
    /// The group.
    pub(crate) group: u32,
}

/// A folder that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DirState {
    /// Its permission bits.
    pub(crate) mode: u32,
    /// Owner and group.
    pub(crate) owner: Owner,
}

/// All that is there and concerns us.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    /// The user this process runs as: the owner of what it writes.
    pub(crate) user: u32,
    /// The main file behind any symbolic links.
    pub(crate) config_path: PathBuf,
    /// The main file.
    pub(crate) config: FileState,
    /// The main file without our `Include`.
    pub(crate) config_without_ours: Vec<u8>,
    /// What others set, in sshd's order, our `Include` left out.
    pub(crate) found: Vec<Found>,
    /// `user_ca.pub`.
    pub(crate) user_ca: Option<FileState>,
    /// `host.toml`.
    pub(crate) settings: Option<FileState>,
    /// `revoked.krl`.
    pub(crate) revoked: Option<FileState>,
    /// Our drop-in.
    pub(crate) drop_in: Option<FileState>,
    /// Files in the principals folder, by name.
    pub(crate) principals: BTreeMap<String, FileState>,
    /// Folders we put files into, if they are there.
    pub(crate) dirs: BTreeMap<PathBuf, DirState>,
}

/// Reads all that concerns us.
///
/// # Errors
/// If sshd's main file is not there, something can not be read, or one of our places holds
/// something else than a plain file.
pub(crate) fn read(layout: &Layout) -> Result<Current, CommandError> {
    // A rename would replace a symbolic link, so the main file is written where it really is.
    let config_path = fs::canonicalize(layout.config()).map_err(|e| {
        unreadable(layout.config(), &e).hint("name sshd's main file with --sshd-config FILE")
    })?;
    let config = file(&config_path)?
        .ok_or_else(|| CommandError::new(format!("{} went away.", config_path.display())))?;
    let config_without_ours = content::without_include(&config.content);
    let text = String::from_utf8_lossy(&config_without_ours);
    let found = config::read(layout.config(), &text, &layout.drop_in(), &Disk);
    Ok(Current {
        user: rustix::process::geteuid().as_raw(),
        config_path,
        found,
        config,
        config_without_ours,
        user_ca: file(&layout.user_ca())?,
        settings: file(&layout.settings())?,
        revoked: file(&layout.revoked_keys())?,
        drop_in: file(&layout.drop_in())?,
        principals: files_in(&layout.principals_dir())?,
        dirs: dirs(layout)?,
    })
}

fn dirs(layout: &Layout) -> Result<BTreeMap<PathBuf, DirState>, CommandError> {
    let mut dirs = BTreeMap::new();
    let paths = [layout.own_dir(), layout.principals_dir(), layout.drop_in_dir()];
    for path in paths.into_iter().chain([layout.etc().to_owned()]) {
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => {
                dirs.insert(path, DirState { mode: mode(&found), owner: owner(&found) });
            }
            Ok(_) => {
                return Err(CommandError::new(format!("{} is not a folder.", path.display())));
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(unreadable(&path, &e)),
        }
    }
    Ok(dirs)
}

fn file(path: &Path) -> Result<Option<FileState>, CommandError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(path, &e)),
    };
    if !found.is_file() {
        return Err(CommandError::new(format!("{} is not a plain file.", path.display()))
            .hint("move it away, then run setup again"));
    }
    let content = fs::read(path).map_err(|e| unreadable(path, &e))?;
    Ok(Some(FileState { content, mode: mode(&found), owner: owner(&found) }))
}

fn files_in(dir: &Path) -> Result<BTreeMap<String, FileState>, CommandError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(unreadable(dir, &e)),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(|e| unreadable(dir, &e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(TEMPORARY)
            && let Some(state) = file(&entry.path())?
        {
            files.insert(name, state);
        }
    }
    Ok(files)
}

fn mode(found: &Metadata) -> u32 {
    found.mode() & 0o7777
}

fn owner(found: &Metadata) -> Owner {
    Owner { user: found.uid(), group: found.gid() }
}

fn unreadable(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::new(format!("{} can not be read: {error}.", path.display()))
}

/// The files of this machine.
pub(crate) struct Disk;

impl Includes for Disk {
    fn matching(&self, pattern: &str) -> Option<Vec<(PathBuf, String)>> {
        let (dir, name) = pattern.rsplit_once('/')?;
        if !dir.starts_with('/') && !dir.is_empty() || has_glob(dir) || name.contains(['[', '\\']) {
            return None;
        }
        let paths = if has_glob(name) {
            let Ok(entries) = fs::read_dir(format!("{dir}/")) else {
                return Some(Vec::new());
            };
            let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
            let matching = names.filter(|found| config::name_matches(name, found));
            matching.map(|found| PathBuf::from(format!("{dir}/{found}"))).collect()
        } else {
            vec![PathBuf::from(pattern)]
        };
        let mut files = Vec::with_capacity(paths.len());
        for path in paths.into_iter().filter(|path| path.exists()) {
            // What we may not read may hold anything.
            let text = String::from_utf8_lossy(&fs::read(&path).ok()?).into_owned();
            files.push((path, text));
        }
        Some(files)
    }
}

fn has_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}
