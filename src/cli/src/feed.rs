//! Two streams as one: what waits for the person, and what becomes of their own requests.

use jit_ssh_api::v1::watch_request::What;
use jit_ssh_api::{ApiError, Watch};
use jit_ssh_core::digest::RootFingerprint;

use crate::ca::Ca;
use crate::follow::Broke;
use crate::view::View;

/// How a request stands now.
#[derive(Debug)]
pub(crate) enum News {
    /// One that waits, or waited, for the person.
    ToDecide(View),
    /// One of their own.
    Mine(View),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Feed {
    to_decide: Watch,
    mine: Watch,
    ca: RootFingerprint,
}

impl Feed {
    /// Begins to listen. The first news tell how things stand.
    pub(crate) async fn open(ca: &mut Ca<'_>) -> Result<Feed, Broke> {
        let to_decide = ca.watch_what(What::ToDecide(true)).await?;
        let mine = ca.watch_what(What::Mine(true)).await?;
        Ok(Feed { to_decide, mine, ca: ca.enrolment.ca() })
    }

    /// The next news.
    pub(crate) async fn next(&mut self) -> Result<News, Broke> {
        let (said, wrap): (_, fn(View) -> News) = tokio::select! {
            said = self.to_decide.next() => (said, News::ToDecide),
            said = self.mine.next() => (said, News::Mine),
        };
        let said = said?.ok_or_else(|| ApiError::Unreachable("the stream ended".to_owned()))?;
        View::open(said, &self.ca).map(wrap).map_err(Broke::ForGood)
    }
}
