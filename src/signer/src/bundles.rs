//! Where the signed configuration lies: `STATE/bundles/`, readable by everyone, written by the
//! signer alone.
//!
//! Files by their SHA-256, and `current.json`: the bundle statement in force with its admins'
//! signatures. A file stays as long as the log names it, so that the log can be verified.
//!
//! What the front uploads lies in a private folder of its own until a signed bundle names it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jit_ssh_core::bundle::{Bundle, BundleFiles};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{self, SignedBundle};

use crate::protocol::Signed;

const CURRENT: &str = "current.json";

/// A bundle in force.
#[derive(Debug, Clone)]
pub struct InForce {
    /// SHA-256 of its statement.
    pub digest: Digest,
    /// What it says.
    pub bundle: Bundle,
}

/// The folder of bundles, and the one of uploads.
#[derive(Debug, Clone)]
pub struct Shelf {
    dir: PathBuf,
    uploads: PathBuf,
    /// Uploads so far: each is a file of its own, whatever else is under way.
    count: Arc<AtomicU64>,
}

/// Most files that may wait for a bundle: the front can not fill the signer's disk.
const MAX_UPLOADS: usize = 16;

impl Shelf {
    /// Opens the public folder of bundles and the private one of uploads, which begins empty.
    ///
    /// # Errors
    /// If they can not be made.
    pub fn open(dir: &Path, uploads: &Path) -> io::Result<Shelf> {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        if uploads.exists() {
            fs::remove_dir_all(uploads)?;
        }
        fs::DirBuilder::new().mode(0o700).recursive(true).create(uploads)?;
        let count = Arc::new(AtomicU64::new(0));
        Ok(Shelf { dir: dir.to_path_buf(), uploads: uploads.to_path_buf(), count })
    }

    /// The file with this SHA-256.
    pub fn path(&self, file: Digest) -> PathBuf {
        self.dir.join(file.to_string())
    }

    fn uploaded(&self, file: Digest) -> PathBuf {
        self.uploads.join(file.to_string())
    }

    /// Begins to take up a file; it counts only once it is whole.
    ///
    /// # Errors
    /// If the file can not be made.
    pub fn upload(&self, file: Digest) -> io::Result<Upload> {
        if fs::read_dir(&self.uploads)?.count() >= MAX_UPLOADS {
            // Whoever hands in bundles uploads four files at a time: the rest is litter.
            for entry in fs::read_dir(&self.uploads)? {
                fs::remove_file(entry?.path())?;
            }
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let path = self.uploads.join(format!("part-{number}"));
        let out = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path)?;
        Ok(Upload { target: self.uploaded(file), file, out, path, length: 0 })
    }

    /// Puts the files that a bundle names among those that stay.
    ///
    /// # Errors
    /// [`Reason::LogUnavailable`] if they can not be made durable there.
    pub fn keep(&self, signed: &SignedBundle) -> Result<(), Refusal> {
        let body = &signed.body;
        let keep = || {
            for file in [body.people, body.hosts, body.policy, body.signers] {
                let uploaded = self.uploaded(file);
                if uploaded.exists() {
                    fs::rename(uploaded, self.path(file))?;
                }
                // It was read a moment ago; another upload may have swept it away since.
                fs::metadata(self.path(file))?;
            }
            fs::File::open(&self.dir)?.sync_all()
        };
        keep().map_err(|e: io::Error| {
            Refusal::new(
                Reason::LogUnavailable,
                format!("the bundle's files can not be kept: {e}."),
            )
        })
    }

