//! The configuration folder: the four files of a bundle, read and checked, beside the admins of the
//! CA if its root is there.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jit_ssh_core::bundle::{Bundle, BundleFiles, Diagnostics};
use jit_ssh_core::key::SignerKey;
use jit_ssh_core::names::ActorId;
use jit_ssh_core::policy::cases;
use serde::Serialize;

use crate::audit::folder::{Folder, deployment};
use crate::failure::Failure;
use crate::terminal;

const SIGNERS: &str = "signers.toml";

/// A configuration folder whose four files fit together.
pub(crate) struct Config {
    pub(crate) dir: PathBuf,
    pub(crate) files: BundleFiles,
    pub(crate) bundle: Bundle,
}

impl Config {
    /// Reads the folder. Where there is no CA's root to be found, as in a checkout of the
    /// configuration alone, nothing is checked against the admins; before `init` there is no
    /// signers.toml either, and no rule hangs on it.
    ///
    /// # Errors
    /// If a file can not be read or has problems, which are told.
    pub(crate) fn read(dir: &Path, audience: Audience) -> anyhow::Result<Config> {
        let admins = admins(dir)?;
        let before_init = !dir.join(SIGNERS).exists();
        let files = if before_init { read_rules(dir)? } else { read_files(dir)? };
        let parsed = if before_init {
            Bundle::parse_rules(&files, &admins)
        } else {
            // The version is known only when the CA was asked, and no check hangs on it.
            Bundle::parse(1, &files, &admins)
        };
        let bundle = match parsed {
            Ok(bundle) => bundle,
            Err(problems) => {
                let found = tell(&problems, audience)?;
                let message = format!("{} has {found}.", dir.display());
                return Err(Failure::named("BUNDLE", message).into());
            }
        };
        Ok(Config { dir: dir.to_path_buf(), files, bundle })
    }
}

/// Reads the four files.
///
/// # Errors
/// If one can not be read or is too long.
pub(crate) fn read_files(config: &Path) -> anyhow::Result<BundleFiles> {
    Ok(BundleFiles { signers: read_file(config, SIGNERS)?, ..read_rules(config)? })
}

/// Reads the files that rules are about.
fn read_rules(config: &Path) -> anyhow::Result<BundleFiles> {
    Ok(BundleFiles {
        people: read_file(config, "people.toml")?,
        hosts: read_file(config, "hosts.toml")?,
        policy: read_file(config, "policy.toml")?,
        signers: Vec::new(),
    })
}

fn read_file(config: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let path = config.join(name);
    read_bounded(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Reads `policy_test.toml`; `None` if there is none.
///
/// # Errors
/// If it can not be read or is too long.
pub(crate) fn read_cases(config: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let path = config.join(cases::FILE);
    match read_bounded(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let max = BundleFiles::MAX_BYTES;
    let length = fs::metadata(path)?.len();
    match usize::try_from(length) {
        Ok(length) if length <= max => fs::read(path),
        _ => Err(io::Error::other(format!("it is longer than the {max} bytes a bundle may have"))),
    }
}

/// `1 problem`, `7 problems`.
pub(crate) fn count<N: Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    plural(count, what, &format!("{what}s"))
}

/// The same for words with a plural of their own: `1 entry`, `7 entries`.
pub(crate) fn plural<N: Display + PartialEq + From<u8>>(count: N, one: &str, many: &str) -> String {
    if count == N::from(1) { format!("1 {one}") } else { format!("{count} {many}") }
}

/// For whom problems of files are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// On stderr.
    People,
    /// On stdout too, an object a line.
    Programs,
}

impl Audience {
    /// As `--json` asks for it.
    pub(crate) fn of(json: bool) -> Audience {
        if json { Audience::Programs } else { Audience::People }
    }
}

/// What `--json` prints of a problem of a file.
#[derive(Debug, Serialize)]
struct PrintedProblem<'a> {
    file: &'a str,
    /// Counted from 1.
    line: usize,
    column: usize,
    message: &'a str,
    hint: Option<&'a str>,
}

/// Tells the problems of files, and says how many there are.
///
/// # Errors
/// If stdout takes nothing any more.
pub(crate) fn tell(problems: &Diagnostics, audience: Audience) -> anyhow::Result<String> {
    terminal::say(&format!("{problems}\n"));
    if audience == Audience::Programs {
        for problem in &problems.0 {
            terminal::object(&PrintedProblem {
                file: problem.file,
                line: problem.line,
                column: problem.column,
                message: &problem.message,
                hint: problem.help.as_deref(),
            })?;
        }
    }
    Ok(count(problems.0.len(), "problem"))
}

fn admins(dir: &Path) -> anyhow::Result<Vec<(ActorId, SignerKey)>> {
    if !dir.join("ca.toml").exists() {
        return Ok(Vec::new());
    }
    let state = deployment(dir)?.state;
    if !state.join("root.json").exists() {
        terminal::say(&format!(
            "{} is not here, so nothing is checked against its admins.",
            state.join("root.json").display()
        ));
        return Ok(Vec::new());
    }
    let (root, _) = Folder::of_state(&state).root()?;
    Ok(root.admin_keys())
}
