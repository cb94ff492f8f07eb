//! `jit-ssh requests`: lists requests.

use clap::Args;
use jit_ssh_api::v1;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::approve::fetch_to_decide;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::moment::Since;
use crate::text::{either, relative, short, table};
use crate::ui::{Tone, Ui};
use crate::view::{EarlierRow, RequestRef, RequestRow, View, lay_out, status_name};

/// Most requests shown at once: as many as a terminal and its reader can still bear.
const MAX_SHOWN: i64 = 100_000;
/// Most requests asked for at a time: the CA sends at most 1000.
const PAGE: u32 = 500;

/// List requests, newest first.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  jit-ssh requests --to-decide\n  jit-ssh requests --all --since 30d"
)]
pub(crate) struct RequestsArgs {
    /// Those you made or are the subject of (the default).
    #[arg(long, group = "scope")]
    mine: bool,
    /// Those that wait for your decision, or for your review of break-glass.
    #[arg(long, group = "scope")]
    to_decide: bool,
    /// All you may see.
    #[arg(long, group = "scope")]
    all: bool,
    /// Only those made since then: 30d, 12h, 2026-11-01 or ...T08:00Z.
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,
    /// Most to show.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=MAX_SHOWN))]
    limit: u32,
}

pub(super) async fn cmd_requests(
    context: &Context,
    args: RequestsArgs,
) -> Result<Outcome, Failure> {
    let Context { ui, home } = context;
    let since = args.since.map(|since| since.resolve(clock::now())).transpose()?;
    let enrolment = Enrolment::load(home)?;
    let mut ca = Ca::connect(home, &enrolment).await?;
    let scope = match (args.to_decide, args.all) {
        (true, _) => v1::Scope::ToDecide,
        (_, true) => v1::Scope::All,
        (false, false) => v1::Scope::Mine,
    };
    let wanted = v1::ListRequest {
        scope: scope.into(),
        limit: args.limit,
        since: since.map_or(0, |since| since.0),
        ..v1::ListRequest::default()
    };
    let (views, more) = list(context, &mut ca, wanted).await?;
    if views.is_empty() {
        ui.say(if args.to_decide { "Nothing waits for you." } else { "There are none." });
        return Ok(Outcome::Done);
    }
    if args.to_decide {
        tell_to_decide(context, &mut ca, &views).await?;
    } else {
        for view in &views {
            ui.object(&view.row())?;
        }
        ui.data(&as_table(ui, &views.iter().collect::<Vec<_>>()))?;
    }
    if more {
        ui.say(&told_of_more(args.limit));
    }
    Ok(Outcome::Done)
}

/// A request to be decided, in `--json`.
#[derive(Debug, Serialize)]
struct ToDecide<'a> {
    #[serde(flatten)]
    request: RequestRow<'a>,
    earlier_grant: Option<EarlierRow<'a>>,
}

/// Each request with all there is to know before it is decided.
async fn tell_to_decide(context: &Context, ca: &mut Ca<'_>, views: &[View]) -> Result<(), Failure> {
    let (ui, now) = (&context.ui, clock::now());
    for (place, view) in views.iter().enumerate() {
        // It may have been decided meanwhile, by another: it is shown as it stood.
        let named = RequestRef::Digest(view.digest());
        let earlier = fetch_to_decide(ca, &named).await.ok().and_then(|(_, earlier)| earlier);
        let earlier = earlier.as_ref();
        ui.object(&ToDecide { request: view.row(), earlier_grant: view.earlier_row(earlier) })?;
        let mut lines = view.ballot(earlier, now);
        lines.push(("decide with", view.verdicts()));
        let gap = if place == 0 { "" } else { "\n" };
        ui.data(&format!("{gap}{}", lay_out(&lines)))?;
    }
    Ok(())
}

/// That not all was shown, and how to see it.
fn told_of_more(limit: u32) -> String {
    if i64::from(limit) < MAX_SHOWN {
        return format!("There are more than {limit}; see further back with --limit.");
    }
    format!("There are more than {limit}, which is the most; see fewer with --since.")
}

