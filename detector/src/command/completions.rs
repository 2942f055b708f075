//! `detector completions`: for the shell.

use super::{Cli, Failure, print};
use clap::CommandFactory;

/// Writes a completion script for a shell to standard output.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  detector completions bash > /etc/bash_completion.d/detector")]
pub struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "detector", &mut script);
    print(&String::from_utf8_lossy(&script))
}
