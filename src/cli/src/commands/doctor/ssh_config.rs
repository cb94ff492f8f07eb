//! What of ssh's own configuration keeps a certificate from being used, or makes it reach further than
//! it should: by `ssh -G`, which says what is in force. Pure.

use super::facts::{ConfigSeen, Facts, HostSeen, Listed};
use super::finding::{Finding, Severity};
use super::rules::found;

/// Judges what `ssh-config` wrote and what else is in force for the host.
pub(super) fn judge(facts: &Facts, out: &mut Vec<Finding>) {
    included(&facts.config, out);
    let Some(host) = &facts.host else { return };
    if let Err(why) = &host.ssh {
        found(
            out,
            "SSH_UNUSABLE",
            Severity::Critical,
            format!("ssh does not say what is in force for {}: {why}", host.name),
            format!("mend what it names; `ssh -G {}` should list settings", host.name),
        );
        return;
    }
    identities(&facts.config, host, out);
    reach(host, out);
    if let Some(listed) = &host.listed {
        destination(&facts.config, host, listed, out);
    }
}

/// Whether our file is the first thing that ssh reads: ssh takes the first value it finds.
fn included(config: &ConfigSeen, out: &mut Vec<Finding>) {
    let file = config.file.display();
    if !config.written {
        found(
            out,
            "SSH_CONFIG_ABSENT",
            Severity::Note,
            "Plain ssh does not ask for access by itself: no configuration was written for it.",
            "jit-ssh ssh-config --install, if you want that",
        );
        return;
    }
    let ours = config.ours.display().to_string();
    let lines = || {
        config.text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    };
    match lines().position(|line| includes(line, &ours)) {
        Some(0) => {}
        Some(_) => found(
            out,
            "SSH_CONFIG_NOT_FIRST",
            Severity::Warning,
            format!(
                "{file} includes {ours}, but after other lines, which win or make it part of their block."
            ),
            "move that Include line to the top of the file",
        ),
        None => found(
            out,
            "SSH_CONFIG_NOT_INCLUDED",
            Severity::Warning,
            format!("{ours} is there, and {file} does not include it."),
            "jit-ssh ssh-config --install",
        ),
    }
}

fn includes(line: &str, path: &str) -> bool {
    let (word, rest) = line.split_once([' ', '\t', '=']).unwrap_or((line, ""));
    word.eq_ignore_ascii_case("include") && rest.trim().trim_matches('"') == path
}

fn identities(config: &ConfigSeen, host: &HostSeen, out: &mut Vec<Finding>) {
    let name = &host.name;
    if host.ssh_value("pubkeyauthentication").is_some_and(|value| value == "no" || value == "false")
    {
        found(
            out,
            "PUBKEY_OFF",
            Severity::Critical,
            format!("PubkeyAuthentication is off for {name}, so no certificate is offered."),
            "take that line out of ssh's configuration",
        );
    }
    let key = config_path(&host.key_file);
    let names_ours = ["identityfile", "certificatefile"]
        .iter()
        .any(|keyword| host.ssh_values(keyword).any(|value| value.starts_with(&key)));
    if host.ssh_value("identitiesonly") == Some("yes") && !names_ours {
        found(
            out,
            "IDENTITIES_ONLY",
            Severity::Critical,
            format!(
                "IdentitiesOnly is on for {name}, so ssh does not offer the certificate in the agent."
            ),
            "take that line out for this host, or include jit-ssh's file before it: jit-ssh ssh-config --install",
        );
    }
    if let Some(agent) = host.ssh_value("identityagent")
        && agent != "SSH_AUTH_SOCK"
        && agent != config.agent_socket
    {
        found(
            out,
            "OTHER_AGENT",
            Severity::Critical,
            format!("ssh asks another agent for {name} (IdentityAgent {agent}) than jit-ssh does."),
            format!("take IdentityAgent out for this host, or export SSH_AUTH_SOCK={agent}"),
        );
    }
}

fn config_path(path: &std::path::Path) -> String {
    path.display().to_string()
}

fn reach(host: &HostSeen, out: &mut Vec<Finding>) {
    let name = &host.name;
    let on = |keyword| host.ssh_value(keyword).filter(|value| *value != "no" && *value != "false");
    if let Some(value) = on("controlmaster") {
        found(
            out,
            "CONTROL_MASTER",
            Severity::Warning,
            format!(
                "ControlMaster is {value} for {name}: an open master lets in for as long as it lasts, as who it was opened for."
            ),
            "ControlMaster no for this host; an open one ends by: ssh -O exit HOST",
        );
    }
    if on("forwardagent").is_some() {
        found(
            out,
            "FORWARD_AGENT",
            Severity::Warning,
            format!(
                "ForwardAgent is on for {name}: who is root there can use all your keys while you are connected."
            ),
            "ForwardAgent no for this host; to go further use ProxyJump",
        );
    }
}

fn destination(config: &ConfigSeen, host: &HostSeen, listed: &Listed, out: &mut Vec<Finding>) {
    let name = &host.name;
    if let (Some((address, port)), Some(hostname), Some(at)) =
        (&listed.address, host.ssh_value("hostname"), host.ssh_value("port"))
        && (hostname != address || at != port.to_string())
    {
        found(
            out,
            "OTHER_HOSTNAME",
            Severity::Warning,
            format!(
                "ssh connects to {hostname} port {at}, and the bundle has {name} at {address} port {port}."
            ),
            "jit-ssh ssh-config --install writes the address; or set HostName and Port for this host",
        );
    }
    if let Some(user) = host.ssh_value("user")
        && !listed.logins.is_empty()
        && !listed.logins.iter().any(|login| login == user)
    {
        found(
            out,
            "NO_SUCH_LOGIN",
            Severity::Warning,
            format!(
                "ssh would log in to {name} as {user}, which is no account one can ask for there."
            ),
            format!("ssh LOGIN@{name}, with one of: {}", listed.logins.join(", ")),
        );
    }
    let none = |value: &&str| *value != "none";
    if let Some(way) =
        ["proxycommand", "proxyjump"].iter().find_map(|key| host.ssh_value(key).filter(none))
        && !listed.via
    {
        found(
            out,
            "OTHER_WAY",
            Severity::Note,
            format!("ssh reaches {name} by way of `{way}`, and the bundle names no way for it."),
            "none, if your network needs it",
        );
    }
    let known = config.known_hosts.display().to_string();
    let trusted = host.ssh_values("userknownhostsfile").any(|value| value.contains(&known));
    if listed.has_key && !trusted {
        found(
            out,
            "HOST_TRUST",
            Severity::Warning,
            format!(
                "ssh does not read {known} for {name}, so it asks about the host's key instead of trusting its certificate."
            ),
            format!(
                "UserKnownHostsFile ~/.ssh/known_hosts \"{known}\" (jit-ssh ssh-config --install writes it)"
            ),
        );
    }
}
