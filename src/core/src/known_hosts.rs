//! The lines of a known_hosts file by which ssh trusts host certificates of this CA: for the names of
//! the bundle's hosts and of hosts that joined, and for no others.
//!
//! A host that joined has a line of its own name, made from what vouches for it. The name patterns of its
//! enroller would be shorter, and cover names that nobody has vouched for, such as those of strangers on
//! the internet where the pattern is a wide one.
//!
//! Without a key a host has no certificate, so there is no line about it: ssh goes on as before.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::bundle::{Host, Hosts, Signers};
use crate::certificate::host::{HostIdentity, HostPrincipal};
use crate::enrolment::Vouched;
use crate::names::HostName;
use crate::time::UnixTime;

/// sshd's port where an address names none.
const SSH_PORT: u16 = 22;

/// The lines for these hosts, each with sshd's port (`sshd(8)`, "SSH_KNOWN_HOSTS FILE FORMAT").
pub fn lines(signers: &Signers, hosts: impl IntoIterator<Item = (HostIdentity, u16)>) -> String {
    let mut out = String::new();
    for (host, port) in hosts {
        let names = names(&host, port);
        for key in signers.iter().filter_map(|signer| signer.host_ca_key.as_ref()) {
            writeln!(out, "@cert-authority {names} {key}").expect("a text grows without limit");
        }
    }
    out
}

/// The lines for the hosts of a bundle.
pub fn of_bundle(signers: &Signers, hosts: &Hosts) -> String {
    let identity = |host: &Host| {
        let port = host.place().map_or(SSH_PORT, |(_, port)| port);
        Some((HostIdentity::of(host)?, port))
    };
    lines(signers, hosts.iter().filter_map(identity))
}

/// The lines for one host of a bundle, by whatever it may show: a certificate, or its own key, which stands in the
/// bundle. By `HostKeyAlias` it has its name alone. Nothing for a host whose key is not known.
pub fn of_host(signers: &Signers, host: &Host) -> String {
    let Some((identity, key)) = HostIdentity::of(host).zip(host.key.as_ref()) else {
        return String::new();
    };
    let own = format!("{} {key}\n", host.name);
    lines(signers, [(identity, SSH_PORT)]) + &own
}

/// The lines for a host that joined, which the caller has judged. A comment says until when it is there.
pub fn of_joined(signers: &Signers, vouched: &Vouched) -> String {
    let Some(identity) = HostIdentity::of(&vouched.as_listed()) else { return String::new() };
    let until = vouched.host().body().until;
    let lines = lines(signers, [(identity, SSH_PORT)]);
    lines.lines().map(|line| format!("{line} {UNTIL}{}\n", until.0)).collect()
}

/// The hosts that joined of a text with such lines, and until when each is there.
pub fn joined(text: &str) -> BTreeMap<HostName, UnixTime> {
    let of = |line: &str| {
        let mut words = line.strip_prefix("@cert-authority ")?.split(' ');
        let name = words.next()?.parse().ok()?;
        let until = words.next_back()?.strip_prefix(UNTIL)?.parse().ok()?;
        Some((name, UnixTime(until)))
    };
    text.lines().filter_map(of).collect()
}

/// How the comment begins.
const UNTIL: &str = "joined-until-";

