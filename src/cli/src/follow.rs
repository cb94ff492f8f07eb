//! Following a request until it is decided, or until what was approved for later opens.

use std::time::Duration;

use jit_ssh_api::{ApiError, v1::Status};
use jit_ssh_core::time::UnixTime;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::ca::Ca;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::ui::{LiveLine, Ui};
use crate::view::{RequestRef, View};

/// How following ended.
#[derive(Debug)]
pub(crate) enum Followed {
    /// The request is no longer pending, nor is its opening still to come where that is waited for.
    Decided(Box<View>),
    /// The person pressed Ctrl-C: the request stands.
    Interrupted,
}

/// Whether each change is told as an object too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changes {
    /// Only the caller tells, when all is done.
    Quiet,
    /// One object a change with `--json`.
    Told,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The decision.
    Decided,
    /// The moment from which on there are certificates.
    Open,
}

impl Until {
    /// Whether there is still something to wait for.
    fn waits(self, view: &View, now: UnixTime) -> bool {
        match self {
            _ if view.status() == Status::Pending => true,
            Until::Decided => false,
            Until::Open => view.opens_later(now).is_some(),
        }
    }
}

/// Longest pause between attempts to connect again.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// How long after the deadline the CA may take to say that the request lapsed.
const GRACE: u32 = 3;

/// Follows a request until what is waited for has come, through breaks of the connection.
pub(crate) async fn follow(
    ui: &Ui,
    ca: &mut Ca<'_>,
    named: &RequestRef,
    until: Until,
    changes: Changes,
) -> Result<Followed, Failure> {
    let follower = Follower { ui, named, until, changes };
    let mut line = LiveLine::new(ui);
    tokio::select! {
        decided = follower.run(ca, &mut line) => decided.map(|view| Followed::Decided(Box::new(view))),
        _ = tokio::signal::ctrl_c() => Ok(Followed::Interrupted),
    }
}

struct Follower<'a> {
    ui: &'a Ui,
    named: &'a RequestRef,
    until: Until,
    changes: Changes,
}

/// Waits a moment; whether the person pressed Ctrl-C meanwhile.
pub(crate) async fn interrupted_within(pause: Duration) -> bool {
    tokio::select! {
        () = sleep(pause) => false,
        _ = tokio::signal::ctrl_c() => true,
    }
}

impl Follower<'_> {
    async fn run(&self, ca: &mut Ca<'_>, line: &mut LiveLine) -> Result<View, Failure> {
        let mut pause = Duration::from_millis(500);
        let mut last: Option<View> = None;
        loop {
            match self.stream(ca, line, &mut last).await {
                Ok(view) => return Ok(view),
                Err(Broke::ForGood(failure)) => return Err(failure),
                // Nothing was ever heard: better to say so than to wait in silence.
                Err(Broke::ForNow(failure)) if last.is_none() => return Err(failure),
                Err(Broke::ForNow(_)) => {
                    line.show("the connection to the CA broke; trying to connect again");
                }
                Err(Broke::Overdue) => {}
            }
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(MAX_PAUSE);
        }
    }

    /// One stream, until the request is decided or the stream breaks.
    async fn stream(
        &self,
        ca: &mut Ca<'_>,
        line: &mut LiveLine,
        last: &mut Option<View>,
    ) -> Result<View, Broke> {
        let mut watch = ca.watch(&self.named.to_string()).await?;
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                change = watch.next() => {
                    let said = change?.ok_or_else(|| ApiError::Unreachable("the stream ended".to_owned()))?;
                    let view = View::open(said, &ca.enrolment.ca()).map_err(Broke::ForGood)?;
                    self.named.check(&view).map_err(Broke::ForGood)?;
                    self.tell(&view, line).map_err(Broke::ForGood)?;
                    if !self.until.waits(&view, clock::now()) {
                        line.clear();
                        return Ok(view);
                    }
                    *last = Some(view);
                }
                _ = tick.tick() => {
                    let now = clock::now();
                    // What was approved for later opens by the clock alone: nobody has to tell.
                    if let Some(view) = last.take_if(|view| !self.until.waits(view, now)) {
                        line.clear();
                        return Ok(view);
                    }
                    let Some(view) = last else { continue };
                    if line.is_live() {
                        line.show(&view.standing(now));
                    }
                    // Where it stands is a matter of the clock too: ask instead of waiting.
                    let decide_by = UnixTime(view.said.decide_by).plus_secs(GRACE);
                    if view.status() == Status::Pending && now > decide_by {
                        return Err(Broke::Overdue);
                    }
                }
            }
        }
    }

    fn tell(&self, view: &View, line: &mut LiveLine) -> Result<(), Failure> {
        if self.changes == Changes::Told {
            line.clear();
            self.ui.object(&view.row())?;
        }
        let now = clock::now();
        if self.until.waits(view, now) {
            line.show(&view.standing(now));
        }
        Ok(())
    }
}

/// Whether another attempt makes sense.
enum Broke {
    ForNow(Failure),
    ForGood(Failure),
    /// The deadline passed by this clock, without a word of it.
    Overdue,
}

impl From<Failure> for Broke {
    fn from(failure: Failure) -> Broke {
        if failure.outcome == Outcome::Unreachable {
            Broke::ForNow(failure)
        } else {
            Broke::ForGood(failure)
        }
    }
}

impl From<ApiError> for Broke {
    fn from(error: ApiError) -> Broke {
        // A session that ends in mid-stream is opened anew by the next attempt.
        let session_over = error.reason() == Some(jit_ssh_api::Reason::NoSession);
        let failure = Failure::from(error);
        if session_over { Broke::ForNow(failure) } else { failure.into() }
    }
}
