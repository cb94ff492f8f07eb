//! `jit-ssh ensure`: what ssh runs before it connects. With a certificate at hand it says yes at once, and
//! the CA hears nothing of it. It never prints: stdout is not there, and stderr is for what a person must
//! know.

use std::time::Duration;

use clap::Args;
use jit_ssh_core::names::{HostName, Login, Principal};
use jit_ssh_core::time::{Seconds, UnixTime};
use tokio::time::{sleep, timeout};

use super::login::{self, LoginArgs};
use crate::account::find_login;
use crate::ca::Ca;
use crate::caller::{self, Caller, Resolved};
use crate::cli::Context;
use crate::clock;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::grants;
use crate::held;
use crate::home::{CaName, Home};
use crate::obtain;
use crate::ssh_config::{self, Logins};
use crate::trust;
use crate::turn::{self, Turn, Whose};
use crate::ui::Ui;

/// How long a renewal may hold up a login that works without it.
const RENEWAL: Duration = Duration::from_secs(2);
/// How long it may hold up one that does not.
const NEEDED: Duration = Duration::from_secs(10);
/// How often one who waits for another's turn looks again.
const LOOK: Duration = Duration::from_millis(50);

/// Have access at hand before ssh connects; ssh's configuration runs this.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example, as `jit-ssh ssh-config` writes it:\n  \
    Match originalhost prod-host !exec \"exec jit-ssh ensure prod-host --login deploy\"\n    ProxyCommand false\n\n\
    Exit code 0 means that ssh can go on. Where access is missing it asks on the terminal, and\n\
    without one it ends at once. An ssh that prints its configuration, runs in batch mode, or\n\
    rides on a connection that stands is never asked anything.")]
pub(crate) struct EnsureArgs {
    /// The host.
    pub(super) host: HostName,
    /// The account, where the command line of the calling ssh names none.
    #[arg(long, value_name = "LOGIN")]
    pub(super) login: Option<Login>,
}

/// What is there of the access that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A certificate with at least half of its time left.
    AtHand,
    /// One with less; whether there may be a newer.
    Ending { renewable: bool },
    /// Nothing.
    Nothing,
}

/// What there is of access to an account, by what this machine has; the CA is not asked.
///
/// # Errors
/// That a file can not be read. An agent that can not be asked has nothing.
pub(super) fn standing(
    home: &Home,
    enrolment: &Enrolment,
    wanted: &Principal,
    now: UnixTime,
) -> Result<Standing, Failure> {
    let wanted = std::slice::from_ref(wanted);
    let held = held::at_once(home, &trust::owner(home, enrolment)?, now)?;
    if held.iter().any(|held| held.is_at_hand(wanted, now)) {
        return Ok(Standing::AtHand);
    }
    let mut good = held.iter().filter(|held| held.is_good(wanted, now)).peekable();
    if good.peek().is_none() {
        return Ok(Standing::Nothing);
    }
    // The last certificate of an access is short: nothing newer is to be had.
    Ok(Standing::Ending { renewable: good.all(|held| held.valid_before < held.access_until) })
}

/// The answer that needs nobody, if there is one: of the CA named, or else of any.
pub(super) fn at_once(top: &Home, ca: Option<&CaName>, args: &EnsureArgs) -> Option<Outcome> {
    let caller = Caller::find();
    if caller::is_asked() || caller.as_ref().is_some_and(Caller::only_asks) {
        return Some(Outcome::Done);
    }
    let login = match caller.as_ref().and_then(Caller::login) {
        Some(login) => login.parse().ok()?,
        None => args.login.clone()?,
    };
    let wanted = Principal::new(login, args.host.clone());
    // What goes wrong here is told on the long way.
    let homes = top.all().ok()?.into_iter().filter(|(name, _)| ca.is_none_or(|ca| ca == name));
    let is_there = |home: &Home| {
        let enrolment = Enrolment::load(home).ok()?;
        standing(home, &enrolment, &wanted, clock::now()).ok()
    };
    let mut standings = homes.filter_map(|(_, home)| is_there(&home));
    standings
        .any(|standing| {
            matches!(standing, Standing::AtHand | Standing::Ending { renewable: false })
        })
        .then_some(Outcome::Done)
}

pub(super) async fn cmd_ensure(context: &Context, args: EnsureArgs) -> Result<Outcome, Failure> {
    let Some(caller) = Caller::find() else {
        return ensure(context, args, None).await;
    };
    let host = args.host.clone();
    if turn::was_refused(&context.home, &host, &caller)? {
        return Ok(Outcome::Error);
    }
    let resolved = caller.resolved().unwrap_or_default();
    if resolved.multiplexed {
        return Ok(Outcome::Done);
    }
    let ensured = ensure(context, args, Some((&caller, &resolved))).await;
    if !matches!(ensured, Ok(Outcome::Done)) {
        turn::note_refused(&context.home, &host, &caller)?;
    }
    ensured
}

async fn ensure(
    context: &Context,
    args: EnsureArgs,
    by: Option<(&Caller, &Resolved)>,
) -> Result<Outcome, Failure> {
    let enrolment = Enrolment::load(&context.home)?;
    let said = by.and_then(|(caller, resolved)| {
        // Without an account of ours, what another part of the configuration says counts.
        let open = args.login.is_none();
        caller.login().or_else(|| resolved.login.clone().filter(|_| open))
    });
    let batch = by.is_some_and(|(_, resolved)| resolved.batch);
    let login = match said {
        Some(login) => Some(login.parse::<Login>().map_err(|e| Failure::usage(format!("{e}.")))?),
        None => args.login.clone(),
    };
    let wanted = Wanted { host: args.host, login, span: None, because: None };
    obtain_access(context, &enrolment, wanted, !batch).await
}

