use std::os::unix::fs::PermissionsExt;

use jit_ssh_core::statement::Nonce;
use jit_ssh_core::time::Seconds;
use ssh_key::HashAlg;
use ssh_key::encoding::Encode as _;

use super::*;

const NOW: UnixTime = UnixTime(1_790_000_000);

pub(crate) fn ca() -> RootFingerprint {
    RootFingerprint(Digest::of(b"root"))
}

/// A request of alice with this reason, and the fresh key it is about.
pub(crate) fn grant(reason: &str) -> Grant {
    grant_with(reason, |_| ())
}

/// The same with something else in it.
pub(crate) fn grant_with(reason: &str, change: impl FnOnce(&mut Request)) -> Grant {
    let subject = Subject::fresh().unwrap();
    let mut request = Request::new(
        ca(),
        "alice".parse().unwrap(),
        subject.public().unwrap(),
        vec!["prod-host".parse().unwrap()],
        vec!["deploy".parse().unwrap()],
        Seconds::new(600).unwrap(),
        reason.to_owned(),
        NOW,
        Nonce([7; 16]),
    );
    change(&mut request);
    let bytes = statement::encode(&request).unwrap();
    let signer = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    let signature = signer.sign("request@jit-ssh", HashAlg::Sha512, &bytes).unwrap();
    let signature = signature.encode_vec().unwrap();
    let request = statement::open(&bytes, &signature, &ca()).unwrap();
    Grant { request, subject, prolongs: None, keeping: Keeping::default() }
}

fn by_digest(grant: &Grant) -> RequestRef {
    RequestRef::Digest(grant.digest())
}

#[test]
fn a_kept_key_comes_back_for_its_ca_until_its_time_and_then_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::under(dir.path());
    let grant = grant("INC-42");
    grant.store(&home, NOW.plus_secs(600)).unwrap();
    let found = find(&home, &ca(), &by_digest(&grant), NOW).unwrap().unwrap();
    assert_eq!(found.subject.public().unwrap(), grant.subject.public().unwrap());
    assert!(found.is_for(&["deploy@prod-host".parse().unwrap()]));
    assert!(!found.is_for(&["root@prod-host".parse().unwrap()]));

    assert!(list(&home, &ca(), NOW.plus_secs(600)).unwrap().is_empty());
    assert!(home::files_of(&home.runtime(FOLDER)).unwrap().is_empty(), "it is removed, not hidden");

    grant.store(&home, NOW.plus_secs(600)).unwrap();
    let other = RootFingerprint(Digest::of(b"another root"));
    assert!(find(&home, &other, &by_digest(&grant), NOW).unwrap().is_none());
}

#[test]
fn a_kept_request_is_found_by_its_id_and_knows_what_it_prolongs() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::under(dir.path());
    let mut kept = grant("INC-42");
    kept.prolongs = Some(NOW.plus_secs(300));
    kept.store(&home, NOW.plus_secs(600)).unwrap();
    let named = |text: &str| find(&home, &ca(), &text.parse().unwrap(), NOW).unwrap();
    let id = kept.request.id();
    let found = named(&id.as_str()[..5]).unwrap();
    assert_eq!((found.digest(), found.prolongs), (kept.digest(), kept.prolongs));
    assert!(named(&grant("INC-43").digest().to_string()).is_none());
    forget_access(&home, &kept.digest()).unwrap();
    assert!(named(id.as_str()).is_none());
}

#[test]
fn a_kept_key_that_is_not_the_one_of_its_request_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::under(dir.path());
    let mut grant = grant("INC-42");
    grant.subject = Subject::fresh().unwrap();
    grant.store(&home, NOW.plus_secs(600)).unwrap();
    assert!(find(&home, &ca(), &by_digest(&grant), NOW).unwrap().is_none());
}

#[test]
fn a_public_key_file_brings_the_private_half_beside_it_only_if_they_belong_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for name in ["a", "b"] {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
        key.write_openssh_file(path(name), LineEnding::LF).unwrap();
        let line = key.public_key().to_openssh().unwrap();
        std::fs::write(path(&format!("{name}.pub")), format!("{line} a comment\n")).unwrap();
    }
    assert!(KeyFile::read(&path("a.pub")).unwrap().keypair().is_some());
    std::fs::copy(path("b"), path("a")).unwrap();
    assert!(KeyFile::read(&path("a.pub")).unwrap().keypair().is_none());
    assert!(KeyFile::read(&path("none.pub")).is_err());
}

#[test]
fn a_private_half_open_to_others_is_refused_by_either_of_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    key.write_openssh_file(path("a"), LineEnding::LF).unwrap();
    std::fs::write(path("a.pub"), key.public_key().to_openssh().unwrap()).unwrap();
    let allow = |name: &str, mode| {
        std::fs::set_permissions(path(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    for (mode, fine) in [(0o600, true), (0o644, false)] {
        allow("a", mode);
        for file in ["a", "a.pub"] {
            let read = KeyFile::read(&path(file));
            let hint = read.as_ref().err().and_then(|failure| failure.hint.clone());
            let chmod = format!("chmod 600 {}", path("a").display());
            assert_eq!(hint, (!fine).then_some(chmod), "{file} {mode:o}");
        }
    }
    std::fs::remove_file(path("a")).unwrap();
    allow("a.pub", 0o666);
    assert!(KeyFile::read(&path("a.pub")).is_ok(), "a public key alone may be open");
    let device = KeyFile::read(Path::new("/dev/zero")).unwrap_err();
    assert_eq!(device.message, "/dev/zero: this is not a regular file.");
}
