use super::*;
use crate::grants::Grant;
use crate::grants::tests::{ca, grant, grant_with};
use jit_ssh_core::bundle::Permit;
use jit_ssh_core::statement::Cause;
use ssh_key::encoding::Encode as _;
use ssh_key::{Algorithm, HashAlg, PrivateKey};

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
        (Status::Released, Some(5)),
        (Status::Revoked, Some(5)),
        (Status::Refused, Some(6)),
    ] {
        let view = View::open(v1::AccessState { status: status.into(), ..said("x") }, &ca());
        let failure = view.unwrap().failure();
        assert_eq!(failure.map(|failure| failure.outcome.code()), code, "{status:?}");
    }
}

const NOW: UnixTime = UnixTime(1_790_000_000);

fn shown(grant: &Grant, change: impl FnOnce(&mut v1::AccessState)) -> View {
    let mut said = said_of(grant);
    change(&mut said);
    View::open(said, &ca()).unwrap()
}

#[test]
fn a_waiting_line_names_what_is_missing_and_when_it_opens() {
    let grant = grant("INC-42");
    let step = |from: &str, given, strength: &str| v1::ApprovalStep {
        from: vec![from.to_owned()],
        needed: 1,
        given,
        strength: strength.to_owned(),
    };
    let line = |grant: &Grant, steps: Vec<v1::ApprovalStep>| {
        let view = shown(grant, |said| {
            said.approvers = vec!["bob".into(), "carol".into()];
            (said.approvals_given, said.approvals_needed) = (1, 2);
            said.decide_by = NOW.0 + 3_600;
            said.steps = steps;
        });
        view.standing(NOW).replace(view.id().as_str(), "ID")
    };
    let plain = "ID waits for bob or carol: 1 of 2 approvals; lapses in 1h";
    assert_eq!(line(&grant, vec![]), plain);
    assert_eq!(line(&grant, vec![step("group:leads", 0, "any")]), plain, "says no more");
    assert_eq!(
        line(&grant, vec![step("group:leads", 1, "any"), step("group:db", 0, "hardware")]),
        "ID waits for bob or carol: 1 of 2 approvals, missing 1 of group:db with strength \
         hardware; lapses in 1h"
    );
    let window = grant_with("INC-42", |request| request.not_before = Some(NOW.plus_secs(7_200)));
    assert_eq!(line(&window, vec![]), format!("{plain}; opens in 2h"));
    let hostile = line(&grant, vec![step("group:\u{1b}[2J", 0, "\u{1b}")]);
    assert!(!hostile.contains('\u{1b}'), "{hostile:?}");

    let approved = |opens: u32| {
        let view = shown(&window, |said| {
            said.status = Status::Approved.into();
            said.approved_at = NOW.0;
            said.opens_at = NOW.plus_secs(opens).0;
            said.use_by = NOW.0 + 900;
            said.access_until = NOW.plus_secs(opens).0 + 600;
        });
        (view.standing(NOW).replace(view.id().as_str(), "ID"), view.opens_later(NOW).is_some())
    };
    let line = "ID is approved; opens in 2h (2026-09-21 16:13:20 UTC)";
    assert_eq!(approved(7_200), (line.to_owned(), true));
    assert_eq!(approved(0), ("ID is approved; to be used within 15m".to_owned(), false));
}

#[test]
fn what_was_granted_is_told_where_it_is_less_than_what_was_asked_for() {
    let wide = grant_with("INC-42", |request| request.logins.push("root".parse().unwrap()));
    let less = |principals: &[&str], prolongs: u64, until: u32| {
        let view = shown(&wide, |said| {
            said.status = Status::Approved.into();
            (said.approved_at, said.opens_at) = (NOW.0, NOW.0);
            said.prolongs_until = prolongs;
            said.access_until = NOW.plus_secs(until).0;
            said.principals = principals.iter().map(|text| (*text).to_owned()).collect();
        });
        view.granted_less()
    };
    let all = ["deploy@prod-host", "root@prod-host"];
    assert_eq!(less(&all, 0, 600), None);
    let part = less(&all[..1], 0, 600).unwrap();
    assert_eq!(part, "granted: deploy@prod-host for 10m");
    let short = less(&all, 0, 300).unwrap();
    assert_eq!(short, "granted: deploy@prod-host and root@prod-host for 5m of the 10m asked for");
    // An extension counts from the end of what it prolongs.
    assert_eq!(less(&all, NOW.0 + 900, 1_500), None);
    assert!(less(&all, NOW.0 + 900, 1_200).is_some());
    let pending = shown(&wide, |_| ());
    assert_eq!(pending.granted_less(), None);
}

#[test]
fn the_end_says_why_and_what_a_host_may_still_take() {
    let grant = grant("INC-42");
    let view = shown(&grant, |said| {
        said.status = Status::Revoked.into();
        said.detail = "the access was taken away by bob: over".into();
        said.live_seconds = 250;
    });
    let line = view.standing(NOW).replace(view.id().as_str(), "ID");
    assert_eq!(
        line,
        "ID is revoked: the access was taken away by bob: over. A certificate of it is valid for \
         4m10s more at hosts that have not heard."
    );
    let failure = view.failure().unwrap();
    assert_eq!((failure.outcome.code(), failure.name.as_ref()), (5, "REVOKED"));
    // Of approvals that leave nothing together, the requester hears as much.
    let empty = shown(&grant, |said| {
        said.status = Status::Refused.into();
        said.detail = "the approvals have no host or no login in common.".into();
    });
    let failure = empty.failure().unwrap();
    assert_eq!(failure.outcome.code(), 6);
    assert!(failure.message.contains("no login in common"));
}

