//! Who must approve: one way per rule, and always one that persons can walk.

use proptest::prelude::*;

use super::*;
use crate::bundle::{Approval, Strength};

const AUTO: &str = "auto = {}";

/// A step with this `from`, `count` and more.
fn step(from: &str, count: impl std::fmt::Display, more: &str) -> String {
    format!("{{ from = [{from}], count = {count}{more} }}")
}

fn approvals(steps: &[String]) -> String {
    format!("approvals = [{}]", steps.join(", "))
}

#[test]
fn exactly_one_of_approvals_and_auto() {
    let auto = AUTO;
    assert_refused(
        "policy.toml",
        &[
            (auto, "", "[[allow]] lacks the field `approvals`, or `auto = {}` to need none"),
            (auto, "auto = true", "expected a table, found a boolean"),
            (auto, "auto = { maybe = 1 }", "`maybe` is not a field of auto"),
            (auto, "approvals = []", "this list is empty"),
            (auto, "approvals = {}", "expected a list, found a table"),
            (
                auto,
                "auto = {}\napprovals = [{ from = [\"person:bob\"], count = 1 }]",
                "a rule has either `approvals` or `auto`, not both",
            ),
        ],
    );
    assert_accepted(
        "policy.toml",
        &[(auto, "approvals = [{ from = [\"person:bob\"], count = 1 }]")],
    );
}

#[test]
fn an_approval_step_can_be_satisfied_by_persons() {
    let auto = AUTO;
    let step = |from: &str, count: &str| approvals(&[step(from, count, "")]);
    let impossible =
        |count, of| format!("{count} approvals are asked of {of} persons: nobody could satisfy it");
    assert_refused(
        "policy.toml",
        &[
            (auto, &step("", "1"), "this list is empty"),
            (auto, &step("\"person:bob\"", "0"), "this number must be from 1 to 255"),
            (auto, &step("\"person:bob\"", "256"), "this number must be from 1 to 255"),
            (auto, &step("\"person:bob\"", "2"), &impossible(2, 1)),
            // Bob is in the group already, and counts once.
            (auto, &step("\"person:bob\", \"group:sre-leads\"", "2"), &impossible(2, 1)),
            (auto, &step("\"group:sre\"", "3"), &impossible(3, 2)),
            (auto, &step("\"machine:deploy-bot\"", "1"), "a machine can not approve"),
            (auto, &step("\"group:ci\"", "1"), "there is no person in group `ci`"),
            (
                auto,
                "approvals = [{ from = [\"person:bob\"] }]",
                "an approval step lacks the field `count`",
            ),
            (auto, "approvals = [{ count = 1 }]", "an approval step lacks the field `from`"),
            (auto, "approvals = [1]", "expected a table, found an integer"),
            (
                auto,
                "approvals = [{ from = [\"person:bob\"], count = 1, strength = \"hard\" }]",
                "`hard` is not a strength; known are any, hardware, verified",
            ),
        ],
    );
    assert_accepted(
        "policy.toml",
        &[
            (auto, &step("\"group:sre\"", "2")),
            (auto, &step("\"group:sre\", \"person:carol\"", "3")),
        ],
    );
}

#[test]
fn a_group_of_persons_and_machines_counts_its_persons_only() {
    let mixed = good().with("people.toml", "groups = [\"ci\"]", "groups = [\"sre\"]");
    let step = |count: u8| approvals(&[step("\"group:sre\"", count, "")]);
    assert!(mixed.clone().with("policy.toml", "auto = {}", &step(2)).parse().is_ok());
    assert!(mixed.with("policy.toml", "auto = {}", &step(3)).parse().is_err());
}

#[test]
fn a_step_asks_for_the_strength_the_file_says() {
    for strength in Strength::ALL {
        let step = step("\"person:bob\"", 1, &format!(", strength = \"{strength}\""));
        let policy = good().with("policy.toml", AUTO, &approvals(&[step])).parse().unwrap().policy;
        let Approval::Steps(steps) = &policy.allow[1].approval else { panic!("approvals") };
        assert_eq!(steps.iter().map(|step| step.strength).collect::<Vec<_>>(), [strength]);
    }
}

