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

#[test]
fn a_host_without_another_way_in_is_set_up_and_taken_out_only_when_told() {
    let careful = Told { allow_lock_out: false, ..ANYWAY };
    let closed = "PasswordAuthentication no\nKbdInteractiveAuthentication no\n\
        AuthorizedKeysFile none\nGSSAPIAuthentication no\n";
    let host = TestHost::new(closed);
    let before = host.snapshot();
    let error = host.run(&host.goal(KEY, &["deploy"]), careful).err().unwrap().to_string();
    assert!(error.contains("No other way in would be left"), "{error}");
    assert!(error.contains("--allow-lock-out"), "{error}");
    assert_eq!(host.snapshot(), before);
    host.set_up(&["deploy"]).unwrap();
    // Nothing is switched: nothing to ask for.
    assert!(host.run(&host.goal(KEY, &["deploy"]), careful).unwrap().plan.is_empty());
    let error = host.run(&Goal::Removed, careful).err().unwrap().to_string();
    assert!(error.contains("the only way in"), "{error}");

    // A command may name keys, or none: it is named, and does not count.
    let command = "AuthorizedKeysCommand /bin/true\nAuthorizedKeysCommandUser nobody\n";
    let with_command = TestHost::new(&format!("{closed}{command}"));
    let error = with_command.run(&with_command.goal(KEY, &["deploy"]), careful);
    let error = error.err().unwrap().to_string();
    assert!(error.contains("`AuthorizedKeysCommand /bin/true`"), "{error}");
    // The neighbour: an administrator's own key, in a file where keys that open no shell stand besides.
    let keys = closed.replace("KeysFile none", "KeysFile ETC/keys/%u");
    let with_key = TestHost::new(&keys);
    let setting_up = |host: &TestHost| host.run(&host.goal(KEY, &["deploy"]), careful);
    for no_way in [
        "# none as yet\n".to_owned(),
        format!("command=\"backup\" {KEY}\ncert-authority {KEY}\n"),
        format!("expiry-time=\"20200101Z\" {KEY}\n"),
    ] {
        with_key.write("keys/root", &no_way);
        assert!(setting_up(&with_key).is_err(), "{no_way}");
    }
    // An account without a shell is none either.
    with_key.write("keys/nobody", &format!("{KEY}\n"));
    assert!(setting_up(&with_key).is_err());
    with_key.write("keys/root", &format!("{KEY} admin\n"));
    setting_up(&with_key).unwrap();
    with_key.run(&Goal::Removed, careful).unwrap();
}
