//! `jit-ssh-host setup`: makes this host's sshd accept the CA's certificates, or stop doing so.

mod ask;
mod foresee;
mod run;

use std::path::{Path, PathBuf};

use clap::Args;
use jit_ssh_api::CaUrl;
use jit_ssh_api::join::JoinToken;
use jit_ssh_core::names::HostName;
use serde::Serialize;

use crate::enroll;
use crate::error::CommandError;
use crate::fetch;
use crate::guard_service;
use crate::hook;
use crate::host_certificate;
use crate::labels::Labels;
use crate::layout::{DEFAULT_ETC, DEFAULT_RUN, Layout};
use crate::offline;
use crate::plan::{GuardLines, Wanted};
use crate::settings::{self, Guard, Settings};
use crate::sshd::{Effective, Sshd};
use crate::verify::MayReplace;
use ask::{Answer, Question};
use run::{Goal, Host, LiveSessions, Told, run};

/// The guard's unit as it is shipped.
const UNIT: &str = crate::guard::UNIT;

/// Make sshd accept certificates of the CA for this host's logins, and verify it.
#[derive(Args)]
#[command(
    after_help = "Shows the difference, writes it, checks with `sshd -t` and `sshd -T` that it is in force and that\n\
    every login can log in with a certificate, puts everything back if not, and reloads sshd.\n\
    Running it again changes nothing, and uses no token again.\n\n\
    Example:\n  jit-ssh-host setup --ca 'https://ca.example:7443#SHA256:...' --name prod-host --dry-run\n\n\
    Exit codes: 0 done, 1 error, 2 usage, 7 CA unreachable"
)]
pub(crate) struct SetupArgs {
    /// The CA: https://HOST:PORT#SHA256:..., as `jit-ssh-ca init` prints it
    #[arg(long, value_name = "URL", required_unless_present_any = ["remove", "token"])]
    ca: Option<CaUrl>,
    /// This host's name, in hosts.toml or by which it joins
    #[arg(long, required_unless_present = "remove")]
    name: Option<HostName>,
    /// Joins first, by the join token in FILE; - for stdin
    #[arg(long, value_name = "FILE", conflicts_with = "remove")]
    token: Option<PathBuf>,
    /// Where host files are put, and what they refer to
    #[arg(long, value_name = "DIR", default_value = DEFAULT_ETC)]
    etc: PathBuf,
    /// sshd's main file [default: sshd_config in --etc]
    #[arg(long, value_name = "FILE")]
    sshd_config: Option<PathBuf>,
    /// The sshd to ask [default: found in PATH, /usr/sbin or /usr/local/sbin]
    #[arg(long, value_name = "PATH")]
    sshd: Option<PathBuf>,
    /// required, optional or off [default: required where sshd uses PAM]
    #[arg(long, value_enum, hide_possible_values = true)]
    guard: Option<Guard>,
    /// The PAM service file for the guard's hook [default: this sshd's]
    #[arg(long, value_name = "FILE")]
    pam: Option<PathBuf>,
    /// Where the guard's socket is
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN, hide = true)]
    run: PathBuf,
    /// Lets the sealed key in FILE certify logins, too (docs/offline.md)
    #[arg(long, value_name = "FILE")]
    offline_ca: Option<PathBuf>,
    /// Goes on where certificates of this CA are the only way in
    #[arg(long)]
    allow_lock_out: bool,
    /// Lets CAs that others trust go: sshd takes one list of CAs only
    #[arg(long)]
    replace_cas: bool,
    /// Lets a RevokedKeys of others go: sshd takes one only
    #[arg(long)]
    replace_revoked_keys: bool,
    /// With --remove or --guard off: ends the sessions that the guard watches
    #[arg(long)]
    end_sessions: bool,
    /// With --remove or --guard off: lets them go on, and nothing ends them
    #[arg(long, conflicts_with = "end_sessions")]
    leave_sessions: bool,
    /// Shows the difference and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// Takes out what setup wrote
    #[arg(long)]
    remove: bool,
    /// Prints one JSON object on stdout
    #[arg(long)]
    json: bool,
    /// Accepted for scripts: setup asks nothing
    #[arg(long)]
    yes: bool,
}

/// What happened, as `--json` tells it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    name: Option<&'a HostName>,
    etc: &'a Path,
    guard: Option<&'a str>,
    changed: Vec<&'a Path>,
    removed: Vec<&'a Path>,
    reloaded: bool,
    dry_run: bool,
}

/// Runs `jit-ssh-host setup`.
pub(crate) fn cmd_setup(args: &SetupArgs) -> Result<(), CommandError> {
    let layout = Layout::new(&args.etc, args.sshd_config.as_deref())?.with_run(&args.run)?;
    let sshd = Sshd::find(args.sshd.as_deref(), layout.config())?;
    let layout = pam_file(args, layout, &sshd)?;
    let service = guard_service::System::find(&layout);
    let labels = Labels::find();
    let host = Host { layout: &layout, sshd: &sshd, guard: &service, labels: &labels };
    let told = Told {
        dry_run: args.dry_run,
        may_replace: MayReplace { cas: args.replace_cas, revoked_keys: args.replace_revoked_keys },
        allow_lock_out: args.allow_lock_out,
        live_sessions: live_sessions(args)?,
    };
    let token = args.token.as_deref().map(enroll::read_token).transpose()?;
    let goal = match (the_ca(args.ca.as_ref(), token.as_ref())?, &args.name) {
        _ if args.remove => Goal::Removed,
        (Some(ca), Some(name)) => {
            let as_told = AsTold { ca, name, token: token.as_ref() };
            Goal::SetUp(Box::new(wanted(args, &as_told, &host, told)?))
        }
        _ => return Err(CommandError::usage("setup needs --ca and --name.")),
    };
    let done = run(&host, &goal, told)?;
    if args.json {
        let report = Report {
            name: args.name.as_ref(),
            etc: layout.etc(),
            guard: match &goal {
                Goal::SetUp(wanted) => Some(wanted.settings.guard.as_str()),
                Goal::Removed => None,
            },
            changed: done.plan.changed(),
            removed: done.plan.removed(),
            reloaded: done.reloaded,
            dry_run: args.dry_run,
        };
        let json = serde_json::to_string(&report)
            .map_err(|e| CommandError::new(format!("The report can not be written: {e}.")))?;
        println!("{json}");
    }
    Ok(())
}

