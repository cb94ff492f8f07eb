//! What the admins signed, as far as a person's command needs it: the signers to trust, and the
//! hosts there are. Verified at each use, kept in the state folder between commands.

use jit_ssh_api::{Client, v1};
use jit_ssh_core::bundle::{Hosts, Signers};
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::entry::Base64Bytes;
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{self, SignedBundle};
use jit_ssh_core::time::UnixTime;
use serde::{Deserialize, Serialize};

use crate::ca::Ca;
use crate::clock;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::held::Owner;
use crate::home::{self, Home};

const STATEMENT: &str = "bundle.json";
const SIGNERS: &str = "signers.toml";
const HOSTS: &str = "hosts.toml";

/// A bundle older than this is asked for anew, so that a signer that was taken out of it is not
/// trusted for ever. One day.
pub(crate) const FRESH: u64 = 24 * 3600;

/// The bundle statement, as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    v: u8,
    statement: String,
    signatures: Vec<Base64Bytes>,
    fetched: UnixTime,
}

/// The bundle in force as last seen, with its signers.
pub(crate) struct Trust<'a> {
    home: &'a Home,
    root: &'a Root,
    bundle: SignedBundle,
    signers: Signers,
    fetched: UnixTime,
}

impl<'a> Trust<'a> {
    /// The bundle kept from earlier, or that of the CA if there is none that is fresh.
    pub(crate) async fn load(
        home: &'a Home,
        root: &'a Root,
        client: &Client,
    ) -> Result<Trust<'a>, Failure> {
        match Trust::cached(home, root)? {
            Some(trust) if clock::now().since(trust.fetched) < FRESH => Ok(trust),
            Some(mut trust) => {
                trust.refresh(client).await?;
                Ok(trust)
            }
            None => Trust::fetch(home, root, client, &[v1::BundlePart::Signers], None).await,
        }
    }

    /// The bundle kept from earlier, however old.
    pub(crate) fn cached(home: &'a Home, root: &'a Root) -> Result<Option<Trust<'a>>, Failure> {
        let Some(bytes) = home::read(&home.state(STATEMENT))? else { return Ok(None) };
        let Some(signers) = home::read(&home.state(SIGNERS))? else { return Ok(None) };
        // Whatever does not verify is as good as not there: it is fetched again.
        let Ok(stored) = serde_json::from_slice::<Stored>(&bytes) else { return Ok(None) };
        let bundle = statement::open_bundle(stored.statement.as_bytes(), &stored.signatures, root);
        let Ok(bundle) = bundle else { return Ok(None) };
        if stored.v != 1 || !bundle.is_complete(root) || bundle.body.signers != Digest::of(&signers)
        {
            return Ok(None);
        }
        let Ok(signers) = Signers::parse(&signers) else { return Ok(None) };
        Ok(Some(Trust { home, root, bundle, signers, fetched: stored.fetched }))
    }

    async fn fetch(
        home: &'a Home,
        root: &'a Root,
        client: &Client,
        parts: &[v1::BundlePart],
        seen: Option<&SignedBundle>,
    ) -> Result<Trust<'a>, Failure> {
        let numbers = parts.iter().map(|part| i32::from(*part)).collect();
        let message = v1::GetBundleRequest { parts: numbers, proposal: false };
        let answer = client.get_bundle(message).await?;
        let signed = answer.bundle.ok_or_else(|| {
            Failure::new(
                Outcome::Error,
                "NO_BUNDLE",
                "the CA has no bundle yet: nobody can get in.",
            )
            .hint("an admin sets it up with: jit-ssh-ca apply")
        })?;
        let bundle = statement::open_bundle(&signed.statement, &signed.signatures, root)
            .map_err(|e| Failure::untrue(format!("the CA's bundle is not to be trusted: {e}.")))?;
        if !bundle.is_complete(root) {
            return Err(Failure::untrue(format!(
                "the CA's bundle is signed by {} of the {} admins it needs.",
                bundle.admins.len(),
                root.threshold()
            )));
        }
        if let Some(seen) = seen {
            check_rise(seen, &bundle)?;
        }
        let file = |part: v1::BundlePart, name: &str, digest: Digest| {
            let found = answer.files.iter().find(|file| file.part() == part);
            let content = found.map(|file| file.content.clone()).unwrap_or_default();
            if Digest::of(&content) == digest {
                return Ok(content);
            }
            Err(Failure::untrue(format!("the CA's {name} is not the one its admins signed.")))
        };
        let signers = file(v1::BundlePart::Signers, SIGNERS, bundle.body.signers)?;
        home::write(&home.state(SIGNERS), &signers)?;
        if parts.contains(&v1::BundlePart::Hosts) {
            let hosts = file(v1::BundlePart::Hosts, HOSTS, bundle.body.hosts)?;
            home::write(&home.state(HOSTS), &hosts)?;
        }
        let signers = Signers::parse(&signers)
            .map_err(|e| Failure::untrue(format!("the CA's signers.toml makes no sense: {e}")))?;
        let fetched = clock::now();
        let stored = Stored {
            v: 1,
            statement: String::from_utf8_lossy(&signed.statement).into_owned(),
            signatures: signed.signatures.iter().map(|one| Base64Bytes(one.to_vec())).collect(),
            fetched,
        };
        let path = home.state(STATEMENT);
        // Last: it names the other files, which alone are nothing.
        home::write(&path, &serde_json::to_vec(&stored).map_err(|e| Failure::file(&path, e))?)?;
        Ok(Trust { home, root, bundle, signers, fetched })
    }

    /// Asks the CA for its bundle of now; says whether it is another one.
    pub(crate) async fn refresh(&mut self, client: &Client) -> Result<bool, Failure> {
        self.replace(client, &[v1::BundlePart::Signers]).await
    }

    async fn replace(
        &mut self,
        client: &Client,
        parts: &[v1::BundlePart],
    ) -> Result<bool, Failure> {
        let digest = self.bundle.digest;
        let new = Trust::fetch(self.home, self.root, client, parts, Some(&self.bundle)).await?;
        *self = new;
        Ok(self.bundle.digest != digest)
    }

    /// Which CA it is of.
    pub(crate) fn ca(&self) -> RootFingerprint {
        self.root.fingerprint()
    }

    /// The bundle, as its admins signed it.
    pub(crate) fn bundle(&self) -> &SignedBundle {
        &self.bundle
    }

    /// When the CA last said that it is the one in force.
    pub(crate) fn fetched(&self) -> UnixTime {
        self.fetched
    }

    /// Which bundle it is.
    pub(crate) fn digest(&self) -> Digest {
        self.bundle.digest
    }

    /// The signers to trust.
    pub(crate) fn signers(&self) -> &Signers {
        &self.signers
    }

    /// The hosts there are, by this bundle.
    pub(crate) async fn hosts(&mut self, client: &Client) -> Result<Hosts, Failure> {
        let kept = home::read(&self.home.state(HOSTS))?.filter(|bytes| self.is_hosts(bytes));
        let bytes = match kept {
            Some(bytes) => bytes,
            None => self.fetch_hosts(client).await?,
        };
        Hosts::parse(&bytes)
            .map_err(|e| Failure::untrue(format!("the CA's hosts.toml makes no sense: {e}")))
    }

    /// The hosts there are by the CA's bundle of now.
    pub(crate) async fn newest_hosts(&mut self, client: &Client) -> Result<Hosts, Failure> {
        self.fetch_hosts(client).await?;
        self.hosts(client).await
    }

    async fn fetch_hosts(
        &mut self,
        client: &Client,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, Failure> {
        self.replace(client, &[v1::BundlePart::Signers, v1::BundlePart::Hosts]).await?;
        let path = self.home.state(HOSTS);
        let bytes = home::read(&path)?.filter(|bytes| self.is_hosts(bytes));
        bytes.ok_or_else(|| Failure::file(&path, "the file changed while it was read; try again."))
    }

    fn is_hosts(&self, bytes: &[u8]) -> bool {
        self.bundle.body.hosts == Digest::of(bytes)
    }
}

