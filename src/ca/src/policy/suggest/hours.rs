//! The hours of the week in which something happened.

use std::collections::BTreeSet;

use jit_ssh_core::bundle::Hours;
use jit_ssh_core::time::UnixTime;

use crate::failure::Failure;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Longest stretch of the day that is still a cluster, in hours.
const LONGEST: usize = 12;

/// The days and hours of the week in one time zone.
pub(super) struct Week {
    zone: String,
    days: Vec<Hours>,
    hours: Vec<Hours>,
}

impl Week {
    /// The week of a zone.
    ///
    /// # Errors
    /// If there is no such zone.
    pub(super) fn new(zone: &str) -> anyhow::Result<Week> {
        let parse = |text: String| -> anyhow::Result<Hours> {
            let read = |error| Failure::usage(format!("--zone: {error}."));
            Ok(text.parse().map_err(read)?)
        };
        let days = DAYS.iter().map(|day| parse(format!("{day} 00:00-24:00 {zone}")));
        let days = days.collect::<anyhow::Result<Vec<Hours>>>()?;
        let hours = (0..24u8).map(|hour| {
            parse(format!("Mon-Sun {hour:02}:00-{:02}:00 {zone}", hour.saturating_add(1)))
        });
        let hours = hours.collect::<anyhow::Result<Vec<Hours>>>()?;
        Ok(Week { zone: zone.to_owned(), days, hours })
    }

    /// The days and hours that hold all of `moments`, as policy.toml has them; `None` if they spread
    /// over the whole week.
    pub(super) fn cluster(&self, moments: &[UnixTime]) -> Option<String> {
        let place =
            |kinds: &[Hours], moment: UnixTime| kinds.iter().position(|kind| kind.contain(moment));
        let places: Vec<(usize, usize)> = moments
            .iter()
            .filter_map(|moment| Some((place(&self.days, *moment)?, place(&self.hours, *moment)?)))
            .collect();
        let stretch = stretch(places.iter().map(|(_, hour)| *hour));
        // After midnight it is still the hours that began the day before.
        let late = |hour: usize| stretch.is_some_and(|(from, until)| until < from && hour < until);
        let began = |(day, hour): &(usize, usize)| if late(*hour) { (day + 6) % 7 } else { *day };
        let days = days(&places.iter().map(began).collect());
        if days.is_none() && stretch.is_none() {
            return None;
        }
        let days = days.unwrap_or_else(|| "Mon-Sun".to_owned());
        let (from, until) = stretch.unwrap_or((0, 24));
        Some(format!("{days} {from:02}:00-{until:02}:00 {}", self.zone))
    }
}

/// The days, if not all: working days as one where most of them are there.
fn days(seen: &BTreeSet<usize>) -> Option<String> {
    let names: Vec<&str> = seen.iter().filter_map(|day| DAYS.get(*day)).copied().collect();
    let weekend = names.iter().any(|day| ["Sat", "Sun"].contains(day));
    match names.len() {
        0 | 7 => None,
        3.. if !weekend => Some("Mon-Fri".to_owned()),
        _ => Some(names.join(",")),
    }
}

/// The shortest stretch of the day that holds all, over midnight if need be, if it is short enough.
fn stretch(hours: impl Iterator<Item = usize>) -> Option<(usize, usize)> {
    let seen: BTreeSet<usize> = hours.collect();
    let at = |hour: usize| seen.contains(&(hour % 24));
    let first = |length: &usize| {
        (0..24usize).find(|start| {
            let outside = start.saturating_add(*length)..start.saturating_add(24);
            at(*start) && outside.into_iter().all(|hour| !at(hour))
        })
    };
    let (start, length) = (1..=LONGEST).find_map(|length| Some((first(&length)?, length)))?;
    let end = start.saturating_add(length);
    Some((start, if end > 24 { end.saturating_sub(24) } else { end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-09-21 is a Monday; midnight UTC.
    const MONDAY: u64 = 1_789_948_800;

    fn moments(hours: &[u64]) -> Vec<UnixTime> {
        hours.iter().map(|hour| UnixTime(MONDAY + hour * 3_600 + 600)).collect()
    }

    #[test]
    fn what_clusters_is_told_in_the_zone_and_holds_all_of_it() {
        let week = Week::new("UTC").unwrap();
        let berlin = Week::new("Europe/Berlin").unwrap();
        for (hours, expected) in [
            (&[9, 10, 33, 34, 57, 60][..], Some("Mon-Fri 09:00-13:00 UTC")),
            (&[9, 34], Some("Mon,Tue 09:00-11:00 UTC")),
            (&[22, 49], Some("Mon,Tue 22:00-02:00 UTC")),
            (&[23], Some("Mon 23:00-24:00 UTC")),
            // All days, some hours; some days, all hours.
            (&[9, 33, 57, 81, 105, 129, 153], Some("Mon-Sun 09:00-10:00 UTC")),
            (&[1, 9, 18], Some("Mon 00:00-24:00 UTC")),
            (&[1, 39, 68, 73, 104, 129, 159], None),
            (&[], None),
        ] {
            let found = week.cluster(&moments(hours));
            assert_eq!(found.as_deref(), expected, "{hours:?}");
            if let Some(found) = found {
                let parsed: Hours = found.parse().unwrap();
                assert!(moments(hours).iter().all(|moment| parsed.contain(*moment)), "{found}");
            }
        }
        assert_eq!(
            berlin.cluster(&moments(&[9])).as_deref(),
            Some("Mon 11:00-12:00 Europe/Berlin")
        );
        assert!(Week::new("Europe/Berlim").is_err());
    }
}
