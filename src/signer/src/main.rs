//! `jit-ssh-signer`: the process that holds the CA key.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use jit_ssh_signer::server::{Source, run};

const USAGE: &str = "\
usage: jit-ssh-signer --config DIR --stdin
       jit-ssh-signer --config DIR --socket PATH [--peer-uid UID]
       jit-ssh-signer --help | --version

The key holder of jit-ssh. `jit-ssh-ca serve` starts it with --stdin unless ca.toml
names a socket; then start it by itself, as a user of its own, with --socket.
--peer-uid is the uid of the front; without it only the signer's own uid may connect.";

fn main() -> ExitCode {
    // No thread may go on when another has lost its footing: what is in the log can be taken up
    // again, what is half done in memory can not.
    std::panic::set_hook(Box::new(|info| {
        eprintln!("jit-ssh-signer: {info}");
        std::process::abort();
    }));
    match parse(std::env::args().skip(1)) {
        Some(Asked::Serve { config, source }) => match run(&config, &source) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("jit-ssh-signer: {error:#}");
                ExitCode::FAILURE
            }
        },
        Some(Asked::Help) => print(USAGE),
        Some(Asked::Version) => print(concat!("jit-ssh-signer ", env!("CARGO_PKG_VERSION"))),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// What the command line asks for.
enum Asked {
    Serve { config: PathBuf, source: Source },
    Help,
    Version,
}

fn print(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Asked> {
    let (mut config, mut stdin, mut socket, mut peer) = (None, false, None, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--config" => config = Some(PathBuf::from(args.next()?)),
            "--stdin" => stdin = true,
            "--socket" => socket = Some(PathBuf::from(args.next()?)),
            "--peer-uid" => peer = Some(args.next()?.parse().ok()?),
            "--help" | "-h" => return Some(Asked::Help),
            "--version" | "-V" => return Some(Asked::Version),
            _ => return None,
        }
    }
    let source = match (stdin, socket, peer) {
        (true, None, None) => Source::Stdin,
        (false, Some(path), peer) => Source::Socket { path, peer },
        _ => return None,
    };
    Some(Asked::Serve { config: config?, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_and_version_are_asked_for_and_not_mistaken() {
        let parse = |line: &str| parse(line.split_whitespace().map(str::to_owned));
        for help in ["--help", "-h", "--config c --help"] {
            assert!(matches!(parse(help), Some(Asked::Help)), "{help}");
        }
        for version in ["--version", "-V"] {
            assert!(matches!(parse(version), Some(Asked::Version)), "{version}");
        }
        // What follows an option is its value.
        assert!(parse("--config --help").is_none());
        assert!(parse("help").is_none());
    }

    #[test]
    fn exactly_one_source_is_named() {
        let parse = |line: &str| parse(line.split_whitespace().map(str::to_owned));
        assert!(parse("--config c --stdin").is_some());
        assert!(parse("--config c --socket s --peer-uid 7").is_some());
        for bad in [
            "",
            "--config c",
            "--stdin",
            "--config c --stdin --socket s",
            "--config c --stdin --peer-uid 7",
            "--config c --socket s --peer-uid x",
            "--config",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
