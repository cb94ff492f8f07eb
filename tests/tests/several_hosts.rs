//! Three hosts and a CA, each a machine of its own with its own address, sshd and guard: what crosses
//! the network between them, and what holds when it does not.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::time::{Duration, Instant};

use jit_ssh_tests::distant::Host;
use jit_ssh_tests::network::{Machine, Network};
use jit_ssh_tests::program::{Running, Said, is_root, wait_until};
use jit_ssh_tests::{Persona, Program, Site};

const POLICY: &str = r#"
[[allow]]
name = "fleet"
who = ["group:sre"]
hosts = ["label:env=prod"]
logins = ["root"]
max_for = "30m"
cert_for = "5m"
auto = {}
permit = ["pty"]
extend = { max = "1m", times = 2 }
"#;

/// A network with a CA, three hosts that it knows, and alice.
struct Fleet {
    site: Site,
    alice: Persona,
    hosts: [Host; 3],
    ca: Machine,
    // Goes last: the machines must be empty.
    _network: Network,
}

impl Fleet {
    fn new() -> Fleet {
        Fleet::with_skews([None; 3])
    }

    /// The same with clocks that are off.
    fn with_skews(skews: [Option<&'static str>; 3]) -> Fleet {
        let mut network = Network::new();
        let ca = network.machine();
        let mut hosts = ["one", "two", "three"].map(|name| Host::new(name, network.machine()));
        hosts.iter_mut().zip(skews).for_each(|(host, skew)| host.skew = skew);
        let mut site = Site::initialised_on(&ca);
        let (mut alice, mut bob) = site.populate(POLICY);
        let desk = network.machine();
        (alice.machine, bob.machine) = (Some(desk.clone()), Some(desk));
        let toml: String = hosts.iter().map(|host| host.listed("logins = [\"root\"]")).collect();
        fs::write(site.config().join("hosts.toml"), toml).unwrap();
        site.serve();
        site.apply();
        alice.enroll(&site.url);
        for host in &mut hosts {
            host.start(&site.url);
        }
        Fleet { site, alice, hosts, ca, _network: network }
    }

    /// Gives a host another name.
    fn add_alias(&self, host: &Host, alias: &str) {
        let path = self.site.config().join("hosts.toml");
        let name = format!("name = \"{}\"\n", host.name);
        let toml = fs::read_to_string(&path).unwrap();
        fs::write(path, toml.replacen(&name, &format!("{name}aliases = [\"{alias}\"]\n"), 1))
            .unwrap();
        self.site.apply();
    }

    fn login(&self, host: &Host, span: &str) -> String {
        let login = ["login", host.name, "--for", span, "--because", "INC-1 look", "--new"];
        self.alice.jit(&login).args(["--json"]).run().fine().text("id")
    }

    fn show(&self, id: &str) -> Said {
        self.alice.jit(&["show", id, "--json"]).run().fine()
    }

    /// Waits until the hosts have told of a logout with this cause.
    fn wait_for_logout(&self, id: &str, closed: &str) {
        wait_until("the host's report", || {
            let uses = self.show(id).field("uses");
            uses.as_array().unwrap().iter().any(|told| told["closed"] == closed)
        });
    }
}

/// Seconds until a session has ended by itself.
fn ends(session: Running) -> (Said, Duration) {
    let begun = Instant::now();
    (session.wait(), begun.elapsed())
}

#[test]
fn three_hosts_hold_what_they_were_told_with_the_ca_near_away_and_back() {
    if !is_root() {
        return eprintln!("skipped: only root can make machines");
    }
    let mut fleet = Fleet::new();
    let [one, two, three] = &fleet.hosts;
    let alice = &fleet.alice;

    // A certificate for one host opens that host, and no other that trusts the same CA.
    let id = fleet.login(one, "5m");
    let said = one.ssh(alice, "echo in").run();
    assert_eq!(said.out, "in\n", "{}\n{}", said.err, one.logs());
    for other in [two, three] {
        assert_ne!(other.ssh(alice, "echo in").run().code, 0, "{}", other.name);
    }
    fleet.wait_for_logout(&id, "closed");

    // Another name in the bundle is in the host's certificate soon, and sshd shows it.
    let names = || {
        let certificate = one.path("etc/jit-ssh/ssh_host_ed25519_key-cert.pub");
        Program::new("ssh-keygen").args(["-L", "-f"]).args([certificate]).run().fine().out
    };
    assert!(names().contains("one\n") && !names().contains("uno\n"), "{}", names());
    fleet.add_alias(one, "uno");
    wait_until("the host certificate", || names().contains("uno\n"));
    let known = alice.jit(&["hosts", "--known-hosts"]).run().fine().out;
    let file = alice.home.join("known");
    fs::write(&file, known).unwrap();
    wait_until("sshd to show it", || {
        let options = [format!("UserKnownHostsFile={}", file.display()), "HostKeyAlias=uno".into()];
        let strict = ["StrictHostKeyChecking=yes".to_owned()].into_iter().chain(options);
        let strict: Vec<String> = strict.flat_map(|option| ["-o".to_owned(), option]).collect();
        one.ssh_with(alice, &strict, "echo in").run().out == "in\n"
    });

    // What is given back ends at once, wherever it runs, and nobody else's does.
    let other = fleet.login(two, "5m");
    let (here, there) =
        (one.ssh(alice, "sleep 50").start(), two.ssh(alice, "sleep 20; echo whole"));
    let there = there.start();
    let live = |id: &str| {
        let uses = fleet.show(id).field("uses");
        uses.as_array().unwrap().iter().filter(|told| told["ended_at"].is_null()).count()
    };
    wait_until("the sessions", || live(&id) == 1 && live(&other) == 1);
    alice.jit(&["release", &id, "--yes"]).run().fine();
    let (said, took) = ends(here);
    assert_ne!(said.code, 0);
    assert!(took < Duration::from_secs(20), "it took {took:?}: {}", one.logs());
    eprintln!("from release to the end of the session: {took:?}");
    fleet.wait_for_logout(&id, "revoked");
    assert_eq!(there.wait().out, "whole\n", "{}", two.logs());

    // With the CA away, certificates work, and sessions end in time.
    let id = fleet.login(three, "12s");
    fleet.ca.unplug();
    let (said, took) = ends(three.ssh(alice, "echo in; sleep 50; echo not ended").start());
    assert_eq!(said.out, "in\n", "{}\n{}", said.err, three.logs());
    assert!(took < Duration::from_secs(25), "it took {took:?}");
    fleet.ca.plug_in();
    // What the host had to tell meanwhile it tells now.
    fleet.wait_for_logout(&id, "expired");

    // The CA dies and comes back: what is revoked then ends.
    let id = fleet.login(two, "5m");
    let session = two.ssh(alice, "sleep 100").start();
    wait_until("the session", || !fleet.show(&id).field("uses").as_array().unwrap().is_empty());
    fleet.site.kill();
    assert_eq!(two.ssh(alice, "echo in").run().out, "in\n");
    fleet.site.serve();
    fleet.alice.jit(&["release", &id, "--yes"]).run().fine();
    let (said, _) = ends(session);
    assert_ne!(said.code, 0, "{}", fleet.hosts[1].logs());
    fleet.wait_for_logout(&id, "revoked");
}

#[test]
fn an_extension_moves_the_end_of_a_session_that_runs() {
    if !is_root() {
        return eprintln!("skipped: only root can make machines");
    }
    let fleet = Fleet::new();
    let [one, two, _] = &fleet.hosts;
    fleet.login(one, "15s");
    let session = one.ssh(&fleet.alice, "sleep 22; echo whole").start();
    let extend = ["login", one.name, "--extend", "--for", "1m", "--because", "INC-1 more"];
    fleet.alice.jit(&extend).run().fine();
    // A neighbour that nobody prolongs ends in its time.
    fleet.login(two, "10s");
    let cut = two.ssh(&fleet.alice, "sleep 22; echo whole").start();
    assert_eq!(cut.wait().out, "", "{}", two.logs());
    assert_eq!(session.wait().out, "whole\n", "{}", one.logs());
}

#[test]
fn a_clock_that_is_off_keeps_nobody_in_for_ever_and_lets_in_nobody_whose_time_it_is_not() {
    if !is_root() {
        return eprintln!("skipped: only root can make machines");
    }
    let fleet = Fleet::with_skews([Some("+40s"), Some("-40s"), Some("+10m")]);
    let [ahead, behind, far] = &fleet.hosts;
    let alice = &fleet.alice;
    // A clock that is ahead ends the session earlier, by as much.
    fleet.login(ahead, "55s");
    let (said, took) = ends(ahead.ssh(alice, "echo in; sleep 100; echo whole").start());
    assert_eq!(said.out, "in\n", "{}\n{}", said.err, ahead.logs());
    assert!(took < Duration::from_secs(45), "it took {took:?}");
    // One that is behind has revoked what is revoked all the same.
    let id = fleet.login(behind, "5m");
    let session = behind.ssh(alice, "echo in; sleep 100; echo whole").start();
    wait_until("the session", || !fleet.show(&id).field("uses").as_array().unwrap().is_empty());
    alice.jit(&["release", &id, "--yes"]).run().fine();
    let (said, took) = ends(session);
    assert_eq!(said.out, "in\n", "{}\n{}", said.err, behind.logs());
    assert!(took < Duration::from_secs(30), "it took {took:?}");
    // By one that is far off, the certificate is over.
    fleet.login(far, "5m");
    assert_ne!(far.ssh(alice, "echo in").run().code, 0);
}
