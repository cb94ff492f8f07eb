//! Which ways into this host there are besides our certificates: the day CA, guard or drop-in fail,
//! somebody must get in to mend them.
//!
//! A way counts if it leads a person to a shell of root, or of an account that sudo lets have one: whoever
//! gets no further can mend nothing. `su` does not count: it asks for a password that may be known to
//! nobody, and PAM may refuse it. What is not certain does not count either, since the error on that
//! side costs an option, and on the other the host.
//!
//! - [`key_line`]: a line of `authorized_keys`; [`account`]: what passwd and shadow say.

mod account;
mod key_line;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jit_ssh_core::names::Login;
use jit_ssh_core::time::UnixTime;

use crate::admission::{self, Weight};
use crate::clock::now;
use crate::doctor::gather::keys::{self, Account};
use crate::error::CommandError;
use crate::sshd::{Effective, Sshd};
use account::Shadow;

/// A file that Kerberos logins need.
const KEYTAB: &str = "/etc/krb5.keytab";

/// Where accounts have their passwords.
const SHADOW: &str = "/etc/shadow";

/// Seconds of a day.
const DAY: u64 = 86_400;

/// The ways in besides certificates of ours.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    /// Those that count, in words: account, and file where there is one.
    pub(crate) certain: Vec<String>,
    /// What may let somebody in, and nobody can tell here whether it does.
    pub(crate) uncertain: Vec<String>,
}

/// An account, and all that decides whether it is a way in.
struct Candidate {
    login: Login,
    effective: Effective,
    groups: Vec<String>,
    /// Each of its key files that sshd would believe, with its text.
    keys: Vec<(PathBuf, String)>,
    shadow: Shadow,
}

/// Looks for the ways in besides certificates of ours.
///
/// # Errors
/// What sshd says.
pub(crate) fn other_ways(sshd: &Sshd) -> Result<Ways, CommandError> {
    let root: Login = "root".parse().map_err(|e| CommandError::new(format!("{e}.")))?;
    let general = sshd.effective(&root)?;
    let mut ways = Ways { uncertain: uncertain(&general, |path| path.exists()), ..Ways::default() };
    // Who may not look does not know, and counts nothing.
    let shadows = fs::read_to_string(SHADOW).unwrap_or_default();
    let now = now();
    for account in keys::accounts() {
        let Ok(login) = account.name.parse::<Login>() else { continue };
        if !account::is_shell(&account.shell, is_program) || !is_root_or_becomes_it(&account) {
            continue;
        }
        let effective = sshd.effective(&login)?;
        let keys = key_files(&account, &effective);
        let shadow = account::shadow(&shadows, &account.name, now.0 / DAY).unwrap_or_default();
        let groups = groups(&account.name);
        let candidate = Candidate { login, effective, groups, keys, shadow };
        ways.certain.extend(of_account(&candidate, now));
    }
    Ok(ways)
}

/// Ways that are open to whom others vouch for: whether there is anybody, nobody knows here.
fn uncertain(effective: &Effective, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut ways = Vec::new();
    let command = effective.get("AuthorizedKeysCommand");
    if effective.is_on("PubkeyAuthentication")
        && command != "none"
        && allows(effective, "publickey")
    {
        ways.push(format!("keys by `AuthorizedKeysCommand {command}`"));
    }
    if effective.is_on("HostbasedAuthentication") && allows(effective, "hostbased") {
        ways.push("the word of other hosts".to_owned());
    }
    let by_kerberos =
        effective.is_on("GSSAPIAuthentication") && allows(effective, "gssapi-with-mic");
    if by_kerberos && exists(Path::new(KEYTAB)) {
        ways.push("Kerberos".to_owned());
    }
    ways
}

fn of_account(candidate: &Candidate, now: UnixTime) -> Vec<String> {
    let Candidate { login, effective, keys, shadow, .. } = candidate;
    let obstacles = admission::obstacles(login, &[], effective, |_| true);
    let is_shut = |keywords: &[&str]| {
        obstacles.iter().any(|o| o.weight == Weight::Shut && keywords.contains(&o.keyword))
    };
    // A forced command is no shell, and who is locked into a folder mends nothing outside of it.
    let is_confined =
        ["ForceCommand", "ChrootDirectory"].iter().any(|word| effective.get(word) != "none");
    let is_refused = is_shut(&["DenyUsers", "AllowUsers"])
        || !admission::groups_let_in(effective, &candidate.groups)
        || shadow.has_expired
        || (shadow.is_locked && !effective.is_on("UsePAM"));
    if is_confined || is_refused {
        return Vec::new();
    }
    let by_key = effective.is_on("PubkeyAuthentication")
        && allows(effective, "publickey")
        && !is_shut(&["PermitRootLogin"])
        && !shadow.must_change;
    let mut ways = Vec::new();
    for (file, text) in keys.iter().filter(|_| by_key) {
        let lines = text.lines().enumerate();
        let mut opens = lines.filter(|(_, line)| key_line::opens_shell(line, now));
        if let Some((place, _)) = opens.next() {
            let (file, more) = (file.display(), opens.count());
            let more = if more > 0 { format!(" and {more} more there") } else { String::new() };
            ways.push(format!("{login} by the key in {file}:{}{more}", place.saturating_add(1)));
        }
    }
    let is_asked = (effective.is_on("PasswordAuthentication") && allows(effective, "password"))
        || (effective.is_on("KbdInteractiveAuthentication")
            && effective.is_on("UsePAM")
            && allows(effective, "keyboard-interactive"));
    let may = login.as_str() != "root" || effective.is_on("PermitRootLogin");
    if shadow.has_password && is_asked && may {
        ways.push(format!("{login} by the password in {SHADOW}"));
    }
    ways
}

