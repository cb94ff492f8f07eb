//! ssh's configuration for the hosts of the CA: one file that is made of the bundle and of the hosts that
//! joined and are known here, and made anew when those change.
//!
//! - here: what the file says, and when it is written;
//! - `include.rs`: the one line by which ssh reads it;
//! - `logins.rs`: the accounts a person last asked for, which plain `ssh HOST` then means.

pub(crate) mod include;
mod logins;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jit_ssh_api::Client;
use jit_ssh_core::bundle::{Host, Hosts};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::names::{HostName, Jump, Login};

use crate::failure::{Failure, Outcome};
use crate::home::{self, CaName, Home};
use crate::known_hosts;
use crate::trust::Trust;

pub(crate) use logins::Logins;

const FILE: &str = "ssh_config";
/// For `jit-ssh ssh`, which needs no line in ~/.ssh/config.
const WHOLE: &str = "ssh_config_whole";
/// sshd's port where an address names none.
const SSH_PORT: u16 = 22;

/// The file that ~/.ssh/config includes.
pub(crate) fn path(home: &Home) -> PathBuf {
    home.config(FILE)
}

/// What the file names beside the hosts, as ssh reads it.
#[derive(Debug, Clone)]
struct Surroundings {
    /// The command of the `Match` blocks up to the host's name.
    ensure: String,
    known_hosts: String,
    /// The folder with a key for each host where there is no agent, with a slash at the end.
    keys: PathBuf,
}

impl Surroundings {
    fn find(home: &Home) -> Result<Surroundings, Failure> {
        // ssh hands this to the person's shell, which must give way to it: `ensure` reads what its parent was
        // called with, and dash, for one, would stay between the two.
        let mut ensure = "exec ".to_owned();
        // ssh may be started where this is not set: by an editor, say.
        if let Some(folder) = std::env::var_os("JIT_SSH_HOME").filter(|value| !value.is_empty()) {
            let folder =
                std::path::absolute(&folder).map_err(|e| Failure::file(Path::new(&folder), e))?;
            ensure += &format!("env JIT_SSH_HOME={} ", in_shell(&folder)?);
        }
        ensure += &format!("{} ", in_shell(&program()?)?);
        if *home.ca() != CaName::usual() {
            ensure += &format!("--ca {} ", home.ca());
        }
        ensure += "ensure";
        Ok(Surroundings {
            ensure,
            known_hosts: quoted(&known_hosts::path(home))?,
            keys: home.runtime("hosts"),
        })
    }
}

/// This program, by the name under which it will still be there after an update.
fn program() -> Result<PathBuf, Failure> {
    let failed = |e| Failure::file(Path::new("jit-ssh"), e);
    let own = std::env::current_exe().map_err(failed)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut named = std::env::split_paths(&path).map(|folder| folder.join("jit-ssh"));
    let same =
        |named: &PathBuf| named.is_absolute() && named.canonicalize().is_ok_and(|real| real == own);
    Ok(named.find(same).unwrap_or(own))
}

/// A path as text that neither ssh nor a shell reads anything into.
fn plain(path: &Path) -> Result<&str, Failure> {
    // ssh expands %, $ and ~ in some places, globs in others, and has no way to write a quote.
    let strange = |c: char| c.is_control() || "\"'\\%$*?[]{}~`".contains(c);
    path.to_str().filter(|text| !text.contains(strange)).ok_or_else(|| {
        Failure::file(path, "this path can not be written in an ssh_config: of the ASCII characters that are no letters or digits, it may have only spaces and / . _ - + , : @ =")
            .hint("set JIT_SSH_HOME to a folder with a plainer name")
    })
}

/// A path as an argument in an ssh_config.
pub(crate) fn quoted(path: &Path) -> Result<String, Failure> {
    Ok(format!("\"{}\"", plain(path)?))
}

/// A path as a word for the shell, inside double quotes of an ssh_config.
fn in_shell(path: &Path) -> Result<String, Failure> {
    let text = plain(path)?;
    let bare = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    Ok(if text.chars().all(bare) { text.to_owned() } else { format!("'{text}'") })
}

/// The account that plain `ssh HOST` means: the one last asked for, the only one, or one's own name.
pub(crate) fn usual_login(host: &Host, logins: &Logins) -> Option<Login> {
    let offered = |login: &&Login| host.logins.contains(*login);
    if let Some(chosen) = logins.get(&host.name).filter(offered) {
        return Some(chosen.clone());
    }
    if host.logins.len() == 1 {
        return host.logins.first().cloned();
    }
    let own = std::env::var("USER").ok().and_then(|user| user.parse::<Login>().ok());
    own.filter(|own| host.logins.contains(own))
}

