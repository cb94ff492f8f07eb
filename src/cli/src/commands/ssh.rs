//! `jit-ssh ssh`: access if needed, then ssh with all it must know, without a change of ~/.ssh/config.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use clap::Args;
use jit_ssh_core::names::{HostName, Login};
use jit_ssh_core::time::Seconds;

use super::ensure::{Wanted, obtain_access};
use super::login::{self, LoginArgs};
use crate::account::find_login;
use crate::ca::Ca;
use crate::cli::Context;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::known_hosts;
use crate::ssh_config::{self, Logins};
use crate::trust::{self, Trust};
use crate::ui::Ui;
use crate::wish;

/// Ask for access where it is missing, then run ssh.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  jit-ssh ssh prod-host\n  \
    jit-ssh ssh prod-host --because \"INC-42 disk full\" -- df -h\n  \
    jit-ssh ssh root@prod-host -L 8080:localhost:80\n\n\
    Options of ssh go after the host. The exit code is that of ssh: of the command that ran.")]
pub(crate) struct SshArgs {
    /// The host, by any of its names; LOGIN@HOST says the account too.
    #[arg(value_name = "HOST", value_parser = destination)]
    pub(super) to: Destination,
    /// The account; needless where there is only one.
    #[arg(long = "as", value_name = "LOGIN")]
    login: Option<Login>,
    /// How long you need it, where access has to be asked for [default: 15m].
    #[arg(long = "for", value_name = "TIME")]
    span: Option<Seconds>,
    /// Why you need it, where access has to be asked for.
    #[arg(long, value_name = "TEXT", value_parser = wish::reason)]
    because: Option<String>,
    /// Options for ssh.
    #[arg(value_name = "SSH OPTIONS", allow_hyphen_values = true, num_args = 0..)]
    options: Vec<OsString>,
    /// What to run there instead of a shell.
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<OsString>,
}

/// A host as it is named, and the account if that is said too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) login: Option<Login>,
    pub(super) host: HostName,
}

pub(super) fn destination(text: &str) -> Result<Destination, String> {
    let (login, host) = match text.rsplit_once('@') {
        Some((login, host)) => (Some(login.parse().map_err(|e| format!("{e}"))?), host),
        None => (None, text),
    };
    Ok(Destination { login, host: host.parse().map_err(|e| format!("{e}"))? })
}

impl SshArgs {
    /// Takes our own options out of those of ssh, which has none that begin with two dashes: people write
    /// them on either side of the host.
    fn sifted(mut self) -> Result<SshArgs, Failure> {
        let mut rest = Vec::new();
        let mut words = std::mem::take(&mut self.options).into_iter();
        while let Some(word) = words.next() {
            let text = word.to_string_lossy().into_owned();
            if text == "--" {
                // clap leaves it among the options where some stood before it.
                self.command.splice(0..0, words);
                break;
            }
            if !text.starts_with("--") {
                rest.push(word);
                continue;
            }
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (text, words.next().map(|word| word.to_string_lossy().into_owned())),
            };
            let value = value.ok_or_else(|| Failure::usage(format!("{name} needs a value.")))?;
            let wrong = |e: &dyn std::fmt::Display| Failure::usage(format!("{name}: {e}."));
            match name.as_str() {
                "--as" => self.login = Some(value.parse().map_err(|e| wrong(&e))?),
                "--for" => self.span = Some(value.parse().map_err(|e| wrong(&e))?),
                "--because" => self.because = Some(wish::reason(&value).map_err(|e| wrong(&e))?),
                _ => {
                    return Err(Failure::usage(format!(
                        "neither jit-ssh ssh nor ssh has an option {name}."
                    ))
                    .hint("what is to run on the host goes after --"));
                }
            }
        }
        if let (Some(one), Some(other)) = (&self.to.login, &self.login)
            && one != other
        {
            return Err(Failure::usage(format!("the account is said twice: {one} and {other}.")));
        }
        self.login = self.login.or_else(|| self.to.login.clone());
        self.options = rest;
        Ok(self)
    }
}

