//! A shard's index: the names of all its records, so that a start reads the records in the order in which they came, block by
//! block, and notices when one is missing. Redis keeps what was written together close together: read like that, a record costs
//! it a fraction of what SCAN and GET in the order of a hash table do.
//!
//! It is a hash beside the header. A field per block, named by the block's number (0 to 65535), holds names, each what stands
//! behind the hash tag of a record's key, between bytes `0xff`, which UTF-8 has nowhere:
//!
//! ```text
//! ff name ff name ff … name ff
//! ```
//! The field `room` holds u16s, little-endian: the block that new names go to, the highest block, then the blocks that
//! have become half empty and are filled again. A record's envelope says in which block its name stands, so that it can be taken
//! out there. The header's field `records` counts the names. All of it changes in the call that writes or removes the record
//! (`scripts/index.lua`): a name without a record, or a record without a name, is damage. Only when everything is erased all records go
//! first, by the server's keys, and the index last.

/// Between names.
pub const BETWEEN: u8 = 0xff;

/// Bytes at which a block is full. A call with a new name writes its block anew, and a name is looked for in the whole of it.
pub const BLOCK_BYTES: u32 = 4096;

/// The field that says which blocks there are.
pub const ROOM: &str = "room";

/// How many blocks there are, from `room`; `None` when it is damaged.
#[must_use]
pub fn blocks(room: &[u8]) -> Option<u32> {
    match room {
        [_, _, low, high, ..] => Some(u32::from(u16::from_le_bytes([*low, *high])) + 1),
        _ => None,
    }
}

/// The names of a block.
pub fn names(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    block.split(|&byte| byte == BETWEEN).filter(|name| !name.is_empty())
}
