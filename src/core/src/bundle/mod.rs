//! The bundle: who there is, which hosts there are, who may do what, and which signers to trust.
//!
//! Four TOML files, signed as one by the admins. [`Bundle::parse`] is the only way to one, and
//! reports every problem of all four files at once, each with its place and a way out.
//!
//! - [`people`], [`hosts`], [`policy`], [`signers`]: the four files as types;
//! - [`enrollers`]: who may vouch for hosts that are not listed;
//! - [`who`], [`host_pattern`], [`command_pattern`]: how a rule names people, hosts and commands;
//! - [`reason`], [`hours`]: what a rule asks of a request's reason; when a rule approves by itself;
//! - `rule_index`: finds rules without asking every one;
//! - `rules`, `known`: reads `policy.toml`, and checks its names against people and hosts;
//! - `words`: how a rule's terms read in a sentence;
//! - [`diagnostic`]: problems as people see them;
//! - `source`, `reader`: a file's text, and the walk through its fields.
//!
//! Knows nothing of signatures over the bundle, nor of where its files come from.

pub mod command_pattern;
pub mod diagnostic;
pub mod enrollers;
pub mod host_pattern;
pub mod hosts;
pub mod hours;
mod known;
pub mod people;
pub mod policy;
pub(crate) mod reader;
pub mod reason;
mod rule_index;
mod rules;
pub mod signers;
pub(crate) mod source;
pub mod who;
mod words;

pub use command_pattern::CommandPattern;
pub use diagnostic::{Diagnostic, Diagnostics};
pub use enrollers::{Enroller, Enrollers};
pub use host_pattern::{Glob, HostPattern};
pub use hosts::{Host, Hosts};
pub use hours::Hours;
pub use people::{Actor, ActorKind, People};
pub use policy::{
    Allow, Approval, Auto, BreakGlass, Deny, Extend, Permit, Policy, Selection, SourceRule, Step,
    Steps, Strength,
};
pub use reason::{Pattern, ReasonRule};
pub use signers::{SignerInfo, Signers};
pub use who::Who;

use crate::key::SignerKey;
use crate::names::ActorId;
use hosts::Others;
use known::Known;
use source::{Source, whole_file};

/// People, hosts, policy and signers that fit together.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The bundle's version, from its statement.
    pub version: u64,
    /// Who there is.
    pub people: People,
    /// Which hosts there are.
    pub hosts: Hosts,
    /// Who may do what.
    pub policy: Policy,
    /// Which signers to trust.
    pub signers: Signers,
    /// The admins of `root.json`, who may revoke and review whatever the policy says.
    pub admins: Vec<(ActorId, SignerKey)>,
}

/// The four files' exact bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFiles {
    /// `people.toml`.
    pub people: Vec<u8>,
    /// `hosts.toml`.
    pub hosts: Vec<u8>,
    /// `policy.toml`.
    pub policy: Vec<u8>,
    /// `signers.toml`.
    pub signers: Vec<u8>,
}

impl BundleFiles {
    /// Most bytes of the four files together.
    pub const MAX_BYTES: usize = 64 << 20;
}

impl Bundle {
    /// Reads and checks the four files, with the admins of `root.json` to check people against.
    ///
    /// # Errors
    /// All problems of all four files. Where a file is not TOML at all, what refers to it is left
    /// unchecked until it is.
    pub fn parse(
        version: u64,
        files: &BundleFiles,
        admins: &[(ActorId, SignerKey)],
    ) -> Result<Bundle, Diagnostics> {
        Bundle::read(version, files, admins, Signers::read)
    }

    /// The same for who only asks what the rules say, before there is a CA: `signers.toml` is not
    /// looked at, and nobody may trust what comes of it.
    ///
    /// # Errors
    /// All problems of the other three files.
    pub fn parse_rules(
        files: &BundleFiles,
        admins: &[(ActorId, SignerKey)],
    ) -> Result<Bundle, Diagnostics> {
        Bundle::read(1, files, admins, |_| Some(Signers::none()))
    }

    fn read(
        version: u64,
        files: &BundleFiles,
        admins: &[(ActorId, SignerKey)],
        signers: impl Fn(&Source<'_>) -> Option<Signers>,
    ) -> Result<Bundle, Diagnostics> {
        check_size(files)?;
        let people_source = Source::new(people::FILE, &files.people);
        let hosts_source = Source::new(hosts::FILE, &files.hosts);
        let policy_source = Source::new(rules::FILE, &files.policy);
        let signers_source = Source::new(signers::FILE, &files.signers);

        let people = People::read(&people_source, admins);
        let others = people.as_ref().map(|people| Others { people, admins });
        let hosts = Hosts::read(&hosts_source, others);
        let known = Known { people: people.as_ref(), hosts: hosts.as_ref() };
        let policy = policy_source.read(|file| rules::read(file, known));
        let signers = signers(&signers_source);

        let sources = [people_source, hosts_source, policy_source, signers_source];
        let problems: Vec<_> = sources.into_iter().flat_map(Source::into_diagnostics).collect();
        match (people, hosts, policy, signers) {
            (Some(people), Some(hosts), Some(policy), Some(signers)) if problems.is_empty() => {
                let admins = admins.to_vec();
                Ok(Bundle { version, people, hosts, policy, signers, admins })
            }
            _ => Err(Diagnostics(problems)),
        }
    }
}

fn check_size(files: &BundleFiles) -> Result<(), Diagnostics> {
    let BundleFiles { people, hosts, policy, signers } = files;
    let sizes = [
        (people::FILE, people.len()),
        (hosts::FILE, hosts.len()),
        (rules::FILE, policy.len()),
        (signers::FILE, signers.len()),
    ];
    let total = sizes.iter().fold(0usize, |sum, (_, size)| sum.saturating_add(*size));
    match sizes.iter().max_by_key(|(_, size)| *size) {
        Some((largest, _)) if total > BundleFiles::MAX_BYTES => {
            let max = BundleFiles::MAX_BYTES;
            let message =
                format!("the four files hold {total} bytes; at most {max} are accepted together");
            Err(Diagnostics(vec![whole_file(largest, message, None)]))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
