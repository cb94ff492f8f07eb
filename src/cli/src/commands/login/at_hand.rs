//! Whether what is wanted is at hand already, or live and only to be prolonged.

use jit_ssh_api::agent::{Agent, AgentError};
use jit_ssh_core::digest::Digest;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::time::UnixTime;

use crate::cli::Context;
use crate::clock;
use crate::enrolment::Enrolment;
use crate::failure::Failure;
use crate::grants::{self, Keeping, Live, Subject};
use crate::held::{self, Held};
use crate::obtain::Access;
use crate::text::utc;
use crate::trust;
use crate::wish::Wish;

/// What the agent has of what is wanted.
pub(super) enum AtHand {
    /// All of it.
    Enough(Box<Access>),
    /// The accounts, by the request with this id, but for too short.
    TooShort(String),
    /// The accounts, by the request with this id, but with too little permitted.
    TooLittle(String),
    /// Nothing.
    Nothing,
}

impl AtHand {
    /// Which request was told of.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            AtHand::TooShort(id) | AtHand::TooLittle(id) => Some(id),
            AtHand::Enough(_) | AtHand::Nothing => None,
        }
    }
}

/// What is held of ours. Better to hear of a missing agent now than after somebody approved: where
/// it has to sign too, that is an error, and else a warning.
pub(super) fn held(
    context: &Context,
    enrolment: &Enrolment,
    subject: &Subject,
    keeping: Keeping,
) -> Result<Vec<Held>, Failure> {
    let Context { ui, home } = context;
    let owner = trust::owner(home, enrolment)?;
    let now = clock::now();
    if keeping == Keeping::Confirmed
        && let Subject::File(file) = subject
        && !file.keypair().is_some_and(held::fits_agent)
    {
        return Err(AgentError::KeyType.into());
    }
    let needed = keeping == Keeping::Confirmed || enrolment.identity.file.is_none();
    let absent = match Agent::open().and_then(|mut agent| agent.list()) {
        Ok(_) => return Ok(held::everywhere(home, &owner, now)?.0),
        Err(error) if needed => return Err(error.into()),
        Err(error) => error,
    };
    if keeping != Keeping::Files {
        ui.say(&format!(
            "warning: {absent}; the certificate will lie in a file of yours ({}).",
            absent.hint()
        ));
    }
    held::files::list(home, &owner, now)
}

/// Looks for access that is at hand already, and tells of it, and what is missing where it is not enough.
pub(super) fn at_hand(
    context: &Context,
    enrolment: &Enrolment,
    held: &[Held],
    wish: &Wish,
    now: UnixTime,
) -> Result<AtHand, Failure> {
    let Context { ui, home } = context;
    let wanted = wish.principals();
    let mut last = None;
    // Access to anything is not access to one command, nor the other way round.
    let same = held.iter().filter(|held| held.only == wish.only);
    for held in same.filter(|held| held.is_at_hand(&wanted, now)) {
        let live = grants::noted(home, &enrolment.ca(), &held.id, now)?;
        let asked = live.as_ref().map(|live| live.request.body());
        let because = asked.map(|asked| format!(" ({})", harmless(&asked.reason)));
        let standing = format!(
            "Access is at hand until {} under request {}{}.",
            utc(held.access_until),
            held.id,
            because.unwrap_or_default()
        );
        match wish.exceeds(held, asked, now) {
            None => {
                ui.say(&standing);
                return Ok(AtHand::Enough(Box::new(Access::at_hand(home, held, live.as_ref()))));
            }
            Some(more) => {
                let short = wish.longer_than(held.access_until, asked, now).is_some();
                last = Some((held, short, format!("{standing} More is wanted: {more}.")));
            }
        }
    }
    Ok(match last {
        Some((held, short, words)) => {
            ui.say(&words);
            let id = held.id.clone();
            if short { AtHand::TooShort(id) } else { AtHand::TooLittle(id) }
        }
        None => AtHand::Nothing,
    })
}

/// The live access that was taken here for all accounts that are wanted, and for the same command if for one; of
/// several, the one that ends last: the newest of those that prolong each other. Those in `over` are left out.
pub(super) fn live_for(
    context: &Context,
    enrolment: &Enrolment,
    wish: &Wish,
    over: &[Digest],
    now: UnixTime,
) -> Result<Option<Live>, Failure> {
    let wanted = wish.principals();
    let mut live = grants::live(&context.home, &enrolment.ca(), now)?;
    live.retain(|live| {
        let asked = live.request.body();
        asked.by == enrolment.id
            && asked.command == wish.only
            && live.covers(&wanted)
            && !over.contains(&live.request.digest())
    });
    Ok(live.pop())
}
