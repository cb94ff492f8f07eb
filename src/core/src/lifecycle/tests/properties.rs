//! What holds whatever happens, in whatever order.

use proptest::prelude::*;

use super::*;

/// What can happen to a request, in any order.
#[derive(Debug, Clone)]
enum Event {
    Approve(u8, u32),
    Deny(u8, u32),
    Cancel(u8, u32),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0u8..4, 0u32..4_000).prop_map(|(who, secs)| Event::Approve(who, secs)),
        (0u8..4, 0u32..4_000).prop_map(|(who, secs)| Event::Deny(who, secs)),
        (0u8..4, 0u32..4_000).prop_map(|(who, secs)| Event::Cancel(who, secs)),
    ];
    proptest::collection::vec(event, 0..6)
}

impl Case {
    fn happen(&self, chain: &mut Chain, events: &[Event]) {
        let people = [&self.world.alice, &self.world.bob, &self.world.carol, &self.world.bot];
        for event in events {
            match *event {
                Event::Approve(who, secs) => self.approve(chain, people[usize::from(who)], secs),
                Event::Deny(who, secs) => self.deny(chain, people[usize::from(who)], secs),
                Event::Cancel(who, secs) => self.cancel(chain, people[usize::from(who)], secs),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn status_does_not_depend_on_the_order_of_statements(
        events in events(), order: u64, now in 0u32..5_000,
    ) {
        let case = Case::with(&POLICY.replace("count = 1", "count = 2"));
        let (mut one, mut other) = (case.chain(), case.chain());
        case.happen(&mut one, &events);
        let mut shuffled = events.clone();
        let mut seed = order;
        for place in (1..shuffled.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(place, (seed % (place as u64 + 1)) as usize);
        }
        case.happen(&mut other, &shuffled);
        prop_assert_eq!(case.status(&one, now), case.status(&other, now));
        let key = |chain: &Chain| authorize(chain, &case.bundle, at(now)).ok().map(|yes| yes.access_until());
        prop_assert_eq!(key(&one), key(&other));
    }

    #[test]
    fn no_certificate_without_a_live_approval_by_another_person(events in events(), now in 0u32..5_000) {
        let case = Case::new();
        let mut chain = case.chain();
        case.happen(&mut chain, &events);
        if let Ok(yes) = authorize(&chain, &case.bundle, at(now)) {
            let approved = events.iter().any(|e| matches!(e, Event::Approve(1 | 2, secs) if *secs <= 3_600));
            let denied = events.iter().any(|e| matches!(e, Event::Deny(1 | 2, secs) if *secs <= 3_600));
            let cancelled = events.iter().any(|e| matches!(e, Event::Cancel(0, _)));
            prop_assert!(approved && !denied && !cancelled);
            prop_assert!(yes.valid_before() <= yes.access_until());
            prop_assert!(yes.access_until() <= at(3_600 + 600));
            prop_assert!(yes.valid_before() > at(now));
        }
    }

    #[test]
    fn a_more_restrictive_policy_never_yields_more(
        events in events(), now in 0u32..4_500, which in 0usize..7,
    ) {
        let restrictions: [(&str, &str); 7] = [
            ("max_for = \"30m\"", "max_for = \"5m\""),
            ("cert_for = \"5m\"", "cert_for = \"1m\""),
            ("count = 1", "count = 2"),
            ("from = [\"group:leads\"]", "from = [\"person:carol\"]"),
            ("decide_within = \"1h\"", "decide_within = \"10m\""),
            ("use_within = \"15m\"", "use_within = \"1m\""),
            ("logins = [\"root\"]\n\n[[allow]]", "logins = [\"root\", \"deploy\"]\nwho = [\"person:alice\"]\n\n[[allow]]"),
        ];
        let (from, to) = restrictions[which];
        prop_assert!(POLICY.contains(from));
        let (wide, narrow) = (Case::new(), Case::with(&POLICY.replacen(from, to, 1)));
        let mut chain = wide.chain();
        wide.happen(&mut chain, &events);
        if let Ok(less) = authorize(&chain, &narrow.bundle, at(now)) {
            let more = authorize(&chain, &wide.bundle, at(now));
            // The one way a stricter rule may yield what the wider one does not: a second approval
            // is needed, so the clock starts later, never for longer.
            if let Ok(more) = more {
                prop_assert!(less.valid_before() <= more.valid_before() || to.contains("count = 2") || to.contains("carol"));
                prop_assert_eq!(less.principals(), more.principals());
            } else {
                prop_assert!(to.contains("count = 2") || to.contains("carol"));
            }
        }
    }
}