/// How ssh may look for the host: by its names, and where sshd has another port than 22 also by each
/// name with the port. The address then counts with the port alone, since on port 22 there answers
/// another.
fn names(host: &HostIdentity, port: u16) -> String {
    let principals = host.principals();
    let with_port = (port != SSH_PORT).then_some(port);
    let is_name = |name: &HostPrincipal| {
        std::iter::once(&host.name).chain(&host.aliases).any(|own| own.as_str() == name.as_str())
    };
    let plain = principals.iter().filter(|name| with_port.is_none() || is_name(name));
    let plain = plain.map(ToString::to_string);
    let ported = principals.iter().filter_map(|name| Some(format!("[{name}]:{}", with_port?)));
    plain.chain(ported).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{POLICY, World, host_key};

    #[test]
    fn each_host_with_a_key_has_a_line_with_its_names_only() {
        let world = World::default();
        let bundle = world.bundle(POLICY);
        let expected = format!(
            "@cert-authority prod-host,www,[prod-host]:2222,[prod.example.com]:2222,[www]:2222 {}\n",
            world.host_ca_key()
        );
        assert_eq!(of_bundle(&bundle.signers, &bundle.hosts), expected);
    }

    #[test]
    fn one_host_alone_is_known_by_its_certificate_and_by_its_own_key() {
        let world = World::default();
        let bundle = world.bundle(POLICY);
        let host = bundle.hosts.iter().find(|host| host.name.as_str() == "prod-host").unwrap();
        let key = host.key.clone().unwrap();
        let text = of_host(&bundle.signers, host);
        let (first, second) = text.split_once('\n').unwrap();
        assert!(first.starts_with("@cert-authority ") && first.contains("prod-host"), "{text}");
        assert_eq!(second, format!("prod-host {key}\n"));
        let unknown = Host { key: None, ..host.clone() };
        assert_eq!(of_host(&bundle.signers, &unknown), "");
    }

    #[test]
    fn a_host_that_joined_has_a_line_of_its_name_alone_and_reads_back_with_its_end() {
        let world = World::default();
        let bundle = world.bundle(POLICY);
        let host = world.host("ci-1", 70, None, crate::testkit::START, 600);
        let vouched = Vouched::new(world.pipeline.verified(&host), None);
        let text = of_joined(&bundle.signers, &vouched);
        let until = crate::testkit::START.plus_secs(600);
        let key = world.host_ca_key();
        assert_eq!(text, format!("@cert-authority ci-1 {key} joined-until-{}\n", until.0));
        let all = format!("# x\n{}{text}", of_bundle(&bundle.signers, &bundle.hosts));
        assert_eq!(joined(&all), BTreeMap::from([("ci-1".parse().unwrap(), until)]));
        for other in [text.replace("until-1", "until-x"), text.replace("ci-1", "ci-*")] {
            assert_eq!(joined(&other), BTreeMap::new(), "{other}");
        }
    }

    #[test]
    fn every_signer_with_a_host_ca_key_has_a_line_and_others_have_none() {
        let host = |more: &str| {
            let text = format!(
                "[[host]]\nname = \"a\"\nlogins = [\"x\"]\nkey = \"{}\"\n{more}",
                host_key(1)
            );
            Hosts::parse(text.as_bytes()).unwrap()
        };
        let signer = |number: u8, host_ca: bool| {
            let key = |seed: u8| crate::testkit::software_key(seed).1;
            let vkey = crate::log::VerifierKey::new(
                "x",
                crate::testkit::software_key(100 + number).0.verifying_key().as_bytes(),
            );
            let host_ca = match host_ca {
                true => format!("host_ca_key = \"{}\"\n", key(120 + number)),
                false => String::new(),
            };
            let ca = key(110 + number);
            let log = vkey.unwrap();
            format!(
                "[[signer]]\nnumber = {number}\nca_key = \"{ca}\"\n{host_ca}log_key = \"{log}\"\n"
            )
        };
        let names = |hosts: &Hosts, signers: &str| -> Vec<String> {
            let signers = Signers::parse(signers.as_bytes()).unwrap();
            let text = of_bundle(&signers, hosts);
            text.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
        };
        let two = signer(1, true) + &signer(2, true) + &signer(3, false);
        assert_eq!(names(&host(""), &two), ["a", "a"]);
        assert_eq!(names(&host(""), &signer(3, false)), Vec::<String>::new());
        let one = signer(1, true);
        assert_eq!(names(&host("address = \"10.0.0.5\""), &one), ["10.0.0.5,a"]);
        assert_eq!(names(&host("address = \"[2001:DB8:0::5]\""), &one), ["2001:db8::5,a"]);
        assert_eq!(
            names(&host("address = \"[2001:db8::5]:23\"\naliases = [\"b\"]"), &one),
            ["a,b,[2001:db8::5]:23,[a]:23,[b]:23"]
        );
    }
}
