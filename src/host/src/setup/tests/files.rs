//! What is written, kept and taken out.

use super::*;

#[test]
fn a_host_that_includes_drop_ins_is_set_up_without_touching_its_main_file() {
    let host = TestHost::new(INCLUDE);
    host.write("sshd_config.d/50-site.conf", "PermitRootLogin prohibit-password\n");
    let before = host.read("sshd_config");
    let done = host.set_up(&["deploy", "root"]).unwrap();
    assert_eq!(done.plan.changed().len(), 6);
    assert!(!done.reloaded);
    assert_eq!(host.read("sshd_config"), before);
    assert_eq!(host.read("jit-ssh/principals/deploy"), "deploy@prod-host\n");
    assert!(host.read("jit-ssh/user_ca.pub").contains(KEY));

    let effective = host.sshd.effective(&"deploy".parse().unwrap()).unwrap();
    let etc = host.layout.etc().display();
    assert_eq!(effective.get("TrustedUserCAKeys"), format!("{etc}/jit-ssh/user_ca.pub"));
    assert_eq!(effective.get("AuthorizedPrincipalsFile"), format!("{etc}/jit-ssh/principals/%u"));
}

#[test]
fn a_second_run_changes_nothing_not_even_times() {
    for config in [INCLUDE, ""] {
        let host = TestHost::new(config);
        host.set_up(&["deploy"]).unwrap();
        let before = host.snapshot();
        let done = host.set_up(&["deploy"]).unwrap();
        assert!(done.plan.is_empty());
        assert_eq!(host.snapshot(), before);
    }
}

#[test]
fn removal_restores_every_byte_mode_and_absence() {
    for config in [
        INCLUDE,
        "",
        "TrustedUserCAKeys /x\nInclude ETC/sshd_config.d/*.conf\n",
        "Match User bob\n  X11Forwarding no",
    ] {
        let host = TestHost::new(config);
        if config == INCLUDE {
            host.write("sshd_config.d/50-site.conf", "PermitRootLogin prohibit-password\n");
        }
        fs::set_permissions(host.layout.config(), fs::Permissions::from_mode(0o600)).unwrap();
        let before = timeless(host.snapshot());
        host.set_up(&["deploy", "root"]).unwrap();
        assert_ne!(timeless(host.snapshot()), before);
        host.remove().unwrap();
        let mut after = timeless(host.snapshot());
        if !before.contains_key(&host.layout.drop_in_dir()) && config.contains("Include") {
            // A folder that sshd reads may be the system's, so it stays.
            after.remove(&host.layout.drop_in_dir());
        }
        assert_eq!(after, before, "{config}");
        assert!(host.remove().unwrap().plan.removed().is_empty());
    }
}

#[test]
fn wherever_others_set_our_keywords_ours_come_first() {
    for config in [
        "",
        "TrustedUserCAKeys /other\nInclude ETC/sshd_config.d/*.conf\n",
        "AuthorizedPrincipalsFile /other\nAuthorizedPrincipalsCommandUser nobody\n",
        "AuthorizedKeysCommand /bin/true\nAuthorizedKeysCommandUser nobody\nInclude ETC/sshd_config.d/*.conf\n",
        "Match User deploy\nInclude ETC/sshd_config.d/*.conf\n",
        "Match Address 10.0.0.0/8 LocalPort 22\n  X11Forwarding no\nMatch all\nInclude ETC/sshd_config.d/*.conf\n",
    ] {
        let host = TestHost::new(config);
        host.set_up(&["deploy", "root"]).unwrap();
        assert!(host.set_up(&["deploy", "root"]).unwrap().plan.is_empty(), "{config}");
    }
    let host = TestHost::new(INCLUDE);
    host.write("sshd_config.d/00-a.conf", "TrustedUserCAKeys /other\n");
    host.set_up(&["deploy"]).unwrap();
    assert!(host.read("sshd_config").contains("00-jit-ssh.conf"));
}

#[test]
fn a_dry_run_writes_nothing_and_says_what_it_would() {
    let host = TestHost::new("");
    let before = host.snapshot();
    let done = host.run(&host.goal(KEY, &["deploy"]), DRY).unwrap();
    assert_eq!(done.plan.changed().len(), 6);
    assert!(done.plan.difference().contains("+Include "));
    assert_eq!(host.snapshot(), before);

    host.set_up(&["deploy"]).unwrap();
    let before = host.snapshot();
    let done = host.run(&Goal::Removed, DRY).unwrap();
    assert_eq!(done.plan.removed().len(), 5);
    assert_eq!(host.snapshot(), before);
}

#[test]
fn a_login_that_is_no_longer_offered_loses_its_file() {
    let host = TestHost::new(INCLUDE);
    host.set_up(&["deploy", "root"]).unwrap();
    let done = host.set_up(&["deploy"]).unwrap();
    assert_eq!(done.plan.removed().len(), 1);
    assert!(!host.layout.principals(&"root".parse().unwrap()).exists());
    assert!(host.layout.principals(&"deploy".parse().unwrap()).exists());
}

#[test]
fn a_main_file_behind_a_link_stays_behind_it() {
    let host = TestHost::new("");
    let real = host.dir.path().join("real_config");
    fs::rename(host.layout.config(), &real).unwrap();
    std::os::unix::fs::symlink(&real, host.layout.config()).unwrap();
    host.set_up(&["deploy"]).unwrap();
    assert!(fs::symlink_metadata(host.layout.config()).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("00-jit-ssh.conf"));
}
