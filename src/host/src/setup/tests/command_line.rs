//! What is refused before anything is done.

use super::*;

#[test]
fn the_command_line_is_refused_before_anything_is_done() {
    use clap::Parser as _;
    let parse = |line: &str| crate::Cli::try_parse_from(line.split(' '));
    let url = "https://127.0.0.1:1#SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0";
    assert!(parse(&format!("jit-ssh-host setup --ca {url} --name prod-host --yes")).is_ok());
    assert!(parse("jit-ssh-host setup --remove --json --dry-run").is_ok());
    // The token says of which CA it is.
    assert!(parse("jit-ssh-host setup --token /run/token --name ci-1").is_ok());
    assert!(parse("jit-ssh-host setup --token /run/token --remove").is_err());
    for bad in [
        "jit-ssh-host setup".to_owned(),
        format!("jit-ssh-host setup --ca {url}"),
        format!("jit-ssh-host setup --ca {url} --name Prod"),
        "jit-ssh-host setup --ca https://127.0.0.1:1 --name prod-host".to_owned(),
    ] {
        assert_eq!(parse(&bad).err().unwrap().exit_code(), 2, "{bad}");
    }
    assert!(parse("jit-ssh-host setup --remove --guard sometimes").is_err());
    assert!(parse("jit-ssh-host setup --remove --end-sessions").is_ok());
    assert!(parse("jit-ssh-host setup --remove --end-sessions --leave-sessions").is_err());
}

#[test]
fn what_becomes_of_sessions_is_asked_only_where_the_guard_goes() {
    use clap::Parser as _;
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        setup: SetupArgs,
    }
    let url = "https://127.0.0.1:1#SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0";
    let told = |more: &str| {
        let line = format!("x --ca {url} --name prod-host{more}");
        live_sessions(&Line::parse_from(line.split(' ')).setup)
    };
    assert_eq!(told("").ok(), Some(LiveSessions::Refuse));
    assert_eq!(told(" --guard off --end-sessions").ok(), Some(LiveSessions::End));
    assert_eq!(told(" --remove --leave-sessions").ok(), Some(LiveSessions::Leave));
    for more in ["", " --guard optional"] {
        let error = told(&format!("{more} --end-sessions")).err().unwrap();
        assert_eq!(error.exit(), crate::error::Exit::Usage, "{error}");
    }
}

#[test]
fn an_unreachable_ca_changes_nothing_and_has_its_own_exit_code() {
    let host = TestHost::new("");
    let before = host.snapshot();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url =
        format!("https://127.0.0.1:{port}#SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0");
    let question = Question {
        ca: &url.parse().unwrap(),
        name: &"prod-host".parse().unwrap(),
        layout: &host.layout,
        own_keys: &[],
        token: None,
        dry_run: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asked = runtime.block_on(ask::ask(&question, |_| Ok(())));
    let error = asked.err().unwrap();
    assert_eq!(error.exit(), crate::error::Exit::Unreachable, "{error}");
    assert_eq!(host.snapshot(), before);
}
