//! The front as a server: its bounds, its end, and what an operator sees of it.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::io::Read as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use jit_ssh_api::v1;
use jit_ssh_core::refusal::Reason;
use jit_ssh_core::statement::Kind;
use jit_ssh_tests::api::{Caller, sign};
use jit_ssh_tests::program::{Program, free_port, wait_until};
use jit_ssh_tests::{POLICY, Site};

const REFUSED: i32 = 6;
const UNREACHABLE: i32 = 7;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn connect(site: &Site) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", site.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Waits until the other side closes; an error of any kind but time running out is a close too.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 16]) {
        Ok(read) => read == 0,
        Err(error) => {
            !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "tests of real programs live in real time")]
fn a_connection_without_handshake_is_closed_and_an_idle_one_with_it_stays() {
    let limits = "[limits]\nhandshake_seconds = 1";
    let (site, alice, _bob) = Site::running_with(POLICY, |site| site.add_to_ca_toml(limits));
    let caller = Caller::new(&site);
    let (begun, mut silent) = (Instant::now(), connect(&site));
    assert!(is_closed(&mut silent), "it was left open");
    assert!(begun.elapsed() >= Duration::from_millis(900), "closed before its time");
    std::thread::sleep(Duration::from_secs(1));
    // The same connection, idle for longer than a handshake may take.
    caller.open_session("alice", &alice.key_file()).unwrap();
}

#[test]
fn a_message_above_the_limit_is_refused_and_its_connection_serves_on() {
    let limits = "[limits]\nmessage_bytes = 65536";
    let (site, alice, _bob) = Site::running_with(POLICY, |site| site.add_to_ca_toml(limits));
    let caller = Caller::new(&site);
    let submit =
        |text: &str| caller.submit(text.as_bytes(), &sign(&alice, Kind::Request, text.as_bytes()));
    // Heard, and found to be no statement.
    let within = submit(&"x".repeat(60_000)).unwrap_err();
    assert_eq!(within.reason(), Some(Reason::Malformed));
    // Not even read: gRPC's own refusal, without a reason of ours.
    let above = submit(&"x".repeat(70_000)).unwrap_err();
    assert_eq!(above.reason(), None);
    assert!(above.to_string().contains("OutOfRange"), "{above}");
    let good = caller.request_text("alice", &alice.public_key(), "test-host");
    assert!(submit(&good).unwrap().certificate.is_some());
}

#[test]
fn connections_above_the_limit_are_refused_until_others_close() {
    let limits = "[limits]\nconnections = 4\nhandshake_seconds = 600";
    let (site, alice, _bob) = Site::running_with(POLICY, |site| site.add_to_ca_toml(limits));
    let list = || alice.jit(&["requests"]).run();
    let mut open = vec![connect(&site), connect(&site)];
    wait_until("service beside two open connections", || list().code == 0);
    // Connections of before may still be about to close, so it can take more than two.
    wait_until("a refusal", || {
        open.push(connect(&site));
        list().code == UNREACHABLE
    });
    assert!(open.len() >= 4, "refused with {} connections open", open.len());
    assert!(is_closed(&mut connect(&site)));
    drop(open);
    wait_until("service after the others closed", || list().code == 0);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "tests of real programs live in real time")]
fn sigterm_ends_front_and_signer_in_order_while_somebody_watches() {
    let (mut site, alice, _bob) = Site::running(POLICY);
    let id = alice.ask(&[]);
    let watch = alice.jit(&["watch", &id]).start();
    wait_until("the watch", || site.serve_log().contains("Access/Watch"));
    let signer = site.signer_pid().unwrap();
    // Somebody who never says anything holds nobody up either.
    let _silent = connect(&site);
    let begun = Instant::now();
    let said = site.stop().fine();
    assert!(begun.elapsed() < PATIENCE, "{said:?}");
    assert!(!Path::new(&format!("/proc/{signer}")).exists(), "the signer lives on");
    assert!(site.serve_log().contains("\"stopped\""), "{}", site.serve_log());
    watch.kill();
    // Nothing was lost, and the next one finds everything in order.
    site.serve();
    assert!(alice.jit(&["requests", "--json"]).run().fine().out.contains(&id));
    assert!(site.verify_log().contains("log: ok"));
}

