//! How sshd reads its configuration, as far as it decides whether our drop-in wins: the first
//! value of a keyword counts, a `Match` block beats what is outside of it, an `Include` is read in
//! its place, and a `Match` ends with the file it is in.
//!
//! This only finds the right place and names the culprit; the judge is sshd itself (`sshd -T`).

use std::path::{Path, PathBuf};

/// The keywords our drop-in sets.
pub(crate) const OUR_KEYWORDS: [&str; 4] =
    ["TrustedUserCAKeys", "AuthorizedPrincipalsFile", "AuthorizedPrincipalsCommand", "RevokedKeys"];

/// Keywords of others that decide whether anybody gets in (see [`crate::admission`]).
const ADMISSION_KEYWORDS: [&str; 10] = [
    "PubkeyAuthentication",
    "AuthenticationMethods",
    "DenyUsers",
    "AllowUsers",
    "DenyGroups",
    "AllowGroups",
    "PermitRootLogin",
    "CASignatureAlgorithms",
    "PubkeyAcceptedAlgorithms",
    "PubkeyAcceptedKeyTypes",
];

/// What a `Match` may ask of a connection that is not known before there is one.
const OF_CONNECTIONS: [&str; 5] = ["Address", "Host", "LocalAddress", "LocalPort", "RDomain"];

/// Where relative includes are looked for, whatever `-f` says (SSHDIR of sshd's build).
pub(crate) const SSHDIR: &str = "/etc/ssh";

/// sshd refuses deeper nesting (SERVCONF_MAX_DEPTH).
pub(crate) const MAX_DEPTH: usize = 16;

/// Gives the files an `Include` names.
pub(crate) trait Includes {
    /// Path and text of the files `pattern` matches, in any order; `None` if only sshd's own glob
    /// could tell.
    fn matching(&self, pattern: &str) -> Option<Vec<(PathBuf, String)>>;
}

/// One thing of interest, in the order sshd reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// What it is.
    pub(crate) what: What,
    /// The file it stands in.
    pub(crate) file: PathBuf,
    /// Its line, counted from 1.
    pub(crate) line: usize,
    /// The `Match` line it stands under.
    pub(crate) under: Option<String>,
}

/// What is of interest to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// One of [`OUR_KEYWORDS`], set by somebody else.
    Setting {
        /// The keyword as sshd's manual spells it.
        keyword: &'static str,
        /// Its value.
        value: String,
    },
    /// One of the keywords that decide who gets in, under a `Match` for some connections.
    ForSomeConnections {
        /// The keyword as sshd's manual spells it.
        keyword: &'static str,
    },
    /// An `Include` that reads our drop-in.
    DropIn,
    /// An `Include` of which only sshd knows what it reads.
    Unknown,
}

/// Reads the main file's `text` and all it includes, with our drop-in at `drop_in` thought of as
/// there; its content is not looked at.
pub(crate) fn read(main: &Path, text: &str, drop_in: &Path, includes: &dyn Includes) -> Vec<Found> {
    let mut reading = Reading { drop_in, includes, found: Vec::new() };
    reading.file(main, text, None, 0);
    reading.found
}

/// Whether what is found makes our drop-in count as the global value of each of its keywords.
pub(crate) fn drop_in_wins(found: &[Found]) -> bool {
    let first = found.iter().filter(|found| found.under.is_none());
    matches!(first.map(|found| &found.what).next(), Some(What::DropIn))
}

/// Whether any `Include` reads our drop-in's place.
pub(crate) fn reads_drop_in(found: &[Found]) -> bool {
    found.iter().any(|found| found.what == What::DropIn)
}

struct Reading<'a> {
    drop_in: &'a Path,
    includes: &'a dyn Includes,
    found: Vec<Found>,
}

