//! CI jobs with a real sshd: a machine asks for one command by rules of its own, and the certificate runs that and
//! nothing else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use jit_ssh_tests::program::{Running, binaries, wait_until};
use jit_ssh_tests::{Persona, Program, Said, Site, Sshd, me};

const USAGE: i32 = 2;
const DENIED: i32 = 4;
const REFUSED: i32 = 6;

/// The machine may deploy to test by itself, and to prod when a lead says so; backups only on a day that is not today.
const RULES: &str = r#"
[[allow]]
name = "deploy-test"
who = ["machine:deploy-bot"]
hosts = ["test-*"]
logins = ["LOGIN"]
commands = ["echo deployed * by $0", "exit 7"]
max_for = "15m"
cert_for = "5m"
auto = {}

[[allow]]
name = "deploy-prod"
who = ["machine:deploy-bot"]
hosts = ["label:env=prod"]
logins = ["LOGIN"]
commands = ["echo deployed * by $0"]
max_for = "15m"
cert_for = "5m"
reason = { pattern = "build [0-9]+", hint = "give the number of the build" }
approvals = [{ from = ["group:leads"], count = 1 }]

[[allow]]
name = "backups"
who = ["machine:deploy-bot"]
hosts = ["test-*"]
logins = ["LOGIN"]
commands = ["backup"]
max_for = "15m"
cert_for = "5m"
auto = { hours = "DAY 00:00-24:00 UTC" }

[[allow]]
name = "people"
who = ["group:sre"]
hosts = ["test-*"]
logins = ["LOGIN"]
max_for = "15m"
cert_for = "5m"
auto = {}
permit = ["pty", "port-forwarding"]
"#;

struct World {
    site: Site,
    alice: Persona,
    bob: Persona,
    bot: Persona,
    test: Sshd,
    _prod: Sshd,
}

impl World {
    fn new() -> World {
        let mut site = Site::initialised();
        let [mut test, mut prod] =
            ["test-host", "prod-host"].map(|name| Sshd::new(site.path(), name));
        for sshd in [&mut test, &mut prod] {
            sshd.configure("Subsystem sftp internal-sftp");
        }
        // In three days: not today, whichever side of midnight this runs on.
        let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let today = Program::new("date").args(["-u", "+%u"]).run().fine().out;
        let other = days[(today.trim().parse::<usize>().unwrap() + 2) % 7];
        let (alice, bob) = site.populate(&RULES.replace("DAY", other));
        let bot = Persona::new(site.path(), "deploy-bot");
        site.add_machine(&bot, "ci");
        let hosts = [test.listed("test", ""), prod.listed("prod", "")];
        fs::write(site.config().join("hosts.toml"), hosts.concat()).unwrap();
        site.serve();
        site.apply();
        for persona in [&alice, &bob] {
            persona.enroll(&site.url);
        }
        for sshd in [&test, &prod] {
            sshd.setup(&site.url, &[]).fine();
        }
        World { site, alice, bob, bot, test, _prod: prod }
    }

    /// jit-ssh of a job: no ssh-agent, and a home that holds nothing but what it enrolled with.
    fn job(&self, args: &[&str]) -> Program {
        Program::new("jit-ssh").env("JIT_SSH_HOME", self.bot.home.join("job")).args(args)
    }

    fn enrolled(&self) {
        let key = self.bot.key_file();
        let enroll = ["enroll", &self.site.url, "--as", "deploy-bot", "--identity"];
        self.job(&enroll).args([key]).run().fine();
    }

    fn login(&self, host: &str, more: &[&str]) -> Said {
        let login = ["login", host, "--machine", "deploy-bot", "--because", "build 42", "--json"];
        self.job(&login).args(more).run()
    }

    /// ssh by the files of the job's certificate for test-host.
    fn ssh(&self, program: &str, options: &[&str]) -> Program {
        let folder = self.bot.home.join("job/run/hosts");
        let key = format!("IdentityFile={}", folder.join("test-host").display());
        let certificate =
            format!("CertificateFile={}", folder.join("test-host-cert.pub").display());
        // The first of two counts, and IdentityFile adds up.
        let way = self.test.client_options();
        Program::new(program).args(way).args(["-o", &key, "-o", &certificate]).args(options)
    }

