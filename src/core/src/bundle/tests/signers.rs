use super::*;

#[test]
fn signers_are_found_by_number_and_by_ca_key() {
    let signers = good().parse().unwrap().signers;
    let number = std::num::NonZeroU16::MIN;
    assert_eq!(signers.get(number).unwrap().ca_key, ca_key(11));
    assert!(signers.get(number.saturating_add(1)).is_none());
    assert!(signers.trusts_ca(&ca_key(11)) && !signers.trusts_ca(&ca_key(12)));
}

#[test]
fn signers_can_be_read_alone() {
    let file = good().bytes().signers;
    assert_eq!(crate::bundle::Signers::parse(&file).unwrap().iter().count(), 1);
    assert_eq!(crate::bundle::Signers::parse(b"").unwrap_err().0.len(), 1);
}

#[test]
fn fields_of_signers_are_checked() {
    let (number, ca) = ("number = 1", "ca_key = \"<ca>\"");
    assert_refused(
        "signers.toml",
        &[
            (number, "", "[[signer]] lacks the field `number`"),
            (number, "number = 0", "this number must be from 1 to 65535"),
            (number, "number = -1", "this number must be from 1 to 65535"),
            (number, "number = 65536", "this number must be from 1 to 65535"),
            (number, "number = \"1\"", "expected an integer, found a string"),
            (number, "number = 1.0", "expected an integer, found a number with a fraction"),
            (number, "number = 1\nname = \"x\"", "`name` is not a field of [[signer]]"),
            (ca, "", "[[signer]] lacks the field `ca_key`"),
            ("log_key = \"<log>\"", "", "[[signer]] lacks the field `log_key`"),
            (
                "log_key = \"<log>\"",
                "log_key = \"<ca-as-log>\"",
                "this key is a CA key; the log needs a key of its own",
            ),
        ],
    );
    assert_accepted("signers.toml", &[(number, "number = 65_535"), (number, "number = 0xff")]);
    let files = Files { signers: String::new(), ..good() };
    assert_eq!(
        files.problems()[0].message,
        "there is no [[signer]]; hosts need at least one to trust"
    );
}

#[test]
fn a_ca_key_is_a_plain_ed25519_key() {
    for (line, word) in [
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "certificate"),
        ("ssh-ed25519 AAAA", "public key"),
        ("<log>", "public key"),
    ] {
        let files =
            good().with("signers.toml", "ca_key = \"<ca>\"", &format!("ca_key = \"{line}\""));
        let problems = files.problems();
        assert_eq!(problems.len(), 1, "{line:?}");
        assert!(problems[0].message.contains(word), "{line:?}: {}", problems[0].message);
    }
}

#[test]
fn a_log_key_is_a_verifier_key_with_its_own_hash() {
    let vkey = with_keys("<log>");
    for bad in [
        "".to_owned(),
        "name+00000000".to_owned(),
        vkey.replace("ca.example/1", "ca.example/2"),
        vkey.replace("ca.example/1", ""),
        vkey.replace("ca.example/1", "ca example/1"),
        vkey.replace("+A", "+B"),
        format!("{vkey}="),
        format!(" {vkey}"),
    ] {
        let files = good().with("signers.toml", "<log>", &bad);
        let problems = files.problems();
        assert_eq!(problems.len(), 1, "{bad:?}");
        assert!(problems[0].message.contains("is not a log key"), "{}", problems[0].message);
    }
}

#[test]
fn numbers_and_keys_of_signers_are_unlike_all_others() {
    let two = |number: &str, ca: &str, log: &str| {
        let second =
            format!("[[signer]]\nnumber = {number}\nca_key = \"{ca}\"\nlog_key = \"{log}\"\n");
        Files { signers: format!("{SIGNERS}{second}"), ..good() }.parse()
    };
    assert_eq!(two("2", "<ca-2>", "<log-2>").unwrap().signers.iter().count(), 2);
    for (number, ca, log, message) in [
        ("1", "<ca-2>", "<log-2>", "another signer has this number"),
        ("2", "<ca>", "<log-2>", "another signer has this CA key"),
        ("2", "<ca-2>", "<log>", "another signer has this log key"),
        ("2", "<log-as-ca>", "<log-2>", "this key is a log key"),
    ] {
        let problems = two(number, ca, log).unwrap_err().0;
        assert_eq!(problems.len(), 1, "{message}: {problems:?}");
        assert_eq!(problems[0].message, message);
    }
}

#[test]
fn a_host_ca_key_is_optional_and_no_other_key() {
    let read = |first: &str, second: &str| {
        let line = |key: &str| match key {
            "" => String::new(),
            key => format!("host_ca_key = \"{key}\"\n"),
        };
        let rest = "[[signer]]\nnumber = 2\nca_key = \"<ca-2>\"\nlog_key = \"<log-2>\"\n";
        let signers = format!("{SIGNERS}{}{rest}{}", line(first), line(second));
        Files { signers, ..good() }.parse()
    };
    let host_ca = |seed| ca_key(seed).to_string().parse().unwrap();
    let keys = |first: &str, second: &str| {
        let signers = read(first, second).unwrap().signers;
        signers.iter().map(|signer| signer.host_ca_key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(keys("", ""), [None, None]);
    assert_eq!(keys("<host-ca>", ""), [Some(host_ca(31)), None]);
    assert_eq!(keys("<host-ca>", "<host-ca-2>"), [Some(host_ca(31)), Some(host_ca(32))]);
    for (first, second, message) in [
        ("<ca>", "", "this key is a CA key; hosts need a CA key of their own"),
        ("<ca-2>", "", "this key is a host CA key; users need a CA key of their own"),
        ("<log-as-ca>", "", "this key is a host CA key; the log needs a key of its own"),
        ("", "<log-as-ca>", "this key is a log key"),
        ("", "<ca>", "this key is a CA key; hosts need a CA key of their own"),
        ("<host-ca>", "<host-ca>", "another signer has this host CA key"),
    ] {
        let problems = read(first, second).unwrap_err().0;
        assert_eq!(problems.len(), 1, "{message}: {problems:?}");
        assert_eq!(problems[0].message, message);
    }
    assert!(read("ssh-ed25519-cert-v01@openssh.com AAAA", "").is_err());
}
