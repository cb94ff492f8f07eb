//! `jit-ssh bastion`: sshd's `ForceCommand` on a bastion. Who logs in there asks for a host behind it, waits, and
//! is connected as what was granted; the bastion asks for them, by a key of its own.
//!
//! Promises: who it is comes from sshd and never from what they type; no byte of what they type reaches a shell
//! on the bastion; the key that is certified is in this process's memory and nowhere else, and signs one login;
//! what was granted is given back when the connection ends, and the connection ends with the grant.
//!
//! - here: from the login to the connection;
//! - `asked.rs`: what was typed; `person.rs`: who typed it, as sshd says; `choice.rs`: which host and account;
//! - `session.rs`: ssh onward, and its end; `onward.rs`: its command line, and what it needs beside it.

mod asked;
mod choice;
mod onward;
mod person;
mod session;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use jit_ssh_api::v1::{self, Status};
use jit_ssh_core::bundle::Permit;
use jit_ssh_core::certificate::Scope;
use jit_ssh_core::names::ActorId;
use jit_ssh_core::statement::{self, Cause, End, Request};
use jit_ssh_core::time::Seconds;

use super::login::ask::{ask_reason, ask_span, asked as told};
use super::login::dry_run::UNSAID;
use crate::ca::{self, Ca};
use crate::cli::Context;
use crate::clock;
use crate::enrolment::Enrolment;
use crate::failure::{Failure, Outcome};
use crate::follow::{Changes, Follow, Followed, Until, follow};
use crate::grants::{Grant, Keeping, Subject};
use crate::notify::Notifier;
use crate::obtain;
use crate::submission::submit_from_here;
use crate::text::{relative, utc};
use crate::trust::Trust;
use crate::ui::Ui;
use crate::view::RequestRef;
use crate::wish;
use asked::{Asked, What};
use choice::Choice;
use session::{Departure, Session};

/// How long the CA may take to hear that what was asked or granted is not needed any more.
const FAREWELL: Duration = Duration::from_secs(5);

/// Ask for who logs in to this bastion, and connect them onward: sshd's ForceCommand.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples, in sshd_config and in authorized_keys on the bastion:\n  \
    ForceCommand jit-ssh bastion\n  \
    command=\"jit-ssh bastion --person alice\",restrict,pty ssh-ed25519 AAAA... alice\n\n\
    Examples, for who logs in there:\n  \
    ssh -t bastion\n  \
    ssh bastion deploy@prod-host --because INC-42 disk full --for 10m -- df -h\n  \
    scp -o SetEnv='JIT_SSH_TO=prod-host JIT_SSH_BECAUSE=INC-42' file bastion:/tmp/\n\n\
    docs/bastions.md says how a bastion is set up.")]
pub(crate) struct BastionArgs {
    /// The person, by key or account [default: whom the certificate names].
    #[arg(long, value_name = "ID")]
    person: Option<ActorId>,
}

pub(super) async fn cmd_bastion(context: &Context, args: BastionArgs) -> Result<Outcome, Failure> {
    if std::env::var_os("SSH_CONNECTION").is_none() {
        return Err(Failure::usage("this is run by sshd, for who logs in to a bastion.")
            .hint("put it into sshd_config: ForceCommand jit-ssh bastion"));
    }
    session::keep_to_itself()?;
    // stdout is for what runs on the host.
    let ui = Ui { no_data: true, ..context.ui.clone() };
    let context = &Context { ui, home: context.home.clone() };
    let asked = Asked::read()?;
    let enrolment = Enrolment::load(&context.home)?;
    let mut ca = Ca::connect(&context.home, &enrolment).await?;
    let mut trust = Trust::load(&context.home, &enrolment.root, ca.client()).await?;
    let person = person::vouched_for(args.person, &mut trust, ca.client()).await?;
    let choice = choice::choose(&context.ui, &mut ca, &mut trust, asked.to.clone()).await?;
    let broker = Broker { context, person, choice, what: asked.what.clone() };
    broker.connect(&mut ca, &mut trust, asked).await
}

/// Asks for one person, and connects them.
struct Broker<'a> {
    context: &'a Context,
    person: ActorId,
    choice: Choice,
    what: What,
}

/// What became of the request so far, from which follows how it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It stands, and there was no certificate.
    Asked,
    /// There is a certificate.
    Certified,
    /// Others have ended it: there is nothing to give up.
    Over,
}

