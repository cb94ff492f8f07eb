//! The guard and its hook: nothing asks a guard that does not answer, and everything goes again.

use super::*;

const UNIT_TEXT: &str = "# jit-ssh: a unit\nExecStart=/x\n";
const HOOK: &str =
    "session required pam_exec.so type=open_session quiet /usr/bin/jit-ssh-host session";
const PAM: &str = "session required pam_loginuid.so\nsession required pam_limits.so\n";

/// A host with a PAM service of its own, under systemd or not, and a guard that starts or not.
fn host(config: &str, systemd: bool, starts: bool) -> TestHost {
    let mut host = TestHost::new(config);
    let main = host.read("sshd_config").replace("UsePAM no\n", "UsePAM yes\n");
    host.write("sshd_config", &main);
    fs::create_dir(host.dir.path().join("pam.d")).unwrap();
    fs::write(host.layout.pam(), PAM).unwrap();
    host.guard = FakeGuard {
        unit: systemd.then(|| host.dir.path().join("jit-ssh-guard.service")),
        down: RefCell::new(Some("it is down".to_owned())),
        starts,
        ..FakeGuard::default()
    };
    host
}

fn goal(host: &TestHost, guard: Guard) -> Goal {
    let Goal::SetUp(mut wanted) = host.goal(KEY, &["deploy"]) else { unreachable!() };
    wanted.settings.guard = guard;
    let unit = host.guard.unit.clone().map(|path| (path, UNIT_TEXT.to_owned()));
    wanted.guard = (guard != Guard::Off).then(|| GuardLines { hook: HOOK.to_owned(), unit });
    Goal::SetUp(wanted)
}

fn pam(host: &TestHost) -> String {
    fs::read_to_string(host.layout.pam()).unwrap()
}

fn told(host: &TestHost) -> Vec<String> {
    host.guard.told.take()
}

#[test]
fn under_systemd_the_guard_is_installed_and_running_before_a_login_asks_it() {
    let host = host(INCLUDE, true, true);
    let unit = host.guard.unit.clone().unwrap();
    let before = timeless(host.snapshot());
    host.run(&goal(&host, Guard::Required), ANYWAY).unwrap();
    let service = "jit-ssh-guard.service";
    assert_eq!(
        told(&host),
        ["daemon-reload".to_owned(), format!("enable {service}"), format!("restart {service}")]
    );
    assert_eq!(fs::read_to_string(&unit).unwrap(), UNIT_TEXT);
    assert_eq!(pam(&host), PAM.replacen('\n', &format!("\n{HOOK}\n"), 1));
    let settings = settings::parse(&host.read("jit-ssh/host.toml")).unwrap();
    assert_eq!(settings.guard, Guard::Required);

    // A second run only makes sure that it runs.
    assert!(host.run(&goal(&host, Guard::Required), ANYWAY).unwrap().plan.is_empty());
    assert!(told(&host).last().unwrap().starts_with("start "));
    // Another choice updates what is there.
    host.run(&goal(&host, Guard::Optional), ANYWAY).unwrap();
    assert!(host.read("jit-ssh/host.toml").contains("guard = \"optional\""));
    told(&host);

    let done = host.remove().unwrap();
    assert!(done.plan.removed().contains(&&*unit));
    let clean = format!("clean --what=runtime {service}");
    let told = told(&host);
    assert_eq!(told, [format!("disable --now {service}"), clean, "daemon-reload".to_owned()]);
    assert_eq!((pam(&host).as_str(), unit.exists()), (PAM, false));
    let mut after = timeless(host.snapshot());
    after.remove(&host.layout.drop_in_dir());
    assert_eq!(after, before);
}

#[test]
fn switching_the_guard_off_takes_hook_and_unit_out_and_leaves_the_rest() {
    let host = host("", true, true);
    host.run(&goal(&host, Guard::Required), ANYWAY).unwrap();
    told(&host);
    host.run(&goal(&host, Guard::Off), ANYWAY).unwrap();
    assert_eq!((pam(&host).as_str(), told(&host).len()), (PAM, 3));
    assert!(!host.guard.unit.clone().unwrap().exists());
    assert!(host.layout.user_ca().exists());
    assert!(host.run(&goal(&host, Guard::Off), ANYWAY).unwrap().plan.is_empty());
}

#[test]
fn a_guard_that_does_not_come_up_changes_nothing_unless_it_is_optional() {
    for systemd in [true, false] {
        let host = host("", systemd, false);
        let before = timeless(host.snapshot());
        let error = host.run(&goal(&host, Guard::Required), ANYWAY).err().unwrap().to_string();
        assert!(error.contains("The guard does not run: it is down."), "{error}");
        assert!(error.contains("everything was put back"), "{error}");
        let hint = if systemd { "journalctl" } else { "jit-ssh-host guard --etc " };
        assert!(error.contains(hint), "{error}");
        assert_eq!((timeless(host.snapshot()), pam(&host).as_str()), (before, PAM));
        let stops = |told: &String| told == "disable --now jit-ssh-guard.service";
        assert_eq!(told(&host).iter().any(stops), systemd);
        assert!(host.guard.unit.iter().all(|unit| !unit.exists()));

        host.run(&goal(&host, Guard::Optional), ANYWAY).unwrap();
        assert!(pam(&host).contains(HOOK));
    }
    // The neighbour without systemd: somebody has started it.
    let host = host("", false, false);
    host.guard.down.replace(None);
    host.run(&goal(&host, Guard::Required), ANYWAY).unwrap();
    assert_eq!((pam(&host).contains(HOOK), told(&host).len()), (true, 0));
}

