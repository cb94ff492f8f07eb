//! What `enroll` leaves behind: which CA was pinned, who the person is, which key signs.

use jit_ssh_api::CaUrl;
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::names::ActorId;
use jit_ssh_core::root::Root;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::home::{self, Home};
use crate::identity::Identity;

/// The file that makes an enrolment, in the configuration's folder.
pub(crate) const ENROLMENT: &str = "enrolment.json";
const ROOT: &str = "root.json";

/// A person enrolled with a CA.
#[derive(Debug, Clone)]
pub(crate) struct Enrolment {
    /// Where the CA is, and its pin.
    pub(crate) url: CaUrl,
    /// The pinned root.
    pub(crate) root: Root,
    /// Who the person is.
    pub(crate) id: ActorId,
    /// The key statements are signed with.
    pub(crate) identity: Identity,
}

/// The file, as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    v: u8,
    url: String,
    id: ActorId,
    identity: Identity,
}

impl Enrolment {
    /// The enrolment of this home.
    pub(crate) fn load(home: &Home) -> Result<Enrolment, Failure> {
        Enrolment::find(home)?.ok_or_else(|| {
            Failure::new(Outcome::Error, "NOT_ENROLLED", "nobody is enrolled here yet.")
                .hint("get the enroll URL from an admin, then: jit-ssh enroll URL --as YOUR-ID")
        })
    }

    /// The enrolment of this home, if there is one.
    pub(crate) fn find(home: &Home) -> Result<Option<Enrolment>, Failure> {
        let path = home.config(ENROLMENT);
        let Some(bytes) = home::read(&path)? else { return Ok(None) };
        let again = "enrol again with: jit-ssh enroll URL --as YOUR-ID";
        let unreadable = |problem: String| Failure::file(&path, format!("{problem}.")).hint(again);
        let stored: Stored =
            serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
        if stored.v != 1 {
            return Err(unreadable(format!("version {} is unknown", stored.v)));
        }
        let url: CaUrl = stored.url.parse().map_err(|e| unreadable(format!("{e}")))?;
        let root_path = home.config(ROOT);
        let root = home::read(&root_path)?.unwrap_or_default();
        if RootFingerprint(Digest::of(&root)) != url.pin() {
            let problem = format!("this is not the root that was pinned ({})", url.pin());
            return Err(Failure::file(&root_path, format!("{problem}.")).hint(again));
        }
        let root = Root::parse(&root).map_err(|e| Failure::file(&root_path, format!("{e}.")))?;
        Ok(Some(Enrolment { url, root, id: stored.id, identity: stored.identity }))
    }

    /// Writes the enrolment.
    pub(crate) fn store(&self, home: &Home) -> Result<(), Failure> {
        let stored = Stored {
            v: 1,
            url: self.url.to_string(),
            id: self.id.clone(),
            identity: self.identity.clone(),
        };
        let bytes =
            serde_json::to_vec(&stored).map_err(|e| Failure::file(&home.config(ENROLMENT), e))?;
        home::write(&home.config(ROOT), &self.root.to_bytes())?;
        home::write(&home.config(ENROLMENT), &bytes)
    }

    /// The CA's fingerprint, which every statement names.
    pub(crate) fn ca(&self) -> RootFingerprint {
        self.url.pin()
    }
}
