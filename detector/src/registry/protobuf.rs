//! Protobuf to JSON.

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What the schema's own file is called among those that it imports.
const MAIN: &str = "detector-main.proto";
/// Messages within messages, down to the one that was sent.
const DEPTH_MAX: usize = 32;

/// A schema that messages were written with.
#[derive(Debug)]
pub struct ProtobufSchema {
    pool: DescriptorPool,
}

/// The files that came with a schema.
struct Files(BTreeMap<String, String>);

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

impl ProtobufSchema {
    /// Reads a schema and the files that it imports.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(text: &str, references: &[(String, String)]) -> Result<Self, String> {
        let mut files: BTreeMap<String, String> = references.iter().cloned().collect();
        files.insert(MAIN.to_owned(), text.to_owned());
        let mut resolver = ChainFileResolver::new();
        resolver.add(Files(files));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).open_file(MAIN).map_err(|e| e.to_string())?;
        Ok(Self { pool: compiler.descriptor_pool() })
    }

    /// Reads a message: which one of the schema's it is, then it.
    ///
    /// # Errors
    /// What is wrong, without its content.
    pub fn json(&self, mut bytes: &[u8]) -> Result<Json, String> {
        let which = self.which(&mut bytes).ok_or("it names no message of its Protobuf schema")?;
        let message = DynamicMessage::decode(which, bytes)
            .map_err(|_| "it is not what its Protobuf schema says".to_owned())?;
        let options = SerializeOptions::new()
            .stringify_64_bit_integers(false)
            .use_proto_field_name(true)
            .skip_default_fields(false);
        let mut json = message
            .serialize_with_options(serde_json::value::Serializer, &options)
            .map_err(|_| "it holds something that JSON has no form for".to_owned())?;
        // A map has no order, and the same bytes must be the same event.
        json.sort_all_objects();
        Ok(json)
    }

    /// The path through the schema's messages that stands before a message: how many steps, then each; nothing is the first one.
    fn which(&self, bytes: &mut &[u8]) -> Option<MessageDescriptor> {
        let steps = usize::try_from(zigzag(bytes)?).ok().filter(|steps| *steps <= DEPTH_MAX)?;
        let file = self.pool.get_file_by_name(MAIN)?;
        let first = if steps == 0 { 0 } else { usize::try_from(zigzag(bytes)?).ok()? };
        let mut found = file.messages().nth(first)?;
        for _ in 1..steps {
            let at = usize::try_from(zigzag(bytes)?).ok()?;
            let next = found.child_messages().nth(at);
            found = next?;
        }
        Some(found)
    }
}

/// A number of variable length, signs folded in.
fn zigzag(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}
