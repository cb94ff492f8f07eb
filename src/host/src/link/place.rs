//! What the link works on: the host's files, the guard's socket, and what is kept between two runs.

use std::fs;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jit_ssh_api::own_key::{KeyFile, OwnKey};
use jit_ssh_core::enrolment::Vouched;
use jit_ssh_core::key::HostKey;

use super::heard::{self, Heard};
use super::krls::Krls;
use crate::apply::{self, Applied};
use crate::current;
use crate::enrolment;
use crate::error::CommandError;
use crate::fetch::Trusted;
use crate::guard::log::{self, Level};
use crate::guard::protocol::{self, Answer, Ask};
use crate::guard::state::make_dir;
use crate::host_certificate;
use crate::layout::{Folders, Layout};
use crate::plan;
use crate::reload::{self, Reload};
use crate::settings::{self, Settings};
use crate::sshd::{Effective, Sshd};
use crate::verify;

/// How long the guard may take to answer.
const GUARD_PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Place {
    pub(super) settings: Settings,
    /// The text they were read from.
    text: String,
    layout: Layout,
    run: PathBuf,
    /// The folder with the newest list of each signer.
    lists: PathBuf,
}

impl Place {
    /// The place as `setup` left it.
    ///
    /// # Errors
    /// If the host was not set up, or what is kept can not be.
    pub(super) fn open(folders: &Folders) -> Result<Place, CommandError> {
        let layout = Layout::new(&folders.etc, None)?;
        let path = layout.settings();
        let unusable = |problem: String| {
            CommandError::new(format!("{} can not be used: {problem}.", path.display()))
                .hint("run: jit-ssh-host setup")
        };
        let text = fs::read_to_string(&path).map_err(|e| unusable(e.to_string()))?;
        let settings = settings::parse(&text).map_err(|e| unusable(e.problem))?;
        let layout = Layout::new(&folders.etc, Some(&settings.sshd_config))?;
        let lists = folders.state.join("krl");
        make_dir(&lists, 0o700)
            .map_err(|e| CommandError::new(format!("{} can not be made: {e}.", lists.display())))?;
        Ok(Place { settings, text, layout, run: folders.run.clone(), lists })
    }

    /// Where our files are.
    pub(super) fn own_dir(&self) -> PathBuf {
        self.layout.own_dir()
    }

    /// Keeps what vouches for this host, where that is newer than what is there.
    ///
    /// # Errors
    /// If it can not be written.
    pub(super) fn keep_enrolment(&self, vouched: &Vouched) -> Result<(), CommandError> {
        let (path, file) = (self.layout.enrolment(), enrolment::file(vouched));
        if fs::read(&path).ok().as_deref() == Some(&file) {
            return Ok(());
        }
        self.still_set_up()?;
        apply::replace(&path, &file, 0o644)
            .map_err(|e| CommandError::new(format!("{} can not be changed: {e}.", path.display())))
    }

    /// Keeps how it goes, for `doctor`.
    pub(super) fn keep_heard(&self, heard: &Heard) {
        if let Err(error) = heard.write(&self.run) {
            log::say(Level::Warning, &format!("{}: {error}.", heard::path(&self.run).display()));
        }
    }

    /// Whether `setup` has said otherwise since.
    pub(super) fn is_set_up_anew(&self) -> bool {
        fs::read_to_string(self.layout.settings()).ok().as_deref() != Some(&self.text)
    }

    /// Before anything of what `setup` wrote is changed: what it took away or wrote since must not be undone.
    fn still_set_up(&self) -> Result<(), CommandError> {
        match self.is_set_up_anew() {
            false => Ok(()),
            true => Err(CommandError::new("this host has been set up anew meanwhile.")),
        }
    }

    /// The newest lists that were kept; those of the signers of `trusted` alone.
    pub(super) fn kept_lists(&self, trusted: &Trusted) -> Krls {
        let mut krls = Krls::default();
        for signer in trusted.signers.iter() {
            if let Ok(note) = fs::read(self.list_path(signer.number)) {
                krls.restore(&trusted.signers, signer.number, &note);
            }
        }
        krls
    }

    fn list_path(&self, signer: NonZeroU16) -> PathBuf {
        self.lists.join(signer.to_string())
    }

    /// Writes what sshd reads at every login, where it is not there already.
    ///
    /// # Errors
    /// What is in the way, also that `setup` has said otherwise since; then everything is as it was.
    pub(super) fn install(&self, trusted: &Trusted, krls: &Krls) -> Result<(), CommandError> {
        self.still_set_up()?;
        // First what keeps an older list from coming back.
        for (number, note) in krls.notes() {
            let path = self.list_path(number);
            if fs::read(&path).ok().as_deref() != Some(note) {
                apply::replace(&path, note, 0o600)
                    .map_err(|e| CommandError::new(format!("{}: {e}.", path.display())))?;
            }
        }
        let facts = trusted.facts(krls.lists(&trusted.signers));
        let current = current::read(&self.layout, None)?;
        let plan = plan::plan_login(&self.layout, &facts, &self.settings, &current)?;
        for word in &plan.warnings {
            log::say(Level::Warning, word);
        }
        for step in &plan.files {
            if let Some(path) = step.written().or(step.removed()) {
                log::say(Level::Info, &format!("{} changes.", path.display()));
            }
        }
        Applied::all(&plan.files).map(|_| ())
    }

