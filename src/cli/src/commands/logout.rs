//! `jit-ssh logout`: removes what this machine holds, and says what stands without it.

use clap::Args;
use jit_ssh_api::agent::{Agent, AgentError};
use jit_ssh_api::v1::Status;
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{Request, Verified};
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use crate::ca::{self, Ca};
use crate::cli::Context;
use crate::clock;
use crate::commands::show::fetch;
use crate::commands::status::owner;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::grants::{self, Grant, Live};
use crate::held;
use crate::home::Home;
use crate::text::{all_of, either, utc};
use crate::view::{RequestRef, status_name};

/// Remove your certificates and keys from the ssh-agent and this machine.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  jit-ssh logout\n\n\
    Requests that wait are left standing, and without their keys an approval gives no access\n\
    here: that is asked first. Take one back with: jit-ssh cancel ID")]
pub(crate) struct LogoutArgs {}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct LoggedOut {
    certificates_removed: usize,
    keys_removed: usize,
    standing: Vec<Standing>,
}

/// A request that goes on without what is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Standing {
    id: String,
    digest: Digest,
    /// `pending`, `approved`, `active`, or `unknown` where the CA can not be asked.
    status: &'static str,
    access_until: Option<UnixTime>,
    #[serde(skip)]
    about: String,
}

impl Standing {
    fn of(request: &Verified<Request>, status: &'static str, until: Option<UnixTime>) -> Standing {
        let principals = grants::principals(request.body());
        let principals: Vec<String> = principals.iter().map(ToString::to_string).collect();
        Standing {
            id: request.id().to_string(),
            digest: request.digest(),
            status,
            access_until: until,
            about: format!("{}, {}", all_of(&principals), harmless(&request.body().reason)),
        }
    }

    /// Whether something may still come of it that is not at hand yet.
    fn waits(&self) -> bool {
        self.status != ACTIVE
    }

    /// What becomes of it; harmless.
    fn told(&self) -> String {
        let Standing { id, about, status, .. } = self;
        match (self.waits(), self.access_until) {
            (false, Some(until)) => format!(
                "The access of request {id} ({about}) lasts until {}; give it back with: jit-ssh release {id}",
                utc(until)
            ),
            (false, None) => format!(
                "Request {id} ({about}) is active; give the access back with: jit-ssh release {id}"
            ),
            (true, _) => {
                let stands = match *status {
                    UNKNOWN => "may still stand".to_owned(),
                    status => format!("is {status}"),
                };
                format!(
                    "Request {id} ({about}) {stands}: with its key gone from this machine it gives no access here; take it back with: jit-ssh cancel {id}"
                )
            }
        }
    }
}

const ACTIVE: &str = "active";
const UNKNOWN: &str = "unknown";

pub(super) async fn cmd_logout(context: &Context, _: LogoutArgs) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let enrolment = Enrolment::find(home)?;
    let standing = match &enrolment {
        Some(enrolment) => standing(context, enrolment).await?,
        None => Vec::new(),
    };
    for standing in &standing {
        ui.say(&standing.told());
    }
    let waiting: Vec<&str> =
        standing.iter().filter(|one| one.waits()).map(|one| one.id.as_str()).collect();
    if !waiting.is_empty() {
        can_confirm(context, &waiting)?;
        ui.confirm("Remove the keys all the same?").await?;
    }
    // The files first: they are ours to remove, whatever the agent does.
    let keys_removed = grants::forget_all(home)?;
    ca::forget_session(home)?;
    let in_files = held::files::remove_all(home)?;
    let in_agent = match (Agent::open(), enrolment) {
        (Ok(mut agent), Some(enrolment)) => {
            let owner = owner(context, &mut agent, &enrolment).await?;
            held::remove_all(&mut agent, &owner)?
        }
        (Ok(_), None) | (Err(AgentError::Absent), _) => 0,
        (Err(error), _) => return Err(error.into()),
    };
    let certificates_removed = in_agent.saturating_add(in_files);
    ui.say(&format!(
        "Removed {in_agent} certificates from the ssh-agent, {in_files} in files, and {keys_removed} keys from this machine."
    ));
    ui.object(&LoggedOut { certificates_removed, keys_removed, standing })?;
    Ok(Outcome::Done)
}

