//! Somebody with keys, an ssh-agent and a home of their own.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::network::Machine;
use crate::program::{Program, Running, Said, wait_until};
use crate::town::Account;

/// What a person types who wants production for two minutes.
pub const ASK: [&str; 6] = ["login", "prod-host", "--because", "INC-42 disk full", "--for", "2m"];

/// Somebody with keys, an ssh-agent and a home of their own.
pub struct Persona {
    /// The id in the bundle.
    pub id: String,
    /// Their folder, which is their `JIT_SSH_HOME` too.
    pub home: PathBuf,
    /// Where their programs run, if not here.
    pub machine: Option<Machine>,
    /// The account they have, if not that of whoever runs the tests.
    account: Option<Account>,
    agent: Option<Running>,
}

impl Persona {
    /// Makes an Ed25519 key and an agent that holds it.
    pub fn new(site: &Path, id: &str) -> Persona {
        Persona::with_key_type(site, id, "ed25519")
    }

    /// The same with a key of another type, as `ssh-keygen -t` names it.
    pub fn with_key_type(site: &Path, id: &str, kind: &str) -> Persona {
        let home = site.join(id);
        fs::create_dir(&home).unwrap();
        let file = home.join("id");
        let make = ["-q", "-t", kind, "-N", "", "-C", id, "-f"];
        Program::new("ssh-keygen").args(make).args([&file]).run().fine();
        let mut persona =
            Persona { id: id.to_owned(), home, machine: None, account: None, agent: None };
        persona.start_agent(&[]);
        persona.program("ssh-add").args(["-q"]).args([&file]).run().fine();
        persona
    }

    /// Makes a key and an agent for somebody with an account and a home of their own, in which
    /// everything of theirs lies where it lies on a real machine.
    pub fn with_account(account: Account) -> Persona {
        let (id, home) = (account.name.clone(), account.home());
        let mut persona = Persona { id, home, machine: None, account: Some(account), agent: None };
        let (id, file) = (persona.id.clone(), persona.key_file());
        let make = ["-q", "-t", "ed25519", "-N", "", "-C", &id, "-f"];
        persona.program("ssh-keygen").args(make).args([&file]).run().fine();
        persona.start_agent(&[]);
        persona.program("ssh-add").args(["-q"]).args([&file]).run().fine();
        persona
    }

    /// Makes a key on the security key behind `provider`, with more options of `ssh-keygen -O`, and an
    /// agent that holds it and may use that provider. Where the file `untouched` is in the person's
    /// folder, nobody touches the key.
    pub fn with_security_key(site: &Path, id: &str, provider: &Path, options: &[&str]) -> Persona {
        let home = site.join(id);
        fs::create_dir(&home).unwrap();
        let file = home.join("id");
        let make = ["-q", "-t", "ecdsa-sk", "-N", "", "-C", id, "-w"];
        let options = options.iter().flat_map(|option| ["-O", option]);
        let make = Program::new("ssh-keygen").args(make).args([provider]).args(options);
        make.args(["-f"]).args([&file]).run().fine();
        let mut persona =
            Persona { id: id.to_owned(), home, machine: None, account: None, agent: None };
        persona.start_agent(&["-P", &provider.display().to_string()]);
        let add = persona.program("ssh-add").args(["-q", "-S"]).args([provider]);
        add.args([&file]).run().fine();
        persona
    }

    fn start_agent(&mut self, options: &[&str]) {
        let socket = self.socket();
        let agent = self.program("ssh-agent").args(options).args(["-D", "-a"]).args([&socket]);
        let agent = agent.env("JIT_SSH_TEST_UNTOUCHED", self.home.join("untouched")).start();
        // Its file is there a moment before anybody listens on it.
        wait_until("ssh-agent", || UnixStream::connect(&socket).is_ok());
        self.agent = Some(agent);
    }

    /// The agent's socket.
    pub fn socket(&self) -> PathBuf {
        self.home.join("agent")
    }

    /// The private key's file.
    pub fn key_file(&self) -> PathBuf {
        self.home.join("id")
    }

    /// The public key's line.
    pub fn public_key(&self) -> String {
        fs::read_to_string(self.home.join("id.pub")).unwrap().trim().to_owned()
    }

    /// A program in this person's surroundings.
    pub fn program(&self, name: &str) -> Program {
        let program = match (&self.machine, &self.account) {
            (Some(machine), _) => machine.program(name).env("JIT_SSH_HOME", &self.home),
            (None, Some(account)) => account.program(name),
            (None, None) => Program::new(name).env("JIT_SSH_HOME", &self.home),
        };
        program.env("SSH_AUTH_SOCK", self.socket())
    }

    /// `jit-ssh` with these arguments.
    pub fn jit(&self, args: &[&str]) -> Program {
        self.program("jit-ssh").args(args)
    }

    /// Enrols with the key in the agent.
    pub fn enroll(&self, url: &str) -> Said {
        self.jit(&["enroll", url, "--as", &self.id]).run().fine()
    }

    /// Asks for prod-host ([`ASK`]) with more arguments, and does not wait; the request's id.
    pub fn ask(&self, more: &[&str]) -> String {
        const PENDING: i32 = 3;
        let asked = self.jit(&ASK).args(["--no-wait", "--json"]).args(more);
        asked.run().ended(PENDING).text("id")
    }

    /// The same, approved by `approver`, and with the certificate taken.
    pub fn granted_by(&self, approver: &Persona) -> String {
        let id = self.ask(&[]);
        approver.jit(&["approve", &id, "--yes"]).run().fine();
        self.jit(&["watch", &id]).run().fine();
        id
    }

    /// What the agent holds, one line an identity.
    pub fn agent_holds(&self) -> Vec<String> {
        let said = self.program("ssh-add").args(["-L"]).run();
        said.out.lines().filter(|line| line.contains(' ')).map(str::to_owned).collect()
    }

    /// The certificates the agent holds.
    pub fn certificates(&self) -> Vec<String> {
        self.agent_holds().into_iter().filter(|line| line.contains("-cert-v01@")).collect()
    }

    /// Runs a command on a host by ssh, with the agent alone.
    pub fn ssh(&self, host: &crate::Sshd, command: &str) -> Said {
        self.program("ssh").args(host.client_options()).args([host.name(), command]).run()
    }
}

impl Drop for Persona {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.kill();
        }
    }
}
