//! Whether the size of a company makes one person's access slower: `authorize`, `List` and issuance
//! in a small company and in a large one, by turns in one run.
//!
//! The person measured has the same ten past requests in both; what grows is everything around
//! them.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use jit_ssh_api::{CaUrl, Client, v1};
use jit_ssh_core::authorize::authorize;
use jit_ssh_core::bundle::Bundle;
use jit_ssh_core::chain::Chain;
use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{Decision, Nonce, Request, Session, Verified, open};
use jit_ssh_core::time::Seconds;
use jit_ssh_tests::Site;
use jit_ssh_tests::program::{Program, Said};
use serde_json::{Value, json};

use crate::world::{self, Size};
use crate::{load, machine};

const SMALL: Size = Size { hosts: 10, people: 10, rules: 10, past: 10 };
const LARGE: Size = Size { hosts: 100_000, people: 10_000, rules: 1_000, past: 1_000_000 };

/// Past requests of the person measured.
const OWN: usize = 10;
/// Statements signed at a time: they must not be old when they are sent.
const BATCH: usize = 40_000;
const ROUNDS: usize = 15;
const AUTHORIZE: usize = 20_000;
const LISTS: usize = 40;

/// Runs the benchmark with so many past requests in the large company.
pub(crate) fn bench(past: usize) -> Value {
    let small = Company::new(SMALL);
    let large = Company::new(Size { past, ..LARGE });
    let both = [&small, &large];
    let authorize = by_turns(both.map(|company| || company.authorize()));
    let readers = both.map(|company| (company, company.connect()));
    let list = |scope| by_turns(readers.each_ref().map(|(of, client)| || of.list(client, scope)));
    let mine = list(v1::Scope::Mine);
    let all = list(v1::Scope::All);
    let to_decide = list(v1::Scope::ToDecide);
    let issue = by_turns(both.map(|company| || company.issue()));
    json!({
        "bench": "policy",
        "machine": machine::describe(),
        "small": SMALL.described(),
        "large": Size { past, ..LARGE }.described(),
        "authorize_us": authorize,
        "list_mine_us": mine,
        "list_all_us": all,
        "list_to_decide_us": to_decide,
        "issue_us": issue,
        "ratio_bar": 1.5,
        "memory": { "small": small.memory(), "large": large.memory() },
    })
}

/// The median of each in microseconds, measured by turns, and the ratio.
fn by_turns(measures: [impl Fn() -> f64; 2]) -> Value {
    let mut found: [Vec<f64>; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (measure, found) in measures.iter().zip(&mut found) {
            found.push(measure());
        }
    }
    let [small, large] = found.map(|mut all| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    });
    let round = |value: f64| (value * 100.0).round() / 100.0;
    json!({ "small": round(small), "large": round(large), "ratio": round(large / small) })
}

impl Size {
    fn described(self) -> Value {
        let Size { hosts, people, rules, past } = self;
        json!({ "hosts": hosts, "people": people, "rules": rules, "past_requests": past })
    }
}

/// A running CA of a company, with its past.
struct Company {
    site: Site,
    ca: RootFingerprint,
    bundle: Bundle,
    /// What the parsed bundle takes in this process.
    bundle_mib: f64,
    chain: Chain,
    runtime: tokio::runtime::Runtime,
    size: Size,
}

impl Company {
    fn new(size: Size) -> Company {
        let mut site = Site::initialised();
        site.add_to_ca_toml(world::LIMITS);
        size.write(&site);
        site.serve();
        site.apply();
        let ca: RootFingerprint = site.url.split_once('#').unwrap().1.parse().unwrap();
        let before = machine::memory_mib(std::process::id());
        let bundle = world::bundle(&site);
        let bundle_mib = machine::memory_mib(std::process::id()) - before;
        // With a thread of its own: the connection answers pings while something else is measured.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let chain = approved(ca, size);
        let company = Company { site, ca, bundle, bundle_mib, chain, runtime, size };
        company.live_through(size.past);
        company
    }

    /// Past requests: [`OWN`] of the person measured, the others of everybody else, all certified.
    fn live_through(&self, past: usize) {
        let mut made = 0;
        while made < past {
            let count = BATCH.min(past - made);
            let person = |n: usize| if n < OWN { 0 } else { 1 + n % (self.size.people - 1) };
            let requests = (made..made + count).map(|n| self.auto(person(n), n)).collect();
            self.load(requests);
            made += count;
        }
    }

