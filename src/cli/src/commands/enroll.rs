//! `jit-ssh enroll`: pins a CA, and says who the person is and which key signs.

use std::path::PathBuf;

use clap::Args;
use jit_ssh_api::{CaUrl, Client, Reason};
use jit_ssh_core::key::SignerKey;
use jit_ssh_core::names::ActorId;
use jit_ssh_core::plain::harmless;
use serde::Serialize;

use crate::ca::{self, Ca};
use crate::cli::Context;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::identity::Identity;
use crate::trust;

/// Pin the CA and set up who you are, once per machine.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  jit-ssh enroll https://ca.example:7443#SHA256:... --as alice\n\n\
    Without --identity, the only usable key in the ssh-agent signs. FILE is an\n\
    unencrypted private key, or a .pub file whose key the ssh-agent holds.\n\
    A second CA is kept beside the first under a name of yours: --ca NAME."
)]
pub(crate) struct EnrollArgs {
    /// The enroll URL, as an admin gave it to you: https://host:port#SHA256:...
    pub(super) url: CaUrl,
    /// Your id in the CA's people.toml.
    #[arg(long = "as", value_name = "ID")]
    id: Option<ActorId>,
    /// The key that signs for you.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Enrolled<'a> {
    enrolled: bool,
    by: &'a ActorId,
    url: String,
    root: String,
    key: &'a SignerKey,
    fingerprint: String,
    key_from: &'static str,
    known: bool,
    person: Option<String>,
}

pub(super) async fn cmd_enroll(context: &Context, args: EnrollArgs) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let id = match args.id {
        Some(id) => id,
        None => {
            let question = "Your id in the CA's people.toml?";
            let answer = ui.ask(question, "say who you are: --as ID").await?;
            answer.parse().map_err(|e| Failure::usage(format!("{e}.")))?
        }
    };
    let before = Enrolment::find(home).ok().flatten();
    let other_ca = before.as_ref().filter(|before| before.ca() != args.url.pin());
    if let Some(before) = other_ca {
        let (old, new) = (&before.url, &args.url);
        let beside = "--yes replaces it; --ca NAME keeps both side by side";
        ui.can_confirm().map_err(|failure| failure.hint(beside))?;
        ui.confirm(&format!(
            "You are enrolled with {old} (--ca NAME would keep both). Replace that by {new}?"
        ))
        .await?;
    }
    // The pin first: nothing is asked of the person's keys for a CA that is not the one meant.
    let root = Client::fetch_root(&args.url).await?;
    let identity = match &args.identity {
        Some(file) => Identity::from_file(file)?,
        None => Identity::only_one_in_agent()?,
    };
    let enrolment = Enrolment { url: args.url, root, id, identity };
    let mut ca = Ca::connect(home, &enrolment).await?;
    if other_ca.is_some() {
        trust::forget(home)?;
    }
    ca::forget_session(home)?;
    enrolment.store(home)?;

    let fingerprint = enrolment.identity.key.fingerprint();
    let key_from = if enrolment.identity.file.is_some() { "file" } else { "agent" };
    ui.say(&format!(
        "Enrolled as {} with {}; statements are signed with the key {fingerprint} ({key_from}).",
        enrolment.id,
        enrolment.url.authority()
    ));
    let unknown = stranger(&mut ca).await?;
    let person = unknown.as_ref().map(|_| person_block(&enrolment));
    if let (Some(message), Some(person)) = (&unknown, &person) {
        ui.say(&format!("The CA does not know you yet: {}", harmless(message)));
        ui.say("Ask an admin to add this to people.toml and apply it:\n");
        ui.say(person);
    }
    ui.object(&Enrolled {
        enrolled: true,
        by: &enrolment.id,
        url: enrolment.url.to_string(),
        root: enrolment.ca().to_string(),
        key: &enrolment.identity.key,
        fingerprint,
        key_from,
        known: unknown.is_none(),
        person,
    })?;
    Ok(Outcome::Done)
}

/// Opens a session; gives the CA's words if it does not know the person or key yet.
async fn stranger(ca: &mut Ca<'_>) -> Result<Option<String>, Failure> {
    match ca.open_session().await {
        Ok(_) => Ok(None),
        Err(failure)
            if [Reason::UnknownSigner, Reason::NoBundle]
                .iter()
                .any(|r| r.as_str() == failure.name) =>
        {
            Ok(Some(failure.message))
        }
        Err(failure) => Err(failure),
    }
}

/// What an admin must add to `people.toml`.
fn person_block(enrolment: &Enrolment) -> String {
    let Enrolment { id, identity, .. } = enrolment;
    format!(
        "[[person]]\nid = \"{id}\"\nname = \"{id}\"\nkeys = [\"{} {id}\"]\ngroups = []\n",
        identity.key
    )
}
