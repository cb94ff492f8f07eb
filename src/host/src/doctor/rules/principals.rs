//! The principals files: who may log in as whom, and whether sshd can read it.

use std::path::Path;

use jit_ssh_core::names::{Jump, Principal};

use crate::content;
use crate::doctor::facts::{Facts, Kind, Look, PrincipalsFile};
use crate::doctor::finding::Severity::{Critical, Warning};
use crate::doctor::finding::{Description, Effect, Finding, Place};

/// What can be weak here. Each names the login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PrincipalsWeakness {
    /// There is not one file.
    None,
    /// A file can not be read: why.
    Unreadable(String, String),
    /// sshd reads it as the account itself, which may not.
    Hidden(String),
    /// It names nobody.
    Empty(String),
    /// A bare login.
    Bare(String),
    /// Another host's principal: which, and this host's name.
    OtherHost(String, String, String),
    /// Another login's principal: which.
    OtherLogin(String, String),
    /// A line that no principal of ours has the form of.
    Malformed(String),
    /// A line that lets more through than a jump to one host.
    OpenJump(String),
    /// There is no such account.
    NoAccount(String),
}

use PrincipalsWeakness as W;

const AGAIN: &str = "run jit-ssh-host setup again; it writes the file anew";

impl PrincipalsWeakness {
    /// The weakness in words.
    pub(crate) fn describe(&self) -> Description {
        match self {
            W::None => Description::new(
                "NO_PRINCIPALS",
                Critical,
                "There is no principals file at all: nobody can log in with a certificate.",
                "give this host logins in hosts.toml, then run jit-ssh-host setup again",
            )
            .breaks(Effect::Shut("there is no principals file")),
            W::Unreadable(login, why) => Description::new(
                "PRINCIPALS_UNREADABLE",
                Critical,
                format!("The principals file of {login} can not be read: {why}. sshd refuses every certificate for it."),
                AGAIN,
            ),
            W::Hidden(login) => Description::new(
                "PRINCIPALS_HIDDEN",
                Critical,
                format!("sshd reads this as the account {login} itself, and it is not readable for everybody: certificates for {login} are refused."),
                "chmod 0644 the file, and 0755 every folder above it",
            ),
            W::Empty(login) => Description::new(
                "PRINCIPALS_EMPTY",
                Warning,
                format!("The principals file of {login} names nobody: certificates for {login} are refused."),
                AGAIN,
            ),
            W::Bare(login) => Description::new(
                "PRINCIPAL_BARE",
                Critical,
                format!("This line is a bare login: a certificate for it logs in as {login} here and on every host with such a line, whatever host it was asked for."),
                AGAIN,
            )
            .breaks(Effect::Unscoped),
            W::OtherHost(login, principal, name) => Description::new(
                "PRINCIPAL_OTHER_HOST",
                Critical,
                format!("{principal} is not a principal of {name}: access to the other host logs in as {login} here."),
                AGAIN,
            )
            .breaks(Effect::Unscoped),
            W::OtherLogin(login, principal) => Description::new(
                "PRINCIPAL_OTHER_LOGIN",
                Critical,
                format!("{principal} is a principal of another login: who was granted that one logs in as {login}."),
                AGAIN,
            )
            .breaks(Effect::Unscoped),
            W::Malformed(login) => Description::new(
                "PRINCIPAL_MALFORMED",
                Warning,
                format!("This line is not of the form login@host, and decides who logs in as {login}: jit-ssh-host did not write it, and no certificate of this CA fits it."),
                AGAIN,
            ),
            W::OpenJump(login) => Description::new(
                "PRINCIPAL_OPEN_JUMP",
                Critical,
                format!("This line lets {login} do more than go on to one host: it has not the options that jit-ssh-host gives to jumps."),
                AGAIN,
            )
            .breaks(Effect::Unscoped),
            W::NoAccount(login) => Description::new(
                "PRINCIPALS_NO_ACCOUNT",
                Warning,
                format!("There is no account {login} on this host: who is granted it can not log in, and an account made by that name later is open at once."),
                format!("make the account, or take {login} out of this host's logins in hosts.toml and run setup again"),
            ),
        }
    }
}

/// Finds them.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    if !facts.is_set_up() {
        return Vec::new();
    }
    let dir = facts.layout.principals_dir();
    if facts.principals.is_empty() {
        return vec![W::None.at(Place::file(&dir))];
    }
    let mut findings = Vec::new();
    let path_to = |node: &Path| dir.starts_with(node);
    let shut = facts
        .nodes
        .iter()
        .find(|node| node.kind == Kind::Dir && path_to(&node.path) && node.mode & 0o001 == 0);
    for file in &facts.principals {
        let path = dir.join(&file.login);
        match shut {
            Some(dir) => findings.push(W::Hidden(file.login.clone()).at(Place::file(&dir.path))),
            None if file.mode & 0o004 == 0 => {
                findings.push(W::Hidden(file.login.clone()).at(Place::file(&path)));
            }
            None => {}
        }
        if !file.has_account {
            findings.push(W::NoAccount(file.login.clone()).at(Place::file(&path)));
        }
        findings.extend(lines(facts, file, &path));
    }
    findings
}

fn lines(facts: &Facts, file: &PrincipalsFile, path: &Path) -> Vec<Finding> {
    let login = || file.login.clone();
    let content = match &file.content {
        Look::Absent => return Vec::new(),
        Look::Unreadable(why) => {
            return vec![W::Unreadable(login(), why.clone()).at(Place::file(path))];
        }
        Look::Seen(content) => String::from_utf8_lossy(content).into_owned(),
    };
    let mut findings = Vec::new();
    let mut named = 0_usize;
    for (place, line) in content.lines().enumerate() {
        // sshd cuts the line at a `#`, and takes the last word for the principal, options before.
        let line = line.split('#').next().unwrap_or_default();
        let Some(word) = line.split_whitespace().last() else { continue };
        named += 1;
        let place = Place::line(path, place + 1);
        let weakness = match word.parse::<Principal>() {
            Ok(principal) if principal.login().is_jump() => Some(W::OpenJump(login())),
            Ok(principal) => match facts.settings() {
                Some(settings) if *principal.host() != settings.name => {
                    let name = settings.name.to_string();
                    Some(W::OtherHost(login(), principal.to_string(), name))
                }
                _ if principal.login().as_str() != file.login => {
                    Some(W::OtherLogin(login(), principal.to_string()))
                }
                _ => None,
            },
            // `jump@bastion/host`, which only opens the way on.
            Err(_) if word.parse::<Jump>().is_ok() => jump(facts, file, line),
            Err(_) if !word.contains('@') => Some(W::Bare(login())),
            Err(_) => Some(W::Malformed(login())),
        };
        findings.extend(weakness.map(|weakness| weakness.at(place)));
    }
    // Where nothing is behind a bastion, nobody jumps through it.
    if named == 0 && file.login != Jump::LOGIN {
        findings.push(W::Empty(login()).at(Place::file(path)));
    }
    findings
}

/// What is wrong with the line of a jump.
fn jump(facts: &Facts, file: &PrincipalsFile, line: &str) -> Option<W> {
    let login = || file.login.clone();
    let Some((jump, _)) = content::jump_of_line(line.trim()) else {
        return Some(W::OpenJump(login()));
    };
    if file.login != Jump::LOGIN {
        return Some(W::OtherLogin(login(), jump.to_string()));
    }
    let settings = facts.settings().filter(|settings| *jump.bastion() != settings.name)?;
    Some(W::OtherHost(login(), jump.to_string(), settings.name.to_string()))
}
