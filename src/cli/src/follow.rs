//! Following a request until it is decided, or until what was approved for later opens.

use std::time::Duration;

use jit_ssh_api::{ApiError, v1::Status};
use jit_ssh_core::time::UnixTime;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::ca::Ca;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::notify::Notifier;
use crate::ui::{LiveLine, Ui, resizes};
use crate::view::{Clock, RequestRef, View};

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
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How long after the deadline the CA may take to say that the request lapsed.
const GRACE: u32 = 3;

/// How a request is followed.
#[derive(Debug)]
pub(crate) struct Follow<'a> {
    /// Which.
    pub(crate) named: &'a RequestRef,
    /// What is waited for.
    pub(crate) until: Until,
    /// Whether each change is told as an object too.
    pub(crate) changes: Changes,
    /// Whether the CA is known to have it: then one that can not be reached is waited for, too.
    pub(crate) stands: bool,
    /// Is told how it was decided.
    pub(crate) notifier: &'a Notifier,
}

/// Follows a request until what is waited for has come, through breaks of the connection.
pub(crate) async fn follow(
    ui: &Ui,
    ca: &mut Ca<'_>,
    follow: Follow<'_>,
) -> Result<Followed, Failure> {
    let follower = Follower { ui, how: follow };
    let mut line = LiveLine::new();
    tokio::select! {
        decided = follower.run(ca, &mut line) => decided.map(|view| Followed::Decided(Box::new(view))),
        _ = tokio::signal::ctrl_c() => Ok(Followed::Interrupted),
    }
}

struct Follower<'a> {
    ui: &'a Ui,
    how: Follow<'a>,
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
        let mut pause = Pause::new();
        let mut last: Option<View> = None;
        loop {
            match self.stream(ca, line, &mut last).await {
                Ok(view) => return Ok(view),
                Err(Broke::ForGood(failure)) => return Err(failure),
                // Nothing was ever heard: better to say so than to wait in silence.
                Err(Broke::ForNow(failure)) if last.is_none() && !self.how.stands => {
                    return Err(failure);
                }
                Err(Broke::ForNow(_)) => {
                    let request = last.as_ref().map_or_else(
                        || "the request stands".to_owned(),
                        |view| format!("request {} stands", view.id()),
                    );
                    line.show(&[
                        format!("the connection to the CA broke; {request}; connecting again"),
                        "connecting to the CA again".to_owned(),
                    ]);
                }
                Err(Broke::Overdue) => {}
            }
            pause.wait().await;
        }
    }

    /// One stream, until the request is decided or the stream breaks.
    async fn stream(
        &self,
        ca: &mut Ca<'_>,
        line: &mut LiveLine,
        last: &mut Option<View>,
    ) -> Result<View, Broke> {
        let mut watch = ca.watch(&self.how.named.to_string()).await?;
        let mut tick = interval(Duration::from_secs(1));
        let mut resizes = resizes();
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                change = watch.next() => {
                    let said = change?.ok_or_else(|| ApiError::Unreachable("the stream ended".to_owned()))?;
                    let view = View::open(said, &ca.enrolment.ca()).map_err(Broke::ForGood)?;
                    self.how.named.check(&view).map_err(Broke::ForGood)?;
                    self.tell(&view, last.as_ref(), line).map_err(Broke::ForGood)?;
                    if last.as_ref().is_none_or(|before| before.status() == Status::Pending)
                        && view.status() != Status::Pending
                    {
                        self.how.notifier.decided(&view);
                    }
                    if !self.how.until.waits(&view, clock::now()) {
                        line.clear();
                        return Ok(view);
                    }
                    *last = Some(view);
                }
                () = resized(&mut resizes) => {
                    if let Some(view) = last.as_ref().filter(|_| line.is_live()) {
                        show(view, line, clock::now());
                    }
                }
                _ = tick.tick() => {
                    let now = clock::now();
                    // What was approved for later opens by the clock alone: nobody has to tell.
                    if let Some(view) = last.take_if(|view| !self.how.until.waits(view, now)) {
                        line.clear();
                        return Ok(view);
                    }
                    let Some(view) = last else { continue };
                    if line.is_live() {
                        show(view, line, now);
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

    fn tell(&self, view: &View, before: Option<&View>, line: &mut LiveLine) -> Result<(), Failure> {
        let news = view.news_since(before);
        if self.how.changes == Changes::Told || !news.is_empty() {
            line.clear();
        }
        if self.how.changes == Changes::Told {
            self.ui.object(&view.row())?;
        }
        news.iter().for_each(|news| self.ui.say(news));
        let now = clock::now();
        if self.how.until.waits(view, now) {
            show(view, line, now);
        }
        Ok(())
    }
}

fn show(view: &View, line: &mut LiveLine, now: UnixTime) {
    let clock = if line.is_live() { Clock::Runs } else { Clock::Stands };
    match view.status() {
        Status::Pending => line.show(&view.waiting(clock, now)),
        _ => line.show(&[view.standing(now)]),
    }
}

/// Waits for the terminal to change its size; for ever where that can not be heard.
async fn resized(resizes: &mut Option<tokio::signal::unix::Signal>) {
    match resizes {
        Some(resizes) => match resizes.recv().await {
            Some(()) => {}
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Whether another attempt makes sense.
#[derive(Debug)]
pub(crate) enum Broke {
    /// It does.
    ForNow(Failure),
    /// It does not.
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

/// How long to wait before the next attempt to connect: longer each time.
#[derive(Debug)]
pub(crate) struct Pause(Duration);

impl Pause {
    /// Before the first attempt.
    pub(crate) fn new() -> Pause {
        Pause(FIRST_PAUSE)
    }

    /// Waits.
    pub(crate) async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = self.0.saturating_mul(2).min(MAX_PAUSE);
    }
}