impl Reading<'_> {
    fn file(&mut self, file: &Path, text: &str, under: Option<&str>, depth: usize) {
        let mut under = under.map(str::to_owned);
        for (place, line) in text.lines().enumerate() {
            let at = (file, place + 1, under.clone());
            let Some((keyword, rest)) = split_keyword(line) else {
                continue;
            };
            if keyword.eq_ignore_ascii_case("Match") {
                under = Some(line.trim().to_owned());
            } else if keyword.eq_ignore_ascii_case("Include") {
                for pattern in arguments(rest) {
                    self.include(&pattern, at.clone(), depth);
                }
            } else if let Some(keyword) =
                OUR_KEYWORDS.into_iter().find(|our| our.eq_ignore_ascii_case(keyword))
            {
                let value = arguments(rest).join(" ");
                self.push(What::Setting { keyword, value }, at);
            } else if under.as_deref().is_some_and(asks_of_connections)
                && let Some(keyword) =
                    ADMISSION_KEYWORDS.into_iter().find(|known| known.eq_ignore_ascii_case(keyword))
            {
                self.push(What::ForSomeConnections { keyword }, at);
            }
        }
    }

    fn include(&mut self, pattern: &str, at: (&Path, usize, Option<String>), depth: usize) {
        let pattern = match pattern.starts_with(['/', '~']) {
            true => pattern.to_owned(),
            false => format!("{SSHDIR}/{pattern}"),
        };
        let files = self.includes.matching(&pattern).filter(|_| depth < MAX_DEPTH);
        let Some(mut files) = files else {
            return self.push(What::Unknown, at);
        };
        files.retain(|(path, _)| path != self.drop_in);
        if path_matches(&pattern, self.drop_in) {
            files.push((self.drop_in.to_owned(), String::new()));
        }
        files.sort();
        for (path, text) in files {
            if path == self.drop_in {
                self.push(What::DropIn, at.clone());
            } else {
                self.file(&path, &text, at.2.as_deref(), depth + 1);
            }
        }
    }

    fn push(&mut self, what: What, (file, line, under): (&Path, usize, Option<String>)) {
        self.found.push(Found { what, file: file.to_owned(), line, under });
    }
}

fn asks_of_connections(line: &str) -> bool {
    let mut words = line.split(|char: char| char.is_whitespace() || char == '=');
    words.any(|word| OF_CONNECTIONS.iter().any(|of| of.eq_ignore_ascii_case(word)))
}

/// A line's keyword and the rest after it: white space and at most one `=` part them.
pub(crate) fn split_keyword(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|char: char| char.is_whitespace() || char == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    Some((keyword.trim_matches('"'), rest.strip_prefix('=').unwrap_or(rest).trim_start()))
}

/// A line's arguments: parted by white space, quoted where they hold some, up to a comment.
pub(crate) fn arguments(text: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut current: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match (char, quote) {
            ('\\', _) if chars.peek().is_some_and(|next| matches!(next, '"' | '\'' | '\\')) => {
                current.get_or_insert_default().extend(chars.next());
            }
            (_, Some(open)) if char == open => quote = None,
            (_, Some(_)) => current.get_or_insert_default().push(char),
            ('"' | '\'', None) => {
                quote = Some(char);
                current.get_or_insert_default();
            }
            ('#', None) if current.is_none() => break,
            (_, None) if char.is_whitespace() => arguments.extend(current.take()),
            (_, None) => current.get_or_insert_default().push(char),
        }
    }
    arguments.extend(current);
    arguments
}

/// Whether glob(3) would find `path` for `pattern`; wildcards do not cross a slash.
pub(crate) fn path_matches(pattern: &str, path: &Path) -> bool {
    let Some(path) = path.to_str() else {
        return false;
    };
    let parts = |text: &str| -> Vec<String> {
        text.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
    };
    let (pattern, path) = (parts(pattern), parts(path));
    pattern.len() == path.len()
        && pattern.iter().zip(&path).all(|(pattern, name)| name_matches(pattern, name))
}

/// Whether `name` fits a pattern of `*` and `?`; a leading dot must be written out. A pattern with
/// other glob characters fits nothing: we then bring our own `Include`.
pub(crate) fn name_matches(pattern: &str, name: &str) -> bool {
    fn fits(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some(('*', pattern)), _) => {
                (0..=name.len()).any(|skip| name.get(skip..).is_some_and(|n| fits(pattern, n)))
            }
            (Some((wanted, pattern)), Some((found, name))) => {
                (*wanted == '?' || wanted == found) && fits(pattern, name)
            }
            _ => false,
        }
    }
    let hidden = name.starts_with('.') && !pattern.starts_with('.');
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    !hidden && !has_class(&pattern) && fits(&pattern, &name)
}

