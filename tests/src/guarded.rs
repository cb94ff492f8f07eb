//! A host with a guard: sshd under PAM with our hook, a CA made by ssh-keygen, and an account of its
//! own. Only root can have one: [`GuardedHost::new`] says so and gives none to others.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::program::{Program, Running, free_port, is_root, listens, make_key, wait_until};

/// The host's name in principals.
pub const NAME: &str = "test-host";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Now, in Unix seconds and parts of them.
#[allow(clippy::disallowed_methods, reason = "what is tested happens by the real clock")]
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// A host with a guard.
pub struct GuardedHost {
    dir: TempDir,
    /// The account that is not root's.
    pub user: String,
    service: String,
    /// The port that its clients use.
    pub port: u16,
    sshd: Option<Running>,
    /// The guard, while it runs.
    pub guard: Option<Running>,
    serial: AtomicU32,
}

/// A certificate, or another way in.
#[derive(Debug, Clone)]
pub struct Way {
    /// The private key's file.
    pub key: PathBuf,
    /// The certificate's file; none where the bare key is let in.
    pub certificate: Option<PathBuf>,
    /// The certificate's serial.
    pub serial: u32,
}

/// What a certificate of the tests says.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The key id.
    pub key_id: String,
    /// The principals.
    pub principals: Vec<String>,
    /// When it ends, from now.
    pub valid: &'a str,
    /// More options of ssh-keygen.
    pub more: Vec<&'a str>,
    /// The CA's private key in the host's folder.
    pub ca: &'a str,
}

impl GuardedHost {
    /// A host with hook, sshd and a guard that runs; nothing where this is not root.
    pub fn new(mode: &str) -> Option<GuardedHost> {
        let host = GuardedHost::without_guard(mode)?;
        Some(host.with_guard())
    }

    /// The same without a guard that runs.
    pub fn without_guard(mode: &str) -> Option<GuardedHost> {
        GuardedHost::with_pam(mode, &hook_line)
    }

    /// The same with other session lines in PAM's file; they are told the host's folder.
    pub fn with_pam(mode: &str, session: &dyn Fn(&str) -> String) -> Option<GuardedHost> {
        if !is_root() {
            eprintln!("skipped: only root can start sshd under PAM and make accounts");
            return None;
        }
        // Sockets have short names, and all users must reach the principals: not under the target.
        let dir = TempDir::with_prefix_in("jit-ssh-test-", "/run").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let user = format!("jit{}x{number}", std::process::id());
        let home = dir.path().join("home");
        Program::new("useradd")
            .args(["--create-home", "--shell", "/bin/bash", "--home-dir"])
            .args([&home])
            .args([&user])
            .run()
            .fine();
        let service = format!("jit-ssh-test-{user}");
        let pam = format!(
            "auth required pam_deny.so\naccount required pam_permit.so\n{}session required pam_permit.so\n",
            session(&dir.path().display().to_string())
        );
        fs::write(format!("/etc/pam.d/{service}"), pam).unwrap();
        let mut host = GuardedHost {
            dir,
            user,
            service,
            port: free_port(),
            sshd: None,
            guard: None,
            serial: AtomicU32::new(1),
        };
        host.lay_out(mode);
        host.start_sshd();
        Some(host)
    }

    fn lay_out(&mut self, mode: &str) {
        let own = self.path("etc/jit-ssh");
        fs::create_dir_all(own.join("principals")).unwrap();
        for key in ["ca", "other_ca", "offline_ca", "host_key", "plain"] {
            make_key(&self.path(key), key);
        }
        let public = |key: &str| fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        fs::write(own.join("user_ca.pub"), public("ca") + &public("offline_ca")).unwrap();
        for login in ["root", &self.user] {
            fs::write(own.join("principals").join(login), format!("{login}@{NAME}\n")).unwrap();
        }
        let keys = format!(
            "{}cert-authority,principals=\"other\" {}",
            public("plain"),
            public("other_ca")
        );
        fs::write(self.path("authorized_keys"), keys).unwrap();
        self.revoke(&[]);
        self.set_up(mode);
        fs::create_dir_all("/run/sshd").unwrap();
        let sshd = Program::path("sshd");
        symlink(fs::canonicalize(sshd).unwrap(), self.path(&self.service)).unwrap();
    }

