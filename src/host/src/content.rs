//! What we write, byte by byte, and how it is known again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::key::CaKey;
use jit_ssh_core::names::{Jump, Principal};

use crate::current::FileState;
use crate::error::CommandError;
use crate::layout::Layout;
use crate::plan::HostFacts;
use crate::settings;

/// The first line of the whole files we write; what `--remove` knows them by.
const MARK: &str = "# Written by `jit-ssh-host setup`; undo with `jit-ssh-host setup --remove`.";

/// The line above the `Include` we put into the main file.
const INCLUDE_MARK: &str = "# This line and the next are by `jit-ssh-host setup`; undo with `jit-ssh-host setup --remove`.";

/// The drop-in. `AuthorizedPrincipalsCommand none` holds against a command that somebody sets
/// later, but not on OpenSSH 9.2 and 9.3, where the last one wins (bug 3574): `sshd -T` tells then.
pub(crate) fn drop_in(layout: &Layout, may_show_certificate: bool) -> String {
    format!(
        "{MARK}
# sshd takes the first value of each keyword: this file must stay the first one it reads.
TrustedUserCAKeys {}
AuthorizedPrincipalsFile {}
AuthorizedPrincipalsCommand none
# Without this file sshd refuses every key, not only certificates.
RevokedKeys {}
{}{}",
        layout.trusted_user_ca_keys(),
        layout.authorized_principals_file(),
        layout.revoked_keys().display(),
        if may_show_certificate { certificate_include_line(layout) } else { String::new() },
        jump_block()
    )
}

/// What holds for the account of jumps, on every host, whether anything is behind it yet: nothing but
/// forwards to where its principals file says. That file alone would also let remote forwards through,
/// and sessions where a certificate does not forbid them. It comes last, since a `Match` goes on to the end.
fn jump_block() -> String {
    let mut block = format!(
        "# Who jumps through this host gets no session, and forwards from here alone.\nMatch User {}\n",
        Jump::LOGIN
    );
    for (keyword, value) in JUMP_SETTINGS {
        let _ = writeln!(block, "    {keyword} {value}");
    }
    block
}

/// The settings of the account of jumps; what `sshd -T` must confirm of them.
pub(crate) const JUMP_SETTINGS: [(&str, &str); 8] = [
    ("MaxSessions", "0"),
    ("DisableForwarding", "no"),
    ("AllowTcpForwarding", "local"),
    ("AllowStreamLocalForwarding", "no"),
    ("AllowAgentForwarding", "no"),
    ("X11Forwarding", "no"),
    ("PermitTunnel", "no"),
    ("PermitTTY", "no"),
];

/// Whether the drop-in in place holds jumps to forwards.
pub(crate) fn has_jump_block(state: &FileState) -> bool {
    state.content.ends_with(jump_block().as_bytes())
}

/// The drop-in's line for a certificate that is there or may come.
pub(crate) fn certificate_include_line(layout: &Layout) -> String {
    format!("Include {}\n", layout.certificate_include().display())
}

/// What has sshd show this host's certificate. sshd shows each of its certificates, so those of others
/// stay.
pub(crate) fn certificate_include(layout: &Layout) -> String {
    format!("{MARK}\nHostCertificate {}\n", layout.host_certificate().display())
}

/// The CA keys, one per line, below the version they are from; a sealed key comes last.
pub(crate) fn user_ca(facts: &HostFacts, offline: Option<&CaKey>) -> String {
    let mut text = format!("{MARK}\n{VERSION}{}{OF_CA}{}\n", facts.version, facts.ca);
    for (number, key) in &facts.ca_keys {
        let _ = writeln!(text, "{key} jit-ssh signer {number}");
    }
    if let Some(key) = offline {
        let _ = writeln!(text, "{key} jit-ssh offline");
    }
    text
}

/// Begins the line of `user_ca.pub` that says which bundle it is from.
const VERSION: &str = "# From bundle version ";
const OF_CA: &str = " of the CA ";

