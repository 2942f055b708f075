//! Threads that ask the registry for numbers side by side, so that nobody who reads messages waits for it.

use super::Pending;
use super::answer::{Server, Unanswered};
use super::known::{Found, Known};
use engine::wire::{Reject, RejectCode};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Questions under way side by side.
const ASKERS: usize = 4;
/// Numbers that are asked for; a message with another one is pending until there is room.
const ASKED_MAX: usize = 1024;
/// Pauses between attempts: at first, and at most.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The log says this often that the registry has no answer.
const SAY_EVERY: Duration = Duration::from_secs(30);
/// Numbers without a schema that the log names in a minute; further ones are counted.
const NAMED_MAX: u32 = 10;
const NAMED_IN: Duration = Duration::from_secs(60);

/// A number that is asked for.
struct Asked {
    since: Instant,
    why: Option<String>,
    pause: Duration,
    /// When it is asked for next; none: it is under way.
    next: Option<Instant>,
}

#[derive(Default)]
struct State {
    known: Known,
    asked: HashMap<u32, Asked>,
    log: Log,
    ended: bool,
    askers: usize,
}

struct Shared {
    server: Server,
    state: Mutex<State>,
    /// A number is to be asked for, or it ends.
    wake: Condvar,
    answers: AtomicU64,
}

pub(super) struct Asking {
    shared: Arc<Shared>,
}

impl Asking {
    pub(super) fn new(server: Server) -> Self {
        let state = Mutex::default();
        let (wake, answers) = (Condvar::new(), AtomicU64::new(0));
        Self { shared: Arc::new(Shared { server, state, wake, answers }) }
    }

    pub(super) fn server(&self) -> &Server {
        &self.shared.server
    }

    pub(super) fn answers(&self) -> u64 {
        self.shared.answers.load(Ordering::Acquire)
    }

    /// What is known of a number; asks for it where nothing is.
    pub(super) fn find(&self, number: u32) -> Result<Found, Pending> {
        let now = Instant::now();
        let mut state = self.shared.state();
        if let Some(found) = state.known.find(number, now) {
            return Ok(found);
        }
        let has_room = state.asked.len() < ASKED_MAX;
        if let Some(asked) = state.asked.get(&number) {
            return Err(Pending { schema: number, since: asked.since, why: asked.why.clone() });
        }
        if has_room {
            let asked = Asked { since: now, why: None, pause: PAUSE_FIRST, next: Some(now) };
            state.asked.insert(number, asked);
            self.shared.start_askers(&mut state);
            drop(state);
            self.shared.wake.notify_one();
        }
        Err(Pending { schema: number, since: now, why: None })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Started with the first question: without one there is nothing to be asked.
    fn start_askers(self: &Arc<Self>, state: &mut State) {
        while state.askers < ASKERS {
            let shared = self.clone();
            let asker = std::thread::Builder::new().name("registry".into());
            if let Err(error) = asker.spawn(move || shared.ask()) {
                // The next question tries again; those that run go on meanwhile.
                tracing::warn!(event = "thread_failed", %error, "cannot start a thread");
                return;
            }
            state.askers += 1;
        }
    }

    fn ask(&self) {
        while let Some(number) = self.next() {
            let answer = self.server.schema(number);
            self.answered(number, answer);
        }
    }

    /// The number that is to be asked for now; none: it ends.
    fn next(&self) -> Option<u32> {
        let mut state = self.state();
        loop {
            if state.ended {
                return None;
            }
            let now = Instant::now();
            let due = state.asked.iter().filter_map(|(number, asked)| Some((asked.next?, *number)));
            match due.min() {
                Some((at, number)) if at <= now => {
                    if let Some(asked) = state.asked.get_mut(&number) {
                        asked.next = None;
                    }
                    return Some(number);
                }
                Some((at, _)) => {
                    let waited = self.wake.wait_timeout(state, at - now);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn answered(&self, number: u32, answer: Result<(super::Schema, usize), Unanswered>) {
        let now = Instant::now();
        let mut state = self.state();
        let State { known, asked, log, .. } = &mut *state;
        let reject = match answer {
            Err(Unanswered::NotNow(why)) => {
                log.waits(number, &why, now);
                if let Some(asked) = asked.get_mut(&number) {
                    asked.next = Some(now + asked.pause);
                    asked.pause = (asked.pause * 2).min(PAUSE_MAX);
                    asked.why = Some(why);
                }
                return;
            }
            Ok((schema, bytes)) => {
                known.schema(number, schema, bytes);
                None
            }
            Err(Unanswered::Unknown) => Some(Reject::new(
                RejectCode::UnknownSchema,
                format!("the registry has no schema {number}"),
            )),
            Err(Unanswered::Never(why)) => Some(Reject::new(
                RejectCode::Undecodable,
                format!("schema {number} cannot be used: {why}"),
            )),
        };
        if let Some(reject) = reject
            && known.refuse(number, reject.clone(), now)
        {
            log.refused(number, &reject, now);
        }
        asked.remove(&number);
        log.answers();
        self.answers.fetch_add(1, Ordering::Release);
    }
}

/// What the log was told, so that neither an outage nor a flood fills it.
#[derive(Default)]
struct Log {
    waits: Option<Instant>,
    named_since: Option<Instant>,
    named: u32,
}

impl Log {
    fn waits(&mut self, schema: u32, why: &str, now: Instant) {
        if self.waits.is_none_or(|said| now.duration_since(said) > SAY_EVERY) {
            self.waits = Some(now);
            tracing::warn!(
                event = "schema_pending",
                schema,
                error = why,
                "schema registry has no answer; retrying"
            );
        }
    }

    fn answers(&mut self) {
        if self.waits.take().is_some() {
            tracing::info!(event = "registry_answers", "schema registry answers again");
        }
    }

    fn refused(&mut self, schema: u32, reject: &Reject, now: Instant) {
        if self.named_since.is_none_or(|since| now.duration_since(since) > NAMED_IN) {
            let more = self.named.saturating_sub(NAMED_MAX);
            if more > 0 {
                tracing::warn!(
                    event = "schemas_refused",
                    schemas = more,
                    "more schemas without use; their messages become dead letters"
                );
            }
            (self.named_since, self.named) = (Some(now), 0);
        }
        self.named += 1;
        if self.named <= NAMED_MAX {
            tracing::warn!(
                event = "schema_refused",
                schema,
                code = reject.code.as_str(),
                detail = reject.detail,
                "messages with this schema become dead letters"
            );
        }
    }
}