    /// A request of a person for the host on which their team's rule approves by itself.
    fn auto(&self, person: usize, number: usize) -> v1::SubmitRequest {
        let teams = self.size.lead();
        let host = format!("host-{}", person % teams);
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let mut nonce = nanos.as_nanos().to_be_bytes();
        nonce[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let request = world::request(self.ca, person, &host, nonce);
        let request = world::signed(&world::key(person), &request);
        v1::SubmitRequest { request: Some(request), certify: true }
    }

    fn load(&self, requests: Vec<v1::SubmitRequest>) -> Value {
        let path: PathBuf = self.site.path().join("statements");
        load::write(&path, &requests);
        let own = std::env::current_exe().unwrap();
        let said: Said = Program::new(&own.to_string_lossy())
            .args(["load", &self.site.url])
            .args([&self.site.state().join("root.json"), &path])
            .args(["64"])
            .run()
            .fine();
        said.json().pop().unwrap()
    }

    /// One `authorize` of a request that a lead approved.
    fn authorize(&self) -> f64 {
        let now = self.chain.request().body().at;
        let began = Instant::now();
        for _ in 0..AUTHORIZE {
            let _ = black_box(authorize(black_box(&self.chain), &self.bundle, now)).unwrap();
        }
        began.elapsed().as_secs_f64() * 1e6 / AUTHORIZE as f64
    }

    /// The person measured, with a session.
    fn connect(&self) -> Client {
        self.runtime.block_on(session(&self.site, self.ca))
    }

    /// One `List` of the person measured.
    fn list(&self, client: &Client, scope: v1::Scope) -> f64 {
        let message = v1::ListRequest { scope: scope.into(), ..v1::ListRequest::default() };
        let began = Instant::now();
        for _ in 0..LISTS {
            let answer = self.runtime.block_on(client.list(message.clone())).unwrap();
            let expected = if scope == v1::Scope::ToDecide { 0 } else { OWN };
            assert_eq!(answer.accesses.len(), expected);
        }
        began.elapsed().as_secs_f64() * 1e6 / LISTS as f64
    }

    /// One issuance, 64 in flight, by persons other than the one measured.
    fn issue(&self) -> f64 {
        let count = 2_000;
        let requests = (0..count).map(|n| self.auto(1 + n % (self.size.people - 1), n)).collect();
        1e6 / self.load(requests)["per_second"].as_f64().unwrap()
    }

    fn memory(&self) -> Value {
        json!({
            "bundle_mib": (self.bundle_mib * 10.0).round() / 10.0,
            "front_mib": machine::memory_mib(self.site.front.as_ref().unwrap().pid()),
            "signer_mib": machine::memory_mib(self.site.signer_pid().unwrap()),
        })
    }
}

/// A request of the person measured that their lead has approved.
fn approved(ca: RootFingerprint, size: Size) -> Chain {
    let request = world::request(ca, 0, &size.prod_host(), [1; 16]);
    let (bytes, signature) = world::sign(&world::key(0), &request);
    let request: Verified<Request> = open(&bytes, &signature, &ca).unwrap();
    let body = request.body();
    let decision = Decision::approve(
        ca,
        format!("p{}", size.lead()).parse().unwrap(),
        request.digest(),
        body.r#for,
        body.hosts.clone(),
        body.logins.clone(),
        None,
        body.at,
    );
    let mut chain = Chain::new(request);
    let (bytes, signature) = world::sign(&world::key(size.lead()), &decision);
    chain.add_decision(open(&bytes, &signature, &ca).unwrap()).unwrap();
    chain
}

/// A client with a session of the person measured.
async fn session(site: &Site, ca: RootFingerprint) -> Client {
    let url: CaUrl = site.url.parse().unwrap();
    let root = Root::parse(&std::fs::read(site.state().join("root.json")).unwrap()).unwrap();
    let client = Client::connect(&url, &root).await.unwrap();
    let session = Session::new(
        ca,
        "p0".parse().unwrap(),
        Seconds::new(3_600).unwrap(),
        world::now(),
        Nonce([3; 16]),
    );
    let session = world::signed(&world::key(0), &session);
    let opened =
        client.open_session(v1::OpenSessionRequest { session: Some(session) }).await.unwrap();
    client.with_token(&opened.token).unwrap()
}
