//! `jit-ssh-ca apply`: checks the configuration, shows what changes, signs it, and hands it in.
//!
//! What is not as policy_test.toml expects is not signed; what `policy lint` finds is told. Shown is who gains and loses what, and then every field that changes.
//!
//! - [`difference`]: what changes between two bundles, pure;
//! - [`remote`]: the CA: what is in force there, what waits there, and handing in.

pub(crate) mod difference;
pub(crate) mod remote;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use jit_ssh_api::{CaUrl, Client};
use jit_ssh_core::bundle::{Bundle, BundleFiles, People, Policy};
use jit_ssh_core::deployment::{Deployment, Tls};
use jit_ssh_core::names::ActorId;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::policy::compare::{Reworked, Shift, compare, reworked};
use jit_ssh_core::policy::lint::Finding;
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{self, Kind};
use serde::Serialize;

use crate::anchor;
use crate::audit::folder::{Folder, deployment};
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::identity::Identity;
use crate::init::reachable;
use crate::policy::check::{require_cases, tell_lint};
use crate::policy::config::{Audience, read_files, tell};
use crate::policy::diff::{PrintedRule, PrintedShift, in_words, printed, printed_rule};
use crate::terminal;
use difference::Change;
use remote::{Handed, Remote, Waiting};

/// Puts the configuration in force.
#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    /// The configuration folder
    #[arg(long, value_name = "DIR")]
    config: PathBuf,
    /// Key file to sign with, or the .pub of a key in the ssh-agent
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The CA's enroll URL, from another machine than the CA's
    #[arg(long, value_name = "URL")]
    url: Option<CaUrl>,
    /// Do not ask before signing
    #[arg(long)]
    yes: bool,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Apply though policy_test.toml may not be as expected
    #[arg(long)]
    skip_tests: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    version: u64,
    in_force: bool,
    changes: Vec<String>,
    /// What people gain and lose.
    people: Vec<PrintedShift>,
    /// What changes in the rules in force.
    rules: Vec<PrintedRule>,
    /// What is found in the rules that is no error.
    warnings: Vec<String>,
    signed: &'a [ActorId],
    missing: usize,
}

/// Puts the configuration in force, or adds this admin's signature to what waits for more.
pub(crate) fn cmd_apply(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(apply(args))
}

