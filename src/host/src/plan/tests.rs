use std::collections::BTreeMap;

use super::*;
use crate::config::{Found, What};
use crate::current::{DirState, Owner};
use crate::settings::Guard;

const KEY_1: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKoMHfeUSGcYJWGysvTZaqm59QUJXVrgQ96Nhwe6rdj";
const KEY_2: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG9Xk/nbgjDerDaWVYM+W3oYyPVTw0zId4OlsrngbSUx";
const CA: &str = "SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0";

const ROOT: Owner = Owner { user: 0, group: 0 };

fn layout() -> Layout {
    Layout::new(Path::new("/etc/ssh"), None).unwrap()
}

fn wanted(logins: &[&str]) -> Wanted {
    let settings = Settings {
        ca: format!("https://ca.example:7443#{CA}").parse().unwrap(),
        name: "prod-host".parse().unwrap(),
        guard: Guard::Off,
        sshd_config: "/etc/ssh/sshd_config".into(),
        pam: "/etc/pam.d/sshd".into(),
        offline_ca: None,
    };
    Wanted { facts: facts(logins), settings, guard: None, host_certificate: None, enrolment: None }
}

fn facts(logins: &[&str]) -> HostFacts {
    HostFacts {
        jumps: BTreeMap::new(),
        name: "prod-host".parse().unwrap(),
        ca: CA.parse().unwrap(),
        revoked: Lists::default(),
        version: 7,
        ca_keys: vec![
            (NonZeroU16::new(1).unwrap(), KEY_1.parse().unwrap()),
            (NonZeroU16::new(2).unwrap(), KEY_2.parse().unwrap()),
        ],
        logins: logins.iter().map(|login| login.parse().unwrap()).collect(),
    }
}

fn file(content: &str) -> FileState {
    FileState { content: content.into(), mode: 0o644, owner: ROOT }
}

/// A host where nothing of ours is, and whose main file includes our drop-in or does not.
fn fresh(included: bool) -> Current {
    let found =
        Found { what: What::DropIn, file: "/etc/ssh/sshd_config".into(), line: 1, under: None };
    let config = file("Port 22\n");
    Current {
        user: 0,
        config_path: "/etc/ssh/sshd_config".into(),
        config_without_ours: content::without_include(&config.content),
        config,
        found: Vec::from_iter(included.then_some(found)),
        user_ca: None,
        settings: None,
        revoked: None,
        host_certificate: None,
        enrolment: None,
        certificate_include: None,
        pam: Vec::new(),
        unit: None,
        drop_in: None,
        principals: BTreeMap::new(),
        dirs: BTreeMap::from([("/etc/ssh".into(), DirState { mode: 0o755, owner: ROOT })]),
    }
}

/// What would be there if the plan were carried out on `current`.
fn after(plan: &Plan, current: &Current) -> Current {
    let mut now = current.clone();
    for step in plan.steps() {
        match step {
            Step::Dir { path, mode, .. } => {
                now.dirs.insert(path.clone(), DirState { mode: *mode, owner: ROOT });
            }
            Step::RemoveDir { path, .. } => drop(now.dirs.remove(path)),
            Step::Write { path, new, .. } => {
                let owner = new.owner.unwrap_or(ROOT);
                let state = FileState { content: new.content.clone(), mode: new.mode, owner };
                put(&mut now, path, Some(state));
            }
            Step::Remove { path, .. } => put(&mut now, path, None),
        }
    }
    now.config_without_ours = content::without_include(&now.config.content);
    now
}

fn put(now: &mut Current, path: &Path, state: Option<FileState>) {
    let layout = layout();
    if path == now.config_path {
        now.config = state.unwrap();
    } else if path == layout.user_ca() {
        now.user_ca = state;
    } else if path == layout.drop_in() {
        now.drop_in = state;
    } else if path == layout.settings() {
        now.settings = state;
    } else if path == layout.revoked_keys() {
        now.revoked = state;
    } else if path == layout.host_certificate() {
        now.host_certificate = state;
    } else if path == layout.enrolment() {
        now.enrolment = state;
    } else if path == layout.certificate_include() {
        now.certificate_include = state;
    } else {
        assert_eq!(path.parent().unwrap(), layout.principals_dir());
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match state {
            Some(state) => drop(now.principals.insert(name, state)),
            None => drop(now.principals.remove(&name)),
        }
    }
}

