//! Protobuf to JSON.

use super::{NAME_BYTES_MAX, VALUES_MAX, zigzag};
use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, SerializeOptions, Value,
};
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
        let pool = compiler.descriptor_pool();
        match has_short_names(&pool) {
            true => Ok(Self { pool }),
            false => Err(format!("it has a name of more than {NAME_BYTES_MAX} bytes")),
        }
    }

    /// Reads a message: which one of the schema's it is, then it.
    ///
    /// # Errors
    /// What is wrong, without its content.
    pub fn json(&self, mut bytes: &[u8]) -> Result<Json, String> {
        let which = self.which(&mut bytes).ok_or("it names no message of its Protobuf schema")?;
        let message = DynamicMessage::decode(which, bytes)
            .map_err(|_| "it is not what its Protobuf schema says".to_owned())?;
        let mut left = VALUES_MAX;
        if !fits(&message, &mut left) {
            return Err(format!("it has more than {VALUES_MAX} values, absent ones among them"));
        }
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

/// Whether the JSON of a message has no more values than `left`, absent ones among them.
fn fits(message: &DynamicMessage, left: &mut usize) -> bool {
    let fields = message.descriptor().fields().len();
    spend(left, fields) && message.fields().all(|(_, value)| value_fits(value, left))
}

fn value_fits(value: &Value, left: &mut usize) -> bool {
    match value {
        Value::Message(message) => fits(message, left),
        Value::List(all) => all.iter().all(|value| spend(left, 1) && value_fits(value, left)),
        Value::Map(all) => all.values().all(|value| spend(left, 1) && value_fits(value, left)),
        _ => true,
    }
}

fn spend(left: &mut usize, values: usize) -> bool {
    let rest = left.checked_sub(values);
    *left = rest.unwrap_or(0);
    rest.is_some()
}

/// Whether no name that stands in the JSON of messages is too long.
fn has_short_names(pool: &DescriptorPool) -> bool {
    let is_short = |name: &str| name.len() <= NAME_BYTES_MAX;
    pool.all_messages().all(|message| message.fields().all(|field| is_short(field.name())))
        && pool.all_enums().all(|all| all.values().all(|value| is_short(value.name())))
}
