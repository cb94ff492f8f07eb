//! What an enroller and a token may vouch for, and what not.

use super::*;

#[test]
fn an_enroller_vouches_within_its_bounds_and_no_further() {
    let case = Case::new();
    let label = |text: &str| text.parse().unwrap();
    type Change = Box<dyn Fn(&mut Host)>;
    let pairs: Vec<(Change, Change, Reason)> = vec![
        (
            Box::new(|h| h.name = "ci-2".parse().unwrap()),
            Box::new(|h| h.name = "web-2".parse().unwrap()),
            Reason::NotAllowed,
        ),
        (
            Box::new(move |h| drop(h.labels.insert("env".parse().unwrap(), label("staging")))),
            Box::new(move |h| drop(h.labels.insert("env".parse().unwrap(), label("prod")))),
            Reason::NotAllowed,
        ),
        (
            Box::new(move |h| drop(h.labels.insert("role".parse().unwrap(), label("anything")))),
            Box::new(move |h| drop(h.labels.insert("tier".parse().unwrap(), label("anything")))),
            Reason::NotAllowed,
        ),
        (
            Box::new(|h| h.logins.push("ci".parse().unwrap())),
            Box::new(|h| h.logins.push("root".parse().unwrap())),
            Reason::NotAllowed,
        ),
        (
            Box::new(|h| h.until = at(86_400)),
            Box::new(|h| h.until = at(86_401)),
            Reason::NotAllowed,
        ),
        (Box::new(|h| h.at = at(0)), Box::new(|h| h.at = START.minus_secs(121)), Reason::ClockSkew),
        (
            Box::new(|h| h.by = "pipeline".parse().unwrap()),
            Box::new(|h| h.by = "bot".parse().unwrap()),
            Reason::UnknownSigner,
        ),
    ];
    for (good, bad, expected) in pairs {
        assert_eq!(case.admit(&case.vouched(good), START), Ok(Admission::New));
        assert_eq!(reason(case.admit(&case.vouched(bad), START)), expected);
    }
    // Signed by somebody else: a person, an admin, the host itself.
    let host = case.world.host("ci-1", 70, None, START, 3_600);
    for other in [&case.world.alice, &case.world.ann, &person("host", 70)] {
        assert_eq!(reason(case.admit(&other.verified(&host), START)), Reason::UnknownSigner);
    }
}

#[test]
fn the_name_of_a_listed_host_is_never_given_whatever_the_globs_say() {
    let mut case = Case::new();
    let host = case.vouched(|_| ());
    assert_eq!(case.admit(&host, START), Ok(Admission::New));
    case.join(host.clone());
    assert!(matches!(case.view().host(&host.body().name, START), Ok(Found::Joined(_))));
    // hosts.toml comes to list it: then it is the listed one, and nobody can join as it.
    let listed = "[[host]]\nname = \"ci-1\"\nlogins = [\"deploy\"]\n[[enroller]]";
    let files = |hosts: &str| {
        let mut files = case.world.files(POLICY);
        let text = String::from_utf8(files.hosts).unwrap();
        files.hosts = text.replace("[[enroller]]", listed).replace("\"ci-*\"", hosts).into_bytes();
        Bundle::parse(2, &files, &case.world.root.admin_keys())
    };
    assert!(files("\"ci-*\"").unwrap_err().to_string().contains("covers the host `ci-1`"));
    let bundle = files("\"ci-x*\"").unwrap();
    let found = View::new(&bundle, &case.known).host(&host.body().name, START).unwrap();
    assert!(matches!(found, Found::Listed(_)));
    let again = case.vouched(|h| h.at = at(1));
    let refused = case.known.admit_host(&again, &bundle, Arrival::Submitted, at(1));
    assert_eq!(reason(refused), Reason::NotAllowed);
}

