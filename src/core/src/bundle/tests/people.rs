use super::*;
use crate::bundle::{Actor, ActorKind, Who};
use crate::names::GroupName;

#[test]
fn people_are_found_by_id_and_by_any_key() {
    let people = good().parse().unwrap().people;
    let alice = people.get(&"alice".parse().unwrap()).unwrap();
    assert_eq!(alice.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>(), ["sre"]);
    let ActorKind::Person { name, email } = &alice.kind else { panic!("alice is a person") };
    assert_eq!((name.as_str(), email.as_deref()), ("Alice Doe", Some("alice@example.com")));
    assert_eq!(people.owner_of(&software_key(1).1).unwrap().id, alice.id);
    assert_eq!(people.owner_of(&software_key(3).1).unwrap().kind, ActorKind::Machine);
    assert!(people.get(&"alic".parse().unwrap()).is_none());
    assert!(people.owner_of(&software_key(9).1).is_none());
    let groups: Vec<_> = people.groups().map(|group| group.as_str()).collect();
    assert_eq!(groups, ["ci", "sre", "sre-leads"]);
}

#[test]
fn fields_of_people_are_checked() {
    let id = r#"id = "alice""#;
    let name = r#"name = "Alice Doe""#;
    let email = r#"email = "alice@example.com""#;
    let keys = r#"keys = ["<bot>"]"#;
    let groups = r#"groups = ["ci"]"#;
    let mail = |text: &str| format!("email = \"{text}\"");
    let (long_mail, spaced, no_at, two_at) =
        (mail(&format!("{}@b", "a".repeat(253))), mail("a b@c"), mail("alice"), mail("a@b@c"));
    let long_name = format!("name = \"{}\"", "ä".repeat(101));
    assert_refused(
        "people.toml",
        &[
            (name, "", "[[person]] lacks the field `name`"),
            (name, "name = \" \"", "this text is empty"),
            (name, r#"name = "Alice\nDoe""#, "this text holds a control character"),
            (name, r#"name = "\u202eAlice""#, "this text holds a control character"),
            (name, &long_name, "this text is longer than 100 characters"),
            (name, "name = 1", "expected a string, found an integer"),
            (email, &spaced, "`a b@c` is not an e-mail address"),
            (email, &no_at, "`alice` is not an e-mail address"),
            (email, &two_at, "`a@b@c` is not an e-mail address"),
            (email, &long_mail, "this text is longer than 254 characters"),
            (id, &format!("{id}\nadmin = true"), "`admin` is not a field of [[person]]"),
            (keys, "", "[[machine]] lacks the field `keys`"),
            (keys, "keys = []", "this list is empty"),
            (keys, "keys = \"<bot>\"", "expected a list, found a string"),
            (keys, "keys = [1]", "expected a string, found an integer"),
            (keys, "name = \"Bot\"\nkeys = [\"<bot>\"]", "`name` is not a field of [[machine]]"),
            (groups, "groups = [\"ci\", \"ci\"]", "`ci` is listed twice"),
        ],
    );
    let longest = format!("name = \"{}\"", "ä".repeat(100));
    assert_accepted(
        "people.toml",
        &[
            (name, &longest),
            (email, ""),
            (email, &mail("a.b+c@d")),
            (groups, "groups = []"),
            (groups, ""),
        ],
    );
}

#[test]
fn an_id_belongs_to_one_person_or_machine() {
    // Whoever refers to the id that is gone by this change would be a problem too.
    let spare = "\n[[machine]]\nid = \"spare\"\nkeys = [\"<admin-2>\"]\n";
    let people = format!("{PEOPLE}{spare}");
    let problem = |id: &str| {
        let people = people.replace("<admin-2>", &software_key(30).1.to_string());
        Files { people: people.replace("spare", id), ..good() }.parse().err()
    };
    assert!(problem("spare").is_none());
    for taken in ["alice", "deploy-bot"] {
        let problems = problem(taken).unwrap().0;
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].message, format!("the id `{taken}` is taken"));
        assert!(problems[0].help.as_ref().unwrap().contains("in line"), "{problems:?}");
    }
}

#[test]
fn a_key_speaks_for_one_actor_only() {
    let (bot, bob) = ("keys = [\"<bot>\"]", "keys = [\"<bob>\"]");
    assert_refused(
        "people.toml",
        &[
            (bot, "keys = [\"<alice>\"]", "this key already belongs to `alice`"),
            (bot, "keys = [\"<alice> other comment\"]", "this key already belongs to `alice`"),
            (bot, "keys = [\"<bot>\", \"<bot> twice\"]", "this key is listed twice"),
        ],
    );
    assert_accepted("people.toml", &[(bob, "keys = [\"<bob>\", \"<bob-admin>\"]")]);
}

