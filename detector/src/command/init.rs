//! `detector init`: looks at a stream and writes a configuration that fits it.

use super::Failure;
use super::progress::{Progress, grouped};
use super::run::say;
use super::setup::moment;
use crate::config::Loaded;
use crate::source::files::Lines;
use crate::survey::{self, Proposal, Survey, SurveyLimits};
use engine::config::{Config, LabelUnit, Unlabelled};
use engine::policy::{RuleConfig, default_rules};
use engine::wire::{Form, MappingConfig, Preset};
use features::duration::{format_ms, parse_ms, parse_offset_ms};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use std::path::{Path, PathBuf};

/// Look at a stream (and its labels) and write a configuration that fits it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  detector init --events events.ndjson.gz --labels labels.ndjson.gz --out conf/
  detector init --events events.ndjson --until 2026-03-01 --out conf/   (nothing later has any influence)
  detector init --events exported.ndjson --mapping mapping.toml --out conf/
  detector init --events exported.ndjson --mapping cloudevents --out conf/

A mapping says where other shapes have what is read (docs/configuration.md, [mapping]):
  [mapping]
  ts = \"/timestamp\"
  type = \"/event\"
  account = [\"/userId\", \"/anonymousId\"]
  entities.device = \"/context/device/id\"")]
pub struct Args {
    /// Events, one JSON object a line, plain, gzip or zstd.
    #[arg(long)]
    events: PathBuf,
    /// Labels, in the same form.
    #[arg(long)]
    labels: Option<PathBuf>,
    /// Events of another shape: a TOML file with `[mapping]` (and `[time] assume_offset`, where times have none), or the name
    /// of a preset. It is written into the configuration.
    #[arg(long, value_name = "FILE|PRESET")]
    mapping: Option<String>,
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
        return Err(Failure::refused(format!(
            "{} exists already\nhint: give another folder to --out, or --force to overwrite it",
            file.display()
        )));
    }
    let shape = args.mapping.as_deref().map(Shape::read).transpose()?.unwrap_or_default();
    let (config, notes) = propose(&args.events, args.labels.as_deref(), args.until, shape)?;
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
    for line in first_steps(&config) {
        say(&line);
    }
    Ok(())
}

/// What the rules of a new configuration do, and how to look at them before they do it.
fn first_steps(config: &Config) -> Vec<String> {
    let live = |rule: &&RuleConfig| !rule.shadow && !config.policy.shadow;
    let acts: Vec<String> = config
        .rules
        .iter()
        .filter(live)
        .map(|rule| format!("{} ({})", rule.name, rule.action.as_str()))
        .collect();
    if acts.is_empty() {
        return vec!["no rule is live: actions are reported with `shadow: true` only".into()];
    }
    vec![
        format!("rules that are live: {}", acts.join(", ")),
        "to see what they would do first, set `shadow = true` in [policy]; `caps_per_hour` there limits each kind of action".into(),
    ]
}

/// What a configuration says of the shape of messages, before there is one.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Shape {
    #[serde(default)]
    mapping: MappingConfig,
    #[serde(default)]
    time: ShapeTime,
}

#[derive(Debug, Default, Deserialize)]
struct ShapeTime {
    assume_offset: Option<String>,
}

impl Shape {
    /// From a file, or a preset's name.
    fn read(text: &str) -> Result<Self, Failure> {
        let preset: Result<Preset, serde::de::value::Error> =
            Preset::deserialize(text.into_deserializer());
        if let Ok(preset) = preset {
            let mapping = MappingConfig { preset: Some(preset), ..MappingConfig::default() };
            return Ok(Self { mapping, ..Self::default() });
        }
        let refused = |why: String| {
            Failure::refused(format!(
                "--mapping {text}: {why}\nhint: give a TOML file with [mapping], or one of cloudevents, osprey"
            ))
        };
        let file = std::fs::read_to_string(text).map_err(|e| refused(e.to_string()))?;
        let shape: Self = toml::from_str(&file).map_err(|e| refused(e.to_string()))?;
        let wrong = shape.mapping.check();
        if !wrong.is_empty() {
            return Err(refused(wrong.join("\n")));
        }
        if shape.mapping == MappingConfig::default() {
            return Err(refused("it has no [mapping]".into()));
        }
        Ok(shape)
    }

    fn assume_offset_ms(&self) -> Result<Option<i64>, Failure> {
        let offset = self.time.assume_offset.as_deref().map(parse_offset_ms).transpose();
        offset.map_err(|e| Failure::refused(format!("time.assume_offset: {e}")))
    }

    /// Writes it into a configuration; pointers to what is not declared there are left out.
    fn put_into(self, config: &mut Config) {
        let mut mapping = self.mapping;
        mapping.entities.retain(|kind, _| config.kinds.contains_key(kind));
        mapping.attributes.retain(|name, _| config.attributes.contains_key(name));
        config.mapping = mapping;
        config.time.assume_offset = self.time.assume_offset;
    }
}

/// Surveys the files and makes a configuration with rules.
pub(super) fn propose(
    events: &Path,
    labels: Option<&Path>,
    until_ms: Option<i64>,
    shape: Shape,
) -> Result<(Config, Vec<String>), Failure> {
    let form = Form::new(&shape.mapping, shape.assume_offset_ms()?);
    let limits = SurveyLimits { until_ms, ..SurveyLimits::default() };
    let mut survey = Survey::new(limits).of_form(form);
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
    shape.put_into(&mut config);
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
    for (code, unread) in &read.unread {
        say(&format!(
            "{}: {} lines cannot be read ({}); the first is line {}: {}",
            path.display(),
            grouped(unread.lines),
            code.as_str(),
            unread.first,
            unread.detail
        ));
    }
    if read.taken == 0 && read.lines > 0 {
        return Err(Failure::failed(format!(
            "{}: not one of {} lines could be read as {what}\nhint: is it the right file? events of another shape are read by --mapping (docs/configuration.md, [mapping])",
            path.display(),
            grouped(read.lines)
        )));
    }
    Ok(read.unread.values().map(|unread| unread.lines).sum())
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
