//! `jit-ssh-ca apply`: checks the configuration, shows what changes, signs it, and hands it in.
//!
//! - [`difference`]: what changes between two bundles, pure;
//! - [`remote`]: the CA: what is in force there, what waits there, and handing in.

mod difference;
mod remote;

use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use jit_ssh_api::{CaUrl, Client};
use jit_ssh_core::bundle::{Bundle, BundleFiles};
use jit_ssh_core::deployment::{Deployment, Tls};
use jit_ssh_core::names::ActorId;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{self, Kind};
use serde::Serialize;

use crate::anchor;
use crate::audit::folder::{Folder, deployment};
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::identity::Identity;
use crate::init::reachable;
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
    let new = parse(&files, &root, &args.config)?;
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
            print(version, Handed::in_force(&current.admins), &[], &root)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let changes = difference::between(current.as_ref().and_then(|c| c.bundle.as_ref()), &new);
    let version = current.map_or(0, |current| current.body.version);
    let version = version.checked_add(1).context("there is no version after this one")?;
    show(version, &changes, args.json)?;
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
            print(version, Handed::waiting(signed), &changes, &root)?;
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
    finish(args.json, version, handed, &changes, &root)
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

fn read_files(config: &Path) -> anyhow::Result<BundleFiles> {
    let read = |name: &str| {
        let path = config.join(name);
        let too_long = || {
            let max = BundleFiles::MAX_BYTES;
            io::Error::other(format!("it is longer than the {max} bytes a bundle may have"))
        };
        let length = fs::metadata(&path).map(|data| data.len());
        length
            .and_then(|length| match usize::try_from(length) {
                Ok(length) if length <= BundleFiles::MAX_BYTES => fs::read(&path),
                _ => Err(too_long()),
            })
            .with_context(|| format!("cannot read {}", path.display()))
    };
    Ok(BundleFiles {
        people: read("people.toml")?,
        hosts: read("hosts.toml")?,
        policy: read("policy.toml")?,
        signers: read("signers.toml")?,
    })
}

fn parse(files: &BundleFiles, root: &Root, config: &Path) -> anyhow::Result<Bundle> {
    // The version is known only when the CA was asked, and no check hangs on it.
    Bundle::parse(1, files, &root.admin_keys()).map_err(|problems| {
        let count = problems.0.len();
        terminal::say(&format!("{problems}\n"));
        let found = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
        Failure::error(format!("{} has {found}; nothing was sent.", config.display())).into()
    })
}

fn show(version: u64, changes: &[Change], json: bool) -> anyhow::Result<()> {
    let heading = format!("version {version} changes:");
    let mut lines = vec![heading];
    for change in changes {
        lines.extend(change.to_string().split('\n').map(|line| format!("  {}", harmless(line))));
    }
    if changes.is_empty() {
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
    changes: &[Change],
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
        print(version, handed, changes, root)?;
    }
    Ok(ExitCode::from(code))
}

fn print(version: u64, handed: Handed, changes: &[Change], root: &Root) -> anyhow::Result<()> {
    let Handed { in_force, signed } = handed;
    let missing = root.threshold().saturating_sub(signed.len());
    let changes = changes.iter().map(ToString::to_string).collect();
    terminal::object(&Printed { version, in_force, changes, signed: &signed, missing })
}

fn names(ids: &[ActorId]) -> String {
    if ids.is_empty() {
        return "nobody".to_owned();
    }
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
