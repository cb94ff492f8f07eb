//! From an approved request to a certificate that works: take it, check it, load it.

use std::collections::BTreeSet;
use std::time::Duration;

use jit_ssh_api::{ApiError, Reason, v1};
use jit_ssh_core::bundle::Hosts;
use jit_ssh_core::certificate::Scope;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::entry::Entry;
use jit_ssh_core::names::{HostName, Jump, Login, Opens, Principal};
use jit_ssh_core::receipt::{self, Accepted, Receipt};
use jit_ssh_core::time::UnixTime;
use serde::Serialize;
use ssh_key::private::KeypairData;

use crate::ca::Ca;
use crate::clock;
use crate::failure::Failure;
use crate::grants::{self, Grant, Keeping, Live, Subject};
use crate::held::files::{Place, Private};
use crate::held::{self, Bounds, Held, Loaded, Owner, Terms};
use crate::home::Home;
use crate::known_hosts;
use crate::ssh_config::{self, Logins};
use crate::text::{all_of, relative, utc};
use crate::trust::Trust;
use crate::ui::Ui;
use jit_ssh_api::agent::{Agent, AgentError, Confirm};

/// How often a CA that can not issue just now is asked again, and how long between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Access that can be used, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Access {
    id: String,
    digest: Option<Digest>,
    status: &'static str,
    basis: Option<&'static str>,
    extends: Option<Digest>,
    rule: Option<String>,
    serial: u64,
    serial_text: String,
    key_id: String,
    principals: Vec<String>,
    valid_after: UnixTime,
    valid_before: UnixTime,
    access_until: UnixTime,
    hosts: Vec<HostName>,
    logins: Vec<Login>,
    command: String,
    commands: Vec<String>,
    loaded: &'static str,
    /// Whether the ssh-agent keeps it from other hosts.
    bound: bool,
}

/// What the CA issued at once.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// For the accounts.
    pub(crate) access: v1::Certificate,
    /// For the jumps on the way to their hosts.
    pub(crate) jumps: Vec<v1::Certificate>,
}

