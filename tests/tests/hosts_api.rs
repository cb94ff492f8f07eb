//! What hosts hear and tell over the gRPC API, as any program could.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_ssh_api::{ApiError, v1};
use jit_ssh_core::krl::Krl;
use jit_ssh_core::refusal::Reason;
use jit_ssh_core::statement::Kind;
use jit_ssh_tests::api::{Caller, now, sign_with};
use jit_ssh_tests::program::make_key;
use jit_ssh_tests::{POLICY, Persona, Site};

/// alice asks, bob approves, alice has her certificate; its id and serial.
fn granted(alice: &Persona, bob: &Persona) -> (String, u64) {
    let id = alice.granted_by(bob);
    let shown = alice.jit(&["show", &id, "--json"]).run().fine();
    let serial = shown.field("certificates")[0]["serial"].as_u64().unwrap();
    (id, serial)
}

fn serials(news: &v1::WatchHostsResponse) -> Vec<u64> {
    let krl = Krl::parse(&news.krls[0].krl).unwrap();
    krl.serials().iter().map(|serial| serial.get()).collect()
}

#[test]
fn hosts_hear_of_a_revocation_and_of_a_bundle_within_two_seconds() {
    let (site, alice, bob) = Site::running(POLICY);
    let (id, serial) = granted(&alice, &bob);
    let caller = Caller::new(&site);
    caller.call(async |client| {
        let mut watch = client.watch_hosts(None).await.unwrap();
        let mut next = async || {
            let news = tokio::time::timeout(Duration::from_secs(2), watch.next()).await;
            news.unwrap().unwrap().unwrap()
        };
        let first = next().await;
        assert_eq!((serials(&first), first.bundle_version), (vec![], 1));
        bob.jit(&["revoke", &id, "--yes"]).run().fine();
        assert_eq!(serials(&next().await), [serial]);
        site.write_policy(&POLICY.replace("30m", "20m"));
        site.apply();
        let second = next().await;
        assert_eq!((serials(&second), second.bundle_version), (vec![serial], 2));
    });
}

#[test]
fn a_host_hears_of_what_prolongs_access_to_it_and_no_other_does() {
    let policy = POLICY.replacen(
        "permit = [\"pty\"]\n",
        "permit = [\"pty\"]\nextend = { max = \"1m\", times = 1 }\n",
        1,
    );
    let (site, alice, bob) = Site::running(&policy);
    let key = give_key(&site);
    let caller = Caller::new(&site);
    granted(&alice, &bob);
    let refused = |by: &str, key: &Path| {
        let session = caller.session(by, key);
        let watch = caller.call(async |client| client.watch_hosts(Some(session)).await);
        reason(watch.map(|_| ()))
    };
    assert_eq!(refused("prod-host", &alice.key_file()), Reason::UnknownSigner);
    assert_eq!(refused("other-host", &key), Reason::UnknownSigner);

    let session = caller.session("prod-host", &key);
    caller.call(async |client| {
        let mut watch = client.watch_hosts(Some(session)).await.unwrap();
        let mut public = client.watch_hosts(None).await.unwrap();
        assert!(watch.next().await.unwrap().unwrap().prolonging.is_empty());
        let extend = ["login", "prod-host", "--extend", "--because", "INC-42 still", "--for", "1m"];
        let id = alice.jit(&extend).args(["--no-wait", "--json"]).run().ended(3).text("id");
        bob.jit(&["approve", &id, "--yes"]).run().fine();
        alice.jit(&["watch", &id]).run().fine();
        let news = tokio::time::timeout(Duration::from_secs(2), watch.next()).await;
        let news = news.unwrap().unwrap().unwrap();
        let certificate = ssh_key::Certificate::from_bytes(&news.prolonging[0]).unwrap();
        assert!(certificate.key_id().starts_with(&format!("alice/{id}/")), "{certificate:?}");
        let first = public.next().await.unwrap().unwrap();
        let more = tokio::time::timeout(Duration::from_millis(300), public.next()).await;
        assert!(first.prolonging.is_empty() && more.is_err(), "it is for prod-host alone");
    });
}

