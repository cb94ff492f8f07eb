//! What is said of the four promises, and how it is shown.

use super::*;
use crate::doctor::{exit, render};

fn promises(change: fn(&mut Facts)) -> Vec<String> {
    let mut facts = good();
    change(&mut facts);
    let findings = judge(&facts);
    let all = enforces::enforced(&facts, &findings);
    let named: Vec<_> = all.iter().map(|promise| promise.enforces).collect();
    assert_eq!(named, ["login", "session", "channels", "detached"]);
    all.into_iter().map(|promise| promise.how).collect()
}

#[test]
fn a_good_host_keeps_all_four() {
    let good = promises(|_| {});
    assert_eq!(good[0], "certificates by this CA, for principals of this host (prod-host) only");
    assert_eq!(good[1], "end with the grant (guard required, PAM hook in place)");
    assert!(good[2].contains("end with the session"), "{good:?}");
    assert!(good[3].contains("end with the session's cgroup"), "{good:?}");
}

#[test]
fn each_promise_holds_as_far_as_the_findings_leave_it() {
    let login = |change| promises(change)[0].clone();
    let doors = login(|f| {
        set(f, &[("passwordauthentication", "yes"), ("authorizedkeysfile", "x")]);
    });
    assert!(doors.ends_with("only; and besides: keys people leave in authorized_keys, passwords"));
    assert!(login(|f| set(f, &[("authorizedprincipalsfile", "none")])).contains("not for"));
    assert!(login(|f| set(f, &[("trustedusercakeys", "none")])).contains("are refused"));
    assert!(login(|f| f.sshd.refused = Some("x.".to_owned())).starts_with("unknown"));
    assert!(login(|f| f.sshd.asked.clear()).contains("could not be asked"));

    let session = |change| promises(change)[1].clone();
    assert_eq!(session(|f| settings(f).guard = Guard::Off), "go on after the grant ends: no guard");
    assert!(
        session(|f| f.guard.answers = Err("nobody does".to_owned()))
            .contains("the guard does not run")
    );
    assert!(session(|f| f.pam.lines = pam("")).contains("there is no PAM hook"));
    assert!(session(|f| set(f, &[("usepam", "no")])).contains("does not use PAM"));
    assert!(
        session(|f| settings(f).guard = Guard::Optional).starts_with("end with the grant, but")
    );
    assert!(promises(|f| settings(f).guard = Guard::Off)[2].contains("go on"));

    let detached = |change| promises(change)[3].clone();
    assert!(detached(|f| f.has_cgroup_v2 = false).contains("survive"));
    assert!(detached(|f| settings(f).guard = Guard::Off).contains("go on"));
    assert!(detached(|f| f.lingering.push("deploy".to_owned())).contains("a lingering login"));
    let without = |f: &mut Facts| {
        f.pam.lines = pam(&PAM.replace("optional pam_systemd.so", "optional pam_x.so"))
    };
    assert!(detached(without).contains("only where"));
}

#[test]
fn a_note_is_no_weakness_and_a_warning_is_one() {
    let fails = |change: fn(&mut Facts)| {
        let mut facts = good();
        change(&mut facts);
        format!("{:?}", exit(&judge(&facts))) == format!("{:?}", std::process::ExitCode::FAILURE)
    };
    assert!(!fails(|_| {}));
    assert!(!fails(|f| f.clock_synchronised = None));
    assert!(fails(|f| f.clock_synchronised = Some(false)));
    assert!(fails(|f| set(f, &[("trustedusercakeys", "/x")])));
}

#[test]
fn people_and_programs_see_the_same() {
    let mut facts = good();
    settings(&mut facts).guard = Guard::Off;
    facts.pam.lines = pam("");
    facts.clock_synchronised = None;
    let findings = judge(&facts);
    let enforced = enforces::enforced(&facts, &findings);
    let text = render::text("prod-host", &enforced, &findings);
    assert!(text.starts_with("What prod-host enforces:\n  login     certificates"), "{text}");
    assert!(text.contains("\nwarning   GUARD_OFF  /e/jit-ssh/host.toml\n  The host is"), "{text}");
    assert!(text.contains("\n  fix: jit-ssh-host setup ... --guard required\n"), "{text}");
    assert!(text.ends_with("\n1 weakness: 0 critical, 1 warning.\n"), "{text}");
    let json = render::json(&enforced, &findings).unwrap();
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[1]["enforces"], "session");
    assert_eq!(lines[1]["how"], "go on after the grant ends: no guard");
    assert_eq!(lines[4]["code"], "GUARD_OFF");
    assert_eq!(lines[4]["severity"], "warning");
    assert_eq!(lines[4]["where"], "/e/jit-ssh/host.toml");
    assert_eq!(lines[5]["severity"], "note");
    assert!(lines[5]["where"].is_null());
    let keys: Vec<_> = lines[4].as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 5, "{keys:?}");
    assert!(render::text("x", &[], &[]).contains("No weakness found."));
}
