use super::*;
use crate::bundle::{Approval, Auto, Permit, Selection, SourceRule, Strength};

#[test]
fn a_rule_says_what_the_file_says() {
    let policy = good().parse().unwrap().policy;
    let [rule, pipeline] = policy.allow.as_slice() else { panic!("two rules") };
    assert_eq!(rule.name.as_str(), "sre-prod");
    assert_eq!(
        rule.who.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["group:sre", "person:carol"]
    );
    assert_eq!((rule.max_for.get(), rule.cert_for.get()), (1800, 300));
    assert_eq!((rule.decide_within.get(), rule.use_within.get()), (7200, 600));
    assert_eq!(rule.permit.iter().copied().collect::<Vec<_>>(), [Permit::Pty]);
    assert_eq!(rule.source, SourceRule::Client);
    assert_eq!((rule.reason.min, rule.reason.hint.as_deref()), (10, Some("name the incident")));
    let pattern = rule.reason.pattern.as_ref().unwrap();
    assert!(pattern.is_match("see INC-42 now") && !pattern.is_match("see INC- now"));
    let Approval::Steps(steps) = &rule.approval else { panic!("approvals") };
    let [step] = steps.iter().as_slice() else { panic!("one step") };
    assert_eq!((step.count.get(), step.strength), (2, Strength::Any));

    assert_eq!(pipeline.approval, Approval::Auto(Auto::default()));
    assert_eq!((pipeline.decide_within.get(), pipeline.use_within.get()), (3600, 900));
    assert!(pipeline.permit.is_empty());
    assert_eq!(pipeline.source, SourceRule::Any);
    assert_eq!((pipeline.reason.min, &pipeline.reason.pattern), (1, &None));
}

#[test]
fn what_a_deny_rule_leaves_out_means_everything() {
    let files = good().with("policy.toml", "hosts = [\"label:role=db\"]\nlogins = [\"root\"]", "");
    let deny = files.parse().unwrap().policy.deny;
    assert_eq!((&deny[0].who, &deny[0].hosts), (&Selection::All, &Selection::All));
    assert_eq!(deny[0].logins, Selection::All);
    let deny = "name = \"nobody-as-root-on-db\"";
    let hosts = "hosts = [\"label:role=db\"]";
    assert_refused(
        "policy.toml",
        &[
            (deny, "", "[[deny]] lacks the field `name`"),
            (hosts, "hosts = []", "this list is empty"),
            (hosts, "who = []", "this list is empty"),
            (hosts, "max_for = \"1m\"", "`max_for` is not a field of [[deny]]"),
        ],
    );
}

#[test]
fn an_allow_rule_needs_its_fields() {
    for (line, field) in [
        ("name = \"pipeline\"", "name"),
        ("who = [\"machine:deploy-bot\"]", "who"),
        ("hosts = [\"label:env=prod,role=web\"]", "hosts"),
        ("logins = [\"deploy\"]", "logins"),
        ("max_for = \"10m\"", "max_for"),
        ("cert_for = \"2m\"", "cert_for"),
    ] {
        assert_refused(
            "policy.toml",
            &[(line, "", &format!("[[allow]] lacks the field `{field}`"))],
        );
    }
}

#[test]
fn durations_stay_below_their_limits() {
    let (max, cert) = ("max_for = \"30m\"", "cert_for = \"5m\"");
    let (decide, used) = ("decide_within = \"2h\"", "use_within = \"10m\"");
    assert_refused(
        "policy.toml",
        &[
            (max, "max_for = \"24h1s\"", "1d1s is too long; at most 1d is accepted here"),
            (max, "max_for = \"0s\"", "a duration must be longer than zero"),
            (max, "max_for = 30", "expected a string, found an integer"),
            (
                max,
                "max_for = \"30\"",
                "\"30\" is not a duration; write it like \"90s\", \"30m\", \"1h30m\" or \"2d\"",
            ),
            (max, "max_for = \"4m59s\"", "a certificate can not be longer than max_for, 4m59s"),
            (cert, "cert_for = \"30m1s\"", "a certificate can not be longer than max_for, 30m"),
            (cert, "cert_for = \"61m\"", "1h1m is too long; at most 1h is accepted here"),
            (decide, "decide_within = \"7d1s\"", "7d1s is too long; at most 7d is accepted here"),
            (used, "use_within = \"1441m\"", "1d1m is too long; at most 1d is accepted here"),
        ],
    );
    assert_accepted(
        "policy.toml",
        &[
            (max, "max_for = \"24h\""),
            (max, "max_for = \"5m\""),
            (cert, "cert_for = \"30m\""),
            (decide, "decide_within = \"7d\""),
            (used, "use_within = \"24h\""),
        ],
    );
}

