use super::*;
use crate::bundle::{Glob, HostPattern, Hosts};

#[test]
fn hosts_are_found_by_exact_name() {
    let hosts = good().parse().unwrap().hosts;
    let host = hosts.get(&"prod-host".parse().unwrap()).unwrap();
    assert_eq!(host.address.as_deref(), Some("10.0.0.5:22"));
    assert_eq!(host.via.as_ref().unwrap().as_str(), "bastion");
    assert_eq!(host.labels.len(), 2);
    assert!(host.logins.contains(&"deploy".parse().unwrap()));
    assert!(hosts.get(&"prod".parse().unwrap()).is_none());
}

#[test]
fn equal_labels_and_logins_are_kept_once() {
    let same = |n: usize| {
        format!("[[host]]\nname = \"h{n}\"\nlogins = [\"a\"]\nlabels = {{ k = \"v\" }}\n")
    };
    let hosts = (0..1000).map(same).collect::<String>();
    let files = BundleFiles {
        people: Vec::new(),
        hosts: hosts.into_bytes(),
        policy: Vec::new(),
        signers: good().bytes().signers,
    };
    let hosts = Bundle::parse(1, &files, &[]).unwrap().hosts;
    let first = hosts.get(&"h0".parse().unwrap()).unwrap();
    for host in hosts.iter() {
        assert!(std::sync::Arc::ptr_eq(&host.labels, &first.labels));
        assert!(std::sync::Arc::ptr_eq(&host.logins, &first.logins));
    }
}