    /// Reads the files a bundle statement names, and what they say together.
    ///
    /// # Errors
    /// [`Reason::BundleRefused`] if one is missing, is not what was signed, or makes no sense.
    pub fn read(&self, signed: &SignedBundle, root: &Root) -> Result<InForce, Refusal> {
        let refused = |message: String| Refusal::new(Reason::BundleRefused, message);
        let read = |name: &str, digest: Digest| {
            fs::read(self.uploaded(digest))
                .or_else(|_| fs::read(self.path(digest)))
                .map_err(|e| refused(format!("the bundle's {name} ({digest}) is not here: {e}.")))
        };
        let body = &signed.body;
        let files = body.files(read)?;
        if !body.names(&files) {
            return Err(refused(
                "the bundle's files are not the ones that were signed.".to_owned(),
            ));
        }
        let bundle =
            Bundle::parse(body.version, &files, &root.admin_keys()).map_err(|problems| {
                refused(format!("the bundle does not hold together:\n{problems}"))
            })?;
        Ok(InForce { digest: signed.digest, bundle })
    }

    /// The bundle in force as it lies here, if there is one.
    ///
    /// # Errors
    /// If it can not be read, or is not signed by enough admins.
    pub fn current(&self, root: &Root) -> anyhow::Result<Option<InForce>> {
        let bytes = match fs::read(self.dir.join(CURRENT)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let signed = verify(&serde_json::from_slice(&bytes)?, root)?;
        Ok(Some(self.read(&signed, root)?))
    }

    /// Writes what [`Shelf::put_current`] will put in place, so that little can fail after the
    /// bundle is logged.
    ///
    /// # Errors
    /// If it can not be written.
    pub fn prepare_current(&self, statement: &Signed) -> io::Result<()> {
        let mut file = fs::File::create(self.dir.join(".next.json"))?;
        file.write_all(&serde_json::to_vec(statement)?)?;
        // Whatever the umask says: the front, a user of its own, reads it.
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.sync_all()
    }

    /// Puts what was prepared in place.
    ///
    /// # Errors
    /// If it can not be renamed.
    pub fn put_current(&self) -> io::Result<()> {
        fs::rename(self.dir.join(".next.json"), self.dir.join(CURRENT))?;
        fs::File::open(&self.dir)?.sync_all()
    }
}

/// Verifies a bundle statement, which needs as many admins as the root asks for.
///
/// # Errors
/// [`Refusal`]: malformed, badly signed, or [`Reason::NotEnoughAdmins`].
pub fn verify(statement: &Signed, root: &Root) -> Result<SignedBundle, Refusal> {
    let signed =
        statement::open_bundle(statement.statement.as_bytes(), &statement.signatures, root)?;
    if !signed.is_complete(root) {
        return Err(Refusal::new(
            Reason::NotEnoughAdmins,
            format!(
                "the bundle is signed by {} of the {} admins it needs.",
                signed.admins.len(),
                root.threshold()
            ),
        ));
    }
    Ok(signed)
}

/// A file on its way in.
#[derive(Debug)]
pub struct Upload {
    file: Digest,
    target: PathBuf,
    path: PathBuf,
    out: fs::File,
    length: u64,
}

impl Upload {
    /// The file's SHA-256, as announced.
    pub fn file(&self) -> Digest {
        self.file
    }

    /// Bytes taken up so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Takes up the next part.
    ///
    /// # Errors
    /// If it can not be written, or the file grows over what a bundle may hold.
    pub fn add(&mut self, part: &[u8]) -> io::Result<()> {
        let part_length = u64::try_from(part.len()).map_err(io::Error::other)?;
        self.length = self.length.saturating_add(part_length);
        if usize::try_from(self.length).map_or(true, |length| length > BundleFiles::MAX_BYTES) {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "a bundle's file is too large",
            ));
        }
        self.out.write_all(part)
    }

    /// Ends the file: it is kept if it is what was announced.
    ///
    /// # Errors
    /// If it has another SHA-256, or can not be made durable.
    pub fn finish(&self) -> io::Result<()> {
        if Digest::of(&fs::read(&self.path)?) != self.file {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file has another SHA-256"));
        }
        self.out.set_permissions(fs::Permissions::from_mode(0o644))?;
        self.out.sync_all()?;
        fs::rename(&self.path, &self.target)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Gone already if it was finished; else nothing of an unfinished upload stays.
        let _ = fs::remove_file(&self.path);
    }
}
