//! Which account to log in to, where the person did not say: read from the hosts the admins signed.

use std::collections::BTreeSet;

use jit_ssh_core::bundle::Hosts;
use jit_ssh_core::names::{HostName, Login};

use crate::ca::Ca;
use crate::cli::Context;
use crate::failure::{Failure, Outcome};
use crate::text::either;
use crate::trust::Trust;

/// The login to use where none was named: the only one, or one's own name, or as the person says.
pub(crate) async fn find_login(
    context: &Context,
    ca: &Ca<'_>,
    hosts: &[HostName],
) -> Result<Login, Failure> {
    let mut trust = Trust::load(&context.home, &ca.enrolment.root, ca.client()).await?;
    let logins = logins(&mut trust, ca, hosts).await?;
    if let [only] = logins.as_slice() {
        return Ok(only.clone());
    }
    let user = std::env::var("USER").ok().and_then(|user| user.parse::<Login>().ok());
    if let Some(user) = user.filter(|user| logins.contains(user)) {
        return Ok(user);
    }
    let names = either(&logins.iter().map(Login::as_str).collect::<Vec<_>>());
    let otherwise = format!("say which account: --as with {names}");
    let answer = context.ui.ask(&format!("As which account, {names}?"), &otherwise).await?;
    let login = answer.parse().map_err(|e| Failure::usage(format!("{e}.")))?;
    if logins.contains(&login) { Ok(login) } else { Err(Failure::usage(format!("{otherwise}."))) }
}

/// The logins that all of the hosts offer.
pub(crate) async fn logins(
    trust: &mut Trust<'_>,
    ca: &Ca<'_>,
    hosts: &[HostName],
) -> Result<Vec<Login>, Failure> {
    let mut known = trust.hosts(ca.client()).await?;
    if hosts.iter().any(|host| known.get(host).is_none()) {
        known = trust.newest_hosts(ca.client()).await?;
    }
    common_logins(&known, hosts)
}

/// The logins that a host offers, or can.
fn offered<'h>(known: &'h Hosts, name: &HostName) -> BTreeSet<&'h Login> {
    match known.get(name) {
        Some(host) => host.logins.iter().collect(),
        None => {
            let enrollers = known.enrollers.iter().filter(|enroller| enroller.may_name(name));
            enrollers.flat_map(|enroller| &enroller.logins).collect()
        }
    }
}

/// The logins that all of the hosts offer; of a host that joined by itself, which `hosts.toml` does not
/// list, those that it can have.
fn common_logins(known: &Hosts, hosts: &[HostName]) -> Result<Vec<Login>, Failure> {
    let mut common: Option<Vec<Login>> = None;
    for host in hosts {
        let offered = offered(known, host);
        if offered.is_empty() {
            let some: Vec<_> = known.iter().take(8).map(|host| host.name.as_str()).collect();
            let message = format!("there is no host {host} in the CA's hosts.toml.");
            return Err(Failure::new(Outcome::Refused, "UNKNOWN_HOST", message).hint(format!(
                "there are {} hosts, such as {}",
                known.iter().count(),
                either(&some)
            )));
        }
        let fits = |login: &&Login| {
            !login.is_jump() && common.as_ref().is_none_or(|common| common.contains(login))
        };
        common = Some(offered.into_iter().filter(fits).cloned().collect());
    }
    match common {
        Some(logins) if !logins.is_empty() => Ok(logins),
        _ => Err(Failure::usage("these hosts have no account in common; ask for each by itself.")),
    }
}

#[cfg(test)]
mod tests {
    use jit_ssh_core::testkit::World;

    use super::*;

    #[test]
    fn a_listed_host_has_its_logins_and_one_that_may_join_those_of_its_enroller() {
        let known = Hosts::parse(&World::default().files("").hosts).unwrap();
        let of = |hosts: &[&str]| {
            let hosts: Vec<HostName> = hosts.iter().map(|name| name.parse().unwrap()).collect();
            let logins = common_logins(&known, &hosts).ok()?;
            Some(logins.iter().map(|login| login.to_string()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(of(&["prod-host"]).as_deref(), Some("deploy root"));
        assert_eq!(of(&["ci-7"]).as_deref(), Some("ci deploy"));
        assert_eq!(of(&["ci-7", "prod-host"]).as_deref(), Some("deploy"));
        assert_eq!(of(&["cj-7"]), None);
    }
}