/// Gives prod-host a key in hosts.toml; the file of the key.
fn give_key(site: &Site) -> PathBuf {
    let key = site.path().join("host_key");
    make_key(&key, "");
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let path = site.config().join("hosts.toml");
    let hosts = fs::read_to_string(&path).unwrap();
    let line = format!("name = \"prod-host\"\nkey = \"{}\"\n", public.trim());
    fs::write(path, hosts.replacen("name = \"prod-host\"\n", &line, 1)).unwrap();
    site.apply();
    key
}

fn report_text(caller: &Caller, host: &str, events: &str) -> String {
    format!(
        "{{\"v\":1,\"type\":\"report\",\"ca\":\"{}\",\"host\":\"{host}\",\"events\":[{events}],\"lost\":0,\"at\":{}}}",
        caller.pin,
        now()
    )
}

fn tell(caller: &Caller, key: &Path, text: &str) -> Result<(), ApiError> {
    let statement = v1::SignedStatement {
        statement: text.as_bytes().to_vec().into(),
        signatures: vec![sign_with(key, Kind::Report, text.as_bytes()).into()],
    };
    let message = v1::ReportSessionsRequest { reports: vec![statement] };
    caller.call(async |client| client.report_sessions(message).await).map(|_| ())
}

fn reason(result: Result<(), ApiError>) -> Reason {
    let Err(ApiError::Refused(detail)) = result else { unreachable!("{result:?}") };
    detail.refusal.reason
}

#[test]
fn a_host_tells_its_logins_and_nobody_tells_them_for_it() {
    let (site, alice, bob) = Site::running(POLICY);
    let (id, serial) = granted(&alice, &bob);
    let caller = Caller::new(&site);
    let shown = || alice.jit(&["show", &id]).run().fine().out;
    assert!(shown().contains("no host has told of a login"), "{}", shown());

    let login = alice.jit(&["show", &id, "--json"]).run().fine().field("logins")[0].clone();
    let until = now() + 120;
    let begun = now();
    let event = |kind: &str, at: u64, cause: &str| {
        format!(
            "{{\"id\":\"{}\",\"kind\":\"{kind}\",\"serial\":{serial},\"key_id\":\"alice/{id}/{until}\",\"login\":{login},\"from\":\"10.1.2.3\",\"at\":{at},\"cause\":{cause}}}",
            "5".repeat(32)
        )
    };
    let first = event("login", begun, "null");
    let text = report_text(&caller, "prod-host", &first);
    let alices = alice.key_file();
    assert_eq!(reason(tell(&caller, &alices, &text)), Reason::UnknownSigner, "it has no key yet");
    let key = give_key(&site);
    assert_eq!(reason(tell(&caller, &alices, &text)), Reason::UnknownSigner);
    let elsewhere = report_text(&caller, "other-host", &first);
    assert_eq!(reason(tell(&caller, &key, &elsewhere)), Reason::UnknownSigner);
    tell(&caller, &key, &text).unwrap();
    // Told twice, and by parts.
    tell(&caller, &key, &text).unwrap();
    assert!(shown().contains("1 login"), "{}", shown());
    let end = event("end", begun + 65, "\"expired\"");
    tell(&caller, &key, &report_text(&caller, "prod-host", &end)).unwrap();

    let told = shown();
    assert!(told.contains("from 10.1.2.3 after 1m5s: ended by the guard"), "{told}");
    let uses = alice.jit(&["show", &id, "--json"]).run().fine().field("uses").clone();
    assert_eq!(uses.as_array().unwrap().len(), 1, "{uses}");
    assert_eq!(uses[0]["closed"], "expired");
    let report = site.ca(&["report", "--config", "ca-config"]).run().fine().out;
    assert!(report.contains("1 certificate, 1 login from 10.1.2.3"), "{report}");
    let csv = site.ca(&["report", "--config", "ca-config", "--csv"]).run().fine().out;
    assert!(csv.contains(",1,10.1.2.3\n"), "{csv}");
}