fn has_class(pattern: &[char]) -> bool {
    pattern.iter().any(|char| matches!(char, '[' | ']' | '\\'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Map(BTreeMap<&'static str, &'static str>);

    impl Includes for Map {
        fn matching(&self, pattern: &str) -> Option<Vec<(PathBuf, String)>> {
            let files = self.0.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned()));
            Some(files.filter(|(path, _)| path_matches(pattern, path)).collect())
        }
    }

    fn wins(main: &str, files: &[(&'static str, &'static str)]) -> bool {
        let files = Map(files.iter().copied().collect());
        let drop_in = Path::new("/etc/ssh/sshd_config.d/00-jit-ssh.conf");
        drop_in_wins(&read(Path::new("/etc/ssh/sshd_config"), main, drop_in, &files))
    }

    #[test]
    fn a_covering_include_before_everything_else_suffices() {
        for main in [
            "Include /etc/ssh/sshd_config.d/*.conf\nTrustedUserCAKeys /x\nMatch all\n",
            "# TrustedUserCAKeys /x\nPort 22\n  include = sshd_config.d/*.conf # all\n",
            "Include sshd_config.d/00-jit-ssh.conf",
            "Include \"/etc/ssh/sshd_config.d/*\"",
            "Include /nowhere/*.conf sshd_config.d/0?-*.conf",
        ] {
            assert!(wins(main, &[]), "{main}");
        }
    }

    #[test]
    fn an_include_that_comes_too_late_or_reads_elsewhere_does_not() {
        for main in [
            "",
            "TrustedUserCAKeys /x\nInclude sshd_config.d/*.conf",
            "authorizedprincipalscommand=/x\nInclude sshd_config.d/*.conf",
            "Match User bob\nInclude sshd_config.d/*.conf",
            "#Include sshd_config.d/*.conf",
            "Include sshd_config.d/*.config",
            "Include /etc/*.conf",
            "Include sshd_config.d/[0-9]*.conf",
        ] {
            assert!(!wins(main, &[]), "{main}");
        }
    }

    #[test]
    fn included_files_count_in_their_place_and_their_match_ends_with_them() {
        let main = "Include /opt/a\nInclude sshd_config.d/*.conf";
        assert!(wins(main, &[("/opt/a", "Match User bob\nTrustedUserCAKeys /x")]));
        assert!(!wins(main, &[("/opt/a", "TrustedUserCAKeys /x")]));
        let glob = "Include sshd_config.d/*.conf";
        assert!(!wins(glob, &[("/etc/ssh/sshd_config.d/00-a.conf", "TrustedUserCAKeys /x")]));
        assert!(wins(glob, &[("/etc/ssh/sshd_config.d/00-z.conf", "TrustedUserCAKeys /x")]));
        // What our drop-in holds now is not looked at.
        let ours = "/etc/ssh/sshd_config.d/00-jit-ssh.conf";
        assert!(wins(glob, &[(ours, "Match User bob\nTrustedUserCAKeys /x")]));
    }

    #[test]
    fn the_place_of_a_foreign_setting_is_known() {
        let text = "Port 22\nMatch User bob\n\tTrustedUserCAKeys \"/a b\"\n";
        let found = read(Path::new("/c"), text, Path::new("/d"), &Map(BTreeMap::new()));
        let what = What::Setting { keyword: "TrustedUserCAKeys", value: "/a b".to_owned() };
        let under = Some("Match User bob".to_owned());
        assert_eq!(found, [Found { what, file: "/c".into(), line: 3, under }]);
    }
    #[test]
    fn what_decides_who_gets_in_is_noted_only_where_it_depends_on_the_connection() {
        let read = |text| read(Path::new("/c"), text, Path::new("/d"), &Map(BTreeMap::new()));
        let found = read("Match User bob address 10.0.0.0/8\nallowusers bob\n");
        assert_eq!(found[0].what, What::ForSomeConnections { keyword: "AllowUsers" });
        assert_eq!(read("AllowUsers bob\nMatch User bob\nAllowUsers bob\n"), []);
        assert_eq!(read("Match Address 10.0.0.0/8\nX11Forwarding no\n"), []);
    }
}
