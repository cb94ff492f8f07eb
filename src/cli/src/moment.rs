//! Moments as people write them: a time of day, a day, both, or both with their zone.
//!
//! What names no zone is meant by the clocks of this machine's zone. A time that these clocks skip or
//! show twice is refused, never guessed.

use std::str::FromStr;

use jit_ssh_core::time::{Seconds, UnixTime};
use tz::datetime::FoundDateTimeKind;
use tz::{DateTime, TimeZone, UtcDateTime};

use crate::failure::Failure;
use crate::text::utc;

const DAY: i64 = 86_400;
const FORM: &str =
    "write 22:00, 2026-11-25T22:00, or with the zone 2026-11-25T22:00Z or 2026-11-25T22:00+01:00";

/// The zone whose clocks this machine goes by.
#[derive(Debug)]
pub(crate) struct Zone(TimeZone);

impl Zone {
    /// As `TZ` says, else `/etc/localtime`; UTC where there is neither, as everywhere on Unix.
    pub(crate) fn of_system() -> Result<Zone, Failure> {
        let zone = match std::env::var_os("TZ") {
            Some(name) if name.is_empty() => Ok(TimeZone::utc()),
            Some(name) => TimeZone::from_posix_tz(&name.to_string_lossy()),
            None if !std::path::Path::new("/etc/localtime").exists() => Ok(TimeZone::utc()),
            None => TimeZone::local(),
        };
        zone.map(Zone).map_err(|e| {
            Failure::usage(format!("this machine's time zone can not be read: {e}."))
                .hint("write the time with its zone, such as 2026-11-25T22:00Z")
        })
    }

    /// The day its clocks show at `moment`.
    fn day_of(&self, moment: UnixTime) -> Option<Day> {
        let moment = i64::try_from(moment.0).ok()?;
        let local = DateTime::from_timespec(moment, 0, self.0.as_ref()).ok()?;
        Some(Day { year: local.year(), month: local.month(), day: local.month_day() })
    }

    /// Every moment at which its clocks show this time, in order: one; none where it is skipped, two
    /// where clocks are put back.
    fn moments(&self, day: Day, clock: Clock) -> Vec<UnixTime> {
        let Day { year, month, day } = day;
        let Clock { hour, minute, second } = clock;
        let zone = self.0.as_ref();
        let found = DateTime::find(year, month, day, hour, minute, second, 0, zone);
        let found = found.map(tz::datetime::FoundDateTimeList::into_inner).unwrap_or_default();
        let normal = found.into_iter().filter_map(|found| match found {
            FoundDateTimeKind::Normal(moment) => u64::try_from(moment.unix_time()).ok(),
            FoundDateTimeKind::Skipped { .. } => None,
        });
        normal.map(UnixTime).collect()
    }
}

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Day {
    year: i32,
    month: u8,
    day: u8,
}

impl Day {
    fn parse(text: &str) -> Option<Day> {
        // Whether there is such a day is known where days are known.
        let _: jit_ssh_core::time::Date = text.parse().ok()?;
        let mut parts = text.split('-');
        let year = parts.next()?.parse().ok()?;
        Some(Day { year, month: parts.next()?.parse().ok()?, day: parts.next()?.parse().ok()? })
    }

    /// The day after so many days.
    fn plus(self, days: i64) -> Option<Day> {
        let noon = UtcDateTime::new(self.year, self.month, self.day, 12, 0, 0, 0).ok()?;
        let later = noon.unix_time().checked_add(days.checked_mul(DAY)?)?;
        let later = UtcDateTime::from_timespec(later, 0).ok()?;
        Some(Day { year: later.year(), month: later.month(), day: later.month_day() })
    }
}

/// A time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clock {
    hour: u8,
    minute: u8,
    second: u8,
}

impl Clock {
    const MIDNIGHT: Clock = Clock { hour: 0, minute: 0, second: 0 };

    /// `22:00` or `22:00:30`.
    fn parse(text: &str) -> Option<Clock> {
        let mut parts = text.split(':');
        let mut number = |below: u8| -> Option<u8> {
            let part = parts.next().filter(|part| part.len() == 2)?;
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten().filter(|number| *number < below)
        };
        let (hour, minute) = (number(24)?, number(60)?);
        let second = if text.len() > 5 { number(60)? } else { 0 };
        parts.next().is_none().then_some(Clock { hour, minute, second })
    }
}

/// A moment as somebody wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The next time that the clocks show this.
    Clock(ClockTime),
    /// A time by the clocks of this machine.
    Local(LocalTime),
    /// With its zone.
    Exact(UnixTime),
}

