//! Moments as people write them in files: RFC 3339, to the second.

use std::str::FromStr;

use crate::time::{Date, UnixTime};

/// A moment, written like `2026-11-24T10:00:00Z` or `2026-11-24T10:00:00+01:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub UnixTime);

/// A text is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a moment; write it like \"2026-11-24T10:00:00Z\" or \"2026-11-24T10:00:00+01:00\""
)]
pub struct MomentError(String);

const DAY: u32 = 86_400;

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        read(text)
            .map(Moment)
            .filter(|moment| (1..=UnixTime::MAX.0).contains(&moment.0.0))
            .ok_or_else(|| MomentError(text.chars().take(40).collect()))
    }
}

fn read(text: &str) -> Option<UnixTime> {
    let (date, rest) = text.split_once('T')?;
    let day: Date = date.parse().ok()?;
    let (time, zone) = rest.split_at_checked(8)?;
    let (clock, seconds) = time.rsplit_once(':')?;
    let second = two(seconds).filter(|second| *second < 60)?;
    let local = day.end().minus_secs(DAY).plus_secs(clock_seconds(clock)?.checked_add(second)?);
    if zone == "Z" {
        return Some(local);
    }
    // What a clock ahead of UTC shows is earlier in UTC.
    match (zone.strip_prefix('+'), zone.strip_prefix('-')) {
        (Some(ahead), _) => Some(local.minus_secs(clock_seconds(ahead)?)),
        (None, Some(behind)) => Some(local.plus_secs(clock_seconds(behind)?)),
        (None, None) => None,
    }
}

/// `HH:MM` in seconds.
fn clock_seconds(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60)
        .then(|| hours.saturating_mul(3_600).saturating_add(minutes.saturating_mul(60)))
}

fn two(digits: &str) -> Option<u32> {
    let whole = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_to_the_second_and_name_their_zone() {
        // By `date -u -d ... +%s`.
        for (text, unix) in [
            ("2026-11-24T10:00:00Z", 1_795_514_400),
            ("2026-11-24T10:00:00+01:00", 1_795_510_800),
            ("2026-11-24T10:00:00-05:30", 1_795_534_200),
            ("2024-02-29T23:59:59Z", 1_709_251_199),
        ] {
            assert_eq!(text.parse::<Moment>(), Ok(Moment(UnixTime(unix))), "{text}");
        }
        for bad in [
            "2026-11-24",
            "2026-11-24T10:00Z",
            "2026-11-24T10:00:00",
            "2026-11-24 10:00:00Z",
            "2026-11-24T10:00:00z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T10:60:00Z",
            "2026-11-24T10:00:60Z",
            "2026-02-29T10:00:00Z",
            "2026-11-24T10:00:00.5Z",
            "2026-11-24T10:00:00+0100",
            "2026-11-24T10:00:00+24:00",
            "1970-01-01T00:00:00Z",
            "2026-11-24T10:00:0µZ",
            "",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad:?}");
        }
    }
}
