//! The client: one connection to one CA, every call with a deadline and a limit on what it takes in.

use std::net::SocketAddr;
use std::time::Duration;

use jit_ssh_core::bundle::BundleFiles;
use jit_ssh_core::digest::{Digest, RootFingerprint};
use jit_ssh_core::root::{Root, RootError};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use crate::dial::Dialer;
use crate::v1::access_client::AccessClient;
use crate::v1::hosts_client::HostsClient;
use crate::v1::log_client::LogClient;
use crate::v1::trust_client::TrustClient;
use crate::v1::{self};
use crate::{ApiError, CaUrl};

/// How long one call may take, from the first byte sent to the last received. `Watch` has no end.
const CALL: Duration = Duration::from_secs(30);
/// How often a silent connection is asked whether it still lives, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);
/// Largest answer that is taken in: a thousand requests at their longest, with their decisions.
const MAX_ANSWER: usize = 64 << 20;
/// Largest bundle: its files, and room for the statement around them.
const MAX_BUNDLE: usize = BundleFiles::MAX_BYTES + (1 << 20);
/// Largest `root.json`. What is asked of a stranger is short.
const MAX_ROOT: usize = 256 << 10;

/// Why there is no connection that can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("the CA at {ca} can not be reached: {problem}")]
    Unreachable {
        /// Where it should be.
        ca: String,
        /// What the system says.
        problem: String,
    },
    /// Somebody answers, but not the CA.
    #[error("the server at {ca} is not the CA that was pinned: {problem}")]
    Untrusted {
        /// Where it should be.
        ca: String,
        /// What TLS found.
        problem: String,
    },
    /// The root is not the one that was pinned.
    #[error("the CA's root.json has the fingerprint {found}, but {pinned} was pinned")]
    Pin {
        /// The fingerprint asked for.
        pinned: RootFingerprint,
        /// The fingerprint of what came.
        found: RootFingerprint,
    },
    /// The root is the pinned one, but makes no sense.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The root's TLS anchor is no certificate.
    #[error("the TLS anchor in root.json is unusable: {0}")]
    Anchor(String),
    /// A session token with characters that no token has.
    #[error("the session token is not printable ASCII")]
    Token,
    /// The connection stands, but the first call failed.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// A connection to the CA. Cheap to clone: clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
}

impl Client {
    /// First contact: fetches `root.json` from a server that nothing is known of, and believes it
    /// only if its SHA-256 is the pin. `to_bytes` of the answer gives the exact bytes.
    ///
    /// # Errors
    /// [`ClientError::Pin`] if another root came; [`ClientError::Unreachable`] if none.
    pub async fn fetch_root(url: &CaUrl) -> Result<Root, ClientError> {
        let client = Client::over(url, Dialer::trusting_nobody(url)).await?;
        let mut trust = TrustClient::new(client.channel).max_decoding_message_size(MAX_ROOT);
        let answer = in_time(trust.get_root(v1::GetRootRequest {})).await?;
        let found = RootFingerprint(Digest::of(&answer.root));
        if found != url.pin() {
            return Err(ClientError::Pin { pinned: url.pin(), found });
        }
        Ok(Root::parse(&answer.root)?)
    }

    /// Connects to the CA, which must prove itself by the TLS anchor of `root`.
    ///
    /// # Errors
    /// [`ClientError::Pin`] if `root` is not the one the URL pins; [`ClientError::Unreachable`] if
    /// nobody answers, [`ClientError::Untrusted`] if somebody else does.
    pub async fn connect(url: &CaUrl, root: &Root) -> Result<Client, ClientError> {
        Client::over(url, pinned(url, root)?).await
    }

