//! One connection after the other: a writer that joins all queued frames into one write, a reader
//! that hands out answers, and the loop that connects anew when either fails.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jit_ssh_signer::protocol::{Answer, MAX_FRAME};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use super::process::Place;

/// How long to wait before connecting again; doubled after each failure up to the last.
const BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// A connection that held this long was a good one: the next failure starts from [`BACKOFF`].
const STEADY: Duration = Duration::from_secs(10);
/// Longest buffer of frames that is kept for reuse, in bytes.
const KEPT_BUFFER: usize = 64 << 10;

/// Keeps a connection to the signer until told to stop.
pub(super) async fn keep(shared: Arc<Shared>, place: Place, mut stopped: watch::Receiver<bool>) {
    let mut backoff = BACKOFF;
    while !*stopped.borrow() {
        let begun = Instant::now();
        let connected = tokio::select! {
            connected = place.connect() => connected,
            _ = stopped.changed() => return,
        };
        // Why there is no use in trying again: a child of ours that never came to answer.
        let mut hopeless = None;
        match connected {
            Ok((stream, process)) => {
                let ended = tokio::select! {
                    ended = serve(&shared, stream) => Some(ended),
                    _ = stopped.changed() => None,
                };
                shared.close();
                let code = process.end().await.filter(|code| *code != 0);
                hopeless = code
                    .map(|code| format!("it ended with exit code {code}, and said why just above"));
                match ended {
                    None => return,
                    Some(Ok(())) => tracing::warn!("the signer closed the connection"),
                    Some(Err(error)) => tracing::warn!(%error, "the signer's connection broke"),
                }
            }
            Err(error) => {
                tracing::error!(%error, "the signer can not be reached");
                if matches!(place, Place::Child { .. }) {
                    hopeless = Some(error.to_string());
                }
            }
        }
        if let Some(why) = hopeless
            && !shared.has_answered()
        {
            shared.give_up(why);
            // Whoever waits for the signer ends the link.
            let _ = stopped.changed().await;
            return;
        }
        if begun.elapsed() > STEADY {
            backoff = BACKOFF;
        }
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            _ = stopped.changed() => return,
        }
        backoff = backoff.saturating_mul(2).min(MAX_BACKOFF);
    }
}

/// Serves one connection until it ends. Dropping the future closes it.
async fn serve(shared: &Arc<Shared>, stream: UnixStream) -> io::Result<()> {
    let (reading, writing) = stream.into_split();
    shared.open();
    let mut reader = Reader(tokio::spawn(read(shared.clone(), reading)));
    tokio::select! {
        ended = &mut reader.0 => ended.unwrap_or_else(|error| Err(io::Error::other(error))),
        ended = write(shared, writing) => ended,
    }
}

/// The reader's task, which ends with its owner.
struct Reader(tokio::task::JoinHandle<io::Result<()>>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn write(shared: &Shared, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut frames = Vec::new();
    loop {
        frames.clear();
        if frames.capacity() > KEPT_BUFFER {
            frames = Vec::new();
        }
        frames = shared.take_frames(frames);
        if frames.is_empty() {
            shared.wake.notified().await;
        } else {
            to.write_all(&frames).await?;
        }
    }
}

async fn read(shared: Arc<Shared>, mut from: OwnedReadHalf) -> io::Result<()> {
    let mut buffer: Vec<u8> = Vec::with_capacity(16 << 10);
    loop {
        if from.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let mut rest = buffer.as_slice();
        while let Some((frame, tail)) = split_frame(rest)? {
            let answer: Answer = serde_json::from_slice(frame).map_err(io::Error::other)?;
            shared.deliver(answer.id, answer.result);
            rest = tail;
        }
        let taken = buffer.len().saturating_sub(rest.len());
        buffer.drain(..taken);
        buffer.reserve(16 << 10);
    }
}

/// The first whole frame of `bytes` and what follows it.
fn split_frame(bytes: &[u8]) -> io::Result<Option<(&[u8], &[u8])>> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(io::Error::other("the signer sent a frame that is too long"));
    }
    Ok(rest.split_at_checked(length))
}
