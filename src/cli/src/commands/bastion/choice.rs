//! Which host and account: as named, or chosen from those that the bastion may ask for.

use jit_ssh_api::v1;
use jit_ssh_core::names::{HostName, Login};

use super::asked::BY_VARIABLE;
use crate::account;
use crate::ca::Ca;
use crate::commands::hosts::all_hosts;
use crate::commands::ssh::{Destination, destination};
use crate::failure::{Failure, Outcome};
use crate::ssh_config;
use crate::text::either;
use crate::trust::Trust;
use crate::ui::Ui;

/// Most hosts that are listed to choose from: a screen, or two.
const MOST_LISTED: usize = 40;
/// How often somebody may mistype.
const TRIES: usize = 3;

/// Where somebody is to be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// The host, by its own name.
    pub(super) host: HostName,
    /// The account.
    pub(super) login: Login,
}

/// Completes what was named, asking where somebody can be asked.
pub(super) async fn choose(
    ui: &Ui,
    ca: &mut Ca<'_>,
    trust: &mut Trust<'_>,
    named: Option<Destination>,
) -> Result<Choice, Failure> {
    let to = match named {
        Some(named) => named,
        None => ask(ui, ca).await?,
    };
    let known = trust.hosts(ca.client()).await?;
    let host = ssh_config::find(&known, &to.host).map_or(to.host, |host| host.name.clone());
    let logins = account::logins(trust, ca, std::slice::from_ref(&host)).await;
    let logins = logins.map_err(|failure| match failure.outcome {
        // The names of others are no business of who does not know one; those of scp are no host's.
        Outcome::Refused => failure.hint(BY_VARIABLE),
        _ => failure,
    })?;
    let login = match to.login {
        // The CA says what may be asked for.
        Some(login) => login,
        None => one_of(ui, ca, &host, logins).await?,
    };
    Ok(Choice { host, login })
}

/// The only account, or the only one that the bastion may ask for, or as the person says.
async fn one_of(
    ui: &Ui,
    ca: &mut Ca<'_>,
    host: &HostName,
    mut logins: Vec<Login>,
) -> Result<Login, Failure> {
    if logins.len() > 1 {
        let hosts = all_hosts(ca).await?;
        let offered = hosts.iter().find(|listed| listed.name == host.as_str());
        let offered = offered.map_or(&[][..], |listed| &listed.logins);
        logins.retain(|login| offered.iter().any(|offered| offered == login.as_str()));
    }
    match logins.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::new(
            Outcome::Refused,
            "UNKNOWN_HOST",
            format!("this bastion may ask for no account on {host}."),
        )),
        _ => {
            let names = either(&logins.iter().map(Login::as_str).collect::<Vec<_>>());
            let otherwise = format!("say which account: LOGIN@{host}, with {names}");
            let answer = ui.ask(&format!("As which account, {names}?"), &otherwise).await?;
            let login: Login = answer.parse().map_err(|e| Failure::usage(format!("{e}.")))?;
            match logins.contains(&login) {
                true => Ok(login),
                false => Err(Failure::usage(format!("{otherwise}."))),
            }
        }
    }
}

/// Shows what there is, and asks.
async fn ask(ui: &Ui, ca: &mut Ca<'_>) -> Result<Destination, Failure> {
    let otherwise = "name the host: ssh BASTION HOST, or ssh -t BASTION to choose one";
    if !ui.can_ask() {
        return Err(Failure::usage(format!("{otherwise}.")).hint(BY_VARIABLE));
    }
    let mut hosts = all_hosts(ca).await?;
    hosts.retain(|host| host.name.parse::<HostName>().is_ok());
    if hosts.is_empty() {
        return Err(Failure::new(
            Outcome::Refused,
            "UNKNOWN_HOST",
            "this bastion may ask for no host.",
        ));
    }
    for line in listed(&hosts) {
        ui.say(&line);
    }
    let mut wrong = Failure::usage(format!("{otherwise}."));
    for _ in 0..TRIES {
        let answer = ui.ask("Which host?", otherwise).await?;
        match chosen(&hosts, &answer) {
            Ok(to) => return Ok(to),
            Err(why) => wrong = Failure::usage(why),
        }
        ui.say(&wrong.message);
    }
    Err(wrong)
}

/// The lines to choose from; names obey a grammar without anything that a terminal obeys.
fn listed(hosts: &[v1::Host]) -> Vec<String> {
    let width = hosts.iter().take(MOST_LISTED).map(|host| host.name.len()).max().unwrap_or(0);
    let mut lines: Vec<String> = hosts
        .iter()
        .take(MOST_LISTED)
        .zip(1..)
        .map(|(host, number): (_, usize)| {
            let logins = host.logins.iter().filter_map(|login| login.parse::<Login>().ok());
            let logins: Vec<String> = logins.map(|login| login.to_string()).collect();
            format!("{number:>4}  {:width$}  {}", host.name, logins.join(", "))
        })
        .collect();
    if hosts.len() > MOST_LISTED {
        let more = hosts.len().saturating_sub(MOST_LISTED);
        lines.push(format!("      and {more} more, by their names"));
    }
    lines
}

/// What an answer means: a name, with the account or not, or a number of the list.
fn chosen(hosts: &[v1::Host], answer: &str) -> Result<Destination, String> {
    let to = destination(answer).map_err(|e| format!("{e}."))?;
    if hosts.iter().any(|host| host.name == to.host.as_str()) {
        return Ok(to);
    }
    let Ok(number) = to.host.as_str().parse::<usize>() else {
        // A further name of a host, perhaps.
        return Ok(to);
    };
    let listed = hosts.iter().take(MOST_LISTED);
    let by_number = number.checked_sub(1).and_then(|at| listed.clone().nth(at));
    match by_number.map(|host| host.name.parse()) {
        Some(Ok(host)) => Ok(Destination { host, ..to }),
        _ => Err(format!("there is no number {number}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Vec<v1::Host> {
        let host = |name: &&str| v1::Host {
            name: (*name).to_owned(),
            logins: vec!["deploy".to_owned(), "root".to_owned()],
            ..v1::Host::default()
        };
        names.iter().map(host).collect()
    }

    #[test]
    fn an_answer_is_a_name_or_a_number_of_the_list() {
        let all = hosts(&["app-1", "3", "web"]);
        let of = |answer: &str| {
            chosen(&all, answer).map(|to| match to.login {
                Some(login) => format!("{login}@{}", to.host),
                None => to.host.to_string(),
            })
        };
        for (answer, expected) in [
            ("app-1", "app-1"),
            ("root@app-1", "root@app-1"),
            ("1", "app-1"),
            ("root@1", "root@app-1"),
            // A name counts before a number.
            ("3", "3"),
            ("www", "www"),
        ] {
            assert_eq!(of(answer), Ok(expected.to_owned()), "{answer}");
        }
        for wrong in ["0", "4", "root@4", "app 1", "$(id)", ""] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_list_names_hosts_with_their_accounts_and_ends_somewhere() {
        assert_eq!(
            listed(&hosts(&["app-1", "b"])),
            ["   1  app-1  deploy, root", "   2  b      deploy, root"]
        );
        let many: Vec<String> = (0..50).map(|n| format!("app-{n}")).collect();
        let many = hosts(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let lines = listed(&many);
        assert_eq!(lines.len(), MOST_LISTED + 1);
        assert_eq!(lines[MOST_LISTED], "      and 10 more, by their names");
    }
}
