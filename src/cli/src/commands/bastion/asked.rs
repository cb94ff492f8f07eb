//! What somebody asks of the bastion: by the command they gave to ssh, or by variables that ssh sends (`SetEnv`),
//! which leave the command to what scp, sftp and rsync put there. It is read here and by no shell.

use jit_ssh_core::time::Seconds;

use crate::commands::ssh::{Destination, destination};
use crate::failure::Failure;
use crate::wish;

/// What sshd has of the command it did not run.
const COMMAND: &str = "SSH_ORIGINAL_COMMAND";
/// Names the host, as `HOST` or `LOGIN@HOST`.
const TO: &str = "JIT_SSH_TO";
const BECAUSE: &str = "JIT_SSH_BECAUSE";
const FOR: &str = "JIT_SSH_FOR";

/// Programs that are the sftp subsystem, by the last part of their path.
const SFTP: [&str; 2] = ["sftp-server", "internal-sftp"];
/// What stands for it as a command: `sftp -s /sftp`. Of a subsystem sshd passes on no word of stderr
/// (`session_set_fds` in its session.c), of a command it does.
const AS_COMMAND: &str = "/sftp";

/// How scp and those like it say which host.
pub(super) const BY_VARIABLE: &str =
    "scp, sftp and rsync name the host by: -o SetEnv=JIT_SSH_TO=HOST";

/// What somebody asks, as far as they said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Where to.
    pub(super) to: Option<Destination>,
    /// Why.
    pub(super) because: Option<String>,
    /// For how long.
    pub(super) span: Option<Seconds>,
    /// What is to run there.
    pub(super) what: What,
}

/// What is to run on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A shell.
    Shell,
    /// One command, as the host's shell reads it.
    Command(String),
    /// The sftp subsystem: sftp, and scp from 9.0 on.
    Sftp,
}

impl Asked {
    /// Reads what sshd passes on.
    ///
    /// Fails as a usage error where it makes no sense.
    pub(super) fn read() -> Result<Asked, Failure> {
        let variable = |name: &str| {
            let Some(value) = std::env::var_os(name) else { return Ok(None) };
            let unclear = |_| Failure::usage(format!("{name} is not UTF-8."));
            value.into_string().map(Some).map_err(unclear)
        };
        Asked::of(&variable)
    }

    fn of(variable: &dyn Fn(&str) -> Result<Option<String>, Failure>) -> Result<Asked, Failure> {
        let command = variable(COMMAND)?.unwrap_or_default();
        let is_sftp = is_sftp(&command);
        let mut asked = Asked { to: None, because: None, span: None, what: What::Shell };
        let of_variable = |name: &str| -> Result<Option<String>, Failure> {
            Ok(variable(name)?.filter(|value| !value.is_empty()))
        };
        if let Some(to) = of_variable(TO)? {
            asked.to = Some(place(TO, &to)?);
            asked.what = if is_sftp { What::Sftp } else { what(&command) };
        } else if is_sftp {
            return Err(Failure::usage("no host is named.").hint(BY_VARIABLE));
        } else {
            asked.read_line(&command)?;
        }
        if let Some(because) = of_variable(BECAUSE)?.filter(|_| asked.because.is_none()) {
            asked.because = Some(reason(BECAUSE, &because)?);
        }
        if let Some(span) = of_variable(FOR)?.filter(|_| asked.span.is_none()) {
            asked.span = Some(time(FOR, &span)?);
        }
        Ok(asked)
    }

    /// Reads `[LOGIN@]HOST [--because TEXT] [--for TIME] [[--] COMMAND]`. ssh joins words by spaces, and the
    /// person's own shell took the quotes away: so TEXT goes on to the next of our options or `--`.
    fn read_line(&mut self, line: &str) -> Result<(), Failure> {
        let (host, mut rest) = word(line);
        if host.is_empty() {
            return Ok(());
        }
        self.to = Some(place("the host", host)?);
        loop {
            let (next, after) = word(rest);
            let (name, value) = match next.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    // Where the value begins, in the line.
                    let from = name.len().saturating_add(1);
                    (name, rest.trim_start().get(from..).unwrap_or(value))
                }
                _ => (next, after),
            };
            match name {
                "--" => {
                    self.what = what(after);
                    return Ok(());
                }
                "--because" => {
                    let (text, after) = phrase(value)?;
                    self.because = Some(reason("--because", text)?);
                    rest = after;
                }
                "--for" => {
                    let (text, after) = word(value);
                    self.span = Some(time("--for", text)?);
                    rest = after;
                }
                _ if name.starts_with("--") => {
                    return Err(Failure::usage(format!("there is no option {name}.")).hint(
                        "after the host: --because TEXT, --for TIME; then -- and the command",
                    ));
                }
                _ => {
                    self.what = what(rest);
                    return Ok(());
                }
            }
        }
    }
}

/// The first word, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_ascii_start();
    text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((text, ""))
}

/// Several words: in quotes, or up to the next of our options; and what follows them.
fn phrase(text: &str) -> Result<(&str, &str), Failure> {
    let text = text.trim_ascii_start();
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let inner = text.get(1..).unwrap_or_default();
        return inner
            .split_once(quote)
            .filter(|(_, after)| {
                after.is_empty() || after.starts_with(|c: char| c.is_ascii_whitespace())
            })
            .ok_or_else(|| Failure::usage(format!("--because: a {quote} is missing at its end.")));
    }
    let mut rest = text;
    while !rest.is_empty() {
        let (next, after) = word(rest);
        let name = next.split_once('=').map_or(next, |(name, _)| name);
        if matches!(name, "--" | "--for" | "--because") {
            break;
        }
        rest = after;
    }
    let phrase = text.get(..text.len().saturating_sub(rest.len())).unwrap_or_default();
    Ok((phrase.trim_ascii_end(), rest))
}

