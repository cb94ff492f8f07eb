//! The ssh that runs `jit-ssh ensure` out of its configuration: what its command line says, and what it
//! makes of it. Read from /proc, since what people type must not pass through a shell on its way here.
//!
//! ssh runs such a command for every call, those too that connect to nothing or ride on a connection
//! that is there (measured: 9.2 to 10.0). Which kind of call it is only ssh itself can tell: it is asked
//! by `ssh -G`, and only where something is missing, since that takes longer than all the rest.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set for the `ssh -G` that is asked: its own `jit-ssh ensure` must not ask again.
const ASKED: &str = "JIT_SSH_ENSURE_ASKED";
/// Options of ssh that take a value (ssh.c, 9.2 to 10.0).
const WITH_VALUE: &[u8] = b"BbcDEeFIiJLlmOopPQRSWw";

/// The ssh that called.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Which process it is, so that no later one is taken for it.
    pub(crate) process: String,
    program: PathBuf,
    args: Vec<OsString>,
}

/// What a command line of ssh says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Line {
    login: Option<String>,
    /// `-G`, `-O`, `-Q` or `-V`: nothing will be connected to.
    only_asks: bool,
}

/// What ssh makes of its command line and all its files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The account it will log in to.
    pub(crate) login: Option<String>,
    /// Whether it must not be disturbed by questions.
    pub(crate) batch: bool,
    /// Whether a connection stands that it will use.
    pub(crate) multiplexed: bool,
}

/// Whether this was called by an ssh that was only asked what it would do, by [`Caller::resolved`].
pub(crate) fn is_asked() -> bool {
    std::env::var_os(ASKED).is_some()
}

impl Caller {
    /// The parent of this process, if it is an ssh.
    pub(crate) fn find() -> Option<Caller> {
        let folder = PathBuf::from(format!("/proc/{}", std::os::unix::process::parent_id()));
        let program = std::fs::read_link(folder.join("exe")).ok()?;
        if program.file_name() != Some(OsStr::new("ssh")) {
            return None;
        }
        let line = std::fs::read(folder.join("cmdline")).ok()?;
        let line = line.strip_suffix(b"\0").unwrap_or(&line);
        let words = line.split(|byte| *byte == 0).skip(1);
        let args = words.map(|word| OsStr::from_bytes(word).to_owned()).collect();
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        // pid (name) state ...: the time it started is the 22nd field, the 20th after the name.
        let (before, after) = stat.rsplit_once(") ")?;
        let pid = before.split(' ').next()?;
        let process = format!("{pid} {}", after.split(' ').nth(19)?);
        Some(Caller { process, program, args })
    }

    /// The account its command line names.
    pub(crate) fn login(&self) -> Option<String> {
        read(&self.args).login
    }

    /// Whether it will connect to nothing: it prints its configuration, or speaks to a connection that
    /// stands.
    pub(crate) fn only_asks(&self) -> bool {
        read(&self.args).only_asks
    }

    /// Asks it what it makes of its configuration; `None` if it does not tell.
    pub(crate) fn resolved(&self) -> Option<Resolved> {
        let answer = Command::new(&self.program)
            .arg("-G")
            .args(&self.args)
            .env(ASKED, "1")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let answer = String::from_utf8(answer.stdout).ok().filter(|_| answer.status.success())?;
        Some(resolved(&answer, |socket| UnixStream::connect(socket).is_ok()))
    }
}

/// Reads the arguments as ssh does: options before and after the destination, up to the command. Of what
/// is said twice the first counts.
fn read(args: &[OsString]) -> Line {
    let mut line = Line::default();
    let mut destination = None;
    let mut options_end = false;
    let mut args = args.iter().map(|arg| arg.as_bytes());
    while let Some(arg) = args.next() {
        if !options_end && arg == b"--" {
            options_end = true;
        } else if !options_end && arg.len() > 1 && arg.starts_with(b"-") {
            for (place, letter) in arg.iter().skip(1).enumerate() {
                if !WITH_VALUE.contains(letter) {
                    line.only_asks |= matches!(letter, b'G' | b'V');
                    continue;
                }
                let rest = arg.get(place.saturating_add(2)..).filter(|rest| !rest.is_empty());
                let value = rest.or_else(|| args.next()).unwrap_or_default();
                line.only_asks |= matches!(letter, b'O' | b'Q');
                let login = match letter {
                    b'l' => Some(value),
                    b'o' => user_of(value),
                    _ => None,
                };
                line.note(login);
                break;
            }
        } else if destination.is_none() {
            destination = Some(arg);
            line.note(login_of(arg));
            options_end = false;
        } else {
            break;
        }
    }
    line
}

