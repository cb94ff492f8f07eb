//! Each refusal stands beside the call that succeeds and differs from it in one thing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use jit_ssh_core::deployment::{Deployment, SignerPlace};
use jit_ssh_signer::keys;
use tempfile::TempDir;

use super::*;
use crate::testkeys::public;

const NOW: UnixTime = UnixTime(1_790_000_000);

struct Scene {
    dir: TempDir,
    args: InitArgs,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let args = InitArgs {
            config: at("conf/ca-config"),
            state: at("var/state"),
            listen: "127.0.0.1:7443".parse().unwrap(),
            url_host: None,
            tls_anchor: None,
            signer_user: None,
            front_user: None,
            admin: vec![at("ann.pub"), at("ben.pub")],
            threshold: 2,
            json: false,
        };
        fs::write(at("ann.pub"), format!("{} ann@laptop\n", public(1))).unwrap();
        fs::write(at("ben.pub"), format!("{}\n", public(2))).unwrap();
        Scene { dir, args }
    }

    fn make(&self) -> anyhow::Result<Made> {
        make(&self.args, &self.args.config, &self.args.state, NOW)
    }

    /// That it is refused with these words, and that the folder is as it was.
    fn refused(&self, words: &str) {
        let before = self.listing();
        let error = format!("{:#}", self.make().unwrap_err());
        assert!(error.contains(words), "{error}");
        assert_eq!(self.listing(), before);
    }

    /// Every path below the folder, with the content of files.
    fn listing(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut found, mut open) = (Vec::new(), vec![self.dir.path().to_path_buf()]);
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(fs::read_dir(&path).unwrap().map(|item| item.unwrap().path()));
                found.push((path, Vec::new()));
            } else {
                let content = fs::read(&path).unwrap_or_default();
                found.push((path, content));
            }
        }
        found.sort();
        found
    }

    fn config(&self, name: &str) -> PathBuf {
        self.args.config.join(name)
    }

    fn place(&self, name: &str, text: &str) {
        fs::create_dir_all(&self.args.config).unwrap();
        fs::write(self.config(name), text).unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn from_nothing_to_a_ca_whose_parts_fit() {
    let scene = Scene::new();
    let made = scene.make().unwrap();
    let state = &scene.args.state;

    let root = Root::parse(&fs::read(state.join("root.json")).unwrap()).unwrap();
    assert_eq!(root.fingerprint(), made.url.pin());
    assert_eq!(made.url.authority(), "127.0.0.1:7443");
    assert_eq!(root.threshold(), 2);
    assert_eq!(root.admin_of(&public(1)).unwrap().id.as_str(), "ann");

    let held = keys::load(&state.join("signer")).unwrap();
    assert_eq!((held.number.get(), &held.ca_key), (1, &made.keys.ca_key));
    assert_eq!(held.root.fingerprint(), root.fingerprint());
    let digest = root.fingerprint().0.to_string();
    assert_eq!(made.keys.log_key.name(), format!("jit-ssh/{}/1", &digest[..16]));

    let deployment = Deployment::parse(&fs::read(scene.config("ca.toml")).unwrap()).unwrap();
    assert_eq!(deployment.state, *state);
    assert_eq!(deployment.listen, scene.args.listen);
    let read = |name: &str| fs::read(scene.config(name)).unwrap();
    let files = BundleFilesOf(read).all();
    let bundle = jit_ssh_core::bundle::Bundle::parse(1, &files, &root.admin_keys()).unwrap();
    assert!(bundle.signers.trusts_ca(&made.keys.ca_key));
    assert_eq!(made.config.signers, Signers::Named);

    let tls = state.join("front/tls");
    let anchor = fs::read_to_string(tls.join("anchor.pem")).unwrap();
    assert_eq!(anchor, root.tls_anchor());
    assert_eq!(fs::read_to_string(tls.join("names")).unwrap(), "127.0.0.1\n");
    for (path, expected) in [
        (state.clone(), 0o700),
        (state.join("signer"), 0o700),
        (state.join("signer/ca_key"), 0o600),
        (state.join("signer/host_ca_key"), 0o600),
        (tls.join("anchor.key"), 0o600),
    ] {
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    let beside = fs::read_dir(state.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "nothing is left beside the state");
}

struct BundleFilesOf<F>(F);

impl<F: Fn(&str) -> Vec<u8>> BundleFilesOf<F> {
    fn all(&self) -> jit_ssh_core::bundle::BundleFiles {
        jit_ssh_core::bundle::BundleFiles {
            people: (self.0)("people.toml"),
            hosts: (self.0)("hosts.toml"),
            policy: (self.0)("policy.toml"),
            signers: (self.0)("signers.toml"),
        }
    }
}

#[test]
fn the_anchor_certifies_a_front_and_rustls_accepts_it() {
    let scene = Scene::new();
    let made = scene.make().unwrap();
    let (issuer, names) = crate::anchor::issuer(&crate::anchor::folder(&scene.args.state)).unwrap();
    assert_eq!(names, ["127.0.0.1"]);
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(names).unwrap().signed_by(&leaf_key, &issuer).unwrap();

    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::pem::PemObject as _;
    let mut anchors = rustls::RootCertStore::empty();
    let pem = made.root.tls_anchor().as_bytes();
    anchors.add(rustls::pki_types::CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
        anchors.into(),
        provider.into(),
    )
    .build()
    .unwrap();
    let now = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.0));
    let judge = |name: &str| {
        verifier.verify_server_cert(leaf.der(), &[], &name.to_owned().try_into().unwrap(), &[], now)
    };
    assert!(judge("127.0.0.1").is_ok());
    assert!(judge("127.0.0.2").is_err());
}

