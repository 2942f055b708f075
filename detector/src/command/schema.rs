//! `detector schema`: the formats that other people's programs hold on to.

use super::{Failure, print};
use crate::schemas;

/// Print the JSON Schema of a format.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  detector schema action\n  detector schema --list")]
pub struct Args {
    /// Which format.
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// List the names.
    #[arg(long)]
    list: bool,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let names: Vec<&str> = schemas::all().iter().map(|(name, _)| *name).collect();
    if args.list {
        return print(&(names.join("\n") + "\n"));
    }
    let name = args.name.unwrap_or_default();
    let all = schemas::all();
    let Some((_, schema)) = all.iter().find(|(n, _)| *n == name) else {
        return Err(Failure::refused(format!(
            "there is no format {name}\nhint: one of {}",
            names.join(", ")
        )));
    };
    print(&(serde_json::to_string_pretty(schema)? + "\n"))
}