fn text(state: &Option<FileState>) -> String {
    String::from_utf8(state.as_ref().unwrap().content.clone()).unwrap()
}

#[test]
fn a_fresh_host_gets_exactly_these_files() {
    let current = fresh(true);
    let plan = plan_setup(&layout(), &wanted(&["deploy", "root"]), &current, None).unwrap();
    let now = after(&plan, &current);
    assert_eq!(
        text(&now.user_ca),
        format!(
            "# Written by `jit-ssh-host setup`; undo with `jit-ssh-host setup --remove`.\n\
             # From bundle version 7 of the CA {CA}\n\
             {KEY_1} jit-ssh signer 1\n\
             {KEY_2} jit-ssh signer 2\n"
        )
    );
    assert_eq!(
        text(&now.drop_in),
        "# Written by `jit-ssh-host setup`; undo with `jit-ssh-host setup --remove`.\n\
         # sshd takes the first value of each keyword: this file must stay the first one it reads.\n\
         TrustedUserCAKeys /etc/ssh/jit-ssh/user_ca.pub\n\
         AuthorizedPrincipalsFile /etc/ssh/jit-ssh/principals/%u\n\
         AuthorizedPrincipalsCommand none\n\
         # Without this file sshd refuses every key, not only certificates.\n\
         RevokedKeys /etc/ssh/jit-ssh/revoked.krl\n\
         Include /etc/ssh/jit-ssh/host_certificate.conf\n\
         # Who jumps through this host gets no session, and forwards from here alone.\n\
         Match User jump\n    MaxSessions 0\n    DisableForwarding no\n    AllowTcpForwarding local\n\
         \x20   AllowStreamLocalForwarding no\n    AllowAgentForwarding no\n    X11Forwarding no\n\
         \x20   PermitTunnel no\n    PermitTTY no\n"
    );
    let principals: Vec<(&str, FileState)> =
        now.principals.iter().map(|(name, state)| (name.as_str(), state.clone())).collect();
    assert_eq!(
        principals,
        [("deploy", file("deploy@prod-host\n")), ("root", file("root@prod-host\n"))]
    );
    assert_eq!(now.config, current.config);
    assert!(plan.changes_configuration(&layout(), &current));
}

#[test]
fn a_second_run_has_nothing_to_do() {
    for included in [true, false] {
        let current = fresh(included);
        let plan = plan_setup(&layout(), &wanted(&["deploy"]), &current, None).unwrap();
        let now = after(&plan, &current);
        assert!(!plan.is_empty());
        assert!(plan_setup(&layout(), &wanted(&["deploy"]), &now, None).unwrap().is_empty());
    }
}

#[test]
fn what_sshd_reads_at_every_login_needs_no_reload() {
    let current = fresh(true);
    let now =
        after(&plan_setup(&layout(), &wanted(&["deploy"]), &current, None).unwrap(), &current);
    let plan = plan_setup(&layout(), &wanted(&["deploy", "root"]), &now, None).unwrap();
    assert_eq!(plan.changed(), [layout().principals(&"root".parse().unwrap())]);
    assert!(!plan.changes_configuration(&layout(), &now));
}

#[test]
fn without_an_include_one_is_put_first_and_taken_out_when_it_is_not_needed_any_more() {
    let current = fresh(false);
    let now =
        after(&plan_setup(&layout(), &wanted(&["deploy"]), &current, None).unwrap(), &current);
    let config = String::from_utf8(now.config.content.clone()).unwrap();
    assert_eq!(
        config,
        "# This line and the next are by `jit-ssh-host setup`; undo with `jit-ssh-host setup --remove`.\n\
         Include /etc/ssh/sshd_config.d/00-jit-ssh.conf\nPort 22\n"
    );
    let now = Current { found: fresh(true).found, ..now };
    let plan = plan_setup(&layout(), &wanted(&["deploy"]), &now, None).unwrap();
    assert_eq!(after(&plan, &now).config, current.config);
}

