//! Many acting bastions on one CA: what an open `Access.Watch` costs the front, and how late it tells.
//!
//! Each bastion is a machine with a connection of its own and a watch for each request it made, as `jit-ssh bastion`
//! has. All requests are approved at a steady pace, and then revoked in one burst. How late a watch tells is the time
//! from the answer of the change to the event at the watch; 0 where the event came first. Bastions and approver are in
//! this one process, on the same machine as the CA, so their work is in the times.

use std::time::{Duration, Instant};

use jit_ssh_api::{CaUrl, Client, Watch, v1};
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{Body, Cause, Decision, End, Nonce, Request, Session, encode};
use jit_ssh_core::time::Seconds;
use jit_ssh_tests::Site;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{machine, world};

const BASTIONS: usize = 200;
const WATCHES_EACH: usize = 10;
const WATCHES: usize = BASTIONS * WATCHES_EACH;

/// Changes a second at the steady pace.
const PACE: u32 = 100;
/// Changes under way at a time in the burst.
const IN_FLIGHT: usize = 100;
/// How long the front is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(1);

/// What we promise of a watch.
const MOST_KIB: f64 = 20.0;
const LATEST_MS: f64 = 1000.0;

/// Whose key is whose: `world::key` of these numbers.
const PERSON: usize = 0;
const LEAD: usize = 1;
const FIRST_BASTION: usize = 100;

/// Runs the benchmark.
pub(crate) fn bench() -> Value {
    let world = World::new();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(world.measure())
}

/// A running CA that knows the bastions.
struct World {
    site: Site,
    ca: RootFingerprint,
    url: CaUrl,
    root: Root,
}

/// A request under way, and its watch.
struct Watched {
    request: Request,
    digest: Digest,
    watch: Watch,
}

impl World {
    fn new() -> World {
        let mut site = Site::initialised();
        site.add_to_ca_toml(world::LIMITS);
        write(&site);
        site.serve();
        site.apply();
        let url: CaUrl = site.url.parse().unwrap();
        let root = Root::parse(&std::fs::read(site.state().join("root.json")).unwrap()).unwrap();
        World { ca: url.pin(), url, root, site }
    }

    async fn measure(&self) -> Value {
        let submitter = self.connect().await;
        let mut requests = Vec::new();
        for number in 0..WATCHES {
            requests.push(self.submit(&submitter, number).await);
        }
        let idle = self.front_kib().await;

        let mut bastions = Vec::new();
        for bastion in 0..BASTIONS {
            bastions.push(self.session(FIRST_BASTION + bastion, &name(bastion)).await);
        }
        let connected = self.front_kib().await;

        // In two halves: what the front freed before is used up in the first.
        let mut watched: Vec<Watched> = Vec::new();
        let mut front_kib = vec![connected];
        for half in 0..2 {
            let from = half * WATCHES / 2;
            for number in from..from + WATCHES / 2 {
                let request = requests[number].clone();
                watched.push(open(&bastions[number / WATCHES_EACH], request).await);
            }
            front_kib.push(self.front_kib().await);
        }
        let [before, half, after] = front_kib[..] else { unreachable!() };
        let each = |kib: f64, count: usize| (kib / count as f64 * 10.0).round() / 10.0;
        let memory = json!({
            "front_idle_kib": idle,
            "per_connection_kib": each(connected - idle, BASTIONS),
            "per_watch_kib": each(after - before, WATCHES),
            "per_watch_of_the_second_half_kib": each(after - half, WATCHES / 2),
            "bar_kib": MOST_KIB,
        });

        let lead = self.session(LEAD, "lead").await;
        let (watched, steady) = self.change(watched, &lead, Pace::Steady).await;
        let (_watched, burst) = self.change(watched, &lead, Pace::Burst).await;
        json!({
            "bench": "watches",
            "machine": machine::describe(),
            "connections": BASTIONS,
            "watches": WATCHES,
            "memory": memory,
            "steady": steady,
            "burst": burst,
            "bar_ms": LATEST_MS,
        })
    }

