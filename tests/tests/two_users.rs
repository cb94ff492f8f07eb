//! Signer and front as users of their own, as `init --signer-user --front-user` sets them up. Only root
//! can do that: the test says nothing for others.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jit_ssh_tests::program::{Program, Running, Said, binaries, is_root, wait_until};
use jit_ssh_tests::{POLICY, Site};

/// A uid that is nobody's.
const STRANGER: &str = "64999";

/// A user to run a program as; removed again if it was made here.
struct Account {
    name: String,
    made: bool,
}

impl Account {
    /// Makes a user, or takes one that every system has.
    fn new(role: &str, otherwise: &str) -> Account {
        let name = format!("jit-{role}-{}", std::process::id());
        let made = Path::new("/usr/sbin/useradd").is_file()
            && Program::new("useradd").args(["--system", "--no-create-home", &name]).run().code
                == 0;
        Account { name: if made { name } else { otherwise.to_owned() }, made }
    }

    fn id(&self, what: &str) -> String {
        Program::new("id").args([what, &self.name]).run().fine().out.trim().to_owned()
    }

    /// Runs a command as this user.
    fn run(&self, command: &[&str]) -> Said {
        run_as(&self.id("-u"), &self.id("-g"), command)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.made {
            Program::new("userdel").args([&self.name]).run();
        }
    }
}

fn run_as(uid: &str, gid: &str, command: &[&str]) -> Said {
    let become_user = ["--reuid", uid, "--regid", gid, "--clear-groups"];
    Program::new("setpriv").args(become_user).args(command).run()
}

/// A signer that runs by itself; killed when dropped.
struct Signer(Option<Running>);

impl Signer {
    fn start(site: &Site, command: &str) -> Signer {
        let socket = site.state().join("run/signer.sock");
        let _ = fs::remove_file(&socket);
        let script = format!("exec {command} 2>>signer.log");
        let running = Program::new("sh").dir(site.path()).args(["-c", &script]).start();
        let mut signer = Signer(Some(running));
        wait_until("the signer", || {
            let runs = signer.0.as_mut().is_some_and(Running::is_running);
            assert!(runs, "the signer ended: {}", signer_log(site));
            socket.exists()
        });
        signer
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            running.kill();
        }
    }
}

fn signer_log(site: &Site) -> String {
    fs::read_to_string(site.path().join("signer.log")).unwrap_or_default()
}

/// How often the signer turned somebody away.
fn turned_away(site: &Site) -> usize {
    signer_log(site).matches("another uid").count()
}

/// A CA whose folder and programs others can reach, wherever the tests themselves were built.
fn site(signer: &Account, front: &Account) -> Site {
    Site::initialised_with(|dir| {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        let bin = dir.join("bin");
        fs::create_dir(&bin).unwrap();
        for name in ["jit-ssh-ca", "jit-ssh-signer"] {
            fs::copy(binaries().join(name), bin.join(name)).unwrap();
        }
        let args = ["--signer-user", &signer.name, "--front-user", &front.name];
        args.map(str::to_owned).to_vec()
    })
}

/// The two commands that `init` printed, with our programs where others can reach them.
fn commands(site: &Site) -> [String; 2] {
    let said = &site.init.err;
    assert!(!said.contains("warning"), "{said}");
    let bin = format!(" {}/bin/jit-ssh-", site.path().display());
    let lines = said.lines().filter_map(|line| line.strip_prefix("  setpriv "));
    let commands: Vec<String> =
        lines.map(|line| format!("setpriv {}", line.replacen(" jit-ssh-", &bin, 1))).collect();
    commands.try_into().unwrap_or_else(|_| panic!("not two commands: {said}"))
}

#[test]
fn signer_and_front_run_as_two_users_and_neither_reaches_what_is_the_others() {
    if !is_root() {
        return;
    }
    let (signer_user, front_user) =
        (Account::new("signer", "daemon"), Account::new("front", "nobody"));
    let mut site = site(&signer_user, &front_user);
    let [start_signer, start_front] = commands(&site);
    let (alice, _bob) = site.populate(POLICY);
    let signer = Signer::start(&site, &start_signer);
    site.serve_by(&start_front);
    site.apply();
    alice.enroll(&site.url);
    let host = site.host("test-host");
    alice.jit(&["login", "test-host", "--because", "a look"]).run().fine();
    assert_eq!(alice.ssh(&host, "echo in").fine().out, "in\n");

    // What is whose.
    let state = site.state();
    let at = |name: &str| state.join(name).display().to_string();
    let may = |user: &Account, how: &str, name: &str| user.run(&["test", how, &at(name)]).code == 0;
    for (user, reads, not) in [
        (&front_user, "root.json", "signer/ca_key"),
        (&front_user, "log/checkpoint", "signer/log_key"),
        (&front_user, "front/tls/anchor.key", "signer/journal"),
        (&signer_user, "signer/ca_key", "front/tls/anchor.key"),
        (&signer_user, "bundles/current.json", "front/jit-ssh.db"),
    ] {
        assert!(may(user, "-r", reads), "{} can not read {reads}", user.name);
        assert!(!may(user, "-r", not), "{} can read {not}", user.name);
        assert!(state.join(not).exists(), "{not} is not there");
    }
    let cat = front_user.run(&["cat", &at("signer/ca_key")]).ended(1);
    assert!(cat.err.contains("Permission denied") && cat.out.is_empty(), "{cat:?}");
    for name in ["log", "bundles", "run"] {
        assert!(may(&signer_user, "-w", name), "the signer can not write {name}");
        assert!(!may(&front_user, "-w", name), "the front can write {name}");
    }
    for name in ["", "root.json"] {
        assert!(!may(&signer_user, "-w", name) && !may(&front_user, "-w", name), "{name}");
    }

    // Whoever may connect: what they say is no frame, but the front's user is heard.
    let socket = at("run/signer.sock");
    let curl = ["curl", "-sS", "--max-time", "10", "--unix-socket", &socket, "http://signer/"];
    assert_ne!(front_user.run(&curl).code, 0);
    wait_until("the front's user to be heard", || signer_log(&site).contains("was closed"));
    assert_eq!(turned_away(&site), 0, "{}", signer_log(&site));
    for (nth, (uid, gid)) in [(STRANGER, STRANGER), ("0", "0")].into_iter().enumerate() {
        assert_ne!(run_as(uid, gid, &curl).code, 0);
        wait_until("the refusal", || turned_away(&site) == nth + 1);
    }
    let said = signer_user.run(&curl);
    assert_ne!(said.code, 0);
    wait_until("the refusal of the signer's own user", || turned_away(&site) == 3);

    // Both again, on what they wrote.
    site.stop().fine();
    drop(signer);
    let _signer = Signer::start(&site, &start_signer);
    site.serve_by(&start_front);
    alice.jit(&["requests"]).run().fine();
    assert!(site.verify_log().contains("log: ok"));
    site.stop().fine();

    // Root would leave files that neither could use.
    let said = site.ca(&["serve", "--config", "ca-config"]).run().ended(1);
    assert!(said.err.contains("belongs to the user"), "{}", said.err);
    let config = site.config();
    let signer = Program::new("jit-ssh-signer").args(["--config"]).args([&config]);
    let said = signer.args(["--socket", &at("other.sock")]).run().ended(1);
    assert!(said.err.contains("belongs to the user"), "{}", said.err);
}
