//! The ways a certificate may be used from the agent: from here to each host it is for, as that account.
//!
//! A host is known by its key in the bundle, and by the host CA keys of all signers: whichever of the two
//! its sshd shows. A host without a key in the bundle can not be told from another.

use jit_ssh_api::agent::{Destination, Hop, HopKey};
use jit_ssh_core::bundle::{Hosts, Permit, Signers};
use jit_ssh_core::names::{HostName, Jump, Opens, Principal};

/// To which hosts a certificate can be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// To these.
    To(Vec<Destination>),
    /// To none, since these hosts show nothing that is known.
    Unknown(Vec<HostName>),
    /// To none, as it was wished.
    Unwished,
}

/// The bounds of a certificate that opens this.
pub(crate) fn bounds(opens: &Opens, permit: &[Permit], hosts: &Hosts, signers: &Signers) -> Bounds {
    match opens {
        Opens::Logins(principals) => of_logins(principals, permit, hosts, signers),
        Opens::Jump(jump) => of_jump(jump, hosts, signers),
    }
}

fn of_logins(
    principals: &[Principal],
    permit: &[Permit],
    hosts: &Hosts,
    signers: &Signers,
) -> Bounds {
    let hop = |name: &HostName| hop(name, hosts, signers);
    let mut unknown: Vec<HostName> = Vec::new();
    let mut ways = Vec::new();
    for principal in principals {
        let name = principal.host();
        let Some(to) = hop(name) else {
            if !unknown.contains(name) {
                unknown.push(name.clone());
            }
            continue;
        };
        let login = Some(principal.login().to_string());
        // ProxyJump connects from here; only a forwarded agent is used from the host before.
        let before = hosts.get(name).and_then(|host| host.via.as_ref()).and_then(hop);
        if let Some(before) = before.filter(|_| permit.contains(&Permit::AgentForwarding)) {
            ways.push(Destination { from: None, login: None, to: before.clone() });
            ways.push(Destination { from: Some(before), login: login.clone(), to: to.clone() });
        }
        ways.push(Destination { from: None, login, to });
    }
    if unknown.is_empty() { Bounds::To(ways) } else { Bounds::Unknown(unknown) }
}

/// A jump's certificate is shown to the bastion alone.
fn of_jump(jump: &Jump, hosts: &Hosts, signers: &Signers) -> Bounds {
    match hop(jump.bastion(), hosts, signers) {
        Some(to) => {
            let login = Some(Jump::LOGIN.to_owned());
            Bounds::To(vec![Destination { from: None, login, to }])
        }
        None => Bounds::Unknown(vec![jump.bastion().clone()]),
    }
}

/// A host by its own key and the host CA keys; `None` where its own is not known.
fn hop(name: &HostName, hosts: &Hosts, signers: &Signers) -> Option<Hop> {
    let own = HopKey::Own(hosts.get(name)?.key.as_ref()?.blob().to_vec());
    let cas = signers.iter().filter_map(|signer| signer.host_ca_key.as_ref());
    let cas = cas.map(|key| HopKey::Ca(key.blob().to_vec()));
    let keys = std::iter::once(own).chain(cas).collect();
    Some(Hop { name: name.to_string(), keys })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_ssh_core::testkit::{POLICY, World, host_key};

    #[test]
    fn each_account_is_bound_to_its_host_by_key_and_by_host_ca() {
        let bundle = World::default().bundle(POLICY);
        let hosts = |second: &str| {
            let block = |name: &str, more: &str| {
                format!("[[host]]\nname = \"{name}\"\nlogins = [\"x\", \"y\"]\n{more}\n")
            };
            let key = |seed| format!("key = \"{}\"", host_key(seed));
            let jump = format!("{}\nvia = \"jump\"", key(1));
            let text = block("a", &jump) + &block("b", second) + &block("jump", &key(3));
            Hosts::parse(text.as_bytes()).unwrap()
        };
        let wanted = ["x@a", "y@a", "x@b"].map(|text| text.parse().unwrap());
        let keyed = hosts(&format!("key = \"{}\"", host_key(2)));
        let ways = |permit: &[Permit]| match of_logins(&wanted, permit, &keyed, &bundle.signers) {
            Bounds::To(ways) => ways,
            other => unreachable!("{other:?}"),
        };
        let shown = |way: &Destination| {
            let from = way.from.as_ref().map_or("-", |hop| hop.name.as_str());
            format!("{from} {}@{}", way.login.as_deref().unwrap_or("*"), way.to.name)
        };
        let usual: Vec<String> = ways(&[Permit::Pty]).iter().map(shown).collect();
        assert_eq!(usual, ["- x@a", "- y@a", "- x@b"]);
        let ca = bundle.signers.iter().find_map(|signer| signer.host_ca_key.clone()).unwrap();
        let keys = [HopKey::Own(host_key(1).blob().to_vec()), HopKey::Ca(ca.blob().to_vec())];
        assert_eq!(ways(&[])[0].to.keys, keys);
        // With the agent forwarded, the way over the bastion is one more.
        let forwarded: Vec<String> = ways(&[Permit::AgentForwarding]).iter().map(shown).collect();
        let through = ["- *@jump", "jump x@a", "- x@a", "- *@jump", "jump y@a", "- y@a", "- x@b"];
        assert_eq!(forwarded, through);

        let unknown = of_logins(&wanted, &[], &hosts(""), &bundle.signers);
        assert_eq!(unknown, Bounds::Unknown(vec!["b".parse().unwrap()]));
    }
}
