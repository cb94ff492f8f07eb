//! Unix seconds and durations, with checked arithmetic only.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A moment in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The largest moment a certificate or statement may name: 2^33 (the year 2242). Anything
    /// above is a count of milliseconds or nanoseconds mistaken for seconds (facts.md, 6).
    pub const MAX: UnixTime = UnixTime(1 << 33);

    /// This moment plus `span`, held at [`UnixTime::MAX`].
    pub fn plus(self, span: Seconds) -> UnixTime {
        self.plus_secs(span.get())
    }

    /// This moment plus `secs`, held at [`UnixTime::MAX`].
    pub fn plus_secs(self, secs: u32) -> UnixTime {
        UnixTime(self.0.saturating_add(u64::from(secs))).min(Self::MAX)
    }

    /// This moment less `secs`, never below zero.
    pub fn minus_secs(self, secs: u32) -> UnixTime {
        UnixTime(self.0.saturating_sub(u64::from(secs)))
    }

    /// Seconds from `earlier` to this moment; zero if it is not earlier.
    pub fn since(self, earlier: UnixTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// As people read it: `2026-05-20 14:03:10 UTC`. What is beyond [`UnixTime::MAX`] is no moment, and
    /// shown as the count it is.
    pub fn utc(self) -> String {
        if self > Self::MAX {
            return format!("{self} s");
        }
        let (day, second) = (Date::of_day(self.0 / DAY), self.0 % DAY);
        let (hour, minute) = (second / 3_600, second % 3_600 / 60);
        format!("{day} {hour:02}:{minute:02}:{:02} UTC", second % 60)
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A duration in whole seconds, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(NonZeroU32);

impl Seconds {
    /// `secs` as a duration; `None` if zero.
    pub const fn new(secs: u32) -> Option<Seconds> {
        match NonZeroU32::new(secs) {
            Some(secs) => Some(Seconds(secs)),
            None => None,
        }
    }

    /// The count of seconds.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not numbers with the units d, h, m, s in this order.
    #[error("{0:?} is not a duration; write it like \"90s\", \"30m\", \"1h30m\" or \"2d\"")]
    Form(String),
    /// Nothing at all is not a duration.
    #[error("a duration must be longer than zero")]
    Zero,
    /// More than fits.
    #[error("{0:?} is too long a duration")]
    TooLong(String),
}

const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl FromStr for Seconds {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let shown = || text.chars().take(40).collect::<String>();
        let form = || DurationError::Form(shown());
        let mut total: u32 = 0;
        let mut units = UNITS.iter();
        let mut rest = text;
        if rest.is_empty() {
            return Err(form());
        }
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let unit = tail.chars().next().ok_or_else(form)?;
            // Each unit at most once, larger before smaller.
            let (_, factor) = units.find(|(name, _)| *name == unit).ok_or_else(form)?;
            if number.is_empty() {
                return Err(form());
            }
            let number: u32 = number.parse().map_err(|_| DurationError::TooLong(shown()))?;
            total = number
                .checked_mul(*factor)
                .and_then(|secs| total.checked_add(secs))
                .ok_or_else(|| DurationError::TooLong(shown()))?;
            rest = tail.get(unit.len_utf8()..).unwrap_or_default();
        }
        Seconds::new(total).ok_or(DurationError::Zero)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.get();
        for (name, factor) in UNITS {
            let count = rest / factor;
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
            rest %= factor;
        }
        Ok(())
    }
}

/// A day of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

/// A text is no day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a day; write it like \"2027-01-31\"")]
pub struct DateError(String);

impl Date {
    /// The first moment after this day.
    pub fn end(self) -> UnixTime {
        UnixTime(self.days().saturating_add(1).saturating_mul(DAY)).min(UnixTime::MAX)
    }

    /// The day that is so many days after 1970-01-01, of the Gregorian calendar.
    fn of_day(days: u64) -> Date {
        let (mut year, mut left) = (1970_u16, days);
        loop {
            let length = 337 + u64::from(month_length(year, 2));
            if left < length {
                break;
            }
            left = left.saturating_sub(length);
            year = year.saturating_add(1);
        }
        let mut month = 1_u8;
        while left >= u64::from(month_length(year, month)) {
            left = left.saturating_sub(u64::from(month_length(year, month)));
            month = month.saturating_add(1);
        }
        Date { year, month, day: u8::try_from(left.saturating_add(1)).unwrap_or(u8::MAX) }
    }

    /// Days since 1970-01-01.
    fn days(self) -> u64 {
        let leap = |year: u64| year / 4 - year / 100 + year / 400;
        let year = u64::from(self.year);
        let (last, before_epoch) = (year.saturating_sub(1), 1969);
        let years = (year.saturating_sub(1970)).saturating_mul(365);
        let months = (1..self.month).map(|month| u64::from(month_length(self.year, month)));
        years
            .saturating_add(leap(last).saturating_sub(leap(before_epoch)))
            .saturating_add(months.sum())
            .saturating_add(u64::from(self.day).saturating_sub(1))
    }
}