#[test]
fn a_token_is_lent_within_its_enrollers_bounds() {
    let case = Case::new();
    let admit = |token: &Verified<Token>, now| {
        case.known.admit_token(token, &case.bundle, Arrival::Submitted, now)
    };
    type Change = Box<dyn Fn(&mut Token)>;
    let pairs: Vec<(Change, Change)> = vec![
        (Box::new(|t| t.uses = 3), Box::new(|t| t.uses = 4)),
        (
            Box::new(|t| t.r#for = Seconds::new(86_400).unwrap()),
            Box::new(|t| t.r#for = Seconds::new(86_401).unwrap()),
        ),
        (
            Box::new(|t| t.names = vec!["ci-*".parse().unwrap(), "ci-7".parse().unwrap()]),
            Box::new(|t| t.names = vec!["ci-7".parse().unwrap(), "c*".parse().unwrap()]),
        ),
        (
            Box::new(|t| t.logins = vec!["ci".parse().unwrap()]),
            Box::new(|t| t.logins = vec!["ci".parse().unwrap(), "root".parse().unwrap()]),
        ),
        (
            Box::new(|t| drop(t.labels.insert("env".parse().unwrap(), "staging".parse().unwrap()))),
            Box::new(|t| drop(t.labels.insert("env".parse().unwrap(), "prod".parse().unwrap()))),
        ),
    ];
    for (good, bad) in pairs {
        assert_eq!(admit(&case.token(good), START), Ok(Admission::New));
        assert_eq!(reason(admit(&case.token(bad), START)), Reason::NotAllowed);
    }
    // Handed in while it is good, however old it is, and not a moment longer.
    let token = case.token(|_| ());
    assert_eq!(admit(&token, at(3_599)), Ok(Admission::New));
    assert_eq!(reason(admit(&token, at(3_600))), Reason::Lapsed);
    // Another node may tell of it a little later.
    let relayed = |now| case.known.admit_token(&token, &case.bundle, Arrival::Relayed, now);
    assert_eq!(relayed(at(3_599 + RELAY_TOKEN)), Ok(Admission::New));
    assert_eq!(reason(relayed(at(3_600 + RELAY_TOKEN))), Reason::Lapsed);
    // Forged: not by the enroller.
    let forged = case.lent.verified(&case.world.token(&case.lent.key, START));
    assert_eq!(reason(admit(&forged, START)), Reason::UnknownSigner);
    // An enroller that may lend none.
    let none = case.bundle_with("max_uses = 3\n", "");
    let refused = case.known.admit_token(&token, &none, Arrival::Submitted, START);
    assert_eq!(reason(refused), Reason::NotAllowed);
}

#[test]
fn a_host_with_a_token_is_what_the_token_says_and_no_more() {
    let mut case = Case::new();
    let token = case.token(|t| t.logins.push("ci".parse().unwrap()));
    case.lend(&token);
    let digest = token.digest();
    type Change = Box<dyn Fn(&mut Host)>;
    let pairs: Vec<(Change, Change)> = vec![
        (
            Box::new(|h| h.name = "ci-t9".parse().unwrap()),
            // The enroller could name it, the token does not.
            Box::new(|h| h.name = "ci-9".parse().unwrap()),
        ),
        (
            Box::new(|_| ()),
            Box::new(|h| drop(h.labels.insert("role".parse().unwrap(), "web".parse().unwrap()))),
        ),
        (Box::new(|_| ()), Box::new(|h| h.labels.clear())),
        (
            Box::new(|h| h.logins = vec!["ci".parse().unwrap()]),
            Box::new(|h| h.logins = vec!["root".parse().unwrap()]),
        ),
        (Box::new(|h| h.until = at(3_600)), Box::new(|h| h.until = at(3_601))),
    ];
    for (good, bad) in pairs {
        assert_eq!(case.admit(&case.by_token(digest, good), START), Ok(Admission::New));
        assert_eq!(reason(case.admit(&case.by_token(digest, bad), START)), Reason::NotAllowed);
    }
    // Too late.
    let late = |secs: u32| case.by_token(digest, |h| (h.at, h.until) = (at(secs), at(secs + 60)));
    assert_eq!(case.admit(&late(3_599), at(3_599)), Ok(Admission::New));
    assert_eq!(reason(case.admit(&late(3_600), at(3_600))), Reason::Lapsed);
    // Dated back, by who found the token later and owns a front.
    let dated_back = case.by_token(digest, |h| h.until = at(3_600));
    let told = |now| case.known.admit_host(&dated_back, &case.bundle, Arrival::Relayed, now);
    assert_eq!(told(at(3_599)), Ok(Admission::New));
    assert!(told(at(3_601 + RELAY_TOKEN)).is_err());
    // Another key than the token's, or another token than is known.
    let host = case.world.host("ci-t1", 70, Some(digest), START, 3_600);
    for other in [&case.world.pipeline, &person("thief", 61)] {
        assert_eq!(reason(case.admit(&other.verified(&host), START)), Reason::UnknownSigner);
    }
    let unknown = case.by_token(Digest::of(b"another"), |_| ());
    assert_eq!(reason(case.admit(&unknown, START)), Reason::UnknownToken);
    // The token of another enroller.
    let by_other = case.by_token(digest, |h| h.by = "other".parse().unwrap());
    let two = case.bundle_with(
        "[[enroller]]",
        &format!(
            "[[enroller]]\nid = \"other\"\nkeys = [\"{}\"]\nnames = [\"ci-*\"]\nlabels = {{ env = [\"*\"] }}\nlogins = [\"deploy\"]\nmax_for = \"1d\"\n[[enroller]]",
            person("other", 62).key
        ),
    );
    let refused = case.known.admit_host(&by_other, &two, Arrival::Submitted, START);
    assert_eq!(reason(refused), Reason::NotAllowed);
}