    fn pipeline(&self, host: &str, command: &str) -> Running {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/pipeline.sh");
        let path = format!("{}:{}", binaries().display(), std::env::var("PATH").unwrap());
        let temporary = self.bot.home.join("tmp");
        fs::create_dir_all(&temporary).unwrap();
        Program::new(script)
            .args([host, me().as_str(), command, "build 42"])
            .env("PATH", path)
            .env("TMPDIR", &temporary)
            .env("CA_URL", &self.site.url)
            .env("MACHINE", "deploy-bot")
            .env("MACHINE_KEY", self.bot.key_file())
            .start()
    }

    fn to_decide(&self) -> String {
        let mut id = String::new();
        wait_until("a request to decide", || {
            let rows = self.bob.jit(&["requests", "--to-decide", "--json"]).run().fine().json();
            id = rows.first().map(|row| row["id"].as_str().unwrap().to_owned()).unwrap_or_default();
            !id.is_empty()
        });
        id
    }

    fn shown(&self, id: &str) -> serde_json::Value {
        self.bob.jit(&["show", id, "--json"]).run().fine().json().pop().unwrap()
    }
}

#[test]
fn a_pipeline_asks_for_one_command_waits_runs_it_and_leaves_nothing_behind() {
    let world = World::new();
    let running = world.pipeline("prod-host", "echo deployed v1.2 by $0");
    let id = world.to_decide();
    let row = world.shown(&id);
    assert_eq!(
        (&row["by"], &row["command"]),
        (&"deploy-bot".into(), &"echo deployed v1.2 by $0".into())
    );
    world.bob.jit(&["approve", &id, "--yes"]).run().fine();
    let said = running.wait().fine();
    assert!(said.out.starts_with("deployed v1.2 by "), "{said:?}");
    assert_eq!(world.shown(&id)["status"], "released");

    // By itself where the rule lets it; its exit code is the command's.
    let said = world.pipeline("test-host", "exit 7").wait().ended(7);
    assert_eq!(said.out, "");
    // Denied, or refused: nothing runs.
    let running = world.pipeline("prod-host", "echo deployed v1.3 by $0");
    let id = world.to_decide();
    world.bob.jit(&["deny", &id, "--because", "freeze", "--yes"]).run().fine();
    let said = running.wait().ended(DENIED);
    assert!(said.out.is_empty() && said.err.contains("DENIED"), "{said:?}");
    let said = world.pipeline("test-host", "id").wait().ended(REFUSED);
    assert!(said.out.is_empty() && said.err.contains("POLICY_REFUSED"), "{said:?}");
    assert_eq!(fs::read_dir(world.bot.home.join("tmp")).unwrap().count(), 0);
    world.site.verify_log();
}

#[test]
fn a_command_grant_runs_that_command_whatever_is_asked_and_opens_nothing_else() {
    let world = World::new();
    world.enrolled();
    let said = world.login("test-host", &["--command", "echo deployed v1 by $0"]).fine();
    assert_eq!(said.text("loaded"), "file");
    let deployed = |said: Said| {
        let said = said.fine();
        assert!(
            said.out.starts_with("deployed v1 by ") && said.out.lines().count() == 1,
            "{said:?}"
        );
    };
    let mark = world.site.path().join("mark");
    let touch = format!("touch {}", mark.display());
    deployed(world.ssh("ssh", &["test-host"]).run());
    deployed(world.ssh("ssh", &["test-host", "echo deployed v1 by $0"]).run());
    deployed(world.ssh("ssh", &["test-host", &touch]).run());
    // Neither a shell nor a terminal.
    let terminal = world.ssh("ssh", &["-tt", "test-host"]).run();
    assert!(terminal.code != 0 && terminal.err.contains("PTY allocation request failed"));
    let input = world.site.path().join("input");
    fs::write(&input, format!("{touch}\n")).unwrap();
    deployed(world.ssh("ssh", &["-T", "test-host"]).stdin(&input).run());
    // Neither sftp nor scp.
    let source = world.site.path().join("source");
    fs::write(&source, "x").unwrap();
    fs::write(&input, format!("put {} {}\n", source.display(), mark.display())).unwrap();
    let sftp = world.ssh("sftp", &["-b", input.to_str().unwrap(), "test-host"]).run();
    assert!(sftp.code != 0, "{sftp:?}");
    let to = format!("test-host:{}", mark.display());
    for old in [&[][..], &["-O"]] {
        let copied = world.ssh("scp", &[old, &[source.to_str().unwrap(), &to]].concat()).run();
        assert!(copied.code != 0, "{copied:?}");
    }
    assert!(!mark.exists());
    // No forward, either way.
    let there = format!("127.0.0.1:{}", world.test.port());
    let through = world.ssh("ssh", &["-W", &there, "test-host"]).run();
    assert!(through.code != 0 && !through.out.contains("SSH-2.0"), "{through:?}");
    let back = ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "test-host"];
    assert!(world.ssh("ssh", &back).run().code != 0);

    // The controls: who may run anything, can do each of these.
    let login = ["login", "test-host", "--because", "look", "--no-agent"];
    world.alice.jit(&login).run().fine();
    let folder = world.alice.home.join("run/hosts");
    let key = format!("IdentityFile={}", folder.join("test-host").display());
    let certificate = format!("CertificateFile={}", folder.join("test-host-cert.pub").display());
    let way = world.test.client_options();
    let free = |program: &str, options: &[&str]| {
        let program = Program::new(program).args(&way).args(["-o", &key, "-o", &certificate]);
        program.args(options).run().fine()
    };
    free("ssh", &["test-host", &touch]);
    assert!(mark.exists());
    free("sftp", &["-b", input.to_str().unwrap(), "test-host"]);
    assert_eq!(fs::read(&mark).unwrap(), b"x");
    assert!(free("ssh", &["-W", &there, "test-host"]).out.contains("SSH-2.0"));
}

