//! `./run record`: plays one access with the real programs, on terminals of two people, and prints the
//! recording; `--svg FILE` makes the picture of a recording. Root alone can play it, in a town of its own.
//!
//! - `play.rs`: who there is, and what they type.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it prints, and stops where it can not go on"
)]

mod play;

use std::os::unix::process::CommandExt as _;

use jit_ssh_tests::program::is_root;
use jit_ssh_tests::recording::Cast;
use jit_ssh_tests::town;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--svg", file] => print!("{}", Cast::parse(&std::fs::read_to_string(file).unwrap()).svg()),
        ["--inside"] => print!("{}", play::play(true).text()),
        ["--inside", "--at-once"] => print!("{}", play::play(false).text()),
        [] | ["--at-once"] => {
            if !is_root() {
                eprintln!("error: only root can make the accounts of the people who are recorded.");
                std::process::exit(1);
            }
            let mut inside = town::program_in(play::HOST, "jit-ssh-record");
            let problem = inside.arg("--inside").args(args).exec();
            eprintln!("error: {problem}");
            std::process::exit(1);
        }
        _ => {
            eprintln!("usage: jit-ssh-record [--at-once] | --svg FILE");
            std::process::exit(2);
        }
    }
}
