//! The command against a front of the tests' own, over real TLS.

use std::fs;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use jit_ssh_api::v1::trust_server::{Trust, TrustServer};
use jit_ssh_api::{status_of, v1};
use jit_ssh_core::digest::RootFingerprint;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::root::Admin;
use jit_ssh_signer::log::LogKey;
use rustls::pki_types::PrivatePkcs8KeyDer;
use ssh_key::LineEnding;
use tempfile::TempDir;
use tonic::{Request, Response, Status};

use super::*;
use crate::anchor;
use crate::testkeys::{ca_key, private, public};

/// What the front knows.
#[derive(Clone, Default)]
struct Held {
    in_force: Option<v1::ApplyBundleRequest>,
    proposal: Option<v1::ApplyBundleRequest>,
    applied: usize,
}

struct Front {
    root: Root,
    held: Arc<Mutex<Held>>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Trust for Front {
    async fn get_root(&self, _: Request<v1::GetRootRequest>) -> Answer<v1::GetRootResponse> {
        Ok(Response::new(v1::GetRootResponse { root: self.root.to_bytes().into() }))
    }

    async fn get_bundle(
        &self,
        request: Request<v1::GetBundleRequest>,
    ) -> Answer<v1::GetBundleResponse> {
        let held = self.held.lock().unwrap().clone();
        let wanted = request.get_ref();
        let Some(kept) = (if wanted.proposal { held.proposal } else { held.in_force }) else {
            return Err(status_of(&Refusal::new(Reason::NoBundle, "there is no bundle yet.")));
        };
        let content = |part: i32| match v1::BundlePart::try_from(part).unwrap() {
            v1::BundlePart::People => kept.people.clone(),
            v1::BundlePart::Hosts => kept.hosts.clone(),
            v1::BundlePart::Policy => kept.policy.clone(),
            v1::BundlePart::Signers => kept.signers.clone(),
            v1::BundlePart::Unspecified => unreachable!(),
        };
        let files =
            wanted.parts.iter().map(|part| v1::BundleFile { part: *part, content: content(*part) });
        let files = files.collect();
        Ok(Response::new(v1::GetBundleResponse { bundle: kept.bundle, files }))
    }

    async fn apply_bundle(
        &self,
        request: Request<v1::ApplyBundleRequest>,
    ) -> Answer<v1::ApplyBundleResponse> {
        let request = request.into_inner();
        let sent = request.bundle.clone().unwrap();
        let signed = statement::open_bundle(&sent.statement, &sent.signatures, &self.root).unwrap();
        let mut held = self.held.lock().unwrap();
        held.applied += 1;
        let in_force = signed.is_complete(&self.root);
        if in_force {
            held.in_force = Some(request);
            held.proposal = None;
        } else {
            held.proposal = Some(request);
        }
        Ok(Response::new(v1::ApplyBundleResponse {
            in_force,
            version: signed.body.version,
            signed: signed.admins.iter().map(ToString::to_string).collect(),
            threshold: u32::try_from(self.root.threshold()).unwrap(),
        }))
    }

    async fn get_ca_keys(&self, _: Request<v1::GetCaKeysRequest>) -> Answer<v1::GetCaKeysResponse> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn get_krl(&self, _: Request<v1::GetKrlRequest>) -> Answer<v1::GetKrlResponse> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Answer<v1::OpenSessionResponse> {
        let sent = request.into_inner().session.unwrap();
        let ca = self.root.fingerprint();
        let signature = &sent.signatures[0];
        let session =
            statement::open::<statement::Session>(&sent.statement, signature, &ca).unwrap();
        assert_eq!(self.root.admin_of(session.key()).unwrap().id, session.body().by);
        Ok(Response::new(v1::OpenSessionResponse { token: "token".to_owned(), until: 1 }))
    }
}

/// A front and the admins' folders.
struct Scene {
    dir: TempDir,
    held: Arc<Mutex<Held>>,
    url: CaUrl,
}

impl Scene {
    /// A front that asks for `threshold` of the admins ann and ben.
    fn new(threshold: u8) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let (pem, key) = anchor::make(clock::now()).unwrap();
        fs::write(dir.path().join(anchor::KEY), key).unwrap();
        fs::write(dir.path().join(anchor::NAMES), "127.0.0.1\n").unwrap();
        let admin = |id: &str, seed| Admin { id: id.parse().unwrap(), key: public(seed) };
        let root = Root::new(vec![admin("ann", 1), admin("ben", 2)], threshold, pem).unwrap();
        let held = Arc::new(Mutex::new(Held::default()));
        let (pin, front) = (root.fingerprint(), Front { root, held: held.clone() });
        let url = serve(front, dir.path(), pin);