/// Refuses an older bundle of the same CA: it might bring back a key that was withdrawn.
///
/// # Errors
/// If `in_place`, the file at `path`, is from a higher version than `facts`.
pub(crate) fn check_version(
    facts: &HostFacts,
    path: &Path,
    in_place: &FileState,
) -> Result<(), CommandError> {
    let text = String::from_utf8_lossy(&in_place.content);
    let Some((version, ca)) = noted(&text) else {
        return Ok(());
    };
    match version.parse::<u64>() {
        Ok(version) if ca == facts.ca.to_string() && version > facts.version => {
            Err(CommandError::new(format!(
                "The CA offers bundle version {}, but {} is from version {version}: an older bundle may bring back a key that was withdrawn.",
                facts.version,
                path.display()
            ))
            .hint("if the CA was put back on purpose, run setup --remove first"))
        }
        _ => Ok(()),
    }
}

/// The main file with an `Include` of our drop-in before everything else.
pub(crate) fn with_include(layout: &Layout, config: &[u8]) -> Vec<u8> {
    let head = format!("{INCLUDE_MARK}\n{}\n", layout.include_line());
    [head.as_bytes(), config].concat()
}

/// The main file without our mark and the line below it, if that is an `Include`.
pub(crate) fn without_include(config: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(config.len());
    let mut lines = config.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        if line.trim_ascii_end() == INCLUDE_MARK.as_bytes() {
            lines.next_if(|next| next.trim_ascii_start().starts_with(b"Include "));
        } else {
            kept.extend_from_slice(line);
        }
    }
    kept
}

/// Whether the CA keys in `state` are noted as those of this CA.
pub(crate) fn is_of_ca(state: &FileState, ca: RootFingerprint) -> bool {
    let text = String::from_utf8_lossy(&state.content);
    noted(&text).is_some_and(|(_, noted)| noted == ca.to_string())
}

/// The version and the CA that `user_ca.pub` is from.
fn noted(text: &str) -> Option<(&str, &str)> {
    text.lines().find_map(|line| line.strip_prefix(VERSION)?.split_once(OF_CA))
}

/// Whether a whole file is ours.
pub(crate) fn is_marked(state: &FileState) -> bool {
    [MARK, settings::MARK].iter().any(|mark| state.content.starts_with(mark.as_bytes()))
}

/// The principals file of one login.
pub(crate) fn principals(principal: &Principal) -> String {
    format!("{principal}\n")
}

/// The principals file of the account of jumps: a line for each host behind this one, and none that opens
/// the account itself. Empty where nothing is behind.
pub(crate) fn jumps(jumps: &BTreeMap<Jump, String>) -> String {
    jumps.iter().map(|(jump, to)| format!("{}{jump}\n", jump_options(to))).collect()
}

/// The options before a jump's principal; `to` is where it may be forwarded, byte for byte.
fn jump_options(to: &str) -> String {
    format!("restrict,port-forwarding,permitopen=\"{to}\" ")
}

/// The jump and where it may go on to, of a line that setup writes.
pub(crate) fn jump_of_line(line: &str) -> Option<(Jump, &str)> {
    let (options, principal) = line.split_once(' ')?;
    let jump = principal.parse().ok()?;
    let (_, to) = options.split_once("permitopen=\"")?;
    let to = to.strip_suffix('"')?;
    let plain = to.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte));
    (plain && format!("{options} ") == jump_options(to)).then_some((jump, to))
}

/// Whether the principals file `name` says exactly what setup writes, for whatever host name.
pub(crate) fn is_principals_of(name: &str, state: &FileState) -> bool {
    if name == Jump::LOGIN
        && let Ok(text) = std::str::from_utf8(&state.content)
        && text.lines().all(|line| jump_of_line(line).is_some())
    {
        return true;
    }
    let line = state.content.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
    let principal = line.and_then(|line| line.parse::<Principal>().ok());
    principal.is_some_and(|principal| principal.login().as_str() == name)
}