/// Requests, verified; what does not verify is left out and said. Asks for page after page, as many
/// as `wanted` says. Also tells whether there are more.
pub(super) async fn list(
    context: &Context,
    ca: &mut Ca<'_>,
    wanted: v1::ListRequest,
) -> Result<(Vec<View>, bool), Failure> {
    let (accesses, more) =
        pages(wanted, async |page| ca.read(async |client| client.list(page.clone()).await).await)
            .await?;
    let mut views = Vec::new();
    for said in accesses {
        match View::open(said, &ca.enrolment.ca()) {
            Ok(view) => views.push(view),
            Err(failure) => context.ui.say(&format!("warning: {}", harmless(&failure.message))),
        }
    }
    Ok((views, more))
}

/// Asks `fetch` for page after page, until there is no more or as many came as are wanted. A page may
/// end before it is full, even empty.
async fn pages(
    wanted: v1::ListRequest,
    mut fetch: impl AsyncFnMut(v1::ListRequest) -> Result<v1::ListResponse, Failure>,
) -> Result<(Vec<v1::AccessState>, bool), Failure> {
    let mut accesses: Vec<v1::AccessState> = Vec::new();
    let mut after = wanted.after.clone();
    loop {
        let missing =
            wanted.limit.saturating_sub(u32::try_from(accesses.len()).unwrap_or(u32::MAX));
        let limit = missing.min(PAGE);
        let page = fetch(v1::ListRequest { limit, after: after.clone(), ..wanted.clone() }).await?;
        let came = u32::try_from(page.accesses.len()).unwrap_or(u32::MAX);
        accesses.extend(page.accesses);
        // A limit of 0 would mean the usual one; a CA that does not move on is not asked again.
        let stuck = page.next.is_empty() || page.next == after;
        if !page.more || came >= missing || stuck {
            return Ok((accesses, page.more));
        }
        after = page.next;
    }
}

/// Requests as a table.
pub(super) fn as_table(ui: &Ui, views: &[&View]) -> String {
    let now = clock::now();
    let rows: Vec<_> = views
        .iter()
        .map(|view| {
            let asked = view.asked();
            let who = if asked.by == asked.subject {
                asked.by.to_string()
            } else {
                format!("{} for {}", asked.by, asked.subject)
            };
            [
                view.id().to_string(),
                toned(ui, view.status()),
                who,
                short(&view.principals().join(" "), 48),
                asked.r#for.to_string(),
                relative(asked.at, now),
                next_step(view, now),
                short(&asked.reason, 48),
            ]
        })
        .collect();
    table(["ID", "STATUS", "WHO", "WHERE", "FOR", "ASKED", "NEXT", "WHY"], &rows)
}

/// The name of a status, in its colour.
pub(super) fn toned(ui: &Ui, status: v1::Status) -> String {
    let tone = match status {
        v1::Status::Approved | v1::Status::Active => Tone::Good,
        v1::Status::Pending => Tone::Waits,
        v1::Status::Denied | v1::Status::Refused | v1::Status::Revoked => Tone::Bad,
        v1::Status::Unspecified
        | v1::Status::Ended
        | v1::Status::Cancelled
        | v1::Status::Lapsed
        | v1::Status::Released => return status_name(status).to_owned(),
    };
    ui.tint(status_name(status), tone)
}

/// What happens next, and until when.
fn next_step(view: &View, now: UnixTime) -> String {
    let by = |time| relative(UnixTime(time), now);
    let asked = view.asked();
    let step = match view.status() {
        v1::Status::Pending => {
            let who = short(&either(&view.said.approvers), 24);
            let opens = asked.not_before.filter(|opens| *opens > now);
            let opens = opens.map(|opens| format!(", opens {}", relative(opens, now)));
            let lapses = by(view.said.decide_by);
            Some(format!("{who} decides, lapses {lapses}{}", opens.unwrap_or_default()))
        }
        v1::Status::Approved => Some(match view.opens_later(now) {
            Some(opens) => format!("opens {}", relative(opens, now)),
            None => format!("to be used, lapses {}", by(view.said.use_by)),
        }),
        v1::Status::Active => Some(format!("ends {}", by(view.said.access_until))),
        _ => None,
    };
    let review = view.to_review().then(|| "to review".to_owned());
    let steps: Vec<String> = review.into_iter().chain(step).collect();
    if steps.is_empty() { "-".to_owned() } else { steps.join(", ") }
}

