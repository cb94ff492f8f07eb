use super::*;
use crate::grants::tests::grant_with;

fn step(from: &str, needed: u32, strength: &str) -> v1::ApprovalStep {
    let from = vec![from.to_owned()];
    v1::ApprovalStep { from, needed, given: 0, strength: strength.to_owned() }
}

fn answer() -> v1::ExplainResponse {
    v1::ExplainResponse {
        rule: "prod".into(),
        approvals_needed: 1,
        approvers: vec!["bob".into(), "carol".into()],
        decide_within: 3_600,
        use_within: 900,
        cert_for: 300,
        max_for: 1_800,
        permit: vec!["pty".into()],
        basis: v1::Basis::Approvals.into(),
        steps: vec![step("group:sre-leads", 1, "hardware")],
        typical_wait: 200,
        typical_of: 12,
        extend_max: 1_800,
        extend_times: 2,
        break_glass_max: 900,
        break_glass_strength: "hardware".into(),
        break_glass_told: vec!["bob".into(), "carol".into()],
        reason_min: 10,
        reason_pattern: "INC-[0-9]+".into(),
        reason_hint: "name the incident".into(),
        otherwise_rule: String::new(),
        otherwise_basis: v1::Basis::Unspecified.into(),
        extension: 0,
    }
}

fn wish() -> Wish {
    Wish {
        only: None,
        hosts: vec!["prod-host".parse().unwrap()],
        login: "deploy".parse().unwrap(),
        span: jit_ssh_core::time::Seconds::new(600),
        because: Some("INC-42".to_owned()),
        permit: None,
        manner: crate::wish::Manner::Usual,
    }
}

#[test]
fn a_reason_that_is_not_said_is_asked_for_as_the_rule_wants_it() {
    let grant = grant_with("INC-42", |_| ());
    let open = Wish { because: None, span: None, ..wish() };
    let shown = |wish: &Wish, answer: &v1::ExplainResponse| {
        lay_out(&lines(wish, grant.request.body(), answer))
    };
    let told = shown(&open, &answer());
    assert!(
        told.contains(
            "reason             not said yet: prod wants at least 10 characters and something \
             like \"INC-[0-9]+\" (name the incident); say it with --because TEXT\n\
             with another       refused: no rule takes a reason that says less\n"
        ),
        "{told}"
    );
    assert!(told.contains("for 10m unless --for says another time, of at most 30m"), "{told}");
    let said = shown(&wish(), &answer());
    assert!(!said.contains("reason") && !said.contains("unless --for"), "{said}");

    let other = v1::ExplainResponse {
        otherwise_rule: "night".into(),
        otherwise_basis: v1::Basis::Auto.into(),
        ..answer()
    };
    let told = shown(&open, &other);
    assert!(told.contains("with another       night decides, by itself\n"), "{told}");
    let same = v1::ExplainResponse {
        reason_min: 1,
        reason_pattern: String::new(),
        reason_hint: String::new(),
        otherwise_rule: "prod".into(),
        ..answer()
    };
    let told = shown(&open, &same);
    assert!(told.contains("prod wants a word at least; say it"), "{told}");
    assert!(!told.contains("with another"), "{told}");

    let json = |wish: &Wish, answer| {
        serde_json::to_value(explained(wish, grant.request.body(), answer)).unwrap()
    };
    let told = json(&open, &other);
    assert_eq!(told["unsaid"], serde_json::json!(["because", "for", "permit"]));
    assert_eq!((&told["reason"], &told["reason_min"]), (&serde_json::Value::Null, &10.into()));
    assert_eq!(told["reason_pattern"], "INC-[0-9]+");
    assert_eq!(
        (&told["otherwise_rule"], &told["otherwise_basis"]),
        (&"night".into(), &"auto".into())
    );
    let told = json(&wish(), &answer());
    assert_eq!(
        (&told["reason"], &told["unsaid"]),
        (&"INC-42".into(), &serde_json::json!(["permit"]))
    );
    assert_eq!(told["otherwise_rule"], serde_json::Value::Null);
}

