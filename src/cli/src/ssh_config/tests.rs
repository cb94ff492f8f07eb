//! What the file says of hosts of every kind.

use super::*;
use jit_ssh_core::names::Principal;

fn hosts(text: &str) -> Hosts {
    Hosts::parse(text.as_bytes()).unwrap()
}

fn surroundings() -> Surroundings {
    Surroundings {
        ensure: "exec /usr/bin/jit-ssh ensure".to_owned(),
        known_hosts: "\"/s/known_hosts\"".to_owned(),
        keys: PathBuf::from("/run/hosts"),
    }
}

fn rendered(hosts: &Hosts, logins: &Logins) -> String {
    render("# stamp", hosts, &BTreeSet::new(), logins, &surroundings()).unwrap()
}

const ALL: &str = r#"
[[host]]
name = "prod-host"
address = "10.0.0.5:2222"
aliases = ["www"]
logins = ["deploy"]
via = "bastion"
[[host]]
name = "bastion"
address = "b.example.com:2022"
logins = ["ops", "root", "jump"]
via = "edge"
[[host]]
name = "edge"
logins = ["ops", "root"]
[[host]]
name = "v6"
address = "[2001:db8::1]:22"
logins = ["ops"]
"#;

#[test]
fn a_host_has_address_port_account_trust_key_file_and_the_way_to_it() {
    let text = rendered(&hosts(ALL), &Logins::default());
    let expected = r#"
Host prod-host www
  HostName 10.0.0.5
  Port 2222
  User deploy
  HostKeyAlias prod-host
  UserKnownHostsFile ~/.ssh/known_hosts "/s/known_hosts"
  IdentityFile "/run/hosts/prod-host"
Match originalhost prod-host,www !exec "exec /usr/bin/jit-ssh ensure prod-host --login deploy"
  ProxyCommand false
  LogLevel QUIET
Host prod-host www
  ProxyJump bastion+prod-host
Host bastion+prod-host
  HostName b.example.com
  Port 2022
  User jump
  HostKeyAlias bastion
  UserKnownHostsFile ~/.ssh/known_hosts "/s/known_hosts"
  IdentitiesOnly yes
  IdentityFile "/run/hosts/bastion+prod-host"
  ProxyJump edge

Host bastion
  HostName b.example.com
  Port 2022
  HostKeyAlias bastion
  UserKnownHostsFile ~/.ssh/known_hosts "/s/known_hosts"
  IdentityFile "/run/hosts/bastion"
Match originalhost bastion !exec "exec /usr/bin/jit-ssh ensure bastion"
  ProxyCommand false
  LogLevel QUIET
Host bastion
  ProxyJump edge

Host edge
  HostKeyAlias edge
  UserKnownHostsFile ~/.ssh/known_hosts "/s/known_hosts"
  IdentityFile "/run/hosts/edge"
Match originalhost edge !exec "exec /usr/bin/jit-ssh ensure edge"
  ProxyCommand false
  LogLevel QUIET

Host v6
  HostName 2001:db8::1
  User ops
"#;
    assert!(text.contains(expected), "{text}");
    assert!(text.starts_with("# stamp\n# Made anew"));
    assert!(!text.contains("Port 22\n"));
    // What people type never goes through a shell.
    assert!(!text.contains('%'), "{text}");
}

#[test]
fn of_several_accounts_the_one_last_asked_for_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::under(dir.path());
    let known = hosts(ALL);
    let bastion = || {
        let logins = Logins::load(&home).unwrap();
        usual_login(known.get(&"bastion".parse().unwrap()).unwrap(), &logins)
    };
    let note = |principal: &str| {
        let principal: Principal = principal.parse().unwrap();
        Logins::note(&home, &[principal]).unwrap();
    };
    assert_eq!(bastion().map(|login| login.to_string()).filter(|login| login != "root"), None);
    note("ops@bastion");
    note("deploy@prod-host");
    assert_eq!(bastion().unwrap().as_str(), "ops");
    note("root@bastion");
    assert_eq!(bastion().unwrap().as_str(), "root");
    assert!(
        rendered(&known, &Logins::load(&home).unwrap()).contains("ensure bastion --login root\"")
    );
    // One that the host has no more is nobody's wish.
    note("gone@bastion");
    assert_ne!(bastion().map(|login| login.to_string()).as_deref(), Some("gone"));
}

