//! The whole life of a host that joined: by its token, with the guard's link to the CA running, until its time
//! is over and its name is another machine's.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::path::Path;

use jit_ssh_tests::api::{now, wait_until_past};
use jit_ssh_tests::pipeline::{login, site, strict_ssh, token, vouch};
use jit_ssh_tests::program::{is_root, wait_until};
use jit_ssh_tests::{PamService, Persona, Program, Said, Sshd};

const REFUSED: i32 = 6;

/// What `link.json` in `run` says.
fn link(run: &Path) -> serde_json::Value {
    let text = fs::read_to_string(run.join("link.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The codes of what doctor finds of the guard and its link.
fn found(host: &Sshd, service: &PamService) -> Vec<String> {
    let args = ["doctor", "--json", "--etc"];
    let doctor = Program::new("jit-ssh-host").args(args).args([&host.etc]).args(["--pam"]);
    let said = doctor.args([&service.0]).run();
    let codes = said.json().into_iter().filter_map(|line| line["code"].as_str().map(str::to_owned));
    codes
        .filter(|code| ["GUARD_", "LINK_", "REVOC"].iter().any(|of| code.starts_with(of)))
        .collect()
}

/// The key id of the certificate that sshd shows.
fn key_id(host: &Sshd) -> String {
    let path = host.etc.join("jit-ssh/ssh_host_ed25519_key-cert.pub");
    let shown = Program::new("ssh-keygen").args(["-L", "-f"]).args([path]).run().fine().out;
    let line = shown.lines().find(|line| line.contains("Key ID")).unwrap().to_owned();
    line.split('"').nth(1).unwrap().to_owned()
}

fn hosts(alice: &Persona) -> Said {
    alice.jit(&["hosts", "--json"]).run().fine()
}

#[test]
fn a_host_that_joined_lives_by_its_link_until_its_time_is_over_and_its_name_comes_back() {
    if !is_root() {
        return eprintln!("skipped: only root can start sshd under PAM");
    }
    let (mut site, alice, pipeline) = site();
    let service = PamService::new("joined");
    let host = Sshd::under_pam(site.path(), "ci-1", &service.name());
    // Sockets have short names.
    let dir = tempfile::TempDir::with_prefix_in("jit-ssh-joined-", "/run").unwrap();
    let run = dir.path().join("run");
    let start_guard = |more: &[&str]| {
        let guard = Program::new("jit-ssh-host").args(["guard", "--etc"]).args([&host.etc]);
        let guard = guard.args(["--run"]).args([&run]).args(["--state"]);
        let guard = guard.args([dir.path().join("state")]).args(more).start();
        wait_until("the guard", || {
            found(&host, &service).iter().all(|it| it != "GUARD_NOT_RUNNING")
        });
        guard
    };

    // It joins, and the link hears the CA.
    let word = token(&site, &pipeline, "30m", "3");
    let guard = start_guard(&[]);
    host.setup_guarded(&site.url, &service.0, &run, &["--token", &word]).fine();
    wait_until("the CA's word", || link(&run)["heard"].is_u64());
    assert_eq!(found(&host, &service), Vec::<String>::new());
    assert_eq!(hosts(&alice).text("name"), "ci-1");

    // What is given back arrives, and ends what is open.
    let id = login(&alice, "ci-1", "10m").fine().text("id");
    let options = host.client_options();
    let session = alice.program("ssh").args(options).args(["ci-1", "echo in; sleep 600"]).start();
    wait_until("the login", || host.log().contains("Accepted publickey"));
    wait_until("the session", || {
        let table = fs::read_to_string(run.join("guard.state")).unwrap_or_default();
        table.contains(&id)
    });
    let list = host.etc.join("jit-ssh/revoked.krl");
    let before = fs::read(&list).unwrap();
    alice.jit(&["release", &id, "--yes"]).run().fine();
    assert_ne!(session.wait().code, 0);
    assert_ne!(fs::read(&list).unwrap(), before);

    // A link that does not run is found, and so is a CA that is away for long.
    guard.kill();
    let alone = start_guard(&["--no-link"]);
    assert_eq!(found(&host, &service), ["LINK_NOT_RUNNING"]);
    alone.kill();
    site.stop();
    let mut aged = link(&run);
    aged["heard"] = (now() - 7_200).into();
    fs::write(run.join("link.json"), aged.to_string()).unwrap();
    let guard = start_guard(&[]);
    wait_until("trouble", || link(&run)["problem"].is_string() && link(&run)["heard"].is_u64());
    assert_eq!(found(&host, &service), ["REVOCATIONS_STALE"]);
    site.serve();
    wait_until("the CA's word", || found(&host, &service).is_empty());

    // Its enroller says another time: the link has a certificate that ends then, and sshd shows it.
    let first = key_id(&host);
    vouch(&site, &pipeline, &host, "env=ci", "60s").fine();
    let hosts_file = site.config().join("hosts.toml");
    let text = fs::read_to_string(&hosts_file).unwrap();
    fs::write(&hosts_file, format!("# another bundle\n{text}")).unwrap();
    site.apply();
    wait_until("another host certificate", || key_id(&host) != first);
    let second = key_id(&host);
    let until: u64 = second.strip_prefix("host/ci-1/").unwrap().parse().unwrap();
    assert!(until <= now() + 60 && !first.ends_with(&format!("/{until}")), "{first} {second}");
    login(&alice, "ci-1", "5m").fine();
    assert_eq!(strict_ssh(&alice, &host).fine().out, "in\n", "{}", host.log());

    // Then it is gone by itself, and its name comes back as another machine.
    wait_until_past(until);
    assert!(hosts(&alice).json().is_empty());
    login(&alice, "ci-1", "1m").ended(REFUSED);
    let elsewhere = site.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let other = Sshd::new(&elsewhere, "ci-1");
    assert_ne!(other.host_key(), host.host_key());
    other.setup(&site.url, &["--token", &word]).fine();
    login(&alice, "ci-1", "1m").fine();
    assert_eq!(strict_ssh(&alice, &other).fine().out, "in\n");
    assert!(strict_ssh(&alice, &host).err.contains("Host key verification failed"));
    // Of the machine that had the name, the link still runs, and takes nothing of the other's over.
    assert_eq!(key_id(&host), second);
    guard.kill();
}
