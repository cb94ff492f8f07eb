//! What a host proves itself by: its key, and the names its certificate will hold. A name or key that
//! two hosts share would let one pose as the other.

use std::collections::HashMap;

use super::Hosts;
use crate::bundle::reader::{Empty, Item, Table, quote};
use crate::bundle::source::{Source, Span};
use crate::certificate::host::{HostPrincipal, MAX_ALIASES};
use crate::key::HostKey;
use crate::names::HostName;

/// The fields of one host, and where they stand.
pub(super) struct Identity {
    aliases: Vec<(Span, HostName)>,
    key: Option<(Span, HostKey)>,
    address: Option<Span>,
}

impl Identity {
    pub(super) fn read(table: &mut Table<'_>, address: Option<Item<'_>>) -> Identity {
        let aliases = table.optional("aliases").map(aliases).unwrap_or_default();
        let key = table.optional("key");
        let key = key.and_then(|item| Some((item.span(), item.parse()?)));
        Identity { aliases, key, address: address.map(Item::span) }
    }
}

fn aliases(item: Item<'_>) -> Vec<(Span, HostName)> {
    let items = item.list(Empty::Fine).unwrap_or_default();
    if items.len() > MAX_ALIASES {
        item.problem(format!("a host has at most {MAX_ALIASES} aliases"));
        return Vec::new();
    }
    let alias = |item: &Item<'_>| Some((item.span(), item.parse()?));
    items.iter().filter_map(alias).collect()
}

/// The identities of all hosts, each with its host's place among them.
#[derive(Default)]
pub(super) struct Identities {
    aliases: Vec<(Span, usize)>,
    keys: Vec<(Span, usize)>,
    /// Of hosts with a key: the others have no certificate that an address could stand in.
    addresses: Vec<(Span, usize)>,
}

impl Identities {
    /// Notes where the fields of the host at `place` stand, and gives what they say.
    pub(super) fn take(
        &mut self,
        identity: Identity,
        place: usize,
    ) -> (Vec<HostName>, Option<HostKey>) {
        let Identity { aliases, key, address } = identity;
        if let Some((span, _)) = &key {
            self.keys.push((*span, place));
            self.addresses.extend(address.map(|span| (span, place)));
        }
        let (spans, aliases): (Vec<Span>, _) = aliases.into_iter().unzip();
        self.aliases.extend(spans.into_iter().map(|span| (span, place)));
        (aliases, key.map(|(_, key)| key))
    }

    /// Reports what two hosts share. Only now: a host may stand after the one it clashes with.
    pub(super) fn check(&self, hosts: &Hosts, names: &[Span], source: &Source<'_>) {
        let taken = self.check_aliases(hosts, names, source);
        self.check_keys(hosts, source);
        for &(at, place) in &self.addresses {
            let Some(host) = hosts.hosts.get(place) else { continue };
            let Some(address) = &host.address else { continue };
            let Some(principal) = HostPrincipal::of_address(address) else {
                let message = format!("{} can not stand in a host certificate", quote(address));
                let help = "a host with a `key` needs an IP address or a DNS name here";
                source.problem(at, message, Some(help.to_owned()));
                continue;
            };
            // Hosts may share an address, on different ports; but none may be called what leads to
            // another.
            let name = principal.as_str();
            let other = name.parse().ok().and_then(|name: HostName| {
                let owner = hosts.by_name.get(&name).copied();
                owner.or_else(|| taken.get(&name).map(|(place, _)| *place))
            });
            if let Some(other) = other.filter(|other| *other != place)
                && let Some(other) = hosts.hosts.get(other)
            {
                let message =
                    format!("this address is a name of the host {}", quote(other.name.as_str()));
                let help = "the host certificate of each would do for the other";
                source.problem(at, message, Some(help.to_owned()));
            }
        }
    }

    /// Gives the host and place of each alias.
    fn check_aliases<'h>(
        &self,
        hosts: &'h Hosts,
        names: &[Span],
        source: &Source<'_>,
    ) -> HashMap<&'h HostName, (usize, Span)> {
        let mut taken: HashMap<&HostName, (usize, Span)> = HashMap::new();
        let all = hosts.hosts.iter().flat_map(|host| &host.aliases);
        for (alias, &(at, place)) in all.zip(&self.aliases) {
            let shown = quote(alias.as_str());
            let named = hosts.by_name.get(alias).and_then(|place| names.get(*place));
            let (message, first) = match (named, taken.get(alias)) {
                (Some(first), _) => (format!("{shown} is the name of a host"), *first),
                (None, Some((of, _))) if *of == place => {
                    source.problem(at, format!("{shown} is listed twice"), None);
                    continue;
                }
                (None, Some((_, first))) => (format!("another host has the alias {shown}"), *first),
                (None, None) => {
                    taken.insert(alias, (place, at));
                    continue;
                }
            };
            let help = format!("it is taken in line {}", source.line(first));
            source.problem(at, message, Some(help));
        }
        taken
    }

    fn check_keys(&self, hosts: &Hosts, source: &Source<'_>) {
        let mut taken: HashMap<&HostKey, Span> = HashMap::new();
        for &(at, place) in &self.keys {
            let Some(key) = hosts.hosts.get(place).and_then(|host| host.key.as_ref()) else {
                continue;
            };
            if let Some(first) = taken.get(key) {
                let help = format!(
                    "the first is in line {}; a machine that was copied needs new keys: \
                     ssh-keygen -A, after removing /etc/ssh/ssh_host_*",
                    source.line(*first)
                );
                source.problem(at, "another host has this key".to_owned(), Some(help));
            } else {
                taken.insert(key, at);
            }
        }
    }
}