#[test]
fn removal_leaves_what_was_there_before() {
    for included in [true, false] {
        let current = fresh(included);
        let now =
            after(&plan_setup(&layout(), &wanted(&["deploy"]), &current, None).unwrap(), &current);
        let then = after(&plan_remove(&layout(), &now, None).unwrap(), &now);
        assert_eq!(then.config, current.config);
        assert_eq!(
            (then.user_ca, then.drop_in, then.settings, then.revoked, then.principals.len()),
            (None, None, None, None, 0)
        );
        let kept = then.dirs.contains_key(Path::new("/etc/ssh/sshd_config.d"));
        assert_eq!(kept, included, "a folder that sshd reads is not ours to remove");
    }
    let mut never_set_up = fresh(false);
    let dir = DirState { mode: 0o755, owner: ROOT };
    never_set_up.dirs.insert(layout().drop_in_dir(), dir);
    assert!(plan_remove(&layout(), &never_set_up, None).unwrap().is_empty());
}

#[test]
fn logins_no_longer_offered_lose_their_file_and_foreign_files_stay() {
    let mut current = fresh(true);
    for (name, content) in [
        ("gone", "gone@prod-host\n"),
        ("renamed", "renamed@old-name\n"),
        ("bob", "bob@prod-host\nalice\n"),
        ("eve", "root@prod-host\n"),
    ] {
        current.principals.insert(name.to_owned(), file(content));
    }
    let plan = plan_setup(&layout(), &wanted(&["deploy"]), &current, None).unwrap();
    let left: Vec<String> = after(&plan, &current).principals.into_keys().collect();
    assert_eq!(left, ["bob", "deploy", "eve"]);
    assert_eq!(plan.removed().len(), 2);
    assert_eq!(plan.warnings.len(), 2);
    let plan = plan_remove(&layout(), &after(&plan, &current), None).unwrap();
    assert_eq!(plan.removed().len(), 5, "deploy and our four files: {plan:?}");
}

#[test]
fn foreign_mode_owner_or_content_is_mended() {
    let current = fresh(true);
    let good =
        after(&plan_setup(&layout(), &wanted(&["deploy"]), &current, None).unwrap(), &current);
    let spoil = |spoil: &dyn Fn(&mut FileState)| {
        let mut now = good.clone();
        spoil(now.user_ca.as_mut().unwrap());
        spoil(now.principals.get_mut("deploy").unwrap());
        let plan = plan_setup(&layout(), &wanted(&["deploy"]), &now, None).unwrap();
        assert_eq!(plan.changed().len(), 2);
        assert_eq!(after(&plan, &now).principals, good.principals);
        plan.difference()
    };
    assert!(spoil(&|state| state.mode = 0o666).contains("mode 0666 -> 0644"));
    assert!(spoil(&|state| state.owner.user = 1000).contains("owner: user 1000"));
    assert!(spoil(&|state| state.content.extend(b"more")).contains("-more"));
    let mut now = good.clone();
    now.dirs.insert(layout().own_dir(), DirState { mode: 0o700, owner: ROOT });
    let plan = plan_setup(&layout(), &wanted(&["deploy"]), &now, None).unwrap();
    assert!(plan.difference().contains("mode 0700 -> 0755"));
}

#[test]
fn a_file_in_the_way_that_is_not_ours_is_neither_replaced_nor_removed() {
    for which in 0..3 {
        let mut current = fresh(true);
        let place = [&mut current.user_ca, &mut current.drop_in, &mut current.settings];
        *place.into_iter().nth(which).unwrap() = Some(file("# mine\n"));
        assert!(plan_setup(&layout(), &wanted(&["deploy"]), &current, None).is_err());
        let plan = plan_remove(&layout(), &current, None).unwrap();
        assert_eq!((plan.removed().len(), plan.warnings.len()), (0, 1));
    }
}

#[test]
fn an_older_bundle_of_the_same_ca_is_refused() {
    let current = fresh(true);
    let now =
        after(&plan_setup(&layout(), &wanted(&["deploy"]), &current, None).unwrap(), &current);
    let other_ca = CA.replace("SHA256:u", "SHA256:v").parse().unwrap();
    for (version, ca, accepted) in
        [(7, None, true), (8, None, true), (6, None, false), (6, Some(other_ca), true)]
    {
        let mut wanted = wanted(&["deploy"]);
        wanted.facts.version = version;
        wanted.facts.ca = ca.unwrap_or(wanted.facts.ca);
        assert_eq!(plan_setup(&layout(), &wanted, &now, None).is_ok(), accepted, "{version}");
    }
}

