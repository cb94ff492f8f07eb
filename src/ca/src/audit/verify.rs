//! `jit-ssh-ca log verify`: checks a whole log anew, offline.

use std::process::ExitCode;

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
use crate::failure::Failure;
use crate::terminal;

/// Checks the log.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    place: Place,
    /// The root it must be the log of, SHA256:...: what stands after # in the enroll URL
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
    entries: u64,
    requests: u64,
    decisions: u64,
    ends: u64,
    certificates: u64,
    bundles: u64,
    /// The first bad entry, if it is an entry that is bad.
    entry: Option<u64>,
    problem: Option<String>,
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
    if args.json {
        let Counts { entries, requests, decisions, ends, certificates, bundles } = counts;
        terminal::object(&Printed {
            ok: fault.is_none(),
            root: pin,
            entries,
            requests,
            decisions,
            ends,
            certificates,
            bundles,
            entry: match fault {
                Some(LogFault::Entry { index, .. }) => Some(index),
                _ => None,
            },
            problem: fault.as_ref().map(ToString::to_string),
        })?;
    }
    match fault {
        None if args.json => Ok(ExitCode::SUCCESS),
        None => {
            terminal::data(&summary(counts))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(fault) => Err(refusal(&fault).into()),
    }
}

fn refusal(fault: &LogFault) -> Failure {
    let failure = Failure::error(format!("the log does not hold: {fault}."));
    match fault {
        LogFault::Entry { index, .. } => {
            failure.hint(format!("look at it with: jit-ssh-ca log show --since {index}"))
        }
        _ => failure,
    }
}

fn summary(counts: Counts) -> String {
    let Counts { entries, requests, decisions, ends, certificates, bundles } = counts;
    let ends = if ends > 0 { format!(", {ends} ends") } else { String::new() };
    format!(
        "log: ok, {entries} entries, {requests} requests, {decisions} decisions, \
         {certificates} certificates, {bundles} bundles{ends}"
    )
}

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
    let Some((stated, note)) = folder.checkpoint()? else { return Ok(Counts::default()) };
    let size = stated.size();
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
        return Err(LogFault::Files(format!("the log ends before its {size} entries")).into());
    }
    if grown != stated.root() {
        return Err(LogFault::Root { size, stated: stated.root(), found: grown }.into());
    }
    match judge.log_key() {
        Some(key) => {
            SignedCheckpoint::open(&note, key).map_err(LogFault::Checkpoint)?;
        }
        // A log that has not begun: no bundle can have named its key yet.
        None if size == 0 && grown == EMPTY_ROOT => {}
        None => return Err(LogFault::UnknownLog(stated.origin().to_owned()).into()),
    }
    Ok(judge.counts())
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