/// A certificate as an operator has it, in PEM, after `change`, and its private key.
fn operators(change: impl FnOnce(&mut rcgen::CertificateParams)) -> (String, String) {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Example Root");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    change(&mut params);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn an_operators_anchor_goes_into_the_root_and_its_key_stays_away() {
    let mut scene = Scene::new();
    let file = scene.dir.path().join("root-ca.pem");
    let (pem, key) = operators(|_| ());
    scene.args.tls_anchor = Some(file.clone());
    scene.args.url_host = Some("ca.example".to_owned());

    let lapsed = operators(|params| params.not_after = rcgen::date_time_ymd(2026, 1, 1)).0;
    let early = operators(|params| params.not_before = rcgen::date_time_ymd(2030, 1, 1)).0;
    let servers = operators(|params| params.is_ca = rcgen::IsCa::ExplicitNoCa).0;
    let silent = operators(|params| params.is_ca = rcgen::IsCa::NoCa).0;
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (text, words) in [
        ("", "0 certificates"),
        ("hello\n", "0 certificates"),
        (junk, "can not be the TLS anchor"),
        (&format!("{pem}{pem}"), "2 certificates"),
        (&format!("{pem}{key}"), "private key"),
        (&lapsed, "lapsed"),
        (&early, "not valid yet"),
        (&servers, "not the certificate of a CA"),
        (&silent, "not the certificate of a CA"),
        (&"x".repeat(100_000), "too long"),
    ] {
        fs::write(&file, text).unwrap();
        scene.refused(words);
    }
    fs::write(&file, format!("# Example Root\r\n{}", pem.replace('\n', "\r\n"))).unwrap();
    let made = scene.make().unwrap();
    assert_eq!(made.root.tls_anchor(), pem, "the certificate, and nothing around it");
    let tls = scene.args.state.join("front/tls");
    assert_eq!(fs::read_to_string(tls.join("anchor.pem")).unwrap(), pem);
    assert_eq!(fs::read_to_string(tls.join("names")).unwrap(), "ca.example\n");
    assert!(!tls.join("anchor.key").exists());
}

#[test]
fn a_tls_certificate_of_the_operators_needs_their_anchor() {
    let mut scene = Scene::new();
    let state = scene.args.state.display();
    let text = format!("listen = \"127.0.0.1:7443\"\nstate = \"{state}\"\n");
    let own = format!("{text}[tls]\ncertificate = \"/c.pem\"\nkey = \"/k.pem\"\n");
    scene.place("ca.toml", &own);
    scene.refused("a TLS certificate of your own");
    let file = scene.dir.path().join("root-ca.pem");
    fs::write(&file, operators(|_| ()).0).unwrap();
    scene.args.tls_anchor = Some(file);
    assert!(scene.make().is_ok());
}

