//! Hours of the week: what they cover, by the clocks of their zone, and how they are written.

use proptest::prelude::*;

use crate::bundle::hours::{Hours, HoursError};
use crate::time::UnixTime;

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;
/// 2026-11-23 00:00 UTC.
const MONDAY: u64 = 1_795_392_000;

fn hours(text: &str) -> Hours {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Asserts that `text` covers `unix`, and not the second before.
fn begins(text: &str, unix: u64) {
    let hours = hours(text);
    assert!(hours.contain(UnixTime(unix)), "{text} at {unix}");
    assert!(!hours.contain(UnixTime(unix - 1)), "{text} before {unix}");
}

/// Asserts that `text` covers the second before `unix`, and not `unix`.
fn ends(text: &str, unix: u64) {
    let hours = hours(text);
    assert!(hours.contain(UnixTime(unix - 1)), "{text} before {unix}");
    assert!(!hours.contain(UnixTime(unix)), "{text} at {unix}");
}

/// The days of the week of [`MONDAY`] on which `text` covers this hour.
fn days(text: &str, hour: u64) -> Vec<u64> {
    let hours = hours(text);
    (0..7).filter(|day| hours.contain(UnixTime(MONDAY + day * DAY + hour * HOUR))).collect()
}

#[test]
fn hours_begin_with_their_first_second_and_end_before_their_last() {
    begins("Mon-Fri 08:00-18:00 UTC", MONDAY + 8 * HOUR);
    ends("Mon-Fri 08:00-18:00 UTC", MONDAY + 18 * HOUR);
    begins("Mon 08:30-08:31 UTC", MONDAY + 8 * HOUR + 1_800);
    ends("Mon 08:30-08:31 UTC", MONDAY + 8 * HOUR + 1_860);
    // The epoch was a Thursday.
    assert!(hours("Thu 00:00-00:01 UTC").contain(UnixTime(0)));
    assert!(!hours("Wed 00:00-24:00 UTC").contain(UnixTime(0)));
}

#[test]
fn days_are_lists_and_ranges_and_ranges_go_round() {
    for (text, covered) in [
        ("Mon", vec![0]),
        ("Mon-Fri", vec![0, 1, 2, 3, 4]),
        ("Sat,Sun", vec![5, 6]),
        ("Sat-Mon", vec![0, 5, 6]),
        ("Sun-Sat", vec![0, 1, 2, 3, 4, 5, 6]),
        ("Mon-Tue,Thu,Sat-Sun", vec![0, 1, 3, 5, 6]),
        ("Sun,Mon", vec![0, 6]),
        // Not the whole week: what can be read in two ways is the narrower one.
        ("Wed-Wed", vec![2]),
    ] {
        assert_eq!(days(&format!("{text} 08:00-18:00 UTC"), 12), covered, "{text}");
        assert_eq!(days(&format!("{text} 08:00-18:00 UTC"), 19), [0; 0], "{text}");
    }
}

#[test]
fn hours_over_midnight_belong_to_the_day_they_begin_on() {
    let (friday, saturday, sunday) = (MONDAY + 4 * DAY, MONDAY + 5 * DAY, MONDAY + 6 * DAY);
    let night = "Fri 22:00-06:00 UTC";
    begins(night, friday + 22 * HOUR);
    ends(night, saturday + 6 * HOUR);
    let covered = |moment| hours(night).contain(UnixTime(moment));
    assert!(covered(saturday + 3 * HOUR));
    assert!(!covered(sunday + 3 * HOUR));
    assert!(!covered(friday + 3 * HOUR));
    assert!(!covered(saturday + 23 * HOUR));
    // Over the end of the week too.
    begins("Sun 22:00-06:00 UTC", sunday + 22 * HOUR);
    ends("Sun 22:00-06:00 UTC", MONDAY + 7 * DAY + 6 * HOUR);
    // Until midnight, in both spellings.
    for evening in ["Fri 22:00-24:00 UTC", "Fri 22:00-00:00 UTC"] {
        begins(evening, friday + 22 * HOUR);
        ends(evening, saturday);
    }
}

#[test]
fn whole_days_have_no_gap() {
    begins("Fri-Sat 00:00-24:00 UTC", MONDAY + 4 * DAY);
    ends("Fri-Sat 00:00-24:00 UTC", MONDAY + 6 * DAY);
    assert!(hours("Fri-Sat 00:00-24:00 UTC").contain(UnixTime(MONDAY + 5 * DAY)));
    let always = hours("Mon-Sun 00:00-24:00 UTC");
    assert!((0..8 * 24).all(|hour| always.contain(UnixTime(MONDAY + hour * HOUR))));
}

#[test]
fn clocks_change_with_the_zone() {
    // Berlin, 29 March 2026: 01:59:59 CET is followed by 03:00:00 CEST.
    begins("Sun 03:00-04:00 Europe/Berlin", 1_774_746_000);
    ends("Sun 01:00-02:00 Europe/Berlin", 1_774_746_000);
    let never = hours("Sun 02:00-03:00 Europe/Berlin");
    assert!((1_774_738_800..1_774_753_200).all(|moment| !never.contain(UnixTime(moment))));
    // 08:00 is an hour earlier from that day on.
    begins("Sat,Sun 08:00-18:00 Europe/Berlin", 1_774_746_000 - 18 * HOUR);
    begins("Sat,Sun 08:00-18:00 Europe/Berlin", 1_774_746_000 + 5 * HOUR);

    // Berlin, 25 October 2026: 02:59:59 CEST is followed by 02:00:00 CET, and both hours count.
    begins("Sun 02:00-03:00 Europe/Berlin", 1_792_890_000 - HOUR);
    assert!(hours("Sun 02:00-03:00 Europe/Berlin").contain(UnixTime(1_792_890_000)));
    ends("Sun 02:00-03:00 Europe/Berlin", 1_792_890_000 + HOUR);

    // New York, 8 March 2026: 01:59:59 EST is followed by 03:00:00 EDT.
    begins("Sun 03:00-04:00 America/New_York", 1_772_953_200);
    ends("Sun 01:00-02:00 America/New_York", 1_772_953_200);
    // New York, 1 November 2026: 01:59:59 EDT is followed by 01:00:00 EST.
    begins("Sun 01:00-02:00 America/New_York", 1_793_512_800 - HOUR);
    assert!(hours("Sun 01:00-02:00 America/New_York").contain(UnixTime(1_793_512_800)));
    ends("Sun 01:00-02:00 America/New_York", 1_793_512_800 + HOUR);
}

#[test]
fn the_day_is_that_of_the_zone() {
    // 2026-01-05 and 2026-07-06 at 00:00 UTC, both Mondays, by the clocks of each zone.
    let (winter, summer) = (1_767_571_200, 1_783_296_000);
    for (zone, in_winter, in_summer) in [
        ("Europe/Berlin", "Mon 01:00", "Mon 02:00"),
        ("America/New_York", "Sun 19:00", "Sun 20:00"),
        ("America/St_Johns", "Sun 20:30", "Sun 21:30"),
        ("Asia/Kolkata", "Mon 05:30", "Mon 05:30"),
        ("Australia/Lord_Howe", "Mon 11:00", "Mon 10:30"),
        ("Pacific/Kiritimati", "Mon 14:00", "Mon 14:00"),
        ("UTC", "Mon 00:00", "Mon 00:00"),
    ] {
        begins(&format!("{in_winter}-23:59 {zone}"), winter);
        begins(&format!("{in_summer}-23:59 {zone}"), summer);
    }
}

#[test]
fn far_moments_are_judged_and_never_panic() {
    // Beyond the last change that a zone's table names, its rule goes on: 2240-07-01 12:00 UTC, a
    // Wednesday.
    begins("Wed 14:00-15:00 Europe/Berlin", 8_536_104_000);
    let always = hours("Mon-Sun 00:00-24:00 Europe/Berlin");
    assert!(always.contain(UnixTime(0)) && always.contain(UnixTime::MAX));
    // No clock shows this: not covered.
    assert!(!always.contain(UnixTime(u64::MAX)));
}

#[test]
fn hours_have_one_spelling() {
    let refused = |text: &str| text.parse::<Hours>().expect_err(text);
    let form = |text: &str| HoursError::Form(text.to_owned());
    for text in [
        "",
        "Mon",
        "Mon 08:00-18:00",
        "08:00-18:00 UTC",
        "Mon  08:00-18:00 UTC",
        " Mon 08:00-18:00 UTC",
        "Mon 08:00-18:00 UTC ",
        "Mon 08:00 UTC",
        "Mon 08:00-18:00 Europe / Berlin",
    ] {
        assert_eq!(refused(text), form(text));
    }
    for day in ["mon", "MON", "Monday", "Mo", "", "Mon\t"] {
        assert_eq!(refused(&format!("{day} 08:00-18:00 UTC")), HoursError::Day(day.to_owned()));
    }
    for (days, day) in [("Mon-", ""), ("-Fri", ""), ("Mon,,Tue", ""), ("Mon-Tue-Wed", "Tue-Wed")] {
        assert_eq!(refused(&format!("{days} 08:00-18:00 UTC")), HoursError::Day(day.to_owned()));
    }
    for time in
        ["8:00", "24:01", "25:00", "08:60", "0800", "08:0", "008:00", "+8:00", "08:00:00", ""]
    {
        let error = HoursError::Time(time.to_owned());
        assert_eq!(refused(&format!("Mon {time}-18:00 UTC")), error);
        assert_eq!(refused(&format!("Mon 07:00-{time} UTC")), error);
    }
    assert_eq!(refused("Mon 08:00-18:00-19:00 UTC"), HoursError::Time("18:00-19:00".to_owned()));
    assert_eq!(refused("Mon 08:00-08:00 UTC"), HoursError::Empty("08:00".to_owned()));
    assert_eq!(refused("Mon 00:00-00:00 UTC"), HoursError::Empty("00:00".to_owned()));
    assert_eq!(refused("Mon 24:00-06:00 UTC"), HoursError::Begin);
    for text in ["Mon 08:00-08:01 UTC", "Mon 00:00-24:00 UTC", "Mon 23:59-00:00 UTC"] {
        hours(text);
    }
}

#[test]
fn a_zone_is_named_as_iana_names_it() {
    let message = |zone: &str| {
        format!("Mon 08:00-18:00 {zone}").parse::<Hours>().expect_err(zone).to_string()
    };
    let unknown =
        |zone: &str, help: &str| format!("`{zone}` is no time zone of the IANA database; {help}");
    for wrong in ["Europe/Berlni", "europe/berlin", "Europe/Berlin/"] {
        assert_eq!(message(wrong), unknown(wrong, "did you mean `Europe/Berlin`?"));
    }
    let other = "write it like Europe/Berlin, or UTC";
    for wrong in ["", "CentralEuropeanTime", "+01:00:00:00:00"] {
        assert_eq!(message(wrong), unknown(wrong, other));
    }
    for zone in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"] {
        hours(&format!("Mon 08:00-18:00 {zone}"));
    }
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Days as places in the week, and minutes of the day from and until.
fn written(days: &[usize], from: u64, until: u64) -> String {
    let time = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
    let days: Vec<_> = days.iter().map(|day| DAYS[*day]).collect();
    format!("{} {}-{} UTC", days.join(","), time(from), time(until))
}

/// The same by counting: each day's hours as a stretch of minutes of the week, which is a circle.
fn counted(days: &[usize], from: u64, until: u64, moment: u64) -> bool {
    let week = 7 * 24 * 60;
    // 1970-01-05 was a Monday.
    let minute = (moment / 60 + week - 4 * 24 * 60) % week;
    let length = if until > from { until - from } else { until + 24 * 60 - from };
    days.iter().any(|day| {
        let start = u64::try_from(*day).unwrap() * 24 * 60 + from;
        (minute + week - start) % week < length
    })
}

proptest! {
    #[test]
    fn hours_agree_with_a_count_of_minutes(
        days in proptest::sample::subsequence((0..7).collect::<Vec<usize>>(), 1..8),
        from in 0u64..24 * 60,
        until in 0u64..=24 * 60,
        moment in 0u64..=UnixTime::MAX.0,
        near in -2i64..3,
    ) {
        prop_assume!(from != until);
        let text = written(&days, from, until);
        let hours: Hours = text.parse().unwrap();
        // Somewhere, and around both ends.
        let midnight = moment - moment % DAY;
        for at in [moment, midnight + from * 60, midnight + until * 60] {
            let at = at.saturating_add_signed(near);
            prop_assert_eq!(hours.contain(UnixTime(at)), counted(&days, from, until, at), "{} at {}", text, at);
        }
    }

    #[test]
    fn shown_hours_parse_back(
        days in proptest::sample::subsequence((0..7).collect::<Vec<usize>>(), 1..8),
        from in 0u64..24 * 60,
        until in 0u64..=24 * 60,
    ) {
        prop_assume!(from != until);
        let text = written(&days, from, until);
        let hours: Hours = text.parse().unwrap();
        prop_assert_eq!(hours.to_string(), text.as_str());
        prop_assert_eq!(text.parse::<Hours>().unwrap(), hours);
    }

    #[test]
    fn no_text_makes_hours_panic(text in "[MonTueFri,:0-9 /-]{0,40}|.{0,40}") {
        if let Ok(hours) = text.parse::<Hours>() {
            prop_assert_eq!(hours.to_string(), text);
        }
    }
}
