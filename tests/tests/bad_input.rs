//! Bad input at the API: each refusal by its stable reason, each beside its good neighbour.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use jit_ssh_core::refusal::Reason;
use jit_ssh_core::statement::Kind;
use jit_ssh_tests::api::{Caller, now, sign};
use jit_ssh_tests::{POLICY, Persona, Site};

#[track_caller]
fn reason<T: std::fmt::Debug>(result: Result<T, jit_ssh_api::ApiError>) -> Reason {
    let error = result.unwrap_err();
    error.reason().unwrap_or_else(|| panic_with(&error))
}

#[allow(clippy::panic, reason = "a test that panics has failed")]
fn panic_with(error: &jit_ssh_api::ApiError) -> Reason {
    panic!("no stable reason: {error:?}")
}

#[test]
fn what_is_not_a_sound_statement_of_this_ca_is_refused_by_its_reason() {
    let (site, alice, bob) = Site::running(POLICY);
    let caller = Caller::new(&site);
    let good = || caller.request_text("alice", &alice.public_key(), "test-host");
    let submit_as = |persona: &Persona, text: &str| {
        caller.submit(text.as_bytes(), &sign(persona, Kind::Request, text.as_bytes()))
    };
    let submit = |text: String| submit_as(&alice, &text);
    assert!(submit(good()).unwrap().certificate.is_some());

    // Malformed in every way the contract names; all of them properly signed.
    let malformed: [fn(String) -> String; 15] = [
        |t| t.replace("\"by\":", "\"by\" :"),
        |t| format!("{t}\n"),
        |t| t.replace("\"nonce\"", "\"extra\":null,\"nonce\""),
        |t| t.replace("\"not_before\":null,", ""),
        |t| t.replace("\"for\":60,\"not_before\":null", "\"not_before\":null,\"for\":60"),
        |t| t.replace("\"for\":60", "\"for\":60,\"for\":60"),
        |t| t.replace("\"for\":60", "\"for\":0"),
        |t| t.replace("\"for\":60", "\"for\":99999999999"),
        |t| t.replace("[\"test-host\"]", "[]"),
        |t| t.replace("\"test-host\"", "\"*\""),
        |t| t.replace("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com "),
        |t| t.replace("\"type\":\"request\"", "\"type\":\"session\""),
        |t| t.replace("\"v\":1", "\"v\":2"),
        |t| t.replace("INC-42 a look", &"x".repeat(17_000)),
        |_| "not JSON at all".to_owned(),
    ];
    for (place, spoil) in malformed.into_iter().enumerate() {
        let text = spoil(good());
        assert_ne!(text, good());
        assert_eq!(reason(submit(text.clone())), Reason::Malformed, "case {place}: {text:.300}");
    }

    // Another CA, another's key, a changed byte, another namespace.
    let pin = caller.pin.clone();
    let other = good().replace(&pin, "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(reason(submit(other)), Reason::WrongCa);
    assert_eq!(reason(submit_as(&bob, &good())), Reason::UnknownSigner);
    let stranger = Persona::new(site.path(), "mallory");
    let text = caller.request_text("mallory", &stranger.public_key(), "test-host");
    assert_eq!(reason(submit_as(&stranger, &text)), Reason::UnknownSigner);
    let text = good();
    let signature = sign(&alice, Kind::Request, text.as_bytes());
    let changed = text.replace("\"for\":60", "\"for\":61");
    assert_eq!(reason(caller.submit(changed.as_bytes(), &signature)), Reason::BadSignature);
    let session = sign(&alice, Kind::Session, text.as_bytes());
    assert_eq!(reason(caller.submit(text.as_bytes(), &session)), Reason::BadSignature);
    assert_eq!(reason(caller.submit(text.as_bytes(), b"junk")), Reason::BadSignature);
    caller.submit(text.as_bytes(), &signature).unwrap();
    // A replay is the same request, and never a second one.
    let again = caller.submit(text.as_bytes(), &signature).unwrap();
    assert_eq!(again.status(), jit_ssh_api::v1::Status::Active);

    // Dates: two minutes either way pass, a few seconds more do not.
    let dated = |skew: i64| {
        let at = now().checked_add_signed(skew).unwrap();
        let text = good();
        let (head, tail) = text.split_once("\"at\":").unwrap();
        let (_, rest) = tail.split_once(',').unwrap();
        submit(format!("{head}\"at\":{at},{rest}").replace("\"for\":60", "\"for\":600"))
    };
    for fine in [-110, 110] {
        assert!(dated(fine).is_ok(), "{fine}");
    }
    for bad in [-130, 130, -100_000] {
        let error = dated(bad).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::ClockSkew));
        assert!(error.to_string().contains(" s "), "it names the skew: {error}");
    }

    // Policy: an unknown host, a login it does not offer, too long.
    for (from, to) in [("test-host", "no-such-host"), ("\"for\":60", "\"for\":3601")] {
        assert_eq!(reason(submit(good().replace(from, to))), Reason::PolicyRefused);
    }
    assert!(submit(good().replace("\"for\":60", "\"for\":3600")).is_ok());
    assert!(site.verify_log().contains("log: ok"));
}

#[test]
fn decisions_are_refused_by_their_reason_too() {
    let (site, alice, bob) = Site::running(POLICY);
    let caller = Caller::new(&site);
    let text = caller.request_text("alice", &alice.public_key(), "prod-host");
    let answer =
        caller.submit(text.as_bytes(), &sign(&alice, Kind::Request, text.as_bytes())).unwrap();
    assert!(answer.certificate.is_none());
    let digest = answer.digest;
    let login = jit_ssh_tests::program::Program::new("id").args(["-un"]).run().fine().out;
    let decision = |by: &str, span: u32, digest: &str| {
        format!(
            "{{\"v\":1,\"type\":\"decision\",\"ca\":\"{}\",\"by\":\"{by}\",\"request\":\"{digest}\",\"verdict\":\"approve\",\"for\":{span},\"hosts\":[\"prod-host\"],\"logins\":[\"{}\"],\"reason\":null,\"at\":{}}}",
            caller.pin,
            login.trim(),
            now()
        )
    };
    let decide = |persona: &Persona, text: String| {
        caller.decide(text.as_bytes(), &sign(persona, Kind::Decision, text.as_bytes()))
    };
    assert_eq!(reason(decide(&alice, decision("alice", 60, &digest))), Reason::NotAllowed);
    assert_eq!(reason(decide(&alice, decision("bob", 60, &digest))), Reason::UnknownSigner);
    assert_eq!(reason(decide(&bob, decision("bob", 61, &digest))), Reason::NotAllowed);
    let unknown = "0".repeat(64);
    assert_eq!(reason(decide(&bob, decision("bob", 60, &unknown))), Reason::UnknownRequest);
    let fine = decide(&bob, decision("bob", 60, &digest)).unwrap();
    assert_eq!(fine.approvals_given, 1);
    assert_eq!(reason(decide(&bob, decision("bob", 30, &digest))), Reason::Settled);
}