/// Asks for the certificate of an approved request; patient with a CA whose log or signer is away
/// for a moment.
pub(crate) async fn certify(ca: &Ca<'_>, digest: Digest) -> Result<Certificates, ApiError> {
    let mut attempts = 1;
    loop {
        let message = v1::CertifyRequest { digest: digest.to_string() };
        match ca.client().certify(message).await {
            Ok(answer) => {
                let none = || ApiError::Foreign("an answer without a certificate".to_owned());
                let access = answer.certificate.ok_or_else(none)?;
                return Ok(Certificates { access, jumps: answer.jumps });
            }
            Err(error) if attempts < ATTEMPTS && passes(&error) => attempts += 1,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether a fault is likely to heal by itself. That it is too early, too: nobody asks before the
/// access has begun by their own clock.
fn passes(error: &ApiError) -> bool {
    matches!(
        error.reason(),
        Some(
            Reason::LogUnavailable
                | Reason::SignerUnavailable
                | Reason::StoreUnavailable
                | Reason::TooEarly
        )
    )
}

/// Checks a certificate against the request it should answer, loads it, keeps or forgets the key,
/// and tells the person.
pub(crate) async fn take(
    ui: &Ui,
    home: &Home,
    ca: &Ca<'_>,
    grant: &Grant,
    certificates: &Certificates,
) -> Result<(), Failure> {
    let mut trust = Trust::load(home, &ca.enrolment.root, ca.client()).await?;
    let access = place(Some(ui), home, ca, &mut trust, grant, certificates).await?;
    access.tell(ui, clock::now())?;
    // The access is there all the same: ssh then asks about a host it does not know.
    if let Err(failure) = keep_ssh_files(ui, home, ca, &mut trust, grant).await {
        ui.say(&format!("what ssh reads is not up to date: {}", failure.message));
    }
    Ok(())
}

/// The same without a word.
pub(crate) async fn take_silently(
    home: &Home,
    ca: &Ca<'_>,
    grant: &Grant,
    certificates: &Certificates,
) -> Result<(), Failure> {
    let mut trust = Trust::load(home, &ca.enrolment.root, ca.client()).await?;
    place(None, home, ca, &mut trust, grant, certificates).await.map(|_| ())
}

async fn place(
    ui: Option<&Ui>,
    home: &Home,
    ca: &Ca<'_>,
    trust: &mut Trust<'_>,
    grant: &Grant,
    certificates: &Certificates,
) -> Result<Access, Failure> {
    let certificate = &certificates.access;
    let accepted = check(ca, trust, grant, &Scope::Access, certificate).await?;
    catch_up(trust, ca, certificate).await?;
    // Read once: there may be very many.
    let hosts = trust.hosts(ca.client()).await?;
    let jumps = check_jumps(ca, trust, grant, &hosts, &accepted, &certificates.jumps).await?;
    let now = clock::now();
    let owner = Owner { id: ca.enrolment.id.clone(), signers: Some(trust.signers().clone()) };
    let bounds = |opens: &Opens| match grant.keeping {
        Keeping::Unbound | Keeping::Files => Bounds::Unwished,
        Keeping::Agent | Keeping::Confirmed => {
            held::bounds(opens, &grant.request.body().permit, &hosts, trust.signers())
        }
    };
    // Kept as long as the access: to be renewed, or when another takes its place in the agent.
    grant.store(home, accepted.access_until)?;
    let loading = Loading { ui, home, owner: &owner, grant, accepted: &accepted, now };
    let loaded = loading.load(bounds(&accepted.opens))?;
    for (jump, accepted) in &jumps {
        if held::has_jump_beyond(home, &owner, jump, accepted.valid_before)? {
            continue;
        }
        // What has to be told was told of the access.
        Loading { ui: None, accepted, ..loading }.load(bounds(&accepted.opens))?;
    }
    let logins = accepted.opens.logins();
    let commands = logins.iter().map(|one| held::command(home, &loaded, one)).collect();
    grants::note(home, &grant.request, &accepted)?;
    Logins::note(home, logins)?;
    Ok(Access::of(grant, certificate, &accepted, commands, &loaded))
}

/// Brings up to date what ssh reads: the hosts it may trust, and how it reaches them. Tells once how to have ssh
/// read it.
async fn keep_ssh_files(
    ui: &Ui,
    home: &Home,
    ca: &Ca<'_>,
    trust: &mut Trust<'_>,
    grant: &Grant,
) -> Result<(), Failure> {
    let hosts = &grant.request.body().hosts;
    if known_hosts::keep(ui, home, trust, ca.client(), hosts).await?
        && !ssh_config::path(home).exists()
    {
        ui.say(&format!(
            "{} lets ssh know this CA's hosts.\n\
             hint: have ssh use it, and ask for access by itself: jit-ssh ssh-config --install",
            known_hosts::path(home).display()
        ));
    }
    ssh_config::keep(home, trust, ca.client()).await
}

/// Asks for the bundle anew where a certificate that was checked was judged by another, as its log entry
/// says: hosts or ways to them may have come, changed or got their keys since this machine last asked.
pub(crate) async fn catch_up(
    trust: &mut Trust<'_>,
    ca: &Ca<'_>,
    certificate: &v1::Certificate,
) -> Result<(), Failure> {
    match Entry::parse(&certificate.entry) {
        Ok(Entry::Certificate(entry)) if entry.bundle == trust.digest() => Ok(()),
        _ => trust.refresh(ca.client()).await.map(|_| ()),
    }
}

/// Checks that the jumps that came are exactly those that the bundle gives for what was granted.
async fn check_jumps(
    ca: &Ca<'_>,
    trust: &mut Trust<'_>,
    grant: &Grant,
    hosts: &Hosts,
    access: &Accepted,
    came: &[v1::Certificate],
) -> Result<Vec<(Jump, Accepted)>, Failure> {
    let expected = hosts.jumps(access.opens.logins().iter().map(Principal::host));
    if expected.len() != came.len() {
        return Err(Failure::untrue(format!(
            "the CA sent {} certificates for jumps, and by the bundle that its admins signed there are {}.",
            came.len(),
            expected.len()
        )));
    }
    let mut jumps = Vec::with_capacity(expected.len());
    // Both are sorted by jump; each certificate must be for the one in its place.
    for (jump, certificate) in expected.into_iter().zip(came) {
        let accepted = check(ca, trust, grant, &Scope::Jump(jump.clone()), certificate).await?;
        jumps.push((jump, accepted));
    }
    Ok(jumps)
}

/// Checks a certificate against the request it should answer.
pub(crate) async fn check(
    ca: &Ca<'_>,
    trust: &mut Trust<'_>,
    grant: &Grant,
    scope: &Scope,
    certificate: &v1::Certificate,
) -> Result<Accepted, Failure> {
    let receipt = Receipt::from(certificate);
    let check = |trust: &Trust<'_>| {
        let now = clock::now();
        receipt::check(&receipt, &grant.request, scope, trust.signers(), grant.prolongs, now)
    };
    let mut checked = check(trust);
    // It may come from a signer that the admins named since this machine last asked.
    if checked.is_err() && trust.refresh(ca.client()).await? {
        checked = check(trust);
    }
    checked
        .map_err(|e| Failure::untrue(format!("the certificate that came is not to be used: {e}.")))
}

/// A certificate that is to be put where ssh finds it.
#[derive(Clone, Copy)]
struct Loading<'l> {
    /// Who hears of it, if anybody is to.
    ui: Option<&'l Ui>,
    home: &'l Home,
    owner: &'l Owner,
    grant: &'l Grant,
    accepted: &'l Accepted,
    now: UnixTime,
}

impl Loading<'_> {
    /// Loads it into the agent, or where that can not be puts it into files.
    fn load(&self, bounds: Bounds) -> Result<Loaded, Failure> {
        let keypair = match &self.grant.subject {
            Subject::Fresh(key) => Some(key.key_data()),
            Subject::File(file) => file.keypair().filter(|key| held::fits_agent(key)),
        };
        match (self.grant.keeping, keypair) {
            (Keeping::Files, _) => {}
            (Keeping::Confirmed, None) => return Err(AgentError::KeyType.into()),
            (_, None) => {}
            (keeping, Some(key)) => match self.put_into_agent(key, bounds) {
                Ok(loaded) => {
                    match &self.accepted.opens {
                        // What lies there for these accounts is over by this.
                        Opens::Logins(_) => {
                            let id = self.grant.request.id();
                            held::files::remove_request(self.home, id.as_str())?;
                        }
                        // ssh chooses by it among what the agent has for the bastion.
                        Opens::Jump(_) => self.put_into_files(Private::Certified)?,
                    }
                    return Ok(loaded);
                }
                Err(error) if keeping == Keeping::Confirmed => return Err(error.into()),
                Err(error) => self.say(&format!(
                    "warning: {error}; the certificate lies in a file of yours instead ({}).",
                    error.hint()
                )),
            },
        }
        match &self.grant.subject {
            Subject::Fresh(key) => self.put_into_files(Private::Ours(key))?,
            Subject::File(file) => match file.private_path() {
                Some(path) => self.put_into_files(Private::At(&path))?,
                None => self.put_into_files(Private::InAgent)?,
            },
        }
        Ok(Loaded::Files(parts(self.accepted.opens.logins()).0))
    }

    fn put_into_agent(&self, key: &KeypairData, bounds: Bounds) -> Result<Loaded, AgentError> {
        let mut agent = Agent::open()?;
        let confirm = match self.grant.keeping {
            Keeping::Confirmed => Confirm::EachUse,
            Keeping::Agent | Keeping::Unbound | Keeping::Files => Confirm::Never,
        };
        let terms = Terms { confirm, bounds };
        let certificate = &self.accepted.certificate;
        let id = self.grant.request.id();
        let (loaded, displaced) =
            held::replace(&mut agent, self.owner, id, key, certificate, &terms, self.now)?;
        for held in displaced {
            self.make_place(&held);
        }
        if !loaded.is_bound() {
            self.tell_unbound(&terms.bounds);
            if held::offered_anywhere(&mut agent, self.owner)? > held::MOST_OFFERED {
                let blob = certificate.to_bytes().map_err(|_| AgentError::KeyType)?;
                agent.remove(&blob)?;
                return Err(AgentError::Refused(
                    "keep more certificates of yours apart, and sshd takes a few tries only",
                ));
            }
        }
        Ok(loaded)
    }

    fn tell_unbound(&self, bounds: &Bounds) {
        match bounds {
            Bounds::Unwished => {}
            Bounds::To(_) => self.say(
                "note: this ssh-agent can not bind the certificate to its hosts; OpenSSH's can, from 8.9 on.",
            ),
            Bounds::Unknown(hosts) => self.say(&format!(
                "note: the ssh-agent does not bind the certificate to its hosts: hosts.toml has no `key` of {}.",
                all_of(&texts(hosts))
            )),
        }
    }

    /// Puts a certificate that another took the place of into files, where its key is there still.
    fn make_place(&self, held: &Held) {
        let ca = self.grant.request.body().ca;
        let grants = grants::list(self.home, &ca, self.now).unwrap_or_default();
        let grant = grants.into_iter().find(|grant| grant.request.id().as_str() == held.id);
        let put = |grant: Grant| {
            let Subject::Fresh(key) = &grant.subject else { return None };
            let certificate = ssh_key::Certificate::from_bytes(&held.blob).ok()?;
            held::files::put(self.home, &Place::of(&held.opens), Private::Ours(key), &certificate)
                .ok()
        };
        let accounts = all_of(&held.opens.texts());
        match grant.and_then(put) {
            Some(()) => self.say(&format!(
                "{accounts} makes place in the ssh-agent, and lies in a file of yours: jit-ssh status"
            )),
            None => self.say(&format!(
                "{accounts} makes place in the ssh-agent; the same login loads it again."
            )),
        }
    }

    fn say(&self, text: &str) {
        if let Some(ui) = self.ui {
            ui.say(text);
        }
    }

    fn put_into_files(&self, private: Private<'_>) -> Result<(), Failure> {
        let Accepted { opens, certificate, .. } = self.accepted;
        held::files::put(self.home, &Place::of(opens), private, certificate)
    }
}

