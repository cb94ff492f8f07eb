//! A real ssh-agent with a folder of its own, what ssh-keygen makes, and an agent that lies, for
//! tests of this crate and of those above it.
#![allow(clippy::unwrap_used, reason = "a test that can not set up its world must stop")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ssh_key::{Algorithm, Certificate, LineEnding, PrivateKey};
use tempfile::TempDir;

use crate::agent::Agent;

/// A folder with an ssh-agent that ends with it.
pub struct TestAgent {
    dir: TempDir,
    process: Child,
}

impl TestAgent {
    /// An agent that holds nothing.
    pub fn start() -> TestAgent {
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

    /// An agent with another's key, and with a certificate of another's that never ends.
    pub fn with_foreign() -> TestAgent {
        let agent = TestAgent::start();
        agent.key("foreign", Algorithm::Ed25519);
        let certificate = agent.certify("foreign", &["-I", "forever", "-n", "root"]);
        assert_eq!(certificate.valid_before(), u64::MAX);
        agent.run("ssh-add", &["-q", "foreign"]);
        agent
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.path("agent")
    }

    /// A new connection to it.
    pub fn connect(&self) -> Agent {
        Agent::at(&self.socket()).unwrap()
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a program in the folder, with this agent.
    pub fn run(&self, program: &str, args: &[&str]) {
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
    pub fn key(&self, name: &str, algorithm: Algorithm) -> PrivateKey {
        let key = PrivateKey::random(&mut rand::rng(), algorithm).unwrap();
        self.put(name, &key);
        key
    }

    /// Puts a key into the file `name`, and its public half beside it.
    pub fn put(&self, name: &str, key: &PrivateKey) {
        key.write_openssh_file(self.path(name), LineEnding::LF).unwrap();
        let public = key.public_key().to_openssh().unwrap();
        std::fs::write(self.path(&format!("{name}.pub")), format!("{public}\n")).unwrap();
    }

    /// Has ssh-keygen certify the key `name` by the key `ca`.
    pub fn certify(&self, name: &str, options: &[&str]) -> Certificate {
        if !self.path("ca").exists() {
            self.key("ca", Algorithm::Ed25519);
        }
        let public = format!("{name}.pub");
        self.run("ssh-keygen", &[&["-q", "-s", "ca"], options, &[public.as_str()]].concat());
        Certificate::read_file(&self.path(&format!("{name}-cert.pub"))).unwrap()
    }
}

impl Drop for TestAgent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An agent that gives the answers it was told to, one a message, and then hangs up.
pub struct FakeAgent {
    /// The connection to it.
    pub agent: Agent,
    serve: JoinHandle<Vec<u8>>,
    /// Where its socket is.
    _dir: TempDir,
}

impl FakeAgent {
    /// An agent with these answers, framed or not.
    pub fn answering(answers: Vec<Vec<u8>>) -> FakeAgent {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent");
        let listener = UnixListener::bind(&socket).unwrap();
        let serve = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            for answer in answers {
                let mut len = [0; 4];
                stream.read_exact(&mut len).unwrap();
                let mut message = vec![0; u32::from_be_bytes(len) as usize];
                stream.read_exact(&mut message).unwrap();
                asked.push(message.first().copied().unwrap_or_default());
                stream.write_all(&answer).unwrap();
            }
            asked
        });
        FakeAgent { agent: Agent::at(&socket).unwrap(), serve, _dir: dir }
    }

    /// Hangs up; gives the kinds of the messages it got.
    pub fn asked(self) -> Vec<u8> {
        drop(self.agent);
        self.serve.join().unwrap()
    }
}

/// A message behind its length.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}
