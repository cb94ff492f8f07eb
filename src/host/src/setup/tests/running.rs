//! A running sshd: reload, and who may log in.

use super::*;

/// A running sshd that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_running_sshd_takes_certificates_for_this_host_and_no_other() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = TestHost::new(&format!("Port {port}\nListenAddress 127.0.0.1\n"));
    let dir = host.dir.path();
    let path = |name: &str| dir.join(name).display().to_string();
    keygen(&["-t", "ed25519", "-f", &path("ca")]);
    keygen(&["-t", "ed25519", "-f", &path("good")]);
    keygen(&["-t", "ed25519", "-f", &path("other")]);
    let user = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap().trim().to_owned();
    for (key, name) in [("good", "prod-host"), ("other", "other-host")] {
        let principal = format!("{user}@{name}");
        let public = path(&format!("{key}.pub"));
        keygen(&["-s", &path("ca"), "-I", "t", "-n", &principal, "-V", "+5m", &public]);
    }
    let mut log = fs::File::create(dir.join("log")).unwrap();
    let _running = Running(
        Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &path("etc/sshd_config")])
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .spawn()
            .unwrap(),
    );
    let until = Instant::now() + Duration::from_secs(10);
    while !dir.join("sshd.pid").exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }

    let login = |key: &str| {
        let identity = path(key);
        let certificate = format!("CertificateFile={identity}-cert.pub");
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        ssh.args(["-o", &certificate, "-i", &identity, "-l", &user, "-p", &port.to_string()]);
        ssh.args(["127.0.0.1", "true"]).stdin(Stdio::null()).env_remove("SSH_AUTH_SOCK");
        ssh.output().unwrap().status.success()
    };
    assert!(!login("good"), "nothing is set up yet");

    let key = fs::read_to_string(path("ca.pub")).unwrap();
    let key = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let goal = host.goal(key.trim(), &[&user]);
    assert!(host.run(&goal, Told::default()).unwrap().reloaded);
    let mut said = String::new();
    if !login("good") {
        fs::File::open(dir.join("log")).unwrap().read_to_string(&mut said).unwrap();
        assert!(said.is_empty(), "sshd refused the login: {said}");
    }
    assert!(!login("other"), "a certificate for another host");

    let list = path("etc/jit-ssh/revoked.krl");
    let ours = fs::read(&list).unwrap();
    fs::write(path("spec"), "id: t\n").unwrap();
    keygen(&["-k", "-f", &list, "-s", &path("ca.pub"), &path("spec")]);
    assert!(!login("good"), "it is revoked");
    fs::write(&list, ours).unwrap();
    assert!(login("good"), "it is not revoked any more");
    assert!(!host.run(&goal, Told::default()).unwrap().reloaded);

    assert!(host.remove().unwrap().reloaded);
    assert!(!Path::new(&list).exists());
    assert!(!login("good"), "everything is taken out again");
    log.flush().unwrap();
}
