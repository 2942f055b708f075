//! At least once: what the journal has and may not have been published is taken in its order by whoever takes over, and published. It
//! comes out as it did the first time, if there was one: same order, same bytes, same ids.

use super::Stop;
use super::follow::{Again, is_of};
use super::live::Line;
use super::ordered::Taken;
use crate::kafka::client::Trouble;
use crate::kafka::journal::Run;
use crate::kafka::skip;
use crate::kafka::source::{BATCH_MESSAGES, Batch};
use std::time::{Duration, Instant};

/// Longest silence of the brokers.
const PATIENCE: Duration = Duration::from_secs(30);
/// The line looks around at least this often.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// Takes all of it. No checkpoint lies in between, and what is committed goes from its beginning to its end at once: where the actions
/// stood before a batch can only be said of one that was published after all before it.
///
/// # Errors
/// When a message is gone, or the line cannot go on.
pub fn take(line: &mut Line<'_>, again: Again, stop: &Stop) -> Result<(), Trouble> {
    let Again { mut order, mut inputs } = again;
    tracing::info!(messages = order.messages(), "publishing what may not have been published");
    let mut batch = Batch::default();
    while let Some(run) = order.front().cloned() {
        let tp = run.tp();
        let from = *line.at.entry(tp.clone()).or_insert(run.from);
        if from > run.from {
            return Err(Trouble::Fatal(format!(
                "the journal says that {tp} was taken from {} on, and it stood at {from} already\nhint: was its topic changed? `--rebuild-from earliest` makes the state anew",
                run.from
            )));
        }
        if run.is_passed_over() {
            inputs.pass_over(&tp, run.to + 1)?;
            batch.dead.push(skip::letter(&tp, run.from, run.to + 1));
        } else {
            inputs.add(&tp, from)?;
        }
        let (mut taken, mut heard) = (0, Instant::now());
        while taken < run.n {
            line.look_around(stop)?;
            let Some(next) = inputs.take(&tp, LOOK_AROUND)? else {
                if inputs.pending().is_some() {
                    heard = Instant::now();
                }
                if heard.elapsed() > PATIENCE {
                    return Err(Trouble::StartOver(format!(
                        "the brokers sent nothing of {tp} for 30 s while it was to be published again"
                    )));
                }
                continue;
            };
            is_of(&run, taken, next.offset)?;
            (taken, heard) = (taken + 1, Instant::now());
            add(&mut batch, next);
            if batch.inputs.len() + batch.dead.len() >= BATCH_MESSAGES {
                line.publish(std::mem::take(&mut batch))?;
            }
        }
        line.took(&[Run { from, ..run }]);
        order.pop();
    }
    line.publish(batch)?;
    line.publisher.reached(line.at.clone())
}

fn add(batch: &mut Batch, taken: Taken) {
    batch.inputs.extend(taken.input);
    batch.dead.extend(taken.dead);
    batch.originals.append(&taken.originals);
}