impl Access {
    fn of(
        grant: &Grant,
        certificate: &v1::Certificate,
        accepted: &Accepted,
        commands: Vec<String>,
        loaded: &Loaded,
    ) -> Access {
        let rule = match Entry::parse(&certificate.entry) {
            Ok(Entry::Certificate(entry)) => Some(entry.rule.to_string()),
            Ok(Entry::Statement(_) | Entry::HostCertificate(_)) | Err(_) => None,
        };
        let (hosts, logins) = parts(accepted.opens.logins());
        let asked = grant.request.body();
        Access {
            id: grant.request.id().to_string(),
            digest: Some(grant.digest()),
            status: "active",
            basis: asked.break_glass.as_ref().map(|_| "break-glass"),
            extends: asked.extends,
            rule,
            serial: accepted.serial,
            serial_text: accepted.serial.to_string(),
            key_id: accepted.key_id.clone(),
            principals: accepted.opens.texts(),
            valid_after: accepted.valid_after,
            valid_before: accepted.valid_before,
            access_until: accepted.access_until,
            hosts,
            logins,
            command: commands.first().cloned().unwrap_or_default(),
            commands,
            loaded: loaded.as_str(),
            bound: loaded.is_bound(),
        }
    }

    /// A certificate that is held already; `live` is what was noted of its request.
    pub(crate) fn at_hand(home: &Home, held: &Held, live: Option<&Live>) -> Access {
        let asked = live.map(|live| live.request.body());
        let (hosts, logins) = parts(held.opens.logins());
        let commands = held.commands(home);
        Access {
            id: held.id.clone(),
            digest: live.map(|live| live.request.digest()),
            status: "active",
            basis: asked.and_then(|asked| asked.break_glass.as_ref()).map(|_| "break-glass"),
            extends: asked.and_then(|asked| asked.extends),
            rule: None,
            serial: held.serial,
            serial_text: held.serial.to_string(),
            key_id: held.key_id.clone(),
            principals: held.opens.texts(),
            valid_after: held.valid_after,
            valid_before: held.valid_before,
            access_until: held.access_until,
            hosts,
            logins,
            command: commands.first().cloned().unwrap_or_default(),
            commands,
            loaded: held.loaded.as_str(),
            bound: held.loaded.is_bound(),
        }
    }