/// The whole file. What stands in it comes from the bundle, whose grammar has no character that ssh or
/// a shell would read as anything else, and from `surroundings`, which were looked through.
fn render(
    stamp: &str,
    hosts: &Hosts,
    joined: &BTreeSet<HostName>,
    logins: &Logins,
    surroundings: &Surroundings,
) -> Result<String, Failure> {
    let mut out = format!(
        "{stamp}\n# Made anew when the CA's hosts change: what you write here is lost.\n# Settings of your own go below the Include line of ~/.ssh/config.\n"
    );
    for host in hosts.iter() {
        block(&mut out, host, logins, surroundings)?;
        way(&mut out, host, hosts, surroundings)?;
    }
    // A name that the bundle lists is that of the listed host.
    for name in joined.iter().filter(|name| find(hosts, name).is_none()) {
        block(&mut out, &of_joined(name, logins), logins, surroundings)?;
    }
    Ok(out)
}

/// A host that joined: reached by its name alone, as the account last asked for there.
fn of_joined(name: &HostName, logins: &Logins) -> Host {
    Host {
        name: name.clone(),
        address: None,
        aliases: Vec::new(),
        key: None,
        labels: Arc::default(),
        logins: Arc::new(logins.get(name).cloned().into_iter().collect()),
        via: None,
    }
}

/// What a person can type for it.
fn names(host: &Host) -> Vec<&str> {
    std::iter::once(&host.name).chain(&host.aliases).map(HostName::as_str).collect()
}

/// The lines that say where a host is reached.
fn place(address: &str, port: u16) -> String {
    match port {
        SSH_PORT => format!("  HostName {address}"),
        _ => format!("  HostName {address}\n  Port {port}"),
    }
}

fn block(
    out: &mut String,
    host: &Host,
    logins: &Logins,
    surroundings: &Surroundings,
) -> Result<(), Failure> {
    let mut say = |line: std::fmt::Arguments<'_>| {
        writeln!(out, "{line}").expect("a text grows without limit");
    };
    let names = names(host);
    let login = usual_login(host, logins);
    say(format_args!("\nHost {}", names.join(" ")));
    if let Some((address, port)) = host.place() {
        say(format_args!("{}", place(address, port)));
    }
    if let Some(login) = &login {
        say(format_args!("  User {login}"));
    }
    say(format_args!("  HostKeyAlias {}", host.name));
    say(format_args!("  UserKnownHostsFile ~/.ssh/known_hosts {}", surroundings.known_hosts));
    say(format_args!("  IdentityFile {}", quoted(&surroundings.keys.join(host.name.as_str()))?));
    // No %r or %n: ssh would hand what somebody typed, or a submodule's URL says, to a shell
    // (CVE-2023-51385). Who calls `ensure` can be asked instead.
    let usual = login.map(|login| format!(" --login {login}")).unwrap_or_default();
    say(format_args!(
        "Match originalhost {} !exec \"{} {}{usual}\"",
        names.join(","),
        surroundings.ensure,
        host.name
    ));
    // Why it ends was said by `ensure`. Before ProxyJump: the first of the two counts.
    say(format_args!("  ProxyCommand false\n  LogLevel QUIET"));
    Ok(())
}

/// How a host behind a bastion is reached: by the certificate for that jump, which comes with the access, or
/// where the bastion takes no jumps as whoever the person is there.
fn way(
    out: &mut String,
    host: &Host,
    hosts: &Hosts,
    surroundings: &Surroundings,
) -> Result<(), Failure> {
    let Some(via) = &host.via else { return Ok(()) };
    let mut say = |line: std::fmt::Arguments<'_>| {
        writeln!(out, "{line}").expect("a text grows without limit");
    };
    // A `Match` ends with the next `Host`.
    let through = |host: &Host| match jump(host, hosts) {
        Some(jump) => Some(jump.label()),
        None => host.via.as_ref().map(HostName::to_string),
    };
    say(format_args!(
        "Host {}\n  ProxyJump {}",
        names(host).join(" "),
        through(host).unwrap_or_default()
    ));
    let (Some(jump), Some(bastion)) = (jump(host, hosts), hosts.get(via)) else { return Ok(()) };
    let (address, port) = bastion.place().unwrap_or((via.as_str(), SSH_PORT));
    let label = jump.label();
    say(format_args!("Host {label}\n{}", place(address, port)));
    say(format_args!("  User {}\n  HostKeyAlias {via}", Jump::LOGIN));
    say(format_args!("  UserKnownHostsFile ~/.ssh/known_hosts {}", surroundings.known_hosts));
    // The first certificate that the bastion accepts decides where to: show it this one alone.
    let key = quoted(&surroundings.keys.join(&label))?;
    say(format_args!("  IdentitiesOnly yes\n  IdentityFile {key}"));
    if let Some(before) = through(bastion) {
        say(format_args!("  ProxyJump {before}"));
    }
    Ok(())
}

