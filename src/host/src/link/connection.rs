//! One connection to the CA, from the first call to its end.

use std::time::Duration;

use jit_ssh_api::own_key::OwnKey;
use jit_ssh_api::v1::{
    GetBundleRequest, GetKrlRequest, SignedKrl, SignedStatement, WatchHostsResponse,
};
use jit_ssh_api::{ApiError, Client, HostWatch};
use jit_ssh_core::bundle::Signers;
use jit_ssh_core::certificate::line;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::enrolment::Vouched;
use jit_ssh_core::refusal::Reason;
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{Kind, Nonce, Session, encode};
use jit_ssh_core::time::Seconds;
use tokio::time::{MissedTickBehavior, interval};

use super::heard::Heard;
use super::krls::Krls;
use super::place::Place;
use super::reports;
use crate::clock::now;
use crate::enrolment::{self, Over};
use crate::error::CommandError;
use crate::fetch::{self, Trusted, no_connection};
use crate::guard::log::{self, Level};
use crate::guard::protocol::{Answer, Ask};
use crate::host_certificate::{self, Answer as Answered, Without};

/// How often the guard is asked for what it saw.
const TELL: Duration = Duration::from_secs(2);
/// How often the CA is asked though it would have said so by itself; without a stream more often.
const POLL: Duration = Duration::from_secs(300);
const POLL_ALONE: Duration = Duration::from_secs(10);
/// Seconds for which the host proves who it is: the stream lasts as long as the connection.
const PROOF: u32 = 60;

/// What is known through this connection.
struct Link<'p> {
    place: &'p Place,
    heard: &'p mut Heard,
    client: Client,
    root: Root,
    bundle: Digest,
    trusted: Trusted,
    krls: Krls,
    own: Option<OwnKey>,
    /// Why there is no host certificate, as it was said last.
    said: Option<Without>,
}

/// Follows the CA until the connection breaks.
///
/// # Errors
/// Why it broke, or what is in the way here.
pub(super) async fn run(place: &Place, heard: &mut Heard) -> Result<(), CommandError> {
    let mut link = Link::open(place, heard).await?;
    let mut watch = link.watch().await?;
    let mut tell = interval(TELL);
    tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut poll = interval(if watch.is_some() { POLL } else { POLL_ALONE });
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    poll.reset();
    loop {
        tokio::select! {
            news = next(&mut watch) => match news.map_err(|e| no_connection(e.into()))? {
                Some(news) => link.hear(news).await?,
                None => return Ok(()),
            },
            _ = tell.tick() => {
                if place.is_set_up_anew() {
                    return Ok(());
                }
                link.tell().await?;
            }
            _ = poll.tick() => link.poll().await?,
        }
    }
}

/// The next news; never, where the CA has no room for one more stream.
async fn next(watch: &mut Option<HostWatch>) -> Result<Option<WatchHostsResponse>, ApiError> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

