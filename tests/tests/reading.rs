//! Who may read what: the log over HTTPS and gRPC, requests, and watches.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_ssh_api::{ApiError, Client, v1};
use jit_ssh_core::log::{
    Hash, RightEdge, SignedCheckpoint, VerifierKey, leaf_hash, verify_consistency, verify_inclusion,
};
use jit_ssh_core::refusal::Reason;
use jit_ssh_core::statement::Kind;
use jit_ssh_tests::api::{Caller, sign};
use jit_ssh_tests::{POLICY, Persona, Site};

/// A site with `carol`, who has no part in anything, and `dave`, who audits.
struct Cast {
    site: Site,
    alice: Persona,
    bob: Persona,
    carol: Persona,
    dave: Persona,
}

fn cast() -> Cast {
    let policy = format!("auditors = [\"group:audit\"]\n{POLICY}");
    let mut site = Site::initialised();
    let [alice, bob, carol, dave] =
        ["alice", "bob", "carol", "dave"].map(|id| Persona::new(site.path(), id));
    site.write_people(&[
        (&alice, &["sre"]),
        (&bob, &["sre", "leads"]),
        (&carol, &["dev"]),
        (&dave, &["audit", "leads"]),
    ]);
    site.write_hosts();
    site.write_policy(&policy);
    site.serve();
    site.apply();
    for persona in [&alice, &bob, &carol, &dave] {
        persona.enroll(&site.url);
    }
    Cast { site, alice, bob, carol, dave }
}

impl Cast {
    /// The token of a new session.
    fn token(&self, by: &str) -> String {
        let key = match by {
            "admin" => self.site.path().join("admin"),
            _ => self.site.path().join(by).join("id"),
        };
        Caller::new(&self.site).open_session(by, &key).unwrap()
    }

    /// A caller with a session.
    fn caller(&self, by: &str) -> Caller {
        Caller::new(&self.site).with_session(&self.token(by))
    }
}

fn files_under(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_under(&path) } else { vec![path] }).collect()
}

#[test]
fn the_log_over_https_is_its_files_for_auditor_and_admin_and_nothing_for_others() {
    let cast = cast();
    cast.alice.ask(&[]);
    let folder = cast.site.state().join("log");
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let [admin, auditor, person] = ["admin", "dave", "alice"].map(|by| bearer(&cast.token(by)));
    let fetch = |path: &str, header: &str| cast.site.curl(path, &["-H", header]);

    let tiles = files_under(&folder.join("tile"));
    assert!(tiles.iter().any(|tile| tile.starts_with(folder.join("tile/entries"))));
    assert!(tiles.iter().any(|tile| tile.starts_with(folder.join("tile/0"))));
    for file in tiles.iter().chain([&folder.join("checkpoint")]) {
        let path = format!("/log/{}", file.strip_prefix(&folder).unwrap().display());
        for header in [&admin, &auditor] {
            let fetched = fetch(&path, header);
            assert_eq!(fetched.code, 200, "{path}");
            assert_eq!(fetched.body, fs::read(file).unwrap(), "{path}");
        }
        for (header, code) in [(&person, 403), (&bearer("AAAA"), 401), (&"X: y".to_owned(), 401)] {
            let fetched = fetch(&path, header);
            assert_eq!(fetched.code, code, "{path} {header}");
        }
    }
    // Names that are no tile's lead nowhere, for anybody.
    for path in ["/log/tile/0/255", "/log/tile/../../root.json", "/log/tile/..%2f..%2froot.json"] {
        assert_eq!(fetch(path, &admin).code, 404, "{path}");
    }
}

