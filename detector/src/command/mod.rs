//! The commands: one file each. Exit code 0 done, 1 failed, 2 misused.

mod bench;
mod check;
mod completions;
mod demo;
mod evaluate;
mod explain;
mod golden;
mod init;
mod replay;
mod run;
mod schema;
mod simulate;
mod train;

pub(crate) mod progress;
pub(crate) mod setup;

use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// Real-time bad-actor detector: streams of events in, enforcement actions out.
#[derive(Debug, Parser)]
#[command(
    name = "detector",
    version,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Run(run::Args),
    Init(init::Args),
    Replay(replay::Args),
    Train(train::Args),
    Evaluate(evaluate::Args),
    Golden(golden::Args),
    Explain(explain::Args),
    Simulate(simulate::Args),
    Bench(bench::Args),
    Check(check::Args),
    Schema(schema::Args),
    Completions(completions::Args),
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    text: String,
    misused: bool,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Failure {
    /// It failed while working.
    pub fn failed(text: impl ToString) -> Self {
        Self { text: text.to_string(), misused: false }
    }

    /// It was asked for something that makes no sense.
    pub fn misused(text: impl ToString) -> Self {
        Self { text: text.to_string(), misused: true }
    }

    /// Says it on standard error.
    #[expect(clippy::print_stderr, reason = "this is where errors are shown")]
    pub fn print(&self) {
        eprintln!("error: {}", self.text);
    }

    /// 1 failed, 2 misused.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.misused { 2 } else { 1 })
    }
}

/// Writes a command's output. A reader that has seen enough (`| head`) is no failure.
///
/// # Errors
/// When standard output cannot be written to.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(error)
    }
}

/// Runs a command.
///
/// # Errors
/// What went wrong, fit to be shown.
pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Run(args) => run::run(args),
        Command::Init(args) => init::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Train(args) => train::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Golden(args) => golden::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Check(args) => check::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Completions(args) => completions::run(args),
    }
}
