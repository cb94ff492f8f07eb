//! The configuration files: what is missing is written from the sample, what is there is kept.
//!
//! A file that is there with an open marker (`{{listen}}`, `{{state}}`, `{{signers}}`) is the
//! sample, perhaps edited: its markers are filled in, and the rest is kept. Of such a ca.toml the
//! example of `signer` is filled in too, where the signer gets a socket.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jit_ssh_core::bundle::{Bundle, BundleFiles};
use jit_ssh_core::deployment::{Deployment, SignerPlace, Tls};
use jit_ssh_core::root::Root;

use super::signer_keys::PublicKeys;
use super::undo::Undo;
use crate::failure::Failure;
use crate::terminal;

const CA: &str = include_str!("../../../../ca-config/ca.toml");
const PEOPLE: &str = include_str!("../../../../ca-config/people.toml");
const HOSTS: &str = include_str!("../../../../ca-config/hosts.toml");
const POLICY: &str = include_str!("../../../../ca-config/policy.toml");
const POLICY_TEST: &str = include_str!("../../../../ca-config/policy_test.toml");
const SIGNERS: &str = include_str!("../../../../ca-config/signers.toml");

/// The line of the sample that shows how to name a signer's socket.
const SIGNER_EXAMPLE: &str = "# signer = \"/run/jit-ssh/signer.sock\"";

/// What became of the configuration.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) written: Vec<PathBuf>,
    pub(super) kept: Vec<PathBuf>,
    pub(super) signers: Signers,
    /// What ca.toml says.
    pub(super) deployment: Deployment,
}

/// Whether signers.toml names the signer that was made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signers {
    /// It does.
    Named,
    /// It was there before and does not.
    Missing {
        /// What to add to it.
        block: String,
        /// What is wrong with it as it is.
        problem: String,
    },
}

/// The files as they are now, and what will be in them.
#[derive(Debug)]
pub(super) struct Plan {
    dir: PathBuf,
    deployment: Deployment,
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    name: &'static str,
    before: Option<String>,
    after: String,
}

impl File {
    fn read(dir: &Path, name: &'static str, sample: &str) -> anyhow::Result<File> {
        let path = dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(File { name, before: Some(text.clone()), after: text }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Ok(File { name, before: None, after: sample.to_owned() })
            }
            Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn fill(&mut self, marker: &str, value: &str) {
        self.after = self.after.replace(marker, value);
    }
}

/// Reads what is in the configuration folder, and checks that its ca.toml is of this CA.
///
/// # Errors
/// If a file can not be read, or ca.toml is malformed or speaks of another address or state, or of
/// another place of the signer than `socket`, if there is one.
pub(super) fn plan(
    dir: &Path,
    listen: SocketAddr,
    state: &Path,
    socket: Option<&Path>,
) -> anyhow::Result<Plan> {
    let mut ca = File::read(dir, "ca.toml", CA)?;
    let signer = socket.map(|socket| quoted(socket).map(|text| format!("signer = \"{text}\"")));
    let signer = signer.transpose()?;
    if let Some(line) = signer.as_deref().filter(|_| ca.after.contains("{{state}}")) {
        ca.fill(SIGNER_EXAMPLE, line);
    }
    ca.fill("{{listen}}", &listen.to_string());
    ca.fill("{{state}}", &quoted(state)?);
    let path = dir.join("ca.toml");
    let shown = path.display();
    let deployment = Deployment::parse(ca.after.as_bytes()).map_err(|problems| {
        terminal::say(&problems.to_string());
        Failure::error(format!("{shown} can not be used; nothing was changed."))
    })?;
    if deployment.listen != listen || deployment.state != state {
        return Err(Failure::error(format!(
            "{shown} is there already and is of another CA: it has listen {} and state {}, not {} \
             and {}; nothing was changed.",
            deployment.listen,
            deployment.state.display(),
            listen,
            state.display()
        ))
        .hint("mend these two lines, or move the file away, or name another folder with --config")
        .into());
    }
    if let (Some(socket), Some(line)) = (socket, signer)
        && deployment.signer != SignerPlace::Socket(socket.to_path_buf())
    {
        return Err(Failure::error(format!(
            "{shown} is there already and does not say where the signer listens; nothing was \
             changed."
        ))
        .hint(format!("add this line above all tables: {line}"))
        .into());
    }
    let mut files = vec![ca];
    for (name, sample) in [
        ("people.toml", PEOPLE),
        ("hosts.toml", HOSTS),
        ("policy.toml", POLICY),
        ("policy_test.toml", POLICY_TEST),
        ("signers.toml", SIGNERS),
    ] {
        files.push(File::read(dir, name, sample)?);
    }
    Ok(Plan { dir: dir.to_path_buf(), deployment, files })
}

impl Plan {
    /// Checks that ca.toml names no certificate of the operator's, which would need their anchor.
    ///
    /// # Errors
    /// If it does.
    pub(super) fn check_tls_is_ours(&self) -> anyhow::Result<()> {
        match self.deployment.tls {
            Tls::SelfMade => Ok(()),
            Tls::Own { .. } => Err(Failure::error(format!(
                "{} names a TLS certificate of your own, and clients would not accept it without \
                 its CA's certificate in root.json; nothing was changed.",
                self.dir.join("ca.toml").display()
            ))
            .hint("name the CA's certificate with --tls-anchor, or leave [tls] out")
            .into()),
        }
    }

