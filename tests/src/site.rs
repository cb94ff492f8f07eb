//! A folder with a CA in it.

use std::fs;
use std::path::{Path, PathBuf};

use jit_ssh_core::root::Root;
use tempfile::TempDir;

use crate::network::Machine;
use crate::program::{Program, Running, Said, free_port, make_key, wait_until};
use crate::sshd::me;
use crate::{Persona, Sshd};

/// One approval by a lead on production, with certificates of 20 seconds; anybody of `sre` alone on
/// `test-*`. `LOGIN` stands for the user who runs the tests.
pub const POLICY: &str = r#"
[[allow]]
name = "prod"
who = ["group:sre"]
hosts = ["label:env=prod"]
logins = ["LOGIN"]
max_for = "30m"
cert_for = "5m"
reason = { min = 5, pattern = "INC-[0-9]+", hint = "name the incident" }
approvals = [{ from = ["group:leads"], count = 1 }]
permit = ["pty"]

[[allow]]
name = "test-auto"
who = ["group:sre"]
hosts = ["test-*"]
logins = ["LOGIN"]
max_for = "1h"
cert_for = "10m"
auto = {}
permit = ["pty", "port-forwarding"]
"#;

/// What came of a call over HTTPS.
#[derive(Debug)]
pub struct Fetched {
    /// The HTTP status.
    pub code: u16,
    /// All headers, with the trailers.
    pub headers: String,
    /// The body.
    pub body: Vec<u8>,
}

/// A folder with a CA in it, from `init` to `apply`, and its front.
pub struct Site {
    dir: TempDir,
    /// The enroll URL.
    pub url: String,
    /// What `init` said.
    pub init: Said,
    /// The front, while it runs.
    pub front: Option<Running>,
    port: u16,
    machine: Option<Machine>,
}

impl Site {
    /// A CA after `init`, with nothing running.
    pub fn initialised() -> Site {
        Site::initialised_with(|_| Vec::new())
    }

    /// The same with more arguments for `init`, made in the site's folder.
    pub fn initialised_with(more: impl FnOnce(&Path) -> Vec<String>) -> Site {
        Site::make(None, more)
    }

    /// A CA on a machine of its own, after `init`, with nothing running.
    pub fn initialised_on(machine: &Machine) -> Site {
        Site::make(Some(machine.clone()), |_| Vec::new())
    }

    fn make(machine: Option<Machine>, more: impl FnOnce(&Path) -> Vec<String>) -> Site {
        // A short path: the sockets of ssh-agent may have at most 107 characters.
        let dir = tempfile::Builder::new().prefix("jit").tempdir().unwrap();
        let key = dir.path().join("admin");
        make_key(&key, "admin");
        let (address, port) = match &machine {
            Some(machine) => (machine.address.as_str(), 7443),
            None => ("127.0.0.1", free_port()),
        };
        let listen = format!("{address}:{port}");
        let init = ["init", "--config", "ca-config", "--state", "state", "--listen", &listen];
        let said = Program::new("jit-ssh-ca")
            .dir(dir.path())
            .args(init)
            .args(["--admin", "admin.pub"])
            .args(more(dir.path()))
            .run()
            .fine();
        let url = said.out.lines().last().unwrap().to_owned();
        Site { dir, url, init: said, front: None, port, machine }
    }

    /// A running CA with alice (sre), bob (sre, leads), the hosts prod-host, other-host and
    /// test-host, and this policy.
    pub fn running(policy: &str) -> (Site, Persona, Persona) {
        Site::running_with(policy, |_| ())
    }

    /// The same after a change of ca.toml.
    pub fn running_with(policy: &str, configure: impl FnOnce(&Site)) -> (Site, Persona, Persona) {
        let mut site = Site::initialised();
        configure(&site);
        let (alice, bob) = site.start(policy);
        (site, alice, bob)
    }

    /// Brings up a CA after `init`: alice (sre) and bob (sre, leads) enrol.
    pub fn start(&mut self, policy: &str) -> (Persona, Persona) {
        let (alice, bob) = self.populate(policy);
        self.serve();
        self.apply();
        for persona in [&alice, &bob] {
            persona.enroll(&self.url);
        }
        (alice, bob)
    }

