//! From a configuration folder to a front that serves, and back down in order.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::routing::get;
use jit_ssh_core::deployment::{Deployment, SignerPlace};
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::enrolment::View;
use jit_ssh_core::lifecycle::evaluate;
use jit_ssh_core::root::Root;
use jit_ssh_signer::protocol::State;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Rlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tracing_subscriber::EnvFilter;

use super::eras::Eras;
use super::front::{Front, Log, Watching};
use super::heard::Heard;
use super::in_force::{Standing, Trusted};
use super::memory::Memory;
use super::metrics::Metrics;
use super::signer_link::{Lost, Place, SignerLink};
use super::store::sqlite::SqliteStore;
use super::store::{Record, Store, StoreError};
use super::{approvals, clock, enrolment, follower, health, host_feed, listener, routes, tls};
use crate::failure::Failure;

/// How long the signer may take to be ready.
const SIGNER_READY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
/// Of how many statements found in the log at start the approvals are noted.
const MAX_NOTED: usize = 10_000;
/// How many bundles' files may be on their way out at a time.
const SENDING_FILES: usize = 4;

/// Serves until told to stop.
pub(super) fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    // What the front writes is for its own user.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .enable_all()
        .build()?;
    runtime.block_on(serve(config)).map_err(with_remedy)
}

/// The same with what to do about a damaged database, if that is the cause.
fn with_remedy(error: anyhow::Error) -> anyhow::Error {
    let store = error.chain().find_map(|cause| cause.downcast_ref::<StoreError>());
    match store.and_then(StoreError::hint) {
        Some(hint) => Failure::error(format!("{error:#}.")).hint(hint).into(),
        None => error,
    }
}

/// Takes as many descriptors as the system lets us have: each connection needs one.
fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files can not be raised");
    }
}

async fn serve(config: &Path) -> anyhow::Result<ExitCode> {
    // From here on a signal ends the front in order, even before it serves.
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let deployment = deployment(config)?;
    let folder = deployment.state.join("front");
    let _lock = lock(&folder)?;
    let root_path = deployment.state.join("root.json");
    let root_bytes =
        fs::read(&root_path).with_context(|| format!("cannot read {}", root_path.display()))?;
    let root = Root::parse(&root_bytes)?;
    let shown = tls::Shown::new(&deployment.tls, &deployment.state, deployment.listen, &root)?;
    let acceptor = TlsAcceptor::from(tls::server(shown.clone())?);
    let store = Arc::new(SqliteStore::open(&folder.join("jit-ssh.db"))?);
    let place = match &deployment.signer {
        SignerPlace::Child => Place::child(config.to_owned(), &deployment.state)?,
        SignerPlace::Socket(path) => Place::Socket(path.clone()),
    };
    let lost = Arc::new(Lost::default());
    let (signer, link) = SignerLink::start(place, lost.clone());
    let (stop, stopping) = watch::channel(false);

    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let serving = async {
        let signer_state = ready(&signer).await?;
        let log = log(&deployment, &signer_state)?;
        let fingerprint = root.fingerprint();
        let trusted = Trusted::new(deployment.state.join("bundles"));
        trusted.reload(&root)?;
        let memory = remember(&signer, &*store, &log, fingerprint, &trusted).await?;
        let eras = eras(&*store, &deployment.state.join("bundles"), &root, &trusted).await?;
        let front = Front {
            fingerprint,
            root_bytes: root_bytes.into(),
            root,
            limits: deployment.limits.clone(),
            trusted,
            eras,
            memory,
            signer,
            lost,
            store: store.clone(),
            sessions: Default::default(),
            rates: Default::default(),
            metrics: Metrics::default(),
            log,
            watching: Watching::default(),
            heard: Heard::default(),
            host_feed: Default::default(),
            applying: Default::default(),
            sending_files: tokio::sync::Semaphore::new(SENDING_FILES),
            stopping,
        };
        up(Arc::new(front), &deployment, acceptor).await
    };
    let mut background = Background(vec![tokio::spawn(shown.keep_fresh())]);
    let result = tokio::select! {
        result = serving => result,
        () = told => Ok(None),
    };
    let result = match result {
        Ok(None) => Ok(()),
        Ok(Some(running)) => {
            background.0.extend(running.helpers);
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
            let _ = stop.send(true);
            running.listener.await.context("the listener failed")
        }
        Err(error) => Err(error),
    };
    let _ = stop.send(true);
    drop(background);
    // Nothing is asked of them any more: what was is finished.
    link.close().await;
    tokio::task::spawn_blocking(move || store.close()).await?;
    tracing::info!("stopped");
    result.map(|()| ExitCode::SUCCESS)
}

/// A front that serves.
struct Running {
    listener: JoinHandle<()>,
    helpers: Vec<JoinHandle<()>>,
}

