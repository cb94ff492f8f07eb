//! Hosts behind bastions, each a machine of its own with its own sshd and guard, and no way past them:
//! what a grant opens on the way, and that it opens nothing else.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jit_ssh_tests::distant::Host;
use jit_ssh_tests::network::Network;
use jit_ssh_tests::program::{Said, is_root, wait_until};
use jit_ssh_tests::{Persona, Program, Site};

const POLICY: &str = r#"
[[allow]]
name = "fleet"
who = ["group:sre"]
hosts = ["label:env=prod"]
logins = ["root", "jump"]
max_for = "30m"
cert_for = "5m"
auto = {}
permit = ["pty"]
extend = { max = "1m", times = 2 }
"#;

/// The account of jumps on this machine, whose hosts share its accounts. Its shell would run anything.
struct Account {
    was_there: bool,
    _alone: MutexGuard<'static, ()>,
}

impl Account {
    fn new() -> Account {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let was_there = Program::new("id").args(["jump"]).run().code == 0;
        if !was_there {
            let add = ["--system", "--no-create-home", "--home-dir", "/", "--shell", "/bin/sh"];
            Program::new("useradd").args(add).args(["jump"]).run().fine();
        }
        Account { was_there, _alone: alone }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if !self.was_there {
            let _ = Program::new("userdel").args(["jump"]).run();
        }
    }
}

/// A desk, `edge` before it, `bastion` behind that, and `app` and `db` behind both.
struct Estate {
    site: Site,
    alice: Persona,
    edge: Host,
    bastion: Host,
    app: Host,
    db: Host,
    _account: Account,
    // Goes last: the machines must be empty.
    _network: Network,
}

impl Estate {
    fn new() -> Estate {
        let mut network = Network::new();
        let account = Account::new();
        let ca = network.machine();
        let mut host = |name| Host::new(name, network.machine());
        let mut hosts = [host("edge"), host("bastion"), host("app"), host("db")];
        let mut site = Site::initialised_on(&ca);
        let (mut alice, mut bob) = site.populate(POLICY);
        let desk = network.machine();
        (alice.machine, bob.machine) = (Some(desk.clone()), Some(desk.clone()));
        let [edge, bastion, app, db] = &hosts;
        for (one, other) in
            [(&desk, bastion), (&desk, app), (&desk, db), (&edge.machine, app), (&edge.machine, db)]
        {
            one.part_from(&other.machine);
        }
        let toml = [
            edge.listed("logins = [\"root\", \"jump\"]"),
            bastion.listed("logins = [\"root\", \"jump\"]\nvia = \"edge\""),
            app.listed("logins = [\"root\"]\nvia = \"bastion\""),
            db.listed("logins = [\"root\"]"),
        ];
        fs::write(site.config().join("hosts.toml"), toml.concat()).unwrap();
        site.serve();
        site.apply();
        alice.enroll(&site.url);
        for host in &mut hosts {
            host.start(&site.url);
        }
        let [edge, bastion, app, db] = hosts;
        Estate { site, alice, edge, bastion, app, db, _account: account, _network: network }
    }

    /// Puts `db` behind the bastion too.
    fn move_db(&self) {
        let path = self.site.config().join("hosts.toml");
        let toml = fs::read_to_string(&path).unwrap();
        fs::write(path, toml + "via = \"bastion\"\n").unwrap();
        self.site.apply();
    }

    fn login(&self, host: &str, span: &str) -> String {
        let login = ["login", host, "--for", span, "--because", "INC-1 look", "--new", "--json"];
        self.alice.jit(&login).run().fine().text("id")
    }

    /// The key file for a host or a jump.
    fn shown(&self, jump: &str) -> PathBuf {
        self.alice.home.join(format!("run/hosts/{jump}"))
    }

    /// The ssh configuration that `jit-ssh` makes for this estate.
    fn config(&self) -> PathBuf {
        let made = self.alice.jit(&["ssh-config"]).run().fine().out;
        let more = "Host *\n  BatchMode yes\n  LogLevel ERROR\n  ConnectTimeout 60\n  ExitOnForwardFailure yes\n";
        let path = self.alice.home.join("ssh_config_of_test");
        fs::write(&path, made + more).unwrap();
        path
    }

    fn ssh(&self, args: &[&str]) -> Program {
        self.alice.program("ssh").args(["-F"]).args([self.config()]).args(args)
    }

    fn logs(&self) -> String {
        [&self.edge, &self.bastion, &self.app, &self.db].map(|host| host.logs()).join("\n---\n")
    }

