//! A host on a machine of its own, with sshd under PAM, guard and link: only root can have one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::Persona;
use crate::network::Machine;
use crate::program::{Program, Running, make_key, wait_until};

const PAM: &str = "auth required pam_deny.so\naccount required pam_permit.so\n\
    session optional pam_loginuid.so\nsession required pam_permit.so\n";

/// A host on a machine of its own.
pub struct Host {
    /// Its name in the bundle.
    pub name: &'static str,
    /// Where it is.
    pub machine: Machine,
    /// Short paths, which nobody else can write to.
    dir: TempDir,
    pam: PathBuf,
    /// How far its clock is off, as faketime has it.
    pub skew: Option<&'static str>,
    sshd: Option<Running>,
    guard: Option<Running>,
}

impl Host {
    /// A host that does not run yet.
    pub fn new(name: &'static str, machine: Machine) -> Host {
        let dir = TempDir::with_prefix_in("jit-ssh-fleet-", "/run").unwrap();
        // sshd reads principals as the account itself.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let etc = dir.path().join("etc");
        fs::create_dir_all(etc.join("sshd_config.d")).unwrap();
        let key = dir.path().join("key");
        make_key(&key, "");
        // Both tests may run at a time.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let service = format!("jit-ssh-test-{}x{count}", std::process::id());
        let pam = PathBuf::from("/etc/pam.d").join(&service);
        fs::write(&pam, PAM).unwrap();
        // Before 9.8, the PAM service has the program's name; from then on a keyword says it.
        let program = dir.path().join(&service);
        let sshd = fs::canonicalize(Program::path("sshd")).unwrap();
        std::os::unix::fs::symlink(sshd, &program).unwrap();
        let shown = dir.path().display();
        let config = format!(
            "Include {shown}/etc/sshd_config.d/*.conf\nListenAddress {}:22\nHostKey {shown}/key\n\
             PidFile {shown}/sshd.pid\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nAuthorizedKeysFile none\nUsePAM yes\nUseDNS no\nSubsystem sftp internal-sftp\n\
             # bash leaves root's own start file alone, which may be slow.\nSetEnv SHLVL=1\n",
            machine.address
        );
        let path = etc.join("sshd_config");
        fs::write(&path, &config).unwrap();
        let asked = Program::new(&program.display().to_string()).args(["-T", "-f"]).args([&path]);
        if asked.run().fine().out.contains("pamservicename") {
            fs::write(&path, format!("{config}PAMServiceName {service}\n")).unwrap();
        }
        Host { name, machine, dir, pam, skew: None, sshd: None, guard: None }
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its host key.
    pub fn key(&self) -> String {
        fs::read_to_string(self.path("key.pub")).unwrap().trim().to_owned()
    }

    /// Its block in `hosts.toml`, of the environment `prod`, with these lines more.
    pub fn listed(&self, more: &str) -> String {
        format!(
            "[[host]]\nname = \"{}\"\naddress = \"{}:22\"\nlabels = {{ env = \"prod\" }}\nkey = \"{}\"\n{more}\n",
            self.name,
            self.machine.address,
            self.key()
        )
    }

    fn sshd_program(&self) -> PathBuf {
        self.dir.path().join(self.pam.file_name().unwrap())
    }

    /// A daemon of this host, by this host's clock.
    fn daemon(&self, name: &str) -> Program {
        let program = self.machine.program(name);
        match self.skew {
            None => program,
            // Not by the program `faketime`, which would be killed in its child's stead.
            // It reads its own files again after 10 s by default: sshd's sandbox kills who does that there.
            Some(skew) => program
                .env("LD_PRELOAD", fake_clock())
                .env("FAKETIME", skew)
                .env("FAKETIME_CACHE_DURATION", "1000000"),
        }
    }

    /// Starts sshd and guard, and sets it up.
    pub fn start(&mut self, url: &str) {
        let sshd = self.daemon(&self.sshd_program().display().to_string());
        let sshd = sshd.args(["-D", "-f"]).args([self.path("etc/sshd_config")]);
        self.sshd = Some(sshd.args(["-E"]).args([self.path("sshd.log")]).start());
        self.start_guard();
        let setup = self.machine.program("jit-ssh-host").args(["setup", "--ca", url, "--name"]);
        let setup = setup.args([self.name, "--allow-lock-out", "--etc"]).args([self.path("etc")]);
        let setup = setup.args(["--sshd"]).args([self.sshd_program()]).args(["--pam"]);
        setup.args([&self.pam]).args(["--run"]).args([self.path("run")]).run().fine();
    }

    fn start_guard(&mut self) {
        let log = fs::File::create(self.path("guard.log")).unwrap();
        let guard = self.daemon("jit-ssh-host").args(["guard", "--etc"]);
        let guard = guard.args([self.path("etc")]).args(["--run"]).args([self.path("run")]);
        let guard = guard.args(["--state"]).args([self.path("state")]).stderr(log);
        self.guard = Some(guard.start());
        let socket = self.path("run/guard.sock");
        wait_until("the guard", || {
            std::os::unix::net::UnixStream::connect(&socket).is_err_and(|error| {
                error.kind() != std::io::ErrorKind::NotFound
                    && error.kind() != std::io::ErrorKind::ConnectionRefused
            })
        });
    }

    /// What guard and sshd said.
    pub fn logs(&self) -> String {
        let read = |name| fs::read_to_string(self.path(name)).unwrap_or_default();
        format!("{}\n{}", read("guard.log"), read("sshd.log"))
    }

    /// A command on it, as root by its address.
    pub fn ssh(&self, who: &Persona, command: &str) -> Program {
        self.ssh_with(who, &[], command)
    }

    /// The same with options before its own.
    pub fn ssh_with(&self, who: &Persona, options: &[String], command: &str) -> Program {
        let address = format!("root@{}", self.machine.address);
        who.program("ssh")
            .args(["-F", "/dev/null", "-o", "BatchMode=yes"])
            .args(options)
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"])
            .args(["-o", "IdentityFile=none", "-o", "ConnectTimeout=5", &address, command])
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for process in [self.guard.take(), self.sshd.take()].into_iter().flatten() {
            process.kill();
        }
        let _ = fs::remove_file(&self.pam);
    }
}

/// What tells a program a wrong time.
fn fake_clock() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut paths = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    paths.find(|path| path.exists()).expect("faketime is installed by ./run test")
}