#[test]
fn only_our_include_is_taken_out_of_the_main_file() {
    let ours = content::with_include(&layout(), b"Port 22\n");
    let ours = String::from_utf8(ours).unwrap();
    let mark = ours.lines().next().unwrap();
    for (config, left) in [
        (ours.clone(), "Port 22\n"),
        (format!("# top\n{ours}"), "# top\nPort 22\n"),
        (format!("{mark}\nPort 22\n"), "Port 22\n"),
        (format!("Include x\n{mark}"), "Include x\n"),
        ("Include x\r\nPort 22".to_owned(), "Include x\r\nPort 22"),
        (String::new(), ""),
    ] {
        let kept = content::without_include(config.as_bytes());
        assert_eq!(String::from_utf8(kept).unwrap(), left);
    }
}

#[test]
fn paths_that_sshd_would_read_otherwise_are_refused() {
    assert!(Layout::new(Path::new("relative/etc"), None).unwrap().etc().is_absolute());
    for bad in ["/etc/a b", "/etc/%u", "/etc/#", "/etc/*", "/etc/\"x\"", "/etc/\n"] {
        let error = Layout::new(Path::new(bad), None).unwrap_err();
        assert_eq!(error.exit(), crate::error::Exit::Usage, "{bad:?}");
    }
}

#[test]
fn a_certificate_of_the_host_is_shown_where_there_is_one_and_what_is_none_of_ours_stays() {
    let line = "HostCertificate /etc/ssh/jit-ssh/ssh_host_ed25519_key-cert.pub\n";
    for certificate in [Some(b"new".to_vec()), None] {
        let mut current = fresh(true);
        current.host_certificate = Some(file("mine"));
        let wanted = Wanted { host_certificate: certificate.clone(), ..wanted(&["deploy"]) };
        let plan = plan_setup(&layout(), &wanted, &current, None).unwrap();
        let now = after(&plan, &current);
        // What sshd looks for is there or not, and so it can come without another drop-in.
        let line_for_it = "\nInclude /etc/ssh/jit-ssh/host_certificate.conf\n";
        assert!(text(&now.drop_in).contains(line_for_it));
        let include = now.certificate_include.as_ref().map(|state| state.content.clone());
        let include = include.map(|content| String::from_utf8(content).unwrap());
        assert_eq!(include.is_some_and(|text| text.ends_with(line)), certificate.is_some());
        assert_eq!(text(&now.host_certificate).contains("new"), certificate.is_some());
        // Neither of the two is a certificate.
        let removed = plan_remove(&layout(), &now, None).unwrap();
        assert!(!removed.removed().contains(&&*layout().host_certificate()));
        assert!(removed.warnings.iter().any(|word| word.contains("key-cert.pub was not written")));
    }
}

#[test]
fn a_first_certificate_comes_without_another_drop_in_where_sshd_looks_for_one() {
    let current = fresh(true);
    let before =
        after(&plan_setup(&layout(), &wanted(&["deploy"]), &current, None).unwrap(), &current);
    let plan = plan_certificate(&layout(), b"new", &before).unwrap();
    // What it names is there before it.
    assert_eq!(plan.changed(), [layout().host_certificate(), layout().certificate_include()]);
    assert!(plan.changes_configuration(&layout(), &before));
    let now = after(&plan, &before);
    assert!(plan_certificate(&layout(), b"new", &now).unwrap().is_empty());
    let renewed = plan_certificate(&layout(), b"newer", &now).unwrap();
    assert_eq!(renewed.changed(), [layout().host_certificate()]);
    // Set up by a version that did not look, or not at all.
    let mut old = before;
    old.drop_in = Some(file(&text(&old.drop_in).replace("Include", "#Include")));
    for unfit in [&old, &current] {
        let why = plan_certificate(&layout(), b"new", unfit).unwrap_err().to_string();
        assert!(why.contains("does not include"), "{why}");
    }
}

