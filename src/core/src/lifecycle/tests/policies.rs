//! Random policies, held against a second reading of them that shares no code with ours: no bundle
//! yields a certificate with fewer approvals than its rule says, and no rule loosens a deny.

use proptest::prelude::*;

use super::*;
use crate::statement::Verdict;

const PEOPLE: [&str; 6] = ["p0", "p1", "p2", "p3", "p4", "p5"];
const GROUPS: usize = 3;
const HOSTS: [&str; 3] = ["prod-host", "prod-db", "test-host"];

/// Somebody, by place in [`PEOPLE`], or everyone in a group.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Named {
    Person(usize),
    Group(usize),
}

#[derive(Debug, Clone)]
struct Rule {
    who: Vec<Named>,
    hosts: Vec<usize>,
    terms: Terms,
}

#[derive(Debug, Clone)]
enum Terms {
    Deny,
    Auto,
    Steps(Vec<(Vec<Named>, usize)>),
}

#[derive(Debug, Clone)]
struct Team {
    /// For each person, who is in which group.
    groups: Vec<[bool; GROUPS]>,
    rules: Vec<Rule>,
}

impl Team {
    fn is(&self, named: Named, person: usize) -> bool {
        match named {
            Named::Person(place) => place == person,
            Named::Group(group) => self.groups[person][group],
        }
    }

    fn any(&self, named: &[Named], person: usize) -> bool {
        named.iter().any(|named| self.is(*named, person))
    }

    fn text(named: &[Named]) -> String {
        let one = |named: &Named| match named {
            Named::Person(place) => format!("\"person:{}\"", PEOPLE[*place]),
            Named::Group(group) => format!("\"group:g{group}\""),
        };
        named.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn policy(&self) -> String {
        let mut text = String::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let hosts: Vec<String> =
                rule.hosts.iter().map(|host| format!("\"{}\"", HOSTS[*host])).collect();
            let (who, hosts) = (Team::text(&rule.who), hosts.join(", "));
            let kind = if matches!(rule.terms, Terms::Deny) { "deny" } else { "allow" };
            text += &format!("[[{kind}]]\nname = \"r{place}\"\nwho = [{who}]\nhosts = [{hosts}]\n");
            let times = "logins = [\"deploy\"]\nmax_for = \"30m\"\ncert_for = \"5m\"\n";
            match &rule.terms {
                Terms::Deny => {}
                Terms::Auto => text += &format!("{times}auto = {{}}\n"),
                Terms::Steps(steps) => {
                    let steps: Vec<String> = steps
                        .iter()
                        .map(|(from, count)| {
                            format!("{{ from = [{}], count = {count} }}", Team::text(from))
                        })
                        .collect();
                    text += &format!("{times}approvals = [{}]\n", steps.join(", "));
                }
            }
        }
        text
    }

    fn people(&self) -> String {
        let mut text = String::new();
        for (place, id) in PEOPLE.into_iter().enumerate() {
            let groups: Vec<String> = (0..GROUPS)
                .filter(|group| self.groups[place][*group])
                .map(|group| format!("\"g{group}\""))
                .collect();
            let (key, groups) = (member(place).key, groups.join(", "));
            text += &format!(
                "[[person]]\nid = \"{id}\"\nname = \"{id}\"\nkeys = [\"{key}\"]\ngroups = [{groups}]\n"
            );
        }
        text
    }

    /// `None` where the reader refuses the policy: a step that nobody could satisfy, for example.
    fn bundle(&self, world: &World) -> Option<Bundle> {
        let mut files = world.files(&self.policy());
        files.people = self.people().into_bytes();
        Bundle::parse(1, &files, &world.root.admin_keys()).ok()
    }

    fn denies(&self, requester: usize, hosts: &[usize]) -> bool {
        self.rules.iter().any(|rule| {
            matches!(rule.terms, Terms::Deny)
                && self.any(&rule.who, requester)
                && hosts.iter().any(|host| rule.hosts.contains(host))
        })
    }

    fn decides(&self, requester: usize, hosts: &[usize]) -> Option<(usize, &Terms)> {
        let covers = |rule: &Rule| {
            !matches!(rule.terms, Terms::Deny)
                && self.any(&rule.who, requester)
                && hosts.iter().all(|host| rule.hosts.contains(host))
        };
        let place = self.rules.iter().position(covers)?;
        Some((place, &self.rules[place].terms))
    }

    /// Whether each place of the steps from `step` on can be filled by another of `persons`.
    fn fills(&self, steps: &[(Vec<Named>, usize)], persons: &[usize]) -> bool {
        let Some(((from, count), rest)) = steps.split_first() else {
            return true;
        };
        if *count == 0 {
            return self.fills(rest, persons);
        }
        let mut left = steps.to_vec();
        left[0].1 -= 1;
        persons.iter().enumerate().any(|(seat, person)| {
            let mut others = persons.to_vec();
            others.remove(seat);
            self.any(from, *person) && self.fills(&left, &others)
        })
    }
}

