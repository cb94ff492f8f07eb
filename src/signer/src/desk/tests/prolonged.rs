//! Extensions: requests that prolong another.

use jit_ssh_core::statement::{Cause, Nonce};

use super::*;

/// Twenty more minutes, twice, under either rule.
fn policy() -> String {
    let extend = "extend = { max = \"20m\", times = 2 }\n";
    POLICY
        .replace("decide_within = \"1h\"", &format!("decide_within = \"1m\"\n{extend}"))
        .replace("auto = {}", &format!("auto = {{}}\n{extend}"))
}

fn node() -> (Node, Running) {
    Node::with_policy(&policy())
}

impl Node {
    /// alice prolongs her request by 20 minutes.
    fn extension(&self, of: &Verified<Request>, nonce: u8) -> Verified<Request> {
        let mut body = of.body().clone();
        body.at = self.now();
        body.r#for = Seconds::new(1_200).unwrap();
        body.extends = Some(of.digest());
        body.nonce = Nonce([nonce; 16]);
        self.world.alice.verified(&body)
    }

    /// The same, recorded, approved and used.
    fn extended(
        &self,
        signer: &mut Running,
        of: &Verified<Request>,
        nonce: u8,
    ) -> Verified<Request> {
        let World { alice, carol, .. } = &self.world;
        let extension = self.extension(of, nonce);
        recorded(signer.submit(alice, extension.body(), false));
        let approval = self.world.approval(carol, &extension, self.now());
        recorded(signer.submit(carol, &approval, false));
        certified(signer.certify(extension.digest()));
        extension
    }

    /// alice's request, approved and used.
    fn base(&self, signer: &mut Running) -> Verified<Request> {
        let World { alice, bob, .. } = &self.world;
        let base = alice.verified(&self.request());
        recorded(signer.submit(alice, base.body(), false));
        recorded(signer.submit(bob, &self.world.approval(bob, &base, self.now()), false));
        certified(signer.certify(base.digest()));
        base
    }
}

#[test]
fn an_extension_counts_from_the_end_of_what_it_prolongs() {
    let (node, mut signer) = node();
    let base = node.base(&mut signer);
    node.set_clock(500);
    let extension = node.extension(&base, 9);
    recorded(signer.submit(&node.world.alice, extension.body(), false));
    assert_eq!(refused(signer.certify(extension.digest())), Reason::NotApproved);
    let approval = node.world.approval(&node.world.carol, &extension, node.now());
    recorded(signer.submit(&node.world.carol, &approval, false));
    let issuance = certified(signer.certify(extension.digest()));
    assert_eq!(issuance.access_until, UnixTime(START.0 + 600 + 1_200));
}

#[test]
fn what_prolongs_an_unknown_request_is_refused_until_that_is_known() {
    let (node, mut signer) = node();
    let World { alice, bob, .. } = &node.world;
    let base = alice.verified(&node.request());
    let extension = node.extension(&base, 9);
    let submit = |signer: &mut Running| signer.submit(alice, extension.body(), false);
    // Said of a request that was just handed over, this can only be about what it prolongs.
    let Outcome::Refused(refusal) = submit(&mut signer) else { panic!("it was not refused") };
    assert_eq!(refusal.reason, Reason::UnknownRequest);
    assert!(refusal.message.contains(base.id().as_str()), "{refusal}");
    recorded(signer.call(Op::Relay { statement: signed(alice, base.body()) }));
    assert_eq!(refused(submit(&mut signer)), Reason::PolicyRefused, "it is not in use");
    recorded(signer.submit(bob, &node.world.approval(bob, &base, START), false));
    certified(signer.certify(base.digest()));
    recorded(submit(&mut signer));
}

#[test]
fn a_row_of_extensions_is_remembered_to_its_end_also_by_a_restarted_signer() {
    let (node, mut signer) = node();
    let base = node.base(&mut signer);
    node.set_clock(590);
    let first = node.extended(&mut signer, &base, 9);
    node.set_clock(1_790);
    let second = node.extended(&mut signer, &first, 10);
    node.set_clock(2_900);
    for restart in [false, true] {
        if restart {
            node.stop(signer);
            signer = node.start();
        }
        let issuance = certified(signer.certify(second.digest()));
        assert_eq!(issuance.access_until, UnixTime(START.0 + 600 + 2 * 1_200));
        assert_eq!(refused(signer.certify(first.digest())), Reason::Ended);
    }
    // A third is one more than the rule allows.
    let third = node.extension(&second, 11);
    let outcome = signer.submit(&node.world.alice, third.body(), false);
    assert_eq!(refused(outcome), Reason::PolicyRefused);
    node.set_clock(3_000);
    assert_eq!(refused(signer.certify(second.digest())), Reason::Ended);
    // In the end all of it is forgotten.
    node.set_clock(86_400);
    for request in [&base, &first, &second] {
        assert_eq!(refused(signer.certify(request.digest())), Reason::UnknownRequest);
    }
}

