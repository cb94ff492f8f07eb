//! Moments as HTTP and X.509 write them. Pure.

use jit_ssh_core::time::UnixTime;
use time::{Date, Month, PrimitiveDateTime, Time};

/// `Tue, 24 Nov 2026 16:24:32 GMT` (RFC 9110, section 5.6.7).
pub(super) fn http_date(text: &str) -> Option<UnixTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_day, rest) = text.split_once(", ")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, clock, "GMT"] = words.as_slice() else { return None };
    let clock: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = clock.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)?.checked_add(1)?;
    moment(&[
        year.parse().ok()?,
        i32::try_from(month).ok()?,
        day.parse().ok()?,
        hour.parse().ok()?,
        minute.parse().ok()?,
        second.parse().ok()?,
    ])
}

/// When an X.509 certificate in DER ends (RFC 5280, section 4.1.2.5).
pub(super) fn not_after(der: &[u8]) -> Option<UnixTime> {
    const SEQUENCE: u8 = 0x30;
    const EXPLICIT_0: u8 = 0xa0;
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let sequence = |bytes| element(bytes).filter(|(tag, ..)| *tag == SEQUENCE);
    let (_, certificate, _) = sequence(der)?;
    let (_, mut rest, _) = sequence(certificate)?;
    if let (EXPLICIT_0, _, after) = element(rest)? {
        rest = after;
    }
    // Serial, algorithm, issuer; then validity.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = sequence(rest)?;
    let (_, _, rest) = element(validity)?;
    let (tag, text, _) = element(rest)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: i32 = text.get(..2)?.parse().ok()?;
            // Two digits: 1950 to 2049.
            let century: i32 = if year < 50 { 2000 } else { 1900 };
            (century.checked_add(year)?, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let two = |at: usize| rest.get(at..at.checked_add(2)?)?.parse().ok();
    moment(&[year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?])
}

/// The first element of DER: its tag, its value, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let len = digits.iter().fold(0u64, |len, digit| (len << 8) | u64::from(*digit));
            (usize::try_from(len).ok()?, rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(len)?;
    Some((tag, value, rest))
}

/// Year, month, day, hour, minute, second, in UTC.
fn moment(parts: &[i32; 6]) -> Option<UnixTime> {
    let [year, month, day, hour, minute, second] = *parts;
    let small = |part: i32| u8::try_from(part).ok();
    let date =
        Date::from_calendar_date(year, Month::try_from(small(month)?).ok()?, small(day)?).ok()?;
    let time = Time::from_hms(small(hour)?, small(minute)?, small(second)?).ok()?;
    let seconds = PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp();
    u64::try_from(seconds).ok().map(UnixTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_http_is_read_and_nothing_like_it() {
        let at = UnixTime(1_795_537_472);
        assert_eq!(http_date("Tue, 24 Nov 2026 16:24:32 GMT"), Some(at));
        for bad in [
            "",
            "Tue, 24 Nov 2026 16:24:32",
            "24 Nov 2026",
            "Tue, 31 Feb 2026 16:24:32 GMT",
            "Tue, 24 Nov 2026 16:24 GMT",
        ] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_spellings_and_from_nothing_broken() {
        let der = |tag: u8, from: &str, until: &str| {
            let wrap = |tag: u8, value: &[u8]| {
                let len = u8::try_from(value.len()).unwrap();
                [&[tag, 0x81, len][..], value].concat()
            };
            let time = |text: &str| wrap(tag, text.as_bytes());
            let validity = wrap(0x30, &[time(from), time(until)].concat());
            let head = [wrap(0xa0, &[2, 1, 2]), wrap(2, &[7]), wrap(0x30, &[]), wrap(0x30, &[])];
            wrap(0x30, &wrap(0x30, &[head.concat(), validity].concat()))
        };
        let utc = der(0x17, "260101000000Z", "261124162432Z");
        assert_eq!(not_after(&utc), Some(UnixTime(1_795_537_472)));
        let long = der(0x18, "20260101000000Z", "20261124162432Z");
        assert_eq!(not_after(&long), Some(UnixTime(1_795_537_472)));
        assert_eq!(not_after(&der(0x17, "260101000000Z", "261324162432Z")), None);
        assert_eq!(not_after(&der(0x17, "260101000000Z", "261124162432")), None);
        for len in 0..utc.len() {
            assert_eq!(not_after(&utc[..len]), None, "{len}");
        }
    }
}
