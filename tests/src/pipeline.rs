//! A pipeline that may vouch for hosts, and what is done with them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::{Persona, Said, Site, Sshd, me};

/// Whoever is in `sre` may go to hosts of the pipeline, by themselves.
const RULES: &str = r#"
[[allow]]
name = "ci"
who = ["group:sre"]
hosts = ["label:env=ci"]
logins = ["LOGIN"]
max_for = "10m"
cert_for = "10m"
auto = {}
permit = ["pty"]
"#;

/// A running CA with alice, and a pipeline that may vouch for hosts called `ci-...`.
pub fn site() -> (Site, Persona, Persona) {
    let mut site = Site::initialised();
    let pipeline = Persona::new(site.path(), "pipeline");
    let (alice, _bob) = site.populate(RULES);
    let hosts = site.config().join("hosts.toml");
    let listed = fs::read_to_string(&hosts).unwrap();
    let enroller = format!(
        "[[enroller]]\nid = \"pipeline\"\nkeys = [\"{}\"]\nnames = [\"ci-*\"]\n\
         labels = {{ env = [\"ci\"] }}\nlogins = [\"{}\"]\nmax_for = \"1h\"\nmax_uses = 5\n",
        pipeline.public_key(),
        me()
    );
    fs::write(&hosts, format!("{listed}{enroller}")).unwrap();
    site.serve();
    site.apply();
    alice.enroll(&site.url);
    (site, alice, pipeline)
}

/// `token` for hosts that stay for `span`.
pub fn lend(site: &Site, key: &Path, span: &str, more: &[&str]) -> Said {
    let login = me();
    site.ca(&["token", "--ca", &site.url, "--enroller", "pipeline", "--name", "ci-*"])
        .args(["--labels", "env=ci", "--logins", &login, "--for", span])
        .args(["--identity"])
        .args([key])
        .args(more)
        .run()
}

/// Makes a join token for hosts that stay for `span`; gives the file that holds it.
pub fn token(site: &Site, pipeline: &Persona, span: &str, uses: &str) -> String {
    let said = lend(site, &pipeline.key_file(), span, &["--uses", uses]).fine();
    let path = site.path().join("token");
    fs::write(&path, &said.out).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// ssh that knows hosts by the file that jit-ssh keeps, and by nothing else.
pub fn strict_ssh(alice: &Persona, host: &Sshd) -> Said {
    let known = format!("UserKnownHostsFile={}", alice.home.join("state/known_hosts").display());
    // The first value of an option counts.
    let ssh = alice.program("ssh").args(["-o", &known]).args(host.client_options());
    ssh.args([host.name(), "echo in"]).run()
}

/// The enroller vouches for the key of `host`; `labels` and `span` as it says.
pub fn vouch(site: &Site, pipeline: &Persona, host: &Sshd, labels: &str, span: &str) -> Said {
    let (login, key) = (me(), pipeline.key_file());
    site.ca(&["vouch", "--ca", &site.url, "--enroller", "pipeline", "--name", host.name()])
        .args(["--labels", labels, "--logins", &login, "--for", span, "--identity"])
        .args([&key])
        .args(["--key"])
        .args([host.etc.join("host_key.pub")])
        .run()
}

/// Asks for access to a host as whoever runs the tests.
pub fn login(alice: &Persona, host: &str, span: &str) -> Said {
    let login = me();
    alice
        .jit(&["login", host, "--as", &login, "--for", span, "--because", "a look", "--json"])
        .run()
}
