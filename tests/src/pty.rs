//! A program on a terminal, and what is seen there.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::program::{Program, wait_until};

/// A program under way on a terminal of its own, with what it wrote there so far.
pub struct Terminal {
    child: Child,
    master: Arc<OwnedFd>,
    wrote: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts a program whose stdin, stdout and stderr are a terminal of this size.
    pub fn start(program: Program, columns: u16, lines: u16) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, size(columns, lines)).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let mut command = program.env("TERM", "xterm-256color").into_command();
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap();
        drop((command, slave));
        let wrote = Arc::new(Mutex::new(Vec::new()));
        let (into, mut from) = (wrote.clone(), File::from(master.try_clone().unwrap()));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Reading fails when the last end of the other side is closed.
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                into.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Terminal { child, master: Arc::new(master), wrote }
    }

    /// All that was written, with the orders to the terminal in it.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.wrote.lock().unwrap()).into_owned()
    }

    /// What was written after the first `from` bytes, as it is.
    pub(crate) fn raw_after(&self, from: usize) -> Vec<u8> {
        self.wrote.lock().unwrap()[from..].to_vec()
    }

    /// Waits until this was written.
    #[track_caller]
    pub fn sees(&self, text: &str) {
        wait_until(&format!("{text:?} in {:?}", self.raw()), || self.raw().contains(text));
    }

    /// Waits until this was written after the first `from` bytes.
    #[track_caller]
    pub fn sees_after(&self, from: usize, text: &str) {
        let later = || String::from_utf8_lossy(&self.wrote.lock().unwrap()[from..]).into_owned();
        wait_until(&format!("{text:?} in {:?}", later()), || later().contains(text));
    }

    /// How many bytes were written.
    pub fn len(&self) -> usize {
        self.wrote.lock().unwrap().len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Types.
    pub fn types(&self, text: &str) {
        File::from(self.master.try_clone().unwrap()).write_all(text.as_bytes()).unwrap();
    }

    /// Changes the terminal's size, and tells the program as a terminal does.
    pub fn resize(&self, columns: u16, lines: u16) {
        tcsetwinsize(&*self.master, size(columns, lines)).unwrap();
        // It is no controlling terminal of ours, so the kernel tells nobody.
        self.signal("WINCH");
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        Terminal::signal_to(self.child.id(), name);
    }

    /// Sends a signal to a program of ours that is under way.
    pub fn signal_to(pid: u32, name: &str) {
        Program::new("kill").args([&format!("-{name}"), &pid.to_string()]).run().fine();
    }

    /// Waits for its end; the exit code, and all that was written.
    pub fn wait(mut self) -> (i32, String) {
        let mut status = None;
        wait_until("the program on the terminal to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        // What it wrote last is read by the thread a moment later.
        let code = status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap();
        let mut before = usize::MAX;
        wait_until("all of it to be read", || std::mem::replace(&mut before, self.len()) == before);
        (code, self.raw())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(columns: u16, lines: u16) -> Winsize {
    Winsize { ws_col: columns, ws_row: lines, ws_xpixel: 0, ws_ypixel: 0 }
}

/// What is seen of one line that was written over and over, character by character: a terminal of
/// `columns` that knows the orders this program uses, and insists on no others. Gives every state in
/// which the program paused at the line's beginning.
pub fn states(raw: &str, columns: usize) -> Vec<String> {
    let (mut line, mut at, mut states): (Vec<char>, usize, Vec<String>) =
        (Vec::new(), 0, Vec::new());
    let mut chars = raw.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\r' => {
                states.push(line.iter().collect::<String>().trim_end().to_owned());
                at = 0;
            }
            '\n' => {
                states.push(line.iter().collect::<String>().trim_end().to_owned());
                line.clear();
                at = 0;
            }
            '\u{1b}' => {
                assert_eq!(chars.next(), Some('['), "an order of another kind");
                let order: String =
                    std::iter::from_fn(|| chars.next_if(|c| c.is_ascii_digit() || *c == ';'))
                        .collect();
                match (order.as_str(), chars.next()) {
                    ("", Some('K' | 'J')) => line.truncate(at),
                    (_, Some('m')) => {}
                    other => panic!("an unknown order: {other:?}"),
                }
            }
            char => {
                line.resize(line.len().max(at + 1), ' ');
                line[at] = char;
                at += 1;
                assert!(at <= columns, "a line wider than the terminal: {line:?}");
            }
        }
    }
    states
}
