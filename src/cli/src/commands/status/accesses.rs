//! One line for each access: requests that prolong each other are one access, which lasts until the
//! newest end.

use std::collections::HashMap;

use jit_ssh_api::v1::Status;
use jit_ssh_core::names::Principal;
use jit_ssh_core::time::UnixTime;

use crate::grants::Live;
use crate::held::Held;
use crate::view::View;

/// A certificate that is held, with what is known of its access.
#[derive(Debug)]
pub(super) struct Access<'a> {
    /// The certificate.
    pub(super) held: &'a Held,
    /// When the access ends, with all that prolongs it.
    pub(super) until: UnixTime,
    /// Where the request of the certificate stands by what the CA says; `None` if it says nothing.
    pub(super) said: Option<Status>,
    /// Set if it went ahead without approvals.
    pub(super) break_glass: Option<Review>,
}

impl Access<'_> {
    /// Whether the CA says that it does not stand any more.
    pub(super) fn is_over(&self) -> bool {
        self.said.is_some_and(|status| !matches!(status, Status::Approved | Status::Active))
    }
}

/// Whether break-glass was reviewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Review {
    /// It was.
    Done,
    /// It is still to come.
    Open,
    /// Without the CA nobody can tell.
    Unknown,
}

/// Which request each one prolongs, by their ids.
struct Links(HashMap<String, String>);

impl Links {
    fn of(views: &[View], live: &[Live]) -> Links {
        let views = views.iter().map(|view| &view.request);
        let requests = views.chain(live.iter().map(|live| &live.request));
        let links = requests.filter_map(|request| {
            let of = request.body().extends?;
            Some((request.id().to_string(), of.short_id().to_string()))
        });
        Links(links.collect())
    }

    /// The first request of the access that `id` belongs to.
    fn first<'a>(&'a self, id: &'a str) -> &'a str {
        let mut first = id;
        // As many steps as there are links at most: ids come from digests, which can not go round.
        for _ in 0..self.0.len() {
            match self.0.get(first) {
                Some(before) => first = before,
                None => break,
            }
        }
        first
    }
}

/// What is granted by a request that stands, and until when.
fn grants(view: &View) -> Option<(Vec<Principal>, UnixTime)> {
    let stands = matches!(view.status(), Status::Approved | Status::Active);
    let principals: Option<Vec<Principal>> =
        view.principals().iter().map(|text| text.parse().ok()).collect();
    principals.filter(|_| stands).map(|granted| (granted, UnixTime(view.said.access_until)))
}

fn covers(wide: &[Principal], narrow: &[Principal]) -> bool {
    narrow.iter().all(|principal| wide.contains(principal))
}