/// The hosts of the bundle kept from earlier, however old; `None` where they are not kept.
pub(crate) fn kept_hosts(home: &Home, root: &Root) -> Result<Option<Hosts>, Failure> {
    let Some(trust) = Trust::cached(home, root)? else { return Ok(None) };
    let kept = home::read(&home.state(HOSTS))?.filter(|bytes| trust.is_hosts(bytes));
    Ok(kept.and_then(|bytes| Hosts::parse(&bytes).ok()))
}

/// The hosts as they were last seen, be they those of another bundle: names to choose from, and no more.
pub(crate) fn last_hosts(home: &Home) -> Option<Hosts> {
    Hosts::parse(&home::read(&home.state(HOSTS)).ok()??).ok()
}

/// Whose certificates in the ssh-agent are ours, as far as this machine knows without asking the CA.
pub(crate) fn owner(home: &Home, enrolment: &Enrolment) -> Result<Owner, Failure> {
    let signers = Trust::cached(home, &enrolment.root)?.map(|trust| trust.signers);
    Ok(Owner { id: enrolment.id.clone(), signers })
}

/// The same; asks the CA if this machine never saw what its admins signed. That the CA can not tell
/// is no failure: nothing is recognised then.
pub(crate) async fn owner_asking(home: &Home, enrolment: &Enrolment) -> Result<Owner, Failure> {
    let mut owner = owner(home, enrolment)?;
    if owner.signers.is_none()
        && let Ok(ca) = Ca::connect(home, enrolment).await
        && let Ok(trust) = Trust::load(home, &enrolment.root, ca.client()).await
    {
        owner.signers = Some(trust.signers);
    }
    Ok(owner)
}

/// Refuses to go back behind a bundle that was seen before.
fn check_rise(seen: &SignedBundle, new: &SignedBundle) -> Result<(), Failure> {
    let (before, now) = (seen.body.version, new.body.version);
    if now > before || (now == before && new.digest == seen.digest) {
        return Ok(());
    }
    Err(Failure::untrue(format!(
        "the CA shows bundle {now}, but this machine has already seen another bundle {before}."
    )))
}

/// Forgets what is kept: after enrolling with another CA.
pub(crate) fn forget(home: &Home) -> Result<(), Failure> {
    [STATEMENT, SIGNERS, HOSTS].iter().try_for_each(|name| home::remove(&home.state(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_ssh_core::bundle::BundleFiles;

    #[test]
    fn a_bundle_seen_before_is_never_gone_back_behind_or_changed() {
        let bundle = |version, hosts: &[u8]| {
            let files = BundleFiles {
                people: Vec::new(),
                hosts: hosts.to_vec(),
                policy: Vec::new(),
                signers: Vec::new(),
            };
            let ca = RootFingerprint(Digest::of(b"root"));
            let body = statement::Bundle::new(ca, version, &files, UnixTime(1_790_000_000));
            let digest = Digest::of(&statement::encode(&body).unwrap());
            SignedBundle { body, digest, admins: Vec::new() }
        };
        let seen = bundle(3, b"a");
        assert!(check_rise(&seen, &bundle(3, b"a")).is_ok());
        assert!(check_rise(&seen, &bundle(4, b"b")).is_ok());
        assert!(check_rise(&seen, &bundle(3, b"b")).is_err());
        assert!(check_rise(&seen, &bundle(2, b"a")).is_err());
    }
}