fn what(command: &str) -> What {
    match command.trim_ascii() {
        "" => What::Shell,
        command => What::Command(command.to_owned()),
    }
}

/// Whether sshd was asked for the sftp subsystem: it then has that program for the command.
fn is_sftp(command: &str) -> bool {
    let is_server = |name| SFTP.contains(&name);
    command == AS_COMMAND || word(command).0.rsplit('/').next().is_some_and(is_server)
}

fn place(name: &str, text: &str) -> Result<Destination, Failure> {
    destination(text).map_err(|e| Failure::usage(format!("{name}: {e}.")).hint(BY_VARIABLE))
}

fn reason(name: &str, text: &str) -> Result<String, Failure> {
    wish::reason(text).map_err(|e| Failure::usage(format!("{name}: {e}.")))
}

fn time(name: &str, text: &str) -> Result<Seconds, Failure> {
    text.parse().map_err(|e| Failure::usage(format!("{name}: {e}.")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Outcome;

    fn read(command: &str, variables: &[(&str, &str)]) -> Result<Asked, Failure> {
        Asked::of(&|name| {
            let all = [(COMMAND, command)];
            let found = all.iter().chain(variables).find(|(known, _)| *known == name);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        })
    }

    fn shown(command: &str, variables: &[(&str, &str)]) -> String {
        let Asked { to, because, span, what } = read(command, variables).unwrap();
        let to = to.map_or("-".to_owned(), |to| match to.login {
            Some(login) => format!("{login}@{}", to.host),
            None => to.host.to_string(),
        });
        let span = span.map(|span| span.to_string()).unwrap_or_default();
        let what = match what {
            What::Shell => "shell".to_owned(),
            What::Sftp => "sftp".to_owned(),
            What::Command(command) => format!("[{command}]"),
        };
        format!("{to} ({}) {span} {what}", because.unwrap_or_default())
    }

    #[test]
    fn the_host_comes_first_then_why_and_how_long_and_the_rest_is_for_the_host() {
        for (command, expected) in [
            ("", "- ()  shell"),
            ("prod-host", "prod-host ()  shell"),
            ("root@prod-host uptime -p", "root@prod-host ()  [uptime -p]"),
            ("h --for 10m", "h () 10m shell"),
            ("h --because INC-42 disk full", "h (INC-42 disk full)  shell"),
            ("h --because INC-42 disk  full --for 10m", "h (INC-42 disk  full) 10m shell"),
            ("h --for=10m --because=INC-42 full -- df -h", "h (INC-42 full) 10m [df -h]"),
            ("h --because 'INC-42 -- full' df", "h (INC-42 -- full)  [df]"),
            ("h --because \"it's 42\" --for 1h", "h (it's 42) 1h shell"),
            // What is for the host is passed on as it is.
            ("h -- a  'b  c' | d; e `f` $(g) --for", "h ()  [a  'b  c' | d; e `f` $(g) --for]"),
            ("h echo -- --because x", "h ()  [echo -- --because x]"),
            ("h -- --for x", "h ()  [--for x]"),
        ] {
            assert_eq!(shown(command, &[]), expected, "{command}");
        }
    }

    #[test]
    fn variables_leave_the_command_to_scp_and_those_like_it() {
        let to = |value| (TO, value);
        for (command, variables, expected) in [
            ("/usr/lib/openssh/sftp-server", &[to("h")][..], "h ()  sftp"),
            ("internal-sftp -f AUTH", &[to("deploy@h")], "deploy@h ()  sftp"),
            ("/sftp", &[to("h")], "h ()  sftp"),
            ("sftp other", &[to("h")], "h ()  [sftp other]"),
            ("scp -f /etc/x", &[to("h"), (BECAUSE, "INC-42 x")], "h (INC-42 x)  [scp -f /etc/x]"),
            ("", &[to("h"), (FOR, "5m")], "h () 5m shell"),
            ("h --for 10m", &[to("g"), (FOR, "5m")], "g () 5m [h --for 10m]"),
            // What is typed counts before what stands in a file; an empty variable is none.
            ("h --for 10m", &[to(""), (FOR, "5m"), (BECAUSE, "x")], "h (x) 10m shell"),
        ] {
            assert_eq!(shown(command, variables), expected, "{command} {variables:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for (command, variables) in [
            ("/usr/lib/openssh/sftp-server", &[][..]),
            ("internal-sftp", &[(BECAUSE, "x")]),
            ("h --form 10m", &[]),
            ("h --for", &[]),
            ("h --for soon", &[]),
            ("h --because", &[]),
            ("h --because --for 10m", &[]),
            ("h --because 'INC-42", &[]),
            ("h --because 'INC-42'x", &[]),
            ("h;id", &[]),
            ("$(id)", &[]),
            ("--for 10m h", &[]),
            ("", &[(TO, "h id")]),
            ("", &[(TO, "h"), (BECAUSE, "a\nb")]),
            ("", &[(TO, "h"), (FOR, "x")]),
        ] {
            let outcome = read(command, variables).map_err(|failure| failure.outcome);
            assert_eq!(outcome, Err(Outcome::Usage), "{command} {variables:?}");
        }
        assert!(read("h --because x --for 10m", &[(TO, "")]).is_ok());
    }
}