/// Tasks that end with their owner.
struct Background(Vec<JoinHandle<()>>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn up(
    front: Arc<Front>,
    deployment: &Deployment,
    acceptor: TlsAcceptor,
) -> anyhow::Result<Option<Running>> {
    let (routes, reporter) = routes::routes(&front)?;
    let port = TcpListener::bind(deployment.listen)
        .await
        .with_context(|| format!("cannot listen on {}", deployment.listen))?;
    let address = port.local_addr()?;
    let mut helpers = Vec::new();
    if let Some(metrics) = deployment.metrics {
        let port = TcpListener::bind(metrics)
            .await
            .with_context(|| format!("cannot serve metrics on {metrics}"))?;
        tracing::info!(address = %port.local_addr()?, "serving metrics");
        helpers.push(tokio::spawn(serve_metrics(front.clone(), port)));
    }
    helpers.push(tokio::spawn(health::watch(front.clone(), reporter)));
    helpers.push(tokio::spawn(follower::follow(front.clone())));
    helpers.push(tokio::spawn(host_feed::feed(front.clone())));
    let listener = tokio::spawn(listener::serve(front, port, acceptor, routes));
    // Whoever started us may have closed stdout; that is no reason not to serve.
    let _ = writeln!(std::io::stdout(), "serving on https://{address}");
    tracing::info!(%address, "serving");
    Ok(Some(Running { listener, helpers }))
}

async fn serve_metrics(front: Arc<Front>, port: TcpListener) {
    let shared = front.clone();
    let text = get(move || {
        let text = shared.metrics.text();
        async move {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(axum::http::header::CONTENT_TYPE, kind)], text)
        }
    });
    let router = axum::Router::new().route("/metrics", text);
    if let Err(error) = axum::serve(port, router).await {
        tracing::error!(%error, "metrics are not served any more");
    }
}

fn deployment(config: &Path) -> anyhow::Result<Deployment> {
    let path = config.join("ca.toml");
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Deployment::parse(&bytes).map_err(|problems| {
        anyhow::Error::from(Failure::error(format!(
            "{} can not be used.\n{problems}",
            path.display()
        )))
    })
}

/// Makes sure that no other front works on this state, as long as the file is open.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let owner = fs::metadata(folder).map(|data| data.uid());
    let owner = owner.with_context(|| format!("cannot use {}", folder.display()))?;
    // The files that root would leave here are closed to the front's own user.
    if owner != 0 && rustix::process::geteuid().is_root() {
        return Err(Failure::error(format!(
            "{} belongs to the user with uid {owner}, and this is root.",
            folder.display()
        ))
        .hint("start the front as that user, as `init` said: setpriv --reuid=... jit-ssh-ca serve ...")
        .into());
    }
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(Failure::error(format!("another `serve` uses {} already.", folder.display()))
                .hint("stop that one first")
                .into())
        }
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Waits for the signer.
///
/// # Errors
/// If it can not start, which it will not the next time either; or if it does not answer.
async fn ready(signer: &SignerLink) -> anyhow::Result<State> {
    let begun = tokio::time::Instant::now();
    loop {
        let asked = tokio::select! {
            asked = follower::state(signer) => asked,
            why = signer.can_not_start() => {
                return Err(Failure::error(format!("the signer can not start: {why}."))
                    .hint("mend what it names, then start `serve` again")
                    .into());
            }
        };
        match asked {
            Ok(state) => return Ok(state),
            Err(error) if begun.elapsed() > SIGNER_READY => {
                return Err(error.context("the signer did not become ready"));
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

fn log(deployment: &Deployment, signer: &State) -> anyhow::Result<Log> {
    let key = signer.log_key.parse().context("the signer's log key can not be used")?;
    Ok(Log { dir: deployment.state.join("log"), signer: signer.number, key })
}

/// The bundles that were in force, from the store.
async fn eras(
    store: &dyn Store,
    folder: &Path,
    root: &Root,
    trusted: &Trusted,
) -> anyhow::Result<Arc<Eras>> {
    let eras = Eras::new(folder.to_owned(), root.clone());
    store.bundles().await?.into_iter().for_each(|bundle| eras.note(bundle));
    let current = trusted.current();
    let new = current.and_then(|current| eras.note_current(&current, clock::now()));
    store.append(new.into_iter().map(Record::Bundle).collect()).await?;
    Ok(Arc::new(eras))
}

/// What is known: the store, completed from the log, and of it in memory what may still change.
async fn remember(
    signer: &SignerLink,
    store: &dyn Store,
    log: &Log,
    ca: RootFingerprint,
    trusted: &Trusted,
) -> anyhow::Result<Memory> {
    let found = follower::catch_up(signer, store, log).await?.requests;
    enrolment::load(store, trusted, ca, clock::now()).await?;
    let in_force = trusted.current();
    if !found.is_empty() {
        tracing::info!(statements = found.len(), "taken over from the log");
    }
    let memory = Memory::new(ca, store.ids().await?);
    let view = in_force.as_ref().map(Standing::view);
    memory.take_up(store, view, clock::now()).await?;
    if let Some(current) = in_force {
        note_approvals(store, &memory, current.view(), found).await?;
    }
    Ok(memory)
}

/// Notes how long the newest approvals took that were found in the log.
async fn note_approvals(
    store: &dyn Store,
    memory: &Memory,
    view: View<'_>,
    found: Vec<Digest>,
) -> anyhow::Result<()> {
    let newest = found.len().saturating_sub(MAX_NOTED);
    for request in follower::once_each(found.into_iter().skip(newest).collect()) {
        let Some(stored) = store.chain(request).await? else { continue };
        if stored.decisions.is_empty() {
            continue;
        }
        let Some(known) = memory.read(store, stored).await? else { continue };
        let evaluation = evaluate(&known.chain, view, clock::now());
        if let Some(record) = approvals::record(&known, &evaluation) {
            store.append(vec![record]).await?;
        }
    }
    Ok(())
}
