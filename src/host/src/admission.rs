//! Whether sshd would let a login in by certificate at all, as far as settings that are none of ours
//! decide it: a set-up that is in force, and that nobody can use, is none. Pure.

use std::path::Path;

use jit_ssh_core::names::Login;

use crate::config::{Found, What};
use crate::sshd::Effective;

/// What our CA signs with, and the kind of certificate it makes of the keys `jit-ssh login` makes.
const CA_ALGORITHM: &str = "ssh-ed25519";
const CERTIFICATE_ALGORITHM: &str = "ssh-ed25519-cert-v01@openssh.com";

/// A setting of others that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// The keyword as sshd's manual spells it.
    pub(crate) keyword: &'static str,
    /// Whether anything gets past it.
    pub(crate) weight: Weight,
    /// What it does; a sentence without its full stop.
    pub(crate) problem: String,
    /// What to do about it.
    pub(crate) way_out: String,
}

/// How much an obstacle keeps out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// No certificate can log in.
    Shut,
    /// It depends on what is not known here: addresses, groups, what else a person shows.
    Doubt,
}

/// What stands in the way of logins as `login`. `exists` says whether there is such a file.
pub(crate) fn obstacles(
    login: &Login,
    found: &[Found],
    effective: &Effective,
    exists: impl Fn(&Path) -> bool,
) -> Vec<Obstacle> {
    let judged = [
        public_keys(effective),
        methods(effective),
        denied_users(login, effective),
        allowed_users(login, effective),
        groups("DenyGroups", effective, "whoever is in one of these groups is refused"),
        groups("AllowGroups", effective, "whoever is in none of these groups is refused"),
        root(login, effective),
        revoked_keys(effective, exists),
        algorithms("CASignatureAlgorithms", effective, CA_ALGORITHM),
        algorithms("PubkeyAcceptedAlgorithms", effective, CERTIFICATE_ALGORITHM),
        // Its name before OpenSSH 8.5.
        algorithms("PubkeyAcceptedKeyTypes", effective, CERTIFICATE_ALGORITHM),
    ];
    let mut obstacles: Vec<Obstacle> = judged.into_iter().flatten().collect();
    for obstacle in &mut obstacles {
        // sshd was asked about one address; for others, it may say otherwise.
        let elsewhere = What::ForSomeConnections { keyword: obstacle.keyword };
        if found.iter().any(|found| found.what == elsewhere) {
            obstacle.weight = Weight::Doubt;
        }
    }
    obstacles
}

fn shut(keyword: &'static str, problem: String, way_out: impl Into<String>) -> Option<Obstacle> {
    Some(Obstacle { keyword, weight: Weight::Shut, problem, way_out: way_out.into() })
}

fn doubt(keyword: &'static str, problem: String, way_out: impl Into<String>) -> Option<Obstacle> {
    Some(Obstacle { keyword, weight: Weight::Doubt, problem, way_out: way_out.into() })
}

fn public_keys(effective: &Effective) -> Option<Obstacle> {
    if effective.get("PubkeyAuthentication") != "no" {
        return None;
    }
    let problem = "`PubkeyAuthentication no` refuses every key and certificate".to_owned();
    shut("PubkeyAuthentication", problem, "set PubkeyAuthentication yes")
}

fn methods(effective: &Effective) -> Option<Obstacle> {
    const KEYWORD: &str = "AuthenticationMethods";
    let value = effective.get(KEYWORD);
    let lists: Vec<Vec<&str>> =
        value.split_whitespace().map(|list| list.split(',').collect()).collect();
    if matches!(value, "any" | "none") || lists.iter().any(|list| list == &["publickey"]) {
        return None;
    }
    let way_out = format!("let `publickey` alone be one of the lists of {KEYWORD}");
    match lists.iter().any(|list| list.contains(&"publickey")) {
        true => {
            doubt(KEYWORD, format!("`{KEYWORD} {value}` wants more than a certificate"), way_out)
        }
        false => shut(KEYWORD, format!("`{KEYWORD} {value}` has no use for certificates"), way_out),
    }
}

fn denied_users(login: &Login, effective: &Effective) -> Option<Obstacle> {
    const KEYWORD: &str = "DenyUsers";
    let patterns = effective.all(KEYWORD);
    let problem = |shuts| format!("`{KEYWORD} {}` {shuts}", patterns.join(" "));
    match named(login, patterns) {
        Named::Everywhere => shut(
            KEYWORD,
            problem("shuts this account out"),
            format!("take {login} out of {KEYWORD}, or out of this host's logins in hosts.toml"),
        ),
        Named::FromSomeHosts => doubt(
            KEYWORD,
            problem("shuts this account out from some addresses"),
            "is that what is wanted?",
        ),
        Named::Nowhere => None,
    }
}