impl<'p> Link<'p> {
    async fn open(place: &'p Place, heard: &'p mut Heard) -> Result<Link<'p>, CommandError> {
        let (client, root) = fetch::connect(&place.settings.ca).await?;
        let (bundle, trusted) = bundle(&client, &root, place).await?;
        let krls = place.kept_lists(&trusted);
        let (own, said) = (None, None);
        let mut link = Link { place, heard, client, root, bundle, trusted, krls, own, said };
        link.own = link.own_key();
        link.ask_for_lists().await?;
        link.renew().await?;
        Ok(link)
    }

    /// Gets the host certificate, or another where it is time or the bundle says other names.
    async fn renew(&mut self) -> Result<(), CommandError> {
        let (signers, host) = (&self.trusted.signers, &self.trusted.host);
        if host.key.is_none() || host.is_over(now()) {
            return Ok(());
        }
        let held = self.place.host_certificate();
        let own = self.place.host_keys()?;
        let due = host_certificate::identity(host, &own).is_ok_and(|identity| {
            let is_due = |held: &Vec<u8>| host_certificate::is_due(held, &identity, signers, now());
            held.as_ref().is_none_or(is_due)
        });
        if !due {
            return Ok(());
        }
        match host_certificate::fetch(&self.client, signers, host, &own, now()).await? {
            Answered::Certificate(file) if held.as_ref() != Some(&file) => {
                // What is in the way here must not keep revocations away.
                if let Err(error) = self.place.show_certificate(&file) {
                    log::say(Level::Warning, &error.to_string());
                }
            }
            Answered::Certificate(_) => {}
            Answered::Without(why) => {
                if self.said.as_ref() != Some(&why) {
                    log::say(Level::Warning, &format!("{}.", why.in_words().trim_end_matches('.')));
                }
                self.said = Some(why);
            }
        }
        Ok(())
    }

    /// The key by which this host speaks; without one it listens only.
    fn own_key(&self) -> Option<OwnKey> {
        let Some(key) = &self.trusted.host.key else {
            log::say(
                Level::Info,
                "this host has no `key` in hosts.toml: the CA hears nothing of its logins.",
            );
            return None;
        };
        let own = self.place.own_key(key);
        own.inspect_err(|error| log::say(Level::Warning, &error.to_string())).ok()
    }

    async fn watch(&mut self) -> Result<Option<HostWatch>, CommandError> {
        let is_over = self.trusted.host.is_over(now());
        let proof = match &mut self.own {
            // Nobody has access to it any more: there is nothing that it alone has to hear.
            _ if is_over => None,
            Some(own) => Some(proof(own, self.place, &self.root)?),
            None => None,
        };
        match self.client.watch_hosts(proof).await {
            Ok(watch) => Ok(Some(watch)),
            Err(ApiError::Refused(detail)) if detail.refusal.reason == Reason::Quota => {
                log::say(Level::Warning, "the CA has no room for one more stream: it is polled.");
                Ok(None)
            }
            Err(error) => Err(no_connection(error.into())),
        }
    }

    async fn hear(&mut self, news: WatchHostsResponse) -> Result<(), CommandError> {
        if news.bundle_version > self.trusted.version {
            self.refresh().await?;
        }
        let _told = self.take(&news.krls)?;
        for certificate in &news.prolonging {
            self.prolong(certificate);
        }
        Ok(())
    }

    /// Believes of the lists what holds, and has sshd read it; gives a sentence for each that does not.
    fn take(&mut self, sent: &[SignedKrl]) -> Result<Vec<String>, CommandError> {
        let problems = self.krls.take(&self.trusted.signers, sent).into_iter();
        let problems: Vec<_> =
            problems.map(|problem| format!("The CA sent {problem}: it changes nothing.")).collect();
        problems.iter().for_each(|problem| log::say(Level::Warning, problem));
        self.place.install(&self.trusted, &self.krls)?;
        Ok(problems)
    }

    async fn ask_for_lists(&mut self) -> Result<(), CommandError> {
        let problems = match self.client.get_krl(GetKrlRequest {}).await {
            Ok(lists) => {
                let mut problems = self.take(&lists.krls)?;
                problems.extend(unserved(&self.trusted.signers, &lists.krls));
                problems
            }
            Err(ApiError::Refused(detail)) => {
                self.take(&[])?;
                vec![format!("The CA gives no revocation list: {}", detail.refusal.message)]
            }
            Err(error) => return Err(no_connection(error.into())),
        };
        match problems.is_empty() {
            true => self.heard.note(now()),
            false => self.heard.note_problem(&problems.join(" ")),
        }
        self.place.keep_heard(self.heard);
        Ok(())
    }

    /// Tells the guard of a certificate that prolongs access: the guard verifies it.
    fn prolong(&self, certificate: &[u8]) {
        let Some(line) = line(certificate) else { return };
        match self.place.ask_guard(&Ask::Prolong { certificate: line }) {
            Ok(Answer::Prolonged { .. }) => {}
            Ok(other) => log::say(Level::Warning, &format!("nothing is prolonged: {other:?}.")),
            Err(why) => log::say(Level::Warning, &format!("nothing is prolonged: {why}.")),
        }
    }

    /// Tells the CA what the guard saw.
    async fn tell(&mut self) -> Result<(), CommandError> {
        let Some(own) = &mut self.own else { return Ok(()) };
        let told = reports::tell(self.place, &self.client, own, self.root.fingerprint()).await;
        match told {
            // It is heard for some time after its end, and then no more.
            Err(ApiError::Refused(detail)) if self.trusted.host.is_over(now()) => {
                log::say(
                    Level::Warning,
                    &format!("the CA hears no more: {}", detail.refusal.message),
                );
                self.own = None;
                Ok(())
            }
            told => told.map_err(|error| no_connection(error.into())),
        }
    }

    async fn poll(&mut self) -> Result<(), CommandError> {
        let statement = GetBundleRequest { parts: Vec::new(), proposal: false };
        let answer =
            self.client.get_bundle(statement).await.map_err(|e| no_connection(e.into()))?;
        let is_other = fetch::signed(&self.root, &answer)?.digest != self.bundle;
        if is_other || self.is_vouched_for_anew().await? {
            self.refresh().await?;
        }
        self.ask_for_lists().await?;
        self.renew().await
    }

    /// Whether the CA has a newer statement about this host, which joined.
    async fn is_vouched_for_anew(&self) -> Result<bool, CommandError> {
        let Some(known) = self.trusted.host.vouched() else { return Ok(false) };
        let (name, ca) = (&self.place.settings.name, self.root.fingerprint());
        let offered = enrolment::of_ca(&self.client, name, &ca).await?;
        let newer = |offered: Vouched| offered.host().body().at > known.host().body().at;
        Ok(offered.is_some_and(newer))
    }

    /// Takes over another bundle, and what vouches for this host now.
    async fn refresh(&mut self) -> Result<(), CommandError> {
        let (digest, trusted) = bundle(&self.client, &self.root, self.place).await?;
        if trusted.version < self.trusted.version {
            let (old, new) = (trusted.version, self.trusted.version);
            log::say(
                Level::Warning,
                &format!(
                    "The CA offers bundle version {old}, and {new} is known: it changes nothing."
                ),
            );
            return Ok(());
        }
        let spoke_by = std::mem::replace(&mut self.trusted, trusted).host.key.clone();
        self.bundle = digest;
        self.krls.keep(&self.trusted.signers);
        if self.trusted.host.key != spoke_by {
            // The next connection proves itself by the other key.
            self.own = self.own_key();
        }
        self.place.install(&self.trusted, &self.krls)?;
        self.renew().await
    }
}

