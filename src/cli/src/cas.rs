//! Which CA a command is about, where a person has several: the one that was named; else the one that
//! knows the host or the request; else all of them. Where two fit, nobody guesses.

use jit_ssh_api::{CaUrl, Reason};
use jit_ssh_core::bundle::Hosts;
use jit_ssh_core::names::{ActorId, HostName};
use jit_ssh_core::plain::harmless;

use crate::ca::Ca;
use crate::clock;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::grants;
use crate::home::{CaName, Home};
use crate::text::{all_of, either};
use crate::trust::{self, Trust};
use crate::ui::Ui;
use crate::view::RequestRef;

/// What a command is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum About<'a> {
    /// A CA that may not be known here yet.
    Enrolling(&'a CaUrl),
    /// Access to these hosts.
    Hosts(&'a [HostName]),
    /// Access of this machine to these hosts.
    Machine(&'a ActorId, &'a [HostName]),
    /// One request.
    Request(&'a RequestRef),
    /// Each CA there is, one after the other.
    Every,
    /// One CA, and it does not follow which: what goes on until it is ended.
    One,
}

/// The CAs a command is carried out for: one or more.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Their homes.
    pub(crate) homes: Vec<Home>,
    /// Whether the person has several CAs, so that output must say which one it is about.
    pub(crate) of_several: bool,
}

/// Finds the CA that is meant. Without any enrolment that is the usual one, and the command says what
/// is missing.
///
/// # Errors
/// `NO_SUCH_CA` for a name nobody enrolled under; `AMBIGUOUS_CA` where two or more fit; `UNKNOWN_HOST`
/// and `UNKNOWN_REQUEST` where none does.
pub(crate) async fn choose(
    ui: &Ui,
    top: &Home,
    named: Option<&CaName>,
    about: About<'_>,
) -> Result<Chosen, Failure> {
    let mut all: Vec<Home> = top.all()?.into_iter().map(|(_, home)| home).collect();
    let of_several = all.len() > 1;
    let one = |home: Home| Ok(Chosen { homes: vec![home], of_several });
    if let About::Enrolling(url) = about {
        return one(match named {
            Some(name) => top.of_ca(name),
            None => all.into_iter().find(|home| is_pinned(home, url)).unwrap_or(top.clone()),
        });
    }
    if let Some(name) = named {
        return match all.iter().find(|home| home.ca() == name) {
            Some(home) => one(home.clone()),
            None => Err(no_such_ca(name, &all)),
        };
    }
    if let About::Machine(id, _) = about {
        // A runner may be enrolled as several. As none of them: the command says so.
        let as_machine = |home: &Home| {
            Enrolment::find(home).ok().flatten().is_some_and(|enrolment| enrolment.id == *id)
        };
        if all.iter().any(as_machine) {
            all.retain(as_machine);
        }
    }
    if all.len() <= 1 {
        return one(all.pop().unwrap_or_else(|| top.clone()));
    }
    match about {
        About::Every | About::Enrolling(_) => Ok(Chosen { homes: all, of_several }),
        About::One => {
            let message = "this goes on with one CA until it is ended, and you have several.";
            Err(ambiguous(message.to_owned(), &names(&all)))
        }
        About::Hosts(hosts) | About::Machine(_, hosts) => one(of_hosts(ui, all, hosts).await?),
        About::Request(request) => one(of_request(ui, all, request).await?),
    }
}

fn is_pinned(home: &Home, url: &CaUrl) -> bool {
    let enrolment = Enrolment::find(home).ok().flatten();
    enrolment.is_some_and(|enrolment| enrolment.ca() == url.pin())
}

fn no_such_ca(name: &CaName, all: &[Home]) -> Failure {
    let message = format!("nobody is enrolled here with a CA called {name}.");
    let hint = if all.is_empty() {
        format!(
            "get the enroll URL from an admin, then: jit-ssh enroll URL --as YOUR-ID --ca {name}"
        )
    } else {
        format!("there is {}", all_of(&names(all)))
    };
    Failure::new(Outcome::Usage, "NO_SUCH_CA", message).hint(hint)
}

fn names(homes: &[Home]) -> Vec<&str> {
    homes.iter().map(|home| home.ca().as_str()).collect()
}

fn ambiguous(message: String, names: &[&str]) -> Failure {
    let ways: Vec<String> = names.iter().map(|name| format!("--ca {name}")).collect();
    Failure::new(Outcome::Usage, "AMBIGUOUS_CA", message).hint(format!("say {}", either(&ways)))
}

/// A CA, and the hosts of its bundle as far as they are known.
struct Catalogue {
    home: Home,
    enrolment: Enrolment,
    hosts: Option<Hosts>,
}

impl Catalogue {
    /// Whether a host is one of this CA's: in its bundle, or of a name that a machine may join by.
    fn has(&self, name: &HostName) -> bool {
        self.hosts.as_ref().is_some_and(|hosts| {
            hosts.owner(name).is_some() || hosts.enrollers.iter().any(|by| by.may_name(name))
        })
    }

    async fn fetch(&mut self) -> Result<(), Failure> {
        let ca = Ca::connect(&self.home, &self.enrolment).await?;
        let mut trust = Trust::load(&self.home, &self.enrolment.root, ca.client()).await?;
        self.hosts = Some(trust.newest_hosts(ca.client()).await?);
        Ok(())
    }
}

/// The CA of these hosts: by what is kept here; the CAs are asked where that does not tell.
async fn of_hosts(ui: &Ui, all: Vec<Home>, hosts: &[HostName]) -> Result<Home, Failure> {
    let mut catalogues = Vec::new();
    for home in all {
        let enrolment = Enrolment::load(&home)?;
        let hosts = trust::kept_hosts(&home, &enrolment.root)?;
        catalogues.push(Catalogue { home, enrolment, hosts });
    }
    let unknown = hosts.iter().any(|host| !catalogues.iter().any(|one| one.has(host)));
    let mut unasked = None;
    for catalogue in &mut catalogues {
        if (unknown || catalogue.hosts.is_none())
            && let Err(failure) = catalogue.fetch().await
        {
            not_asked(ui, &catalogue.home, &failure);
            unasked.get_or_insert(failure);
        }
    }
    let having: Vec<(CaName, Vec<&HostName>)> = catalogues
        .iter()
        .map(|one| (one.home.ca().clone(), hosts.iter().filter(|host| one.has(host)).collect()))
        .collect();
    let name = match (judge(hosts, &having), unasked) {
        // It may well be a host of the CA that could not be asked.
        (Err(unknown), Some(failure)) if unknown.name == Reason::UnknownHost.as_str() => {
            return Err(failure.hint("say whose host it is: --ca NAME"));
        }
        (judged, _) => judged?,
    };
    let found = catalogues.into_iter().find(|one| *one.home.ca() == name);
    Ok(found.expect("the name is of one of these").home)
}

/// Which CA has the hosts, by which of them each has.
fn judge(hosts: &[HostName], having: &[(CaName, Vec<&HostName>)]) -> Result<CaName, Failure> {
    let mut chosen: Option<(&HostName, &CaName)> = None;
    for host in hosts {
        let of: Vec<&CaName> =
            having.iter().filter(|(_, has)| has.contains(&host)).map(|(name, _)| name).collect();
        match (of.as_slice(), chosen) {
            ([], _) => {
                let message = format!("none of your CAs has a host called {host}.");
                let name = Reason::UnknownHost.as_str();
                return Err(Failure::new(Outcome::Error, name, message)
                    .hint("is the name right? --ca NAME asks one of them all the same"));
            }
            ([one], None) => chosen = Some((host, one)),
            ([one], Some((_, before))) if *one == before => {}
            ([one], Some((other, before))) => {
                let message = format!(
                    "{other} is of the CA {before} and {host} of the CA {one}: one request goes to one CA."
                );
                return Err(Failure::usage(message).hint("ask for each by itself"));
            }
            (several, _) => {
                let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                let message = format!("{host} may be a host of {}.", either(&names));
                return Err(ambiguous(message, &names));
            }
        }
    }
    let none = || Failure::usage("no host is named.");
    chosen.map(|(_, name)| name.clone()).ok_or_else(none)
}

/// The CA that knows this request: the one whose request is kept here under its whole id, else those
/// that say so.
async fn of_request(ui: &Ui, all: Vec<Home>, named: &RequestRef) -> Result<Home, Failure> {
    let whole = named.is_whole();
    let mut knowing = Vec::new();
    let mut unasked: Option<Failure> = None;
    for home in all {
        let enrolment = Enrolment::load(&home)?;
        if whole && is_kept(&home, &enrolment, named)? {
            return Ok(home);
        }
        match knows(&home, &enrolment, named).await {
            Ok(true) => knowing.push(home),
            Ok(false) => {}
            Err(failure) => {
                not_asked(ui, &home, &failure);
                unasked.get_or_insert(failure);
            }
        }
    }
    if knowing.len() > 1 {
        let names = names(&knowing);
        let message = format!("{named} may be a request of {}.", either(&names));
        return Err(ambiguous(message, &names));
    }
    match (knowing.pop(), unasked) {
        // Another CA, which could not be asked, may have one that begins in the same way.
        (Some(_), Some(failure)) if !whole => {
            Err(failure.hint("name the whole id, or say whose it is: --ca NAME"))
        }
        (Some(home), _) => Ok(home),
        (None, Some(failure)) => Err(failure),
        (None, None) => {
            let message = format!("none of your CAs knows a request {named}.");
            let name = Reason::UnknownRequest.as_str();
            Err(Failure::new(Outcome::Error, name, message).hint("see: jit-ssh requests"))
        }
    }
}

fn is_kept(home: &Home, enrolment: &Enrolment, named: &RequestRef) -> Result<bool, Failure> {
    let (ca, now) = (enrolment.ca(), clock::now());
    let kept = grants::list(home, &ca, now)?.iter().any(|grant| named.names(&grant.request));
    let live = grants::live(home, &ca, now)?;
    Ok(kept || live.iter().any(|live| named.names(&live.request)))
}

async fn knows(home: &Home, enrolment: &Enrolment, named: &RequestRef) -> Result<bool, Failure> {
    let mut ca = Ca::connect(home, enrolment).await?;
    match ca.get(&named.to_string()).await {
        Ok(_) => Ok(true),
        Err(failure) if failure.name == Reason::AmbiguousId.as_str() => Ok(true),
        // A CA that does not know the person has no request to show either.
        Err(failure)
            if [Reason::UnknownRequest, Reason::UnknownSigner, Reason::NoBundle]
                .iter()
                .any(|reason| reason.as_str() == failure.name) =>
        {
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}

fn not_asked(ui: &Ui, home: &Home, failure: &Failure) {
    let (ca, problem) = (home.ca(), harmless(&failure.message));
    ui.say(&format!("warning: the CA {ca} could not be asked: {problem}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &str) -> Vec<HostName> {
        names.split(' ').map(|name| name.parse().unwrap()).collect()
    }

    fn of(wanted: &str, having: &[(&str, &str)]) -> Result<String, Failure> {
        let wanted = hosts(wanted);
        let lists: Vec<(CaName, Vec<HostName>)> =
            having.iter().map(|(ca, has)| (ca.parse().unwrap(), hosts(has))).collect();
        let having: Vec<(CaName, Vec<&HostName>)> =
            lists.iter().map(|(ca, has)| (ca.clone(), has.iter().collect())).collect();
        judge(&wanted, &having).map(|name| name.to_string())
    }

    #[test]
    fn a_host_leads_to_the_one_ca_that_has_it() {
        let having = [("default", "web db"), ("lab", "bench web")];
        assert_eq!(of("db", &having).unwrap(), "default");
        assert_eq!(of("bench", &having).unwrap(), "lab");
        let both = of("web", &having).unwrap_err();
        assert_eq!(both.name, "AMBIGUOUS_CA");
        assert_eq!(both.hint.as_deref(), Some("say --ca default or --ca lab"));
        assert_eq!(of("mail", &having).unwrap_err().name, "UNKNOWN_HOST");
        let split = of("db bench", &having).unwrap_err();
        assert!(split.message.contains("db is of the CA default and bench of the CA lab"));
        assert_eq!(of("db web", &[("default", "db web"), ("lab", "x")]).unwrap(), "default");
        // One that only one has does not speak for another that both have.
        assert_eq!(of("db web", &having).unwrap_err().name, "AMBIGUOUS_CA");
    }
}
