//! The service: events from Kafka through the line, actions to Kafka, state in Redis. One instance is live, others stand by.
//!
//! ```text
//! kafka ─> [source: poll, decode] ─> [engine: step] ─> [publisher: reasons, transaction] ─> kafka
//!                                        │ cut
//!                                        └─> [checkpoints: write, signs of life] ─> redis
//! ```

mod again;
mod checkpoints;
pub mod copies;
pub mod cut;
mod ends;
mod follow;
mod halts;
mod layout;
mod live;
pub mod memory;
mod names;
mod ordered;
mod pace;
mod position;
mod published;
mod pulse;
mod rebuild;
pub(crate) mod reload;
mod restore;
mod stalls;
mod standby;
mod start;

use crate::command::Failure;
use crate::command::setup::{bundle_of, engine_with};
use crate::config::Loaded;
use crate::health::{Health, State};
use crate::http::{self, Queries, Server};
use crate::kafka::client::Trouble;
use crate::kafka::config::{KafkaSection, Times};
use crate::kafka::retention;
use crate::kafka::skip::Skip;
use crate::kafka::source::Reader;
use crate::kafka::topics::Topics;
use crate::registry::Registry;
use crate::store::redis::{RedisSection, RedisShards, Store, random_pause};
use crate::telemetry::{Telemetry, Upkeep};
use engine::Engine;
use models::bundle::Bundle;
use reload::files::{self, Files};
use reload::{Reload, Reloaded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use standby::Standby;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the service runs with.
pub struct Settings {
    /// The configuration.
    pub loaded: Loaded,
    /// A bundle that takes the place of the configured one.
    pub model: Option<PathBuf>,
    /// `[kafka]`.
    pub kafka: KafkaSection,
    /// `[redis]`.
    pub redis: RedisSection,
    times: Times,
    registry: Option<Arc<Registry>>,
    checkpoint_every: Duration,
    begin: Begin,
    /// What is to be passed over where a partition is stopped.
    pub(super) skips: Vec<Skip>,
    /// What `begin` asks for was done.
    begun: AtomicBool,
    /// What an engine is made of; read once, so that what changes on the disk is taken by a reload and by nothing else.
    current: Mutex<Option<Arc<Current>>>,
    /// Where that was read.
    files: Arc<Files>,
}

/// Configuration and bundle of an engine.
struct Current {
    loaded: Loaded,
    bundle: Option<Bundle>,
}

/// Puts a published action back into its account's record, as a restart does. False: it is no action.
pub(crate) fn put_back(engine: &mut Engine, payload: &[u8], cap_hour: Option<&[u8]>) -> bool {
    let action = restore::Published::read(payload, cap_hour);
    action.map(|action| action.apply(engine)).is_some()
}

/// What state to begin with: a person's word, when Redis has none that fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// From the newest checkpoint; refused when there is none and should be one.
    #[default]
    Checkpoint,
    /// With an empty state, at the committed offsets.
    Cold,
    /// With a state made anew from all messages that the topics still hold.
    Rebuild,
}

impl Settings {
    /// Checks everything that can be checked without a connection.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn new(
        loaded: Loaded,
        model: Option<PathBuf>,
        strict_ties: bool,
        begin: Begin,
        skips: Vec<Skip>,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let (kafka, redis) =
            (loaded.kafka.clone().unwrap_or_default(), loaded.redis.clone().unwrap_or_default());
        let times = kafka.check().map_err(|found| problems.extend(found));
        if let Err(found) = redis.validate() {
            problems.extend(found);
        }
        if strict_ties || loaded.config.input.strict_ties {
            problems.push("strict ties need a stream in the order of time, and partitions are none\n  hint: leave out --strict-ties and input.strict_ties; they are for files".into());
        }
        let registry = Registry::new(&kafka.registry).map_err(|e| problems.push(e));
        let every = features::duration::parse_ms(&loaded.config.state.checkpoint_every);
        let every = every.map_err(|e| problems.push(format!("[state] checkpoint_every: {e}")));
        let (Ok(times), Ok(every_ms), Ok(registry)) = (times, every, registry) else {
            return Err(problems);
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let checkpoint_every = Duration::from_millis(every_ms.max(1) as u64);
        let begun = AtomicBool::new(false);
        for warning in kafka.security.warnings() {
            tracing::warn!("{warning}");
        }
        // What is no offset is refused where the engine is made.
        let offset = loaded.config.time.assume_offset.as_deref();
        let offset_ms = offset.and_then(|o| features::duration::parse_offset_ms(o).ok());
        let registry =
            registry.map(|registry| Arc::new(registry.local_times_at(offset_ms.unwrap_or(0))));
        let current = Mutex::new(None);
        let files = Arc::new(Files::of(&loaded, model.as_deref()));
        Ok(Self {
            loaded,
            model,
            kafka,
            redis,
            times,
            registry,
            checkpoint_every,
            begin,
            skips,
            begun,
            current,
            files,
        })
    }

