//! Plain ssh and what is built on it, by the configuration that `jit-ssh ssh-config` writes, with the real
//! programs: they get in with no other word, and where access is missing they ask or end cleanly.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use jit_ssh_tests::program::{Program, Said, wait_until};
use jit_ssh_tests::{POLICY, Persona, Site, Sshd, me};

const REFUSED: i32 = 6;
/// What ssh ends with when it does not connect.
const NOT_CONNECTED: i32 = 255;

/// A CA whose hosts have addresses and host certificates, and alice with the file installed.
struct World {
    site: Site,
    alice: Persona,
    bob: Persona,
    _prod: Sshd,
    test: Sshd,
    /// What is ~/.ssh/config elsewhere.
    config: PathBuf,
}

impl World {
    fn new() -> World {
        let mut site = Site::initialised();
        let (mut prod, mut test) =
            (Sshd::new(site.path(), "prod-host"), Sshd::new(site.path(), "test-host"));
        for sshd in [&mut prod, &mut test] {
            sshd.configure("Subsystem sftp internal-sftp");
        }
        let me = me();
        let (alice, bob) = site.populate(POLICY);
        let behind = format!(
            "[[host]]\nname = \"behind\"\naddress = \"10.0.0.5\"\nlabels = {{ env = \"test\" }}\nlogins = [\"{me}\"]\nvia = \"test-host\"\n"
        );
        let hosts = [prod.listed("prod", "aliases = [\"www\"]"), test.listed("test", ""), behind];
        fs::write(site.config().join("hosts.toml"), hosts.concat()).unwrap();
        site.serve();
        site.apply();
        for persona in [&alice, &bob] {
            persona.enroll(&site.url);
        }
        for sshd in [&prod, &test] {
            sshd.setup(&site.url, &[]).fine();
        }
        let config = alice.home.join("ssh/config");
        let install = ["ssh-config", "--install", "--yes", "--config"];
        alice.jit(&install).args([&config]).run().fine();
        World { site, alice, bob, _prod: prod, test, config }
    }

    fn ssh(&self, args: &[&str]) -> Program {
        let keys = ["-o", "StrictHostKeyChecking=yes", "-F"];
        self.alice.program("ssh").args(keys).args([&self.config]).args(args)
    }

    fn granted(&self) {
        self.alice.granted_by(&self.bob);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.site.path().join(name)
    }
}

/// Whether something of ours was said. What else is on stderr may be of the account's own shell.
fn heard(said: &Said) -> bool {
    ["access", "jit-ssh", "hint:"].iter().any(|word| said.err.contains(word))
}

/// A command as it is typed on a terminal of its own, with what is answered there once `question` shows.
fn on_terminal(persona: &Persona, shown: &Path, command: &str, answers: &[(&str, &str)]) -> Said {
    let fifo = shown.with_extension("in");
    Program::new("mkfifo").args([&fifo]).run().fine();
    let script =
        format!("exec script -qefc '{command}' '{}' <'{}'", shown.display(), fifo.display());
    let running = persona.program("sh").env("SHELL", "/bin/sh").args(["-c", &script]).start();
    let mut keyboard = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    for (question, answer) in answers {
        wait_until(question, || {
            fs::read(shown).is_ok_and(|text| String::from_utf8_lossy(&text).contains(question))
        });
        std::io::Write::write_all(&mut keyboard, format!("{answer}\n").as_bytes()).unwrap();
    }
    let said = running.wait();
    drop(keyboard);
    said
}

#[test]
fn without_access_and_terminal_everything_ends_cleanly_and_with_it_ssh_and_scp_and_sftp_get_in() {
    let world = World::new();
    let said = world.ssh(&["prod-host", "true"]).run().ended(NOT_CONNECTED);
    assert!(said.err.contains("there is no access to"), "{}", said.err);
    assert!(said.err.contains("jit-ssh login prod-host --as"), "{}", said.err);
    assert_eq!(said.err.lines().count(), 2, "one message, and nothing of ssh: {}", said.err);
    // What asks for nothing, and what is about another host, is not held up.
    let printed = world.ssh(&["-G", "prod-host"]).run().fine();
    assert!(
        !printed.err.contains("access") && !printed.out.contains("proxycommand"),
        "{printed:?}"
    );
    let jump = world.ssh(&["-G", "behind"]).run().fine().out;
    // That bastion takes no jumps: people get through it as who they are there.
    assert!(jump.contains("proxyjump test-host\n"), "{jump}");

    world.granted();
    for name in ["prod-host", "www"] {
        let said = world.ssh(&[name, "echo in; exit 7"]).run().ended(7);
        assert_eq!((said.out.as_str(), heard(&said)), ("in\n", false), "{name}: {said:?}");
    }
    let copy = world.file("copy");
    let tool = |name: &str| world.alice.program(name).args(["-q", "-F"]).args([&world.config]);
    tool("scp").args(["prod-host:/etc/hostname"]).args([&copy]).run().fine();
    assert_eq!(fs::read(&copy).unwrap(), fs::read("/etc/hostname").unwrap());
    let batch = world.file("batch");
    fs::write(&batch, "pwd\n").unwrap();
    tool("sftp").args(["-b"]).args([&batch]).args(["prod-host"]).run().fine();
}

