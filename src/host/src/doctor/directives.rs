//! Every line of sshd's configuration in the order sshd reads them: to say where something is set.
//! What is in force, only sshd itself says.

use std::path::{Path, PathBuf};

use crate::config::{self, Includes};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directive {
    /// Its keyword as it is written.
    pub(crate) keyword: String,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// The file it stands in.
    pub(crate) file: PathBuf,
    /// Its line, counted from 1.
    pub(crate) line: usize,
    /// The `Match` line it stands under.
    pub(crate) under: Option<String>,
}

impl Directive {
    /// Whether it sets this keyword.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword)
    }

    /// Its arguments as sshd shows them.
    pub(crate) fn value(&self) -> String {
        self.arguments.join(" ")
    }
}

/// Reads the main file's `text` and all it includes.
pub(crate) fn read(main: &Path, text: &str, includes: &dyn Includes) -> Vec<Directive> {
    let mut all = Vec::new();
    file(main, text, None, 0, includes, &mut all);
    all
}

fn file(
    path: &Path,
    text: &str,
    under: Option<&str>,
    depth: usize,
    includes: &dyn Includes,
    all: &mut Vec<Directive>,
) {
    let mut under = under.map(str::to_owned);
    for (place, line) in text.lines().enumerate() {
        let Some((keyword, rest)) = config::split_keyword(line) else {
            continue;
        };
        let arguments = config::arguments(rest);
        if keyword.eq_ignore_ascii_case("Match") {
            under = Some(line.trim().to_owned());
        } else if keyword.eq_ignore_ascii_case("Include") && depth < config::MAX_DEPTH {
            for pattern in &arguments {
                let pattern = match pattern.starts_with(['/', '~']) {
                    true => pattern.clone(),
                    false => format!("{}/{pattern}", config::SSHDIR),
                };
                let mut files = includes.matching(&pattern).unwrap_or_default();
                files.sort();
                for (path, text) in files {
                    file(&path, &text, under.as_deref(), depth + 1, includes, all);
                }
            }
        }
        let keyword = keyword.to_owned();
        let (path, line) = (path.to_owned(), place + 1);
        all.push(Directive { keyword, arguments, file: path, line, under: under.clone() });
    }
}

/// A connection made up to fit a `Match` line, as `sshd -C` wants it, and its account. `None` if no
/// connection can be made up: what it asks for is left out, or known only when somebody is there.
pub(crate) fn connection_for(line: &str, logins: &[String]) -> Option<(String, String)> {
    let (_, rest) = config::split_keyword(line)?;
    let words: Vec<String> = config::arguments(rest)
        .iter()
        .flat_map(|word| word.splitn(2, '=').map(str::to_owned).collect::<Vec<_>>())
        .filter(|word| !word.is_empty())
        .collect();
    // Where the line asks for no account, a login is more telling than root.
    let mut user = logins.first().cloned().unwrap_or_else(|| "root".to_owned());
    let (mut host, mut address) = ("localhost".to_owned(), "127.0.0.1".to_owned());
    let (mut local, mut port) = ("127.0.0.1".to_owned(), "22".to_owned());
    let (pairs, left) = words.as_chunks::<2>();
    if pairs.is_empty() || !left.is_empty() {
        return None;
    }
    for [criterion, patterns] in pairs {
        let pattern = patterns.split(',').find(|pattern| !pattern.starts_with('!'))?;
        match criterion.to_ascii_lowercase().as_str() {
            "user" => {
                let fits = |login: &&String| config::name_matches(pattern, login);
                user = logins.iter().find(fits).cloned().unwrap_or_else(|| sample(pattern, "x"));
            }
            "host" => host = sample(pattern, "x"),
            "address" => address = sample_address(pattern),
            "localaddress" => local = sample_address(pattern),
            "localport" => port = sample(pattern, "1"),
            _ => return None,
        }
    }
    let plain = |text: &String| !text.is_empty() && !text.contains([',', ' ', '"', '\'']);
    if ![&user, &host, &address, &local, &port].into_iter().all(plain) {
        return None;
    }
    let text =
        format!("user={user},host={host},addr={address},laddr={local},lport={port},rdomain=");
    Some((user, text))
}

fn sample(pattern: &str, instead: &str) -> String {
    pattern.replace(['*', '?'], instead)
}

/// An address within a range of bits, or one that fits a pattern of text.
fn sample_address(pattern: &str) -> String {
    let address = pattern.split('/').next().unwrap_or(pattern);
    // `10.*` stands for the rest of an address.
    match (address.strip_suffix('*'), address) {
        (None, address) => sample(address, "1"),
        (Some(""), _) => "127.0.0.1".to_owned(),
        (Some(head), _) if head.contains(':') => format!("{}1", sample(head, "1")),
        (Some(head), _) => {
            let missing = 3_usize.saturating_sub(head.matches('.').count());
            format!("{}1{}", sample(head, "1"), ".1".repeat(missing))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(&'static str, &'static str);

    impl Includes for One {
        fn matching(&self, pattern: &str) -> Option<Vec<(PathBuf, String)>> {
            let (path, text) = (PathBuf::from(self.0), self.1.to_owned());
            Some(vec![(path, text)]).filter(|_| pattern == self.0)
        }
    }

    #[test]
    fn lines_are_read_in_sshds_order_with_their_place() {
        let files = One("/etc/ssh/a", "UsePAM no\nMatch User bob\nUsePAM yes\n");
        let all = read(Path::new("/c"), "# x\nInclude a\nUsePAM=\"no\"\n", &files);
        let seen: Vec<_> = all
            .iter()
            .filter(|line| line.is("usepam"))
            .map(|line| (line.file.to_str().unwrap(), line.line, line.value(), line.under.clone()))
            .collect();
        let bob = Some("Match User bob".to_owned());
        assert_eq!(
            seen,
            [
                ("/etc/ssh/a", 1, "no".to_owned(), None),
                ("/etc/ssh/a", 3, "yes".to_owned(), bob),
                ("/c", 3, "no".to_owned(), None)
            ]
        );
    }

    #[test]
    fn a_connection_is_made_up_to_fit_a_match_line_where_one_can_be() {
        let made = |line: &str| connection_for(line, &["deploy".to_owned()]);
        let (user, text) = made("Match User dep*,bob Address 10.0.0.0/8").unwrap();
        assert_eq!(user, "deploy");
        assert!(text.contains("user=deploy,host=localhost,addr=10.0.0.0,"), "{text}");
        for (line, part) in [
            ("Match User bob", "user=bob,"),
            ("Match user=bob", "user=bob,"),
            ("Match Address 10.0.0.1", "user=deploy,"),
            ("Match Address 10.*", "addr=10.1.1.1,"),
            ("Match Address fe80::*", "addr=fe80::1,"),
            ("Match Address !10.0.0.1,10.0.0.2", "addr=10.0.0.2,"),
            ("Match Host *.example LocalPort 2222", "host=x.example,"),
            ("Match LocalAddress 127.0.0.2 LocalPort 2222", "laddr=127.0.0.2,lport=2222,"),
        ] {
            let (_, text) = made(line).unwrap();
            assert!(text.contains(part), "{line}: {text}");
        }
        for line in ["Match Group wheel", "Match User !bob", "Match all", "Match User", "Match"] {
            assert_eq!(made(line), None, "{line}");
        }
    }
}
