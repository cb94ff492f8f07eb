//! What a host asks of the host certificate it shows already: whether it may go on showing it.

use super::signature;
use crate::bundle::Signers;
use crate::certificate::Serial;
use crate::certificate::host::{
    BACKDATE, HostContext, HostFacts, HostIdentity, HostKeyId, check, read,
};

/// Bytes behind the signed ones in a certificate signed by Ed25519: `string(string type, string
/// signature)`.
const SIGNATURE: usize = 4 + 4 + "ssh-ed25519".len() + 4 + 64;

/// Whether `line`, as the file beside sshd's key has it, holds a host certificate of the form this CA
/// gives them. Nothing is verified.
pub fn is_host_certificate(line: &[u8]) -> bool {
    parse(line).is_some_and(|certificate| {
        certificate.cert_type().is_host() && certificate.key_id().parse::<HostKeyId>().is_ok()
    })
}

/// What the certificate in `line` says, if it is one that this host would be given today, but for its
/// times: signed by a host CA key of the bundle, for the host's key and exactly its names. Whether it
/// is in the log was asked when it came; whether it is over, [`HostFacts`] tells.
pub fn check_held(line: &[u8], identity: &HostIdentity, signers: &Signers) -> Option<HostFacts> {
    let certificate = parse(line)?;
    // Who signed it, its serial tells (I6).
    let serial = Serial::from_u64(certificate.serial())?;
    let ca = signers.get(serial.signer())?.host_ca_key.as_ref()?;

    let bytes = certificate.to_bytes().ok()?;
    let tbs = bytes.get(..bytes.len().checked_sub(SIGNATURE)?)?;
    ca.point().verify_strict(tbs, &signature(&bytes, tbs)?).ok()?;
    // When it was decided, it does not say; the bounds on its life hold for the latest moment it can be.
    let at = read(tbs).ok()?.valid_after.plus_secs(BACKDATE);
    let linted = check(tbs.to_vec(), HostContext { identity, serial, ca, at }).ok()?;
    Some(linted.facts().clone())
}

fn parse(line: &[u8]) -> Option<ssh_key::Certificate> {
    ssh_key::Certificate::from_openssh(std::str::from_utf8(line).ok()?.trim_end()).ok()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use ed25519_dalek::Signer as _;

    use super::*;
    use crate::certificate::assemble;
    use crate::certificate::host::{authorize_host, build, lint};
    use crate::testkit::{POLICY, START, World, host_key};

    /// The file of the certificate of `prod-host`, and all it is judged by.
    fn held() -> (Vec<u8>, HostIdentity, Signers) {
        let world = World::default();
        let bundle = world.bundle(POLICY);
        let yes = authorize_host(&"prod-host".parse().unwrap(), &bundle, START).unwrap();
        let (identity, ca) = (yes.identity().clone(), world.host_ca_key());
        let serial = Serial::new(NonZeroU16::MIN, 2).unwrap();
        let context = HostContext { identity: &identity, serial, ca: &ca, at: START };
        let tbs = lint(build(yes, serial, [9; 32], &ca), context).unwrap();
        let bytes = assemble(tbs.bytes(), &world.host_ca.sign(tbs.bytes()).to_bytes());
        let certificate = ssh_key::Certificate::from_bytes(&bytes).unwrap();
        (certificate.to_openssh().unwrap().into_bytes(), identity, bundle.signers)
    }

    #[test]
    fn what_the_host_would_be_given_today_is_kept() {
        let (line, identity, signers) = held();
        let facts = check_held(&line, &identity, &signers).unwrap();
        assert_eq!(facts.valid_before, START.plus_secs(7 * 86_400));
        assert_eq!(facts.half_life(), START.plus_secs((7 * 86_400 - 3_600) / 2));
        let with_newline = [&line[..], b"\n"].concat();
        assert_eq!(check_held(&with_newline, &identity, &signers), Some(facts));
        assert!(is_host_certificate(&line) && is_host_certificate(&with_newline));
    }

    #[test]
    fn for_another_key_or_other_names_or_by_another_ca_it_is_not() {
        let differs = |change: &dyn Fn(&mut HostIdentity, &mut Signers)| {
            let (line, mut identity, mut signers) = held();
            change(&mut identity, &mut signers);
            assert_eq!(check_held(&line, &identity, &signers), None);
        };
        differs(&|identity, _| identity.key = host_key(92));
        differs(&|identity, _| identity.name = "prod-db".parse().unwrap());
        differs(&|identity, _| identity.aliases.push("x".parse().unwrap()));
        differs(&|identity, _| identity.aliases.clear());
        differs(&|identity, _| identity.until = Some(START));
        let files = World::default().files(POLICY);
        let text = String::from_utf8(files.signers).unwrap();
        let line = text.lines().find(|line| line.starts_with("host_ca_key")).unwrap();
        let other = format!("host_ca_key = \"{}\"", host_key(92));
        for instead in ["", &other] {
            let changed = Signers::parse(text.replace(line, instead).as_bytes()).unwrap();
            differs(&|_, signers| *signers = changed.clone());
        }
    }

    #[test]
    fn whatever_is_changed_in_the_file_is_noticed_and_a_certificate_of_others_is_not_ours() {
        let (line, identity, signers) = held();
        let start = line.iter().position(|byte| *byte == b' ').unwrap() + 1;
        let end = line.iter().rposition(|byte| *byte != b'=').unwrap();
        // The last character before padding may hold bits that say nothing.
        for place in start..end {
            let mut bad = line.clone();
            bad[place] = if bad[place] == b'A' { b'B' } else { b'A' };
            assert_eq!(check_held(&bad, &identity, &signers), None, "byte {place}");
        }
        for bad in [&b""[..], b"\xff", b"ssh-ed25519 AAAA", &line[..line.len() / 2]] {
            assert!(check_held(bad, &identity, &signers).is_none() && !is_host_certificate(bad));
        }
    }
}