/// Sorts what is held and what stands into accesses that are held, and requests beside them.
pub(super) fn accesses<'a>(
    held: &'a [Held],
    views: &'a [View],
    live: &[Live],
) -> (Vec<Access<'a>>, Vec<&'a View>) {
    let links = Links::of(views, live);
    let same = |one: &str, other: &str| links.first(one) == links.first(other);
    let accesses: Vec<Access<'_>> = held
        .iter()
        .map(|held| {
            let longer = views.iter().filter(|view| same(view.id().as_str(), &held.id));
            let longer =
                longer.filter_map(grants).filter(|(all, _)| covers(all, held.opens.logins()));
            let until = longer.map(|(_, until)| until).fold(held.access_until, UnixTime::max);
            let request = views.iter().find(|view| view.id().as_str() == held.id);
            let said = request.map(View::status);
            let noted = || live.iter().find(|live| live.request.id().as_str() == held.id);
            let break_glass = match request {
                Some(view) if view.asked().break_glass.is_none() => None,
                Some(view) if view.said.reviewed => Some(Review::Done),
                Some(_) => Some(Review::Open),
                None => noted()
                    .filter(|live| live.request.body().break_glass.is_some())
                    .map(|_| Review::Unknown),
            };
            Access { held, until, said, break_glass }
        })
        .collect();
    let told: Vec<bool> = views
        .iter()
        .map(|view| {
            let id = view.id();
            let Some((granted, until)) = grants(view) else {
                return held.iter().any(|held| held.id == id.as_str());
            };
            let by_held = accesses.iter().any(|access| {
                access.held.id == id.as_str()
                    || (!access.is_over()
                        && same(&access.held.id, id.as_str())
                        && covers(access.held.opens.logins(), &granted)
                        && until <= access.until)
            });
            let by_longer = || {
                views.iter().any(|other| {
                    same(other.id().as_str(), id.as_str())
                        && grants(other)
                            .is_some_and(|(all, later)| covers(&all, &granted) && until < later)
                })
            };
            by_held || by_longer()
        })
        .collect();
    let beside = views.iter().zip(told).filter(|(_, told)| !told).map(|(view, _)| view);
    (accesses, beside.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::Grant;
    use crate::grants::tests::{ca, grant, grant_with};
    use crate::view::tests::said_of;
    use jit_ssh_api::v1;
    use jit_ssh_core::names::Opens;

    const NOW: UnixTime = UnixTime(1_790_000_000);

    fn held(grant: &Grant, secs: u32) -> Held {
        Held {
            only: None,
            id: grant.request.id().to_string(),
            blob: Vec::new(),
            serial: 1,
            key_id: String::new(),
            opens: Opens::Logins(grant.principals()),
            permit: Vec::new(),
            valid_after: NOW,
            valid_before: NOW.plus_secs(60),
            access_until: NOW.plus_secs(secs),
            loaded: crate::held::Loaded::Agent,
        }
    }

    fn view(grant: &Grant, status: Status, secs: u32) -> View {
        let access_until = NOW.plus_secs(secs).0;
        let said = v1::AccessState { status: status.into(), access_until, ..said_of(grant) };
        View::open(said, &ca()).unwrap()
    }

    fn ids(views: &[&View]) -> Vec<String> {
        views.iter().map(|view| view.id().to_string()).collect()
    }

    #[test]
    fn what_prolongs_an_access_is_no_line_of_its_own_but_its_end() {
        let first = grant("INC-42");
        let second = grant_with("INC-42", |request| request.extends = Some(first.digest()));
        let third = grant_with("INC-42", |request| request.extends = Some(second.digest()));
        let other = grant("INC-43");
        let parent = || view(&first, Status::Active, 600);
        let cases = [
            // Approved, and not fetched yet: the access lasts longer all the same.
            (&first, Status::Approved, 1_200),
            // Fetched: its certificate took the place of the first.
            (&second, Status::Active, 1_200),
        ];
        for (loaded, status, until) in cases {
            let held = [held(loaded, if loaded.digest() == first.digest() { 600 } else { 1_200 })];
            let views = vec![parent(), view(&second, status, 1_200), view(&other, status, 60)];
            let (accesses, beside) = accesses(&held, &views, &[]);
            assert_eq!(accesses.len(), 1);
            assert_eq!(accesses[0].until, NOW.plus_secs(until));
            assert_eq!(ids(&beside), [other.request.id().to_string()], "another access");
        }
        // One that waits is a line: somebody has to decide it.
        let loaded = [held(&first, 600)];
        let views = vec![parent(), view(&second, Status::Pending, 0)];
        let (told, beside) = accesses(&loaded, &views, &[]);
        assert_eq!(told[0].until, NOW.plus_secs(600));
        assert_eq!(ids(&beside), [second.request.id().to_string()]);
        // Nothing is loaded: the newest stands for all of it.
        let views = vec![
            parent(),
            view(&second, Status::Active, 1_200),
            view(&third, Status::Approved, 1_800),
        ];
        assert_eq!(ids(&accesses(&[], &views, &[]).1), [third.request.id().to_string()]);
    }

    #[test]
    fn an_extension_to_fewer_hosts_takes_no_line_from_the_access_it_prolongs() {
        let wide = grant_with("INC-42", |request| {
            request.hosts.push("other-host".parse().unwrap());
        });
        let narrow = grant_with("INC-42", |request| request.extends = Some(wide.digest()));
        let views = vec![view(&wide, Status::Active, 600), view(&narrow, Status::Active, 1_200)];
        let loaded = [held(&wide, 600)];
        let (told, beside) = accesses(&loaded, &views, &[]);
        assert_eq!(told[0].until, NOW.plus_secs(600), "it ends so for the other host");
        assert_eq!(ids(&beside), [narrow.request.id().to_string()]);
        let loaded = [held(&narrow, 1_200)];
        let (_, beside) = accesses(&loaded, &views, &[]);
        assert_eq!(ids(&beside), [wide.request.id().to_string()]);
    }

    #[test]
    fn break_glass_is_marked_with_and_without_the_ca() {
        let broken = grant_with("INC-42", |request| request.break_glass = Some("fire".into()));
        let loaded = [held(&broken, 600)];
        let reviewed = |reviewed| {
            let mut view = view(&broken, Status::Active, 600);
            view.said.reviewed = reviewed;
            accesses(&loaded, &[view], &[]).0[0].break_glass
        };
        assert_eq!(reviewed(false), Some(Review::Open));
        assert_eq!(reviewed(true), Some(Review::Done));
        let live = [crate::grants::live_for(&broken, 600)];
        assert_eq!(accesses(&loaded, &[], &live).0[0].break_glass, Some(Review::Unknown));
        let usual = grant("INC-42");
        let loaded = [held(&usual, 600)];
        let views = vec![view(&usual, Status::Active, 600)];
        assert_eq!(accesses(&loaded, &views, &[]).0[0].break_glass, None);
    }

    #[test]
    fn what_was_taken_away_is_told_so_and_hides_nothing_that_stands() {
        let first = grant("INC-42");
        let longer = grant_with("INC-42", |request| request.extends = Some(first.digest()));
        let loaded = [held(&longer, 1_200)];
        let views = vec![view(&first, Status::Active, 600), view(&longer, Status::Revoked, 1_200)];
        let (told, beside) = accesses(&loaded, &views, &[]);
        assert_eq!((told[0].said, told[0].is_over()), (Some(Status::Revoked), true));
        assert_eq!(ids(&beside), [first.request.id().to_string()], "what it prolonged stands");
        let views = vec![view(&first, Status::Active, 600), view(&longer, Status::Active, 1_200)];
        let (told, beside) = accesses(&loaded, &views, &[]);
        assert!(!told[0].is_over());
        assert!(beside.is_empty());
        let (told, _) = accesses(&loaded, &[], &[]);
        assert_eq!((told[0].said, told[0].is_over()), (None, false), "as it is known here");
    }
}
