//! Issuances per second of the whole chain over TLS, beside a bare echo in the same run.
//!
//! Chain: a signed request is submitted, a rule approves it, the signer verifies, logs durably,
//! signs, verifies itself, and one call answers with the certificate and its proof. Floor: see
//! `echo.rs`. Statements are signed before the clock starts. Both are measured by turns, so that a
//! noisy minute hits both.

use std::path::{Path, PathBuf};

use jit_ssh_api::v1;
use jit_ssh_core::statement::{Nonce, Request};
use jit_ssh_core::time::{Seconds, UnixTime};
use jit_ssh_tests::program::{Program, Running, Said, wait_until};
use jit_ssh_tests::{POLICY, Persona, Site};
use prost::Message as _;
use serde_json::{Value, json};
use ssh_key::PrivateKey;

use crate::{echo, load, machine, world};

/// How many are under way, and how many statements are sent then.
const LEVELS: [(usize, usize); 5] =
    [(1, 1_500), (8, 8_000), (32, 16_000), (64, 24_000), (128, 24_000)];

/// How often 128 in flight are measured; the median counts.
const ROUNDS: usize = 3;

/// A site whose limits let the load through, and a person under an automatic rule.
pub(crate) fn site() -> (Site, Persona) {
    let mut site = Site::initialised();
    site.add_to_ca_toml(world::LIMITS);
    let (alice, bob) = (Persona::new(site.path(), "alice"), Persona::new(site.path(), "bob"));
    site.write_people(&[(&alice, &["sre"]), (&bob, &["leads"])]);
    site.write_hosts();
    site.write_policy(POLICY);
    site.serve();
    site.apply();
    alice.enroll(&site.url);
    (site, alice)
}

/// What is loaded: where it is, and the processes whose processor time counts.
struct Target {
    url: String,
    root: PathBuf,
    processes: Vec<(&'static str, u32)>,
}

impl Target {
    fn chain(site: &Site) -> Target {
        let front = site.front.as_ref().unwrap().pid();
        Target {
            url: site.url.clone(),
            root: site.state().join("root.json"),
            processes: vec![("front", front), ("signer", site.signer_pid().unwrap())],
        }
    }
}

/// Runs the benchmark.
pub(crate) fn bench() -> Value {
    let (site, alice) = site();
    let bench = Bench::new(&site, &alice);
    let targets = [Target::chain(&site), bench.floor()];
    let (mut chain, mut floor) = (Vec::new(), Vec::new());
    for (in_flight, count) in LEVELS {
        let rounds = if in_flight == 128 { ROUNDS } else { 1 };
        let mut measured: [Vec<Value>; 2] = Default::default();
        for _ in 0..rounds {
            let statements = bench.sign(count);
            for (target, measured) in targets.iter().zip(&mut measured) {
                measured.push(bench.load(target, &statements, count, in_flight));
            }
        }
        let [of_chain, of_floor] = measured.map(median);
        chain.push(of_chain);
        floor.push(of_floor);
    }
    let last = |all: &[Value]| all.last().and_then(|v| v["per_second"].as_f64()).unwrap();
    let ratio = (last(&chain) / last(&floor) * 100.0).round() / 100.0;
    json!({
        "bench": "issue",
        "machine": machine::describe(),
        "chain": chain,
        "floor": floor,
        "ratio": ratio,
        "bar": 0.6,
    })
}

/// Loads a running site with the most calls in flight, once.
pub(crate) fn bench_on(site: &Site, alice: &Persona) -> Value {
    let bench = Bench::new(site, alice);
    let (in_flight, count) = LEVELS[LEVELS.len() - 1];
    bench.load(&Target::chain(site), &bench.sign(count), count, in_flight)
}

/// The measurement in the middle.
fn median(mut all: Vec<Value>) -> Value {
    all.sort_by(|a, b| {
        a["per_second"].as_f64().unwrap().total_cmp(&b["per_second"].as_f64().unwrap())
    });
    all.swap_remove(all.len() / 2)
}

struct Bench {
    dir: PathBuf,
    key: PrivateKey,
    ca: jit_ssh_core::digest::RootFingerprint,
    subject: jit_ssh_core::key::SubjectKey,
    login: String,
    echo_url: String,
    echo: Option<Running>,
}

impl Bench {
    fn new(site: &Site, alice: &Persona) -> Bench {
        let dir = site.path().join("bench");
        std::fs::create_dir(&dir).unwrap();
        let key = PrivateKey::read_openssh_file(alice.key_file()).unwrap();
        let words: Vec<String> = alice.public_key().split(' ').take(2).map(str::to_owned).collect();
        let pin = site.url.split_once('#').unwrap().1;
        let login = Program::new("id").args(["-un"]).run().fine().out.trim().to_owned();
        let subject = words.join(" ").parse().unwrap();
        let mut bench = Bench {
            key,
            ca: pin.parse().unwrap(),
            subject,
            login,
            echo_url: String::new(),
            echo: None,
            dir,
        };
        // The echo's answer is as large as a real one.
        let answer = bench.one(site);
        std::fs::write(bench.dir.join(echo::ANSWER), answer.encode_to_vec()).unwrap();
        let own = std::env::current_exe().unwrap();
        let server = Program::new(&own.to_string_lossy()).args(["echo-server"]).args([&bench.dir]);
        bench.echo = Some(server.start());
        let url = bench.dir.join("url");
        wait_until("the echo", || url.exists());
        bench.echo_url = std::fs::read_to_string(url).unwrap();
        let port: u16 =
            bench.echo_url.rsplit(':').nth(1).unwrap().split('#').next().unwrap().parse().unwrap();
        wait_until("the echo", || jit_ssh_tests::program::listens(port));
        bench
    }

