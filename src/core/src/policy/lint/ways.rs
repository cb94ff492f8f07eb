//! Bastions that hosts are behind, and that take no jumps.

use std::collections::BTreeMap;

use super::{Finding, Kind, Lint, Severity};
use crate::bundle::Diagnostic;
use crate::bundle::hosts::FILE;
use crate::bundle::source::{Source, Span, whole_file};
use crate::names::{HostName, Jump};

const HELP: &str = "list `jump` in its logins, make that account there (useradd --system \
    --no-create-home jump), and run `jit-ssh-host setup` on it";

impl Lint<'_, '_, '_> {
    /// Finds the bastions whose hosts come without a certificate for the way to them; `text` is
    /// `hosts.toml`.
    pub(super) fn ways(&mut self, text: &[u8]) {
        let mut behind: BTreeMap<&HostName, Vec<&HostName>> = BTreeMap::new();
        for host in self.bundle.hosts.iter() {
            let bastion = host.via.as_ref().and_then(|via| self.bundle.hosts.get(via));
            if let Some(bastion) = bastion.filter(|bastion| !bastion.takes_jumps()) {
                behind.entry(&bastion.name).or_default().push(&host.name);
            }
        }
        if behind.is_empty() {
            return;
        }
        let source = Source::new(FILE, text);
        let spans = logins(&source);
        for (bastion, hosts) in behind {
            let hosts = match hosts.as_slice() {
                [] => continue,
                [only] => format!("`{only}`"),
                [first, more @ ..] => format!("`{first}` and {} more", more.len()),
            };
            let message = format!(
                "`{bastion}` does not list the login `{}`: access to {hosts} behind it comes without a \
                 certificate for the way, and who goes through needs access to `{bastion}` too",
                Jump::LOGIN
            );
            let at = match spans.get(bastion) {
                Some(span) => {
                    let (line, column, excerpt) = source.locate(*span);
                    let (help, excerpt) = (Some(HELP.to_owned()), Some(excerpt));
                    Diagnostic { file: FILE, line, column, message, help, excerpt }
                }
                None => whole_file(FILE, message, Some(HELP.to_owned())),
            };
            let (severity, kind) = (Severity::Warning, Kind::NoJump);
            self.found.push(Finding { severity, kind, rule: None, at });
        }
    }
}

/// Where the logins of each host stand.
fn logins(source: &Source<'_>) -> BTreeMap<HostName, Span> {
    let mut spans = BTreeMap::new();
    // What can not be read was refused when the bundle was: here it only has no place.
    let _ = source.read_in_pieces(&["[[host]]", "[[enroller]]"], |mut piece| {
        for mut table in piece.tables("host", "[[host]]") {
            let name = table.optional("name").and_then(|item| item.text());
            let logins = table.optional("logins").map(|item| item.span());
            let name = name.and_then(|name| name.parse().ok());
            spans.extend(name.zip(logins));
        }
    });
    spans
}
