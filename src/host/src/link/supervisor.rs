//! The guard's side of the link: it is started, started anew when it ends, and ended with the guard.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::guard::log::{self, Level};

/// How long to wait before the link is started anew: longer each time that it ends soon.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Keeps a link running, in a thread of its own, for as long as this process lives.
///
/// # Errors
/// If there can be no thread.
pub(crate) fn start(args: Vec<OsString>) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("link".to_owned())
        .stack_size(64 << 10)
        .spawn(move || keep_running(&args))
        .map(|_| ())
}

fn keep_running(args: &[OsString]) -> ! {
    let mut rest = FIRST_REST;
    loop {
        let began = std::time::Instant::now();
        match run(args) {
            Ok(how) => log::say(Level::Warning, &format!("the link to the CA ended ({how}).")),
            Err(error) => {
                log::say(Level::Error, &format!("the link to the CA can not be started: {error}."));
            }
        }
        rest = match began.elapsed() > LONGEST_REST {
            true => FIRST_REST,
            false => rest.saturating_mul(2).min(LONGEST_REST),
        };
        std::thread::sleep(rest);
    }
}

fn run(args: &[OsString]) -> std::io::Result<std::process::ExitStatus> {
    let program = std::env::current_exe()?;
    Command::new(program).arg("link").args(args).stdin(Stdio::null()).status()
}

/// Has the kernel end this process, which is the link, when the guard ends.
pub(crate) fn end_with_the_guard() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
}