#[test]
fn existing_files_are_kept_and_open_markers_filled() {
    let scene = Scene::new();
    let people = "# mine\n";
    scene.place("people.toml", people);
    scene.place("signers.toml", "# mine too\n{{signers}}\n");
    let made = scene.make().unwrap();
    assert_eq!(fs::read_to_string(scene.config("people.toml")).unwrap(), people);
    let signers = fs::read_to_string(scene.config("signers.toml")).unwrap();
    assert!(signers.starts_with("# mine too\n[[signer]]\nnumber = 1\n"), "{signers}");
    assert_eq!(made.config.signers, Signers::Named);
    assert_eq!(made.config.kept, [scene.config("people.toml")]);
    assert_eq!(made.config.written.len(), 5);
}

#[test]
fn an_existing_signers_file_without_this_signer_is_kept_and_told_with_the_block_to_add() {
    let scene = Scene::new();
    let other = "[[signer]]\nnumber = 2\nca_key = \"ssh-ed25519 AAAA\"\nlog_key = \"x\"\n";
    scene.place("signers.toml", other);
    let made = scene.make().unwrap();
    assert_eq!(fs::read_to_string(scene.config("signers.toml")).unwrap(), other);
    let Signers::Missing { block, .. } = made.config.signers else { panic!("it is missing") };
    fs::write(scene.config("signers.toml"), &block).unwrap();
    assert!(block.contains(&made.keys.ca_key.to_string()));
    assert_eq!(config::names_signer(&block, &made.root, &made.keys), Ok(()));
}

#[test]
fn an_existing_ca_toml_must_be_of_this_ca() {
    let text = |listen: &str, state: &Path| {
        format!("listen = \"{listen}\"\nstate = \"{}\"\n", state.display())
    };
    let scene = Scene::new();
    scene.place("ca.toml", &text("127.0.0.1:7444", &scene.args.state));
    scene.refused("127.0.0.1:7444");
    scene.place("ca.toml", &text("127.0.0.1:7443", Path::new("/elsewhere")));
    scene.refused("/elsewhere");
    scene.place("ca.toml", "listen = 1\n");
    scene.refused("can not be used");
    scene.place("ca.toml", &text("127.0.0.1:7443", &scene.args.state));
    assert!(scene.make().is_ok());
}

#[test]
fn a_state_in_use_is_left_alone() {
    let scene = Scene::new();
    scene.make().unwrap();
    scene.refused("holds a CA already");

    let scene = Scene::new();
    fs::create_dir_all(&scene.args.state).unwrap();
    fs::write(scene.args.state.join("x"), "").unwrap();
    scene.refused("is not empty");
    fs::remove_file(scene.args.state.join("x")).unwrap();
    assert!(scene.make().is_ok(), "an empty folder will do");
}

#[test]
fn what_fails_midway_leaves_nothing() {
    let mut scene = Scene::new();
    // Keys and four files are made by the time that the last one can not be: its name is taken by
    // a link that leads nowhere.
    fs::create_dir_all(&scene.args.config).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", scene.config("signers.toml")).unwrap();
    scene.refused("signers.toml");
    fs::remove_file(scene.config("signers.toml")).unwrap();
    // Something comes where the state goes after it was found to be free.
    let mut undo = Undo::default();
    let admins = admins::read(&scene.args.admin).unwrap();
    let wanted =
        state::Wanted { admins, threshold: 1, names: vec![], tls_anchor: None, users: None };
    let new = state::make(&scene.args.state, wanted, NOW, &mut undo).unwrap();
    fs::create_dir_all(scene.args.state.join("x")).unwrap();
    assert!(new.put_in_place(&scene.args.state, &mut undo).is_err());
    drop(undo);
    let beside = fs::read_dir(scene.args.state.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "only what came is there");
    fs::remove_dir_all(&scene.args.state).unwrap();
    fs::write(scene.dir.path().join("file"), "").unwrap();
    scene.args.state = scene.dir.path().join("file/state");
    scene.refused("file");
}

