//! `jit-ssh-ca log verify`: checks a whole log anew, offline.

use std::process::ExitCode;
use std::time::Duration;

use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::log::tile::{TILE_WIDTH, parse_tile};
use jit_ssh_core::log::{EMPTY_ROOT, Hash, SignedCheckpoint, TileId, leaf_hash};
use jit_ssh_core::root::Root;
use jit_ssh_signer::log::{LogError, TileDir};
use serde::Serialize;

use super::fault::{Fault, LogFault};
use super::folder::{Folder, Place};
use super::judge::{Counts, Files, Judge};
use super::regrowth::{Regrowth, Tile};
use crate::failure::{self, Failure, JsonError};
use crate::policy::config::{count, plural};
use crate::terminal;

/// Checks the log.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    place: Place,
    /// The root it must be the log of: what stands after # in the enroll URL
    #[arg(long, value_name = "SHA256:...")]
    root: Option<RootFingerprint>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Printed {
    ok: bool,
    root: RootFingerprint,
    #[serde(flatten)]
    counts: Counts,
    /// The first bad entry, if it is an entry that is bad.
    entry: Option<u64>,
    problem: Option<String>,
    /// What every command says of a failure; left out where all is well.
    #[serde(flatten)]
    failure: Option<JsonError>,
}

/// Checks the log; names the first thing that is wrong.
pub(crate) fn cmd_verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let folder = args.place.folder()?;
    let (root, _) = folder.root()?;
    let pin = root.fingerprint();
    if args.root.is_none() {
        let path = folder.path().join("root.json");
        terminal::say(&format!("trusting the root {pin} of {}", path.display()));
    }
    let (counts, fault) = match verify(&folder, &root, args.root) {
        Ok(counts) => (counts, None),
        Err(error) => match error.downcast::<LogFault>() {
            Ok(fault) => (Counts::default(), Some(fault)),
            Err(error) => return Err(error),
        },
    };
    let failure = fault.as_ref().map(|fault| anyhow::Error::from(refusal(fault)));
    if args.json {
        terminal::object(&Printed {
            ok: fault.is_none(),
            root: pin,
            counts,
            entry: match fault {
                Some(LogFault::Entry { index, .. }) => Some(index),
                _ => None,
            },
            problem: fault.as_ref().map(ToString::to_string),
            failure: failure.as_ref().map(JsonError::of),
        })?;
    }
    match failure {
        None if args.json => Ok(ExitCode::SUCCESS),
        None => {
            terminal::data(&summary(counts))?;
            Ok(ExitCode::SUCCESS)
        }
        // Programs have it already, in the same object.
        Some(failure) => Ok(failure::tell(&failure)),
    }
}

fn refusal(fault: &LogFault) -> Failure {
    let failure = Failure::named("LOG_FAULT", format!("the log does not hold: {fault}."));
    match fault {
        LogFault::Entry { index, .. } => {
            failure.hint(format!("look at it with: jit-ssh-ca log show --since {index}"))
        }
        LogFault::InForce { newest: Some(_), .. } => failure
            .hint("an older checkpoint was put back, or the signer was stopped in between: start it, and verify again"),
        _ => failure,
    }
}

fn summary(counts: Counts) -> String {
    let Counts {
        entries,
        requests,
        decisions,
        ends,
        enrolments,
        certificates,
        host_certificates,
        bundles,
    } = counts;
    let ends = if ends > 0 { format!(", {}", count(ends, "end")) } else { String::new() };
    let joined = match enrolments {
        0 => String::new(),
        some => format!(", {}", plural(some, "host or token", "hosts and tokens")),
    };
    let hosts = match host_certificates {
        0 => String::new(),
        some => format!(", {}", count(some, "host certificate")),
    };
    if entries == 0 {
        return "log: ok, the log has no entries yet".to_owned();
    }
    format!(
        "log: ok, {}, {}, {}, {}, {}{ends}{joined}{hosts}",
        plural(entries, "entry", "entries"),
        count(requests, "request"),
        count(decisions, "decision"),
        count(certificates, "certificate"),
        count(bundles, "bundle")
    )
}

/// How long the signer may take to publish what it recorded: it is a tenth of this.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(1);
/// How often to look again for what is not published yet.
const LOOKS: u32 = 2;