/// Whether one method alone is enough, as far as `AuthenticationMethods` says.
fn allows(effective: &Effective, method: &str) -> bool {
    let value = effective.get("AuthenticationMethods");
    let is_it = |list: &str| list.split(':').next() == Some(method);
    matches!(value, "any" | "none") || value.split_whitespace().any(is_it)
}

/// The account's key files that sshd would believe.
fn key_files(account: &Account, effective: &Effective) -> Vec<(PathBuf, String)> {
    let is_strict = effective.is_on("StrictModes");
    let files = keys::files(account, effective.get("AuthorizedKeysFile")).into_iter();
    let believed = files.filter(|file| !is_strict || is_safe(file, account));
    believed.filter_map(|file| Some((file.clone(), fs::read_to_string(file).ok()?))).collect()
}

/// Whether nobody but root and the account itself can write to a file or to a folder above it, up to the
/// account's home: what sshd asks with `StrictModes`.
fn is_safe(file: &Path, account: &Account) -> bool {
    let (Ok(file), home) = (fs::canonicalize(file), fs::canonicalize(&account.home)) else {
        return false;
    };
    let home = home.ok();
    for path in file.ancestors() {
        let is_ok = fs::metadata(path).is_ok_and(|found| {
            found.mode() & 0o022 == 0
                && (found.uid() == 0 || found.uid().to_string() == account.uid)
        });
        if !is_ok {
            return false;
        }
        if home.as_deref() == Some(path) {
            break;
        }
    }
    true
}

fn is_program(path: &str) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn is_root_or_becomes_it(account: &Account) -> bool {
    account.uid == "0" || may_become_root(Path::new("sudo"), &account.name)
}

/// Whether sudo would let the account run a shell as root: asked of sudo, which alone reads all of its rules.
fn may_become_root(sudo: &Path, login: &str) -> bool {
    // Nothing is run: with -l and a command, sudo only says whether it would be allowed.
    let mut ask = Command::new(sudo);
    ask.args(["-n", "-l", "-U", login, "/bin/sh"]);
    ask.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    ask.status().is_ok_and(|status| status.success())
}

