//! The statements' spelling, and what is read before anybody joined.

use super::*;

#[test]
fn the_statements_have_one_spelling_and_sound_fields() {
    let case = Case::new();
    let host = case.world.host("ci-1", 70, None, START, 3_600);
    let text = String::from_utf8(statement::encode(&host).unwrap()).unwrap();
    let expected = format!(
        "{{\"v\":1,\"type\":\"host\",\"ca\":\"{}\",\"by\":\"pipeline\",\"token\":null,\"name\":\"ci-1\",\"labels\":{{\"env\":\"test\"}},\"logins\":[\"deploy\"],\"key\":\"{}\",\"at\":1790000000,\"until\":1790003600}}",
        case.world.root.fingerprint(),
        subject_key(70),
    );
    assert_eq!(text, expected);
    assert!(statement::parse::<Host>(text.as_bytes()).is_ok());
    let two = "\"labels\":{\"env\":\"test\",\"role\":\"web\"}";
    assert!(
        statement::parse::<Host>(text.replace("\"labels\":{\"env\":\"test\"}", two).as_bytes())
            .is_ok()
    );
    for (from, to) in [
        ("\"labels\":{\"env\":\"test\"}", "\"labels\":{\"role\":\"web\",\"env\":\"test\"}"),
        ("\"labels\":{\"env\":\"test\"}", "\"labels\":{\"env\":\"prod\",\"env\":\"test\"}"),
        ("\"labels\":{\"env\":\"test\"}", "\"labels\":null"),
        ("\"token\":null,", ""),
        ("\"logins\":[\"deploy\"]", "\"logins\":[]"),
        ("\"logins\":[\"deploy\"]", "\"logins\":[\"deploy\",\"deploy\"]"),
        ("\"name\":\"ci-1\"", "\"name\":\"ci-*\""),
        ("\"until\":1790003600", "\"until\":1790000000"),
        ("\"until\":1790003600", "\"until\":1792592001"),
        ("\"type\":\"host\"", "\"type\":\"token\""),
        ("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com "),
    ] {
        let bad = text.replace(from, to);
        assert_ne!(bad, text);
        assert!(statement::parse::<Host>(bad.as_bytes()).is_err(), "{bad}");
    }
    let token = case.world.token(&case.lent.key, START);
    let text = String::from_utf8(statement::encode(&token).unwrap()).unwrap();
    assert!(statement::parse::<Token>(text.as_bytes()).is_ok());
    assert!(
        statement::parse::<Token>(text.replace("\"uses\":2", "\"uses\":10000").as_bytes()).is_ok()
    );
    for (from, to) in [
        ("\"uses\":2", "\"uses\":0"),
        ("\"uses\":2", "\"uses\":10001"),
        ("\"names\":[\"ci-t*\"]", "\"names\":[]"),
        ("\"names\":[\"ci-t*\"]", "\"names\":[\"label:env=test\"]"),
        ("\"until\":1790003600", "\"until\":1790604801"),
        ("\"for\":3600", "\"for\":2592001"),
        ("\"for\":3600", "\"for\":0"),
    ] {
        let bad = text.replace(from, to);
        assert_ne!(bad, text);
        assert!(statement::parse::<Token>(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn rules_for_hosts_that_may_join_are_no_slip() {
    let case = Case::new();
    let slips = |hosts: &str| {
        let policy = POLICY.replace("label:env=test", hosts);
        let (bundle, files) = (case.world.bundle(&policy), case.world.files(&policy));
        let found = crate::policy::lint::lint(&bundle, &files, START);
        found.iter().filter(|finding| finding.rule == Some("test".parse().unwrap())).count()
    };
    for hosts in ["ci-7", "ci-*", "ci-a*", "c*", "label:env=staging", "label:env=test,role=new"] {
        assert_eq!(slips(hosts), 0, "{hosts}");
    }
    for hosts in ["x-*", "label:env=dev", "label:env=test,tier=new"] {
        assert_eq!(slips(hosts), 1, "{hosts}");
    }
}
