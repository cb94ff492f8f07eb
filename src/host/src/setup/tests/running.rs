//! A running sshd: reload, who may log in, and who calls the hook.

use super::*;

/// A running sshd that is ended with the test, its CA, and keys of people.
struct Running {
    host: TestHost,
    process: Child,
    port: u16,
    user: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Running {
    /// An sshd with more lines in its main file. `program` is what it is started by.
    fn start(config: &str, program: impl Fn(&TestHost) -> PathBuf) -> Running {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // What is refused here again and again must not close the address.
        let newer = testplace::from_9_8("PerSourcePenalties no\n");
        let host = TestHost::new(&format!("Port {port}\nListenAddress 127.0.0.1\n{newer}{config}"));
        let program = program(&host);
        let host =
            TestHost { sshd: Sshd::find(Some(&program), host.layout.config()).unwrap(), ..host };
        let dir = host.dir.path().to_owned();
        let user = Command::new("id").arg("-un").output().unwrap();
        let user = String::from_utf8(user.stdout).unwrap().trim().to_owned();
        let log = fs::File::create(dir.join("log")).unwrap();
        let process = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(dir.join("etc/sshd_config"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let running = Running { host, process, port, user };
        let until = Instant::now() + Duration::from_secs(10);
        while !dir.join("sshd.pid").exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        running.key("ca");
        running
    }

    fn path(&self, name: &str) -> String {
        self.host.dir.path().join(name).display().to_string()
    }

    fn key(&self, name: &str) -> String {
        keygen(&["-t", "ed25519", "-f", &self.path(name)]);
        let key = fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
        key.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// A key of this name with a certificate by `ca` for this principal.
    fn certify(&self, name: &str, ca: &str, principal: &str) {
        self.key(name);
        let (ca, public) = (self.path(ca), self.path(&format!("{name}.pub")));
        keygen(&["-s", &ca, "-I", "t", "-n", principal, "-V", "+5m", &public]);
    }

    /// As the CA wants it.
    fn goal(&self) -> Goal {
        let key = fs::read_to_string(self.path("ca.pub")).unwrap();
        let key = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
        self.host.goal(key.trim(), &[&self.user])
    }

    fn login(&self, key: &str) -> bool {
        let identity = self.path(key);
        let certificate = format!("CertificateFile={identity}-cert.pub");
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        ssh.args(["-o", &certificate, "-i", &identity, "-l", &self.user]);
        ssh.args(["-p", &self.port.to_string(), "127.0.0.1", "true"]);
        ssh.stdin(Stdio::null()).env_remove("SSH_AUTH_SOCK");
        ssh.output().unwrap().status.success()
    }

    /// What sshd said.
    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }
}

fn stock(_: &TestHost) -> PathBuf {
    PathBuf::from("/usr/sbin/sshd")
}

#[test]
fn the_running_sshd_takes_certificates_for_this_host_and_no_other() {
    let sshd = Running::start("", stock);
    let host = &sshd.host;
    sshd.certify("good", "ca", &format!("{}@prod-host", sshd.user));
    sshd.certify("other", "ca", &format!("{}@other-host", sshd.user));
    assert!(!sshd.login("good"), "nothing is set up yet");

    let goal = sshd.goal();
    assert!(host.run(&goal, ANYWAY).unwrap().reloaded);
    assert!(sshd.login("good"), "sshd refused the login: {}", sshd.log());
    assert!(!sshd.login("other"), "a certificate for another host");

    let list = sshd.path("etc/jit-ssh/revoked.krl");
    let ours = fs::read(&list).unwrap();
    fs::write(sshd.path("spec"), "id: t\n").unwrap();
    keygen(&["-k", "-f", &list, "-s", &sshd.path("ca.pub"), &sshd.path("spec")]);
    assert!(!sshd.login("good"), "it is revoked");
    fs::write(&list, ours).unwrap();
    assert!(sshd.login("good"), "it is not revoked any more");
    assert!(!host.run(&goal, ANYWAY).unwrap().reloaded);

    assert!(host.remove().unwrap().reloaded);
    assert!(!Path::new(&list).exists());
    assert!(!sshd.login("good"), "everything is taken out again");
}

#[test]
fn the_list_of_revoked_keys_stays_while_an_sshd_that_was_not_told_may_read_it() {
    let sshd = Running::start("", stock);
    sshd.certify("good", "ca", &format!("{}@prod-host", sshd.user));
    sshd.host.run(&sshd.goal(), ANYWAY).unwrap();
    let (list, pid) = (sshd.path("etc/jit-ssh/revoked.krl"), sshd.path("sshd.pid"));
    fs::rename(&pid, sshd.path("hidden")).unwrap();
    assert!(!sshd.host.remove().unwrap().reloaded);
    assert!(Path::new(&list).exists());
    assert!(sshd.login("good"), "it works as before, since sshd knows of nothing: {}", sshd.log());

    assert!(!sshd.host.remove().unwrap().reloaded);
    assert!(Path::new(&list).exists(), "it was not told this time either");

    fs::rename(sshd.path("hidden"), &pid).unwrap();
    assert!(sshd.host.remove().unwrap().reloaded);
    assert!(!Path::new(&list).exists());
    assert!(!sshd.login("good"));
}

#[test]
fn a_sealed_key_opens_this_host_without_a_ca_only_where_it_was_named() {
    // No CA runs anywhere in this test.
    let sshd = Running::start("", stock);
    let sealed = sshd.key("sealed").parse().unwrap();
    let user = &sshd.user;
    sshd.certify("rescue", "sealed", &format!("{user}@prod-host"));
    sshd.certify("elsewhere", "sealed", &format!("{user}@other-host"));
    sshd.certify("bare", "sealed", user);
    let (before, plain) = (timeless(sshd.host.snapshot()), sshd.goal());
    sshd.host.run(&plain, ANYWAY).unwrap();
    assert!(!sshd.login("rescue"), "off by default");

    let Goal::SetUp(mut wanted) = sshd.goal() else { unreachable!() };
    wanted.settings.offline_ca = Some(sealed);
    let with = Goal::SetUp(wanted);
    sshd.host.run(&with, ANYWAY).unwrap();
    assert!(sshd.host.run(&with, ANYWAY).unwrap().plan.is_empty());
    assert!(sshd.login("rescue"), "sshd refused the login: {}", sshd.log());
    assert!(!sshd.login("elsewhere"), "a certificate for another host");
    assert!(!sshd.login("bare"), "a certificate for every host");
    let settings = settings::parse(&sshd.host.read("jit-ssh/host.toml")).unwrap();
    let last = sshd.host.read("jit-ssh/user_ca.pub").lines().last().unwrap().to_owned();
    let key = settings.offline_ca.unwrap();
    assert_eq!(last, format!("{key} jit-ssh offline"));

    // Without it, it is taken out; and other keys of the CA go on.
    sshd.certify("good", "ca", &format!("{user}@prod-host"));
    sshd.host.run(&plain, ANYWAY).unwrap();
    assert!(!sshd.login("rescue"));
    assert!(sshd.login("good"), "sshd refused the login: {}", sshd.log());
    sshd.host.remove().unwrap();
    assert_eq!(timeless(sshd.host.snapshot()), before);
}

/// A PAM service of the system's that is taken out with the test.
struct PamService(PathBuf);

impl Drop for PamService {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn sshd_calls_the_hook_once_at_a_login_and_not_at_all_after_removal() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("not root: a PAM service can not be made");
    }
    // Before 9.8 the service is named after the program: so this one has its own; from then on by a setting.
    let name = format!("jit-ssh-test-{}", std::process::id());
    let service = PamService(Path::new("/etc/pam.d").join(&name));
    let stock_pam = "auth required pam_deny.so\naccount required pam_permit.so\n\
        session required pam_loginuid.so\nsession required pam_env.so\n\
        session required pam_env.so user_readenv=1\nsession required pam_permit.so\n";
    // In a container, nobody may set a login id.
    let stock_pam = stock_pam.replace("required pam_loginuid.so", "optional pam_loginuid.so");
    fs::write(&service.0, &stock_pam).unwrap();
    let link = |host: &TestHost| {
        let link = host.dir.path().join(&name);
        std::os::unix::fs::symlink("/usr/sbin/sshd", &link).unwrap();
        link
    };
    let own_service = testplace::from_9_8(&format!("PAMServiceName {name}\n"));
    let mut sshd = Running::start(&format!("UsePAM yes\n{own_service}"), link);
    let main = sshd.host.read("sshd_config").replace("UsePAM no\n", "");
    sshd.host.write("sshd_config", &main);
    let layout = sshd.host.layout.clone().with_pam(&service.0).unwrap();
    sshd.host.layout = layout;
    let program = sshd.host.dir.path().join("jit-ssh-host");
    let said = sshd.path("said");
    let script = format!(
        "#!/bin/sh\necho \"$1 $PAM_TYPE $(echo $SSH_AUTH_INFO_0 | cut -c1-40)\" >> {said}\n"
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    sshd.certify("good", "ca", &format!("{}@prod-host", sshd.user));

    let program = hook::checked(&program).unwrap();
    let Goal::SetUp(mut wanted) = sshd.goal() else { unreachable!() };
    wanted.settings.guard = Guard::Required;
    let hook = hook::line(&sshd.host.layout, &program);
    wanted.guard = Some(GuardLines { hook, unit: None });
    let goal = Goal::SetUp(wanted);

    // No guard answers: nothing is changed.
    let before = timeless(sshd.host.snapshot());
    sshd.host.guard.down.replace(Some("nobody is there".to_owned()));
    let error = sshd.host.run(&goal, ANYWAY).err().unwrap().to_string();
    assert!(error.contains("nobody is there") && error.contains("start it as root"), "{error}");
    assert_eq!(timeless(sshd.host.snapshot()), before);
    assert_eq!(fs::read_to_string(&service.0).unwrap(), stock_pam);

    sshd.host.guard.down.replace(None);
    assert!(sshd.host.run(&goal, ANYWAY).unwrap().reloaded);
    assert!(sshd.host.run(&goal, ANYWAY).unwrap().plan.is_empty());
    assert!(sshd.login("good"), "sshd refused the login: {}", sshd.log());
    let heard = fs::read_to_string(&said).unwrap();
    assert_eq!(heard, "session open_session publickey ssh-ed25519-cert-v01@openssh.c\n");

    sshd.host.remove().unwrap();
    assert_eq!(fs::read_to_string(&service.0).unwrap(), stock_pam);
    assert_eq!(timeless(sshd.host.snapshot()), before);
}