/// A time of day, as somebody wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockTime(Clock);

/// A day and a time of day, as somebody wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocalTime(Day, Clock);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        let form = || format!("{:?} is no time; {FORM}", text.chars().take(40).collect::<String>());
        if let Some(clock) = Clock::parse(text) {
            return Ok(Moment::Clock(ClockTime(clock)));
        }
        // RFC 3339 allows a space and small letters too.
        let (day, rest) = text.split_once(['T', 't', ' ']).ok_or_else(form)?;
        let day = Day::parse(day).ok_or_else(form)?;
        let clock_ends = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
        let (clock, zone) = rest.split_at(clock_ends);
        let clock = Clock::parse(clock).ok_or_else(form)?;
        if zone.is_empty() {
            return Ok(Moment::Local(LocalTime(day, clock)));
        }
        exact(day, clock, zone).map(Moment::Exact).ok_or_else(form)
    }
}

/// The moment at which clocks that are ahead of UTC by `zone` (`Z`, `+01:00`) show this.
fn exact(day: Day, clock: Clock, zone: &str) -> Option<UnixTime> {
    let ahead = match zone {
        "Z" | "z" => 0,
        _ => {
            let offset = Clock::parse(zone.get(1..)?).filter(|_| zone.len() == 6)?;
            let seconds = i64::from(offset.hour) * 3_600 + i64::from(offset.minute) * 60;
            if zone.starts_with('-') { -seconds } else { seconds }
        }
    };
    let (Day { year, month, day }, Clock { hour, minute, second }) = (day, clock);
    let shown = UtcDateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    u64::try_from(shown.unix_time().checked_sub(ahead)?).ok().map(UnixTime)
}

impl Moment {
    /// The moment meant, seen from `now`; a time of day is the next one.
    ///
    /// Fails as a usage error where the clocks skip it or show it twice.
    pub(crate) fn resolve(self, now: UnixTime) -> Result<UnixTime, Failure> {
        match self {
            Moment::Exact(moment) => Ok(moment),
            Moment::Clock(_) | Moment::Local(_) => self.in_zone(&Zone::of_system()?, now),
        }
    }

    fn in_zone(self, zone: &Zone, now: UnixTime) -> Result<UnixTime, Failure> {
        match self {
            Moment::Exact(moment) => Ok(moment),
            Moment::Clock(ClockTime(clock)) => {
                let today = zone.day_of(now);
                // The clocks may skip it on one day, or have shown it today already.
                let days = (0..3).filter_map(|days| today?.plus(days));
                let next = days.flat_map(|day| zone.moments(day, clock)).find(|next| *next > now);
                next.ok_or_else(|| Failure::usage("no such time of day comes in the next days."))
            }
            Moment::Local(LocalTime(day, clock)) => match zone.moments(day, clock).as_slice() {
                [only] => Ok(*only),
                [] => Err(Failure::usage(
                    "the clocks here never show that time: they are put forward over it.",
                )
                .hint("choose another, or write it with its zone")),
                [first, .., last] => Err(Failure::usage(format!(
                    "the clocks here show that time twice, since they are put back: at {} and {}.",
                    utc(*first),
                    utc(*last)
                ))
                .hint("write it with its zone, such as 2026-10-25T02:30+02:00")),
            },
        }
    }
}

/// How far back to look, as somebody wrote it: `30d`, a day, or a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long before now.
    Ago(Seconds),
    /// From this moment on.
    From(Moment),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Since, String> {
        if let Ok(span) = text.parse() {
            return Ok(Since::Ago(span));
        }
        if let Some(day) = Day::parse(text) {
            return Ok(Since::From(Moment::Local(LocalTime(day, Clock::MIDNIGHT))));
        }
        match text.parse() {
            Ok(moment @ (Moment::Local(_) | Moment::Exact(_))) => Ok(Since::From(moment)),
            Ok(Moment::Clock(_)) | Err(_) => {
                let shown: String = text.chars().take(40).collect();
                Err(format!(
                    "{shown:?} is no time; write 30d, 12h, 2026-11-01 or 2026-11-01T08:00Z"
                ))
            }
        }
    }
}