#[test]
fn what_would_follow_is_told_with_names_clocks_and_ways_out() {
    let grant = grant_with("INC-42", |request| request.not_before = None);
    let shown = lay_out(&lines(&wish(), grant.request.body(), &answer()));
    assert_eq!(
        shown,
        "login would        make a new request\n\
         rule               prod\n\
         would be approved  by 1 of group:sre-leads with strength hardware: bob and carol\n\
         decided within     1h\n\
         usually takes      3m20s (median of the last 12)\n\
         used within        15m\n\
         certificate        for at most 5m\n\
         access             for 10m, of at most 30m\n\
         permit             pty\n\
         extension          by at most 30m at once, 2 times\n\
         break-glass        for at most 15m with strength hardware; told: bob and carol\n"
    );
    let auto = v1::ExplainResponse {
        rule: "\u{1b}[2J".into(),
        approvals_needed: 0,
        basis: v1::Basis::Auto.into(),
        ..v1::ExplainResponse::default()
    };
    let shown = lay_out(&lines(&wish(), grant.request.body(), &auto));
    assert!(shown.contains("by the rule itself") && !shown.contains('\u{1b}'), "{shown}");
    assert!(!shown.contains("decided within") && !shown.contains("usually takes"), "{shown}");
}

#[test]
fn several_steps_are_told_each_by_itself_and_programs_get_all_of_it() {
    let grant = grant_with("INC-42", |_| ());
    let steps = vec![step("group:leads", 1, "any"), step("person:dora", 1, "verified")];
    let answer = v1::ExplainResponse { steps, approvals_needed: 2, ..answer() };
    let shown = lay_out(&lines(&wish(), grant.request.body(), &answer));
    assert!(shown.contains("by 2 persons in 2 steps"), "{shown}");
    assert!(shown.contains("step               1 of group:leads\n"), "{shown}");
    assert!(shown.contains("1 of person:dora with strength verified\n"), "{shown}");
    let wish = wish();
    let json = serde_json::to_value(explained(&wish, grant.request.body(), &answer)).unwrap();
    assert_eq!(json["steps"][1]["strength"], "verified");
    assert_eq!((&json["typical_wait"], &json["typical_of"]), (&200.into(), &12.into()));
    assert_eq!((&json["extend_max"], &json["break_glass_max"]), (&1800.into(), &900.into()));
    assert_eq!((&json["basis"], &json["for"]), (&"approvals".into(), &600.into()));
}

#[test]
fn an_extension_says_what_it_prolongs_and_how_many_are_left() {
    let grant = grant_with("INC-42", |_| ());
    let of = crate::wish::Prolonged {
        request: Digest::of(b"parent"),
        access_until: UnixTime(1_790_000_600),
        reason: "INC-42".to_owned(),
        permit: Vec::new(),
        longest: None,
    };
    let wish = Wish { manner: crate::wish::Manner::Extends(Box::new(of)), ..wish() };
    let told = |extension| {
        let answer = v1::ExplainResponse { extension, ..answer() };
        let shown = lay_out(&lines(&wish, grant.request.body(), &answer));
        let json = serde_json::to_value(explained(&wish, grant.request.body(), &answer)).unwrap();
        (shown, json)
    };
    let (shown, json) = told(1);
    let id = Digest::of(b"parent").short_id();
    let expected =
        format!("ask to prolong request {id}, which lasts until 2026-09-21 14:23:20 UTC");
    assert!(shown.contains(&expected), "{shown}");
    assert!(!shown.contains("as before"), "{shown}");
    assert!(shown.contains("number 1 of 2, by at most 30m at once; 1 left after it"), "{shown}");
    assert_eq!((&json["would"], &json["extension"]), (&"extend".into(), &1.into()));
    assert_eq!(
        (&json["extensions_left"], &json["prolongs_until"]),
        (&1.into(), &1_790_000_600.into())
    );
    let (shown, json) = told(2);
    assert!(shown.contains("none is left after it"), "{shown}");
    assert_eq!(json["extensions_left"], 0);
    let wish = Wish { because: None, ..wish };
    let shown = lay_out(&lines(&wish, grant.request.body(), &answer()));
    assert!(shown.contains("as before, unless --because says another: INC-42\n"), "{shown}");
}