    /// What is still to be done of what a person asked for.
    fn asked(&self) -> Begin {
        if self.begun.load(Ordering::Relaxed) { Begin::Checkpoint } else { self.begin }
    }

    fn engine(&self) -> Result<Engine, Trouble> {
        let made = || {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            let current = match &*current {
                Some(current) => current.clone(),
                None => {
                    let bundle = bundle_of(&self.loaded, self.model.as_deref())?;
                    let first = Arc::new(Current { loaded: self.loaded.clone(), bundle });
                    current.insert(first).clone()
                }
            };
            engine_with(&current.loaded, current.bundle.as_ref(), false, false).map(|mut engine| {
                engine.reads_from(&self.kafka.events);
                engine
            })
        };
        made().map_err(|e| Trouble::Fatal(e.to_string()))
    }

    /// From now on engines are made of this.
    fn replace(&self, current: Current) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(current));
    }

    fn reader(&self, engine: &Engine) -> Reader {
        let KafkaSection { events, labels, .. } = &self.kafka;
        let ahead_ms = self.times.clock_ahead_max_ms;
        Reader::new(Arc::new(engine.decoder()), events, labels, ahead_ms, self.registry.clone())
    }
}

/// What the service was asked for: to end, or to read its configuration again.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    end: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Stop {
    /// Ends it.
    pub fn ask(&self) {
        self.end.store(true, Ordering::Relaxed);
    }

    /// Set once it is to end.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.end.clone()
    }

    /// Whether it is to end.
    pub fn asked(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Asks for a reload.
    pub fn ask_reload(&self) {
        self.reload.store(true, Ordering::Relaxed);
    }

    /// Whether a reload was asked for since the last call.
    fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::Relaxed)
    }

    /// SIGTERM and SIGINT end it; a later one leaves at once. SIGHUP reloads. Some tools send the first one twice, so one that follows at its heels
    /// does not count.
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub fn on_signals(&self) -> std::io::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let stop = self.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let mut first: Option<Instant> = None;
            for signal in signals.forever() {
                if signal == SIGHUP {
                    tracing::info!("SIGHUP: reading policy and model again");
                    stop.ask_reload();
                    continue;
                }
                match first {
                    None => {
                        first = Some(Instant::now());
                        stop.ask();
                    }
                    Some(first) if first.elapsed() > HEELS => std::process::exit(130),
                    Some(_) => {}
                }
            }
        })?;
        Ok(())
    }
}

/// Signals so close to the first are the first.
const HEELS: Duration = Duration::from_millis(500);

/// What looks at the service from outside.
pub struct Around {
    /// Metrics.
    pub telemetry: Telemetry,
    /// How it is.
    pub health: Arc<Health>,
    /// Questions to the engine.
    pub queries: Queries,
    _upkeep: Upkeep,
}

impl Around {
    fn start(
        settings: &Settings,
        telemetry: Telemetry,
        engine: &Engine,
    ) -> Result<(Self, Option<Server>), Failure> {
        let http = http::Settings::of(&settings.loaded.config.http)
            .map_err(|problems| Failure::refused(problems.join("\n  ")))?;
        let health = Arc::new(Health::new(http.limits));
        let (asking, queries) = http::queries(&telemetry);
        telemetry.versions(engine.versions());
        let context = http::Context {
            telemetry: telemetry.clone(),
            health: health.clone(),
            asking,
            decoder: Arc::new(engine.decoder()),
        };
        let server = Server::start(&http, context).map_err(Failure::failed)?;
        if let Some(server) = &server {
            tracing::info!(address = %server.address(), "answers HTTP");
        }
        let upkeep = Upkeep::start(telemetry.clone(), health.clone())
            .map_err(|e| Failure::failed(format!("cannot start a thread: {e}")))?;
        Ok((Self { telemetry, health, queries, _upkeep: upkeep }, server))
    }
}

