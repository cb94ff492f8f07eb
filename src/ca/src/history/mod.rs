//! What became of every request, from the log as it lies on the disk.
//!
//! Each request is read with all that was said of it, and with what the bundle that was in force then
//! made of it. The log is taken as it is: `jit-ssh-ca log verify` is who checks it.

mod since;
mod walk;

use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::chain::Chain;
use jit_ssh_core::digest::{IdPrefix, ShortId};
use jit_ssh_core::enrolment::{Enrolled, View};
use jit_ssh_core::lifecycle::{Basis, Grant, Status};
use jit_ssh_core::names::{ActorId, Principal, RuleName};
use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{Request, Verified};
use jit_ssh_core::time::UnixTime;

use crate::audit::folder::Folder;
use crate::failure::Failure;
use crate::terminal;
pub(crate) use since::Since;

/// The log, request by request.
pub(crate) struct History {
    /// The requests in the order in which they were recorded.
    pub(crate) requests: Vec<Past>,
    /// The bundle in force at the log's end; `None` if there is none, or it can not be read.
    pub(crate) bundle: Option<Bundle>,
    /// What could not be read, in words for stderr.
    pub(crate) gaps: Vec<String>,
}

/// A request, and what became of it.
pub(crate) struct Past {
    /// The request with all that was said of it, and with what it prolongs.
    pub(crate) chain: Chain,
    /// When it was recorded.
    pub(crate) recorded: UnixTime,
    /// Of the hosts it names, those that had joined by themselves then.
    pub(crate) joined: Enrolled,
    /// Which extension of the first request it is, from 1, if it is one.
    pub(crate) extension: Option<u8>,
    /// What the bundle of then made of it when it was recorded; `None` if that can not be read.
    pub(crate) first: Option<Said>,
    /// The same when the last entry about it was recorded.
    pub(crate) last: Option<Said>,
    /// The last that granted it, also where the rules or its end took that back.
    pub(crate) granted: Option<Said>,
    /// The certificates, oldest first.
    pub(crate) certificates: Vec<Certified>,
}

/// What a bundle made of a request at a moment.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// The rule that decides, and what approves it; else why none does.
    pub(crate) decision: Result<(RuleName, Basis), Refusal>,
    pub(crate) needed: usize,
    pub(crate) status: Status,
    pub(crate) grant: Option<Grant>,
    /// When its first certificate must be asked for by, if it is granted.
    pub(crate) use_by: Option<UnixTime>,
    /// Whose approvals count, oldest first.
    pub(crate) approvers: Vec<ActorId>,
}

/// A certificate of the log.
#[derive(Debug, Clone)]
pub(crate) struct Certified {
    pub(crate) serial: u64,
    pub(crate) at: UnixTime,
    pub(crate) rule: RuleName,
    pub(crate) principals: Vec<Principal>,
    /// When the access ends, as its key id says.
    pub(crate) access_until: UnixTime,
}

impl History {
    /// Reads the log of `folder`: the requests recorded at `since` or later, and those from which
    /// something can have followed then.
    ///
    /// # Errors
    /// If the log can not be read.
    pub(crate) fn read(folder: &Folder, since: UnixTime) -> anyhow::Result<History> {
        let (root, _): (Root, _) = folder.root()?;
        let mut walk = walk::Walk::new(folder, &root, since);
        if let Some((checkpoint, _)) = folder.checkpoint()? {
            let size = checkpoint.size();
            for entry in folder.log().entries(0..size, size) {
                let (index, bytes) = entry?;
                walk.entry(index, &bytes);
            }
        }
        Ok(walk.finish())
    }

    /// Warns on stderr of what could not be read.
    pub(crate) fn tell_gaps(&self) {
        self.gaps.iter().for_each(|gap| terminal::say(&format!("warning: {gap}")));
    }

    /// The one request with this id.
    ///
    /// # Errors
    /// If there is none, or several.
    pub(crate) fn find(&self, id: &IdPrefix) -> anyhow::Result<&Past> {
        let mut fitting = self.requests.iter().filter(|past| id.matches(&past.id()));
        let found = fitting.next().ok_or_else(|| {
            Failure::named(
                "UNKNOWN_REQUEST",
                format!("there is no request {} in the log.", id.as_str()),
            )
            .hint("see them with: jit-ssh-ca log show")
        })?;
        if fitting.next().is_some() {
            let message = format!("several requests begin with {}.", id.as_str());
            return Err(Failure::named("AMBIGUOUS_ID", message).hint("give more of the id").into());
        }
        Ok(found)
    }
}

impl Past {
    /// What to hold it against under another bundle: the hosts are those of then.
    pub(crate) fn view<'b>(&'b self, bundle: &'b Bundle) -> View<'b> {
        View::new(bundle, &self.joined)
    }

    /// The request.
    pub(crate) fn request(&self) -> &Request {
        self.chain.request().body()
    }

    /// What people call it.
    pub(crate) fn id(&self) -> ShortId {
        self.chain.request().id()
    }

    /// The signed request.
    pub(crate) fn signed(&self) -> &Verified<Request> {
        self.chain.request()
    }

    /// What became of it, in a word or two: it is about the past, so what waits still waits.
    pub(crate) fn outcome(&self) -> String {
        let Some(said) = &self.last else { return "unknown".to_owned() };
        match &said.status {
            Status::Denied { by, .. } => format!("denied by {by}"),
            Status::Revoked { by, .. } => format!("revoked by {by}"),
            Status::Cancelled => "cancelled".to_owned(),
            Status::Released => "released".to_owned(),
            _ if !self.certificates.is_empty() => "certified".to_owned(),
            Status::Approved | Status::LapsedUnused => "approved and not used".to_owned(),
            Status::Pending | Status::LapsedUndecided => "not decided".to_owned(),
            Status::Active | Status::Ended => "certified".to_owned(),
            Status::Refused(_) => "refused".to_owned(),
        }
    }
}

#[cfg(test)]
pub(crate) mod testlog;
