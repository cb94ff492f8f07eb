//! Asks a jit-ssh CA for access to a host, waits, takes the certificate, checks it, and runs ssh.
//!
//! ```text
//! access 'https://ca.example:7443#SHA256:...' deploy-bot ~/.ssh/id_ed25519 deploy@prod-host \
//!        'INC-42 restart the queue' -- ssh -p 22 deploy@10.0.0.5 uptime
//! ```
//!
//! After `--` stands the command to run once access is there; it is given the key by `-i`. The own key
//! signs from its file, or through ssh-agent where only FILE.pub is there. A host behind a bastion needs
//! the certificates in `jumps`, too, which this leaves alone.

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jit_ssh_api::agent::Agent;
use jit_ssh_api::own_key::{KeyFile, KeyFileError, OwnKey};
use jit_ssh_api::{ApiError, CaUrl, Client, v1};
use jit_ssh_core::bundle::{Permit, Signers};
use jit_ssh_core::certificate::Scope;
use jit_ssh_core::digest::Digest;
use jit_ssh_core::names::Principal;
use jit_ssh_core::receipt::{self, Receipt};
use jit_ssh_core::root::Root;
use jit_ssh_core::statement::{self, Body, Nonce, Request, Session, Verified};
use jit_ssh_core::time::{Seconds, UnixTime};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{LineEnding, PrivateKey};

const USAGE: &str = "usage: access URL ID KEY LOGIN@HOST REASON -- COMMAND [ARGUMENT...]";
const ACCESS: Seconds = Seconds::new(600).expect("not zero");
const SESSION: Seconds = Seconds::new(3_600).expect("not zero");
/// Before a stream that the CA ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, me, identity, target, reason, dashes, command @ ..] = args.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (true, Some((program, rest))) = (dashes == "--", command.split_first()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let run = |key: &Path| Command::new(program).arg("-i").arg(key).args(rest).status();
    match access(url, me, identity, target, reason, run).await {
        Ok(code) => code,
        Err(error) => {
            let refused = matches!(error.downcast_ref(), Some(ApiError::Refused(_)));
            eprintln!("{}{error}", if refused { "the CA refuses: " } else { "" });
            ExitCode::FAILURE
        }
    }
}

/// From a request to what `run` makes of the key, beside which the certificate then lies.
async fn access(
    url: &str,
    me: &str,
    identity: &str,
    target: &str,
    reason: &str,
    run: impl Fn(&Path) -> std::io::Result<std::process::ExitStatus>,
) -> Outcome<ExitCode> {
    let url: CaUrl = url.parse()?;
    let target: Principal = target.parse()?;
    let mut own = own_key(Path::new(identity))?;
    // Trust begins with the pin: of a stranger's root.json nothing is believed but what it confirms.
    let root = Client::fetch_root(&url).await?;
    let client = Client::connect(&url, &root).await?;

    // A fresh key for this access alone.
    let pair = PrivateKey::from(Ed25519Keypair::from_seed(&rand::random()));
    let key = pair.public_key().to_openssh()?.parse()?;
    let (hosts, logins) = (vec![target.host().clone()], vec![target.login().clone()]);
    let (reason, nonce) = (reason.to_owned(), Nonce(rand::random()));
    let mut request =
        Request::new(url.pin(), me.parse()?, key, hosts, logins, ACCESS, reason, now(), nonce);
    request.permit = vec![Permit::Pty];
    let request = sign(&mut own, &request)?;
    let submit = v1::SubmitRequest { request: Some((&request).into()), certify: true };
    let answer = client.submit(submit).await?;
    // Of this request alone is spoken from here on, by the digest computed, not by the one that came.
    let digest = request.digest().to_string();
    let certificate = match answer.certificate {
        Some(certificate) => certificate,
        None => {
            eprintln!("waiting for {}", answer.approvers.join(", "));
            let session =
                Session::new(url.pin(), me.parse()?, SESSION, now(), Nonce(rand::random()));
            let session = Some((&sign(&mut own, &session)?).into());
            let opened = client.open_session(v1::OpenSessionRequest { session }).await?;
            wait(&client.clone().with_token(&opened.token)?, &digest).await?;
            let certified = client.certify(v1::CertifyRequest { digest }).await?;
            certified.certificate.ok_or("the CA answered without a certificate")?
        }
    };
    let signers = signers(&client, &root).await?;
    let line = checked(&certificate, &request, &signers)?;

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("key");
    pair.write_openssh_file(&file, LineEnding::LF)?;
    std::fs::write(folder.path().join("key-cert.pub"), line)?; // ssh finds it beside the key
    let code = run(&file)?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The key in `file`, or the one of `file`.pub in ssh-agent.
fn own_key(file: &Path) -> Outcome<OwnKey> {
    let found = match KeyFile::read(file) {
        Err(KeyFileError::Absent) => {
            let mut public = file.as_os_str().to_owned();
            public.push(".pub");
            KeyFile::read(Path::new(&public))
        }
        found => found,
    };
    Ok(match found.map_err(|error| format!("{}: {error}", file.display()))? {
        KeyFile::Private(own) => own,
        KeyFile::Public(key) => OwnKey::in_agent(Agent::open()?, key),
    })
}

/// Signs a statement.
fn sign<T: Body>(own: &mut OwnKey, body: &T) -> Outcome<Verified<T>> {
    let bytes = statement::encode(body)?;
    let signature = own.sign(T::KIND, &bytes)?;
    Ok(statement::open(&bytes, &signature, body.ca())?)
}

/// Returns once the request is approved.
async fn wait(client: &Client, digest: &str) -> Outcome<()> {
    loop {
        let what = v1::watch_request::What::Id(digest.to_owned());
        let mut watch = client.watch(v1::WatchRequest { what: Some(what) }).await?;
        while let Some(state) = watch.next().await? {
            match state.status() {
                v1::Status::Pending => {}
                v1::Status::Approved | v1::Status::Active => return Ok(()),
                _ => return Err(format!("no access: {}", state.detail).into()),
            }
        }
        // The server ended, not the request: the first answer tells how things stand now.
        tokio::time::sleep(PAUSE).await;
    }
}

/// The signers that the admins named.
async fn signers(client: &Client, root: &Root) -> Outcome<Signers> {
    let parts = vec![v1::BundlePart::Signers.into()];
    let answer = client.get_bundle(v1::GetBundleRequest { parts, proposal: false }).await?;
    let signed = answer.bundle.ok_or("the CA has no bundle yet")?;
    let bundle = statement::open_bundle(&signed.statement, &signed.signatures, root)?;
    let file = answer.files.iter().find(|file| file.part() == v1::BundlePart::Signers);
    let file = file.map(|file| &file.content[..]).unwrap_or_default();
    if !bundle.is_complete(root) || Digest::of(file) != bundle.body.signers {
        return Err("the CA's signers.toml is not the one its admins signed".into());
    }
    Ok(Signers::parse(file)?)
}

/// The certificate as a line for ssh, if it is what was asked for, of a signer named, and in its log.
fn checked(
    certificate: &v1::Certificate,
    request: &Verified<Request>,
    signers: &Signers,
) -> Outcome<String> {
    let receipt = Receipt::from(certificate);
    let accepted = receipt::check(&receipt, request, &Scope::Access, signers, None, now())?;
    eprintln!("access until {}", accepted.access_until.utc());
    Ok(format!("{}\n", accepted.certificate.to_openssh()?))
}

#[allow(clippy::disallowed_methods, reason = "the one function here that asks the clock")]
fn now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}
