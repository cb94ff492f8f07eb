//! One at a time: of several ssh that miss the same access, one asks for it, and the others wait for what
//! comes of that. A turn ends with its process, however that ends.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use jit_ssh_core::names::HostName;
use rustix::fs::{FlockOperation, flock};

use crate::caller::Caller;
use crate::failure::Failure;
use crate::home::{self, Home};

const FOLDER: &str = "ensure";

/// The turn of this process.
#[derive(Debug)]
pub(crate) struct Turn(File);

/// Whose turn it is.
#[derive(Debug)]
pub(crate) enum Whose {
    /// Ours.
    Ours(Turn),
    /// Another's, who waits for a person.
    Asks,
    /// Another's, who does what takes a moment.
    Busy,
}

impl Turn {
    /// Takes the turn for a host, if nobody has it.
    pub(crate) fn take(home: &Home, host: &HostName) -> Result<Whose, Failure> {
        let path = path(home, host, "turn");
        let failed = |e: std::io::Error| Failure::file(&path, e);
        home::private_parent(&path)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // What one that was killed left behind.
                file.set_len(0).map_err(failed)?;
                Ok(Whose::Ours(Turn(file)))
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut said = String::new();
                file.read_to_string(&mut said).map_err(failed)?;
                Ok(if said.is_empty() { Whose::Busy } else { Whose::Asks })
            }
            Err(e) => Err(failed(e.into())),
        }
    }

    /// Lets the others know that from now on a person is waited for.
    pub(crate) fn asks(&mut self) -> Result<(), Failure> {
        let told = self.0.rewind().and_then(|()| self.0.write_all(b"asks\n"));
        told.map_err(|e| Failure::file(&PathBuf::from(FOLDER), e))
    }
}

/// Notes that there is no access for this ssh. It reads its configuration twice where that has a
/// `Match final`, as Red Hat's has, and must not ask twice.
pub(crate) fn note_refused(home: &Home, host: &HostName, caller: &Caller) -> Result<(), Failure> {
    home::write(&path(home, host, "refused"), caller.process.as_bytes())
}

/// Whether this very ssh was told already.
pub(crate) fn was_refused(home: &Home, host: &HostName, caller: &Caller) -> Result<bool, Failure> {
    let noted = home::read(&path(home, host, "refused"))?;
    Ok(noted.is_some_and(|noted| noted.as_slice() == caller.process.as_bytes()))
}

fn path(home: &Home, host: &HostName, what: &str) -> PathBuf {
    home.runtime(FOLDER).join(format!("{host}.{what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_one_at_a_time_for_each_host_and_ends_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::under(dir.path());
        let (a, b): (HostName, HostName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let Whose::Ours(mut turn) = Turn::take(&home, &a).unwrap() else { panic!("nobody has it") };
        assert!(matches!(Turn::take(&home, &a).unwrap(), Whose::Busy));
        assert!(matches!(Turn::take(&home, &b).unwrap(), Whose::Ours(_)));
        turn.asks().unwrap();
        assert!(matches!(Turn::take(&home, &a).unwrap(), Whose::Asks));
        drop(turn);
        let Whose::Ours(_held) = Turn::take(&home, &a).unwrap() else { panic!("it was given up") };
        // Nobody asks only because the last one did.
        assert!(matches!(Turn::take(&home, &a).unwrap(), Whose::Busy));
    }
}