impl Broker<'_> {
    async fn connect(
        &self,
        ca: &mut Ca<'_>,
        trust: &mut Trust<'_>,
        asked: Asked,
    ) -> Result<Outcome, Failure> {
        let subject = Subject::fresh()?;
        let mut request = self.request(ca, &subject, asked.because.as_deref(), asked.span)?;
        self.ask_missing(ca, &mut request, &asked).await?;
        // Typing takes a while, and a statement is made when it is sent.
        request.at = clock::now();
        let (request, answer) = submit_from_here(ca, &mut request).await?;
        let grant = Grant { request, subject, prolongs: None, keeping: Keeping::Files };
        let digest = grant.digest();
        let mut stage = Stage::Asked;
        let ended = self.carry_out(ca, trust, grant, &answer, &mut stage).await;
        let farewell = match stage {
            Stage::Over => return ended,
            Stage::Asked => Cause::Cancel,
            Stage::Certified => Cause::Release,
        };
        let (by, of) = (ca.enrolment.id.clone(), ca.enrolment.ca());
        let end = End::new(of, by, digest, farewell, None, clock::now());
        let said = tokio::time::timeout(FAREWELL, async {
            let end = Some(ca.enrolment.identity.sign(&end)?.to_message());
            ca.client().end(v1::EndRequest { end }).await.map_err(Failure::from)
        });
        // It ends by itself all the same, and nothing is left here that it could be used with.
        if !matches!(said.await, Ok(Ok(_))) {
            let id = digest.short_id();
            self.context.ui.say(&format!("note: the CA did not hear that {id} is not needed now."));
        }
        ended
    }

    /// The request, as far as it is known what is wanted.
    fn request(
        &self,
        ca: &Ca<'_>,
        subject: &Subject,
        because: Option<&str>,
        span: Option<Seconds>,
    ) -> Result<Request, Failure> {
        let mut request = Request::new(
            ca.enrolment.ca(),
            ca.enrolment.id.clone(),
            subject.public()?,
            vec![self.choice.host.clone()],
            vec![self.choice.login.clone()],
            span.unwrap_or(wish::USUAL_SPAN),
            because.unwrap_or(UNSAID).to_owned(),
            clock::now(),
            ca::nonce(),
        );
        request.subject = self.person.clone();
        if io::stdin().is_terminal() {
            request.permit = vec![Permit::Pty];
        }
        if let What::Command(command) = &self.what {
            // Who decides sees what will run, and nothing else does. A few commands can not be said in a
            // request: those with line breaks, or longer than any that a person would read.
            request.command = Some(command.clone());
            if statement::encode(&request).is_err() {
                request.command = None;
            }
        }
        statement::encode(&request)?;
        Ok(request)
    }

    /// Asks why and how long, as far as neither was said and somebody can be asked.
    async fn ask_missing(
        &self,
        ca: &mut Ca<'_>,
        request: &mut Request,
        asked: &Asked,
    ) -> Result<(), Failure> {
        let ui = &self.context.ui;
        if asked.because.is_some() {
            return Ok(());
        }
        let otherwise = "say why you need it: after the host by --because TEXT, or by \
            -o SetEnv='JIT_SSH_TO=HOST JIT_SSH_BECAUSE=TEXT'";
        let reason = ask_reason(ui, ca, request, otherwise).await?;
        request.reason = wish::reason(&reason).map_err(|e| Failure::usage(format!("{e}.")))?;
        if asked.span.is_none() {
            request.r#for = ask_span(ui, ca, request).await?;
        }
        Ok(())
    }

    async fn carry_out(
        &self,
        ca: &mut Ca<'_>,
        trust: &mut Trust<'_>,
        grant: Grant,
        answer: &v1::SubmitResponse,
        stage: &mut Stage,
    ) -> Result<Outcome, Failure> {
        let ui = &self.context.ui;
        let mut departure = Departure::watch()?;
        if answer.certificate.is_none() && answer.status() == Status::Pending {
            ui.say(&told(&grant, answer, clock::now()));
            tokio::select! {
                decided = self.decided(ca, &grant, stage) => decided?,
                () = departure.wait() => return Err(gone(&grant)),
            }
        }
        let certificate = match &answer.certificate {
            Some(certificate) => certificate.clone(),
            None => obtain::certify(ca, grant.digest()).await?.access,
        };
        *stage = Stage::Certified;
        // The bastion is on the way already: what it needs for jumps is of no use here.
        let accepted = obtain::check(ca, trust, &grant, &Scope::Access, &certificate).await?;
        let now = clock::now();
        ui.say(&format!(
            "{}: {}@{} until {} ({}), request {}.",
            self.person,
            self.choice.login,
            self.choice.host,
            utc(accepted.access_until),
            relative(accepted.access_until, now),
            grant.request.id()
        ));
        obtain::catch_up(trust, ca, &certificate).await?;
        let known_hosts = onward::known_hosts(ui, trust, ca.client(), &self.choice.host).await?;
        let place = onward::place(trust, ca.client(), &self.choice.host).await?;
        let session = Session {
            context: self.context,
            choice: &self.choice,
            what: &self.what,
            place,
            known_hosts,
        };
        let (outcome, over) = session.run(ca, grant, &accepted, &mut departure).await?;
        if over {
            *stage = Stage::Over;
        }
        outcome
    }

    /// Waits for a yes.
    async fn decided(
        &self,
        ca: &mut Ca<'_>,
        grant: &Grant,
        stage: &mut Stage,
    ) -> Result<(), Failure> {
        let Context { ui, home } = self.context;
        let named = RequestRef::Digest(grant.digest());
        let notifier = Notifier::load(ui, home)?;
        let (until, changes) = (Until::Decided, Changes::Quiet);
        let how = Follow { named: &named, until, changes, stands: true, notifier: &notifier };
        match follow(ui, ca, how).await? {
            Followed::Interrupted => Err(gone(grant)),
            Followed::Decided(view) => match view.failure() {
                Some(failure) => {
                    *stage = Stage::Over;
                    Err(Failure { hint: None, ..failure })
                }
                None => {
                    if let Some(less) = view.granted_less() {
                        ui.say(&format!("Less than what was asked for is {less}."));
                    }
                    Ok(())
                }
            },
        }
    }
}

/// Who asked went away before it was decided.
fn gone(grant: &Grant) -> Failure {
    let id = grant.request.id();
    Failure::new(Outcome::Over, "CANCELLED", format!("request {id} is taken back."))
}