#[test]
fn a_second_front_on_the_same_state_is_refused_and_the_first_serves_on() {
    let (mut site, alice, _bob) = Site::running(POLICY);
    let second = site.ca(&["serve", "--config", "ca-config"]).run().ended(1);
    assert!(second.err.contains("another `serve` uses"), "{}", second.err);
    alice.jit(&["requests"]).run().fine();
    // After the first has ended, however it ended, another may serve.
    site.kill();
    site.serve();
    alice.jit(&["requests"]).run().fine();
}

#[test]
fn metrics_count_by_outcome_and_name_nobody() {
    let port = free_port();
    let line = format!("metrics = \"127.0.0.1:{port}\"");
    let (site, alice, bob) = Site::running_with(POLICY, |site| site.set_in_ca_toml(&line));
    let metrics = || {
        let url = format!("http://127.0.0.1:{port}/metrics");
        Program::new("curl")
            .args(["-sS", "--fail", "--max-time", "30"])
            .args([url])
            .run()
            .fine()
            .out
    };
    let count = |name: &str, outcome: &str| {
        let line = format!("jit_ssh_{name}_total{{outcome=\"{outcome}\"}} ");
        let text = metrics();
        let value = text.lines().find_map(|text| text.strip_prefix(&line));
        value.map_or(0, |value| value.parse::<u32>().unwrap())
    };
    let kinds = ["requests", "decisions", "certificates"];
    assert_eq!(kinds.map(|kind| count(kind, "ok")), [0, 0, 0]);

    let id = alice.ask(&[]);
    bob.jit(&["approve", &id, "--yes"]).run().fine();
    alice.jit(&["watch", &id]).run().fine();
    bob.jit(&["login", "prod-host", "--because", "none", "--for", "2m"]).run().ended(REFUSED);
    assert_eq!(kinds.map(|kind| count(kind, "ok")), [1, 1, 1], "{}", metrics());
    assert_eq!(count("requests", "POLICY_REFUSED"), 1);

    let text = metrics();
    for gauge in ["jit_ssh_signer_up 1", "jit_ssh_log_size ", "jit_ssh_rpc_seconds_bucket{"] {
        assert!(text.contains(gauge), "no {gauge} in {text}");
    }
    for name in ["alice", "bob", "admin", "prod-host", &id] {
        assert!(!text.contains(name), "{name} is in {text}");
    }
    // Not on the port that everyone reaches.
    let fetched = site.curl("/metrics", &[]);
    assert!(!fetched.headers.contains("openmetrics") && fetched.body.is_empty(), "{fetched:?}");
}

/// A gRPC call by curl: a foreign client, and no session.
fn grpc(site: &Site, method: &str, message: &[u8]) -> jit_ssh_tests::Fetched {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed = [&[0], &length[..], message].concat();
    let file = site.path().join("message");
    std::fs::write(&file, framed).unwrap();
    let data = format!("@{}", file.display());
    let timeout = "grpc-timeout: 30S";
    let header = ["-H", "content-type: application/grpc", "-H", "te: trailers", "-H", timeout];
    let args = [&["--http2", "--data-binary", &data][..], &header].concat();
    site.curl(method, &args)
}

