//! The commands: one file each, and their exit codes (`EXIT_CODES`).

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

use crate::config::ConfigError;
use crate::telemetry::export::ExportError;
use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// What `--help` says of exit codes; docs/operations.md has the same table.
const EXIT_CODES: &str = "Exit codes:
  0    done, or stopped by SIGTERM or SIGINT
  1    failed at work: input, disk, brokers or Redis; trying again may help
  2    refused before any work: arguments, environment, configuration or model
  130  stopped by a second SIGTERM or SIGINT, without a last checkpoint";

/// Real-time bad-actor detector: streams of events in, enforcement actions out.
#[derive(Debug, Parser)]
#[command(
    name = "detector",
    version,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = EXIT_CODES
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
    refused: bool,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Failure {
    /// It failed at work: exit code 1.
    pub fn failed(text: impl ToString) -> Self {
        Self { text: text.to_string(), refused: false }
    }

    /// It was refused before any work, for its arguments, environment, configuration or model: exit code 2.
    pub fn refused(text: impl ToString) -> Self {
        Self { text: text.to_string(), refused: true }
    }

    /// A refused configuration, with everything that is wrong with its file.
    pub fn refused_file(file: &std::path::Path, problems: &[String]) -> Self {
        Self::refused(format!("{}:\n  {}", file.display(), problems.join("\n  ")))
    }

    /// Says it on standard error.
    #[expect(clippy::print_stderr, reason = "this is where errors are shown")]
    pub fn print(&self) {
        eprintln!("error: {}", engine::printable_lines(&self.text));
    }

    /// As `EXIT_CODES` says.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.refused { 2 } else { 1 })
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

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::refused(error)
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        Self::refused(error)
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