/// The jump to a host from the bastion before it, if that takes jumps.
fn jump(host: &Host, hosts: &Hosts) -> Option<Jump> {
    hosts.way(&host.name).pop().filter(|jump| *jump.host() == host.name)
}

/// What the file is made of beside the hosts of the bundle, and its first line, which says so: nobody has to read
/// all hosts to find out whether it is of now.
struct Sources {
    joined: BTreeSet<HostName>,
    logins: Logins,
    surroundings: Surroundings,
    stamp: String,
}

impl Sources {
    fn gather(home: &Home, bundle: &Digest) -> Result<Sources, Failure> {
        let joined = known_hosts::joined_now(home)?;
        let (surroundings, logins) = (Surroundings::find(home)?, Logins::load(home)?);
        let stamp = stamp(bundle, &joined, &surroundings, &logins);
        Ok(Sources { joined, logins, surroundings, stamp })
    }

    async fn text(&self, trust: &mut Trust<'_>, client: &Client) -> Result<String, Failure> {
        let hosts = trust.hosts(client).await?;
        render(&self.stamp, &hosts, &self.joined, &self.logins, &self.surroundings)
    }
}

/// The file for the bundle in force.
pub(crate) async fn text(
    home: &Home,
    trust: &mut Trust<'_>,
    client: &Client,
) -> Result<String, Failure> {
    Sources::gather(home, &trust.digest())?.text(trust, client).await
}

fn stamp(
    bundle: &Digest,
    joined: &BTreeSet<HostName>,
    surroundings: &Surroundings,
    logins: &Logins,
) -> String {
    let made_of = format!("{bundle} {joined:?} {surroundings:?} {logins:?}");
    format!("# Written by jit-ssh ({}).", Digest::of(made_of.as_bytes()))
}

/// Writes the file for the bundle in force and the hosts that joined, if it is not that already.
pub(crate) async fn write(
    home: &Home,
    trust: &mut Trust<'_>,
    client: &Client,
) -> Result<(), Failure> {
    let sources = Sources::gather(home, &trust.digest())?;
    let path = path(home);
    let kept = home::read(&path)?;
    let first = kept.as_deref().and_then(|bytes| bytes.split(|byte| *byte == b'\n').next());
    if first == Some(sources.stamp.as_bytes()) {
        return Ok(());
    }
    let text = sources.text(trust, client).await?;
    home::write(&path, text.as_bytes())
}

/// The same where somebody uses it: where it was installed, or `jit-ssh ssh` made it.
pub(crate) async fn keep(
    home: &Home,
    trust: &mut Trust<'_>,
    client: &Client,
) -> Result<(), Failure> {
    if path(home).exists() { write(home, trust, client).await } else { Ok(()) }
}

/// A configuration for ssh's `-F` that reads ours before what ssh reads by itself.
pub(crate) fn whole(home: &Home) -> Result<PathBuf, Failure> {
    let text = format!(
        "# Written by jit-ssh, for `jit-ssh ssh`.\nInclude {}\nInclude ~/.ssh/config\nInclude /etc/ssh/ssh_config\n",
        quoted(&path(home))?
    );
    let whole = home.config(WHOLE);
    let kept = home::read(&whole)?;
    if kept.as_deref().is_none_or(|kept| kept.as_slice() != text.as_bytes()) {
        home::write(&whole, text.as_bytes())?;
    }
    Ok(whole)
}

/// Takes away what was written.
pub(crate) fn remove(home: &Home) -> Result<(), Failure> {
    home::remove(&path(home))?;
    home::remove(&home.config(WHOLE))
}

/// The listed host that goes by this name or alias.
pub(crate) fn find<'h>(hosts: &'h Hosts, name: &HostName) -> Option<&'h Host> {
    hosts.get(name).or_else(|| hosts.iter().find(|host| host.aliases.contains(name)))
}

/// The names of the hosts that are meant, each once: a further name of a listed host stands for it.
pub(crate) fn completed(hosts: &Hosts, said: &[HostName]) -> Result<Vec<HostName>, Failure> {
    let mut names: Vec<HostName> = Vec::new();
    for said in said {
        let name = find(hosts, said).map_or(said, |host| &host.name);
        if names.contains(name) {
            return Err(Failure::new(
                Outcome::Usage,
                "USAGE",
                format!("the host {name} is named twice; name it once."),
            ));
        }
        names.push(name.clone());
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
