//! `jit-ssh login`: asks for access, waits for the decision, and loads the certificate.
//!
//! - here: what is said, and whether something that stands answers it;
//! - `at_hand.rs`: what the agent holds already; `earlier.rs`: requests that still stand;
//! - `ask.rs`: a new request, from asking to taking;
//! - `extend.rs`, `break_glass.rs`: the two that are not asked in the usual way;
//! - `several.rs`: which rules there are where none covers all hosts;
//! - `dry_run.rs`: what would follow, by the same decisions up to the point where one would act.

pub(super) mod ask;
mod at_hand;
mod break_glass;
pub(super) mod dry_run;
mod earlier;
mod extend;
mod several;

use std::path::PathBuf;

use clap::Args;
use jit_ssh_core::bundle::Permit;
use jit_ssh_core::names::{ActorId, HostName, Login};
use jit_ssh_core::statement::{self, MAX_AHEAD};
use jit_ssh_core::time::{Seconds, UnixTime};

use crate::account::find_login;
use crate::ca::Ca;
use crate::cli::Context;
use crate::clock;
use crate::config::Config;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::grants::{Grant, Keeping, KeyFile, Live, Subject};
use crate::moment::Moment;
use crate::ssh_config::completed;
use crate::text::utc;
use crate::trust::{self, Trust};
use crate::ui::Ui;
use crate::wish::{self, Manner, Wish};
use ask::{ask, request};
use at_hand::{AtHand, at_hand, held, live_for};
use earlier::{earlier_grants, is_over, take_up};

/// Ask for access to hosts, wait for the decision, and load the certificate.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  jit-ssh login prod-host --as deploy --for 10m --because \"INC-42 disk full\"\n\n\
    LIST is of pty, port-forwarding, agent-forwarding, x11-forwarding and user-rc.\n\
    Ctrl-C leaves the request standing; `jit-ssh watch ID` or the same login takes it up.\n\
    Another reason, time or permit makes another request, unless what is at hand is enough."
)]
pub(crate) struct LoginArgs {
    /// The hosts.
    #[arg(required = true, value_name = "HOST")]
    pub(super) hosts: Vec<HostName>,
    /// The account on them; needless where there is only one.
    #[arg(long = "as", value_name = "LOGIN")]
    login: Option<Login>,
    /// How long you need it, from approval on [default: 15m].
    #[arg(long = "for", value_name = "TIME")]
    span: Option<Seconds>,
    /// Why you need it: approvers and auditors read it.
    #[arg(long, value_name = "TEXT", value_parser = wish::reason)]
    because: Option<String>,
    /// Begin later: 22:00, 2026-11-25T22:00 or ...T22:00+01:00.
    #[arg(long, value_name = "MOMENT", group = "manner")]
    at: Option<Moment>,
    /// Prolong the live access, even if enough is left.
    #[arg(long, group = "manner")]
    extend: bool,
    /// Ask anew, whatever stands or is at hand.
    #[arg(long, conflicts_with = "extend")]
    new: bool,
    /// Go ahead without approvals, for this second reason.
    #[arg(long, value_name = "TEXT", group = "manner", value_parser = wish::reason)]
    break_glass: Option<String>,
    /// Confirm break-glass for this host instead of typing its name.
    #[arg(long, value_name = "HOST", requires = "break_glass")]
    break_glass_confirm: Vec<HostName>,
    /// Say what would follow, and ask for nothing.
    #[arg(long)]
    dry_run: bool,
    /// Ask, print the id and do not wait: exit code 3 if it is pending.
    #[arg(long)]
    no_wait: bool,
    /// Certify this key instead of a fresh one.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Have the ssh-agent ask on the screen before each use.
    #[arg(long, group = "keeping")]
    confirm: bool,
    /// Keep key and certificate in files, not in the ssh-agent.
    #[arg(long, group = "keeping")]
    no_agent: bool,
    /// Do not bind the certificate in the ssh-agent to its hosts.
    #[arg(long, group = "keeping")]
    unbound: bool,
    /// What sessions may do [default: pty,port-forwarding].
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = wish::permit)]
    permit: Option<Vec<Permit>>,
    /// Run this one command there, and nothing else.
    #[arg(long, value_name = "COMMAND", value_parser = wish::command)]
    command: Option<String>,
    /// As this machine, in a CI job: nobody here is asked anything.
    #[arg(long, value_name = "ID")]
    pub(super) machine: Option<ActorId>,
    /// Whether to ask how long, too: for who only typed `ssh HOST`.
    #[arg(skip)]
    asks_span: bool,
}

impl LoginArgs {
    /// Where the certificate is to be kept.
    fn keeping(&self) -> Keeping {
        match (self.confirm, self.no_agent, self.unbound) {
            (true, _, _) => Keeping::Confirmed,
            (_, true, _) => Keeping::Files,
            (_, _, true) => Keeping::Unbound,
            (false, false, false) if self.machine.is_some() => Keeping::Files,
            (false, false, false) => Keeping::Agent,
        }
    }