#[test]
fn what_vouches_for_a_host_is_kept_and_goes_with_the_rest_if_it_is_ours() {
    let kept = br#"{"v":1,"token":null,"host":{"statement":"s","signature":"00"}}"#;
    let current = fresh(true);
    let joined = Wanted { enrolment: Some(kept.to_vec()), ..wanted(&["deploy"]) };
    let now = after(&plan_setup(&layout(), &joined, &current, None).unwrap(), &current);
    assert_eq!(text(&now.enrolment).as_bytes(), kept);
    // Listed since, or taken out.
    let listed = plan_setup(&layout(), &wanted(&["deploy"]), &now, None).unwrap();
    let removed = plan_remove(&layout(), &now, None).unwrap();
    for plan in [listed, removed] {
        assert!(plan.removed().contains(&&*layout().enrolment()));
    }
    let mut others = now;
    others.enrolment = Some(file("mine"));
    let removed = plan_remove(&layout(), &others, None).unwrap();
    assert!(!removed.removed().contains(&&*layout().enrolment()));
}

#[test]
fn a_bastion_has_a_line_for_each_host_behind_it_and_none_for_the_account_itself() {
    let jumps = |to: &[(&str, &str)]| {
        to.iter().map(|(jump, to)| (jump.parse().unwrap(), (*to).to_owned())).collect()
    };
    let behind =
        jumps(&[("jump@prod-host/db", "10.0.0.5:22"), ("jump@prod-host/v6", "[2001:db8::5]:2222")]);
    let with =
        |jumps| Wanted { facts: HostFacts { jumps, ..facts(&["deploy", "jump"]) }, ..wanted(&[]) };
    let current = fresh(true);
    let now = after(&plan_setup(&layout(), &with(behind), &current, None).unwrap(), &current);
    let lines = "restrict,port-forwarding,permitopen=\"10.0.0.5:22\" jump@prod-host/db\n\
                 restrict,port-forwarding,permitopen=\"[2001:db8::5]:2222\" jump@prod-host/v6\n";
    assert_eq!(now.principals["jump"], file(lines));

    // What is behind it changes without a set-up; what was behind it is closed.
    let fewer = with(jumps(&[("jump@prod-host/db", "10.0.0.6:22")]));
    let plan = plan_login(&layout(), &fewer.facts, &fewer.settings, &now).unwrap();
    let then = after(&plan, &now);
    assert_eq!(
        then.principals["jump"],
        file("restrict,port-forwarding,permitopen=\"10.0.0.6:22\" jump@prod-host/db\n")
    );
    let none = with(BTreeMap::new());
    let plan = plan_login(&layout(), &none.facts, &none.settings, &then).unwrap();
    assert_eq!(after(&plan, &then).principals["jump"], file(""), "nobody jumps, nobody logs in");

    // An sshd that does not hold jumps to forwards yet gets none; setup gives it both.
    let mut old = then.clone();
    let drop_in = text(&old.drop_in);
    let (before, _) = drop_in.split_once("# Who jumps").unwrap();
    old.drop_in = Some(file(before));
    let plan = plan_login(&layout(), &fewer.facts, &fewer.settings, &old).unwrap();
    assert_eq!(after(&plan, &old).principals["jump"], file(""));
    assert!(plan.warnings[0].contains("run setup again"), "{:?}", plan.warnings);
    let plan = plan_setup(&layout(), &fewer, &old, None).unwrap();
    assert_eq!(after(&plan, &old).principals["jump"], then.principals["jump"]);
    assert!(plan.changes_configuration(&layout(), &old));
}

#[test]
fn lines_of_jumps_are_known_by_their_every_byte() {
    let line = "restrict,port-forwarding,permitopen=\"10.0.0.5:22\" jump@b/h";
    let (jump, to) = content::jump_of_line(line).unwrap();
    assert_eq!((jump.to_string().as_str(), to), ("jump@b/h", "10.0.0.5:22"));
    for odd in [
        "jump@b/h",
        "port-forwarding,permitopen=\"10.0.0.5:22\" jump@b/h",
        "restrict,port-forwarding jump@b/h",
        "restrict,port-forwarding,permitopen=\"*:*\" jump@b/h",
        "restrict,port-forwarding,permitopen=\"10.0.0.5:22\",pty jump@b/h",
        "restrict,port-forwarding,permitopen=\"a:1\",permitopen=\"b:1\" jump@b/h",
        "restrict,port-forwarding,permitopen=\"10.0.0.5:22\" deploy@b",
        "restrict,port-forwarding,permitopen=\"10.0.0.5:22\" jump@b",
    ] {
        assert!(content::jump_of_line(odd).is_none(), "{odd}");
    }
}
