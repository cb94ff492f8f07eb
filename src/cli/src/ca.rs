//! The person's connection to the CA: connected once per command, with a session for reading that
//! is kept between commands in the runtime folder.

use jit_ssh_api::{ApiError, Client, Reason, Watch, v1};
use jit_ssh_core::statement::{Nonce, Session};
use jit_ssh_core::time::{Seconds, UnixTime};
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::enrolment::Enrolment;
use crate::failure::Failure;
use crate::home::{self, Home};

const SESSION: &str = "session.json";
/// How long a session is asked for: a working day, so that a security key is touched once.
const SESSION_LENGTH: Seconds = Seconds::new(8 * 3600).expect("8 h is not zero");
/// A session this near its end, in seconds, is opened anew.
const NEARLY_OVER: u32 = 30;

/// A session, as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSession {
    v: u8,
    /// Which enrolment it belongs to: URL, id and key.
    of: String,
    token: String,
    until: UnixTime,
}

/// A connection in the name of the enrolled person.
#[derive(Debug)]
pub(crate) struct Ca<'a> {
    home: &'a Home,
    /// Who is enrolled where.
    pub(crate) enrolment: &'a Enrolment,
    client: Client,
    reader: Option<Client>,
}

impl<'a> Ca<'a> {
    /// Connects.
    pub(crate) async fn connect(
        home: &'a Home,
        enrolment: &'a Enrolment,
    ) -> Result<Ca<'a>, Failure> {
        let client = Client::connect(&enrolment.url, &enrolment.root).await?;
        Ok(Ca { home, enrolment, client, reader: None })
    }

    /// For calls that need no session: those that carry a statement, `Certify`, and public parts.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Makes a call that needs a session, opening one where needed.
    pub(crate) async fn read<T>(
        &mut self,
        call: impl AsyncFn(&Client) -> Result<T, ApiError>,
    ) -> Result<T, Failure> {
        let client = self.reader().await?;
        match call(&client).await {
            Err(error) if error.reason() == Some(Reason::NoSession) => {
                self.open_session().await?;
                let client = self.reader().await?;
                Ok(call(&client).await?)
            }
            answer => Ok(answer?),
        }
    }

    /// One request, by id, prefix or digest.
    pub(crate) async fn get(&mut self, id: &str) -> Result<v1::AccessState, Failure> {
        Ok(self.get_with(id, false).await?.0)
    }

    /// The same with what its subject was granted there before, if that is to be seen.
    pub(crate) async fn get_with_earlier(
        &mut self,
        id: &str,
    ) -> Result<(v1::AccessState, Option<v1::AccessState>), Failure> {
        self.get_with(id, true).await
    }

    async fn get_with(
        &mut self,
        id: &str,
        earlier_grant: bool,
    ) -> Result<(v1::AccessState, Option<v1::AccessState>), Failure> {
        let message = v1::GetRequest { id: id.to_owned(), earlier_grant };
        let answer = self.read(async |client| client.get(message.clone()).await).await?;
        let none = || Failure::untrue("the CA answered without a request.");
        Ok((answer.access.ok_or_else(none)?, answer.earlier_grant))
    }

    /// Follows one request.
    pub(crate) async fn watch(&mut self, id: &str) -> Result<Watch, Failure> {
        self.watch_what(v1::watch_request::What::Id(id.to_owned())).await
    }

    /// Follows what there is to be followed.
    pub(crate) async fn watch_what(
        &mut self,
        what: v1::watch_request::What,
    ) -> Result<Watch, Failure> {
        let what = Some(what);
        self.read(async |client| client.watch(v1::WatchRequest { what: what.clone() }).await).await
    }

    async fn reader(&mut self) -> Result<Client, Failure> {
        if let Some(reader) = &self.reader {
            return Ok(reader.clone());
        }
        match self.stored_session()? {
            Some(session) => self.use_session(&session.token),
            None => self.open_session().await,
        }
    }

    /// The connection with the session that is kept, if it still holds: nothing is signed, so nobody is
    /// asked for a touch or a yes.
    pub(crate) fn kept_reader(&mut self) -> Option<Client> {
        let session = self.stored_session().ok()??;
        self.use_session(&session.token).ok()
    }

    fn use_session(&mut self, token: &str) -> Result<Client, Failure> {
        let reader = self.client.clone().with_token(token)?;
        self.reader = Some(reader.clone());
        Ok(reader)
    }

    fn stored_session(&self) -> Result<Option<StoredSession>, Failure> {
        let path = self.home.runtime(SESSION);
        let Some(bytes) = home::read(&path)? else { return Ok(None) };
        let now = clock::now().plus_secs(NEARLY_OVER);
        let session = serde_json::from_slice::<StoredSession>(&bytes).ok();
        Ok(session.filter(|s| s.v == 1 && s.of == self.session_owner() && s.until > now))
    }

    fn session_owner(&self) -> String {
        let Enrolment { url, id, identity, .. } = self.enrolment;
        format!("{url} {id} {}", identity.key.fingerprint())
    }

    /// Opens a session and keeps it.
    pub(crate) async fn open_session(&mut self) -> Result<Client, Failure> {
        let Enrolment { id, identity, .. } = self.enrolment;
        let ca = self.enrolment.ca();
        let session = Session::new(ca, id.clone(), SESSION_LENGTH, clock::now(), nonce());
        let session = Some(identity.sign(&session)?.to_message());
        let opened = self.client.open_session(v1::OpenSessionRequest { session }).await?;
        let stored = StoredSession {
            v: 1,
            of: self.session_owner(),
            token: opened.token,
            until: UnixTime(opened.until),
        };
        let path = self.home.runtime(SESSION);
        let bytes = serde_json::to_vec(&stored).map_err(|e| Failure::file(&path, e))?;
        home::write(&path, &bytes)?;
        self.use_session(&stored.token)
    }
}

/// Forgets the session of this home.
pub(crate) fn forget_session(home: &Home) -> Result<(), Failure> {
    home::remove(&home.runtime(SESSION))
}

/// A fresh nonce.
pub(crate) fn nonce() -> Nonce {
    let mut bytes = [0u8; 16];
    rand::rng().fill_bytes(&mut bytes);
    Nonce(bytes)
}
