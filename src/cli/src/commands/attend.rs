//! `jit-ssh watch --to-decide`: tells of all that waits for the person, and of every decision on their
//! own requests, until Ctrl-C.

use std::collections::HashMap;

use jit_ssh_api::v1::Status;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::time::UnixTime;
use serde::Serialize;

use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::commands::show::fetch;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::feed::{Feed, News};
use crate::follow::{Broke, Pause};
use crate::notify::Notifier;
use crate::text::{all_of, relative};
use crate::view::{RequestRef, RequestRow, View};

/// News in `--json`.
#[derive(Debug, Serialize)]
struct NewsRow<'a> {
    /// `to-decide` or `mine`.
    kind: &'static str,
    /// Whether it waits for the person now.
    waits: bool,
    #[serde(flatten)]
    request: RequestRow<'a>,
}

/// Listens until Ctrl-C, through breaks of the connection.
pub(super) async fn attend(
    context: &Context,
    enrolment: &Enrolment,
    notifier: &Notifier,
) -> Result<Outcome, Failure> {
    let attendant = Attendant { context, notifier };
    let mut ca = Ca::connect(&context.home, enrolment).await?;
    tokio::select! {
        over = attendant.run(&mut ca) => over.map(|()| Outcome::Done),
        _ = tokio::signal::ctrl_c() => Ok(Outcome::Done),
    }
}

struct Attendant<'a> {
    context: &'a Context,
    notifier: &'a Notifier,
}

/// What was told of a request last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    mine: bool,
    waits: bool,
    status: Status,
}

impl Attendant<'_> {
    async fn run(&self, ca: &mut Ca<'_>) -> Result<(), Failure> {
        let ui = &self.context.ui;
        let mut told: HashMap<Digest, Told> = HashMap::new();
        let mut pause = Pause::new();
        let mut heard = false;
        loop {
            match self.listen(ca, &mut told, &mut heard, &mut pause).await {
                Broke::ForGood(failure) => return Err(failure),
                // Nothing was ever heard: better to say so than to wait in silence.
                Broke::ForNow(failure) if !heard => return Err(failure),
                Broke::ForNow(_) => {
                    ui.say("The connection to the CA broke; connecting again.");
                }
                Broke::Overdue => {}
            }
            while !heard_again(ca, &mut pause).await {}
            ui.say("Connected again.");
        }
    }

    /// Listens until the streams break.
    async fn listen(
        &self,
        ca: &mut Ca<'_>,
        told: &mut HashMap<Digest, Told>,
        heard: &mut bool,
        pause: &mut Pause,
    ) -> Broke {
        let mut feed = match Feed::open(ca).await {
            Ok(feed) => feed,
            Err(broke) => return broke,
        };
        if !*heard {
            self.context.ui.say("Listening for what waits for you; end it with Ctrl-C.");
        }
        *heard = true;
        *pause = Pause::new();
        // What came to its end meanwhile is in no stream.
        let open: Vec<(Digest, bool)> = told.iter().map(|(of, told)| (*of, told.mine)).collect();
        for (digest, mine) in open {
            if let Ok(view) = fetch(ca, &RequestRef::Digest(digest)).await {
                let news = if mine { News::Mine(view) } else { News::ToDecide(view) };
                if let Err(failure) = self.tell(&news, told) {
                    return Broke::ForGood(failure);
                }
            }
        }
        loop {
            let said = match feed.next().await {
                Ok(news) => self.tell(&news, told),
                Err(broke) => return broke,
            };
            if let Err(failure) = said {
                return Broke::ForGood(failure);
            }
        }
    }

    /// Tells of what is news, and remembers what is open.
    fn tell(&self, news: &News, told: &mut HashMap<Digest, Told>) -> Result<(), Failure> {
        let ui = &self.context.ui;
        let (view, mine) = match news {
            News::ToDecide(view) => (view, false),
            News::Mine(view) => (view, true),
        };
        let status = view.status();
        let waits = !mine && (status == Status::Pending || view.to_review());
        let now = Told { mine, waits, status };
        let before = told.get(&view.digest()).copied();
        if before == Some(now) {
            return Ok(());
        }
        let open = waits || mine && view.failure().is_none();
        if open {
            told.insert(view.digest(), now);
        } else {
            told.remove(&view.digest());
        }
        let first_pending = mine && before.is_none() && status == Status::Pending;
        let kind = if mine { "mine" } else { "to-decide" };
        ui.object(&NewsRow { kind, waits, request: view.row() })?;
        if waits && before.is_none_or(|before| !before.waits) {
            ui.data(&arrival(view))?;
            self.notifier.waits(view);
        } else if !first_pending {
            ui.data(&view.standing(clock::now()))?;
            let decided = before.is_some_and(|before| before.status == Status::Pending);
            if mine && decided && status != Status::Pending {
                self.notifier.decided(view);
            }
        }
        Ok(())
    }
}

/// Waits, and tries to reach the CA; whether it could be.
async fn heard_again(ca: &mut Ca<'_>, pause: &mut Pause) -> bool {
    pause.wait().await;
    !matches!(Feed::open(ca).await, Err(Broke::ForNow(_)))
}

/// A request that waits, and below it what to do; harmless.
fn arrival(view: &View) -> String {
    let (asked, id) = (view.asked(), view.id());
    let what = format!("{} for {}", all_of(&view.principals()), asked.r#for);
    let (why, verdicts) = (harmless(&asked.reason), view.verdicts());
    match &asked.break_glass {
        Some(second) => format!(
            "{id}: {} went ahead without approvals: {what}: {why}; {}.\n  Review it with: {verdicts}",
            asked.by,
            harmless(second)
        ),
        None => {
            let lapses = relative(UnixTime(view.said.decide_by), clock::now());
            format!(
                "{id}: {} wants {what}: {why}.\n  Lapses {lapses}; decide with: {verdicts}",
                asked.by
            )
        }
    }
}
