//! From facts to findings. Pure. What of ssh's own configuration is weak: `ssh_config.rs`.

use jit_ssh_core::time::UnixTime;

use super::facts::{
    AgentSeen, CaSeen, CertificateSeen, EnrolmentSeen, Facts, HostSeen, KeySeen, OpenFile,
};
use super::finding::{Finding, Severity};
use super::ssh_config;
use crate::text::{either, span, utc};
use crate::trust::FRESH;

/// How far clocks may be apart, in seconds: what the CA forgives in a statement's date.
const MAX_SKEW: u64 = 120;
/// A skew worth knowing before it is too much, in seconds.
const SOME_SKEW: u64 = 30;
/// TLS certificates that end within so many seconds are told of: a week.
const SOON: u64 = 7 * 86_400;

/// Takes a finding down.
pub(super) fn found(
    findings: &mut Vec<Finding>,
    code: &'static str,
    severity: Severity,
    message: impl Into<String>,
    fix: impl Into<String>,
) {
    findings.push(Finding { code, severity, message: message.into(), fix: fix.into() });
}

/// All that is to be said, the worst first.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    enrolment(facts, &mut findings);
    agent(facts, &mut findings);
    ca(facts, &mut findings);
    bundle(facts, &mut findings);
    certificates(facts, &mut findings);
    ssh_config::judge(facts, &mut findings);
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn enrolment(facts: &Facts, out: &mut Vec<Finding>) {
    match &facts.enrolment {
        EnrolmentSeen::There => {}
        EnrolmentSeen::Absent => found(
            out,
            "NOT_ENROLLED",
            Severity::Critical,
            "Nobody is enrolled here yet.",
            "get the enroll URL from an admin, then: jit-ssh enroll URL --as YOUR-ID",
        ),
        EnrolmentSeen::Broken(why) => found(
            out,
            "ENROLMENT_BROKEN",
            Severity::Critical,
            format!("The enrolment can not be used: {why}"),
            "enrol again with: jit-ssh enroll URL --as YOUR-ID",
        ),
    }
    match &facts.key {
        None | Some(KeySeen::Usable) => {}
        Some(KeySeen::File(why)) => found(
            out,
            "KEY_UNUSABLE",
            Severity::Critical,
            format!("The key that signs for you can not be used: {why}"),
            "put it back, or enrol with another one: jit-ssh enroll URL --identity FILE",
        ),
        Some(KeySeen::NotInAgent(fingerprint)) => found(
            out,
            "KEY_NOT_IN_AGENT",
            Severity::Critical,
            format!("The key that signs for you, {fingerprint}, is not in the ssh-agent."),
            "ssh-add FILE, with the file of that key",
        ),
    }
    for OpenFile { path, mode, foreign } in &facts.open_files {
        let path = path.display();
        if *foreign {
            let message = format!("{path} belongs to somebody else.");
            let fix = format!("remove it, and enrol again: rm -r {path}");
            found(out, "FILE_FOREIGN", Severity::Critical, message, fix);
        } else {
            let message = format!("Others can read or change {path} (mode {mode:04o}).");
            found(out, "FILE_OPEN", Severity::Warning, message, format!("chmod go= {path}"));
        }
    }
}

fn agent(facts: &Facts, out: &mut Vec<Finding>) {
    let (code, severity, message, fix) = match &facts.agent {
        AgentSeen::Takes => return,
        AgentSeen::Absent => (
            "AGENT_ABSENT",
            Severity::Warning,
            "There is no ssh-agent: SSH_AUTH_SOCK is not set. Certificates for fresh keys live there.".to_owned(),
            "eval \"$(ssh-agent)\", in this shell or in your session's start",
        ),
        AgentSeen::Silent(why) => (
            "AGENT_UNUSABLE",
            Severity::Critical,
            format!("The ssh-agent can not be used: {why}"),
            "check SSH_AUTH_SOCK, or unlock it (ssh-add -X); `ssh-add -l` should list your keys",
        ),
        AgentSeen::Gpg => (
            "AGENT_GPG",
            Severity::Warning,
            "This is gpg-agent, which drops certificates and keeps their keys on disk.".to_owned(),
            "use OpenSSH's: eval \"$(ssh-agent)\"",
        ),
        AgentSeen::Refuses(why) => (
            "AGENT_NO_CERTIFICATES",
            Severity::Warning,
            format!("The ssh-agent takes no certificate with a lifetime: {why}"),
            "use OpenSSH's: eval \"$(ssh-agent)\"",
        ),
    };
    found(out, code, severity, message, fix);
}