#[test]
fn health_says_serving_and_reflection_lists_the_services_to_a_foreign_client() {
    let (site, _alice, _bob) = Site::running(POLICY);
    assert_eq!(site.curl("/healthz", &[]).body, b"ok\n");
    // HealthCheckRequest { service = 1 } and HealthCheckResponse { status = 1: SERVING is 1 }.
    let check = |service: &str| {
        let length = u8::try_from(service.len()).unwrap();
        let message = [&[0x0a, length], service.as_bytes()].concat();
        grpc(&site, "/grpc.health.v1.Health/Check", &message)
    };
    for service in ["", "jitssh.v1.Access", "jitssh.v1.Trust", "jitssh.v1.Log"] {
        wait_until("health", || check(service).body == [0, 0, 0, 0, 2, 0x08, 1]);
    }
    let unknown = check("jitssh.v1.Nothing");
    assert!(unknown.headers.contains("grpc-status: 5"), "NOT_FOUND: {}", unknown.headers);

    // ServerReflectionRequest { list_services = 7 }, in the version of today and in the one before.
    for version in ["v1", "v1alpha"] {
        let method = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let listed = grpc(&site, &method, &[0x3a, 0]);
        let text = String::from_utf8_lossy(&listed.body).into_owned();
        let services =
            ["jitssh.v1.Access", "jitssh.v1.Trust", "jitssh.v1.Log", "grpc.health.v1.Health"];
        for service in services {
            assert!(text.contains(service), "{service} is not in {version}: {text}");
        }
    }
    // Without a body: this call is answered before its body is read, and curl 7.88 minds that.
    let header = ["-X", "POST", "--http2", "-H", "content-type: application/grpc"];
    let nothing = site.curl("/jitssh.v1.Access/Nothing", &header);
    assert!(nothing.headers.contains("grpc-status: 12"), "UNIMPLEMENTED: {}", nothing.headers);
}

#[test]
fn a_call_is_held_to_the_deadline_its_caller_gives() {
    let (site, _alice, _bob) = Site::running(POLICY);
    let call = "/jitssh.v1.Trust/GetCaKeys";
    assert!(grpc(&site, call, &[]).headers.contains("grpc-status: 0"));
    // Without a body: these are answered before it is read, and curl 7.88 minds that.
    let status = |timeout: &str| {
        let timeout = format!("grpc-timeout: {timeout}");
        let header = ["-X", "POST", "--http2", "-H", "content-type: application/grpc", "-H"];
        site.curl(call, &[&header[..], &[&timeout]].concat()).headers
    };
    assert!(status("0n").contains("grpc-status: 4"), "DEADLINE_EXCEEDED");
    assert!(status("soon").contains("grpc-status: 3"), "INVALID_ARGUMENT");
}

#[test]
fn bundles_are_taken_in_from_admins_alone_and_nobody_else_can_hold_their_places() {
    let (site, alice, _bob) = Site::running(POLICY);
    let hand_in = |caller: &Caller| {
        let request = v1::ApplyBundleRequest::default();
        let answer = caller.call(|client| async move { client.apply_bundle(request).await });
        answer.unwrap_err().reason()
    };
    let session = |by: &str, key: &Path| {
        let token = Caller::new(&site).open_session(by, key).unwrap();
        Caller::new(&site).with_session(&token)
    };
    assert_eq!(hand_in(&Caller::new(&site)), Some(Reason::NoSession));
    assert_eq!(hand_in(&session("alice", &alice.key_file())), Some(Reason::NotAllowed));
    // Heard, and found to carry nothing.
    let admin = session("admin", &site.path().join("admin"));
    assert_eq!(hand_in(&admin), Some(Reason::Malformed));

    // Messages that begin and never end, more than there are places.
    let pipe = site.path().join("endless");
    Program::new("mkfifo").args([&pipe]).run().fine();
    // Open for writing too, so that it has no end.
    let script = "exec curl -sSk --http2 -X POST -T - -H 'content-type: application/grpc' \
        -H 'te: trailers' \"$0/jitssh.v1.Trust/ApplyBundle\" 3<>\"$1\" <\"$1\"";
    let url = format!("https://127.0.0.1:{}", site.port());
    let endless = || Program::new("sh").args(["-c", script, &url]).args([&pipe]).start();
    let endless: Vec<_> = (0..4).map(|_| endless()).collect();
    wait_until("refusals at the door", || {
        site.serve_log().matches("refused at the door").count() >= 6
    });
    site.write_policy(&POLICY.replace("30m", "29m"));
    site.apply();
    endless.into_iter().for_each(|call| drop(call.kill()));
}