#[test]
fn a_guard_of_another_host_or_an_older_one_is_not_taken_for_this_hosts() {
    for systemd in [true, false] {
        let host = host("", systemd, true);
        host.guard.down.replace(None);
        let before = timeless(host.snapshot());
        for (is, word, name) in [
            (Answering::Other("/srv/ssh".into()), "host files in /srv/ssh", "OTHER_GUARD"),
            (Answering::Older, "of an older version", "OLD_GUARD"),
        ] {
            // Under systemd the older one is started anew, and is this version's then.
            let is_mended = systemd && is == Answering::Older;
            host.guard.is.replace(is);
            let done = host.run(&goal(&host, Guard::Required), ANYWAY);
            if is_mended {
                done.unwrap();
                assert!(pam(&host).contains(HOOK));
                continue;
            }
            let error = done.err().unwrap();
            assert!(error.json().contains(name), "{}", error.json());
            let error = error.to_string();
            let line = format!("jit-ssh-host guard --etc {}", host.layout.etc().display());
            assert!(error.contains(word) && error.contains(&line), "{error}");
            assert_eq!((timeless(host.snapshot()), pam(&host).as_str()), (before.clone(), PAM));
        }
        host.guard.is.replace(Answering::Ours);
        host.run(&goal(&host, Guard::Required), ANYWAY).unwrap();
        assert!(pam(&host).contains(HOOK));
        // Nothing is to be changed any more, and an older guard is still replaced.
        told(&host);
        host.guard.is.replace(Answering::Older);
        let again = host.run(&goal(&host, Guard::Required), ANYWAY);
        assert_eq!(again.is_ok(), systemd);
        let restarts = told(&host).iter().any(|told| told.starts_with("restart "));
        assert_eq!(restarts, systemd);
    }
}

#[test]
fn what_sshd_does_not_confirm_takes_hook_and_guard_back_too() {
    let host = host("Match User deploy\n  TrustedUserCAKeys /other\n", true, true);
    let before = timeless(host.snapshot());
    assert!(host.run(&goal(&host, Guard::Required), ANYWAY).is_err());
    assert_eq!((timeless(host.snapshot()), pam(&host).as_str()), (before, PAM));
    assert!(told(&host).contains(&"disable --now jit-ssh-guard.service".to_owned()));
    assert!(!host.guard.unit.clone().unwrap().exists());
}

#[test]
fn a_hook_that_sshd_would_not_call_is_refused() {
    let refusal = |host: &TestHost| {
        let before = timeless(host.snapshot());
        let error = host.run(&goal(host, Guard::Required), ANYWAY).err().unwrap().to_string();
        assert_eq!((timeless(host.snapshot()), told(host).len()), (before, 0));
        assert!(error.contains("nothing is changed"), "{error}");
        error
    };
    let no_pam = host("", true, true);
    let main = no_pam.read("sshd_config");
    no_pam.write("sshd_config", &main.replace("UsePAM yes", "UsePAM no"));
    assert!(refusal(&no_pam).contains("set `UsePAM yes` in"));
    no_pam.write("sshd_config", &main);
    no_pam.run(&goal(&no_pam, Guard::Required), ANYWAY).unwrap();

    let mut other = host("", true, true);
    let named = other.dir.path().join("pam.d/other");
    fs::write(&named, PAM).unwrap();
    other.layout = other.layout.clone().with_pam(&named).unwrap();
    assert!(refusal(&other).contains("sshd uses the PAM service `sshd`"));

    // From 9.8 the service is a setting, which a Match can make another for some.
    for (line, is_refused) in [
        ("PAMServiceName other", true),
        ("PAMServiceName sshd", false),
        ("Match User deploy\nPAMServiceName other", true),
        ("Match Address 10.0.0.0/8\nPAMServiceName other", true),
        ("Match User bob\nPAMServiceName other", false),
    ] {
        let host = host(&format!("{line}\n"), true, true);
        if host.sshd.test().is_err() {
            // This sshd knows no such word.
            continue;
        }
        match is_refused {
            true => assert!(refusal(&host).contains("PAM service `other`"), "{line}"),
            false => drop(host.run(&goal(&host, Guard::Required), ANYWAY).unwrap()),
        }
    }

    let gone = host("", true, true);
    fs::remove_file(gone.layout.pam()).unwrap();
    assert!(refusal(&gone).contains("There is no PAM service file"));

    let early = host("", true, true);
    fs::write(
        early.layout.pam(),
        "session required pam_env.so user_readenv=1\nsession required pam_loginuid.so\n",
    )
    .unwrap();
    assert!(refusal(&early).contains("There is no place for the hook"));
}