    /// What `ssh HOST` asks for where access is missing.
    pub(super) fn to_connect(
        host: HostName,
        login: Login,
        span: Option<Seconds>,
        because: Option<String>,
    ) -> LoginArgs {
        LoginArgs {
            hosts: vec![host],
            login: Some(login),
            span,
            asks_span: because.is_none(),
            because,
            at: None,
            extend: false,
            new: false,
            break_glass: None,
            break_glass_confirm: Vec::new(),
            dry_run: false,
            no_wait: false,
            key: None,
            confirm: false,
            no_agent: false,
            unbound: false,
            permit: None,
            command: None,
            machine: None,
        }
    }

    /// Refuses what makes no sense together.
    fn check(&self) -> Result<(), Failure> {
        let mut asked = self.permit.iter().flatten();
        if self.command.is_some() && asked.any(|permit| permit.exceeds_command()) {
            let message = "--permit: beside --command there is only pty.";
            return Err(Failure::usage(message)
                .hint("whatever else there is opens more than the one command"));
        }
        Ok(())
    }

    /// In which way access is wanted, as far as that is said.
    fn manner(&self, now: UnixTime) -> Result<Manner, Failure> {
        if let Some(second) = &self.break_glass {
            return Ok(Manner::BreakGlass(second.clone()));
        }
        let Some(moment) = self.at else { return Ok(Manner::Usual) };
        let at = moment.resolve(now)?;
        if at <= now {
            return Err(Failure::usage(format!("--at: {} is past already.", utc(at)))
                .hint("leave --at away to begin at once"));
        }
        let last = now.plus_secs(MAX_AHEAD);
        if at > last {
            let days = MAX_AHEAD / 86_400;
            return Err(Failure::usage(format!(
                "--at: {} is more than {days} days ahead; the last moment is {}.",
                utc(at),
                utc(last)
            )));
        }
        Ok(Manner::At(at))
    }
}

/// Which of the switches were set that bear on live access.
#[derive(Debug, Clone, Copy)]
struct Saying {
    new: bool,
    extend: bool,
    dry_run: bool,
}

pub(super) async fn cmd_login(context: &Context, args: LoginArgs) -> Result<Outcome, Failure> {
    args.check()?;
    let unattended = args.machine.is_some();
    let context =
        &Context { ui: Ui { unattended, ..context.ui.clone() }, home: context.home.clone() };
    let home = &context.home;
    let manner = args.manner(clock::now())?;
    let keeping = args.keeping();
    if args.break_glass.is_some() && !args.dry_run {
        break_glass::can_confirm(&context.ui, &args.hosts, &args.break_glass_confirm)?;
    }
    let enrolment = Enrolment::load(home)?;
    if let Some(machine) = args.machine.as_ref().filter(|machine| **machine != enrolment.id) {
        return Err(not_that_machine(machine, &enrolment.id));
    }
    // Before anything is asked for: what follows goes by it.
    Config::load(home)?;
    let mut ca = None;
    let kept = trust::kept_hosts(home, &enrolment.root)?;
    let hosts = match &kept {
        Some(kept) => completed(kept, &args.hosts)?,
        None => args.hosts,
    };
    let subject = match args.key.as_deref() {
        Some(path) => Subject::File(KeyFile::read(path)?),
        None => Subject::fresh()?,
    };
    let held = match held(context, &enrolment, &subject, keeping) {
        Err(failure) if args.dry_run && failure.outcome == Outcome::Agent => {
            dry_run::tell_of_agent(context, &failure);
            Vec::new()
        }
        held => held?,
    };
    let login = match args.login.clone() {
        Some(login) => login,
        None => {
            let ca = connect(context, &enrolment, &mut ca).await?;
            find_login(context, ca, &hosts).await?
        }
    };
    let saying = Saying { new: args.new, extend: args.extend, dry_run: args.dry_run };
    let mut wish = Wish {
        hosts,
        login,
        span: args.span,
        because: args.because,
        permit: args.permit,
        only: args.command,
        manner,
    };
    // What makes no request is an error too where none is needed.
    let unsaid = "not said yet".to_owned();
    statement::encode(&request(&enrolment, &wish, &subject, unsaid)?)?;
    let now = clock::now();
    let now_wanted = matches!(wish.manner, Manner::Usual | Manner::BreakGlass(_));
    let mut told = match &subject {
        Subject::Fresh(_) if now_wanted && !(args.new || args.extend) => {
            at_hand(context, &enrolment, &held, &wish, now)?
        }
        Subject::Fresh(_) | Subject::File(_) => AtHand::Nothing,
    };
    if let AtHand::Enough(access) = &told {
        if args.dry_run {
            return dry_run::nothing_asked(context, access);
        }
        access.tell(&context.ui, now)?;
        return Ok(Outcome::Done);
    }
    let ca = connect(context, &enrolment, &mut ca).await?;
    if kept.is_none() {
        let mut trust = Trust::load(home, &enrolment.root, ca.client()).await?;
        wish.hosts = completed(&trust.hosts(ca.client()).await?, &wish.hosts)?;
    }
    if matches!(wish.manner, Manner::BreakGlass(_))
        && let Some(usual) = break_glass::needless(context, ca, &wish, &subject).await
    {
        wish = usual;
    }
    if let Some(live) = standing_to_prolong(context, ca, &wish, saying, &mut told, now).await? {
        match extend::prolonging(context, ca, wish.clone(), &live, &subject).await {
            Ok(longer) => wish = longer,
            // Nobody said --extend: where the rule lets nobody prolong it, access is asked anew.
            Err(refused) if !args.extend && refused.outcome == Outcome::Refused => {
                extend::tell_of_new(context, &live, &refused);
            }
            Err(failure) => return Err(failure),
        }
    }
    let mut taken_up = Vec::new();
    if !args.new {
        let earlier = earlier_grants(context, &enrolment, &wish, &subject)?;
        let (same, others): (Vec<Grant>, Vec<Grant>) = earlier
            .into_iter()
            .partition(|grant| wish.differs_from(grant.request.body(), now).is_none());
        if let (true, Some(grant)) = (same.is_empty(), others.last()) {
            tell_of_other(context, &wish, grant, &told, now);
        }
        taken_up = same;
        if keeping != Keeping::Agent {
            taken_up.iter_mut().for_each(|grant| grant.keeping = keeping);
        }
    }
    let apart = several::Apart::of(&subject)?;
    let asked = if args.dry_run {
        dry_run::dry_run(context, ca, &wish, &subject, taken_up).await
    } else if let Some(outcome) = take_up(context, ca, args.no_wait, taken_up).await? {
        return Ok(outcome);
    } else {
        if args.asks_span {
            ask::ask_all(context, ca, &mut wish, &subject).await?;
        }
        ask(context, ca, args.no_wait, &args.break_glass_confirm, &wish, subject, keeping).await
    };
    match asked {
        Err(refused) => Err(apart.explained(ca, &wish, refused).await),
        asked => asked,
    }
}

