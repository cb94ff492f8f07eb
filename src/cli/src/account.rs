//! Which account to log in to, where the person did not say: read from the hosts the admins signed.

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
    let mut known = trust.hosts(ca.client()).await?;
    if hosts.iter().any(|host| known.get(host).is_none()) {
        known = trust.newest_hosts(ca.client()).await?;
    }
    let logins = common_logins(&known, hosts)?;
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
fn common_logins(known: &Hosts, hosts: &[HostName]) -> Result<Vec<Login>, Failure> {
    let mut common: Option<Vec<Login>> = None;
    for host in hosts {
        let Some(host) = known.get(host) else {
            let some: Vec<_> = known.iter().take(8).map(|host| host.name.as_str()).collect();
            let message = format!("there is no host {host} in the CA's hosts.toml.");
            return Err(Failure::new(Outcome::Refused, "UNKNOWN_HOST", message).hint(format!(
                "there are {} hosts, such as {}",
                known.iter().count(),
                either(&some)
            )));
        };
        let fits = |login: &&Login| common.as_ref().is_none_or(|common| common.contains(login));
        common = Some(host.logins.iter().filter(fits).cloned().collect());
    }
    match common {
        Some(logins) if !logins.is_empty() => Ok(logins),
        _ => Err(Failure::usage("these hosts have no account in common; ask for each by itself.")),
    }
}
