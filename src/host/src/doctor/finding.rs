//! What a rule finds: a weakness, how much it matters, where it is, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::rules::ca::CaWeakness;
use super::rules::doors::DoorWeakness;
use super::rules::guard::GuardWeakness;
use super::rules::host_keys::HostKeyWeakness;
use super::rules::krl::KrlWeakness;
use super::rules::link::LinkWeakness;
use super::rules::pam::PamWeakness;
use super::rules::principals::PrincipalsWeakness;
use super::rules::running::RunningWeakness;
use super::rules::setting::SettingWeakness;
use super::rules::system::SystemWeakness;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Somebody gets in, or stays, who must not; or nobody gets in.
    Critical,
    /// A promise holds less far than it could.
    Warning,
    /// Worth knowing; nothing is to be done on this host, so it is no weakness.
    Note,
}

/// Every weakness there is, by what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Weakness {
    /// This host's settings, files and clock.
    System(SystemWeakness),
    /// The keywords of our drop-in.
    Setting(SettingWeakness),
    /// Other ways in, and settings that shut people out.
    Door(DoorWeakness),
    /// The file of CA keys.
    Ca(CaWeakness),
    /// The principals files.
    Principals(PrincipalsWeakness),
    /// The list of revoked keys.
    Krl(KrlWeakness),
    /// Keys and certificates of the host.
    HostKey(HostKeyWeakness),
    /// The program, and the one that runs.
    Running(RunningWeakness),
    /// The PAM hook.
    Pam(PamWeakness),
    /// The guard.
    Guard(GuardWeakness),
    /// The link to the CA.
    Link(LinkWeakness),
}

/// A weakness, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Which.
    pub(crate) weakness: Weakness,
    /// Where, if it is in one place.
    pub(crate) place: Option<Place>,
}

/// A file, and the line in it where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file.
    pub(crate) file: PathBuf,
    /// The line, counted from 1.
    pub(crate) line: Option<usize>,
}

/// A weakness in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    /// What programs know it by. Scripts rely on it: never change one.
    pub(crate) code: &'static str,
    /// How much it matters.
    pub(crate) severity: Severity,
    /// What is so and why it matters: full sentences.
    pub(crate) message: String,
    /// What to do: a command or a line, in words that can be followed.
    pub(crate) fix: String,
    /// Which promise it breaks.
    pub(crate) effect: Effect,
}

/// Which promise of the host a weakness breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// None by itself.
    Aside,
    /// There is another way in: which.
    Door(&'static str),
    /// Certificates of the CA that are not for this host, or not for this login, open it.
    Unscoped,
    /// Certificates of the CA are not accepted: why.
    Shut(&'static str),
    /// Sessions go on when the grant ends: why.
    Unended(&'static str),
    /// Programs that detach live on.
    Survivors,
    /// What some logins have systemd start for them lives on.
    Lingering,
}

impl Weakness {
    /// The weakness in words.
    pub(crate) fn describe(&self) -> Description {
        match self {
            Weakness::System(weakness) => weakness.describe(),
            Weakness::Setting(weakness) => weakness.describe(),
            Weakness::Door(weakness) => weakness.describe(),
            Weakness::Ca(weakness) => weakness.describe(),
            Weakness::Principals(weakness) => weakness.describe(),
            Weakness::Krl(weakness) => weakness.describe(),
            Weakness::HostKey(weakness) => weakness.describe(),
            Weakness::Running(weakness) => weakness.describe(),
            Weakness::Pam(weakness) => weakness.describe(),
            Weakness::Guard(weakness) => weakness.describe(),
            Weakness::Link(weakness) => weakness.describe(),
        }
    }
}

impl Description {
    /// One that breaks no promise by itself.
    pub(crate) fn new(
        code: &'static str,
        severity: Severity,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Description {
        let (message, fix) = (message.into(), fix.into());
        Description { code, severity, message, fix, effect: Effect::Aside }
    }

    /// Says which promise it breaks.
    pub(crate) fn breaks(self, effect: Effect) -> Description {
        Description { effect, ..self }
    }
}

impl Place {
    /// A file as a whole.
    pub(crate) fn file(file: &Path) -> Place {
        Place { file: file.to_owned(), line: None }
    }

    /// A line of a file.
    pub(crate) fn line(file: &Path, line: usize) -> Place {
        Place { file: file.to_owned(), line: Some(line) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file.display()),
            None => write!(f, "{}", self.file.display()),
        }
    }
}

impl Severity {
    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

macro_rules! finds {
    ($($area:ident: $weakness:ty),* $(,)?) => {$(
        impl $weakness {
            /// Found, with no place to point at.
            pub(crate) fn anywhere(self) -> Finding {
                Finding { weakness: Weakness::$area(self), place: None }
            }

            /// Found here.
            pub(crate) fn at(self, place: Place) -> Finding {
                Finding { weakness: Weakness::$area(self), place: Some(place) }
            }
        }
    )*};
}

// A weakness that is never without a place has no use for one of the two.
#[allow(dead_code)]
mod places {
    use super::*;

    finds! {
        System: SystemWeakness,
        Setting: SettingWeakness,
        Door: DoorWeakness,
        Ca: CaWeakness,
        Principals: PrincipalsWeakness,
        Krl: KrlWeakness,
        HostKey: HostKeyWeakness,
        Running: RunningWeakness,
        Pam: PamWeakness,
        Guard: GuardWeakness,
        Link: LinkWeakness,
    }
}
