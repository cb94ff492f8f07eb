//! How this host was set up: `<etc>/jit-ssh/host.toml`, written by `setup`, read by everything that
//! comes after it. Pure: the text comes in, the text goes out.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jit_ssh_api::CaUrl;
use jit_ssh_core::names::HostName;
use serde::Deserialize;

/// The file's name in our folder.
pub(crate) const FILE: &str = "host.toml";

/// The only version of the file there is.
const VERSION: u32 = 1;

/// How this host was set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The CA, with the fingerprint its root must have.
    pub(crate) ca: CaUrl,
    /// This host's name: the part after `@` in principals.
    pub(crate) name: HostName,
    /// What a login asks of the guard.
    pub(crate) guard: Guard,
    /// sshd's main file; absolute.
    pub(crate) sshd_config: PathBuf,
    /// The PAM service file with the hook; absolute.
    pub(crate) pam: PathBuf,
}

/// What a login does when the guard is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Guard {
    /// It is refused.
    Required,
    /// It works.
    Optional,
    /// There is no guard.
    Off,
}

/// Why a text does not say how a host was set up; a sentence without its full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingsError {
    /// What is wrong.
    pub(crate) problem: String,
    /// The line it is in, counted from 1, where it is in one.
    pub(crate) line: Option<usize>,
}

/// The file as it stands, before its values are looked at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    v: u32,
    ca: String,
    name: HostName,
    guard: Guard,
    sshd_config: PathBuf,
    pam: PathBuf,
}

impl Guard {
    /// The word for it, in the file and on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Guard::Required => "required",
            Guard::Optional => "optional",
            Guard::Off => "off",
        }
    }
}

/// Reads the file's text.
///
/// # Errors
/// [`SettingsError`] for a missing, unknown or repeated key, a version that is not 1, and a value
/// that is none; a path must be absolute, since nobody knows where the next reader stands.
pub(crate) fn parse(text: &str) -> Result<Settings, SettingsError> {
    let raw: Raw = toml::from_str(text).map_err(|error| SettingsError {
        problem: error.message().trim().replace('\n', " "),
        line: error.span().and_then(|span| text.get(..span.start)).map(line_after),
    })?;
    let wrong = |problem: String| SettingsError { problem, line: None };
    if raw.v != VERSION {
        return Err(wrong(format!("v is {}, and only {VERSION} is known here", raw.v)));
    }
    let ca = raw.ca.parse().map_err(|error| wrong(format!("ca is not usable: {error}")))?;
    for (key, path) in [("sshd_config", &raw.sshd_config), ("pam", &raw.pam)] {
        if !path.is_absolute() {
            return Err(wrong(format!("{key} is not an absolute path: {path:?}")));
        }
    }
    let Raw { name, guard, sshd_config, pam, .. } = raw;
    Ok(Settings { ca, name, guard, sshd_config, pam })
}

fn line_after(before: &str) -> usize {
    before.matches('\n').count().saturating_add(1)
}

impl Settings {
    /// The file's text, which [`parse`] reads back.
    pub(crate) fn render(&self) -> String {
        format!(
            "# Written by jit-ssh-host setup.\nv = {VERSION}\nca = {}\nname = {}\nguard = {}\nsshd_config = {}\npam = {}\n",
            quoted(&self.ca.to_string()),
            quoted(self.name.as_str()),
            quoted(self.guard.as_str()),
            quoted_path(&self.sshd_config),
            quoted_path(&self.pam),
        )
    }
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            char if char.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(char))),
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"# Written by jit-ssh-host setup.
v = 1
ca = "https://ca.example:7443#SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0"
name = "prod-host"
guard = "required"
sshd_config = "/etc/ssh/sshd_config"
pam = "/etc/pam.d/sshd"
"#;

    #[test]
    fn settings_read_back_as_they_were_written() {
        let settings = parse(GOOD).unwrap();
        assert_eq!(settings.name.as_str(), "prod-host");
        assert_eq!(settings.guard, Guard::Required);
        assert_eq!(settings.render(), GOOD);
        for guard in [Guard::Required, Guard::Optional, Guard::Off] {
            let odd = PathBuf::from("/etc/a \"b\"\\c\n\u{7f}/ä");
            let settings = Settings { guard, pam: odd, ..settings.clone() };
            assert_eq!(parse(&settings.render()), Ok(settings));
        }
    }

    #[test]
    fn what_is_missing_unknown_repeated_or_malformed_is_refused() {
        for (from, to, line) in [
            ("v = 1\n", "", Some(1)),
            ("v = 1", "v = 2", None),
            ("v = 1", "v = \"1\"", Some(2)),
            ("v = 1", "v = 1\nv = 1", Some(3)),
            ("v = 1", "v = 1\nport = 22", Some(3)),
            ("#SHA256:ung", "#SHA256:", None),
            ("https:", "http:", None),
            ("prod-host\"", "Prod Host\"", Some(4)),
            ("required\"", "Required\"", Some(5)),
            ("guard = \"required\"\n", "", Some(1)),
            ("\"/etc/ssh/", "\"etc/ssh/", None),
            ("\"/etc/pam.d/sshd\"", "\"sshd\"", None),
            ("\"/etc/pam.d/sshd\"", "\"\"", None),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = parse(&GOOD.replace(from, to)).unwrap_err();
            assert_eq!(error.line, line, "{to}: {}", error.problem);
        }
        assert!(parse("").is_err());
    }
}