fn ca(facts: &Facts, out: &mut Vec<Finding>) {
    let now = facts.now;
    match &facts.ca {
        None => {}
        Some(CaSeen::Away(why)) => found(
            out,
            "CA_AWAY",
            Severity::Warning,
            format!(
                "The CA can not be reached: {why} What you hold keeps working; nothing new can be had."
            ),
            "check the network, a VPN, a proxy; then ask who runs the CA",
        ),
        Some(CaSeen::Untrusted(why)) => found(
            out,
            "TLS_UNTRUSTED",
            Severity::Critical,
            format!(
                "Whoever answers is not proven to be the CA, by its pinned anchor and name: {why}"
            ),
            "go no further; ask an admin whether the CA was set up anew or its TLS certificate has lapsed",
        ),
        Some(CaSeen::There { time, tls_until, anchor_until, stranger, bundle: _ }) => {
            if let Some(time) = time {
                clock(now, *time, out);
            }
            for (what, code, until) in [
                ("certificate", "TLS_ENDS_SOON", tls_until),
                ("anchor", "ANCHOR_ENDS_SOON", anchor_until),
            ] {
                if let Some(until) = until.filter(|until| until.since(now) < SOON) {
                    found(
                        out,
                        code,
                        Severity::Warning,
                        format!("The CA's TLS {what} ends {}.", utc(until)),
                        "tell an admin of the CA: after that nobody can reach it",
                    );
                }
            }
            if let Some(why) = stranger {
                found(
                    out,
                    "NOT_KNOWN",
                    Severity::Critical,
                    format!("The CA does not know you: {why}"),
                    "jit-ssh enroll URL prints what an admin must add to people.toml",
                );
            }
        }
    }
}

fn clock(now: UnixTime, theirs: UnixTime, out: &mut Vec<Finding>) {
    let (off, way) = match now.since(theirs) {
        0 => (theirs.since(now), "behind"),
        ahead => (ahead, "ahead of"),
    };
    let message = format!("This machine's clock is {} {way} the CA's.", span(off));
    let fix = "set it by NTP: timedatectl set-ntp true";
    if off > MAX_SKEW {
        let message = format!("{message} Nothing that you sign is accepted.");
        found(out, "CLOCK_OFF", Severity::Critical, message, fix);
    } else if off > SOME_SKEW {
        found(out, "CLOCK_DRIFTS", Severity::Warning, message, fix);
    }
}

fn bundle(facts: &Facts, out: &mut Vec<Finding>) {
    let Some(kept) = &facts.bundle else {
        if facts.enrolment == EnrolmentSeen::There
            && !matches!(facts.ca, Some(CaSeen::There { .. }))
        {
            found(
                out,
                "BUNDLE_ABSENT",
                Severity::Warning,
                "What the admins signed is not kept here yet, so nothing can be told from it.",
                "run jit-ssh login or jit-ssh enroll once while the CA is there",
            );
        }
        return;
    };
    match &facts.ca {
        Some(CaSeen::There { bundle: Some(theirs), .. }) if *theirs > kept.version => found(
            out,
            "BUNDLE_BEHIND",
            Severity::Note,
            format!("Bundle {} is kept here, and {theirs} is in force.", kept.version),
            "none is needed: the next login fetches it",
        ),
        Some(CaSeen::There { bundle: Some(theirs), .. }) if *theirs < kept.version => found(
            out,
            "BUNDLE_BACK",
            Severity::Critical,
            format!(
                "The CA shows bundle {theirs}, and this machine has seen {} already.",
                kept.version
            ),
            "tell an admin: the CA was restored from an older copy, or somebody hides what was signed",
        ),
        Some(CaSeen::There { .. }) => {}
        _ if facts.now.since(kept.fetched) > FRESH => found(
            out,
            "BUNDLE_OLD",
            Severity::Warning,
            format!(
                "The bundle kept here is of {}: a signer that was taken out since is still trusted.",
                utc(kept.fetched)
            ),
            "reach the CA, and run jit-ssh status",
        ),
        _ => {}
    }
}

