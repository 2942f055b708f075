//! `detector init`: looks at a stream and writes a configuration that fits it.

use super::Failure;
use super::progress::{Progress, grouped};
use super::run::say;
use super::setup::moment;
use crate::config::Loaded;
use crate::source::files::Lines;
use crate::survey::{self, Proposal, Survey, SurveyLimits};
use engine::config::{Config, LabelUnit, Unlabelled};
use engine::policy::default_rules;
use features::duration::{format_ms, parse_ms};
use std::path::{Path, PathBuf};

/// Look at a stream (and its labels) and write a configuration that fits it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  detector init --events events.ndjson.gz --labels labels.ndjson.gz --out conf/
  detector init --events events.ndjson --until 2026-03-01 --out conf/   (nothing later has any influence)")]
pub struct Args {
    /// Events, one JSON object a line, plain, gzip or zstd.
    #[arg(long)]
    events: PathBuf,
    /// Labels, in the same form.
    #[arg(long)]
    labels: Option<PathBuf>,
    /// Events and labels after this moment have no influence.
    #[arg(long, value_parser = moment)]
    until: Option<i64>,
    /// Folder for `detector.toml`; made if need be.
    #[arg(long)]
    out: PathBuf,
    /// Overwrite a configuration that is there already.
    #[arg(long)]
    force: bool,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let file = args.out.join("detector.toml");
    if file.exists() && !args.force {
        return Err(Failure::failed(format!(
            "{} exists already\nhint: give another folder to --out, or --force to overwrite it",
            file.display()
        )));
    }
    let (config, notes) = propose(&args.events, args.labels.as_deref(), args.until)?;
    let text = render(&config, &notes, &args)?;
    std::fs::create_dir_all(&args.out)
        .and_then(|()| std::fs::write(&file, text))
        .map_err(|e| Failure::failed(format!("cannot write {}: {e}", file.display())))?;
    // What was written must be good as it stands.
    let loaded = crate::config::load_with(&file, &Default::default())?;
    let engine = super::setup::engine_of(&loaded, None, false, false)?;
    for note in &notes {
        say(&format!("- {note}"));
    }
    say(&format!(
        "wrote {}: {} features; `detector run --config {} --input ...` works at once, `detector train` makes a model for it",
        file.display(),
        grouped(engine.columns().len() as u64),
        args.out.display()
    ));
    Ok(())
}

/// Surveys the files and makes a configuration with rules.
pub(super) fn propose(
    events: &Path,
    labels: Option<&Path>,
    until_ms: Option<i64>,
) -> Result<(Config, Vec<String>), Failure> {
    let mut survey = Survey::new(SurveyLimits { until_ms, ..SurveyLimits::default() });
    let mut unread =
        read(events, "events", &mut |reader, told| survey.survey_events(reader, told))?;
    if let Some(path) = labels {
        unread += read(path, "labels", &mut |reader, told| survey.survey_labels(reader, told))?;
    }
    if unread > 0 {
        say(&format!("{} lines could not be read and were left out", grouped(unread)));
    }
    let report = survey.finish();
    let proposal = Proposal::for_report(&report)
        .map_err(|e| Failure::failed(format!("{}: {e}", events.display())))?;
    let notes = proposal.notes.clone();
    let mut config = configuration(proposal);
    // Rules depend on which columns there are.
    let loaded = Loaded {
        config: config.clone(),
        file: "detector.toml".into(),
        folder: PathBuf::new(),
        seen: None,
        kafka: None,
        redis: None,
    };
    let engine = super::setup::engine_of(&loaded, None, false, false)?;
    config.rules = default_rules(engine.columns());
    Ok((config, notes))
}

type Reader = Box<dyn std::io::BufRead + Send>;
type Take<'a> =
    &'a mut dyn FnMut(Reader, &mut dyn FnMut(u64)) -> std::io::Result<survey::LinesRead>;

/// Hands a file to the survey, with a progress bar; says what could not be read, and how much.
fn read(path: &Path, what: &str, take: Take<'_>) -> Result<u64, Failure> {
    let lines = Lines::open(path)?;
    let progress = Progress::bytes(&format!("init {what}"), lines.length());
    let raw = lines.progress();
    let mut told = |_| progress.set(raw.load(std::sync::atomic::Ordering::Relaxed));
    let read = take(lines.into_reader(), &mut told).map_err(|e| {
        Failure::failed(format!("{} cannot be read to its end: {e}", path.display()))
    })?;
    progress.finish();
    for (reason, (count, first)) in &read.unread {
        say(&format!(
            "{}: {} lines are {}; the first is line {first}",
            path.display(),
            grouped(*count),
            reason.text()
        ));
    }
    Ok(read.unread.values().map(|(count, _)| count).sum())
}

fn configuration(proposal: Proposal) -> Config {
    let mut config = Config::default();
    let labels = proposal.labels;
    config.labels.unit = match labels.unit {
        survey::LabelUnit::Account => LabelUnit::Account,
        survey::LabelUnit::Event => LabelUnit::Event,
    };
    config.labels.feedback = !labels.no_feedback;
    config.labels.unlabelled =
        if labels.covers_all { Unlabelled::Unknown } else { Unlabelled::Good };
    config.labels.types = labels
        .score_types
        .into_iter()
        .filter(|t| proposal.features.events.types.contains(t))
        .collect();
    config.labels.lookback = duration(labels.lookback_ms);
    config.labels.maturity = duration(labels.maturity_ms);
    config.labels.recent_age_max = duration(labels.index_age_ms);
    config.labels.recent_events_max = labels.index_events_max;
    config.input.strict_ties = proposal.strict_ties;
    config.graph.strength_half_life = proposal.features.time.half_lives[3].clone();
    // Links between accounts live as long as what the stream says of kinds whose keys are accounts; targets have no
    // kind of their own and live as long as accounts.
    let time = &proposal.features.time;
    let lives = proposal.features.kinds.values().filter(|k| k.is_account).map(|k| &k.ttl);
    let longest = lives.max_by_key(|ttl| parse_ms(ttl).unwrap_or(0));
    config.graph.target_ttl = longest.unwrap_or(&time.account_ttl).clone();
    config.set_features(proposal.features);
    config
}

fn duration(ms: u64) -> String {
    format_ms(i64::try_from(ms).unwrap_or(i64::MAX).min(features::limits::DURATION_MS_MAX))
}

fn render(config: &Config, notes: &[String], args: &Args) -> Result<String, Failure> {
    let mut text = String::from(
        "# Written by `detector init`. Every key is described in docs/configuration.md.\n",
    );
    if let Some(until) = args.until {
        text.push_str(&format!("# Nothing after {until} (epoch milliseconds) was looked at.\n"));
    }
    text.push_str("#\n# What was seen, and what follows from it:\n");
    for note in notes {
        for (i, line) in wrap(note, 100).iter().enumerate() {
            text.push_str(if i == 0 { "# - " } else { "#   " });
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push('\n');
    text.push_str(&toml::to_string(config).map_err(Failure::failed)?);
    Ok(text)
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + 1 + word.len() > width {
            lines.push(word.to_string());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}
