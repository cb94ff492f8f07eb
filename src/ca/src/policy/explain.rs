//! `jit-ssh-ca policy explain`: what the rules say to one request, supposed or real.
//!
//! - `words`: how it reads; `past`: what is said of a request of the log: where it stands, and what was
//!   certified, which later rules do not change.

mod past;
mod words;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jit_ssh_core::bundle::{Bundle, Strength};
use jit_ssh_core::digest::IdPrefix;
use jit_ssh_core::lifecycle::{Evaluation, Status, could_approve, evaluate};
use jit_ssh_core::names::{ActorId, HostName, Login};
use jit_ssh_core::policy::Asked;
use jit_ssh_core::policy::judgement::{Judgement, Supposed, SupposedError, judge};
use jit_ssh_core::policy::moment::Moment;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_core::time::{Seconds, UnixTime};

use super::config::{Audience, Config};
use crate::audit::folder::Folder;
use crate::clock;
use crate::failure::Failure;
use crate::history::{History, Past};
use crate::terminal;
use words::Explained;

/// Explains one request.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// A request of the log, judged under the bundle in force
    #[arg(value_name = "ID", conflicts_with_all = ["who", "host", "login", "span"])]
    id: Option<IdPrefix>,
    /// The configuration; with ID: judge under its rules [default: ca-config]
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// With ID: a state folder, or one that `log export` made
    #[arg(long, value_name = "DIR", requires = "id")]
    from: Option<PathBuf>,
    /// Who would ask
    #[arg(long, value_name = "ID", required_unless_present = "id")]
    who: Option<ActorId>,
    /// Whom a machine would ask for
    #[arg(long, value_name = "ID", conflicts_with = "id")]
    for_person: Option<ActorId>,
    /// The host; may be repeated
    #[arg(long, value_name = "HOST", required_unless_present = "id")]
    host: Vec<HostName>,
    /// The login; may be repeated
    #[arg(long = "as", value_name = "LOGIN", required_unless_present = "id")]
    login: Vec<Login>,
    /// For how long
    #[arg(long = "for", value_name = "TIME", required_unless_present = "id")]
    span: Option<Seconds>,
    /// The reason
    #[arg(long, value_name = "TEXT", conflicts_with = "id")]
    because: Option<String>,
    /// When, like 2026-11-24T10:00:00Z [default: now]
    #[arg(long, value_name = "TIME", conflicts_with = "id")]
    at: Option<Moment>,
    /// From which address [default: one that the rule takes]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "id")]
    address: Option<IpAddr>,
    /// The second reason, to go ahead without approvals
    #[arg(long, value_name = "TEXT", conflicts_with = "id")]
    break_glass: Option<String>,
    /// The only command it would run
    #[arg(long, value_name = "COMMAND", conflicts_with = "id")]
    command: Option<String>,
    /// With which kind of key: any, hardware or verified
    #[arg(long, value_name = "KIND", default_value = "any", conflicts_with = "id")]
    strength: Strength,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A reason with a ticket's number, long enough for most rules.
const SOME_REASON: &str = "INC-1 CHG-1 OPS-1 #1: supposed, to see what the rules say to it";

const DEFAULT_CONFIG: &str = "ca-config";

/// Explains one request.
pub(crate) fn cmd_explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let now = clock::now();
    let config = args.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
    match (&args.id, supposed(args, now)) {
        (Some(id), _) => real(args, id, config, now),
        (None, Some(supposed)) => {
            let bundle = Config::read(config, Audience::of(args.json))?.bundle;
            let judgement = supposed.judge(&bundle).map_err(|error| refused(&error))?;
            show(&Explained::supposed(&judgement, &bundle), args.json)
        }
        (None, None) => Err(Failure::usage("name --who, --host, --as and --for, or an ID.").into()),
    }
}

fn supposed(args: &ExplainArgs, now: UnixTime) -> Option<Supposed> {
    Some(Supposed {
        by: args.who.clone()?,
        subject: args.for_person.clone(),
        hosts: args.host.clone(),
        logins: args.login.clone(),
        span: args.span?,
        reason: args.because.clone().unwrap_or_else(|| SOME_REASON.to_owned()),
        break_glass: args.break_glass.clone(),
        command: args.command.clone(),
        strength: args.strength,
        from: args.address,
        at: args.at.map_or(now, |moment| moment.0),
    })
}

fn refused(error: &SupposedError) -> Failure {
    let failure = Failure::usage(format!("{error}."));
    match error {
        SupposedError::Form(_) => failure,
        SupposedError::Unknown(_) => failure.hint("those who sign are in people.toml"),
    }
}

fn real(
    args: &ExplainArgs,
    id: &IdPrefix,
    config: &Path,
    now: UnixTime,
) -> anyhow::Result<ExitCode> {
    let folder = Folder::named(args.from.as_deref(), config)?;
    let history = History::read(&folder, UnixTime(0))?;
    history.tell_gaps();
    let past = history.find(id)?;
    // Named, it says under which rules to judge; unnamed, only where the state is.
    let bundle = match (&args.config, &history.bundle) {
        (Some(config), _) => Config::read(config, Audience::of(args.json))?.bundle,
        (None, Some(bundle)) => bundle.clone(),
        (None, None) => {
            return Err(Failure::named("NO_BUNDLE", "no bundle in force can be read.")
                .hint("name a configuration to judge under with --config")
                .into());
        }
    };
    let rules = match &args.config {
        Some(config) => format!("the rules of {}", config.display()),
        None => "the rules in force".to_owned(),
    };
    show(&explained(past, &bundle, now, &rules), args.json)
}

/// All there is to say of a request of the log. `rules` is what to call those of `bundle`.
fn explained(past: &Past, bundle: &Bundle, now: UnixTime, rules: &str) -> Explained {
    let evaluation = evaluate(&past.chain, past.view(bundle), now);
    let judgement = judge_past(past, bundle);
    let could = still_asked(past, &evaluation, bundle);
    Explained::real(past, &judgement, &evaluation, could, bundle, rules)
}

/// What the rules say to a request of the log.
fn judge_past<'b>(past: &'b Past, bundle: &'b Bundle) -> Judgement<'b> {
    let request = past.request();
    let known = bundle.people.get(&request.by).filter(|a| a.keys.contains(past.signed().key()));
    let Some(requester) = known else {
        let message = format!("{}, or the key that signed it, is not in people.toml.", request.by);
        return Judgement {
            request: request.clone(),
            decision: Err(Refusal::new(Reason::UnknownSigner, message)),
            denied_by: None,
            nearest: None,
            others: Vec::new(),
        };
    };
    let presence = past.signed().presence();
    judge(
        Asked { request, requester, presence, extension: past.extension },
        past.view(bundle),
        past.recorded,
    )
}

/// Who could still approve it so that it changes something.
fn still_asked(past: &Past, evaluation: &Evaluation<'_>, bundle: &Bundle) -> Vec<ActorId> {
    match (&evaluation.status, evaluation.rule) {
        (Status::Pending, Some(rule)) => {
            could_approve(&past.chain, rule, bundle).map(|actor| actor.id.clone()).collect()
        }
        _ => Vec::new(),
    }
}

fn show(explained: &Explained, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        terminal::object(explained)?;
    } else {
        terminal::data(&explained.in_words())?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