#[test]
fn who_floods_from_an_address_silences_neither_other_calls_from_there_nor_admins() {
    let (site, alice, _bob) = Site::running(POLICY);
    let caller = Caller::new(&site);
    // A minute may end on the way, and all begins anew: so until it comes, and not a number.
    let flood = |what: &str, call: &dyn Fn() -> Option<Reason>| {
        wait_until(what, || (0..100).any(|_| call() == Some(Reason::Quota)));
    };
    let submit = || caller.submit(b"nonsense", b"").unwrap_err().reason();
    flood("a limit on submitting", &submit);
    caller.open_session("alice", &alice.key_file()).unwrap();
    // alice signs as somebody she is not.
    let open = || caller.open_session("bob", &alice.key_file()).unwrap_err().reason();
    flood("a limit on opening sessions", &open);
    caller.open_session("admin", &site.path().join("admin")).unwrap();
    site.write_policy(&POLICY.replace("30m", "29m"));
    site.apply();
}

#[test]
fn a_signer_that_can_not_start_ends_serve_with_its_own_sentence_and_a_mended_one_serves() {
    let (mut site, alice, _bob) = Site::running(POLICY);
    site.stop();
    let refused = |words: &str| {
        let said = site.ca(&["serve", "--config", "ca-config"]).run().ended(1);
        assert!(said.err.contains("error: the signer can not start"), "{}", said.err);
        assert!(said.err.contains(words), "{}", said.err);
    };
    let key = site.state().join("signer/ca_key");
    let mode = |mode: &str| Program::new("chmod").args([mode]).args([&key]).run().fine();
    mode("0644");
    refused("ca_key");
    mode("0600");
    let journal = std::fs::read_dir(site.state().join("signer/journal")).unwrap();
    let segment = journal
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("segment-"));
    let segment = segment.unwrap();
    let good = std::fs::read(&segment).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 1;
    std::fs::write(&segment, bad).unwrap();
    refused("journal");
    std::fs::write(&segment, good).unwrap();
    site.serve();
    alice.jit(&["requests"]).run().fine();
    // From then on, whatever ends it, it is started anew.
    let signer = site.signer_pid().unwrap();
    Program::new("kill").args(["-KILL", &signer.to_string()]).run().fine();
    wait_until("another signer", || site.signer_pid().is_some_and(|pid| pid != signer));
}

#[test]
fn a_broken_database_is_told_with_the_way_out_which_loses_nothing() {
    let (mut site, alice, _bob) = Site::running(POLICY);
    let id = alice.ask(&[]);
    site.stop();
    let database = site.state().join("front/jit-ssh.db");
    // What SQLite could mend it with goes too.
    for beside in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(site.state().join(format!("front/jit-ssh.db{beside}")));
    }
    std::fs::write(&database, "this is no database at all".repeat(200)).unwrap();
    let said = site.ca(&["serve", "--config", "ca-config"]).run().ended(1);
    assert!(said.err.contains("jit-ssh.db: "), "{}", said.err);
    assert!(said.err.contains("hint: the database is a copy"), "{}", said.err);
    std::fs::remove_file(&database).unwrap();
    site.serve();
    assert!(alice.jit(&["requests", "--json"]).run().fine().out.contains(&id));
}

#[test]
fn nobody_has_until_a_moment_to_decide_what_a_rule_approves_by_itself() {
    let (site, alice, _bob) = Site::running(POLICY);
    let asked = alice.ask(&[]);
    let login = ["login", "test-host", "--because", "a look", "--for", "2m", "--json"];
    let certified = alice.jit(&login).run().fine().text("id");
    let token = Caller::new(&site).open_session("alice", &alice.key_file()).unwrap();
    let caller = Caller::new(&site).with_session(&token);
    let decide_by = |id: &str| {
        let request = v1::GetRequest { id: id.to_owned(), ..Default::default() };
        let answer = caller.call(|client| async move { client.get(request).await });
        answer.unwrap().access.unwrap().decide_by
    };
    assert!(decide_by(&asked) > 0);
    assert_eq!(decide_by(&certified), 0);
}