/// Refuses where nobody can be asked whether the keys of these requests are to go.
fn can_confirm(context: &Context, waiting: &[&str]) -> Result<(), Failure> {
    context.ui.can_confirm().map_err(|_| {
        let cancel: Vec<String> = waiting.iter().map(|id| format!("jit-ssh cancel {id}")).collect();
        let (requests, stand) = if waiting.len() == 1 {
            ("the request", "stands, and its key")
        } else {
            ("the requests", "stand, and their keys")
        };
        let message = format!(
            "{requests} {} still {stand} would be gone: that has to be confirmed, and there is no terminal to ask on.",
            all_of(waiting)
        );
        let hint = format!("--yes confirms it; or first: {}", either(&cancel));
        Failure::usage(message).hint(hint)
    })
}

/// What goes on without the keys that are here: live access, and requests whose certificate was not
/// taken yet.
async fn standing(context: &Context, enrolment: &Enrolment) -> Result<Vec<Standing>, Failure> {
    let (live, untaken) = kept(&context.home, &enrolment.ca(), clock::now())?;
    let mut standing: Vec<Standing> = live
        .iter()
        .map(|live| Standing::of(&live.request, ACTIVE, Some(live.access_until)))
        .collect();
    if untaken.is_empty() {
        return Ok(standing);
    }
    // A logout works without the CA, too: then nobody knows better than that they may stand.
    let mut ca = Ca::connect(&context.home, enrolment).await.ok();
    for grant in untaken {
        let view = match &mut ca {
            Some(ca) => fetch(ca, &RequestRef::Digest(grant.digest())).await.ok(),
            None => None,
        };
        match view {
            None => standing.push(Standing::of(&grant.request, UNKNOWN, None)),
            Some(view) => match view.status() {
                status @ (Status::Pending | Status::Approved | Status::Active) => {
                    let until = Some(UnixTime(view.said.access_until)).filter(|until| until.0 > 0);
                    standing.push(Standing::of(&grant.request, status_name(status), until));
                }
                Status::Unspecified
                | Status::Ended
                | Status::Denied
                | Status::Cancelled
                | Status::Lapsed
                | Status::Refused
                | Status::Released
                | Status::Revoked => {}
            },
        }
    }
    Ok(standing)
}

/// What is kept: live access that was taken here, and requests with their keys of which nothing was
/// taken yet.
fn kept(
    home: &Home,
    ca: &RootFingerprint,
    now: UnixTime,
) -> Result<(Vec<Live>, Vec<Grant>), Failure> {
    let live = grants::live(home, ca, now)?;
    let mut untaken = grants::list(home, ca, now)?;
    untaken.retain(|grant| live.iter().all(|live| live.request.digest() != grant.digest()));
    Ok((live, untaken))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::tests::grant;
    use crate::ui::Ui;

    #[test]
    fn what_stands_is_named_with_what_becomes_of_it() {
        let grant = grant("INC-42");
        let told = |status: &'static str, until| {
            let standing = Standing::of(&grant.request, status, until);
            (standing.told().replace(&standing.id, "ID"), standing.waits())
        };
        let (pending, waits) = told("pending", None);
        assert_eq!(
            pending,
            "Request ID (deploy@prod-host, INC-42) is pending: with its key gone from this machine \
             it gives no access here; take it back with: jit-ssh cancel ID"
        );
        assert!(waits);
        let (unknown, waits) = told(UNKNOWN, None);
        assert!(unknown.contains("(deploy@prod-host, INC-42) may still stand: with"), "{unknown}");
        assert!(waits);
        let (active, waits) = told(ACTIVE, Some(UnixTime(1_790_000_600)));
        assert!(active.contains("lasts until 2026-09-21 14:23:20 UTC; give it back"), "{active}");
        assert!(active.ends_with("jit-ssh release ID") && !waits, "{active}");
    }

    #[test]
    fn keys_of_what_waits_go_only_when_that_is_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        // Tests have no terminal.
        let context =
            |yes| Context { ui: Ui { yes, ..Ui::default() }, home: Home::under(folder.path()) };
        let refused = can_confirm(&context(false), &["7kq2m9xw4p", "8kq2m9xw4p"]).unwrap_err();
        assert_eq!(refused.outcome, Outcome::Usage);
        assert!(refused.message.contains("7kq2m9xw4p and 8kq2m9xw4p still stand"), "{refused:?}");
        let hint = refused.hint.unwrap();
        assert!(hint.contains("--yes") && hint.contains("jit-ssh cancel 7kq2m9xw4p"), "{hint}");
        assert!(can_confirm(&context(true), &["7kq2m9xw4p"]).is_ok());
    }
}
