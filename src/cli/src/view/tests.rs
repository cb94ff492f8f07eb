use super::*;
use crate::grants::Grant;
use crate::grants::tests::{ca, grant};

/// A request as a CA would show it.
pub(crate) fn said(reason: &str) -> v1::AccessState {
    said_of(&grant(reason))
}

/// The same for a request that is at hand.
pub(crate) fn said_of(grant: &Grant) -> v1::AccessState {
    v1::AccessState {
        request: Some(v1::SignedStatement {
            statement: grant.request.bytes().to_vec().into(),
            signatures: vec![grant.request.signature().to_vec().into()],
        }),
        digest: grant.digest().to_string(),
        id: grant.request.id().to_string(),
        status: Status::Pending.into(),
        ..v1::AccessState::default()
    }
}

#[test]
fn the_id_shown_is_computed_from_the_signed_bytes_whatever_the_ca_says() {
    let honest = said("INC-42");
    let expected = honest.id.clone();
    let lying = v1::AccessState { id: "7kq2m9xw4p".into(), digest: "00".repeat(32), ..honest };
    let view = View::open(lying, &ca()).unwrap();
    assert_eq!(view.id().as_str(), expected);
    assert!(view.details(&[], UnixTime(1_790_000_000)).contains(&expected));
    assert!(!serde_json::to_string(&view.row()).unwrap().contains("7kq2m9xw4p"));

    let named = |text: &str| text.parse::<RequestRef>().unwrap();
    assert!(named(&expected[..4]).check(&view).is_ok());
    assert!(named(&expected.to_uppercase()).check(&view).is_ok());
    assert!(named(&view.digest().to_string()).check(&view).is_ok());
    for other in ["7kq2", &"0".repeat(64)] {
        let failure = named(other).check(&view).unwrap_err();
        assert_eq!(failure.name, "UNTRUE");
    }
    for bad in ["7kq", "7kqi", "", "7kq2m9xw4p0"] {
        assert!(bad.parse::<RequestRef>().is_err(), "{bad:?}");
    }
}

#[test]
fn what_does_not_verify_is_not_shown() {
    assert!(View::open(said("INC-42"), &ca()).is_ok());
    let other_ca = RootFingerprint(Digest::of(b"another root"));
    assert!(View::open(said("INC-42"), &other_ca).is_err());
    let mut unsigned = said("INC-42");
    unsigned.request.as_mut().unwrap().signatures.clear();
    assert!(View::open(unsigned, &ca()).is_err());
    let mut swapped = said("INC-42");
    swapped.request.as_mut().unwrap().statement = said("another reason").request.unwrap().statement;
    assert!(View::open(swapped, &ca()).is_err());
    let empty = v1::AccessState { request: None, ..said("INC-42") };
    assert!(View::open(empty, &ca()).is_err());
}

#[test]
fn hostile_text_of_requester_and_ca_is_shown_harmless() {
    let mut hostile = said("INC-42 \u{202e}lla evorppa");
    hostile.rule = "\u{1b}[2Jrule".into();
    hostile.approvers = vec!["\u{1b}]0;bob".into()];
    hostile.principals = vec!["deploy\r@host".into()];
    hostile.access_until = 1_790_000_600;
    let view = View::open(hostile, &ca()).unwrap();
    let shown = view.details(&[], UnixTime(1_790_000_000));
    assert!(!shown.contains(['\u{1b}', '\r', '\u{202e}']), "{shown:?}");
    assert!(shown.contains("INC-42 \\u{202e}lla evorppa"));
}

#[test]
fn each_status_ends_a_waiting_command_in_its_own_way() {
    for (status, code) in [
        (Status::Pending, None),
        (Status::Approved, None),
        (Status::Active, None),
        (Status::Denied, Some(4)),
        (Status::Cancelled, Some(5)),
        (Status::Lapsed, Some(5)),
        (Status::Ended, Some(5)),
        (Status::Refused, Some(6)),
    ] {
        let view = View::open(v1::AccessState { status: status.into(), ..said("x") }, &ca());
        let failure = view.unwrap().failure();
        assert_eq!(failure.map(|failure| failure.outcome.code()), code, "{status:?}");
    }
}