#[test]
fn break_glass_is_marked_until_it_is_reviewed() {
    let broken = grant_with("INC-42", |request| request.break_glass = Some("fire".into()));
    let view = |reviewed| {
        shown(&broken, |said| {
            said.status = Status::Active.into();
            said.basis = v1::Basis::BreakGlass.into();
            said.reviewed = reviewed;
        })
    };
    let json = |view: &View| serde_json::to_value(view.row()).unwrap();
    assert!(view(false).standing(NOW).ends_with("; to be reviewed"));
    assert_eq!(json(&view(false))["basis"], "break-glass");
    assert_eq!(json(&view(false))["reviewed"], false);
    assert_eq!(json(&view(false))["break_glass"], "fire");
    assert!(view(false).details(&[], NOW).contains("break-glass (not reviewed yet)"));
    assert!(!view(true).standing(NOW).contains("review"));
    assert_eq!(json(&view(true))["reviewed"], true);
    let usual = shown(&grant("INC-42"), |said| said.basis = v1::Basis::Approvals.into());
    assert_eq!(json(&usual)["basis"], "approvals");
    assert!(json(&usual)["reviewed"].is_null());
}

#[test]
fn an_end_or_decision_that_is_about_another_request_is_not_shown() {
    let (grant, other) = (grant("INC-42"), grant("INC-43"));
    let end = |of: &Grant| signed(&revocation(of, NOW));
    let ours = shown(&grant, |said| said.ends = vec![end(&grant)]);
    assert_eq!(ours.ends.len(), 1);
    let first_only = shown(&grant, |said| said.end = Some(end(&grant)));
    assert_eq!(first_only.ends.len(), 1);
    let foreign = shown(&grant, |said| said.ends = vec![end(&other)]);
    assert!(foreign.ends.is_empty());
    let mut forged = end(&grant);
    forged.signatures = end(&other).signatures;
    assert!(shown(&grant, |said| said.ends = vec![forged]).ends.is_empty());
}

pub(super) fn revocation(of: &Grant, at: UnixTime) -> End {
    let why = Some("over".to_owned());
    End::new(ca(), "bob".parse().unwrap(), of.digest(), Cause::Revoke, why, at)
}

/// A statement signed by some key.
pub(super) fn signed<T: statement::Body>(body: &T) -> v1::SignedStatement {
    let bytes = statement::encode(body).unwrap();
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    let namespace = format!("{}@jit-ssh", T::KIND.as_str());
    let signature = key.sign(&namespace, HashAlg::Sha512, &bytes).unwrap();
    let signature = signature.encode_vec().unwrap();
    v1::SignedStatement { statement: bytes.into(), signatures: vec![signature.into()] }
}

#[test]
fn access_that_was_cut_short_is_not_said_to_last() {
    let grant = grant("INC-42");
    let details = |status: v1::Status| {
        let until = NOW.plus_secs(600).0;
        let view = shown(&grant, |said| {
            said.status = status.into();
            said.access_until = until;
        });
        view.details(&[], NOW)
    };
    for status in [v1::Status::Released, v1::Status::Revoked] {
        let text = details(status);
        assert!(text.contains("was to last until") && !text.contains("access until"), "{text}");
    }
    assert!(details(v1::Status::Active).contains("access until"));
}

#[test]
fn whoever_decides_is_shown_what_a_certificate_will_permit_and_apart_what_was_asked_beyond() {
    let both = vec![Permit::Pty, Permit::PortForwarding];
    let lines = |asked: &[Permit], rule: Option<&[&str]>| {
        let view =
            shown(&grant_with("INC-42", |request| request.permit = asked.to_vec()), |said| {
                said.permits = rule.map(|names| v1::Permits {
                    names: names.iter().map(ToString::to_string).collect(),
                });
            });
        let lines = view.ballot(None, NOW).into_iter();
        let of_permits = lines.filter(|(name, _)| name.contains("permit"));
        of_permits.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(&both, Some(&["pty"])),
        ["permit: pty", "not permitted: port-forwarding: asked for, and not granted by the rule"]
    );
    assert_eq!(
        lines(&both, Some(&["pty", "port-forwarding"])),
        ["permit: pty and port-forwarding"]
    );
    assert_eq!(
        lines(&both[..1], Some(&[])),
        [
            "permit: nothing beside commands",
            "not permitted: pty: asked for, and not granted by the rule"
        ]
    );
    // A CA can not have more shown than was signed.
    assert_eq!(lines(&both[..1], Some(&["pty", "x11\u{1b}[2J", "user-rc"])), ["permit: pty"]);
    assert_eq!(lines(&[], Some(&["pty"])), ["permit: nothing beside commands"]);
    // No rule covers it, or the CA is an older one.
    assert_eq!(lines(&both, None), ["permit: pty and port-forwarding, as far as a rule allows it"]);
}