/// What becomes of live sessions, which is to be said only where the guard goes.
fn live_sessions(args: &SetupArgs) -> Result<LiveSessions, CommandError> {
    let told = match (args.end_sessions, args.leave_sessions) {
        (true, _) => LiveSessions::End,
        (false, true) => LiveSessions::Leave,
        (false, false) => return Ok(LiveSessions::Refuse),
    };
    if args.remove || args.guard == Some(Guard::Off) {
        return Ok(told);
    }
    Err(CommandError::usage(
        "--end-sessions and --leave-sessions are for --remove and --guard off: otherwise the guard goes on with its sessions.",
    ))
}

/// The layout with the PAM service file that was named; else with the one of `host.toml` where it is
/// to be taken out; else with the one that this sshd reads.
fn pam_file(args: &SetupArgs, layout: Layout, sshd: &Sshd) -> Result<Layout, CommandError> {
    let before = || {
        let text = std::fs::read_to_string(layout.settings()).ok()?;
        settings::parse(&text).ok().map(|settings| settings.pam)
    };
    let named = match &args.pam {
        Some(named) => Some(named.clone()),
        None => before().filter(|_| args.remove),
    };
    match named {
        Some(named) => layout.with_pam(&named),
        None => {
            let service = sshd.pam_service(&asked(sshd)?);
            let file = layout.pam().with_file_name(service);
            layout.with_pam(&file)
        }
    }
}

/// What is in force for root, in whose stead the general settings are looked at.
fn asked(sshd: &Sshd) -> Result<Effective, CommandError> {
    let root = "root".parse().map_err(|e| CommandError::new(format!("{e}.")))?;
    sshd.effective(&root).map_err(|e| e.hint("it was so before setup; nothing is changed"))
}

/// The CA that was named, or the one of the token; which must be the same.
fn the_ca<'a>(
    named: Option<&'a CaUrl>,
    token: Option<&'a JoinToken>,
) -> Result<Option<&'a CaUrl>, CommandError> {
    let of_token = token.map(JoinToken::url);
    match (named, of_token) {
        (Some(named), Some(of_token)) if named.pin() != of_token.pin() => {
            Err(CommandError::new("The join token is of another CA than --ca.")
                .named("OTHER_CA")
                .hint("nothing is changed, and the token is not used"))
        }
        (named, of_token) => Ok(named.or(of_token)),
    }
}

/// Which host it shall be, of which CA.
struct AsTold<'a> {
    ca: &'a CaUrl,
    name: &'a HostName,
    token: Option<&'a JoinToken>,
}

fn wanted(
    args: &SetupArgs,
    as_told: &AsTold<'_>,
    host: &Host<'_>,
    told: Told,
) -> Result<Wanted, CommandError> {
    let Host { layout, sshd, guard: service, .. } = host;
    let AsTold { ca, name, token } = *as_told;
    let guard = match args.guard {
        Some(guard) => guard,
        None => usual_guard(layout, &asked(sshd)?),
    };
    let lines = match guard {
        Guard::Off => None,
        Guard::Required | Guard::Optional => {
            let program = hook::program()?;
            let unit = |path: &Path| (path.to_owned(), guard_service::unit(UNIT, layout, &program));
            let (hook, unit) = (hook::line(layout, &program), service.unit().map(unit));
            Some(GuardLines { hook, unit })
        }
    };
    let offline_ca = args.offline_ca.as_deref().map(offline::read).transpose()?;
    let own_keys = host_certificate::own_keys(&asked(sshd)?);
    let settings = Settings {
        ca: ca.clone(),
        name: name.clone(),
        guard,
        sshd_config: layout.config().to_owned(),
        pam: layout.pam().to_owned(),
        offline_ca,
    };
    let wanted = |answer: Answer| {
        let Answer { facts, host_certificate, enrolment } = answer;
        let (settings, guard) = (settings.clone(), lines.clone());
        Wanted { facts, settings, guard, host_certificate, enrolment }
    };
    let question = Question { ca, name, layout, own_keys: &own_keys, token, dry_run: args.dry_run };
    let runtime = fetch::network()?;
    let preview = |answer| run::preview(host, &Goal::SetUp(Box::new(wanted(answer))), told);
    let answer = runtime.block_on(ask::ask(&question, preview))?;
    if let Some(key) = &settings.offline_ca {
        offline::check(key, &answer.facts)?;
        eprintln!("warning: {}", offline::warning(key, &answer.facts));
    }
    Ok(wanted(answer))
}

/// What logins ask of the guard where nobody said: it is required wherever sshd would call its hook.
fn usual_guard(layout: &Layout, effective: &Effective) -> Guard {
    if effective.is_on("UsePAM") && layout.pam().is_file() {
        return Guard::Required;
    }
    eprintln!(
        "warning: this host gets no guard (--guard off), since sshd here does without PAM: sessions live on after their certificate ends"
    );
    Guard::Off
}

#[cfg(test)]
mod tests;
