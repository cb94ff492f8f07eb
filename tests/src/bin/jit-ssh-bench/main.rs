//! `./run bench`: measures the real programs on this machine and prints one JSON object.
//!
//! - `issue.rs`: the whole chain over TLS, beside a bare echo, in one run;
//! - `echo.rs`: the floor: tonic, TLS, and the same cryptography, nothing else;
//! - `load.rs`: the client, in a process of its own;
//! - `login.rs`: the cold `jit-ssh login` process;
//! - `host`: logins with and without the hook, and the guard;
//! - `policy.rs`, `world.rs`: a small company beside a large one;
//! - `watches.rs`: many bastions that watch;
//! - `machine.rs`: what machine this is, and what processes use.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, asks the clock, and stops where it can not go on"
)]

mod echo;
mod host;
mod issue;
mod load;
mod login;
mod machine;
mod policy;
mod watches;
mod world;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if !matches!(args.first(), Some(&("enter-scope" | "time-hook"))) {
        rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    }
    match args.as_slice() {
        ["issue"] => println!("{}", issue::bench()),
        ["login"] => println!("{}", login::bench()),
        ["host"] => println!("{}", host::bench()),
        ["policy"] => println!("{}", policy::bench(1_000_000)),
        ["policy", past] => println!("{}", policy::bench(past.parse().unwrap())),
        ["watches"] => println!("{}", watches::bench()),
        ["enter-scope", slice] => host::scope::enter(slice.as_ref()),
        ["time-hook", command @ ..] => host::hook::time(command),
        ["echo-server", dir] => echo::serve(dir.as_ref()),
        ["load", url, root, statements, in_flight] => {
            println!(
                "{}",
                load::run(url, root.as_ref(), statements.as_ref(), in_flight.parse().unwrap())
            );
        }
        _ => {
            eprintln!(
                "usage: jit-ssh-bench issue | login | host | policy [PAST_REQUESTS] | watches"
            );
            std::process::exit(2);
        }
    }
}
