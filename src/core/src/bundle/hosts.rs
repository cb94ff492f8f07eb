//! `hosts.toml`: the hosts that can be asked for, and who may vouch for others.
//!
//! - `identity.rs`: what their host certificates are for, which no two hosts may share.

mod identity;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::net::Ipv6Addr;
use std::sync::Arc;

use super::diagnostic::Diagnostics;
use super::enrollers::{self, Enrollers};
use super::people::People;
use super::reader::{Empty, Item, List, Table, quote};
use super::source::{Source, Span, read_alone};
use crate::certificate::host::HostPrincipal;
use crate::key::{HostKey, SignerKey};
use crate::names::{ActorId, HostName, Jump, LabelKey, LabelValue, Login};
use crate::statement;
use identity::{Identities, Identity};

/// One host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The part after `@` in principals.
    pub name: HostName,
    /// Where to connect, `host`, `host:port` or `[v6]:port`: for generated ssh_config only.
    pub address: Option<String>,
    /// Further names it is reached by: in its host certificate, never in a principal of a person.
    pub aliases: Vec<HostName>,
    /// sshd's host key, which the host certificate is for; without one there is none.
    pub key: Option<HostKey>,
    /// What rules can select by. Shared between hosts with the same labels.
    pub labels: Arc<BTreeMap<LabelKey, LabelValue>>,
    /// The accounts that may be asked for. Shared between hosts with the same logins.
    pub logins: Arc<BTreeSet<Login>>,
    /// The host to jump through; see [`Hosts::way`].
    pub via: Option<HostName>,
}

impl Host {
    /// A host that joined by itself, as its statement has it: reached by its name alone.
    pub fn of_statement(said: &statement::Host) -> Host {
        Host {
            name: said.name.clone(),
            address: None,
            aliases: Vec::new(),
            key: HostKey::of_subject(&said.key),
            labels: Arc::new(said.labels.clone()),
            logins: Arc::new(said.logins.iter().cloned().collect()),
            via: None,
        }
    }

    /// Its name first, its aliases and its address without the port, in the spelling of certificates.
    pub(super) fn names(&self) -> impl Iterator<Item = HostPrincipal> {
        let names = std::iter::once(&self.name).chain(&self.aliases).map(HostPrincipal::from);
        names.chain(self.address.as_deref().and_then(HostPrincipal::of_address))
    }

    /// Where sshd is reached: the address without brackets, and the port.
    pub fn place(&self) -> Option<(&str, u16)> {
        self.address.as_deref().and_then(parts)
    }

    /// The same as ssh asks a bastion for it, in OpenSSH's `permitopen`: `10.0.0.5:22`, `[2001:db8::1]:22`.
    /// A host without an address is asked for by its name. sshd compares it byte by byte.
    pub fn forward(&self) -> String {
        let (host, port) = self.place().unwrap_or((self.name.as_str(), 22));
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Whether jumps go through it: whether it has the account for them.
    pub fn takes_jumps(&self) -> bool {
        self.logins.iter().any(Login::is_jump)
    }
}

/// All hosts, found by name in constant time.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    hosts: Vec<Host>,
    by_name: HashMap<HostName, usize>,
    /// The hosts' names by their aliases and addresses, where somebody could join: nobody may as those.
    other_names: HashMap<HostName, HostName>,
    /// Who may vouch for hosts that are not listed.
    pub enrollers: Enrollers,
}

/// Everybody who can not be an enroller too.
#[derive(Clone, Copy)]
pub(super) struct Others<'o> {
    pub(super) people: &'o People,
    pub(super) admins: &'o [(ActorId, SignerKey)],
}

impl Hosts {
    /// The jumps to a host, the first one first. A hop is left out where the bastion does not list the login
    /// `jump`: people get through that one in their own way. A host that joined is reached directly.
    pub fn way(&self, host: &HostName) -> Vec<Jump> {
        let mut jumps = Vec::new();
        let mut next = self.get(host);
        // A bundle that was read has no circle; this would end in one too.
        for _ in 0..MAX_JUMPS {
            let Some((host, bastion)) = next.zip(next.and_then(|host| self.bastion_of(host)))
            else {
                break;
            };
            if bastion.takes_jumps() {
                jumps.extend(Jump::new(bastion.name.clone(), host.name.clone()));
            }
            next = Some(bastion);
        }
        jumps.reverse();
        jumps
    }