    /// Writes the files that are missing or have an open marker.
    ///
    /// # Errors
    /// If one can not be written.
    pub(super) fn write(
        mut self,
        root: &Root,
        keys: &PublicKeys,
        undo: &mut Undo,
    ) -> anyhow::Result<Config> {
        let block = format!(
            "[[signer]]\nnumber = 1\nca_key = \"{}\"\nhost_ca_key = \"{}\"\nlog_key = \"{}\"\n",
            keys.ca_key, keys.host_ca_key, keys.log_key
        );
        let mut config = Config {
            written: vec![],
            kept: vec![],
            signers: Signers::Named,
            deployment: self.deployment,
        };
        undo.make_folders(&self.dir)
            .with_context(|| format!("cannot make {}", self.dir.display()))?;
        for file in &mut self.files {
            if file.name == "signers.toml" {
                file.fill("{{signers}}", block.trim_end());
                if let Err(problem) = names_signer(&file.after, root, keys) {
                    config.signers = Signers::Missing { block: block.clone(), problem };
                }
            }
            let path = self.dir.join(file.name);
            if file.before.as_ref() == Some(&file.after) {
                config.kept.push(path);
                continue;
            }
            write(&path, file, undo).with_context(|| format!("cannot write {}", path.display()))?;
            config.written.push(path);
        }
        Ok(config)
    }
}

impl Config {
    /// Tells what became of each file.
    pub(super) fn tell(&self) {
        for path in &self.written {
            terminal::say(&format!("wrote {}", path.display()));
        }
        for path in &self.kept {
            terminal::say(&format!("kept {}, which was there already", path.display()));
        }
    }
}

/// Whether these signers.toml bytes name the signer's keys.
pub(super) fn names_signer(signers: &str, root: &Root, keys: &PublicKeys) -> Result<(), String> {
    // Beside the empty sample, so that only this file is judged.
    let files = BundleFiles {
        people: PEOPLE.into(),
        hosts: HOSTS.into(),
        policy: POLICY.into(),
        signers: signers.into(),
    };
    let bundle = Bundle::parse(1, &files, &root.admin_keys()).map_err(|problems| {
        terminal::say(&problems.to_string());
        "can not be read".to_owned()
    })?;
    let log_key = keys.log_key.to_string();
    let named = bundle
        .signers
        .iter()
        .any(|signer| signer.ca_key == keys.ca_key && signer.log_key == log_key);
    if named { Ok(()) } else { Err("does not name this CA's signer".to_owned()) }
}

/// Writes a file under another name first, so that nobody ever reads half of it.
fn write(path: &Path, file: &File, undo: &mut Undo) -> io::Result<()> {
    let unnamed = path.with_extension(format!("toml.new-{}", std::process::id()));
    undo.file(&unnamed, None);
    fs::write(&unnamed, &file.after)?;
    match &file.before {
        Some(before) => {
            undo.file(path, Some(before.clone().into_bytes()));
            fs::rename(&unnamed, path)
        }
        None => {
            // A link fails where a file came in the meantime; a rename would replace it.
            fs::hard_link(&unnamed, path)?;
            undo.file(path, None);
            fs::remove_file(&unnamed)
        }
    }
}

/// A path as it stands between the quotes of a TOML string.
fn quoted(path: &Path) -> anyhow::Result<String> {
    match path.to_str().filter(|text| !text.contains(char::is_control)) {
        Some(text) => Ok(text.replace('\\', "\\\\").replace('"', "\\\"")),
        None => Err(Failure::error(format!(
            "{} can not stand in ca.toml: it is not plain UTF-8.",
            path.display()
        ))
        .into()),
    }
}
