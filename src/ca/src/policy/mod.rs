//! `jit-ssh-ca policy`: what the rules do, before and after they do it.
//!
//! - [`test`], [`lint`]: what an admin expects of the rules, and what can not be meant; `apply` runs
//!   both ([`check`]);
//! - [`explain`]: what the rules say to one request, and who could approve it;
//! - [`diff`]: who may do what under other rules;
//! - [`replay`], [`suggest`]: what other rules would have made of the past, and which rules the past
//!   suggests;
//! - [`config`]: the configuration folder.
//!
//! All of it works offline and changes nothing. What is decided is decided by `core`.

pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod diff;
mod explain;
mod lint;
mod replay;
mod suggest;
mod test;

use std::process::ExitCode;

/// What can be asked of the rules.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check that the rules do what policy_test.toml expects of them.
    #[command(after_help = help!("jit-ssh-ca policy test --config ca-config"))]
    Test(test::TestArgs),
    /// Say which rule decides a request, why the others do not, and who could approve it.
    #[command(after_help = help!(
        "jit-ssh-ca policy explain --who alice --host prod-host --as deploy --for 10m",
        "jit-ssh-ca policy explain 7kq2m9xw4p",
    ))]
    Explain(explain::ExplainArgs),
    /// Find rules that can not do what they seem to.
    #[command(after_help = help!("jit-ssh-ca policy lint --config ca-config --strict"))]
    Lint(lint::LintArgs),
    /// Judge the log's requests under other rules: what would be refused, asked, automatic.
    #[command(after_help = help!("jit-ssh-ca policy replay --config ca-config --since 90d"))]
    Replay(replay::ReplayArgs),
    /// Say who gains and who loses what between two configurations.
    #[command(after_help = help!("jit-ssh-ca policy diff ca-config.old ca-config"))]
    Diff(diff::DiffArgs),
    /// Propose rules that approve by themselves what people always approved.
    #[command(after_help = help!("jit-ssh-ca policy suggest --config ca-config --since 90d"))]
    Suggest(suggest::SuggestArgs),
}

/// Runs one of them.
pub(crate) fn cmd_policy(command: &PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Test(args) => test::cmd_test(args),
        PolicyCommand::Explain(args) => explain::cmd_explain(args),
        PolicyCommand::Lint(args) => lint::cmd_lint(args),
        PolicyCommand::Replay(args) => replay::cmd_replay(args),
        PolicyCommand::Diff(args) => diff::cmd_diff(args),
        PolicyCommand::Suggest(args) => suggest::cmd_suggest(args),
    }
}
