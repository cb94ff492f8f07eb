//! What requests are held against while hosts come and go.

use super::*;

#[test]
fn requests_for_a_host_that_joined_are_judged_by_its_labels_and_end_with_it() {
    let mut case = Case::new();
    let chain = case.chain("ci-1", 7_200, at(5));
    let refused = authorize(&chain, case.view(), at(5)).unwrap_err();
    assert_eq!(refused.reason, Reason::PolicyRefused);
    case.join(case.vouched(|_| ()));
    // In a view without those who joined it is unknown.
    assert!(authorize(&chain, &case.bundle, at(5)).is_err());
    let yes = authorize(&chain, case.view(), at(5)).unwrap();
    assert_eq!((yes.valid_before(), yes.access_until()), (at(605), at(3_600)));
    let yes = authorize(&chain, case.view(), at(3_500)).unwrap_err();
    assert_eq!(yes.reason, Reason::Lapsed, "not used within the rule's time");
    let late = case.chain("ci-1", 7_200, at(3_500));
    let yes = authorize(&late, case.view(), at(3_500)).unwrap();
    assert_eq!((yes.valid_before(), yes.access_until()), (at(3_600), at(3_600)));
    assert_eq!(authorize(&late, case.view(), at(3_600)).unwrap_err().reason, Reason::PolicyRefused);
    // A login it does not offer, though the rule and its enroller would.
    let mut request = case.world.request(&case.world.alice, "ci-1", "ci", 60, at(5));
    let ci = Chain::new(case.world.alice.verified(&request));
    assert!(authorize(&ci, case.view(), at(5)).is_err());
    request.logins = vec!["deploy".parse().unwrap()];
    let deploy = Chain::new(case.world.alice.verified(&request));
    assert!(authorize(&deploy, case.view(), at(5)).is_ok());
    // It renews with other labels: a deny rule that did not touch it does now, and the other way.
    case.join(case.vouched(|h| {
        (h.at, h.until) = (at(10), at(3_610));
        h.labels.insert("role".parse().unwrap(), "db".parse().unwrap());
    }));
    let status = evaluate(&deploy, case.view(), at(10)).status;
    assert!(matches!(status, Status::Refused(_)), "{status:?}");
}

#[test]
fn an_enroller_that_is_gone_takes_its_hosts_along_at_once() {
    let mut case = Case::new();
    let token = case.token(|_| ());
    case.lend(&token);
    case.join(case.vouched(|_| ()));
    case.join(case.by_token(token.digest(), |_| ()));
    for host in ["ci-1", "ci-t1"] {
        let chain = case.chain(host, 600, at(5));
        assert!(authorize(&chain, case.view(), at(5)).is_ok(), "{host}");
        for (from, to) in [
            ("id = \"pipeline\"", "id = \"another\""),
            ("names = [\"ci-*\"]", "names = [\"x-*\"]"),
            ("env = [\"test\", \"staging\"]", "env = [\"staging\"]"),
            ("max_for = \"1d\"", "max_for = \"59m\""),
            (&*format!("{}", case.world.pipeline.key), &*person("new", 63).key.to_string()),
        ] {
            let bundle = case.bundle_with(from, to);
            let refused = authorize(&chain, View::new(&bundle, &case.known), at(5)).unwrap_err();
            assert_eq!(refused.reason, Reason::PolicyRefused, "{host} {to}");
        }
        let same = case.bundle_with("max_for = \"1d\"", "max_for = \"60m\"");
        assert!(authorize(&chain, View::new(&same, &case.known), at(5)).is_ok(), "{host}");
    }
    // Without tokens only the host with the enroller's own key is left.
    let bundle = case.bundle_with("max_uses = 3\n", "");
    let view = View::new(&bundle, &case.known);
    assert!(authorize(&case.chain("ci-1", 600, at(5)), view, at(5)).is_ok());
    assert!(authorize(&case.chain("ci-t1", 600, at(5)), view, at(5)).is_err());
}

#[test]
fn what_was_granted_for_a_machine_is_not_for_the_next_one_with_its_name() {
    let mut case = Case::new();
    case.join(case.vouched(|h| h.until = at(300)));
    let chain = case.chain("ci-1", 3_600, at(5));
    assert!(authorize(&chain, case.view(), at(6)).is_ok());
    // The same machine goes on.
    let mut renewed = case.known.clone();
    renewed.add_host(case.vouched(|h| (h.at, h.until) = (at(300), at(900))));
    assert!(authorize(&chain, View::new(&case.bundle, &renewed), at(301)).is_ok());
    // Another one comes.
    case.join(case.vouched(|h| {
        h.key = subject_key(71);
        (h.at, h.until) = (at(300), at(900));
    }));
    let refused = authorize(&chain, case.view(), at(301)).unwrap_err();
    assert!(refused.message.contains("another machine"), "{}", refused.message);
    let anew = case.chain("ci-1", 3_600, at(301));
    assert!(authorize(&anew, case.view(), at(301)).is_ok());
}