    /// What there is and until when, a line each.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("request", self.id.clone()),
            ("access", all_of(&self.principals)),
            ("certificate", format!("until {}", utc(self.valid_before))),
            ("access until", utc(self.access_until)),
        ];
        lines.extend(self.commands.iter().map(|command| ("use it with", command.clone())));
        lines
    }

    /// Tells the person, on stderr, and gives the commands to use, on stdout.
    pub(crate) fn tell(&self, ui: &Ui, now: UnixTime) -> Result<(), Failure> {
        let Access { id, serial, valid_before, access_until, basis, .. } = self;
        ui.say(&format!(
            "{} until {} ({}): request {id}, serial {serial}.",
            all_of(&self.principals),
            utc(*valid_before),
            relative(*valid_before, now)
        ));
        if valid_before < access_until {
            ui.say(&format!(
                "The access itself lasts until {}; the same command renews the certificate.",
                utc(*access_until)
            ));
        }
        if basis.is_some() {
            ui.say(
                "This is break-glass: nobody approved it. It has to be reviewed before you can do so again.",
            );
        }
        ui.data(&self.commands.join("\n"))?;
        ui.object(self)
    }
}

/// The hosts and logins of principals, each once.
fn parts(principals: &[Principal]) -> (Vec<HostName>, Vec<Login>) {
    let hosts: BTreeSet<HostName> = principals.iter().map(|p| p.host().clone()).collect();
    let logins: BTreeSet<Login> = principals.iter().map(|p| p.login().clone()).collect();
    (hosts.into_iter().collect(), logins.into_iter().collect())
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
