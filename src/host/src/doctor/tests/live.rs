//! A real sshd that runs, with files of its own: what makes a weakness is written, and found; and what
//! the doctor says follows from some of them does follow.

use std::fs;
use std::net::TcpListener;
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jit_ssh_core::krl::Krl;
use tempfile::TempDir;

use super::*;
use crate::content;
use crate::doctor::gather::{self, Places};
use crate::plan::HostFacts;
use crate::reload::{self, Reload};
use crate::sshd::Sshd;
use crate::testguard::TestGuard;
use crate::testplace;

/// What depends on the machine the test runs on, and not on the host the test makes.
const OF_MACHINE: [&str; 6] = [
    "CLOCK_NOT_SYNCHRONISED",
    "CLOCK_UNKNOWN",
    "NO_CGROUP_V2",
    "OPENSSH_COMMAS",
    "OPENSSH_NO_PENALTIES",
    "OPENSSH_OLD",
];

struct Live {
    dir: TempDir,
    places: Places,
    port: u16,
    user: String,
    guard: Option<TestGuard>,
    sshd: Child,
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

impl Live {
    /// A host without a weakness of its own, and its sshd.
    fn new() -> Live {
        let dir = testplace::folder("jit-ssh-doctor-");
        for folder in ["etc", "pam.d", "bin", "run"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let user = Command::new("id").arg("-un").output().unwrap();
        let user = String::from_utf8(user.stdout).unwrap().trim().to_owned();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let layout = Layout::new(&dir.path().join("etc"), None).unwrap();
        write_good(dir.path(), &layout, port, &user);
        let guard = TestGuard::serving(&dir.path().join("run"), layout.etc());
        let sshd = Sshd::find(None, layout.config()).unwrap();
        let (pam, guard_dir) = (dir.path().join("pam.d/sshd"), dir.path().join("run"));
        let config = layout.config().to_owned();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", config.as_os_str().to_str().unwrap()])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let places = Places { layout, sshd, pam, guard_dir };
        let live = Live { dir, places, port, user, guard: Some(guard), sshd: child };
        let until = Instant::now() + Duration::from_secs(10);
        while !live.path("sshd.pid").exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        live
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes a file; `DIR` in it stands for this host's folder.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text.replace("DIR", &self.dir.path().display().to_string()))
            .unwrap();
    }

    fn add(&self, name: &str, text: &str) {
        self.write(name, &(self.read(name) + text));
    }

    fn replace(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{text}");
        self.write(name, &text.replace(from, to));
    }

    fn reload(&self) {
        let pid_file = self.path("sshd.pid").display().to_string();
        let told = reload::reload(&pid_file, self.places.layout.config()).unwrap();
        assert!(matches!(told, Reload::Done(_)), "{told:?}");
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = judge(&gather::look(&self.places));
        findings.retain(|found| !OF_MACHINE.contains(&found.weakness.describe().code));
        findings
    }

    /// Puts everything back as it was made.
    fn mend(&mut self) {
        let layout = &self.places.layout;
        fs::remove_dir_all(layout.drop_in_dir()).unwrap();
        fs::remove_dir_all(layout.own_dir()).unwrap();
        write_good(self.dir.path(), layout, self.port, &self.user);
        self.guard = Some(TestGuard::serving(&self.path("run"), layout.etc()));
        self.reload();
    }

    /// Whether the real ssh gets in with a certificate for this principal.
    fn lets_in(&self, principal: &str) -> bool {
        let path = |name: &str| self.path(name).display().to_string();
        if !self.path("id").exists() {
            keygen(&["-N", "", "-t", "ed25519", "-f", &path("id")]);
        }
        keygen(&["-s", &path("ca"), "-I", "t", "-n", principal, "-V", "+5m", &path("id.pub")]);
        let certificate = format!("CertificateFile={}", path("id-cert.pub"));
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        ssh.args(["-o", &certificate, "-i", &path("id"), "-l", &self.user]);
        ssh.args(["-p", &self.port.to_string(), "127.0.0.1", "true"]);
        ssh.stdin(Stdio::null()).env_remove("SSH_AUTH_SOCK").output().unwrap().status.success()
    }
}

fn keygen(arguments: &[&str]) {
    let status = Command::new("ssh-keygen").arg("-q").args(arguments).status().unwrap();
    assert!(status.success(), "{arguments:?}");
}

/// All files of a host without a weakness.
fn write_good(dir: &Path, layout: &Layout, port: u16, user: &str) {
    let path = |name: &str| dir.join(name).display().to_string();
    if !dir.join("ca").exists() {
        keygen(&["-N", "", "-t", "ed25519", "-f", &path("ca")]);
        keygen(&["-N", "", "-t", "ed25519", "-f", &path("host_key")]);
    }
    let sign = ["-s", &path("ca"), "-h", "-I", "h", "-n", "prod-host", "-V", "+1h"];
    keygen(&[&sign[..], &[&path("host_key.pub")]].concat());
    // What is refused here again and again must not close the address.
    let newer = testplace::from_9_8("PerSourcePenalties no\n");
    let config = format!(
        "{newer}Include ETC/sshd_config.d/*.conf\nPort {port}\nListenAddress 127.0.0.1\nHostKey DIR/host_key\n\
         HostCertificate DIR/host_key-cert.pub\nPidFile DIR/sshd.pid\nUsePAM yes\nStrictModes yes\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nAuthorizedKeysFile none\n"
    );
    let etc = layout.etc().display().to_string();
    let write = |to: PathBuf, text: String| {
        let text = text.replace("ETC", &etc).replace("DIR", &dir.display().to_string());
        fs::write(to, text).unwrap();
    };
    fs::create_dir_all(layout.drop_in_dir()).unwrap();
    fs::create_dir_all(layout.principals_dir()).unwrap();
    write(layout.config().to_owned(), config);
    write(layout.drop_in(), content::drop_in(layout, true));

    let key = fs::read_to_string(dir.join("ca.pub")).unwrap();
    let key = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let facts = HostFacts {
        jumps: std::collections::BTreeMap::new(),
        revoked: Default::default(),
        name: "prod-host".parse().unwrap(),
        ca: PIN.parse().unwrap(),
        version: 1,
        ca_keys: vec![(NonZeroU16::MIN, key.trim().parse().unwrap())],
        logins: [user.parse().unwrap()].into(),
    };
    write(layout.user_ca(), content::user_ca(&facts, None));
    write(layout.principals_dir().join(user), format!("{user}@prod-host\n"));
    let list = Krl::new(1, UnixTime(1_790_000_000), facts.ca_keys[0].1.clone(), [].into());
    fs::write(layout.own_dir().join("revoked.krl"), list.to_bytes()).unwrap();
    let settings = Settings {
        ca: format!("https://ca.example:7443#{PIN}").parse().unwrap(),
        name: facts.name,
        guard: Guard::Required,
        sshd_config: layout.config().to_owned(),
        pam: dir.join("pam.d/sshd"),
        offline_ca: None,
    };
    write(layout.own_dir().join("host.toml"), settings.render());
    let program = dir.join("bin/jit-ssh-host");
    write(program.clone(), "#!/bin/sh\n".to_owned());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let now = crate::clock::now();
    Heard::example(now, Some(now)).write(&dir.join("run")).unwrap();
    // As Debian has it, with the hook in its place.
    write(dir.join("pam.d/common-session"), COMMON_SESSION.to_owned());
    write(dir.join("pam.d/sshd"), PAM_SSHD.to_owned());
}

const COMMON_SESSION: &str = "session [default=1] pam_permit.so\nsession requisite pam_deny.so\n\
    session required pam_permit.so\nsession required pam_unix.so\nsession optional pam_systemd.so\n";
const PAM_HOOK: &str = "session required pam_exec.so quiet type=open_session DIR/bin/jit-ssh-host session --etc DIR/etc --run DIR/run\n";
const PAM_SSHD: &str = "session required pam_loginuid.so\n@include common-session\n\
    session required pam_exec.so quiet type=open_session DIR/bin/jit-ssh-host session --etc DIR/etc --run DIR/run\n\
    session required pam_env.so user_readenv=1\n";

/// What is done to a host, and what is to be found besides.
type Case = (&'static [&'static str], fn(&mut Live));

const CASES: &[Case] = &[
    (&["PASSWORD_LOGIN"], |h| h.replace("etc/sshd_config", "PasswordAuthentication no", "#")),
    (&["PASSWORD_LOGIN"], |h| {
        h.add("etc/sshd_config", "Match Address 10.0.0.0/8\nPasswordAuthentication yes\n");
    }),
    (&["PASSWORD_LOGIN"], |h| {
        h.add("etc/sshd_config", "Match User bob\nPasswordAuthentication yes\n");
    }),
    (&["MATCH_OVERRIDES"], |h| {
        h.add("etc/sshd_config", "Match Group nobody-here\nPasswordAuthentication yes\n");
    }),
    (&["KEYBOARD_INTERACTIVE_LOGIN"], |h| {
        h.replace("etc/sshd_config", "KbdInteractiveAuthentication no", "");
    }),
    (&["STANDING_AUTHORITY", "STANDING_KEYS"], |h| {
        h.replace("etc/sshd_config", "KeysFile none", "KeysFile DIR/keys-%u");
        let key = h.read("ca.pub");
        let file = format!("keys-{}", h.user);
        h.write(&file, &format!("# x\n{key}cert-authority {key}"));
    }),
    (&["KEY_FILES_READ"], |h| {
        h.replace("etc/sshd_config", "KeysFile none", "KeysFile DIR/no-keys-%u");
    }),
    (&["NO_PAM"], |h| h.replace("etc/sshd_config", "UsePAM yes", "UsePAM no")),
    (&["STRICT_MODES_OFF"], |h| {
        h.replace("etc/sshd_config", "StrictModes yes", "StrictModes no");
    }),
    (&["SHUT_OUT"], |h| {
        let line = format!("DenyUsers {}\n", h.user);
        h.add("etc/sshd_config", &line);
    }),
    (&["CA_NOT_TRUSTED", "DROP_IN_NOT_FIRST", "FOREIGN_CA"], |h| {
        h.write("etc/sshd_config.d/00-a.conf", "TrustedUserCAKeys DIR/ca.pub\n");
    }),
    (&["FOREIGN_CA"], |h| {
        h.add("etc/sshd_config", "Match User bob\nTrustedUserCAKeys DIR/ca.pub\n");
    }),
    (&["PRINCIPALS_NOT_IN_FORCE"], |h| {
        h.add("etc/sshd_config", "Match User bob\nAuthorizedPrincipalsFile none\n");
    }),
    (&["CA_NOT_TRUSTED", "DROP_IN_NOT_READ", "NO_REVOKED_KEYS", "PRINCIPALS_NOT_IN_FORCE"], |h| {
        h.replace("etc/sshd_config", "Include ", "#Include ")
    }),
    (&["KRL_MISSING"], |h| {
        fs::remove_file(h.path("etc/jit-ssh/revoked.krl")).unwrap();
    }),
    (&["KRL_EMPTY"], |h| h.write("etc/jit-ssh/revoked.krl", "")),
    (&["NO_REVOKED_KEYS"], |h| h.replace("etc/sshd_config.d/00-jit-ssh.conf", "RevokedKeys ", "#")),
    (&["HOST_CERTIFICATE_NOT_RENEWED"], |h| {
        h.replace("etc/sshd_config.d/00-jit-ssh.conf", "\nInclude ", "\n# ");
    }),
    (&["OPEN_TO_OTHERS"], |h| {
        let open = fs::Permissions::from_mode(0o666);
        fs::set_permissions(h.path("etc/jit-ssh/user_ca.pub"), open).unwrap();
    }),
    (&["PRINCIPALS_NO_ACCOUNT"], |h| {
        h.write("etc/jit-ssh/principals/nobody-here", "nobody-here@prod-host\n");
    }),
    (&["PRINCIPALS_HIDDEN"], |h| {
        let file = h.path(&format!("etc/jit-ssh/principals/{}", h.user));
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }),
    (&["HOST_CERTIFICATE_EXPIRED"], |h| {
        let path = |name: &str| h.path(name).display().to_string();
        let sign = ["-s", &path("ca"), "-h", "-I", "h", "-n", "prod-host"];
        keygen(&[&sign[..], &["-V", "20200101:20200102", &path("host_key.pub")]].concat());
    }),
    (&["HOST_CERTIFICATE_OTHER_KEY"], |h| {
        let path = |name: &str| h.path(name).display().to_string();
        let sign = ["-s", &path("ca"), "-h", "-I", "h", "-n", "prod-host", "-V", "+1h"];
        keygen(&["-N", "", "-t", "ed25519", "-f", &path("other_key")]);
        keygen(&[&sign[..], &[&path("other_key.pub")]].concat());
        fs::rename(h.path("other_key-cert.pub"), h.path("host_key-cert.pub")).unwrap();
        fs::remove_file(h.path("other_key")).unwrap();
    }),
    (&["HOST_CERTIFICATE_OTHER_NAME"], |h| {
        let path = |name: &str| h.path(name).display().to_string();
        let sign = ["-s", &path("ca"), "-h", "-I", "h", "-n", "other-host"];
        keygen(&[&sign[..], &["-V", "+1h", &path("host_key.pub")]].concat());
    }),
    (&["HOOK_MISSING"], |h| h.write("pam.d/sshd", &PAM_SSHD.replace(PAM_HOOK, ""))),
    (&["HOOK_AFTER_USER_ENVIRONMENT"], |h| {
        h.write("pam.d/sshd", &(PAM_SSHD.replace(PAM_HOOK, "") + PAM_HOOK));
    }),
    (&["HOOK_TOO_EARLY", "HOOK_TOO_EARLY"], |h| {
        h.write("pam.d/sshd", &(PAM_HOOK.to_owned() + &PAM_SSHD.replace(PAM_HOOK, "")));
    }),
    (&["PAM_UNREADABLE"], |h| h.add("pam.d/sshd", "@include no-such-service-here\n")),
    (&["HOOK_PROGRAM_MISSING"], |h| fs::remove_file(h.path("bin/jit-ssh-host")).unwrap()),
    (&["HOOK_PROGRAM_OPEN"], |h| {
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(h.path("bin/jit-ssh-host"), open).unwrap();
    }),
    (&["GUARD_NOT_RUNNING"], |h| h.guard = None),
    (&["GUARD_OTHER_ETC"], |h| {
        h.guard = Some(TestGuard::serving(&h.path("run"), Path::new("/etc/ssh")));
    }),
    (&["GUARD_OLD"], |h| {
        let answer = r#"{"answer":"status","sessions":3}"#;
        h.guard = Some(TestGuard::answering(&h.path("run"), answer));
    }),
    (&["LINK_NOT_RUNNING"], |h| fs::remove_file(h.path("run/link.json")).unwrap()),
    (&["LINK_NOT_RUNNING"], |h| {
        let mut ended = Command::new("true").spawn().unwrap();
        let pid = ended.id().to_string();
        ended.wait().unwrap();
        let text = h.read("run/link.json");
        let own = format!("\"pid\":{}", std::process::id());
        h.write("run/link.json", &text.replace(&own, &format!("\"pid\":{pid}")));
    }),
    (&["REVOCATIONS_STALE"], |h| {
        let before = UnixTime(crate::clock::now().0 - 3_600);
        Heard::example(before, Some(before)).write(&h.path("run")).unwrap();
    }),
    (&["SETTINGS_MALFORMED"], |h| h.add("etc/jit-ssh/host.toml", "port = 22\n")),
];

#[test]
fn every_weakness_made_on_a_running_host_is_found_and_gone_when_mended() {
    let mut host = Live::new();
    let baseline = codes(&host.findings());
    if rustix::process::geteuid().is_root() {
        assert_eq!(baseline, Vec::<&str>::new(), "{:#?}", host.findings());
    }
    for (place, (expected, change)) in CASES.iter().enumerate() {
        change(&mut host);
        host.reload();
        let findings = host.findings();
        let mut found = codes(&findings);
        for code in &baseline {
            if let Some(at) = found.iter().position(|known| known == code) {
                found.remove(at);
            }
        }
        assert_eq!(found, *expected, "case {place}: {findings:#?}");
        host.mend();
    }
    assert_eq!(codes(&host.findings()), baseline);
}

#[test]
fn a_running_sshd_that_has_not_read_its_files_is_told_to_reload() {
    let host = Live::new();
    let is_stale = || codes(&host.findings()).contains(&"NEEDS_RELOAD");
    assert!(!is_stale());
    std::thread::sleep(Duration::from_millis(50));
    host.add("etc/sshd_config", "# a comment is enough\n");
    assert!(is_stale());
    host.reload();
    assert!(!is_stale());
    // A host certificate is read at the start too.
    std::thread::sleep(Duration::from_millis(50));
    let certificate = host.read("host_key-cert.pub");
    host.write("host_key-cert.pub", &certificate);
    assert!(is_stale());
}

#[test]
fn a_configuration_that_sshd_refuses_is_the_finding_and_the_rest_is_looked_at_all_the_same() {
    let host = Live::new();
    host.add("etc/sshd_config", "NoSuchKeyword yes\n");
    let principal = format!("{}\n", host.user);
    host.write(&format!("etc/jit-ssh/principals/{}", host.user), &principal);
    let findings = host.findings();
    let found = codes(&findings);
    assert!(found.contains(&"SSHD_REFUSES") && found.contains(&"PRINCIPAL_BARE"), "{found:?}");
    let refuses = findings.iter().map(|found| found.weakness.describe());
    let refuses = refuses.into_iter().find(|told| told.code == "SSHD_REFUSES").unwrap();
    assert!(refuses.message.contains("NoSuchKeyword"), "{}", refuses.message);
}

/// On 9.2 and 9.3 the last line wins, the drop-in's `none` notwithstanding; others take the first.
#[test]
fn a_later_command_for_principals_is_found_only_where_this_sshd_obeys_it() {
    let host = Live::new();
    let lines = "AuthorizedPrincipalsCommand /bin/echo x\nAuthorizedPrincipalsCommandUser nobody\n";
    host.add("etc/sshd_config", lines);
    host.reload();
    let version = gather::look(&host.places).sshd.version;
    let is_obeyed = matches!(version, Some((9, 2 | 3)));
    assert_eq!(codes(&host.findings()).contains(&"PRINCIPALS_COMMAND"), is_obeyed, "{version:?}");
    // The same with a command for keys before it: those versions drop it, and it is told why.
    let before = "AuthorizedKeysCommand /bin/true\nAuthorizedKeysCommandUser nobody\n";
    host.replace("etc/sshd_config", lines, &format!("{before}{lines}"));
    host.reload();
    let found = codes(&host.findings());
    assert_eq!(found.contains(&"ORDER_FAULT"), is_obeyed, "{found:?}");
    assert!(!found.contains(&"PRINCIPALS_COMMAND") && found.contains(&"KEYS_COMMAND"), "{found:?}");
}

#[test]
fn another_pam_service_is_found_on_an_sshd_that_can_be_told_of_one() {
    let mut host = Live::new();
    let baseline = codes(&host.findings());
    assert!(!baseline.contains(&"PAM_OTHER_SERVICE"), "{baseline:?}");
    for (who, is_found) in [("", true), ("Match User USER\n", true), ("Match User bob\n", false)] {
        let lines = format!("{who}PAMServiceName other\n").replace("USER", &host.user);
        host.add("etc/sshd_config", &lines);
        if host.places.sshd.test().is_err() {
            return eprintln!("skipped: this sshd knows no PAMServiceName");
        }
        host.reload();
        let found = codes(&host.findings());
        assert_eq!(found.contains(&"PAM_OTHER_SERVICE"), is_found, "{lines}: {found:?}");
        host.mend();
    }
}

/// What is said to follow does: the judge is a login.
#[test]
fn what_the_doctor_says_of_logins_is_what_sshd_does() {
    let mut host = Live::new();
    // Without PAM, so that the machine's own service has no say.
    let without_pam = |host: &Live| {
        host.replace("etc/sshd_config", "UsePAM yes", "UsePAM no");
        host.reload();
    };
    without_pam(&host);
    let (ours, bare) = (format!("{}@prod-host", host.user), host.user.clone());
    let found = |host: &Live| codes(&host.findings());
    assert!(host.lets_in(&ours) && !host.lets_in(&bare), "{}", host.read("log"));

    let principals = format!("etc/jit-ssh/principals/{}", host.user);
    host.add(&principals, &format!("{bare}\n"));
    assert!(host.lets_in(&bare) && found(&host).contains(&"PRINCIPAL_BARE"));
    host.mend();
    without_pam(&host);

    let list = fs::read(host.path("etc/jit-ssh/revoked.krl")).unwrap();
    let short = list.get(..list.len() - 1).unwrap();
    for (content, is_in, code) in
        [(short, false, "KRL_BROKEN"), (b"SSHK", false, "KRL_BROKEN"), (b"", true, "KRL_EMPTY")]
    {
        fs::write(host.path("etc/jit-ssh/revoked.krl"), content).unwrap();
        assert_eq!(host.lets_in(&ours), is_in, "{code}");
        assert!(found(&host).contains(&code), "{code}");
    }
    fs::write(host.path("etc/jit-ssh/revoked.krl"), &list).unwrap();

    let keys = host.read("etc/jit-ssh/user_ca.pub");
    host.write("etc/jit-ssh/user_ca.pub", &format!("ssh-ed25519 nonsense\n{keys}"));
    assert!(!host.lets_in(&ours) && found(&host).contains(&"CA_LINE_MALFORMED"));
    host.write("etc/jit-ssh/user_ca.pub", &format!("{keys}ssh-ed25519 nonsense\n"));
    assert!(host.lets_in(&ours) && found(&host).contains(&"CA_LINE_MALFORMED"));
    let certificate = host.read("host_key-cert.pub");
    host.write("etc/jit-ssh/user_ca.pub", &format!("{certificate}{keys}"));
    assert!(host.lets_in(&ours) && found(&host).contains(&"CA_LINE_CERTIFICATE"));
    host.write("etc/jit-ssh/user_ca.pub", &keys);

    let open = |mode| {
        let folder = host.path("etc/jit-ssh/principals");
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(0o777);
    assert!(!host.lets_in(&ours) && found(&host).contains(&"OPEN_TO_OTHERS"));
    open(0o755);
    assert!(host.lets_in(&ours) && !found(&host).contains(&"OPEN_TO_OTHERS"));
}
