use std::collections::BTreeMap;

use super::*;

const HOOK: &str =
    "session required pam_exec.so type=open_session quiet /usr/bin/jit-ssh-host session";

const DEBIAN_12: &str = include_str!("tests/debian12-sshd");
const DEBIAN_13: &str = include_str!("tests/debian13-sshd");
const RHEL_9: &str = include_str!("tests/rhel9-sshd");

/// The files that the service includes.
fn included(name: &str) -> Option<&'static str> {
    let files = BTreeMap::from([
        (
            "common-auth",
            "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
        ),
        ("common-account", "account required pam_permit.so\n"),
        ("common-password", "password required pam_permit.so\n"),
        (
            "common-session",
            "session [default=1] pam_permit.so\nsession requisite pam_deny.so\nsession required pam_permit.so\nsession required pam_unix.so\nsession optional pam_systemd.so\n",
        ),
        (
            "password-auth",
            "auth required pam_env.so\nauth sufficient pam_unix.so nullok\nauth required pam_deny.so\nsession optional pam_keyinit.so revoke\nsession required pam_limits.so\n-session optional pam_systemd.so\nsession [success=1 default=ignore] pam_succeed_if.so service in crond quiet use_uid\nsession required pam_unix.so\n",
        ),
        (
            "postlogin",
            "session optional pam_umask.so silent\nsession [success=1 default=ignore] pam_succeed_if.so service !~ gdm* service !~ su* quiet\nsession [default=1] pam_lastlog.so nowtmp showfailed\nsession optional pam_lastlog.so silent noupdate showfailed\n",
        ),
        (
            "reads-early",
            "session optional pam_systemd.so\nsession required pam_env.so user_readenv=1\n",
        ),
        ("ends", "session sufficient pam_a.so\n"),
        ("hooked", "session required pam_exec.so /usr/bin/jit-ssh-host session\n"),
    ]);
    files.get(name).copied()
}

