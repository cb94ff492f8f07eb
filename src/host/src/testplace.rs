//! Tests only: where they put hosts of theirs.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

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