fn not_that_machine(machine: &ActorId, enrolled: &ActorId) -> Failure {
    Failure::usage(format!("here one is enrolled as {enrolled}, not as {machine}."))
        .hint(format!("in the job: jit-ssh enroll URL --as {machine} --identity FILE"))
}

/// The live access that is to be prolonged, if one is. What was noted here of an access that is over
/// by what the CA says is dropped, and goes on as if it had not been there; a dry run passes it over.
async fn standing_to_prolong(
    context: &Context,
    ca: &mut Ca<'_>,
    wish: &Wish,
    saying: Saying,
    told: &mut AtHand,
    now: UnixTime,
) -> Result<Option<Live>, Failure> {
    let mut over = Vec::new();
    loop {
        let live = match wish.manner {
            Manner::Usual if !saying.new => live_for(context, ca.enrolment, wish, &over, now)?,
            _ => None,
        };
        let live = to_prolong(wish, live, told, saying.extend, now)?;
        let Some(noted) = &live else { return Ok(None) };
        if !is_over(context, ca, noted, saying.dry_run).await? {
            return Ok(live);
        }
        if told.id() == Some(noted.request.id().as_str()) {
            *told = AtHand::Nothing;
        }
        over.push(noted.request.digest());
    }
}

/// The live access that is to be prolonged: where that is said, or where more time is wanted than it
/// has left.
fn to_prolong(
    wish: &Wish,
    live: Option<Live>,
    told: &AtHand,
    extend: bool,
    now: UnixTime,
) -> Result<Option<Live>, Failure> {
    if extend {
        return live.map(Some).ok_or_else(extend::nothing_live);
    }
    let too_short = |live: &Live| match told {
        AtHand::TooShort(_) => true,
        // With too little permitted, more time is not all that is wanted.
        AtHand::TooLittle(_) | AtHand::Enough(_) => false,
        AtHand::Nothing => {
            let asked = live.request.body();
            wish.longer_than(live.access_until, Some(asked), now).is_some()
        }
    };
    Ok(live.filter(too_short))
}

/// Says that an earlier request for the same accounts stands and is another, unless it was told of.
fn tell_of_other(context: &Context, wish: &Wish, grant: &Grant, told: &AtHand, now: UnixTime) {
    let id = grant.request.id();
    if let Some(difference) = wish.differs_from(grant.request.body(), now)
        && told.id().is_none_or(|told| told != id.as_str())
        && wish.prolongs().is_none_or(|of| of.request != grant.digest())
    {
        context.ui.say(&format!("The earlier request {id} is left as it is: {difference}."));
    }
}

/// Connects, if that was not done yet: a login that is at hand needs no CA.
async fn connect<'a, 'b>(
    context: &'a Context,
    enrolment: &'a Enrolment,
    ca: &'b mut Option<Ca<'a>>,
) -> Result<&'b mut Ca<'a>, Failure> {
    if ca.is_none() {
        *ca = Some(Ca::connect(&context.home, enrolment).await?);
    }
    Ok(ca.as_mut().expect("connected just now"))
}