/// Checks everything.
///
/// # Errors
/// [`LogFault`] for the first thing that is wrong; anything else if files can not be read.
pub(super) fn verify(
    folder: &Folder,
    root: &Root,
    pin: Option<RootFingerprint>,
) -> anyhow::Result<Counts> {
    let found = root.fingerprint();
    if let Some(expected) = pin
        && expected != found
    {
        let (expected, found) = (expected.to_string(), found.to_string());
        return Err(LogFault::OtherRoot { expected, found }.into());
    }
    let mut looks = LOOKS;
    loop {
        // Read before the log and after it: it can come into force meanwhile.
        let before = folder.in_force()?;
        let (counts, newest) = verify_log(folder, root)?;
        let named = folder.in_force()?;
        // A copy has it only if somebody copied it too.
        let absent = named.is_none() && folder.is_copy();
        if absent || named == newest || before == newest {
            return Ok(counts);
        }
        if looks == 0 {
            return Err(LogFault::InForce { named, newest }.into());
        }
        // It came into force this moment, and is published in the next.
        std::thread::sleep(PUBLISHED_WITHIN);
        looks = looks.saturating_sub(1);
    }
}

/// Checks the log by itself. Gives what it holds, and its newest bundle.
fn verify_log(folder: &Folder, root: &Root) -> anyhow::Result<(Counts, Option<Digest>)> {
    // Before the checkpoint, which only grows.
    let base = folder.journal_base();
    let Some((stated, note)) = folder.checkpoint()? else {
        return match folder.never_served()? {
            true => Ok((Counts::default(), None)),
            false => Err(LogFault::Gone.into()),
        };
    };
    let size = stated.size();
    if let Some(base) = base.filter(|base| *base > size) {
        return Err(LogFault::Behind { size, base }.into());
    }
    let log = folder.log();
    let mut judge = Judge::new(root, stated.origin(), folder);
    let mut tree = Regrowth::new();
    let mut leaves: Vec<Hash> = Vec::new();
    for entry in log.entries(0..size, size) {
        let (index, bytes) = entry.map_err(readable)?;
        let place = usize::try_from(index % u64::from(TILE_WIDTH))?;
        let tile = TileId::in_tree(0, index / u64::from(TILE_WIDTH), size);
        if place == 0
            && let Some(tile) = tile
        {
            leaves = read_tile(&log, tile)?;
        }
        let leaf = leaf_hash(&bytes);
        let at_entry = |fault| LogFault::Entry { index, fault };
        if leaves.get(place) != Some(&leaf) {
            let path = tile.map_or_else(String::new, |tile| tile.path());
            return Err(at_entry(Fault::Leaf(path)).into());
        }
        judge.entry(&bytes).map_err(at_entry)?;
        tree.push(leaf).iter().try_for_each(|tile| check_tile(&log, tile))?;
    }
    let (grown, partial) = tree.finish();
    partial.iter().try_for_each(|tile| check_tile(&log, tile))?;
    if judge.counts().entries != size {
        return Err(LogFault::Files(format!(
            "the log ends before its {}",
            plural(size, "entry", "entries")
        ))
        .into());
    }
    if grown != stated.root() {
        return Err(LogFault::Root { size, stated: stated.root(), found: grown }.into());
    }
    match judge.log_key() {
        Some(key) => {
            SignedCheckpoint::open(&note, key).map_err(LogFault::Checkpoint)?;
        }
        // A log that has not begun: no bundle can have named its key yet. As a copy it would prove
        // nothing: anybody can write it.
        None if size == 0 && grown == EMPTY_ROOT && !folder.is_copy() => {}
        None => return Err(LogFault::UnknownLog(stated.origin().to_owned()).into()),
    }
    Ok((judge.counts(), judge.newest_bundle()))
}

fn read_tile(log: &TileDir, id: TileId) -> anyhow::Result<Vec<Hash>> {
    let bytes = log.tile_bytes(id).map_err(readable)?;
    parse_tile(&bytes, id.width()).map_err(|error| LogFault::Files(error.to_string()).into())
}

fn check_tile(log: &TileDir, (id, hashes): &Tile) -> anyhow::Result<()> {
    if read_tile(log, *id)? == *hashes {
        Ok(())
    } else {
        Err(LogFault::Tile { path: id.path() }.into())
    }
}

/// Sorts what is wrong with the log from what is wrong with reading it.
fn readable(error: LogError) -> anyhow::Error {
    match error {
        LogError::Io { .. } => error.into(),
        error => LogFault::Files(error.to_string()).into(),
    }
}

impl Files for &Folder {
    fn file(&self, digest: Digest) -> Result<Option<Vec<u8>>, String> {
        self.bundle_file(digest).map_err(|error| format!("can not be read: {error}"))
    }
}
