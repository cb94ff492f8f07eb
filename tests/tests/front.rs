//! The front as a server: its bounds, its end, and what an operator sees of it.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::io::Read as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use jit_ssh_core::refusal::Reason;
use jit_ssh_core::statement::Kind;
use jit_ssh_tests::api::{Caller, sign};
use jit_ssh_tests::program::{Program, free_port, wait_until};
use jit_ssh_tests::{POLICY, Persona, Site};

const PENDING: i32 = 3;
const REFUSED: i32 = 6;
const UNREACHABLE: i32 = 7;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn ask(persona: &Persona) -> String {
    let ask = ["login", "prod-host", "--because", "INC-42 disk full", "--for", "2m"];
    persona.jit(&ask).args(["--no-wait", "--json"]).run().ended(PENDING).text("id")
}

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
    let id = ask(&alice);
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

    let id = ask(&alice);
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
    let header = ["-H", "content-type: application/grpc", "-H", "te: trailers"];
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

    // ServerReflectionRequest { list_services = 7 }.
    let method = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let listed = grpc(&site, method, &[0x3a, 0]);
    let text = String::from_utf8_lossy(&listed.body).into_owned();
    for service in ["jitssh.v1.Access", "jitssh.v1.Trust", "jitssh.v1.Log", "grpc.health.v1.Health"]
    {
        assert!(text.contains(service), "{service} is not in {text}");
    }
    // Without a body: this call is answered before its body is read, and curl 7.88 minds that.
    let header = ["-X", "POST", "--http2", "-H", "content-type: application/grpc"];
    let nothing = site.curl("/jitssh.v1.Access/Nothing", &header);
    assert!(nothing.headers.contains("grpc-status: 12"), "UNIMPLEMENTED: {}", nothing.headers);
}