async fn bundle(
    client: &Client,
    root: &Root,
    place: &Place,
) -> Result<(Digest, Trusted), CommandError> {
    let word = fetch::word(client, root).await?;
    let (name, dir, keys) = (&place.settings.name, place.own_dir(), || place.host_keys());
    let found = fetch::this_host(client, &word, name, &dir, keys, Over::Counts).await?;
    let trusted = word.about(name, found)?;
    if let Some(vouched) = trusted.host.vouched() {
        place.keep_enrolment(vouched)?;
    }
    Ok((word.digest, trusted))
}

/// A sentence where the CA has no list of some signer: what that one revokes does not arrive.
fn unserved(signers: &Signers, sent: &[SignedKrl]) -> Option<String> {
    let lacks = |number: u32| sent.iter().all(|list| list.signer != number);
    let numbers = signers.iter().map(|signer| u32::from(signer.number.get()));
    let lacking: Vec<_> = numbers.filter(|n| lacks(*n)).map(|n| n.to_string()).collect();
    let lacking = (!lacking.is_empty()).then(|| lacking.join(", "));
    lacking.map(|of| format!("The CA does not serve the revocation list of signer {of}."))
}

/// What proves which host listens.
fn proof(own: &mut OwnKey, place: &Place, root: &Root) -> Result<SignedStatement, CommandError> {
    let failed =
        |error: String| CommandError::new(format!("The host can not prove itself: {error}."));
    let by = place.settings.name.as_str().parse().map_err(|e| failed(format!("{e}")))?;
    let span = Seconds::new(PROOF).ok_or_else(|| failed("no time".to_owned()))?;
    let nonce = Nonce(rand::random());
    let session = Session::new(root.fingerprint(), by, span, now(), nonce);
    let statement = encode(&session).map_err(|e| failed(e.to_string()))?;
    let signature = own.sign(Kind::Session, &statement).map_err(|e| failed(e.to_string()))?;
    Ok(SignedStatement { statement: statement.into(), signatures: vec![signature.into()] })
}
