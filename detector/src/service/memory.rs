//! Memory for the copies of a cut. The first use of a page costs several times what is copied to it, so a thread of its own pays for it
//! ahead: at the pace of the changes and with rests, instead of all at once when the cut begins, which would take a core away for seconds.

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// Bytes of a block.
pub const BLOCK: usize = 1 << 20;
/// Blocks that are always kept ready. With fewer, the thread does not rest.
const READY: usize = 8;
/// Blocks that are made ahead at most.
const AHEAD_MAX: usize = 1024;
/// So much of a block is written to at a time; rests are so many times as long as that took.
const STEP: usize = 1 << 16;
const REST_PER_WORK: u32 = 4;
/// What is assumed of copies before there were any: so many, of so many bytes each.
const ASSUMED_COPIES: usize = 1000;
const ASSUMED_BYTES: usize = 600;

/// Blocks that were written to, from a thread that ends with the last of what was cloned from this.
#[derive(Clone, Debug)]
pub struct Memory {
    ready: Receiver<Vec<u8>>,
    wanted: Arc<AtomicUsize>,
    /// Has the thread look at what is wanted.
    look: Sender<()>,
}

impl Memory {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start() -> std::io::Result<(Self, JoinHandle<()>)> {
        let (send, ready) = unbounded();
        let (look, looks) = bounded(1);
        let wanted = Arc::new(AtomicUsize::new(READY));
        let memory = Self { ready, wanted: wanted.clone(), look };
        let make = move || {
            while looks.recv().is_ok() {
                while send.len() < wanted.load(Ordering::Relaxed) {
                    if send.send(touched(|| send.len() < READY)).is_err() {
                        return;
                    }
                }
            }
        };
        memory.look();
        Ok((memory, std::thread::Builder::new().name("memory".into()).spawn(make)?))
    }

    fn look(&self) {
        // Full: it is going to look anyway.
        let _ = self.look.try_send(());
    }

    /// A block, if one is ready.
    pub fn take(&self) -> Option<Vec<u8>> {
        let block = self.ready.try_recv().ok();
        self.look();
        block
    }

    /// Has so many blocks be ready after a while, within bounds.
    fn want(&self, blocks: usize) {
        self.wanted.store(blocks.clamp(READY, AHEAD_MAX), Ordering::Relaxed);
        self.look();
    }

    /// Gives back what is ready and not wanted any more.
    pub fn shrink(&self) {
        while self.ready.len() > self.wanted.load(Ordering::Relaxed) {
            let _ = self.ready.try_recv();
        }
    }
}

/// An empty block all of which was written to.
fn touched(is_urgent: impl Fn() -> bool) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK);
    while block.len() < BLOCK {
        let begun = Instant::now();
        block.resize(block.len() + STEP, 1);
        if !is_urgent() {
            std::thread::sleep(begun.elapsed() * REST_PER_WORK);
        }
    }
    block.clear();
    block
}

/// What the next cut is going to need, by what those before it took.
#[derive(Debug)]
pub struct Ahead {
    memory: Memory,
    /// Blocks of the last cut, which the next one uses again.
    kept: usize,
    copies: usize,
    bytes: usize,
}

impl Ahead {
    /// Nothing yet.
    pub fn new(memory: Memory) -> Self {
        let bytes = ASSUMED_COPIES * ASSUMED_BYTES;
        Self { memory, kept: 0, copies: ASSUMED_COPIES, bytes }
    }

    /// So many records are going to be copied.
    pub fn expect(&self, records: usize) {
        let bytes = records as f64 * (self.bytes as f64 / self.copies as f64);
        let blocks = (bytes / BLOCK as f64).ceil() as usize;
        self.memory.want(blocks.saturating_sub(self.kept));
    }

    /// A cut begins, and what was made ahead is for it.
    pub fn begins(&self) {
        self.memory.want(0);
    }

    /// So many copies were made, of so many bytes and in so many blocks.
    pub fn was(&mut self, copies: usize, bytes: usize, blocks: usize) {
        self.kept = blocks;
        self.copies += copies;
        self.bytes += bytes;
    }
}

#[cfg(test)]
impl Memory {
    /// These blocks, and no thread.
    pub fn of(blocks: Vec<Vec<u8>>) -> Self {
        let (send, ready) = unbounded();
        for block in blocks {
            send.send(block).expect("there is a receiver");
        }
        Self { ready, wanted: Arc::default(), look: bounded(1).0 }
    }

    fn wanted(&self) -> usize {
        self.wanted.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_for(memory: &Memory, blocks: usize) {
        for _ in 0..60_000 {
            if memory.ready.len() == blocks {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("{} blocks are ready instead of {blocks}", memory.ready.len());
    }

    #[test]
    fn as_many_are_made_as_are_wanted_and_the_maker_ends() {
        let (memory, maker) = Memory::start().unwrap();
        wait_for(&memory, READY);
        let block = memory.take().unwrap();
        assert!(block.is_empty() && block.capacity() >= BLOCK);
        wait_for(&memory, READY);
        memory.want(READY + 3);
        wait_for(&memory, READY + 3);
        memory.want(0);
        memory.shrink();
        assert_eq!(memory.ready.len(), READY);
        let clone = memory.clone();
        drop(memory);
        assert!(clone.take().is_some());
        clone.want(AHEAD_MAX);
        drop(clone);
        maker.join().unwrap();
    }

    #[test]
    fn what_is_expected_follows_what_was() {
        let memory = Memory::of(Vec::new());
        let mut ahead = Ahead::new(memory.clone());
        ahead.expect(0);
        assert_eq!(memory.wanted(), READY);
        ahead.expect(100_000);
        assert_eq!(memory.wanted(), 58, "60 MB");
        ahead.begins();
        assert_eq!(memory.wanted(), READY);
        // 1,000 of 600 bytes were assumed; now there were 9,000 of 1,000.
        ahead.was(9000, 9_000_000, 9);
        ahead.expect(100_000);
        assert_eq!(memory.wanted(), 92 - 9, "96 MB");
        ahead.was(0, 0, 100);
        ahead.expect(100_000);
        assert_eq!(memory.wanted(), READY, "what is kept is enough");
        ahead.expect(usize::MAX);
        assert_eq!(memory.wanted(), AHEAD_MAX);
    }
}