#[test]
fn every_proof_of_the_log_service_holds_under_the_signed_checkpoint() {
    let cast = cast();
    let auditor = cast.caller("dave");
    for _ in 0..3 {
        let text = auditor.request_text("alice", &cast.alice.public_key(), "test-host");
        let signature = sign(&cast.alice, Kind::Request, text.as_bytes());
        assert!(auditor.submit(text.as_bytes(), &signature).unwrap().certificate.is_some());
    }
    let note = auditor.call(checkpoint).unwrap().checkpoint;
    let signed = SignedCheckpoint::open(&note, &log_key(&cast.site)).unwrap();
    let (size, root) = (signed.checkpoint().size(), signed.checkpoint().root());
    assert!(size >= 7, "a bundle, three requests and three certificates, not {size}");

    let message = v1::GetEntriesRequest { start: 0, limit: 0 };
    let entries = auditor.call(|it| async move { it.get_entries(message).await }).unwrap().entries;
    assert_eq!(u64::try_from(entries.len()).unwrap(), size);
    // The root after each entry, computed here.
    let mut edge = RightEdge::empty();
    let roots: Vec<Hash> = entries
        .iter()
        .map(|entry| {
            edge.push(leaf_hash(entry));
            edge.root()
        })
        .collect();
    assert_eq!(roots.last(), Some(&root));

    for ((index, entry), old_root) in (0u64..).zip(&entries).zip(&roots) {
        let proof = prove_inclusion(&auditor, index, size).unwrap();
        verify_inclusion(&proof, index, size, leaf_hash(entry), root).unwrap();
        let other = leaf_hash(b"another entry");
        assert!(verify_inclusion(&proof, index, size, other, root).is_err());
        let proof = prove_consistency(&auditor, index + 1, size).unwrap();
        verify_consistency(&proof, index + 1, *old_root, size, root).unwrap();
    }
    // A part of the entries, and questions that have no answer.
    let part = |start, limit| {
        let message = v1::GetEntriesRequest { start, limit };
        auditor.call(|it| async move { it.get_entries(message).await })
    };
    assert_eq!(part(1, 2).unwrap().entries, entries[1..3]);
    assert!(part(size, 1).unwrap().entries.is_empty());
    assert!(part(u64::MAX, 256).unwrap().entries.is_empty());
    let refused = [
        part(0, 257).map(drop),
        prove_inclusion(&auditor, 0, size + 1).map(drop),
        prove_inclusion(&auditor, size, size).map(drop),
        prove_consistency(&auditor, 0, size).map(drop),
        prove_consistency(&auditor, size, size - 1).map(drop),
    ];
    for (case, refused) in refused.into_iter().enumerate() {
        assert_eq!(refused.unwrap_err().reason(), Some(Reason::Malformed), "case {case}");
    }
}

#[test]
fn the_log_service_is_for_auditors_and_admins_alone() {
    let cast = cast();
    let entries = |caller: &Caller| {
        let message = v1::GetEntriesRequest { start: 0, limit: 1 };
        caller.call(|it| async move { it.get_entries(message).await }).map(drop)
    };
    let all = |caller: &Caller| {
        [
            caller.call(checkpoint).map(drop),
            entries(caller),
            prove_inclusion(caller, 0, 1).map(drop),
            prove_consistency(caller, 1, 1).map(drop),
        ]
        .map(|result| result.err().and_then(|error| error.reason()))
    };
    for by in ["admin", "dave"] {
        assert_eq!(all(&cast.caller(by)), [None; 4], "{by}");
    }
    for by in ["alice", "bob", "carol"] {
        assert_eq!(all(&cast.caller(by)), [Some(Reason::NotAllowed); 4], "{by}");
    }
    let wrong = Caller::new(&cast.site).with_session("AAAA");
    for caller in [Caller::new(&cast.site), wrong] {
        assert_eq!(all(&caller), [Some(Reason::NoSession); 4]);
    }
}

#[test]
fn people_see_their_own_requests_and_those_they_decide_and_an_auditor_sees_all() {
    let cast = cast();
    let (of_alice, of_bob) = (cast.alice.ask(&[]), cast.bob.ask(&[]));
    let sees = |persona: &Persona| {
        let all = persona.jit(&["requests", "--all", "--json"]).run().fine();
        let ids: Vec<String> =
            all.json().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        let listed = [&of_alice, &of_bob].map(|id| ids.contains(id));
        // What is not listed is not shown by its id either.
        let shown = [&of_alice, &of_bob].map(|id| persona.jit(&["show", id]).run().code == 0);
        assert_eq!(listed, shown, "{}", persona.id);
        listed
    };
    assert_eq!(sees(&cast.alice), [true, false]);
    assert_eq!(sees(&cast.bob), [true, true], "a lead decides alice's");
    assert_eq!(sees(&cast.carol), [false, false]);
    assert_eq!(sees(&cast.dave), [true, true]);
    let get = |by: &str| {
        let message = v1::GetRequest { id: of_bob.clone(), ..Default::default() };
        cast.caller(by).call(|it| async move { it.get(message).await }).map(drop)
    };
    get("admin").unwrap();
    assert_eq!(get("alice").unwrap_err().reason(), Some(Reason::UnknownRequest));
}