    /// The host keys of sshd that can be certified.
    ///
    /// # Errors
    /// If sshd can not be asked.
    pub(super) fn host_keys(&self) -> Result<Vec<HostKey>, CommandError> {
        Ok(host_certificate::own_keys(&self.effective()?.1))
    }

    /// The host certificate that `setup` had sshd show; `None` if there is none.
    pub(super) fn host_certificate(&self) -> Option<Vec<u8>> {
        fs::read(self.layout.host_certificate()).ok()
    }

    /// Puts another host certificate in the place of the one that sshd shows, or of none, and has sshd
    /// read it: from 9.8 on it does so only when it reads its configuration again.
    ///
    /// # Errors
    /// What is in the way; what sshd does not confirm is put back.
    pub(super) fn show_certificate(&self, certificate: &[u8]) -> Result<(), CommandError> {
        self.still_set_up()?;
        let current = current::read(&self.layout, None)?;
        let plan = plan::plan_certificate(&self.layout, certificate, &current)?;
        let applied = Applied::all(&plan.files)?;
        for path in plan.changed() {
            log::say(Level::Info, &format!("{} changes.", path.display()));
        }
        let confirmed = || {
            let (sshd, effective) = self.effective()?;
            sshd.test()?;
            verify::host_certificate(&self.layout, plan.host_certificate.as_deref(), &effective)?;
            Ok((sshd, effective))
        };
        let (sshd, effective) = match confirmed() {
            Ok(confirmed) => confirmed,
            Err(error) => return Err(applied.take_back(error)),
        };
        if let Reload::NotRunning(why) = reload::reload(effective.get("PidFile"), sshd.config())? {
            log::say(Level::Warning, &format!("{why} It shows the certificate when it starts."));
        }
        Ok(())
    }

    fn effective(&self) -> Result<(Sshd, Effective), CommandError> {
        let sshd = Sshd::find(None, self.layout.config())?;
        let root = "root".parse().map_err(|e| CommandError::new(format!("{e}.")))?;
        let effective = sshd.effective(&root)?;
        Ok((sshd, effective))
    }

    /// The private half of the host key that the bundle names, and by which this host speaks.
    ///
    /// # Errors
    /// If sshd has no such key, or it can not be used.
    pub(super) fn own_key(&self, key: &HostKey) -> Result<OwnKey, CommandError> {
        let (_, effective) = self.effective()?;
        let files = host_certificate::own_key_files(&effective);
        let Some((path, _)) = files.into_iter().find(|(_, found)| found == key) else {
            let message = "The key of this host in hosts.toml is none of sshd's host keys.";
            return Err(CommandError::new(message)
                .hint("an admin sets `key` of the host to its ssh_host_ed25519_key.pub, then: jit-ssh-ca apply"));
        };
        let unusable =
            |why: String| CommandError::new(format!("{} can not be used: {why}.", path.display()));
        match KeyFile::read_host_key(&path).map_err(|e| unusable(e.to_string()))? {
            KeyFile::Private(own) => Ok(own),
            KeyFile::Public(_) => Err(unusable("this is a public key".to_owned())),
        }
    }

    /// Asks the guard.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) fn ask_guard(&self, ask: &Ask) -> Result<Answer, String> {
        protocol::ask(&self.run, ask, None, Instant::now() + GUARD_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use jit_ssh_core::testkit::{START, World};

    use super::*;

    const SETTINGS: &str = "v = 1\n\
        ca = \"https://ca.example:7443#SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0\"\n\
        name = \"ci-1\"\nguard = \"off\"\nsshd_config = \"/etc/ssh/sshd_config\"\n\
        pam = \"/etc/pam.d/sshd\"\n";

    #[test]
    fn what_setup_took_away_or_said_otherwise_meanwhile_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let [etc, run, state] = ["etc", "run", "state"].map(|name| dir.path().join(name));
        let folders = Folders { etc, run, state };
        let settings = folders.own_dir().join("host.toml");
        fs::create_dir_all(folders.own_dir()).unwrap();
        fs::write(&settings, SETTINGS).unwrap();
        let place = Place::open(&folders).unwrap();
        let world = World::default();
        let host = world.host("ci-1", 70, None, START, 600);
        let vouched = Vouched::new(world.pipeline.verified(&host), None);
        place.keep_enrolment(&vouched).unwrap();
        let path = place.layout.enrolment();
        for change in ["removed", "other"] {
            fs::remove_file(&path).unwrap();
            match change {
                "removed" => fs::remove_file(&settings).unwrap(),
                _ => fs::write(&settings, SETTINGS.replace("ci-1", "ci-2")).unwrap(),
            }
            let refused = [place.keep_enrolment(&vouched), place.show_certificate(b"x")];
            assert!(
                refused.iter().all(|no| no
                    .as_ref()
                    .is_err_and(|error| error.to_string().contains("set up anew"))),
                "{change}: {refused:?}"
            );
            assert!(!path.exists(), "{change}");
            fs::write(&settings, SETTINGS).unwrap();
            place.keep_enrolment(&vouched).unwrap();
        }
    }
}
