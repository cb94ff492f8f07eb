//! A real ssh-agent with a folder of its own, and what ssh-keygen makes, for tests.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ssh_key::{Algorithm, Certificate, LineEnding, PrivateKey};
use tempfile::TempDir;

use super::Agent;

/// A folder with an ssh-agent that ends with it.
pub(crate) struct TestAgent {
    /// For the test's files.
    pub(crate) dir: TempDir,
    process: Child,
}

impl TestAgent {
    pub(crate) fn start() -> TestAgent {
        let dir = tempfile::tempdir().unwrap();
        let process = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(dir.path().join("agent"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let agent = TestAgent { dir, process };
        let deadline = Instant::now() + Duration::from_secs(10);
        while Agent::at(&agent.socket()).is_err() {
            assert!(Instant::now() < deadline, "ssh-agent does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        agent
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("agent")
    }

    pub(crate) fn connect(&self) -> Agent {
        Agent::at(&self.socket()).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a program in the folder, with this agent.
    pub(crate) fn run(&self, program: &str, args: &[&str]) {
        let run = Command::new(program)
            .args(args)
            .current_dir(self.dir.path())
            .env("SSH_AUTH_SOCK", self.socket())
            .output()
            .unwrap();
        assert!(
            run.status.success(),
            "{program} {args:?}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
    }

    /// A fresh key in the file `name`, with its public half beside it.
    pub(crate) fn key(&self, name: &str, algorithm: Algorithm) -> PrivateKey {
        let key = PrivateKey::random(&mut rand::rng(), algorithm).unwrap();
        key.write_openssh_file(self.path(name), LineEnding::LF).unwrap();
        let public = key.public_key().to_openssh().unwrap();
        std::fs::write(self.path(&format!("{name}.pub")), format!("{public}\n")).unwrap();
        key
    }

    /// Has ssh-keygen certify the key `name` by the key `ca`.
    pub(crate) fn certify(&self, name: &str, options: &[&str]) -> Certificate {
        if !self.path("ca").exists() {
            self.key("ca", Algorithm::Ed25519);
        }
        let public = format!("{name}.pub");
        self.run("ssh-keygen", &[&["-q", "-s", "ca"], options, &[public.as_str()]].concat());
        Certificate::read_file(Path::new(&self.path(&format!("{name}-cert.pub")))).unwrap()
    }
}

impl Drop for TestAgent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