#[test]
fn a_watch_hears_of_requests_and_decisions_as_they_are_made() {
    let cast = cast();
    let caller = cast.caller("bob");
    // bob's program, waiting for something to decide.
    let (id, decided) = caller.call(|it| async move {
        let what = Some(v1::watch_request::What::ToDecide(true));
        let mut to_decide = it.watch(v1::WatchRequest { what }).await.unwrap();
        let id = cast.alice.ask(&[]);
        let told = next(&mut to_decide).await;
        assert_eq!((told.id.as_str(), told.status()), (id.as_str(), v1::Status::Pending));

        // alice's, waiting for the decision.
        let alice = it.with_token(&token(&cast, "alice").await).unwrap();
        let what = Some(v1::watch_request::What::Id(id.clone()));
        let mut watch = alice.watch(v1::WatchRequest { what: what.clone() }).await.unwrap();
        assert_eq!(next(&mut watch).await.status(), v1::Status::Pending);
        let carol = alice.clone().with_token(&token(&cast, "carol").await).unwrap();
        let refused = carol.watch(v1::WatchRequest { what }).await.unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::UnknownRequest));
        cast.bob.jit(&["approve", &id, "--yes"]).run().fine();
        let decided = next(&mut watch).await;
        assert_eq!(next(&mut to_decide).await.status(), v1::Status::Approved);
        (id, decided)
    });
    assert_eq!((decided.id, decided.decisions.len()), (id, 1));
    assert_eq!(decided.access_until, decided.approved_at + 120);
}

