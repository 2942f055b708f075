//! What the store needs of a set of shards: Redis, or its twin in memory.

use super::call::{Call, CallError, Durable, Reply};
use super::names::Name;
use super::protocol::Header;

/// Takes each record: its shard, its name, its envelope.
pub type EachRecord<'a> = dyn FnMut(u16, Name, &[u8]) -> Result<(), CallError> + 'a;

/// Takes each name.
pub type EachName<'a> = dyn FnMut(Name) + 'a;

/// A set of shards. Every method is one round trip or a few, and waits for it.
pub trait Shards {
    /// How many there are, 1 to 256.
    fn count(&self) -> u16;

    /// The key of a record, as [`Call`]s name it.
    fn key(&self, name: &Name) -> String;

    /// Runs a call on a shard.
    ///
    /// # Errors
    /// [`CallError::Unknown`] when it may have happened; the other errors say that it did not.
    fn call(&mut self, shard: u16, call: &Call) -> Result<Reply, CallError>;

    /// Waits until what was written on a shard is on the disk. Means something only directly after a call that was
    /// answered, on the connection that carried it: an implementation that had to connect anew says
    /// [`CallError::Unknown`].
    ///
    /// # Errors
    /// When it did not happen in time, or the connection is another one.
    fn wait(&mut self, shard: u16) -> Result<Durable, CallError>;

    /// Reads a shard's header.
    ///
    /// # Errors
    /// When it cannot be read.
    fn header(&mut self, shard: u16) -> Result<Header, CallError>;

    /// Hands over every record that a shard's index names, shard by shard; one may come more than once.
    ///
    /// # Errors
    /// When they cannot be read, or `each` fails.
    fn records(&mut self, each: &mut EachRecord<'_>) -> Result<(), CallError>;

    /// Hands over the name of every record that is there, whatever the indices say; one may come more than once.
    ///
    /// # Errors
    /// When they cannot be read.
    fn names(&mut self, each: &mut EachName<'_>) -> Result<(), CallError>;

    /// Reads the envelope of one record.
    ///
    /// # Errors
    /// When it cannot be read.
    fn record(&mut self, name: &Name) -> Result<Option<Vec<u8>>, CallError>;

    /// The owner that last gave a sign of life, if that still holds.
    ///
    /// # Errors
    /// When it cannot be read.
    fn alive(&mut self) -> Result<Option<String>, CallError>;

    /// Says for so long that somebody reads the state; 0 takes it back.
    ///
    /// # Errors
    /// When it was not written.
    fn set_reading(&mut self, ttl_ms: u64) -> Result<(), CallError>;

    /// Whether somebody reads the state.
    ///
    /// # Errors
    /// When it cannot be read.
    fn reading(&mut self) -> Result<bool, CallError>;

    /// The field table of a layout, as it was published.
    ///
    /// # Errors
    /// When it cannot be read.
    fn layout(&mut self, hash: &str) -> Result<Option<String>, CallError>;

    /// Publishes the field table of a layout under its hash. Whoever does it writes the same.
    ///
    /// # Errors
    /// When it was not written.
    fn publish_layout(&mut self, hash: &str, json: &str) -> Result<(), CallError>;
}