#[test]
fn whatever_shell_a_person_has_ensure_hears_which_call_it_is() {
    let world = World::new();
    for shell in ["/bin/sh", "bash", "zsh", "fish"] {
        let shell = Program::path(shell);
        let ssh = |args: &[&str]| world.ssh(args).env("SHELL", &shell).run();
        let printed = ssh(&["-G", "prod-host"]).fine();
        assert!(!printed.err.contains("access"), "{}: {}", shell.display(), printed.err);
        let said = ssh(&["prod-host", "true"]).ended(NOT_CONNECTED);
        assert!(said.err.contains("there is no access to"), "{}: {}", shell.display(), said.err);
    }
    world.granted();
    for shell in ["/bin/sh", "bash", "zsh", "fish"] {
        world.ssh(&["prod-host", "true"]).env("SHELL", Program::path(shell)).run().fine();
    }
}

#[test]
fn rsync_git_and_ansible_get_in_and_an_editor_can_forward_ports() {
    let world = World::new();
    world.granted();
    let ssh = format!("ssh -F {}", world.config.display());
    let (from, to) = (world.file("from"), world.file("to"));
    fs::write(&from, "copied").unwrap();
    let rsync = world.alice.program("rsync").args(["-e", &ssh]).args([&from]);
    rsync.args([format!("prod-host:{}", to.display())]).run().fine();
    assert_eq!(fs::read_to_string(&to).unwrap(), "copied");

    let (source, clone) = (world.file("source"), world.file("clone"));
    Program::new("git").args(["init", "-q", "--bare"]).args([&source]).run().fine();
    let git = world.alice.program("git").env("GIT_SSH_COMMAND", &ssh).args(["clone", "-q"]);
    git.args([format!("ssh://prod-host{}", source.display())]).args([&clone]).run().fine();
    assert!(clone.join(".git").is_dir());

    let arguments =
        format!("-F {} -o ControlMaster=no -o ControlPath=none", world.config.display());
    let ping = world
        .alice
        .program("ansible")
        .env("HOME", world.site.path())
        .env("ANSIBLE_LOCALHOST_WARNING", "false")
        .args(["all", "-i", "prod-host,", "-m", "ping", "--ssh-common-args", &arguments]);
    let said = ping.run().fine();
    assert!(said.out.contains("SUCCESS") && said.out.contains("pong"), "{}", said.out);

    // As VS Code does: no terminal, a SOCKS port, a shell that reads commands. The rule of test-host
    // permits forwarding.
    let login = ["login", "test-host", "--because", "INC-42 x", "--for", "2m"];
    world.alice.jit(&login).run().fine();
    let port = jit_ssh_tests::program::free_port();
    let script = world.file("script");
    fs::write(&script, "echo ready\n").unwrap();
    let forward = world.ssh(&["-T", "-D", &port.to_string(), "test-host", "sh"]).stdin(&script);
    assert_eq!(forward.run().fine().out, "ready\n");
    assert!(world.test.log().contains("Accepted publickey"));
}

#[test]
fn on_a_terminal_ssh_asks_why_and_how_long_waits_and_connects() {
    let world = World::new();
    let shown = world.file("shown");
    let command = format!(
        "ssh -F {} -o StrictHostKeyChecking=yes test-host echo got-in",
        world.config.display()
    );
    let answers =
        [("Why do you need it?", "INC-42 disk full"), ("For how long, at most 1h?", "5m")];
    let said = on_terminal(&world.alice, &shown, &command, &answers).fine();
    let text = fs::read_to_string(&shown).unwrap();
    assert!(text.contains("There is no access to") && text.contains("got-in"), "{text}\n{said:?}");
    let rows = world.alice.jit(&["requests", "--mine", "--json"]).run().fine();
    assert_eq!((rows.json().len(), rows.field("for")), (1, 300.into()));
    assert_eq!(rows.text("reason"), "INC-42 disk full");
    // From then on nobody asks.
    world.ssh(&["test-host", "true"]).run().fine();
}