fn member(place: usize) -> Person {
    person(PEOPLE[place], 40 + u8::try_from(place).unwrap())
}

fn named() -> impl Strategy<Value = Vec<Named>> {
    let one =
        prop_oneof![(0..PEOPLE.len()).prop_map(Named::Person), (0..GROUPS).prop_map(Named::Group)];
    proptest::collection::vec(one, 1..4).prop_map(|mut all| {
        all.dedup();
        all
    })
}

fn hosts() -> impl Strategy<Value = Vec<usize>> {
    proptest::sample::subsequence(vec![0, 1, 2], 1..=3)
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let steps = proptest::collection::vec((named(), 1usize..3), 1..4).prop_map(Terms::Steps);
    let terms = prop_oneof![1 => Just(Terms::Deny), 1 => Just(Terms::Auto), 4 => steps];
    // Mostly everywhere: a rule that covers nothing shows nothing.
    let everywhere = prop_oneof![3 => Just(vec![0, 1, 2]), 1 => hosts()];
    let rule =
        (named(), everywhere, terms).prop_map(|(who, hosts, terms)| Rule { who, hosts, terms });
    proptest::collection::vec(rule, 1..5)
}

fn team() -> impl Strategy<Value = Team> {
    let groups = proptest::collection::vec(any::<[bool; GROUPS]>(), PEOPLE.len());
    (groups, rules()).prop_map(|(groups, rules)| Team { groups, rules })
}

/// Decisions: by whom, and whether it approves. At most one each second.
fn decisions() -> impl Strategy<Value = Vec<(usize, bool)>> {
    proptest::collection::vec((0..PEOPLE.len(), proptest::bool::weighted(0.95)), 0..12)
}

struct Play {
    bundle: Bundle,
    chain: Chain,
}

fn play(team: &Team, requester: usize, hosts: &[usize], said: &[(usize, bool)]) -> Option<Play> {
    let world = World::default();
    let bundle = team.bundle(&world)?;
    let by = member(requester);
    let mut request = world.request(&by, HOSTS[hosts[0]], "deploy", 600, START);
    request.hosts = hosts.iter().map(|host| HOSTS[*host].parse().unwrap()).collect();
    let mut chain = Chain::new(by.verified(&request));
    for (second, (by, approves)) in said.iter().enumerate() {
        let (by, moment) = (member(*by), at(u32::try_from(second).unwrap()));
        let decision = if *approves {
            world.approval(&by, chain.request(), moment)
        } else {
            world.denial(&by, chain.request(), moment)
        };
        chain.add_decision(by.verified(&decision)).unwrap();
    }
    Some(Play { bundle, chain })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_certificate_has_the_approvals_of_the_first_rule_that_covers_it_and_no_deny_touches_it(
        team in team(), requester in 0..PEOPLE.len(), hosts in hosts(), said in decisions(),
    ) {
        let Some(Play { bundle, chain }) = play(&team, requester, &hosts, &said) else {
            return Ok(());
        };
        let yes = authorize(&chain, &bundle, at(10));
        let approved: Vec<usize> = chain
            .decisions()
            .iter()
            .filter(|decision| decision.body().verdict == Verdict::Approve)
            .map(|decision| PEOPLE.iter().position(|id| *id == decision.body().by.as_str()).unwrap())
            .filter(|person| *person != requester)
            .collect();
        let mut persons = approved.clone();
        persons.sort_unstable();
        persons.dedup();
        let decides = team.decides(requester, &hosts);
        // One that is recorded holds, whoever the rule asks by now.
        let denied = said.iter().any(|(by, approves)| !approves && *by != requester);
        let expected = match decides {
            _ if denied || team.denies(requester, &hosts) => false,
            None | Some((_, Terms::Deny)) => false,
            Some((_, Terms::Auto)) => true,
            Some((_, Terms::Steps(steps))) => team.fills(steps, &persons),
        };
        prop_assert_eq!(yes.is_ok(), expected, "{:?}", yes.err());
        if let (Ok(yes), Some((place, _))) = (yes, decides) {
            prop_assert_eq!(yes.rule().as_str(), format!("r{place}"));
        }
    }

    #[test]
    fn no_rule_loosens_a_deny_and_a_deny_more_never_yields_more(
        team in team(), more in rules(), place in 0usize..5, requester in 0..PEOPLE.len(),
        hosts in hosts(), said in decisions(),
    ) {
        let mut wider = team.clone();
        let place = place.min(wider.rules.len());
        wider.rules.splice(place..place, more.iter().cloned());
        let (Some(before), Some(after)) =
            (play(&team, requester, &hosts, &said), play(&wider, requester, &hosts, &said))
        else {
            return Ok(());
        };
        let before = authorize(&before.chain, &before.bundle, at(10));
        let after = authorize(&after.chain, &after.bundle, at(10));
        if team.denies(requester, &hosts) {
            prop_assert!(before.is_err() && after.is_err());
        }
        if more.iter().all(|rule| matches!(rule.terms, Terms::Deny)) {
            prop_assert!(before.is_ok() || after.is_err());
        }
    }
}
