//! `detector explain`: what is known of an account, and why it scores as it does.

use super::run::say;
use super::setup::{EngineArgs, engine};
use super::{Failure, print};
use crate::http::client::{self, ClientError};
use crate::store::embedded::Embedded;
use engine::{Explanation, printable_json, printable_lines};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where the token of `http.token` is looked for.
const TOKEN_VARIABLE: &str = "DETECTOR_HTTP_TOKEN";

/// Explain an account: its profile, links and ring, and why it scores as it does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  detector explain --config conf/ --state state/ --account u42
  detector explain --config conf/ --state state/ --account u42 --format dot | dot -Tsvg > ring.svg
  detector explain --url http://127.0.0.1:9600 --account u42   (asks a running service; its http.token in DETECTOR_HTTP_TOKEN)")]
pub struct Args {
    /// Configuration: a file, or the folder that `detector init` wrote.
    #[arg(long, short, required_unless_present = "url")]
    config: Option<PathBuf>,
    /// Folder of a model bundle; takes the place of `[model] path`.
    #[arg(long, conflicts_with = "url")]
    model: Option<PathBuf>,
    /// Labels are targets only: they feed neither features nor the graph.
    #[arg(long, conflicts_with = "url")]
    no_feedback: bool,
    /// Events with the same `ts` do not see one another (streams with coarse clocks).
    #[arg(long, conflicts_with = "url")]
    strict_ties: bool,
    /// The account.
    #[arg(long)]
    account: String,
    /// Folder of the embedded state, as `run --state` or `replay --state-out` left it.
    #[arg(long, required_unless_present = "url", conflicts_with = "url")]
    state: Option<PathBuf>,
    /// A running service, as http://ADDRESS:PORT; its token is taken from the environment variable
    /// DETECTOR_HTTP_TOKEN.
    #[arg(long)]
    url: Option<String>,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How an explanation is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// The ring as a Graphviz graph.
    Dot,
}

pub fn run(args: Args) -> Result<(), Failure> {
    match (&args.url, &args.config, &args.state) {
        (Some(url), ..) => of_service(url, &args),
        (None, Some(config), Some(state)) => {
            let of_engine = EngineArgs {
                config: config.clone(),
                model: args.model.clone(),
                no_feedback: args.no_feedback,
                strict_ties: args.strict_ties,
            };
            of_state(&of_engine, state, &args)
        }
        _ => Err(Failure::refused(
            "there is nothing to ask\nhint: give --config and --state, or --url of a running service",
        )),
    }
}

/// The body of an error.
#[derive(Debug, Deserialize)]
struct ErrorBody {
    error: String,
    hint: String,
}

/// Asks a running service.
fn of_service(url: &str, args: &Args) -> Result<(), Failure> {
    let token = std::env::var(TOKEN_VARIABLE).ok().filter(|t| !t.is_empty());
    let segment = client::segment(&args.account);
    let path = match args.format {
        Format::Dot => format!("/v1/accounts/{segment}/ring"),
        Format::Text | Format::Json => format!("/v1/accounts/{segment}"),
    };
    let answer = client::get(url, &path, token.as_deref()).map_err(|e| match e {
        ClientError::Url { .. } | ClientError::Token => Failure::refused(e),
        ClientError::Connect { .. } | ClientError::Foreign { .. } => Failure::failed(e),
    })?;
    if answer.status != 200 {
        return Err(match serde_json::from_slice::<ErrorBody>(&answer.body) {
            Ok(body) if answer.status == 401 => Failure::failed(format!(
                "{url}: {}\nhint: put the service's http.token into {TOKEN_VARIABLE}",
                body.error
            )),
            Ok(body) => Failure::failed(format!("{url}: {}\nhint: {}", body.error, body.hint)),
            Err(_) => Failure::failed(format!(
                "{url} answers with status {} and not as the service does\nhint: is it a detector that listens there?",
                answer.status
            )),
        });
    }
    let text = String::from_utf8_lossy(&answer.body);
    if args.format == Format::Dot {
        return print(&printable_lines(&format!("{}\n", text.trim_end())));
    }
    let explanation: Explanation = serde_json::from_str(&text).map_err(|e| {
        Failure::failed(format!(
            "{url}: its answer is not understood: {e}\nhint: is the service of the same version as this program ({})?",
            env!("CARGO_PKG_VERSION")
        ))
    })?;
    show(&explanation, args.format)
}

fn show(explanation: &Explanation, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        let json = serde_json::to_string_pretty(explanation)? + "\n";
        return print(&printable_json(&json));
    }
    print(&explanation.to_string())?;
    let versions = &explanation.versions;
    say(&format!("model {}, policy {}", versions.model, versions.policy));
    Ok(())
}

/// Loads a state and asks it.
fn of_state(of_engine: &EngineArgs, state: &Path, args: &Args) -> Result<(), Failure> {
    let (mut engine, _) = engine(of_engine)?;
    if !Embedded::exists(state) {
        return Err(Failure::refused(format!(
            "{} is not a state folder\nhint: `detector replay --state-out DIR` or `detector run --state DIR` makes one",
            state.display()
        )));
    }
    let store = Embedded::open(state)?;
    let Some(position) = store.position()? else {
        return Err(Failure::failed(format!(
            "{} holds no checkpoint yet\nhint: let a run finish its first checkpoint",
            state.display()
        )));
    };
    store.check(&position, &engine.versions().features)?;
    store.load(&mut engine, |_| {})?;
    let Some(explanation) = engine.explain(&args.account) else {
        return Err(Failure::failed(
            "this account is not known in this state\nhint: is the id written as in the events, and was it seen within time.account_ttl?",
        ));
    };
    if args.format != Format::Dot {
        return show(&explanation, args.format);
    }
    let dot = engine.ring_dot(&args.account).unwrap_or_default() + "\n";
    print(&printable_lines(&dot))?;
    say(&format!("model {}, policy {}", engine.versions().model, engine.versions().policy));
    Ok(())
}
