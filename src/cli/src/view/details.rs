//! Every field of a request, one a line, for people.

use jit_ssh_api::v1::{Basis, Status};
use jit_ssh_core::bundle::Permit;
use jit_ssh_core::key::SignerKey;
use jit_ssh_core::names::{HostName, Login};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::sshsig::Presence;
use jit_ssh_core::time::{Seconds, UnixTime};

use super::{Event, View, basis_name, step_words};
use crate::text::{all_of, relative, utc};

impl View {
    /// Every field, and what happened. Everything asked comes from the signed bytes.
    pub(crate) fn details(&self, events: &[Event], now: UnixTime) -> String {
        let said = &self.said;
        let mut lines = self.asked_lines();
        lines.push(("status", self.standing(now)));
        if !said.rule.is_empty() {
            lines.push(("rule", harmless(&said.rule)));
        }
        // While it waits, this would read as if it were approved.
        let approved = said.approved_at > 0 || self.basis() != Basis::Approvals;
        if let Some(basis) = basis_name(self.basis()).filter(|_| approved) {
            let review = match (basis, said.reviewed) {
                ("break-glass", true) => " (reviewed)",
                ("break-glass", false) => " (not reviewed yet)",
                _ => "",
            };
            lines.push(("approved by", format!("{basis}{review}")));
        }
        for step in &said.steps {
            let given = format!("{} ({} given)", step_words(step, step.needed), step.given);
            lines.push(("approvals", given));
        }
        if said.access_until > 0 {
            let until = UnixTime(said.access_until);
            // Of access that was cut short, this is what was granted and no more when it ends.
            let name = match self.status() {
                Status::Released | Status::Revoked | Status::Refused => "was to last until",
                _ => "access until",
            };
            lines.push((name, format!("{} ({})", utc(until), relative(until, now))));
            lines.push(("granted", all_of(&self.principals())));
        }
        if !said.certificates.is_empty() {
            lines.push(("used", used(said.uses.len())));
        }
        let mut text = lay_out(&lines);
        if !events.is_empty() {
            text.push('\n');
            for event in events {
                text.push_str(&event.line());
                text.push('\n');
            }
        }
        text
    }

    /// What was asked, field by field, from the signed bytes; of what it may permit, what the rule leaves.
    pub(crate) fn asked_lines(&self) -> Vec<(&'static str, String)> {
        let (request, asked) = (&self.request, self.asked());
        let mut lines = vec![("request", request.id().to_string())];
        lines.push(("who", asked.by.to_string()));
        if asked.subject != asked.by {
            lines.push(("for whom", asked.subject.to_string()));
        }
        lines
            .push(("where", all_of(&asked.hosts.iter().map(HostName::as_str).collect::<Vec<_>>())));
        lines.push(("as", all_of(&asked.logins.iter().map(Login::as_str).collect::<Vec<_>>())));
        lines.push(("how long", asked.r#for.to_string()));
        if let Some(opens) = asked.not_before {
            lines.push(("from", utc(opens)));
        }
        if let Some(extends) = &asked.extends {
            lines.push(("prolongs", format!("{} ({extends})", extends.short_id())));
        }
        lines.push(("why", harmless(&asked.reason)));
        if let Some(second) = &asked.break_glass {
            lines.push((
                "break-glass",
                format!("goes ahead without approvals: {}", harmless(second)),
            ));
        }
        lines.extend(self.permits());
        if !asked.source.is_empty() {
            let ranges: Vec<_> = asked.source.iter().map(ToString::to_string).collect();
            lines.push(("only from", all_of(&ranges)));
        }
        if let Some(command) = &asked.command {
            lines.push(("only command", harmless(command)));
        }
        lines.push(("asked at", utc(asked.at)));
        lines.push((
            "key to certify",
            format!("{} {}", asked.key.type_name(), asked.key.fingerprint()),
        ));
        lines.push(("signed by key", key_words(request.key(), request.presence())));
        lines
    }

    /// What a certificate for it permits, and apart from that what was asked beyond it. Of what the CA says
    /// only what was asked counts.
    fn permits(&self) -> Vec<(&'static str, String)> {
        let asked = &self.asked().permit;
        let names = |permits: &[Permit]| match permits {
            [] => "nothing beside commands".to_owned(),
            _ => all_of(&permits.iter().map(|permit| permit.as_str()).collect::<Vec<_>>()),
        };
        let Some(said) = self.said.permits.as_ref().filter(|_| !asked.is_empty()) else {
            let left = if asked.is_empty() { "" } else { ", as far as a rule allows it" };
            return vec![("permit", format!("{}{left}", names(asked)))];
        };
        let is_said = |permit: &Permit| said.names.iter().any(|name| name == permit.as_str());
        let (granted, beyond): (Vec<_>, Vec<_>) = asked.iter().copied().partition(is_said);
        let mut lines = vec![("permit", names(&granted))];
        if !beyond.is_empty() {
            let beyond = format!("{}: asked for, and not granted by the rule", names(&beyond));
            lines.push(("not permitted", beyond));
        }
        lines
    }
}

fn used(logins: usize) -> String {
    match logins {
        0 => "no host has told of a login".to_owned(),
        1 => "1 login".to_owned(),
        many => format!("{many} logins"),
    }
}

/// Who, where and how long: `10m as deploy on prod-host`.
pub(super) fn access(span: Seconds, hosts: &[HostName], logins: &[Login]) -> String {
    format!(
        "{span} as {} on {}",
        all_of(&logins.iter().map(Login::as_str).collect::<Vec<_>>()),
        all_of(&hosts.iter().map(HostName::as_str).collect::<Vec<_>>())
    )
}

/// A key that signed, and how strong that was by the signature itself.
pub(super) fn key_words(key: &SignerKey, presence: Presence) -> String {
    let strength = match presence {
        Presence::Software => "a key in software",
        Presence::Touched => "a hardware key, touched",
        Presence::UserVerified => "a hardware key that checked a PIN or fingerprint",
    };
    let line = key.to_string();
    let kind = line.split(' ').next().unwrap_or_default();
    format!("{kind} {} ({strength})", key.fingerprint())
}

/// Lays out names and values in two columns.
pub(crate) fn lay_out(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}
