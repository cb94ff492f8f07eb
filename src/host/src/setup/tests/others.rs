//! What others have set up stays, unless it may go.

use super::*;

const REPLACE_ALL: Told =
    Told { may_replace: MayReplace { cas: true, revoked_keys: true }, ..ANYWAY };

fn set_up(host: &TestHost, told: Told) -> Result<Done, CommandError> {
    host.run(&host.goal(KEY, &["deploy"]), told)
}

#[test]
fn other_cas_and_other_revoked_keys_are_replaced_only_when_told() {
    for (setting, option) in [
        ("TrustedUserCAKeys ETC/others", "--replace-cas"),
        ("RevokedKeys ETC/others", "--replace-revoked-keys"),
    ] {
        let host = TestHost::new(&format!("{INCLUDE}{setting}\n"));
        host.write("others", &format!("{KEY}\n"));
        let before = host.snapshot();
        let error = set_up(&host, ANYWAY).err().unwrap().to_string();
        assert!(error.contains("is in force") && error.contains(option), "{error}");
        assert_eq!(host.snapshot(), before);

        set_up(&host, REPLACE_ALL).unwrap();
        // It was said once; what is not in force any more is nobody's loss.
        assert!(set_up(&host, ANYWAY).unwrap().plan.is_empty());
        host.remove().unwrap();

        // The neighbour: nobody can live by a file with nothing in it.
        host.write("others", "# nothing yet\n");
        set_up(&host, ANYWAY).unwrap();
    }
}

#[test]
fn revoked_keys_under_a_match_for_a_login_roll_everything_back() {
    let host = TestHost::new("Match User deploy\n  RevokedKeys ETC/others\n");
    host.write("others", "");
    let before = timeless(host.snapshot());
    let error = set_up(&host, REPLACE_ALL).err().unwrap().to_string();
    assert!(error.contains("(under `Match User deploy`)"), "{error}");
    assert_eq!(timeless(host.snapshot()), before);
}

#[test]
fn a_keys_command_before_ours_does_not_hide_that_a_principals_command_is_in_force() {
    let host = TestHost::new(INCLUDE);
    // On 9.2 and 9.3, an AuthorizedKeysCommand drops the AuthorizedPrincipalsCommand after it, ours
    // that says `none` too.
    host.write(
        "sshd_config.d/00-a.conf",
        "AuthorizedKeysCommand /bin/true\nAuthorizedKeysCommandUser nobody\n",
    );
    set_up(&host, ANYWAY).unwrap();
    let effective = host.sshd.effective(&"deploy".parse().unwrap()).unwrap();
    assert_eq!(effective.get("AuthorizedPrincipalsCommand"), "none");
    assert_eq!(effective.get("AuthorizedKeysCommand"), "/bin/true");
}

#[test]
fn where_some_connections_meet_other_rules_this_ca_must_not_be_trusted() {
    for rule in ["AuthorizedPrincipalsFile /other", "RevokedKeys none"] {
        for who in ["Address 10.0.0.0/8", "User dep*,bob Address 10.1.*", "LocalPort 2222"] {
            let host = TestHost::new(&format!("Match {who}\n  {rule}\n"));
            let before = timeless(host.snapshot());
            let error = set_up(&host, ANYWAY).err().unwrap().to_string();
            assert!(error.contains(&format!("(under `Match {who}`) sets it")), "{error}");
            assert_eq!(timeless(host.snapshot()), before);
        }
        // The neighbours: another CA for these connections, and an account that is no login here.
        let other = format!("Match Address 10.0.0.0/8\n  {rule}\n  TrustedUserCAKeys /other\n");
        set_up(&TestHost::new(&other), ANYWAY).unwrap();
        let nobody = format!("Match User bob Address 10.0.0.0/8\n  {rule}\n");
        set_up(&TestHost::new(&nobody), ANYWAY).unwrap();
    }
}

#[test]
fn match_blocks_about_something_else_are_left_alone_wherever_they_stand() {
    for config in [
        "Match User bob\n  X11Forwarding no\nMatch all\nInclude ETC/sshd_config.d/*.conf\n",
        "Include ETC/sshd_config.d/*.conf\nMatch User deploy Address 10.0.0.0/8\n  AllowTcpForwarding no\n",
        "Match Group wheel\n  PasswordAuthentication yes\n",
    ] {
        let host = TestHost::new(config);
        let before = timeless(host.snapshot());
        set_up(&host, ANYWAY).unwrap();
        assert!(set_up(&host, ANYWAY).unwrap().plan.is_empty());
        host.remove().unwrap();
        let mut after = timeless(host.snapshot());
        if config.contains("Include") {
            after.remove(&host.layout.drop_in_dir());
        }
        assert_eq!(after, before, "{config}");
    }
}