/// The access that is to be at hand.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The host.
    pub(super) host: HostName,
    /// The account; where it is open, the usual one or as the person says.
    pub(super) login: Option<Login>,
    /// How long, where access has to be asked for.
    pub(super) span: Option<Seconds>,
    /// Why: likewise.
    pub(super) because: Option<String>,
}

/// Has access at hand: what is there, a renewal, or a new request where `may_ask` and there is somebody
/// who can be asked, or where all is said already.
pub(super) async fn obtain_access(
    context: &Context,
    enrolment: &Enrolment,
    wanted: Wanted,
    may_ask: bool,
) -> Result<Outcome, Failure> {
    let Wanted { host, login, span, because } = wanted;
    let home = &context.home;
    let login = match login {
        Some(login) => login,
        None => account(context, enrolment, &host, may_ask).await?,
    };
    let principal = Principal::new(login.clone(), host.clone());
    match standing(home, enrolment, &principal, clock::now())? {
        Standing::AtHand => return Ok(Outcome::Done),
        Standing::Ending { renewable } => {
            // Whatever comes of it, and whoever does it: what is good for a login is good without it.
            if renewable && let Whose::Ours(_turn) = Turn::take(home, &host)? {
                let _ = timeout(RENEWAL, renew(home, enrolment, &principal)).await;
            }
            return Ok(Outcome::Done);
        }
        Standing::Nothing => {}
    }
    let can_ask = because.is_some() || (may_ask && Ui::to_terminal());
    let Some(mut turn) = my_turn(context, enrolment, &principal, can_ask).await? else {
        return Ok(Outcome::Done);
    };
    if let Ok(Ok(true)) = timeout(NEEDED, renew(home, enrolment, &principal)).await {
        return Ok(Outcome::Done);
    }
    if !can_ask {
        return Err(nobody_to_ask(&principal));
    }
    turn.asks()?;
    if because.is_none() {
        context
            .ui
            .say(&format!("There is no access to {principal} at hand: it has to be asked for."));
    }
    login::cmd_login(context, LoginArgs::to_connect(host, login, span, because)).await
}

fn nobody_to_ask(principal: &Principal) -> Failure {
    let (host, login) = (principal.host(), principal.login());
    let message =
        format!("there is no access to {principal} at hand, and nobody here who can be asked.");
    Failure::new(Outcome::Usage, "NO_ACCESS", message).hint(format!(
        "ask for it, then try again: jit-ssh login {host} --as {login} --because TEXT"
    ))
}

/// Takes another certificate under a request that grants what is wanted, without a word.
async fn renew(home: &Home, enrolment: &Enrolment, wanted: &Principal) -> Result<bool, Failure> {
    let mut kept = grants::list(home, &enrolment.ca(), clock::now())?;
    kept.retain(|grant| {
        let asked = grant.request.body();
        asked.by == enrolment.id
            && asked.begins() <= clock::now()
            && grant.principals().contains(wanted)
    });
    if kept.is_empty() {
        return Ok(false);
    }
    let ca = Ca::connect(home, enrolment).await?;
    for grant in kept.iter().rev() {
        // One that is not approved yet, or over, says nothing of the others.
        let Ok(certificate) = obtain::certify(&ca, grant.digest()).await else { continue };
        obtain::take_silently(home, &ca, grant, &certificate).await?;
        if standing(home, enrolment, wanted, clock::now())? != Standing::Nothing {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits for the turn to ask; `None` if what is wanted came to be at hand meanwhile.
///
/// # Errors
/// That another asked, and nothing came of it: whoever waited for that does not ask again.
async fn my_turn(
    context: &Context,
    enrolment: &Enrolment,
    wanted: &Principal,
    can_wait: bool,
) -> Result<Option<Turn>, Failure> {
    let home = &context.home;
    let mut waited_for_person = false;
    let mut moments = NEEDED.as_millis() / LOOK.as_millis();
    loop {
        match Turn::take(home, wanted.host())? {
            Whose::Ours(turn) => {
                if standing(home, enrolment, wanted, clock::now())? != Standing::Nothing {
                    return Ok(None);
                }
                if !waited_for_person {
                    return Ok(Some(turn));
                }
                let message =
                    format!("access to {wanted} was asked for beside this, and is not there.");
                return Err(Failure::new(Outcome::Error, "NO_ACCESS", message)
                    .hint("see what became of it: jit-ssh requests --mine"));
            }
            Whose::Asks if !can_wait => return Err(nobody_to_ask(wanted)),
            Whose::Asks if !waited_for_person => {
                waited_for_person = true;
                context.ui.say(&format!(
                    "Access to {wanted} is being asked for beside this; waiting for what comes of it."
                ));
            }
            Whose::Asks => {}
            Whose::Busy if moments == 0 && !waited_for_person => return Err(nobody_to_ask(wanted)),
            Whose::Busy => moments = moments.saturating_sub(1),
        }
        sleep(LOOK).await;
    }
}

/// The account where nobody named one.
async fn account(
    context: &Context,
    enrolment: &Enrolment,
    host: &HostName,
    may_ask: bool,
) -> Result<Login, Failure> {
    let home = &context.home;
    if let Some(hosts) = trust::kept_hosts(home, &enrolment.root)?
        && let Some(listed) = hosts.get(host)
        && let Some(login) = ssh_config::usual_login(listed, &Logins::load(home)?)
    {
        return Ok(login);
    }
    if may_ask {
        // Where that can not be, the question says what to do instead.
        let _ = Ui::to_terminal();
    }
    let ca = Ca::connect(home, enrolment).await?;
    find_login(context, &ca, std::slice::from_ref(host)).await
}