pub(super) async fn cmd_ssh(context: &Context, args: SshArgs) -> Result<Outcome, Failure> {
    let args = args.sifted()?;
    let home = &context.home;
    // stdout is for what runs on the host.
    let context = &Context { ui: Ui { no_data: true, ..context.ui.clone() }, home: home.clone() };
    let enrolment = Enrolment::load(home)?;
    let hosts = match trust::kept_hosts(home, &enrolment.root)? {
        Some(hosts) if ssh_config::path(home).exists() => hosts,
        // Once: what ssh needs beside the access.
        _ => {
            let ca = Ca::connect(home, &enrolment).await?;
            let mut trust = Trust::load(home, &enrolment.root, ca.client()).await?;
            let asked = std::slice::from_ref(&args.to.host);
            known_hosts::keep(&context.ui, home, &mut trust, ca.client(), asked).await?;
            ssh_config::write(home, &mut trust, ca.client()).await?;
            trust.hosts(ca.client()).await?
        }
    };
    let listed = ssh_config::find(&hosts, &args.to.host);
    let host = listed.map_or_else(|| args.to.host.clone(), |host| host.name.clone());
    let usual = match listed {
        Some(host) => ssh_config::usual_login(host, &Logins::load(home)?),
        None => None,
    };
    let login = match args.login.clone().or(usual) {
        Some(login) => login,
        None => {
            let ca = Ca::connect(home, &enrolment).await?;
            find_login(context, &ca, std::slice::from_ref(&host)).await?
        }
    };
    let outcome = if args.span.is_some() || args.because.is_some() {
        // What is said is never ignored, whatever is at hand.
        let asked =
            LoginArgs::to_connect(host.clone(), login.clone(), args.span, args.because.clone());
        login::cmd_login(context, asked).await?
    } else {
        let wanted =
            Wanted { host: host.clone(), login: Some(login.clone()), span: None, because: None };
        obtain_access(context, &enrolment, wanted, true).await?
    };
    if outcome != Outcome::Done {
        return Ok(outcome);
    }
    let mut ssh = std::process::Command::new("ssh");
    ssh.arg("-F").arg(ssh_config::whole(home)?).args(["-l", login.as_str(), host.as_str()]);
    ssh.args(&args.options);
    if !args.command.is_empty() {
        ssh.arg("--").args(&args.command);
    }
    let problem = ssh.exec();
    Err(Failure::new(Outcome::Error, "SSH", format!("ssh can not be started: {problem}."))
        .hint("is the OpenSSH client installed?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, FromArgMatches as _, Parser};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        ssh: SshArgs,
    }

    fn read(words: &[&str]) -> Result<SshArgs, Failure> {
        let words = std::iter::once("ssh").chain(words.iter().copied());
        let matches = Line::command().try_get_matches_from(words);
        let line = matches.and_then(|matches| Line::from_arg_matches(&matches));
        line.map_err(|e| Failure::usage(e.to_string()))?.ssh.sifted()
    }

    fn shown(words: &[&str]) -> String {
        let args = read(words).unwrap();
        let login = args.login.map(|login| login.to_string()).unwrap_or_default();
        let because = args.because.unwrap_or_default();
        let text = |words: &[OsString]| {
            words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        format!(
            "{login}@{} ({because}) [{}] [{}]",
            args.to.host,
            text(&args.options),
            text(&args.command)
        )
    }

    #[test]
    fn options_of_ours_may_stand_on_either_side_and_all_others_are_those_of_ssh() {
        for (words, expected) in [
            (&["h"][..], "@h () [] []"),
            (&["root@h", "uptime", "-p"], "root@h () [uptime -p] []"),
            (&["h", "-v", "-L", "1:x:2"], "@h () [-v -L 1:x:2] []"),
            (&["h", "--", "ls", "-l", "--as", "x"], "@h () [] [ls -l --as x]"),
            (&["h", "-v", "--", "ls"], "@h () [-v] [ls]"),
            (&["--as", "root", "--because", "INC-42 x", "h"], "root@h (INC-42 x) [] []"),
            (&["h", "--as", "root", "-v"], "root@h () [-v] []"),
            (
                &["h", "-v", "--as", "root", "--because=why not", "--", "ls"],
                "root@h (why not) [-v] [ls]",
            ),
        ] {
            assert_eq!(shown(words), expected, "{words:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_anything_is_asked() {
        for words in [
            &["h", "-v", "--whatever", "x"][..],
            &["h", "-v", "--as"],
            &["root@h", "--as", "deploy"],
            &["h", "-v", "--for", "soon"],
            &["h", "-v", "--because", " "],
            &["ro ot@h"],
            &["-v", "h"],
        ] {
            assert_eq!(read(words).unwrap_err().outcome, Outcome::Usage, "{words:?}");
        }
        assert!(read(&["root@h", "--as", "root"]).is_ok());
    }
}