#[test]
fn who_enforces_access_asks_once_or_follows_and_hears_of_its_beginning_and_every_kind_of_end() {
    let cast = cast();
    let me = jit_ssh_tests::me();
    let question = |host: &str| v1::CheckRequest {
        subject: "alice".to_owned(),
        login: me.clone(),
        host: host.to_owned(),
    };
    let Cast { alice, bob, .. } = &cast;
    let watched = cast.caller("dave").call(|it| async move {
        let mut watch = it.watch_check(question("prod-host")).await.unwrap();
        let mut other = it.watch_check(question("other-host")).await.unwrap();
        assert_eq!(answer(&mut watch).await, v1::CheckResponse::default());
        assert_eq!(answer(&mut other).await, v1::CheckResponse::default());
        let mut watched = Vec::new();
        for end in ["release", "revoke"] {
            let id = alice.granted_by(bob);
            let allowed = answer(&mut watch).await;
            assert_eq!((allowed.allowed, &allowed.id), (true, &id));
            assert_eq!(it.check(question("prod-host")).await.unwrap(), allowed);
            let by = if end == "release" { alice } else { bob };
            by.jit(&[end, &id, "--yes", "--because", "done"]).run().fine();
            assert_eq!(answer(&mut watch).await, v1::CheckResponse::default(), "{end}");
            assert_eq!(it.check(question("prod-host")).await.unwrap().access_until, 0);
            watched.push(id);
        }
        // Its time is over: by the clock alone. (The revoked certificate is still in alice's agent.)
        alice.jit(&["logout", "--yes"]).run().fine();
        let short = ["login", "prod-host", "--because", "INC-42 a look", "--for", "2s"];
        let id = alice.jit(&short).args(["--no-wait", "--json"]).run().ended(3).text("id");
        bob.jit(&["approve", &id, "--yes"]).run().fine();
        assert!(answer(&mut watch).await.allowed);
        let over = answer(&mut watch).await;
        assert_eq!(over, v1::CheckResponse::default());
        // Of the other host there was no news.
        let nothing = tokio::time::timeout(Duration::from_millis(1), other.next()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        watched
    });
    assert_eq!(watched.len(), 2);
    // Of oneself one may ask; of others only machines, auditors and admins.
    let ask = |by: &str| {
        let question = question("prod-host");
        let follow = question.clone();
        cast.caller(by).call(|it| async move {
            let asked = it.check(question).await.map(drop);
            let followed = it.watch_check(follow).await.map(drop);
            assert_eq!(asked, followed, "{by}");
            asked.err().and_then(|error| error.reason())
        })
    };
    assert_eq!(["alice", "dave", "admin"].map(ask), [None; 3]);
    assert_eq!(ask("bob"), Some(Reason::NotAllowed));
}

async fn answer(watch: &mut jit_ssh_api::CheckWatch) -> v1::CheckResponse {
    let next = tokio::time::timeout(Duration::from_secs(20), watch.next()).await;
    next.expect("a change should have been told").unwrap().unwrap()
}

#[test]
fn a_watch_of_ones_own_tells_who_was_told_and_every_request_to_its_end() {
    let cast = &cast();
    let first = cast.alice.ask(&[]);
    let alice = cast.caller("alice");
    alice.call(|it| async move {
        let what = Some(v1::watch_request::What::Mine(true));
        let mut mine = it.watch(v1::WatchRequest { what }).await.unwrap();
        let stands = next(&mut mine).await;
        assert_eq!((stands.id.as_str(), stands.status()), (first.as_str(), v1::Status::Pending));
        assert!(stands.told.is_empty(), "nobody listens");
        let bob = it.with_token(&token(cast, "bob").await).unwrap();
        let what = Some(v1::watch_request::What::ToDecide(true));
        let mut to_decide = bob.watch(v1::WatchRequest { what }).await.unwrap();
        assert!(next(&mut to_decide).await.told.is_empty());
        assert_eq!(next(&mut mine).await.told, ["bob"]);
        // Another's is not told, one made meanwhile is.
        let of_bob = cast.bob.ask(&[]);
        let second = cast.alice.ask(&["--new"]);
        assert_ne!(of_bob, second);
        let mut news = next(&mut mine).await;
        if news.told.is_empty() {
            // It was told before bob's watch was: then that is told, too.
            assert_eq!(news.id, second);
            news = next(&mut mine).await;
        }
        assert_eq!((&news.id, &news.told), (&second, &vec!["bob".to_owned()]));
        cast.alice.jit(&["cancel", &first, "--yes"]).run().fine();
        let over = next(&mut mine).await;
        assert_eq!((over.id.as_str(), over.status()), (first.as_str(), v1::Status::Cancelled));
    });
}

#[test]
fn who_decides_sees_what_the_same_person_was_granted_there_before() {
    let cast = cast();
    let earlier = |by: &str, id: &str| {
        let message = v1::GetRequest { id: id.to_owned(), earlier_grant: true };
        let answer = cast.caller(by).call(|it| async move { it.get(message).await });
        answer.unwrap().earlier_grant.map(|before| before.id)
    };
    let granted = cast.alice.granted_by(&cast.bob);
    let denied = cast.alice.ask(&["--new"]);
    cast.bob.jit(&["deny", &denied, "--because", "no", "--yes"]).run().fine();
    let asked = cast.alice.ask(&["--new"]);
    assert_eq!(earlier("bob", &asked), Some(granted.clone()));
    assert_eq!(earlier("bob", &granted), None, "what came before it counts");
    assert_eq!(earlier("dave", &asked), Some(granted), "an auditor sees it too");
    let of_bob = cast.bob.ask(&[]);
    assert_eq!(earlier("bob", &of_bob), None, "of the same person alone");
}

/// Opens a session beside a runtime that is busy.
async fn token(cast: &Cast, by: &str) -> String {
    std::thread::scope(|scope| scope.spawn(|| cast.token(by)).join().unwrap())
}

async fn next(watch: &mut jit_ssh_api::Watch) -> v1::AccessState {
    let next = tokio::time::timeout(Duration::from_secs(20), watch.next()).await;
    next.expect("a change should have been told").unwrap().unwrap()
}

async fn checkpoint(client: Client) -> Result<v1::GetCheckpointResponse, ApiError> {
    client.get_checkpoint(v1::GetCheckpointRequest {}).await
}

fn prove_inclusion(caller: &Caller, index: u64, size: u64) -> Result<Vec<Hash>, ApiError> {
    let message = v1::ProveInclusionRequest { index, size };
    caller.call(|it| async move { Ok(hashes(&it.prove_inclusion(message).await?.proof)) })
}

fn prove_consistency(caller: &Caller, old_size: u64, new_size: u64) -> Result<Vec<Hash>, ApiError> {
    let message = v1::ProveConsistencyRequest { old_size, new_size };
    caller.call(|it| async move { Ok(hashes(&it.prove_consistency(message).await?.proof)) })
}

fn hashes<B: AsRef<[u8]>>(proof: &[B]) -> Vec<Hash> {
    proof.iter().map(|hash| Hash(hash.as_ref().try_into().unwrap())).collect()
}

/// The log's key, as the admins signed it.
fn log_key(site: &Site) -> VerifierKey {
    let signers = fs::read_to_string(site.config().join("signers.toml")).unwrap();
    let line = signers.lines().find_map(|line| line.trim().strip_prefix("log_key = "));
    line.unwrap().trim_matches('"').parse().unwrap()
}