#[test]
fn the_first_line_changes_with_whatever_the_file_is_made_of() {
    let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
    let (logins, none) = (Logins::default(), BTreeSet::new());
    let stamped = stamp(&one, &none, &surroundings(), &logins);
    assert_eq!(stamped, stamp(&one, &none, &surroundings(), &logins));
    assert_ne!(stamped, stamp(&other, &none, &surroundings(), &logins));
    let joined = BTreeSet::from(["ci-7".parse().unwrap()]);
    assert_ne!(stamped, stamp(&one, &joined, &surroundings(), &logins));
    let moved = Surroundings { keys: "/elsewhere".into(), ..surroundings() };
    assert_ne!(stamped, stamp(&one, &none, &moved, &logins));
    let dir = tempfile::tempdir().unwrap();
    let home = Home::under(dir.path());
    Logins::note(&home, &["root@bastion".parse().unwrap()]).unwrap();
    assert_ne!(stamped, stamp(&one, &none, &surroundings(), &Logins::load(&home).unwrap()));
}

#[test]
fn a_path_that_ssh_or_a_shell_would_read_otherwise_is_refused() {
    for good in ["/home/al/.config/jit-ssh", "/home/Al Smith/x", "/home/ä/x"] {
        assert_eq!(quoted(Path::new(good)).unwrap(), format!("\"{good}\""));
    }
    assert_eq!(in_shell(Path::new("/usr/bin/jit-ssh")).unwrap(), "/usr/bin/jit-ssh");
    assert_eq!(in_shell(Path::new("/Al Smith/jit-ssh")).unwrap(), "'/Al Smith/jit-ssh'");
    for bad in
        ["/a\"b", "/a'b", "/a%h", "/a$b", "/a*", "/a?", "/a[b]", "/~", "/a`b", "/a\nb", "/a\\b"]
    {
        assert!(quoted(Path::new(bad)).is_err(), "{bad:?}");
        assert!(in_shell(Path::new(bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn a_further_name_stands_for_its_host_and_none_is_named_twice() {
    let known = hosts(ALL);
    let of = |said: &[&str]| {
        let said: Vec<HostName> = said.iter().map(|name| name.parse().unwrap()).collect();
        let names = completed(&known, &said).ok()?;
        Some(names.iter().map(HostName::as_str).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(of(&["www", "bastion"]).as_deref(), Some("prod-host bastion"));
    // One that joined by itself is not listed.
    assert_eq!(of(&["ci-7"]).as_deref(), Some("ci-7"));
    assert_eq!(of(&["www", "prod-host"]), None);
    assert_eq!(of(&["bastion", "bastion"]), None);
}

#[test]
fn a_host_that_joined_has_its_block_and_a_listed_one_of_the_name_stands_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::under(dir.path());
    Logins::note(&home, &["runner@ci-7".parse().unwrap()]).unwrap();
    let logins = Logins::load(&home).unwrap();
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let with = |joined: BTreeSet<HostName>| {
        render("# stamp", &hosts(ALL), &joined, &logins, &surroundings()).unwrap()
    };
    let expected = r#"
Host ci-7
  User runner
  HostKeyAlias ci-7
  UserKnownHostsFile ~/.ssh/known_hosts "/s/known_hosts"
  IdentityFile "/run/hosts/ci-7"
Match originalhost ci-7 !exec "exec /usr/bin/jit-ssh ensure ci-7 --login runner"
  ProxyCommand false
  LogLevel QUIET
"#;
    let text = with(names(&["ci-7"]));
    assert!(text.ends_with(expected), "{text}");
    assert!(!with(BTreeSet::new()).contains("ci-7"));
    // As who is not known yet: `ensure` asks.
    assert!(with(names(&["ci-8"])).contains("ensure ci-8\"\n"));
    assert_eq!(with(names(&["v6", "www"])), with(BTreeSet::new()));
}