    /// Writes people, hosts and policy.
    pub fn populate(&self, policy: &str) -> (Persona, Persona) {
        let (alice, bob) = (Persona::new(self.path(), "alice"), Persona::new(self.path(), "bob"));
        self.write_people(&[(&alice, &["sre"]), (&bob, &["sre", "leads"])]);
        self.write_hosts();
        self.write_policy(policy);
        (alice, bob)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration's folder.
    pub fn config(&self) -> PathBuf {
        self.path().join("ca-config")
    }

    /// The state's folder.
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The port the front listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Writes people.toml.
    pub fn write_people(&self, people: &[(&Persona, &[&str])]) {
        let block = |(persona, groups): &(&Persona, &[&str])| {
            format!(
                "[[person]]\nid = \"{id}\"\nname = \"{id}\"\nkeys = [\"{key}\"]\ngroups = {groups:?}\n",
                id = persona.id,
                key = persona.public_key()
            )
        };
        let text: String = people.iter().map(block).collect();
        fs::write(self.config().join("people.toml"), text).unwrap();
    }

    /// Adds a machine to people.toml, in a group of its kind.
    pub fn add_machine(&self, machine: &Persona, group: &str) {
        let path = self.config().join("people.toml");
        let people = fs::read_to_string(&path).unwrap();
        let (id, key) = (&machine.id, machine.public_key());
        let block =
            format!("[[machine]]\nid = \"{id}\"\nkeys = [\"{key}\"]\ngroups = [\"{group}\"]\n");
        fs::write(path, people + &block).unwrap();
    }

    /// Writes hosts.toml.
    pub fn write_hosts(&self) {
        let host = |name: &str, env: &str| {
            let login = me();
            format!(
                "[[host]]\nname = \"{name}\"\nlabels = {{ env = \"{env}\" }}\nlogins = [\"{login}\"]\n"
            )
        };
        let text =
            [host("prod-host", "prod"), host("other-host", "prod"), host("test-host", "test")];
        fs::write(self.config().join("hosts.toml"), text.concat()).unwrap();
    }

    /// Writes policy.toml.
    pub fn write_policy(&self, policy: &str) {
        fs::write(self.config().join("policy.toml"), policy.replace("LOGIN", &me())).unwrap();
    }

    /// Adds lines to ca.toml.
    pub fn add_to_ca_toml(&self, text: &str) {
        let path = self.config().join("ca.toml");
        let old = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{old}\n{text}\n")).unwrap();
    }

    /// Sets a key of ca.toml that belongs to no table.
    pub fn set_in_ca_toml(&self, line: &str) {
        let path = self.config().join("ca.toml");
        let old = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{line}\n{old}")).unwrap();
    }

    /// `jit-ssh-ca` with these arguments, in the site's folder.
    pub fn ca(&self, args: &[&str]) -> Program {
        self.program("jit-ssh-ca").dir(self.path()).args(args)
    }

    /// A program on the CA's machine.
    fn program(&self, name: &str) -> Program {
        match &self.machine {
            Some(machine) => machine.program(name),
            None => Program::new(name),
        }
    }

    /// Starts the front and waits until it serves.
    pub fn serve(&mut self) {
        let binary = crate::program::binaries().join("jit-ssh-ca");
        self.serve_by(&format!("'{}' serve --config ca-config", binary.display()));
    }

    /// The same by another command, as a shell reads it.
    pub fn serve_by(&mut self, command: &str) {
        let out = self.path().join("serve.out");
        let _ = fs::remove_file(&out);
        let script = format!("exec {command} >serve.out 2>>serve.log");
        let mut front = self.program("sh").dir(self.path()).args(["-c", &script]).start();
        wait_until("the front", || {
            assert!(front.is_running(), "the front ended: {}", self.serve_log());
            fs::read_to_string(&out).unwrap_or_default().contains("serving on")
        });
        self.front = Some(front);
    }

    /// What the front and the signer logged.
    pub fn serve_log(&self) -> String {
        fs::read_to_string(self.path().join("serve.log")).unwrap_or_default()
    }

    /// Signs and applies what lies in ca-config.
    pub fn apply(&self) -> Said {
        let said = self.ca(&["apply", "--config", "ca-config", "--identity", "admin", "--yes"]);
        said.run().fine()
    }

    /// Ends the front as an operator does, and waits.
    pub fn stop(&mut self) -> Said {
        let front = self.front.take().unwrap();
        Program::new("kill").args(["-TERM", &front.pid().to_string()]).run().fine();
        front.wait()
    }

    /// Ends the front and with it the signer, with no warning.
    pub fn kill(&mut self) {
        self.front.take().unwrap().kill();
    }

    /// The process id of the signer that the front started.
    pub fn signer_pid(&self) -> Option<u32> {
        let front = self.front.as_ref()?.pid();
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok());
        let is_signer = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // pid (name) state parent ...; the kernel cuts names at 15 characters.
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
            stat.contains("(jit-ssh-signer)") && parent == Some(&front.to_string())
        };
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_signer)
    }

    /// A GET, or with more arguments another call, by curl that trusts the TLS anchor alone.
    pub fn curl(&self, path: &str, more: &[&str]) -> Fetched {
        let root = Root::parse(&fs::read(self.state().join("root.json")).unwrap()).unwrap();
        let folder = tempfile::tempdir_in(self.path()).unwrap();
        let [anchor, headers, body] =
            ["anchor", "headers", "body"].map(|name| folder.path().join(name));
        fs::write(&anchor, root.tls_anchor()).unwrap();
        let said = Program::new("curl")
            .args(["-sS", "--path-as-is", "--max-time", "30", "-w", "%{http_code}", "--cacert"])
            .args([&anchor])
            .args(["-D"])
            .args([&headers])
            .args(["-o"])
            .args([&body])
            .args(more)
            .args([format!("https://127.0.0.1:{}{path}", self.port)])
            .run()
            .fine();
        Fetched {
            code: said.out.parse().unwrap(),
            headers: fs::read_to_string(headers).unwrap(),
            body: fs::read(body).unwrap_or_default(),
        }
    }

    /// `log verify`, which must find nothing wrong; gives its summary.
    pub fn verify_log(&self) -> String {
        self.ca(&["log", "verify", "--config", "ca-config"]).run().fine().out
    }

    /// A host that trusts this CA.
    pub fn host(&self, name: &str) -> Sshd {
        let sshd = Sshd::new(self.path(), name);
        sshd.setup(&self.url, &[]).fine();
        sshd
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(front) = self.front.take() {
            front.kill();
        }
    }
}