    /// The certificate by which the CA proves itself now, in DER.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn server_certificate(url: &CaUrl, root: &Root) -> Result<Vec<u8>, ClientError> {
        let stream = pinned(url, root)?.dial().await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        Ok(shown.map(|certificate| certificate.to_vec()).unwrap_or_default())
    }

    /// What time it is at the CA, as HTTP's `date` has it; `None` if the CA does not say.
    ///
    /// # Errors
    /// [`ApiError`] if it does not answer.
    pub async fn date(&self) -> Result<Option<String>, ApiError> {
        let mut trust = TrustClient::new(self.channel.clone()).max_decoding_message_size(MAX_ROOT);
        let call = trust.get_root(self.request(v1::GetRootRequest {}));
        let Ok(answer) = tokio::time::timeout(CALL, call).await else { return Err(too_late()) };
        let date =
            answer?.metadata().get("date").and_then(|date| date.to_str().ok()).map(str::to_owned);
        Ok(date)
    }

    /// The same by way of `address`, whatever the URL's host resolves to: on the CA's own machine.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_at(
        address: SocketAddr,
        url: &CaUrl,
        root: &Root,
    ) -> Result<Client, ClientError> {
        Client::over(url, pinned(url, root)?.at(address)).await
    }

    async fn over(url: &CaUrl, dialer: Dialer) -> Result<Client, ClientError> {
        let ca = url.authority();
        let unreachable = |problem: String| ClientError::Unreachable { ca: ca.clone(), problem };
        // tonic would do TLS itself for an https endpoint, so it is told http; the origin, which
        // the server sees, is the true one.
        let endpoint = Endpoint::from_shared(format!("http://{ca}"))
            .map_err(|e| unreachable(e.to_string()))?
            .origin(
                http::Uri::try_from(format!("https://{ca}"))
                    .map_err(|e| unreachable(e.to_string()))?,
            )
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PONG);
        match endpoint.connect_with_connector(dialer).await {
            Ok(channel) => Ok(Client { channel, token: None }),
            Err(error) => Err(dial_error(&error).unwrap_or_else(|| unreachable(error.to_string()))),
        }
    }

    /// The same connection with a session (`Trust.OpenSession`) for every further call.
    ///
    /// # Errors
    /// [`ClientError::Token`] if the token can not be sent.
    pub fn with_token(mut self, token: &str) -> Result<Client, ClientError> {
        let mut token: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().map_err(|_| ClientError::Token)?;
        // Kept out of HPACK's table and of debug output.
        token.set_sensitive(true);
        self.token = Some(token);
        Ok(self)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    /// Follows one request, or all the caller may decide. Has no deadline.
    ///
    /// # Errors
    /// [`ApiError`] if the service refuses or does not answer.
    pub async fn watch(&self, message: v1::WatchRequest) -> Result<Watch, ApiError> {
        let mut access =
            AccessClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let request = self.request(message);
        match tokio::time::timeout(CALL, access.watch(request)).await {
            Ok(answer) => Ok(Watch(answer?.into_inner())),
            Err(_) => Err(too_late()),
        }
    }

    /// Follows what [`Client::check`] says. Has no deadline.
    ///
    /// # Errors
    /// [`ApiError`] if the service refuses or does not answer.
    pub async fn watch_check(&self, question: v1::CheckRequest) -> Result<CheckWatch, ApiError> {
        let what = Some(v1::watch_request::What::Check(question));
        Ok(CheckWatch(self.watch(v1::WatchRequest { what }).await?.0))
    }

    /// Hears what all hosts must know at once, and what is for the host that signed the session
    /// statement `host`. Has no deadline.
    ///
    /// # Errors
    /// [`ApiError`] if the service refuses or does not answer.
    pub async fn watch_hosts(
        &self,
        host: Option<v1::SignedStatement>,
    ) -> Result<HostWatch, ApiError> {
        let mut hosts =
            HostsClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let request = self.request(v1::WatchHostsRequest { host });
        match tokio::time::timeout(CALL, hosts.watch(request)).await {
            Ok(answer) => Ok(HostWatch(answer?.into_inner())),
            Err(_) => Err(too_late()),
        }
    }
}

/// A dialer that trusts `root`, if it is the one the URL pins.
fn pinned(url: &CaUrl, root: &Root) -> Result<Dialer, ClientError> {
    let found = root.fingerprint();
    if found != url.pin() {
        return Err(ClientError::Pin { pinned: url.pin(), found });
    }
    Dialer::trusting(url, root)
}

/// The error our own dialer gave, dug out of tonic's.
fn dial_error(error: &tonic::transport::Error) -> Option<ClientError> {
    let error: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<ClientError>())
        .cloned()
}

fn too_late() -> ApiError {
    ApiError::Unreachable(format!("no answer within {} s", CALL.as_secs()))
}

async fn in_time<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, ApiError> {
    // Not tonic's own timeout: that one stops at the answer's headers.
    match tokio::time::timeout(CALL, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(too_late()),
    }
}

/// What `Access.Watch` sends.
#[derive(Debug)]
pub struct Watch(Streaming<v1::WatchResponse>);

impl Watch {
    /// The next state of a request; `None` when the service ended the stream.
    ///
    /// # Errors
    /// [`ApiError`] if the connection broke or the service gave up.
    pub async fn next(&mut self) -> Result<Option<v1::AccessState>, ApiError> {
        match self.0.message().await? {
            Some(v1::WatchResponse { access: Some(access), .. }) => Ok(Some(access)),
            Some(v1::WatchResponse { access: None, .. }) => {
                Err(ApiError::Foreign("a change without a request".to_owned()))
            }
            None => Ok(None),
        }
    }
}

/// What `Access.Watch` sends where it follows `Access.Check`.
#[derive(Debug)]
pub struct CheckWatch(Streaming<v1::WatchResponse>);