impl Line {
    fn note(&mut self, login: Option<&[u8]>) {
        let login = login.map(|login| String::from_utf8_lossy(login).into_owned());
        self.login = self.login.take().or(login);
    }
}

/// The account of `-o User=NAME`, in any of its spellings.
fn user_of(option: &[u8]) -> Option<&[u8]> {
    let option = option.trim_ascii();
    let (keyword, value) = option.split_at_checked(4)?;
    let said = keyword.eq_ignore_ascii_case(b"user");
    let value = value.strip_prefix(b"=").or_else(|| {
        let value = value.strip_prefix(b" ")?.trim_ascii_start();
        Some(value.strip_prefix(b"=").unwrap_or(value))
    })?;
    Some(value.trim_ascii()).filter(|_| said)
}

/// The account of `LOGIN@HOST` and `ssh://LOGIN@HOST:PORT`.
fn login_of(destination: &[u8]) -> Option<&[u8]> {
    let destination = destination.strip_prefix(b"ssh://").unwrap_or(destination);
    let at = destination.iter().rposition(|byte| *byte == b'@')?;
    destination.get(..at)
}

fn resolved(answer: &str, stands: impl Fn(&Path) -> bool) -> Resolved {
    let mut found = Resolved::default();
    for (keyword, value) in answer.lines().filter_map(|line| line.split_once(' ')) {
        match keyword {
            "user" => found.login = Some(value.to_owned()),
            "batchmode" => found.batch = matches!(value, "yes" | "true"),
            "controlpath" if value != "none" => found.multiplexed = stands(Path::new(value)),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> (Option<String>, bool) {
        let args: Vec<OsString> = words.iter().map(OsString::from).collect();
        let line = read(&args);
        (line.login, line.only_asks)
    }

    #[test]
    fn the_account_is_found_wherever_ssh_would_find_it_and_the_first_counts() {
        for (words, login) in [
            (&["h"][..], None),
            (&["root@h"], Some("root")),
            (&["-l", "root", "h"], Some("root")),
            (&["-vlroot", "h"], Some("root")),
            (&["-o", "User=root", "h"], Some("root")),
            (&["-oUSER root", "h"], Some("root")),
            (&["-o", "UserKnownHostsFile=x", "h"], None),
            (&["ssh://root@h:22"], Some("root")),
            (&["a@b@h"], Some("a@b")),
            (&["h", "-l", "root", "uptime"], Some("root")),
            (&["-l", "root", "deploy@h"], Some("root")),
            (&["deploy@h", "-l", "root"], Some("deploy")),
            // What belongs to an option, or to the command, is none.
            (&["-i", "x@y", "h"], None),
            (&["h", "su", "-l", "root"], None),
            (&["-s", "--", "h", "sftp", "-l", "root"], None),
        ] {
            assert_eq!(line(words).0.as_deref(), login, "{words:?}");
        }
    }

    #[test]
    fn what_connects_to_nothing_is_told_from_what_does() {
        for (words, only_asks) in [
            (&["-G", "h"][..], true),
            (&["h", "-G"], true),
            (&["-vG", "h"], true),
            (&["-O", "check", "h"], true),
            (&["-Oexit", "h"], true),
            (&["h"], false),
            (&["h", "ls", "-G"], false),
            (&["-F", "-G", "h"], false),
            (&["-T", "-D", "1080", "h"], false),
            (&["-s", "--", "h", "sftp"], false),
        ] {
            assert_eq!(line(words).1, only_asks, "{words:?}");
        }
    }

    #[test]
    fn what_ssh_makes_of_it_is_read_from_its_own_answer() {
        let answer = "host h\nuser deploy\nbatchmode yes\ncontrolpath /run/a b\n";
        let read = |stands: bool| {
            resolved(answer, move |socket| socket == Path::new("/run/a b") && stands)
        };
        let login = Some("deploy".to_owned());
        assert_eq!(read(true), Resolved { login: login.clone(), batch: true, multiplexed: true });
        assert_eq!(read(false), Resolved { login, batch: true, multiplexed: false });
        assert_eq!(resolved("batchmode no\ncontrolpath none\n", |_| true), Resolved::default());
    }
}
