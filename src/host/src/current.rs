//! Reads what is there: our files, sshd's main file and all it includes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::apply::TEMPORARY;
use crate::config::{self, Found, Includes};
use crate::content;
use crate::doctor::pam_stack;
use crate::error::CommandError;
use crate::layout::Layout;
use crate::settings;

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
    /// This host's certificate.
    pub(crate) host_certificate: Option<FileState>,
    /// What vouches for this host, where it joined.
    pub(crate) enrolment: Option<FileState>,
    /// What has sshd show the host certificate.
    pub(crate) certificate_include: Option<FileState>,
    /// Our drop-in.
    pub(crate) drop_in: Option<FileState>,
    /// Files in the principals folder, by name.
    pub(crate) principals: BTreeMap<String, FileState>,
    /// The PAM service file, and the one named when the host was set up before, where that is another.
    pub(crate) pam: Vec<PamFile>,
    /// The guard's unit.
    pub(crate) unit: Option<FileState>,
    /// Folders we put files into, if they are there.
    pub(crate) dirs: BTreeMap<PathBuf, DirState>,
}

/// A PAM service file.
#[derive(Debug, Clone)]
pub(crate) struct PamFile {
    /// How it is named.
    pub(crate) named: PathBuf,
    /// Where it is, behind any symbolic links.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) state: FileState,
    /// The files it includes, by the name they are included by.
    pub(crate) included: BTreeMap<String, (PathBuf, String)>,
}

impl PamFile {
    /// Its text.
    ///
    /// # Errors
    /// If it is no text.
    pub(crate) fn text(&self) -> Result<&str, CommandError> {
        std::str::from_utf8(&self.state.content).map_err(|_| {
            CommandError::new(format!("{} is not a text.", self.path.display()))
                .named("PAM_UNREADABLE")
        })
    }
}

/// Reads all that concerns us. `unit` is where the guard's unit is put, where there is one.
///
/// # Errors
/// If sshd's main file is not there, something can not be read, or one of our places holds
/// something else than a plain file.
pub(crate) fn read(layout: &Layout, unit: Option<&Path>) -> Result<Current, CommandError> {
    // A rename would replace a symbolic link, so the main file is written where it really is.
    let config_path = fs::canonicalize(layout.config()).map_err(|e| {
        unreadable(layout.config(), &e).hint("name sshd's main file with --sshd-config FILE")
    })?;
    let config = file(&config_path)?
        .ok_or_else(|| CommandError::new(format!("{} went away.", config_path.display())))?;
    let config_without_ours = content::without_include(&config.content);
    let text = String::from_utf8_lossy(&config_without_ours);
    let found = config::read(layout.config(), &text, &layout.drop_in(), &Disk);
    let settings = file(&layout.settings())?;
    let before = settings.as_ref().and_then(|state| std::str::from_utf8(&state.content).ok());
    let before = before.and_then(|text| settings::parse(text).ok());
    let mut pam: Vec<PamFile> = pam_file(layout.pam())?.into_iter().collect();
    if let Some(other) = before.map(|before| before.pam).filter(|other| other != layout.pam()) {
        pam.extend(pam_file(&other)?);
    }
    Ok(Current {
        pam,
        unit: unit.map(file).transpose()?.flatten(),
        user: rustix::process::geteuid().as_raw(),
        config_path,
        found,
        config,
        config_without_ours,
        user_ca: file(&layout.user_ca())?,
        settings,
        revoked: file(&layout.revoked_keys())?,
        host_certificate: file(&layout.host_certificate())?,
        enrolment: file(&layout.enrolment())?,
        certificate_include: file(&layout.certificate_include())?,
        drop_in: file(&layout.drop_in())?,
        principals: files_in(&layout.principals_dir())?,
        dirs: dirs(layout)?,
    })
}

/// Reads a PAM service file and all it includes.
///
/// # Errors
/// If it is there and can not be read.
pub(crate) fn pam_file(named: &Path) -> Result<Option<PamFile>, CommandError> {
    let path = match fs::canonicalize(named) {
        Ok(path) => path,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(named, &e)),
    };
    let Some(state) = file(&path)? else { return Ok(None) };
    let included = RefCell::new(BTreeMap::new());
    let dir = named.parent().unwrap_or(Path::new("/"));
    let read = |name: &str| {
        // libpam looks for bare names in its own folders.
        let places = [dir, Path::new("/etc/pam.d"), Path::new("/usr/lib/pam.d")];
        let path = places.into_iter().map(|dir| dir.join(name)).find(|path| path.is_file())?;
        let text = String::from_utf8_lossy(&fs::read(&path).ok()?).into_owned();
        included.borrow_mut().insert(name.to_owned(), (path.clone(), text.clone()));
        Some((path, text))
    };
    // What can not be read is told when somebody wants the hook in there.
    let _ = pam_stack::read(&path, &String::from_utf8_lossy(&state.content), &read);
    let included = included.into_inner();
    Ok(Some(PamFile { named: named.to_owned(), path, state, included }))
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