    /// Writes how the host was set up: `required`, `optional`, `off`; or any other text, as it is.
    pub fn set_up(&self, mode: &str) {
        let offline = fs::read_to_string(self.path("offline_ca.pub")).unwrap();
        let offline: Vec<&str> = offline.split(' ').take(2).collect();
        let text = format!(
            "v = 1\nca = \"https://127.0.0.1:1#SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0\"\n\
             name = \"{NAME}\"\nguard = \"{mode}\"\nsshd_config = \"/etc/ssh/sshd_config\"\n\
             pam = \"/etc/pam.d/{}\"\noffline_ca = \"{}\"\n",
            self.service,
            offline.join(" ")
        );
        fs::write(self.path("etc/jit-ssh/host.toml"), text).unwrap();
    }

    fn start_sshd(&mut self) {
        let dir = self.dir.path().display();
        let own_service = Program::new("ssh").args(["-V"]).run().err;
        // From 9.8 the PAM service has a keyword; before, it is the program's name.
        let version: Vec<u32> = own_service
            .trim_start_matches("OpenSSH_")
            .split(|c: char| !c.is_ascii_digit())
            .map_while(|number| number.parse().ok())
            .collect();
        let pam_name = match version.as_slice() >= &[9, 8][..] {
            true => format!("PAMServiceName {}\n", self.service),
            false => String::new(),
        };
        let config = format!(
            "ListenAddress 127.0.0.1:{}\nHostKey {dir}/host_key\nPidFile {dir}/sshd.pid\n\
             TrustedUserCAKeys {dir}/etc/jit-ssh/user_ca.pub\n\
             AuthorizedPrincipalsFile {dir}/etc/jit-ssh/principals/%u\n\
             RevokedKeys {dir}/etc/jit-ssh/revoked.krl\n\
             AuthorizedKeysFile {dir}/authorized_keys\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
             UsePAM yes\n{pam_name}StrictModes no\nLogLevel VERBOSE\nMaxStartups 200\nUseDNS no\n\
             PrintMotd no\nPrintLastLog no\nSubsystem sftp internal-sftp\n",
            self.port
        );
        fs::write(self.path("sshd_config"), config).unwrap();
        let program = self.path(&self.service).display().to_string();
        let sshd = Program::new(&program).args(["-D", "-f"]).args([self.path("sshd_config")]);
        self.sshd = Some(sshd.args(["-E"]).args([self.path("sshd.log")]).start());
        let port = self.port;
        wait_until("sshd", || listens(port));
    }

    /// Gives sshd these limits of open files: 1,024 and `hard`.
    #[must_use]
    pub fn with_files(self, hard: u64) -> GuardedHost {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let pid = self.sshd.as_ref().and_then(|sshd| Pid::from_raw(sshd.pid().try_into().unwrap()));
        let limit = Rlimit { current: Some(1_024), maximum: Some(hard) };
        prlimit(pid, Resource::Nofile, limit).unwrap();
        self
    }

    /// Starts the guard.
    #[must_use]
    pub fn with_guard(mut self) -> GuardedHost {
        self.start_guard();
        self
    }

    /// Starts the guard.
    pub fn start_guard(&mut self) {
        let guard = Program::new("jit-ssh-host")
            .args(["guard", "--no-link", "--etc"])
            .args([self.path("etc")]);
        let guard = guard.args(["--run"]).args([self.path("run")]);
        let socket = self.path("run/guard.sock");
        let _ = fs::remove_file(&socket);
        self.guard = Some(guard.args(["--state"]).args([self.path("state")]).start());
        wait_until("the guard", || socket.exists());
    }

