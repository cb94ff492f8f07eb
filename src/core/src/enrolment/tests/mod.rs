//! Every refusal stands beside a neighbour that differs in one thing and is taken.

mod bounds;
mod form;
mod former;
mod register;
mod view;

use super::*;
use crate::authorize::authorize;
use crate::bundle::Bundle;
use crate::chain::Chain;
use crate::digest::Digest;
use crate::lifecycle::{Status, evaluate};
use crate::refusal::{Reason, Refusal};
use crate::statement::{self, Arrival, Host, Token, Verified};
use crate::testkit::{Person, START, World, person, subject_key};
use crate::time::{Seconds, UnixTime};

/// Anybody in `sre` on test hosts, by itself.
const POLICY: &str = r#"
[[deny]]
name = "no-db"
hosts = ["label:role=db"]

[[allow]]
name = "test"
who = ["group:sre"]
hosts = ["label:env=test"]
logins = ["deploy", "ci"]
max_for = "2h"
cert_for = "10m"
auto = {}
"#;

fn at(secs: u32) -> UnixTime {
    START.plus_secs(secs)
}

struct Case {
    world: World,
    bundle: Bundle,
    /// Whose key the token lends.
    lent: Person,
    known: Enrolled,
}

impl Case {
    fn new() -> Case {
        let world = World::default();
        let bundle = world.bundle(POLICY);
        Case { world, bundle, lent: person("lent", 60), known: Enrolled::default() }
    }

    /// A bundle whose `hosts.toml` has `to` in place of `from`.
    fn bundle_with(&self, from: &str, to: &str) -> Bundle {
        let mut files = self.world.files(POLICY);
        let hosts = String::from_utf8(files.hosts).unwrap();
        assert_eq!(hosts.matches(from).count(), 1);
        files.hosts = hosts.replace(from, to).into_bytes();
        Bundle::parse(2, &files, &self.world.root.admin_keys()).unwrap()
    }

    /// The host `ci-1` for an hour, changed, signed by its enroller.
    fn vouched(&self, change: impl FnOnce(&mut Host)) -> Verified<Host> {
        let mut host = self.world.host("ci-1", 70, None, START, 3_600);
        change(&mut host);
        self.world.pipeline.verified(&host)
    }

    fn token(&self, change: impl FnOnce(&mut Token)) -> Verified<Token> {
        let mut token = self.world.token(&self.lent.key, START);
        change(&mut token);
        self.world.pipeline.verified(&token)
    }

    /// The host `ci-t1` by this token, changed, signed with the token's key.
    fn by_token(&self, token: Digest, change: impl FnOnce(&mut Host)) -> Verified<Host> {
        let mut host = self.world.host("ci-t1", 70, Some(token), START, 3_600);
        change(&mut host);
        self.lent.verified(&host)
    }

    fn admit(&self, host: &Verified<Host>, now: UnixTime) -> Result<Admission, Refusal> {
        self.known.admit_host(host, &self.bundle, Arrival::Submitted, now)
    }

    /// Takes a host in, as a signer does.
    fn join(&mut self, host: Verified<Host>) {
        let now = host.body().at;
        assert_eq!(self.admit(&host, now), Ok(Admission::New));
        self.known.add_host(host);
    }

    fn lend(&mut self, token: &Verified<Token>) {
        let now = token.body().at;
        let outcome = self.known.admit_token(token, &self.bundle, Arrival::Submitted, now);
        assert_eq!(outcome, Ok(Admission::New));
        self.known.add_token(token.clone());
    }

    fn view(&self) -> View<'_> {
        View::new(&self.bundle, &self.known)
    }

    /// Alice's request for `deploy` on `host`.
    fn chain(&self, host: &str, span: u32, made: UnixTime) -> Chain {
        let request = self.world.request(&self.world.alice, host, "deploy", span, made);
        Chain::new(self.world.alice.verified(&request))
    }
}

fn reason(outcome: Result<Admission, Refusal>) -> Reason {
    outcome.expect_err("this must be refused").reason
}
