//! Tests only: where they put hosts of theirs, and what this machine's sshd understands.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::doctor::gather;
use crate::sshd::Sshd;

/// A folder for a host with an sshd of its own: below no folder that others can change, for sshd would not
/// read principals there, and for root below none that other accounts can not enter, either.
pub(crate) fn folder(prefix: &str) -> TempDir {
    if rustix::process::geteuid().is_root() {
        // sshd wants this folder when it runs as root; the ssh service makes it at boot.
        fs::create_dir_all("/run/sshd").unwrap();
        return TempDir::with_prefix_in(prefix, "/var/lib").unwrap();
    }
    let exe = std::env::current_exe().unwrap();
    let tmp: PathBuf = exe.ancestors().nth(3).unwrap().join("tmp");
    fs::create_dir_all(&tmp).unwrap();
    TempDir::with_prefix_in(prefix, tmp).unwrap()
}

/// Lines of sshd_config that sshd takes from 9.8 on; nothing for an older one, which would refuse them.
pub(crate) fn from_9_8(lines: &str) -> String {
    let said = Sshd::find(None, Path::new("/")).unwrap().version_text().unwrap_or_default();
    let is_new = gather::version(&said).is_some_and(|version| version >= (9, 8));
    if is_new { lines.to_owned() } else { String::new() }
}