        for (name, seed) in [("ann", 1), ("ben", 2), ("eve", 3)] {
            private(seed).write_openssh_file(dir.path().join(name), LineEnding::LF).unwrap();
        }
        let scene = Scene { dir, held, url };
        let log = LogKey::from_seed("jit-ssh/test/1", &[60; 32]).unwrap();
        let (ca, log) = (ca_key(50), log.verifier().to_string());
        scene.write("people.toml", "");
        scene.write("hosts.toml", "");
        scene.write("policy.toml", "");
        let signer = format!("[[signer]]\nnumber = 1\nca_key = \"{ca}\"\nlog_key = \"{log}\"\n");
        scene.write("signers.toml", &signer);
        scene
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn args(&self, identity: &str) -> ApplyArgs {
        ApplyArgs {
            config: self.dir.path().to_path_buf(),
            identity: Some(self.dir.path().join(identity)),
            url: Some(self.url.clone()),
            yes: true,
            dry_run: false,
            skip_tests: false,
            json: false,
        }
    }

    /// Runs the command; gives its exit code, or what it says.
    fn run(&self, args: &ApplyArgs) -> Result<ExitCode, String> {
        cmd_apply(args).map_err(|error| format!("{error:#}"))
    }

    fn held(&self) -> Held {
        self.held.lock().unwrap().clone()
    }

    fn version(&self) -> Option<u64> {
        let statement = self.held().in_force?.bundle?.statement;
        Some(statement::parse::<statement::Bundle>(&statement).unwrap().version)
    }
}

/// Serves in a thread of its own, for as long as the tests run.
fn serve(front: Front, dir: &Path, pin: RootFingerprint) -> CaUrl {
    let (issuer, names) = anchor::issuer(dir).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let place = listener.local_addr().unwrap();
    let routes = tonic::service::Routes::new(TrustServer::new(front)).prepare();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let tcp = listener.accept().await.unwrap().0;
                let (acceptor, service) =
                    (acceptor.clone(), TowerToHyperService::new(routes.clone()));
                tokio::spawn(async move {
                    let stream = TokioIo::new(acceptor.accept(tcp).await.unwrap());
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(stream, service).await;
                });
            }
        });
    });
    format!("https://{place}#{pin}").parse().unwrap()
}

fn code(code: u8) -> Result<ExitCode, String> {
    Ok(ExitCode::from(code))
}

#[test]
fn one_admin_puts_a_bundle_in_force_and_the_same_again_sends_nothing() {
    let scene = Scene::new(1);
    assert_eq!(scene.run(&scene.args("ann")), code(0));
    assert_eq!(scene.version(), Some(1));
    assert_eq!(scene.run(&scene.args("ben")), code(0));
    assert_eq!(scene.held().applied, 1, "nothing changed, so nothing was sent");

    scene.write("hosts.toml", "[[host]]\nname = \"a\"\nlogins = [\"deploy\"]\n");
    let mut dry = scene.args("ben");
    dry.dry_run = true;
    assert_eq!(scene.run(&dry), code(0));
    assert_eq!((scene.version(), scene.held().applied), (Some(1), 1));
    assert_eq!(scene.run(&scene.args("ben")), code(0));
    assert_eq!(scene.version(), Some(2));
}

#[test]
fn below_the_threshold_it_waits_for_a_second_admin_who_signs_the_same_bytes() {
    let scene = Scene::new(2);
    assert_eq!(scene.run(&scene.args("ann")), code(3));
    let waiting = scene.held().proposal.unwrap().bundle.unwrap();
    // The same admin again adds nothing.
    assert_eq!(scene.run(&scene.args("ann")), code(3));
    assert_eq!(scene.held().applied, 1);

    assert_eq!(scene.run(&scene.args("ben")), code(0));
    let in_force = scene.held().in_force.unwrap().bundle.unwrap();
    assert_eq!(in_force.statement, waiting.statement);
    assert_eq!(in_force.signatures.len(), 2);
}

#[test]
fn other_files_than_the_waiting_ones_are_a_proposal_of_their_own() {
    let scene = Scene::new(2);
    assert_eq!(scene.run(&scene.args("ann")), code(3));
    let first = scene.held().proposal.unwrap().bundle.unwrap();
    scene.write("hosts.toml", "[[host]]\nname = \"a\"\nlogins = [\"deploy\"]\n");
    assert_eq!(scene.run(&scene.args("ben")), code(3));
    let second = scene.held().proposal.unwrap().bundle.unwrap();
    assert_ne!(first.statement, second.statement);
    assert_eq!(second.signatures.len(), 1);
}

