use proptest::prelude::*;

use super::*;
use crate::bundle::Permit;
use crate::testkit::{START, World, person, subject_key};
use crate::time::Seconds;

fn request(world: &World) -> Request {
    world.request(&world.alice, "prod-host", "deploy", 600, START)
}

/// The canonical text of a sound request, to be spoilt.
fn text(world: &World) -> String {
    String::from_utf8(encode(&request(world)).unwrap()).unwrap()
}

#[test]
fn the_canonical_form_is_the_one_of_the_contract() {
    let world = World::default();
    let expected = format!(
        "{{\"v\":1,\"type\":\"request\",\"ca\":\"{}\",\"by\":\"alice\",\"subject\":\"alice\",\"key\":\"{}\",\"hosts\":[\"prod-host\"],\"logins\":[\"deploy\"],\"for\":600,\"not_before\":null,\"reason\":\"INC-42 disk full\",\"break_glass\":null,\"extends\":null,\"permit\":[],\"source\":[],\"command\":null,\"at\":1790000000,\"nonce\":\"07070707070707070707070707070707\"}}",
        world.root.fingerprint(),
        subject_key(77),
    );
    assert_eq!(text(&world), expected);
}

#[test]
fn every_second_spelling_is_refused() {
    let world = World::default();
    let good = text(&world);
    assert!(parse::<Request>(good.as_bytes()).is_ok());
    let spoilt = [
        good.replace("\"by\":", "\"by\": "),
        format!("{good}\n"),
        format!(" {good}"),
        // An unknown field, a repeated one, one left out, two swapped.
        good.replace("\"at\":", "\"x\":1,\"at\":"),
        good.replace("\"at\":1790000000", "\"at\":1790000000,\"at\":1790000000"),
        good.replace("\"not_before\":null,", ""),
        good.replace(
            "\"by\":\"alice\",\"subject\":\"alice\"",
            "\"subject\":\"alice\",\"by\":\"alice\"",
        ),
        // Other spellings of the same values.
        good.replace("\"for\":600", "\"for\":6e2"),
        good.replace("\"for\":600", "\"for\":600.0"),
        good.replace("\"for\":600", "\"for\":\"600\""),
        good.replace("INC-42", "INC\\u002d42"),
        good.replace("disk", "d\\/isk"),
        // Another version, another type.
        good.replace("\"v\":1", "\"v\":2"),
        good.replace("\"type\":\"request\"", "\"type\":\"decision\""),
        good.replace("\"type\":\"request\"", "\"type\":\"Request\""),
    ];
    for bad in spoilt {
        assert_ne!(bad, good);
        assert!(parse::<Request>(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn fields_that_make_no_sense_are_refused() {
    let world = World::default();
    let good = text(&world);
    let long = "x".repeat(MAX_REASON + 1);
    let seventeen: Vec<String> = (0..17).map(|n| format!("\"l{n}\"")).collect();
    let later = |from, to: &str| {
        good.replace("\"not_before\":null", "\"not_before\":1790000100").replace(from, to)
    };
    let spoilt = [
        good.replace("[\"prod-host\"]", "[]"),
        good.replace("[\"deploy\"]", "[]"),
        good.replace("[\"prod-host\"]", "[\"prod-host\",\"prod-host\"]"),
        good.replace("[\"deploy\"]", &format!("[{}]", seventeen.join(","))),
        good.replace("\"prod-host\"", "\"prod,host\""),
        good.replace("\"deploy\"", "\"root\\u0000\""),
        good.replace("\"deploy\"", "\"*\""),
        good.replace("\"for\":600", "\"for\":0"),
        good.replace("\"for\":600", "\"for\":4294967296"),
        good.replace("\"for\":600", "\"for\":-1"),
        good.replace("\"at\":1790000000", "\"at\":0"),
        good.replace("\"at\":1790000000", "\"at\":1790000000000000000"),
        good.replace("INC-42 disk full", ""),
        good.replace("INC-42 disk full", "   "),
        good.replace("INC-42 disk full", "a\\nb"),
        good.replace("INC-42 disk full", "a\\u001b[2Jb"),
        good.replace("INC-42 disk full", &long),
        good.replace("\"permit\":[]", "\"permit\":[\"sudo\"]"),
        good.replace("\"permit\":[]", "\"permit\":[\"pty\",\"pty\"]"),
        good.replace("\"source\":[]", "\"source\":[\"10.0.0.1/8\"]"),
        good.replace("\"command\":null", "\"command\":\"\""),
        good.replace("\"nonce\":\"07", "\"nonce\":\""),
        good.replace("\"nonce\":\"07", "\"nonce\":\"+7"),
        good.replace("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com "),
        good.replace("\"not_before\":null", "\"not_before\":1790000000"),
        good.replace("\"not_before\":null", "\"not_before\":1791209601"),
        good.replace("\"break_glass\":null", "\"break_glass\":\" \""),
        good.replace("\"extends\":null", "\"extends\":\"abc\""),
        later("\"break_glass\":null", "\"break_glass\":\"now\""),
        later("\"extends\":null", &format!("\"extends\":\"{}\"", "0".repeat(64))),
    ];
    for bad in spoilt {
        assert_ne!(bad, good);
        assert!(parse::<Request>(bad.as_bytes()).is_err(), "{bad}");
    }
    let neighbours = [
        good.replace("[\"deploy\"]", &format!("[{}]", seventeen[1..].join(","))),
        good.replace("INC-42 disk full", &long[1..]),
        good.replace("INC-42", "ÄÖ \u{2028} 漢"),
        good.replace("\"permit\":[]", "\"permit\":[\"pty\",\"x11-forwarding\"]"),
        good.replace("\"source\":[]", "\"source\":[\"10.0.0.0/8\"]"),
        good.replace("\"command\":null", "\"command\":\"uptime\""),
        good.replace("\"not_before\":null", "\"not_before\":1790000001"),
        good.replace("\"not_before\":null", "\"not_before\":1791209600"),
        good.replace("\"break_glass\":null", "\"break_glass\":\"now\""),
        good.replace("\"extends\":null", &format!("\"extends\":\"{}\"", "0".repeat(64))),
    ];
    for fine in neighbours {
        assert!(parse::<Request>(fine.as_bytes()).is_ok(), "{fine}");
    }
}

#[test]
fn an_oversized_statement_is_refused_before_it_is_parsed() {
    let huge = vec![b' '; MAX_BYTES + 1];
    assert_eq!(parse::<Request>(&huge).unwrap_err(), StatementError::TooLong(MAX_BYTES + 1));
}

#[test]
fn a_statement_holds_for_its_ca_its_key_and_its_type_only() {
    let world = World::default();
    let (bytes, signature) = world.alice.state(&request(&world));
    let ca = world.root.fingerprint();
    let verified = open::<Request>(&bytes, &signature, &ca).unwrap();
    assert_eq!(verified.key(), &world.alice.key);
    assert_eq!(verified.digest(), Digest::of(&bytes));

    let other = crate::root::Root::new(world.root.admins().to_vec(), 1, "other".into()).unwrap();
    assert!(matches!(
        open::<Request>(&bytes, &signature, &other.fingerprint()),
        Err(StatementError::OtherCa { .. })
    ));
    assert!(matches!(
        open::<Decision>(&bytes, &signature, &ca),
        Err(StatementError::Kind { expected: Kind::Decision })
    ));
    let as_decision = world.alice.sign("decision@jit-ssh", &bytes);
    assert!(matches!(
        open::<Request>(&bytes, &as_decision, &ca),
        Err(StatementError::Signature(SignatureError::Namespace { .. }))
    ));
    let mut changed = bytes.clone();
    let place = changed.windows(5).position(|w| w == b"alice").unwrap();
    changed[place] = b'x';
    assert!(matches!(
        open::<Request>(&changed, &signature, &ca),
        Err(StatementError::Signature(SignatureError::Mismatch))
    ));
    assert_eq!(
        open::<Request>(&bytes, &vec![0; MAX_SIGNATURE + 1], &ca).unwrap_err(),
        StatementError::Signatures
    );
}

#[test]
fn a_denial_has_a_reason_and_no_bounds_and_an_approval_has_all_bounds() {
    let world = World::default();
    let request = world.alice.verified(&request(&world));
    let approval = encode(&world.approval(&world.bob, &request, START)).unwrap();
    let denial = encode(&world.denial(&world.bob, &request, START)).unwrap();
    assert!(parse::<Decision>(&approval).is_ok());
    assert!(parse::<Decision>(&denial).is_ok());
    let approval = String::from_utf8(approval).unwrap();
    let denial = String::from_utf8(denial).unwrap();
    for bad in [
        approval.replace("\"for\":600", "\"for\":null"),
        approval.replace("[\"prod-host\"]", "null"),
        approval.replace("[\"prod-host\"]", "[]"),
        approval.replace("approve", "deny"),
        denial.replace("\"for\":null", "\"for\":600"),
        denial.replace("\"not now\"", "null"),
        denial.replace("deny", "approve"),
        denial.replace("deny", "maybe"),
    ] {
        assert!(parse::<Decision>(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn a_bundle_counts_each_admin_once_and_refuses_everyone_else() {
    let world = World::default();
    let (ann, ben) = (person("ann", 1), person("ben", 9));
    let admin = |p: &crate::testkit::Person| crate::root::Admin {
        id: p.id.parse().unwrap(),
        key: p.key.clone(),
    };
    let root = Root::new(vec![admin(&ann), admin(&ben)], 2, "anchor".into()).unwrap();
    let files = world.files(crate::testkit::POLICY);
    let body = Bundle::new(root.fingerprint(), 1, &files, START);
    let (bytes, by_ann) = ann.state(&body);
    let (_, by_ben) = ben.state(&body);
    let (_, by_alice) = world.alice.state(&body);

    let one = open_bundle(&bytes, std::slice::from_ref(&by_ann), &root).unwrap();
    assert!(!one.is_complete(&root));
    let both = open_bundle(&bytes, &[by_ann.clone(), by_ben], &root).unwrap();
    assert!(both.is_complete(&root));
    assert!(both.body.names(&files));
    assert!(matches!(
        open_bundle(&bytes, &[by_ann.clone(), by_ann.clone()], &root),
        Err(StatementError::AdminTwice(_))
    ));
    assert!(matches!(
        open_bundle(&bytes, &[by_ann, by_alice], &root),
        Err(StatementError::NotAdmin(_))
    ));
    assert!(open_bundle(&bytes, &[] as &[Vec<u8>], &root).is_err());
}

#[test]
fn dates_beyond_two_minutes_are_refused_and_name_the_skew() {
    use Arrival::{Relayed, Submitted};
    let at = |secs: i64| UnixTime(START.0.checked_add_signed(secs).unwrap());
    for arrival in [Submitted, Relayed] {
        assert!(check_date(at(120), START, arrival).is_ok());
        assert_eq!(check_date(at(121), START, arrival), Err(StatementError::Ahead { ahead: 121 }));
    }
    assert!(check_date(at(-120), START, Submitted).is_ok());
    assert_eq!(check_date(at(-121), START, Submitted), Err(StatementError::Stale { behind: 121 }));
    assert!(check_date(at(-10_000), START, Relayed).is_ok());
}

/// A sound report, to be spoilt.
fn report_text(world: &World) -> String {
    let event = |kind, cause| Event {
        id: Nonce([1; 16]),
        kind,
        serial: 281_474_976_710_657,
        key_id: "alice/7kq2m9xw4p/1790000900".to_owned(),
        login: "deploy".parse().unwrap(),
        from: "10.1.2.3".parse().unwrap(),
        at: START,
        cause,
    };
    let events = vec![event(Happened::Login, None), event(Happened::End, Some(Closed::Expired))];
    let ca = world.root.fingerprint();
    let report = Report::new(ca, "prod-host".parse().unwrap(), events, 0, START);
    String::from_utf8(encode(&report).unwrap()).unwrap()
}

#[test]
fn a_report_has_one_spelling_and_says_how_what_ended_ended() {
    let world = World::default();
    let good = report_text(&world);
    let expected = format!(
        "{{\"v\":1,\"type\":\"report\",\"ca\":\"{}\",\"host\":\"prod-host\",\"events\":[{{\"id\":\"01010101010101010101010101010101\",\"kind\":\"login\",\"serial\":281474976710657,\"key_id\":\"alice/7kq2m9xw4p/1790000900\",\"login\":\"deploy\",\"from\":\"10.1.2.3\",\"at\":1790000000,\"cause\":null}},",
        world.root.fingerprint()
    );
    assert!(good.starts_with(&expected), "{good}");
    assert!(parse::<Report>(good.as_bytes()).is_ok());
    let spoilt = [
        good.replace("\"cause\":\"expired\"", "\"cause\":null"),
        good.replace("\"cause\":null", "\"cause\":\"closed\""),
        good.replace("expired", "bored"),
        good.replace("\"kind\":\"end\"", "\"kind\":\"login\""),
        good.replace("10.1.2.3", "10.1.2.03"),
        good.replace("10.1.2.3", "::ffff:0a01:0203"),
        good.replace("alice/7kq2m9xw4p/1790000900", ""),
        good.replace("alice/7kq2m9xw4p/1790000900", "a\u{e4}b"),
        good.replace("alice/7kq2m9xw4p/1790000900", &"x".repeat(97)),
        good.replace("\"at\":1790000000,\"cause\"", "\"at\":0,\"cause\""),
        good.replace("\"lost\":0", "\"lost\":-1"),
        good.replace("prod-host", "prod_host"),
    ];
    for bad in spoilt {
        assert_ne!(bad, good);
        assert!(parse::<Report>(bad.as_bytes()).is_err(), "{bad}");
    }
    for fine in [
        good.replace("expired", "unseen"),
        good.replace("10.1.2.3", "::ffff:10.1.2.3"),
        good.replace("10.1.2.3", "2001:db8::1"),
        good.replace("alice/7kq2m9xw4p/1790000900", &"x".repeat(96)),
        good.replace("\"lost\":0", "\"lost\":9"),
    ] {
        assert!(parse::<Report>(fine.as_bytes()).is_ok(), "{fine}");
    }
}

#[test]
fn the_longest_report_fits_a_statement_and_an_empty_or_longer_one_is_refused() {
    let world = World::default();
    let event = |id: u8| Event {
        id: Nonce([id; 16]),
        kind: Happened::End,
        serial: u64::MAX,
        key_id: "\\".repeat(96),
        login: "a".repeat(32).parse().unwrap(),
        from: "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap(),
        at: UnixTime::MAX,
        cause: Some(Closed::Expired),
    };
    let report = |count: u8| {
        let host = "h".repeat(63).parse().unwrap();
        let events = (0..count).map(event).collect();
        Report::new(world.root.fingerprint(), host, events, u32::MAX, UnixTime::MAX)
    };
    let most = u8::try_from(MAX_EVENTS).unwrap();
    assert!(encode(&report(most)).is_ok());
    assert!(encode(&report(most + 1)).is_err());
    assert!(encode(&report(0)).is_err());
}

proptest! {
    #[test]
    fn what_is_encoded_parses_back_to_the_same_bytes(
        reason in "[^\\p{Cc}]{1,80}",
        span in 1u32..,
        at in 1u64..UnixTime::MAX.0,
        hosts in proptest::collection::btree_set("[a-z0-9][a-z0-9.-]{0,12}", 1..4),
        logins in proptest::collection::btree_set("[a-z_][a-z0-9_-]{0,12}", 1..4),
        nonce: [u8; 16],
        pty: bool,
    ) {
        prop_assume!(!reason.trim().is_empty());
        let world = World::default();
        let mut request = request(&world);
        request.reason = reason;
        request.r#for = Seconds::new(span).unwrap();
        request.at = UnixTime(at);
        request.hosts = hosts.iter().map(|h| h.parse().unwrap()).collect();
        request.logins = logins.iter().map(|l| l.parse().unwrap()).collect();
        request.nonce = Nonce(nonce);
        request.permit = if pty { vec![Permit::Pty] } else { vec![] };
        let bytes = encode(&request).unwrap();
        let again: Request = parse(&bytes).unwrap();
        prop_assert_eq!(&again, &request);
        prop_assert_eq!(encode(&again).unwrap(), bytes);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes: Vec<u8>, cut in 0usize..400, flip in 0usize..400) {
        let _ = parse::<Request>(&bytes);
        let mut text = text(&World::default()).into_bytes();
        text.truncate(text.len().saturating_sub(cut));
        if let Some(byte) = text.get_mut(flip) {
            *byte ^= 0x11;
        }
        let _ = parse::<Request>(&text);
        let _ = parse::<Decision>(&text);
    }
}
