//! Who logged in to the bastion, by what its sshd vouches for: whoever put `--person` beside a key or account, or
//! the certificate of this CA that sshd let in (`ExposeAuthInfo`). Never by anything that was typed.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jit_ssh_api::Client;
use jit_ssh_core::bundle::Signers;
use jit_ssh_core::certificate::Presented;
use jit_ssh_core::names::ActorId;

use crate::failure::{Failure, Outcome};
use crate::trust::Trust;

/// Where sshd says by what somebody got in (`ExposeAuthInfo`).
const USER_AUTH: &str = "SSH_USER_AUTH";
/// How the files of that variable begin (OpenSSH's session.c): nobody who logs in chooses the rest.
const FILE: &str = "/tmp/sshauth.";
/// Longest such file that is read: a few certificates.
const LONGEST: u64 = 256 << 10;

/// Who it is.
///
/// Fails where nobody vouches for anyone, or two do for different persons.
pub(super) async fn vouched_for(
    said: Option<ActorId>,
    trust: &mut Trust<'_>,
    client: &Client,
) -> Result<ActorId, Failure> {
    let shown = match std::env::var_os(USER_AUTH) {
        Some(path) => read(Path::new(&path))?,
        None => String::new(),
    };
    let mut named = named(&shown, trust.signers())?;
    // It may be by a signer that the admins named since this machine last asked.
    if said.is_none() && named.is_none() && trust.refresh(client).await? {
        named = self::named(&shown, trust.signers())?;
    }
    match (said, named) {
        (Some(said), Some(named)) if said != named => Err(Failure::new(
            Outcome::Refused,
            "PERSON",
            format!("this bastion takes who logged in for {said}, and the certificate is {named}'s."),
        )
        .hint("log in with a key of your own, or tell an admin of the bastion")),
        (Some(person), _) | (None, Some(person)) => Ok(person),
        (None, None) => Err(Failure::new(
            Outcome::Refused,
            "PERSON",
            "this bastion can not tell who logged in: sshd shows no certificate of its CA.",
        )
        .hint("log in with one: jit-ssh login BASTION; an admin can set ExposeAuthInfo, or --person for a key")),
    }
}

/// Reads what sshd wrote for this session, if it was sshd.
fn read(path: &Path) -> Result<String, Failure> {
    let odd = |problem: &dyn std::fmt::Display| {
        Failure::file(path, format!("{problem}."))
            .hint("sshd_config of the bastion: ExposeAuthInfo yes, and no AcceptEnv that lets SSH_* through")
    };
    let made_by_sshd = path.to_str().and_then(|text| text.strip_prefix(FILE));
    if made_by_sshd.is_none_or(|rest| rest.is_empty() || rest.contains('/')) {
        return Err(odd(&"this is not a file that sshd made"));
    }
    let file = File::open(path).map_err(|e| odd(&e))?;
    let about = file.metadata().map_err(|e| odd(&e))?;
    let ours = about.uid() == rustix::process::getuid().as_raw();
    if !(about.is_file() && ours && about.mode() & 0o077 == 0) {
        return Err(odd(&"this is not a file that sshd made for this login"));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(|e| odd(&e))?;
    Ok(text)
}

/// The person that the certificates of our CA name; those of others, and plain keys, name nobody.
fn named(shown: &str, signers: &Signers) -> Result<Option<ActorId>, Failure> {
    let certificates = shown
        .lines()
        .filter_map(|line| Presented::from_line(line.strip_prefix("publickey ")?).ok())
        .filter(|shown| signers.iter().any(|signer| shown.is_signed_by(&signer.ca_key)));
    let mut persons = certificates.filter_map(|shown| Some(shown.our_key_id()?.subject));
    let first = persons.next();
    match persons.find(|other| Some(other) != first.as_ref()) {
        None => Ok(first),
        Some(_) => Err(Failure::new(
            Outcome::Refused,
            "PERSON",
            "sshd shows certificates of two persons for this login.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_ssh_api::testkit::TestAgent;
    use jit_ssh_core::log::VerifierKey;
    use ssh_key::{Algorithm, PrivateKey};
    use std::os::unix::fs::PermissionsExt as _;

    /// The signers of a CA whose key is in the file `ca`.
    fn signers(tools: &TestAgent, ca: &str) -> Signers {
        tools.key(ca, Algorithm::Ed25519);
        let line = std::fs::read_to_string(tools.path(&format!("{ca}.pub"))).unwrap();
        let log = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
        let log = VerifierKey::new("x", &log.public_key().key_data().ed25519().unwrap().0).unwrap();
        let ca = line.trim();
        let text = format!("[[signer]]\nnumber = 1\nca_key = \"{ca}\"\nlog_key = \"{log}\"\n");
        Signers::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_certificate_of_our_ca_says_who_it_is_and_nothing_else_does() {
        let tools = TestAgent::start();
        let (ours, others) = (signers(&tools, "ca"), signers(&tools, "other-ca"));
        tools.key("user", Algorithm::Ed25519);
        // A line as sshd writes it.
        let line = |ca: &str, key_id: &str| {
            tools.run("ssh-keygen", &["-q", "-s", ca, "-I", key_id, "-n", "jump@b", "user.pub"]);
            let line = std::fs::read_to_string(tools.path("user-cert.pub")).unwrap();
            format!("publickey {}", line.trim())
        };
        let [alice, bob] =
            ["alice", "bob"].map(|id| line("ca", &format!("{id}/7kq2m9xw4p/1790000900")));
        let who = |text: &str, signers: &Signers| {
            named(text, signers).map(|who| who.map(|who| who.to_string())).map_err(|e| e.outcome)
        };
        assert_eq!(who(&format!("{alice}\n"), &ours), Ok(Some("alice".to_owned())));
        let both = format!("password\n{bob}\n{bob}\n");
        assert_eq!(who(&both, &ours), Ok(Some("bob".to_owned())));
        assert_eq!(who(&format!("{alice}\n{bob}\n"), &ours), Err(Outcome::Refused));
        // Another CA may write whatever name it likes.
        assert_eq!(who(&alice, &others), Ok(None));
        let foreign = line("other-ca", "alice/7kq2m9xw4p/1790000900");
        let odd = line("ca", "alice");
        let key = std::fs::read_to_string(tools.path("user.pub")).unwrap();
        let key = format!("publickey {key}");
        let bare = alice.replace("publickey ", "");
        for nobody in ["", "password", "publickey", &key, &foreign, &odd, &bare] {
            assert_eq!(who(nobody, &ours), Ok(None), "{nobody}");
        }
    }

    #[test]
    fn only_a_file_that_sshd_made_for_this_login_is_read() {
        let unique = format!("{FILE}{}", std::process::id());
        let (good, open) = (format!("{unique}a"), format!("{unique}b"));
        for (path, mode) in [(&good, 0o600), (&open, 0o644)] {
            std::fs::write(path, "publickey x\n").unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(read(Path::new(&good)).unwrap(), "publickey x\n");
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        let around = format!("{FILE}x/../{}", good.trim_start_matches("/tmp/"));
        for path in [open.as_str(), elsewhere.path().to_str().unwrap(), &around, FILE, "/tmp"] {
            assert!(read(Path::new(path)).is_err(), "{path}");
        }
        for path in [good, open] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
