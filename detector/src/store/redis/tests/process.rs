//! What a process does: start in the protocol's order, then one event, transaction and checkpoint after another; and
//! the ways to do it wrong.

use super::super::error::RedisStoreError;
use super::super::names::Name;
use super::super::protocol::{Offsets, Owner, Position, Start, Tag};
use super::super::record::Record;
use super::super::shards::Shards;
use super::super::store::{Limits, Store};
use super::world::{End, Memory, Order, Out, PARTITION, Plan, Shared};
use std::collections::BTreeMap;

/// Runs a process's program from its beginning, as far as its answers go.
pub(super) fn program(shared: &Shared, plan: &Plan, me: usize) -> End {
    let mut drawn = 0u128;
    let differ = plan.owners_differ;
    let owners = move || {
        drawn += 1;
        Owner(if differ { (me as u128) << 64 | drawn } else { 7 })
    };
    let limits = Limits { chunk_records: 1, chunk_bytes: 1 << 20, block_bytes: 8 };
    let mut store = Store::with_owners(shared.clone(), limits, Box::new(owners));
    for _ in 0..plan.lives {
        match life(&mut store, shared, plan) {
            Ok(()) => return End::Over,
            Err(_) if shared.0.borrow().stopped => return End::Going,
            Err(Out::Stopped) => return End::Going,
            Err(Out::Again) => {}
            Err(Out::Wrong(why)) => return End::Wrong(why),
            Err(Out::Refused(why)) => return End::Refused(why.to_string()),
        }
    }
    End::Over
}

fn out(error: RedisStoreError) -> Out {
    match error {
        RedisStoreError::Lost { .. } | RedisStoreError::Unavailable { .. } => Out::Again,
        RedisStoreError::State(why) => Out::Refused(why),
        RedisStoreError::Refused { .. } => Out::Stopped,
        other => Out::Wrong(other.to_string()),
    }
}

fn at(offset: i64) -> Offsets {
    Offsets::from([(PARTITION.to_owned(), offset)])
}

fn position(offset: i64) -> Position {
    Position { offsets: at(offset), detail: String::new() }
}

fn life(store: &mut Store<Shared>, kafka: &Shared, plan: &Plan) -> Result<(), Out> {
    let mut early_o = None;
    let mut early_load = None;
    let producer;
    match plan.order {
        Order::Right => {
            store.claim().map_err(out)?;
            producer = kafka.init()?;
        }
        Order::OBeforeClaim => {
            producer = kafka.init()?;
            early_o = Some(kafka.read_o()?);
            store.claim().map_err(out)?;
        }
        Order::OBeforeInit => {
            store.claim().map_err(out)?;
            early_o = Some(kafka.read_o()?);
            producer = kafka.init()?;
        }
        Order::LoadBeforeClaim => {
            if let Some((base, position)) = store.peek_base().map_err(out)? {
                early_load = Some((base, position, read_at(store, base)?));
            }
            store.claim().map_err(out)?;
            producer = kafka.init()?;
        }
    }
    if plan.confirm {
        store.confirm().map_err(out)?;
    } else {
        store.pretend_confirmed();
    }
    let o = match early_o {
        Some(o) => o,
        None => kafka.read_o()?,
    };
    let committed = o.map(at).unwrap_or_default();
    let start = match plan.common_base {
        _ if early_load.is_some() => {
            let (base, position, _) = early_load.clone().expect("it is some");
            if let Some(lease) = &mut store.lease {
                lease.base = Some((base, position.clone()));
            }
            Start::From { base, position }
        }
        true => store.recover(&committed, &at(0)).map_err(out)?,
        false => store.recover_from_smallest(&committed, &at(0)).map_err(out)?,
    };
    let (base, s) = match &start {
        Start::New if plan.first_checkpoint => {
            let position = store.first_checkpoint(&position(0)).map_err(out)?;
            (Some(Tag::FIRST), position.offsets[PARTITION])
        }
        Start::New => (None, 0),
        Start::From { base, position } => (Some(*base), position.offsets[PARTITION]),
    };
    let mut memory = Memory::new();
    match (&early_load, base) {
        (Some((_, _, early)), _) => memory = early.clone(),
        (_, Some(_)) => {
            store
                .load(
                    |name, value| {
                        memory.insert(name.clone(), value.to_vec());
                        Ok(())
                    },
                    |_| {},
                )
                .map_err(out)?;
        }
        (_, None) => {}
    }
    if plan.look_again {
        store.look_again().map_err(out)?;
    }
    if memory != plan.fold(s) {
        return Err(Out::Wrong(format!(
            "state at {s} from {base:?}: {memory:?}, not {:?}",
            plan.fold(s)
        )));
    }
    let mut dirty: BTreeMap<Name, ()> = BTreeMap::new();
    let o = o.unwrap_or(0);
    for i in s..o {
        dirty.insert(plan.apply(&mut memory, i), ());
    }
    for i in o..plan.events.len() as i64 {
        dirty.insert(plan.apply(&mut memory, i), ());
        if plan.wait_for_commit {
            kafka.commit(producer, i, i + 1)?;
        }
        if store.base().is_none() {
            store.first_checkpoint(&position(0)).map_err(out)?;
        }
        let records: Vec<_> =
            dirty.keys().map(|name| (name.clone(), memory.get(name).cloned())).collect();
        match store.checkpoint(&position(i + 1), records) {
            Ok(_) => dirty.clear(),
            // The base is still whole: later, with everything since.
            Err(e) if e.is_unavailable() => {}
            Err(e) => return Err(out(e)),
        }
        if !plan.wait_for_commit {
            kafka.commit(producer, i, i + 1)?;
        }
    }
    Ok(())
}

/// Reads as [`Store::load`] does, without any right to.
fn read_at(store: &mut Store<Shared>, base: Tag) -> Result<Memory, Out> {
    let mut memory = Memory::new();
    store
        .shards()
        .records(&mut |_, name, bytes| {
            let record = Record::read(bytes, &name).expect("an envelope");
            if let Some((_, Some(value))) = record.at(base) {
                memory.insert(name, value.to_vec());
            }
            Ok(())
        })
        .map_err(|_| Out::Stopped)?;
    Ok(memory)
}

impl<S: Shards> Store<S> {
    /// Leaves rule 3 out.
    fn pretend_confirmed(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.confirmed = true;
        }
    }

    /// Leaves "common" out of rule 5: takes the smallest of the shards' newest checkpoints.
    fn recover_from_smallest(
        &mut self,
        committed: &Offsets,
        start: &Offsets,
    ) -> Result<Start, RedisStoreError> {
        let headers = self.headers("recover")?;
        let newest = headers.iter().filter_map(|h| h.readable.last_key_value()).min_by_key(|m| m.0);
        let Some((tag, text)) = newest else { return self.recover(committed, start) };
        let position: Position = serde_json::from_str(text).expect("a position");
        if let Some(lease) = &mut self.lease {
            lease.base = Some((*tag, position.clone()));
        }
        Ok(Start::From { base: *tag, position })
    }
}