fn service<T>(text: &str, with: impl FnOnce(&Service<'_>) -> T) -> T {
    let read = |name: &str| Some((Path::new("/p").join(name), included(name)?.to_owned()));
    with(&Service { path: Path::new("/p/sshd"), text, read: &read })
}

fn placed(text: &str) -> Result<Placed, String> {
    service(text, |service| with_hook(service, HOOK).map_err(|error| error.to_string()))
}

/// The line above the hook, once it is in its place.
fn above(text: &str) -> String {
    let placed = placed(text).unwrap().text;
    let lines: Vec<&str> = placed.lines().collect();
    let at = lines.iter().position(|line| *line == HOOK).unwrap();
    assert_eq!(lines.iter().filter(|line| line.contains("jit-ssh-host")).count(), 1);
    lines[..at].iter().rev().find(|line| !line.is_empty()).map_or("", |line| *line).to_owned()
}

#[test]
fn on_stock_systems_the_hook_stands_after_the_shared_session_and_nothing_else_changes() {
    for (stock, expected) in [
        (DEBIAN_12, "@include common-session"),
        (DEBIAN_13, "@include common-session"),
        (RHEL_9, "session    include      password-auth"),
    ] {
        assert_eq!(above(stock), expected);
        let with = placed(stock).unwrap().text;
        assert_eq!(placed(&with).unwrap().text, with, "a second run changes nothing");
        service(&with, |service| check(service, HOOK)).unwrap();
        assert!(service(stock, |service| check(service, HOOK)).is_err());
        assert_eq!(without_hook(Path::new("/p/sshd"), &with), stock);
        assert_eq!(without_hook(Path::new("/p/sshd"), stock), stock);
    }
    let warned = |stock| !placed(stock).unwrap().words.is_empty();
    assert_eq!((warned(DEBIAN_12), warned(RHEL_9)), (false, true), "the SELinux context");
}

#[test]
fn without_a_shared_session_it_stands_after_what_must_come_first() {
    assert_eq!(
        above("session required pam_loginuid.so\nsession required pam_limits.so\n"),
        "session required pam_loginuid.so"
    );
    assert_eq!(
        above("session required pam_limits.so\nsession required pam_env.so user_readenv=1\n"),
        "session required pam_limits.so"
    );
    assert_eq!(above("auth required pam_unix.so\n"), "");
    // What is needed, where the shared session comes too late.
    let late = "session required pam_loginuid.so\nsession required pam_env.so user_readenv=1\n@include common-account\n";
    assert_eq!(above(late), "session required pam_loginuid.so");
}

#[test]
fn a_reader_of_what_people_wrote_before_the_place_is_refused() {
    let shared = "@include common-session\n";
    for (bad, good) in [
        (
            format!("session required pam_env.so user_readenv=1\n{shared}"),
            format!("session required pam_env.so user_readenv=0\n{shared}"),
        ),
        ("@include reads-early\n".to_owned(), "@include common-session\n".to_owned()),
        (
            format!("auth required pam_env.so user_readenv=1\n{shared}"),
            format!("auth required pam_env.so\n{shared}"),
        ),
        (
            format!("session required pam_env.so readenv=1 \\\n user_readenv=1\n{shared}"),
            format!("session required pam_env.so readenv=1 \\\n user_readenv=0\n{shared}"),
        ),
    ] {
        let error = placed(&bad).unwrap_err();
        assert!(error.contains("user_readenv") && error.contains("hint: nothing"), "{error}");
        assert!(placed(&good).is_ok(), "{good}");
    }
    assert!(placed("@include reads-early\n").unwrap_err().contains("/p/reads-early:2"));
}

#[test]
fn no_jump_and_no_early_end_skips_the_hook() {
    let with =
        |line: &str, after: &str| placed(&format!("{line}\n@include common-session\n{after}"));
    // The shared session has five lines: a jump over five lands on the hook.
    for (line, good) in [
        ("session [success=6 default=ignore] pam_a.so", false),
        ("session [success=5 default=ignore] pam_a.so", true),
        ("session [success=ok new_authtok_reqd=6 default=ignore] pam_a.so", false),
        ("session sufficient pam_a.so", false),
        ("session [default=done] pam_a.so", false),
        ("session requisite pam_a.so", true),
        ("session include ends", false),
        // What ends a substack ends only that.
        ("session substack ends", true),
        ("account [success=6 default=ignore] pam_a.so", true),
    ] {
        assert_eq!(with(line, "").is_ok(), good, "{line}");
    }
    // Beyond where the jump lands there is a place again.
    let jump = "session [success=6 default=ignore] pam_a.so";
    let text = placed(&format!("{jump}\n@include common-session\nsession optional pam_b.so\n"));
    assert!(text.unwrap().text.ends_with(&format!("session optional pam_b.so\n{HOOK}\n")));
    // A substack counts as one, whatever is in it.
    let over = |by| {
        format!("session [success={by} default=ignore] pam_a.so\nsession substack common-session\n")
    };
    assert!(placed(&over(1)).is_ok() && placed(&over(2)).is_err());
    assert!(placed(&format!("{}session optional pam_b.so\n", over(2))).is_ok());

    // What makes libpam forget a failure comes before the hook, or there is none.
    let forgets = |action: &str| {
        let line = format!("session [success=ok default={action}] pam_a.so\n");
        with("", &format!("session required pam_env.so user_readenv=1\n{line}"))
    };
    assert!(forgets("reset").unwrap_err().contains("forgotten"));
    assert!(forgets("bad").is_ok());
    let error = with("session sufficient pam_a.so", "").unwrap_err();
    assert!(error.contains("/p/sshd:1 (`sufficient pam_a.so`)"), "{error}");
}

#[test]
fn a_hook_at_the_wrong_place_is_moved_and_another_is_put_right() {
    let good = placed(DEBIAN_12).unwrap();
    assert!(good.words.is_empty());
    for (from, to) in [
        ("/usr/bin/jit-ssh-host", "/old/jit-ssh-host"),
        ("session required pam_exec", "session optional pam_exec"),
        ("type=open_session ", ""),
        ("jit-ssh-host session", "jit-ssh-host session --etc /x"),
    ] {
        let other = good.text.replace(from, to);
        assert_ne!(other, good.text);
        let mended = placed(&other).unwrap();
        assert_eq!((mended.text.as_str(), mended.words.len()), (good.text.as_str(), 1), "{to}");
    }
    for wrong in [
        format!("{HOOK}\n{DEBIAN_12}"),
        format!("{DEBIAN_12}{HOOK}\n"),
        format!("{}{HOOK}\n", good.text),
        format!("{DEBIAN_12}session required pam_exec.so \\\n  /usr/bin/jit-ssh-host session\n"),
    ] {
        let moved = placed(&wrong).unwrap();
        assert_eq!(moved.text, good.text);
        assert!(moved.words[0].contains("it is put right"), "{:?}", moved.words);
        assert_eq!(without_hook(Path::new("/p/sshd"), &wrong), DEBIAN_12);
    }
    // Another good place is as good.
    let elsewhere = DEBIAN_12.replace(
        "session    required     pam_limits.so\n",
        &format!("session    required     pam_limits.so\n{HOOK}\n"),
    );
    assert_eq!(placed(&elsewhere).unwrap().text, elsewhere);
}

#[test]
fn what_can_not_be_read_or_is_called_by_others_is_refused() {
    let error = placed("session include nothing\n").unwrap_err();
    assert!(error.contains("/p/sshd:1 includes nothing"), "{error}");
    let error = placed("session required pam_loginuid.so\n@include hooked\n").unwrap_err();
    assert!(error.contains("/p/hooked:1 calls the hook"), "{error}");
}

#[test]
fn a_last_line_without_a_break_stays_so() {
    for text in ["session required pam_loginuid.so", "", "# nothing\n\n"] {
        let with = placed(text).unwrap().text;
        assert_eq!(without_hook(Path::new("/p/sshd"), &with), text);
        assert_eq!(placed(&with).unwrap().text, with);
    }
}