#[test]
fn an_extension_falls_with_what_it_prolongs_whatever_waits_beside_it() {
    let (node, mut signer) = node();
    let alice = &node.world.alice;
    let base = node.base(&mut signer);
    let first = node.extended(&mut signer, &base, 9);
    let second = node.extended(&mut signer, &first, 10);
    let release = node.end(alice, Cause::Release, &base);
    // Handed over together, so that one batch could take them all.
    let release = signer.send(Op::Submit { statement: signed(alice, &release), certify: false });
    let after: Vec<u64> = [&second, &first, &base]
        .map(|request| signer.send(Op::Certify { request: request.digest() }))
        .to_vec();
    recorded(signer.answer(release));
    for call in after {
        assert_eq!(refused(signer.answer(call)), Reason::Released);
    }
    assert_eq!(node.krl().serials().len(), 3, "the certificates of all three");
    node.stop(signer);
    let mut signer = node.start();
    assert_eq!(refused(signer.certify(second.digest())), Reason::Released);
    assert_eq!(node.krl().serials().len(), 3);
    let late = node.extension(&first, 11);
    assert_eq!(refused(signer.submit(alice, late.body(), false)), Reason::Released);
}

#[test]
fn an_end_by_a_clock_ahead_in_the_last_moments_fells_what_comes_after_too() {
    for ended in [false, true] {
        let (node, mut signer) = node();
        let base = node.base(&mut signer);
        node.set_clock(550);
        let extension = node.extended(&mut signer, &base, 9);
        if ended {
            let World { bob, .. } = &node.world;
            let mut end = node.end(bob, Cause::Revoke, &base);
            // After the end of what is revoked.
            end.at = UnixTime(START.0 + 660);
            recorded(signer.submit(bob, &end, false));
        }
        for secs in [560, 599, 600, 659, 661, 1_700] {
            node.set_clock(secs);
            let outcome = signer.certify(extension.digest());
            match ended {
                true => assert_eq!(refused(outcome), Reason::Revoked, "{secs}"),
                false => drop(certified(outcome)),
            }
        }
    }
}

#[test]
fn a_request_and_its_extension_handed_over_together_are_taken_one_after_the_other() {
    let (node, mut signer) = node();
    let alice = &node.world.alice;
    let base = alice.verified(&node.world.request(alice, "test-host", "deploy", 600, node.now()));
    let extension = node.extension(&base, 9);
    let calls = [&base, &extension].map(|request| {
        signer.send(Op::Submit { statement: signed(alice, request.body()), certify: true })
    });
    let [base_until, until] = calls.map(|call| recorded(signer.answer(call)).unwrap().access_until);
    assert_eq!(until, base_until.plus_secs(1_200));
}

#[test]
fn what_was_given_back_stays_known_for_what_prolonged_it_whatever_the_rules_become() {
    let (node, mut signer) = node();
    let base = node.base(&mut signer);
    node.set_clock(595);
    let extension = node.extended(&mut signer, &base, 9);
    recorded(signer.end(&node, &node.world.alice, Cause::Release, &base));
    assert_eq!(node.krl().serials().len(), 2);
    // By the new rules nothing could come of the first request any more: it is over, and there are no
    // extensions. But what the certificate of its extension opened may run for a while.
    node.set_clock(850);
    let strict = POLICY.replace("decide_within = \"1h\"", "decide_within = \"1s\"");
    node.apply(&mut signer, 2, &strict);
    for restart in [false, true] {
        if restart {
            node.stop(signer);
            signer = node.start();
        }
        assert_eq!(node.krl().serials().len(), 1);
        assert_eq!(refused(signer.certify(extension.digest())), Reason::PolicyRefused);
    }
    node.set_clock(1_799);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(node.krl().serials().len(), 1);
    node.set_clock(1_800);
    signer.until(|| node.krl().serials().is_empty());
}
