//! Names for the shell's completion: hosts, logins, requests and CAs. From what is kept here; the CAs are
//! asked only within the time in which nobody notices. Never signs, never asks, never talks.

use std::collections::BTreeMap;
use std::time::Duration;

use jit_ssh_api::v1;
use jit_ssh_manual::{Asked, Candidate};
use serde::{Deserialize, Serialize};

use crate::ca::Ca;
use crate::clock;
use crate::enrolment::Enrolment;
use crate::grants;
use crate::home::{self, Home};
use crate::text::short;
use crate::trust::{self, Trust};
use crate::view::View;

/// How long the CAs may take: a shell that waits 300 ms for an answer seems to hang.
const PATIENCE: Duration = Duration::from_millis(200);
/// Most requests that are named.
const MOST: u32 = 50;
/// Where the requests last heard of are kept, with the session's other files.
const REQUESTS: &str = "completion.json";

/// The requests last heard of: by id, what each is about.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Heard {
    /// Those that wait for a decision of the person's.
    to_decide: BTreeMap<String, String>,
    /// Those of the person.
    mine: BTreeMap<String, String>,
}

/// What could stand where a shell asks.
pub(crate) fn names(asked: &Asked) -> Vec<Candidate> {
    let Ok(homes) = Home::find().and_then(|home| home.all()) else { return Vec::new() };
    let homes: Vec<Home> = homes.into_iter().map(|(_, home)| home).collect();
    match (asked.name.as_str(), asked.option.as_str()) {
        ("NAME", "ca") => homes.iter().map(|home| Candidate::new(home.ca().as_str(), "")).collect(),
        ("HOST", _) => hosts(&homes),
        ("LOGIN", _) => logins(&homes, &asked.before),
        ("ID", "") => requests(&homes, &asked.command),
        _ => Vec::new(),
    }
}

fn hosts(homes: &[Home]) -> Vec<Candidate> {
    let unknown: Vec<&Home> =
        homes.iter().filter(|home| trust::last_hosts(home).is_none()).collect();
    within_patience(async {
        for home in unknown {
            if let Ok(Some(enrolment)) = Enrolment::find(home)
                && let Ok(ca) = Ca::connect(home, &enrolment).await
                && let Ok(mut trust) = Trust::load(home, &enrolment.root, ca.client()).await
            {
                // What comes is kept, which is where it is read from.
                let _ = trust.newest_hosts(ca.client()).await;
            }
        }
    });
    let known = homes.iter().filter_map(trust::last_hosts);
    let named: BTreeMap<String, String> = known
        .flat_map(|hosts| {
            let about = |host: &jit_ssh_core::bundle::Host| {
                let labels = host.labels.iter().map(|(key, value)| format!("{key}={value}"));
                labels.collect::<Vec<_>>().join(" ")
            };
            hosts.iter().map(|host| (host.name.to_string(), about(host))).collect::<Vec<_>>()
        })
        .collect();
    candidates(named)
}

/// The accounts of the hosts that stand before it; of all hosts where none does.
fn logins(homes: &[Home], before: &[String]) -> Vec<Candidate> {
    let mut named = BTreeMap::new();
    for hosts in homes.iter().filter_map(trust::last_hosts) {
        let meant = hosts.iter().filter(|host| {
            before.is_empty() || before.iter().any(|name| name == host.name.as_str())
        });
        named.extend(meant.flat_map(|host| {
            host.logins.iter().map(|login| (login.to_string(), String::new())).collect::<Vec<_>>()
        }));
    }
    candidates(named)
}

fn requests(homes: &[Home], command: &str) -> Vec<Candidate> {
    within_patience(async {
        for home in homes {
            hear(home).await;
        }
    });
    let mut named = BTreeMap::new();
    for home in homes {
        let heard = home::read(&home.runtime(REQUESTS)).ok().flatten();
        let heard: Heard =
            heard.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        if !matches!(command, "approve" | "deny") {
            named.extend(heard.mine);
            named.extend(kept(home));
        }
        if !matches!(command, "cancel" | "release") {
            named.extend(heard.to_decide);
        }
    }
    candidates(named)
}

/// Asks a CA for the requests that are open, and keeps the answer.
async fn hear(home: &Home) {
    let Ok(Some(enrolment)) = Enrolment::find(home) else { return };
    let Ok(mut ca) = Ca::connect(home, &enrolment).await else { return };
    let Some(reader) = ca.kept_reader() else { return };
    let ask = async |scope: v1::Scope| {
        let (limit, scope) = (MOST, scope.into());
        let wanted =
            v1::ListRequest { scope, limit, open_only: true, ..v1::ListRequest::default() };
        let said = reader.list(wanted).await.ok()?.accesses;
        let views = said.into_iter().filter_map(|said| View::open(said, &enrolment.ca()).ok());
        Some(views.map(|view| (view.id().to_string(), about(&view))).collect())
    };
    let (Some(mine), Some(to_decide)) =
        (ask(v1::Scope::Mine).await, ask(v1::Scope::ToDecide).await)
    else {
        return;
    };
    if let Ok(bytes) = serde_json::to_vec(&Heard { to_decide, mine }) {
        let _ = home::write(&home.runtime(REQUESTS), &bytes);
    }
}

/// The requests that this machine keeps keys or notes of.
fn kept(home: &Home) -> BTreeMap<String, String> {
    let Ok(Some(enrolment)) = Enrolment::find(home) else { return BTreeMap::new() };
    let (ca, now) = (enrolment.ca(), clock::now());
    let grants = grants::list(home, &ca, now).unwrap_or_default();
    let live = grants::live(home, &ca, now).unwrap_or_default();
    let requests =
        grants.iter().map(|grant| &grant.request).chain(live.iter().map(|live| &live.request));
    requests.map(|request| (request.id().to_string(), short(&request.body().reason, 40))).collect()
}

fn about(view: &View) -> String {
    let asked = view.asked();
    short(&format!("{}, {}: {}", asked.by, view.principals().join(" "), asked.reason), 60)
}

fn candidates(named: BTreeMap<String, String>) -> Vec<Candidate> {
    named.into_iter().map(|(value, about)| Candidate::new(value, about)).collect()
}

fn within_patience(work: impl Future<Output = ()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        let _ = tokio::time::timeout(PATIENCE, work).await;
    });
    // Looking up a name may take longer than anybody waits.
    runtime.shutdown_background();
}
