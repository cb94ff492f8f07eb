//! Host certificates: logged, signed with a key of their own, and never more than are needed.

use jit_ssh_core::certificate::host::HostIdentity;
use jit_ssh_core::receipt::{AcceptedHost, check_host};
use jit_ssh_core::testkit::host_key;

use super::*;
use crate::protocol::HostIssuance;

const DAY: i64 = 86_400;

/// A bundle whose `from` is changed to `to`.
fn files(node: &Node, from: &str, to: &str) -> BundleFiles {
    let mut files = node.world.files(POLICY);
    for file in [&mut files.hosts, &mut files.signers] {
        *file = String::from_utf8(file.clone()).unwrap().replace(from, to).into_bytes();
    }
    files
}

fn ask(signer: &mut Running) -> Outcome {
    signer.call(Op::CertifyHost { name: "prod-host".parse().unwrap() })
}

fn certified(outcome: Outcome) -> HostIssuance {
    match outcome {
        Outcome::HostCertified(issuance) => issuance,
        other => panic!("{other:?}"),
    }
}

/// Checks an issued certificate as a host does.
fn check(node: &Node, issuance: &HostIssuance) -> AcceptedHost {
    let bundle = node.world.bundle(POLICY);
    let host = bundle.hosts.get(&"prod-host".parse().unwrap()).unwrap();
    let receipt = Receipt {
        certificate: &issuance.certificate.0,
        entry: issuance.entry.as_bytes(),
        index: issuance.index,
        checkpoint: issuance.checkpoint.as_bytes(),
        proof: issuance.proof.0.chunks(32).collect(),
        signer: 1,
    };
    let identity = HostIdentity::of(host).unwrap();
    check_host(&receipt, &identity, &bundle.signers, node.now()).unwrap()
}

fn logged(node: &Node) -> usize {
    node.entries().iter().filter(|e| matches!(e, Entry::HostCertificate(_))).count()
}

#[test]
fn a_host_certificate_is_logged_then_signed_and_the_same_until_half_of_its_time_is_over() {
    let (node, mut signer) = Node::with_bundle();
    let first = certified(ask(&mut signer));
    let accepted = check(&node, &first);
    assert_eq!(accepted.serial, 1 << 48 | 1);
    // A second before half of its time is over; other entries came meanwhile.
    let recorded = signer.submit(&node.world.alice, &node.request(), false);
    assert!(recorded_at(&recorded));
    node.set_clock(i64::try_from(accepted.renew_at.0 - START.0).unwrap() - 1);
    let again = certified(ask(&mut signer));
    assert_eq!((&again.certificate, again.index), (&first.certificate, 1));
    assert_ne!(again.checkpoint, first.checkpoint, "a proof under the newest checkpoint");
    check(&node, &again);
    assert_eq!(logged(&node), 1);
    // Nor is it forgotten over a restart.
    node.stop(signer);
    let mut signer = node.start();
    assert_eq!(certified(ask(&mut signer)).certificate, first.certificate);
    node.set_clock(i64::try_from(accepted.renew_at.0 - START.0).unwrap());
    let renewed = certified(ask(&mut signer));
    assert_ne!(renewed.certificate, first.certificate);
    check(&node, &renewed);
    assert_eq!(certified(ask(&mut signer)).certificate, renewed.certificate);
    assert_eq!(logged(&node), 2);
    node.stop(signer);
    let mut signer = node.start();
    assert_eq!(certified(ask(&mut signer)).certificate, renewed.certificate, "the newest of two");
}

fn recorded_at(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Recorded { .. })
}

#[test]
fn another_key_or_another_name_means_another_certificate_at_once() {
    let (node, mut signer) = Node::with_bundle();
    let first = certified(ask(&mut signer));
    let key = host_key(91).to_string();
    for (version, from, to) in [
        (2, "aliases = [\"www\"]", "aliases = [\"www\", \"shop\"]"),
        (3, key.as_str(), &host_key(92).to_string()),
        (4, "Prod.Example.com:2222", "10.0.0.5"),
    ] {
        let outcome = node.apply_files(&mut signer, version, files(&node, from, to));
        assert!(matches!(outcome, Outcome::InForce { .. }), "{outcome:?}");
        let other = certified(ask(&mut signer));
        assert_ne!(other.index, first.index);
        assert_eq!(certified(ask(&mut signer)).certificate, other.certificate);
    }
    assert_eq!(logged(&node), 4);
    // What is no part of the certificate changes nothing.
    let (before, files) = (certified(ask(&mut signer)), files(&node, "role = \"web\"", ""));
    let hosts =
        String::from_utf8(files.hosts).unwrap().replace("Prod.Example.com:2222", "10.0.0.5");
    let files = BundleFiles { hosts: hosts.into_bytes(), ..files };
    node.apply_files(&mut signer, 5, files);
    assert_eq!(certified(ask(&mut signer)).certificate, before.certificate);
}

