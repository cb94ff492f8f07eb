//! The command as it is typed.

use clap::Parser as _;

use crate::doctor::report;
use crate::{Cli, Command};

#[test]
fn the_command_line_is_read_and_nonsense_refused() {
    let parse = |line: &str| Cli::try_parse_from(line.split(' '));
    let files = "--etc /e --sshd-config /c --pam /p --sshd /usr/sbin/sshd";
    assert!(parse(&format!("jit-ssh-host doctor {files} --json")).is_ok());
    assert!(parse("jit-ssh-host doctor").is_ok());
    for bad in ["doctor /etc", "doctor --etc", "doctor --json=yes", "doctor --name x"] {
        let error = parse(&format!("jit-ssh-host {bad}")).err().unwrap();
        assert_eq!(error.exit_code(), 2, "{bad}");
    }
}

#[test]
fn a_host_that_was_never_set_up_fails_without_an_error_and_one_without_sshd_with_one() {
    let dir = tempfile::TempDir::new().unwrap();
    let etc = dir.path().display();
    std::fs::write(dir.path().join("sshd_config"), "PasswordAuthentication no\n").unwrap();
    let report = |sshd: &str| {
        let line = format!("jit-ssh-host doctor --json --etc {etc} --sshd {sshd}");
        let Command::Doctor(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("{line}");
        };
        report(&args)
    };
    let (out, exit) = report("/usr/sbin/sshd").unwrap();
    assert!(out.contains(r#"{"code":"NOT_SET_UP","severity":"critical","#), "{out}");
    assert_eq!(format!("{exit:?}"), format!("{:?}", std::process::ExitCode::FAILURE));
    let error = report("/none/sshd").unwrap_err().to_string();
    assert!(error.contains("There is no sshd here."), "{error}");
}