    /// One real answer.
    fn one(&self, site: &Site) -> v1::SubmitResponse {
        let url: jit_ssh_api::CaUrl = site.url.parse().unwrap();
        let root = std::fs::read(site.state().join("root.json")).unwrap();
        let root = jit_ssh_core::root::Root::parse(&root).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = jit_ssh_api::Client::connect(&url, &root).await.unwrap();
            client.submit(self.request(0)).await.unwrap()
        })
    }

    /// Signs statements, and writes them to a file.
    fn sign(&self, count: usize) -> PathBuf {
        let path = self.dir.join("statements");
        let requests: Vec<v1::SubmitRequest> = (0..count).map(|n| self.request(n)).collect();
        load::write(&path, &requests);
        path
    }

    fn request(&self, number: usize) -> v1::SubmitRequest {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let mut nonce = now.as_nanos().to_be_bytes();
        nonce[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let request = Request::new(
            self.ca,
            "alice".parse().unwrap(),
            self.subject.clone(),
            vec!["test-host".parse().unwrap()],
            vec![self.login.parse().unwrap()],
            Seconds::new(60).unwrap(),
            "measuring".to_owned(),
            UnixTime(now.as_secs()),
            Nonce(nonce),
        );
        v1::SubmitRequest { request: Some(world::signed(&self.key, &request)), certify: true }
    }

    fn floor(&self) -> Target {
        Target {
            url: self.echo_url.clone(),
            root: self.dir.join("root.json"),
            processes: vec![("echo", self.echo.as_ref().unwrap().pid())],
        }
    }

    /// Lets the load client send the statements, in a process of its own. The processor time per
    /// call stands beside the rate: it says where the time goes, and is hardly disturbed by others.
    fn load(&self, target: &Target, statements: &Path, count: usize, in_flight: usize) -> Value {
        let used = || target.processes.iter().map(|(_, pid)| machine::cpu_micros(*pid));
        let before: Vec<f64> = used().collect();
        let own = std::env::current_exe().unwrap();
        let said: Said = Program::new(&own.to_string_lossy())
            .args(["load", &target.url])
            .args([&target.root, statements])
            .args([in_flight.to_string()])
            .run()
            .fine();
        let mut measured = said.json().pop().unwrap();
        for ((name, _), (after, before)) in target.processes.iter().zip(used().zip(before)) {
            let per_call = (after - before) / count as f64;
            measured["cpu_us_per_call"][*name] = json!(per_call.round());
        }
        measured
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(echo) = self.echo.take() {
            echo.kill();
        }
    }
}