    /// Changes every request, and gives how late each watch told.
    async fn change(
        &self,
        watched: Vec<Watched>,
        lead: &Client,
        pace: Pace,
    ) -> (Vec<Watched>, Value) {
        let changes: Vec<_> = watched.iter().map(|watched| self.sign(watched, pace)).collect();
        let mut events = JoinSet::new();
        for (number, watched) in watched.into_iter().enumerate() {
            events.spawn(async move { (number, until(watched, pace.to()).await) });
        }
        let began = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / PACE);
        let (mut sent, mut answered) = (JoinSet::new(), vec![None; WATCHES]);
        for (number, change) in changes.into_iter().enumerate() {
            match pace {
                Pace::Steady => drop(ticks.tick().await),
                Pace::Burst if sent.len() >= IN_FLIGHT => {
                    let (number, moment) = sent.join_next().await.unwrap().unwrap();
                    answered[number] = Some(moment);
                }
                Pace::Burst => {}
            }
            let lead = lead.clone();
            sent.spawn(async move {
                change.send(&lead).await;
                (number, Instant::now())
            });
        }
        while let Some(done) = sent.join_next().await {
            let (number, moment) = done.unwrap();
            answered[number] = Some(moment);
        }
        let seconds = began.elapsed().as_secs_f64();
        let (mut millis, mut watched) = (Vec::new(), Vec::new());
        while let Some(event) = events.join_next().await {
            let (number, (one, moment)) = event.unwrap();
            let late = moment.saturating_duration_since(answered[number].unwrap());
            millis.push(late.as_secs_f64() * 1000.0);
            watched.push(one);
        }
        millis.sort_by(f64::total_cmp);
        let figures = json!({
            "changes": millis.len(),
            "changes_per_second": (millis.len() as f64 / seconds).round(),
            "median_ms": machine::percentile(&millis, 0.5),
            "p99_ms": machine::percentile(&millis, 0.99),
            "max_ms": machine::percentile(&millis, 1.0),
        });
        (watched, figures)
    }

    fn sign(&self, watched: &Watched, pace: Pace) -> Change {
        let by = "lead".parse().unwrap();
        let (of, at) = (watched.digest, world::now());
        match pace {
            Pace::Steady => {
                let Request { r#for, hosts, logins, .. } = watched.request.clone();
                let approval = Decision::approve(self.ca, by, of, r#for, hosts, logins, None, at);
                Change::Approve(signed(LEAD, &approval))
            }
            Pace::Burst => {
                let why = Some("measuring".to_owned());
                Change::Revoke(signed(LEAD, &End::new(self.ca, by, of, Cause::Revoke, why, at)))
            }
        }
    }

    /// Hands in a request of a bastion for the person.
    async fn submit(&self, client: &Client, number: usize) -> Request {
        let bastion = number / WATCHES_EACH;
        let mut request = world::request(self.ca, PERSON, "inside", nonce(number));
        request.by = name(bastion).parse().unwrap();
        request.r#for = Seconds::new(1_800).unwrap();
        let message = v1::SubmitRequest {
            request: Some(signed(FIRST_BASTION + bastion, &request)),
            certify: false,
        };
        client.submit(message).await.unwrap();
        request
    }

    async fn connect(&self) -> Client {
        Client::connect(&self.url, &self.root).await.unwrap()
    }

    /// A connection of its own, with a session of who has this key.
    async fn session(&self, key: usize, id: &str) -> Client {
        let client = self.connect().await;
        let span = Seconds::new(3_600).unwrap();
        let id = id.parse().unwrap();
        let session = Session::new(self.ca, id, span, world::now(), Nonce(nonce(key)));
        let message = v1::OpenSessionRequest { session: Some(signed(key, &session)) };
        let token = client.open_session(message).await.unwrap().token;
        client.with_token(&token).unwrap()
    }

    /// Memory of the front at rest, in KiB.
    async fn front_kib(&self) -> f64 {
        tokio::time::sleep(SETTLE).await;
        machine::memory_mib(self.site.front.as_ref().unwrap().pid()) * 1024.0
    }
}

/// How the changes come, and which.
#[derive(Clone, Copy)]
enum Pace {
    /// Approvals, one after another.
    Steady,
    /// Revocations, all at once.
    Burst,
}

impl Pace {
    fn to(self) -> v1::Status {
        match self {
            Pace::Steady => v1::Status::Approved,
            Pace::Burst => v1::Status::Revoked,
        }
    }
}

/// A signed change.
enum Change {
    Approve(v1::SignedStatement),
    Revoke(v1::SignedStatement),
}

impl Change {
    async fn send(self, lead: &Client) {
        let (got, wanted) = match self {
            Change::Approve(decision) => {
                let message = v1::DecideRequest { decision: Some(decision) };
                (lead.decide(message).await.unwrap().status(), v1::Status::Approved)
            }
            Change::Revoke(end) => {
                let message = v1::EndRequest { end: Some(end) };
                (lead.end(message).await.unwrap().status(), v1::Status::Revoked)
            }
        };
        assert_eq!(got, wanted);
    }
}

/// Opens the watch of a request, and reads how it stands.
async fn open(bastion: &Client, request: Request) -> Watched {
    let digest = Digest::of(&encode(&request).unwrap());
    let what = Some(v1::watch_request::What::Id(digest.to_string()));
    let mut watch = bastion.watch(v1::WatchRequest { what }).await.unwrap();
    let first = watch.next().await.unwrap().unwrap();
    assert_eq!(first.status(), v1::Status::Pending);
    Watched { request, digest, watch }
}

/// When a watch told that its request stands so.
async fn until(mut watched: Watched, status: v1::Status) -> (Watched, Instant) {
    loop {
        let state = watched.watch.next().await.unwrap().unwrap();
        let moment = Instant::now();
        if state.status() == status {
            return (watched, moment);
        }
    }
}

fn signed<T: Body>(key: usize, body: &T) -> v1::SignedStatement {
    world::signed(&world::key(key), body)
}

fn nonce(number: usize) -> [u8; 16] {
    (number as u128).to_be_bytes()
}

fn name(bastion: usize) -> String {
    format!("bastion-{bastion}")
}

/// A person behind many bastions, and a lead who is asked for each access.
fn write(site: &Site) {
    let key = |number: usize| world::key(number).public_key().to_openssh().unwrap();
    let mut people = format!(
        "[[person]]\nid = \"p{PERSON}\"\nname = \"Person\"\nkeys = [\"{}\"]\ngroups = [\"ops\"]\n\
         [[person]]\nid = \"lead\"\nname = \"Lead\"\nkeys = [\"{}\"]\ngroups = [\"leads\"]\n",
        key(PERSON),
        key(LEAD)
    );
    for bastion in 0..BASTIONS {
        people += &format!(
            "[[machine]]\nid = \"{}\"\nkeys = [\"{}\"]\ngroups = [\"bastions\"]\n",
            name(bastion),
            key(FIRST_BASTION + bastion)
        );
    }
    let hosts = "[[host]]\nname = \"inside\"\nlogins = [\"deploy\"]\n";
    let policy = r#"
[[allow]]
name = "inside"
who = ["group:bastions"]
on_behalf = ["group:ops"]
hosts = ["inside"]
logins = ["deploy"]
max_for = "1h"
cert_for = "5m"
approvals = [{ from = ["group:leads"], count = 1 }]
"#;
    for (name, text) in [("people", people.as_str()), ("hosts", hosts), ("policy", policy)] {
        std::fs::write(site.config().join(format!("{name}.toml")), text).unwrap();
    }
}