impl Since {
    /// The moment meant, seen from `now`.
    pub(crate) fn resolve(self, now: UnixTime) -> Result<UnixTime, Failure> {
        let moment = match self {
            Since::Ago(span) => now.minus_secs(span.get()),
            Since::From(moment) => moment.resolve(now)?,
        };
        if moment > now {
            return Err(Failure::usage(format!("{} is still to come.", utc(moment))));
        }
        // The service takes 0 for all.
        Ok(moment.max(UnixTime(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-09-21 14:28:20 UTC, 16:28:20 in Berlin.
    const NOW: UnixTime = UnixTime(1_790_000_900);

    /// As in Berlin, without its files: summer time from the last Sunday of March to that of October.
    fn berlin() -> Zone {
        Zone(TimeZone::from_posix_tz("CET-1CEST,M3.5.0,M10.5.0/3").unwrap())
    }

    fn meant(text: &str) -> Result<String, String> {
        let moment: Moment = text.parse()?;
        moment.in_zone(&berlin(), NOW).map(utc).map_err(|failure| failure.message)
    }

    #[test]
    fn a_time_of_day_is_the_next_one_and_a_zone_is_taken_as_written() {
        for (text, expected) in [
            ("22:00", "2026-09-21 20:00:00 UTC"),
            ("16:29", "2026-09-21 14:29:00 UTC"),
            // Past already today; the very second of now is not still to come.
            ("16:28", "2026-09-22 14:28:00 UTC"),
            ("16:28:20", "2026-09-22 14:28:20 UTC"),
            ("00:00", "2026-09-21 22:00:00 UTC"),
            ("2026-11-25T22:00", "2026-11-25 21:00:00 UTC"),
            ("2026-11-25 22:00:30", "2026-11-25 21:00:30 UTC"),
            ("2026-11-25T22:00Z", "2026-11-25 22:00:00 UTC"),
            ("2026-11-25T22:00:00+05:30", "2026-11-25 16:30:00 UTC"),
            ("2026-11-25t22:00:00-01:00", "2026-11-25 23:00:00 UTC"),
        ] {
            assert_eq!(meant(text).unwrap(), expected, "{text}");
        }
        for bad in [
            "",
            "22",
            "22:0",
            "24:00",
            "22:60",
            "+2:00",
            "22:00:",
            "22:00:00:00",
            "2026-11-25",
            "2026-02-29T10:00",
            "2026-11-25T",
            "2026-11-25T22:00+1",
            "2026-11-25T22:00+01:00:00",
            "2026-11-25T22:00ZZ",
            "tomorrow",
            "26-11-25T22:00",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_time_that_the_clocks_skip_or_show_twice_is_refused_and_its_neighbours_are_not() {
        assert_eq!(meant("2027-03-28T01:59").unwrap(), "2027-03-28 00:59:00 UTC");
        assert!(meant("2027-03-28T02:30").unwrap_err().contains("never show that time"));
        assert_eq!(meant("2027-03-28T03:00").unwrap(), "2027-03-28 01:00:00 UTC");
        let twice = meant("2026-10-25T02:30").unwrap_err();
        assert!(twice.contains("00:30:00 UTC and 2026-10-25 01:30:00 UTC"), "{twice}");
        assert_eq!(meant("2026-10-25T02:30+01:00").unwrap(), "2026-10-25 01:30:00 UTC");
        // The next time that the clocks show it is on the day after.
        let eve = UnixTime(1_806_192_200);
        assert_eq!(utc(eve), "2027-03-28 00:03:20 UTC");
        let next = "02:30".parse::<Moment>().unwrap().in_zone(&berlin(), eve).unwrap();
        assert_eq!(utc(next), "2027-03-29 00:30:00 UTC");
    }

    #[test]
    fn how_far_back_is_a_span_or_a_day_and_never_ahead() {
        let since = |text: &str| text.parse::<Since>().unwrap().resolve(NOW);
        assert_eq!(since("30d").unwrap(), NOW.minus_secs(30 * 86_400));
        assert_eq!(since("12h").unwrap(), NOW.minus_secs(12 * 3_600));
        assert_eq!(utc(since("2026-09-01T00:00Z").unwrap()), "2026-09-01 00:00:00 UTC");
        let day = "2026-09-01".parse::<Since>().unwrap();
        let midnight = LocalTime(Day { year: 2026, month: 9, day: 1 }, Clock::MIDNIGHT);
        assert_eq!(day, Since::From(Moment::Local(midnight)));
        assert!(since("2026-09-22T00:00Z").is_err());
        assert_eq!(since("40000d").unwrap(), UnixTime(1), "0 would mean all");
        for bad in ["", "30", "0s", "22:00", "2026-13-01", "-3d"] {
            assert!(bad.parse::<Since>().is_err(), "{bad:?}");
        }
    }
}
