//! A set-up that nobody could use is refused; each refusal beside the neighbour that passes.

use super::*;

/// Sets a host up for these logins; nothing may be changed if that fails.
fn set_up(config: &str, logins: &[&str]) -> Result<(), String> {
    let host = TestHost::new(config);
    let before = host.snapshot();
    match host.set_up(logins) {
        Ok(_) => Ok(()),
        Err(error) => {
            assert_eq!(host.snapshot(), before, "{config}");
            Err(error.to_string())
        }
    }
}

#[test]
fn a_host_on_which_no_certificate_could_log_in_is_refused_and_left_as_it_is() {
    for (shut, open) in [
        ("PubkeyAuthentication no", "PubkeyAuthentication yes"),
        ("AuthenticationMethods password", "AuthenticationMethods password publickey"),
        ("DenyUsers de*", "DenyUsers bob"),
        ("AllowUsers bob", "AllowUsers bob deploy"),
        ("CASignatureAlgorithms rsa-sha2-256", "CASignatureAlgorithms rsa-sha2-256,ssh-ed25519"),
        ("PubkeyAcceptedAlgorithms -ssh-ed25519*", "PubkeyAcceptedAlgorithms -ecdsa*"),
        ("Match User deploy\nAllowUsers bob", "Match User bob\nAllowUsers bob"),
        // sshd is asked about one address only.
        (
            "PubkeyAuthentication no",
            "PubkeyAuthentication no\nMatch Address 10.0.0.0/8\nPubkeyAuthentication yes",
        ),
    ] {
        let error = set_up(&format!("{shut}\n"), &["deploy"]).unwrap_err();
        assert!(error.contains("No certificate could log in as deploy: "), "{error}");
        assert!(error.contains("hint: nothing is changed"), "{error}");
        assert_eq!(set_up(&format!("{open}\n"), &["deploy"]), Ok(()), "{open}");
    }
}

#[test]
fn one_login_that_is_shut_out_is_named_and_every_obstacle_too() {
    for value in ["no", "forced-commands-only"] {
        let config = format!("PermitRootLogin {value}\n");
        let error = set_up(&config, &["deploy", "root"]).unwrap_err();
        assert!(error.contains("log in as root: `PermitRootLogin "), "{error}");
        assert!(!error.contains("deploy"), "{error}");
        assert_eq!(set_up(&config, &["deploy"]), Ok(()));
    }
    assert_eq!(set_up("PermitRootLogin prohibit-password\n", &["deploy", "root"]), Ok(()));

    let both = set_up("PubkeyAuthentication no\nAllowUsers root\n", &["deploy", "root"]);
    let both = both.unwrap_err();
    assert!(both.contains("log in as deploy, root: `PubkeyAuthentication no`"), "{both}");
    assert!(both.contains("log in as deploy: `AllowUsers root`"), "{both}");
}

#[test]
fn groups_and_addresses_only_deserve_a_word() {
    for config in ["AllowGroups ssh\n", "DenyGroups sftp\n", "AllowUsers deploy@10.*\n"] {
        assert_eq!(set_up(config, &["deploy"]), Ok(()), "{config}");
    }
}

#[test]
fn a_host_that_is_set_up_and_shut_later_is_told_so_and_can_still_be_taken_out() {
    let host = TestHost::new("");
    host.set_up(&["deploy"]).unwrap();
    let config = host.read("sshd_config") + "PubkeyAuthentication no\n";
    host.write("sshd_config", &config);
    assert!(host.set_up(&["deploy"]).is_err());
    host.remove().unwrap();
}
