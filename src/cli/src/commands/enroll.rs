//! `jit-ssh enroll`: pins a CA, and says who the person is and which key signs.

use std::path::PathBuf;

use clap::Args;
use jit_ssh_api::agent::Agent;
use jit_ssh_api::own_key::AnyKeyFile;
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
use crate::trust::{self, Trust};

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
    /// Your id in the CA's people.toml; needless where you enrolled with it before.
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
    kind: &'static str,
    comment: &'a str,
    fingerprint: String,
    key_from: &'static str,
    known: bool,
    person: Option<String>,
}

pub(super) async fn cmd_enroll(context: &Context, args: EnrollArgs) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    // The pin first: nobody is asked anything for a CA that is not the one meant.
    let root = Client::fetch_root(&args.url).await?;
    ui.say(&format!("The CA at {} has the pinned root.", args.url.authority()));
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
    // Who enrolled with this CA before, and waited for an admin, goes on where that ended.
    let kept = before.as_ref().filter(|before| before.ca() == args.url.pin());
    let id = match (args.id, kept) {
        (Some(id), _) => id,
        (None, Some(kept)) => kept.id.clone(),
        (None, None) => {
            let question = "Your id in the CA's people.toml?";
            let answer = ui.ask(question, "say who you are: --as ID").await?;
            answer.parse().map_err(|e| Failure::usage(format!("{e}.")))?
        }
    };
    let identity = match (&args.identity, kept) {
        (Some(file), _) => Identity::from_file(file)?,
        (None, Some(kept)) if kept.id == id => kept.identity.clone(),
        (None, _) => Identity::only_one_in_agent()?,
    };
    let signing = SigningKey::of(&identity);
    ui.say(&format!("Statements are signed with {}.", harmless(&signing.told())));
    let enrolment = Enrolment { url: args.url, root, id, identity };
    let mut ca = Ca::connect(home, &enrolment).await?;
    if other_ca.is_some() {
        trust::forget(home)?;
    }
    ca::forget_session(home)?;
    enrolment.store(home)?;

    ui.say(&format!("Enrolled as {} with {}.", enrolment.id, enrolment.url.authority()));
    let unknown = stranger(&mut ca).await?;
    let person = unknown
        .as_ref()
        .map(|_| person_block(&enrolment.id, &enrolment.identity.key, &signing.comment));
    if let (Some(message), Some(person)) = (&unknown, &person) {
        ui.say(&format!("The CA does not know you yet: {}", harmless(message)));
        ui.say(&format!(
            "Ask an admin to add this to people.toml (or, where {} stands there already, the key to its keys), \
             and to apply it:\n",
            enrolment.id
        ));
        ui.say(person);
        ui.say("\nThen the next command works; to see whether it is done, enrol again.");
    } else {
        // So that hosts are known by name from now on: to completion, and where there are several CAs.
        keep_hosts(context, &ca).await;
    }
    ui.object(&Enrolled {
        enrolled: true,
        by: &enrolment.id,
        url: enrolment.url.to_string(),
        root: enrolment.ca().to_string(),
        key: &enrolment.identity.key,
        kind: signing.kind,
        comment: &signing.comment,
        fingerprint: signing.fingerprint,
        key_from: signing.from,
        known: unknown.is_none(),
        person,
    })?;
    Ok(Outcome::Done)
}

/// Whose key signs, as a person recognises it.
struct SigningKey {
    kind: &'static str,
    fingerprint: String,
    comment: String,
    from: &'static str,
    file: Option<PathBuf>,
}

impl SigningKey {
    fn of(identity: &Identity) -> SigningKey {
        let from = if identity.file.is_some() { "file" } else { "agent" };
        SigningKey {
            kind: kind(&identity.key),
            fingerprint: identity.key.fingerprint(),
            comment: comment(identity),
            from,
            file: identity.file.clone(),
        }
    }

    fn told(&self) -> String {
        let SigningKey { kind, fingerprint, comment, file, .. } = self;
        let place = match file {
            Some(file) => format!("in {}", file.display()),
            None => "in your ssh-agent".to_owned(),
        };
        let comment = if comment.is_empty() { "no comment" } else { comment };
        format!("the {kind} {fingerprint} ({comment}), {place}")
    }
}

/// What sort of key it is, for people.
fn kind(key: &SignerKey) -> &'static str {
    match key.to_string().split(' ').next() {
        Some("ssh-ed25519") => "Ed25519 key",
        Some("ecdsa-sha2-nistp256") => "ECDSA P-256 key",
        Some("ecdsa-sha2-nistp384") => "ECDSA P-384 key",
        Some("sk-ssh-ed25519@openssh.com") => "security key (Ed25519)",
        Some("sk-ecdsa-sha2-nistp256@openssh.com") => "security key (ECDSA P-256)",
        _ => "key",
    }
}

/// The comment on a key, where it lies; empty if it has none or can not be read any more.
fn comment(identity: &Identity) -> String {
    let found = match &identity.file {
        Some(file) => match AnyKeyFile::read(file) {
            Ok(AnyKeyFile::Private(private)) => Some(private.comment().to_string()),
            Ok(AnyKeyFile::Other(_)) | Err(_) => None,
        },
        None => Agent::open().and_then(|mut agent| agent.list()).ok().and_then(|held| {
            let mut held = held.into_iter();
            held.find(|held| held.blob == identity.key.blob()).map(|held| held.comment)
        }),
    };
    found.unwrap_or_default()
}

/// Keeps the hosts of the bundle. That they can not be had now is no failure: they are asked for
/// again where they are needed.
async fn keep_hosts(context: &Context, ca: &Ca<'_>) {
    let root = &ca.enrolment.root;
    if let Ok(mut trust) = Trust::load(&context.home, root, ca.client()).await {
        let _ = trust.newest_hosts(ca.client()).await;
    }
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
fn person_block(id: &ActorId, key: &SignerKey, comment: &str) -> String {
    // A comment is anybody's text: what is not seen, or moves what is seen, is left out.
    let plain: String =
        comment.chars().filter(|char| harmless(&char.to_string()) == char.to_string()).collect();
    let plain = if plain.trim().is_empty() { id.as_str() } else { plain.trim() };
    // Without control characters, a string of JSON is one of TOML too.
    let key = serde_json::Value::from(format!("{key} {plain}"));
    format!("[[person]]\nid = \"{id}\"\nname = \"{id}\"\nkeys = [{key}]\ngroups = []\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_ssh_core::bundle::Bundle;
    use jit_ssh_core::testkit::{World, software_key};

    #[test]
    fn the_block_for_the_admin_is_toml_whatever_the_comment_says() {
        let (_, key) = software_key(9);
        let id: ActorId = "alice".parse().unwrap();
        for (comment, kept) in [
            ("alice@laptop", "alice@laptop"),
            ("", "alice"),
            (
                "a \"quoted\" \\ one\n[[machine]]\u{1b}[2J\u{7f}\u{202e}",
                "a \\\"quoted\\\" \\\\ one[[machine]][2J",
            ),
        ] {
            let block = person_block(&id, &key, comment);
            assert!(block.contains(&format!("{key} {kept}\"]")), "{block}");
            let mut files = World::default().files("");
            files.people = block.clone().into_bytes();
            let bundle = Bundle::parse_rules(&files, &[]).unwrap();
            let alice = bundle.people.get(&id).unwrap();
            assert_eq!(alice.keys, std::slice::from_ref(&key), "{block}");
        }
    }
}
