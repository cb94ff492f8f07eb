//! `jit-ssh bastion` with real sshd on both hops: who logs in to the bastion is connected onward with access asked
//! for them, by stock ssh, scp and sftp; and nobody gets more there, or for longer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use jit_ssh_tests::program::{Running, wait_until};
use jit_ssh_tests::pty::Terminal;
use jit_ssh_tests::{Persona, Program, Said, Site, Sshd, me};

const USAGE: i32 = 2;
const DENIED: i32 = 4;
const OVER: i32 = 5;
const REFUSED: i32 = 6;

/// alice and bob may go to the bastion; the bastion asks for `sre`: by itself on test, by a lead on prod.
const RULES: &str = r#"
[[allow]]
name = "to-the-bastion"
who = ["group:sre"]
hosts = ["bastion"]
logins = ["LOGIN"]
max_for = "1h"
cert_for = "1h"
auto = {}
permit = ["pty"]

[[allow]]
name = "prod"
who = ["machine:bastion-1"]
on_behalf = ["group:sre"]
hosts = ["label:env=prod"]
logins = ["LOGIN"]
max_for = "30m"
cert_for = "5m"
reason = { min = 5, pattern = "INC-[0-9]+", hint = "name the incident" }
approvals = [{ from = ["group:leads"], count = 1 }]
permit = ["pty"]

[[allow]]
name = "test-auto"
who = ["machine:bastion-1"]
on_behalf = ["group:sre"]
hosts = ["test-*"]
logins = ["LOGIN"]
max_for = "1h"
cert_for = "10m"
auto = {}
permit = ["pty"]
source = "client"
"#;

/// A CA, a bastion and two hosts behind it; alice and bob with a certificate for the bastion.
struct World {
    site: Site,
    alice: Persona,
    bob: Persona,
    /// In nobody's group: has a key on the bastion all the same.
    _machine: Persona,
    bastion: Sshd,
    test: Sshd,
    prod: Sshd,
}

impl World {
    fn new() -> World {
        let mut site = Site::initialised();
        let [mut bastion, mut test, mut prod] =
            ["bastion", "test-host", "prod-host"].map(|name| Sshd::new(site.path(), name));
        for sshd in [&mut test, &mut prod] {
            sshd.configure("Subsystem sftp internal-sftp");
        }
        let (alice, bob) = site.populate(RULES);
        let machine = Persona::new(site.path(), "bastion-1");
        site.add_machine(&machine, "bastions");
        let behind = prod.listed("prod", "via = \"bastion\"");
        let hosts = [bastion.listed("edge", ""), test.listed("test", ""), behind];
        fs::write(site.config().join("hosts.toml"), hosts.concat()).unwrap();
        site.serve();
        site.apply();
        for persona in [&alice, &bob] {
            persona.enroll(&site.url);
        }
        let enroll = ["enroll", &site.url, "--as", "bastion-1", "--identity"];
        Program::new("jit-ssh")
            .env("JIT_SSH_HOME", &machine.home)
            .args(enroll)
            .args([machine.key_file()])
            .run()
            .fine();
        for sshd in [&bastion, &test, &prod] {
            sshd.setup(&site.url, &[]).fine();
        }
        bastion.configure(&format!(
            "Subsystem sftp internal-sftp\nAcceptEnv JIT_SSH_TO JIT_SSH_BECAUSE JIT_SSH_FOR\n\
             ExposeAuthInfo yes\nDisableForwarding yes\nForceCommand env JIT_SSH_HOME={} {} bastion",
            machine.home.display(),
            Program::path("jit-ssh").display()
        ));
        let world = World { site, alice, bob, _machine: machine, bastion, test, prod };
        for persona in [&world.alice, &world.bob] {
            persona.jit(&["login", "bastion", "--because", "work"]).run().fine();
        }
        world
    }

    /// Options that lead alice to the bastion.
    fn way(&self) -> Vec<String> {
        self.bastion.client_options()
    }

    /// ssh to the bastion.
    fn ssh(&self, options: &[&str], command: &[&str]) -> Program {
        let ssh = self.alice.program("ssh").args(self.way()).args(options);
        ssh.args(["--", self.bastion.name()]).args(command)
    }

    /// The same on a terminal.
    fn on_terminal(&self, command: &[&str]) -> Terminal {
        // Its own escapes are those of the person's ssh.
        Terminal::start(self.ssh(&["-t", "-e", "none"], command), 100, 30)
    }