#[cfg(test)]
mod tests {
    use jit_ssh_core::digest::Digest;

    use super::*;
    use crate::grants::tests::{ca, grant_with};
    use crate::view::tests::said_of;

    const NOW: UnixTime = UnixTime(1_790_000_000);

    fn next(grant: &crate::grants::Grant, said: v1::AccessState) -> String {
        let base = said_of(grant);
        let said = v1::AccessState { request: base.request, ..said };
        next_step(&View::open(said, &ca()).unwrap(), NOW)
    }

    /// What a CA with so many requests answers.
    fn answer(all: &[v1::AccessState], page: &v1::ListRequest) -> v1::ListResponse {
        assert!((1..=1000).contains(&page.limit), "{}", page.limit);
        let digest = |said: &v1::AccessState| {
            Digest::of(&said.request.as_ref().unwrap().statement).to_string()
        };
        let begin = all.iter().position(|said| digest(said) == page.after).map_or(0, |at| at + 1);
        let rest = &all[begin..];
        let limit = usize::try_from(page.limit).unwrap();
        let accesses: Vec<_> = rest.iter().take(limit).cloned().collect();
        let more = rest.len() > limit;
        let next = accesses.last().filter(|_| more).map(digest).unwrap_or_default();
        v1::ListResponse { more, accesses, next }
    }

    #[tokio::test]
    async fn more_requests_than_one_page_holds_come_page_by_page_and_each_once() {
        let all: Vec<v1::AccessState> = (0..2_300u32)
            .map(|number| {
                let statement = number.to_string().into_bytes().into();
                let request = v1::SignedStatement { statement, signatures: Vec::new() };
                v1::AccessState { request: Some(request), ..v1::AccessState::default() }
            })
            .collect();
        for (limit, shown, more) in [
            (2_300, 2_300, false),
            (5_000, 2_300, false),
            (1_001, 1_001, true),
            (1_000, 1_000, true),
            (3, 3, true),
        ] {
            let wanted = v1::ListRequest { limit, ..v1::ListRequest::default() };
            let mut asked = 0;
            let fetch = async |page: v1::ListRequest| {
                asked += 1;
                Ok(answer(&all, &page))
            };
            let (came, there_is_more) = pages(wanted, fetch).await.unwrap();
            assert_eq!((came.len(), there_is_more), (shown, more), "{limit}");
            assert!(came == all[..shown], "{limit}: newest first, each once");
            assert_eq!(asked, shown.div_ceil(500), "{limit}");
        }
    }

    #[test]
    fn break_glass_is_marked_to_review_until_it_was_and_a_window_tells_when_it_opens() {
        let broken = grant_with("INC-42", |request| request.break_glass = Some("fire".into()));
        let said = |status: v1::Status, reviewed| v1::AccessState {
            status: status.into(),
            basis: v1::Basis::BreakGlass.into(),
            reviewed,
            access_until: NOW.0 + 600,
            ..v1::AccessState::default()
        };
        assert_eq!(next(&broken, said(v1::Status::Active, false)), "to review, ends in 10m");
        assert_eq!(next(&broken, said(v1::Status::Active, true)), "ends in 10m");
        assert_eq!(next(&broken, said(v1::Status::Ended, false)), "to review");
        assert_eq!(next(&broken, said(v1::Status::Ended, true)), "-");

        let opens = NOW.plus_secs(7_200);
        let window = grant_with("INC-42", |request| request.not_before = Some(opens));
        let said = |status: v1::Status, opens_at| v1::AccessState {
            status: status.into(),
            approvers: vec!["bob".into()],
            decide_by: NOW.0 + 3_600,
            use_by: NOW.0 + 900,
            opens_at,
            ..v1::AccessState::default()
        };
        let pending = next(&window, said(v1::Status::Pending, 0));
        assert_eq!(pending, "bob decides, lapses in 1h, opens in 2h");
        assert_eq!(next(&window, said(v1::Status::Approved, opens.0)), "opens in 2h");
        let open = next(&window, said(v1::Status::Approved, NOW.0));
        assert_eq!(open, "to be used, lapses in 15m");
    }
}
