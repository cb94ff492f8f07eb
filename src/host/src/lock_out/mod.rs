//! Which ways into this host there are besides our certificates: the day CA, guard or drop-in fail,
//! somebody must get in to mend them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use jit_ssh_core::names::Login;

use crate::admission::{self, Weight};
use crate::doctor::facts::Asked;
use crate::doctor::gather::keys;
use crate::error::CommandError;
use crate::sshd::{Effective, Sshd};

/// A file that Kerberos logins need.
const KEYTAB: &str = "/etc/krb5.keytab";

/// What an account has to show to sshd.
struct Account {
    login: Login,
    effective: Effective,
    has_key: bool,
    has_password: bool,
}

/// The ways in besides certificates of ours, each in words; empty if there is none that is known.
///
/// # Errors
/// What sshd says.
pub(crate) fn other_ways(sshd: &Sshd) -> Result<Vec<String>, CommandError> {
    let root: Login = "root".parse().map_err(|e| CommandError::new(format!("{e}.")))?;
    let effective = sshd.effective(&root)?;
    let mut ways = general(&effective, |path| path.exists());
    if !ways.is_empty() {
        return Ok(ways);
    }
    let asked = Asked { user: "root".to_owned(), for_match: None, is_login: true, effective };
    let standing = keys::standing(&keys::accounts(), &[asked]);
    let mut shown: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for keys in standing {
        shown.entry(keys.user).or_default().0 = true;
    }
    match fs::read_to_string("/etc/shadow") {
        Ok(text) => with_password(&text).for_each(|user| shown.entry(user).or_default().1 = true),
        // Who may not look does not know: root may have one.
        Err(_) => shown.entry("root".to_owned()).or_default().1 = true,
    }
    for (user, (has_key, has_password)) in shown {
        let Ok(login) = user.parse::<Login>() else { continue };
        let effective = sshd.effective(&login)?;
        ways.extend(of_account(&Account { login, effective, has_key, has_password }));
    }
    Ok(ways)
}

/// Ways that are open to whom others vouch for.
fn general(effective: &Effective, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let is_on = |keyword: &str| effective.get(keyword) == "yes";
    let mut ways = Vec::new();
    let command = effective.get("AuthorizedKeysCommand");
    if is_on("PubkeyAuthentication") && command != "none" && allows(effective, "publickey") {
        ways.push(format!("keys by `AuthorizedKeysCommand {command}`"));
    }
    if is_on("HostbasedAuthentication") && allows(effective, "hostbased") {
        ways.push("the word of other hosts".to_owned());
    }
    let by_kerberos = is_on("GSSAPIAuthentication") && allows(effective, "gssapi-with-mic");
    if by_kerberos && exists(Path::new(KEYTAB)) {
        ways.push("Kerberos".to_owned());
    }
    ways
}

fn of_account(account: &Account) -> Option<String> {
    let Account { login, effective, has_key, has_password } = account;
    let obstacles = admission::obstacles(login, &[], effective, |_| true);
    let is_shut = |keywords: &[&str]| {
        obstacles.iter().any(|o| o.weight == Weight::Shut && keywords.contains(&o.keyword))
    };
    if is_shut(&["DenyUsers", "AllowUsers"]) {
        return None;
    }
    let by_key = effective.get("PubkeyAuthentication") == "yes"
        && allows(effective, "publickey")
        && !is_shut(&["PermitRootLogin"]);
    if *has_key && by_key {
        return Some(format!("{login}'s keys"));
    }
    let is_on = |keyword: &str| effective.get(keyword) == "yes";
    let is_asked = (is_on("PasswordAuthentication") && allows(effective, "password"))
        || (is_on("KbdInteractiveAuthentication")
            && is_on("UsePAM")
            && allows(effective, "keyboard-interactive"));
    let may = login.as_str() != "root" || is_on("PermitRootLogin");
    (*has_password && is_asked && may).then(|| format!("{login}'s password"))
}

/// Whether one method alone is enough, as far as `AuthenticationMethods` says.
fn allows(effective: &Effective, method: &str) -> bool {
    let value = effective.get("AuthenticationMethods");
    let is_it = |list: &str| list.split(':').next() == Some(method);
    matches!(value, "any" | "none") || value.split_whitespace().any(is_it)
}

/// The accounts of `/etc/shadow` that have a password.
fn with_password(shadow: &str) -> impl Iterator<Item = String> {
    shadow.lines().filter_map(|line| {
        let (user, rest) = line.split_once(':')?;
        let hash = rest.split(':').next().unwrap_or_default();
        hash.starts_with('$').then(|| user.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = "pubkeyauthentication yes\npasswordauthentication yes\nusepam yes\n\
        kbdinteractiveauthentication no\npermitrootlogin without-password\n\
        authenticationmethods any\n";

    fn way(login: &str, shows: (bool, bool), from: &str, to: &str) -> Option<String> {
        assert!(OPEN.contains(from));
        let (has_key, has_password) = shows;
        let effective = Effective::of(&OPEN.replace(from, to));
        of_account(&Account { login: login.parse().unwrap(), effective, has_key, has_password })
    }

    #[test]
    fn an_account_is_a_way_in_by_a_key_or_a_password_that_sshd_takes() {
        let (key, password) = ((true, false), (false, true));
        for (login, shows, from, to, expected) in [
            ("bob", key, "", "", Some("bob's keys")),
            ("root", key, "", "", Some("root's keys")),
            ("bob", password, "", "", Some("bob's password")),
            ("root", password, "", "", None),
            ("root", password, "without-password", "yes", Some("root's password")),
            ("bob", (false, false), "", "", None),
            ("root", key, "without-password", "no", None),
            ("bob", key, "pubkeyauthentication yes", "pubkeyauthentication no", None),
            ("bob", key, "methods any", "methods password", None),
            ("bob", key, "methods any", "methods publickey,password", None),
            ("bob", password, "methods any", "methods password", Some("bob's password")),
            ("bob", password, "passwordauthentication yes", "passwordauthentication no", None),
            (
                "bob",
                password,
                "passwordauthentication yes\nusepam yes\nkbdinteractiveauthentication no",
                "passwordauthentication no\nusepam yes\nkbdinteractiveauthentication yes",
                Some("bob's password"),
            ),
            ("bob", key, "usepam yes", "usepam yes\nallowusers deploy", None),
            ("bob", key, "usepam yes", "usepam yes\ndenyusers deploy", Some("bob's keys")),
        ] {
            assert_eq!(way(login, shows, from, to).as_deref(), expected, "{login} {to}");
        }
    }

    #[test]
    fn what_others_vouch_for_is_a_way_in() {
        let ways = |line: &str| {
            general(&Effective::of(&format!("{OPEN}{line}\n")), |path| path == Path::new(KEYTAB))
        };
        assert!(ways("").is_empty());
        assert_eq!(ways("authorizedkeyscommand /x").len(), 1);
        assert_eq!(ways("hostbasedauthentication yes").len(), 1);
        assert_eq!(ways("gssapiauthentication yes"), ["Kerberos"]);
        let kerberos = Effective::of(&format!("{OPEN}gssapiauthentication yes\n"));
        assert!(general(&kerberos, |_| false).is_empty());
    }

    #[test]
    fn a_locked_or_empty_password_is_none() {
        let shadow = "a:$y$j9T$x:1:::::\nb:!:1\nc:*:1\nd::1\ne:!$y$x:1\nf:x";
        assert_eq!(with_password(shadow).collect::<Vec<_>>(), ["a"]);
    }
}