    /// The jumps to all of these hosts, each once, sorted.
    pub fn jumps<'h>(&self, hosts: impl IntoIterator<Item = &'h HostName>) -> BTreeSet<Jump> {
        hosts.into_iter().flat_map(|host| self.way(host)).collect()
    }

    /// The hosts directly behind a bastion that takes jumps, in the order of the file.
    pub fn behind<'a>(&'a self, bastion: &'a Host) -> impl Iterator<Item = (Jump, &'a Host)> {
        let takes = bastion.takes_jumps();
        let behind =
            self.hosts.iter().filter(move |host| takes && host.via.as_ref() == Some(&bastion.name));
        behind.filter_map(|host| Some((Jump::new(bastion.name.clone(), host.name.clone())?, host)))
    }

    fn bastion_of(&self, host: &Host) -> Option<&Host> {
        host.via.as_ref().and_then(|via| self.get(via))
    }

    /// The host with this name.
    pub fn get(&self, name: &HostName) -> Option<&Host> {
        self.hosts.get(*self.by_name.get(name)?)
    }

    /// The host whose name, alias or address this is.
    pub fn owner(&self, name: &HostName) -> Option<&HostName> {
        self.get(name).map(|host| &host.name).or_else(|| self.other_names.get(name))
    }

    /// All hosts, in the file's order.
    pub fn iter(&self) -> std::slice::Iter<'_, Host> {
        self.hosts.iter()
    }

    fn note_other_names(&mut self) {
        for host in &self.hosts {
            let others = host.names().skip(1).filter_map(|name| name.as_str().parse().ok());
            self.other_names.extend(others.map(|name: HostName| (name, host.name.clone())));
        }
    }

    /// Reads `hosts.toml` alone, as a host or client fetches it. Its digest in a signed bundle, not
    /// this, says that it can be trusted.
    ///
    /// # Errors
    /// All problems of the file.
    pub fn parse(bytes: &[u8]) -> Result<Hosts, Diagnostics> {
        read_alone(FILE, bytes, |source| Hosts::read(source, None))
    }

    /// Reads the file; `None` if it is not TOML. Enrollers are held against `others` where those are
    /// known.
    pub(super) fn read(source: &Source<'_>, others: Option<Others<'_>>) -> Option<Hosts> {
        let mut reading = Reading::default();
        let mut enrollers = enrollers::Reading::default();
        source.read_in_pieces(&["[[host]]", "[[enroller]]"], |mut piece| {
            for table in piece.tables("host", "[[host]]") {
                reading.host(source, table);
            }
            for table in piece.tables("enroller", "[[enroller]]") {
                enrollers.enroller(source, table);
            }
            piece.finish();
        })?;
        reading.check_via(source);
        reading.identities.check(&reading.hosts, &reading.name_spans, source);
        enrollers.check_names(source, reading.hosts.iter());
        if let Some(Others { people, admins }) = others {
            enrollers.check_others(source, people, admins);
        }
        reading.hosts.enrollers = enrollers.enrollers;
        if reading.hosts.enrollers.iter().next().is_some() {
            reading.hosts.note_other_names();
        }
        reading.hosts.hosts.shrink_to_fit();
        reading.hosts.by_name.shrink_to_fit();
        Some(reading.hosts)
    }
}

/// The file while it is read. A host with a valid name is kept even if other fields are wrong, so
/// that rules which name it are not reported too.
#[derive(Default)]
struct Reading {
    hosts: Hosts,
    /// Where each host's name stands, in the order of `hosts.hosts`.
    name_spans: Vec<Span>,
    /// Where each `via` stands, and the place of its host in `hosts.hosts`.
    via_spans: Vec<(Span, usize)>,
    identities: Identities,
    // A fleet of 100,000 hosts has few different sets of labels and logins: each is kept once.
    labels: HashSet<Arc<BTreeMap<LabelKey, LabelValue>>>,
    logins: HashSet<Arc<BTreeSet<Login>>>,
}

