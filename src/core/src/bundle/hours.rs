//! Hours of the week in a time zone: `Mon-Fri 08:00-18:00 Europe/Berlin`.
//!
//! The zones are those of the IANA database as bundled with the program, never those of the machine:
//! front and signer must agree.

use std::fmt;
use std::str::FromStr;

use tz::TimeZoneRef;

use super::reader::{did_you_mean, quote};
use crate::time::UnixTime;

const DAY: u32 = 86_400;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Hours of the week in a time zone.
#[derive(Clone, PartialEq, Eq)]
pub struct Hours {
    text: String,
    /// On which days the hours begin, Monday first.
    days: [bool; 7],
    /// First second of the day that is in.
    from: u32,
    /// First second that is out again; before `from` where the hours run over midnight.
    until: u32,
    zone: TimeZoneRef<'static>,
}

impl Hours {
    /// Whether `moment` lies within.
    pub fn contain(&self, moment: UnixTime) -> bool {
        let Some((weekday, second)) = self.local(moment) else {
            return false;
        };
        let began = |day: usize| self.days.get(day % 7).copied().unwrap_or(false);
        let yesterday = weekday.saturating_add(6);
        if self.from < self.until {
            began(weekday) && (self.from..self.until).contains(&second)
        } else {
            (began(weekday) && second >= self.from) || (began(yesterday) && second < self.until)
        }
    }

    /// Weekday (Monday is 0) and second of the day by the zone's clocks.
    fn local(&self, moment: UnixTime) -> Option<(usize, u32)> {
        let unix = i64::try_from(moment.0).ok()?;
        let offset = self.zone.find_local_time_type(unix).ok()?.ut_offset();
        let local = unix.checked_add(i64::from(offset))?;
        let day = local.div_euclid(i64::from(DAY));
        // 1970-01-01 was a Thursday.
        let weekday = usize::try_from(day.checked_add(3)?.rem_euclid(7)).ok()?;
        Some((weekday, u32::try_from(local.rem_euclid(i64::from(DAY))).ok()?))
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hours({:?})", self.text)
    }
}

/// Why a text is no hours of the week.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    /// Not days, times and zone.
    #[error("{} is not hours; write them like \"Mon-Fri 08:00-18:00 Europe/Berlin\"", quote(.0))]
    Form(String),
    /// No such day.
    #[error("{} is not a day; days are Mon, Tue, Wed, Thu, Fri, Sat, Sun", quote(.0))]
    Day(String),
    /// No such time of the day.
    #[error("{} is not a time of the day; write it like 08:00, at most 24:00", quote(.0))]
    Time(String),
    /// Hours without length.
    #[error("hours from {0} to {0} are none; for whole days write 00:00-24:00")]
    Empty(String),
    /// Hours that begin when their day is over.
    #[error("hours can not begin at 24:00; begin them at 00:00 of the next day")]
    Begin,
    /// No such zone.
    #[error("{} is no time zone of the IANA database; {help}", quote(.zone))]
    Zone {
        /// What was written.
        zone: String,
        /// What may have been meant.
        help: String,
    },
}

impl FromStr for Hours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let form = || HoursError::Form(text.chars().take(80).collect());
        let mut words = text.split(' ');
        let (Some(days), Some(times), Some(zone), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(form());
        };
        let days = parse_days(days)?;
        let (from, until) = times.split_once('-').ok_or_else(form)?;
        let (from_second, until_second) = (parse_time(from)?, parse_time(until)?);
        if from_second == DAY {
            return Err(HoursError::Begin);
        }
        if from_second == until_second {
            return Err(HoursError::Empty(from.to_owned()));
        }
        Ok(Hours {
            text: text.to_owned(),
            days,
            from: from_second,
            until: until_second,
            zone: parse_zone(zone)?,
        })
    }
}

/// `Mon`, `Mon-Fri`, `Sat,Sun`, `Fri-Mon`.
fn parse_days(text: &str) -> Result<[bool; 7], HoursError> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (parse_day(first)?, parse_day(last)?);
        let length = last.saturating_add(7).saturating_sub(first) % 7;
        for day in first..=first.saturating_add(length) {
            if let Some(day) = days.get_mut(day % 7) {
                *day = true;
            }
        }
    }
    Ok(days)
}

fn parse_day(text: &str) -> Result<usize, HoursError> {
    let day = || HoursError::Day(text.chars().take(20).collect());
    DAYS.iter().position(|name| *name == text).ok_or_else(day)
}

/// `HH:MM` up to `24:00`, in seconds of the day.
fn parse_time(text: &str) -> Result<u32, HoursError> {
    let time = || HoursError::Time(text.chars().take(20).collect());
    let two = |digits: &str| -> Option<u32> {
        let whole = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        whole.then(|| digits.parse().ok()).flatten()
    };
    let (hours, minutes) = text.split_once(':').ok_or_else(time)?;
    let (hours, minutes) = (two(hours).ok_or_else(time)?, two(minutes).ok_or_else(time)?);
    let seconds = hours.saturating_mul(3_600).saturating_add(minutes.saturating_mul(60));
    if minutes < 60 && seconds <= DAY { Ok(seconds) } else { Err(time()) }
}

/// A zone by its exact name.
fn parse_zone(name: &str) -> Result<TimeZoneRef<'static>, HoursError> {
    // The lookup folds case; one spelling only.
    match tzdb_data::find_tz(name.as_bytes()) {
        Some(zone) if tzdb_data::TZ_NAMES.contains(&name) => Ok(*zone),
        _ => {
            let names = tzdb_data::TZ_NAMES.iter().copied();
            let help = did_you_mean(name, names)
                .unwrap_or_else(|| "write it like Europe/Berlin, or UTC".to_owned());
            Err(HoursError::Zone { zone: name.chars().take(80).collect(), help })
        }
    }
}
