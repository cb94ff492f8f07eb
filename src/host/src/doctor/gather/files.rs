//! Looks at files and folders.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use jit_ssh_api::own_key::is_group_of_host_keys;

use crate::current::{FileState, Owner};
use crate::doctor::facts::{Kind, Look, Node};
use crate::layout::Layout;

/// Nothing that sshd or we read is longer.
const MAX_SIZE: u64 = 64 << 20;

/// The content of a plain file, links followed.
pub(super) fn read(path: &Path) -> Look<FileState> {
    let looked = fs::metadata(path).and_then(|found| {
        if !found.is_file() || found.len() > MAX_SIZE {
            return Err(std::io::Error::other("it is no plain file of a sensible size"));
        }
        let owner = Owner { user: found.uid(), group: found.gid() };
        Ok(FileState { content: fs::read(path)?, mode: found.mode() & 0o7777, owner })
    });
    seen(looked)
}

/// What a path leads to.
pub(super) fn node(path: &Path) -> Look<Node> {
    seen(fs::metadata(path).map(|found| of(path, &found)))
}

/// What a private host key's file is.
pub(super) fn host_key(path: &Path) -> Look<Node> {
    seen(fs::metadata(path).map(|found| Node {
        is_of_key_group: is_group_of_host_keys(found.gid()),
        ..of(path, &found)
    }))
}

fn seen<T>(looked: std::io::Result<T>) -> Look<T> {
    match looked {
        Ok(seen) => Look::Seen(seen),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Look::Absent
        }
        Err(e) => Look::Unreadable(e.to_string()),
    }
}

fn of(path: &Path, found: &fs::Metadata) -> Node {
    let kind = match found.file_type() {
        kind if kind.is_file() => Kind::File,
        kind if kind.is_dir() => Kind::Dir,
        kind if kind.is_socket() => Kind::Socket,
        _ => Kind::Other,
    };
    let mode = found.mode() & 0o7777;
    Node { path: path.to_owned(), kind, mode, owner: found.uid(), is_of_key_group: false }
}

/// A file with every folder above it, where they really are; nothing if it is not there.
pub(super) fn up_to_root(path: &Path) -> Vec<Node> {
    let Ok(real) = fs::canonicalize(path) else {
        return Vec::new();
    };
    real.ancestors().filter_map(|path| node(path).seen().cloned()).collect()
}

/// All that decides who gets in: our folder and what is in it, and `config` files; with every folder
/// above them.
pub(super) fn nodes(layout: &Layout, config: &[PathBuf]) -> Vec<Node> {
    let mut all: Vec<Node> = Vec::new();
    let mut add = |nodes: Vec<Node>| {
        for node in nodes {
            if all.iter().all(|known| known.path != node.path) {
                all.push(node);
            }
        }
    };
    add(up_to_root(layout.etc()));
    for path in config.iter().chain([&layout.drop_in()]) {
        add(up_to_root(path));
    }
    let mut folders = vec![layout.own_dir()];
    add(node(&layout.own_dir()).seen().cloned().into_iter().collect());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            // Links are not followed here: nobody of ours makes one.
            let Ok(found) = fs::symlink_metadata(entry.path()) else { continue };
            let node = of(&entry.path(), &found);
            if node.kind == Kind::Dir {
                folders.push(entry.path());
            }
            add(vec![link_as_strange(node)]);
        }
    }
    all
}

/// A link's own mode says nothing.
fn link_as_strange(node: Node) -> Node {
    match node.kind {
        Kind::Other => Node { mode: 0o600, ..node },
        Kind::File | Kind::Dir | Kind::Socket => node,
    }
}
