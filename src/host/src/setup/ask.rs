//! What setup asks of the CA, and how a host with a join token joins on the way.

use jit_ssh_api::CaUrl;
use jit_ssh_api::join::JoinToken;
use jit_ssh_core::enrolment::Vouched;
use jit_ssh_core::key::{HostKey, SubjectKey};
use jit_ssh_core::names::HostName;

use crate::clock::now;
use crate::enroll;
use crate::enrolment::{self, Over};
use crate::error::CommandError;
use crate::fetch::{self, Found, ThisHost, Trusted, Word};
use crate::host_certificate;
use crate::layout::Layout;
use crate::plan::HostFacts;

/// Who asks.
pub(super) struct Question<'a> {
    pub(super) ca: &'a CaUrl,
    pub(super) name: &'a HostName,
    pub(super) layout: &'a Layout,
    /// The keys that sshd has here.
    pub(super) own_keys: &'a [HostKey],
    /// What it may join by, where it has not joined.
    pub(super) token: Option<&'a JoinToken>,
    /// Nothing is handed in.
    pub(super) dry_run: bool,
}

/// What the CA says of this host.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) facts: HostFacts,
    /// The file with its certificate, if it has one.
    pub(super) host_certificate: Option<Vec<u8>>,
    /// The file with what vouches for it, where it joined.
    pub(super) enrolment: Option<Vec<u8>>,
}

/// Asks. A host that is not known joins by its token; not before `preview` is content with what will
/// follow, so that no token is spent on a host that setup would refuse.
///
/// # Errors
/// If the CA does not answer, is another, or does not know the host; what `preview` says; if the token
/// does not let it in.
pub(super) async fn ask(
    question: &Question<'_>,
    preview: impl FnOnce(Answer) -> Result<(), CommandError>,
) -> Result<Answer, CommandError> {
    let Question { ca, name, layout, own_keys, .. } = question;
    let (client, root) = fetch::connect(ca).await?;
    let word = fetch::word(&client, &root).await?;
    let revoked = fetch::revoked(&client, &word.signers).await?;
    let (dir, keys) = (layout.own_dir(), || Ok(own_keys.to_vec()));
    let mut found = fetch::this_host(&client, &word, name, &dir, keys, Over::IsGone).await?;
    if let Some(vouched) = by_token(question, &word, &found)? {
        let trusted = word.about(name, Found::Host(ThisHost::joined(vouched.clone())))?;
        let answer = Answer {
            facts: trusted.facts(revoked.clone()),
            host_certificate: None,
            enrolment: Some(enrolment::file(&vouched)),
        };
        let until = vouched.host().body().until.utc();
        if question.dry_run {
            eprintln!(
                "Dry run: {name} would join by the token until {until}, and get a host certificate; nothing is sent."
            );
            return Ok(answer);
        }
        preview(answer)?;
        enroll::hand_in(&client, &vouched).await?;
        eprintln!("{name} has joined until {until}.");
        found = Found::Host(ThisHost::joined(vouched));
    }
    let trusted = word.about(name, found)?;
    let Trusted { signers, host, .. } = &trusted;
    // What can not be read is as good as none here; before anything is written, it is told.
    let held = std::fs::read(layout.host_certificate()).ok();
    let settled = host_certificate::settle(&client, signers, host, own_keys, held, now());
    let (host_certificate, why_not) = settled.await?;
    if let Some(why_not) = why_not {
        eprintln!("warning: {}", why_not.in_words());
    }
    let enrolment = host.vouched().map(enrolment::file);
    Ok(Answer { facts: trusted.facts(revoked), host_certificate, enrolment })
}

/// What the token's key says of this host, where it has to join by it. Nobody has heard of it yet.
fn by_token(
    question: &Question<'_>,
    word: &Word,
    found: &Found,
) -> Result<Option<Vouched>, CommandError> {
    let name = question.name;
    match (question.token, found) {
        (None, _) => Ok(None),
        (Some(_), Found::Host(host)) => {
            let is = match host.vouched() {
                Some(by) => format!("has joined until {}", by.host().body().until.utc()),
                None => "is in hosts.toml".to_owned(),
            };
            eprintln!("{name} {is}: the token is not used.");
            Ok(None)
        }
        (Some(token), Found::Not(_)) => {
            let key = ed25519(question.own_keys)?;
            let vouched = enroll::vouch(token, name, key, None, now())?;
            vouched.judge(&word.hosts, now()).map_err(|no| {
                let error = CommandError::new(format!("This host can not join: {}", no.message));
                error
                    .named(no.reason.as_str())
                    .hint("nothing is changed, and the token is not used")
            })?;
            Ok(Some(vouched))
        }
    }
}

/// The key that a host joins by.
fn ed25519(own_keys: &[HostKey]) -> Result<SubjectKey, CommandError> {
    let key = own_keys.iter().find(|key| key.type_name() == "ssh-ed25519");
    key.and_then(|key| key.to_string().parse().ok()).ok_or_else(|| {
        CommandError::new("sshd has no Ed25519 host key here whose .pub file can be read.")
            .named("NO_HOST_KEY")
            .hint("make sshd's keys with: ssh-keygen -A")
    })
}
