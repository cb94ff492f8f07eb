//! Two signers and two fronts, to which the statements of an access and the passing of time come in
//! any order: each signer certifies just when the pure function says so of what it knows, and the
//! fronts agree once they know the same.

use jit_ssh_core::authorize::authorize;
use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::chain::{Chain, Issued};
use jit_ssh_core::lifecycle::{Status, evaluate};
use jit_ssh_core::statement::{Nonce, Verdict};

use super::*;

/// How many accesses are played.
const PLAYS: u64 = 1_000;

/// A small generator, so that each play can be told by its number.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        // Numerical Recipes' constants; the high bits are the good ones.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One signer and the front beside it.
struct Site {
    node: Node,
    signer: Running,
    /// All that the front knows.
    chain: Option<Chain>,
    /// What was recorded here, to be told to the other side.
    recorded: Vec<Said>,
}

#[derive(Clone)]
enum Said {
    Decision(Verified<Decision>),
    End(Verified<End>),
    Issued(Issued),
}

impl Site {
    fn new(clock: &Arc<AtomicU64>) -> Site {
        let mut node = Node::new();
        node.clock = clock.clone();
        let most = std::num::NonZeroU32::MAX;
        node.limits.requests_per_person_per_minute = most;
        node.limits.decisions_per_person_per_minute = most;
        node.limits.certificates_per_person_per_minute = most;
        let mut signer = node.start();
        let outcome = node.apply(&mut signer, 1, POLICY);
        assert!(matches!(outcome, Outcome::InForce { .. }));
        Site { node, signer, chain: None, recorded: Vec::new() }
    }

    fn chain(&mut self) -> &mut Chain {
        self.chain.as_mut().unwrap()
    }

    fn learn(&mut self, said: &Said) {
        let chain = self.chain();
        match said {
            Said::Decision(decision) => chain.add_decision(decision.clone()).unwrap(),
            Said::End(end) => chain.add_end(end.clone()).unwrap(),
            Said::Issued(issued) => chain.add_issued(*issued),
        }
    }

    /// Somebody says something here.
    fn say<T: Body>(&mut self, by: &Person, body: &T, said: fn(Verified<T>) -> Said) {
        if let Outcome::Recorded { .. } = self.signer.submit(by, body, false) {
            let said = said(by.verified(body));
            self.learn(&said);
            self.recorded.push(said);
        }
    }

    /// Asks for a certificate, and holds the answer against the pure function.
    fn certify(&mut self, bundle: &Bundle, known: &Chain, play: u64) {
        let now = self.node.now();
        let expected = authorize(known, bundle, now);
        match (self.signer.certify(known.digest()), expected) {
            (Outcome::Certified(issuance), Ok(yes)) => {
                assert_eq!(issuance.valid_before, yes.valid_before(), "play {play}");
                assert_eq!(issuance.access_until, yes.access_until(), "play {play}");
                let approved = known.decisions().iter().any(|decision| {
                    let body = decision.body();
                    body.verdict == Verdict::Approve
                        && issuance.access_until <= body.at.plus_secs(600)
                });
                assert!(approved && now < issuance.valid_before, "play {play}");
                assert!(issuance.valid_before <= issuance.access_until, "play {play}");
                let issued = Issued {
                    serial: issuance.serial,
                    at: issuance.at,
                    valid_before: issuance.valid_before,
                    access_until: issuance.access_until,
                };
                self.learn(&Said::Issued(issued));
                self.recorded.push(Said::Issued(issued));
            }
            (Outcome::Refused(refusal), Err(expected)) => {
                // One that can lead nowhere is forgotten.
                let forgotten = refusal.reason == Reason::UnknownRequest;
                assert!(forgotten || refusal.reason == expected.reason, "play {play}: {refusal}");
            }
            (outcome, expected) => panic!("play {play}: {outcome:?}, {expected:?}"),
        }
    }
}

/// Tells the front `to` what was recorded at `from`, in some order, and its signer what it takes.
/// Certificates are told to fronts alone: a signer knows its own.
fn tell(from: &mut Site, to: &mut Site, signers_view: &mut Chain, dice: &mut Dice) {
    let mut news: Vec<Said> = std::mem::take(&mut from.recorded);
    while !news.is_empty() {
        let place = usize::try_from(dice.below(news.len() as u64)).unwrap();
        let said = news.swap_remove(place);
        to.learn(&said);
        let statement = match &said {
            Said::Decision(decision) => relayed(decision),
            Said::End(end) => relayed(end),
            Said::Issued(_) => continue,
        };
        if let Outcome::Recorded { .. } = to.signer.call(Op::Relay { statement }) {
            note(signers_view, &said);
        }
    }
}

