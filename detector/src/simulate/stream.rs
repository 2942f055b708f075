//! The whole simulation as lines of JSON.

use super::{ActorKind, EventType, Plan, Simulator};
use std::io::{self, Write};

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events written.
    pub events: u64,
    /// Events that did harm themselves.
    pub harmful_events: u64,
    /// First and last moment, milliseconds since 1970.
    pub span_ms: [i64; 2],
    /// Accounts that did anything.
    pub accounts: u64,
    /// Of these, bad ones that did something bad.
    pub bad_accounts: u64,
    /// Labels that say bad.
    pub bad_labels: u64,
    /// Labels that say bad about accounts that had done no harm.
    pub wrong_labels: u64,
    /// Labels that clear.
    pub clearing_labels: u64,
    /// Active accounts by kind, in the order of [`ActorKind::ALL`].
    pub by_kind: Vec<(ActorKind, u64)>,
    /// Events by type, in the order of [`EventType::ALL`].
    pub by_type: Vec<(EventType, u64)>,
}

/// Runs `plan` and writes events, labels (by the time they became known) and the truth (one line per active account:
/// `{"account":…,"kind":…,"bad":…,"harmed":…,"started":…,"ring":…,"events":…}`) as lines of JSON. `progress` is told the
/// number of events so far, every 1,000 events and at the end.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] with the [`super::PlanError`] if the plan is not sound; else what the
/// writers say.
pub fn write_stream(
    plan: &Plan,
    events: &mut dyn Write,
    labels: Option<&mut dyn Write>,
    truth: Option<&mut dyn Write>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Summary> {
    let mut simulator =
        Simulator::new(plan).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let mut summary = Summary { span_ms: [plan.start_ms; 2], ..Summary::default() };
    let mut by_type = [0_u64; EventType::ALL.len()];
    let mut buffer = Vec::with_capacity(1 << 17);
    for event in simulator.by_ref() {
        event.write_json(&mut buffer);
        buffer.push(b'\n');
        if summary.events == 0 {
            summary.span_ms[0] = event.ts_ms;
        }
        summary.span_ms[1] = event.ts_ms;
        summary.events += 1;
        summary.harmful_events += u64::from(event.harmful);
        by_type[event.event_type as usize] += 1;
        flush_above(&mut buffer, 1 << 16, events)?;
        if summary.events.is_multiple_of(1_000) {
            progress(summary.events);
        }
    }
    flush_above(&mut buffer, 0, events)?;
    events.flush()?;
    progress(summary.events);
    summary.by_type = EventType::ALL.into_iter().zip(by_type).collect();

    for label in simulator.labels() {
        let honest = simulator.truth(label.account).is_none_or(|truth| !truth.harmed);
        summary.bad_labels += u64::from(label.bad);
        summary.wrong_labels += u64::from(label.bad && honest);
        summary.clearing_labels += u64::from(!label.bad);
    }
    if let Some(out) = labels {
        for label in simulator.labels() {
            label.write_json(&mut buffer);
            buffer.push(b'\n');
            flush_above(&mut buffer, 1 << 16, out)?;
        }
        flush_above(&mut buffer, 0, out)?;
        out.flush()?;
    }
    tell_truth(&simulator, truth, &mut buffer, &mut summary)?;
    Ok(summary)
}

fn tell_truth(
    simulator: &Simulator,
    mut out: Option<&mut dyn Write>,
    buffer: &mut Vec<u8>,
    summary: &mut Summary,
) -> io::Result<()> {
    let mut by_kind = [0_u64; ActorKind::ALL.len()];
    for index in 0..simulator.accounts() {
        let Some(truth) = simulator.truth(index).filter(|truth| truth.events > 0) else { continue };
        summary.accounts += 1;
        summary.bad_accounts += u64::from(truth.kind.is_bad());
        by_kind[truth.kind as usize] += 1;
        if let Some(out) = &mut out {
            let started = truth.started_ms.map_or("null".to_owned(), |ms| ms.to_string());
            let ring = truth.ring.map_or("null".to_owned(), |ring| ring.to_string());
            writeln!(
                buffer,
                "{{\"account\":\"{}\",\"kind\":\"{}\",\"bad\":{},\"harmed\":{},\"started\":{started},\"ring\":{ring},\
                 \"events\":{}}}",
                simulator.account_id(index),
                truth.kind.name(),
                truth.kind.is_bad(),
                truth.harmed,
                truth.events,
            )?;
            flush_above(buffer, 1 << 16, *out)?;
        }
    }
    summary.by_kind = ActorKind::ALL.into_iter().zip(by_kind).collect();
    if let Some(out) = out {
        flush_above(buffer, 0, out)?;
        out.flush()?;
    }
    Ok(())
}

/// Writes the buffer out once it is longer than `limit` bytes.
fn flush_above(buffer: &mut Vec<u8>, limit: usize, out: &mut dyn Write) -> io::Result<()> {
    if buffer.len() > limit {
        out.write_all(buffer)?;
        buffer.clear();
    }
    Ok(())
}
