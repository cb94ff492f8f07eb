//! Looks at the accounts of this host, and at keys that stand for them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::files;
use crate::doctor::facts::{Asked, StandingKeys};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Its name.
    pub(crate) name: String,
    /// Its number.
    pub(crate) uid: String,
    /// Its home.
    pub(crate) home: PathBuf,
    /// Its shell; empty is `/bin/sh`.
    pub(crate) shell: String,
}

/// All accounts that can be listed; a directory service may keep more.
pub(crate) fn accounts() -> Vec<Account> {
    let listed = getent(None).unwrap_or_default();
    let text = match listed.is_empty() {
        true => std::fs::read_to_string("/etc/passwd").unwrap_or_default(),
        false => listed,
    };
    text.lines().filter_map(account).collect()
}

/// Whether there is this account.
pub(crate) fn is_known(login: &str, accounts: &[Account]) -> bool {
    accounts.iter().any(|account| account.name == login)
        || getent(Some(login)).is_some_and(|text| text.lines().any(|line| account(line).is_some()))
}

fn getent(login: Option<&str>) -> Option<String> {
    let mut getent = Command::new("getent");
    getent.arg("passwd").args(login.map(|login| ["--", login]).iter().flatten());
    let output = getent.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The account of a line of `passwd(5)`.
pub(crate) fn account(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, _, _, home, shell] = fields.as_slice() else {
        return None;
    };
    let [name, uid, shell] = [name, uid, shell].map(|text| (*text).to_owned());
    Some(Account { name, uid, home: PathBuf::from(home), shell })
}

/// The files that `value` of `AuthorizedKeysFile` names for an account.
pub(crate) fn files(account: &Account, value: &str) -> Vec<PathBuf> {
    let patterns = value.split_whitespace().filter(|pattern| *pattern != "none");
    patterns.map(|pattern| expand(pattern, account)).collect()
}

/// Files with keys that stand for an account, by what sshd says is in force for it; for accounts it
/// was not asked about, as for the first it was.
pub(crate) fn standing(accounts: &[Account], asked: &[Asked]) -> Vec<StandingKeys> {
    let mut all: Vec<StandingKeys> = Vec::new();
    for account in accounts {
        let for_it =
            asked.iter().find(|asked| asked.user == account.name).or_else(|| asked.first());
        let value = for_it.map_or("none", |asked| asked.effective.get("AuthorizedKeysFile"));
        for file in self::files(account, value) {
            if all.iter().any(|known| known.file == file) {
                continue;
            }
            let Some(state) = files::read(&file).seen().cloned() else { continue };
            let (keys, authorities) = count(&String::from_utf8_lossy(&state.content));
            if keys > 0 {
                all.push(StandingKeys { user: account.name.clone(), file, keys, authorities });
            }
        }
    }
    all
}

/// The file a pattern stands for, as sshd reads its tokens.
fn expand(pattern: &str, account: &Account) -> PathBuf {
    let mut path = String::new();
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        match (char, char == '%') {
            (_, true) => match chars.next() {
                Some('h') => path.push_str(&account.home.to_string_lossy()),
                Some('u') => path.push_str(&account.name),
                Some('U') => path.push_str(&account.uid),
                Some(other) => path.push(other),
                None => path.push('%'),
            },
            (char, false) => path.push(char),
        }
    }
    account.home.join(Path::new(&path))
}

/// How many keys stand in a file, and which lines trust a CA.
fn count(text: &str) -> (usize, Vec<usize>) {
    let mut keys = 0_usize;
    let mut authorities = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        keys += 1;
        if options(line).0.iter().any(|option| option.eq_ignore_ascii_case("cert-authority")) {
            authorities.push(place + 1);
        }
    }
    (keys, authorities)
}

/// The options at a line's head, parted by commas, up to white space, both outside of quotes; and what
/// stands behind them.
pub(crate) fn options(line: &str) -> (Vec<String>, &str) {
    let mut options = vec![String::new()];
    let mut is_quoted = false;
    let mut last = ' ';
    for (place, char) in line.char_indices() {
        match char {
            '"' if last != '\\' => is_quoted = !is_quoted,
            char if char.is_whitespace() && !is_quoted => {
                return (options, line.split_at(place).1.trim_start());
            }
            ',' if !is_quoted => options.push(String::new()),
            char => options.last_mut().into_iter().for_each(|option| option.push(char)),
        }
        last = char;
    }
    (options, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stand_for_the_account() {
        let account = account("bob:x:1001:1001:Bob:/home/bob:/bin/sh").unwrap();
        for (pattern, path) in [
            (".ssh/authorized_keys", "/home/bob/.ssh/authorized_keys"),
            ("%h/.ssh/%u.%U", "/home/bob/.ssh/bob.1001"),
            ("/etc/keys/%u%%", "/etc/keys/bob%"),
        ] {
            assert_eq!(expand(pattern, &account), Path::new(path));
        }
    }

    #[test]
    fn keys_and_authorities_are_counted_and_no_quoted_word_is_one() {
        let text = "# x\n\nssh-ed25519 AAAA a\nrestrict,Cert-Authority ssh-ed25519 AAAA b\n\
            command=\"a,cert-authority,\\\"b\" ssh-ed25519 AAAA c\n  cert-authority ssh-rsa A\n";
        assert_eq!(count(text), (4, vec![4, 6]));
        assert_eq!(count("# cert-authority\n"), (0, vec![]));
    }
}