fn note(chain: &mut Chain, said: &Said) {
    match said {
        Said::Decision(decision) => chain.add_decision(decision.clone()).unwrap(),
        Said::End(end) => chain.add_end(end.clone()).unwrap(),
        Said::Issued(issued) => chain.add_issued(*issued),
    }
}

fn relayed<T>(statement: &Verified<T>) -> Signed {
    Signed {
        statement: String::from_utf8(statement.bytes().to_vec()).unwrap(),
        signatures: vec![Base64Bytes(statement.signature().to_vec())],
    }
}

#[test]
fn any_order_of_approve_deny_end_expiry_and_certify_over_two_signers_ends_as_the_function_says() {
    let clock = Arc::new(AtomicU64::new(START.0));
    let mut sites = [Site::new(&clock), Site::new(&clock)];
    let bundle = sites[0].node.world.bundle(POLICY);
    let mut ends: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    for play in 0..PLAYS {
        let mut dice = Dice(play);
        let world = World::default();
        let mut body = world.request(&world.alice, "prod-host", "deploy", 600, sites[0].node.now());
        body.nonce = Nonce(u128::from(play).to_be_bytes());
        let request = world.alice.verified(&body);
        // What each signer knows, beside what its front knows.
        let mut views = [Chain::new(request.clone()), Chain::new(request.clone())];
        for (place, site) in sites.iter_mut().enumerate() {
            let statement = signed(&world.alice, &body);
            let op = match place {
                0 => Op::Submit { statement, certify: false },
                _ => Op::Relay { statement },
            };
            recorded(site.signer.call(op));
            site.chain = Some(Chain::new(request.clone()));
            site.recorded.clear();
        }
        for _ in 0..4 + dice.below(10) {
            let here = usize::try_from(dice.below(2)).unwrap();
            let before = sites[here].recorded.len();
            event(&mut sites[here], &world, &request, &bundle, &views[here], &mut dice, play);
            for said in &sites[here].recorded[before..] {
                note(&mut views[here], said);
            }
            if dice.below(4) == 0 {
                exchange(&mut sites, &mut views, &mut dice);
            }
            if dice.below(3) == 0 {
                clock.fetch_add(dice.below(300), Ordering::SeqCst);
            }
        }
        exchange(&mut sites, &mut views, &mut dice);
        let now = sites[0].node.now();
        let status = |site: &Site| evaluate(site.chain.as_ref().unwrap(), &bundle, now).status;
        let (one, other) = (status(&sites[0]), status(&sites[1]));
        assert_eq!(one, other, "play {play}");
        let ended = matches!(one, Status::Revoked { .. } | Status::Released | Status::Cancelled);
        for (site, view) in sites.iter_mut().zip(&views) {
            let before = site.recorded.len();
            site.certify(&bundle, view, play);
            // What somebody ended anywhere is over everywhere.
            assert!(!ended || site.recorded.len() == before, "play {play}");
        }
        *ends
            .entry(format!("{one:?}").split([' ', '(']).next().unwrap().to_owned())
            .or_default() += 1;
        // The next play does not begin before this one's clocks.
        clock.fetch_add(1, Ordering::SeqCst);
    }
    // The plays are no idle ones.
    for status in ["Approved", "Active", "Ended", "Denied", "Cancelled", "Released", "Revoked"] {
        assert!(ends.get(status).is_some_and(|count| *count >= 10), "{ends:?}");
    }
}

fn exchange(sites: &mut [Site; 2], views: &mut [Chain; 2], dice: &mut Dice) {
    let [one, other] = sites;
    let [view, other_view] = views;
    tell(one, other, other_view, dice);
    tell(other, one, view, dice);
}

/// Something happens at one site.
fn event(
    site: &mut Site,
    world: &World,
    request: &Verified<Request>,
    bundle: &Bundle,
    view: &Chain,
    dice: &mut Dice,
    play: u64,
) {
    let now = site.node.now();
    let leads = [&world.bob, &world.carol];
    let lead = leads[usize::try_from(dice.below(2)).unwrap()];
    match dice.below(12) {
        0..=3 => site.say(lead, &world.approval(lead, request, now), Said::Decision),
        4 => site.say(lead, &world.denial(lead, request, now), Said::Decision),
        5 => {
            site.say(&world.alice, &world.end(&world.alice, request, Cause::Cancel, now), Said::End)
        }
        6 => site.say(
            &world.alice,
            &world.end(&world.alice, request, Cause::Release, now),
            Said::End,
        ),
        7 => site.say(lead, &world.end(lead, request, Cause::Revoke, now), Said::End),
        _ => site.certify(bundle, view, play),
    }
}
