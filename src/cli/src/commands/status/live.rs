//! `status --watch`: the tables, kept up to date by what the CA tells: redrawn in place on a terminal,
//! and elsewhere printed anew at each change.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{Snapshot, gather, rows, text, warnings};
use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::feed::{Feed, News};
use crate::follow::{Broke, Pause};
use crate::ui::resizes;

/// Shows how things stand until Ctrl-C.
pub(super) async fn watch(context: &Context, enrolment: &Enrolment) -> Result<Outcome, Failure> {
    let mut board = Board { context, rows: Vec::new(), text: String::new() };
    tokio::select! {
        over = board.run(enrolment) => over.map(|()| Outcome::Done),
        _ = tokio::signal::ctrl_c() => Ok(Outcome::Done),
    }
}

/// What is shown.
struct Board<'a> {
    context: &'a Context,
    /// What `--json` printed last.
    rows: Vec<serde_json::Value>,
    /// What was printed last where nothing is redrawn, without the clock.
    text: String,
}

impl Board<'_> {
    async fn run(&mut self, enrolment: &Enrolment) -> Result<(), Failure> {
        let mut pause = Pause::new();
        loop {
            match self.listen(enrolment, &mut pause).await {
                Broke::ForGood(failure) => return Err(failure),
                Broke::ForNow(_) | Broke::Overdue => {}
            }
            // What is known here, and that no more is.
            let snapshot = gather(self.context, enrolment).await?;
            self.show(&snapshot)?;
            pause.wait().await;
        }
    }

    /// Shows every change until the connection breaks.
    async fn listen(&mut self, enrolment: &Enrolment, pause: &mut Pause) -> Broke {
        let mut ca = match Ca::connect(&self.context.home, enrolment).await {
            Ok(ca) => ca,
            Err(failure) => return failure.into(),
        };
        let mut feed = match Feed::open(&mut ca).await {
            Ok(feed) => feed,
            Err(broke) => return broke,
        };
        *pause = Pause::new();
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut resizes = resizes();
        loop {
            let snapshot = match gather(self.context, enrolment).await {
                Ok(snapshot) => snapshot,
                Err(failure) => return failure.into(),
            };
            if let Err(failure) = self.show(&snapshot) {
                return Broke::ForGood(failure);
            }
            let news = loop {
                let resized = async {
                    match &mut resizes {
                        Some(resizes) => resizes.recv().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    news = feed.next() => break news,
                    _ = tick.tick() => {}
                    _ = resized => {}
                }
                // On a terminal the clock runs; and a certificate that ended is gone from the agent.
                if self.context.ui.redraws()
                    && let Err(failure) = self.show(&snapshot)
                {
                    return Broke::ForGood(failure);
                }
            };
            match news {
                Ok(news) => {
                    if let Err(failure) = self.tell_end(&news) {
                        return Broke::ForGood(failure);
                    }
                }
                Err(broke) => return broke,
            }
        }
    }

    /// What came to its end is in no table any more: a program hears of it all the same.
    fn tell_end(&self, news: &News) -> Result<(), Failure> {
        let (News::ToDecide(view) | News::Mine(view)) = news;
        if view.failure().is_some() {
            let kind = if matches!(news, News::Mine(_)) { "request" } else { "to-decide" };
            self.context.ui.object(&super::WaitingRow { kind, request: view.row() })?;
        }
        Ok(())
    }

    fn show(&mut self, snapshot: &Snapshot) -> Result<(), Failure> {
        let ui = &self.context.ui;
        if ui.json {
            let rows = rows(&self.context.home, snapshot)?;
            for row in rows.iter().filter(|row| !self.rows.contains(row)) {
                ui.object(row)?;
            }
            self.rows = rows;
            return Ok(());
        }
        let now = clock::now();
        let mut parts = warnings(snapshot);
        if snapshot.held.is_empty() {
            parts.push("No access is loaded.".to_owned());
        }
        parts.push(text(ui, snapshot, now));
        let shown = parts.join("\n");
        if ui.redraws() {
            return ui.redraw(&shown);
        }
        // The clock alone is no change.
        let lasting = format!("{:?}{:?}", rows(&self.context.home, snapshot)?, snapshot.offline);
        if lasting != self.text {
            ui.data(&format!("{shown}\n"))?;
            ui.data("")?;
            self.text = lasting;
        }
        Ok(())
    }
}
