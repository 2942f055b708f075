//! While another instance is live: load its newest checkpoint, follow it, and watch for its sign of life.

use super::follow::Follower;
use super::reload::Reload;
use super::start::fill;
use super::{Around, Begin, Settings, Stop, position};
use crate::health::{Following, State};
use crate::kafka::client::Trouble;
use crate::kafka::topics::Topics;
use crate::store::redis::{Shards, Store, Watch};
use std::time::{Duration, Instant};

/// The sign of life is looked for this often.
const LOOK: Duration = Duration::from_millis(200);
/// Which checkpoint is the newest is asked this often.
const BASE_EVERY: Duration = Duration::from_secs(2);
/// Longest pause before a state that could not be followed is loaded again.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A standby's state, if it has one, and what it needs to keep it.
#[derive(Default)]
pub struct Standby {
    follower: Option<Follower>,
    topics: Option<Topics>,
    /// Not to be tried again before.
    not_before: Option<Instant>,
    failures: u32,
    watch: Watch,
    asked_base: Option<Instant>,
    /// When new partitions of the actions were last looked for.
    looked: Option<Instant>,
}

impl Standby {
    /// Waits while another instance gives signs of life, and follows it. False: asked to stop meanwhile.
    ///
    /// # Errors
    /// When Redis refuses to be asked.
    pub fn wait<S: Shards>(
        &mut self,
        settings: &Settings,
        store: &mut Store<S>,
        reload: &mut Reload,
        around: &Around,
        stop: &Stop,
    ) -> Result<bool, Trouble> {
        let (mut said, since) = (false, Instant::now());
        let longest = 2 * settings.redis.lease_ttl();
        loop {
            match store.sign_of_life() {
                Ok(sign) => {
                    let given = sign.is_some();
                    if !self.watch.is_alive(sign, Instant::now(), longest) {
                        if given {
                            tracing::warn!(
                                "the live instance's sign of life holds by Redis's clock, but is not renewed: taking over"
                            );
                        }
                        return Ok(!stop.asked());
                    }
                    around.health.store_up(true);
                }
                // Whoever is live goes on without Redis for a while, and so does who follows it.
                Err(error) if error.is_unavailable() && said => around.health.store_up(false),
                Err(error) => return Err(error.into()),
            }
            if stop.asked() {
                return Ok(false);
            }
            // The sign of life of one that has just ended runs out in this time.
            let ends = 3 * settings.redis.lease_ttl();
            if settings.asked() != Begin::Checkpoint {
                if since.elapsed() > ends {
                    return Err(Trouble::Fatal(
                        "another instance is live, and would lose its state to --cold or --rebuild-from at some later time\nhint: stop all instances first, or start this one without the option".into(),
                    ));
                }
                around.health.beat();
                std::thread::sleep(LOOK);
                continue;
            }
            if !said {
                said = true;
                around.health.set_state(State::Standby);
                tracing::info!("another instance is live: standing by");
            }
            around.health.beat();
            let begun = Instant::now();
            if let Err(trouble) = self.turn(settings, store, around) {
                self.failures += 1;
                let pause = LOOK * 2u32.saturating_pow(self.failures.min(10));
                self.not_before = Some(Instant::now() + pause.min(PAUSE_MAX));
                self.follower = None;
                around.health.following(None);
                tracing::warn!("the live instance cannot be followed now: {trouble}");
            }
            if let Some(follower) = &mut self.follower {
                let reloaded = reload.look(settings, stop, follower.engine());
                around.reloaded(&reloaded, follower.engine());
                around.queries.answer(follower.engine());
            }
            std::thread::sleep(LOOK.saturating_sub(begun.elapsed()));
        }
    }

    /// The state, for taking over.
    pub fn take(&mut self) -> Option<Follower> {
        self.follower.take()
    }

    fn turn<S: Shards>(
        &mut self,
        settings: &Settings,
        store: &mut Store<S>,
        around: &Around,
    ) -> Result<(), Trouble> {
        if self.not_before.is_some_and(|moment| Instant::now() < moment) {
            return Ok(());
        }
        if self.topics.is_none() {
            self.topics = Some(Topics::new(&settings.kafka)?);
        }
        let Some(topics) = &self.topics else { return Ok(()) };
        let Some(follower) = &mut self.follower else {
            // Before its first checkpoint there is nothing to follow.
            let Some((_, base)) = store.peek_base()? else { return Ok(()) };
            let detail = position::read(&base)?;
            if detail.unfinished {
                return Ok(());
            }
            let engine = settings.engine()?;
            position::same_configuration(&detail, &engine)?;
            // The owner lets the one that is read be, also for a second try.
            store.will_read(super::live::READ_TIME_MAX)?;
            let Some((tag, base)) = store.peek_base()? else { return Ok(()) };
            let telemetry = &around.telemetry;
            let begun = Follower::begin(settings, topics, &base, engine, telemetry, |engine| {
                fill(engine, None, |each| store.peek_load(tag, each, |_| around.health.beat()))
            });
            if !matches!(begun, Err(Trouble::StartOver(_))) {
                store.has_read()?;
            }
            let follower = begun?;
            tracing::info!(checkpoint = %tag, "loaded; following the live instance");
            self.follower = Some(follower);
            self.asked_base = None;
            return Ok(());
        };
        follower.turn(topics, LOOK)?;
        let every = Duration::from_millis(settings.times.partitions_every_ms.max(1000) as u64);
        if self.looked.is_none_or(|looked| looked.elapsed() >= every) {
            self.looked = Some(Instant::now());
            match follower.look_for_partitions(topics) {
                // Brokers that do not answer now do so later.
                Ok(()) | Err(Trouble::StartOver(_)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        if self.asked_base.is_none_or(|asked| asked.elapsed() >= BASE_EVERY) {
            self.asked_base = Some(Instant::now());
            // What cannot be asked now is asked the next time.
            if let Ok(Some((_, base))) = store.peek_base() {
                follower.covered_by(&position::read(&base)?)?;
            }
            around.telemetry.size(&follower.engine().size());
            around.memory(follower.engine());
        }
        self.failures = 0;
        let engine = follower.engine();
        around.health.applied(engine.watermark_ms());
        let (journal, behind) = (follower.place(), follower.behind());
        around.health.following(Some(Following { journal, behind }));
        Ok(())
    }
}