#[test]
fn who_is_no_admin_and_what_does_not_hold_together_is_refused_before_anything_is_sent() {
    let scene = Scene::new(1);
    assert!(scene.run(&scene.args("eve")).unwrap_err().contains("no admin's"));
    if !std::io::stdin().is_terminal() {
        let mut asked = scene.args("ann");
        asked.yes = false;
        assert!(scene.run(&asked).unwrap_err().contains("no terminal"));
    }
    scene.write("people.toml", "bad = 1\n");
    assert!(scene.run(&scene.args("ann")).unwrap_err().contains("1 problem"));
    assert_eq!(scene.held().applied, 0);
    scene.write("people.toml", "");
    assert_eq!(scene.run(&scene.args("ann")), code(0));
}

/// Alice and bob of `sre`, bob of `leads` too, a host, and these rules.
fn rules(scene: &Scene, policy: &str) {
    let person = |id: &str, seed, groups: &str| {
        let key = public(seed);
        format!(
            "[[person]]\nid = \"{id}\"\nname = \"X\"\nkeys = [\"{key}\"]\ngroups = [{groups}]\n"
        )
    };
    let people = person("alice", 11, "\"sre\"") + &person("bob", 12, "\"sre\", \"leads\"");
    scene.write("people.toml", &people);
    scene.write("hosts.toml", "[[host]]\nname = \"web-1\"\nlogins = [\"deploy\"]\n");
    scene.write("policy.toml", policy);
}

fn allow(name: &str, approval: &str) -> String {
    format!(
        "[[allow]]\nname = \"{name}\"\nwho = [\"person:alice\"]\nhosts = [\"web-1\"]\nlogins = [\"deploy\"]\n\
         max_for = \"30m\"\ncert_for = \"5m\"\n{approval}\n"
    )
}

const LEADS: &str = "approvals = [{ from = [\"group:leads\"], count = 1 }]";

#[test]
fn rules_that_can_do_nothing_are_told_and_stop_nobody() {
    let scene = Scene::new(1);
    rules(&scene, &(allow("one", LEADS) + &allow("two", LEADS)));
    assert_eq!(scene.run(&scene.args("ann")), code(0));
    assert_eq!(scene.version(), Some(1));
    // Long past: it lapsed, which a warning says.
    rules(&scene, &allow("one", "auto = { review_by = \"2020-01-01\" }"));
    assert_eq!(scene.run(&scene.args("ann")), code(0));
    assert_eq!(scene.version(), Some(2));
}

#[test]
fn what_is_not_as_expected_is_not_signed_unless_the_admin_says_so() {
    let scene = Scene::new(1);
    rules(&scene, &allow("one", LEADS));
    let case = |expect: &str| {
        format!(
            "[[case]]\nname = \"it\"\nwho = \"alice\"\nwhere = [\"web-1\"]\nas = [\"deploy\"]\nfor = \"10m\"\nexpect = {{ {expect} }}\n"
        )
    };
    scene.write("policy_test.toml", &case("auto = true"));
    let error = scene.run(&scene.args("ann")).unwrap_err();
    assert_eq!(error, "1 of 1 case in policy_test.toml is not as expected.");
    scene.write("policy_test.toml", "case = 1\n");
    let error = scene.run(&scene.args("ann")).unwrap_err();
    assert!(error.ends_with("policy_test.toml has 1 problem."), "{error}");
    assert_eq!(scene.held().applied, 0);
    let mut skipping = scene.args("ann");
    skipping.skip_tests = true;
    assert_eq!(scene.run(&skipping), code(0));
    scene.write("policy_test.toml", &case("rule = \"one\", approvers = [\"bob\"]"));
    rules(&scene, &(allow("one", LEADS) + "use_within = \"5m\"\n"));
    assert_eq!(scene.run(&scene.args("ann")), code(0));
    assert_eq!(scene.version(), Some(2));
}

#[test]
fn an_admin_reads_who_gains_and_loses_what() {
    let scene = Scene::new(1);
    let bundle = |policy: &str| {
        rules(&scene, policy);
        let files = read_files(scene.dir.path()).unwrap();
        Bundle::parse(1, &files, &[]).unwrap()
    };
    let (before, after) = (bundle(&allow("one", LEADS)), bundle(&allow("one", "auto = {}")));
    let told = |old: Option<&Bundle>, new: &Bundle| {
        let differs = Differs::of(old, new, vec![]);
        in_words(&differs.shifts, &differs.rules)
    };
    assert_eq!(
        told(None, &before),
        [
            "alice gains: ask as deploy on web-1 for up to 30m (rule one)",
            "bob gains: approve on web-1 (rule one)",
        ]
    );
    assert_eq!(
        told(Some(&before), &after),
        [
            "bob loses: approve on web-1 (rule one)",
            "alice gains: go without approval as deploy on web-1 (rule one)",
            "rule one: approvals now given by itself instead of 1 from group:leads with strength any",
        ]
    );
    assert_eq!(told(Some(&after), &after), ["nobody gains or loses anything."]);
}