fn allowed_users(login: &Login, effective: &Effective) -> Option<Obstacle> {
    const KEYWORD: &str = "AllowUsers";
    let patterns = effective.all(KEYWORD);
    if patterns.is_empty() {
        return None;
    }
    let problem = |lets| format!("`{KEYWORD} {}` {lets}", patterns.join(" "));
    match named(login, patterns) {
        Named::Everywhere => None,
        Named::FromSomeHosts => doubt(
            KEYWORD,
            problem("lets this account in from some addresses only"),
            "is that what is wanted?",
        ),
        Named::Nowhere => shut(
            KEYWORD,
            problem("leaves this account out"),
            format!("add {login} to {KEYWORD}, or take it out of this host's logins in hosts.toml"),
        ),
    }
}

/// Where a list of users names a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Nowhere,
    FromSomeHosts,
    Everywhere,
}

/// Looks for a login in patterns of the form USER or USER@HOST, as `match_user` of sshd does.
fn named(login: &Login, patterns: &[String]) -> Named {
    let by = |pattern: &String| {
        let (user, host) = pattern.split_once('@').unwrap_or((pattern, "*"));
        match (fits(user, login.as_str()), host) {
            (false, _) => Named::Nowhere,
            (true, "*") => Named::Everywhere,
            (true, _) => Named::FromSomeHosts,
        }
    };
    patterns.iter().map(by).max().unwrap_or(Named::Nowhere)
}

fn groups(keyword: &'static str, effective: &Effective, what: &str) -> Option<Obstacle> {
    let patterns = effective.all(keyword);
    if patterns.is_empty() {
        return None;
    }
    let problem = format!("`{keyword} {}` is in force: {what}", patterns.join(" "));
    doubt(keyword, problem, "check the account's groups with: id LOGIN")
}

/// Whether `AllowGroups` and `DenyGroups` let in somebody of these groups.
pub(crate) fn groups_let_in(effective: &Effective, groups: &[String]) -> bool {
    let has_one_of = |patterns: &[String]| {
        patterns.iter().any(|pattern| groups.iter().any(|group| fits(pattern, group)))
    };
    let allowed = effective.all("AllowGroups");
    (allowed.is_empty() || has_one_of(allowed)) && !has_one_of(effective.all("DenyGroups"))
}

fn root(login: &Login, effective: &Effective) -> Option<Obstacle> {
    const KEYWORD: &str = "PermitRootLogin";
    let value = effective.get(KEYWORD);
    if login.as_str() != "root" || !matches!(value, "no" | "forced-commands-only") {
        return None;
    }
    let way_out =
        format!("set {KEYWORD} prohibit-password, or take root out of this host's logins");
    shut(KEYWORD, format!("`{KEYWORD} {value}` refuses it"), way_out)
}

fn revoked_keys(effective: &Effective, exists: impl Fn(&Path) -> bool) -> Option<Obstacle> {
    const KEYWORD: &str = "RevokedKeys";
    let value = effective.get(KEYWORD);
    // One path, spaces and all; or several, which some versions take.
    let several = || value.split_whitespace().all(|path| exists(Path::new(path)));
    if value == "none" || exists(Path::new(value)) || several() {
        return None;
    }
    let problem =
        format!("`{KEYWORD} {value}` names a file that is not there: sshd then refuses every key");
    shut(KEYWORD, problem, format!("put the file there, or take {KEYWORD} out"))
}

fn algorithms(keyword: &'static str, effective: &Effective, needed: &str) -> Option<Obstacle> {
    let value = effective.get(keyword);
    if value == "none" || value.split(',').any(|pattern| fits(pattern, needed)) {
        return None;
    }
    let problem = format!("{keyword} lacks {needed}, which the certificates need");
    shut(keyword, problem, format!("add it: {keyword} +{needed}"))
}