#[test]
fn of_several_at_once_one_asks_and_the_others_wait_for_what_comes_of_it() {
    let world = World::new();
    let config = world.config.display();
    let command = format!("ssh -F {config} prod-host echo got-in");
    let (first, second) = (world.file("first"), world.file("second"));
    let typed = [("Why do you need it?", "INC-42 disk full"), ("For how long", "5m")];
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| on_terminal(&world.alice, &first, &command, &typed));
        let says = |path: &Path, words: &str| {
            fs::read(path).is_ok_and(|text| String::from_utf8_lossy(&text).contains(words))
        };
        wait_until("the question", || says(&first, "Why do you need it?"));
        let waiting = scope.spawn(|| on_terminal(&world.alice, &second, &command, &[]));
        wait_until("the second", || says(&second, "being asked for beside this"));
        // Where nobody can be asked, nobody waits.
        world.ssh(&["prod-host", "true"]).run().ended(NOT_CONNECTED);
        let waits = || world.bob.jit(&["requests", "--to-decide", "--json"]).run().fine().json();
        wait_until("the request", || !waits().is_empty());
        let rows = waits();
        assert_eq!(rows.len(), 1, "{rows:?}");
        world.bob.jit(&["approve", rows[0]["id"].as_str().unwrap(), "--yes"]).run().fine();
        asking.join().unwrap().fine();
        waiting.join().unwrap().fine();
        assert!(says(&first, "got-in") && says(&second, "got-in"));
    });
    assert_eq!(world.alice.jit(&["requests", "--mine", "--json"]).run().fine().json().len(), 1);
}

#[test]
fn a_connection_that_stands_is_used_whatever_is_at_hand() {
    let world = World::new();
    world.granted();
    let socket = format!("ControlPath={}", world.file("master").display());
    let master = world.ssh(&["-o", &socket, "-M", "-N", "prod-host"]).start();
    wait_until("the master", || world.file("master").exists());
    world.alice.jit(&["logout", "--yes"]).run().fine();
    let said = world.ssh(&["-o", &socket, "prod-host", "echo shared"]).run().fine();
    assert_eq!((said.out.as_str(), heard(&said)), ("shared\n", false), "{said:?}");
    world.ssh(&["-o", &socket, "-O", "check", "prod-host"]).run().fine();
    master.kill();
    fs::remove_file(world.file("master")).unwrap();
    world.ssh(&["-o", &socket, "prod-host", "true"]).run().ended(NOT_CONNECTED);
}

#[test]
fn what_somebody_types_as_an_account_reaches_no_shell() {
    let world = World::new();
    world.granted();
    let trap = world.file("trap");
    let account = format!("x$(touch {})", trap.display());
    world.ssh(&["-l", &account, "prod-host", "true"]).run().ended(NOT_CONNECTED);
    assert!(!trap.exists());
    world.ssh(&["prod-host", "true"]).run().fine();
}

#[test]
fn jit_ssh_ssh_needs_no_installed_line_asks_once_and_ends_as_ssh_does() {
    let world = World::new();
    let remove = ["ssh-config", "--remove", "--yes", "--config"];
    world.alice.jit(&remove).args([&world.config]).run().fine();
    assert!(!world.config.exists());
    let ssh = |args: &[&str]| world.alice.jit(&["ssh", "test-host"]).args(args).run();
    let alone = ssh(&["--", "true"]).ended(2);
    assert!(alone.err.contains("jit-ssh login test-host --as"), "{}", alone.err);
    let said = ssh(&["--because", "INC-42 x", "--for", "5m", "--", "echo out; exit 7"]).ended(7);
    assert_eq!(said.out, "out\n", "stdout is that of the command alone");
    let again = ssh(&["-T", "echo", "again"]).fine();
    assert_eq!((again.out.as_str(), heard(&again)), ("again\n", false), "{again:?}");
}

#[test]
fn several_hosts_are_one_request_and_where_no_rule_covers_all_it_says_which_would() {
    let world = World::new();
    let login = |hosts: &[&str]| {
        let args = ["--because", "INC-42 disk full", "--for", "2m", "--json"];
        world.alice.jit(&["login"]).args(hosts).args(args)
    };
    let said = login(&["www", "test-host"]).run().ended(REFUSED);
    let message = said.text("message");
    assert!(message.contains("the rule prod covers prod-host"), "{message}");
    assert!(message.contains("the rule test-auto covers test-host"), "{message}");
    assert!(said.text("hint").contains("jit-ssh login test-host --as"), "{said:?}");
    let dry = login(&["prod-host", "test-host"]).args(["--dry-run"]).run().ended(REFUSED);
    assert_eq!(dry.text("message"), message, "as foretold");

    let policy = POLICY.replace("label:env=prod", "label:env=prod\", \"test-host");
    world.site.write_policy(&policy);
    world.site.apply();
    let said = login(&["www", "test-host"]).args(["--no-wait"]).run().ended(3);
    assert_eq!(said.field("hosts"), serde_json::json!(["prod-host", "test-host"]));
    world.bob.jit(&["approve", &said.text("id"), "--yes"]).run().fine();
    // No terminal is needed to take what was approved meanwhile; one certificate is for both.
    for host in ["prod-host", "test-host"] {
        world.ssh(&[host, "true"]).run().fine();
    }
    assert_eq!(world.alice.certificates().len(), 1);
    let twice = world.alice.jit(&["login", "www", "prod-host", "--because", "INC-42 x"]).run();
    assert!(twice.ended(2).err.contains("named twice"));
}