#[test]
fn steps_keep_their_order_and_stay_few() {
    let (lead, carol) = (
        step("\"group:sre-leads\"", 1, ""),
        step("\"person:carol\"", 1, ", strength = \"verified\""),
    );
    let files = good().with("policy.toml", AUTO, &approvals(&[lead, carol]));
    let policy = files.parse().unwrap().policy;
    assert_eq!(
        policy.allow[1].approval.to_string(),
        "1 of group:sre-leads and 1 of person:carol with strength verified"
    );

    let crowd = Crowd::of(9);
    let steps = |count: usize| (0..count).map(|place| (1 << place, 1)).collect::<Vec<_>>();
    assert!(crowd.parse(&steps(8)).is_ok());
    let problems = crowd.parse(&steps(9)).unwrap_err().0;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "a rule has at most 8 approval steps");
}

#[test]
fn one_person_can_not_satisfy_two_steps() {
    let alone = step("\"person:bob\"", 1, "");
    let leads = step("\"group:sre-leads\"", 1, "");
    let carol = step("\"person:carol\"", 1, "");
    let sre = |count: u8| step("\"group:sre\"", count, "");
    let short = |steps: &str, asked: u8, named: u8| {
        format!(
            "steps {steps} together ask for {asked} persons and name only {named}: nobody could satisfy them"
        )
    };
    assert_refused(
        "policy.toml",
        &[
            (AUTO, &approvals(&[alone.clone(), alone.clone()]), &short("1 and 2", 2, 1)),
            // Bob is the only lead.
            (AUTO, &approvals(&[alone.clone(), leads.clone()]), &short("1 and 2", 2, 1)),
            (AUTO, &approvals(&[sre(2), alone.clone()]), &short("1 and 2", 3, 2)),
            // Enough persons in all, but not for these two; the third is not the reason.
            (
                AUTO,
                &approvals(&[leads.clone(), carol.clone(), alone.clone()]),
                &short("1 and 3", 2, 1),
            ),
            (AUTO, &approvals(&[sre(1), sre(1), leads.clone()]), &short("1 and 2 and 3", 3, 2)),
        ],
    );
    assert_accepted(
        "policy.toml",
        &[
            (AUTO, &approvals(&[alone.clone(), carol.clone()])),
            // Alice is left for the first step, though Bob would fit too.
            (AUTO, &approvals(&[sre(1), leads.clone()])),
            (AUTO, &approvals(&[sre(2), carol.clone()])),
            (AUTO, &approvals(&[sre(1), leads, carol])),
        ],
    );

    let files = good().with("policy.toml", AUTO, &approvals(&[alone.clone(), alone]));
    assert_eq!(
        files.parse().unwrap_err().to_string(),
        r#"error: steps 1 and 2 together ask for 2 persons and name only 1: nobody could satisfy them
  --> policy.toml:30:13
   |
30 | approvals = [{ from = ["person:bob"], count = 1 }, { from = ["person:bob"], count = 1 }]
   |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   = help: one person counts once over all steps: lower a `count`, or name more persons in one `from`"#
    );
}

#[test]
fn every_step_with_a_problem_is_reported() {
    let steps = [
        step("\"person:zoe\"", 1, ""),
        step("\"person:bob\"", 2, ""),
        step("\"person:bob\"", 1, ", strength = \"touch\""),
        step("\"person:bob\"", 1, ", when = 1"),
    ];
    let problems = good().with("policy.toml", AUTO, &approvals(&steps)).problems();
    let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "there is no person `zoe`",
            "2 approvals are asked of 1 persons: nobody could satisfy it",
            "`touch` is not a strength; known are any, hardware, verified",
            "`when` is not a field of an approval step",
        ]
    );
}