#[test]
fn a_machine_has_hours_hosts_and_commands_of_its_own() {
    let world = World::new();
    world.enrolled();
    let good = ["--command", "echo deployed v1 by $0"];
    for (host, more, code, told) in [
        (
            "test-host",
            &["--command", "echo deployed v1; id by $0"][..],
            REFUSED,
            "is for other commands",
        ),
        ("test-host", &["--command", "id"], REFUSED, "is for other commands"),
        ("test-host", &[], REFUSED, "single commands, and the request names none"),
        ("prod-host", &["--command", "exit 7"], REFUSED, "is for other commands"),
        ("test-host", &["--command", "backup"], REFUSED, "approves by itself only"),
        ("test-host", &[good[0], good[1], "--for", "1h"], REFUSED, "at most 15m"),
        ("test-host", &[good[0], good[1], "--permit", "pty,port-forwarding"], USAGE, "only pty"),
        ("test-host", &["--command", " "], USAGE, "--command"),
    ] {
        let said = world.login(host, more).ended(code);
        assert!(said.err.contains(told), "{host} {more:?}: {}", said.err);
    }
    let id = world.login("test-host", &good).fine().text("id");
    // The same again is at hand; another command, or none, is another request.
    assert_eq!(world.login("test-host", &good).fine().text("id"), id);
    let other = world.login("test-host", &["--command", "echo deployed v2 by $0"]).fine();
    assert_ne!(other.text("id"), id);
    // It never decides, and it is who it says.
    let ask = world.alice.jit(&["login", "test-host", "--machine", "deploy-bot", "--because", "x"]);
    let said = ask.run().ended(USAGE);
    assert!(said.err.contains("enrolled as alice, not as deploy-bot"), "{said:?}");
    let asked = world.login("prod-host", &[&good[..], &["--no-wait"]].concat()).ended(3);
    world.job(&["approve", &asked.text("id"), "--yes"]).run().ended(REFUSED);
    // A runner that is enrolled as several: the machine says as whom.
    let second = ["--ca", "people", "enroll", &world.site.url, "--as", "alice", "--identity"];
    world.job(&second).args([world.alice.key_file()]).run().fine();
    let again = world.login("test-host", &["--command", "echo deployed v2 by $0"]).fine();
    assert_eq!(again.text("id"), other.text("id"));
    let unsaid = world.job(&["login", "test-host", "--because", "x", "--no-agent"]).run();
    assert!(unsaid.ended(USAGE).err.contains("--ca"));
    // A person has commands of one's own too: nobody demands it of them.
    let asked = world.alice.jit(&[
        "login",
        "test-host",
        "--because",
        "x",
        "--command",
        "id -un",
        "--no-agent",
    ]);
    asked.run().fine();
    let shown = Program::new("ssh-keygen").args(["-L", "-f"]);
    let file = world.alice.home.join("run/hosts/test-host-cert.pub");
    let shown = shown.args([&file]).run().fine().out;
    assert!(shown.contains("force-command id -un") && !shown.contains("permit-"), "{shown}");
    let mode =
        fs::metadata(world.bot.home.join("job/run/hosts/test-host")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
