//! People with accounts and homes of their own: a mount namespace with other accounts, other homes, and
//! our programs in /usr/local/bin. Only root can make one, and everything in it is gone with the last
//! process that is inside.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{Program, binaries};

/// What is laid over this machine: who there is, and what is called how. The host's name is that of the
/// one host that people of the town log in to, so that what it says of itself is true.
const LAY_OUT: &str = r#"
for name in jit-ssh jit-ssh-ca jit-ssh-signer jit-ssh-host; do test -x "$1/$name"; done
mount -t tmpfs -o mode=755 town /usr/local/bin
for path in "$1"/jit-ssh "$1"/jit-ssh-*; do
  test -x "$path" && test -f "$path" || continue
  name=$(basename "$path")
  touch "/usr/local/bin/$name"
  mount --bind "$path" "/usr/local/bin/$name"
done
for folder in /home /var/log; do mount -t tmpfs -o mode=755 town "$folder"; done
mkdir /home/.town
for name in passwd group shadow; do
  cp "/etc/$name" "/home/.town/$name"
  mount --bind "/home/.town/$name" "/etc/$name"
done
hostname "$2"
shift 2
exec "$@"
"#;

/// A program of ours that runs in a town of its own whose host has this name; the town is gone with it.
pub fn program_in(host: &str, name: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--uts", "--propagation", "private", "sh", "-euc", LAY_OUT, "sh"]);
    command.arg(binaries()).arg(host).arg(Path::new("/usr/local/bin").join(name));
    command.env_remove("JIT_SSH_HOME").env_remove("XDG_RUNTIME_DIR");
    command
}

/// An account of the town.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    id: u32,
}

impl Account {
    /// Makes an account with a home and this many's number; only inside of a town.
    pub fn new(name: &str, number: u32) -> Account {
        assert!(Path::new("/home/.town").is_dir(), "this is no town");
        // Above those of people, and below those that systemd gives away.
        let account = Account { name: name.to_owned(), id: 60_300 + number };
        let id = account.id;
        for (file, line) in [
            ("/etc/passwd", format!("{name}:x:{id}:{id}::/home/{name}:/bin/bash\n")),
            ("/etc/group", format!("{name}:x:{id}:\n")),
            ("/etc/shadow", format!("{name}:*:19000:0:99999:7:::\n")),
        ] {
            let old = fs::read_to_string(file).unwrap();
            fs::write(file, format!("{old}{line}")).unwrap();
        }
        for folder in [account.home(), account.home().join(".run")] {
            fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
            account.owns(&folder);
        }
        account
    }

    /// The home.
    pub fn home(&self) -> PathBuf {
        Path::new("/home").join(&self.name)
    }

    /// Writes a file of this account's in its home.
    pub fn writes(&self, name: &str, text: &str) {
        let path = self.home().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.owns(&path);
    }

    fn owns(&self, path: &Path) {
        chown(path, Some(self.id), Some(self.id)).unwrap();
    }

    /// A program as this account runs it, in its home.
    pub fn program(&self, name: &str) -> Program {
        let id = self.id.to_string();
        let become_it = ["--reuid", &id, "--regid", &id, "--clear-groups", "--"];
        let program = Program::new("setpriv").args(become_it).args([name]);
        program
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", self.home().join(".run"))
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("USER", &self.name)
            .env("LOGNAME", &self.name)
            .dir(&self.home())
    }
}