#[test]
fn fields_of_hosts_are_checked() {
    let logins = r#"logins = ["jump"]"#;
    let labels = r#"labels = { env = "prod", role = "db" }"#;
    let with = |line: &str| format!("{logins}\n{line}");
    assert_refused(
        "hosts.toml",
        &[
            (logins, "", "[[host]] lacks the field `logins`"),
            (logins, "logins = []", "this list is empty"),
            (logins, r#"logins = ["jump", "jump"]"#, "`jump` is listed twice"),
            (
                logins,
                r#"logins = ["Jump"]"#,
                "\"Jump\" is not a valid login: 1 to 32 of a-z, 0-9, '.', '_' and '-', beginning with a letter or '_'",
            ),
            (logins, &with("port = 22"), "`port` is not a field of [[host]]"),
            (labels, r#"labels = ["env=prod"]"#, "expected a table, found a list"),
            (
                labels,
                r#"labels = { role = "db", rank = 1 }"#,
                "expected a string, found an integer",
            ),
            (
                labels,
                r#"labels = { role = "db", Env = "prod" }"#,
                "\"Env\" is not a valid label key: 1 to 63 of a-z, 0-9, '.', '_', '/' and '-', beginning with a letter or digit",
            ),
            (
                labels,
                r#"labels = { role = "db", env = "" }"#,
                "\"\" is not a valid label value: 1 to 63 of A-Z, a-z, 0-9, '.', '_', '/' and '-', beginning with a letter or digit",
            ),
        ],
    );
    assert_accepted(
        "hosts.toml",
        &[(labels, r#"labels = { role = "db", zone = "A/1" }"#), (logins, &with("labels = {}"))],
    );
}

#[test]
fn an_address_can_not_mean_something_else_in_ssh_config() {
    let address = r#"address = "10.0.0.5:22""#;
    for good in
        ["10.0.0.5", "web", "web.example.com:2222", "[::1]", "[2001:db8::1]:22", "a_b", "x:65535"]
    {
        assert_accepted("hosts.toml", &[(address, &format!("address = {good:?}"))]);
    }
    for bad in [
        "",
        "-oProxyCommand=x",
        "a b",
        "a\nb",
        "a:0",
        "a:65536",
        "a:",
        "a:+1",
        "::1",
        "[::1",
        "[::1]22",
        "[a]:22",
        "a:1:2",
        "%h",
        "a\0",
    ] {
        let message = format!("{} is not an address", crate::bundle::reader::quote(bad));
        assert_refused(
            "hosts.toml",
            &[(address, &format!("address = {bad:?}").replace("\\0", "\\u0000"), &message)],
        );
    }
}

#[test]
fn host_names_are_unique() {
    let third = "\n[[host]]\nname = \"db-1\"\nlogins = [\"root\"]\n";
    let files = Files { hosts: format!("{HOSTS}{third}"), ..good() };
    let problems = files.problems();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "there are two hosts named `db-1`");
    assert_eq!(problems[0].help.as_deref(), Some("the first is in line 10"));
    let files = Files { hosts: format!("{HOSTS}{}", third.replace("db-1", "db-2")), ..good() };
    assert!(files.parse().is_ok());
}

#[test]
fn via_names_a_host_and_comes_to_an_end() {
    let (via, jump) = (r#"via = "bastion""#, r#"logins = ["jump"]"#);
    let problems = good().with("hosts.toml", via, r#"via = "bastoin""#).problems();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "there is no host named `bastoin`");
    assert_eq!(problems[0].help.as_deref(), Some("did you mean `bastion`?"));

    let circle = "the way to `prod-host` is a circle, or goes through more than 8 hosts";
    assert_refused("hosts.toml", &[(via, r#"via = "prod-host""#, circle)]);
    let files = good().with("hosts.toml", jump, &format!("{jump}\nvia = \"prod-host\""));
    assert_eq!(files.problems().len(), 2, "both ways of a circle are reported");
    assert_accepted("hosts.toml", &[(jump, &format!("{jump}\nvia = \"db-1\""))]);

    // A straight way of 8 jumps is accepted, and of 9 is not.
    let way = |jumps: usize| {
        let host = |n: usize| {
            let via = if n == 0 { String::new() } else { format!("via = \"h{}\"\n", n - 1) };
            format!("[[host]]\nname = \"h{n}\"\nlogins = [\"a\"]\n{via}")
        };
        Hosts::parse((0..=jumps).map(host).collect::<String>().as_bytes())
    };
    assert!(way(8).is_ok());
    assert_eq!(way(9).unwrap_err().0.len(), 1);
}

#[test]
fn hosts_can_be_read_alone() {
    assert_eq!(Hosts::parse(HOSTS.as_bytes()).unwrap().iter().count(), 3);
    assert_eq!(Hosts::parse(b"[[host]]").unwrap_err().0.len(), 2);
    assert!(Hosts::parse(b"x = ").is_err());
}

#[test]
fn a_large_file_is_read_in_pieces_and_nobody_notices() {
    let host = |name: &str, more: &str| {
        format!("[[host]]\nname = \"{name}\"\nlogins = [\"root\"]\n{more}\n")
    };
    let fleet = (0..5000).map(|n| host(&format!("h{n}"), "")).collect::<String>();
    let read = |hosts: String| Files { hosts: HOSTS.to_owned() + &hosts, ..good() }.parse();
    let hosts = read(fleet.clone()).unwrap().hosts;
    assert_eq!(hosts.iter().count(), 5003);
    assert_eq!(hosts.iter().last().unwrap().name.as_str(), "h4999");

    // Every name is checked against all pieces, and every place counts from the file's first line.
    let more = host("h0", "") + &host("last", "via = \"h1\"") + &host("odd", "port = 1");
    let problems = read(fleet.clone() + &more).unwrap_err().0;
    let found: Vec<_> = problems.iter().map(|p| (p.line, p.message.as_str())).collect();
    let expected =
        [(20_018, "there are two hosts named `h0`"), (20_028, "`port` is not a field of [[host]]")];
    assert_eq!(found, expected);
    assert_eq!(problems[0].help.as_deref(), Some("the first is in line 18"));

    // What looks like a header inside a text is text, wherever a cut would come.
    let lines = "[[host]]\n".repeat(50_000);
    let text = host("text", &format!("address = \"\"\"{lines}\"\"\""));
    let problems = read(text + &fleet).unwrap_err().0;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.ends_with("is not an address"));

    let problems = read(fleet + "[[host]]\nname = ").unwrap_err().0;
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].line, problems[0].column), (20_018, 8));
}

#[test]
fn globs_fit_whole_names() {
    let fits = |glob: &str, name: &str| glob.parse::<Glob>().unwrap().matches(name);
    for (glob, name) in [
        ("*", "a"),
        ("web-*", "web-"),
        ("web-*", "web-1.eu"),
        ("*-db", "x-db"),
        ("a?c", "abc"),
        ("*a*b*", "xxaxxbxx"),
        ("**", "x"),
        ("a*a", "aa"),
        ("*ab", "aab"),
        ("web", "web"),
        ("?*", "x"),
    ] {
        assert!(fits(glob, name), "{glob} {name}");
    }
    for (glob, name) in [
        ("web-*", "web"),
        ("web-*", "xweb-1"),
        ("a?c", "ac"),
        ("a?c", "abbc"),
        ("*-db", "x-db1"),
        ("a*a", "a"),
        ("web", "web1"),
        ("?", ""),
        ("*a*b*", "xxbxxaxx"),
    ] {
        assert!(!fits(glob, name), "{glob} {name}");
    }
    // A matcher that goes back to more than the last star would not come to an end here.
    assert!(!fits(&"*a".repeat(32), &format!("{}b", "a".repeat(62))));
    for bad in ["", "Web-*", "web_*", "w eb*", &"a".repeat(65)] {
        assert!(bad.parse::<Glob>().is_err(), "{bad:?}");
    }
}

#[test]
fn patterns_cover_by_name_glob_or_all_labels() {
    let hosts = good().parse().unwrap().hosts;
    let covered = |text: &str| {
        let pattern: HostPattern = text.parse().unwrap();
        assert_eq!(pattern.to_string(), text);
        hosts
            .iter()
            .filter(|host| pattern.covers(host))
            .map(|host| host.name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(covered("db-1"), ["db-1"]);
    assert_eq!(covered("*b*"), ["db-1", "bastion"]);
    assert_eq!(covered("label:env=prod"), ["prod-host", "db-1"]);
    assert_eq!(covered("label:env=prod,role=web"), ["prod-host"]);
    assert_eq!(covered("label:env=prod,role=x"), Vec::<&str>::new());
    for bad in [
        "",
        "label:",
        "label:env",
        "label:env=",
        "label:env=a,env=b",
        "label:env=a,",
        "group:sre",
        "Label:a=b",
        "a,b",
    ] {
        assert!(bad.parse::<HostPattern>().is_err(), "{bad:?}");
    }
}

/// The good hosts, with these lines for the first and the second.
fn with_lines(first: &str, second: &str) -> Files {
    let files = good().with("hosts.toml", "via = \"bastion\"", first);
    let logins = r#"logins = ["postgres", "root"]"#;
    files.with("hosts.toml", logins, &format!("{logins}\n{second}"))
}

fn key_line(seed: u8) -> String {
    format!("key = \"{} root@x\"", software_key(seed).1)
}

#[test]
fn hosts_have_keys_and_aliases() {
    let files =
        with_lines(&format!("{}\naliases = [\"prod.example.com\", \"10.1.1.1\"]", key_line(1)), "");
    let hosts = files.parse().unwrap().hosts;
    let host = hosts.get(&"prod-host".parse().unwrap()).unwrap();
    assert_eq!(host.key.as_ref().unwrap().to_string(), software_key(1).1.to_string());
    let aliases: Vec<_> = host.aliases.iter().map(|alias| alias.as_str()).collect();
    assert_eq!(aliases, ["prod.example.com", "10.1.1.1"]);
    assert_eq!(host.place(), Some(("10.0.0.5", 22)));
    let other = hosts.get(&"db-1".parse().unwrap()).unwrap();
    assert!(other.key.is_none() && other.aliases.is_empty() && other.place().is_none());
}

#[test]
fn nothing_that_a_host_proves_itself_by_is_shared() {
    let one = |files: Files| {
        let problems = files.problems();
        let shown = Diagnostics(problems.clone());
        let [problem] = problems.as_slice() else { panic!("one problem, not:\n{shown}") };
        (problem.line, problem.message.clone(), problem.help.clone().unwrap_or_default())
    };
    let (a, b, key) = (|text: &str| format!("aliases = [{text}]"), |s| key_line(s), key_line(1));
    assert!(with_lines(&a("\"a\""), &a("\"b\"")).parse().is_ok());
    for (first, second, line, message, help) in [
        (a("\"a\""), a("\"a\""), 13, "another host has the alias `a`", "it is taken in line 7"),
        (a("\"db-1\""), a(""), 7, "`db-1` is the name of a host", "it is taken in line 10"),
        (
            a("\"prod-host\""),
            a(""),
            7,
            "`prod-host` is the name of a host",
            "it is taken in line 3",
        ),
        (a("\"a\", \"a\""), a(""), 7, "`a` is listed twice", ""),
        (
            b(1),
            b(1),
            13,
            "another host has this key",
            "the first is in line 7; a machine that was copied needs new keys: ssh-keygen -A, after removing /etc/ssh/ssh_host_*",
        ),
    ] {
        assert_eq!(one(with_lines(&first, &second)), (line, message.to_owned(), help.to_owned()));
    }
    assert!(with_lines(&b(1), &b(2)).parse().is_ok());
    // Whose address is another's name could pose as the other; without a key there is no certificate.
    let address = |address: &str| format!("address = \"{address}\"");
    for name in ["bastion", "Bastion:2222", "b"] {
        let second = format!("{}\n{}", key, address(name));
        let (_, message, _) = one(with_lines("", &second).with(
            "hosts.toml",
            r#"logins = ["jump"]"#,
            "logins = [\"jump\"]\naliases = [\"b\"]",
        ));
        assert_eq!(message, "this address is a name of the host `bastion`");
        assert!(with_lines("", &address(name)).parse().is_ok());
    }
    // But the address of two may be the same: each has a port.
    assert!(with_lines(&b(1), &format!("{}\n{}", b(2), address("10.0.0.5:23"))).parse().is_ok());
    assert!(with_lines("", &format!("{}\n{}", key, address("db-1"))).parse().is_ok());
    let (_, message, _) = one(with_lines("", &format!("{}\n{}", key, address("10.0.0.500"))));
    assert_eq!(message, "`10.0.0.500` can not stand in a host certificate");
    assert!(with_lines("", &address("10.0.0.500")).parse().is_ok());
}

#[test]
fn keys_and_aliases_of_hosts_are_checked() {
    let via = r#"via = "bastion""#;
    let many = |count: usize| {
        let all: Vec<String> = (0..count).map(|n| format!("\"a{n}\"")).collect();
        format!("aliases = [{}]", all.join(", "))
    };
    assert_accepted("hosts.toml", &[(via, &many(14)), (via, "aliases = []")]);
    assert_refused(
        "hosts.toml",
        &[
            (via, &many(15), "a host has at most 14 aliases"),
            (via, "aliases = \"a\"", "expected a list, found a string"),
            (
                via,
                "aliases = [\"*.example.com\"]",
                "\"*.example.com\" is not a valid host name: 1 to 63 of a-z, 0-9, '.' and '-', beginning with a letter or digit",
            ),
            (
                via,
                "key = \"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ\"",
                "keys of type ssh-rsa are not accepted here; use sshd's Ed25519 or ECDSA host key",
            ),
            (
                via,
                "key = \"ssh-ed25519-cert-v01@openssh.com AAAA\"",
                "this is a certificate (ssh-ed25519-cert-v01@openssh.com); a plain public key is needed here",
            ),
            (via, "key = [\"a\"]", "expected a string, found a list"),
            (via, "kei = \"a\"", "`kei` is not a field of [[host]]"),
        ],
    );
    let problems = good().with("hosts.toml", via, "kei = \"a\"").problems();
    assert_eq!(problems[0].help.as_deref(), Some("did you mean `key`?"));
}
