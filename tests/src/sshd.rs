//! A stock sshd on a high port of loopback.

use std::fs;
use std::path::{Path, PathBuf};

use crate::program::{Program, Running, Said, free_port, listens, make_key, wait_until};

/// A stock sshd on a high port of loopback.
pub struct Sshd {
    name: String,
    /// What is `/etc/ssh` elsewhere.
    pub etc: PathBuf,
    known_hosts: PathBuf,
    port: u16,
    /// What it is started by; before 9.8, its PAM service has the same name.
    program: PathBuf,
    process: Option<Running>,
}

impl Sshd {
    /// Starts an sshd that knows nothing of us yet.
    pub fn new(site: &Path, name: &str) -> Sshd {
        Sshd::start_as(site, name, Program::path("sshd"), "UsePAM no\n")
    }

    /// The same under PAM, with this service of its own; only for root.
    pub fn under_pam(site: &Path, name: &str, service: &str) -> Sshd {
        let program = site.join(service);
        let sshd = fs::canonicalize(Program::path("sshd")).unwrap();
        std::os::unix::fs::symlink(sshd, &program).unwrap();
        let plain = Sshd::start_as(site, name, program.clone(), "UsePAM yes\n");
        // From 9.8 the service has a keyword, which older versions refuse.
        if plain.setting("pamservicename").is_none() {
            return plain;
        }
        drop(plain);
        let keyword = format!("UsePAM yes\nPAMServiceName {service}\n");
        Sshd::start_as(site, name, program, &keyword)
    }

    /// A setting in force, by its keyword in lower case.
    pub fn setting(&self, keyword: &str) -> Option<String> {
        let program = self.program.display().to_string();
        let asked = Program::new(&program).args(["-T", "-f"]).args([self.etc.join("sshd_config")]);
        let said = asked.run().fine().out;
        let mut lines = said.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(known, _)| *known == keyword).map(|(_, value)| value.to_owned())
    }

    fn start_as(site: &Path, name: &str, program: PathBuf, pam: &str) -> Sshd {
        let etc = site.join(format!("etc-{name}"));
        fs::create_dir_all(etc.join("sshd_config.d")).unwrap();
        let key = etc.join("host_key");
        if !key.exists() {
            make_key(&key, name);
        }
        let port = free_port();
        let shown = etc.display();
        // Sessions can tell which host they are on. By the level, bash leaves the account's own start file alone:
        // what that runs may be slow, and stay behind locked where a test cuts a session off.
        let config = format!(
            "Include {shown}/sshd_config.d/*.conf\n\
             ListenAddress 127.0.0.1:{port}\n\
             HostKey {shown}/host_key\n\
             PidFile {shown}/sshd.pid\n\
             PasswordAuthentication no\n\
             AuthorizedKeysFile none\n\
             LogLevel VERBOSE\n\
             SetEnv SHLVL=1 WHERE={name}\n\
             {pam}\
             # Tests lie under folders that others can write to.\n\
             StrictModes no\n"
        );
        fs::write(etc.join("sshd_config"), config).unwrap();
        let known_hosts = etc.join("known_hosts");
        let key = fs::read_to_string(etc.join("host_key.pub")).unwrap();
        let key: Vec<&str> = key.split(' ').take(2).collect();
        fs::write(&known_hosts, format!("{name} {}\n", key.join(" "))).unwrap();
        let mut sshd =
            Sshd { name: name.to_owned(), etc, known_hosts, port, program, process: None };
        sshd.start();
        sshd
    }

    fn start(&mut self) {
        let (config, log) = (self.etc.join("sshd_config"), self.etc.join("sshd.log"));
        let program = self.program.display().to_string();
        let program = Program::new(&program).args(["-D", "-f"]).args([&config]);
        self.process = Some(program.args(["-E"]).args([&log]).start());
        let port = self.port;
        wait_until("sshd", || listens(port));
    }

    /// Adds a line to sshd_config and starts sshd anew.
    pub fn configure(&mut self, line: &str) {
        let path = self.etc.join("sshd_config");
        let old = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{old}{line}\n")).unwrap();
        if let Some(process) = self.process.take() {
            process.kill();
        }
        let port = self.port;
        wait_until("the end of sshd", || !listens(port));
        self.start();
    }

    /// The line of its host key, without a comment.
    pub fn host_key(&self) -> String {
        let line = fs::read_to_string(self.etc.join("host_key.pub")).unwrap();
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// Its block in `hosts.toml`, of this environment and for the user who runs the tests, with these lines more.
    pub fn listed(&self, env: &str, more: &str) -> String {
        self.listed_for(&me(), env, more)
    }

    /// The same for another account.
    pub fn listed_for(&self, login: &str, env: &str, more: &str) -> String {
        format!(
            "[[host]]\nname = \"{}\"\naddress = \"127.0.0.1:{}\"\nkey = \"{}\"\nlabels = {{ env = \"{env}\" }}\nlogins = [\"{login}\"]\n{more}\n",
            self.name,
            self.port,
            self.host_key()
        )
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `jit-ssh-host setup` for this host, with more arguments.
    pub fn setup(&self, url: &str, more: &[&str]) -> Said {
        // There is no other way in here, and no PAM.
        let anyway = ["setup", "--guard", "off", "--allow-lock-out"];
        let args = ["--ca", url, "--name", &self.name, "--etc"];
        let setup = Program::new("jit-ssh-host").args(anyway).args(args).args([&self.etc]);
        setup.args(more).run()
    }

    /// `jit-ssh-host setup` with a guard whose socket is in `run`, and more arguments.
    pub fn setup_guarded(&self, url: &str, pam: &Path, run: &Path, more: &[&str]) -> Said {
        let args = ["setup", "--ca", url, "--name", &self.name, "--allow-lock-out", "--etc"];
        let setup = Program::new("jit-ssh-host").args(args).args([&self.etc]);
        let setup = setup.args(["--sshd"]).args([&self.program]).args(["--pam"]).args([pam]);
        setup.args(["--run"]).args([run]).args(more).run()
    }

    /// Options that lead ssh here, with no file of the caller's home.
    pub fn client_options(&self) -> Vec<String> {
        let options = [
            "HostName=127.0.0.1".to_owned(),
            format!("Port={}", self.port),
            format!("HostKeyAlias={}", self.name),
            format!("User={}", me()),
            format!("UserKnownHostsFile={}", self.known_hosts.display()),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            "IdentityFile=none".to_owned(),
            "BatchMode=yes".to_owned(),
            "LogLevel=ERROR".to_owned(),
        ];
        let options = options.into_iter().flat_map(|option| ["-o".to_owned(), option]);
        ["-F".to_owned(), "/dev/null".to_owned()].into_iter().chain(options).collect()
    }

    /// What sshd logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.etc.join("sshd.log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }
}

/// A PAM service of the system's, by its file, that is taken out with the test; only for root.
pub struct PamService(pub PathBuf);

impl PamService {
    /// What stands in it: whoever has a key or certificate has a session.
    pub const TEXT: &str = "auth required pam_deny.so\naccount required pam_permit.so\n\
        session optional pam_loginuid.so\nsession required pam_permit.so\n";

    /// Makes one, whose name holds `what`.
    pub fn new(what: &str) -> PamService {
        let name = format!("jit-ssh-test-{what}{}", std::process::id());
        let service = PamService(Path::new("/etc/pam.d").join(name));
        fs::write(&service.0, Self::TEXT).unwrap();
        service
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Drop for PamService {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The user who runs the tests: the only account there is to log in to.
pub fn me() -> String {
    Program::new("id").args(["-un"]).run().fine().out.trim().to_owned()
}