impl Reading {
    fn host(&mut self, source: &Source<'_>, mut table: Table<'_>) {
        let name_item = table.required("name");
        let name = name_item.and_then(|item| item.parse::<HostName>());
        let address_item = table.optional("address");
        let address = address_item.and_then(address);
        let identity = Identity::read(&mut table, address_item);
        let labels = table.optional("labels").map(labels).unwrap_or_default();
        let logins: List<Login> = table
            .required("logins")
            .map(|item| item.unique(Empty::Refused, Item::parse))
            .unwrap_or_default();
        let via_item = table.optional("via");
        let via = via_item.and_then(|item| item.parse::<HostName>());
        table.finish();

        let (Some(item), Some(name)) = (name_item, name) else {
            return;
        };
        if let Some(place) = self.hosts.by_name.get(&name) {
            let line = self.name_spans.get(*place).map_or(0, |first| source.line(*first));
            item.problem_with_help(
                format!("there are two hosts named {}", quote(name.as_str())),
                format!("the first is in line {line}"),
            );
            return;
        }
        let place = self.hosts.hosts.len();
        let (aliases, key) = self.identities.take(identity, place);
        self.via_spans.extend(via_item.map(|item| (item.span(), place)));
        self.name_spans.push(item.span());
        self.hosts.by_name.insert(name.clone(), place);
        let labels = shared(&mut self.labels, labels);
        let logins = shared(&mut self.logins, logins.found.into_iter().collect());
        self.hosts.hosts.push(Host { name, address, aliases, key, labels, logins, via });
    }

    fn check_via(&self, source: &Source<'_>) {
        for &(at, place) in &self.via_spans {
            let Some(host) = self.hosts.hosts.get(place) else {
                continue;
            };
            let Some(via) = &host.via else { continue };
            if self.hosts.get(via).is_none() {
                let names = self.hosts.iter().map(|host| host.name.as_str());
                let message = format!("there is no host named {}", quote(via.as_str()));
                source.unknown(at, message, via.as_str(), names);
            } else if !self.arrives(host) {
                let name = &host.name;
                let message = format!(
                    "the way to `{name}` is a circle, or goes through more than {MAX_JUMPS} hosts"
                );
                source.problem(at, message, None);
            }
        }
    }

    /// Whether the jumps from `host` come to an end.
    fn arrives(&self, host: &Host) -> bool {
        let next = |host: &&Host| host.via.as_ref().and_then(|via| self.hosts.get(via));
        std::iter::successors(Some(host), next).nth(MAX_JUMPS + 1).is_none()
    }
}

/// The one copy of `value` in `known`.
fn shared<T: Eq + Hash>(known: &mut HashSet<Arc<T>>, value: T) -> Arc<T> {
    if let Some(same) = known.get(&value) {
        return Arc::clone(same);
    }
    let value = Arc::new(value);
    known.insert(Arc::clone(&value));
    value
}

fn labels(item: Item<'_>) -> BTreeMap<LabelKey, LabelValue> {
    let mut labels = BTreeMap::new();
    let Some(table) = item.table("labels") else {
        return labels;
    };
    for (name, key, value) in table.entries() {
        let key = key.parse().map_err(|error| name.problem(format!("{error}"))).ok();
        labels.extend(key.zip(value.parse()));
    }
    labels
}

/// Checks an address for ssh_config, where a space or a leading dash would mean something else.
fn address(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    if is_address(text) {
        return Some(text.to_owned());
    }
    item.problem_with_help(
        format!("{} is not an address", quote(text)),
        "write it like `10.0.0.5`, `web.example.com:22` or `[2001:db8::1]:22`",
    );
    None
}

fn is_address(text: &str) -> bool {
    parts(text).is_some()
}

/// The host, without brackets, and the port of an address.
fn parts(text: &str) -> Option<(&str, u16)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let port = if port.is_empty() { "22" } else { port.strip_prefix(':')? };
        return host.parse::<Ipv6Addr>().is_ok().then_some((host, self::port(port)?));
    }
    let (host, port) = text.split_once(':').unwrap_or((text, "22"));
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let first = host.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let sound = first && host.len() <= MAX_DNS_NAME && host.bytes().all(fits);
    sound.then_some((host, self::port(port)?))
}

fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

pub(crate) const FILE: &str = "hosts.toml";
/// Each jump is a connection through all those before it: more than this is a mistake.
const MAX_JUMPS: usize = 8;
const MAX_DNS_NAME: usize = 253;