#[test]
fn an_admin_is_the_same_person_and_never_a_machine() {
    let (alice, bot) = ("keys = [\"<alice> alice@laptop\"]", "keys = [\"<bot>\"]");
    assert_refused(
        "people.toml",
        &[
            (alice, "keys = [\"<bob-admin>\"]", "this key belongs to the admin `bob`"),
            (bot, "keys = [\"<admin>\"]", "this key belongs to the admin `root-admin`"),
            (
                "groups = [\"ci\"]",
                "[[machine]]\nid = \"root-admin\"\nkeys = [\"<admin>\"]",
                "`root-admin` is an admin, and a machine can not be one",
            ),
        ],
    );
    assert_accepted(
        "people.toml",
        &[(
            "groups = [\"ci\"]",
            "[[person]]\nid = \"root-admin\"\nname = \"R\"\nkeys = [\"<admin>\"]",
        )],
    );
}

#[test]
fn only_keys_that_can_sign_are_accepted() {
    let keys = "keys = [\"<bot>\"]";
    for (line, word) in [
        ("ssh-rsa AAAAB3NzaC1yc2E= bot", "RSA"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA bot", "certificate"),
        ("ssh-ed25519 AAAA", "public key"),
        ("", "public key"),
    ] {
        let problems = good().with("people.toml", keys, &format!("keys = [\"{line}\"]")).problems();
        assert_eq!(problems.len(), 1, "{line:?}");
        assert!(problems[0].message.contains(word), "{line:?}: {}", problems[0].message);
    }
}

#[test]
fn a_private_key_is_refused_and_never_shown() {
    for secret in
        ["-----BEGIN OPENSSH PRIVATE KEY-----\nSECRET", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAASECRET"]
    {
        let keys = format!("keys = [\"\"\"{secret}\"\"\"]");
        let error = good().with("people.toml", "keys = [\"<bot>\"]", &keys).parse().unwrap_err();
        assert_eq!(error.0.len(), 1);
        assert_eq!(error.0[0].message, "this is a private key");
        assert!(!format!("{error} {error:?}").contains("SECRET"));
    }
}

#[test]
fn members_are_listed_in_the_order_of_the_file() {
    let mixed = good().with("people.toml", "groups = [\"ci\"]", "groups = [\"ci\", \"sre\"]");
    let people = mixed.parse().unwrap().people;
    let ids = |actors: Vec<&Actor>| actors.iter().map(|a| a.id.to_string()).collect::<Vec<_>>();
    let group = |name: &str| name.parse::<GroupName>().unwrap();
    let counted = |name: &str| {
        let (persons, machines) =
            (people.persons_in(&group(name)), people.machines_in(&group(name)));
        assert_eq!(people.persons_of(&group(name)).count(), persons.unwrap_or(0));
        persons.zip(machines)
    };
    assert_eq!(ids(people.persons_of(&group("sre")).collect()), ["alice", "bob"]);
    assert_eq!(counted("sre"), Some((2, 1)));
    assert_eq!(counted("sre-leads"), Some((1, 0)));
    assert_eq!(counted("ci"), Some((0, 1)));
    assert_eq!(counted("nobody"), None);
}

#[test]
fn whom_a_list_covers_are_its_persons_each_once() {
    let mixed = good().with("people.toml", "groups = [\"ci\"]", "groups = [\"ci\", \"sre\"]");
    let people = mixed.parse().unwrap().people;
    let covered = |who: &[&str]| {
        let who: Vec<Who> = who.iter().map(|who| who.parse().unwrap()).collect();
        let found: Vec<_> = people.covered_by(&who).map(|actor| actor.id.as_str()).collect();
        let walked = people.iter().filter(|a| a.is_person() && who.iter().any(|who| who.covers(a)));
        assert_eq!(found, walked.map(|actor| actor.id.as_str()).collect::<Vec<_>>());
        found
    };
    assert_eq!(covered(&["group:sre"]), ["alice", "bob"]);
    assert_eq!(
        covered(&["person:carol", "group:sre-leads", "group:sre", "person:alice"]),
        ["alice", "bob", "carol"]
    );
    for none in ["machine:deploy-bot", "person:deploy-bot", "group:ci", "group:no", "person:no"] {
        assert_eq!(covered(&[none]), [""; 0], "{none}");
    }
    assert_eq!(covered(&[]), [""; 0]);
}
