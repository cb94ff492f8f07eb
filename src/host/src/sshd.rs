//! Asks the real sshd what it makes of its configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jit_ssh_core::names::Login;

use crate::error::CommandError;

/// Where sshd lies when it is not in `PATH`: Debian keeps `/usr/sbin` out of ordinary users' path.
const USUAL_PLACES: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// The sshd of this host with one main file.
#[derive(Debug, Clone)]
pub(crate) struct Sshd {
    program: PathBuf,
    config: PathBuf,
}

/// What is in force for one login, by keyword in lower case. Lists of users and groups come as one
/// line for each of their patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effective(BTreeMap<String, Vec<String>>);

impl Sshd {
    /// Finds sshd. It must be called by its absolute path, or it refuses to work.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn find(asked: Option<&Path>, config: &Path) -> Result<Sshd, CommandError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = match asked {
            Some(asked) => std::path::absolute(asked).ok().filter(|program| program.is_file()),
            None => std::env::split_paths(&path)
                .chain(USUAL_PLACES.map(PathBuf::from))
                .map(|dir| dir.join("sshd"))
                .find(|program| program.is_absolute() && program.is_file()),
        };
        match program {
            Some(program) => Ok(Sshd { program, config: config.to_owned() }),
            None => Err(CommandError::new("There is no sshd here.")
                .named("NO_SSHD")
                .hint("install openssh-server, or say where sshd is with --sshd /path/to/sshd")),
        }
    }

    /// The main file.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Whether sshd would start (`sshd -t`).
    ///
    /// # Errors
    /// What sshd says.
    pub(crate) fn test(&self) -> Result<(), CommandError> {
        self.run(&["-t".as_ref(), "-f".as_ref(), self.config.as_ref()]).map(drop)
    }

    /// What is in force for `login` (`sshd -T`).
    ///
    /// # Errors
    /// What sshd says.
    pub(crate) fn effective(&self, login: &Login) -> Result<Effective, CommandError> {
        // Whatever a Match block may ask for must be given, or sshd refuses to answer.
        self.effective_where(&format!(
            "user={login},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22,rdomain="
        ))
    }

    /// What is in force for a connection, named as `sshd -C` wants it.
    ///
    /// # Errors
    /// What sshd says.
    pub(crate) fn effective_where(&self, connection: &str) -> Result<Effective, CommandError> {
        let arguments = [
            "-T".as_ref(),
            "-f".as_ref(),
            self.config.as_ref(),
            "-C".as_ref(),
            connection.as_ref(),
        ];
        self.run(&arguments).map(|answer| Effective::parse(&answer))
    }

    /// What sshd says of its version; before 9.2 it had no `-V`, and said so below its version.
    pub(crate) fn version_text(&self) -> Option<String> {
        let output = Command::new(&self.program).arg("-V").stdin(Stdio::null()).output().ok()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.lines().find(|line| line.starts_with("OpenSSH_")).map(str::to_owned)
    }

    /// The name of the PAM service it uses: a setting from 9.8 on, the program's own name before.
    pub(crate) fn pam_service(&self, effective: &Effective) -> String {
        match effective.get("PAMServiceName") {
            "none" => {
                let name = self.program.file_name().unwrap_or_default();
                name.to_string_lossy().into_owned()
            }
            name => name.to_owned(),
        }
    }

    fn run(&self, arguments: &[&Path]) -> Result<String, CommandError> {
        let output =
            Command::new(&self.program).args(arguments).stdin(Stdio::null()).output().map_err(
                |e| CommandError::new(format!("{} can not be run: {e}.", self.program.display())),
            )?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        Err(refused(&self.config, &said.join(" | ")))
    }
}

fn refused(config: &Path, said: &str) -> CommandError {
    let error = CommandError::new(format!("sshd refuses {}: {said}", config.display()))
        .named("SSHD_REFUSED");
    if said.contains("privilege separation directory") {
        return error.hint(
            "the ssh service makes this folder when it starts; here: mkdir -m 0755 /run/sshd",
        );
    }
    if said.contains("no hostkeys available") {
        return error.hint("run setup as root, or make host keys with ssh-keygen -A");
    }
    error
}

impl Effective {
    fn parse(answer: &str) -> Effective {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (keyword, value) in answer.lines().filter_map(|line| line.split_once(' ')) {
            values.entry(keyword.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
        }
        Effective(values)
    }

    /// The value of `keyword`; `none` if sshd says nothing of it.
    pub(crate) fn get(&self, keyword: &str) -> &str {
        self.all(keyword).first().map_or("none", String::as_str)
    }

    /// Whether `keyword` is `yes`.
    pub(crate) fn is_on(&self, keyword: &str) -> bool {
        self.get(keyword) == "yes"
    }

    /// Every value of `keyword`.
    pub(crate) fn all(&self, keyword: &str) -> &[String] {
        self.0.get(&keyword.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// An answer as sshd gives it.
    #[cfg(test)]
    pub(crate) fn of(answer: &str) -> Effective {
        Effective::parse(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pam_service_is_a_setting_or_before_that_the_programs_name() {
        let sshd = Sshd { program: "/usr/sbin/own-sshd".into(), config: "/e".into() };
        for (answer, expected) in
            [("usepam yes", "own-sshd"), ("pamservicename sshd", "sshd"), ("PAMServiceName x", "x")]
        {
            assert_eq!(sshd.pam_service(&Effective::of(answer)), expected, "{answer}");
        }
    }
}