    /// Where and as whom a request was used.
    fn uses(&self, id: &str) -> Vec<(String, String, bool)> {
        let said = self.alice.jit(&["show", id, "--json"]).run().fine();
        let uses = said.field("uses");
        let text = |told: &serde_json::Value, name: &str| told[name].as_str().unwrap().to_owned();
        let uses = uses.as_array().unwrap().iter();
        uses.map(|told| (text(told, "host"), text(told, "login"), told["ended_at"].is_null()))
            .collect()
    }

    /// Waits until a jump through the bastion is told, or has ended.
    fn wait_for_jump(&self, id: &str, runs: bool) {
        let told = ("bastion".to_owned(), "jump".to_owned(), runs);
        wait_until("the bastion's report", || self.uses(id).contains(&told));
    }
}

fn refused(said: &Said, why: &str, logs: impl Fn() -> String) {
    assert_ne!(said.code, 0, "{}: {}", said.command, logs());
    assert!(said.err.contains(why), "{}: {}\n{}", said.command, said.err, logs());
}

#[test]
fn a_grant_opens_the_way_to_its_host_through_two_bastions_and_nothing_else_on_them() {
    if !is_root() {
        return eprintln!("skipped: only root can make machines");
    }
    let estate = Estate::new();
    let logs = || estate.logs();
    let id = estate.login("app", "10m");
    let said = estate.ssh(&["app", "echo in"]).run();
    assert_eq!(said.out, "in\n", "{}\n{}", said.err, logs());
    // There is no other way: past the bastions nothing comes through.
    assert_ne!(estate.app.ssh(&estate.alice, "echo in").run().code, 0);
    wait_until("what the bastions tell", || {
        let uses = estate.uses(&id);
        let told =
            |host: &str, login: &str| uses.iter().any(|(at, by, _)| at == host && by == login);
        told("edge", "jump") && told("bastion", "jump") && told("app", "root")
    });

    // The target allows what was granted, and no forwarding.
    let elsewhere = format!("{}:22", estate.db.machine.address);
    let through = estate.ssh(&["-W", &elsewhere, "app"]).run();
    refused(&through, "stdio forwarding failed", logs);

    // On both bastions, with the very certificate that opens the way: nothing but that way.
    for (hop, next) in [("edge+bastion", &estate.bastion), ("bastion+app", &estate.app)] {
        let port = "2222:127.0.0.1:22";
        let own = format!("{}:22", next.machine.address);
        let banner = estate.ssh(&["-W", &own, hop]).run();
        assert!(banner.out.starts_with("SSH-2.0-"), "{}\n{}", banner.err, logs());
        let closed = "stdio forwarding failed";
        for other in [elsewhere.as_str(), "127.0.0.1:22", &own.replace(":22", ":23")] {
            refused(&estate.ssh(&["-W", other, hop]).run(), closed, logs);
        }
        let remote = "remote port forwarding failed";
        refused(&estate.ssh(&["-N", "-R", port, hop]).run(), remote, logs);
        refused(&estate.ssh(&["-N", "-R", "/tmp/jump.sock:127.0.0.1:22", hop]).run(), remote, logs);
        for session in
            [&[hop, "id"][..], &["-tt", hop], &["-A", hop, "ssh-add -l"], &["-s", hop, "sftp"]]
        {
            let said = estate.ssh(session).run();
            assert!(said.code != 0 && said.out.is_empty(), "{}: {}", said.command, said.out);
        }
    }

    tunnels_lead_to_the_host_behind_alone(&estate);

    // The same out of files, where there is no agent to be used.
    let ask = ["login", "app", "--for", "10m", "--because", "INC-1 look", "--new", "--no-agent"];
    estate.alice.jit(&ask).run().fine();
    let said = estate.ssh(&["-o", "IdentityAgent=none", "app", "echo in"]).run();
    assert_eq!(said.out, "in\n", "{}\n{}", said.err, logs());
    // The certificate for the target is none for a bastion, whichever account is tried.
    let only = format!("IdentityFile={}", estate.shown("app").display());
    for login in ["jump", "root"] {
        let to = format!("{login}@{}", estate.edge.machine.address);
        let trust = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"];
        let alone = ["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", &only];
        let said = estate.ssh(&[&trust[..], &alone, &[&to, "id"]].concat()).run();
        refused(&said, "Permission denied", logs);
    }

    // Nobody can have the account itself, though the rule names it.
    let ask = ["login", "edge", "--as", "jump", "--for", "5m", "--because", "INC-1 look"];
    let said = estate.alice.jit(&ask).run().ended(6);
    assert!(said.err.contains("nobody can ask for the login jump"), "{}", said.err);
    let log = estate.site.verify_log();
    assert!(log.contains("log: ok") && log.contains(" 6 certificates"), "{log}");
}

