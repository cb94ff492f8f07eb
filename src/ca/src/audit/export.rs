//! `jit-ssh-ca log export`: all that `verify` needs, at one checkpoint, for somebody else to check.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use jit_ssh_core::entry::Entry;
use jit_ssh_core::log::tile::split_entries;
use jit_ssh_core::log::{BundleId, TileId};
use jit_ssh_core::statement::{self, Bundle, Kind};
use serde::Serialize;

use super::folder::Folder;
use crate::failure::Failure;
use crate::policy::config::plural;
use crate::terminal;

/// Exports the log.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The CA's configuration folder, whose ca.toml names the state
    #[arg(long, value_name = "DIR")]
    config: PathBuf,
    /// The folder to make; must not exist
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    to: &'a Path,
    entries: u64,
    root: String,
}

/// Exports the log as of the checkpoint that is published now.
pub(crate) fn cmd_export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let folder = Folder::of_config(&args.config)?;
    let entries = export(&folder, &args.to)?;
    let pin = folder.root()?.0.fingerprint();
    if args.json {
        terminal::object(&Printed { to: &args.to, entries, root: pin.to_string() })?;
    } else {
        let to = args.to.display();
        terminal::say(&format!("exported {} to {to}", plural(entries, "entry", "entries")));
        terminal::say(&format!("to check it: jit-ssh-ca log verify --from {to} --root {pin}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Copies everything beside `to` and gives it its name last. Gives the number of entries.
///
/// # Errors
/// If `to` exists, or something can not be read or written; then nothing is left behind.
pub(super) fn export(folder: &Folder, to: &Path) -> anyhow::Result<u64> {
    let refuse = || {
        Failure::error(format!("{} exists already; nothing is overwritten.", to.display()))
            .hint("name a new folder with --to")
    };
    if to.symlink_metadata().is_ok() {
        return Err(refuse().into());
    }
    let name = to.file_name().with_context(|| format!("{} names no folder", to.display()))?;
    let built =
        to.with_file_name(format!(".{}.new-{}", name.to_string_lossy(), std::process::id()));
    fs::create_dir(&built).with_context(|| format!("cannot make {}", built.display()))?;
    let done = copy(folder, &built).and_then(|entries| {
        fs::rename(&built, to).with_context(|| format!("cannot make {}", to.display()))?;
        Ok(entries)
    });
    if done.is_err() {
        // The error is told; what can not be removed is left.
        let _ = fs::remove_dir_all(&built);
    }
    done
}

fn copy(folder: &Folder, built: &Path) -> anyhow::Result<u64> {
    write(&built.join("root.json"), &folder.root()?.1)?;
    fs::create_dir(built.join("log"))?;
    fs::create_dir(built.join("bundles"))?;
    // All that follows is of this size, however the log grows meanwhile.
    let published = folder.checkpoint()?.filter(|(checkpoint, _)| checkpoint.size() > 0);
    let Some((checkpoint, note)) = published else {
        let failure = Failure::error("the log has no entries: there is nothing to export.");
        return Err(failure
            .hint("`jit-ssh-ca log verify` tells whether it should have some")
            .into());
    };
    let size = checkpoint.size();
    let (from, to) = (folder.log(), built.join("log"));
    let levels = (0u8..).take_while(|level| TileId::in_tree(*level, 0, size).is_some());
    for level in levels {
        for id in (0..).map_while(|index| TileId::in_tree(level, index, size)) {
            write(&to.join(id.path()), &from.tile_bytes(id)?)?;
        }
    }
    for id in (0..).map_while(|index| BundleId::in_tree(index, size)) {
        let bytes = from.bundle(id)?;
        copy_bundle_files(folder, built, &bytes)?;
        write(&to.join(id.path()), &bytes)?;
    }
    write(&to.join("checkpoint"), &note)?;
    Ok(size)
}

/// Copies the files that the bundle statements among these entries name.
fn copy_bundle_files(folder: &Folder, built: &Path, entries: &[u8]) -> anyhow::Result<()> {
    for entry in split_entries(entries)? {
        // What can not be read is exported as it is, and `verify` names it.
        let Ok(Entry::Statement(entry)) = Entry::parse(entry) else { continue };
        let bytes = entry.statement.as_bytes();
        if Kind::of(bytes) != Some(Kind::Bundle) {
            continue;
        }
        let Ok(bundle) = statement::parse::<Bundle>(bytes) else { continue };
        for digest in [bundle.people, bundle.hosts, bundle.policy, bundle.signers] {
            if let Some(content) = folder.bundle_file(digest)? {
                write(&built.join("bundles").join(digest.to_string()), &content)?;
            }
        }
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let done = path.parent().map_or(Ok(()), fs::create_dir_all);
    done.and_then(|()| fs::write(path, content))
        .with_context(|| format!("cannot write {}", path.display()))
}
