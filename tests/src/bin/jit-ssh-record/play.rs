//! The play: alice wants in, bob approves, and plain `ssh` connects.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use jit_ssh_tests::recording::{Cast, Studio};
use jit_ssh_tests::town::Account;
use jit_ssh_tests::{Persona, Program, Site, Sshd};

/// The host that alice wants into.
pub(crate) const HOST: &str = "prod-host";
const LOGIN: &str = "deploy";
/// The longest line has this many where each span in it is at its longest: none may wrap by chance.
const COLUMNS: usize = 104;

const POLICY: &str = r#"
[[allow]]
name = "sre-prod"
who = ["group:sre"]
hosts = ["label:env=prod"]
logins = ["deploy"]
max_for = "30m"
cert_for = "5m"
reason = { min = 10, pattern = "INC-[0-9]+" }
approvals = [{ from = ["group:sre-leads"], count = 1 }]
permit = ["pty"]
"#;

/// Plays it, with people who take their time where whoever looks is to follow.
pub(crate) fn play(in_peace: bool) -> Cast {
    let mut site = Site::initialised();
    // sshd reads the principals as the account that is logged in to.
    fs::set_permissions(site.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let [alice, bob] = [("alice", 1), ("bob", 2)]
        .map(|(name, number)| Persona::with_account(Account::new(name, number)));
    Account::new(LOGIN, 3).writes(
        ".bash_profile",
        &format!("set +o emacs\nPS1='{}'\n", prompt("deploy@prod-host:~$")),
    );
    let host = host(&mut site, &alice, &bob);

    let mut studio = Studio::new(COLUMNS, in_peace);
    let hers = studio.add("alice", shell(&alice), 20);
    let his = studio.add("bob, who leads the team", shell(&bob), 25);
    studio.ends_with(hers, "alice$");
    studio.ends_with(his, "bob$");
    studio.types(his, "jit-ssh watch --to-decide");
    studio.ends_with(his, "Ctrl-C.");
    studio.rests(Duration::from_millis(900));

    studio.types(hers, &format!("ssh {HOST}"));
    studio.sees(hers, "Why do you need it?");
    studio.rests(Duration::from_millis(700));
    studio.types(hers, "INC-42 disk full");
    studio.sees(hers, "For how long");
    studio.rests(Duration::from_millis(500));
    studio.types(hers, "10m");
    studio.sees(hers, "told: bob");
    studio.sees(his, " --because TEXT");
    studio.marks("asked");
    studio.rests(Duration::from_secs(2));

    let id = id_in(&studio.shows(his));
    studio.interrupts(his);
    studio.ends_with(his, "bob$");
    studio.types(his, &format!("jit-ssh approve {id}"));
    studio.ends_with(his, "[y/N]");
    studio.marks("shown to whoever approves");
    studio.rests(Duration::from_secs(3));
    studio.types(his, "y");
    studio.ends_with(his, "bob$");
    studio.ends_with(hers, "deploy@prod-host:~$");
    studio.marks("in");
    studio.rests(Duration::from_millis(1500));
    studio.types(hers, "hostname");
    studio.sees(hers, "\nprod-host\n");
    studio.rests(Duration::from_secs(1));
    studio.types(hers, "exit");
    studio.ends_with(hers, "alice$");
    studio.rests(Duration::from_millis(700));
    studio.types(hers, "jit-ssh status");
    studio.ends_with(hers, "alice$");
    studio.marks("over");
    drop(host);
    studio.ends()
}

/// The id of the request that somebody is told to decide.
fn id_in(shown: &str) -> String {
    let (_, rest) = shown.rsplit_once("jit-ssh approve ").unwrap();
    rest.chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// The CA with its people and the host, which alice's ssh knows.
fn host(site: &mut Site, alice: &Persona, bob: &Persona) -> Sshd {
    let mut sshd = Sshd::new(site.path(), HOST);
    sshd.configure("PrintMotd no\nPrintLastLog no");
    site.write_people(&[(alice, &["sre"]), (bob, &["sre-leads"])]);
    let hosts = sshd.listed_for(LOGIN, "prod", "");
    fs::write(site.config().join("hosts.toml"), hosts).unwrap();
    site.write_policy(POLICY);
    site.serve();
    site.apply();
    sshd.setup(&site.url, &[]).fine();
    for persona in [alice, bob] {
        persona.enroll(&site.url);
    }
    alice.jit(&["ssh-config", "--install", "--yes"]).run().fine();
    sshd
}

/// A shell on a terminal that is its own, with nothing but its prompt.
fn shell(persona: &Persona) -> Program {
    let bash = ["--ctty", "bash", "--norc", "--noprofile", "--noediting", "-i"];
    let prompt = prompt(&format!("{}$", persona.id));
    persona.program("setsid").args(bash).env("PS1", prompt).env("SHELL", "/bin/bash")
}

/// A prompt in a colour, so that what is typed stands out.
fn prompt(text: &str) -> String {
    format!("\u{1b}[36m{text}\u{1b}[0m ")
}