#[test]
fn calls_for_one_host_that_come_together_get_one_certificate() {
    let (node, mut signer) = Node::with_bundle();
    let op = || Op::CertifyHost { name: "prod-host".parse().unwrap() };
    let ids: Vec<u64> = (0..8).map(|_| signer.send(op())).collect();
    let all: Vec<HostIssuance> = ids.into_iter().map(|id| certified(signer.answer(id))).collect();
    assert!(all.iter().all(|issuance| issuance.certificate == all[0].certificate));
    assert_eq!(logged(&node), 1);
    for issuance in &all {
        check(&node, issuance);
    }
}

#[test]
fn who_is_no_host_with_a_key_gets_none_and_nothing_is_logged() {
    let (node, mut signer) = Node::with_bundle();
    for name in ["prod-db", "www", "prod.example.com", "nowhere"] {
        let outcome = signer.call(Op::CertifyHost { name: name.parse().unwrap() });
        assert_eq!(refused(outcome), Reason::UnknownHost, "{name}");
    }
    assert_eq!(logged(&node), 0);
    certified(ask(&mut signer));
    assert_eq!(logged(&node), 1);
}

#[test]
fn without_a_bundle_or_a_key_named_in_it_there_is_none() {
    let node = Node::new();
    let mut signer = node.start();
    assert_eq!(refused(ask(&mut signer)), Reason::NoBundle);
    let line = format!("host_ca_key = \"{}\"\n", node.world.host_ca_key());
    node.apply_files(&mut signer, 1, files(&node, &line, ""));
    assert_eq!(refused(ask(&mut signer)), Reason::NoHostCa);
    // A bundle that names another host CA key than the signer's is refused as a whole.
    let other = host_key(93).to_string();
    let own = node.world.host_ca_key().to_string();
    let outcome = node.apply_files(&mut signer, 2, files(&node, &own, &other));
    assert_eq!(refused(outcome), Reason::BundleRefused);
    node.apply(&mut signer, 2, POLICY);
    check(&node, &certified(ask(&mut signer)));
}

#[test]
fn a_signer_from_before_there_were_host_certificates_goes_on_without_them() {
    let node = Node { host_ca: false, ..Node::new() };
    let mut signer = node.start();
    // It can not have a bundle that speaks of a key it lacks, and does all else without.
    assert_eq!(refused(node.apply(&mut signer, 1, POLICY)), Reason::BundleRefused);
    let line = format!("host_ca_key = \"{}\"\n", node.world.host_ca_key());
    node.apply_files(&mut signer, 1, files(&node, &line, ""));
    assert_eq!(refused(ask(&mut signer)), Reason::NoHostCa);
    let outcome = signer.submit(&node.world.bot, &node.auto(1), true);
    assert!(super::recorded(outcome).is_some());
    node.stop(signer);
    let node = Node { host_ca: true, ..node };
    let mut signer = node.start();
    node.apply(&mut signer, 2, POLICY);
    check(&node, &certified(ask(&mut signer)));
}

#[test]
fn a_failing_log_means_no_new_host_certificate_and_heals() {
    let (node, mut signer) = Node::with_bundle();
    signer.orders.break_it("append");
    assert_eq!(refused(ask(&mut signer)), Reason::LogUnavailable);
    signer.orders.mend();
    check(&node, &certified(ask(&mut signer)));
    assert_eq!(logged(&node), 1);
}

#[test]
fn a_host_is_stopped_at_its_quota_and_the_others_go_on() {
    let limits = Limits {
        certificates_per_person_per_minute: std::num::NonZeroU32::MIN,
        ..Limits::default()
    };
    let node = Node { limits, ..Node::new() };
    let mut signer = node.start();
    node.apply(&mut signer, 1, POLICY);
    certified(ask(&mut signer));
    // The same again costs nothing.
    certified(ask(&mut signer));
    let key = host_key(92).to_string();
    node.apply_files(&mut signer, 2, files(&node, &host_key(91).to_string(), &key));
    assert_eq!(refused(ask(&mut signer)), Reason::Quota);
    node.set_clock(60);
    certified(ask(&mut signer));
    node.set_clock(8 * DAY);
    certified(ask(&mut signer));
}
