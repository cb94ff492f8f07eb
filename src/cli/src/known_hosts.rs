//! The known_hosts file by which ssh trusts the host certificates of this CA: kept in the state folder,
//! made anew when the bundle changes or somebody gets access to a host that joined. It names the bundle's
//! hosts and such joined ones, and no others.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jit_ssh_api::{Client, join, v1};
use jit_ssh_core::bundle::Hosts;
use jit_ssh_core::enrolment::Vouched;
use jit_ssh_core::known_hosts;
use jit_ssh_core::names::HostName;
use jit_ssh_core::plain::harmless;

use crate::clock;
use crate::failure::Failure;
use crate::home::{self, Home};
use crate::trust::Trust;
use crate::ui::Ui;

const FILE: &str = "known_hosts";

/// Most names of one question about hosts that joined.
const MOST_NAMES: usize = 100;

/// Where the file is.
pub(crate) fn path(home: &Home) -> PathBuf {
    home.state(FILE)
}

/// The hosts that joined and are there still, by the file as it is kept: the statements of these held when
/// it was written.
pub(crate) fn joined_now(home: &Home) -> Result<BTreeSet<HostName>, Failure> {
    let Some(bytes) = home::read(&path(home))? else { return Ok(BTreeSet::new()) };
    let (text, now) = (std::str::from_utf8(&bytes).unwrap_or(""), clock::now());
    let there = known_hosts::joined(text).into_iter().filter(|(_, until)| *until > now);
    Ok(there.map(|(name, _)| name).collect())
}

/// The file for the bundle in force: a line that says of which, one for each host and signer, and the
/// same for those of `joined` that are there.
pub(crate) async fn lines(
    ui: &Ui,
    trust: &mut Trust<'_>,
    client: &Client,
    joined: &BTreeSet<HostName>,
) -> Result<String, Failure> {
    let hosts = trust.hosts(client).await?;
    let text = format!("{}\n{}", heading(trust), known_hosts::of_bundle(trust.signers(), &hosts));
    Ok(text + &of_joined(ui, trust, client, &hosts, joined).await?)
}

/// What ssh must know of one host, and of no other. Empty where the admins signed nothing by which it is known.
pub(crate) async fn of_host(
    ui: &Ui,
    trust: &mut Trust<'_>,
    client: &Client,
    host: &HostName,
) -> Result<String, Failure> {
    let hosts = trust.hosts(client).await?;
    match hosts.get(host) {
        Some(listed) => Ok(known_hosts::of_host(trust.signers(), listed)),
        None => of_joined(ui, trust, client, &hosts, &BTreeSet::from([host.clone()])).await,
    }
}

/// The lines for those of `joined` that are there, and that `hosts` does not list.
async fn of_joined(
    ui: &Ui,
    trust: &Trust<'_>,
    client: &Client,
    hosts: &Hosts,
    joined: &BTreeSet<HostName>,
) -> Result<String, Failure> {
    let mut text = String::new();
    let names: Vec<&HostName> = joined.iter().filter(|name| hosts.get(name).is_none()).collect();
    for names in names.chunks(MOST_NAMES) {
        let names = names.iter().map(ToString::to_string).collect();
        let answer = client.get_enrolments(v1::GetEnrolmentsRequest { names }).await?;
        for sent in &answer.enrolments {
            match judged(sent, trust, hosts, joined) {
                Ok(vouched) => text += &known_hosts::of_joined(trust.signers(), &vouched),
                Err(why) => ui.say(&format!(
                    "warning: what the CA sent of a host that joined is not trusted: {}",
                    harmless(&why)
                )),
            }
        }
    }
    Ok(text)
}

/// What vouches for a host that joined, if it holds under the bundle and was asked for.
fn judged(
    sent: &v1::HostEnrolment,
    trust: &Trust<'_>,
    hosts: &Hosts,
    wanted: &BTreeSet<HostName>,
) -> Result<Vouched, String> {
    let vouched = join::vouched(sent, &trust.ca()).map_err(|e| format!("{e}."))?;
    vouched.judge(hosts, clock::now()).map_err(|no| no.message)?;
    let name = &vouched.host().body().name;
    match wanted.contains(name) {
        true => Ok(vouched),
        false => Err(format!("nobody asked about {name}.")),
    }
}

/// Brings the file up to date for who has access to `hosts`. Says whether it names a host for the first time.
pub(crate) async fn keep(
    ui: &Ui,
    home: &Home,
    trust: &mut Trust<'_>,
    client: &Client,
    hosts: &[HostName],
) -> Result<bool, Failure> {
    let path = path(home);
    let before = home::read(&path)?;
    let before = before.as_deref().map_or("", |bytes| std::str::from_utf8(bytes).unwrap_or(""));
    let now = clock::now();
    let known = known_hosts::joined(before);
    let is_of_now = before.lines().next() == Some(heading(trust).as_str())
        && known.values().all(|until| *until > now);
    if is_of_now {
        let listed = trust.hosts(client).await?;
        let is_told = |name: &&HostName| listed.get(name).is_some() || known.contains_key(*name);
        if hosts.iter().all(|name| is_told(&name)) {
            return Ok(false);
        }
    }
    let there = known.into_iter().filter(|(_, until)| *until > now).map(|(name, _)| name);
    let joined = there.chain(hosts.iter().cloned()).collect();
    let after = lines(ui, trust, client, &joined).await?;
    home::write(&path, after.as_bytes())?;
    Ok(names_hosts(&after) && !names_hosts(before))
}

fn heading(trust: &Trust<'_>) -> String {
    format!("# Written by jit-ssh, of the bundle {}.", trust.digest())
}

fn names_hosts(text: &str) -> bool {
    text.lines().any(|line| line.starts_with('@'))
}