#[test]
fn steps_are_never_empty() {
    assert!(crate::bundle::Steps::new(Vec::new()).is_none());
}

#[test]
fn a_large_group_counts_each_of_its_persons() {
    let crowd = Crowd::of(100);
    let parse = |steps: &[(&str, u32)]| {
        let steps: Vec<_> = steps.iter().map(|(from, count)| step(from, count, "")).collect();
        crowd.with_approvals(&approvals(&steps))
    };
    let (all, one) = ("\"group:all\"", "\"person:p99\"");
    for fits in [[(all, 50), (all, 50)], [(all, 99), (one, 1)], [(one, 1), (all, 1)]] {
        assert!(parse(&fits).is_ok(), "{fits:?}");
    }
    for short in [[(all, 51), (all, 50)], [(all, 100), (one, 1)], [(one, 1), (all, 100)]] {
        let problems = parse(&short).unwrap_err().0;
        assert_eq!(problems.len(), 1, "{short:?}");
        assert_eq!(
            problems[0].message,
            "steps 1 and 2 together ask for 101 persons and name only 100: nobody could satisfy them"
        );
    }
}

/// Persons `p0`, `p1`, ... and files that know them.
struct Crowd(String);

/// For each step: the persons it names, one bit each, and how many of them are asked.
type Asked = Vec<(u8, u32)>;

impl Crowd {
    fn of(count: u8) -> Crowd {
        let person = |place: u8| {
            let key = software_key(place.saturating_add(100)).1;
            format!(
                "[[person]]\nid = \"p{place}\"\nname = \"P\"\nkeys = [\"{key}\"]\ngroups = [\"all\"]\n"
            )
        };
        Crowd((0..count).map(person).collect())
    }

    fn parse(&self, asked: &[(usize, u32)]) -> Result<Bundle, Diagnostics> {
        let steps: Vec<_> = asked
            .iter()
            .map(|(persons, count)| {
                let named = (0..16).filter(|place| persons >> place & 1 == 1);
                let from: Vec<_> = named.map(|place| format!("\"person:p{place}\"")).collect();
                step(&from.join(", "), count, "")
            })
            .collect();
        self.with_approvals(&approvals(&steps))
    }

    fn with_approvals(&self, approvals: &str) -> Result<Bundle, Diagnostics> {
        let policy = format!(
            "[[allow]]\nname = \"rule\"\nwho = [\"group:all\"]\nhosts = [\"*\"]\nlogins = [\"root\"]\nmax_for = \"1h\"\ncert_for = \"5m\"\n{approvals}\n"
        );
        Files { people: self.0.clone(), policy, ..good() }.parse()
    }
}

/// Whether each asked approval finds a person of its own, found by trying.
fn can_be_satisfied(asked: &[(u8, u32)]) -> bool {
    fn seat(seats: &[u8], free: u8) -> bool {
        let Some((first, rest)) = seats.split_first() else { return true };
        (0..8)
            .map(|place| 1u8 << place)
            .any(|person| first & free & person != 0 && seat(rest, free & !person))
    }
    let seats: Vec<u8> =
        asked.iter().flat_map(|(persons, count)| (0..*count).map(move |_| *persons)).collect();
    seat(&seats, u8::MAX)
}

fn asked() -> impl Strategy<Value = Asked> {
    let step = (1u8..32).prop_flat_map(|persons| (Just(persons), 1..=persons.count_ones().min(2)));
    proptest::collection::vec(step, 1..5)
}

proptest! {
    #[test]
    fn steps_are_accepted_exactly_if_distinct_persons_can_satisfy_them(asked in asked()) {
        let steps: Vec<_> = asked.iter().map(|(who, count)| (usize::from(*who), *count)).collect();
        let parsed = Crowd::of(5).parse(&steps);
        prop_assert_eq!(parsed.is_ok(), can_be_satisfied(&asked), "{:?}", parsed.err());
    }
}
