//! `Access.Check`: whether somebody has live access as a login on a host, asked once or followed by
//! `Access.Watch`: for programs that end SSH themselves, and enforce what was granted.

use std::sync::Arc;

use jit_ssh_api::v1;
use jit_ssh_core::lifecycle::{Evaluation, Status, evaluate};
use jit_ssh_core::names::{ActorId, HostName, Login, Principal};
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::time::UnixTime;
use tokio::sync::broadcast;

use super::watch::{self, Answers, Over};
use crate::serve::call::{Call, Identify};
use crate::serve::front::{Front, OneWatch};
use crate::serve::memory::Change;
use crate::serve::sessions::Caller;
use crate::serve::store::{ListQuery, Of};
use crate::serve::{OPEN_FOR, clock, show};

/// Most requests of one person that are looked at, newest first.
const MAX_CHECKED: u32 = 1000;

/// Whether `subject` may be `principal`.
struct Question {
    subject: ActorId,
    principal: Principal,
}

/// The answer, and when the clock alone may change it.
struct Answer {
    said: v1::CheckResponse,
    turn: Option<UnixTime>,
}

pub(super) async fn check(
    call: &Call,
    message: &v1::CheckRequest,
) -> Result<v1::CheckResponse, Refusal> {
    let question = Question::read(message)?;
    question.may_be_asked_by(call.front(), &call.caller()?)?;
    Ok(question.answer(call.front()).await?.said)
}

impl Question {
    fn read(message: &v1::CheckRequest) -> Result<Question, Refusal> {
        let subject = field("subject", &message.subject)?;
        let login: Login = field("login", &message.login)?;
        let host: HostName = field("host", &message.host)?;
        Ok(Question { subject, principal: Principal::new(login, host) })
    }

    fn may_be_asked_by(&self, front: &Front, caller: &Caller) -> Result<(), Refusal> {
        let in_force = front.trusted.bundle()?;
        let actor = in_force.bundle.people.get(&caller.id);
        let is_machine = actor.is_some_and(|actor| !actor.is_person());
        if is_machine || caller.reads_all() || caller.id == self.subject {
            return Ok(());
        }
        let message = format!("{} may not ask what {} may do.", caller.id, self.subject);
        Err(Refusal::new(Reason::NotAllowed, message))
    }

    async fn answer(&self, front: &Front) -> Result<Answer, Refusal> {
        let in_force = front.trusted.bundle()?;
        let now = clock::now();
        let query = ListQuery {
            of: Of::Own(self.subject.clone()),
            since: Some(now.minus_secs(OPEN_FOR)),
            after: None,
            limit: MAX_CHECKED,
        };
        let mut answer = Answer { said: v1::CheckResponse::default(), turn: None };
        for stored in front.store.list(query).await? {
            let Some(known) = front.memory.read(&*front.store, stored).await? else { continue };
            if known.chain.request().body().subject != self.subject {
                continue;
            }
            let evaluation = evaluate(&known.chain, in_force.view(), now);
            answer.turn = answer.turn.into_iter().chain(show::next_turn(&evaluation, now)).min();
            if let Some(until) = allowed_until(&evaluation, &self.principal, now)
                && until.0 > answer.said.access_until
            {
                let id = known.chain.request().id().to_string();
                answer.said = v1::CheckResponse { allowed: true, access_until: until.0, id };
            }
        }
        Ok(answer)
    }
}

/// Until when a request that stands so lets its subject in as `principal`; `None` if it does not at `now`:
/// not before it opens, and not when it was given back, taken away, or fell with what it prolongs.
fn allowed_until(
    evaluation: &Evaluation<'_>,
    principal: &Principal,
    now: UnixTime,
) -> Option<UnixTime> {
    let (Status::Approved | Status::Active, Some(grant)) = (&evaluation.status, &evaluation.grant)
    else {
        return None;
    };
    let open = grant.opens_at <= now && grant.principals().contains(principal);
    open.then(|| grant.access_until())
}

/// One answer that is followed.
pub(super) struct Followed {
    front: Arc<Front>,
    question: Question,
    who: Identify,
    answers: Answers,
    _counted: OneWatch,
}

impl Followed {
    /// Begins to follow; tells the answer of now first.
    ///
    /// # Errors
    /// As `Access.Check`.
    pub(super) fn begin(
        call: &Call,
        message: &v1::CheckRequest,
        answers: Answers,
        counted: OneWatch,
    ) -> Result<Followed, Refusal> {
        let question = Question::read(message)?;
        question.may_be_asked_by(call.front(), &call.caller()?)?;
        Ok(Followed {
            front: call.front().clone(),
            question,
            who: call.identify(),
            answers,
            _counted: counted,
        })
    }

    /// Tells every change until the receiver is gone, the caller may not ask any more, or the front
    /// stops.
    pub(super) async fn run(self, mut changes: broadcast::Receiver<Change>) {
        let over = self.follow(&mut changes).await;
        watch::end(&self.answers, over).await;
    }

    async fn follow(&self, changes: &mut broadcast::Receiver<Change>) -> Result<(), Over> {
        let mut stopping = self.front.stopping.clone();
        let mut told = None;
        loop {
            self.question.may_be_asked_by(&self.front, &(self.who)()?)?;
            let Answer { said, turn } = self.question.answer(&self.front).await?;
            if told.as_ref() != Some(&said) {
                told = Some(said.clone());
                let news = v1::WatchResponse { access: None, check: Some(said) };
                self.answers.tell(news).await?;
            }
            tokio::select! {
                concerned = self.concerned(changes) => if !concerned? { return Ok(()) },
                () = clock::turned(turn) => {}
                () = self.answers.closed() => return Err(Over::Gone),
                _ = stopping.changed() => return Ok(()),
            }
        }
    }

    /// Waits for a change that may change the answer; false if there will be none any more.
    async fn concerned(&self, changes: &mut broadcast::Receiver<Change>) -> Result<bool, Over> {
        loop {
            match changes.recv().await {
                Ok(Change::Request(request)) => {
                    let known = self.front.memory.get(&*self.front.store, request).await?;
                    // What it prolongs, and what prolongs it, is of the same subject.
                    let ours = &self.question.subject;
                    if known.is_some_and(|known| known.chain.request().body().subject == *ours) {
                        return Ok(true);
                    }
                }
                // Behind, or everything may have changed.
                Ok(Change::Bundle) | Err(broadcast::error::RecvError::Lagged(_)) => {
                    return Ok(true);
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(false),
            }
        }
    }
}

fn field<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &str,
    text: &str,
) -> Result<T, Refusal> {
    text.parse().map_err(|error| Refusal::new(Reason::Malformed, format!("{name}: {error}.")))
}

#[cfg(test)]
mod tests;
