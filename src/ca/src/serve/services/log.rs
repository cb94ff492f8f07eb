//! `jitssh.v1.Log`: the log, for auditors and admins. Read from the signer's public folder.

use jit_ssh_api::v1;
use jit_ssh_api::v1::log_server::Log;
use jit_ssh_core::log::Hash;
use jit_ssh_core::refusal::{Reason, Refusal};
use jit_ssh_signer::log::{LogError, TileDir};
use prost::bytes::Bytes;
use tonic::{Request, Response, Status, async_trait};

use super::LogService;
use crate::serve::call::Call;

/// Most entries of one answer.
const MAX_ENTRIES: u32 = 256;
/// Most bytes of one answer's entries; the last one may go beyond.
const MAX_ANSWER: usize = 2 << 20;

#[async_trait]
impl Log for LogService {
    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let call = Call::begin(&self.0, "Log/GetCheckpoint", &request);
        let result = read(&call, |tiles, _| {
            let note = tiles.checkpoint_note()?;
            Ok(v1::GetCheckpointResponse { checkpoint: note.unwrap_or_default().into() })
        });
        let result = result.await;
        call.end(result)
    }

    async fn get_entries(
        &self,
        request: Request<v1::GetEntriesRequest>,
    ) -> Result<Response<v1::GetEntriesResponse>, Status> {
        let call = Call::begin(&self.0, "Log/GetEntries", &request);
        let result = get_entries(&call, request.into_inner()).await;
        call.end(result)
    }

    async fn prove_inclusion(
        &self,
        request: Request<v1::ProveInclusionRequest>,
    ) -> Result<Response<v1::ProveInclusionResponse>, Status> {
        let call = Call::begin(&self.0, "Log/ProveInclusion", &request);
        let v1::ProveInclusionRequest { index, size } = request.into_inner();
        let result = read(&call, move |tiles, published| {
            within(size, published)?;
            let proof = tiles.inclusion_proof(index, size)?;
            Ok(v1::ProveInclusionResponse { proof: hashes(&proof) })
        });
        let result = result.await;
        call.end(result)
    }

    async fn prove_consistency(
        &self,
        request: Request<v1::ProveConsistencyRequest>,
    ) -> Result<Response<v1::ProveConsistencyResponse>, Status> {
        let call = Call::begin(&self.0, "Log/ProveConsistency", &request);
        let v1::ProveConsistencyRequest { old_size, new_size } = request.into_inner();
        let result = read(&call, move |tiles, published| {
            within(new_size, published)?;
            if old_size == 0 {
                return Err(ReadError::Asked("old_size: at least 1.".to_owned()));
            }
            let proof = tiles.consistency_proof(old_size, new_size)?;
            Ok(v1::ProveConsistencyResponse { proof: hashes(&proof) })
        });
        let result = result.await;
        call.end(result)
    }
}

async fn get_entries(
    call: &Call,
    message: v1::GetEntriesRequest,
) -> Result<v1::GetEntriesResponse, Refusal> {
    let limit = match message.limit {
        0 => MAX_ENTRIES,
        limit if limit <= MAX_ENTRIES => limit,
        _ => return Err(Refusal::new(Reason::Malformed, format!("limit: at most {MAX_ENTRIES}."))),
    };
    read(call, move |tiles, published| {
        let end = message.start.saturating_add(u64::from(limit));
        let (mut entries, mut bytes) = (Vec::new(), 0usize);
        for entry in tiles.entries(message.start..end, published) {
            let (_, entry) = entry?;
            bytes = bytes.saturating_add(entry.len());
            entries.push(Bytes::from(entry));
            if bytes >= MAX_ANSWER {
                break;
            }
        }
        Ok(v1::GetEntriesResponse { entries })
    })
    .await
}

/// Why the log could not be read.
enum ReadError {
    /// What was asked can not be.
    Asked(String),
    Log(LogError),
}

impl From<LogError> for ReadError {
    fn from(error: LogError) -> ReadError {
        match error {
            LogError::Proof(error) => ReadError::Asked(format!("{error}.")),
            other => ReadError::Log(other),
        }
    }
}

/// Reads the log off the async threads, with the size of the newest checkpoint.
async fn read<T: Send + 'static>(
    call: &Call,
    query: impl FnOnce(&TileDir, u64) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Refusal> {
    let front = call.front().clone();
    front.trusted.bundle()?;
    call.reader_of_all()?;
    let reading = tokio::task::spawn_blocking(move || {
        let tiles = front.log.tiles();
        let size = tiles.checkpoint(&front.log.key)?.checkpoint().size();
        query(&tiles, size)
    });
    match reading.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(ReadError::Asked(problem))) => Err(Refusal::new(Reason::Malformed, problem)),
        Ok(Err(ReadError::Log(error))) => {
            tracing::error!(%error, "the log can not be read");
            Err(Refusal::new(Reason::LogUnavailable, "the log can not be read now.")
                .hint("try again"))
        }
        Err(error) => Err(Refusal::new(Reason::Internal, error.to_string())),
    }
}

fn within(size: u64, published: u64) -> Result<(), ReadError> {
    if size <= published {
        return Ok(());
    }
    Err(ReadError::Asked(format!("the newest checkpoint is of {published} entries, not {size}.")))
}

fn hashes(proof: &[Hash]) -> Vec<Bytes> {
    proof.iter().map(|hash| Bytes::copy_from_slice(&hash.0)).collect()
}