/// Through `-L` to a socket that anybody on the bastion can speak to, and through `-D`.
fn tunnels_lead_to_the_host_behind_alone(estate: &Estate) {
    let socket = estate.bastion.path("talks.sock");
    let talks = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    std::thread::spawn(move || {
        for caller in talks.incoming() {
            let _ = caller.and_then(|mut caller| caller.write_all(b"I talk to anybody"));
        }
    });
    let to_socket = format!("127.0.0.1:3001:{}", socket.display());
    let ways = ["-N", "-L", &to_socket, "-D", "127.0.0.1:3002", "bastion+app"];
    let held = estate.ssh(&ways).start();
    let bash = |script: &str| estate.alice.program("bash").args(["-c", script]).run();
    let speak = |port: u16, say: &str, drop: &str| {
        let open = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
        bash(&format!("{open}; printf '{say}' >&3; head -c 16 <&3 | tail -c +{drop}")).out
    };
    wait_until("ssh", || bash("exec 3<>/dev/tcp/127.0.0.1/3002").code == 0);
    assert_eq!(speak(3001, "", "1"), "", "{}", estate.logs());
    // The client's answer of eight bytes (SOCKS 4) goes before what the host says.
    let by_socks = |address: &str, port: u8| {
        let octets =
            address.split('.').map(|octet| format!("\\x{:02x}", octet.parse::<u8>().unwrap()));
        let ask = format!("\\x04\\x01\\x00\\x{port:02x}{}\\x00", octets.collect::<String>());
        speak(3002, &ask, "9")
    };
    let [app, db] = [&estate.app, &estate.db].map(|host| host.machine.address.as_str());
    assert_eq!(by_socks(app, 22), "SSH-2.0-", "{}", estate.logs());
    for (address, port) in [(db, 22), (app, 23), ("127.0.0.1", 22)] {
        assert_eq!(by_socks(address, port), "", "{address}: {}", estate.logs());
    }
    held.kill();
    // It was asked of the bastion, which refused it.
    let logs = estate.bastion.logs();
    let asked = logs.lines().find(|line| line.contains(&socket.display().to_string()));
    assert!(asked.is_some_and(|line| line.starts_with("refused streamlocal")), "{logs}");
}

#[test]
fn a_bastion_hears_of_what_is_behind_it_and_its_guard_ends_the_jump() {
    if !is_root() {
        return eprintln!("skipped: only root can make machines");
    }
    let estate = Estate::new();
    let logs = || estate.logs();
    // Another target through the same bastion: first not behind it, then not granted, then both.
    estate.login("app", "10m");
    let to_db = format!("{}:22", estate.db.machine.address);
    let by_app = estate.ssh(&["-W", &to_db, "bastion+app"]).run();
    refused(&by_app, "stdio forwarding failed", logs);
    estate.move_db();
    let lines = || fs::read_to_string(estate.bastion.path("etc/jit-ssh/principals/jump")).unwrap();
    wait_until("the bastion", || lines().contains("jump@bastion/db"));
    let by_app = estate.ssh(&["-W", &to_db, "bastion+app"]).run();
    refused(&by_app, "stdio forwarding failed", logs);
    estate.login("db", "10m");
    // Both ways are at hand now, and each leads to its own host.
    for host in ["db", "app"] {
        let said = estate.ssh(&[host, "echo in"]).run();
        assert_eq!(said.out, "in\n", "{host}: {}\n{}", said.err, logs());
    }

    // A forward through the bastion, with nobody logged in behind it: what is given back ends it.
    estate.alice.jit(&["logout", "--yes"]).run().fine();
    assert!(
        !estate.shown("bastion+app-cert.pub").exists() && estate.alice.certificates().is_empty()
    );
    estate.alice.program("ssh-add").args(["-q"]).args([estate.alice.key_file()]).run().fine();
    let forward = format!("3000:{}:22", estate.app.machine.address);
    for (span, release) in [("10m", true), ("20s", false)] {
        let id = estate.login("app", span);
        let began = Instant::now();
        let held = estate.ssh(&["-N", "-L", &forward, "bastion+app"]).start();
        if release {
            estate.wait_for_jump(&id, true);
            estate.alice.jit(&["release", &id, "--yes"]).run().fine();
        }
        let said = held.wait();
        let took = began.elapsed();
        assert_ne!(said.code, 0, "{}\n{}", said.err, logs());
        assert!(took < Duration::from_secs(120), "it took {took:?}: {}", logs());
        estate.wait_for_jump(&id, false);
    }
}
