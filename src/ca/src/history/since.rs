//! How far to look back: a span before now, a day, or a moment.

use std::str::FromStr;

use anyhow::Context as _;
use jit_ssh_core::policy::moment::Moment;
use jit_ssh_core::time::{Date, Seconds, UnixTime};

use crate::failure::Failure;

/// What `--since` takes: `30d`, `2026-11-01`, `2026-11-01T12:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long before now.
    Ago(Seconds),
    /// From this moment on: a day begins at midnight, in UTC.
    At(UnixTime),
}

/// A text says no time to look back to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no time to look back to; write a span like \"30d\", a day like \"2026-11-01\", or a moment like \"2026-11-01T12:00Z\""
)]
pub(crate) struct SinceError(String);

const DAY: u32 = 86_400;

impl FromStr for Since {
    type Err = SinceError;

    fn from_str(text: &str) -> Result<Self, SinceError> {
        let span = text.parse().ok().map(Since::Ago);
        let day = || text.parse().ok().map(|day: Date| Since::At(day.end().minus_secs(DAY)));
        let found = span.or_else(day).or_else(|| moment(text).map(Since::At));
        found.ok_or_else(|| SinceError(text.chars().take(40).collect()))
    }
}

/// A moment, to the second or to the minute.
fn moment(text: &str) -> Option<UnixTime> {
    let moment = |text: &str| text.parse().ok().map(|moment: Moment| moment.0);
    let (minute, zone) = text.split_at_checked("2026-11-01T12:00".len())?;
    moment(text).or_else(|| moment(&format!("{minute}:00{zone}")))
}

impl Since {
    /// The moment, seen from `now`.
    ///
    /// # Errors
    /// If it is before 1970, or not in the past.
    pub(crate) fn moment(self, now: UnixTime) -> anyhow::Result<UnixTime> {
        match self {
            Since::Ago(span) => {
                let secs = now.0.checked_sub(u64::from(span.get()));
                secs.map(UnixTime).context("--since reaches back to before 1970")
            }
            Since::At(moment) if moment > now => {
                Err(Failure::usage("--since names a moment that is still to come.").into())
            }
            Since::At(moment) => Ok(moment),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_514_400);

    #[test]
    fn a_span_a_day_and_a_moment_are_taken() {
        for (text, unix) in [
            ("30d", NOW.0 - 30 * 86_400),
            ("1h30m", NOW.0 - 5_400),
            // By `date -u -d ... +%s`.
            ("2026-11-01", 1_793_491_200),
            ("2026-11-01T12:00Z", 1_793_534_400),
            ("2026-11-01T12:00:30Z", 1_793_534_430),
            ("2026-11-01T12:00+01:00", 1_793_530_800),
        ] {
            let since: Since = text.parse().unwrap();
            assert_eq!(since.moment(NOW).unwrap(), UnixTime(unix), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_all_three_forms() {
        for text in [
            "",
            "30",
            "yesterday",
            "2026-11",
            "2026-11-31",
            "2026-11-01T12:00",
            "2026-11-01 12:00Z",
            "2026-11-01T1µ:00Z",
        ] {
            let error = text.parse::<Since>().unwrap_err().to_string();
            for form in ["30d", "2026-11-01\"", "2026-11-01T12:00Z"] {
                assert!(error.contains(form), "{error}");
            }
        }
        let error = Since::At(UnixTime(NOW.0 + 1)).moment(NOW).unwrap_err().to_string();
        assert_eq!(error, "--since names a moment that is still to come.");
        assert!(Since::At(NOW).moment(NOW).is_ok());
        let long: Since = "30000d".parse().unwrap();
        assert!(long.moment(NOW).is_err(), "before 1970");
    }
}
