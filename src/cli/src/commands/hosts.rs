//! `jit-ssh hosts`: which hosts there are to ask for, and what ssh is to know of them.

use std::collections::BTreeSet;

use clap::Args;
use jit_ssh_api::v1;
use jit_ssh_core::names::HostName;
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::known_hosts;
use crate::text::{relative, short, table};
use crate::trust::Trust;

/// List the hosts you could ask for.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  jit-ssh hosts\n  jit-ssh hosts --json\n  \
    jit-ssh hosts --known-hosts > jit-ssh-known-hosts\n\n\
    `jit-ssh login` keeps the known_hosts lines in a file of yours, and says where.")]
pub(crate) struct HostsArgs {
    /// As a known_hosts file: the lines by which ssh trusts their certificates.
    #[arg(long)]
    known_hosts: bool,
}

/// What `--known-hosts --json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    known_hosts: &'a str,
}

/// A host in `--json`.
#[derive(Debug, Serialize)]
struct HostRow<'a> {
    name: &'a str,
    address: Option<&'a str>,
    logins: &'a [String],
    labels: &'a [String],
    /// When a host that joined is gone; null for one that stays.
    until: Option<u64>,
    enroller: Option<&'a str>,
}

impl HostRow<'_> {
    fn of(host: &v1::Host) -> HostRow<'_> {
        let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
        HostRow {
            name: &host.name,
            address: some(&host.address),
            logins: &host.logins,
            labels: &host.labels,
            until: Some(host.until).filter(|until| *until > 0),
            enroller: some(&host.enroller),
        }
    }
}

/// Most hosts of one answer.
const PAGE: u32 = 1000;

pub(super) async fn cmd_hosts(context: &Context, args: HostsArgs) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let enrolment = Enrolment::load(home)?;
    let mut ca = Ca::connect(home, &enrolment).await?;
    let hosts = all_hosts(&mut ca).await?;
    if args.known_hosts {
        let joined = hosts.iter().filter(|host| host.until > 0);
        let joined: BTreeSet<HostName> = joined.filter_map(|host| host.name.parse().ok()).collect();
        let mut trust = Trust::load(home, &enrolment.root, ca.client()).await?;
        // Asked for by itself, it is of the bundle of now.
        trust.refresh(ca.client()).await?;
        let text = known_hosts::lines(ui, &mut trust, ca.client(), &joined).await?;
        ui.object(&Printed { known_hosts: &text })?;
        ui.data(&text)?;
        return Ok(Outcome::Done);
    }
    for host in &hosts {
        ui.object(&HostRow::of(host))?;
    }
    if hosts.is_empty() {
        ui.say("There is no host that you could ask for.");
        return Ok(Outcome::Done);
    }
    ui.data(&as_table(&hosts, clock::now()))?;
    Ok(Outcome::Done)
}

/// All hosts that who is enrolled here could ask for.
pub(super) async fn all_hosts(ca: &mut Ca<'_>) -> Result<Vec<v1::Host>, Failure> {
    pages(async |after: String| {
        let page = v1::ListHostsRequest { after, limit: PAGE };
        ca.read(async |client| client.list_hosts(page.clone()).await).await
    })
    .await
}

/// All hosts, page after page. A CA that does not move on is not asked again.
async fn pages(
    mut fetch: impl AsyncFnMut(String) -> Result<v1::ListHostsResponse, Failure>,
) -> Result<Vec<v1::Host>, Failure> {
    let mut hosts: Vec<v1::Host> = Vec::new();
    loop {
        let last = hosts.last().map(|host| host.name.clone()).unwrap_or_default();
        let page = fetch(last.clone()).await?;
        let more = page.more;
        hosts.extend(page.hosts.into_iter().filter(|host| host.name > last));
        if !more || hosts.last().is_none_or(|host| host.name == last) {
            return Ok(hosts);
        }
    }
}

/// Hosts as a table; what others wrote is made harmless.
fn as_table(hosts: &[v1::Host], now: UnixTime) -> String {
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let rows: Vec<[String; 6]> = hosts
        .iter()
        .map(|host| {
            let ends = match host.until {
                0 => String::new(),
                until => relative(UnixTime(until), now),
            };
            [
                short(&host.name, 64),
                or_dash(short(&host.address, 64)),
                or_dash(short(&host.logins.join(" "), 48)),
                or_dash(short(&host.labels.join(" "), 64)),
                or_dash(ends),
                or_dash(short(&host.enroller, 32)),
            ]
        })
        .collect();
    table(["NAME", "ADDRESS", "LOGINS", "LABELS", "ENDS", "ENROLLER"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_790_000_000);

    fn host(name: &str) -> v1::Host {
        v1::Host { name: name.to_owned(), logins: vec!["deploy".to_owned()], ..v1::Host::default() }
    }

    #[test]
    fn a_host_is_a_row_and_what_others_wrote_is_harmless() {
        let joined = v1::Host {
            labels: vec!["env=ci".to_owned(), "role=\u{1b}[31mweb\n".to_owned()],
            until: NOW.0 + 250,
            enroller: "pipeline".to_owned(),
            ..host("ci-1")
        };
        let listed = v1::Host { address: "10.0.0.5:22".to_owned(), ..host("prod-host") };
        let text = as_table(&[joined.clone(), listed.clone()], NOW);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(!text.contains('\u{1b}') && lines[1].contains("\\u{1b}[31mweb\\u{a}"), "{text}");
        assert!(lines[1].contains("in 4m10s") && lines[1].ends_with("pipeline"), "{text}");
        assert!(lines[2].starts_with("prod-host  10.0.0.5:22  deploy"), "{text}");

        let json = |host: &v1::Host| serde_json::to_string(&HostRow::of(host)).unwrap();
        let expected = r#"{"name":"prod-host","address":"10.0.0.5:22","logins":["deploy"],"labels":[],"until":null,"enroller":null}"#;
        assert_eq!(json(&listed), expected);
        assert!(json(&joined).contains(r#""until":1790000250,"enroller":"pipeline""#));
        assert!(!json(&joined).contains('\n'));
    }

    #[tokio::test]
    async fn all_pages_are_asked_for_once_and_a_ca_that_does_not_move_on_is_asked_no_more() {
        let all: Vec<String> = (0..25).map(|n| format!("h{n:02}")).collect();
        let mut asked = 0;
        let honest = async |after: String| {
            asked += 1;
            let names = all.iter().filter(|name| **name > after);
            let hosts: Vec<v1::Host> = names.take(10).map(|name| host(name)).collect();
            let more = hosts.last().is_some_and(|last| last.name != "h24");
            Ok(v1::ListHostsResponse { hosts, more })
        };
        let names: Vec<String> =
            pages(honest).await.unwrap().into_iter().map(|host| host.name).collect();
        assert_eq!((names, asked), (all, 3));

        let mut asked = 0;
        let stuck = async |_| {
            asked += 1;
            Ok(v1::ListHostsResponse { hosts: vec![host("a")], more: true })
        };
        assert_eq!(pages(stuck).await.unwrap().len(), 1);
        assert_eq!(asked, 2);
    }
}
