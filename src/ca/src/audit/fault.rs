//! What can be wrong with the log, in words an auditor can act on.

use crate::policy::config::plural;
use jit_ssh_core::certificate::LintError;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::entry::EntryError;
use jit_ssh_core::log::{Hash, NoteError};
use jit_ssh_core::names::RuleName;
use jit_ssh_core::refusal::Refusal;
use jit_ssh_core::statement::StatementError;
use jit_ssh_core::time::UnixTime;

/// The first thing that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LogFault {
    /// An entry is not what it must be.
    #[error("entry {index}: {fault}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// A tile above the leaves is not what the entries give.
    #[error("{path} does not hold the hashes of the entries below it")]
    Tile {
        /// The tile's path.
        path: String,
    },
    /// The entries give another root.
    #[error("the checkpoint says the root over {} is {stated}, but the log gives {found}", plural(*size, "entry", "entries"))]
    Root {
        /// Entries in the tree.
        size: u64,
        /// What was signed.
        stated: Hash,
        /// What the entries give.
        found: Hash,
    },
    /// The checkpoint is malformed, or not signed by the log key.
    #[error("the checkpoint does not hold: {0}")]
    Checkpoint(NoteError),
    /// No admin ever named the key of this log.
    #[error("no bundle in the log names a signer whose log is `{0}`")]
    UnknownLog(String),
    /// There is no checkpoint where there must be one.
    #[error("there is no checkpoint, so there is no log here: it was removed, or never copied")]
    Gone,
    /// The bundle in force is not the newest of the log.
    #[error("bundles/current.json names {}, and the newest in the log is {}", bundle(*.named), bundle(*.newest))]
    InForce {
        /// Named as the one in force.
        named: Option<Digest>,
        /// The newest in the log.
        newest: Option<Digest>,
    },
    /// The log has fewer entries than the signer's journal builds on.
    #[error("the checkpoint is of {}, and the signer's journal builds on {base}", plural(*size, "entry", "entries"))]
    Behind {
        /// Entries under the checkpoint.
        size: u64,
        /// What the journal builds on.
        base: u64,
    },
    /// The log's files can not be read as a log.
    #[error("{0}")]
    Files(String),
    /// The root is not the one that was asked for.
    #[error("root.json is {found}, and not {expected}: this is the log of another CA")]
    OtherRoot {
        /// The pin given.
        expected: String,
        /// The fingerprint of what is there.
        found: String,
    },
}

fn bundle(digest: Option<Digest>) -> String {
    digest.map_or_else(|| "no bundle".to_owned(), |digest| format!("the bundle {digest}"))
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Its bytes are not the ones in the tree.
    #[error("its bytes are not those hashed in {0}; one of the two was changed afterwards")]
    Leaf(String),
    /// It is no entry.
    #[error(transparent)]
    Form(#[from] EntryError),
    /// It claims an earlier time than the entries before it.
    #[error("it is dated {at}, {} s before an earlier entry", .earlier.since(*.at))]
    Backwards {
        /// Its time.
        at: UnixTime,
        /// The latest time before it.
        earlier: UnixTime,
    },
    /// Its statement does not hold.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Sessions are not recorded, and other types are unknown.
    #[error("it records something that is no request, decision, end, host, token or bundle")]
    Kind,
    /// Too few admins signed a bundle.
    #[error("the bundle is signed by {given} admins of the {needed} it needs")]
    Admins {
        /// Admins who signed.
        given: usize,
        /// Admins who must.
        needed: usize,
    },
    /// A bundle's version does not rise.
    #[error("the bundle's version is {version}, after version {earlier}")]
    Version {
        /// Its version.
        version: u64,
        /// The version in force before.
        earlier: u64,
    },
    /// A bundle's files are missing or not the ones signed.
    #[error("the bundle's {file} ({digest}) {problem}")]
    File {
        /// Which.
        file: &'static str,
        /// What it must hash to.
        digest: Digest,
        /// What is wrong with it.
        problem: String,
    },
    /// A bundle that holds no configuration.
    #[error("the bundle does not hold together: {0}")]
    Bundle(String),
    /// A request or certificate before there was a bundle.
    #[error("it was recorded before any bundle was in force, when nobody was known")]
    NoBundle,
    /// A request, decision, end, host or token that its maker was not entitled to, or that came at a time when it
    /// could not be made.
    #[error("the {what} must not have been recorded: {}", .refusal.message)]
    Inadmissible {
        /// What it is.
        what: &'static str,
        /// Why not.
        refusal: Refusal,
    },
    /// A certificate that names another bundle.
    #[error("the certificate names the bundle {named}, but {in_force} was in force")]
    OtherBundle {
        /// Named in the entry.
        named: Digest,
        /// In force by the entries before it.
        in_force: Digest,
    },
    /// A signer that the admins did not name.
    #[error("the bundle in force names no signer whose log is `{0}`")]
    Signer(String),
    /// A host certificate of a signer without a host CA key.
    #[error("the bundle in force names no host CA key of the signer {0}")]
    NoHostCa(u16),
    /// A host certificate that names a statement by which no host enrolled.
    #[error("the host certificate names a statement, but hosts.toml alone says what the host is")]
    HostStatement,
    /// A serial that does not name this entry.
    #[error("the certificate's serial is {found}, but signer and index make it {expected}")]
    Serial {
        /// In the entry.
        found: u64,
        /// What it must be.
        expected: u64,
    },
    /// A certificate for a request that is not in the log, or was over long before.
    #[error("the certificate is for the request {0}, of which no live one was recorded before it")]
    Request(Digest),
    /// The statements before it do not justify the certificate.
    #[error("the certificate is not justified: {}", .0.message)]
    Unjustified(Refusal),
    /// Another rule than the one that decides.
    #[error("the certificate names the rule {named}, but {decides} decides")]
    Rule {
        /// Named in the entry.
        named: RuleName,
        /// What the bundle says.
        decides: RuleName,
    },
    /// The bundle does not justify a host certificate.
    #[error("the host certificate is not justified: {}", .0.message)]
    UnjustifiedHost(Refusal),
    /// Its bytes are not sound in themselves, or not what was asked for.
    #[error(transparent)]
    Lint(#[from] LintError),
    /// It says something else than was granted.
    #[error("the certificate's {what} are {found}, but {granted} was granted")]
    Differs {
        /// Which part.
        what: &'static str,
        /// In the certificate.
        found: String,
        /// What the statements and the bundle grant.
        granted: String,
    },
    /// Its options or anything else are not exactly what was granted.
    #[error("the certificate's options are not exactly those that were granted")]
    Options,
}
