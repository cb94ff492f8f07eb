//! The CA as an admin meets it. What it says of bundles is believed only as far as the admins
//! signed it.

use anyhow::{Context as _, bail, ensure};
use jit_ssh_api::{ApiError, Client, Reason, v1};
use jit_ssh_core::bundle::{Bundle, BundleFiles};
use jit_ssh_core::names::ActorId;
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{self, Kind, Nonce, Session, SignedBundle};
use jit_ssh_core::time::{Seconds, UnixTime};

use crate::identity::Identity;
use crate::terminal;

/// How long the session lasts: enough to read what changes and to say yes, for handing in needs it.
const SESSION: Seconds = Seconds::new(3600).expect("3600 is not zero");

/// The CA, with an admin's session.
pub(super) struct Remote<'r> {
    client: Client,
    root: &'r Root,
}

/// The bundle in force.
pub(super) struct InForce {
    pub(super) body: statement::Bundle,
    pub(super) admins: Vec<ActorId>,
    /// What it says; `None` if this version of the program can not read it.
    pub(super) bundle: Option<Bundle>,
}

/// A bundle that waits for more admins.
pub(super) struct Waiting {
    pub(super) body: statement::Bundle,
    pub(super) admins: Vec<ActorId>,
    pub(super) statement: Vec<u8>,
    pub(super) signatures: Vec<Vec<u8>>,
}

/// What came of handing in.
pub(super) struct Handed {
    pub(super) in_force: bool,
    pub(super) signed: Vec<ActorId>,
}

impl Handed {
    /// It is in force.
    pub(super) fn in_force(signed: &[ActorId]) -> Handed {
        Handed { in_force: true, signed: signed.to_vec() }
    }

    /// It waits for more admins.
    pub(super) fn waiting(signed: &[ActorId]) -> Handed {
        Handed { in_force: false, signed: signed.to_vec() }
    }
}

impl<'r> Remote<'r> {
    /// Opens a session for the admin.
    ///
    /// # Errors
    /// If the key can not sign, or the CA refuses or does not answer.
    pub(super) async fn open(
        client: Client,
        root: &'r Root,
        identity: &mut Identity,
        now: UnixTime,
    ) -> anyhow::Result<Remote<'r>> {
        let nonce = Nonce(rand::random());
        let admin = identity.admin().clone();
        let body = Session::new(root.fingerprint(), admin, SESSION, now, nonce);
        let statement = statement::encode(&body)?;
        let signatures = vec![identity.sign(Kind::Session, &statement)?];
        let session = Some(wire(statement, signatures));
        // Admins have sessions before the first bundle, too.
        let answer = client.open_session(v1::OpenSessionRequest { session }).await?;
        Ok(Remote { client: client.with_token(&answer.token)?, root })
    }

    /// The bundle in force, with what it says; `None` before the first.
    ///
    /// # Errors
    /// If what the CA sends is not signed by enough admins, or its files are others.
    pub(super) async fn in_force(&self) -> anyhow::Result<Option<InForce>> {
        let parts = [
            v1::BundlePart::People,
            v1::BundlePart::Hosts,
            v1::BundlePart::Policy,
            v1::BundlePart::Signers,
        ];
        let parts = parts.map(i32::from).to_vec();
        let Some((signed, _, files)) = fetch(&self.client, self.root, parts, false).await? else {
            return Ok(None);
        };
        ensure!(signed.is_complete(self.root), "the CA's bundle is not signed by enough admins");
        let files = sorted(files)?;
        ensure!(signed.body.names(&files), "the CA's bundle has other files than were signed");
        let bundle = Bundle::parse(signed.body.version, &files, &self.root.admin_keys());
        if bundle.is_err() {
            terminal::say("this program can not read the bundle in force; all is shown as new.");
        }
        Ok(Some(InForce { body: signed.body, admins: signed.admins, bundle: bundle.ok() }))
    }

    /// What waits for more admins to become `version`.
    ///
    /// # Errors
    /// If what the CA sends is not signed by admins.
    pub(super) async fn proposal(&self, version: u64) -> anyhow::Result<Option<Waiting>> {
        let Some((signed, statement, _)) = fetch(&self.client, self.root, Vec::new(), true).await?
        else {
            return Ok(None);
        };
        if signed.body.version != version {
            return Ok(None);
        }
        Ok(Some(Waiting {
            body: signed.body,
            admins: signed.admins,
            statement: statement.statement.into(),
            signatures: plain(statement.signatures),
        }))
    }

    /// Hands in a bundle with its signatures.
    ///
    /// # Errors
    /// If the CA refuses or does not answer.
    pub(super) async fn hand_in(
        &self,
        statement: Vec<u8>,
        signatures: Vec<Vec<u8>>,
        files: &BundleFiles,
    ) -> anyhow::Result<Handed> {
        let BundleFiles { people, hosts, policy, signers } = files.clone();
        let request = v1::ApplyBundleRequest {
            bundle: Some(wire(statement, signatures)),
            people: people.into(),
            hosts: hosts.into(),
            policy: policy.into(),
            signers: signers.into(),
        };
        let answer = self.client.apply_bundle(request).await?;
        let signed = answer.signed.iter().map(|id| id.parse()).collect::<Result<_, _>>();
        let signed = signed.context("the CA names an admin that can not be")?;
        Ok(Handed { in_force: answer.in_force, signed })
    }
}

/// A bundle with these parts of it, as far as admins signed it; `None` if there is none.
///
/// # Errors
/// If the CA refuses or does not answer, or what it sends does not hold.
pub(crate) async fn fetch(
    client: &Client,
    root: &Root,
    parts: Vec<i32>,
    proposal: bool,
) -> anyhow::Result<Option<(SignedBundle, v1::SignedStatement, Vec<v1::BundleFile>)>> {
    let answer = match client.get_bundle(v1::GetBundleRequest { parts, proposal }).await {
        Ok(answer) => answer,
        Err(error) if none_yet(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(statement) = answer.bundle else { return Ok(None) };
    let signed = statement::open_bundle(&statement.statement, &statement.signatures, root)
        .context("the CA's bundle does not hold")?;
    Ok(Some((signed, statement, answer.files)))
}

fn wire(statement: Vec<u8>, signatures: Vec<Vec<u8>>) -> v1::SignedStatement {
    let signatures = signatures.into_iter().map(Into::into).collect();
    v1::SignedStatement { statement: statement.into(), signatures }
}

fn plain(signatures: Vec<impl Into<Vec<u8>>>) -> Vec<Vec<u8>> {
    signatures.into_iter().map(Into::into).collect()
}

fn none_yet(error: &ApiError) -> bool {
    error.reason() == Some(Reason::NoBundle)
}

/// The four files by their part.
fn sorted(files: Vec<v1::BundleFile>) -> anyhow::Result<BundleFiles> {
    let (mut people, mut hosts, mut policy, mut signers) = (None, None, None, None);
    for file in files {
        let place = match v1::BundlePart::try_from(file.part) {
            Ok(v1::BundlePart::People) => &mut people,
            Ok(v1::BundlePart::Hosts) => &mut hosts,
            Ok(v1::BundlePart::Policy) => &mut policy,
            Ok(v1::BundlePart::Signers) => &mut signers,
            Ok(v1::BundlePart::Unspecified) | Err(_) => bail!("the CA sent an unknown file"),
        };
        *place = Some(file.content.into());
    }
    match (people, hosts, policy, signers) {
        (Some(people), Some(hosts), Some(policy), Some(signers)) => {
            Ok(BundleFiles { people, hosts, policy, signers })
        }
        _ => bail!("the CA did not send all four files of the bundle"),
    }
}