impl CheckWatch {
    /// The next answer; `None` when the service ended the stream.
    ///
    /// # Errors
    /// [`ApiError`] if the connection broke or the service gave up.
    pub async fn next(&mut self) -> Result<Option<v1::CheckResponse>, ApiError> {
        match self.0.message().await? {
            Some(v1::WatchResponse { check: Some(answer), .. }) => Ok(Some(answer)),
            Some(v1::WatchResponse { check: None, .. }) => {
                Err(ApiError::Foreign("a change without an answer".to_owned()))
            }
            None => Ok(None),
        }
    }
}

/// What `Hosts.Watch` sends.
#[derive(Debug)]
pub struct HostWatch(Streaming<v1::WatchHostsResponse>);

impl HostWatch {
    /// The next news for hosts; `None` when the service ended the stream. Check what it carries.
    ///
    /// # Errors
    /// [`ApiError`] if the connection broke or the service gave up.
    pub async fn next(&mut self) -> Result<Option<v1::WatchHostsResponse>, ApiError> {
        Ok(self.0.message().await?)
    }
}

/// Writes a method for each unary call.
macro_rules! calls {
    ($client:ident, $max:expr, $($(#[$doc:meta])* $call:ident($request:ident) -> $response:ident;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`ApiError`] if the service refuses or does not answer within 30 s.
                pub async fn $call(&self, message: v1::$request) -> Result<v1::$response, ApiError> {
                    let mut client =
                        $client::new(self.channel.clone()).max_decoding_message_size($max);
                    in_time(client.$call(self.request(message))).await
                }
            )*
        }
    };
}

calls! { AccessClient, MAX_ANSWER,
    /// Says what would follow from a request, without making it.
    explain(ExplainRequest) -> ExplainResponse;
    /// Hands in a signed request.
    submit(SubmitRequest) -> SubmitResponse;
    /// Hands in a signed decision.
    decide(DecideRequest) -> DecideResponse;
    /// Hands in a signed end statement.
    end(EndRequest) -> EndResponse;
    /// Asks for a certificate of an approved request.
    certify(CertifyRequest) -> CertifyResponse;
    /// Shows one request.
    get(GetRequest) -> GetResponse;
    /// Shows requests, newest first.
    list(ListRequest) -> ListResponse;
    /// Says whether a person has live access as a login on a host.
    check(CheckRequest) -> CheckResponse;
}

calls! { HostsClient, MAX_ANSWER,
    /// Hands in what a host tells of its logins.
    report_sessions(ReportSessionsRequest) -> ReportSessionsResponse;
    /// The certificate of a host. Check it with core's `check_host`.
    renew_host_certificate(RenewHostCertificateRequest) -> RenewHostCertificateResponse;
    /// Hands in a signed host or token.
    enroll(EnrollRequest) -> EnrollResponse;
    /// What vouches for hosts that joined. Check each with [`crate::join::vouched`].
    get_enrolments(GetEnrolmentsRequest) -> GetEnrolmentsResponse;
}

calls! { TrustClient, MAX_BUNDLE,
    /// The bundle in force, or the parts asked for. Check it with core's `open_bundle`.
    get_bundle(GetBundleRequest) -> GetBundleResponse;
    /// Hands in a signed bundle.
    apply_bundle(ApplyBundleRequest) -> ApplyBundleResponse;
    /// The user CA keys of the bundle in force; unproven without `get_bundle`.
    get_ca_keys(GetCaKeysRequest) -> GetCaKeysResponse;
    /// The revocation lists of all signers. Check each with core's `krl::open`.
    get_krl(GetKrlRequest) -> GetKrlResponse;
    /// Opens a session for reading.
    open_session(OpenSessionRequest) -> OpenSessionResponse;
}

impl Client {
    /// Lists hosts by name.
    ///
    /// # Errors
    /// [`ApiError`] if the service refuses or does not answer within 30 s.
    pub async fn list_hosts(
        &self,
        message: v1::ListHostsRequest,
    ) -> Result<v1::ListHostsResponse, ApiError> {
        let mut client =
            HostsClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER);
        in_time(client.list(self.request(message))).await
    }
}

calls! { LogClient, MAX_ANSWER,
    /// The newest published checkpoint.
    get_checkpoint(GetCheckpointRequest) -> GetCheckpointResponse;
    /// Log entries in order.
    get_entries(GetEntriesRequest) -> GetEntriesResponse;
    /// Proves that an entry is in a tree.
    prove_inclusion(ProveInclusionRequest) -> ProveInclusionResponse;
    /// Proves that a larger tree holds a smaller one.
    prove_consistency(ProveConsistencyRequest) -> ProveConsistencyResponse;
}
