//! Calls as Redis commands.

use super::call::{Call, Change, Guard, Step};
use super::names::Keys;
use super::protocol::{FORMAT, FORMAT_OLDEST, Tag};
use redis::Cmd;

/// A script's text and its SHA-1, by which the server knows it.
pub struct Script {
    /// The text.
    pub text: &'static str,
    /// The hash.
    pub hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }
}

/// The scripts.
pub struct Scripts {
    claim: Script,
    beat: Script,
    confirm: Script,
    begin: Script,
    chunk: Script,
    clear: Script,
    finish: Script,
    first: Script,
    withdraw: Script,
}

macro_rules! guarded {
    ($($name:literal),+) => {
        Script::new(concat!(include_str!("scripts/guard.lua"), $(include_str!($name)),+))
    };
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            claim: Script::new(include_str!("scripts/claim.lua")),
            beat: Script::new(include_str!("scripts/beat.lua")),
            confirm: guarded!("scripts/confirm.lua"),
            begin: guarded!("scripts/begin.lua"),
            chunk: guarded!("scripts/index.lua", "scripts/chunk.lua"),
            clear: guarded!("scripts/clear.lua"),
            finish: guarded!("scripts/finish.lua"),
            first: guarded!("scripts/first.lua"),
            withdraw: guarded!("scripts/withdraw.lua"),
        }
    }
}

impl Scripts {
    /// The script of a call.
    #[must_use]
    pub fn of(&self, call: &Call) -> &Script {
        match call {
            Call::Claim { .. } => &self.claim,
            Call::Beat { .. } => &self.beat,
            Call::Guarded(_, step) => match step {
                Step::Confirm => &self.confirm,
                Step::Begin { .. } => &self.begin,
                Step::Chunk { .. } => &self.chunk,
                Step::Finish { .. } => &self.finish,
                Step::First { .. } => &self.first,
                Step::Withdraw => &self.withdraw,
                Step::Clear => &self.clear,
            },
        }
    }
}

/// `EVALSHA` (or `EVAL` with `text`) of a call on a shard.
#[must_use]
pub fn command(keys: &Keys, shard: u16, call: &Call, verb: &str, script: &str) -> Cmd {
    let mut cmd = redis::cmd(verb);
    cmd.arg(script);
    match call {
        Call::Claim { epoch, owner, shards } => {
            cmd.arg(1)
                .arg(keys.head(shard))
                .arg(*epoch)
                .arg(owner.to_string())
                .arg(*shards)
                .arg(FORMAT)
                .arg(FORMAT_OLDEST);
        }
        Call::Beat { epoch, owner, ttl_ms } => {
            cmd.arg(2).arg(keys.head(shard)).arg(keys.alive());
            cmd.arg(*epoch).arg(owner.to_string()).arg(*ttl_ms);
        }
        Call::Guarded(guard, step) => guarded(&mut cmd, keys, shard, *guard, step),
    }
    cmd
}

fn guarded(cmd: &mut Cmd, keys: &Keys, shard: u16, guard: Guard, step: &Step) {
    let items = if let Step::Chunk { items, .. } = step { items.as_slice() } else { &[] };
    let indexed = matches!(step, Step::Chunk { .. } | Step::Clear);
    cmd.arg(1 + usize::from(indexed) + items.len()).arg(keys.head(shard));
    if indexed {
        cmd.arg(keys.index(shard));
    }
    for item in items {
        cmd.arg(&item.key);
    }
    cmd.arg(guard.epoch).arg(guard.owner.to_string()).arg(guard.seq);
    match step {
        Step::Confirm | Step::Withdraw | Step::Clear => {}
        Step::Begin { base } => {
            cmd.arg(base.field());
        }
        Step::Finish { tag, position } => {
            cmd.arg(tag.field()).arg(position);
        }
        Step::First { position } => {
            cmd.arg(Tag::FIRST.field()).arg(position);
        }
        Step::Chunk { base, tag, block_bytes, .. } => {
            cmd.arg(base.epoch).arg(base.n).arg(tag.epoch).arg(tag.n).arg(*block_bytes);
            let letters: Vec<u8> = items.iter().map(|item| letter(&item.change)).collect();
            cmd.arg(letters);
            let crcs: Vec<u8> = items.iter().flat_map(|item| item.crc.to_le_bytes()).collect();
            cmd.arg(crcs);
            for item in items {
                let value: &[u8] =
                    if let Change::Write(value) = &item.change { value } else { b"" };
                cmd.arg(value);
            }
        }
    }
}

fn letter(change: &Change) -> u8 {
    match change {
        Change::Write(_) => b'w',
        Change::Delete => b'd',
        Change::Tidy => b't',
        Change::Erase => b'e',
    }
}