impl Around {
    /// Tells how much memory the state takes; logs once when it comes near its bound, and once when it reaches it.
    fn memory(&self, engine: &Engine) {
        let found = engine.memory_use();
        if !self.health.memory(found) {
            return;
        }
        let (bytes, max) = (found.bytes, found.max);
        if found.is_full() {
            tracing::warn!(event = "memory_full", bytes, max, "state full, new accounts not kept");
        } else {
            tracing::warn!(event = "memory_near", bytes, max, "state near its bound of memory");
        }
    }

    /// Tells how a reload ended.
    fn reloaded(&self, reloaded: &Reloaded, engine: &Engine) {
        match reloaded {
            Reloaded::Nothing => {}
            Reloaded::Taken => {
                self.telemetry.versions(engine.versions());
                self.telemetry.reloaded(true);
            }
            Reloaded::Refused => self.telemetry.reloaded(false),
        }
    }
}

/// Runs until it is asked to stop, or something needs a person.
///
/// # Errors
/// What needs a person.
pub fn run(settings: &Settings, telemetry: Telemetry, stop: &Stop) -> Result<(), Failure> {
    let mut problems = Vec::new();
    let engine = settings.engine();
    if let Err(Trouble::Fatal(e) | Trouble::StartOver(e)) = &engine {
        problems.push(e.clone());
    }
    let topics = Topics::new(&settings.kafka)
        .and_then(|topics| topics.check().and_then(|()| topics.check_skips(&settings.skips)))
        .and_then(|()| retention::check(&settings.kafka, live::REPLAY_TIME_MAX));
    if let Err(Trouble::Fatal(e) | Trouble::StartOver(e)) = topics {
        problems.push(e);
    }
    if let Err(e) = RedisShards::open(&settings.redis) {
        problems.push(e.to_string());
    }
    if let Some(Err(e)) = settings.registry.as_ref().map(|registry| registry.check()) {
        problems.push(e);
    }
    if !problems.is_empty() {
        let text = problems.join("\n  ");
        // What is wrong with the configuration or the model stays wrong, whatever becomes of the rest.
        return Err(if engine.is_err() { Failure::refused(text) } else { Failure::failed(text) });
    }
    let engine = engine.map_err(Failure::refused)?;
    let (around, server) = Around::start(settings, telemetry, &engine)?;
    drop(engine);
    watch_files(settings, stop).map_err(Failure::failed)?;
    let ended = lives(settings, &around, stop);
    if let Some(server) = server {
        server.stop();
    }
    ended
}

/// Reloads what changes on the disk, until the service ends.
fn watch_files(settings: &Settings, stop: &Stop) -> Result<(), String> {
    let Some(every) = files::every(&settings.loaded.config.reload)? else { return Ok(()) };
    let (files, stop) = (settings.files.clone(), stop.clone());
    let watch = move || files.watch(every, &stop);
    let watching = std::thread::Builder::new().name("files".into()).spawn(watch);
    watching.map(drop).map_err(|e| format!("cannot start a thread: {e}"))
}

/// One life after the other.
fn lives(settings: &Settings, around: &Around, stop: &Stop) -> Result<(), Failure> {
    let mut attempt = 0;
    // A reload that was read is taken by the next instance that can, whichever asked for it.
    let (mut standby, mut reload) = (Standby::default(), Reload::default());
    while !stop.asked() {
        let begun = Instant::now();
        match instance(settings, &mut standby, &mut reload, around, stop) {
            Ok(()) => return Ok(()),
            Err(Trouble::Fatal(e)) => return Err(Failure::failed(e)),
            Err(Trouble::StartOver(e)) => {
                tracing::warn!("{e}");
                around.telemetry.started_over();
                attempt = if begun.elapsed() > Duration::from_secs(60) { 0 } else { attempt + 1 };
                std::thread::sleep(random_pause(attempt));
            }
        }
    }
    Ok(())
}

/// From standing by to the end of one life.
fn instance(
    settings: &Settings,
    standby: &mut Standby,
    reload: &mut Reload,
    around: &Around,
    stop: &Stop,
) -> Result<(), Trouble> {
    around.health.set_state(State::Starting);
    let shards = RedisShards::open(&settings.redis)?;
    let mut store = Store::new(shards, settings.redis.limits());
    if !standby.wait(settings, &mut store, reload, around, stop)? {
        return Ok(());
    }
    around.health.following(None);
    let ready = start::start(settings, store, standby.take(), around, stop)?;
    live::run(settings, ready, reload, around, stop)
}
