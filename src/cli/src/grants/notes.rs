//! Access that is live: what was asked for and what was granted until when, as this machine verified
//! it, without any key. One file each in the runtime folder, until the access ends.

use std::path::PathBuf;

use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::entry::Base64Bytes;
use jit_ssh_core::names::Principal;
use jit_ssh_core::receipt::Accepted;
use jit_ssh_core::statement::{self, Request, Verified};
use jit_ssh_core::time::UnixTime;
use serde::{Deserialize, Serialize};

use super::text_of;
use crate::failure::Failure;
use crate::home::{self, Home};

const FOLDER: &str = "requests";

/// Access that is live.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// What was asked for.
    pub(crate) request: Verified<Request>,
    /// What was granted.
    pub(crate) principals: Vec<Principal>,
    /// When it ends.
    pub(crate) access_until: UnixTime,
}

/// The file, as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    v: u8,
    request: String,
    signature: Base64Bytes,
    principals: Vec<String>,
    access_until: UnixTime,
}

impl Live {
    /// Whether it is good for all of `wanted`.
    pub(crate) fn covers(&self, wanted: &[Principal]) -> bool {
        wanted.iter().all(|principal| self.principals.contains(principal))
    }

    fn load(path: &std::path::Path, ca: &RootFingerprint, now: UnixTime) -> Option<Live> {
        let bytes = home::read(path).ok()??;
        let note: Note = serde_json::from_slice(&bytes).ok()?;
        if note.v != 2 || note.access_until <= now {
            return None;
        }
        let request = statement::open(note.request.as_bytes(), &note.signature.0, ca).ok()?;
        let principals: Option<Vec<Principal>> =
            note.principals.iter().map(|text| text.parse().ok()).collect();
        Some(Live { request, principals: principals?, access_until: note.access_until })
    }
}

/// Notes that the access of a request is live, by a certificate that was verified.
pub(crate) fn note(
    home: &Home,
    request: &Verified<Request>,
    accepted: &Accepted,
) -> Result<(), Failure> {
    let live = Live {
        request: request.clone(),
        principals: accepted.opens.logins().to_vec(),
        access_until: accepted.access_until,
    };
    write(home, &live)
}

fn write(home: &Home, live: &Live) -> Result<(), Failure> {
    let path = path_of(home, &live.request.digest());
    let note = Note {
        v: 2,
        request: text_of(&live.request).map_err(|e| Failure::file(&path, e))?,
        signature: Base64Bytes(live.request.signature().to_vec()),
        principals: live.principals.iter().map(ToString::to_string).collect(),
        access_until: live.access_until,
    };
    home::write(&path, &serde_json::to_vec(&note).map_err(|e| Failure::file(&path, e))?)
}

/// Every access that is live and was taken here, the one that ends last at the end. What is over is
/// removed.
pub(crate) fn live(home: &Home, ca: &RootFingerprint, now: UnixTime) -> Result<Vec<Live>, Failure> {
    let mut found = Vec::new();
    for path in files(home)? {
        match Live::load(&path, ca, now) {
            Some(live) => found.push(live),
            None => home::remove(&path)?,
        }
    }
    found.sort_by_key(|live| live.access_until);
    Ok(found)
}

/// The live access of the request with this short id, if it was taken here.
pub(crate) fn noted(
    home: &Home,
    ca: &RootFingerprint,
    id: &str,
    now: UnixTime,
) -> Result<Option<Live>, Failure> {
    Ok(live(home, ca, now)?.into_iter().find(|live| live.request.id().as_str() == id))
}

fn path_of(home: &Home, digest: &Digest) -> PathBuf {
    home.runtime(FOLDER).join(format!("{digest}.json"))
}

/// Forgets that the access of a request is live.
pub(super) fn forget(home: &Home, digest: &Digest) -> Result<(), Failure> {
    home::remove(&path_of(home, digest))
}

/// Every file of ours.
pub(super) fn files(home: &Home) -> Result<Vec<PathBuf>, Failure> {
    home::files_of(&home.runtime(FOLDER))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::grants::tests::{ca, grant};
    use crate::grants::{Grant, list};

    const NOW: UnixTime = UnixTime(1_790_000_000);

    /// The access of a request, as it was asked for, live for so many seconds.
    pub(crate) fn live_for(grant: &Grant, secs: u32) -> Live {
        let access_until = NOW.plus_secs(secs);
        Live { request: grant.request.clone(), principals: grant.principals(), access_until }
    }

    #[test]
    fn live_access_is_noted_without_its_key_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::under(dir.path());
        let (grant, other) = (grant("INC-42"), grant("INC-43"));
        write(&home, &live_for(&grant, 600)).unwrap();
        write(&home, &live_for(&other, 300)).unwrap();
        let noted = |now| noted(&home, &ca(), grant.request.id().as_str(), now).unwrap();
        assert_eq!(noted(NOW).unwrap().request.body().reason, "INC-42");
        assert!(noted(NOW).unwrap().covers(&grant.principals()));
        assert!(!noted(NOW).unwrap().covers(&["root@prod-host".parse().unwrap()]));
        let last = live(&home, &ca(), NOW).unwrap().pop().unwrap();
        assert_eq!(last.request.digest(), grant.digest(), "the one that ends last");
        for path in files(&home).unwrap() {
            assert!(!std::fs::read_to_string(path).unwrap().contains("PRIVATE"));
        }
        assert!(list(&home, &ca(), NOW).unwrap().is_empty(), "there is no key to take up");
        assert!(noted(NOW.plus_secs(600)).is_none());
        assert!(files(&home).unwrap().is_empty(), "it is removed, not hidden");
    }

    #[test]
    fn access_that_was_given_back_is_forgotten_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::under(dir.path());
        let (grant, other) = (grant("INC-42"), grant("INC-43"));
        for grant in [&grant, &other] {
            write(&home, &live_for(grant, 600)).unwrap();
        }
        crate::grants::forget_access(&home, &grant.digest()).unwrap();
        let left = live(&home, &ca(), NOW).unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].request.digest(), other.digest());
        let elsewhere = RootFingerprint(Digest::of(b"another root"));
        assert!(live(&home, &elsewhere, NOW).unwrap().is_empty());
    }
}