/// Whether `text` fits a pattern of `*` and `?`, as sshd matches users.
fn fits(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), next) => {
            fits(pattern.split_at(1).1, text)
                || next.is_some_and(|next| fits(pattern, text.split_at(next.len_utf8()).1))
        }
        (Some(wanted), Some(next)) => {
            let rest =
                || fits(pattern.split_at(wanted.len_utf8()).1, text.split_at(next.len_utf8()).1);
            (wanted == '?' || wanted == next) && rest()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "pubkeyauthentication yes\nauthenticationmethods any\n\
        permitrootlogin without-password\nrevokedkeys none\n\
        casignaturealgorithms ssh-ed25519,rsa-sha2-256\n\
        pubkeyacceptedalgorithms ssh-ed25519,ssh-ed25519-cert-v01@openssh.com\n";

    /// The keyword and weight of what stands in the way, where `GOOD` says `to` instead of `from`.
    fn judged(login: &str, from: &str, to: &str) -> Vec<(&'static str, Weight)> {
        assert!(GOOD.contains(from));
        let effective = Effective::of(&GOOD.replace(from, to));
        let exists = |path: &Path| path == Path::new("/a b") || path == Path::new("/k");
        obstacles(&login.parse().unwrap(), &[], &effective, exists)
            .into_iter()
            .map(|obstacle| (obstacle.keyword, obstacle.weight))
            .collect()
    }

    /// The same with a line added.
    fn with(login: &str, line: &str) -> Vec<(&'static str, Weight)> {
        judged(login, "revokedkeys none\n", &format!("revokedkeys none\n{line}\n"))
    }

    #[test]
    fn a_usual_sshd_lets_certificates_in() {
        for login in ["deploy", "root"] {
            assert_eq!(with(login, ""), []);
        }
    }

    #[test]
    fn public_keys_must_be_on_and_alone_enough() {
        let value = |value: &str| judged("deploy", "methods any", &format!("methods {value}"));
        let off = judged("deploy", "authentication yes", "authentication no");
        assert_eq!(off, [("PubkeyAuthentication", Weight::Shut)]);
        assert_eq!(value("publickey"), []);
        assert_eq!(value("password publickey"), []);
        assert_eq!(value("password"), [("AuthenticationMethods", Weight::Shut)]);
        let more = [("AuthenticationMethods", Weight::Doubt)];
        assert_eq!(value("publickey,keyboard-interactive:pam password"), more);
        assert_eq!(value("publickey,publickey"), more);
    }

    #[test]
    fn users_are_matched_as_sshd_does_and_groups_only_deserve_a_word() {
        for (line, expected) in [
            ("denyusers bob", None),
            ("denyusers deployer", None),
            ("denyusers Deploy", None),
            ("denyusers deploy", Some(("DenyUsers", Weight::Shut))),
            ("denyusers bob\ndenyusers d?p*", Some(("DenyUsers", Weight::Shut))),
            ("denyusers *@*", Some(("DenyUsers", Weight::Shut))),
            ("denyusers deploy@10.*", Some(("DenyUsers", Weight::Doubt))),
            ("allowusers deploy", None),
            ("allowusers bob\nallowusers dep*", None),
            ("allowusers bob", Some(("AllowUsers", Weight::Shut))),
            ("allowusers bob@10.*\nallowusers deploy@10.*", Some(("AllowUsers", Weight::Doubt))),
            ("allowusers deploy@10.*\nallowusers deploy", None),
            ("denygroups sftp", Some(("DenyGroups", Weight::Doubt))),
            ("allowgroups ssh", Some(("AllowGroups", Weight::Doubt))),
        ] {
            assert_eq!(with("deploy", line), expected.into_iter().collect::<Vec<_>>(), "{line}");
        }
    }

    #[test]
    fn root_needs_a_word_of_its_own() {
        for (value, shut) in [
            ("yes", false),
            ("prohibit-password", false),
            ("no", true),
            ("forced-commands-only", true),
        ] {
            let found = judged("root", "without-password", value);
            assert_eq!(!found.is_empty(), shut, "{value}");
            assert_eq!(judged("deploy", "without-password", value), []);
        }
    }

    #[test]
    fn a_missing_file_of_revoked_keys_and_a_lacking_algorithm_shut_everybody_out() {
        for (value, shut) in
            [("/k", false), ("/a b", false), ("/k /k", false), ("/none", true), ("/k /none", true)]
        {
            let found = judged("deploy", "revokedkeys none", &format!("revokedkeys {value}"));
            assert_eq!(!found.is_empty(), shut, "{value}");
        }
        let ca = judged("deploy", "algorithms ssh-ed25519,rsa", "algorithms rsa");
        assert_eq!(ca, [("CASignatureAlgorithms", Weight::Shut)]);
        let bare = judged("deploy", ",ssh-ed25519-cert-v01@openssh.com", "");
        assert_eq!(bare, [("PubkeyAcceptedAlgorithms", Weight::Shut)]);
        assert_eq!(
            judged("deploy", "ssh-ed25519-cert-v01@openssh.com", "*-cert-v01@openssh.com"),
            []
        );
    }

    #[test]
    fn what_other_connections_may_be_told_otherwise_is_a_doubt() {
        let effective = Effective::of("pubkeyauthentication no\n");
        let found = |keyword| Found {
            what: What::ForSomeConnections { keyword },
            file: "/c".into(),
            line: 1,
            under: None,
        };
        let weight = |found: &[Found]| {
            let login = "deploy".parse().unwrap();
            obstacles(&login, found, &effective, |_| true).first().map(|obstacle| obstacle.weight)
        };
        assert_eq!(weight(&[found("PubkeyAuthentication")]), Some(Weight::Doubt));
        assert_eq!(weight(&[found("AllowUsers")]), Some(Weight::Shut));
    }
}
