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
