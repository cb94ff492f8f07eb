//! Whatever sshd does not confirm is put back, byte for byte.

use super::*;

#[test]
fn a_principals_command_is_either_switched_off_or_everything_is_rolled_back() {
    let command = "AuthorizedPrincipalsCommand /bin/true\nAuthorizedPrincipalsCommandUser nobody\n";
    let host = TestHost::new(&format!("{INCLUDE}{command}"));
    let before = timeless(host.snapshot());
    match host.set_up(&["deploy"]) {
        Ok(_) => {
            let effective = host.sshd.effective(&"deploy".parse().unwrap()).unwrap();
            assert_eq!(effective.get("AuthorizedPrincipalsCommand"), "none");
        }
        // On 9.2 and 9.3 the last AuthorizedPrincipalsCommand wins, not the first.
        Err(error) => {
            assert!(error.to_string().contains("sshd_config:6 sets it"), "{error}");
            assert_eq!(timeless(host.snapshot()), before);
        }
    }
}

#[test]
fn settings_that_beat_ours_roll_everything_back() {
    for setting in [
        "TrustedUserCAKeys /other",
        "AuthorizedPrincipalsFile /other",
        "AuthorizedPrincipalsCommand /bin/true",
    ] {
        let user = "AuthorizedPrincipalsCommandUser nobody\n";
        let config = |who| format!("{user}Match User {who}\n  {setting}\n");
        // The neighbour that differs in one thing.
        TestHost::new(&config("bob")).set_up(&["deploy"]).unwrap();

        let host = TestHost::new(&config("deploy"));
        fs::set_permissions(host.layout.config(), fs::Permissions::from_mode(0o640)).unwrap();
        let before = timeless(host.snapshot());
        let error = host.set_up(&["deploy"]).err().unwrap().to_string();
        assert_eq!(timeless(host.snapshot()), before);
        assert!(error.contains(setting), "{error}");
        assert!(error.contains("sshd_config:7 (under `Match User deploy`)"), "{error}");
        assert!(error.contains("everything was put back"), "{error}");
    }
}

#[test]
fn an_update_that_sshd_does_not_confirm_leaves_the_set_up_before_it() {
    let host = TestHost::new("Match User root\n  TrustedUserCAKeys /other\n");
    host.set_up(&["deploy"]).unwrap();
    let before = timeless(host.snapshot());
    assert!(host.set_up(&["deploy", "root"]).is_err());
    assert_eq!(timeless(host.snapshot()), before);
}

#[test]
fn files_in_place_that_are_no_longer_in_force_are_an_error() {
    let host = TestHost::new("");
    host.set_up(&["deploy"]).unwrap();
    let config = host.read("sshd_config") + "Match User deploy\nTrustedUserCAKeys /other\n";
    host.write("sshd_config", &config);
    let before = host.snapshot();
    assert!(host.set_up(&["deploy"]).is_err());
    assert_eq!(host.snapshot(), before);
}

#[test]
fn a_configuration_that_is_broken_before_is_refused_up_front() {
    let host = TestHost::new("NoSuchKeyword yes\n");
    let before = host.snapshot();
    for goal in [host.goal(KEY, &["deploy"]), Goal::Removed] {
        let error = host.run(&goal, ANYWAY).err().unwrap().to_string();
        assert!(error.contains("it was so before setup"), "{error}");
        assert!(error.contains("NoSuchKeyword"), "{error}");
    }
    assert_eq!(host.snapshot(), before);
}

#[test]
fn removal_that_would_leave_sshd_without_its_files_is_rolled_back() {
    let host = TestHost::new("TrustedUserCAKeys ETC/jit-ssh/user_ca.pub\n");
    host.set_up(&["deploy"]).unwrap();
    let before = timeless(host.snapshot());
    let error = host.remove().err().unwrap().to_string();
    assert!(error.contains("sshd_config:5 sets it too"), "{error}");
    assert_eq!(timeless(host.snapshot()), before);
}