const DAY: u64 = 86_400;

fn month_length(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u8::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let error = || DateError(text.chars().take(20).collect());
        let mut parts = text.split('-');
        let mut number = |length: usize| -> Option<u16> {
            let part = parts.next().filter(|part| part.len() == length)?;
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten()
        };
        let year = number(4).filter(|year| (1970..=2200).contains(year)).ok_or_else(error)?;
        let month = number(2).and_then(|month| u8::try_from(month).ok()).ok_or_else(error)?;
        let day = number(2).and_then(|day| u8::try_from(day).ok()).ok_or_else(error)?;
        let exists = (1..=12).contains(&month) && (1..=month_length(year, month)).contains(&day);
        if exists && parts.next().is_none() { Ok(Date { year, month, day }) } else { Err(error()) }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_moment_reads_as_date_and_time_in_utc() {
        for (moment, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_779_285_790, "2026-05-20 14:03:10 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (UnixTime::MAX.0, "2242-03-16 12:56:32 UTC"),
            (UnixTime::MAX.0 + 1, "8589934593 s"),
            (u64::MAX, "18446744073709551615 s"),
        ] {
            assert_eq!(UnixTime(moment).utc(), text);
        }
        // Each day there is, there and back.
        let all = 0..=UnixTime::MAX.0 / DAY;
        assert!(all.clone().all(|day| Date::of_day(day).days() == day), "{all:?}");
    }

    #[test]
    fn durations_parse_and_refuse() {
        for (text, secs) in [("90s", 90), ("30m", 1_800), ("1h30m", 5_400), ("2d", 172_800)] {
            assert_eq!(text.parse::<Seconds>().unwrap().get(), secs);
        }
        for bad in [
            "",
            "0s",
            "30",
            "m",
            "30m1h",
            "1h1h",
            "-5m",
            "5 m",
            "1.5h",
            "99999999999s",
            "50000d",
            "5µ",
        ] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn moments_never_overflow() {
        assert_eq!(UnixTime(u64::MAX).plus_secs(u32::MAX), UnixTime::MAX);
        assert_eq!(UnixTime(5).minus_secs(10), UnixTime(0));
        assert_eq!(UnixTime(5).plus_secs(10), UnixTime(15));
    }

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn only_days_of_the_calendar_are_dates() {
        for good in ["1970-01-01", "2024-02-29", "2000-02-29", "2027-01-31", "2200-12-31"] {
            assert_eq!(date(good).to_string(), good);
        }
        for bad in [
            "2100-02-29",
            "2200-02-29",
            "2027-02-29",
            "2027-04-31",
            "2027-00-10",
            "2027-13-01",
            "2027-01-00",
            "2027-01-32",
            "1969-12-31",
            "2201-01-01",
            "9999-12-31",
            "2027-1-31",
            "2027-01-1",
            "27-01-31",
            "02027-01-31",
            "2027-01",
            "2027-01-31-",
            "2027-01-31T00:00:00Z",
            "2027/01/31",
            "+027-01-31",
            " 2027-01-31",
            "2027-01-31 ",
            "２027-01-31",
            "",
        ] {
            assert!(bad.parse::<Date>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_day_ends_where_the_next_begins() {
        // By `date -u -d "2027-02-01" +%s`.
        for (day, end) in [
            ("1970-01-01", 86_400),
            ("1972-02-29", 68_256_000),
            ("2000-02-29", 951_868_800),
            ("2000-12-31", 978_307_200),
            ("2025-12-31", 1_767_225_600),
            ("2027-01-31", 1_801_440_000),
            ("2028-02-29", 1_835_481_600),
            ("2100-02-28", 4_107_542_400),
            ("2200-02-28", 7_263_216_000),
            ("2200-12-31", 7_289_654_400),
        ] {
            assert_eq!(date(day).end(), UnixTime(end), "{day}");
        }
    }

    #[test]
    fn each_day_is_one_day_after_the_last() {
        let mut last = UnixTime(0);
        for year in 1970..=2200 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let Ok(day) = format!("{year}-{month:02}-{day:02}").parse::<Date>() else {
                        continue;
                    };
                    assert_eq!(day.end(), last.plus_secs(86_400), "{day}");
                    last = day.end();
                }
            }
        }
        assert_eq!(last, UnixTime(7_289_654_400));
    }

    proptest! {
        #[test]
        fn shown_durations_parse_back(secs in 1u32..) {
            let span = Seconds::new(secs).unwrap();
            prop_assert_eq!(span.to_string().parse::<Seconds>().unwrap(), span);
        }
    }
}