fn certificates(facts: &Facts, out: &mut Vec<Finding>) {
    let now = facts.now;
    for certificate in &facts.certificates {
        let CertificateSeen { id, .. } = certificate;
        let release = format!(
            "jit-ssh logout, or ssh-add -D; then ask anew: jit-ssh login {}",
            facts.host.as_ref().map_or("HOST", |host| &host.name)
        );
        if !certificate.ours {
            found(
                out,
                "CERTIFICATE_FOREIGN",
                Severity::Note,
                format!(
                    "A certificate in the ssh-agent ({id}) is not by a signer of this CA for you."
                ),
                "none, if you have another CA or id; else: ssh-add -D",
            );
        } else if certificate.valid_before <= now {
            found(
                out,
                "CERTIFICATE_EXPIRED",
                Severity::Warning,
                format!(
                    "The certificate of request {id} ended {}; each offer counts as a failed attempt.",
                    utc(certificate.valid_before)
                ),
                release,
            );
        } else if certificate.valid_after > now {
            found(
                out,
                "CERTIFICATE_EARLY",
                Severity::Warning,
                format!(
                    "The certificate of request {id} begins {}, by this machine's clock.",
                    utc(certificate.valid_after)
                ),
                "set this machine's clock by NTP: timedatectl set-ntp true",
            );
        } else if certificate.revoked == Some(true) {
            found(
                out,
                "CERTIFICATE_REVOKED",
                Severity::Critical,
                format!(
                    "The CA's revocation list names the certificate of request {id}: hosts refuse it."
                ),
                release,
            );
        }
    }
    if let Some(host) = &facts.host {
        at_hand(facts, host, out);
    }
}

/// Whether a certificate that is good now opens the host.
fn at_hand(facts: &Facts, host: &HostSeen, out: &mut Vec<Finding>) {
    let name = &host.name;
    if host.listed.is_none() && facts.bundle.is_some() {
        found(
            out,
            "HOST_UNKNOWN",
            Severity::Warning,
            format!("The bundle kept here lists no host called {name}."),
            format!(
                "is the name right? A host that joined by itself is not in it; else: jit-ssh login {name}"
            ),
        );
    }
    let good = facts.certificates.iter().filter(|certificate| {
        certificate.ours
            && certificate.valid_after <= facts.now
            && certificate.valid_before > facts.now
            && certificate.revoked != Some(true)
    });
    let end = format!("@{name}");
    let logins: Vec<&str> = good
        .flat_map(|certificate| &certificate.principals)
        .filter_map(|principal| principal.strip_suffix(&end))
        .collect();
    if logins.is_empty() {
        found(
            out,
            "NO_CERTIFICATE",
            Severity::Warning,
            format!("No certificate in the ssh-agent opens {name} now."),
            format!("jit-ssh login {name}"),
        );
        return;
    }
    if let Some(user) = host.ssh_value("user")
        && !logins.contains(&user)
    {
        let names = either(&logins);
        found(
            out,
            "OTHER_USER",
            Severity::Warning,
            format!(
                "ssh would log in to {name} as {user}, and the certificate at hand is for {names}."
            ),
            format!(
                "ssh {}@{name}, or `User {}` for this host in ssh's configuration",
                logins[0], logins[0]
            ),
        );
    }
}