    /// Kills the guard, and gives what it said.
    pub fn kill_guard(&mut self) -> String {
        self.guard.take().map(|guard| guard.kill().err).unwrap_or_default()
    }

    /// A path in the host's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What sshd logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("sshd.log")).unwrap_or_default()
    }

    /// A certificate of ours for `login`, whose access ends in `seconds`; the moment at which it does.
    pub fn access(&self, login: &str, seconds: u64) -> (Way, f64) {
        let until = now() as u64 + seconds;
        (self.certificate(&self.wanted(login, until)), until as f64)
    }

    /// What such a certificate says.
    pub fn wanted(&self, login: &str, until: u64) -> Wanted<'static> {
        Wanted {
            key_id: format!("alice/7kq2m9xw4p/{until}"),
            principals: vec![format!("{login}@{NAME}")],
            valid: "+1h",
            more: Vec::new(),
            ca: "ca",
        }
    }

    /// Any certificate.
    pub fn certificate(&self, wanted: &Wanted<'_>) -> Way {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let key = self.path(&format!("key{serial}"));
        make_key(&key, "subject");
        let mut sign = Program::new("ssh-keygen").args(["-q", "-s"]).args([self.path(wanted.ca)]);
        sign = sign.args(["-I", &wanted.key_id, "-n", &wanted.principals.join(",")]);
        sign = sign.args(["-z", &serial.to_string(), "-V", &format!("-1m:{}", wanted.valid)]);
        sign.args(&wanted.more).args([key.with_extension("pub")]).run().fine();
        let certificate = PathBuf::from(format!("{}-cert.pub", key.display()));
        Way { key, certificate: Some(certificate), serial }
    }

    /// The bare key that `authorized_keys` lets in.
    pub fn plain(&self) -> Way {
        Way { key: self.path("plain"), certificate: None, serial: 0 }
    }

    /// Writes the revocation list anew, as ssh-keygen makes it, in one rename.
    pub fn revoke(&self, serials: &[u32]) {
        let (list, spec) = (self.path("etc/jit-ssh/revoked.krl.new"), self.path("spec"));
        let lines: Vec<String> =
            serials.iter().map(|serial| format!("serial: {serial}\n")).collect();
        fs::write(&spec, lines.concat()).unwrap();
        let make = Program::new("ssh-keygen").args(["-q", "-k", "-f"]).args([&list]);
        make.args(["-s"]).args([self.path("ca.pub")]).args([&spec]).run().fine();
        fs::rename(&list, self.path("etc/jit-ssh/revoked.krl")).unwrap();
    }

    /// A client of OpenSSH (`ssh`, `scp`, `sftp`) that logs in this way.
    pub fn client(&self, program: &str, way: &Way) -> Command {
        let mut command = Command::new(program);
        command.env_remove("SSH_AUTH_SOCK").env_remove("DISPLAY");
        command.args(["-F", "/dev/null"]);
        let mut options = vec![
            format!("Port={}", self.port),
            "StrictHostKeyChecking=no".to_owned(),
            "UserKnownHostsFile=/dev/null".to_owned(),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "BatchMode=yes".to_owned(),
            "LogLevel=ERROR".to_owned(),
            "ConnectTimeout=20".to_owned(),
            format!("IdentityFile={}", way.key.display()),
        ];
        if let Some(certificate) = &way.certificate {
            options.push(format!("CertificateFile={}", certificate.display()));
        }
        command.args(options.iter().flat_map(|option| ["-o", option]));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `login@host` as these clients want it.
    pub fn at(&self, login: &str) -> String {
        format!("{login}@127.0.0.1")
    }

    /// Runs a command on the host: whether it went well, and what it said.
    pub fn run(&self, way: &Way, login: &str, command: &str) -> (bool, String) {
        let mut ssh = self.client("ssh", way);
        let output = ssh.stdin(Stdio::null()).args([&self.at(login), command]).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Starts a command on the host that goes on, with more arguments before the address.
    pub fn start(&self, way: &Way, login: &str, more: &[&str], command: &str) -> Live {
        let mut ssh = self.client("ssh", way);
        ssh.args(more).arg(self.at(login));
        if !command.is_empty() {
            ssh.arg(command);
        }
        Live::new(&format!("ssh {more:?} {command} as {login}"), ssh)
    }

    /// The processes of the account that was made for this host.
    fn processes(&self) -> Vec<rustix::process::Pid> {
        use std::os::unix::fs::MetadataExt as _;
        let id = Program::new("id").args(["-u", &self.user]).run().out.trim().parse::<u32>();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let own = entries.filter(|entry| entry.metadata().is_ok_and(|found| Ok(found.uid()) == id));
        own.filter_map(|entry| {
            rustix::process::Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)
        })
        .collect()
    }

    /// What the guard has recorded.
    pub fn sessions(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.path("run/guard.state")).unwrap_or_default();
        let table: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        table["sessions"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until the guard watches so many sessions.
    #[track_caller]
    pub fn wait_for_sessions(&self, count: usize) {
        wait_until(&format!("{count} sessions"), || self.sessions().len() == count);
    }

    /// The events that wait for the CA.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.path("state/spool"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
            .collect();
        files.sort();
        let text: Vec<String> =
            files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        text.concat().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for GuardedHost {
    fn drop(&mut self) {
        self.kill_guard();
        if let Some(sshd) = self.sshd.take() {
            sshd.kill();
        }
        // Whatever still runs as the account that was made for this test alone.
        for pid in self.processes() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = fs::remove_file(format!("/etc/pam.d/{}", self.service));
        // userdel waits for nobody, and refuses while one of the account's processes is still going.
        for _ in 0..200 {
            let done = Command::new("userdel").arg(&self.user).stderr(Stdio::null()).status();
            if done.is_ok_and(|done| done.success()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }
}

/// The session line of our hook in PAM's file, for a host in this folder.
pub fn hook_line(dir: &str) -> String {
    let hook = Program::path("jit-ssh-host");
    format!(
        "session required pam_exec.so type=open_session quiet {} session --etc {dir}/etc --run {dir}/run\n",
        hook.display()
    )
}

/// Where cgroup v2 is mounted; `None` if it is not.
pub fn cgroup2_mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// A client that runs until something ends it.
pub struct Live {
    /// What it is.
    pub what: String,
    child: Child,
}

impl Live {
    /// Starts it.
    pub fn new(what: &str, mut command: Command) -> Live {
        Live { what: what.to_owned(), child: command.spawn().unwrap() }
    }

    /// Types something into it.
    pub fn say(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Whether it still runs.
    pub fn is_live(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it ends; the moment at which it did.
    #[track_caller]
    pub fn ended(&mut self) -> f64 {
        let began = Instant::now();
        while self.is_live() {
            assert!(began.elapsed() < Duration::from_secs(60), "{} does not end", self.what);
            std::thread::sleep(Duration::from_millis(5));
        }
        now()
    }

    /// Ends it, and gives all that it said.
    pub fn close(mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        let mut bytes = Vec::new();
        for stream in [
            self.child.stdout.take().map(|s| Box::new(s) as Box<dyn std::io::Read>),
            self.child.stderr.take().map(|s| Box::new(s) as Box<dyn std::io::Read>),
        ]
        .into_iter()
        .flatten()
        {
            let mut stream = stream;
            let _ = stream.read_to_end(&mut bytes);
            text.push_str(&String::from_utf8_lossy(&bytes));
            bytes.clear();
        }
        text
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes whose command line holds a word.
pub fn processes_with(word: &str) -> Vec<u32> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != own)
        .filter(|pid| {
            let line = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline"));
            let line = line.unwrap_or_default();
            let words = line.split(|byte| *byte == 0);
            words.into_iter().any(|found| found == word.as_bytes())
        })
        .collect()
}
