use std::collections::BTreeMap;

use jit_ssh_core::statement::{Host, Token};
use jit_ssh_core::testkit::{Person, START, World, person, subject_key};

use super::*;

const OWN: u8 = 70;

struct Case {
    world: World,
    hosts: Hosts,
    lent: Person,
}

impl Case {
    fn new() -> Case {
        let world = World::default();
        let files = world.files("");
        Case { world, hosts: Hosts::parse(&files.hosts).unwrap(), lent: person("lent", 60) }
    }

    fn vouched(&self, seed: u8, at: u32, change: impl FnOnce(&mut Host)) -> Vouched {
        let mut host = self.world.host("ci-1", seed, None, START.plus_secs(at), 600);
        change(&mut host);
        Vouched::new(self.world.pipeline.verified(&host), None)
    }

    fn by_token(&self) -> Vouched {
        let token: Verified<Token> =
            self.world.pipeline.verified(&self.world.token(&self.lent.key, START));
        let host = self.world.host("ci-t1", OWN, Some(token.digest()), START, 600);
        Vouched::new(self.lent.verified(&host), Some(token))
    }

    /// What is chosen at `at` by a machine with the key `OWN`, by the time it was made.
    fn chosen(
        &self,
        kept: Option<&Vouched>,
        offered: Option<&Vouched>,
        over: Over,
        at: u32,
    ) -> Result<Option<UnixTime>, String> {
        let keys: Vec<HostKey> = vec![subject_key(OWN).to_string().parse().unwrap()];
        let now = START.plus_secs(at);
        choose(kept.cloned(), offered.cloned(), &self.hosts, &keys, over, now)
            .map(|found| found.map(|found| found.host().body().at))
            .map_err(|error| error.to_string())
    }
}

fn at(secs: u32) -> Result<Option<UnixTime>, String> {
    Ok(Some(START.plus_secs(secs)))
}

#[test]
fn the_newer_statement_that_holds_counts_whoever_has_it() {
    let case = Case::new();
    let (old, new) = (case.vouched(OWN, 0, |_| ()), case.vouched(OWN, 10, |_| ()));
    let chosen = |kept, offered| case.chosen(kept, offered, Over::IsGone, 20);
    assert_eq!(chosen(None, None), Ok(None));
    assert_eq!(chosen(Some(&old), None), at(0));
    assert_eq!(chosen(None, Some(&new)), at(10));
    assert_eq!(chosen(Some(&old), Some(&new)), at(10));
    assert_eq!(chosen(Some(&new), Some(&old)), at(10), "a front can not go back behind it");
}

#[test]
fn a_front_that_answers_with_another_machine_or_better_labels_is_not_believed() {
    let case = Case::new();
    let good = case.vouched(OWN, 0, |_| ());
    let other = case.vouched(71, 10, |_| ());
    let better = case.vouched(OWN, 10, |host| {
        host.labels = BTreeMap::from([("env".parse().unwrap(), "prod".parse().unwrap())]);
    });
    let itself = {
        let host = case.world.host("ci-1", OWN, None, START.plus_secs(10), 600);
        Vouched::new(person("host", OWN).verified(&host), None)
    };
    // Signed by the token's key, and the front leaves the token out.
    let bare = Vouched::new(case.by_token().host().clone(), None);
    for (bad, why) in [
        (&other, "Another machine joined as ci-1"),
        (&better, "may not give the label env=prod"),
        (&itself, "is not a key of the enroller"),
        (&bare, "no join token"),
    ] {
        let refused = case.chosen(None, Some(bad), Over::IsGone, 20).unwrap_err();
        assert!(refused.contains(why), "{refused}");
        assert_eq!(case.chosen(Some(&good), Some(bad), Over::IsGone, 20), at(0), "{why}");
    }
    assert_eq!(case.chosen(None, Some(&case.by_token()), Over::IsGone, 20), at(0));
}

#[test]
fn a_host_that_is_over_counts_only_where_it_has_still_to_tell_something() {
    let case = Case::new();
    let host = case.vouched(OWN, 0, |_| ());
    assert_eq!(case.chosen(Some(&host), None, Over::IsGone, 599), at(0));
    assert!(case.chosen(Some(&host), None, Over::IsGone, 600).is_err());
    assert_eq!(case.chosen(Some(&host), None, Over::Counts, 600), at(0));
    let better = case.vouched(OWN, 0, |host| host.logins = vec!["root".parse().unwrap()]);
    assert!(case.chosen(Some(&better), None, Over::Counts, 600).is_err());
}

#[test]
fn what_is_kept_reads_back_for_its_name_and_ca_and_nothing_else_does() {
    let case = Case::new();
    let dir = tempfile::tempdir().unwrap();
    let ca = case.world.root.fingerprint();
    let read = |name: &str| {
        let found = kept(dir.path(), &name.parse().unwrap(), &ca);
        found.map(|found| found.map(|found| file(&found))).map_err(|error| error.to_string())
    };
    assert_eq!(read("ci-1"), Ok(None));
    for (vouched, name) in [(case.vouched(OWN, 0, |_| ()), "ci-1"), (case.by_token(), "ci-t1")] {
        let content = file(&vouched);
        assert!(is_file(&content));
        fs::write(dir.path().join(FILE), &content).unwrap();
        assert_eq!(read(name), Ok(Some(content)));
        assert_eq!(read("ci-2"), Ok(None));
    }
    let good = String::from_utf8(file(&case.by_token())).unwrap();
    for (from, to) in [("ci-t1", "ci-t2"), ("\"v\":1,\"token\"", "\"v\":2,\"token\""), ("{", "")] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        fs::write(dir.path().join(FILE), bad).unwrap();
        assert!(read("ci-t1").unwrap_err().contains("does not hold"), "{to}");
    }
    assert!(!is_file(b"mine"));
}

#[test]
fn hex_reads_back_and_other_text_does_not() {
    assert_eq!(unhex("00ff10"), Some(vec![0, 255, 16]));
    for bad in ["0", "0g", "é"] {
        assert_eq!(unhex(bad), None, "{bad}");
    }
}