async fn apply(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let Ca { url, root, here } = find_ca(args).await?;
    let files = read_files(&args.config)?;
    let (new, warnings) = check(args, &files, &root)?;
    let mut identity = Identity::find(args.identity.as_deref(), &root)?;
    let client = match here {
        Some(address) => Client::connect_at(address, &url, &root).await?,
        None => Client::connect(&url, &root).await?,
    };
    let remote = Remote::open(client, &root, &mut identity, clock::now()).await?;

    let current = remote.in_force().await?;
    if let Some(current) = &current
        && current.body.names(&files)
    {
        let version = current.body.version;
        terminal::say(&format!(
            "nothing changes: version {version} is in force and says the same."
        ));
        if args.json {
            print(version, Handed::in_force(&current.admins), &Differs::nothing(warnings), &root)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let differs = Differs::of(current.as_ref().and_then(|c| c.bundle.as_ref()), &new, warnings);
    let version = current.map_or(0, |current| current.body.version);
    let version = version.checked_add(1).context("there is no version after this one")?;
    show(version, &differs, args.json)?;
    let proposal = remote.proposal(version).await?;
    let waiting = proposal.filter(|waiting| {
        let same = waiting.body.names(&files);
        if !same {
            let by = names(&waiting.admins);
            terminal::say(&format!(
                "a proposal for version {version} by {by} says something else."
            ));
        }
        same
    });
    if let Some(waiting) = &waiting {
        terminal::say(&format!("signed already by {}.", names(&waiting.admins)));
    }
    if args.dry_run {
        if args.json {
            let signed = waiting.as_ref().map_or(&[][..], |waiting| &waiting.admins);
            print(version, Handed::waiting(signed), &differs, &root)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let handed = match &waiting {
        // Signing again would change nothing.
        Some(waiting) if waiting.admins.contains(identity.admin()) => {
            Handed::waiting(&waiting.admins)
        }
        _ => {
            if !args.yes {
                let question = format!("Sign version {version} as {}?", identity.admin());
                terminal::confirm(&question)?;
            }
            let (statement, signatures) = sign(&mut identity, &root, version, &files, waiting)?;
            remote.hand_in(statement, signatures, &files).await?
        }
    };
    finish(args.json, version, handed, &differs, &root)
}

/// A CA that was found.
struct Ca {
    url: CaUrl,
    root: Root,
    /// Where it listens, if on this machine: the URL's host may lead elsewhere.
    here: Option<SocketAddr>,
}

async fn find_ca(args: &ApplyArgs) -> anyhow::Result<Ca> {
    if let Some(url) = &args.url {
        let root = Client::fetch_root(url).await?;
        return Ok(Ca { url: url.clone(), root, here: None });
    }
    let deployment = deployment(&args.config)?;
    let (root, _) = Folder::of_state(&deployment.state).root().map_err(|error| {
        Failure::error(format!("{error:#}."))
            .hint("on another machine than the CA's, name the CA with --url")
            .hint("to make a CA: jit-ssh-ca init")
    })?;
    let here = reachable(deployment.listen);
    let place = name_here(&deployment, here)?;
    let url = format!("https://{place}#{}", root.fingerprint()).parse().map_err(|error| {
        Failure::error(format!("the CA can not be reached at {place}: {error}"))
            .hint("name it with --url")
    })?;
    Ok(Ca { url, root, here: Some(here) })
}

/// Host and port that the certificate of the CA on this machine is for: a certificate of our own is
/// for the address, an operator's for the host in the enroll URL.
fn name_here(deployment: &Deployment, here: SocketAddr) -> anyhow::Result<String> {
    if deployment.tls == Tls::SelfMade {
        return Ok(here.to_string());
    }
    let unnamed = |problem: String| Failure::error(problem).hint("name the CA with --url");
    let names = anchor::names(&anchor::folder(&deployment.state))
        .map_err(|error| unnamed(format!("{error:#}.")))?;
    let name = names.first().ok_or_else(|| {
        unnamed("the CA's state says no name that its certificate is for.".into())
    })?;
    let port = here.port();
    match name.parse::<Ipv6Addr>() {
        Ok(ip) => Ok(format!("[{ip}]:{port}")),
        Err(_) => Ok(format!("{name}:{port}")),
    }
}

/// What is checked before anything is signed: the files, what is expected of the rules, and what can
/// not be meant.
fn check(
    args: &ApplyArgs,
    files: &BundleFiles,
    root: &Root,
) -> anyhow::Result<(Bundle, Vec<Finding>)> {
    let config = &args.config;
    terminal::say(&format!("checking {} ...", config.display()));
    // The version is known only when the CA was asked, and no check hangs on it.
    let bundle = match Bundle::parse(1, files, &root.admin_keys()) {
        Ok(bundle) => bundle,
        Err(problems) => {
            let found = tell(&problems, Audience::People)?;
            let message = format!("{} has {found}; nothing was sent.", config.display());
            return Err(Failure::error(message).into());
        }
    };
    let now = clock::now();
    let found = tell_lint(&bundle, files, now);
    if args.skip_tests {
        terminal::say("warning: --skip-tests: what policy_test.toml expects was not checked.");
    } else {
        require_cases(config, &bundle, now)?;
    }
    Ok((bundle, found))
}

/// What an admin is shown before signing.
struct Differs {
    changes: Vec<Change>,
    shifts: Vec<Shift>,
    rules: Vec<Reworked>,
    warnings: Vec<Finding>,
}

impl Differs {
    fn nothing(warnings: Vec<Finding>) -> Differs {
        Differs { changes: Vec::new(), shifts: Vec::new(), rules: Vec::new(), warnings }
    }

    fn of(old: Option<&Bundle>, new: &Bundle, warnings: Vec<Finding>) -> Differs {
        // Before the first bundle nobody may do anything.
        let nobody =
            || Bundle { people: People::default(), policy: Policy::default(), ..new.clone() };
        let changes = difference::between(old, new);
        let shifts = match old {
            Some(old) => compare(old, new),
            None => compare(&nobody(), new),
        };
        // Where there were none, all rules are new, which the changes tell.
        let rules = old.map(|old| reworked(old, new, &shifts)).unwrap_or_default();
        Differs { changes, shifts, rules, warnings }
    }
}

/// Most lines of what people gain and lose.
const SHIFTS: usize = 100;

fn show(version: u64, differs: &Differs, json: bool) -> anyhow::Result<()> {
    let people = in_words(&differs.shifts, &differs.rules);
    let mut lines = vec![format!("version {version} means:")];
    lines.extend(people.iter().take(SHIFTS).map(|line| format!("  {line}")));
    let more = people.len().saturating_sub(SHIFTS);
    if more > 0 {
        lines.push(format!("  and {more} more; see all with: jit-ssh-ca policy diff"));
    }
    lines.push(format!("version {version} changes:"));
    for change in &differs.changes {
        lines.extend(change.to_string().split('\n').map(|line| format!("  {}", harmless(line))));
    }
    if differs.changes.is_empty() {
        lines.push("  nothing but comments, order and spelling".to_owned());
    }
    if json {
        terminal::say(&lines.join("\n"))
    } else {
        terminal::data(&lines.join("\n"))?
    }
    Ok(())
}

/// The statement to hand in, with all signatures there are: the one that waits, or a new one.
fn sign(
    identity: &mut Identity,
    root: &Root,
    version: u64,
    files: &BundleFiles,
    waiting: Option<Waiting>,
) -> anyhow::Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let (statement, mut signatures) = match waiting {
        Some(waiting) => (waiting.statement, waiting.signatures),
        None => {
            let ca = root.fingerprint();
            let body = statement::Bundle::new(ca, version, files, clock::now());
            (statement::encode(&body)?, Vec::new())
        }
    };
    signatures.push(identity.sign(Kind::Bundle, &statement)?);
    Ok((statement, signatures))
}

fn finish(
    json: bool,
    version: u64,
    handed: Handed,
    differs: &Differs,
    root: &Root,
) -> anyhow::Result<ExitCode> {
    let signed = names(&handed.signed);
    if handed.in_force {
        terminal::say(&format!("version {version} is in force, signed by {signed}."));
    } else {
        let missing = root.threshold().saturating_sub(handed.signed.len());
        let others: Vec<ActorId> = root
            .admins()
            .iter()
            .map(|admin| admin.id.clone())
            .filter(|id| !handed.signed.contains(id))
            .collect();
        terminal::say(&format!(
            "version {version} waits: signed by {signed}; {missing} more of {} must sign.",
            names(&others)
        ));
        terminal::say("hint: they run `jit-ssh-ca apply` with these same files");
    }
    let code = if handed.in_force { 0 } else { Outcome::Pending.code() };
    if json {
        print(version, handed, differs, root)?;
    }
    Ok(ExitCode::from(code))
}

fn print(version: u64, handed: Handed, differs: &Differs, root: &Root) -> anyhow::Result<()> {
    let Handed { in_force, signed } = handed;
    let missing = root.threshold().saturating_sub(signed.len());
    terminal::object(&Printed {
        version,
        in_force,
        changes: differs.changes.iter().map(ToString::to_string).collect(),
        people: differs.shifts.iter().map(printed).collect(),
        rules: differs.rules.iter().map(printed_rule).collect(),
        warnings: differs.warnings.iter().map(|found| found.at.message.clone()).collect(),
        signed: &signed,
        missing,
    })
}

fn names(ids: &[ActorId]) -> String {
    if ids.is_empty() {
        return "nobody".to_owned();
    }
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