fn groups(login: &str) -> Vec<String> {
    let output = Command::new("id").args(["-Gn", "--", login]).stdin(Stdio::null()).output();
    let said = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = "pubkeyauthentication yes\npasswordauthentication yes\nusepam yes\n\
        kbdinteractiveauthentication no\npermitrootlogin without-password\n\
        authenticationmethods any\nforcecommand none\nchrootdirectory none\n";
    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKoMHfeUSGcYJWGysvTZaqm59QUJXVrgQ96Nhwe6rdj";
    const KEYS: (&str, Shadow) = ("# mine\nKEY\n", NO_PASSWORD);
    const NO_PASSWORD: Shadow =
        Shadow { has_password: false, is_locked: false, has_expired: false, must_change: false };
    const PASSWORD: (&str, Shadow) = ("", Shadow { has_password: true, ..NO_PASSWORD });

    fn ways(login: &str, shows: (&str, Shadow), from: &str, to: &str) -> Vec<String> {
        assert!(OPEN.contains(from));
        let effective = Effective::of(&OPEN.replace(from, to));
        let (text, shadow) = (shows.0.replace("KEY", KEY), shows.1);
        let keys = vec![("/k".into(), text)];
        let groups = vec!["staff".to_owned(), "sudo".to_owned()];
        let login = login.parse().unwrap();
        of_account(&Candidate { login, effective, groups, keys, shadow }, UnixTime(1_795_521_600))
    }

    #[test]
    fn an_account_is_a_way_in_by_a_key_or_a_password_that_sshd_takes() {
        let (key, password) = (KEYS, PASSWORD);
        let (by_key, by_password) =
            ("bob by the key in /k:2", "bob by the password in /etc/shadow");
        let with = |shadow: Shadow| (KEYS.0, shadow);
        let none: &[&str] = &[];
        for (login, shows, from, to, expected) in [
            ("bob", key, "", "", &[by_key][..]),
            ("root", key, "", "", &["root by the key in /k:2"]),
            ("bob", password, "", "", &[by_password]),
            ("bob", with(PASSWORD.1), "", "", &[by_key, by_password]),
            ("root", password, "", "", none),
            ("root", password, "without-password", "yes", &["root by the password in /etc/shadow"]),
            ("bob", ("", NO_PASSWORD), "", "", none),
            ("root", key, "without-password", "no", none),
            ("root", key, "without-password", "forced-commands-only", none),
            ("bob", key, "pubkeyauthentication yes", "pubkeyauthentication no", none),
            ("bob", key, "methods any", "methods password", none),
            ("bob", key, "methods any", "methods publickey,password", none),
            ("bob", password, "methods any", "methods password", &[by_password]),
            ("bob", password, "passwordauthentication yes", "passwordauthentication no", none),
            (
                "bob",
                password,
                "passwordauthentication yes\nusepam yes\nkbdinteractiveauthentication no",
                "passwordauthentication no\nusepam yes\nkbdinteractiveauthentication yes",
                &[by_password],
            ),
            ("bob", key, "usepam yes", "usepam yes\nallowusers deploy", none),
            ("bob", key, "usepam yes", "usepam yes\ndenyusers deploy", &[by_key]),
            ("bob", key, "usepam yes", "usepam yes\nallowgroups ssh-users", none),
            ("bob", key, "usepam yes", "usepam yes\nallowgroups sud?", &[by_key]),
            ("bob", key, "usepam yes", "usepam yes\ndenygroups st*", none),
            ("bob", key, "usepam yes", "usepam yes\ndenygroups sftp", &[by_key]),
            ("bob", key, "forcecommand none", "forcecommand internal-sftp", none),
            ("bob", key, "chrootdirectory none", "chrootdirectory /srv", none),
            ("bob", ("command=\"x\" KEY\ncert-authority KEY", NO_PASSWORD), "", "", none),
            (
                "bob",
                ("command=\"x\" KEY\nKEY\nKEY a", NO_PASSWORD),
                "",
                "",
                &["bob by the key in /k:2 and 1 more there"],
            ),
            ("bob", with(Shadow { has_expired: true, ..PASSWORD.1 }), "", "", none),
            ("bob", with(Shadow { must_change: true, ..PASSWORD.1 }), "", "", &[by_password]),
            ("bob", with(Shadow { is_locked: true, ..NO_PASSWORD }), "", "", &[by_key]),
            (
                "bob",
                with(Shadow { is_locked: true, ..NO_PASSWORD }),
                "usepam yes",
                "usepam no",
                none,
            ),
        ] {
            assert_eq!(ways(login, shows, from, to), expected, "{login} {shows:?} {to}");
        }
    }

    #[test]
    fn what_others_vouch_for_is_named_and_not_counted() {
        let ways = |line: &str| {
            uncertain(&Effective::of(&format!("{OPEN}{line}\n")), |path| path == Path::new(KEYTAB))
        };
        assert!(ways("").is_empty());
        assert_eq!(ways("authorizedkeyscommand /x"), ["keys by `AuthorizedKeysCommand /x`"]);
        assert_eq!(ways("hostbasedauthentication yes").len(), 1);
        assert_eq!(ways("gssapiauthentication yes"), ["Kerberos"]);
        let kerberos = Effective::of(&format!("{OPEN}gssapiauthentication yes\n"));
        assert!(uncertain(&kerberos, |_| false).is_empty());
    }

    #[test]
    fn sudo_is_asked_for_a_shell_of_root_and_believed() {
        let dir = tempfile::tempdir().unwrap();
        let sudo = dir.path().join("sudo");
        let script = "#!/bin/sh\n[ \"$*\" = '-n -l -U bob /bin/sh' ]\n";
        fs::write(&sudo, script).unwrap();
        fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(may_become_root(&sudo, "bob"));
        assert!(!may_become_root(&sudo, "eve"));
        assert!(!may_become_root(&dir.path().join("none"), "bob"));
    }

    #[test]
    fn a_key_file_that_others_can_write_is_not_believed() {
        let dir = crate::testplace::folder("jit-ssh-keys-");
        let own = rustix::process::geteuid().as_raw().to_string();
        let home = dir.path().join("home");
        let file = home.join(".ssh/authorized_keys");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, format!("{KEY}\n")).unwrap();
        let line = format!("bob:x:{own}:1:Bob:{}:/bin/sh", home.display());
        let bob = keys::account(&line).unwrap();
        let found = |strict: &str| {
            let answer = format!("strictmodes {strict}\nauthorizedkeysfile .ssh/authorized_keys\n");
            key_files(&bob, &Effective::of(&answer)).len()
        };
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for path in [&file, file.parent().unwrap(), &home] {
            open(&file, 0o600);
            open(file.parent().unwrap(), 0o700);
            open(&home, 0o755);
            // What is above the home is none of sshd's business.
            open(dir.path(), 0o777);
            assert_eq!(found("yes"), 1);
            let mode = if path.is_dir() { 0o775 } else { 0o666 };
            open(path, mode);
            assert_eq!((found("yes"), found("no")), (0, 1), "{}", path.display());
        }
    }
}
