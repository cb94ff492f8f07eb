//! The real ssh-keygen judges our host certificates.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::fs;
use std::num::NonZeroU16;
use std::process::Command;

use base64ct::{Base64, Encoding as _};
use ed25519_dalek::Signer as _;
use jit_ssh_core::bundle::{Bundle, BundleFiles};
use jit_ssh_core::certificate::host::{HostContext, authorize_host, build, lint, read};
use jit_ssh_core::certificate::{Serial, assemble};
use jit_ssh_core::testkit::{POLICY, START, World, host_key};

#[test]
fn ssh_keygen_reads_host_certificates_for_every_type_of_key_that_sshd_has() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::default();
    for (kind, bits) in [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521")] {
        let key = folder.path().join(format!("{kind}{bits}"));
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-N", "", "-t", kind, "-b", bits, "-f"]).arg(&key);
        assert!(keygen.status().unwrap().success());
        let line = fs::read_to_string(key.with_extension("pub")).unwrap();

        let files = world.files(POLICY);
        let hosts = String::from_utf8(files.hosts).unwrap();
        let hosts = hosts.replace(&host_key(91).to_string(), line.trim()).into_bytes();
        let files = BundleFiles { hosts, ..world.files(POLICY) };
        let bundle = Bundle::parse(1, &files, &world.root.admin_keys()).unwrap();
        let yes = authorize_host(&"prod-host".parse().unwrap(), &bundle, START).unwrap();
        let identity = yes.identity().clone();
        let (ca, serial) = (world.host_ca_key(), Serial::new(NonZeroU16::MIN, 7).unwrap());
        let context = HostContext { identity: &identity, serial, ca: &ca, at: START };
        let tbs = lint(build(yes, serial, [9; 32], &ca), context).unwrap();
        assert_eq!(*tbs.facts(), read(tbs.bytes()).unwrap());
        let bytes = assemble(tbs.bytes(), &world.host_ca.sign(tbs.bytes()).to_bytes());
        let path = folder.path().join("host-cert.pub");
        let certified = format!("{}-cert-v01@openssh.com", identity.key.type_name());
        fs::write(&path, format!("{certified} {}\n", Base64::encode_string(&bytes))).unwrap();

        let shown = Command::new("ssh-keygen").arg("-Lf").arg(&path).output().unwrap();
        let text = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.status.success(), "{kind} {bits}: {text}");
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ");
        for part in [
            "host certificate",
            &ca.fingerprint(),
            &identity.key.fingerprint(),
            "Principals: prod-host prod.example.com www Critical",
            "Critical Options: (none)",
            "Extensions: (none)",
        ] {
            assert!(text.contains(part), "{kind} {bits}: {part:?} in {text}");
        }
    }
}
