//! The bundle in force: read from the folder into which the signer writes it.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::{Context as _, bail};
use jit_ssh_api::v1;
use jit_ssh_core::bundle::{Bundle, BundleFiles, SourceRule};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::enrolment::{Enrolled, View};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::root::Root;
use jit_ssh_core::statement;
use jit_ssh_core::time::UnixTime;
use jit_ssh_signer::protocol::Signed;
use prost::bytes::Bytes;

/// The file that names the bundle in force.
const CURRENT: &str = "current.json";

/// What is in force at a moment: the bundle, and the hosts that have joined.
#[derive(Clone)]
pub(super) struct Standing {
    in_force: Arc<InForce>,
    enrolled: Arc<Enrolled>,
}

impl Standing {
    /// A bundle under which nobody has joined.
    #[cfg(test)]
    pub(super) fn alone(in_force: Arc<InForce>) -> Standing {
        Standing { in_force, enrolled: Arc::default() }
    }

    /// The bundle.
    pub(super) fn in_force(&self) -> &Arc<InForce> {
        &self.in_force
    }

    /// The hosts that have joined, and the tokens that let more join.
    pub(super) fn enrolled(&self) -> &Arc<Enrolled> {
        &self.enrolled
    }

    /// What requests are held against, with a bundle of another time.
    pub(super) fn view_under<'b>(&'b self, bundle: &'b Bundle) -> View<'b> {
        View::new(bundle, &self.enrolled)
    }

    /// The same hosts under a bundle of another time.
    #[must_use]
    pub(super) fn under(&self, in_force: Arc<InForce>) -> Standing {
        Standing { in_force, enrolled: self.enrolled.clone() }
    }

    /// What requests are held against.
    pub(super) fn view(&self) -> View<'_> {
        View::new(&self.in_force.bundle, &self.enrolled)
    }
}

impl Deref for Standing {
    type Target = InForce;

    fn deref(&self) -> &InForce {
        &self.in_force
    }
}

/// A bundle in force, with what was signed.
pub(super) struct InForce {
    /// What it says.
    pub(super) bundle: Bundle,
    /// SHA-256 of its statement.
    pub(super) digest: Digest,
    /// The statement with the admins' signatures.
    pub(super) statement: v1::SignedStatement,
    /// Its files' exact bytes.
    pub(super) files: Files,
    /// Whether some rule binds certificates to the client's address.
    pub(super) binds_clients: bool,
}

/// The four files, to be sent without a copy.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) people: Bytes,
    pub(super) hosts: Bytes,
    pub(super) policy: Bytes,
    pub(super) signers: Bytes,
}

impl Files {
    /// How many bytes they have together.
    pub(super) fn size(&self) -> usize {
        let files = [&self.people, &self.hosts, &self.policy, &self.signers];
        files.into_iter().map(|file| file.len()).fold(0, usize::saturating_add)
    }
}

impl From<BundleFiles> for Files {
    fn from(files: BundleFiles) -> Files {
        let BundleFiles { people, hosts, policy, signers } = files;
        Files {
            people: people.into(),
            hosts: hosts.into(),
            policy: policy.into(),
            signers: signers.into(),
        }
    }
}

/// The place where the bundle in force is found; swapped when another comes into force.
pub(super) struct Trusted {
    folder: PathBuf,
    current: RwLock<Option<Arc<InForce>>>,
    /// The hosts that have joined by the word of the signer; shared with who looks at them just now.
    enrolled: Mutex<Arc<Enrolled>>,
}

impl Trusted {
    /// Nothing in force yet; `folder` is where the signer puts bundles.
    pub(super) fn new(folder: PathBuf) -> Trusted {
        Trusted { folder, current: RwLock::new(None), enrolled: Mutex::default() }
    }

    /// The bundle in force.
    ///
    /// # Errors
    /// [`Reason::NoBundle`] before the first.
    pub(super) fn bundle(&self) -> Result<Standing, Refusal> {
        self.current().ok_or_else(no_bundle)
    }

    /// The bundle in force, if there is one.
    pub(super) fn current(&self) -> Option<Standing> {
        let in_force = self.current.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Standing { in_force, enrolled: self.enrolled() })
    }

    /// The hosts that have joined, and the tokens that let more join.
    pub(super) fn enrolled(&self) -> Arc<Enrolled> {
        self.enrolled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds to the hosts that have joined, and forgets those that are gone.
    pub(super) fn enroll(&self, now: UnixTime, add: impl FnOnce(&mut Enrolled)) {
        let mut enrolled = self.enrolled.lock().unwrap_or_else(PoisonError::into_inner);
        // A copy is made only if somebody is looking at what was there.
        let enrolled = Arc::make_mut(&mut enrolled);
        add(enrolled);
        enrolled.forget(now);
    }

    /// Reads again what the signer put in force; tells whether that is another bundle. Blocks.
    ///
    /// # Errors
    /// If the folder holds anything but a bundle the admins signed.
    pub(super) fn reload(&self, root: &Root) -> anyhow::Result<bool> {
        let Some(signed) = read_current(&self.folder)? else { return Ok(false) };
        let digest = Digest::of(signed.statement.as_bytes());
        if self.current().is_some_and(|current| current.digest == digest) {
            return Ok(false);
        }
        let found = Arc::new(read(&self.folder, signed, root)?);
        tracing::info!(version = found.bundle.version, "a bundle is in force");
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(true)
    }
}

/// The refusal before the first bundle.
pub(super) fn no_bundle() -> Refusal {
    Refusal::new(Reason::NoBundle, "this CA has no bundle yet, so it knows nobody.")
        .hint("an admin puts the first one in force with: jit-ssh-ca apply")
}

fn read_current(folder: &Path) -> anyhow::Result<Option<Signed>> {
    let path = folder.join(CURRENT);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .with_context(|| format!("{} is not a signed bundle statement", path.display()))
}

/// Reads a bundle, whose files lie in `folder`, and checks all of it. Blocks.
///
/// # Errors
/// If it is not one that the admins signed, or a file is missing.
pub(super) fn read(folder: &Path, signed: Signed, root: &Root) -> anyhow::Result<InForce> {
    let opened = statement::open_bundle(signed.statement.as_bytes(), &signed.signatures, root)?;
    if !opened.is_complete(root) {
        bail!("the bundle in {} lacks admin signatures", folder.display());
    }
    let file = |_name: &str, digest: Digest| {
        let path = folder.join(digest.to_string());
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let files = opened.body.files(file)?;
    if !opened.body.names(&files) {
        bail!("the files in {} are not the ones the admins signed", folder.display());
    }
    let bundle = Bundle::parse(opened.body.version, &files, &root.admin_keys())
        .context("the bundle in force does not make sense")?;
    let binds_clients = bundle.policy.allow.iter().any(|rule| rule.source == SourceRule::Client);
    let statement = v1::SignedStatement {
        statement: signed.statement.into(),
        signatures: signed.signatures.into_iter().map(|blob| blob.0.into()).collect(),
    };
    Ok(InForce { bundle, digest: opened.digest, statement, files: files.into(), binds_clients })
}
