//! Names of records: the engine's and the store's are the same thing in two places that do not know each other.

use crate::store::redis;

/// For the engine.
pub fn of_engine(name: &redis::Name) -> engine::Name {
    match &name.domain {
        redis::Domain::Profile { kind } => {
            engine::Name::Profile { kind: kind.clone(), key: name.key.clone() }
        }
        redis::Domain::Global => engine::Name::Global(name.key.clone()),
    }
}

/// For the store.
pub fn of_store(name: &engine::Name) -> redis::Name {
    match name {
        engine::Name::Profile { kind, key } => redis::Name::profile(kind, key),
        engine::Name::Global(key) => redis::Name::global(key),
    }
}
