//! The one line in ~/.ssh/config by which ssh reads our file: put at its top, since an `Include` below a
//! `Host` is read for that host alone, and taken out again. Everything else stays as it is, byte for byte.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::quoted;
use crate::failure::{Failure, Outcome};
use crate::home::{self, Home};

const NOTE: &str = "ssh_config.json";

/// What `--install` did, so that `--remove` undoes it and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Installed {
    v: u8,
    /// The file that has the line.
    pub(crate) config: PathBuf,
    /// Whether that file was not there before.
    made_file: bool,
    /// Whether its folder was not there before.
    made_folder: bool,
}

/// ssh's own configuration file of this person. ssh asks the accounts of the system for the home, not
/// the environment.
pub(crate) fn usual_config() -> Result<PathBuf, Failure> {
    let uid = rustix::process::getuid().as_raw();
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let home = home_of(&accounts, uid).map(PathBuf::from).or_else(std::env::home_dir);
    match home.filter(|home| home.is_absolute()) {
        Some(home) => Ok(home.join(".ssh/config")),
        None => Err(Failure::new(Outcome::Error, "NO_HOME", "there is no home directory.")
            .hint("name ssh's configuration file: --config FILE")),
    }
}

fn home_of(accounts: &str, uid: u32) -> Option<&str> {
    accounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let own = fields.get(2).and_then(|field| field.parse().ok()) == Some(uid);
        fields.get(5).copied().filter(|home| own && home.starts_with('/'))
    })
}

/// The line itself.
pub(crate) fn line(ours: &Path) -> Result<String, Failure> {
    Ok(format!("Include {}", quoted(ours)?))
}

/// A configuration with the line at its top; `None` if it has it there already.
fn with(text: &[u8], line: &str) -> Option<Vec<u8>> {
    let first = text.split(|byte| *byte == b'\n').find(|line| !is_empty(line));
    if first.is_some_and(|first| is(first, line)) {
        return None;
    }
    let mut out = format!("{line}\n").into_bytes();
    // One further down would be read a second time.
    out.extend(without(text, line).unwrap_or_else(|| text.to_vec()));
    Some(out)
}

/// A configuration without the line; `None` if it has none.
fn without(text: &[u8], line: &str) -> Option<Vec<u8>> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let kept: Vec<u8> = lines.filter(|found| !is(found, line)).flatten().copied().collect();
    (kept.len() < text.len()).then_some(kept)
}

fn is(found: &[u8], line: &str) -> bool {
    found.trim_ascii() == line.as_bytes()
}

fn is_empty(line: &[u8]) -> bool {
    matches!(line.trim_ascii().first(), None | Some(b'#'))
}

/// Puts the line into `config`; says whether anything had to be changed.
pub(crate) fn install(home: &Home, config: &Path, line: &str) -> Result<bool, Failure> {
    let before = read(config)?;
    let after = with(before.as_deref().unwrap_or_default(), line);
    let note = home.config(NOTE);
    if let Some(after) = &after {
        let folder = config.parent().unwrap_or(config);
        let made_folder = !folder.exists();
        let kept = Installed::load(home)?.filter(|kept| kept.config == config);
        // Installed once more: what was made was made the first time.
        let installed = kept.unwrap_or(Installed {
            v: 1,
            config: config.to_owned(),
            made_file: before.is_none(),
            made_folder,
        });
        // First, so that whatever is cut short can be undone.
        let bytes = serde_json::to_vec(&installed).map_err(|e| Failure::file(&note, e))?;
        home::write(&note, &bytes)?;
        if made_folder {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|e| Failure::file(folder, e))?;
        }
        replace(config, after)?;
    }
    Ok(after.is_some())
}

/// Whether `config` has the line, at any place.
pub(crate) fn is_installed(config: &Path, line: &str) -> Result<bool, Failure> {
    Ok(read(config)?.is_some_and(|text| without(&text, line).is_some()))
}

/// Takes the line out of `config`, and what was made for it; says whether there was one.
pub(crate) fn remove(home: &Home, config: &Path, line: &str) -> Result<bool, Failure> {
    let noted = Installed::load(home)?.filter(|noted| noted.config == config);
    let after = read(config)?.and_then(|text| without(&text, line));
    if let Some(after) = &after {
        let made = noted.as_ref().is_some_and(|noted| noted.made_file);
        if made && after.is_empty() {
            home::remove(config)?;
            if noted.as_ref().is_some_and(|noted| noted.made_folder) {
                // ssh may have put known_hosts there meanwhile: then it stays.
                let _ = fs::remove_dir(config.parent().unwrap_or(config));
            }
        } else {
            replace(config, after)?;
        }
    }
    if noted.is_some() {
        home::remove(&home.config(NOTE))?;
    }
    Ok(after.is_some())
}

impl Installed {
    /// What was done, if anything was.
    pub(crate) fn load(home: &Home) -> Result<Option<Installed>, Failure> {
        let Some(bytes) = home::read(&home.config(NOTE))? else { return Ok(None) };
        let installed = serde_json::from_slice::<Installed>(&bytes).ok();
        Ok(installed.filter(|installed| installed.v == 1))
    }
}

fn read(config: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(config) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::file(config, e)),
    }
}

/// Writes a file of the person's: the one that a link leads to, with the mode and owner it has. Whole or
/// not at all, except where another file could not have that owner or further names.
fn replace(config: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::file(config, e);
    let real = match config.canonicalize() {
        Ok(real) => real,
        // A link to nowhere is somebody's mistake: nothing of ours goes there.
        Err(_) if config.is_symlink() => {
            return Err(Failure::file(config, "this link leads nowhere")
                .hint("make the file it names, or remove it"));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => config.to_owned(),
        Err(e) => return Err(failed(e)),
    };
    let found = match fs::metadata(&real) {
        Ok(found) => Some(found),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(failed(e)),
    };
    if found.as_ref().is_some_and(|found| found.nlink() > 1) {
        return fs::write(&real, bytes).map_err(failed);
    }
    let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = real.with_file_name(format!(".{name}.jit-ssh-{}", std::process::id()));
    let mode = found.as_ref().map_or(0o600, |found| found.mode() & 0o7777);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
    let written = made.and_then(|mut file: File| {
        if let Some(found) = &found {
            std::os::unix::fs::fchown(&file, Some(found.uid()), Some(found.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &real)
    });
    match written {
        Err(e) => {
            let _ = fs::remove_file(&beside);
            match found {
                Some(_) if e.kind() == io::ErrorKind::PermissionDenied => {
                    fs::write(&real, bytes).map_err(failed)
                }
                _ => Err(failed(e)),
            }
        }
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
