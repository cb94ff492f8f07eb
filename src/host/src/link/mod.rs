//! `jit-ssh-host link`: the guard's way to the CA, in a process of its own that the guard starts, so that
//! whatever comes over the network can not hold up or bring down what ends sessions.
//!
//! It hears of revocations and bundles by a stream, with polling behind it, and writes what sshd reads at
//! every login; it tells the CA what the guard saw, and the guard what prolongs access. With the CA away
//! it waits and tries again: sshd and guard go by what is there.
//!
//! - [`connection`]: one connection from beginning to end; [`place`]: what it works on;
//! - [`krls`]: the newest list of each signer; [`reports`]: what the guard saw, for the CA;
//! - [`heard`]: how it goes, for `doctor`; [`supervisor`]: the guard's side of it.

mod connection;
pub(crate) mod heard;
mod krls;
mod place;
mod reports;
pub(crate) mod supervisor;

use std::time::{Duration, Instant};

use clap::Args;

use crate::clock::now;
use crate::error::CommandError;
use crate::fetch;
use crate::guard::log::{self, Level};
use crate::layout::Folders;
use heard::Heard;
use place::Place;

/// How long to wait after a first failure, and at most.
const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The guard's way to the CA; the guard starts it.
#[derive(Args)]
#[command(
    hide = true,
    after_help = "Example:\n  jit-ssh-host link\n\nExit codes: 0 done, 1 error, 2 usage"
)]
pub(crate) struct LinkArgs {
    #[command(flatten)]
    folders: Folders,
}

/// Runs `jit-ssh-host link` until it is stopped.
pub(crate) fn cmd_link(args: &LinkArgs) -> Result<(), CommandError> {
    supervisor::end_with_the_guard();
    let runtime = fetch::network()?;
    runtime.block_on(keep_connected(&args.folders))
}

async fn keep_connected(folders: &Folders) -> ! {
    let mut rest = FIRST_REST;
    let mut told = String::new();
    let mut heard = Heard::begin(folders, now());
    loop {
        let began = Instant::now();
        // Anew each time: setup may have said otherwise meanwhile.
        let connected = match Place::open(folders) {
            Ok(place) => connection::run(&place, &mut heard).await,
            Err(error) => Err(error),
        };
        let problem = match connected {
            Ok(()) => "The connection to the CA ended.".to_owned(),
            Err(error) => error.to_string(),
        };
        heard.note_problem(&problem);
        // Who asks for it hears that nothing is known; sshd and guard go on.
        let _ = heard.write(&folders.run);
        if began.elapsed() > LONGEST_REST {
            (rest, told) = (FIRST_REST, String::new());
        }
        // The same trouble is told once.
        if problem != told {
            log::say(Level::Warning, &format!("{problem} (Trying again; what is here holds.)"));
            told = problem;
        }
        // Not all hosts of a fleet at once.
        let jitter: f64 = rand::random_range(0.5..1.5);
        tokio::time::sleep(rest.mul_f64(jitter)).await;
        rest = rest.saturating_mul(2).min(LONGEST_REST);
    }
}