#[test]
fn signer_and_front_are_two_users_whom_the_system_knows_and_neither_is_root() {
    let mut scene = Scene::new();
    // Users of Debian's base system; the first is nobody's own.
    let (one, other) = ("nobody", "daemon");
    for (signer, front, words) in [
        (Some(one), None, "go together"),
        (None, Some(other), "go together"),
        (Some(one), Some("no-such-user"), "no user no-such-user"),
        (Some("--help"), Some(other), "no user --help"),
        (Some("root"), Some(other), "root is root"),
        (Some(one), Some(one), "one user"),
    ] {
        scene.args.signer_user = signer.map(str::to_owned);
        scene.args.front_user = front.map(str::to_owned);
        scene.refused(words);
    }
    scene.args.signer_user = Some(one.to_owned());
    scene.args.front_user = Some(other.to_owned());
    if !rustix::process::geteuid().is_root() {
        scene.refused("only root");
        return;
    }
    let made = scene.make().unwrap();
    let socket = scene.args.state.join("run/signer.sock");
    let deployment = Deployment::parse(&fs::read(scene.config("ca.toml")).unwrap()).unwrap();
    assert_eq!(deployment.signer, SignerPlace::Socket(socket.clone()));
    let [signer, front] = made.users.unwrap().commands(&scene.args.config, &scene.args.state);
    assert!(signer.contains(&format!("--socket {} --peer-uid 1", socket.display())), "{signer}");
    assert!(front.starts_with("setpriv --reuid=daemon ") && front.contains("ca serve"), "{front}");
}

#[test]
fn an_existing_ca_toml_must_name_the_signers_socket_where_it_is_to_have_one() {
    let scene = Scene::new();
    let state = &scene.args.state;
    let socket = Users::socket(state);
    let plan = || config::plan(&scene.args.config, scene.args.listen, state, Some(&socket));
    let shown = state.display();
    let text = format!("listen = \"127.0.0.1:7443\"\nstate = \"{shown}\"\n");
    assert!(plan().is_ok(), "a new file names it");
    scene.place("ca.toml", &text);
    assert!(plan().unwrap_err().to_string().contains("where the signer listens"));
    scene.place("ca.toml", &format!("signer = \"/run/other.sock\"\n{text}"));
    assert!(plan().unwrap_err().to_string().contains("where the signer listens"));
    scene.place("ca.toml", &format!("signer = \"{}\"\n{text}", socket.display()));
    assert!(plan().is_ok());
}

#[test]
fn thresholds_that_can_not_be_met_are_refused() {
    let mut scene = Scene::new();
    for threshold in [0, 3] {
        scene.args.threshold = threshold;
        scene.refused("can not be met");
    }
    scene.args.threshold = 1;
    assert!(scene.make().is_ok());
}

#[test]
fn addresses_nobody_could_use_are_refused() {
    let mut scene = Scene::new();
    scene.args.listen = "127.0.0.1:0".parse().unwrap();
    scene.refused("port 0");
    scene.args.listen = "0.0.0.0:7443".parse().unwrap();
    scene.refused("every address");
    scene.args.url_host = Some("ca.example/x".to_owned());
    scene.refused("--url-host");
    scene.args.url_host = Some("ca.example".to_owned());
    let made = scene.make().unwrap();
    assert_eq!(made.url.authority(), "ca.example:7443");
    let names = fs::read_to_string(scene.args.state.join("front/tls/names")).unwrap();
    assert_eq!(names, "ca.example\n127.0.0.1\n");

    let mut scene = Scene::new();
    scene.args.listen = "[::1]:7443".parse().unwrap();
    assert_eq!(scene.make().unwrap().url.authority(), "[::1]:7443");
}

#[test]
fn admin_files_must_hold_one_key_that_can_sign() {
    let scene = Scene::new();
    let path = scene.dir.path().join("ann.pub");
    let good = public(1).to_string();
    let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7 x";
    let certificate = "ssh-ed25519-cert-v01@openssh.com AAAA x";
    for (text, words) in [
        (rsa, "RSA"),
        (certificate, "certificate"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "private key"),
        ("", "exactly one"),
        (&format!("{good}\n{good}\n"), "exactly one"),
        ("hello", "OpenSSH public key"),
        // Ben's key.
        (&public(2).to_string(), "twice"),
    ] {
        fs::write(&path, text).unwrap();
        scene.refused(words);
    }
    fs::write(&path, good).unwrap();
    assert!(scene.make().is_ok());

    let mut scene = Scene::new();
    let named = scene.dir.path().join("Ann Doe.pub");
    fs::rename(&scene.args.admin[0], &named).unwrap();
    scene.args.admin[0] = named;
    scene.refused("admin's id");
}