    /// What the bastion still keeps for connections.
    fn leftovers(&self) -> Vec<PathBuf> {
        files_under(&self.site.path().join("bastion-1/run/bastion"))
    }

    /// The id of the request that somebody just made for prod-host, once a lead sees it.
    fn to_decide(&self) -> String {
        let mut id = String::new();
        wait_until("a request to decide", || {
            let said = self.bob.jit(&["requests", "--to-decide", "--json"]).run().fine();
            let rows = said.json();
            id = rows.first().map(|row| row["id"].as_str().unwrap().to_owned()).unwrap_or_default();
            !id.is_empty()
        });
        id
    }

    /// The last request of the bastion, as it can be read.
    fn shown(&self, id: &str) -> serde_json::Value {
        self.bob.jit(&["show", id, "--json"]).run().fine().json().pop().unwrap()
    }
}

/// Files and folders below one, whatever they are.
fn files_under(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        found.extend(files_under(&path));
        found.push(path);
    }
    found
}

/// What a command on the host wrote, if ssh and the bastion had nothing to complain of.
fn ran(said: Said, code: i32) -> String {
    said.ended(code).out
}

#[test]
fn one_command_runs_there_with_its_input_output_and_exit_code_and_the_person_is_in_the_log() {
    let world = World::new();
    let because = ["test-host", "--because", "look", "at", "it", "--for", "5m", "--"];
    let command = |words: &[&'static str]| [&because[..], words].concat();
    let said = world.ssh(&[], &command(&["echo in; echo err >&2; exit 7"])).run();
    assert!(said.err.contains("alice: ") && said.err.contains("err\n"), "{said:?}");
    assert_eq!(ran(said, 7), "in\n");
    // What is typed reaches no shell of the bastion: what it says there is said by the host's.
    let tricky = "echo $WHERE `echo $WHERE` $(echo $WHERE); echo '$WHERE'  \"a  b\" | cat";
    let said = world.ssh(&[], &[&because[..], &[tricky]].concat()).run();
    assert_eq!(ran(said, 0), "test-host test-host test-host\n$WHERE a  b\n");
    // Input, as long as a pipe is not; and bytes that are no text.
    let input = world.site.path().join("input");
    fs::write(&input, vec![0xA7; 300_000]).unwrap();
    let said = world.ssh(&[], &command(&["sha256sum; head -c 3 /dev/null"])).stdin(&input).run();
    let expected = Program::new("sha256sum").stdin(&input).run().fine().out;
    assert_eq!(ran(said, 0), expected);

    let log = world.test.log();
    let line = log.lines().find(|line| line.contains("Accepted publickey")).unwrap();
    assert!(line.contains(" ID alice/"), "{line}");
    assert!(!log.contains("bastion-1/"), "{log}");
    assert_eq!(world.leftovers(), Vec::<PathBuf>::new());
    // What was granted is given back: nothing of it is live any more.
    let rows = world.alice.jit(&["requests", "--mine", "--json"]).run().fine().json();
    let onward: Vec<_> = rows.iter().filter(|row| row["by"] == "bastion-1").collect();
    assert_eq!(onward.len(), 3);
    for row in onward {
        assert_eq!(
            (&row["status"], &row["subject"]),
            (&"released".into(), &"alice".into()),
            "{row}"
        );
    }
}

#[test]
fn a_person_on_a_terminal_chooses_says_why_waits_and_has_a_shell_there() {
    let world = World::new();
    let terminal = world.on_terminal(&[]);
    terminal.sees("Which host?");
    assert!(terminal.raw().contains("prod-host") && terminal.raw().contains("test-host"));
    terminal.types("prod-host\n");
    terminal.sees("Why do you need it?");
    terminal.types("INC-42 disk full\n");
    terminal.sees("For how long, at most 30m?");
    terminal.types("5m\n");
    let id = world.to_decide();
    terminal.sees(&format!("Request {id} waits for bob"));
    let row = world.shown(&id);
    assert_eq!((&row["by"], &row["subject"]), (&"bastion-1".into(), &"alice".into()));
    assert_eq!((&row["reason"], &row["for"]), (&"INC-42 disk full".into(), &300.into()));
    world.bob.jit(&["approve", &id, "--yes"]).run().fine();
    terminal.sees("alice: ");
    let from = terminal.len();
    terminal.types("echo \"at $WHERE on $(tty | cut -c1-5) $((40+2))\"\n");
    terminal.sees_after(from, "at prod-host on /dev/ 42");
    // Escapes of ssh's are for nobody here: by them there would be a shell of the bastion.
    let from = terminal.len();
    terminal.types("\n~C\u{3}\n~?\u{3}\necho st''ill\n");
    terminal.sees_after(from, "still");
    assert!(!terminal.raw().contains("ssh>") && !terminal.raw().contains("Supported escape"));
    terminal.types("exit 3\n");
    let (code, _) = terminal.wait();
    assert_eq!(code, 3);
    assert_eq!(world.leftovers(), Vec::<PathBuf>::new());
    assert_eq!(world.shown(&id)["status"], "released");
}

#[test]
fn sftp_scp_and_rsync_name_the_host_by_a_variable_that_stock_clients_send() {
    let world = World::new();
    let [source, got, put, old] =
        ["source", "got", "put", "old"].map(|name| world.site.path().join(name));
    fs::write(&source, vec![7; 200_000]).unwrap();
    let to = "SetEnv=JIT_SSH_TO=test-host JIT_SSH_BECAUSE=copies JIT_SSH_FOR=5m";
    let tool = |name: &str| world.alice.program(name).args(world.way()).args(["-o", to]);
    let remote = |path: &PathBuf| format!("bastion:{}", path.display());
    tool("scp").args([&source]).args([remote(&put)]).run().fine();
    tool("scp").args([remote(&source)]).args([&got]).run().fine();
    // The protocol from before 9.0, which is a command.
    tool("scp").args(["-O"]).args([remote(&source)]).args([&old]).run().fine();
    let batch = world.site.path().join("batch");
    let renamed = world.site.path().join("renamed");
    fs::write(&batch, format!("rename {} {}\n", old.display(), renamed.display())).unwrap();
    tool("sftp").args(["-b"]).args([&batch]).args(["bastion"]).run().fine();
    for copy in [&got, &put, &renamed] {
        assert_eq!(fs::read(copy).unwrap(), fs::read(&source).unwrap(), "{}", copy.display());
    }
    // A plain command beside the variable is wholly for the host.
    let said = tool("ssh").args(["bastion", "echo", "$WHERE", "--for", "x"]).run();
    assert_eq!(ran(said, 0), "test-host --for x\n");
    // Without the variable nothing says which host. sshd passes on no word of a subsystem: as a command, it does.
    let nowhere = |more: &[&str]| {
        let sftp = world.alice.program("sftp").args(world.way()).args(more).args(["-b"]);
        sftp.args([&batch]).args(["bastion"]).run()
    };
    assert!(nowhere(&[]).code != 0);
    let said = nowhere(&["-s", "/sftp"]);
    assert!(said.code != 0 && said.err.contains("JIT_SSH_TO=HOST"), "{said:?}");
    fs::write(&batch, format!("ls -1 {}\n", renamed.display())).unwrap();
    let said = nowhere(&["-s", "/sftp", "-o", to]);
    assert!(said.out.contains("renamed"), "{said:?}");
    assert_eq!(world.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn what_no_rule_allows_and_what_makes_no_sense_is_refused_with_its_exit_code_and_reaches_no_shell()
{
    let world = World::new();
    let mark = world.site.path().join("mark");
    let touch = format!("touch {}", mark.display());
    let injected = format!("test-host;{touch}");
    let substituted = format!("$({touch})");
    let option = format!("-oProxyCommand={touch}");
    for (command, code, told) in [
        (&["prod-host", "--because", "fun", "--", "id"][..], REFUSED, "name the incident"),
        (&["bastion", "--because", "INC-42", "--", "id"], REFUSED, "no rule allows"),
        (&["root-host", "--because", "INC-42", "--", "id"], REFUSED, "there is no host root-host"),
        (&["other@test-host", "--because", "x"], REFUSED, "does not offer the login other"),
        (&["test-host", "--", "id"], USAGE, "say why you need it"),
        (&["test-host", "--because", "x", "--for", "9h"], REFUSED, "at most 1h"),
        (&["test-host", "--as", "x"], USAGE, "no option --as"),
        (&[&injected, "--because", "x"], USAGE, "the host:"),
        (&[&substituted], USAGE, "the host:"),
        (&[&option, "--because", "x"], USAGE, "the host:"),
        (&[], USAGE, "name the host"),
    ] {
        let said = world.ssh(&[], command).run().ended(code);
        assert!(said.err.contains(told), "{command:?}: {}", said.err);
        assert_eq!(said.out, "", "{command:?}");
    }
    for option in ["SetEnv=JIT_SSH_TO=test-host JIT_SSH_FOR=$(id)", "SetEnv=JIT_SSH_TO=a;b"] {
        world.ssh(&["-o", option], &["id"]).run().ended(USAGE);
    }
    assert!(!mark.exists());
    assert!(!world.test.log().contains("Accepted"), "{}", world.test.log());
    // The neighbouring good one gets in.
    let good = ["test-host", "--because", "x", "--", "id -un"];
    assert_eq!(ran(world.ssh(&[], &good).run(), 0).trim(), me());
    // Nothing else is to be had on the bastion either.
    let forward = world.ssh(&["-W", "127.0.0.1:22"], &[]).run();
    assert!(forward.code != 0, "{forward:?}");
}

#[test]
fn who_it_is_comes_from_sshd_and_a_stranger_gets_nowhere() {
    let mut world = World::new();
    // Keys of their own, which sshd knows: whose each is stands beside it, where nobody who logs in can write.
    let (carol, dave) =
        (Persona::new(world.site.path(), "carol"), Persona::new(world.site.path(), "dave"));
    let keys = world.site.path().join("authorized_keys");
    let own = world.bastion.etc.join("sshd_config");
    let config = fs::read_to_string(&own).unwrap();
    let (config, forced) = config.split_once("ForceCommand ").unwrap();
    let forced = forced.trim().to_owned();
    let line = |who: &str, persona: &Persona| {
        format!("command=\"{forced} --person {who}\",restrict,pty {}\n", persona.public_key())
    };
    let plain = format!("command=\"{forced}\",restrict {}\n", world.bob.public_key());
    fs::write(&keys, [line("alice", &carol), line("mallory", &dave), plain].concat()).unwrap();
    let config = config.replace("AuthorizedKeysFile none", "AcceptEnv *");
    fs::write(&own, config).unwrap();
    world.bastion.configure(&format!("AuthorizedKeysFile {}", keys.display()));

    let way = world.bastion.client_options();
    let go = |persona: &Persona, options: &[&str]| {
        let ssh = persona.program("ssh").args(&way).args(options);
        ssh.args(["bastion", "test-host", "--because", "x", "--", "echo in"]).run()
    };
    assert_eq!(ran(go(&carol, &[]), 0), "in\n");
    assert!(world.test.log().contains(" ID alice/"));
    // Nobody the CA knows.
    let said = go(&dave, &[]).ended(1);
    assert!(said.err.contains("mallory"), "{said:?}");
    // What is sent along says nothing of who it is.
    let lie = ["-o", "SetEnv=SSH_USER_AUTH=/tmp/sshauth.x JIT_SSH_PERSON=bob USER=bob LOGNAME=bob"];
    assert_eq!(ran(go(&carol, &lie), 0), "in\n");
    assert!(!world.test.log().contains(" ID bob/"));
    // A plain key of nobody named; the certificate beside it names who has it.
    let key = world.bob.key_file();
    let only =
        ["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-i", key.to_str().unwrap()];
    let said = go(&world.bob, &only).ended(REFUSED);
    assert!(said.err.contains("can not tell who logged in"), "{said:?}");
}

#[test]
fn the_end_of_the_grant_ends_the_connection_and_a_denial_is_told() {
    let world = World::new();
    let ask = |more: &[&str]| -> Running {
        let words = ["prod-host", "--because", "INC-42", "disk", "full"];
        world.ssh(&[], &[&words[..], more].concat()).start()
    };
    // Denied.
    let running = ask(&["--", "echo in"]);
    let id = world.to_decide();
    assert_eq!(world.shown(&id)["command"], "echo in", "who decides sees what will run");
    world.bob.jit(&["deny", &id, "--because", "not now", "--yes"]).run().fine();
    let said = running.wait().ended(DENIED);
    assert!(said.err.contains("was denied by bob: not now"), "{said:?}");
    assert_eq!(said.out, "");

    let started = world.site.path().join("started");
    // Nobody hangs up on what has no terminal: it ends when it can not write any more.
    let lasting = format!("echo > {}; while echo; do sleep 1; done", started.display());
    let live = |more: &[&str]| -> (Running, String) {
        let _ = fs::remove_file(&started);
        let running = ask(&[more, &["--", &lasting]].concat());
        let id = world.to_decide();
        world.bob.jit(&["approve", &id, "--yes"]).run().fine();
        wait_until("the command to run", || started.exists());
        (running, id)
    };
    // Revoked: hosts without a guard would let it run on.
    let (running, id) = live(&[]);
    world.bob.jit(&["revoke", &id, "--because", "enough", "--yes"]).run().fine();
    let said = running.wait().ended(OVER);
    assert!(said.err.contains(&id) && said.err.contains("bob"), "{said:?}");
    // Over by the clock.
    let (running, id) = live(&["--for", "15s"]);
    let said = running.wait().ended(OVER);
    assert!(said.err.contains(&format!("request {id} ")) && said.err.contains("end"), "{said:?}");
    // The person goes away: what was granted is given back, and what still waits is taken back.
    let (running, id) = live(&[]);
    running.kill();
    wait_until("the access to be given back", || world.shown(&id)["status"] == "released");
    let running = ask(&[]);
    let id = world.to_decide();
    running.kill();
    wait_until("the request to be taken back", || world.shown(&id)["status"] == "cancelled");
    let terminal = world.on_terminal(&["prod-host", "--because", "INC-42", "--for", "5m"]);
    let id = world.to_decide();
    terminal.sees("waits for bob");
    terminal.types("\u{3}");
    let (code, wrote) = terminal.wait();
    assert!(
        code == OVER && wrote.contains(&format!("request {id} is taken back")),
        "{code} {wrote}"
    );
    assert_eq!(world.shown(&id)["status"], "cancelled");
    wait_until("nothing to be left", || world.leftovers().is_empty());
    world.site.verify_log();
}

#[test]
fn the_key_is_in_no_file_and_no_other_process_while_the_connection_stands() {
    let world = World::new();
    let terminal = world.on_terminal(&["test-host", "--because", "look", "--for", "5m"]);
    terminal.sees("alice: ");
    let from = terminal.len();
    terminal.types("echo re''ady\n");
    terminal.sees_after(from, "ready");
    let kept = world.leftovers();
    assert!(!kept.is_empty(), "the socket and what ssh knows of the host");
    let home = world.site.path().join("bastion-1");
    for path in files_under(&home) {
        if path == home.join("id") || !path.is_file() {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        assert!(
            !bytes.windows(11).any(|part| part == b"PRIVATE KEY"),
            "a private key in {}",
            path.display()
        );
    }
    // The agent has done its work: it lends nothing to anybody, on any machine.
    let socket = kept.iter().find(|path| path.ends_with("agent")).unwrap();
    let said = Program::new("ssh-add").env("SSH_AUTH_SOCK", socket).args(["-l"]).run();
    assert!(said.code != 0 && !said.out.contains("CERT"), "{said:?}");
    terminal.types("exit\n");
    assert_eq!(terminal.wait().0, 0);
    assert_eq!(world.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn the_host_must_be_the_one_that_the_admins_signed_as_of_now() {
    let world = World::new();
    let go = || world.ssh(&[], &["test-host", "--because", "x", "--", "echo in"]).run();
    assert_eq!(ran(go(), 0), "in\n");
    // Another sshd at its address: it has a certificate of this CA, and it is not test-host.
    let file = world.site.config().join("hosts.toml");
    let good = fs::read_to_string(&file).unwrap();
    let [own, other] = [&world.test, &world.prod].map(|sshd| format!("127.0.0.1:{}", sshd.port()));
    let swapped = good.replace(&own, "SWAP").replace(&other, &own).replace("SWAP", &other);
    fs::write(&file, swapped).unwrap();
    world.site.apply();
    let said = go();
    assert!(said.code == 255 && said.err.contains("Host key verification failed"), "{said:?}");
    assert!(!world.prod.log().contains("Accepted"), "the key was shown to nobody else");
    fs::write(&file, good).unwrap();
    world.site.apply();
    assert_eq!(ran(go(), 0), "in\n");
}

#[test]
fn outside_of_sshd_it_does_nothing() {
    let home = tempfile::tempdir().unwrap();
    let said = Program::new("jit-ssh").env("JIT_SSH_HOME", home.path()).args(["bastion"]).run();
    assert!(said.ended(USAGE).err.contains("ForceCommand jit-ssh bastion"));
}
