//! A small world for the tests of the front: an admin, three persons, a machine, two rules.

use std::sync::Arc;

use jit_ssh_api::v1;
use jit_ssh_core::bundle::{Bundle, BundleFiles};
use jit_ssh_core::chain::Chain;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::root::{Admin, Root};
use jit_ssh_core::statement::{Body, Decision, Nonce, Request, Session, Verified, open};
use jit_ssh_core::time::{Seconds, UnixTime};
use prost::bytes::Bytes;

use super::in_force::{Files, InForce};
use super::memory::Known;
use super::store::{Record, RecordKind, StatementRecord};
use crate::testkeys::{ca_key, public, signed};

/// The moment of all tests.
pub(super) const NOW: UnixTime = UnixTime(1_790_000_000);

pub(super) const ADMIN: u8 = 1;
pub(super) const ALICE: u8 = 2;
pub(super) const BOB: u8 = 3;
pub(super) const CAROL: u8 = 4;
/// The host `prod`.
pub(super) const PROD: u8 = 30;
/// The enroller `pipeline`, for hosts called `ci-...`.
pub(super) const PIPELINE: u8 = 31;

/// One admin, `ann`, who is a person too, with another key.
pub(super) fn root() -> Root {
    let admin = Admin { id: "ann".parse().unwrap(), key: public(ADMIN) };
    Root::new(vec![admin], 1, String::new()).unwrap()
}

/// alice asks, bob decides, carol has no part in it; `auditor` audits, `bot` is a machine.
pub(super) fn bundle() -> Bundle {
    bundle_with(&PERSONS)
}

/// The persons of [`bundle`], beside ann and auditor.
pub(super) const PERSONS: [(&str, u8, &str); 3] =
    [("alice", ALICE, "sre"), ("bob", BOB, "leads"), ("carol", CAROL, "dev")];

/// The same with other persons, each with id, key and group.
pub(super) fn bundle_with(persons: &[(&str, u8, &str)]) -> Bundle {
    bundle_changed(1, persons, |policy| policy)
}

/// The same in another version, with another policy.
pub(super) fn bundle_changed(
    version: u64,
    persons: &[(&str, u8, &str)],
    change: impl FnOnce(String) -> String,
) -> Bundle {
    let mut people = String::new();
    let others = [("ann", 5, "admins"), ("auditor", 6, "audit")];
    for (id, seed, group) in persons.iter().chain(&others) {
        let key = public(*seed);
        people.push_str(&format!(
            "[[person]]\nid = \"{id}\"\nname = \"{id}\"\nkeys = [\"{key}\"]\ngroups = [\"{group}\"]\n"
        ));
    }
    people.push_str(&format!("[[machine]]\nid = \"bot\"\nkeys = [\"{}\"]\n", public(7)));
    let hosts = format!(
        "[[host]]\nname = \"prod\"\nlogins = [\"deploy\"]\nkey = \"{}\"\n\
         [[enroller]]\nid = \"pipeline\"\nkeys = [\"{}\"]\nnames = [\"ci-*\"]\n\
         logins = [\"deploy\"]\nmax_for = \"1h\"\n",
        public(PROD),
        public(PIPELINE)
    );
    let policy = "auditors = [\"person:auditor\"]\n[[allow]]\nname = \"prod\"\nwho = [\"group:sre\"]\n\
        hosts = [\"prod\"]\nlogins = [\"deploy\"]\nmax_for = \"30m\"\ncert_for = \"5m\"\n\
        approvals = [{ from = [\"group:leads\"], count = 1 }]\n\
        decide_within = \"1h\"\nuse_within = \"15m\"\n";
    let log_key = jit_ssh_core::log::VerifierKey::new("test/1", ca_key(9).point().as_bytes());
    let signers = format!(
        "[[signer]]\nnumber = 1\nca_key = \"{}\"\nlog_key = \"{}\"\n",
        ca_key(8),
        log_key.unwrap()
    );
    let files = BundleFiles {
        people: people.into_bytes(),
        hosts: hosts.into_bytes(),
        policy: change(policy.to_owned()).into_bytes(),
        signers: signers.into_bytes(),
    };
    Bundle::parse(version, &files, &root().admin_keys())
        .unwrap_or_else(|problems| unreachable!("{problems}"))
}

/// A statement signed by the key of `seed`.
pub(super) fn verified<T: Body>(seed: u8, body: &T) -> Verified<T> {
    let (bytes, signature) = signed(seed, body);
    open(&bytes, &signature, &root().fingerprint()).unwrap()
}

/// A session statement of `by`.
pub(super) fn session(by: &str, seed: u8, span: u32, at: UnixTime, nonce: u8) -> Verified<Session> {
    let span = Seconds::new(span).unwrap();
    let nonce = Nonce([nonce; 16]);
    let body = Session::new(root().fingerprint(), by.parse().unwrap(), span, at, nonce);
    verified(seed, &body)
}

/// A request of alice for deploy@prod, made now.
pub(super) fn request(nonce: u8) -> Verified<Request> {
    let key = public(20).to_string().parse().unwrap();
    let body = Request::new(
        root().fingerprint(),
        "alice".parse().unwrap(),
        key,
        vec!["prod".parse().unwrap()],
        vec!["deploy".parse().unwrap()],
        Seconds::new(600).unwrap(),
        "INC-1".to_owned(),
        NOW,
        Nonce([nonce; 16]),
    );
    verified(ALICE, &body)
}

/// A request alone.
pub(super) fn known(nonce: u8) -> Known {
    Known::new(Chain::new(request(nonce)))
}

/// An approval of `request` by `by`, a minute after it.
pub(super) fn approval(request: Digest, by: &str, seed: u8) -> Verified<Decision> {
    let body = Decision::approve(
        root().fingerprint(),
        by.parse().unwrap(),
        request,
        Seconds::new(600).unwrap(),
        vec!["prod".parse().unwrap()],
        vec!["deploy".parse().unwrap()],
        None,
        NOW.plus_secs(60),
    );
    verified(seed, &body)
}

/// A bundle as the front holds one in force; nothing of it is signed.
pub(super) fn in_force(bundle: Bundle) -> InForce {
    let none = Bytes::new;
    let statement = Bytes::copy_from_slice(&bundle.version.to_be_bytes());
    InForce {
        digest: Digest::of(&statement),
        bundle,
        statement: v1::SignedStatement { statement, signatures: Vec::new() },
        files: Files { people: none(), hosts: none(), policy: none(), signers: none() },
        binds_clients: false,
    }
}

/// A statement as the store takes it.
pub(super) fn record<T: Body>(
    kind: RecordKind,
    request: Digest,
    by: &str,
    statement: &Verified<T>,
) -> Record {
    Record::Statement(StatementRecord {
        kind,
        digest: statement.digest(),
        request,
        by: by.parse().unwrap(),
        at: statement.body().at(),
        bytes: Bytes::copy_from_slice(statement.bytes()),
        signature: Bytes::copy_from_slice(statement.signature()),
    })
}

/// A store in a folder of its own.
pub(super) fn store() -> (tempfile::TempDir, Arc<super::store::sqlite::SqliteStore>) {
    let folder = tempfile::tempdir().unwrap();
    let store = super::store::sqlite::SqliteStore::open(&folder.path().join("test.db")).unwrap();
    (folder, Arc::new(store))
}