#[test]
fn a_hook_in_the_file_named_before_goes_when_another_is_named() {
    let mut host = host("", false, false);
    host.guard.down.replace(None);
    host.run(&goal(&host, Guard::Required), ANYWAY).unwrap();
    let (old, dir) = (host.layout.pam().to_owned(), host.dir.path().join("other"));
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("sshd"), PAM).unwrap();
    host.layout = host.layout.clone().with_pam(&dir.join("sshd")).unwrap();
    let Goal::SetUp(mut wanted) = goal(&host, Guard::Required) else { unreachable!() };
    wanted.settings.pam = host.layout.pam().to_owned();
    host.run(&Goal::SetUp(wanted), ANYWAY).unwrap();
    assert_eq!(fs::read_to_string(old).unwrap(), PAM);
    assert!(pam(&host).contains(HOOK));
}

#[test]
fn a_unit_of_somebody_else_stays() {
    let host = host("", true, true);
    let unit = host.guard.unit.clone().unwrap();
    fs::write(&unit, "[Service]\n").unwrap();
    assert!(host.run(&goal(&host, Guard::Required), ANYWAY).is_err());
    host.run(&goal(&host, Guard::Off), ANYWAY).unwrap();
    host.remove().unwrap();
    assert_eq!(fs::read_to_string(&unit).unwrap(), "[Service]\n");
    assert!(told(&host).is_empty());
}

#[test]
fn a_new_unit_that_does_not_come_up_gives_way_to_the_one_before() {
    let mut host = host("", true, true);
    host.run(&goal(&host, Guard::Required), ANYWAY).unwrap();
    told(&host);
    let unit = host.guard.unit.clone().unwrap();
    fs::write(&unit, "# jit-ssh: the one before\n").unwrap();
    host.guard.starts = false;
    host.guard.down.replace(Some("it is down".to_owned()));
    assert!(host.run(&goal(&host, Guard::Required), ANYWAY).is_err());
    assert_eq!(fs::read_to_string(&unit).unwrap(), "# jit-ssh: the one before\n");
    let told = told(&host);
    assert_eq!(told[told.len() - 2..], ["daemon-reload", "restart jit-ssh-guard.service"]);
    assert!(pam(&host).contains(HOOK), "logins still ask the guard");
}

#[test]
fn a_guard_that_has_sessions_to_end_goes_only_when_it_is_said_what_becomes_of_them() {
    let live = |count, is_ours_among| Some(Sessions { count, is_ours_among });
    let told_of = |live_sessions| Told { live_sessions, ..ANYWAY };
    let (refuse, end, leave) =
        (told_of(LiveSessions::Refuse), told_of(LiveSessions::End), told_of(LiveSessions::Leave));
    for (systemd, removed) in [(true, true), (true, false), (false, true), (false, false)] {
        let host = host("", systemd, true);
        host.guard.down.replace(None);
        let away = || if removed { Goal::Removed } else { goal(&host, Guard::Off) };
        let set_up = || {
            host.run(&goal(&host, Guard::Required), ANYWAY).unwrap();
            told(&host);
        };
        set_up();
        let refusal = |told_what| {
            let before = (timeless(host.snapshot()), pam(&host));
            let error = host.run(&away(), told_what).err().unwrap().to_string();
            assert_eq!((timeless(host.snapshot()), pam(&host)), before);
            assert!(error.contains("nothing is changed"), "{error}");
            assert!(told(&host).is_empty());
            error
        };
        host.guard.sessions.set(live(3, true));
        let error = refusal(refuse);
        assert!(error.contains("watches 3 live sessions"), "{error}");
        assert!(error.contains("--end-sessions") && error.contains("--leave-sessions"), "{error}");
        assert!(refusal(Told { dry_run: true, ..refuse }).contains("watches 3"));
        assert!(refusal(end).contains("this setup runs in one of them"));
        host.guard.sessions.set(live(3, false));
        host.guard.down.replace(Some("it is down".to_owned()));
        assert!(refusal(end).contains("can not end 3 live sessions: it is down."));
        host.guard.sessions.set(None);
        assert!(refusal(refuse).contains("the table is damaged"));
        assert!(refusal(end).contains("the table is damaged"));

        // A guard that stays goes on with them.
        host.run(&goal(&host, Guard::Optional), refuse).unwrap();
        told(&host);

        host.guard.down.replace(None);
        host.guard.sessions.set(live(3, false));
        host.run(&away(), end).unwrap();
        let said = told(&host);
        assert_eq!(said.first().map(String::as_str), Some("end sessions"));
        assert_eq!(said.len(), if systemd { 4 } else { 1 }, "{said:?}");
        assert_eq!(pam(&host), PAM);

        for unended in [live(3, true), None] {
            set_up();
            host.guard.sessions.set(unended);
            host.run(&away(), leave).unwrap();
            assert!(!told(&host).contains(&"end sessions".to_owned()));
            assert_eq!(pam(&host), PAM);
        }
        // Where there are none, there is nothing to say.
        set_up();
        host.guard.sessions.set(live(0, false));
        host.run(&away(), refuse).unwrap();
        assert_eq!(pam(&host), PAM);
    }
}