#[test]
fn reason_permit_and_source_are_checked() {
    let reason = "reason = { min = 10, pattern = \"INC-[0-9]+\", hint = \"name the incident\" }";
    let (permit, source) = ("permit = [\"pty\"]", "source = \"client\"");
    let long = format!("reason = {{ pattern = \"{}\" }}", "a".repeat(201));
    assert_refused(
        "policy.toml",
        &[
            (reason, "reason = \"INC\"", "expected a table, found a string"),
            (reason, "reason = { min = 0 }", "this number must be from 1 to 200"),
            (reason, "reason = { pattern = \"\" }", "this pattern is empty"),
            (reason, &long, "this pattern is longer than 200 characters"),
            (reason, "reason = { hint = \"a\\u0007\" }", "this text holds a control character"),
            (reason, "reason = { max = 3 }", "`max` is not a field of reason"),
            (permit, "permit = [\"pty\", \"pty\"]", "`pty` is listed twice"),
            (permit, "permit = [\"ptty\"]", "`ptty` is not a permit; did you mean `pty`?"),
            (source, "source = \"clients\"", "`clients` is not a source"),
            (source, "source = []", "this list is empty"),
            (
                source,
                "source = [\"10.0.0.1/8\"]",
                "\"10.0.0.1/8\" has bits set below its prefix; the range is 10.0.0.0/8",
            ),
            (source, "source = [\"::/0\", \"::/0\"]", "`::/0` is listed twice"),
            (
                source,
                "subject_key = \"verify\"",
                "`verify` is not a strength; known are any, hardware, verified",
            ),
        ],
    );
    for pattern in ["(", "(a{1000}){1000}", "(a{100}){100}"] {
        let text = format!("reason = {{ pattern = \"{pattern}\" }}");
        let problems = good().with("policy.toml", reason, &text).problems();
        assert!(problems[0].message.starts_with("this is not a usable regular expression"));
    }
    assert_accepted(
        "policy.toml",
        &[
            (source, "subject_key = \"verified\""),
            (reason, "reason = {}"),
            (permit, "permit = []"),
            (
                permit,
                "permit = [\"user-rc\", \"x11-forwarding\", \"agent-forwarding\", \"port-forwarding\"]",
            ),
            (source, "source = \"any\""),
            (source, "source = [\"10.0.0.0/8\", \"2001:db8::/32\"]"),
        ],
    );
}

#[test]
fn permits_have_one_spelling_everywhere() {
    for permit in Permit::ALL {
        assert_eq!(permit.as_str().parse::<Permit>().unwrap(), permit);
        let json = serde_json::to_string(&permit).unwrap();
        assert_eq!(json, format!("\"{permit}\""));
        assert_eq!(serde_json::from_str::<Permit>(&json).unwrap(), permit);
        assert_eq!(permit.extension().to_ascii_lowercase(), format!("permit-{permit}"));
    }
    assert_eq!(Permit::X11Forwarding.extension(), "permit-X11-forwarding");
    assert!("PTY".parse::<Permit>().is_err());
    assert!(Strength::Any < Strength::Hardware && Strength::Hardware < Strength::Verified);
}

#[test]
fn a_rule_moved_above_another_is_looked_at_first() {
    let bundle = good().parse().unwrap();
    let names = |policy: &crate::bundle::Policy| {
        policy.allow.iter().map(|rule| rule.name.to_string()).collect::<Vec<_>>()
    };
    let name = |name: &str| name.parse::<crate::names::RuleName>().unwrap();
    let moved = |rule, above| bundle.policy.clone().moved_above(&name(rule), &name(above));
    let policy = moved("pipeline", "sre-prod");
    assert_eq!(names(&policy), ["pipeline", "sre-prod"]);
    let alice = bundle.people.get(&"alice".parse().unwrap()).unwrap();
    let candidates: Vec<&str> =
        policy.allow_candidates(alice).map(|rule| rule.name.as_str()).collect();
    assert_eq!(candidates, ["sre-prod"], "the index follows");
    for (rule, above) in [
        ("sre-prod", "pipeline"),
        ("pipeline", "pipeline"),
        ("gone", "pipeline"),
        ("sre-prod", "gone"),
    ] {
        assert_eq!(names(&moved(rule, above)), ["sre-prod", "pipeline"], "{rule} above {above}");
    }
}
